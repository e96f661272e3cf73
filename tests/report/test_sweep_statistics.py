import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from museg.report.sweep_statistics import Estimate, estimate, paired_difference

SCORES = st.floats(-1, 1).map(lambda value: round(value, 6))
BY_SEED = st.dictionaries(st.sampled_from("0123456789"), SCORES, max_size=8)


def test_by_hand():
    # mean .7, s = .1, three seeds: t(.975, 2) = 4.302653, so .7 -+ 4.302653 * .1 / sqrt(3) = .7 -+ .248414
    found = estimate([0.6, 0.7, 0.8])
    assert (found.mean, found.num_seeds) == (pytest.approx(0.7), 3)
    assert (found.low, found.high) == (pytest.approx(0.451586, abs=1e-6), pytest.approx(0.948414, abs=1e-6))


def test_one_value_has_no_interval_and_none_no_mean():
    assert estimate([0.5]) == Estimate(0.5, None, None, 1)
    assert not estimate([0.5]).is_clear
    assert estimate([]) is None


@given(st.lists(SCORES, min_size=2, max_size=12))
def test_the_interval_is_scipys(values):
    found = estimate(values)
    error = stats.sem(values)
    if error > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert found.low <= found.mean + 1e-12 and found.mean <= found.high + 1e-12


@given(BY_SEED, BY_SEED)
def test_a_paired_difference_is_that_of_scipys_paired_test(values, baseline):
    found = paired_difference(values, baseline)
    seeds = sorted(set(values) & set(baseline))
    if not seeds:
        assert found is None
        return
    apart = [values[seed] - baseline[seed] for seed in seeds]
    assert (found.mean, found.num_seeds) == (pytest.approx(np.mean(apart)), len(seeds))
    if len(seeds) > 1 and np.std(apart) > 1e-9:
        test = stats.ttest_rel([values[seed] for seed in seeds], [baseline[seed] for seed in seeds])
        interval = test.confidence_interval(0.95)
        assert (found.low, found.high) == (
            pytest.approx(interval.low, abs=1e-9),
            pytest.approx(interval.high, abs=1e-9),
        )
        assert found.is_clear == (test.pvalue < 0.05) or test.pvalue == pytest.approx(0.05)


@given(BY_SEED, BY_SEED)
def test_turning_the_comparison_round_turns_its_sign(values, baseline):
    one, other = paired_difference(values, baseline), paired_difference(baseline, values)
    if one is not None and one.low is not None:
        assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))


def test_what_seeds_share_cancels_in_a_pair():
    # seeds differ by .2, the configurations by .05 in each: unpaired the intervals overlap, paired there is no doubt
    baseline = {"0": 0.5, "1": 0.7, "2": 0.9}
    found = paired_difference({seed: value + 0.05 for seed, value in baseline.items()}, baseline)
    assert found.mean == pytest.approx(0.05) and found.high - found.low < 1e-9
    assert found.is_clear
    assert estimate(list(baseline.values())).low < 0.5
