"""How often the two pairings judge answers differently, on plain and on hard drawn clips.

python -m tests.rewards.pairing_differences

Answers are drawn around the truth and listed by time, as the cold start teaches: boundaries move by about a second, and
segments are missing, added or swapped. No model takes part, and no clip is drawn: only what happens in it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields

import numpy as np

from museg.rewards.maximum import MaximumMatchingReward
from museg.rewards.sequential import SequentialMatchingReward
from museg.temporal.segments import Segment
from museg.video.synthetic_layout import SyntheticSettings, clip_generator, draw_layout
from tests.rewards.answers import answer
from tests.walks.tiny_runs import checked

CLIPS: Mapping[str, tuple[str, ...]] = {
    "plain": ("dataset=synthetic",),
    "hard, listed by time": ("dataset=synthetic_hard", "dataset.unordered=false"),
    "hard": ("dataset=synthetic_hard",),
}
NUM_CLIPS = 300
GROUP_SIZE = 8
DIFFERENT = 0.01
"""Rewards (0 to 1) closer than this count as the same."""
JITTER_S = 1.0
MISTAKE_CHANCE = 0.15
"""That a sampled answer lacks a segment, for each; that it has one too many; that two neighbours are swapped."""

Answer = list[Segment]
Mistake = Callable[[Answer, float, np.random.Generator], Answer]


def true_answers(overrides: tuple[str, ...], num_clips: int) -> Iterator[tuple[Answer, float]]:
    """The true segments of training questions in the order of the annotation, and the length of the clip."""
    dataset = checked(*overrides)["dataset"]
    settings = SyntheticSettings(**{field.name: dataset[field.name] for field in fields(SyntheticSettings)})
    for index in range(num_clips):
        for question in draw_layout(settings, "train", clip_generator(settings, "train", index)).questions:
            yield [Segment(*segment) for segment in question.solution], settings.duration_s


def moved(segments: Answer, duration_s: float, rng: np.random.Generator) -> Answer:
    """Boundaries off by about a second, in whole seconds, by time."""
    found = []
    for segment in segments:
        start_s, end_s = (segment + rng.normal(0, JITTER_S, 2)).round().clip(0, duration_s).tolist()
        found.append(Segment(min(start_s, duration_s - 1), max(end_s, min(start_s, duration_s - 1) + 1)))
    return sorted(found)


def one_missing(segments: Answer, duration_s: float, rng: np.random.Generator) -> Answer:
    """`moved`, without one of them where there are several."""
    found = moved(segments, duration_s, rng)
    if len(found) > 1:
        del found[rng.integers(len(found))]
    return found


def one_extra(segments: Answer, duration_s: float, rng: np.random.Generator) -> Answer:
    """`moved`, and a segment anywhere."""
    start_s = float(rng.integers(duration_s - 3))
    return sorted([*moved(segments, duration_s, rng), Segment(start_s, start_s + 3)])


def two_swapped(segments: Answer, duration_s: float, rng: np.random.Generator) -> Answer:
    """`moved`, with two neighbours swapped where there are several."""
    found = moved(segments, duration_s, rng)
    if len(found) > 1:
        first = rng.integers(len(found) - 1)
        found[first : first + 2] = found[first + 1], found[first]
    return found


def sampled(segments: Answer, duration_s: float, rng: np.random.Generator) -> Answer:
    """`moved`, with mistakes of every kind now and then."""
    kept = [segment for segment in segments if rng.random() >= MISTAKE_CHANCE]
    add = one_extra if rng.random() < MISTAKE_CHANCE else moved
    found = add(kept, duration_s, rng)
    return two_swapped(found, duration_s, rng) if rng.random() < MISTAKE_CHANCE else found


MISTAKES: Mapping[str, Mistake] = {
    "right": lambda segments, duration_s, rng: sorted(segments),
    "moved": moved,
    "one missing": one_missing,
    "one extra": one_extra,
    "two swapped": two_swapped,
}


def rewards_of(found: Answer, targets: Answer) -> tuple[float, float]:
    """Sequential and maximum matching of one answer."""
    response = answer(found)
    return SequentialMatchingReward()(response, targets), MaximumMatchingReward()(response, targets)


def share_different(overrides: tuple[str, ...], mistake: Mistake, num_clips: int = NUM_CLIPS) -> float:
    """Share of answers with this mistake whose two rewards differ."""
    rng, truth = np.random.default_rng(0), true_answers(overrides, num_clips)
    rewards = [rewards_of(mistake(targets, length_s, rng), targets) for targets, length_s in truth]
    return float(np.mean([maximum - sequential > DIFFERENT for sequential, maximum in rewards]))


def group_agreement(overrides: tuple[str, ...], num_clips: int = NUM_CLIPS) -> tuple[float, float]:
    """Over groups of sampled answers: mean correlation of the two rewards, share of groups with another best answer.

    Groups in which either reward is the same for all answers teach nothing and are left out.
    """
    rng = np.random.default_rng(0)
    correlations, other_best = [], []
    for targets, length_s in true_answers(overrides, num_clips):
        group = [rewards_of(sampled(targets, length_s, rng), targets) for _ in range(GROUP_SIZE)]
        sequential, maximum = np.array(group).T
        if sequential.std() > 1e-9 and maximum.std() > 1e-9:
            correlations.append(np.corrcoef(sequential, maximum)[0, 1])
            other_best.append(maximum[sequential.argmax()] < maximum.max() - DIFFERENT)
    return float(np.mean(correlations)), float(np.mean(other_best))


def print_table() -> None:
    """One row for each set of clips."""
    print(f"{'rewards differ, share of answers:':32}" + "".join(f"{name:>13}" for name in MISTAKES))
    for name, overrides in CLIPS.items():
        shares = [share_different(overrides, mistake) for mistake in MISTAKES.values()]
        print(f"{name:32}" + "".join(f"{share:13.3f}" for share in shares))
    print(f"\n{f'groups of {GROUP_SIZE} sampled answers:':32}{'correlation':>13}{'another best':>14}")
    for name, overrides in CLIPS.items():
        correlation, other_best = group_agreement(overrides)
        print(f"{name:32}{correlation:13.3f}{other_best:14.3f}")


if __name__ == "__main__":
    print_table()
