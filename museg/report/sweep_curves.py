"""A sweep's pictures: final scores side by side, and the curves of all runs together, coloured by configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from museg.metrics.keys import MODES
from museg.report.curves import HEIGHT_IN, LEGEND_ROW_IN, NARROW_IN, WIDE_IN, draw_legend, draw_phases, finish
from museg.report.drawing import COLOURS, SERIES_COLOURS, Margins, Picture, new_axes, save
from museg.report.facts import PhaseSpan, phase_spans
from museg.report.panels import MODE_COLOURS, SMOOTHING_SHARE, smooth, split_at, thin
from museg.report.sweep_folder import Status
from museg.report.sweep_results import Configuration
from museg.report.sweep_statistics import estimate
from museg.report.tolerant import clip

LINE_STYLES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
MAX_DRAWN = len(SERIES_COLOURS) * len(LINE_STYLES)
"""Configurations that can be told apart; further ones are in the tables only."""
MAX_LABEL_CHARS = 34
SCORES_HEIGHT_IN = 3.2
Series = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class SweepPanel:
    """A metric of the run log that the runs of a sweep are compared by."""

    name: str
    title: str
    key: str
    kind: str
    """Kind of its rows: train (noisy, smoothed) or validation."""


PANELS = (
    SweepPanel("greedy", "Held-out mean IoU, greedy", "held_out/greedy/mean_iou", "validation"),
    SweepPanel("sampled", "Held-out mean IoU, sampled", "held_out/sampled/mean_iou", "validation"),
    SweepPanel("rollouts", "Mean IoU of rollouts", "train/mean_iou", "train"),
    SweepPanel(
        "cited", "Held-out answers that cite their times", "held_out/greedy/timestamps_cited_share", "validation"
    ),
    SweepPanel("reward", "Reward (other rewards, other scales)", "reward/total", "train"),
    SweepPanel("kl", "KL to the reference in nats", "loss/kl", "train"),
)


def draw_sweep(found: Sequence[Configuration], folder: Path) -> list[Picture]:
    """Draw the final scores and every panel that has data (inside `drawing_style`)."""
    drawn = found[:MAX_DRAWN]
    has_scores = any((mode, "mean_iou") in configuration.scores for configuration in drawn for mode in MODES)
    pictures = [draw_scores(drawn, folder)] if has_scores else []
    for panel in PANELS:
        if any(_series(configuration, panel, only_finished=False) for configuration in drawn):
            pictures.append(_draw_panel(panel, drawn, folder))
    return pictures


def draw_scores(found: Sequence[Configuration], folder: Path) -> Picture:
    """Final mean IoU of every configuration: a dot for each seed, the mean with its interval, seeds joined by lines."""
    names = list(found[0].settings)
    labels = [c.settings[names[0]] if len(names) == 1 else c.label for c in found]
    is_crowded = max(map(len, labels), default=0) * len(labels) > 110
    margins = Margins(0.52, 0.12, 0.1 + LEGEND_ROW_IN, 1.0 if is_crowded else 0.5)
    figure, axes = new_axes(WIDE_IN, SCORES_HEIGHT_IN + is_crowded * 0.5, margins)
    for mode, shift in zip(MODES, (-0.08, 0.08), strict=True):
        _draw_mode(axes, [c.scores.get((mode, "mean_iou"), {}) for c in found], mode, shift)
    finish(axes, names[0] if len(names) == 1 else "")
    turned = {"rotation": 18, "ha": "right"} if is_crowded else {}
    axes.set_xticks(range(len(found)), [clip(label, MAX_LABEL_CHARS) for label in labels], **turned)
    axes.set_xlim(-0.5, len(found) - 0.5)
    draw_legend(axes, 4, 0.0)
    return save(figure, "sweep_scores", "Held-out mean IoU after the last step", folder)


def _draw_mode(axes: Axes, by_seed: Sequence[dict[str, float]], mode: str, shift: float) -> None:
    colour = COLOURS[MODE_COLOURS[mode]]
    for seed in sorted({seed for values in by_seed for seed in values}):
        places = [place for place, values in enumerate(by_seed) if seed in values]
        values = [by_seed[place][seed] for place in places]
        at = [place + 2.2 * shift for place in places]
        axes.plot(at, values, color=colour, alpha=0.35, linewidth=0.8, marker="o", markersize=3.2, markeredgewidth=0)
    label = mode
    for place, values in enumerate(by_seed):
        known = estimate(list(values.values()))
        if known is None:
            continue
        if known.low is not None:
            axes.plot([place + shift] * 2, [known.low, known.high], color=colour, linewidth=1.6)
        axes.plot(
            [place + shift], [known.mean], color=colour, marker="D", markersize=5.5, linestyle="none", label=label
        )
        label = "_nolegend_"


def _draw_panel(panel: SweepPanel, found: Sequence[Configuration], folder: Path) -> Picture:
    spans = _shared_spans(found)
    num_columns = 2
    top_in = 0.06 + LEGEND_ROW_IN * (-(-len(found) // num_columns) + bool(spans))
    figure, axes = new_axes(NARROW_IN, HEIGHT_IN + top_in, Margins(0.52, 0.12, top_in, 0.45))
    for place, configuration in enumerate(found):
        _draw_configuration(axes, panel, configuration, place)
    finish(axes, "training step")
    draw_phases(axes, spans)
    if not spans:
        axes.set_xlim(left=0)
        _draw_boundaries(axes, found)
    draw_legend(axes, num_columns, LEGEND_ROW_IN if spans else 0.0)
    return save(figure, f"sweep_{panel.name}", panel.title, folder)


def _draw_configuration(axes: Axes, panel: SweepPanel, configuration: Configuration, place: int) -> None:
    style = _style(place)
    boundaries = [span.start_step for span in _spans(configuration)]
    for steps, values in _series(configuration, panel, only_finished=False):
        _draw_line(axes, panel, (steps, values), boundaries, style | {"alpha": 0.28, "linewidth": 0.7})
    finished = _series(configuration, panel, only_finished=True)
    averaged = mean_series(finished or _series(configuration, panel, only_finished=False))
    label = clip(configuration.label, MAX_LABEL_CHARS)
    _draw_line(axes, panel, averaged, boundaries, style | {"linewidth": 1.7, "zorder": 3}, label)


def _style(place: int) -> dict[str, object]:
    colour = SERIES_COLOURS[place % len(SERIES_COLOURS)]
    return {"color": COLOURS[colour], "linestyle": LINE_STYLES[place // len(SERIES_COLOURS)]}


def _draw_line(
    axes: Axes, panel: SweepPanel, series: Series, boundaries: Sequence[float], style: dict, label: str = "_nolegend_"
) -> None:
    steps, values = thin(*series)
    window = len(steps) // SMOOTHING_SHARE if panel.kind == "train" else 1
    parts = split_at(steps, boundaries) if panel.kind == "train" else [np.arange(len(steps))]
    for part in parts or [np.arange(0)]:  # drawn empty too: every configuration is named
        marker = "." if len(part) == 1 else None
        axes.plot(steps[part], smooth(values[part], window), label=label, marker=marker, **style)
        label = "_nolegend_"


def mean_series(found: Sequence[Series]) -> Series:
    """The mean of several series (steps, values) at the steps that all of them have."""
    if not found:
        return np.array([]), np.array([])
    tables = [dict(zip(steps.tolist(), values.tolist(), strict=True)) for steps, values in found]
    steps = sorted(set(tables[0]).intersection(*tables[1:]))
    return np.array(steps), np.array([np.mean([table[step] for table in tables]) for step in steps])


def _series(configuration: Configuration, panel: SweepPanel, *, only_finished: bool) -> list[Series]:
    found = []
    for member in configuration.members:
        if member.run is not None and (member.status is Status.FINISHED or not only_finished):
            steps, values = member.run.metrics.series(panel.key, panel.kind)
            if len(steps):
                found.append((steps, values))
    return found


def _spans(configuration: Configuration) -> list[PhaseSpan]:
    """The phases of a configuration, as its member that got furthest shows them."""
    known = [phase_spans(member.run) for member in configuration.members if member.run is not None]
    return max(known, key=lambda spans: spans[-1].end_step if spans else 0.0, default=[])


def _shared_spans(found: Sequence[Configuration]) -> list[PhaseSpan]:
    """The phases where all configurations have the same; none where they differ."""
    known = [spans for spans in map(_spans, found) if spans]
    longest = max(known, key=lambda spans: spans[-1].end_step, default=[])
    begun = [(span.name, span.start_step) for span in longest]
    are_shared = all([(span.name, span.start_step) for span in spans] == begun[: len(spans)] for spans in known)
    return longest if are_shared else []


def _draw_boundaries(axes: Axes, found: Sequence[Configuration]) -> None:
    """Where each configuration's phases change, in its colour."""
    for place, configuration in enumerate(found):
        for span in _spans(configuration)[1:]:
            axes.axvline(span.start_step, color=_style(place)["color"], linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
