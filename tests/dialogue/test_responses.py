import math

import pytest

from museg.dialogue.responses import Fault, ParsedResponse, read_lenient, read_lenient_answer, read_strict
from museg.temporal.segments import Segment


def answering(body: str) -> ParsedResponse:
    return read_strict(f"<think>look</think><answer>{body}</answer>")


def test_a_good_response_is_read_completely():
    text = "\n<think> It starts at 2.0. </think>\t<answer>2.0-5.5 8-9\n</answer> "
    assert read_strict(text) == ParsedResponse(
        text=text,
        reasoning=" It starts at 2.0. ",
        answer="2.0-5.5 8-9\n",
        segments=(Segment(2.0, 5.5), Segment(8.0, 9.0)),
        fault=None,
        boundaries_s=(2.0, 5.5, 8.0, 9.0),
    )


@pytest.mark.parametrize(
    ("item", "start_s", "end_s"),
    [
        ("1-2-3", 1, 2),  # further parts are ignored
        ("1-2-", 1, 2),
        ("1-2-x", 1, 2),
        ("+1-.5e1", 1, 5),
        ("5.-007", 5, 7),
        ("1_0-1e1_0", 10, 1e10),
        ("1e+1-1e2", 10, 100),
        ("５-１５", 5, 15),  # full-width digits
        ("٥-١٥", 5, 15),  # Arabic digits
        ("0-1e400", 0, math.inf),
    ],
)
def test_items_that_float_accepts(item, start_s, end_s):
    response = answering(item)
    assert response.segments == (Segment(start_s, end_s),)
    assert response.fault is None


@pytest.mark.parametrize(
    "item",
    [
        "5 - 15",
        "5–15",
        "5—15",
        "5−15",
        "5,15",
        "5s-15s",
        "[5-15]",
        "'5-15'",
        "0:05-0:15",
        "5",
        "five-six",
        "-5-15",
        "1e-1-2",
        "0x1-0x2",
        "½-2",
        "5²-30",
        "\u200b5-15",
    ],
)
def test_one_unreadable_item_voids_the_answer(item):
    response = answering(f"1-2 {item} 3-4")
    assert response.segments is None
    assert response.boundaries_s is None
    assert response.fault is Fault.UNREADABLE


@pytest.mark.parametrize("space", [" ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\x1c"])
def test_items_are_separated_by_any_unicode_whitespace(space):
    assert answering(f"1-2{space}3-4").segments == (Segment(1, 2), Segment(3, 4))


@pytest.mark.parametrize("item", ["9-2", "2-2", "nan-5", "0-nan", "inf-inf", "1e309-1e310"])
def test_an_improper_segment_is_well_formed_but_matches_nothing(item):
    response = answering(f"1-2 {item}")
    assert response.segments is None
    assert response.fault is Fault.NOT_A_SEGMENT
    assert response.is_well_formed
    assert response.boundaries_s is not None and response.boundaries_s[:2] == (1.0, 2.0)


def test_an_empty_answer_is_an_empty_list():
    for body in ("", " \n"):
        assert answering(body).segments == ()
        assert answering(body).fault is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1-2",
        "<answer>1-2",
        "</answer>1-2<answer>",
        "<think>a</think><answer>1-2</answer><answer>3-4</answer>",
        "<think>a</think><ANSWER>1-2</ANSWER>",
        "<answer>1-2</answer></answer>",
    ],
)
def test_without_exactly_one_answer_block_nothing_is_read(text):
    response = read_strict(text)
    assert (response.answer, response.segments, response.fault) == (None, None, Fault.NO_ANSWER)
    assert read_lenient(text).segments == ()
    assert read_lenient(text).fault is Fault.NO_ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "<answer>1-2</answer>",
        "<think>a<answer>1-2</answer>",
        "<think>a</think>so<answer>1-2</answer>",
        "so <think>a</think><answer>1-2</answer>",
        "<think>a</think><answer>1-2</answer>.",
        "\ufeff<think>a</think><answer>1-2</answer>",
        "<think>a</think>\u200b<answer>1-2</answer>",
        "<answer>1-2</answer><think>a</think>",
        "<think><think>a</think></think><answer>1-2</answer>",
        "</think>a<think><answer>1-2</answer>",
        "<think>a<answer>1-2</answer></think>",
    ],
)
def test_segments_need_no_think_block_but_the_form_does(text):
    response = read_strict(text)
    assert response.segments == (Segment(1.0, 2.0),)
    assert response.fault is Fault.BAD_TAGS
    assert not response.is_well_formed


def test_tags_inside_out_of_place_make_the_body_unreadable():
    # the tags stand in a wrong order, and the body holds one of them
    response = read_strict("<think>a<answer></think>1-2</answer>")
    assert response.answer == "</think>1-2"
    assert response.fault is Fault.BAD_TAGS
    assert response.segments is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("5-15 30-42.5", [(5, 15), (30, 42.5)]),
        ("30-42.5 5-15", [(30, 42.5), (5, 15)]),
        ("-5-15", [(5, 15)]),
        ("from 5 to 15 s", [(5, 15)]),
        ("5.-15.", [(5, 15)]),
        ("5-15-30-42.5", [(5, 15), (30, 42.5)]),
        ("٥-١٥", [(5, 15)]),
        ("00:05-00:15", [(0, 5), (0, 15)]),
        ("", []),
        ("nothing", []),
    ],
)
def test_lenient_reading_takes_numbers_two_by_two(answer, expected):
    assert read_lenient_answer(answer) == tuple(Segment(*pair) for pair in expected)
    response = read_lenient(f"<think>no matter<answer>{answer}</answer> or this")
    assert response.segments == tuple(Segment(*pair) for pair in expected)
    assert response.fault is None


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("5", Fault.ODD_COUNT),
        ("1. 5-15", Fault.ODD_COUNT),
        ("5..15 2", Fault.UNREADABLE),
        ("5-15 42.5-30", Fault.NOT_A_SEGMENT),
        ("5-5", Fault.NOT_A_SEGMENT),
        ("1e1-2e1", Fault.NOT_A_SEGMENT),  # numbers 1 1 2 1
        ("9" * 400 + "-" + "9" * 500, Fault.NOT_A_SEGMENT),  # inf to inf
    ],
)
def test_a_bad_number_empties_the_lenient_prediction(answer, fault):
    response = read_lenient(f"<answer>{answer}</answer>")
    assert response.segments == ()
    assert response.fault is fault


def test_faults_are_strings_for_reports():
    assert [fault.value for fault in Fault] == ["no_answer", "bad_tags", "unreadable", "odd_count", "not_a_segment"]
