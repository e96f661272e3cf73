"""Counted bytes against what autograd keeps, to the byte, and against the most that is alive at one time."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from museg.policy.attention_overrides import attended_by
from museg.policy.loading import freeze
from museg.policy.log_probs import completion_log_probs
from museg.policy.rollout import RolloutSettings, sample_rollouts
from museg.policy.shared_prefix import attend_in_pieces, shared_prefix_log_probs
from museg.policy.sizes import DecoderSizes, TowerSizes
from museg.training.step_memory import (
    AUTOCAST,
    BFLOAT16,
    FLOAT32,
    Arithmetic,
    Load,
    Shape,
    kept_behind_layers,
    kept_by_block,
    kept_by_layer,
    kept_by_layers,
    kept_by_merger,
    sampling,
    updating,
)
from tests.policy.drawn_clips import drawn_batch
from tests.policy.sized_policy import sized_policy
from tests.training.live_tensors import LiveTensors

SIZES = {
    "hidden_size": 128,
    "num_layers": 3,
    "num_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 640,
    "vision_hidden_size": 64,
    "vision_depth": 3,
    "window_size_px": 56,
}
ARITHMETICS = {"float32": FLOAT32, "autocast": AUTOCAST, "bfloat16": BFLOAT16}
LOAD = Load(
    prompts=3,
    micro_batch_prompts=3,
    held_out_prompts=0,
    prompt_tokens=0,  # told by `load_of`
    patches=4 * 36,
    generations=4,
    completion_tokens=40,
)


def policy_in(arithmetic: Arithmetic, **sizes):
    policy = sized_policy(**SIZES | sizes)
    policy.model.to(torch.bfloat16 if arithmetic == BFLOAT16 else torch.float32)
    return replace(policy, ids=replace(policy.ids, stop_ids=()))  # every completion is as long as it may be


def shape_of(policy, arithmetic: Arithmetic, *, checkpointing: bool = False, frozen: tuple[str, ...] = ()) -> Shape:
    config = policy.model.config
    sizes = DecoderSizes.of(config.text_config), TowerSizes.of(config.vision_config)
    return Shape(*sizes, arithmetic, checkpointing, "vision" not in frozen, "projector" not in frozen)


def computing(arithmetic: Arithmetic):
    return torch.autocast("cpu", torch.bfloat16) if arithmetic == AUTOCAST else nullcontext()


def kept_bytes(work: Callable[[], Tensor], arithmetic: Arithmetic, known: set[int]) -> int:
    """Bytes of all tensors that `work` leaves to autograd, but for weights."""
    sizes: dict[int, int] = {}
    alive = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or another tensor could take its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), computing(arithmetic):
        work()
    return sum(sizes.values())


def weights_of(model) -> set[int]:
    return {weight.untyped_storage().data_ptr() for weight in model.parameters()}


def of_one_token(kept: Callable[[int], int]) -> float:
    """What one more token adds: casts of weights, and the blank place of a row, are there for any number."""
    return (kept(480) - kept(240)) / 240


@pytest.mark.parametrize("name", ARITHMETICS)
def test_what_a_decoder_layer_keeps_of_a_token(name):
    arithmetic = ARITHMETICS[name]
    policy = policy_in(arithmetic)
    decoder, known = policy.model.model.language_model, weights_of(policy.model)

    def kept(num_tokens: int) -> int:
        places = torch.arange(num_tokens)[None]
        row = SimpleNamespace(pieces=[(places, places, True)])
        hidden = torch.randn(1, num_tokens, 128, dtype=policy.model.dtype, requires_grad=True)
        rotary = decoder.rotary_emb(hidden, places.expand(3, 1, -1))
        attend = attended_by(partial(attend_in_pieces, row))
        return kept_bytes(lambda: decoder.layers[0](hidden, position_embeddings=rotary, **attend), arithmetic, known)

    rotary_bytes = 2 * 32 * arithmetic.stream  # a cosine and a sine for each of a head's numbers, shared by all layers
    assert of_one_token(kept) == kept_by_layer(shape_of(policy, arithmetic)) + rotary_bytes


@pytest.mark.parametrize("name", ARITHMETICS)
def test_what_the_vision_tower_keeps_of_a_patch(name):
    arithmetic = ARITHMETICS[name]
    policy = policy_in(arithmetic)
    visual, known = policy.model.model.visual, weights_of(policy.model)

    def of_block(num_patches: int) -> int:
        patches = torch.randn(num_patches, 64, dtype=policy.model.dtype, requires_grad=True)
        angles, ends = torch.randn(num_patches, 16), torch.arange(0, num_patches + 1, 16, dtype=torch.int32)
        call = {"cu_seqlens": ends, "position_embeddings": (angles, angles.clone()), "max_seqlen": 16}
        return kept_bytes(lambda: visual.blocks[0](patches, **call), arithmetic, known)

    def of_merger(num_patches: int) -> int:
        patches = torch.randn(num_patches, 64, dtype=policy.model.dtype, requires_grad=True)
        return kept_bytes(lambda: visual.merger(patches), arithmetic, known)

    shape = shape_of(policy, arithmetic)
    assert of_one_token(of_block) == kept_by_block(shape) + 2 * 16 * 4  # float32 angles, shared by all blocks
    assert of_one_token(of_merger) == kept_by_merger(shape)


CASES = {
    "plain": ("float32", {}),
    "autocast": ("autocast", {}),
    "checkpointing": ("float32", {"checkpointing": True}),
    "checkpointing, bfloat16": ("bfloat16", {"checkpointing": True}),
    "frozen tower": ("float32", {"frozen": ("vision",)}),
    "a large vocabulary": ("float32", {"vocab_size": 9000}),
    "each prompt anew": ("float32", {"shares_prompts": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_holds_what_is_counted(case):
    """Prompts to gradients, and sampling before it; the count is of the whole row, so a few per cent are left open."""
    name, options = CASES[case]
    arithmetic = ARITHMETICS[name]
    policy = policy_in(arithmetic, vocab_size=options.get("vocab_size"))
    checkpointing, frozen = options.get("checkpointing", False), options.get("frozen", ())
    freeze(policy.model, dict.fromkeys(frozen, True))
    if checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    batch = drawn_batch(policy, 3, num_frames=8, side_px=84, query="When does 'red square' occur?")
    shape = shape_of(policy, arithmetic, checkpointing=checkpointing, frozen=frozen)
    shares = options.get("shares_prompts", True)
    load = replace(LOAD, prompt_tokens=batch.input_ids.shape[1], shares_prompts=shares)

    sampled, updated = step_bytes(policy, batch, load, arithmetic)
    assert sampled == pytest.approx(sampling(shape, 3, 4, load), rel=0.12)
    assert updated == pytest.approx(updating(shape, load), rel=0.12)


def step_bytes(policy, batch, load: Load, arithmetic: Arithmetic) -> tuple[int, int]:
    """The most that is alive while completions are sampled, and from their forward to their backward pass.

    Gradients are there beforehand, as in all micro-batches but the first, and so are the casts of weights that autocast
    keeps; neither counts. The pixels of the batch count twice in an update, which cuts its prompts out of it.
    """
    trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.grad = torch.zeros_like(weight)
    gradients = [weight.grad for weight in trained]
    known = [*policy.model.parameters(), *policy.model.buffers(), *gradients, batch.pixel_values]
    log_probs_of = shared_prefix_log_probs if load.shares_prompts else completion_log_probs
    settings = RolloutSettings(load.generations, temperature=0.9, max_new_tokens=load.completion_tokens)
    short = torch.zeros(load.prompts * load.generations, 2, dtype=torch.long)
    with computing(arithmetic), LiveTensors(known) as live:
        with torch.no_grad():
            log_probs_of(policy, batch, short, torch.ones_like(short), load.generations)  # makes the casts
        casts, whole = live.now, batch.select(range(load.prompts))
        live.forget()
        rollouts = sample_rollouts(policy, whole, settings, [1, 2, 3])
        sampled = live.peak
        policy.model.train()
        part = whole.select(range(load.micro_batch_prompts))
        inputs = (part, rollouts.completion_ids, rollouts.completion_mask, load.generations)
        live.forget()
        log_probs = log_probs_of(policy, *inputs)
        with torch.no_grad():
            log_probs_of(policy, *inputs)  # in place of a reference
        log_probs.sum().backward()
        return sampled - casts, live.peak - casts


def test_kept_bytes_add_up():
    """All that autograd keeps of a forward pass is what is counted for layers and for what stands behind them."""
    policy = policy_in(FLOAT32)
    batch = drawn_batch(policy, 3, num_frames=8, side_px=84, query="When does 'red square' occur?")
    load = replace(LOAD, prompt_tokens=batch.input_ids.shape[1])
    ids, mask = torch.randint(0, 256, (12, 40)), torch.ones(12, 40, dtype=torch.bool)
    pixels = {batch.pixel_values.untyped_storage().data_ptr()}
    found = kept_bytes(
        lambda: shared_prefix_log_probs(policy, batch, ids, mask, 4), FLOAT32, weights_of(policy.model) | pixels
    )
    shape = shape_of(policy, FLOAT32)
    assert found == pytest.approx(kept_by_layers(shape, load) + kept_behind_layers(shape, load), rel=0.02)


def test_tokens_of_a_row():
    # two prompts of 100, four completions of 10 each, of which 9 tokens are read: 2 x (100 + 4 x 9), or 2 x 4 x 109
    load = Load(5, 2, 0, prompt_tokens=100, patches=48, generations=4, completion_tokens=10)
    assert (load.row_tokens, load.scored_tokens) == (272, 80)
    assert replace(load, shares_prompts=False).row_tokens == 872
