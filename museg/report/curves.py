"""The curves of a run: what is drawn in which panel, smoothing, thinning, phases as named bands."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from museg.metrics.keys import describe
from museg.report.drawing import COLOURS, SERIES_COLOURS, Margins, Picture, new_axes, save
from museg.report.facts import PhaseSpan, phase_spans, stage_title
from museg.report.run_folder import COLD_START, RunRecord
from museg.report.tolerant import clip, mapping, number

MAX_POINTS = 1_500
"""Points drawn of one curve; longer series are averaged in equal runs of steps."""
SMOOTHING_SHARE = 30
"""The running mean spans 1/30 of a curve's points, never across a phase boundary."""
MODE_COLOURS = {"greedy": "orange", "sampled": "teal"}
"""Held-out curves have the colour of their decoding mode in every panel."""


@dataclass(frozen=True)
class PanelRule:
    """Which metric keys a panel shows: training keys as lines, held-out keys as points on thin lines."""

    name: str
    title: str
    train: str
    """Regular expression for whole keys."""
    held_out: str = ""
    is_noisy: bool = True
    """Whether lines are smoothed: a schedule is drawn as it is."""


HELD_OUT = r"held_out/\w+/"
PANELS = (
    PanelRule("mean_iou", "Mean IoU", r"train/mean_iou", HELD_OUT + "mean_iou"),
    PanelRule("reward", "Reward", r"reward/total"),
    PanelRule("reward_terms", "Reward terms", r"reward/(?!total$|group_std$|zero_std_share$).+"),
    PanelRule(
        "well_formed", "Share of well-formed answers", r"train/well_formed_share", HELD_OUT + "well_formed_share"
    ),
    PanelRule("cited", "Share of answers that cite their times", r"$^", HELD_OUT + "timestamps_cited_share"),
    PanelRule("segments", "Segments per answer", r"train/num_\w+_segments", HELD_OUT + "num_predicted_segments"),
    PanelRule(
        "completion_length", "Completion length in tokens", r"train/completion_tokens", HELD_OUT + "completion_tokens"
    ),
    PanelRule("kl", "KL to the reference in nats", r"loss/kl"),
    PanelRule("loss", "Loss", r"loss/total"),
    PanelRule("signal", "Learning signal in the groups", r"reward/(group_std|zero_std_share)"),
    PanelRule("grad_norm", "Gradient norm", r"loss/grad_norm"),
    PanelRule("learning_rate", "Learning rate", r"train/learning_rate", is_noisy=False),
    PanelRule("time", "Seconds per step", r"time/.+"),
)
OTHER = "other"
WIDE_IN, NARROW_IN, HEIGHT_IN = 11.0, 5.4, 2.6
LEGEND_ROW_IN = 0.18
LEGEND_SPACING = {
    "fontsize": 8,
    "handlelength": 1.4,
    "columnspacing": 1.4,
    "labelspacing": 0.3,
    "borderaxespad": 0,
    "borderpad": 0,
}


@dataclass(frozen=True)
class Curve:
    """One series of a panel; steps and values are float64 of equal length."""

    label: str
    steps: np.ndarray
    values: np.ndarray
    colour: str
    """Name in `drawing.COLOURS`."""
    is_held_out: bool


@dataclass(frozen=True)
class Panel:
    """The series that share one picture."""

    name: str
    title: str
    curves: tuple[Curve, ...]
    is_noisy: bool


@dataclass(frozen=True)
class DrawnCurves:
    """The panels every reader wants, and those with whatever else was logged."""

    main: list[Picture]
    other: list[Picture]


def draw_curves(run: RunRecord, folder: Path) -> DrawnCurves:
    """Draw every panel that has data, the first one wide (inside `drawing_style`)."""
    spans, drawn = phase_spans(run), DrawnCurves([], [])
    for panel in panels(run):
        part = drawn.other if panel.name.startswith(OTHER) else drawn.main
        part.append(_draw(panel, spans, folder, NARROW_IN if drawn.main else WIDE_IN))
    return drawn


def panels(run: RunRecord) -> list[Panel]:
    """The panels of a run: by rule, then one for each family of unclaimed training keys."""
    keys = list(run.metrics.columns)
    made, claimed = [], set()
    for rule in PANELS:
        train = [key for key in keys if re.fullmatch(rule.train, key)]
        held_out = [key for key in keys if re.fullmatch(rule.held_out, key)]
        claimed |= {*train, *held_out}
        made.append(_panel(run, rule, train, held_out))
    families: dict[str, list[str]] = {}
    for key in keys:
        if key not in claimed and not key.startswith("held_out/"):
            families.setdefault(key.partition("/")[0], []).append(key)
    for index, (family, members) in enumerate(families.items(), start=1):
        made.append(_panel(run, PanelRule(f"{OTHER}_{index}", stage_title(clip(family, 40)), ""), members, []))
    return [panel for panel in made if panel.curves]


def _panel(run: RunRecord, rule: PanelRule, train: Sequence[str], held_out: Sequence[str]) -> Panel:
    free = [colour for colour in SERIES_COLOURS if not held_out or colour not in MODE_COLOURS.values()]
    curves = []
    for key in train:
        steps, values = run.metrics.series(key, "train")
        if len(steps) and free:
            curves.append(Curve(_label(key), steps, values, free.pop(0), is_held_out=False))
    for key in held_out:
        steps, values = run.metrics.series(key, "validation")
        if len(steps):
            curves.append(Curve(_label(key), steps, values, _mode_colour(key), is_held_out=True))
    return Panel(rule.name, rule.title, tuple(curves), rule.is_noisy)


def _label(key: str) -> str:
    return clip(describe(key).label, 30)


