"""What happens in a synthetic clip and when: objects, whole-second events, and the questions that follow from them.

Everything is drawn from a generator seeded by (seed, split, clip number), so a clip does not depend on how many others
are made or on who makes them.
"""

from dataclasses import dataclass, fields

import numpy as np

from museg.video.synthetic_words import COLOURS_RGB, MOTIONS, MULTI_PROBLEM, SHAPES, SINGLE_PROBLEM

SPLITS = ("train", "held_out")
MOST_KINDS = 3


@dataclass(frozen=True)
class SyntheticSettings:
    """What the synthetic clips look like; the defaults are the difficulty that the tiny model is tuned for.

    A clip shows `num_kinds` or fewer kinds of object out of `num_colours` x `num_shapes` x `num_motions`. The first
    kind is the main target with up to `max_target_segments` events; `min_distractors` to `max_distractors` further
    events show other kinds. Events last whole seconds, at least `min_length_s`, and take random places.
    """

    num_train_clips: int = 4000
    num_held_out_clips: int = 256
    queries_per_clip: int = 2
    """Most questions about a training clip, each about another object; held-out clips carry one, about the target."""
    num_frames: int = 24
    sample_rate_fps: int = 1
    """Frames per second of the files."""
    side_px: int = 28
    min_object_px: int = 18
    max_object_px: int = 24
    num_colours: int = 4
    num_shapes: int = 2
    num_motions: int = 1
    """1: everything keeps still and questions name no motion; more: the motion is part of the question."""
    num_kinds: int = 3
    min_target_segments: int = 1
    max_target_segments: int = 3
    min_distractors: int = 1
    max_distractors: int = 2
    min_length_s: int = 2
    max_length_s: int = 5
    min_gap_s: int = 1
    """Least pause between two events; without `overlapping` only one object is visible at a time."""
    overlapping: bool = False
    """Events are placed independently, so that true segments may overlap and several objects be visible at once."""
    unordered: bool = False
    """True segments are listed in random order instead of by time."""
    noise_levels: float = 12.0
    """Standard deviation of the pixel noise, in levels of 0..255."""
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [f"{field.name} must not be negative" for field in fields(self) if getattr(self, field.name) < 0]
        problems += _range_problems(self)
        if problems:
            raise ValueError(f"synthetic clips cannot be made: {'; '.join(problems)}")

    @property
    def duration_s(self) -> float:
        """Length of every clip."""
        return self.num_frames / self.sample_rate_fps


@dataclass(frozen=True)
class Kind:
    """A kind of object; `motion` is one of MOTIONS."""

    colour: str
    shape: str
    motion: str


@dataclass(frozen=True)
class Event:
    """One appearance of an object, in whole seconds."""

    kind: Kind
    start_s: int
    end_s: int


@dataclass(frozen=True)
class Question:
    """A question about a clip and its true segments in seconds."""

    problem: str
    solution: list[list[float]]
    task: str


@dataclass(frozen=True)
class Layout:
    """The events of a clip and the questions asked about it."""

    events: tuple[Event, ...]
    questions: tuple[Question, ...]


def clip_generator(settings: SyntheticSettings, split: str, index: int) -> np.random.Generator:
    """The source of all randomness of one clip."""
    return np.random.default_rng([settings.seed, SPLITS.index(split), index])


def draw_layout(settings: SyntheticSettings, split: str, rng: np.random.Generator) -> Layout:
    """Draw the events and questions of one clip."""
    kinds = _draw_kinds(settings, rng)
    num_targets = rng.integers(settings.min_target_segments, settings.max_target_segments + 1)
    num_distractors = rng.integers(settings.min_distractors, settings.max_distractors + 1) if len(kinds) > 1 else 0
    shown = [kinds[0]] * num_targets + [kinds[rng.integers(1, len(kinds))] for _ in range(num_distractors)]
    rng.shuffle(shown)
    place = _place_anywhere if settings.overlapping else _place_apart
    events = tuple(Event(kind, *span) for kind, span in zip(shown, place(settings, len(shown), rng), strict=True))
    asked = [kind for kind in kinds if kind in shown]
    num_questions = settings.queries_per_clip if split == "train" else 1
    questions = tuple(_question(settings, kind, events, rng) for kind in asked[:num_questions])
    return Layout(events, questions)


def _draw_kinds(settings: SyntheticSettings, rng: np.random.Generator) -> list[Kind]:
    colours = list(COLOURS_RGB)[: settings.num_colours]
    shapes, motions = SHAPES[: settings.num_shapes], MOTIONS[: settings.num_motions]
    every = [Kind(colour, shape, motion) for colour in colours for shape in shapes for motion in motions]
    return [every[i] for i in rng.permutation(len(every))[: settings.num_kinds]]


