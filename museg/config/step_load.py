"""What one process has to do in a step of a run with given settings, at its largest."""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

from transformers import PreTrainedTokenizerBase

from museg.config.methods import is_reinforced
from museg.dialogue.prompts import PromptWording, render_prompt
from museg.training.step_memory import PATCHES_PER_TOKEN, Load
from museg.video.budget import TEMPORAL_FACTOR, FrameBudget

Settings = Mapping[str, Any]

CHARACTERS_PER_TOKEN = 3.5
"""Of English in the published tokenizer, our estimate; the tiny one is there and is asked."""
QUERY = "When does 'red square' occur?"
"""A question of usual length."""


def text_tokens(prompt: Settings, tokenizer: PreTrainedTokenizerBase | None) -> int:
    """Tokens beside the video of the longest wording, about a question of usual length."""
    texts = ["".join(render_prompt(PromptWording(**wording), QUERY)) for wording in prompt["wordings"].values()]
    if tokenizer is None:
        return max(ceil(len(text) / CHARACTERS_PER_TOKEN) for text in texts)
    return max(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)


def most_prompts(settings: Settings) -> int:
    """Prompts of a step, of the phase that has most."""
    run_has = settings["prompts_per_step"]
    return max(phase["prompts_per_step"] or run_has for phase in settings["phase"]["phases"].values())


def load_of(settings: Settings, world_size: int, num_text_tokens: int) -> Load:
    """What a process does at most: prompts with as much video as the budget aims at."""
    rollout, validation = settings["rollout"], settings["validation"]
    video_tokens = FrameBudget(**settings["video"]["budget"]).most_video_tokens
    prompt_tokens, prompts = video_tokens + num_text_tokens, ceil(most_prompts(settings) / world_size)
    return Load(
        prompts=prompts,
        micro_batch_prompts=min(prompts, settings["trainer"]["micro_batch_prompts"]),
        held_out_prompts=min(validation["batch_size"], ceil(validation["num_examples"] / world_size)),
        prompt_tokens=prompt_tokens,
        patches=PATCHES_PER_TOKEN * video_tokens,
        generations=rollout["num_generations"] if is_reinforced(settings) else 1,
        completion_tokens=completion_tokens(rollout, prompt_tokens),
        shares_prompts=settings["objective"]["shared_prefix"],
        shares_cache=rollout["engine"] == "cascade",
    )


def completion_tokens(rollout: Settings, prompt_tokens: int) -> int:
    """The most tokens of a completion behind such a prompt."""
    return max(min(rollout["max_new_tokens"], rollout["max_context_tokens"] - prompt_tokens), 1)


def with_short_videos(load: Load, settings: Settings) -> Load:
    """The same with the shortest videos that are read, which leave most room for completions."""
    budget = settings["video"]["budget"]
    frame_tokens = ceil(budget["min_pixels"] / budget["factor"] ** 2)
    video_tokens = min(budget["min_frames"] // TEMPORAL_FACTOR * frame_tokens, load.patches // PATCHES_PER_TOKEN)
    prompt_tokens = load.prompt_tokens - load.patches // PATCHES_PER_TOKEN + video_tokens
    return replace(
        load,
        prompt_tokens=prompt_tokens,
        patches=PATCHES_PER_TOKEN * video_tokens,
        completion_tokens=completion_tokens(settings["rollout"], prompt_tokens),
    )
