"""An E.T. Bench made up in its schema and of its size, with answers as models give them: right, near, wrong, no answer.

Everything follows from the sample's task, source and idx, so every machine scores the same answers.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SIZES = {
    ("rar", "perception_test"): 500,
    ("eca", "charades_sta"): 500,
    ("rvq", "star"): 500,
    ("tvg", "qvhighlights"): 500,
    ("tvg", "charades_sta"): 500,
    ("epm", "ego4d_nlq"): 500,
    ("tal", "perception_test"): 440,
    ("tal", "thumos14"): 145,
    ("tal", "thumos15"): 270,
    ("evs", "tvsum"): 50,
    ("evs", "summe"): 25,
    ("vhd", "qvhighlights"): 500,
    ("vhd", "youtube_highlights"): 360,
    ("dvc", "youcook2"): 420,
    ("dvc", "hirest"): 80,
    ("slc", "cross_task"): 285,
    ("slc", "ht_step"): 385,
    ("tem", "perception_test"): 500,
    ("tem", "qvhighlights"): 500,
    ("gvq", "qa_ego4d"): 329,
}
"""(task, source) -> number of samples. Tasks, sources and the sum, 7,289, are those of E.T. Bench; so are the sizes of
rar, eca, rvq and tvg. The others are ours: large enough to hold every index that the published subset names."""
SUBJECTS = ("the man", "a woman", "the child", "someone", "a player", "the cook")
VERBS = ("opens", "lifts", "drops", "cuts", "stirs", "throws", "washes", "holds")
OBJECTS = ("the door", "a laptop", "the ball", "an onion", "the pan", "a guitar", "some bread", "the towel")
NUM_TRUTHS = {"tal": 8, "evs": 6, "vhd": 3, "dvc": 7, "slc": 9, "tem": 3}
"""Task -> the largest number of true segments of a sample; one for the other tasks."""
KINDS = {"right": 0.3, "near": 0.3, "wrong": 0.25, "unreadable": 0.15}
UNREADABLE = ("I cannot tell.", "", "12s until 18s", "The video does not show this", "[3; 9]", "It happens early on")

Segments = list[list[float]]


def made_rows() -> list[dict[str, Any]]:
    """The annotation rows, group by group."""
    return [_row(task, source, idx) for (task, source), size in SIZES.items() for idx in range(size)]


def made_completions(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a model wrote to each row; one in fifty has no answer block."""
    for row in rows:
        generator = random.Random(f"answer {row['task']} {row['source']} {row['idx']}")
        text = _answer(generator, row)
        yield text if generator.random() < 0.02 else f"<think>Let me see.</think> <answer> {text} </answer>"


def sentence(generator: random.Random) -> str:
    """Somebody does something."""
    return " ".join(map(generator.choice, (SUBJECTS, VERBS, OBJECTS)))


def moved(generator: random.Random, segment: Sequence[float], kind: str) -> list[float]:
    """The segment as answered: `right` up to a tenth of a second, `near` overlaps, `wrong` lies elsewhere."""
    start_s, end_s = segment
    length_s = end_s - start_s
    if kind == "right":
        return [start_s, round(end_s + generator.choice((0, 0.1)), 1)]
    if kind == "near":
        start_s = max(0.0, start_s + generator.uniform(-0.4, 0.4) * length_s)
        return [round(start_s, 1), round(start_s + length_s * generator.uniform(0.6, 1.5) + 0.1, 1)]
    start_s = end_s + generator.uniform(1, 40)
    return [round(start_s, 1), round(start_s + generator.uniform(1, 30), 1)]


def kind_of_answer(generator: random.Random) -> str:
    """One of KINDS, as often as it says."""
    return generator.choices(list(KINDS), list(KINDS.values()))[0]


def _row(task: str, source: str, idx: int) -> dict[str, Any]:
    generator = random.Random(f"row {task} {source} {idx}")
    duration_s = round(generator.uniform(20, 240), 1)
    # one dense-captioning video in ten is asked about twice: the script keeps one of the two answers
    video = idx - 1 if task in ("dvc", "slc") and idx % 10 == 9 else idx
    row = {"version": 1.0, "idx": idx, "task": task, "source": source, "video": f"{source}/{video:04d}.mp4"}
    row |= {"duration": duration_s, "q": f"You are given a video. {sentence(generator)}. Answer as asked."}
    if task in ("rar", "eca", "rvq", "gvq"):
        num_options = 5 if task == "rvq" else 4
        texts = [f"{sentence(generator)} {adverb}" for adverb in ("twice", "slowly", "again", "first", "last")]
        row["o"] = _ranges(generator, duration_s, num_options) if task == "eca" else texts[:num_options]
        row["p"] = generator.randrange(len(row["o"]))
    if task in ("rar", "rvq", "tem"):
        row["src"] = [round(generator.uniform(0, duration_s), 1)]
    if task not in ("rar", "eca", "rvq"):
        truths = _ranges(generator, duration_s, generator.randint(1, NUM_TRUTHS.get(task, 1)))
        row["tgt"] = truths[0] if task in ("tvg", "epm", "gvq") else truths
        if task in ("dvc", "slc"):
            row["g"] = [sentence(generator) for _ in truths]
        if (task, source) == ("vhd", "qvhighlights"):
            row["tgt"] = [truths, [moved(generator, truths[0], "near")]]
    return row


