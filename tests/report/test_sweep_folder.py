import os

import pytest

from museg.report.sweep_folder import is_sweep, read_sweep
from museg.report.sweep_progress import Status
from tests.report.invented_sweep import NOW_S, member_config, write_invented_sweep, write_member, write_plan

TOTAL = 180


def states(folder) -> list[tuple[int | None, Status]]:
    return [(member.number, member.status) for member in read_sweep(folder, NOW_S).members]


def test_a_finished_sweep(tmp_path):
    sweep = read_sweep(write_invented_sweep(tmp_path / "sweep"), NOW_S)
    assert sweep.name == "invented" and sweep.has_plan
    assert [member.status for member in sweep.members] == [Status.FINISHED] * 12
    assert [(member.settings["reward"], member.seed) for member in sweep.members[2:5]] == [
        ("sequential", "2"),
        ("maximum", "0"),
        ("maximum", "1"),
    ]
    assert sweep.defects.sentences() == []


def half_finished(folder):
    """Of five planned members one is finished, one runs, one was stopped, one failed, one is still to come."""
    write_plan(folder, [{"reward": "sequential", "seed": seed} for seed in range(5)])
    ages_s = {0: 9000, 1: 20, 2: 9000, 3: 9000}
    for seed, age_s in ages_s.items():
        steps_done = None if seed == 0 else 60
        write_member(folder / f"{seed}_seed-{seed}", member_config(seed), 0.1, steps_done=steps_done, age_s=age_s)
    error = folder / "3_seed-3" / "error.txt"
    error.write_text('NonFiniteStep: the loss\nof step 61 is <nan>\n\nTraceback\n  File "x"\n')
    os.utime(error, (NOW_S - 8999, NOW_S - 8999))
    return folder


def test_every_state_is_told(tmp_path):
    sweep = read_sweep(half_finished(tmp_path / "sweep"), NOW_S)
    told = {member.seed: (member.status, member.note) for member in sweep.members}
    assert told == {
        "0": (Status.FINISHED, ""),
        "1": (Status.RUNNING, f"60 of {TOTAL} steps, last wrote 20 s ago"),
        "2": (Status.STOPPED, f"60 of {TOTAL} steps, last wrote 2 h ago"),
        "3": (Status.FAILED, "NonFiniteStep: the loss of step 61 is <nan>"),
        "4": (Status.WAITING, "planned, has no folder yet"),
    }


def test_the_process_that_failed_first_is_quoted(tmp_path):
    folder = half_finished(tmp_path / "sweep")
    for process, age_s in ((1, 9001), (2, 8000)):
        file = folder / "3_seed-3" / f"error_{process}.txt"
        file.write_text(f"process {process}: died\n\n")
        os.utime(file, (NOW_S - age_s, NOW_S - age_s))
    assert read_sweep(folder, NOW_S).members[3].note == "process 1: died"


def test_a_member_that_runs_again_after_an_error_runs(tmp_path):
    folder = half_finished(tmp_path / "sweep")
    os.utime(folder / "3_seed-3" / "metrics.csv", (NOW_S - 5, NOW_S - 5))
    assert states(folder)[3] == (3, Status.RUNNING)


def test_slow_steps_take_patience(tmp_path):
    member = write_member(tmp_path / "sweep" / "0_a", member_config(0), 0.1, steps_done=60, age_s=600)
    assert states(tmp_path / "sweep") == [(0, Status.STOPPED)]
    log = member / "metrics.csv"
    log.write_text(log.read_text().replace(",0.3,", ",90,"))  # a step takes 90 s, so that 600 s are no ten of them
    os.utime(log, (NOW_S - 600, NOW_S - 600))
    assert states(tmp_path / "sweep") == [(0, Status.RUNNING)]


