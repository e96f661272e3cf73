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


def test_what_is_not_known_says_so():
    for ablation in published_ablations().values():
        table = ablation.table()
        assert [row[ablation.setting] for row in table] == list(ablation.rows)
        values = [value for row in table for name, value in row.items() if name != ablation.setting]
        assert all(isinstance(value, float | int) or value == NOT_KNOWN for value in values)
        assert ablation.is_known == (NOT_KNOWN not in values)


def test_columns_come_from_the_rows():
    ablation = PublishedAblation("somewhere", "reward", {"a": {"F1": 0.5}, "b": {"F1": 0.25, "R": 1.0}, "c": {}})
    assert ablation.table() == [
        {"reward": "a", "F1": 0.5, "R": NOT_KNOWN},
        {"reward": "b", "F1": 0.25, "R": 1.0},
        {"reward": "c", "F1": NOT_KNOWN, "R": NOT_KNOWN},
    ]
    assert not ablation.is_known
