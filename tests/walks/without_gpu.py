"""DeepSpeed on a processor, in processes that are watched: what may not be gathered, live on, or change a weight."""

import argparse
import gc
import os
import types
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tests.walks.test_number_of_processes import train_each, train_one


def train_without_gpu(runs: list, broken: list) -> None:
    """Train, with Lightning's question for a GPU taken off in this process; then with gradients that are no numbers."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    from lightning.pytorch.accelerators.cpu import CPUAccelerator
    from lightning.pytorch.strategies import deepspeed as lightnings

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it is compiled
    lightnings.CUDAAccelerator = CPUAccelerator
    lightnings._validate_device_index_selection = lambda devices: None
    lightnings.argparse = types.SimpleNamespace(Namespace=lambda device_rank: argparse.Namespace(device_rank=-1))
    shard_small_weights_too()
    if os.environ["WORLD_SIZE"] != "1":
        let_nothing_be_gathered_in_sampling()
    let_no_earlier_engine_live_on()
    train_each(runs)
    break_gradients()
    for run_settings, run_dir, recorded in broken:
        told = run_dir.with_name(f"{run_dir.name}_{os.environ['RANK']}")
        told.write_text(error_of(run_settings, run_dir, recorded))
        gc.collect()


def shard_small_weights_too() -> None:
    """From now on in this process ZeRO-3 shards all weights; by itself it leaves those whole that a tiny model has."""
    import deepspeed

    initialize = deepspeed.initialize

    def told(config: dict, **options: object) -> object:
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return initialize(config=config, **options)

    deepspeed.initialize = told


def let_nothing_be_gathered_in_sampling() -> None:
    """From now on in this process ZeRO-3 fails where it gathers anything after all has been gathered for sampling."""
    from deepspeed.comm.torch import TorchBackend

    from museg.training.sharding import Zero3Shards

    gather, gathered, calls = TorchBackend.all_gather_into_tensor, Zero3Shards.gathered, []

    def counted(*arguments: object, **options: object) -> object:
        calls.append(1)
        return gather(*arguments, **options)

    @contextmanager
    def watched(shards: Zero3Shards) -> Iterator[None]:
        before = len(calls)
        with gathered(shards):
            at_once = len(calls)
            yield
            assert before < at_once == len(calls), f"{at_once - before} gathered at once, {len(calls) - at_once} later"

    TorchBackend.all_gather_into_tensor, Zero3Shards.gathered = counted, watched


def let_no_earlier_engine_live_on() -> None:
    """From now on in this process a fit fails beside which the engine of an earlier one is there, with its moments."""
    from museg.training.museg_module import MusegModule

    take_step, met = MusegModule.training_step, weakref.WeakSet()

    def watched(module: MusegModule, *arguments: object) -> dict:
        met.add(module.trainer.strategy.model)
        assert len(met) == 1, "an earlier engine is still there"
        return take_step(module, *arguments)

    MusegModule.training_step = watched


def break_gradients() -> None:
    """From now on in this process the gradient of step 1 is no number in the second process, and changes no weight."""
    from deepspeed.utils import safe_get_full_fp32_param

    from museg.training.museg_module import MusegModule

    loss_share, step_optimizer = MusegModule.loss_share, MusegModule.step_optimizer

    def broken(module: MusegModule, *arguments: object) -> tuple:
        loss, metrics = loss_share(module, *arguments)
        if os.environ["RANK"] == "1" and module.steps_done == 1:
            loss.register_hook(lambda gradient: gradient * float("nan"))
        return loss, metrics

    def masters(module: MusegModule) -> list:
        return [safe_get_full_fp32_param(weight).clone() for weight in module.model.parameters()]

    def watched(module: MusegModule, *arguments: object) -> dict:
        before = masters(module)
        try:
            return step_optimizer(module, *arguments)
        finally:
            is_same = all(map(torch.equal, before, masters(module)))
            assert is_same == (module.steps_done == 1), "weights changed, or did not"

    MusegModule.loss_share, MusegModule.step_optimizer = broken, watched


def error_of(run_settings: dict, run_dir: Path, recorded: Path) -> str:
    """What a run ends with that is not finite."""
    from museg.training.guarded_update import NonFiniteStep

    try:
        train_one(run_settings, run_dir, recorded)
    except NonFiniteStep as error:
        return str(error)
    return "nothing was raised"
