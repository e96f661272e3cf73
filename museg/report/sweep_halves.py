"""The two halves of a sweep's main picture: axes with the configurations in rows, or at their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from museg.report.drawing import COLOURS, Margins, add_axes, new_figure
from museg.report.sweep_results import Configuration

WIDTH_IN, MIN_ROW_IN, LINE_IN, UPRIGHT_IN = 8.2, 0.5, 0.15, 2.5
TOP_IN, NUMBERS_IN, CHAR_IN = 0.45, 0.55, 0.068
MAX_TICKS = 10
MIN_RANGE = 1e-3
CUT_SHARE = 1.2
"""How far an axis may reach beyond the dots, as a share of their range: the bar of an interval that goes on is cut."""
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


def side_by_side(
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


def limit(half: Half, dots: Sequence[float], bars: Sequence[Bar]) -> None:
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
