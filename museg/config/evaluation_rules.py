"""Rules of an evaluation's settings; they read values only, and load nothing slow."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from museg.config.rules import Rules, Settings, frame_budget_of, reward_switches, schedule
from museg.config.violation import Violation

SOURCES = ("checkpoint", "predictions", "completions", "compare")

SEVERAL_PROCESSES = ("WORLD_SIZE", "SLURM_ARRAY_TASK_COUNT", "SLURM_STEP_NUM_TASKS")
"""How many processes torchrun, a SLURM array or srun started, where one of them did."""

CAPTION_PACKAGES = {"pycocoevalcap": "pycocoevalcap", "sentence_transformers": "sentence-transformers"}
"""Module -> the package on PyPI that holds it."""


def one_source(settings: Settings) -> Iterator[Violation]:
    """Exactly one thing is asked for."""
    given = [name for name in SOURCES if settings[name] is not None]
    if len(given) != 1:
        remedy = (
            "give checkpoint=FOLDER to answer with a model, predictions=FILE to score saved answers, "
            "completions=FILE to score completions with a reward, or 'compare=[RUN_A,RUN_B]'"
        )
        yield Violation(", ".join(SOURCES), "exactly one of these must be given", given or None, remedy)


def files(settings: Settings) -> Iterator[Violation]:
    """Files and folders are where the configuration says."""
    for name in ("predictions", "completions"):
        if settings[name] is not None and not Path(settings[name]).is_file():
            yield Violation(name, "must be a file", settings[name], "give the path of the file to score")
    annotations = settings["benchmark"].get("annotations")
    if annotations is not None and not Path(annotations).is_file():
        remedy = "give the path of one, or null for the distributed file below data_root"
        yield Violation("benchmark.annotations", "must be an annotation file", annotations, remedy)
    if settings["output"] is not None and not _can_be_folder(Path(settings["output"])):
        rule, remedy = "must be a folder, or a place where one can be made", "name a folder that can be written to"
        yield Violation("output", rule, settings["output"], remedy)
    checkpoint = settings["checkpoint"]
    if checkpoint is not None and not Path(checkpoint).is_dir() and not _may_be_on_the_hub(checkpoint):
        rule = "must be a folder (a training run, or a Hugging Face checkpoint) or a name on the hub"
        yield Violation(
            "checkpoint", rule, checkpoint, "for example outputs/tiny/<date>, or Qwen/Qwen2.5-VL-3B-Instruct"
        )


def _can_be_folder(path: Path) -> bool:
    """Whether `path` is a folder that can be written to, or the first thing above it that exists is one."""
    above = path.absolute()
    while not above.exists():
        above = above.parent
    return above.is_dir() and os.access(above, os.W_OK | os.X_OK)


def _may_be_on_the_hub(checkpoint: str) -> bool:
    """Whether a name reads like owner/model, and its owner is no folder here."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", checkpoint) is not None and not Path(checkpoint).parent.is_dir()


def compared_runs(settings: Settings) -> Iterator[Violation]:
    """Folders to compare hold finished evaluations."""
    runs = settings["compare"]
    if runs is None:
        return
    if len(runs) < 2:
        yield Violation("compare", "must name two or more evaluations", runs, "compare=[RUN_A,RUN_B]")
    for run in runs:
        folder = Path(run)
        if not ((folder / "samples.jsonl").is_file() or any(folder.glob("*/samples.jsonl"))):
            remedy = "give the output folder of an evaluation that ran to its end, or a folder that holds several"
            yield Violation("compare", "must name folders with a samples.jsonl", run, remedy)


def prompts(settings: Settings) -> Iterator[Violation]:
    """The wordings that ask the questions exist."""
    node = settings["benchmark"]
    structure = node["structure"]
    yield from _wording("prompt", node["prompt"], "prompt.evaluation", node["prompt"]["evaluation"])
    named = {"prompt.evaluation": structure["prompt"]["evaluation"]}
    named |= {f"questions.{task}.wording": question["wording"] for task, question in structure["questions"].items()}
    for place, wording in named.items():
        if wording is not None:
            yield from _wording("structure.prompt", structure["prompt"], f"structure.{place}", wording)


def _wording(group: str, prompt: Settings, place: str, wording: str) -> Iterator[Violation]:
    if wording not in prompt["wordings"]:
        rule, remedy = (
            f"must name a wording of benchmark.{group}.wordings",
            f"choose one of {sorted(prompt['wordings'])}",
        )
        yield Violation(f"benchmark.{place}", rule, wording, remedy)


def captions(settings: Settings) -> Iterator[Violation]:
    """What the scores of E.T. Bench need is installed."""
    if settings["benchmark"]["rule"] != "et_bench" or settings["completions"] or settings["compare"]:
        return
    for module, package in CAPTION_PACKAGES.items():
        is_needed = module == "sentence_transformers" or settings["captions"]
        if is_needed and importlib.util.find_spec(module) is None:
            rule = f"needs the package {package} for E.T. Bench, which is not installed"
            yield Violation(
                "benchmark", rule, settings["benchmark"]["name"], "pip install -e '.[etbench]' -c constraints.txt"
            )
    if settings["captions"] and shutil.which("java") is None:
        rule = "needs Java for METEOR and the caption tokenizer, and there is no java on this machine"
        remedy = "install a Java runtime (Debian: apt-get install default-jre-headless), or give captions=false"
        yield Violation("captions", rule, True, remedy)


def shards(settings: Settings) -> Iterator[Violation]:
    """Shards have a place to meet, and a number each."""
    index, count = settings["shard"]["index"], settings["shard"]["count"]
    if (index is None) != (count is None):
        remedy = "for example shard.index=0 shard.count=4"
        yield Violation("shard", "needs both index and count, or neither", settings["shard"], remedy)
    elif index is not None and index >= count:
        yield Violation("shard.index", f"must be below shard.count ({count})", index, "indices count from 0")
    several = count is not None or any(os.environ.get(name, "1") != "1" for name in SEVERAL_PROCESSES)
    if several and settings["checkpoint"] is not None and settings["output"] is None:
        yield Violation(
            "output", "must be given when several processes share the work", None, "output=FOLDER, the same for all"
        )


def budget(settings: Settings) -> Iterator[Violation]:
    """The limits of frames and pixels agree with each other."""
    yield from frame_budget_of(settings["benchmark"]["video"], "benchmark.video.budget")


def attention(settings: Settings) -> Iterator[Violation]:
    """The attention kernel that is asked for is installed."""
    chosen = settings["inference"]["attention"]
    if chosen == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        rule = "needs the package flash-attn, which is not installed"
        remedy = "pip install -e '.[flash]' --no-build-isolation, or use inference.attention=auto"
        yield Violation("inference.attention", rule, chosen, remedy)


EVALUATION_RULES: Rules = {
    one_source: (),
    files: ("benchmark",),
    compared_runs: (),
    prompts: ("benchmark",),
    captions: ("benchmark",),
    shards: (),
    budget: ("benchmark",),
    attention: (),
    schedule: ("phase",),
    reward_switches: ("phase", "reward"),
}
"""Every rule with the groups it reads, in the order in which violations are told."""
