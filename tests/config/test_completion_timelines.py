"""Completions as pictures while the run goes on, whatever a model wrote."""

from io import BytesIO

import pytest
from PIL import Image

from museg.config.completion_timelines import draw_completions


def picture_of(*texts: str, **more) -> Image.Image:
    told = {"step": 25, "phase": "plain", "example_id": "a", "query": "q", "targets": [[2.0, 5.0]], "duration_s": None}
    return Image.open(BytesIO(draw_completions([told | more | {"text": text, "reward": 1.0} for text in texts])))


def colours_of(picture: Image.Image) -> set[tuple[int, ...]]:
    return {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}


BLUE, ORANGE = (31, 111, 181), (217, 112, 15)  # of museg.report.drawing.COLOURS


def answer(times: str) -> str:
    return f"<think>a</think><answer>{times}</answer>"


def test_true_time_is_blue_and_other_time_orange():
    assert {BLUE, ORANGE} <= colours_of(picture_of(answer("2-8"), duration_s=24.0))  # 2-5 is true, 5-8 is not
    assert {BLUE, ORANGE} & colours_of(picture_of(answer("2-5"), duration_s=24.0)) == {BLUE}
    assert {BLUE, ORANGE} & colours_of(picture_of("nothing")) == set()


def test_every_completion_of_the_prompt_has_a_row():
    one, three = picture_of(answer("2-5")), picture_of(answer("2-5"), answer("6-7"), "no answer")
    assert three.height - one.height == pytest.approx(2 * 0.25 * 150, abs=2)  # a row is 0.25 inches at 150 dpi


@pytest.mark.parametrize(
    "times", ["1-inf", "inf-inf", "1e300-1e308", "9-2", " ".join(f"{i}-{i + 1}" for i in range(999))]
)
def test_hostile_answers_are_drawn(times):
    assert picture_of(answer(times), query="$\\frac$ <b>" * 50).width < 2500
