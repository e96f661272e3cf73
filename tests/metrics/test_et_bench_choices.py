import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.metrics.et_bench_choices import (
    EtBenchChoiceTable,
    EtBenchGroundedChoiceTable,
    closest_option,
    compared_texts,
    option_texts,
)
from museg.metrics.et_bench_tables import corrected_table, official_table

OPTIONS = ["red cup", "blue cup", "green cup", "old plate"]
ANSWERS = st.lists(
    st.sampled_from(
        ["(A)", "(b)", "(E)", "(F)", "B", "d", ".", ",", " ", ")", "(", "Best option:", "old plate", "x", "3 - 9"]
    ),
    max_size=5,
).map("".join)


class SharedWords:
    """The number of words two texts share; remembers which texts it saw."""

    def __init__(self):
        self.seen = set()

    def __call__(self, text, options):
        self.seen |= {text, *options}
        return [len(set(text.lower().split()) & set(option.lower().split())) for option in options]


def row(truth: int, options: list | None = None) -> dict:
    return {"o": options or OPTIONS, "p": truth, "tgt": [0, 10]}


def accuracy(text: str, truth: int) -> tuple[float, float]:
    """Acc and Failed of one answer."""
    table = EtBenchChoiceTable(SharedWords(), 4)
    table.update(0, text, row(truth))
    found = table.compute()
    return found["Acc"], found["Failed"]


@pytest.mark.parametrize(
    ("text", "truth", "expected"),
    [
        ("(B)", 1, (1, 0)),
        ("I take (b)", 1, (1, 0)),
        ("d, because", 3, (1, 0)),
        ("Best option: C", 2, (1, 0)),
        ("(B) red cup", 0, (1, 0)),  # the defect: B is wrong, but the texts are compared, and they say A
        ("(B) red cup", 2, (0, 0)),
        ("A man (C)", 0, (1, 0)),  # the defect: the opening letter is tried when (C) is wrong
        ("the old plate", 3, (1, 1)),  # right by its text, and still counted as failed
        ("nothing at all", 0, (1, 1)),  # nothing in common with any: the first
        ("(", 0, (0, 1)),
        ("", 0, (0, 1)),
        ("(E)", 0, (1, 0)),  # E names nothing, but is a letter; then the first of equals
    ],
)
def test_choices_as_the_published_script_counts_them(text, truth, expected):
    assert accuracy(text, truth) == expected


def test_the_first_sample_of_a_group_says_how_many_letters_there_are():
    five = row(4, [*OPTIONS, "new cup"])
    assert official_acc(5, "(E)", five) == 1.0
    assert official_acc(4, "(E)", five) == 0.0  # unknown there; the texts share nothing but go to the first option
    with pytest.raises(ValueError, match="4 or 5"):
        EtBenchChoiceTable(SharedWords(), 3)


def official_acc(num_options: int, text: str, sample: dict) -> float:
    table = official_table("rar", similarity=lambda text, options: [0.0] * len(options), num_options=num_options)
    table.update(0, text, sample)
    return table.compute()["Acc"]


def grounded(*texts: str, truth: int = 0) -> dict[str, float]:
    table = EtBenchGroundedChoiceTable(SharedWords())
    for position, text in enumerate(texts):
        table.update(position, text, row(truth))
    return table.compute()


def test_only_a_right_option_has_its_range_scored():
    # right option with half the range; wrong option; right option without a range; nothing
    found = grounded("(A) 0 - 5", "(B) 0 - 10", "A.", "")
    assert found == {
        "Total": 4,
        "Failed": 2,
        "mIoU": 0.125,
        "R@0.1": 0.25,
        "R@0.3": 0.25,
        "R@0.5": 0.25,
        "R@0.7": 0.0,
        "mRec": 0.1875,
        "Acc": 0.5,
    }


def test_a_grounded_choice_opens_the_answer_or_is_known_by_its_text():
    assert grounded("The answer is (B). 0 - 10", truth=1)["Acc"] == 0.0  # not searched for; "the answer" is like none
    assert grounded("the old plate 0 - 10", truth=3)["Acc"] == 1.0
    assert grounded("A man appears. 0 - 10", truth=0)["Acc"] == 1.0  # the article passes for an option
    assert grounded("(E) green cup", truth=2)["Acc"] == 1.0  # a letter without an option goes to the texts


def test_a_range_that_stops_the_script_keeps_the_option():
    found = grounded("(A) 3..5 - 9")
    assert (found["Acc"], found["mRec"], found["Failed"]) == (1.0, 0.0, 1.0)
    assert grounded("(B) 3..5 - 9")["Failed"] == 0.0  # the range of a wrong option is never read


def test_options_are_compared_with_their_letters():
    assert option_texts(["red cup", [1.0, 2.5]]) == ["(A) red cup", "(B) 1.0 - 2.5"]
    assert closest_option(SharedWords(), "cup", OPTIONS) == 0  # three say cup, the first counts


@given(ANSWERS, st.sampled_from(["rar", "eca", "rvq", "gvq"]), st.integers(0, 4), st.sampled_from([4, 5]))
def test_what_will_be_compared_is_known_beforehand(text, task, truth, num_options):
    sample = row(truth, [*OPTIONS, "new cup"])
    foreseen = set(compared_texts(task, text, sample, num_options))
    seen = SharedWords()
    official_table(task, similarity=seen, num_options=num_options).update(0, text, sample)
    assert seen.seen == foreseen
    corrected_table(task, similarity=seen, num_options=num_options).update(0, text, sample)
    assert seen.seen == foreseen  # the corrected tables ask for nothing more


def test_tasks_without_options_compare_nothing():
    assert compared_texts("tvg", "0 - 10", {"tgt": [0, 10]}) == []
