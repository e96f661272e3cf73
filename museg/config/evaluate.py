"""From checked settings to a finished evaluation folder: answer, score, draw, and say what came out."""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from museg.config.answer import answer
from museg.config.comparing import compare
from museg.config.output_folder import claim
from museg.config.score_table import show_completions, show_scores
from museg.evaluation import merging
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.benchmarks import Benchmark, BenchmarkSettings, read_benchmark
from museg.evaluation.completion_scores import write_completion_scores
from museg.evaluation.prediction_file import alone
from museg.evaluation.progress import AnsweringProgress
from museg.evaluation.rules import make_rule
from museg.evaluation.run_folder import IDENTITY_FILE, write_config, write_identity
from museg.evaluation.samples import Answer
from museg.evaluation.saved_answers import read_answers
from museg.evaluation.score import score, write_scores
from museg.files import sha256_of
from museg.phases.schedule import build_schedule
from museg.report.evaluation_page import write_evaluation_page
from museg.targets import build

Settings = Mapping[str, Any]

SCORING = ".scoring"
"""Locked while a folder is scored: of several processes that end together each writes whole files."""


def evaluate(settings: Settings, output: Path) -> None:
    """Do what the settings ask for, in the folder `output`. Raises ValueError for what cannot be read or scored."""
    claim(output, settings)
    if settings["compare"] is not None:
        return compare(settings, output)
    if settings["completions"] is not None:
        return _score_completions(settings, output)
    timings_s: dict[str, float] = {}
    with _timed(timings_s, "reading"), AnsweringProgress("making clips") as line:
        benchmark = _read_benchmark(settings, lambda done, num: line(done, num, "") if done < num else None)
    subject = {"checkpoint": None, "predictions_file": settings["predictions"]}
    if settings["checkpoint"] is not None:
        with _timed(timings_s, "answering"):
            subject["checkpoint"] = answer(settings, benchmark, output)
        if not (output / merging.PREDICTIONS).exists():
            left = len(merging.missing_rows(output, benchmark.samples))
            print(f"this share is answered; {left} questions are left to other processes, the last one scores them all")
            return None
    with alone(output / SCORING):
        _score(settings, benchmark, output, subject, timings_s)
    return None


def _read_benchmark(settings: Settings, progress: Any) -> Benchmark:
    node = settings["benchmark"]
    values = {item.name: node[item.name] for item in fields(BenchmarkSettings) if item.name in node}
    return read_benchmark(BenchmarkSettings(**values), Path(settings["data_root"]), progress)


def _score(
    settings: Settings, benchmark: Benchmark, output: Path, subject: dict[str, Any], timings_s: dict[str, float]
) -> None:
    """Score the answers of the folder, or of the file given, and write everything about them."""
    name, rule_name = benchmark.settings.name, benchmark.settings.rule
    file = Path(settings["predictions"] or output / merging.PREDICTIONS)
    digest = sha256_of(file)
    _tell_of_replaced(output, digest)
    with _timed(timings_s, "scoring"):
        saved = read_answers(file, benchmark.samples, rule_name, benchmark.unasked)
        scored = score(benchmark.samples, saved.answers, make_rule(rule_name, captions=settings["captions"]))
        report = write_scores(scored, output, name, [*saved.notes, *_notes_on_videos(saved.answers)])
    write_config(output, settings)
    annotation = {"file": str(benchmark.file), "sha256": benchmark.sha256}
    about = {"benchmark": name, "rule": rule_name, "num_samples": len(benchmark.samples), "annotation": annotation}
    about["predictions_sha256"] = digest
    write_identity(output, {**about, **subject, "timings_s": timings_s})
    page = write_evaluation_page(output)
    show_scores(report)
    print(f"report: {page.html}  numbers: {output / 'metrics.json'}  answers, one by one: {output / 'samples.jsonl'}")


def _notes_on_videos(answers: Mapping[int, Answer]) -> list[str]:
    """Why questions were not asked, where that has to do with their videos."""
    faults = Counter(answer.fault for answer in answers.values())
    absent, unreadable = faults[AnswerFault.ABSENT_VIDEO.value], faults[AnswerFault.UNREADABLE_VIDEO.value]
    told = {
        f"{absent} questions count as failures because their video is not there.": absent,
        f"{unreadable} questions count as failures because no decoder reads their video (quarantine.jsonl says why); "
        "once the file is replaced, the same command asks them again.": unreadable,
    }
    return [sentence for sentence, number in told.items() if number]


def _tell_of_replaced(output: Path, digest: str) -> None:
    """Say so where the folder holds the scores of answers of another digest."""
    identity = output / IDENTITY_FILE
    if identity.is_file() and digest not in identity.read_text(encoding="utf-8", errors="replace"):
        print(f"note: this replaces the scores of other answers in {output}")


def _score_completions(settings: Settings, output: Path) -> None:
    """Score completions with their solutions, as the first phase of training would."""
    schedule = build_schedule(**settings["phase"])
    off = schedule.phases[0].rewards_off
    file = Path(settings["completions"])
    report = write_completion_scores(file, build(settings["reward"]), off, output)
    write_config(output, settings)
    about = {"benchmark": None, "predictions_file": str(file), "predictions_sha256": sha256_of(file)}
    write_identity(output, {**about, "phase": schedule.phases[0].name, "num_samples": report["num_samples"]})
    page = write_evaluation_page(output)
    show_completions(report)
    print(f"report: {page.html}  line by line: {output / 'scores.jsonl'}")


@contextmanager
def _timed(timings_s: dict[str, float], name: str):
    began_s = time.perf_counter()
    yield
    timings_s[name] = round(time.perf_counter() - began_s, 3)
