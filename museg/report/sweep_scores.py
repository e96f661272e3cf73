"""A sweep's main picture: the final score of every configuration beside its difference to the baseline.

Configurations stand in rows or, where they differ in one number alone, at that number on a horizontal axis. Light dots
are seeds (of differences: pairs of one seed), a dark one their mean, a bar its interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from museg.metrics.keys import MODES
from museg.report.curves import LEGEND_ROW_IN, LEGEND_SPACING
from museg.report.drawing import COLOURS, Margins, Picture, add_axes, new_figure, save
from museg.report.facts import signed
from museg.report.panels import MODE_COLOURS
from museg.report.sweep_labels import picture_labels
from museg.report.sweep_results import Configuration
from museg.report.sweep_statistics import estimate

WIDTH_IN, MIN_ROW_IN, LINE_IN, UPRIGHT_IN = 8.2, 0.5, 0.15, 2.5
TOP_IN, NUMBERS_IN = 0.45, 0.55
MAX_LABEL_CHARS, CHAR_IN = 34, 0.068
MARKERS = {"greedy": "D", "sampled": "o"}
MAX_TICKS = 10
SEEDS = {"marker": "o", "markersize": 4.2, "markeredgewidth": 0, "alpha": 0.45, "zorder": 2}
CUT_SHARE = 0.6
"""How far an axis may reach beyond the dots, as a share of their range: the bar of an interval that goes on is cut."""
MIN_RANGE = 1e-3
Values = Mapping[str, float]
"""Seed -> value."""
Bar = tuple[float, float, float, str]
"""Place, ends and colour of an interval."""


@dataclass(frozen=True)
class Half:
    """One half of the picture: axes on which configurations have places and scores have values."""

    axes: Axes
    is_upright: bool
    """Whether places lie on the horizontal axis and values on the vertical one."""
    are_joined: bool
    """Whether lines join the values of one seed."""

    def plot(self, places: Sequence[float], values: Sequence[float], **style: object) -> None:
        """Points or a line."""
        self.axes.plot(*((places, values) if self.is_upright else (values, places)), **style)

    def line(self, value: float, **style: object) -> None:
        """A line across all places."""
        (self.axes.axhline if self.is_upright else self.axes.axvline)(value, **style)

    def write(self, text: str, place: float, value: float) -> None:
        """A word beside a point, on the side where there is more room."""
        low, high = self.axes.get_ylim() if self.is_upright else self.axes.get_xlim()
        side = 1 if value - low < high - value else -1
        start, end = self.axes.get_xlim()
        if self.is_upright:
            point, offset, level = (place, value), (0, 4 * side), "bottom" if side > 0 else "top"
            share = (place - start) / (end - start)
            beside = "left" if share < 0.1 else "right" if share > 0.9 else "center"
        else:
            point, offset, level = (value, place), (5 * side, 0), "center"
            beside = "left" if side > 0 else "right"
        style = {"ha": beside, "va": level, "color": COLOURS["muted"], "textcoords": "offset points"}
        self.axes.annotate(text, point, offset, **style)

    def limit(self, low: float, high: float) -> None:
        """Which values are shown."""
        (self.axes.set_ylim if self.is_upright else self.axes.set_xlim)(low, high)


def draw_scores(found: Sequence[Configuration], baseline: Configuration, folder: Path) -> Picture:
    """Draw the final held-out mean IoU of every configuration (inside `drawing_style`)."""
    numbers = _numbers(found)
    places = numbers or [float(row) for row in range(len(found))]
    at = next(place for place, one in enumerate(found) if one is baseline)
    names = picture_labels([one.settings for one in found], MAX_LABEL_CHARS)
    figure, halves = _halves(found, names, numbers)
    step = (max(numbers) - min(numbers)) / 100 if numbers else 0.1
    shifts = dict(zip(MODES, (-step, step), strict=True))
    scores = {mode: [one.scores.get((mode, "mean_iou"), {}) for one in found] for mode in MODES}
    apart = {mode: [_apart(one, baseline, mode) for one in found] for mode in MODES}
    against = baseline.label if len(baseline.label) <= MAX_LABEL_CHARS else "the baseline"
    titles = ("mean IoU", f"difference to {against}, paired by seed")
    for half, by_mode, title in zip(halves, (scores, apart), titles, strict=False):
        bars = [bar for mode in MODES for bar in _draw_mode(half, mode, places, shifts[mode], by_mode[mode])]
        dots = [value for found_in_mode in by_mode.values() for values in found_in_mode for value in values.values()]
        _limit(half, [*dots, 0.0] if by_mode is apart else dots, bars)
        half.axes.set_title(title, loc="left", fontsize=8.5, color=COLOURS["ink"], pad=5)
    for half in halves[1:]:
        half.line(0.0, color=COLOURS["ink"], linewidth=1.0, zorder=1)
        half.write("baseline", places[at], 0.0)
        for mode, values in apart.items() if not numbers else ():
            _write_means(half.axes, mode, [place + 1.5 * shifts[mode] for place in places], values)
    _draw_legend(halves[0])
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


def _halves(
    found: Sequence[Configuration], names: Sequence[str], numbers: Sequence[float]
) -> tuple[Figure, list[Half]]:
    """The axes side by side, with the names of the configurations; of a single one there are no differences."""
    rows = [_with_seeds(name, one) for name, one in zip(names, found, strict=True)]
    left_in = 0.5 if numbers else 0.2 + CHAR_IN * max(len(line) for name in rows for line in name.split("\n"))
    between_in, right_in = (0.55, 0.1) if numbers else (0.25, NUMBERS_IN)
    inner_in = (WIDTH_IN - left_in - between_in - right_in) / 2
    row_in = max(MIN_ROW_IN, LINE_IN * (1.5 + max(name.count("\n") for name in rows)))
    height_in = UPRIGHT_IN if numbers else row_in * len(found)
    bottom_in = 0.45 if numbers else 0.3
    figure = new_figure(WIDTH_IN, TOP_IN + height_in + bottom_in)
    halves = []
    for start_in in (left_in, left_in + inner_in + between_in)[: min(2, len(found))]:
        margins = Margins(start_in, WIDTH_IN - start_in - inner_in, TOP_IN, bottom_in)
        halves.append(Half(add_axes(figure, margins), bool(numbers), are_joined=bool(numbers) and not halves))
    for half in halves:
        half.axes.set_axisbelow(True)
        if numbers:
            _number_places(half.axes, numbers, next(iter(found[0].settings)))
        else:
            _name_rows(half.axes, rows if half is halves[0] else [""] * len(rows))
    return figure, halves


def _with_seeds(name: str, one: Configuration) -> str:
    """A configuration's name, a line for each setting, and how many of its seeds are finished where some are not."""
    planned = len({member.seed for member in one.members})
    lines = name.split(", ")
    return "\n".join(lines if one.num_finished == planned else [*lines, f"{one.num_finished} of {planned} seeds"])


