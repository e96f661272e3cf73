"""What happens in a synthetic clip and when: objects, whole-second events, and the questions that follow from them.

Everything is drawn from a generator seeded by (seed, split, clip number), so a clip does not depend on how many others
are made or on who makes them.
"""

from dataclasses import dataclass, fields

import numpy as np

from museg.video.synthetic_words import COLOURS_RGB, MOTIONS, MULTI_PROBLEM, SHAPES, SINGLE_PROBLEM

SPLITS = ("train", "held_out")


@dataclass(frozen=True)
class SyntheticSettings:
    """What the synthetic clips look like; the defaults are the difficulty that the tiny model is tuned for.

    A clip shows `num_kinds` or fewer kinds of object out of `num_colours` x `num_shapes` x `num_motions`. The first
    kind is the main target with up to `max_target_segments` events; `min_distractors` to `max_distractors` further
    events show other kinds (or see `equal_kinds`). Events last whole seconds, at least `min_length_s`, and take random
    places.
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
    equal_kinds: bool = False
    """Every kind has as many events as a target may have, in place of the distractors: no kind stands out as the one
    that is asked for, so the answer depends on the question."""
    min_length_s: int = 2
    max_length_s: int = 5
    min_gap_s: int = 1
    """Least pause between two events that follow each other; without `overlapping` one object is visible at a time."""
    max_gap_s: int | None = None
    """Most pause between them; None: whatever the clip leaves."""
    overlapping: bool = False
    """Events take turns in the upper half of the picture and, independently, in its lower half: true segments may
    overlap, and no object hides another. Objects are then at most half as high as the picture."""
    unordered: bool = False
    """True segments are listed in random order instead of by time."""
    noise_levels: float = 12.0
    """Standard deviation of the pixel noise, in levels of 0..255."""
    seed: int = 0

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        problems = [f"{name} must not be negative" for name, value in values.items() if value is not None and value < 0]
        problems += _range_problems(self)
        if problems:
            raise ValueError(f"synthetic clips cannot be made: {'; '.join(problems)}")

    @property
    def duration_s(self) -> float:
        """Length of every clip."""
        return self.num_frames / self.sample_rate_fps

    @property
    def num_lanes(self) -> int:
        """Strips that the picture is cut into from top to bottom; each shows one object at a time."""
        return 2 if self.overlapping else 1


@dataclass(frozen=True)
class Kind:
    """A kind of object; `motion` is one of MOTIONS."""

    colour: str
    shape: str
    motion: str


@dataclass(frozen=True)
class Event:
    """One appearance of an object, in whole seconds; it stays in one lane of the picture, counted from the top."""

    kind: Kind
    start_s: int
    end_s: int
    lane: int = 0


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
    shown = _draw_shown(settings, kinds, rng)
    lanes = [shown[lane :: settings.num_lanes] for lane in range(settings.num_lanes)]
    events = tuple(
        Event(kind, *span, lane)
        for lane, taking_turns in enumerate(lanes)
        for kind, span in zip(taking_turns, _spans(settings, len(taking_turns), rng), strict=True)
    )
    asked = [kind for kind in kinds if kind in shown]
    num_questions = settings.queries_per_clip if split == "train" else 1
    questions = tuple(_question(settings, kind, events, rng) for kind in asked[:num_questions])
    return Layout(events, questions)


def _draw_kinds(settings: SyntheticSettings, rng: np.random.Generator) -> list[Kind]:
    colours = list(COLOURS_RGB)[: settings.num_colours]
    shapes, motions = SHAPES[: settings.num_shapes], MOTIONS[: settings.num_motions]
    every = [Kind(colour, shape, motion) for colour in colours for shape in shapes for motion in motions]
    return [every[i] for i in rng.permutation(len(every))[: settings.num_kinds]]


def _draw_shown(settings: SyntheticSettings, kinds: list[Kind], rng: np.random.Generator) -> list[Kind]:
    """The kind of every event, shuffled."""
    shown = [kinds[0]] * rng.integers(settings.min_target_segments, settings.max_target_segments + 1)
    if settings.equal_kinds:
        for kind in kinds[1:]:
            shown += [kind] * rng.integers(settings.min_target_segments, settings.max_target_segments + 1)
    elif len(kinds) > 1:
        num_distractors = rng.integers(settings.min_distractors, settings.max_distractors + 1)
        shown += [kinds[rng.integers(1, len(kinds))] for _ in range(num_distractors)]
    rng.shuffle(shown)
    return shown


def _spans(settings: SyntheticSettings, num_events: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Spans of one lane in order: lengths and pauses within their limits, the spare seconds spread at random."""
    seconds = int(settings.duration_s)
    pauses_s = settings.min_gap_s * (num_events - 1)
    lengths = [settings.min_length_s] * num_events
    wanted = rng.integers(0, settings.max_length_s - settings.min_length_s + 1, num_events)
    for i in rng.permutation(num_events):
        lengths[i] += min(int(wanted[i]), seconds - pauses_s - sum(lengths))
    waits = _waits(settings, num_events, seconds - pauses_s - sum(lengths), rng)
    starts = [int(waits[i]) + sum(lengths[:i]) + settings.min_gap_s * i for i in range(num_events)]
    return [(start, start + length) for start, length in zip(starts, lengths, strict=True)]


