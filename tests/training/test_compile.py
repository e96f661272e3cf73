"""`trainer.compile=true` in a whole run; `tests/policy/test_compiled_parts.py` compares the numbers."""

from functools import partial

from museg.policy.compiled_parts import compile_parts
from museg.training import run
from tests.walks import tiny_runs

STEPS = ("cold_start=none", "phase.steps=0", "phase.total_steps=1", "rollout.max_new_tokens=8", "prompts_per_step=2")


def test_a_run_calls_what_was_compiled_for_it(outputs, tmp_path, monkeypatch):
    """Without generated kernels, which take a compiler."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    monkeypatch.setattr(run, "compile_parts", partial(compile_parts, backend=backend))
    options = (*STEPS, "validation.num_examples=4", "trainer.compile=true")
    tiny_runs.train(tiny_runs.settings(outputs, *options), tmp_path)
    assert compiled
    assert len(tiny_runs.rows(tmp_path, "train")) == 1
