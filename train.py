"""Train one run, or a sweep of runs: compose -> validate -> build -> train. `python train.py --help` tells how."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from museg.config.command_line import TRAIN, checked_arguments
from museg.config.validation import checked_settings

CONF = Path(__file__).resolve().parent / "conf"
# Read when torch is loaded: waiting threads sleep, or on a busy machine they take the core from the one that works.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or the tracer of profile=true reports its own starts and stops


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def run(config: DictConfig) -> None:
    """One run, in the folder that Hydra made for it."""
    settings, job = checked_settings(config), HydraConfig.get()
    # Loads torch, transformers and lightning, so only now, with nothing left to complain about.
    from museg.config.launch import RunFailed, launch, resumed_settings

    try:
        launch(resumed_settings(settings, list(job.overrides.task)), Path(job.runtime.output_dir))
    except RunFailed as failed:
        print(failed, file=sys.stderr)
        was_stopped = failed.exit_code > 128
        if job.mode == RunMode.MULTIRUN and not was_stopped:  # the other members of the sweep still run
            raise
        sys.exit(failed.exit_code)


if __name__ == "__main__":
    sys.argv[1:] = checked_arguments(sys.argv[1:], CONF, TRAIN)
    run()
