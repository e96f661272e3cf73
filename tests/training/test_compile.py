"""`trainer.compile=true` in a whole run; torch.compile's own speed is no matter of tests."""

from functools import partial

import torch

from museg.policy.compiled_parts import compile_parts
from museg.training import run
from museg.training.checkpoints import complete_checkpoints
from tests.walks import tiny_runs

STEPS = ("cold_start=none", "phase.steps=1", "phase.total_steps=2", "rollout.max_new_tokens=8", "prompts_per_step=2")


def trained(outputs, run_dir, *overrides):
    """Final weights of a short run, and its rows without timings."""
    tiny_runs.train(tiny_runs.settings(outputs, *STEPS, "validation.num_examples=4", *overrides), run_dir)
    return complete_checkpoints(run_dir)[-1].weights(), tiny_runs.without_timings(run_dir, "train")


def test_a_run_with_compiled_parts_is_the_same_run(outputs, tmp_path, monkeypatch):
    """Without generated kernels, which would round otherwise: what is compiled is called, and in the same order."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    monkeypatch.setattr(run, "compile_parts", partial(compile_parts, backend=backend))
    weights, rows = trained(outputs, tmp_path / "plain")
    assert compiled == []
    compiled_weights, compiled_rows = trained(outputs, tmp_path / "compiled", "trainer.compile=true")
    assert compiled and compiled_rows == rows
    assert all(torch.equal(compiled_weights[name], weight) for name, weight in weights.items())
