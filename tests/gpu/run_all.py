"""Everything worth checking on one GPU: `python -m tests.gpu.run_all`

First the tests of this folder. Then one step of the released recipe on random weights of the published 3B shape, with
the time and the memory of each of its parts (`tests.benchmarks.gpu`; its options may follow, such as `--minutes 5` or
`--out FILE`). Nothing is downloaded. Exit status: 0 all is well, 1 something failed, 2 there is no GPU.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.benchmarks import gpu

HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests, then measure, whatever the tests said; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not torch.cuda.is_available():
        print("there is no CUDA GPU on this machine, so there is nothing to check", file=sys.stderr)
        return 2
    tests = [sys.executable, "-m", "pytest", str(HERE), "-m", "gpu", "-n", "0", "-rs", "--durations=0"]
    has_passed = subprocess.run(tests, cwd=HERE.parents[1]).returncode == 0
    try:
        gpu.main(given)
    except SystemExit as told:
        if told.code:  # what is wrong, in words
            print(told, file=sys.stderr)
            return 1
    return 0 if has_passed else 1


if __name__ == "__main__":
    sys.exit(main())
