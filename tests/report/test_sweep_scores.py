from dataclasses import replace

import pytest

from museg.report.drawing import drawing_style
from museg.report.sweep_folder import SweepMember
from museg.report.sweep_halves import Half
from museg.report.sweep_progress import Status
from museg.report.sweep_results import Configuration
from museg.report.sweep_scores import draw_scores


def made(settings, by_seed, num_planned=3):
    """A configuration with these sampled scores."""
    members = [SweepMember(seed, None, Status.WAITING, "", str(seed), settings) for seed in range(num_planned)]
    label = ", ".join(f"{name}={value}" for name, value in settings.items())
    return Configuration(label, settings, tuple(members), {("sampled", "mean_iou"): by_seed})


@pytest.fixture
def halves(monkeypatch):
    """The halves of every picture as they are drawn."""
    seen = []
    keep = Half.limit
    monkeypatch.setattr(Half, "limit", lambda half, *ends: (seen.append(half), keep(half, *ends))[1])
    return seen


def drawn(found, baseline, folder):
    with drawing_style():
        return draw_scores(found, baseline, folder)


def points(half, marker):
    lines = [line for line in half.axes.lines if line.get_marker() == marker and not line.get_alpha()]
    return sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines)


def test_numbers_stand_at_their_distance_and_differences_are_paired(tmp_path, halves):
    # each seed gains .05 from 200 and .01 from 900, whatever it began with: means .6 .65 .61, differences .05 and .01
    gains = {"0": 0.0, "200": 0.05, "900": 0.01}
    found = [
        made({"phase.steps": steps}, {str(seed): 0.5 + seed / 10 + gain for seed in range(3)})
        for steps, gain in gains.items()
    ]
    svg = drawn(found, found[0], tmp_path).svg
    assert halves[0].axes.get_xticks().tolist() == halves[1].axes.get_xticks().tolist() == [0, 200, 900]
    shift = 9.0  # of sampled from greedy ones: a hundredth of the axis
    assert points(halves[0], "o") == [
        (pytest.approx(x + shift), pytest.approx(y)) for x, y in ((0, 0.6), (200, 0.65), (900, 0.61))
    ]
    assert points(halves[1], "o") == [
        (pytest.approx(x + shift), pytest.approx(y)) for x, y in ((200, 0.05), (900, 0.01))
    ]
    assert ">difference to phase.steps=0, paired by seed</text>" in svg and ">phase.steps</text>" in svg
    low, high = halves[1].axes.get_ylim()
    assert low < 0 < high and ">baseline</text>" in svg


def test_names_stand_in_rows_with_the_number_of_their_seeds(tmp_path, halves):
    found = [made({"reward": name}, {"0": 0.5, "1": 0.6}) for name in ("sequential", "maximum")]
    found.append(made({"reward": "local_only"}, {}))
    svg = drawn(found, found[0], tmp_path).svg
    assert [text.get_text() for text in halves[0].axes.get_yticklabels()] == [
        f"{name}\n0 of 3 seeds" for name in ("sequential", "maximum", "local_only")
    ]
    assert svg.count(">+0.000</text>") == 1  # the mean difference of maximum, whose seeds end as those of the baseline
    assert ">baseline</text>" in svg


def test_a_bar_far_longer_than_the_dots_are_apart_is_cut(tmp_path, halves):
    # two seeds: t(.975, 1) = 12.7, so .5 and .54 have the interval .52 -+ .254; dots keep a quarter of the axis
    found = [made({"reward": name}, {"0": 0.5, "1": 0.54}) for name in ("a", "b")]
    drawn(found, found[0], tmp_path)
    low, high = halves[0].axes.get_xlim()
    assert 0.44 < low < 0.5 and 0.54 < high < 0.6
    assert [len(points(halves[0], marker)) for marker in "<>"] == [2, 2]
    assert points(halves[0], "<")[0][0] == pytest.approx(low)


def test_a_configuration_alone_has_no_differences(tmp_path, halves):
    only = replace(made({}, {"0": 0.5}), label="every run")
    svg = drawn([only], only, tmp_path).svg
    assert len(halves) == 1 and "difference to" not in svg and ">every run</text>" in svg
