"""Every option file of conf/reward describes a mix, and the mixes differ in what their names say."""

import math
import subprocess
import sys

import pytest

from museg.dialogue.responses import read_strict
from museg.temporal.segments import Segment
from tests.dialogue.generated_texts import generated_texts
from tests.rewards.answers import answer
from tests.rewards.reward_options import NAMES, load_mix

A, B = Segment(0, 10), Segment(20, 30)


MOST = {"sequential": 3, "maximum": 3, "global_only": 2, "local_only": 2, "sequential_paper": 3}


@pytest.mark.parametrize(("name", "most"), MOST.items())
def test_a_perfect_cited_answer_earns_the_most(name, most):
    mix = load_mix(name)
    perfect = mix.score(answer([A, B], reasoning="0.0 to 10.0, 20.0 to 30.0"), [A, B])
    assert perfect.total == pytest.approx(most, abs=1e-5)
    assert mix.score(answer([A, B]), [A, B]).total < perfect.total  # times not cited
    assert mix.score(answer([A], reasoning="0.0 10.0"), [A, B]).total < perfect.total
    assert mix.score(read_strict(""), [A, B]).total == 0.0


def test_terms():
    assert load_mix("sequential").term_names == ("format", "timestamp", "coverage", "local")
    assert load_mix("maximum").term_names == ("format", "timestamp", "coverage", "local")
    assert load_mix("global_only").term_names == ("format", "timestamp", "coverage")
    assert load_mix("sequential_paper").term_names == ("format", "timestamp", "coverage", "local")
    assert load_mix("local_only").term_names == ("format", "timestamp", "local")


def test_maximum_and_sequential_differ_in_local_alone():
    reversed_answer = answer([B, A])
    sequential, maximum = (load_mix(name).score(reversed_answer, [A, B]).terms for name in ("sequential", "maximum"))
    # 0-10 against 20-30: (1 - 10/30) / 2 = 1/3
    assert sequential["local"] == pytest.approx(1 / 3) and maximum["local"] == 1.0
    assert all(sequential[name] == maximum[name] for name in ("format", "timestamp", "coverage"))


def test_the_paper_reading_by_hand():
    # answer 25-30, 0-10 against 0-10, 20-30. Format 1; 25.0 is not cited: timestamp 0. Overlap ratio: shared 15 of 20
    # covered seconds. Local, sorted: 1 and (1 + 5/10) / 2: mean 0.875.
    scored = load_mix("sequential_paper").score(answer([Segment(25, 30), A], "0.0 10.0 30.0"), [A, B])
    assert scored.terms == pytest.approx({"format": 1.0, "timestamp": 0.0, "coverage": 0.75, "local": 0.875})
    assert scored.total == pytest.approx(1 + (0.75 + 0.875) / 2)
    unreadable = load_mix("sequential_paper").score(read_strict("<think>a</think><answer>soon</answer>"), [A])
    assert unreadable.total == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_no_text_makes_a_reward_raise_or_leave_the_finite(name):
    mix = load_mix(name)
    for text in generated_texts(5_000, seed=1):
        scored = mix.score(read_strict(text), [A, B, Segment(38, 13), Segment(5, 5)])
        assert math.isfinite(scored.total) and all(map(math.isfinite, scored.terms.values()))


def test_building_the_rewards_imports_neither_scipy_nor_torch():
    code = (
        "import sys, museg.rewards.mix, museg.rewards.maximum, museg.rewards.overlap_ratio, museg.rewards.timestamp;"
        "sys.exit(bool({'scipy', 'torch', 'hydra'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
