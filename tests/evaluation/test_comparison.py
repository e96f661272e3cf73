import math

import numpy as np
import pytest

from museg.evaluation import comparison
from museg.evaluation.comparison import ComparedRun, Evaluation, compare_runs
from museg.metrics.sample_table import SPOILED, SampleTable


def table(columns: dict[str, list[float]], positions=None) -> SampleTable:
    made = SampleTable(tuple(columns))
    rows = list(zip(*columns.values(), strict=True))
    for position, row in zip(positions or range(len(rows)), rows, strict=True):
        made.update(position, dict(zip(columns, row, strict=True)))
    return made


def first_group(groups):
    """What a benchmark of one group reports of itself: that group's metrics."""
    return next(iter(groups.values()))


def run(name: str, values: list[float], benchmark="charades_sta", **changes) -> ComparedRun:
    ids = [f"s{place}" for place in range(len(values))]
    settings = {"sample_ids": ids, "tables": {"all": {"official": table({"m_iou": values})}}, "overall": first_group}
    return ComparedRun(name, {benchmark: Evaluation(**(settings | changes))})


def only(compared: comparison.Comparison) -> comparison.ComparedMetric:
    (metric,) = compared.metrics
    return metric


def test_the_interval_of_a_mean_is_the_one_of_theory():
    values = list(np.random.default_rng(5).random(400))
    metric = only(compare_runs([run("a", values), run("b", values)]))
    # The mean of 400 draws has standard error std / sqrt(400); 95 % lie within 1.96 of those.
    half = 1.96 * np.std(values) / 20
    assert metric.estimates[0].value == pytest.approx(np.mean(values))
    assert metric.estimates[0].low == pytest.approx(np.mean(values) - half, abs=0.15 * half)
    assert metric.estimates[0].high == pytest.approx(np.mean(values) + half, abs=0.15 * half)


def test_runs_are_paired_sample_by_sample():
    values = list(np.random.default_rng(1).random(200))
    better = [value + 0.01 for value in values]
    difference = only(compare_runs([run("a", values), run("b", better)])).differences[0]
    # Every sample is 0.01 better, so every resample is, however much the samples differ among themselves.
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.01, 0.01, 0.01))
    assert difference.p_value == pytest.approx(2 / 10_001)  # 2 (0 + 1) / (10,000 + 1)


