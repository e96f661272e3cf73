import pytest

from museg.metrics.corrected_et_bench import (
    AllSamplesSummaryTable,
    DecidedChoiceTable,
    ExactGroundedChoiceTable,
    ExactRangeTable,
    OneToOneActionTable,
)
from museg.metrics.sample_table import SampleTable

TEN = {"tgt": [0, 10]}
LIST_OF_TEN = {"tgt": [[0, 10]]}
CUPS = {"o": ["red cup", "blue cup", "green cup", "old plate"], "p": 0, "tgt": [0, 10]}


def shared_words(text, options):
    return [len(set(text.lower().split()) & set(option.lower().split())) for option in options]


def scored(table: SampleTable, *samples: tuple[str, dict]) -> dict[str, float]:
    for position, sample in enumerate(samples):
        table.update(position, *sample)
    return table.compute()


@pytest.mark.parametrize(("task", "row"), [("tvg", TEN), ("epm", TEN), ("tem", {"tgt": [[50, 60], [0, 10]]})])
def test_exact_ties_hit_and_undefined_overlaps_are_zero(task, row):
    found = scored(ExactRangeTable(task), ("0 - 7", row), ("3..5 - 9", row), ("no idea", row))
    third = pytest.approx(1 / 3)
    assert found == {"exact_mIoU": pytest.approx(0.7 / 3), **dict.fromkeys(list(found)[1:], third)}
    assert list(found)[1:] == ["exact_R@0.1", "exact_R@0.3", "exact_R@0.5", "exact_R@0.7", "exact_mRec"]


def test_two_equal_moments_spoil_no_mean():
    found = scored(ExactRangeTable("tvg"), ("5 - 5", {"tgt": [5, 5]}), ("0 - 10", TEN))
    assert found["exact_mIoU"] == 0.5


def test_exact_ties_of_grounded_choices():
    table = ExactGroundedChoiceTable(shared_words)
    found = scored(table, ("(A) 0 - 7", CUPS), ("(B) 0 - 10", CUPS), ("", CUPS))
    assert found["exact_R@0.7"] == pytest.approx(1 / 3)


def test_repeated_actions_earn_nothing():
    # one pair of one truth and three predictions: 2 / 4; an unreadable answer, and two equal moments: 0
    found = scored(
        OneToOneActionTable(),
        ("0 - 7, 0 - 10, 0 - 10", LIST_OF_TEN),
        ("none", LIST_OF_TEN),
        ("5 - 5", {"tgt": [[5, 5]]}),
    )
    assert found == pytest.approx(dict.fromkeys(found, 0.5 / 3))
    assert list(found)[-2:] == ["one_to_one_F1@0.7", "one_to_one_F1"]


def test_summaries_average_over_all_samples():
    found = scored(AllSamplesSummaryTable(), ("0 - 10", LIST_OF_TEN), ("none", LIST_OF_TEN), ("3..5 - 9", LIST_OF_TEN))
    assert found == {"F1_all_samples": pytest.approx(1 / 3)}
    assert scored(AllSamplesSummaryTable(), ("0 - " + "9" * 400, LIST_OF_TEN)) == {"F1_all_samples": 0.0}


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("(A)", True),
        ("(B) red cup", False),  # the letter is wrong, whatever text follows
        ("A man (C)", False),
        ("(F) red cup", True),  # no letter names an option: the text is compared
        ("the red one", True),
        ("", False),
    ],
)
def test_the_first_letter_that_names_an_option_decides(text, is_right):
    assert scored(DecidedChoiceTable(shared_words, 4), (text, CUPS)) == {"Acc_letter_decides": float(is_right)}
