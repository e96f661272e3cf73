"""Train one run, or a sweep of runs: compose -> validate -> build -> train. `python train.py --help` tells how."""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from museg.config.command_line import checked_arguments
from museg.config.validation import checked_settings

CONF = Path(__file__).resolve().parent / "conf"


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def run(config: DictConfig) -> None:
    """One run, in the folder that Hydra made for it."""
    settings = checked_settings(config)
    # Loads torch, transformers and lightning, so only now, with nothing left to complain about.
    from museg.config.launch import launch

    launch(settings, Path(HydraConfig.get().runtime.output_dir))


if __name__ == "__main__":
    sys.argv[1:] = checked_arguments(sys.argv[1:], CONF)
    run()
