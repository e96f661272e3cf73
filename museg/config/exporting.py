"""From a checkpoint of a run to a Hugging Face folder with a model card."""

import json
import pickle
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError

from museg.data.sources import preparations
from museg.files import check_free, version_of, whole_folder, write_whole
from museg.meco.exported import FACTS_FILE, WEIGHTS_FILE, has_heads
from museg.meco.structure import Kind
from museg.policy.adapter import load_trained, merged
from museg.policy.export import export
from museg.policy.loading import DTYPES, EXPORTED, Policy
from museg.report.markdown import Markdown
from museg.report.model_card import Exported, HeadsBeside, model_card
from museg.report.run_folder import read_run
from museg.report.tolerant import mapping
from museg.targets import TARGET, build, locate, read_run_config
from museg.training.base_model import FOLDER as BASE_FOLDER
from museg.training.base_model import put_adapter_on
from museg.training.checkpoints import COMPLETE, CONFIG_FILE, Checkpoint, complete_checkpoints, part_of
from museg.training.phased_module import PhasedModule
from museg.video.budget import FrameBudget

AUTO = "auto"
CARD_FILE = "README.md"
PACKAGES = ("museg", "torch", "transformers", "safetensors", "peft")
UNREADABLE = (OSError, RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError, SafetensorError)
"""What is raised for a file that is broken off, is something else, or holds more than data."""
FOR_EXPORT = {"attention": "sdpa", "gradient_checkpointing": False}
"""Settings of a model that decide how it computes, and not what: here nothing is computed."""


@dataclass(frozen=True)
class Asked:
    """What is to be exported: a step of `run` or the folder of a checkpoint (None, None: the newest), and how.

    `base` is where the model lies now that the run began with, where that is not where its configuration says.
    """

    run: Path
    output: Path
    step: int | None = None
    checkpoint: Path | None = None
    dtype: str = AUTO
    base: str | None = None


def export_run(asked: Asked) -> tuple[int, str]:
    """Write the folder `asked.output`; returns the finished steps of its weights, and their type.

    Raises ValueError where the run, the checkpoint or the folder is not what it should be; then no folder is left.
    """
    config = _recorded(asked.run)
    checkpoint = chosen_checkpoint(asked)
    check_free(asked.output)
    budget = _constructed(lambda: FrameBudget(**config["video"]["budget"]), "video.budget")
    policy = trained_policy(config, asked.run, checkpoint, asked.base)
    if asked.dtype != AUTO:
        for weight in policy.model.parameters():
            weight.data = weight.data.to(DTYPES[asked.dtype])
    dtype = str(policy.model.dtype).removeprefix("torch.")
    with whole_folder(asked.output) as folder:
        export(policy, folder, budget=budget)
        write_beside(config, checkpoint, folder)
        write_card(asked.run, folder, checkpoint.global_step, dtype)
    return checkpoint.global_step, dtype


def write_beside(config: Mapping[str, Any], checkpoint: Checkpoint, folder: Path) -> None:
    """Write what the method of a run trained beside the model, if it did, to where the model is."""
    method, options = _method(config)
    with _told_as_damage(checkpoint.folder):
        weights = part_of(checkpoint.weights(), "heads.")
    if weights:
        _constructed(lambda: method.write_beside(folder, weights, **options), "method")


def _method(config: Mapping[str, Any]) -> tuple[type[PhasedModule], dict[str, Any]]:
    """The class that trained, and its settings but for files that were read when it began."""
    node = dict(mapping(config.get("method")))
    found = locate(str(node.pop(TARGET, "")))
    if not (isinstance(found, type) and issubclass(found, PhasedModule)):
        raise ValueError(f"method.{TARGET} of this run names no method: its configuration was changed")
    return found, node | ({"start_heads": None} if "start_heads" in node else {})


def write_card(run_dir: Path, folder: Path, step: int, dtype: str) -> None:
    """Write the model card of weights of that run, after so many steps, into the folder that holds them."""
    run = read_run(run_dir)
    versions = {"python": platform.python_version()} | {name: version_of(name) for name in PACKAGES}
    kind = str(mapping(run.config.get("dataset")).get(TARGET, ""))
    heads = (
        HeadsBeside(WEIGHTS_FILE, FACTS_FILE, Kind.EVENT.value, Kind.TRANSITION.value) if has_heads(folder) else None
    )
    write_whole(folder / CARD_FILE, model_card(run, Exported(step, dtype, versions, terms_of(kind), heads)))


def write_own_card(run_dir: Path, step: int) -> None:
    """Write the card of what a finished run has exported itself."""
    folder = run_dir / EXPORTED
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_card(run_dir, folder, step, str(config["dtype"]))


