"""How long scoring takes, beside the released rules worked out sample by sample. `python -m tests.benchmarks.scoring`

Two measurements in one process, on the same files and in turns: 3,720 answers to Charades-STA, and a whole E.T. Bench
(7,289 made-up answers) without caption scores.

- released: reads the files and works out the official numbers, a tensor for every sample and a call of the sentence
  encoder for every text compared, as the released scripts do.
- official: our tables, the official numbers alone.
- ours: what `python evaluate.py predictions=FILE captions=false` does up to `metrics.json` and `samples.jsonl`, which
  adds corrected and field scores, the failure analysis and a line for every sample.

All three must give the same official numbers. Each run on E.T. Bench loads the sentence encoder anew. Run the program
on a machine that has nothing else to do, with OMP_NUM_THREADS=1; ratios are those of the best runs.
"""

import argparse
import itertools
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from museg.evaluation.benchmarks import BenchmarkSettings, read_benchmark
from museg.evaluation.rule import Rule
from museg.evaluation.rules import make_rule
from museg.evaluation.saved_answers import read_answers
from museg.evaluation.score import Scored, score, write_scores
from museg.metrics.sentence_similarity import load_encoder
from tests.benchmarks import released_parsers, released_rules
from tests.benchmarks.made_et_bench import kind_of_answer, made_completions, made_rows, moved, sentence
from tests.benchmarks.measure import CLOCKS, RESULTS, machine
from tests.shared import ANNOTATIONS

CONF = Path(__file__).resolve().parents[2] / "conf" / "benchmark"
CHARADES, ET_BENCH = "charades_sta", "et_bench"
RELEASED_CHARADES = ANNOTATIONS / "eval" / "charades_sta.json"
NUM_CHARADES = 3720
SIDES = ("released", "official", "ours")
TOLERANCE = 1e-9
"""Charades-STA is not rounded, and the sides add up in another order; scores of five decimals must be the same."""

Row = Mapping[str, Any]
Numbers = dict[str, dict[str, float]]
"""Group -> metric name -> value."""


class EncodingEachText:
    """Similarity as the released script has it: both texts of every comparison go through the encoder, one by one."""

    def __init__(self) -> None:
        self.model = load_encoder("cpu")
        self.num_calls = 0
        self.seconds = 0.0

    def __call__(self, text: str, option: str) -> float:
        start_s = time.perf_counter()
        one, other = (self.model.encode([words], convert_to_tensor=True)[0] for words in (text, option))
        self.num_calls += 2
        self.seconds += time.perf_counter() - start_s
        return float(one @ other)


def settings_of(name: str) -> BenchmarkSettings:
    """The benchmark as it is described in `conf/benchmark`."""
    node = yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8"))
    return BenchmarkSettings(**{item.name: node[item.name] for item in fields(BenchmarkSettings) if item.name in node})


def annotation_file(settings: BenchmarkSettings, data_root: Path) -> Path:
    """Where the benchmark's distributed annotation file stands."""
    return data_root / "annotations" / str(settings.distributed)


def write_files(settings: BenchmarkSettings, data_root: Path, rows: Sequence[Row], texts: Iterable[str]) -> Path:
    """Write the annotation of these rows and a completion for each; returns the file of completions."""
    file, answers = annotation_file(settings, data_root), data_root / f"{settings.name}_answers.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows), "utf-8")
    lines = (json.dumps({"id": str(row), "completion": completion}) for row, completion in enumerate(texts))
    answers.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return answers


def charades_rows() -> list[Row]:
    """The released annotation where it is at hand, else as many rows made up in its schema."""
    if RELEASED_CHARADES.exists():
        return json.loads(RELEASED_CHARADES.read_text("utf-8"))
    return [_made_charades(row) for row in range(NUM_CHARADES)]


def _made_charades(row: int) -> Row:
    generator = random.Random(f"charades {row}")
    start_s = round(generator.uniform(0, 25), 1)
    truth = [start_s, round(start_s + generator.uniform(2.5, 12), 1)]
    return {"video": f"charades/{row // 3:05d}.mp4", "question": f"When {sentence(generator)}?", "groundtruth": [truth]}


def charades_completion(row: Row) -> str:
    """An answer to a row: one segment, two, or something that cannot be read."""
    generator = random.Random(f"answer {row['video']} {row['question']}")
    kind = kind_of_answer(generator)
    start_s, end_s = moved(generator, row["groundtruth"][0], kind)
    forms = [f"{start_s}-{end_s}", f"{start_s} to {end_s} seconds", f"{start_s}s - {end_s}s, {end_s + 3}-{end_s + 5}"]
    if kind == "unreadable":
        forms = ["not shown", f"{end_s}-{start_s}", "5"]
    return f"<think>{sentence(generator)}</think><answer>{generator.choice(forms)}</answer>"


def released(
    settings: BenchmarkSettings, data_root: Path, answers: Path, similarity: Callable[[str, str], float] | None
) -> Numbers:
    """Annotation and answers through the released rules, sample by sample."""
    rows = json.loads(annotation_file(settings, data_root).read_text("utf-8"))
    lines = map(json.loads, answers.read_text("utf-8").splitlines())
    texts = [released_parsers.answer_of(line["completion"]) for line in lines]
    if settings.name == CHARADES:
        return {"tvg": released_rules.grounding_tvg(rows, texts)}
    return released_rules.et_bench(rows, texts, similarity)


