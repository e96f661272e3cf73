import math

import numpy as np
import pytest

from museg.evaluation.bootstrap import draw_counts, two_sided_p


def test_p_values_are_counted():
    assert two_sided_p(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 * (0 + 1) / (3 + 1))
    assert two_sided_p(np.array([-1.0, 1.0, 3.0, np.nan])) == 1.0  # min(1, 2 (1 + 1) / 4); the NaN is left out
    assert math.isnan(two_sided_p(np.array([np.nan])))


def test_draws_come_in_chunks_of_bounded_memory():
    rows = list(draw_counts(100_000, 100, np.random.default_rng(0)))[-1]
    chunks = [chunk.shape for chunk in draw_counts(100_000, 100, np.random.default_rng(0))]
    assert chunks == [(40, 100_000), (40, 100_000), (20, 100_000)]
    assert (rows.sum(axis=1) == 100_000).all()
    assert list(draw_counts(0, 100, np.random.default_rng(0))) == []
