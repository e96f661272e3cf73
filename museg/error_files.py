"""What the processes of a run died of: each writes it to a file of its own in the run folder."""

from pathlib import Path

SWEEP_FILE = "multirun.yaml"
"""Hydra writes it beside the members whenever their sweep is begun, or gone on with."""


class FolderTaken(ValueError):
    """A folder holds another run: nothing of this one may be written there, its error neither."""


def error_file(run_dir: Path, rank: int = 0) -> Path:
    """Where a process writes what it died of: `error.txt`, or `error_1.txt` for process 1."""
    return run_dir / (f"error_{rank}.txt" if rank else "error.txt")


def error_files(run_dir: Path) -> list[Path]:
    """What the processes of a run died of, the first to fail before the others: it is usually their cause.

    For a member of a sweep, what they died of since that was begun: who has not run again since has left an older one.
    """
    sweep_file = run_dir.parent / SWEEP_FILE
    begun_ns = sweep_file.stat().st_mtime_ns if sweep_file.is_file() else 0
    written_ns = {file: file.stat().st_mtime_ns for file in _all_error_files(run_dir)}
    return sorted((file for file in written_ns if written_ns[file] >= begun_ns), key=written_ns.__getitem__)


def forget_errors(run_dir: Path) -> None:
    """Remove what the processes of earlier attempts died of."""
    for file in _all_error_files(run_dir):
        file.unlink(missing_ok=True)


def _all_error_files(run_dir: Path) -> list[Path]:
    return [file for pattern in ("error.txt", "error_[0-9]*.txt") for file in run_dir.glob(pattern) if file.is_file()]
