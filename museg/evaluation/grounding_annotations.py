"""Annotations of true segments: the released lists, rows in the schema of training, captions with their times."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from museg.data import row_fields
from museg.data.file_faults import FileFaults, as_object, json_file, json_list
from museg.data.readers import read_museg_jsonl
from museg.evaluation.samples import BenchmarkSample

QUERY_SLOT = "{query}"
"""Stands for the annotated description in the question that a benchmark makes of it."""


def read_released_grounding(path: Path, task: str) -> tuple[BenchmarkSample, ...]:
    """The released evaluation files: a JSON list of {video, question, groundtruth}. No ids: the row is the id.

    **Source:** THUNLP-MT/MUSEG 889565e, data/eval/grounding.
    """
    samples, bad = [], FileFaults(path)
    for row, entry in enumerate(json_list(path)):
        with bad.at(f"row {row} (from 0)"):
            annotation = as_object(entry)
            row_fields.need(annotation, "video", "question", "groundtruth")
            video = row_fields.video_path(annotation["video"])
            samples.append(
                BenchmarkSample(
                    sample_id=str(row),
                    row=row,
                    task=task,
                    source=row_fields.source_of(video),
                    video=video,
                    question=row_fields.text(annotation, "question"),
                    targets=row_fields.segments(annotation["groundtruth"], "groundtruth"),
                    duration_s=row_fields.duration(annotation),
                    annotation=annotation,
                )
            )
    bad.raise_if_any()
    return tuple(samples)


def read_museg_rows(path: Path) -> tuple[BenchmarkSample, ...]:
    """Rows in the schema of the training files (`museg.data.readers`); the id is the row's own idx."""
    return tuple(
        BenchmarkSample(
            sample_id=example.example_id.removeprefix(f"{Path(path).stem}:"),
            row=row,
            task=example.task,
            source=example.source,
            video=example.video,
            question=example.query,
            targets=example.targets,
            duration_s=example.duration_s,
        )
        for row, example in enumerate(read_museg_jsonl(path).examples)
    )


def read_activitynet_captions(path: Path, question: str) -> tuple[BenchmarkSample, ...]:
    """A JSON object: video id -> {duration, timestamps, sentences}; every sentence is a sample `<video id>:<number>`.

    `question` holds `{query}` in the sentence's place. Clips are called `<video id>.mp4`.

    **Source:** Krishna et al. 2017, Dense-Captioning Events in Videos (arXiv 1705.00754), its captions archive.
    """
    content = json_file(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, video id to captions, not {type(content).__name__}")
    samples, bad = [], FileFaults(path)
    for video, entry in content.items():
        with bad.at(f"video {row_fields.short(video)}"):
            for sample in _sentences(video, as_object(entry), question, first_row=len(samples)):
                samples.append(sample)
    bad.raise_if_any()
    return tuple(samples)


def _sentences(video: str, entry: Mapping[str, Any], question: str, first_row: int) -> Iterator[BenchmarkSample]:
    row_fields.need(entry, "duration", "timestamps", "sentences")
    sentences, targets = entry["sentences"], row_fields.segments(entry["timestamps"], "timestamps")
    if not isinstance(sentences, list) or len(sentences) != len(targets):
        raise ValueError(f"sentences must be a list of {len(targets)}, one for each of timestamps")
    for number, (sentence, target) in enumerate(zip(sentences, targets, strict=True)):
        query = row_fields.text({f"sentence {number}": sentence}, f"sentence {number}").strip()
        yield BenchmarkSample(
            sample_id=f"{video}:{number}",
            row=first_row + number,
            task="tvg",
            source="activitynet_captions",
            video=row_fields.video_path(f"{video}.mp4"),
            question=question.replace(QUERY_SLOT, query),
            targets=(target,),
            duration_s=row_fields.duration(entry),
        )
