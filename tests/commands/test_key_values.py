"""Words of a small command line."""

import pytest

from museg.commands.key_values import is_true, key_values


def test_values_go_by_key_and_may_hold_equals_signs():
    assert key_values(["run=a", "base=b=c"], ["run", "base"], "run=x") == {"run": "a", "base": "b=c"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run"], "'run' must be written key=value, for example run=x"),
        (["run="], "must be written key=value"),
        (["run=a", "run=b"], "run is given twice"),
        (["rum=a"], "unknown argument 'rum'; there are run, base.*run"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, told):
    with pytest.raises(ValueError, match=told):
        key_values(words, ["run", "base"], "run=x")


def test_true_and_false_are_words():
    assert [is_true("check", value) for value in ("true", "false")] == [True, False]
    with pytest.raises(ValueError, match="check is true or false, not 'yes'"):
        is_true("check", "yes")
