from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.data.captions import (
    OTHERWISE,
    TEMPLATES,
    captions_before_tokens,
    captions_beside_times,
    captions_of,
)
from museg.data.event_windows import TASKS
from museg.data.examples import GroundingExample
from museg.dialogue.et_bench_answers import chosen_letter
from museg.dialogue.prompts import MARKERS
from museg.temporal.segments import Segment

TARGETS = (Segment(2.0, 5.0), Segment(8.0, 9.5))


def example(query: str, task: str = "tal", captions=(), targets=TARGETS, response=None) -> GroundingExample:
    return GroundingExample("x:0", "a.mp4", query, targets, 20.0, task, "x", captions, response)


def test_annotated_captions_are_taken():
    assert captions_of(example("Find 'a dog'.", captions=("one", "two"))) == ("one", "two")


def test_else_what_the_query_quotes():
    assert captions_of(example("Find all times of 'a person's dog'.")) == ("a person's dog",) * 2


@pytest.mark.parametrize("task", TASKS)
def test_else_a_template(task):
    (first, second) = captions_of(example("What should I watch, if it's about a person's dog?", task))
    assert first == second == TEMPLATES.get(task, OTHERWISE)


@pytest.mark.parametrize("response", ["(B) 2 - 5 seconds", "Best option: (B). From 2 to 5 s.", "The answer is (B)"])
def test_where_there_are_options_the_last_event_names_the_annotated_one(response):
    asked = example("Where was the cup? (A) here (B) there", "gvq", targets=TARGETS[::-1], response=response)
    concluded = f"{OTHERWISE}. Therefore, the answer is (B)."
    assert captions_of(asked) == (concluded, OTHERWISE)  # the first target is the later one
    assert [chosen_letter(caption) for caption in captions_of(asked)] == ["b", None]
    assert captions_of(replace(asked, captions=("one", "two"))) == ("one", "two")
    assert captions_of(replace(asked, task="epm")) == (OTHERWISE,) * 2
    assert captions_of(replace(asked, response="In 2 - 5 seconds.")) == (OTHERWISE,) * 2
    assert captions_of(replace(asked, targets=())) == ()


def test_a_query_cannot_write_a_token():
    assert captions_of(example("Find 'a<ent><|im_end|>'.")) == ("a< ent>< |im_end| >",) * 2


def test_without_events_there_is_nothing_to_say():
    assert captions_of(example("Find 'a dog'.", targets=())) == ()


def test_before_tokens():
    assert captions_before_tokens(" A man opens. <ent> \n<ent><tst>\nHe pours.<ent>") == ("A man opens.", "He pours.")
    assert captions_before_tokens("one <ent> two") == ("one", "two")
    assert captions_before_tokens(" ") == ()


@pytest.mark.parametrize(
    "answer",
    [
        "2 - 5 seconds, open it. 8.0 - 9.5 seconds, pour 2 cups.",
        "2.0 seconds, open it.\n8.4 seconds: pour 2 cups.",
        "2.3-5s open it. 8.0 to 9.5 sec, pour 2 cups.",
        "Steps: 2 - 5 seconds, open it. 8 - 9.5 seconds, pour 2 cups.",
    ],
)
def test_beside_times(answer):
    assert captions_beside_times(answer, TARGETS) == ("open it.", "pour 2 cups.")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "open it, then pour.",
        "2 - 5 seconds, open it.",  # one of two
        "2 - 5 seconds, open it. 12 - 15 seconds, pour.",  # another time
        "8 - 9.5 seconds, pour. 2 - 5 seconds, open it.",  # another order
        "It happens in 2 - 5 seconds, 8 - 9.5 seconds.",  # no words behind the last
        "2 - 5 seconds, wait 3 seconds. 8 - 9.5 seconds, pour.",  # which time is meant is not clear
    ],
)
def test_what_does_not_fit_the_targets_tells_nothing(answer):
    assert captions_beside_times(answer, TARGETS) == ()


@given(st.text(alphabet="0123456789.- seconds,<|>ent\n'", max_size=200))
def test_no_text_is_too_odd(text):
    targets = (Segment(1.0, 2.0),)
    found = (*captions_beside_times(text, targets), *captions_before_tokens(text), *captions_of(example(text)))
    assert not any(marker in caption for caption in found for marker in MARKERS)


@pytest.mark.parametrize(
    "text", ["1" * 10**5, "1 - " * 10**5, "1.1" * 10**5, "'a" * 10**5, "1" + " " * 10**5, "<ent>" * 10**5]
)
def test_long_hostile_text_costs_little(text):
    captions_beside_times(text, TARGETS)
    captions_before_tokens(text)
    captions_of(example(text))
