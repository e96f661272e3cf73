import pytest

from museg.metrics.meco_et_bench import (
    MecoDenseCaptionTable,
    MecoGroundedChoiceTable,
    MecoRangeChoiceTable,
    closest_range,
    released_option,
)
from museg.temporal.segments import Segment
from tests.metrics.every_table import shared_words

OPTIONS = ["red cup", "blue cup", "green cup", "old plate"]
FIVE = [*OPTIONS, "new plate"]
SEGMENTS = [Segment(0.0, 8.0), Segment(30.0, 40.0)]


def row(truth: int, options: list | None = None) -> dict:
    return {"o": options or OPTIONS, "p": truth, "tgt": [0.0, 10.0]}


def test_closest_range():
    options = ["20.0 - 30.0", "1.0 - 9.0", [0, 7], (0, 8)]
    # IoU with 0-8: 0; 7 / 9; 7 / 8; 1
    assert closest_range(SEGMENTS[0], options) == 3
    assert closest_range(SEGMENTS[0], options[:3]) == 2
    assert closest_range(SEGMENTS[1], ["1 - 2", "3 - 4"]) == 0  # equally far: the first
    with pytest.raises(ValueError, match="got 'a cup'"):
        closest_range(SEGMENTS[0], ["a cup"])


def test_the_best_segment_chooses_a_range():
    table = MecoRangeChoiceTable()
    ranges = {"o": ["2 - 10", "30 - 41", "50 - 60", "0 - 60"], "p": 0}
    table.update(0, SEGMENTS, ranges)  # right
    table.update(1, SEGMENTS[::-1], ranges)  # wrong: 30 - 40
    table.update(2, [], ranges)  # wrong, though not failed
    assert table.compute() == {"Total": 3.0, "Failed": 0.0, "Acc": pytest.approx(1 / 3, abs=1e-5)}


@pytest.mark.parametrize(
    ("text", "options", "place"),
    [
        ("Therefore, the answer is (C).", OPTIONS, 2),
        ("Therefore, the answer is (D).", OPTIONS, 4),  # which no question has: D is never right
        ("Therefore, the answer is (D).", FIVE, 4),  # counts as E
        ("Therefore, the answer is (E).", FIVE, 5),
        ("blue cup", OPTIONS, 1),
        ("Therefore, the answer is (E).", OPTIONS, 0),  # "E" resembles no option: the first
        ("B, the cup", OPTIONS, 1),
        ("<ent>", OPTIONS, None),
    ],
)
def test_released_option(text, options, place):
    assert released_option(shared_words, text, {"o": options}) == place


def grounded(text: str, truth: int, segments: list[Segment]) -> dict[str, float]:
    table = MecoGroundedChoiceTable(shared_words)
    table.update(0, text, row(truth), segments)
    scores = table.compute()
    return {name: scores[name] for name in ("Acc", "mIoU", "Failed")}


def test_grounded_options():
    right = "Therefore, the answer is (B)"
    # 0-8 in 0-10
    assert grounded(right, 1, SEGMENTS) == {"Acc": 1.0, "mIoU": 0.8, "Failed": 0.0}
    assert grounded(right, 0, SEGMENTS) == {"Acc": 0.0, "mIoU": 0.0, "Failed": 0.0}
    assert grounded(right, 1, []) == {"Acc": 1.0, "mIoU": 0.0, "Failed": 1.0}
    assert grounded("", 1, SEGMENTS) == {"Acc": 0.0, "mIoU": 0.0, "Failed": 1.0}


def test_dense_captions_are_given():
    table = MecoDenseCaptionTable()
    truth = {"tgt": [[0, 8], [30, 40]], "g": ["a", "b"], "video": "1.mp4"}
    table.update(0, [(SEGMENTS[0], "one"), (SEGMENTS[1], "two"), (Segment(50, 60), "three")], truth)
    scores = table.compute()
    # both true moments are met, by two of three predictions: 2 * (2 / 3) / (2 / 3 + 1)
    assert scores["F1@0.5"] == pytest.approx(0.8, abs=1e-5)
    table.update(1, [], truth | {"video": "2.mp4"})
    # precision and recall are halved: 1 / 3 and 1 / 2
    assert table.compute()["F1@0.5"] == pytest.approx(0.4, abs=1e-5)
    assert table.compute()["Failed"] == 1.0
