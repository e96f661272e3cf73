import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from museg.config.sweep_plan import sweep_members
from museg.evaluation.published_ablations import NOT_KNOWN, PublishedAblation, published_ablations
from tests.config.options import CONF


@pytest.mark.parametrize("experiment", ["ablate_matching", "ablate_phase_length"])
def test_rows_are_the_configurations_of_the_recorded_sweep(experiment):
    ablation = published_ablations()[experiment]
    recorded = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
    params = OmegaConf.merge(recorded, {"phase": {"total_steps": 900}}).hydra.sweeper.params
    members = sweep_members(OmegaConf.to_container(params, resolve=True), [], OverridesParser.create())
    swept = [dict(override.split("=") for override in member)[ablation.setting] for member in members]
    assert list(ablation.rows) == list(dict.fromkeys(swept))
    assert "2505.20715" in ablation.source


def swept(setting, values, baseline):
    """Rows of sweep.csv: greedily a configuration has 0.1 more than the one before, sampled 0.2 less than greedily."""
    rows = [
        {
            setting: value,
            "configuration": f"{setting}={value}",
            "mode": mode,
            "score": score,
            "mean": 0.1 * place - less,
        }
        for place, value in enumerate(values)
        for mode, less in (("greedy", 0.0), ("sampled", 0.2))
        for score in ("mean_iou", "recall@0.3")
    ]
    start = {row["mode"]: row["mean"] for row in rows if row[setting] == baseline}
    for row in rows:
        row |= {"baseline": f"{setting}={baseline}", "difference": row["mean"] - start[row["mode"]]}
        row |= {"difference_low": row["difference"] - 0.05, "difference_high": row["difference"] + 0.05}
    return rows


def test_a_filled_ablation_stands_beside_a_sweep_by_its_setting():
    known = {"0": {"F1": 0.3}, "400": {"F1": 0.5, "R": 0.75}, "900": {"F1": 0.45}, "600": {}}
    ablation = PublishedAblation("somewhere", "phase.steps", known, of_steps=900)
    # 400 of 900 steps are 80 of 180, the sweep's baseline; it has no 600 of 900, which is 120 of 180
    rows = {row["phase.steps"]: row for row in ablation.beside(swept("phase.steps", [0, 80, 180], 80), 180)}
    assert list(rows) == ["0", "80", "180", "120"]
    assert rows["0"] == {
        "phase.steps": "0",
        "paper F1": 0.3,
        "paper F1, difference": pytest.approx(-0.2),
        "paper R": NOT_KNOWN,
        "paper R, difference": NOT_KNOWN,
        "greedy mIoU": 0.0,
        "greedy mIoU, difference": pytest.approx(-0.1),
        "greedy mIoU, low": pytest.approx(-0.15),
        "greedy mIoU, high": pytest.approx(-0.05),
        "sampled mIoU": -0.2,
        "sampled mIoU, difference": pytest.approx(-0.1),
        "sampled mIoU, low": pytest.approx(-0.15),
        "sampled mIoU, high": pytest.approx(-0.05),
    }
    assert (rows["80"]["paper R"], rows["80"]["paper R, difference"]) == (0.75, 0.0)
    assert rows["120"]["paper F1"] == NOT_KNOWN and rows["120"]["sampled mIoU"] is None


def test_what_is_not_known_says_so():
    for ablation in published_ablations().values():
        values = list(ablation.rows)
        table = ablation.beside(swept(ablation.setting, values, values[0]), ablation.of_steps or 180)
        assert [row[ablation.setting] for row in table] == values
        assert all(row["greedy mIoU"] is not None for row in table)
        told = [value for row in table for name, value in row.items() if name.startswith("paper")]
        assert told and all(isinstance(value, float | int) or value == NOT_KNOWN for value in told)


def test_only_a_sweep_of_the_same_setting_repeats_an_ablation():
    ablation = PublishedAblation("somewhere", "reward", {"a": {}})
    assert ablation.is_repeated_by(["configuration", "reward", "mode", "score"])
    assert not ablation.is_repeated_by(["configuration", "phase.steps", "mode", "score"])
    assert not ablation.is_repeated_by(["configuration", "reward", "phase.steps", "mode", "score"])
