"""Annotations of E.T. Bench, version 1.0 with times written out in the questions, and of its subset for costly models.

**Source:** PolyU-ChenLab/ETBench, and data/eval/et_bench of THUNLP-MT/MUSEG 889565e, whose scripts say what each task
reads of a row.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from museg.data import row_fields
from museg.data.file_faults import FileFaults, as_object, json_file, json_list
from museg.evaluation.samples import BenchmarkSample
from museg.temporal.segments import Segment

Targets = tuple[Segment, ...]
Samples = tuple[BenchmarkSample, ...]

LETTERS = (4, 5)
"""How many options a question may have; the published letter tables hold no others."""


def read_et_bench(path: Path) -> Samples:
    """A JSON list of {idx, task, source, video, duration, q, and what the task needs}; ids are `task/source/idx`."""
    samples, bad = [], FileFaults(path)
    row_of_id: dict[str, int] = {}
    for row, entry in enumerate(json_list(path)):
        with bad.at(f"row {row} (from 0)"):
            sample = _sample(as_object(entry), row)
            if sample.sample_id in row_of_id:
                raise ValueError(
                    f"task, source and idx ({sample.sample_id}) repeat those of row {row_of_id[sample.sample_id]}"
                )
            row_of_id[sample.sample_id] = row
            samples.append(sample)
    bad.raise_if_any()
    return tuple(samples)


def read_et_bench_subset(path: Path, subset: Path) -> tuple[Samples, Samples]:
    """The samples of `path` that `subset` ({task: {source: [idx]}}) names, and the others; both in file order.

    Rows are those of `path`.
    """
    chosen, samples = _subset_ids(subset), read_et_bench(path)
    if absent := sorted(chosen - {sample.sample_id for sample in samples}):
        shown = ", ".join(absent[:10]) + (", ..." if len(absent) > 10 else "")
        raise ValueError(
            f"{subset} names {len(absent)} sample(s) that {path} does not hold: {shown}; use matching files"
        )
    asked = tuple(sample for sample in samples if sample.sample_id in chosen)
    return asked, tuple(sample for sample in samples if sample.sample_id not in chosen)


def _subset_ids(path: Path) -> set[str]:
    content, bad, chosen = json_file(path), FileFaults(path), set()
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, task to source to list of idx, not {type(content).__name__}")
    for task, sources in content.items():
        with bad.at(f"task {row_fields.short(task)}"):
            _known_task(task)
            for source, numbers in as_object(sources).items():
                if not isinstance(numbers, list):
                    raise ValueError(f"source {source} must hold a list of idx, not {row_fields.short(numbers)}")
                ids = [f"{task}/{source}/{row_fields.whole_number(number, 'idx')}" for number in numbers]
                if len(set(ids)) < len(ids):
                    raise ValueError(f"source {source} lists an idx twice")
                chosen.update(ids)
    bad.raise_if_any()
    return chosen


def _sample(annotation: dict[str, Any], row: int) -> BenchmarkSample:
    row_fields.need(annotation, "idx", "task", "source", "video", "q")
    task, source = _known_task(annotation["task"]), row_fields.text(annotation, "source")
    return BenchmarkSample(
        sample_id=f"{task}/{source}/{row_fields.whole_number(annotation['idx'], 'idx')}",
        row=row,
        task=task,
        source=source,
        video=row_fields.video_path(annotation["video"]),
        question=row_fields.text(annotation, "q"),
        targets=TASKS[task](annotation),
        duration_s=row_fields.duration(annotation),
        annotation=annotation,
    )


def _known_task(task: Any) -> str:
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {row_fields.short(task)}")
    return task


def _options(annotation: Mapping[str, Any]) -> Targets:
    """No times are asked for: the answer is the letter of the option with index p."""
    row_fields.need(annotation, "o", "p")
    options, right = annotation["o"], annotation["p"]
    if not isinstance(options, list) or len(options) not in LETTERS or not all(map(_is_option, options)):
        raise ValueError(
            f"o must be {LETTERS[0]} or {LETTERS[1]} options, texts or [start, end], not {row_fields.short(options)}"
        )
    if row_fields.whole_number(right, "p") >= len(options):
        raise ValueError(f"p must be the index of one of the {len(options)} options, not {right}")
    return ()


def _is_option(option: Any) -> bool:
    if isinstance(option, list) and len(option) == 2:
        return all(isinstance(time_s, (int, float)) and 0 <= time_s < float("inf") for time_s in option)
    return isinstance(option, str)


def _one_range(annotation: Mapping[str, Any]) -> Targets:
    row_fields.need(annotation, "tgt")
    target = annotation["tgt"]
    if not isinstance(target, list) or len(target) != 2 or any(isinstance(time, list) for time in target):
        raise ValueError(f"tgt must be one [start, end], not {row_fields.short(target)}")
    return row_fields.segments([target], "tgt")


def _ranges(annotation: Mapping[str, Any]) -> Targets:
    row_fields.need(annotation, "tgt")
    return row_fields.segments(annotation["tgt"], "tgt")


def _highlights(annotation: Mapping[str, Any]) -> Targets:
    """One list of ranges, or one for each annotator; a time in any of them is right."""
    row_fields.need(annotation, "tgt")
    target = annotation["tgt"]
    if not isinstance(target, list) or not target:
        raise ValueError(f"tgt must be a list of [start, end], or of such lists, not {row_fields.short(target)}")
    is_per_annotator = isinstance(target[0], list) and any(isinstance(entry, list) for entry in target[0])
    lists = target if is_per_annotator else [target]
    return tuple(segment for entry in lists for segment in row_fields.segments(entry, "tgt"))


def _captioned(annotation: Mapping[str, Any]) -> Targets:
    row_fields.need(annotation, "g")
    targets, captions = _ranges(annotation), annotation["g"]
    if not isinstance(captions, list) or len(captions) != len(targets):
        raise ValueError(
            f"g must be a list of {len(targets)} captions, one for each of tgt, not {row_fields.short(captions)}"
        )
    if not all(isinstance(caption, str) for caption in captions):
        raise ValueError(f"g must hold texts, not {row_fields.short(captions)}")
    return targets


def _grounded_choice(annotation: Mapping[str, Any]) -> Targets:
    _options(annotation)
    return _one_range(annotation)


TASKS: dict[str, Callable[[Mapping[str, Any]], Targets]] = {
    "rar": _options,
    "eca": _options,
    "rvq": _options,
    "tvg": _one_range,
    "epm": _one_range,
    "tal": _ranges,
    "evs": _ranges,
    "vhd": _highlights,
    "dvc": _captioned,
    "slc": _captioned,
    "tem": _ranges,
    "gvq": _grounded_choice,
}
"""Task -> the function that checks what the task reads of a row and returns the true segments."""
