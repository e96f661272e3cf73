"""How a benchmark is scored: which metric tables its samples fill, how answers are read, and what is reported over all.

Samples fall into groups (task and source for E.T. Bench); every group has tables by section:

- `official`: the published script, to the last tie;
- `corrected`: what that script would say without a known defect, under names of its own;
- `field`: what the field reports on any grounding benchmark.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from museg.dialogue.responses import read_number_pairs
from museg.evaluation.samples import Answer, BenchmarkSample, Reading
from museg.metrics.corrected_grounding import CorrectedGroundingTable
from museg.metrics.field_grounding import FieldGroundingTable
from museg.metrics.highlights import HighlightTable
from museg.metrics.moment_retrieval import MomentRetrievalTable
from museg.metrics.released_grounding import ReleasedGroundingTable
from museg.metrics.sample_table import SampleTable
from museg.metrics.window_scores import saliency_of, windows_of

Tables = dict[str, dict[str, SampleTable]]
"""Group -> section -> table."""
Reported = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Group -> section -> metric name -> value (an array in a bootstrap)."""
Overall = dict[str, dict[str, Any]]
"""Section -> metric name -> value."""

SECTIONS = ("official", "corrected", "field")
EVERYTHING = "all"
"""The group that every sample belongs to."""


class Rule(ABC):
    """One way to score a benchmark."""

    name: ClassVar[str]
    official_source: ClassVar[str | None]
    headline: ClassVar[tuple[tuple[str, str], ...]]
    """(section, metric name) of the numbers people quote, the first one first."""

    @abstractmethod
    def groups(self, task: str, source: str) -> tuple[str, ...]:
        """The groups that a sample of this task and source belongs to."""

    @abstractmethod
    def sections(self, group: str) -> dict[str, SampleTable]:
        """Empty tables for one group."""

    @abstractmethod
    def add(self, tables: Tables, position: int, sample: BenchmarkSample, answer: Answer, reading: Reading) -> None:
        """Enter one answered sample into the tables of its groups."""

    def prepare(self, samples: Sequence[BenchmarkSample], answers: Sequence[Answer]) -> None:  # noqa: B027
        """Do at once what is slow one by one."""

    def new_tables(self, tasks_and_sources: Sequence[tuple[str, str]]) -> Tables:
        """Empty tables for every group that samples of these tasks and sources belong to."""
        groups = dict.fromkeys(group for pair in tasks_and_sources for group in self.groups(*pair))
        return {group: self.sections(group) for group in groups}

    def read(self, sample: BenchmarkSample, answer: Answer) -> Reading:
        """What the rule's parser finds in an answer; numbers two by two unless a rule reads otherwise."""
        if answer.windows is not None:
            return Reading(tuple(window.segment for window in answer.windows))
        segments, fault = read_number_pairs(answer.text)
        kind = fault and fault.value
        return Reading(segments, answer.fault or kind or (None if segments else "empty"))

    def overall(self, groups: Reported) -> Overall:
        """What is reported over the whole benchmark: the metrics of all groups, whose names differ."""
        found: Overall = {section: {} for section in SECTIONS}
        for sections in groups.values():
            for section, metrics in sections.items():
                found[section] |= metrics
        return {section: metrics for section, metrics in found.items() if metrics}


class ReleasedGroundingRule(Rule):
    """The released grounding script, by the task that its command line names; None: by each sample's own."""

    official_source = "THUNLP-MT/MUSEG 889565e, src/eval_grounding.py"

    def __init__(self, task: str | None) -> None:
        self.task = task
        self.name = f"released_{task or 'by_task'}"
        quoted = {"tvg": "mean_f1_single", "tal": "mean_f1_multi"}
        official = [quoted[task]] if task else list(quoted.values())
        self.headline = (*(("official", name) for name in official), ("field", "mean_iou"), ("field", "count_accuracy"))

    def groups(self, task: str, source: str) -> tuple[str, ...]:
        return (self.task or task, EVERYTHING)

    def sections(self, group: str) -> dict[str, SampleTable]:
        if group == EVERYTHING:
            return {"field": FieldGroundingTable()}
        return {"official": ReleasedGroundingTable(group), "corrected": CorrectedGroundingTable(group)}

    def add(self, tables: Tables, position: int, sample: BenchmarkSample, answer: Answer, reading: Reading) -> None:
        for group in self.groups(sample.task, sample.source):
            for table in tables[group].values():
                table.update(position, reading.segments or (), sample.targets)


class SentenceGroundingRule(Rule):
    """One sentence, one moment: what the field reports; there is no one published script."""

    name = "sentence_grounding"
    official_source = None
    headline = (("field", "recall@1@0.5"), ("field", "recall@1@0.7"), ("field", "mean_iou@1"))

    def groups(self, task: str, source: str) -> tuple[str, ...]:
        return (EVERYTHING,)

    def sections(self, group: str) -> dict[str, SampleTable]:
        return {"field": FieldGroundingTable()}

    def add(self, tables: Tables, position: int, sample: BenchmarkSample, answer: Answer, reading: Reading) -> None:
        tables[EVERYTHING]["field"].update(position, reading.segments or (), sample.targets)


class MomentRetrievalRule(Rule):
    """Moments and highlights of QVHighlights."""

    name = "moment_retrieval"
    official_source = "jayleicn/moment_detr, standalone_eval/eval.py"
    headline = (
        ("official", "MR-full-R1@0.5"),
        ("official", "MR-full-R1@0.7"),
        ("official", "MR-full-mAP"),
        ("official", "HL-min-VeryGood-mAP"),
        ("official", "HL-min-VeryGood-Hit1"),
    )

    def groups(self, task: str, source: str) -> tuple[str, ...]:
        return ("moments", "highlights")

    def sections(self, group: str) -> dict[str, SampleTable]:
        if group == "highlights":
            return {"official": HighlightTable()}
        return {"official": MomentRetrievalTable(), "field": FieldGroundingTable()}

    def add(self, tables: Tables, position: int, sample: BenchmarkSample, answer: Answer, reading: Reading) -> None:
        windows = answer.windows or windows_of(reading.segments or (), sample.duration_s)
        saliency = answer.saliency or saliency_of(windows, sample.duration_s)
        tables["moments"]["official"].update(position, windows, sample.targets)
        tables["moments"]["field"].update(position, reading.segments or (), sample.targets)
        tables["highlights"]["official"].update(position, saliency, sample.annotation)
