"""The benchmark's sides write the same, and a side that does not is noticed."""

import json

import pytest

from tests.benchmarks import rollout
from tests.benchmarks.measure import Shape

SHAPE = Shape(160, 5, 3)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The same model, but for its size, in this process, which alone has other sizes."""
    sizes = {"hidden_size": 32, "num_layers": 2, "intermediate_size": 32, "vision_hidden_size": 32, "vision_depth": 2}
    monkeypatch.setattr(rollout, "SIZES", rollout.SIZES | sizes | {"vocab_size": 1000})
    monkeypatch.setattr(rollout, "in_new_process", lambda function, *args: function(*args))


def test_all_sides_write_the_same_and_are_measured(tmp_path):
    out = tmp_path / "rollout.json"
    rollout.main(["--shapes", str(SHAPE), "--runs", "2", "--out", str(out)])
    (row,) = json.loads(out.read_text())["rows"]
    assert row["measure"] == "rollout" and row["shape"] == "160x5x3" and row["ours"] == "cascade"
    assert row["sides"].keys() == {"generate", "num_return_sequences", "plain", "cascade"}
    assert all(len(side["seconds"]) == 2 and min(side["seconds"]) > 0 for side in row["sides"].values())
    assert row["ratio"]["cascade"] == 1
    # what is there is not measured again
    before = out.read_text()
    rollout.main(["--shapes", str(SHAPE), "--runs", "2", "--out", str(out), "--resume"])
    assert out.read_text() == before


def test_sides_write_all_tokens_of_all_rows():
    policy = rollout.made_policy()
    batch, *_ = rollout.made_inputs(policy, SHAPE)
    for side in rollout.SIDES.values():
        assert side(policy, batch, SHAPE, False).shape == (3, 5)


def test_a_side_that_disagrees_is_noticed(monkeypatch):
    shifted = {"cascade": lambda *inputs: rollout.SIDES["plain"](*inputs) + 1}
    monkeypatch.setattr(rollout, "SIDES", rollout.SIDES | shifted)
    with pytest.raises(SystemExit, match="cascade at 160x5x3: the likeliest tokens are not those of generate"):
        rollout.measured_s(SHAPE, 1)
