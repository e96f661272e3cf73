"""What every reward is: a frozen value that turns one parsed response and the true segments into a number."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from museg.dialogue.responses import ParsedResponse
from museg.temporal.segments import Segment


@dataclass(frozen=True)
class Reward(ABC):
    """One term of a reward mix. Subclasses are frozen dataclasses whose fields are plain settings."""

    @abstractmethod
    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        """Score a strictly read response against the true segments in the order annotated.

        Never raises on what a model wrote. NaN says that the score is undefined; the mix turns it into 0.
        """


@dataclass(frozen=True, slots=True)
class ScoredResponse:
    """total: weighted sum of `terms`. terms: name -> unweighted value of every term that was on, always finite."""

    total: float
    terms: Mapping[str, float]
