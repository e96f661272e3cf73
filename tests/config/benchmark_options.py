"""The descriptions of conf/benchmark, as `python evaluate.py benchmark=NAME` composes them."""

from dataclasses import fields
from functools import cache

from omegaconf import DictConfig, OmegaConf

from museg.config.command_line import composed_jobs
from museg.evaluation.benchmarks import BenchmarkSettings
from tests.config.options import CONF

BENCHMARKS = sorted(file.stem for file in (CONF / "benchmark").glob("*.yaml"))


@cache
def benchmark_node(name: str, *overrides: str) -> DictConfig:
    """The group `benchmark` of one configuration. Not to be changed."""
    own = ["benchmark.annotations=mine.jsonl"] if name == "jsonl" else []
    (config,) = composed_jobs([f"benchmark={name}", *own, *overrides], CONF, "evaluate", is_multirun=False)
    return config.benchmark


def settings_of(name: str, *overrides: str) -> BenchmarkSettings:
    """The settings that the description holds."""
    node = OmegaConf.to_container(benchmark_node(name, *overrides), resolve=True)
    return BenchmarkSettings(**{field.name: node[field.name] for field in fields(BenchmarkSettings)})
