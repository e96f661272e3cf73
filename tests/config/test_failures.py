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
    later = write_error(tmp_path, raised(KeyError("a"))).read_text()  # of another attempt
    assert later.startswith("KeyError: 'a'\n\nTraceback")


def test_members_that_said_why_and_jobs_that_could_not(tmp_path):
    """0 finished, 1 raised here, 2 raised in a job, 3 was killed, 4 was killed before it had a folder.

    5 raised in one of its processes, which ended without a result; that it said why comes first.
    """
    sweep, jobs = tmp_path / "sweep", tmp_path / "sweep" / ".submitit"
    logs = [jobs / f"7_{number}" / f"7_{number}_0_log.out" for number in range(6)]
    members = [sweep / f"{number}_seed-{number}" for number in (0, 1, 2, 3, 5)]
    for folder in [*members, *(log.parent for log in logs)]:
        folder.mkdir(parents=True)
    for member, number in ((0, 0), (2, 2), (3, 3), (4, 5)):
        link_log(members[member], logs[number])
    for number in (1, 2):
        write_error(members[number], raised(ValueError(f"fault {number}")))
    write_error(members[4], raised(MemoryError("full")), rank=1)
    write_error(members[4], raised(RuntimeError("the other is gone")))
    lost = [Failure(None, f"killed {number}", logs[number]) for number in (3, 4, 5)]
    found = failures_of(sweep, lost)
    assert [(failure.run_dir, failure.reason) for failure in found] == [
        (members[1], "fault 1"),
        (members[2], "fault 2"),
        (members[3], "killed 3"),
        (members[4], "process 1: MemoryError: full\nkilled 5"),
        (None, "killed 4"),
    ]
    assert [failure.log for failure in found] == [None, *(member / "slurm.log" for member in members[2:]), logs[4]]
    assert str(found[1]) == (
        f"{members[2]}\n  fault 2\n  where it arose: {members[2]}/error.txt\n  log: {members[2]}/slurm.log"
    )
    assert str(found[4]) == f"a member without a folder\n  killed 4\n  log: {logs[4]}"


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


def test_every_process_has_a_log(tmp_path):
    link_log(tmp_path, tmp_path / "7_0" / "7_0_1_log.out", rank=1)
    assert (tmp_path / "slurm_1.log").readlink().name == "7_0_1_log.out"
