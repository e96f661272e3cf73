"""Which series of a run share a picture, and how a long noisy series becomes a readable curve."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from museg.metrics.keys import describe
from museg.report.drawing import SERIES_COLOURS
from museg.report.facts import stage_title
from museg.report.metrics_table import COLD_START
from museg.report.run_folder import RunRecord
from museg.report.tolerant import clip

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
    PanelRule(
        "structure_loss", "Loss of text and structure in nats", r"loss/(text|structure)|structure/(kl|event|transition)"
    ),
    PanelRule("hit_at_1", "Structural tokens placed right", r"structure/hit_at_1"),
    PanelRule("cosine", "Similarity of tokens and steps", r"structure/cosine_\w+"),
    PanelRule("signal", "Learning signal in the groups", r"reward/(group_std|zero_std_share)"),
    PanelRule("grad_norm", "Gradient norm", r"loss/grad_norm"),
    PanelRule("learning_rate", "Learning rate", r"train/learning_rate", is_noisy=False),
    PanelRule("time", "Seconds per step", r"time/.+"),
)
OTHER = "other"


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


def cold_start_curves(run: RunRecord) -> list[Curve]:
    """Held-out mean IoU against supervised steps, a curve for each decoding mode that was measured."""
    keys = [key for key in run.metrics.columns if re.fullmatch(HELD_OUT + "mean_iou", key)]
    curves = [Curve(_label(key), *run.metrics.series(key, COLD_START), _mode_colour(key), True) for key in keys]
    return [curve for curve in curves if len(curve.steps)]


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
