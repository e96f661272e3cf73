import pytest

from museg.dialogue.responses import read_strict
from museg.rewards.format import FormatReward


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>a</think><answer>1-2</answer>", 1.0),
        ("<think></think>\n<answer></answer>\n", 1.0),  # an empty answer is well formed
        ("<think>a</think><answer>9-2</answer>", 1.0),  # order is not asked
        ("<think>a</think><answer>nan-2</answer>", 1.0),
        ("<think>a</think><answer>1-2 3</answer>", 0.2),
        ("<think>a</think><answer>1 to 2</answer>", 0.2),
        ("<answer>1-2</answer>", 0.0),
        ("<think>a</think> so <answer>1-2</answer>", 0.0),
        ("<think>a</think> so <answer>1 to 2</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_tiers(text, value):
    assert FormatReward()(read_strict(text), []) == value


def test_partial_credit_is_a_setting():
    unreadable = read_strict("<think>a</think><answer>soon</answer>")
    assert FormatReward(partial_credit=0.0)(unreadable, []) == 0.0