def test_equal_runs_do_not_differ():
    values = [0.1, 0.5, 0.9]
    difference = only(compare_runs([run("a", values), run("b", values)])).differences[0]
    assert (difference.value, difference.low, difference.high, difference.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_the_p_value_of_a_sign_test():
    # 7 of 10 differences are +1, three are -1. A resample's sum is <= 0 when one of the three is drawn 5 times or more:
    # P(Binomial(10, 0.3) >= 5) = 0.1503, and twice that is 0.3006; the other side is more likely.
    rises = [1.0] * 7 + [-1.0] * 3
    difference = only(compare_runs([run("a", [0.0] * 10), run("b", rises)])).differences[0]
    assert difference.p_value == pytest.approx(0.3006, abs=0.02)


def test_groups_are_resampled_apart_and_joined_by_the_benchmarks_rule():
    def mean_over_groups(groups):
        return {"official": {"mean": sum(sections["official"]["x"] for sections in groups.values()) / len(groups)}}

    tables = {
        "tvg/a": {"official": table({"x": [0.0] * 30})},
        "tal/b": {"official": table({"x": [1.0] * 5}, range(30, 35))},
    }
    runs = [run(name, [0.0] * 35, tables=tables, overall=mean_over_groups) for name in "ab"]
    metrics = {(m.group, m.name): m.estimates[0] for m in compare_runs(runs).metrics}
    # Constant within each group: mixing the groups would give any share of ones, drawing within them always 1/2.
    assert {key: (e.value, e.low, e.high) for key, e in metrics.items()} == {
        ("", "mean"): (0.5, 0.5, 0.5),
        ("tvg/a", "x"): (0.0, 0.0, 0.0),
        ("tal/b", "x"): (1.0, 1.0, 1.0),
    }


def test_a_metric_that_is_no_mean_is_worked_out_on_every_resample():
    class Ratio(SampleTable):
        def summarise(self, means):
            return {"F1": 2 * means["p"] * means["r"] / (means["p"] + means["r"])}

    made = Ratio(("p", "r"))
    for position, (p, r) in enumerate([(1.0, 0.5), (0.5, 1.0)] * 50):
        made.update(position, {"p": p, "r": r})
    tables = {"all": {"official": made}}
    metric = only(compare_runs([run("a", [0.0] * 100, tables=tables), run("b", [0.0] * 100, tables=tables)]))
    # p + r is 1.5 in every resample; p r is largest at p = r = 0.75, where all samples are: F1 = 2 p r / 1.5 <= 0.75.
    assert metric.estimates[0].value == pytest.approx(0.75)
    assert metric.estimates[0].high <= 0.75 + 1e-12
    assert metric.estimates[0].low < 0.75


def test_samples_that_do_not_count_and_those_that_spoil():
    uncounted = only(compare_runs([run(name, [math.nan, 0.5, 0.5]) for name in "ab"])).estimates[0]
    # One resample in 27 holds the uncounted sample alone and is undefined; in all others the mean is 0.5.
    assert (uncounted.value, uncounted.low, uncounted.high) == (0.5, 0.5, 0.5)
    spoiled = only(compare_runs([run(name, [SPOILED, 0.5]) for name in "ab"])).estimates[0]
    assert math.isnan(spoiled.value)
    assert (spoiled.low, spoiled.high) == (None, None)


def test_a_table_that_leaves_samples_out_is_paired_by_position():
    # Of three samples the second run's table holds only the last two; a resample weighs them by the shared draw.
    whole = {"all": {"official": table({"x": [0.0, 1.0, 1.0]})}}
    part = {"all": {"official": table({"x": [1.0, 1.0]}, [1, 2])}}
    compared = compare_runs([run("a", [0.0] * 3, tables=whole), run("b", [0.0] * 3, tables=part)])
    difference = only(compared).differences[0]
    assert difference.value == pytest.approx(1 / 3)
    assert difference.low == 0.0  # the left-out sample is not drawn
    assert difference.high == pytest.approx(2 / 3)  # drawn twice (thrice leaves nothing defined)


def test_the_same_seed_gives_the_same_numbers_whatever_else_is_compared():
    a, b = list(np.random.default_rng(2).random(50)), list(np.random.default_rng(3).random(50))
    alone = only(compare_runs([run("a", a), run("b", b)], 500))
    beside = [
        ComparedRun(name, {**run(name, b, "thumos14").evaluations, **run(name, values).evaluations})
        for name, values in (("a", a), ("b", b))
    ]
    metrics = {metric.benchmark: metric for metric in compare_runs(beside, 500).metrics}
    assert metrics["charades_sta"] == alone
    assert only(compare_runs([run("a", a), run("b", b)], 500, seed=1)) != alone


def test_a_benchmark_that_one_run_lacks_has_no_difference_there():
    second = ComparedRun("b", {**run("b", [1.0, 1.0]).evaluations, **run("b", [0.5], "thumos14").evaluations})
    metrics = {metric.benchmark: metric for metric in compare_runs([run("a", [0.0, 0.0]), second]).metrics}
    assert metrics["charades_sta"].differences[0].value == 1.0
    assert metrics["thumos14"].estimates[0] is None
    assert metrics["thumos14"].differences == (None,)


def test_headline_metrics_are_marked():
    runs = [run(name, [0.5], headline=[("official", "m_iou")]) for name in "ab"]
    assert only(compare_runs(runs)).is_headline


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([run("a", [1.0])], r"needs two or more runs of different names, got \['a'\]"),
        ([run("a", [1.0]), run("a", [1.0])], r"different names, got \['a', 'a'\]"),
        ([run("a", [1.0]), run("b", [1.0], "thumos14")], r"no benchmark in common \(a: charades_sta; b: thumos14\)"),
        ([run("a", [1.0] * 3), run("b", [1.0] * 5)], "a has 3 samples and b 5; 0 are only in the first, 2 only in the"),
        ([run("a", [1.0] * 2), run("b", [1.0] * 2, sample_ids=["s1", "s0"])], "and their order differs"),
    ],
    ids=["one", "same-name", "other-benchmark", "other-samples", "other-order"],
)
def test_runs_that_cannot_be_compared(runs, message):
    with pytest.raises(ValueError, match=message):
        compare_runs(runs)
