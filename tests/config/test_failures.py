"""What a failed run leaves behind, and which members of a sweep count as failed."""

from museg.config.failures import Failure, failures_of, link_log, write_error


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_the_reason_stands_before_where_it_arose(tmp_path):
    text = write_error(tmp_path, raised(ValueError("a must be 1\nb must be 2"))).read_text()
    told, _, where = text.partition("\n\n")
    assert told == "a must be 1\nb must be 2"
    assert where.startswith("Traceback") and "raise error" in where
    assert write_error(tmp_path, raised(KeyError("a"))).read_text().startswith("KeyError: 'a'\n\n")


def test_members_that_said_why_and_jobs_that_could_not(tmp_path):
    """0 finished, 1 raised on this machine, 2 raised in a job, 3 was killed, 4 was killed before it had a folder."""
    sweep, jobs = tmp_path / "sweep", tmp_path / "sweep" / ".submitit"
    logs = [jobs / f"7_{number}" / f"7_{number}_0_log.out" for number in range(5)]
    members = [sweep / f"{number}_seed-{number}" for number in range(4)]
    for folder in [*members, *(log.parent for log in logs)]:
        folder.mkdir(parents=True)
    for number in (0, 2, 3):
        link_log(members[number], logs[number])
    for number in (1, 2):
        write_error(members[number], raised(ValueError(f"fault {number}")))
    lost = [Failure(None, f"killed {number}", logs[number]) for number in (3, 4)]
    found = failures_of(sweep, lost)
    assert [(failure.run_dir, failure.reason) for failure in found] == [
        (members[1], "fault 1"),
        (members[2], "fault 2"),
        (members[3], "killed 3"),
        (None, "killed 4"),
    ]
    assert [failure.log for failure in found] == [None, members[2] / "slurm.log", members[3] / "slurm.log", logs[4]]
    assert str(found[1]) == (
        f"{members[2]}\n  fault 2\n  where it arose: {members[2]}/error.txt\n  log: {members[2]}/slurm.log"
    )
    assert str(found[3]) == f"a member without a folder\n  killed 4\n  log: {logs[4]}"


def test_the_log_is_that_of_the_latest_job_and_moves_with_the_sweep(tmp_path):
    sweep = tmp_path / "sweep"
    for number in (7, 8):
        (sweep / ".submitit" / f"{number}_0").mkdir(parents=True)
        (sweep / ".submitit" / f"{number}_0" / "log").write_text(f"job {number}")
    (sweep / "0_a").mkdir()
    link_log(sweep / "0_a", sweep / ".submitit" / "7_0" / "log")
    link_log(sweep / "0_a", sweep / ".submitit" / "8_0" / "log")
    moved = sweep.rename(tmp_path / "moved")
    assert (moved / "0_a" / "slurm.log").read_text() == "job 8"
