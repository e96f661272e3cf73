"""Answer a benchmark with a checkpoint, score answers, compare results. `python evaluate.py --help` tells how."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from museg.config.command_line import EVALUATE, checked_arguments
from museg.config.validation import checked_evaluation

CONF = Path(__file__).resolve().parent / "conf"
# Read when torch is loaded: waiting threads sleep, or on a busy machine they take the core from the one that works.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def run(config: DictConfig) -> None:
    """One evaluation, in the folder that Hydra made for it."""
    settings, job = checked_evaluation(config), HydraConfig.get()
    try:
        # Loads torch and torchmetrics, so only now, with nothing left to complain about.
        from museg.config.evaluate import evaluate

        evaluate(settings, Path(job.runtime.output_dir))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        if job.mode == RunMode.MULTIRUN:  # the other members of the sweep still run
            raise error.with_traceback(None) from None
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"stopped; the same command with output={job.runtime.output_dir} continues", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    sys.argv[1:] = checked_arguments(sys.argv[1:], CONF, EVALUATE)
    run()
