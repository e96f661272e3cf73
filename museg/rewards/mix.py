"""Named reward terms and their weights: what a run maximises."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from museg.dialogue.responses import ParsedResponse
from museg.rewards.base import Reward, ScoredResponse
from museg.temporal.segments import Segment


@dataclass(frozen=True)
class RewardMix:
    """terms: name -> reward. weights: name -> factor in the total, 1 where absent.

    Raises ValueError for no terms, a term that is no Reward, a weight without a term, a weight that is not finite.
    """

    terms: Mapping[str, Reward]
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Plain dictionaries: the configuration's own containers are slow to read and do not travel between processes.
        object.__setattr__(self, "terms", dict(self.terms))
        object.__setattr__(self, "weights", {name: float(weight) for name, weight in self.weights.items()})
        if not self.terms:
            raise ValueError("reward.terms is empty: a mix needs at least one term")
        for name, term in self.terms.items():
            if not isinstance(term, Reward):
                raise ValueError(f"reward term {name} must be a Reward, given {type(term).__name__}: build it first")
        unknown = sorted(set(self.weights) - set(self.terms))
        if unknown:
            raise ValueError(
                f"reward.weights names {', '.join(unknown)}, but the terms are {', '.join(self.terms)}: "
                "weigh a term that is there"
            )
        unbounded = [name for name, weight in self.weights.items() if not math.isfinite(weight)]
        if unbounded:
            raise ValueError(f"reward.weights must be finite, given {self.weights[unbounded[0]]} for {unbounded[0]}")

    @property
    def term_names(self) -> tuple[str, ...]:
        """The terms in order."""
        return tuple(self.terms)

    def score(
        self, response: ParsedResponse, targets: Sequence[Segment], *, off: Collection[str] = ()
    ) -> ScoredResponse:
        """Score one response with every term whose name is not in `off` (names that the mix lacks are off anyway).

        A term that is not finite counts 0. This is our one departure from the released numbers: there a predicted end
        of infinity makes the local matching NaN, and with it the advantages of the whole group.
        """
        values = {name: term(response, targets) for name, term in self.terms.items() if name not in off}
        values = {name: value if math.isfinite(value) else 0.0 for name, value in values.items()}
        total = 0.0
        for name, value in values.items():
            total += self.weights.get(name, 1.0) * value
        return ScoredResponse(total, values)
