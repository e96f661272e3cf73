"""Pictures of where answers fail: kinds of failure, counts, boundaries, and which true segments are hard to find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from museg.report.drawing import COLOURS, Margins, Picture, new_axes, save
from museg.report.facts import stage_title
from museg.report.tolerant import clip, listed, mapping, number, text_of

WIDTH_IN, HEIGHT_IN = 5.4, 2.6
MAX_BARS = 24
NUM_REWARD_BINS = 30
IOU_PANELS = {
    "segment_length_s": "Mean IoU by length of the true segment",
    "num_segments": "Mean IoU by number of true segments",
    "position": "Mean IoU by position of the true segment in the video",
}
IOU_LABEL = "mean IoU"
COUNT_COLOURS = {"exact": "blue", "too_few": "orange", "too_many": "ochre"}


@dataclass(frozen=True)
class Bar:
    """A bar: what it stands for, its length, and what is written at its end."""

    label: str
    value: float
    note: str
    colour: str = "blue"


def draw_failures(metrics: Mapping[str, Any], folder: Path) -> list[Picture]:
    """Every picture of the failure analysis in `metrics.json` that has data (inside `drawing_style`)."""
    failures = mapping(metrics.get("failures"))
    drawn = [
        _draw_across(_kinds(failures, metrics), "failure_kinds", "Answers that could not be read", "answers", folder),
        _draw_across(_counts(failures), "failure_counts", "Number of segments in the answer", "answers", folder),
        _draw_boundaries(mapping(failures.get("boundary_error_s")), folder),
    ]
    for name, title in IOU_PANELS.items():
        bars = _iou_bars(mapping(failures.get("iou_by")).get(name))
        drawn.append(_draw_upright(bars, f"failure_iou_by_{name}", title, IOU_LABEL, folder))
    return [picture for picture in drawn if picture is not None]


def _kinds(failures: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Bar]:
    kinds = {kind: number(count) for kind, count in mapping(failures.get("kinds")).items()}
    total = number(metrics.get("num_samples"))
    ranked = sorted(((kind, count) for kind, count in kinds.items() if count), key=lambda item: -item[1])
    return [Bar(stage_title(kind), count, _of(count, total), "orange") for kind, count in ranked[:MAX_BARS]]


def _counts(failures: Mapping[str, Any]) -> list[Bar]:
    counts = mapping(failures.get("counts"))
    known = {kind: number(counts.get(kind)) or 0.0 for kind in COUNT_COLOURS}
    total = sum(known.values())
    return [
        Bar(stage_title(kind), known[kind], _of(known[kind], total), COUNT_COLOURS[kind]) for kind in known if total
    ]


def _of(count: float, total: float | None) -> str:
    return f"{count:,.0f} ({100 * count / total:.1f} %)" if total else f"{count:,.0f}"


def _iou_bars(value: Any) -> list[Bar]:
    bars = []
    for entry in map(mapping, listed(value)[:MAX_BARS]):
        mean_iou, num = number(entry.get("mean_iou")), number(entry.get("num"))
        if mean_iou is not None and num:
            bars.append(Bar(text_of(entry.get("label")), mean_iou, f"{mean_iou:.2f}\n{_short(num)}"))
    return bars


def _short(count: float) -> str:
    return f"n={count:,.0f}" if count < 10_000 else f"n={count / 1000:,.0f}k"


def _draw_boundaries(boundary: Mapping[str, Any], folder: Path) -> Picture | None:
    histogram = mapping(boundary.get("histogram"))
    edges = [number(edge) for edge in listed(histogram.get("edges_s"))]
    counts = [number(count) or 0.0 for count in listed(histogram.get("counts"))[:MAX_BARS]]
    total = sum(counts)
    bars = [
        Bar(_bin_label(edges[index : index + 2]), count / total, f"{100 * count / total:.0f} %")
        for index, count in enumerate(counts)
        if total and index < len(edges)
    ]
    title = "Distance of predicted from true boundaries"
    notes = [_spread(side, mapping(boundary.get(side))) for side in ("start", "end")]
    return _draw_upright(bars, "failure_boundaries", title, "share", folder, [note for note in notes if note])


def _bin_label(edges: Sequence[float | None]) -> str:
    low, high = edges[0], edges[1] if len(edges) > 1 else None
    low_text = "?" if low is None else f"{low:g}"
    return f"{low_text}+ s" if high is None else f"{low_text}–{high:g} s"


def _spread(side: str, values: Mapping[str, Any]) -> str:
    median, p90 = number(values.get("median")), number(values.get("p90"))
    return "" if median is None or p90 is None else f"{side}: median {median:.1f} s, nine of ten within {p90:.1f} s"


def _draw_across(bars: Sequence[Bar], name: str, title: str, x_label: str, folder: Path) -> Picture | None:
    """Lying bars, for names that need room."""
    if not bars:
        return None
    labels = [clip(bar.label, 26) for bar in bars]
    height_in = max(1.2, 0.62 + 0.26 * len(bars))
    figure, axes = new_axes(WIDTH_IN, height_in, Margins(0.25 + 0.075 * max(map(len, labels)), 0.95, 0.08, 0.45))
    axes.barh(range(len(bars)), [bar.value for bar in bars], 0.62, color=[COLOURS[bar.colour] for bar in bars])
    for row, bar in enumerate(bars):
        axes.annotate(bar.note, (bar.value, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(bars)), labels)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel(x_label)
    _finish(axes, "x")
    return save(figure, name, title, folder)


def _draw_upright(
    bars: Sequence[Bar], name: str, title: str, y_label: str, folder: Path, notes: Sequence[str] = ()
) -> Picture | None:
    """Standing bars in the order of their bins, with `notes` above them."""
    if not bars:
        return None
    figure, axes = new_axes(WIDTH_IN, HEIGHT_IN, Margins(0.52, 0.12, 0.3 + 0.17 * len(notes), 0.32))
    axes.bar(range(len(bars)), [bar.value for bar in bars], 0.7, color=[COLOURS[bar.colour] for bar in bars])
    for place, bar in enumerate(bars):
        how = {"textcoords": "offset points", "ha": "center", "fontsize": 7.5, "linespacing": 1.1}
        axes.annotate(bar.note, (place, bar.value), (0, 2.5), **how)
    for row, note in enumerate(reversed(notes)):
        how = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8, "color": COLOURS["muted"]}
        axes.annotate(note, (0, 1), (0, 20 + 12 * row), annotation_clip=False, **how)
    axes.set_xticks(range(len(bars)), [clip(bar.label, 12) for bar in bars], fontsize=8 if len(bars) < 8 else 7)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(bars) - 0.4)
    axes.set_ylim(0, 1.02 if y_label == IOU_LABEL else None)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel(y_label)
    _finish(axes, "y")
    return save(figure, name, title, folder)


def draw_rewards(totals: Sequence[float], folder: Path) -> list[Picture]:
    """How the rewards of scored completions are spread (inside `drawing_style`); nothing without any."""
    if not totals:
        return []
    figure, axes = new_axes(2 * WIDTH_IN + 0.2, HEIGHT_IN, Margins(0.52, 0.12, 0.1, 0.45))
    axes.hist(np.asarray(totals), bins=NUM_REWARD_BINS, color=COLOURS["blue"], rwidth=0.9)
    axes.set_xlabel("reward of a completion")
    axes.set_ylabel("completions")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    _finish(axes, "y")
    return [save(figure, "reward_totals", "Rewards", folder)]


def _finish(axes: Axes, grid_axis: str) -> None:
    axes.grid(axis=grid_axis, color=COLOURS["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
