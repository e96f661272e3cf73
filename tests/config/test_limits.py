import math
from dataclasses import dataclass, fields

import pytest

from museg.config.limits import KEY, Choice, Range, choice, number, share


@pytest.mark.parametrize(
    ("limit", "good", "bad"),
    [
        (Range(minimum=0), [0, 1, 1e9, [0, 2]], [-1, math.nan, math.inf, "1", None, [0, -1]]),
        (Range(above=0, maximum=1), [1e-9, 1], [0, 1.1]),
        (Range(minimum=0, below=1), [0, 0.999], [1]),
        (Choice(("linear", "cosine")), ["linear"], ["Linear", None, 3]),
    ],
)
def test_admits(limit, good, bad):
    assert all(limit.admits(value) for value in good)
    assert not any(limit.admits(value) for value in bad)


def test_the_rule_in_words():
    assert Range(minimum=0, below=1).rule == "a finite number >= 0 and < 1"
    assert Choice(("linear", "cosine")).rule == "one of linear, cosine"


def test_a_field_carries_its_limit():
    @dataclass
    class Settings:
        lr: float = number(above=0)
        final_fraction: float = share(0.5)
        shape: str = choice("linear", "cosine", default="linear")

    limits = {item.name: item.metadata[KEY] for item in fields(Settings)}
    assert limits == {"lr": Range(above=0), "final_fraction": Range(0, None, 1), "shape": Choice(("linear", "cosine"))}
    assert (Settings().final_fraction, Settings().shape) == (0.5, "linear")