def _ranges(generator: random.Random, duration_s: float, number: int) -> Segments:
    """Disjoint ranges with one decimal, in order."""
    share = duration_s / number
    starts_s = [round(share * (place + generator.uniform(0, 0.4)), 1) for place in range(number)]
    return [[start_s, round(start_s + share * generator.uniform(0.1, 0.5) + 0.2, 1)] for start_s in starts_s]


def _answer(generator: random.Random, row: Mapping[str, Any]) -> str:
    task, kind = row["task"], kind_of_answer(generator)
    if kind == "unreadable":
        return generator.choice(UNREADABLE)
    if task in ("rar", "eca", "rvq"):
        return _choice(generator, row, kind)
    if task == "gvq":
        segment = moved(generator, row["tgt"], generator.choice(("right", "near", "wrong")))
        return f"{_choice(generator, row, kind)}. {_one_range(generator, segment)}"
    truths = _flat(row["tgt"])
    if task == "vhd":
        return _moment(generator, moved(generator, generator.choice(truths), kind))
    if task in ("tvg", "epm", "tem"):
        return _one_range(generator, moved(generator, generator.choice(truths), kind))
    segments = [moved(generator, truth, kind) for truth in truths if generator.random() < 0.85]
    if task in ("dvc", "slc"):
        return _captioned(generator, segments or truths[:1])
    listed = ", ".join(f"{start_s} - {end_s}" for start_s, end_s in segments or truths[:1])
    return f"The {'summary locates' if task == 'evs' else 'action happens'} in {listed}."


def _flat(targets: Sequence[Any]) -> Segments:
    """The true segments: one that stands alone, a list of them, or a list for each annotator."""
    if not isinstance(targets[0], list):
        return [list(targets)]
    return [segment for ranges in targets for segment in ranges] if isinstance(targets[0][0], list) else list(targets)


def _choice(generator: random.Random, row: Mapping[str, Any], kind: str) -> str:
    """An option by its letter, by its letter and its text, or by words alone."""
    options, right = row["o"], row["p"]
    others = [index for index in range(len(options)) if index != right]
    chosen = generator.choice(others) if kind == "wrong" else right
    letter, option = "ABCDE"[chosen], options[chosen]
    text = f"{option[0]} - {option[1]}" if isinstance(option, list) else option
    near = text.replace("slowly", "with care").replace("the ", "that ") + generator.choice(("", ", I think"))
    forms = (f"({letter})", letter, f"{letter}. {text}", f"Best option: ({letter}) {text}", f"The answer is ({letter})")
    return near if kind == "near" or generator.random() < 0.2 else generator.choice(forms)


def _one_range(generator: random.Random, segment: Sequence[float]) -> str:
    start_s, end_s = segment
    forms = (
        f"The event happens in {start_s} - {end_s}.",
        f"From {start_s} to {end_s} seconds",
        f"It starts at {start_s}\nand ends at {end_s}",
        f"{end_s} - {start_s}",
        f"{start_s} - {end_s}, {end_s + 5:.1f} - {end_s + 9:.1f}",
        f"{start_s}s - {end_s}s",
    )
    return generator.choice(forms)


def _moment(generator: random.Random, segment: Sequence[float]) -> str:
    middle_s = round(sum(segment) / 2, 1)
    return generator.choice((f"The highlight moment happens in {middle_s} seconds.", f"{middle_s}", f"-{middle_s}"))


def _captioned(generator: random.Random, segments: Segments) -> str:
    """Ranges with captions; some with a sentence before them, some labelled, some a single moment in words."""
    form = generator.choice(("listed", "listed", "introduced", "labelled", "told"))
    if form == "told":
        return f"At {segments[0][0]} seconds, {sentence(generator)}"
    if form == "labelled":
        lines = [f"Start time: {start_s}, end time: {end_s}, " for start_s, end_s in segments]
        return "\n".join(f"{line}description: {sentence(generator)}" for line in lines)
    lines = [f"{start_s} - {end_s} seconds, {sentence(generator)}." for start_s, end_s in segments]
    return "\n".join(["Here are the steps:", *lines] if form == "introduced" else lines)
