"""Which error files of a run count, and how they are told apart from those of earlier attempts."""

import os

from museg.error_files import error_file, error_files, forget_errors


def write_errors(run_dir, **written_s: int) -> None:
    """Of process 0, 1, ... at these seconds."""
    run_dir.mkdir(exist_ok=True)
    for name, second in written_s.items():
        file = error_file(run_dir, int(name[1:]))
        file.touch()
        os.utime(file, (second, second))


def test_the_first_to_fail_stands_first(tmp_path):
    write_errors(tmp_path / "0_a", p0=30, p1=20, p12=10)
    (tmp_path / "0_a" / "error_of_mine.txt").touch()
    assert [file.name for file in error_files(tmp_path / "0_a")] == ["error_12.txt", "error_1.txt", "error.txt"]


def test_what_was_written_before_the_sweep_was_gone_on_with_does_not_count(tmp_path):
    write_errors(tmp_path / "0_a", p0=30, p1=10)
    (tmp_path / "multirun.yaml").touch()
    os.utime(tmp_path / "multirun.yaml", (20, 20))
    assert error_files(tmp_path / "0_a") == [tmp_path / "0_a" / "error.txt"]


def test_all_are_forgotten(tmp_path):
    write_errors(tmp_path / "0_a", p0=30, p1=10)
    (tmp_path / "multirun.yaml").touch()
    (tmp_path / "0_a" / "config.yaml").touch()
    forget_errors(tmp_path / "0_a")
    assert [file.name for file in (tmp_path / "0_a").iterdir()] == ["config.yaml"]