def _place_apart(settings: SyntheticSettings, num_events: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Spans in order, pauses of at least `min_gap_s` between them, the spare seconds spread at random."""
    seconds = int(settings.duration_s)
    pauses_s = settings.min_gap_s * (num_events - 1)
    lengths = [settings.min_length_s] * num_events
    wanted = rng.integers(0, settings.max_length_s - settings.min_length_s + 1, num_events)
    for i in rng.permutation(num_events):
        lengths[i] += min(int(wanted[i]), seconds - pauses_s - sum(lengths))
    spare = seconds - pauses_s - sum(lengths)
    cuts = np.sort(rng.integers(0, spare + 1, num_events))
    starts = [int(cuts[i]) + sum(lengths[:i]) + settings.min_gap_s * i for i in range(num_events)]
    return [(start, start + length) for start, length in zip(starts, lengths, strict=True)]


def _place_anywhere(settings: SyntheticSettings, num_events: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Distinct spans placed independently of each other."""
    spans: set[tuple[int, int]] = set()
    while len(spans) < num_events:
        length = int(rng.integers(settings.min_length_s, settings.max_length_s + 1))
        start = int(rng.integers(0, int(settings.duration_s) - length + 1))
        spans.add((start, start + length))
    return [tuple(span) for span in rng.permutation(sorted(spans)).tolist()]


def _question(settings: SyntheticSettings, kind: Kind, events: tuple[Event, ...], rng: np.random.Generator) -> Question:
    solution = sorted([float(event.start_s), float(event.end_s)] for event in events if event.kind == kind)
    if settings.unordered:
        rng.shuffle(solution)
    words = [kind.colour, kind.shape] if settings.num_motions == 1 else [kind.motion, kind.colour, kind.shape]
    wording, task = (SINGLE_PROBLEM, "tvg") if len(solution) == 1 else (MULTI_PROBLEM, "tal")
    return Question(wording.replace("{object}", " ".join(words)), solution, task)


def _range_problems(settings: SyntheticSettings) -> list[str]:
    """The rules between fields that are broken, in words."""
    if not (settings.num_frames > 0 and settings.sample_rate_fps > 0):
        return ["num_frames and sample_rate_fps must be positive"]
    most_events = settings.max_target_segments + (settings.max_distractors if settings.num_kinds > 1 else 0)
    crowded_s = most_events * settings.min_length_s + (most_events - 1) * settings.min_gap_s
    num_every_kind = settings.num_colours * settings.num_shapes * settings.num_motions
    rules = {
        f"side_px must be an even number that holds an object ({settings.max_object_px} px)": (
            settings.side_px % 2 == 0 and settings.side_px >= settings.max_object_px
        ),
        "min_object_px must be 1 to max_object_px": 1 <= settings.min_object_px <= settings.max_object_px,
        f"num_colours must be 1 to {len(COLOURS_RGB)}": 1 <= settings.num_colours <= len(COLOURS_RGB),
        f"num_shapes must be 1 to {len(SHAPES)}": 1 <= settings.num_shapes <= len(SHAPES),
        f"num_motions must be 1 to {len(MOTIONS)}": 1 <= settings.num_motions <= len(MOTIONS),
        f"num_kinds must be 1 to the {num_every_kind} there are": 1 <= settings.num_kinds <= num_every_kind,
        "queries_per_clip must be at least 1": settings.queries_per_clip >= 1,
        "min_target_segments must be 1 to max_target_segments": (
            1 <= settings.min_target_segments <= settings.max_target_segments
        ),
        "min_distractors must not exceed max_distractors": settings.min_distractors <= settings.max_distractors,
        "min_length_s must be 1 to max_length_s": 1 <= settings.min_length_s <= settings.max_length_s,
        f"max_length_s must fit in the clip ({settings.duration_s:g} s)": settings.max_length_s <= settings.duration_s,
    }
    if settings.overlapping:
        lengths = range(settings.min_length_s, settings.max_length_s + 1)
        num_spans = sum(max(0, int(settings.duration_s) - length + 1) for length in lengths)
        rules[f"{most_events} different spans are needed, {num_spans} exist"] = most_events <= num_spans
    else:
        rules[f"{most_events} events need {crowded_s} s with their pauses, the clip has {settings.duration_s:g} s"] = (
            crowded_s <= settings.duration_s
        )
    return [rule for rule, holds in rules.items() if not holds]
