"""The project's dashboard as a W&B workspace: the panels of a run's `report.html`, over all runs of a project.

What stands where is a plain value (`planned`); wandb-workspaces turns it into W&B's own form and saves it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from museg.metrics.keys import (
    COLD_START_COLUMNS,
    COLD_START_STEP_KEY,
    COMPLETIONS_KEY,
    HELD_OUT_SCORES,
    MODES,
    PHASE_KEY,
    STEP_KEY,
    TIMELINES_KEY,
    columns,
    describe,
    held_out_key,
)
from museg.report.panels import PANELS

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

REWARD_TERMS = "reward_terms"
REWARD_PATTERN = "^reward/.+$"
"""The terms of a reward are the user's choice, so their panel shows whatever there is."""
SCORE_COLUMN = "summary:held_out/greedy/mean_iou"
"""The last one measured: W&B keeps the last value of every key."""


@dataclass(frozen=True)
class PlannedPanel:
    """Curves of these keys, or of all that `pattern` matches, over `x`."""

    title: str
    keys: tuple[str, ...]
    x: str = STEP_KEY
    pattern: str | None = None


@dataclass(frozen=True)
class PlannedSection:
    """Panels under one heading."""

    name: str
    panels: tuple[PlannedPanel, ...]
    is_open: bool = False


def planned() -> list[PlannedSection]:
    """The sections with curves; together they show every key of `museg.metrics.keys` that is a number."""
    curves = [_by_rule(rule.title, rule.train, rule.held_out) for rule in PANELS if rule.name != REWARD_TERMS]
    curves.insert(1, PlannedPanel("Reward and its terms", (), pattern=REWARD_PATTERN))
    curves.append(PlannedPanel("Phase", (PHASE_KEY,)))
    shown = {key for panel in curves for key in panel.keys}
    scores = [
        PlannedPanel(described.label, tuple(held_out_key(mode, score) for mode in MODES))
        for score, described in HELD_OUT_SCORES.items()
        if held_out_key("greedy", score) not in shown
    ]
    rest = [key for key in columns([]) if key not in shown and not key.startswith("held_out/")]
    cold_start = [PlannedPanel(describe(key).label, (key,), COLD_START_STEP_KEY) for key in COLD_START_COLUMNS]
    return [
        PlannedSection("Curves", tuple(curves), is_open=True),
        PlannedSection("Held-out scores", tuple(scores)),
        PlannedSection("Cold start", tuple(cold_start)),
        PlannedSection("Health", tuple(PlannedPanel(describe(key).label, (key,)) for key in rest)),
    ]


def _by_rule(title: str, train: str, held_out: str) -> PlannedPanel:
    keys = (key for key in columns([]) if re.fullmatch(train, key) or re.fullmatch(held_out, key))
    return PlannedPanel(title, tuple(keys))


def workspace(entity: str, project: str, name: str) -> "Workspace":
    """The workspace, not saved yet; needs neither network nor account."""
    import wandb_workspaces.reports.v2 as blocks
    import wandb_workspaces.workspaces as spaces

    def plots(panels: Iterable[PlannedPanel]) -> list[blocks.LinePlot]:
        return [
            blocks.LinePlot(title=panel.title, x=panel.x, y=list(panel.keys), metric_regex=panel.pattern)
            for panel in panels
        ]

    sections = [spaces.Section(section.name, plots(section.panels), section.is_open) for section in planned()]
    pictures = blocks.MediaBrowser(title=TIMELINES_KEY, media_keys=[TIMELINES_KEY], num_columns=1)
    texts = blocks.WeavePanelSummaryTable(table_name=COMPLETIONS_KEY)
    sections.insert(1, spaces.Section("Completions", [pictures, texts], is_open=True))
    return spaces.Workspace(
        entity,
        project,
        name,
        sections,
        spaces.WorkspaceSettings(x_axis=STEP_KEY),
        spaces.RunsetSettings(pinned_columns=["run:group", SCORE_COLUMN]),
    )
