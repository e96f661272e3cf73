"""A run in Weights & Biases: every row of the run log, tables and pictures of completions, the best model.

W&B counts the rows of a run (its `_step`); here that is the number of the row in `metrics.csv`. So after a resume it is
known which rows W&B holds: what was lost with a killed process is told again from the files of the run folder, and what
the resumed run does a second time is not. The x-axis of the charts is our own step, which stands in every row.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from museg.metrics.keys import (
    COLD_START_COLUMNS,
    COLD_START_STEP_KEY,
    COMPLETIONS_KEY,
    PHASE_KEY,
    STEP_KEY,
    TIMELINES_KEY,
    reward_key,
)
from museg.training.best_model import BEST, RECORD_FILE
from museg.training.run_log import LogRow
from museg.training.wandb_run import define_axes, num_rows_on_disk, open_run

Draw = Callable[[Sequence[Mapping[str, Any]]], bytes]
"""From the completions of one prompt to a PNG of its true and answered segments."""


class WandbDashboard:
    """One run folder as one W&B run; `config` is what W&B shows as the run's configuration.

    The other settings are explained in conf/logger/wandb.yaml. Raises `ValueError` when W&B refuses to start.
    """

    def __init__(
        self,
        save_dir: str,
        config: Mapping[str, Any],
        draw: Draw,
        project: str,
        name: str,
        entity: str | None,
        group: str | None,
        tags: Sequence[str],
        offline: bool | None,
        timelines: int,
        best_model: bool,
    ) -> None:
        self.save_dir, self.draw = Path(save_dir), draw
        self.phases = list(config["phase"]["phases"])
        self.num_timelines, self.best_model = timelines, best_model
        about = {"project": project, "name": name, "entity": entity, "group": group, "tags": list(tags)}
        self.run = open_run(self.save_dir, offline, **about)
        self.run.config.update(dict(config), allow_val_change=True)
        define_axes(self.run)
        self.num_held = num_rows_on_disk(self.save_dir) if self.run.offline else self.run.starting_step

    def catch_up(self, rows: Iterable[LogRow]) -> None:
        """Tell W&B what it has not got of these rows."""
        for number, row in enumerate(rows):
            self.add(number, row)

    def add(self, number: int, row: LogRow) -> None:
        """Log one row, unless W&B holds it."""
        if number < self.num_held:
            return
        values = scalars(row, self.phases)
        if row.completions:
            values |= self.media(row.completions)
        self.run.log(values, step=number, commit=True)

    def media(self, completions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The completions of a step as a table, and pictures of those of the first prompts."""
        import wandb

        prompts: dict[str, list[Mapping[str, Any]]] = {}
        for record in completions:
            prompts.setdefault(record["example_id"], []).append(record)
        drawn = dict(list(prompts.items())[: self.num_timelines])
        images = of_one_size([Image.open(BytesIO(self.draw(records))) for records in drawn.values()])
        captions = [records[0]["query"] for records in drawn.values()]
        made = [wandb.Image(image, caption=caption) for image, caption in zip(images, captions, strict=True)]
        pictures = dict(zip(drawn, made, strict=True))
        names, cells = table(completions)
        rows = [[*row, pictures.get(record["example_id"])] for row, record in zip(cells, completions, strict=True)]
        shown = {COMPLETIONS_KEY: wandb.Table(columns=[*names, "timeline"], data=rows)}
        return shown | ({TIMELINES_KEY: list(pictures.values())} if pictures else {})

    def close(self, *, has_failed: bool) -> None:
        """End the run; a finished one hands over the best model where that was asked for."""
        if self.best_model and not has_failed and (self.save_dir / BEST).is_dir():
            self.log_best_model(self.save_dir / BEST)
        self.run.finish(exit_code=int(has_failed))

    def pause(self) -> None:
        """Let W&B call the run preempted. Its end, which waits for the upload, comes with that of the process."""
        self.run.mark_preempting()

    def log_best_model(self, folder: Path) -> None:
        """The folder as an artifact; its files are uploaded from where they are."""
        import wandb

        metadata = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        artifact = wandb.Artifact(f"{self.run.id}-{BEST}", type="model", metadata=metadata)
        artifact.add_dir(str(folder), policy="immutable")
        self.run.log_artifact(artifact, aliases=[BEST])


def of_one_size(images: Sequence[Image.Image]) -> list[Image.Image]:
    """The images with white below and to the right of the smaller ones: W&B shows a list of images at one size."""
    size = (max((image.width for image in images), default=0), max((image.height for image in images), default=0))
    sheets = [Image.new("RGB", size, "white") for _ in images]
    for sheet, image in zip(sheets, images, strict=True):
        sheet.paste(image)
    return sheets


def scalars(row: LogRow, phases: Sequence[str]) -> dict[str, float]:
    """The numbers of a row under the keys of `museg.metrics.keys`, with their x-axis."""
    if row.kind == "cold_start":
        measured = {key: row.metrics[column] for key, column in COLD_START_COLUMNS.items()}
        return {COLD_START_STEP_KEY: row.cold_start_step, **measured}
    phase = {PHASE_KEY: phases.index(row.phase)} if row.phase in phases else {}
    return {STEP_KEY: row.step, **phase, **row.metrics}


def table(completions: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Column names and rows of the table of a step's completions, one column for each reward term."""
    told = ("step", "phase", "example_id", "query", "targets", "text", "reward")
    terms = sorted({term for record in completions for term in record["terms"]})
    names = [*told, *map(reward_key, terms)]
    return names, [
        [*(segments_text(record[key]) if key == "targets" else record[key] for key in told)]
        + [record["terms"].get(term) for term in terms]
        for record in completions
    ]


def segments_text(segments: Iterable[Sequence[float]]) -> str:
    """Segments as people read them."""
    return ", ".join(f"{start_s:g}-{end_s:g} s" for start_s, end_s in segments)
