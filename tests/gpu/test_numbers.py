"""What a GPU computes in its own ways, against the plain way on the same GPU."""

import importlib.util
from dataclasses import replace

import pytest
import torch

from museg.policy import cascade_engine
from museg.policy.compiled_parts import compile_parts
from museg.policy.export import export
from museg.policy.loading import load_checkpoint
from museg.policy.log_probs import completion_log_probs
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.rollout import RolloutSettings, greedy_rollouts, sample_rollouts
from museg.policy.shared_prefix import attention_for, shared_prefix_log_probs
from tests.benchmarks.gpu_checks import MODEL_TOLERANCE, TOLERANCE, Checks
from tests.policy.drawn_clips import drawn_batch

SEEDS = range(100, 104)
pytestmark = [  # nothing slower may be done than what a GPU should do
    pytest.mark.filterwarnings("error::museg.policy.fallback.FellBack"),
    pytest.mark.filterwarnings("error:decoding goes on without CUDA graphs"),
]


@pytest.fixture
def checks(device) -> Checks:
    """Comparisons on a small model with windows and shared key heads, in float32."""
    return Checks(device)


def relative_gap(found, right):
    """How far apart two tensors are, relative to the spread of the second."""
    return float((found - right).norm() / (right - right.mean()).norm())


def test_every_comparison_holds(checks):
    gaps = {name: check() for name, check in checks.by_name.items()}
    assert all(gap < TOLERANCE for found in gaps.values() for gap in found.values()), gaps


def test_shared_prompts_go_through_flex_attention(checks, device):
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed, so the mask is spelt out")
    assert attention_for(device).__name__ == "attend_by_blocks"
    assert max(checks.shared_row(attention_for(device)).values()) < TOLERANCE


def test_recorded_decoding_equals_plain_decoding(checks, monkeypatch):
    """The same tokens and states from the same seeds, and the graph was really recorded and replayed."""
    replays, record = [], cascade_engine.recorded

    def counted(work, state):
        replay = record(work, state)
        assert replay is not work
        return lambda: (replays.append(1), replay())[1]

    settings = RolloutSettings(num_generations=3, max_new_tokens=40, engine="plain")
    policy, prompts = checks.policy, checks.prompts
    with torch.no_grad():
        right = sample_rollouts(policy, prompts, settings, SEEDS[: len(prompts.examples)], RecordedLayers())
        monkeypatch.setattr(cascade_engine, "recorded", counted)
        recorded = replace(settings, engine="cascade", cuda_graphs=True)
        found = sample_rollouts(policy, prompts, recorded, SEEDS[: len(prompts.examples)], RecordedLayers())
    assert replays
    assert torch.equal(found.completion_ids, right.completion_ids)
    for name in ("log_probs", "token_states", "frame_states"):
        torch.testing.assert_close(getattr(found, name), getattr(right, name), rtol=0, atol=TOLERANCE)


def test_bfloat16_is_near_float32(checks):
    """Arithmetic in bfloat16 as in training: log-probabilities and gradients are those of float32, but for rounding."""
    right, right_gradients = checks.with_gradients(completion_log_probs)
    with torch.autocast("cuda", torch.bfloat16):
        found, gradients = checks.with_gradients(shared_prefix_log_probs)
    mask = checks.inputs[1]
    assert relative_gap(found[mask], right[mask]) < MODEL_TOLERANCE
    assert float((gradients - right_gradients).norm() / right_gradients.norm()) < 0.1
    assert found.dtype == torch.float32 and gradients.isfinite().all()


def test_compiled_parts_compute_the_same(checks):
    right, right_gradients = checks.with_gradients(shared_prefix_log_probs)
    compile_parts(checks.policy.model)
    found, gradients = checks.with_gradients(shared_prefix_log_probs)
    assert float((found - right).abs().max()) < TOLERANCE
    assert float((gradients - right_gradients).norm() / right_gradients.norm()) < TOLERANCE
    with torch.autocast("cuda", torch.bfloat16):
        rounded, _ = checks.with_gradients(shared_prefix_log_probs)
    assert relative_gap(rounded[checks.inputs[1]], right[checks.inputs[1]]) < MODEL_TOLERANCE


def test_flash_attention_is_near_sdpa(checks, device, tmp_path):
    if importlib.util.find_spec("flash_attn") is None:
        pytest.skip("flash-attn is not installed: pip install -e '.[flash]' --no-build-isolation")
    checks.policy.model.to(torch.bfloat16)
    export(checks.policy, tmp_path)
    answers = {}
    for attention in ("sdpa", "flash_attention_2"):
        policy = load_checkpoint(str(tmp_path), dtype="bfloat16", attention=attention)
        policy.model.to(device)
        assert policy.model.config._attn_implementation == attention
        batch = drawn_batch(policy, 2)
        rollouts = greedy_rollouts(policy, batch, RolloutSettings(max_new_tokens=8))
        with torch.no_grad():
            answers[attention] = completion_log_probs(policy, batch, *checks.inputs[:2], checks.inputs[2])
        assert rollouts.log_probs.isfinite().all()
    mask = checks.inputs[1]
    assert relative_gap(answers["flash_attention_2"][mask], answers["sdpa"][mask]) < MODEL_TOLERANCE
