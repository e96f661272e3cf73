"""What kind each method is of."""

import pytest

from museg.config.methods import has_heads, is_reinforced, is_supervised
from tests.config.options import compose


@pytest.mark.parametrize(
    ("method", "kinds"),
    [("museg", (False, True, False)), ("sft", (False, False, True)), ("meco", (True, False, False))],
)
def test_kinds_by_method(method, kinds):
    settings = compose(f"method={method}")
    assert (has_heads(settings), is_reinforced(settings), is_supervised(settings)) == kinds