def _mode_colour(key: str) -> str:
    return MODE_COLOURS.get(key.split("/")[1], "muted")


def thin(steps: np.ndarray, values: np.ndarray, max_points: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `max_points` points: means of equal runs of neighbours, so that no value is simply dropped."""
    if len(steps) <= max_points:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), max_points)
    return np.array([steps[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred running mean over `window` points; near the ends over the points that are there."""
    if window <= 1 or len(values) < 3:
        return values
    half = min(window // 2, len(values) - 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def split_at(steps: np.ndarray, boundaries: Iterable[float]) -> list[np.ndarray]:
    """Index arrays of the points up to and including each boundary, and after the last; empty ones left out."""
    parts = np.split(np.arange(len(steps)), np.searchsorted(steps, sorted(boundaries), side="right"))
    return [part for part in parts if len(part)]


def _draw(panel: Panel, spans: Sequence[PhaseSpan], folder: Path, width_in: float) -> Picture:
    named = len(panel.curves) > 1 or panel.curves[0].is_held_out
    num_columns = 4 if width_in == WIDE_IN else 2
    legend_rows = -(-len(panel.curves) // num_columns) if named else 0
    top_in = 0.06 + LEGEND_ROW_IN * (legend_rows + bool(spans))
    figure, axes = new_axes(width_in, HEIGHT_IN, Margins(0.52, 0.12, top_in, 0.45))
    for curve in panel.curves:
        if curve.is_held_out:
            _draw_points(axes, curve)
        else:
            _draw_line(axes, curve, [span.start_step for span in spans], panel.is_noisy)
    _finish(axes, "training step")
    _draw_phases(axes, spans)
    if named:
        _draw_legend(axes, num_columns, LEGEND_ROW_IN if spans else 0.0)
    return save(figure, f"curve_{panel.name}", panel.title, folder)


def _draw_line(axes: Axes, curve: Curve, boundaries: Iterable[float], is_noisy: bool) -> None:
    steps, values = thin(curve.steps, curve.values)
    window = len(steps) // SMOOTHING_SHARE if is_noisy else 1
    label, colour = curve.label, COLOURS[curve.colour]
    for part in split_at(steps, boundaries):
        if window > 1:
            axes.plot(steps[part], values[part], color=colour, alpha=0.25, linewidth=0.7)
        marker = "." if len(part) == 1 else None
        axes.plot(steps[part], smooth(values[part], window), color=colour, linewidth=1.5, label=label, marker=marker)
        label = "_nolegend_"


def _draw_points(axes: Axes, curve: Curve) -> None:
    steps, values = thin(curve.steps, curve.values)
    dots = {"marker": "o", "markersize": 4.2, "markeredgewidth": 0, "clip_on": False}
    axes.plot(steps, values, color=COLOURS[curve.colour], linewidth=0.9, label=curve.label, zorder=3, **dots)


def _draw_phases(axes: Axes, spans: Sequence[PhaseSpan]) -> None:
    for index, span in enumerate(spans):
        if index % 2 == 0:
            axes.axvspan(span.start_step, span.end_step, color=COLOURS["band"], linewidth=0, zorder=0)
        if index:
            axes.axvline(span.start_step, color=COLOURS["muted"], linewidth=0.6, linestyle=(0, (3, 3)), zorder=1)
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "annotation_clip": False}
        middle, name = (span.start_step + span.end_step) / 2, clip(stage_title(span.name), 28)
        axes.annotate(name, (middle, 1), (0, 3.5), ha="center", fontsize=8, color=COLOURS["muted"], **place)
    if spans:
        axes.set_xlim(spans[0].start_step, spans[-1].end_step)


def _finish(axes: Axes, x_label: str) -> None:
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.get_major_formatter().set_powerlimits((-3, 5))
    axes.margins(x=0.01)


def _draw_legend(axes: Axes, num_columns: int, raised_in: float) -> None:
    height_in = axes.bbox.height / axes.get_figure().dpi
    anchor = (0, 1 + (raised_in + 0.03) / height_in)
    axes.legend(loc="lower left", bbox_to_anchor=anchor, ncols=num_columns, **LEGEND_SPACING)


def draw_cold_start(run: RunRecord, folder: Path) -> Picture | None:
    """Held-out mean IoU against supervised steps, the target line, and where it stopped; None without a cold start."""
    found = [
        Curve(_label(key), *run.metrics.series(key, COLD_START), _mode_colour(key), is_held_out=True)
        for key in run.metrics.columns
        if re.fullmatch(HELD_OUT + "mean_iou", key)
    ]
    found = [curve for curve in found if len(curve.steps)]
    if not found:
        return None
    figure, axes = new_axes(WIDE_IN, HEIGHT_IN, Margins(0.52, 0.12, 0.1 + LEGEND_ROW_IN, 0.45))
    for curve in found:
        _draw_points(axes, curve)
    target = number(mapping(run.config.get("cold_start")).get("target_mean_iou"))
    if target is not None:
        axes.axhline(target, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (4, 3)), label=f"target {target:g}")
    step, value = found[0].steps[-1], found[0].values[-1]
    axes.plot([step], [value], marker="o", markersize=9, markerfacecolor="none", markeredgecolor=COLOURS["ink"])
    axes.annotate(f"stopped at {step:.0f}", (step, value), (-6, 9), textcoords="offset points", ha="right")
    _finish(axes, "supervised step")
    axes.margins(x=0.02)
    axes.set_ylim(0, 1.25 * max(value, target or 0.0, *(curve.values.max() for curve in found)) or 1.0)
    _draw_legend(axes, 4, 0.0)
    return save(figure, "curve_cold_start", "Held-out mean IoU", folder)
