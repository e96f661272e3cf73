"""A sweep's numbers: the final held-out scores of each configuration over its seeds, and against a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from museg.metrics.keys import HELD_OUT_SCORES, MODES
from museg.report.facts import signed
from museg.report.run_folder import RunRecord
from museg.report.sweep_folder import SweepMember, SweepRecord
from museg.report.sweep_labels import labels
from museg.report.sweep_progress import Status
from museg.report.sweep_settings import Settings
from museg.report.sweep_statistics import CONFIDENCE, Estimate, estimate, paired_difference
from museg.report.tolerant import number

ScoreKey = tuple[str, str]
"""Decoding mode and name of a held-out score."""
MAX_SCORES = 100
"""Scores looked at; more are no measurement of ours."""


@dataclass(frozen=True)
class Configuration:
    """The members with the same settings, and their final scores by seed."""

    label: str
    """The settings as they would be typed, `reward=maximum, phase.steps=40`: cut where long, and yet no two alike."""
    settings: Settings
    """The settings themselves, whole."""
    members: tuple[SweepMember, ...]
    scores: Mapping[ScoreKey, Mapping[str, float]] = field(repr=False)
    """Score -> seed -> value after the last phase, of finished members only."""

    @property
    def num_finished(self) -> int:
        """Seeds with a finished member."""
        return len(_by_seed(self.members))


@dataclass(frozen=True)
class Result:
    """One score of one configuration: over its seeds, and minus the baseline over the seeds that both have."""

    estimate: Estimate
    difference: Estimate | None


def configurations(sweep: SweepRecord) -> list[Configuration]:
    """The configurations in the order of their first members; members of which nothing is known belong to none."""
    groups: dict[tuple[str, ...], list[SweepMember]] = {}
    for member in sweep.members:
        if member.settings is not None:
            groups.setdefault(tuple(member.settings.values()), []).append(member)
    names = labels([members[0].settings or {} for members in groups.values()])
    return [_configuration(label, members) for label, members in zip(names, groups.values(), strict=True)]


def _configuration(label: str, members: Sequence[SweepMember]) -> Configuration:
    scores: dict[ScoreKey, dict[str, float]] = {}
    for seed, member in _by_seed(members).items():
        for key, value in stage_scores(member.run, -1).items():
            scores.setdefault(key, {})[seed] = value
    return Configuration(label, members[0].settings or {}, tuple(members), scores)


def _by_seed(members: Sequence[SweepMember]) -> dict[str, SweepMember]:
    """Finished members by seed; of several with one seed the last."""
    return {member.seed: member for member in members if member.status is Status.FINISHED}


def stage_scores(run: RunRecord | None, place: int) -> dict[ScoreKey, float]:
    """The held-out scores of one stage of a run, counted from 0 or from the end (-1); none where there is no such."""
    stages = list(run.held_out.values()) if run else []
    modes = stages[place] if stages else {}
    found = {(mode, name): number(value) for mode in MODES for name, value in modes.get(mode, {}).items()}
    return {key: value for key, value in found.items() if value is not None}


def score_keys(found: Sequence[Configuration]) -> list[ScoreKey]:
    """Every score that some configuration has: greedy ones first, in the order in which they are documented."""
    present = {key for configuration in found for key in configuration.scores}
    order = list(HELD_OUT_SCORES)
    places = {key: order.index(key[1]) if key[1] in order else len(order) for key in present}
    return sorted(present, key=lambda key: (MODES.index(key[0]), places[key], key[1]))[:MAX_SCORES]


def choose_baseline(found: Sequence[Configuration], label: str | None, recorded: str = "") -> Configuration | None:
    """The configuration that the others are compared with: the named one, else one of those with finished members.

    Of these it is the first with the setting that the sweep has `recorded` (`phase.steps=400`), else the first.

    Raises:
        ValueError: there is none of that label.
    """
    if label is None:
        finished = [configuration for configuration in found if configuration.num_finished]
        name, _, value = recorded.partition("=")
        as_recorded = [configuration for configuration in finished if configuration.settings.get(name) == value]
        return next(iter([*as_recorded, *finished]), None)
    for configuration in found:
        if label in (configuration.label, ", ".join(f"{k}={v}" for k, v in configuration.settings.items())):
            return configuration
    raise ValueError(f"baseline={label}: choose one of {'; '.join(c.label for c in found)}")


def result(configuration: Configuration, key: ScoreKey, baseline: Configuration | None) -> Result | None:
    """One score of a configuration; None where no member has it, and no difference of the baseline to itself."""
    over_seeds = estimate(list(configuration.scores.get(key, {}).values()))
    if over_seeds is None:
        return None
    if baseline is None or configuration is baseline:
        return Result(over_seeds, None)
    return Result(over_seeds, paired_difference(configuration.scores[key], baseline.scores.get(key, {})))


def start_estimate(found: Sequence[Configuration], key: ScoreKey) -> Estimate | None:
    """The score before the first step of reinforcement, over the seeds that have finished members; each counts once."""
    finished = [(seed, member) for configuration in found for seed, member in _by_seed(configuration.members).items()]
    starts = [(seed, stage_scores(member.run, 0)) for seed, member in finished]
    return estimate(list({seed: scores[key] for seed, scores in starts if key in scores}.values()))


def remarks(sweep: SweepRecord, found: Sequence[Configuration]) -> list[str]:
    """What a reader of the numbers must know: of which seeds they are, and which members do not go together."""
    told = []
    for configuration in found:
        by_seed = _final_scores(configuration)
        unlike = [seed for seed, scores in by_seed.items() if any(one != scores[0] for one in scores)]
        if unlike:
            seeds = ", ".join(unlike)
            told.append(
                f"{configuration.label}: members of seed {seeds} have different numbers, the last of them count"
            )
    if len({frozenset(_by_seed(one.members)) for one in found if one.num_finished}) > 1:
        told.append("Configurations have finished different seeds: compare differences, paired by seed, and not means")
    starts: dict[str, set[float]] = {}
    for member in sweep.members:
        value = stage_scores(member.run, 0).get(("greedy", "mean_iou"))
        if value is not None:
            starts.setdefault(member.seed, set()).add(value)
    unlike = [seed for seed, values in starts.items() if max(values) - min(values) > 1e-6]
    if unlike:
        told.append(f"Members of seed {', '.join(unlike)} did not start from the same weights")
    return told


def _final_scores(configuration: Configuration) -> dict[str, list[dict[ScoreKey, float]]]:
    """The final scores of every finished member by seed."""
    by_seed: dict[str, list[dict[ScoreKey, float]]] = {}
    for member in configuration.members:
        if member.status is Status.FINISHED:
            by_seed.setdefault(member.seed, []).append(stage_scores(member.run, -1))
    return by_seed


def outcome(found: Sequence[Configuration], baseline: Configuration | None) -> str:
    """The sweep's result in one sentence: how many of the differences to the baseline have intervals without zero."""
    key, interval = ("sampled", "mean_iou"), f"{100 * CONFIDENCE:.0f} % interval"
    compared = [(c.label, result(c, key, baseline)) for c in found if baseline and c is not baseline]
    known = [(label, r.difference) for label, r in compared if r and r.difference and r.difference.low is not None]
    if not known:
        return "Too few members are finished to compare configurations: a difference takes two seeds that both have."
    clear = [f"{label} ({signed(d.mean)})" for label, d in known if d.is_clear]
    seeds = " to ".join(map(str, sorted({min(d.num_seeds for _, d in known), max(d.num_seeds for _, d in known)})))
    against = f"difference to {baseline.label}" if baseline else ""
    if not clear:
        return f"In sampled mean IoU no {against} is shown with {seeds} seeds: every {interval} holds 0."
    number = f"{len(clear)} of {len(known)} comparisons, not corrected for their number"
    which = f"{', '.join(clear)} ({number if len(known) > 1 else 'the only comparison'}, {seeds} seeds)"
    return f"In sampled mean IoU the {interval} of the {against} leaves 0 out for {which}."
