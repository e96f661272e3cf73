"""Every scoring rule by its name."""

from museg.evaluation.et_bench_rule import EtBenchRule
from museg.evaluation.grounding_rules import MomentRetrievalRule, ReleasedGroundingRule, SentenceGroundingRule
from museg.evaluation.rule import Rule


def make_rule(name: str, *, captions: bool = True) -> Rule:
    """The rule of this name; `captions` says whether E.T. Bench scores the words of dense captions.

    Raises ValueError for a name that no rule has.
    """
    makers = {
        "released_tvg": lambda: ReleasedGroundingRule("tvg"),
        "released_tal": lambda: ReleasedGroundingRule("tal"),
        "released_by_task": lambda: ReleasedGroundingRule(None),
        "sentence_grounding": SentenceGroundingRule,
        "moment_retrieval": MomentRetrievalRule,
        "et_bench": lambda: EtBenchRule(captions),
    }
    if name not in makers:
        raise ValueError(f"there is no scoring rule {name!r}; choose one of {', '.join(makers)}")
    return makers[name]()
