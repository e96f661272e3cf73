"""A real SLURM cluster of one node on this machine, and sweeps that are handed to it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.shared import unavailable
from tests.walks import tiny_runs

ROOT = tiny_runs.CONF.parent
SCRIPT = ROOT / "launchers" / "local_slurm.sh"
RESOURCES = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_per_cpu=2G")


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Start a cluster whose files lie in `folder`; what its users need in their environment."""
    as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
    if as_root and not shutil.which("sudo"):
        unavailable("the daemons of SLURM start as root, and there is no sudo")
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))) and shutil.which("apt-get") is None:
        unavailable("SLURM is not installed, and there is no apt-get to install it")
    start = [*as_root, SCRIPT, "start", folder]
    started = subprocess.run(start, capture_output=True, text=True, timeout=300, check=False)
    assert started.returncode == 0, started.stderr
    [name, file] = re.fullmatch(r"export (\w+)=(\S+)\n", started.stdout).groups()
    try:
        yield os.environ | {name: file, "OMP_NUM_THREADS": "1"}
    finally:
        subprocess.run([*as_root, SCRIPT, "stop", folder], check=True, timeout=60)


@dataclass(frozen=True)
class Sweep:
    """A `python train.py -m` that waits for its jobs; `folder` holds its members, `told` what it prints."""

    process: subprocess.Popen
    folder: Path
    told: Path
    environment: dict[str, str]

    @property
    def text(self) -> str:
        return self.told.read_text()

    def member(self, number: int) -> Path:
        """The folder of a member, which appears when its job begins."""
        return until(lambda: next(self.folder.glob(f"{number}_*"), None), f"member {number} of {self.folder}", self)

    def job(self, number: int) -> str:
        """SLURM's name of the job of a member, which its log is named by."""
        link = self.member(number) / "slurm.log"
        until(link.is_symlink, "log", self)
        return link.resolve().parent.name

    def restarts(self, number: int) -> int:
        """How often SLURM has started the job of a member again."""
        return int(re.search(r"Restarts=(\d+)", self.asked("scontrol", "show", "job", self.job(number)))[1])

    def asked(self, *command: str) -> str:
        """What a command of SLURM prints."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def send(self, number: int, sent: signal.Signals) -> None:
        """Signal the processes of a member, as SLURM itself does.

        They are step 0 of their job. To the job as a whole scancel (22.05) sends the signal again and again while
        other tasks of its array still wait.
        """
        command = ["scancel", f"--signal={sent.name.removeprefix('SIG')}", f"{self.job(number)}.0"]
        subprocess.run(command, env=self.environment, check=True)

    def pre_empt(self, number: int, is_saved: Callable[[], object]) -> None:
        """Hand in a job that SLURM makes room for, and keep a member from going on between its warning and its end.

        SLURM warns by SIGTERM and kills 5 seconds later, by when a tiny run has ended by itself.
        """
        urgent = ["sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true"]
        subprocess.run(urgent, env=self.environment, check=True, capture_output=True)
        until(is_saved, "checkpoint", self)
        processes = self.asked("scontrol", "listpids", f"{self.job(number)}.0").splitlines()[1:]
        for process in processes:
            os.kill(int(process.split()[0]), signal.SIGSTOP)

    def wait(self, timeout_s: float = 400) -> int:
        """The exit code of the command, once all jobs have ended."""
        return self.process.wait(timeout_s)


@contextmanager
def sweep_of(environment: dict[str, str], folder: Path, *overrides: str) -> Iterator[Sweep]:
    """Hand a sweep to the cluster; its members lie in `folder`. At the end nobody waits for it any longer."""
    told = folder.with_name(f"{folder.name}.txt")
    command = [sys.executable, ROOT / "train.py", "-m", *RESOURCES, f"hydra.sweep.dir={folder}", *overrides]
    with told.open("w") as file:
        process = subprocess.Popen(command, cwd=folder.parent, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield Sweep(process, folder, told, environment)
    finally:
        process.kill()


def until(found: Callable[[], object], what: str, sweep: Sweep, timeout_s: float = 300):
    """What `found` returns as soon as that is true."""
    end_s = time.monotonic() + timeout_s
    while not (result := found()):
        logs = "\n".join(path.read_text() for path in sweep.folder.glob("*/slurm.log"))
        assert time.monotonic() < end_s, f"no {what} within {timeout_s} s\n{sweep.text}\n{logs}"
        time.sleep(0.05)
    return result
