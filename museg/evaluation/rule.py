"""What a scoring rule is: which metric tables its samples fill, how answers are read, and what is reported over all.

Samples fall into groups (task and source for E.T. Bench); every group has tables by section:

- `official`: the published script, to the last tie;
- `corrected`: what that script would say without a known defect, under names of its own;
- `field`: what the field reports on any grounding benchmark.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from museg.dialogue.et_bench_answers import OFFICIAL_RAISES
from museg.dialogue.responses import read_number_pairs
from museg.evaluation.samples import Answer, BenchmarkSample, Reading
from museg.metrics.sample_table import SampleTable
from museg.temporal.segments import Segment

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

    def look_at(self, samples: Iterable[BenchmarkSample]) -> None:  # noqa: B027 (most rules need no look)
        """Learn from the samples what tables depend on."""

    def prime(  # noqa: B027 (most rules have nothing slow)
        self, tables: Tables, samples: Sequence[BenchmarkSample], answers: Sequence[Answer]
    ) -> None:
        """Do at once what would be slow answer by answer."""

    def new_tables(self, tasks_and_sources: Iterable[tuple[str, str]]) -> Tables:
        """Empty tables for every group that samples of these tasks and sources belong to."""
        groups = dict.fromkeys(group for pair in tasks_and_sources for group in self.groups(*pair))
        return {group: self.sections(group) for group in groups}

    def read(self, sample: BenchmarkSample, answer: Answer) -> Reading:
        """What the rule's parser finds in an answer; numbers two by two unless a rule reads otherwise."""
        if answer.windows is not None:
            segments = tuple(Segment(start_s, end_s) for start_s, end_s, _ in answer.windows)
            return Reading(segments, None if segments else OFFICIAL_RAISES)
        segments, fault = read_number_pairs(answer.text)
        kind = fault and fault.value
        return Reading(segments, answer.fault or kind or (None if segments else "empty"))

    def settled(
        self, tables: Tables, samples: Sequence[BenchmarkSample], readings: Sequence[Reading]
    ) -> Sequence[Reading]:
        """The readings, with what only the filled tables know about failures."""
        return readings

    def overall(self, groups: Reported) -> Overall:
        """What is reported over the whole benchmark: the metrics of all groups, whose names differ."""
        found: Overall = {section: {} for section in SECTIONS}
        for sections in groups.values():
            for section, metrics in sections.items():
                found[section] |= metrics
        return {section: metrics for section, metrics in found.items() if metrics}

    def notes(self, overall: Overall) -> list[str]:
        """Sentences that a reader of the scores should not miss."""
        return []