def _waits(settings: SyntheticSettings, num_events: int, spare_s: int, rng: np.random.Generator) -> np.ndarray:
    """Spare seconds that have passed before each event: never fewer than before the last one, [num_events]."""
    if settings.max_gap_s is None or num_events == 0:
        return np.sort(rng.integers(0, spare_s + 1, num_events))
    longer_pauses = rng.integers(0, settings.max_gap_s - settings.min_gap_s + 1, num_events - 1)
    since_first = np.minimum(np.concatenate([[0], np.cumsum(longer_pauses)]), spare_s)
    return rng.integers(0, spare_s - since_first[-1] + 1) + since_first


def _question(settings: SyntheticSettings, kind: Kind, events: tuple[Event, ...], rng: np.random.Generator) -> Question:
    # A set: two objects that come and go together are seen at one and the same time.
    times = {(float(event.start_s), float(event.end_s)) for event in events if event.kind == kind}
    solution = [list(span) for span in sorted(times)]
    if settings.unordered:
        rng.shuffle(solution)
    words = [kind.colour, kind.shape] if settings.num_motions == 1 else [kind.motion, kind.colour, kind.shape]
    wording, task = (SINGLE_PROBLEM, "tvg") if len(solution) == 1 else (MULTI_PROBLEM, "tal")
    return Question(wording.replace("{object}", " ".join(words)), solution, task)


def _range_problems(settings: SyntheticSettings) -> list[str]:
    """The rules between fields that are broken, in words."""
    if not (settings.num_frames > 0 and settings.sample_rate_fps > 0):
        return ["num_frames and sample_rate_fps must be positive"]
    most_others = (
        settings.max_target_segments * (settings.num_kinds - 1)
        if settings.equal_kinds
        else (settings.max_distractors if settings.num_kinds > 1 else 0)
    )
    most_events = -(-(settings.max_target_segments + most_others) // settings.num_lanes)  # of a lane: dealt evenly
    crowded_s = most_events * settings.min_length_s + (most_events - 1) * settings.min_gap_s
    lane_px = settings.side_px // settings.num_lanes
    num_every_kind = settings.num_colours * settings.num_shapes * settings.num_motions
    rules = {
        f"side_px must be an even number that holds an object ({settings.max_object_px} px)": (
            settings.side_px % 2 == 0 and settings.side_px >= settings.max_object_px
        ),
        f"max_object_px must be at most {lane_px}, a half of the picture, where events overlap": (
            settings.max_object_px <= lane_px or not settings.overlapping
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
        "min_gap_s must not exceed max_gap_s": settings.max_gap_s is None or settings.min_gap_s <= settings.max_gap_s,
        f"{most_events} events need {crowded_s} s with their pauses, the clip has {settings.duration_s:g} s": (
            crowded_s <= settings.duration_s
        ),
    }
    return [rule for rule, holds in rules.items() if not holds]
