"""Run folders made once for all report tests; a test that damages one works on a copy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.invented_run import write_invented_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of invented numbers; read it, do not change it."""
    return write_invented_run(tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture
def copy_of_run(finished_run: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of the finished run that may be damaged."""
    return lambda: Path(shutil.copytree(finished_run, tmp_path / "copy"))
