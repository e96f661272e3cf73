"""Shares printed as the published moment-retrieval scripts print them."""

from typing import Any

import numpy as np


def percent(shares: Any) -> Any:
    """Share -> percent with two decimals, element by element; NaN stays NaN.

    Rounded on the exact binary value, as formatting with two decimals does: scaling and `np.round` would move values
    that lie next to half a hundredth.
    """
    return _percent(shares)


_percent = np.vectorize(lambda share: float(f"{100 * share:.2f}"), otypes=[np.float64])
