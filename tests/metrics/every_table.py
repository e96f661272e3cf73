"""One table of every kind with five answered samples each: right, partly right, unreadable, repeated, none."""

from collections.abc import Callable
from typing import Any, NamedTuple

from museg.dialogue.responses import read_lenient_answer
from museg.metrics.corrected_grounding import ExactGroundingTable, OneToOneGroundingTable
from museg.metrics.et_bench_tables import corrected_table, official_table
from museg.metrics.field_grounding import FieldGroundingTable
from museg.metrics.highlights import CorrectedHighlightTable, HighlightTable
from museg.metrics.meco_et_bench import MecoDenseCaptionTable, MecoGroundedChoiceTable, MecoRangeChoiceTable
from museg.metrics.moment_retrieval import CorrectedMomentRetrievalTable, MomentRetrievalTable
from museg.metrics.released_grounding import ReleasedGroundingTable
from museg.metrics.sample_table import NOT_COUNTED, SampleTable
from museg.metrics.window_scores import saliency_of, windows_of
from museg.temporal.segments import Segment

TWO = [[2, 10], [20, 25]]
OPTIONS = ["a man cooks", "a man sleeps", "a dog runs", "a dog sleeps"]
HIGHLIGHTS = {"duration": 30, "relevant_clip_ids": [1, 2, 3], "saliency_scores": [[4, 3, 2], [2, 4, 4], [0, 1, 3]]}
RANGES = ["2 - 10", "2 - 9.5 and 20 - 22", "no time at all", "20 - 25, 20 - 25", ""]
CHOICES = ["(A) 2 - 9", "(B) a man cooks", "a dog that runs", "d) 2 - 10", ""]
MOMENTS = [
    "2 - 10, a man cooks fish\n20 - 25, a dog runs home",
    "2 - 9, a man cooks rice\n40 - 41, someone leaves now",
    "no time at all",
    "19 - 25, the dog is running",
    "",
]


class Kind(NamedTuple):
    """How a table is made, and the arguments of its updates after the position."""

    make: Callable[[], SampleTable]
    updates: list[tuple[Any, ...]]


def shared_words(text: str, options: Any) -> list[float]:
    """Share of common words: what stands in for a sentence encoder."""
    words = set(text.lower().split())
    return [len(words & set(option.lower().split())) / len(words | set(option.lower().split())) for option in options]


def et_bench_row(task: str, place: int) -> dict[str, Any]:
    row = {"task": task, "source": "made_up", "idx": place, "video": f"{place}.mp4", "duration": 60.0}
    if task in ("tvg", "epm", "gvq"):
        row["tgt"] = TWO[0]
    elif task not in ("rar", "eca", "rvq"):
        row["tgt"] = TWO
    if task in ("rar", "eca", "rvq", "gvq"):
        row |= {"o": OPTIONS, "p": 0}
    if task in ("dvc", "slc"):
        row["g"] = ["a man cooks fish", "a dog runs home"]
    return row


def et_bench_kinds() -> dict[str, Kind]:
    answers = dict.fromkeys(("tvg", "epm", "tem", "tal", "evs"), RANGES) | dict.fromkeys(("dvc", "slc"), MOMENTS)
    answers |= dict.fromkeys(("rar", "eca", "rvq", "gvq"), CHOICES) | {"vhd": ["5", "at 21.5 s", "soon", "11", ""]}
    kinds = {}
    for task, texts in answers.items():
        options = {"similarity": shared_words, "num_options": 4} if "o" in et_bench_row(task, 0) else {}
        updates = [(text, et_bench_row(task, place)) for place, text in enumerate(texts)]
        for name, table in (("official", official_table), ("corrected", corrected_table)):
            if table(task, **options) is not None:
                kinds[f"{name} {task}"] = Kind(
                    lambda table=table, task=task, options=options: table(task, **options), updates
                )
    return kinds


def grounding_kinds() -> dict[str, Kind]:
    targets = [Segment(*pair) for pair in TWO]
    segments = [read_lenient_answer(text) for text in RANGES]
    windows = [windows_of(found, 30.0) for found in segments]
    saliency = [saliency_of(found, 30.0) for found in windows]
    pairs = [(found, targets) for found in segments]
    return {
        "plain": Kind(
            lambda: SampleTable(("one", "other")),
            [({"one": place / 7, "other": NOT_COUNTED if place == 2 else 1.0},) for place in range(5)],
        ),
        "released tvg": Kind(lambda: ReleasedGroundingTable("tvg"), pairs),
        "released tal": Kind(lambda: ReleasedGroundingTable("tal"), pairs),
        "corrected tvg, released": Kind(ExactGroundingTable, pairs),
        "corrected tal, released": Kind(OneToOneGroundingTable, pairs),
        "field": Kind(FieldGroundingTable, pairs),
        "moments": Kind(MomentRetrievalTable, [(found, targets) for found in windows]),
        "corrected moments": Kind(CorrectedMomentRetrievalTable, [(found, targets) for found in windows]),
        "highlights": Kind(HighlightTable, [(found, HIGHLIGHTS) for found in saliency]),
        "corrected highlights": Kind(CorrectedHighlightTable, [(found, HIGHLIGHTS) for found in saliency]),
    }


def meco_kinds() -> dict[str, Kind]:
    """Tables that are given segments: the right one first, then a close, no, a repeated and no one."""
    segments = [read_lenient_answer(text) or () for text in RANGES]
    moments = [[(segment, "a man cooks fish") for segment in found] for found in segments]
    grounded = [(text, et_bench_row("gvq", place), segments[place]) for place, text in enumerate(CHOICES)]
    ranges = et_bench_row("eca", 0) | {"o": ["2 - 10", "20 - 30", "0 - 60", "50 - 60"]}
    return {
        "MeCo eca": Kind(MecoRangeChoiceTable, [(found, ranges) for found in segments]),
        "MeCo gvq": Kind(lambda: MecoGroundedChoiceTable(shared_words), grounded),
        "MeCo dvc": Kind(
            MecoDenseCaptionTable, [(found, et_bench_row("dvc", place)) for place, found in enumerate(moments)]
        ),
    }


KINDS: dict[str, Kind] = grounding_kinds() | et_bench_kinds() | meco_kinds()
NUM_SAMPLES = 5


def scored_alone(name: str) -> dict[str, float]:
    """The numbers of one kind when one process sees all samples, in order."""
    table = KINDS[name].make()
    for position, update in enumerate(KINDS[name].updates):
        table.update(position, *update)
    return table.compute()
