"""A sweep's pictures: its main one, and the curves of all runs together, coloured by configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from museg.metrics.keys import MODES
from museg.report.curves import HEIGHT_IN, LEGEND_ROW_IN, NARROW_IN, draw_legend, draw_phases, finish
from museg.report.drawing import COLOURS, SERIES_COLOURS, Margins, Picture, new_axes, save
from museg.report.facts import PhaseSpan, phase_spans
from museg.report.panels import SMOOTHING_SHARE, smooth, split_at, thin
from museg.report.sweep_labels import picture_labels
from museg.report.sweep_progress import Status
from museg.report.sweep_results import Configuration
from museg.report.sweep_scores import draw_scores

LINE_STYLES = ("-", (0, (3, 1.2)), (0, (1, 1)))
MAX_DRAWN = len(SERIES_COLOURS) * len(LINE_STYLES)
"""Configurations that can be told apart; further ones are in the tables only."""
MAX_LABEL_CHARS = 34
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


def draw_sweep(found: Sequence[Configuration], baseline: Configuration | None, folder: Path) -> list[Picture]:
    """Draw the final scores and every panel that has data (inside `drawing_style`)."""
    drawn = list(found[:MAX_DRAWN])
    if baseline is not None and all(one is not baseline for one in drawn):
        drawn[-1] = baseline
    has_scores = any((mode, "mean_iou") in one.scores for one in drawn for mode in MODES)
    pictures = [draw_scores(drawn, baseline, folder)] if has_scores and baseline is not None else []
    return pictures + [_draw_panel(panel, drawn, folder) for panel in PANELS if any(_runs(one, panel) for one in drawn)]


def _draw_panel(panel: SweepPanel, found: Sequence[Configuration], folder: Path) -> Picture:
    spans = _shared_spans(found)
    names = picture_labels([one.settings for one in found], MAX_LABEL_CHARS)
    title = next(iter(found[0].settings)) if len(found[0].settings) == 1 else ""
    num_columns = max(1, int((NARROW_IN - 0.6) / (0.42 + 0.064 * max(map(len, names)))))
    rows_in = LEGEND_ROW_IN * (-(-len(found) // num_columns) + bool(spans) + bool(title))
    figure, axes = new_axes(NARROW_IN, HEIGHT_IN + rows_in, Margins(0.52, 0.12, 0.06 + rows_in, 0.45))
    runs = [_runs(one, panel) for one in found]
    seeds = shared_seeds([{seed for seed, is_finished, _ in of_one if is_finished} for of_one in runs])
    for place, (one, of_one, name) in enumerate(zip(found, runs, names, strict=True)):
        boundaries, style = [span.start_step for span in _spans(one)], _style(place)
        for _, _, series in of_one:
            _draw_line(axes, panel, series, boundaries, style | {"alpha": 0.3, "linewidth": 0.7, "linestyle": "-"})
        by_seed = {seed: series for seed, is_finished, series in of_one if is_finished and seed in seeds}
        averaged = mean_series(list(by_seed.values()))
        _draw_line(axes, panel, averaged, boundaries, style | {"linewidth": 1.8, "zorder": 3}, name)
    finish(axes, "training step")
    draw_phases(axes, spans)
    if not spans:
        axes.set_xlim(left=0)
        _draw_boundaries(axes, found)
    draw_legend(axes, num_columns, LEGEND_ROW_IN if spans else 0.0, title)
    of_seeds = f" (means over {len(seeds)} seed{'s' if len(seeds) > 1 else ''})" if seeds else ""
    return save(figure, f"sweep_{panel.name}", panel.title + of_seeds, folder)


def shared_seeds(finished: Sequence[set[str]]) -> set[str]:
    """The seeds that all have finished which have finished any: only means over these can be compared."""
    known = [seeds for seeds in finished if seeds]
    return set.intersection(*known) if known else set()


def _style(place: int) -> dict[str, object]:
    """Colour and line of a configuration; neighbours differ in both, for those to whom colours look alike."""
    num_colours = len(SERIES_COLOURS)
    style = LINE_STYLES[(place + place // num_colours) % len(LINE_STYLES)]
    return {"color": COLOURS[SERIES_COLOURS[place % num_colours]], "linestyle": style}


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


def _runs(configuration: Configuration, panel: SweepPanel) -> list[tuple[str, bool, Series]]:
    """Seed, whether it is finished, and the series of every member that has any."""
    found = []
    for member in configuration.members:
        if member.run is not None:
            steps, values = member.run.metrics.series(panel.key, panel.kind)
            if len(steps):
                found.append((member.seed, member.status is Status.FINISHED, (steps, values)))
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
