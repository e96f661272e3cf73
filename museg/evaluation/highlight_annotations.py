"""Annotations of moment retrieval and highlight detection in the schema of QVHighlights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from museg.data import row_fields
from museg.data.file_faults import FileFaults, json_object, numbered_lines
from museg.evaluation.grounding_annotations import QUERY_SLOT
from museg.evaluation.samples import BenchmarkSample

CLIP_S = 2
"""Saliency is annotated for clips of this length."""
NUM_ANNOTATORS = 3
MOST_SALIENT = 4


def read_qvhighlights(path: Path, question: str) -> tuple[BenchmarkSample, ...]:
    """JSON lines of {qid, query, duration, vid, relevant_windows, relevant_clip_ids, saliency_scores}; the id is qid.

    The last two may be absent together: then the sample has no highlights. `question` holds `{query}` in the place of
    the description. Clips are called `<vid>.mp4`. Lines of a split without relevant_windows are refused.

    **Source:** jayleicn/moment_detr, data/README.md and standalone_eval/eval.py.
    """
    samples, bad = [], FileFaults(path)
    line_of_id: dict[str, int] = {}
    for number, line in numbered_lines(path):
        with bad.at(f"line {number}"):
            sample = _sample(json_object(line), question, row=len(line_of_id))
            if sample.sample_id in line_of_id:
                raise ValueError(f"qid repeats that of line {line_of_id[sample.sample_id]}")
            line_of_id[sample.sample_id] = number
            samples.append(sample)
    bad.raise_if_any()
    return tuple(samples)


def _sample(annotation: dict[str, Any], question: str, row: int) -> BenchmarkSample:
    row_fields.need(annotation, "qid", "query", "duration", "vid", "relevant_windows")
    duration_s = row_fields.seconds(annotation["duration"], "duration")
    targets = row_fields.segments(annotation["relevant_windows"], "relevant_windows")
    _check_saliency(annotation, int(duration_s / CLIP_S))
    return BenchmarkSample(
        sample_id=_qid(annotation["qid"]),
        row=row,
        task="mr",
        source="qvhighlights",
        video=row_fields.video_path(f"{row_fields.text(annotation, 'vid')}.mp4"),
        question=question.replace(QUERY_SLOT, row_fields.text(annotation, "query").strip()),
        targets=targets,
        duration_s=duration_s,
        annotation=annotation,
    )


def _qid(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not str(value).strip():
        raise ValueError(f"qid must be a whole number or a text, not {row_fields.short(value)}")
    return str(value)


def _check_saliency(annotation: Mapping[str, Any], num_clips: int) -> None:
    """Every relevant clip lies in the video and has a score from 0 to 4 of each of three people."""
    present = [key for key in ("relevant_clip_ids", "saliency_scores") if key in annotation]
    if not present:
        return
    row_fields.need(annotation, "relevant_clip_ids", "saliency_scores")
    clips, scores = annotation["relevant_clip_ids"], annotation["saliency_scores"]
    if not isinstance(clips, list) or not isinstance(scores, list) or len(clips) != len(scores):
        raise ValueError("relevant_clip_ids and saliency_scores must be lists of the same length")
    for clip in clips:
        if row_fields.whole_number(clip, "relevant_clip_ids") >= num_clips:
            raise ValueError(f"relevant_clip_ids must be below duration / {CLIP_S} = {num_clips}, not {clip}")
    for row in scores:
        if not isinstance(row, list) or len(row) != NUM_ANNOTATORS or not all(map(_is_score, row)):
            raise ValueError(
                f"saliency_scores must hold {NUM_ANNOTATORS} whole numbers from 0 to {MOST_SALIENT} for each clip, "
                f"not {row_fields.short(row)}"
            )


def _is_score(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SALIENT
