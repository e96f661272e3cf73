"""`write_report`: a run folder in, one self-contained HTML page and its pictures as PNG out."""

from pathlib import Path
from urllib.parse import quote

from museg.files import write_whole
from museg.metrics.keys import describe
from museg.report.curves import draw_cold_start, draw_curves
from museg.report.drawing import drawing_style
from museg.report.facts import (
    cold_start_sentence,
    headlines,
    key_facts,
    outcome,
    unfinished_because,
)
from museg.report.panels import SMOOTHING_SHARE
from museg.report.rendering import ReportFiles, emptied_figures, render
from museg.report.run_folder import Completion, RunRecord, read_run
from museg.report.tables import stage_tables
from museg.report.timelines import SELECTION_RULE, choose_timelines, draw_timelines
from museg.report.tolerant import text_of

NUM_COMPLETION_STEPS = 8
MAX_QUARANTINED_SHOWN = 200
CONTENTS = {
    "config.yaml": "the whole configuration, as it was resolved",
    "metrics.csv": "every number logged, one row per step and validation",
    "cold_start.json": "how the cold start went",
    "summary.json": "held-out results by stage, timings, versions",
    "predictions": "held-out answers by stage, one JSON line each",
    "completions.jsonl": "sampled training completions",
    "quarantine.jsonl": "clips that could not be read, with reasons",
    "checkpoints": "states to resume from",
    "reference": "weights of the reference policy of each phase",
    "exported": "the final model as a Hugging Face folder",
    "figures": "the pictures of this page as PNG",
}


def write_report(run_dir: Path) -> ReportFiles:
    """Write `run_dir/report.html` and `run_dir/figures/*.png` from whatever the run folder holds.

    The page loads nothing from anywhere and runs no script. Missing or damaged files shorten it, and it says so.

    Raises:
        ValueError: `run_dir` is no folder.
    """
    run = read_run(run_dir)
    figures = emptied_figures(run_dir, "curve_*.png", "timeline_*.png")
    chosen, mode = choose_timelines(run)
    with drawing_style():
        curves = draw_curves(run, figures)
        cold_start = draw_cold_start(run, figures)
        timelines = draw_timelines(chosen, figures)
    tables, table_source = stage_tables(run)
    html = render(
        "template.html",
        name=text_of(run.config.get("name") or (run.summary or {}).get("name") or run_dir.resolve().name),
        outcome=outcome(run),
        unfinished=unfinished_because(run),
        headlines=headlines(run),
        facts=key_facts(run),
        tables=tables,
        table_source=table_source,
        curves=curves,
        smoothing_share=SMOOTHING_SHARE,
        keys=[(key, describe(key)) for key in run.metrics.columns],
        cold_start=cold_start,
        cold_start_sentence=cold_start_sentence(run),
        timelines=timelines,
        timeline_mode=mode,
        selection_rule=SELECTION_RULE,
        completions=_shown_completions(run),
        num_completions=run.num_completions,
        quarantine=run.quarantine[:MAX_QUARANTINED_SHOWN],
        num_quarantined=len(run.quarantine),
        contents=_contents(run_dir),
        run_dir=text_of(str(run_dir.resolve())),
        defects=run.defects.sentences(),
    )
    path = write_whole(run_dir / "report.html", html)
    pictures = [*curves.main, *curves.other, cold_start, *(drawn.picture for drawn in timelines)]
    return ReportFiles(path, tuple(picture.png for picture in pictures if picture is not None))


def _shown_completions(run: RunRecord) -> list[tuple[int, tuple[Completion, ...]]]:
    steps = list(run.completions)
    if len(steps) > NUM_COMPLETION_STEPS:
        last = len(steps) - 1
        steps = [steps[round(index * last / (NUM_COMPLETION_STEPS - 1))] for index in range(NUM_COMPLETION_STEPS)]
    return [(step, run.completions[step]) for step in steps]


def _contents(run_dir: Path) -> list[tuple[str, str, str]]:
    """(name, link, meaning) of the files and folders of a run folder that are there."""
    found = []
    for name, meaning in CONTENTS.items():
        path = run_dir / name
        if path.exists():
            found.append((f"{name}/" if path.is_dir() else name, quote(name), meaning))
    return found
