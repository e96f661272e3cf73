"""Clips and pictures of random pixels, and prompts about them, for tests that need no video file."""

from dataclasses import replace

import numpy as np

from museg.data.clips import LoadedClip
from museg.data.examples import GroundingExample
from museg.dialogue.prompts import PromptWording
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch, build_prompt_batch
from museg.temporal.segments import Segment
from museg.video.decoding import SampledVideo

WORDING = PromptWording(system="", before_video="cite {query}", after_video="")
QUERIES = ("When does 'red square' occur?", "Find all times of 'blue circle'.", "?", "When does 'green square' occur?")


def drawn_clip(
    index: int,
    *,
    num_frames: int = 8,
    sample_rate_fps: float = 1.0,
    side_px: int = 28,
    query: str | None = None,
) -> LoadedClip:
    """A clip of noise that depends on `index`; queries differ in length."""
    frames = np.random.default_rng(index).integers(0, 256, (num_frames, 3, side_px, side_px), dtype=np.uint8)
    duration_s = num_frames / sample_rate_fps
    example = GroundingExample(
        example_id=f"drawn:{index}",
        video=f"{index}.mp4",
        query=QUERIES[index % len(QUERIES)] if query is None else query,
        targets=(Segment(1.0, 2.0),),
        duration_s=duration_s,
        task="tvg",
        source="drawn",
    )
    times_s = np.arange(num_frames) / sample_rate_fps
    return LoadedClip(example, index, SampledVideo(frames, times_s, sample_rate_fps, duration_s, num_frames))


def drawn_picture(index: int, *, height_px: int = 56, width_px: int = 84, query: str | None = None) -> LoadedClip:
    """A picture of noise that depends on `index`, as it is read from a file."""
    clip = drawn_clip(index, query=query)
    frames = np.random.default_rng(index).integers(0, 256, (1, 3, height_px, width_px), dtype=np.uint8)
    example = replace(clip.example, video=f"{index}.jpg", targets=(), duration_s=None, response="Noise.", media="image")
    return LoadedClip(example, index, SampledVideo(frames, np.zeros(1), float("inf"), 0.0, 1))


def drawn_batch(policy: Policy, num_prompts: int, **clip: object) -> PromptBatch:
    """Prompts about `num_prompts` drawn clips, of unequal length."""
    clips = [drawn_clip(index, **clip) for index in range(num_prompts)]
    return build_prompt_batch(policy, clips, WORDING, max_context_tokens=4096)


def with_frequent_stops(policy: Policy) -> Policy:
    """The same policy with every seventh byte and the end tokens as stops, so that random weights end rows early."""
    return replace(policy, ids=replace(policy.ids, stop_ids=(*policy.ids.stop_ids, *range(0, 256, 7))))
