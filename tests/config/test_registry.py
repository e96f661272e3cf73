import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.config.registry import MAX_FOLDER_NAME, folder_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("reward=maximum,phase.steps=20", "reward-maximum_phase.steps-20"),
        ("my run", "my_run"),
        ("../../etc", "etc"),
        ("", "unnamed"),
        ("[a,'b c']", "a_b_c"),
    ],
)
def test_by_hand(text, name):
    assert folder_name(text) == name


@given(st.text())
def test_can_be_given_back_on_a_command_line(text):
    name = folder_name(text)
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name) and len(name) <= MAX_FOLDER_NAME
