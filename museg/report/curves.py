"""Drawing the curves of a run: smoothed lines over raw ones, held-out dots, phases as named bands."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from museg.report.drawing import COLOURS, Margins, Picture, new_axes, save
from museg.report.facts import PhaseSpan, phase_spans, stage_title
from museg.report.panels import OTHER, SMOOTHING_SHARE, Curve, Panel, cold_start_curves, panels, smooth, split_at, thin
from museg.report.run_folder import RunRecord
from museg.report.tolerant import clip, mapping, number

WIDE_IN, NARROW_IN, HEIGHT_IN = 11.0, 5.4, 2.6
LEGEND_ROW_IN = 0.18
LEGEND_SPACING = {
    "fontsize": 8,
    "title_fontsize": 8,
    "alignment": "left",
    "handlelength": 1.4,
    "columnspacing": 1.4,
    "labelspacing": 0.3,
    "borderaxespad": 0,
    "borderpad": 0,
}


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
    finish(axes, "training step")
    draw_phases(axes, spans)
    if named:
        draw_legend(axes, num_columns, LEGEND_ROW_IN if spans else 0.0)
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


def draw_phases(axes: Axes, spans: Sequence[PhaseSpan]) -> None:
    """The phases as named bands behind the curves, which then end where the last phase does."""
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


def finish(axes: Axes, x_label: str) -> None:
    """Grid, ticks and labels that all curves have."""
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.get_major_formatter().set_powerlimits((-3, 5))
    axes.margins(x=0.01)


def draw_legend(axes: Axes, num_columns: int, raised_in: float, title: str = "") -> None:
    """The legend above the axes under its title, `raised_in` inches higher where something stands between."""
    height_in = axes.bbox.height / axes.get_figure().dpi
    anchor = (0, 1 + (raised_in + 0.03) / height_in)
    axes.legend(loc="lower left", bbox_to_anchor=anchor, ncols=num_columns, title=title, **LEGEND_SPACING)


def draw_cold_start(run: RunRecord, folder: Path) -> Picture | None:
    """Held-out mean IoU against supervised steps, the target line, and where it stopped; None without a cold start."""
    found = cold_start_curves(run)
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
    finish(axes, "supervised step")
    axes.margins(x=0.02)
    axes.set_ylim(0, 1.25 * max(value, target or 0.0, *(curve.values.max() for curve in found)) or 1.0)
    draw_legend(axes, 4, 0.0)
    return save(figure, "curve_cold_start", "Held-out mean IoU", folder)