def _number_places(axes: Axes, numbers: Sequence[float], name: str) -> None:
    room = 0.06 * (max(numbers) - min(numbers))
    axes.set_xlim(min(numbers) - room, max(numbers) + room)
    axes.set_xlabel(name, color=COLOURS["ink"])
    if len(numbers) <= MAX_TICKS:
        axes.set_xticks(sorted(numbers), [f"{number:g}" for number in sorted(numbers)])
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.6)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, color=COLOURS["ink"])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x", color=COLOURS["grid"], linewidth=0.6)
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color=COLOURS["grid"], linewidth=0.6, zorder=0)


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


def _limit(half: Half, dots: Sequence[float], bars: Sequence[Bar]) -> None:
    """Show every dot, and of the bars as much as leaves the dots apart; an arrow where a bar goes on."""
    if not dots:
        return
    reach = CUT_SHARE * max(max(dots) - min(dots), MIN_RANGE)
    low = max(min(dots) - reach, min([bar[1] for bar in bars] + [min(dots)]))
    high = min(max(dots) + reach, max([bar[2] for bar in bars] + [max(dots)]))
    room = 0.05 * max(high - low, MIN_RANGE)
    half.limit(low - room, high + room)
    back, forth = ("v", "^") if half.is_upright else ("<", ">")
    for place, bar_low, bar_high, colour in bars:
        for is_cut, end, marker in ((bar_low < low, low - room, back), (bar_high > high, high + room, forth)):
            if is_cut:
                half.plot([place], [end], color=colour, marker=marker, markersize=6, clip_on=False, zorder=5)


def _write_means(axes: Axes, mode: str, places: Sequence[float], found: Sequence[Values]) -> None:
    """The mean differences as numbers beside the rows."""
    for place, values in zip(places, found, strict=True):
        if mean := estimate(list(values.values())):
            beside = {"xycoords": ("axes fraction", "data"), "va": "center", "ha": "right", "annotation_clip": False}
            right = 1 + NUMBERS_IN / (axes.bbox.width / axes.get_figure().dpi)
            axes.annotate(signed(mean.mean, 3), (right - 0.01, place), color=COLOURS[MODE_COLOURS[mode]], **beside)


def _draw_legend(half: Half) -> None:
    """The decoding modes by colour and form, above the titles of the halves."""
    marks = [
        Line2D([], [], color=COLOURS[MODE_COLOURS[mode]], marker=MARKERS[mode], linewidth=1.8, markersize=6, label=mode)
        for mode in MODES
    ]
    above = 1 + (TOP_IN - LEGEND_ROW_IN) / (half.axes.bbox.height / half.axes.get_figure().dpi)
    half.axes.legend(handles=marks, loc="lower left", bbox_to_anchor=(0, above), ncols=2, **LEGEND_SPACING)
