"""Output files of the released evaluation scripts: JSON lists whose answers are extracted texts already.

**Source:** THUNLP-MT/MUSEG 889565e, src/eval_grounding.py and src/eval_et_bench.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from museg.data import row_fields
from museg.data.file_faults import FileFaults, as_object, json_list
from museg.dialogue.responses import answer_block
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.samples import Answer, BenchmarkSample

ET_BENCH_ID = ("task", "source", "idx")
SPEAKER = "assistant: "


def read_released_answers(
    path: Path, samples: Sequence[BenchmarkSample], unasked: Sequence[BenchmarkSample] = ()
) -> dict[int, Answer]:
    """Row -> answer of every sample that the list answers; E.T. Bench output may answer `unasked` samples too.

    Recognised by its entries: with `result` it is output of the grounding script, with `a` (or task, source and idx) of
    the E.T. Bench script. Raises one ValueError for all entries that cannot be used.
    """
    entries = json_list(path)
    keys = {key for entry in entries if isinstance(entry, dict) for key in entry}
    if "result" in keys:
        return _grounding(path, entries, samples)
    if "a" in keys or keys.issuperset(ET_BENCH_ID):
        return _et_bench(path, entries, [*samples, *unasked])
    raise ValueError(
        f"{path} is a JSON list, but neither output of the released grounding script (entries with result) nor of the "
        "E.T. Bench script (entries with a); give other answers as JSON lines with id and output"
    )


def answer_of(text: Any, completion: Any = None) -> Answer:
    """An answer whose text is given as it was extracted; what is no text, or a blank one, counts as a failure.

    Extraction leaves an empty text also where it found no answer block; the raw text tells the two apart.
    """
    raw = completion if isinstance(completion, str) else None
    if not isinstance(text, str):
        return Answer("", raw, AnswerFault.NOT_TEXT.value)
    if text.strip():
        return Answer(text, raw)
    lacks_block = raw is not None and answer_block(raw) is None
    return Answer(text, raw, (AnswerFault.NO_ANSWER_BLOCK if lacks_block else AnswerFault.EMPTY).value)


def _grounding(path: Path, entries: Sequence[Any], samples: Sequence[BenchmarkSample]) -> dict[int, Answer]:
    """One entry a row in annotation order, and behind them the statistics of the run."""
    if isinstance(entries[-1], dict) and not {"video", "question", "result"} & entries[-1].keys():
        entries = entries[:-1]
    if len(entries) != len(samples):
        raise ValueError(
            f"{path} has answers for {len(entries)} rows, but the annotation has {len(samples)}: score it with the "
            "annotation file that it was made from (benchmark=..., or benchmark.annotations=FILE)"
        )
    answers, bad = {}, FileFaults(path)
    for place, (entry, sample) in enumerate(zip(entries, samples, strict=True)):
        with bad.at(f"row {place} (from 0)"):
            row = as_object(entry)
            for key, expected in (("video", sample.video), ("question", sample.question)):
                if row.get(key) != expected:
                    found = row_fields.short(row.get(key))
                    raise ValueError(f"{key} is {found}, but {row_fields.short(expected)} in the annotation")
            answers[sample.row] = _result(row)
    bad.raise_if_any("score it with the annotation file that it was made from")
    return answers


def _result(row: Mapping[str, Any]) -> Answer:
    if "result" not in row:
        return Answer("", fault=AnswerFault.MISSING.value)
    result = row["result"]
    if not isinstance(result, dict):
        return answer_of(None)
    return answer_of(result.get("output"), _raw(result.get("conversation")))


def _raw(conversation: Any) -> str | None:
    """The raw text, which is the last message of the conversation that both scripts keep; None without one."""
    last = conversation[-1] if isinstance(conversation, list) and conversation else None
    return last.removeprefix(SPEAKER) if isinstance(last, str) and last.startswith(SPEAKER) else None


def _et_bench(path: Path, entries: Sequence[Any], samples: Sequence[BenchmarkSample]) -> dict[int, Answer]:
    """Annotation rows in any order, each with its answer `a`."""
    row_of_id = {sample.sample_id: sample.row for sample in samples}
    answers, bad = {}, FileFaults(path)
    for place, entry in enumerate(entries):
        with bad.at(f"row {place} (from 0)"):
            row = as_object(entry)
            row_fields.need(row, *ET_BENCH_ID)
            name = "/".join(str(row[key]) for key in ET_BENCH_ID)
            if name not in row_of_id:
                raise ValueError(f"{row_fields.short(name)} is no task/source/idx of the annotation")
            if row_of_id[name] in answers:
                raise ValueError(f"{row_fields.short(name)} is answered twice")
            missing = Answer("", fault=AnswerFault.MISSING.value)
            answers[row_of_id[name]] = answer_of(row["a"], _raw(row.get("c"))) if "a" in row else missing
    bad.raise_if_any("score it with the benchmark that it was made from, or remove them")
    return answers