def official(settings: BenchmarkSettings, data_root: Path, answers: Path, rule: Rule) -> Numbers:
    """The same files through our official tables alone."""
    every_section = rule.sections
    rule.sections = lambda group: {key: table for key, table in every_section(group).items() if key == "official"}
    tables = _scored(settings, data_root, answers, rule).tables
    return {group: sections["official"].compute() for group, sections in tables.items() if sections}


def ours(settings: BenchmarkSettings, data_root: Path, answers: Path, rule: Rule) -> Numbers:
    """The same files to finished score files in `data_root`; returns the official numbers of the written report."""
    report = write_scores(_scored(settings, data_root, answers, rule), data_root, settings.name)
    groups = report["groups"].items()
    return {group: sections["official"] for group, sections in groups if "official" in sections}


def _scored(settings: BenchmarkSettings, data_root: Path, answers: Path, rule: Rule) -> Scored:
    benchmark = read_benchmark(settings, data_root)
    return score(benchmark.samples, read_answers(answers, benchmark.samples, settings.rule).answers, rule)


def differences(one: Numbers, other: Numbers) -> list[str]:
    """Every number that two sides do not share."""
    found = [f"{group}: only one side has it" for group in one.keys() ^ other.keys()]
    for group in one.keys() & other.keys():
        for name in one[group].keys() | other[group].keys():
            pair = one[group].get(name), other[group].get(name)
            if None in pair or abs(pair[0] - pair[1]) > TOLERANCE:
                found.append(f"{group} {name}: {pair[0]} and {pair[1]}")
    return sorted(found)


def measured(settings: BenchmarkSettings, data_root: Path, answers: Path, num_runs: int) -> dict[str, Any]:
    """All sides in turns, `num_runs` times each; SystemExit where their numbers differ."""
    found: dict[str, Any] = {"num_answers": settings.num_rows}
    found |= {f"{side}_{clock}": [] for side in SIDES for clock in CLOCKS}
    for run in range(1, num_runs + 1):
        numbers: dict[str, Numbers] = {}
        for side in SIDES:
            starts_s = [read() for read in CLOCKS.values()]
            numbers[side], more = _one_run(side, settings, data_root, answers)
            spent_s = [round(read() - start_s, 3) for read, start_s in zip(CLOCKS.values(), starts_s, strict=True)]
            for clock, seconds in zip(CLOCKS, spent_s, strict=True):
                found[f"{side}_{clock}"].append(seconds)
            found |= more
            print(f"{settings.name}, run {run}, {side}: {spent_s[0]} s, of a processor {spent_s[1]} s", flush=True)
            if apart := differences(numbers[side], numbers["released"]):
                sys.exit(f"{settings.name}, {side}: {len(apart)} numbers differ\n" + "\n".join(apart))
    found["num_equal_numbers"] = sum(map(len, numbers["released"].values()))
    for side, clock in itertools.product(SIDES[1:], CLOCKS):
        ratio = min(found[f"released_{clock}"]) / min(found[f"{side}_{clock}"])
        found[f"released_to_{side}_by_{clock.removesuffix('_s')}"] = round(ratio, 2)
    return found


def _one_run(
    side: str, settings: BenchmarkSettings, data_root: Path, answers: Path
) -> tuple[Numbers, dict[str, float]]:
    """The numbers of one side, and what there is to say of its encoder."""
    if side != "released":
        rule = make_rule(settings.rule, captions=False)
        return {"official": official, "ours": ours}[side](settings, data_root, answers, rule), {}
    if settings.name == CHARADES:
        return released(settings, data_root, answers, None), {}
    similarity = EncodingEachText()
    numbers = released(settings, data_root, answers, similarity)
    return numbers, {
        "released_encoder_calls": similarity.num_calls,
        "released_encoder_s": round(similarity.seconds, 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    facts = machine()
    name = re.sub(r"\W+", "_", f"{facts['processor']} {facts['num_cores']} cores".lower())
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json", help="JSON file for the results")
    parser.add_argument("--runs", type=int, default=2, help="how often each side is measured")
    options = parser.parse_args(arguments)
    load_encoder("cpu").encode(["imports and first calls count for nobody"])
    results: dict[str, Any] = {"machine": facts}
    charades, et_bench = charades_rows(), made_rows()
    answers_of = {
        CHARADES: partial(write_files, rows=charades, texts=map(charades_completion, charades)),
        ET_BENCH: partial(write_files, rows=et_bench, texts=made_completions(et_bench)),
    }
    with tempfile.TemporaryDirectory() as folder:
        for benchmark, write in answers_of.items():
            settings = settings_of(benchmark)
            answers = write(settings, Path(folder))
            results[benchmark] = found = measured(settings, Path(folder), answers, options.runs)
            print(f"{benchmark}: {found}")
    results[CHARADES]["annotation"] = "released" if RELEASED_CHARADES.exists() else "made up"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
