import shutil
from dataclasses import replace

import pytest

from museg.report.sweep_folder import read_sweep
from museg.report.sweep_results import (
    choose_baseline,
    configurations,
    outcome,
    remarks,
    result,
    score_keys,
    start_estimate,
)
from tests.report.invented_sweep import NOW_S, START, member_config, write_invented_sweep, write_member

IOU = ("greedy", "mean_iou")


def two_lengths(folder, gains=((0.10, 0.12, 0.11), (0.13, 0.15, 0.14))):
    """Two configurations with three seeds each: a seed's final score is its start and the gain given here."""
    number = 0
    for steps, of_seeds in zip((40, 80), gains, strict=True):
        for seed, gain in enumerate(of_seeds):
            write_member(folder / f"{number}_x", member_config(seed, steps=steps), gain)
            number += 1
    return read_sweep(folder, NOW_S)


def test_by_hand(tmp_path):
    sweep = two_lengths(tmp_path)
    short, long = configurations(sweep)
    assert (short.label, long.label) == ("phase.steps=40", "phase.steps=80")
    # starts are .61 .64 .60: the shorter one ends at .71 .76 .71, the longer one .03 above it with every seed
    assert short.scores[IOU] == pytest.approx({"0": 0.71, "1": 0.76, "2": 0.71})
    found = result(long, IOU, short)
    assert found.estimate.mean == pytest.approx(0.7266667 + 0.03, abs=1e-6)
    assert (found.difference.mean, found.difference.num_seeds) == (pytest.approx(0.03), 3)
    assert found.difference.is_clear and not result(short, IOU, long).difference.low > 0
    assert result(short, IOU, short).difference is None
    assert start_estimate([short, long], IOU).mean == pytest.approx(sum(START.values()) / 3)
    assert outcome([short, long], short) == (
        "In sampled mean IoU the 95 % interval of the difference to phase.steps=40 leaves 0 out for phase.steps=80 "
        "(+0.042) (the only comparison, 3 seeds)."
    )


def test_only_finished_members_count(tmp_path):
    sweep = read_sweep(write_invented_sweep(tmp_path, num_members=4), NOW_S)
    found = configurations(sweep)
    assert [(one.label, one.num_finished) for one in found] == [
        ("reward=sequential", 3),
        ("reward=maximum", 1),
        ("reward=global_only", 0),
        ("reward=local_only", 0),
    ]
    assert result(found[1], IOU, found[0]).difference.num_seeds == 1
    assert result(found[2], IOU, found[0]) is None
    assert outcome(found, found[0]).startswith("Too few members are finished")


def test_the_baseline(tmp_path):
    found = configurations(two_lengths(tmp_path))
    assert choose_baseline(found, None) is found[0]
    assert choose_baseline(found, "phase.steps=80") is found[1]
    with pytest.raises(ValueError, match=r"choose one of phase\.steps=40; phase\.steps=80"):
        choose_baseline(found, "phase.steps=7")


def test_without_a_clear_difference(tmp_path):
    found = configurations(two_lengths(tmp_path, ((0.10, 0.12, 0.11), (0.13, 0.09, 0.11))))
    assert outcome(found, found[0]) == (
        "In sampled mean IoU no difference to phase.steps=40 is shown with 3 seeds: every 95 % interval holds 0."
    )


def test_the_number_of_comparisons_is_told(tmp_path):
    found = configurations(two_lengths(tmp_path))
    twice = replace(found[1], label="phase.steps=120")
    assert "(2 of 2 comparisons, not corrected for their number, 3 seeds)" in outcome([*found, twice], found[0])


def test_the_recorded_baseline_gives_way_to_the_named_one_and_to_what_is_finished(tmp_path):
    found = configurations(two_lengths(tmp_path))
    assert choose_baseline(found, None, "phase.steps=80") is found[1]
    assert choose_baseline(found, "phase.steps=40", "phase.steps=80") is found[0]
    for absent in ("phase.steps=7", "reward=sequential", ""):
        assert choose_baseline(found, None, absent) is found[0]


def test_the_start_is_that_of_the_seeds_that_have_finished(tmp_path):
    write_member(tmp_path / "0_x", member_config(0), 0.1)
    write_member(tmp_path / "1_x", member_config(1), 0.1, steps_done=70)
    write_member(tmp_path / "2_x", member_config(1, steps=40), 0.1)
    found = configurations(read_sweep(tmp_path, NOW_S))
    assert start_estimate(found, IOU).mean == pytest.approx((START[0] + START[1]) / 2)
    assert start_estimate(found[:1], IOU).mean == pytest.approx(START[0])


def test_seeds_alone_are_one_configuration(tmp_path):
    for seed in range(3):
        write_member(tmp_path / f"{seed}_x", member_config(seed), 0.1)
    [only] = configurations(read_sweep(tmp_path, NOW_S))
    assert (only.label, only.num_finished) == ("every run", 3)


def test_values_with_a_long_beginning_in_common_stay_apart(tmp_path):
    shared = "/models/" + 40 * "long/"
    for number in range(6):
        model = {"model": {"path": f"{shared}{'one' if number < 3 else 'other'}"}}
        write_member(tmp_path / f"{number}_x", member_config(number % 3) | model, 0.1)
    found = configurations(read_sweep(tmp_path, NOW_S))
    assert [one.num_finished for one in found] == [3, 3]
    assert [one.settings["model.path"] for one in found] == [shared + "one", shared + "other"]
    assert found[0].label.endswith("/one") and found[1].label.endswith("/other")
    assert choose_baseline(found, f"model.path={shared}other") is found[1]


def test_what_a_reader_must_know(tmp_path):
    sweep = two_lengths(tmp_path)
    assert remarks(sweep, configurations(sweep)) == []
    again = write_member(tmp_path / "7_again", member_config(0, steps=80), 0.13)
    sweep = read_sweep(tmp_path, NOW_S)
    assert remarks(sweep, configurations(sweep)) == []  # the same numbers a second time
    assert [one.num_finished for one in configurations(sweep)] == [3, 3]
    shutil.rmtree(again)
    write_member(tmp_path / "6_again", member_config(1, steps=80), 0.2)
    summary = tmp_path / "0_x" / "summary.json"
    summary.write_text(summary.read_text().replace("0.61", "0.611"))
    sweep = read_sweep(tmp_path, NOW_S)
    found = configurations(sweep)
    assert remarks(sweep, found) == [
        "phase.steps=80: members of seed 1 have different numbers, the last of them count",
        "Members of seed 0 did not start from the same weights",
    ]
    assert found[1].scores[IOU]["1"] == pytest.approx(0.64 + 0.2)


def test_means_over_different_seeds_are_remarked(tmp_path):
    sweep = read_sweep(write_invented_sweep(tmp_path, num_members=5), NOW_S)
    [told] = remarks(sweep, configurations(sweep))
    assert told.startswith("Configurations have finished different seeds")


def test_scores_are_in_the_documented_order(tmp_path):
    keys = score_keys(configurations(two_lengths(tmp_path)))
    assert keys[0] == IOU and keys[len(keys) // 2] == ("sampled", "mean_iou")
    assert keys.index(("greedy", "recall@0.3")) < keys.index(("greedy", "recall@0.5"))
