"""From checked settings to a benchmark answered by a checkpoint."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from museg.config.asking import chosen_asking
from museg.data.disk_cache import DiskCache
from museg.data.frame_cache import frame_reader
from museg.evaluation.benchmarks import Benchmark
from museg.evaluation.checkpoint_identity import checkpoint_identity, local_folder
from museg.evaluation.predict import PredictSettings, predict
from museg.evaluation.progress import AnsweringProgress
from museg.evaluation.run_folder import code_version, write_config
from museg.evaluation.shards import answering_device, resolve_shard
from museg.policy.loading import EXPORTED, Policy, chosen_attention, load_checkpoint
from museg.video.budget import FrameBudget

Settings = Mapping[str, Any]


def answer(settings: Settings, benchmark: Benchmark, output: Path) -> dict[str, Any]:
    """Answer this process' share of the benchmark; returns what identifies the checkpoint."""
    node, inference = settings["benchmark"], settings["inference"]
    if inference["num_threads"] is not None:
        torch.set_num_threads(inference["num_threads"])
    device = answering_device(inference["device"], os.environ)
    folder = checkpoint_folder(settings["checkpoint"])
    dtype = weights_dtype(inference["dtype"], device)
    in_half = device.type == "cuda" and dtype == "bfloat16"
    how = {"dtype": dtype, "attention": chosen_attention(inference["attention"], in_half=in_half)}
    checkpoint = checkpoint_identity(folder) | how
    identity = {
        "checkpoint": checkpoint,
        "benchmark": {"name": node["name"], "annotation_sha256": benchmark.sha256},
        "code_version": code_version(),
        "device": device.type,
    }

    def load() -> Policy:
        write_config(output, settings)  # only now, when nothing speaks against going on in this folder
        return load_for_inference(folder, device, **how)

    with AnsweringProgress(f"answering {node['name']}") as progress:
        predict(
            benchmark.samples,
            policy_factory=load,
            asking=chosen_asking(settings, local_folder(folder)),
            settings=_predict_settings(settings),
            identity=identity,
            video_root=benchmark.video_root,
            budget=FrameBudget(**node["video"]["budget"]),
            output=output,
            progress=progress,
            remedy=where_videos_come_from(settings, benchmark),
        )
    return checkpoint


def where_videos_come_from(settings: Settings, benchmark: Benchmark) -> str:
    """The sentence that helps whose videos are absent."""
    name, root = benchmark.settings.name, settings["data_root"]
    if benchmark.settings.distributed is None or settings["benchmark"]["annotations"] is not None:
        return "benchmark.video_root=FOLDER says where they are."
    fetch = f"python -m museg.commands.prepare benchmark={name} root={root}"
    return f"{fetch} fetches them, or tells how to; benchmark.video_root=FOLDER says where else they are."


def _predict_settings(settings: Settings) -> PredictSettings:
    node, inference, shard = settings["benchmark"], settings["inference"], settings["shard"]
    return PredictSettings(
        batch_size=inference["batch_size"],
        max_new_tokens=node["max_new_tokens"],
        max_context_tokens=node["max_context_tokens"],
        num_workers=node["video"]["num_workers"],
        timeout_s=node["video"]["timeout_s"],
        feature_cache_mib=inference["feature_cache_mib"],
        feature_disk=DiskCache.of_gib(inference["feature_cache_dir"], inference["feature_cache_gib"]),
        read=frame_reader(node["video"]["frame_cache_dir"], node["video"]["frame_cache_gib"]),
        shard=resolve_shard(shard["index"], shard["count"], os.environ),
        allow_missing_videos=inference["allow_missing_videos"],
    )


def checkpoint_folder(checkpoint: str) -> str:
    """The folder to load: of a training run its exported model; a name on the hub stays as it is.

    Raises ValueError for a training run that has not exported a model yet.
    """
    folder = Path(checkpoint)
    if (folder / EXPORTED).is_dir():
        return str(folder / EXPORTED)
    if (folder / "checkpoints").is_dir():
        raise ValueError(
            f"checkpoint={checkpoint} is a training run that has not ended: it has no {EXPORTED}/ yet. "
            f"Continue it with: python train.py resume={checkpoint}, or export what it has so far: "
            f"python -m museg.commands.export run={checkpoint} output=FOLDER"
        )
    return checkpoint


def weights_dtype(asked: str, device: torch.device) -> str:
    """The precision asked for; "auto" is bfloat16 on a GPU and float32 on the processor."""
    if asked != "auto":
        return asked
    return "float32" if device.type == "cpu" else "bfloat16"


def load_for_inference(path: str, device: torch.device, *, dtype: str, attention: str) -> Policy:
    """The checkpoint on its device."""
    policy = load_checkpoint(path, dtype=dtype, attention=attention, named="checkpoint")
    policy.model.to(device)
    return policy
