import copy
import json

import pytest
import torch

from museg.policy.compiled_parts import compile_parts
from museg.policy.export import export
from museg.policy.fallback import FellBack
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.policy.reference import Reference
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from tests.policy.drawn_clips import drawn_batch

TEXTS = ["<answer>2.0-5.0</answer>", "<answer></answer>"]


def of(policy):
    """Log-probabilities of two completions, and the gradients of all weights in one row."""
    batch, (ids, mask) = drawn_batch(policy, 2), encode_completions(policy, TEXTS)
    log_probs = completion_log_probs(policy, batch, ids, mask, 1)
    gradients = torch.autograd.grad(log_probs.sum(), list(policy.model.parameters()))
    return log_probs.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def counting_backend(graphs):
    """A backend that runs what it is given as it is, and keeps it."""

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    return backend


def test_numbers_stay(own_policy):
    right, right_gradients = of(own_policy)
    names = list(own_policy.model.state_dict())
    compile_parts(own_policy.model, "aot_eager")
    assert list(own_policy.model.state_dict()) == names
    found, gradients = of(own_policy)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-5)
    torch.testing.assert_close(gradients, right_gradients, rtol=1e-4, atol=1e-5)


def test_rollouts_stay(own_policy):
    batch, settings, graphs = drawn_batch(own_policy, 2), RolloutSettings(max_new_tokens=8), []
    answers = greedy_rollouts(own_policy, batch, settings)
    compile_parts(own_policy.model, counting_backend(graphs))
    assert torch.equal(greedy_rollouts(own_policy, batch, settings).completion_ids, answers.completion_ids)
    assert graphs


def test_layers_share_what_is_compiled_and_a_reference_has_it_too(own_policy):
    graphs = []
    compile_parts(own_policy.model, counting_backend(graphs))
    batch, (ids, mask) = drawn_batch(own_policy, 2), encode_completions(own_policy, TEXTS)
    with torch.no_grad():
        right = completion_log_probs(own_policy, batch, ids, mask, 1)
        # norms of decoder and tower, feed-forward layers of both; not one for each of the two layers
        assert 1 < len(graphs) <= 6
        num_graphs = len(graphs)
        copied = copy.deepcopy(own_policy)
        assert torch.equal(completion_log_probs(copied, batch, ids, mask, 1), right)
        assert torch.equal(completion_log_probs(Reference(own_policy).policy, batch, ids, mask, 1), right)
    assert len(graphs) <= 2 * num_graphs  # each once more: weights of a reference want no gradient


def test_where_nothing_compiles_the_layers_go_on(own_policy):
    right, _ = of(own_policy)

    def broken(graph, inputs):
        raise RuntimeError("no compiler")

    compile_parts(own_policy.model, broken)
    with pytest.warns(FellBack) as told:
        assert torch.equal(of(own_policy)[0], right)
        assert torch.equal(of(own_policy)[0], right)
    lines = sorted(str(one.message) for one in told if one.category is FellBack)
    assert [line.split(" ")[0] for line in lines] == ["Qwen2MLP", "Qwen2_5_VLMLP", "Qwen2_5_VLRMSNorm"]
    assert lines[0] == (
        "Qwen2MLP (trainer.compile) cannot be compiled here, it is done uncompiled: RuntimeError: no compiler"
    )


def test_an_export_does_not_show_it(own_policy, tmp_path):
    compile_parts(own_policy.model, "eager")
    export(own_policy, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]
