import numpy as np
import pytest

from museg.metrics.et_bench_summary import MERGED, means, merged, per_task

ACCURACIES = {"rar": {"pt": {"Acc": 0.5}}, "eca": {"charades": {"Acc": 0.25}}, "rvq": {"star": {"Acc": 0.3}}}
CAPTIONS = {
    "dvc": {"hirest": {"F1": 0.2, "SentSim": 0.1}, "youcook2": {"F1": 0.4, "SentSim": 0.3}},
    "slc": {"cross_task": {"F1": 0.6, "SentSim": 0.5}},
}


def test_sources_then_tasks_are_averaged():
    # dvc (0.2 + 0.4) / 2 = 0.3, slc 0.6: 45 %; over (task, source) rows (0.2 + 0.4 + 0.6) / 3 = 0.4
    assert merged(per_task(CAPTIONS))["F1 (cap)"] == pytest.approx(45)
    assert means(CAPTIONS)["Mean F1 (cap)"] == pytest.approx(0.4)
    assert means(CAPTIONS)["Mean SentSim"] == pytest.approx(0.3)
    # (0.5 + 0.25 + 0.3) / 3
    assert merged(per_task(ACCURACIES))["Acc (ref)"] == pytest.approx(35.0)


def test_a_missing_task_is_told_and_never_replaced():
    found = merged(per_task({task: ACCURACIES[task] for task in ("rar", "eca")} | CAPTIONS))
    assert set(found) == set(MERGED)
    assert [name for name, value in found.items() if value is not None] == ["F1 (cap)", "Sim (cap)"]


def test_a_missing_score_is_told():
    without = {task: {source: {"F1": 0.5} for source in sources} for task, sources in CAPTIONS.items()}
    found = merged(per_task(without))
    assert found["F1 (cap)"] == pytest.approx(50)
    assert found["Sim (cap)"] is None
    assert means(without)["Mean SentSim"] is None


def test_resampled_scores():
    resampled = {task: {"one": {"Acc": np.array([0.1, 0.4])}} for task in ("rar", "eca", "rvq")}
    assert merged(per_task(resampled))["Acc (ref)"] == pytest.approx([10, 40])
