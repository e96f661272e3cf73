"""From loaded clips and a wording to the tensors of a batch of prompts.

Shapes: B prompts; P prompt tokens, padded on the left; patches of all videos and pictures stacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from museg.data.examples import GroundingExample
from museg.dialogue.prompts import PromptWording, render_prompt
from museg.policy.loading import Policy
from museg.policy.positions import prompt_position_ids
from museg.video.patches import PATCH_VALUES, patchify

if TYPE_CHECKING:
    from museg.data.clips import LoadedClip
    from museg.policy.feature_cache import FeatureCache


@dataclass(frozen=True)
class PromptBatch:
    """Prompts with one video or picture each, padded on the left; the grid of a picture has one step in time."""

    input_ids: Tensor  # [B, P] long
    attention_mask: Tensor  # [B, P] long, 1 at tokens
    pixel_values: Tensor  # [patches, 1176] float32; no patches in a batch built without pixels
    grid_thw: Tensor  # [B, 3] long, patches in time, height and width
    second_per_grid_ts: Tensor  # [B] float32, seconds per step in time of the grid; 0 for a picture
    filled_steps: tuple[float, ...]  # B; steps in time that frames fill: of an odd number of frames not all of the last
    position_ids: Tensor  # [3, B, P] long, rotary positions in time, height and width
    next_position: Tensor  # [B] long, rotary position of a completion's first token
    examples: tuple[GroundingExample, ...]
    features: Tensor | None = None  # [visual tokens of all prompts, hidden] of the vision tower where they are known

    @property
    def num_padding(self) -> Tensor:
        """Padding slots left of each prompt, [B]."""
        return self.attention_mask.shape[1] - self.attention_mask.sum(dim=1)

    def to(self, device: torch.device | str) -> "PromptBatch":
        """Return the batch with every tensor on `device`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)})

    def select(self, indices: Sequence[int]) -> "PromptBatch":
        """Return the batch of the prompts at `indices`, in that order, without padding that all of them share."""
        index = torch.as_tensor(indices, dtype=torch.long, device=self.input_ids.device)
        padding = int(self.num_padding[index].min())
        sizes = self.grid_thw.prod(dim=1)  # [B] patches of each video or picture

        def chosen(rows: Tensor) -> Tensor:
            """Those of the chosen ones: as many per patch as the whole has, be it none."""
            parts = rows.split((sizes * len(rows) // sizes.sum().clamp(min=1)).tolist())
            return torch.cat([parts[i] for i in indices])

        return PromptBatch(
            input_ids=self.input_ids[index, padding:],
            attention_mask=self.attention_mask[index, padding:],
            pixel_values=chosen(self.pixel_values),
            grid_thw=self.grid_thw[index],
            second_per_grid_ts=self.second_per_grid_ts[index],
            filled_steps=tuple(self.filled_steps[i] for i in indices),
            position_ids=self.position_ids[:, index, padding:],
            next_position=self.next_position[index],
            examples=tuple(self.examples[i] for i in indices),
            features=None if self.features is None else chosen(self.features),
        )


def build_prompt_batch(
    policy: Policy,
    clips: Sequence["LoadedClip"],
    wording: PromptWording,
    *,
    max_context_tokens: int,
    features: "FeatureCache | None" = None,
) -> PromptBatch:
    """Put the clips' questions in the given wording and their frames into tensors on the policy's device.

    Frames travel there as uint8; normalising them and cutting them into patches is the device's work.

    Nothing is ever cut off: visual tokens lost to truncation would shift every time the model reads. Where `features`
    hands out what the vision tower makes of the clips, the batch has that instead of pixels.

    Raises:
        ValueError: when there is no clip, or a prompt leaves no room for a single completion token in
            `max_context_tokens`.
    """
    if not clips:
        raise ValueError("a prompt batch needs at least one clip")
    vision = policy.model.config.vision_config
    patches, grids, rows = [], [], []
    for clip in clips:
        grid = _patch_grid(policy, clip)
        num_visual_tokens = _num_visual_tokens(policy, grid)
        if features is None:
            patches.append(patchify(torch.as_tensor(clip.video.frames).to(policy.device))[0])
        grids.append(grid)
        rows.append(_prompt_ids(policy, clip.example, wording, num_visual_tokens))
        _check_room(clip.example, len(rows[-1]), num_visual_tokens, grid, max_context_tokens)
    input_ids, attention_mask = _pad_left(rows, policy.ids.pad_id)
    grid_thw = torch.tensor(grids)
    second_per_grid_ts = torch.tensor([vision.temporal_patch_size / clip.video.sample_rate_fps for clip in clips])
    position_ids, next_position = prompt_position_ids(
        input_ids,
        attention_mask,
        grid_thw,
        second_per_grid_ts,
        video_id=policy.ids.video_id,
        image_id=policy.ids.image_id,
        spatial_merge_size=vision.spatial_merge_size,
        tokens_per_second=vision.tokens_per_second,
    )
    return PromptBatch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        pixel_values=torch.cat(patches) if patches else torch.empty(0, PATCH_VALUES),
        grid_thw=grid_thw,
        second_per_grid_ts=second_per_grid_ts,
        filled_steps=tuple(len(clip.video.frames) / vision.temporal_patch_size for clip in clips),
        position_ids=position_ids,
        next_position=next_position,
        examples=tuple(clip.example for clip in clips),
        features=None if features is None else features.of(clips),
    ).to(policy.device)


def num_prompt_tokens(policy: Policy, clip: "LoadedClip", wording: PromptWording) -> int:
    """Return how many tokens the clip's prompt has, those of the video or picture included."""
    return len(_prompt_ids(policy, clip.example, wording, _num_visual_tokens(policy, _patch_grid(policy, clip))))


def encode_completions(policy: Policy, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return texts as completions: ids [N, C] that end with end-of-turn, padded on the right, and their mask [N, C]."""
    rows = [[*policy.tokenizer.encode(text, add_special_tokens=False), policy.ids.eos_id] for text in texts]
    ids, mask = _pad_left([row[::-1] for row in rows], policy.ids.pad_id)
    return ids.flip(1), mask.flip(1).bool()


def _patch_grid(policy: Policy, clip: "LoadedClip") -> tuple[int, int, int]:
    """Patches in time, height and width; an odd last frame makes a pair with itself."""
    vision = policy.model.config.vision_config
    num_frames, _, height, width = clip.video.frames.shape
    return (
        -(-num_frames // vision.temporal_patch_size),
        height // vision.patch_size,
        width // vision.patch_size,
    )


def _num_visual_tokens(policy: Policy, grid: Sequence[int]) -> int:
    return grid[0] * grid[1] * grid[2] // policy.model.config.vision_config.spatial_merge_size**2


def _prompt_ids(policy: Policy, example: GroundingExample, wording: PromptWording, num_visual_tokens: int) -> list[int]:
    before, after = render_prompt(wording, example.query)
    before_ids, after_ids = (policy.tokenizer.encode(text, add_special_tokens=False) for text in (before, after))
    placeholder = policy.ids.image_id if example.media == "image" else policy.ids.video_id
    return [*before_ids, *[placeholder] * num_visual_tokens, *after_ids]


def _check_room(
    example: GroundingExample, num_tokens: int, num_visual_tokens: int, grid: Sequence[int], max_context_tokens: int
) -> None:
    if num_tokens < max_context_tokens:
        return
    raise ValueError(
        f"prompt of example {example.example_id!r} ({example.video}) has {num_tokens} tokens, {num_visual_tokens} of "
        f"them {example.media} (grid t x h x w = {grid[0]} x {grid[1]} x {grid[2]}), but "
        f"rollout.max_context_tokens={max_context_tokens} must also hold the completion: lower "
        "video.budget.total_pixels or video.budget.max_frames, or raise rollout.max_context_tokens"
    )


def _pad_left(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return ids [rows, longest] and attention mask, with padding before each row."""
    longest = max(len(row) for row in rows)
    ids = [[pad_id] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)
