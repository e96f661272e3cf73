"""What may be recorded of the decoder while it generates: states that predict tokens, and those of what is seen.

Shapes: B prompts; P tokens of the longest.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from museg.policy.forward import drop_left_padding
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch


@dataclass(frozen=True)
class RecordedLayers:
    """Which states to record; layers count as in `museg.policy.layer_states`: -1 lies before the final norm.

    Attributes:
        token_layer: of every completion token the state that predicts it, so of the first one the state at its prompt's
            last token.
        frame_layer: of every prompt the states at the tokens of its video.

    **Source** of the defaults: pangzss/MeCo d3ed11b, what its model hands to the two heads. Its inference takes the
    state of a completion's first token at the prompt's first one, unlike its training; that is not repeated here.
    """

    token_layer: int = -2
    frame_layer: int = -1


def video_slots(policy: Policy, batch: PromptBatch) -> Tensor:
    """Which slots hold tokens of a video, [B, P] bool, once every prompt starts at the first slot."""
    num_tokens = batch.attention_mask.sum(dim=1, keepdim=True)  # [B, 1]
    is_token = torch.arange(batch.input_ids.shape[1], device=num_tokens.device) < num_tokens
    return (drop_left_padding(batch.input_ids, batch.num_padding) == policy.ids.video_id) & is_token


def video_grids(batch: PromptBatch) -> list[tuple[int, int, int] | None]:
    """Patches in time, height and width of each prompt's video; None where it shows a picture."""
    return [
        tuple(grid) if example.media == "video" else None
        for grid, example in zip(batch.grid_thw.tolist(), batch.examples, strict=True)
    ]