def test_without_a_plan_members_are_those_with_folders(tmp_path):
    sweep_dir = tmp_path / "sweep"
    write_member(sweep_dir / "2_b", member_config(1), 0.1)
    write_member(sweep_dir / "10_a", member_config(0), 0.1)
    write_member(sweep_dir / "from elsewhere", member_config(2), 0.1)
    for ignored in (".submitit", "figures"):
        (sweep_dir / ignored).mkdir()
    sweep = read_sweep(sweep_dir, NOW_S)
    assert not sweep.has_plan
    assert [(member.number, member.path_from(sweep_dir)) for member in sweep.members] == [
        (2, "2_b"),
        (10, "10_a"),
        (None, "from elsewhere"),
    ]


def test_a_folder_that_training_never_reached(tmp_path):
    write_member(tmp_path / "sweep" / "0_a", member_config(0), 0.1)
    (tmp_path / "sweep" / "1_b").mkdir()
    [_, member] = read_sweep(tmp_path / "sweep", NOW_S).members
    assert (member.status, member.settings, member.note) == (Status.WAITING, None, "its folder has no config.yaml yet")


def test_before_the_first_member_starts(tmp_path):
    write_plan(tmp_path / "sweep", [{"seed": seed} for seed in range(3)])
    assert states(tmp_path / "sweep") == [(number, Status.WAITING) for number in range(3)]


@pytest.mark.parametrize("damage", ["{", '{"members": 7}', '{"members": [[1], null, {"seed": NaN}]}', '["x"]'])
def test_a_damaged_plan_is_no_end(tmp_path, damage):
    folder = write_invented_sweep(tmp_path / "sweep", num_members=4)
    (folder / "sweep.json").write_text(damage)
    sweep = read_sweep(folder, NOW_S)
    assert [member.status for member in sweep.members][:4] == [Status.FINISHED] * 4
    assert sweep.members[3].settings == {"reward.terms.local": "MaximumMatchingReward"}


def test_damage_is_counted_under_the_member(tmp_path):
    folder = write_invented_sweep(tmp_path / "sweep", num_members=2)
    (folder / "1_reward-sequential_seed-1" / "summary.json").write_text('{"held_out": ')
    sweep = read_sweep(folder, NOW_S)
    assert sweep.members[1].status is Status.STOPPED
    assert sweep.defects.sentences() == ["1_reward-sequential_seed-1/summary.json: 1 × file without a JSON object"]


def test_several_sweeps_are_read_as_one(tmp_path):
    first = write_invented_sweep(tmp_path / "first", num_members=3)
    write_plan(tmp_path / "second", [{"reward": "maximum", "seed": 0}, {"reward": "maximum", "seed": 7}])
    write_member(tmp_path / "second" / "0_x", member_config(0, "maximum"), 0.1)
    sweep = read_sweep(first, NOW_S, [tmp_path / "second"])
    assert len(sweep.members) == 14 and sweep.has_plan
    last = sweep.members[-2:]
    assert [(one.settings, one.seed, one.status) for one in last] == [
        ({"reward": "maximum"}, "0", Status.FINISHED),
        ({"reward": "maximum"}, "7", Status.WAITING),
    ]
    assert last[0].path_from(first) == "../second/0_x"
    with pytest.raises(ValueError, match=r"absent.* is not a folder"):
        read_sweep(first, NOW_S, [tmp_path / "absent"])


def test_a_sweeps_folder_is_known_from_a_runs(tmp_path):
    run_dir = write_member(tmp_path / "without plan" / "0_a", member_config(0), 0.1)
    write_plan(tmp_path / "planned", [{"seed": 0}])
    (tmp_path / "empty").mkdir()
    found = [is_sweep(path) for path in (run_dir, run_dir.parent, tmp_path / "planned", tmp_path / "empty")]
    assert found == [False, True, True, False]


def test_what_is_no_sweep_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        read_sweep(tmp_path / "absent")
    with pytest.raises(ValueError, match="holds no runs"):
        read_sweep(tmp_path)
    run_dir = write_member(tmp_path / "sweep" / "0_a", member_config(0), 0.1)
    with pytest.raises(ValueError, match="is a single run"):
        read_sweep(run_dir)
