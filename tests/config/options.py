"""Every option file of conf/, and the settings that make each of them complete on this machine."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from omegaconf import DictConfig

from museg.config.command_line import composed_jobs
from tests.data.instruction_files import write_stages

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
ALL_OPTIONS = sorted(str(file.relative_to(CONF).with_suffix("")) for file in CONF.glob("*/**/*.yaml"))
"""`reward/sequential`, `hydra/launcher/slurm`, ..."""
OF_EVALUATION = tuple(option for option in ALL_OPTIONS if option.startswith("benchmark/"))
"""What only evaluate.py takes."""
OPTIONS = [option for option in ALL_OPTIONS if option not in OF_EVALUATION]
"""What train.py takes."""
STRUCTURE = ("method=meco", "prompt=meco_tiny", "dataset.order=by_phase")
CHOSEN_WITH = {
    "phase/meco": STRUCTURE,
    "phase/meco_full": STRUCTURE,
    "phase/structure": STRUCTURE,
    "prompt/meco": ("method=meco", "phase=structure", "cold_start=none"),
    "dataset/meco": ("method=meco",),
    "dataset/questions/events": ("method=meco", "dataset=et_instruct"),
    "rollout/meco": ("method=meco",),
    "model/exported": ("model.path=Qwen/Qwen2.5-VL-3B-Instruct",),
} | {option: ("experiment=compare_methods",) for option in OPTIONS if option.startswith("experiment/compare_methods/")}
"""Options that refer to those of other groups."""


def compose(*overrides: str) -> DictConfig:
    """One configuration as `python train.py <overrides>` composes it."""
    (config,) = composed_jobs(overrides, CONF, is_multirun=False)
    return config


@cache
def jobs_of(option: str, *overrides: str) -> tuple[DictConfig, ...]:
    """What choosing `option` runs: one configuration, or all members of a recorded sweep. Not to be changed."""
    group, _, name = option.rpartition("/")
    return tuple(
        composed_jobs([f"{group}={name}", *completing(option), *overrides], CONF, is_multirun=False, is_shown=True)
    )


def completing(option: str) -> list[str]:
    """Overrides for what an option leaves open: the user's own files, and what it is meant to be chosen with."""
    files = annotation_files()
    paths = {
        "dataset/museg": {"stage_1": files / "stage_1.jsonl", "stage_2": files / "stage_2.jsonl", "video_root": files},
        "dataset/jsonl": {"train_file": files / "stage_1.jsonl", "video_root": files},
        "dataset/et_instruct": {
            "train_file": files / "et_instruct_164k" / "et_instruct_164k_txt.json",
            "video_root": files / "et_instruct_164k",
        },
        "dataset/meco": {"video_root": files},
    }
    paths["dataset/questions/events"] = paths["dataset/et_instruct"]
    paths["experiment/museg_3b"] = paths["experiment/museg_7b"] = paths["dataset/museg"]
    paths["experiment/meco_3b"] = paths["experiment/meco_7b"] = paths["dataset/meco"]
    given = [f"dataset.{key}={path}" for key, path in paths.get(option, {}).items()]
    return [*given, *(["dataset.held_out_share=0.5"] if given else []), *CHOSEN_WITH.get(option, ())]


@cache
def annotation_files() -> Path:
    """A folder with two annotation files of the released schema and a file for each of their videos; and instruction
    data as `dataset=meco` looks for them."""
    folder = Path(mkdtemp(prefix="museg-annotations-"))
    for stage in ("stage_1", "stage_2"):
        rows = [
            {"idx": i, "problem": "When does 'it' occur?", "solution": [[1.0, 2.5]], "video": f"{stage}_{i}.mp4"}
            | {"task": "tvg", "duration": 9.0, "data_type": "video", "dataset": "mine"}
            for i in range(4)
        ]
        (folder / f"{stage}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
        for row in rows:
            (folder / row["video"]).touch()
    write_stages(folder)
    return folder