def terms_of(dataset: str) -> list[tuple[Markdown, Markdown, Markdown]]:
    """What is known of the terms of a data set, by its `_target_`: what it holds, licence, where it is from."""
    if dataset.endswith(".synthetic_data"):
        return [(Markdown("Data"), Markdown("clips that museg has drawn; nobody else's"), Markdown(""))]
    if not dataset.endswith(".museg_data"):
        return [(Markdown("Data"), Markdown("a file of the user's own, under whatever terms it came"), Markdown(""))]
    museg = preparations()["dataset"]["museg"]
    held = {("Annotations", source.licence, source.origin): None for source in museg.annotations}
    held |= {("Videos", source.licence, source.origin): None for source in museg.videos}
    return [(Markdown(what), Markdown(licence), Markdown(origin)) for what, licence, origin in held]


def _recorded(run: Path) -> dict[str, Any]:
    """The settings of a run, as data."""
    if not (run / CONFIG_FILE).is_file():
        raise ValueError(f"run={run} is no run folder: there is no {CONFIG_FILE} in it")
    try:
        config = read_run_config(run / CONFIG_FILE)
    except yaml.YAMLError as error:
        raise ValueError(f"{run / CONFIG_FILE} cannot be read: {error}") from error
    lacking = [key for key in ("model", "video") if not isinstance(config.get(key), Mapping)]
    if lacking:
        raise ValueError(f"{run / CONFIG_FILE} is not the configuration of a run: it lacks {', '.join(lacking)}")
    return config


def chosen_checkpoint(asked: Asked) -> Checkpoint:
    """The complete checkpoint that is asked for. Raises ValueError with those there are."""
    if asked.checkpoint is not None:
        named = COMPLETE.fullmatch(asked.checkpoint.name)
        found = Checkpoint(asked.checkpoint, int(named[1]) if named else -1)
        if named is None or not found.state_file.exists():
            raise ValueError(
                f"checkpoint={asked.checkpoint} is no complete checkpoint: give a folder step_<number> of "
                "checkpoints/, or a copy of it under that name"
            )
        return found
    there = complete_checkpoints(asked.run)
    if not there:
        raise ValueError(f"run={asked.run} has no complete checkpoint yet")
    if asked.step is None:
        return there[-1]
    for checkpoint in there:
        if checkpoint.global_step == asked.step:
            return checkpoint
    steps = ", ".join(str(checkpoint.global_step) for checkpoint in there)
    raise ValueError(f"run={asked.run} has no checkpoint of step {asked.step}; there are {steps}")


def trained_policy(config: Mapping[str, Any], run: Path, checkpoint: Checkpoint, base: str | None = None) -> Policy:
    """The policy with the weights of a checkpoint of that run, on the processor.

    They have the type that they have there; those that an adapter was merged into can hold what it has learnt.
    """
    node = dict(config["model"])
    node |= {key: value for key, value in FOR_EXPORT.items() if key in node}
    if base is not None:
        if "path" not in node:
            raise ValueError(f"base={base}: the model of this run was not loaded from anywhere ({node.get(TARGET)})")
        node["path"] = base
    try:
        policy = _constructed(lambda: build(node), "model")
    except ValueError as error:
        hint = "" if "path" not in node else " (base=PATH says where the model is now)"
        raise ValueError(f"the model that the run began with: {error}{hint}") from error
    if not isinstance(policy, Policy):
        raise ValueError(f"model.{TARGET}={node.get(TARGET)} makes no model: the run's configuration was changed")
    method, options = _method(config)
    policy, _ = _constructed(lambda: method.prepared(policy, 0, **options), "method")
    began_cold = mapping(config.get("cold_start")).get("enabled") is True
    with _told_as_damage(run / BASE_FOLDER):
        put_adapter_on(policy, run, seed=0, is_resumed=True, is_made_here=began_cold)
    with _told_as_damage(checkpoint.folder):
        weights = part_of(checkpoint.weights(), "model.")
    try:
        load_trained(policy, weights)
        for name, weight in policy.model.named_parameters():
            weight.data = weight.data.to(weights[name].dtype if name in weights else weight.dtype)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{checkpoint.folder} holds other weights than the model of this run has: {error}") from error
    return merged(policy)


@contextmanager
def _told_as_damage(place: Path) -> Iterator[None]:
    """Turn what reading a file of weights may raise into a ValueError in one line."""
    try:
        yield
    except ImportError as error:
        raise ValueError(f"{place} needs a package that is not installed ({error}): pip install -e '.[gpu]'") from error
    except UNREADABLE as error:
        first_line = str(error).partition("\n")[0]
        raise ValueError(
            f"{place} cannot be read, or holds something else than weights: take another step, or copy it again. "
            f"({type(error).__name__}: {first_line})"
        ) from error


def _constructed(construct: Callable[[], Any], place: str) -> Any:
    """What a part of a run's configuration stands for. Raises ValueError where it has other keys than it should."""
    try:
        return construct()
    except (TypeError, KeyError) as error:
        raise ValueError(f"{place} of this run is not as this version of museg has it: {error}") from error
