"""A sweep's main picture: the final score of every configuration beside its difference to the baseline.

Configurations stand in rows or, where they differ in one number alone, at that number on a horizontal axis. Light dots
are seeds (of differences: pairs of one seed), a dark one their mean, a bar its interval.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from museg.metrics.keys import MODES
from museg.report.curves import LEGEND_ROW_IN, LEGEND_SPACING
from museg.report.drawing import COLOURS, Picture, save
from museg.report.facts import signed
from museg.report.panels import MODE_COLOURS
from museg.report.sweep_halves import NUMBERS_IN, TOP_IN, Bar, Half, limit, side_by_side
from museg.report.sweep_labels import picture_labels
from museg.report.sweep_results import Configuration
from museg.report.sweep_statistics import estimate

MAX_LABEL_CHARS = 34
MARKERS = {"greedy": "D", "sampled": "o"}
SEEDS = {"marker": "o", "markersize": 4.2, "markeredgewidth": 0, "alpha": 0.45, "zorder": 2}
Values = Mapping[str, float]
"""Seed -> value."""


def draw_scores(found: Sequence[Configuration], baseline: Configuration, folder: Path) -> Picture:
    """Draw the final held-out mean IoU of every configuration (inside `drawing_style`)."""
    numbers = _numbers(found)
    places = numbers or [float(row) for row in range(len(found))]
    at = next(place for place, one in enumerate(found) if one is baseline)
    names = picture_labels([one.settings for one in found], MAX_LABEL_CHARS)
    figure, halves = side_by_side(found, names, numbers)
    step = (max(numbers) - min(numbers)) / 100 if numbers else 0.1
    shifts = dict(zip(MODES, (-step, step), strict=True))
    scores = {mode: [one.scores.get((mode, "mean_iou"), {}) for one in found] for mode in MODES}
    apart = {mode: [_apart(one, baseline, mode) for one in found] for mode in MODES}
    against = baseline.label if len(baseline.label) <= MAX_LABEL_CHARS else "the baseline"
    titles = ("mean IoU", f"difference to {against}, paired by seed")
    for half, by_mode, title in zip(halves, (scores, apart), titles, strict=False):
        bars = [bar for mode in MODES for bar in _draw_mode(half, mode, places, shifts[mode], by_mode[mode])]
        dots = [value for found_in_mode in by_mode.values() for values in found_in_mode for value in values.values()]
        limit(half, [*dots, 0.0] if by_mode is apart else dots, bars)
        half.axes.set_title(title, loc="left", fontsize=8.5, color=COLOURS["ink"], pad=5)
    for half in halves[1:]:
        half.line(0.0, color=COLOURS["ink"], linewidth=1.0, zorder=1)
        half.write("baseline", places[at], 0.0)
        for mode, values in apart.items() if not numbers else ():
            _write_means(half.axes, mode, [place + 1.5 * shifts[mode] for place in places], values)
    _draw_legend(halves[0], [mode for mode in MODES if any(scores[mode])])
    return save(figure, "sweep_scores", "Held-out mean IoU after the last step", folder)


def _numbers(found: Sequence[Configuration]) -> list[float]:
    """The value of the one setting that varies, where it is a number in every configuration; none elsewhere."""
    values = [_number(value) for one in found for value in one.settings.values()]
    is_one = len(found) > 1 and len(found[0].settings) == 1
    return [value for value in values if value is not None] if is_one and None not in values else []


def _number(text: str) -> float | None:
    try:
        return float(text) if isfinite(float(text)) else None
    except ValueError:
        return None


def _apart(one: Configuration, baseline: Configuration, mode: str) -> Values:
    """The differences to the baseline, by the seeds that both have; none of the baseline to itself."""
    values, others = (c.scores.get((mode, "mean_iou"), {}) for c in (one, baseline))
    return {} if one is baseline else {seed: values[seed] - others[seed] for seed in values if seed in others}


def _draw_mode(half: Half, mode: str, places: Sequence[float], shift: float, found: Sequence[Values]) -> list[Bar]:
    """Draw what the configurations have in one mode, each near its place; returns the bars of the intervals."""
    colour, bars = COLOURS[MODE_COLOURS[mode]], []
    for seed in sorted({seed for values in found for seed in values}):
        have = [
            (place + 2.6 * shift, values[seed]) for place, values in zip(places, found, strict=True) if seed in values
        ]
        half.plot(*zip(*have, strict=True), color=colour, linewidth=0.6 * half.are_joined, **SEEDS)
    for place, values in zip(places, found, strict=True):
        mean = estimate(list(values.values()))
        if mean is None:
            continue
        if mean.low is not None and mean.high is not None:
            half.plot([place + shift] * 2, [mean.low, mean.high], color=colour, linewidth=2.0, zorder=3)
            bars.append((place + shift, mean.low, mean.high, colour))
        half.plot([place + shift], [mean.mean], color=colour, marker=MARKERS[mode], markersize=6.5, zorder=4)
    return bars


def _write_means(axes: Axes, mode: str, places: Sequence[float], found: Sequence[Values]) -> None:
    """The mean differences as numbers beside the rows."""
    for place, values in zip(places, found, strict=True):
        if mean := estimate(list(values.values())):
            beside = {"xycoords": ("axes fraction", "data"), "va": "center", "ha": "right", "annotation_clip": False}
            right = 1 + NUMBERS_IN / (axes.bbox.width / axes.get_figure().dpi)
            axes.annotate(signed(mean.mean, 3), (right - 0.01, place), color=COLOURS[MODE_COLOURS[mode]], **beside)


def _draw_legend(half: Half, modes: Sequence[str]) -> None:
    """The decoding modes by colour and form, above the titles of the halves."""
    marks = [
        Line2D([], [], color=COLOURS[MODE_COLOURS[mode]], marker=MARKERS[mode], linewidth=1.8, markersize=6, label=mode)
        for mode in modes
    ]
    above = 1 + (TOP_IN - LEGEND_ROW_IN) / (half.axes.bbox.height / half.axes.get_figure().dpi)
    half.axes.legend(handles=marks, loc="lower left", bbox_to_anchor=(0, above), ncols=2, **LEGEND_SPACING)
