"""`write_evaluation_page`: an evaluation folder in, one self-contained HTML page and its pictures as PNG out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from museg.files import write_whole
from museg.report.drawing import drawing_style
from museg.report.evaluation_folder import EvaluationRecord, SampleRecord, read_evaluation
from museg.report.evaluation_tables import group_tables, section_tables, term_table, tiles
from museg.report.facts import Fact
from museg.report.failure_charts import draw_failures, draw_rewards
from museg.report.rendering import ReportFiles, emptied_figures, render
from museg.report.timelines import Timeline, draw_timelines
from museg.report.tolerant import listed, mapping, number, text_of

NUM_EXTREMES = 3
NUM_SPREAD = 4
MAX_QUARANTINED_SHOWN = 200
SELECTION_RULE = (
    f"the {NUM_EXTREMES} answers with the highest IoU, the {NUM_EXTREMES} with the lowest, and {NUM_SPREAD} more "
    "spread evenly over the benchmark, chosen without looking at their scores"
)
CONTENTS = {
    "config.yaml": "the whole configuration, as it was resolved",
    "evaluation.json": "what was evaluated: model or file of answers, annotation, versions, timings",
    "metrics.json": "every number of this page",
    "samples.jsonl": "every question with truth, answer and its own scores, one JSON line each",
    "scores.jsonl": "every completion with its reward and terms, one JSON line each",
    "predictions.jsonl": "what the model wrote, one JSON line for each question",
    "quarantine.jsonl": "clips that could not be read, with reasons",
    "figures": "the pictures of this page as PNG",
}


def write_evaluation_page(folder: Path) -> ReportFiles:
    """Write `folder/report.html` and `folder/figures/*.png` from whatever the evaluation folder holds.

    The page loads nothing from anywhere and runs no script. Missing or damaged files shorten it, and it says so.

    Raises:
        ValueError: `folder` is no folder.
    """
    record = read_evaluation(folder)
    figures = emptied_figures(folder, "failure_*.png", "reward_*.png", "timeline_*.png")
    with drawing_style():
        failures = draw_failures(record.metrics, figures)
        rewards = draw_rewards(record.totals, figures)
        timelines = draw_timelines(choose_samples(record.samples), figures)
    html = render(
        "evaluation.html",
        name=title(record),
        outcome=outcome(record.metrics),
        tiles=tiles(record.metrics),
        facts=facts(record),
        notes=[text_of(note) for note in listed(record.metrics.get("notes"))],
        sections=section_tables(record.metrics),
        groups=group_tables(record.metrics),
        terms=term_table(record.metrics),
        failures=failures,
        rewards=rewards,
        timelines=timelines,
        selection_rule=SELECTION_RULE,
        quarantine=record.quarantine[:MAX_QUARANTINED_SHOWN],
        num_quarantined=len(record.quarantine),
        contents=[(name, quote(name), text) for name, text in CONTENTS.items() if (folder / name).exists()],
        folder=text_of(str(folder.resolve())),
        defects=record.defects.sentences(),
    )
    path = write_whole(folder / "report.html", html)
    pictures = [*failures, *rewards, *(drawn.picture for drawn in timelines)]
    return ReportFiles(path, tuple(picture.png for picture in pictures))


def title(record: EvaluationRecord) -> str:
    """What was evaluated, on what."""
    benchmark = text_of(record.metrics.get("benchmark") or record.identity.get("benchmark"))
    subject = record.identity.get("checkpoint") or record.identity.get("predictions_file")
    if isinstance(subject, Mapping):
        subject = subject.get("name")
    return " · ".join(filter(None, (benchmark, text_of(subject).rstrip("/").rpartition("/")[2]))) or record.folder.name


def outcome(metrics: Mapping[str, Any]) -> str:
    """One sentence: how many answers, and how many of them could not be read."""
    total, failed = number(metrics.get("num_samples")), number(metrics.get("num_failed"))
    if total is None:
        return "metrics.json is missing or damaged: the evaluation is not finished."
    if metrics.get("mode") == "completions":
        return f"{total:,.0f} completions scored."
    unread = "" if failed is None else f", {failed:,.0f} of them not to be read ({100 * failed / max(total, 1):.1f} %)"
    return f"{total:,.0f} answers{unread}."


def facts(record: EvaluationRecord) -> list[Fact]:
    """What was evaluated, when and how long, as far as it is known."""
    identity, annotation = record.identity, mapping(record.identity.get("annotation"))
    checksum = text_of(annotation.get("sha256"))[:12]
    known = {
        "benchmark": record.metrics.get("benchmark") or identity.get("benchmark"),
        "scored by": record.metrics.get("rule") or identity.get("rule"),
        "as in": record.metrics.get("official_source"),
        "checkpoint": _plain(identity.get("checkpoint")),
        "answers": identity.get("predictions_file"),
        "annotation": " · sha256 ".join(filter(None, (text_of(annotation.get("file")), checksum))),
        "time": ", ".join(f"{name} {_seconds(value)}" for name, value in mapping(identity.get("timings_s")).items()),
        "versions": _plain(identity.get("versions")),
        "created": identity.get("created"),
    }
    return [Fact(label, text_of(value)) for label, value in known.items() if value]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text_of(item)}" for name, item in value.items() if item)
    return text_of(value)


def _seconds(value: Any) -> str:
    seconds = number(value)
    return "–" if seconds is None else f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def choose_samples(samples: Sequence[SampleRecord]) -> list[Timeline]:
    """The samples to draw, by `SELECTION_RULE`, of those whose answer is a time; ties go to the first in the file."""
    timed = [place for place, sample in enumerate(samples) if sample.targets and sample.iou is not None]
    best = sorted(timed, key=lambda place: -samples[place].iou)[:NUM_EXTREMES]
    rest = [place for place in timed if place not in best]
    worst = sorted(rest, key=lambda place: samples[place].iou)[:NUM_EXTREMES]
    rest = [place for place in rest if place not in worst]
    step = (len(rest) - 1) / max(NUM_SPREAD - 1, 1)
    spread = [rest[round(index * step)] for index in range(NUM_SPREAD)] if len(rest) > NUM_SPREAD else rest
    reasons = {place: "among the best" for place in best}
    reasons |= {place: "among the worst" for place in worst}
    reasons |= dict.fromkeys(spread, "evenly spread")
    chosen = [(samples[place].as_prediction(), why) for place, why in reasons.items()]
    return [Timeline(example, why, (("answer", example),)) for example, why in chosen]
