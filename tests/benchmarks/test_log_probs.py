"""The benchmark's sides agree, and a side that does not is noticed."""

import json

import pytest
import torch

from tests.benchmarks import log_probs, summary, vocabulary
from tests.benchmarks.measure import Shape, peak_here_mib

SHAPE = Shape.read("160x6x3")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The same model, but for its size."""
    sizes = {"hidden_size": 32, "num_layers": 2, "intermediate_size": 32, "vision_hidden_size": 32, "vision_depth": 2}
    monkeypatch.setattr(log_probs, "SIZES", log_probs.SIZES | sizes | {"vocab_size": 1000})


def test_inputs_have_the_asked_shape():
    policy, _ = log_probs.made_models()
    batch, ids, mask, num_generations = log_probs.made_inputs(policy, SHAPE)
    assert batch.input_ids.shape == (1, 160) and ids.shape == mask.shape == (3, 6) and num_generations == 3
    # two steps of 48 tokens leave 64 for the text; one more step would not
    assert int((batch.input_ids == policy.ids.video_id).sum()) == 2 * 48
    assert batch.pixel_values.shape == (2 * 12 * 16, 1176)


def test_all_sides_are_measured_and_agree():
    found = log_probs.measured_s(SHAPE, 2)
    assert found.keys() == {"wall_s", "processor_s"}
    for sides in found.values():
        assert sides.keys() == {"released", "plain", "shared"}
        assert all(len(runs) == 2 and min(runs) > 0 for runs in sides.values())


def test_a_side_that_disagrees_is_noticed(monkeypatch):
    shifted = {"shared": lambda *inputs: log_probs.SIDES["plain"](*inputs) + 1e-3}
    monkeypatch.setattr(log_probs, "SIDES", log_probs.SIDES | shifted)
    with pytest.raises(SystemExit, match=r"shared at 160x6x3: log-probabilities are 0\.00"):
        log_probs.measured_s(SHAPE, 1)


def test_the_work_of_a_side_is_that_of_policy_and_reference(monkeypatch):
    """Of which a fresh process measures the peak (`tests.benchmarks.test_measure`)."""
    trained = []

    def noted(policy, *inputs):
        trained.append(any(weight.requires_grad for weight in policy.model.parameters()))
        return log_probs.SIDES["shared"](policy, *inputs)

    monkeypatch.setattr(log_probs, "SIDES", log_probs.SIDES | {"noted": noted})
    work = log_probs.prepared("noted", SHAPE)
    assert trained == []
    work()
    assert trained == [True, False]


def test_a_side_without_room_is_left_out_and_says_so(monkeypatch):
    monkeypatch.setattr(log_probs, "free_mib", lambda: 5 * 1024)
    sides, left_out = log_probs.fitting(Shape.read("2048x128x8"))
    # 8 x 2176 tokens at 0.65 MiB are 11 GiB, at 0.25 MiB 4.25 GiB; 3072 at 0.45 MiB are 1.4 GiB
    assert list(sides) == ["plain", "shared"]
    assert left_out == {"released": "needs about 11 GiB, 5 GiB are free"}


def test_resuming_keeps_what_is_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(log_probs, "peak_mib", lambda prepare, *args: peak_here_mib(prepare(*args)) + 1)
    monkeypatch.setattr(log_probs, "in_new_process", lambda function, *args: function(*args))  # which has other sizes
    command = ["--runs", "1", "--out", str(tmp_path / "found.json"), "--shapes", "112x4x2"]
    log_probs.main(command)
    first = json.loads((tmp_path / "found.json").read_text("utf-8"))["rows"]
    log_probs.main([*command, "160x6x3", "--resume"])
    second = json.loads((tmp_path / "found.json").read_text("utf-8"))["rows"]
    assert second[:1] == first and [row["shape"] for row in second] == ["112x4x2", "160x6x3"]
    assert all(row["sides"].keys() == {"released", "plain", "shared"} for row in second)


def test_the_grid_is_whole_and_grows():
    assert len(set(log_probs.GRID)) == 4 * 3 * 3
    assert str(log_probs.GRID[0]) == "256x64x4" and str(log_probs.GRID[-1]) == "3700x256x16"


def test_the_head_in_chunks_and_at_once_are_one_head(monkeypatch):
    monkeypatch.setattr(vocabulary, "VOCABULARY", 40_000)
    shape = Shape.read("384x64x4")  # 256 tokens are two chunks
    torch.testing.assert_close(vocabulary.in_chunks(shape)(), vocabulary.at_once(shape)(), rtol=1e-4, atol=1e-6)


def test_growth_is_what_the_gradient_of_hidden_states_does_not_explain():
    # 4 bytes x 8 completions x 64 tokens x 256 values are 0.5 MiB, of 512 tokens 4 MiB
    assert [vocabulary.hidden_states_mib(Shape(384, tokens, 8)) for tokens in (64, 512)] == [0.5, 4.0]
    short, long = (
        {"sides": {"head": {"peak_mib": peak}}, "values": {"hidden_states_mib": hidden}}
        for peak, hidden in ((232.8, 0.5), (310.5, 4.0))
    )
    # 77.7 more, of which 3.5 are the gradient's
    assert vocabulary.growth_beyond_hidden_mib(short, long) == 74.2
    grown = {"measure": "head", "shape": "384x512x8", "ours": "head", "values": {"growth_beyond_hidden_mib": 74.2}}
    (line,) = summary.lines_of("log_probs_vocabulary", grown)
    assert line[2:5] == ("growth_beyond_hidden_mib", "<= 3", "74.2 (missed)")
