"""Build the reward mix that an option file of conf/reward describes, without composing a whole configuration."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from museg.rewards.mix import RewardMix
from museg.targets import build

OPTIONS = Path(__file__).resolve().parents[2] / "conf" / "reward"
NAMES = sorted(file.stem for file in OPTIONS.glob("*.yaml"))


def load_option(name: str) -> DictConfig:
    """The option with the options it extends merged in; schemas (typed defaults) are left to the tests of the
    configuration.
    """
    option = OmegaConf.load(OPTIONS / f"{name}.yaml")
    extended = [entry for entry in option.pop("defaults") if isinstance(entry, str) and entry != "_self_"]
    return OmegaConf.merge(*map(load_option, extended), option)


def load_mix(name: str) -> RewardMix:
    """The mix itself."""
    return build(OmegaConf.to_container(load_option(name)))
