"""The rule of E.T. Bench: twelve tasks, each with its own tables, in groups by task and source."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from museg.dialogue.et_bench_answers import CAPTION_TASKS, OFFICIAL_RAISES, UNREADABLE, read_et_bench_answer
from museg.evaluation.rule import Overall, Reported, Rule, Tables
from museg.evaluation.samples import Answer, BenchmarkSample, Reading
from museg.metrics.caption_scores import CaptionScorer
from museg.metrics.et_bench_choices import compared_texts
from museg.metrics.et_bench_summary import MERGED, means, merged, per_task
from museg.metrics.et_bench_table import RAISES
from museg.metrics.et_bench_tables import corrected_table, official_table
from museg.metrics.field_grounding import FieldGroundingTable
from museg.metrics.sample_table import SampleTable
from museg.metrics.sentence_similarity import SentenceEncoder

FIELD_TASKS = ("tvg", "epm", "tal")
"""Tasks that ask for all segments and nothing else, as grounding benchmarks do."""
CORRECTED = ("Acc_letter_decides", "exact_mRec", "one_to_one_F1", "F1_all_samples", "SentSim_all_samples")
FIELD = ("mean_iou", "mean_f1", "count_accuracy")
"""What is reported of a task over its sources, besides the official scores."""
USUAL_NUM_OPTIONS = 4


def _over_sources(groups: Reported, section: str, names: Sequence[str]) -> dict[str, Any]:
    """`TASK name` -> plain mean over the task's sources, for those of `names` that its tables report."""
    found: dict[str, list[Any]] = {}
    for group, sections in groups.items():
        task = group.partition("/")[0]
        for name in names:
            if name in sections.get(section, {}):
                found.setdefault(f"{task.upper()} {name}", []).append(sections[section][name])
    return {name: sum(values) / len(values) for name, values in found.items()}


def _settled(reading: Reading, does_raise: bool) -> Reading:
    if does_raise:
        return replace(reading, failure=OFFICIAL_RAISES)
    return replace(reading, failure=UNREADABLE) if reading.failure == OFFICIAL_RAISES else reading


class EtBenchRule(Rule):
    """E.T. Bench; without `captions` the scores of dense captions that need Java are left out."""

    name = "et_bench"
    official_source = "THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py"
    headline = tuple(("official", name) for name in MERGED)

    def __init__(self, captions: bool) -> None:
        self.similarity = SentenceEncoder()
        self.captions = CaptionScorer(self.similarity) if captions else None
        self.num_options: dict[str, int] = {}

    def groups(self, task: str, source: str) -> tuple[str, ...]:
        return (f"{task}/{source}",)

    def sections(self, group: str) -> dict[str, SampleTable]:
        task = group.partition("/")[0]
        needs = {
            "similarity": self.similarity,
            "captions": self.captions,
            "num_options": self.num_options.get(group, USUAL_NUM_OPTIONS),
        }
        tables = {"official": official_table(task, **needs), "corrected": corrected_table(task, **needs)}
        if task in FIELD_TASKS:
            tables["field"] = FieldGroundingTable()
        return {section: table for section, table in tables.items() if table is not None}

    def look_at(self, samples: Iterable[BenchmarkSample]) -> None:
        """The published script takes the number of options of a group's first sample for all of them."""
        for sample in samples:
            if sample.annotation.get("o"):
                (group,) = self.groups(sample.task, sample.source)
                self.num_options.setdefault(group, len(sample.annotation["o"]))

    def prime(self, tables: Tables, samples: Sequence[BenchmarkSample], answers: Sequence[Answer]) -> None:
        """Embed and tokenise everything that will be compared, at once."""
        asked: list[str] = []
        described: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        for sample, answer in zip(samples, answers, strict=True):
            (group,) = self.groups(sample.task, sample.source)
            num_options = self.num_options.get(group)
            asked += compared_texts(sample.task, answer.text, sample.annotation, num_options)
            if sample.task in CAPTION_TASKS:
                described.setdefault(group, []).append((answer.text, sample.annotation))
        self.similarity.prime(asked)
        for group, pairs in described.items():
            for table in tables[group].values():
                table.prime(*zip(*pairs, strict=True))

    def read(self, sample: BenchmarkSample, answer: Answer) -> Reading:
        segments, failure = read_et_bench_answer(sample.task, answer.text, sample.annotation)
        return Reading(segments, answer.fault or failure)

    def add(self, tables: Tables, position: int, sample: BenchmarkSample, answer: Answer, reading: Reading) -> None:
        (group,) = self.groups(sample.task, sample.source)
        for section, table in tables[group].items():
            if section == "field":
                table.update(position, reading.segments or (), sample.targets)
            else:
                table.update(position, answer.text, sample.annotation)

    def settled(
        self, tables: Tables, samples: Sequence[BenchmarkSample], readings: Sequence[Reading]
    ) -> Sequence[Reading]:
        """Whether the published script stops at an answer depends on the truth as well, so the tables say it."""
        raising: set[int] = set()
        for sections in tables.values():
            positions, rows = sections["official"].stored()
            raising.update(positions[rows[:, sections["official"].columns.index(RAISES)] == 1].tolist())
        return [_settled(reading, position in raising) for position, reading in enumerate(readings)]

    def overall(self, groups: Reported) -> Overall:
        """The published script's five merged scores, its means, and each task's own score."""
        per_source: dict[str, dict[str, Mapping[str, Any]]] = {}
        for group, sections in groups.items():
            task, _, source = group.partition("/")
            per_source.setdefault(task, {})[source] = sections["official"]
        by_task = per_task(per_source)
        official = {**merged(by_task), **by_task, **means(per_source)}
        return {
            "official": {name: value for name, value in official.items() if value is not None},
            "corrected": _over_sources(groups, "corrected", CORRECTED),
            "field": _over_sources(groups, "field", FIELD),
        }

    def notes(self, overall: Overall) -> list[str]:
        lacking = [name for name in MERGED if name not in overall["official"]]
        if not lacking:
            return []
        return [f"{', '.join(lacking)}: not reported, because samples or scores of one of their tasks are missing."]
