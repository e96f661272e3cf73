"""What a dashboard shows of a prompt's completions: the report's timelines, drawn while the run goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

from museg.dialogue.responses import read_strict
from museg.metrics.grounding_scores import set_iou
from museg.report.run_folder import MAX_SEGMENTS, Prediction
from museg.report.timelines import Timeline, timeline_png
from museg.temporal.segments import Segment


def draw_completions(records: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG of the completions of one prompt, as `completions.jsonl` holds them: the truth, then a row for each."""
    answers = [_answer(record) for record in records]
    rows = [(f"reward {record['reward']:.2f}", answer) for record, answer in zip(records, answers, strict=True)]
    return timeline_png(Timeline(answers[0], f"step {records[0]['step']}, {records[0]['phase']}", tuple(rows)))


def _answer(record: Mapping[str, Any]) -> Prediction:
    """A completion as the rewards read it."""
    response = read_strict(record["text"])
    targets = tuple(Segment(*ends) for ends in record["targets"])
    segments = None if response.segments is None else tuple(response.segments[:MAX_SEGMENTS])
    return Prediction(
        example_id=record["example_id"],
        video="",
        query=record["query"],
        targets=targets,
        duration_s=record["duration_s"],
        text=record["text"],
        segments=segments,
        fault=response.fault.value if response.fault else "",
        iou=set_iou(segments or (), targets),
    )
