"""A small benchmark of real clips answered by a tiny checkpoint, in this process or in one that may be killed."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from museg.dialogue.prompts import PromptWording
from museg.evaluation.answering import Asking
from museg.evaluation.located_answers import LocatedAnswers, StructureWordings
from museg.evaluation.predict import PredictSettings, predict
from museg.evaluation.samples import BenchmarkSample
from museg.evaluation.shards import Shard
from museg.evaluation.written_answers import WrittenAnswers
from museg.meco.alignment import AlignmentHeads
from museg.meco.exported import AlignmentFacts, has_heads, load_heads, save_heads
from museg.meco.localization import LocalizationSettings
from museg.meco.tokens import add_structural_tokens
from museg.policy.export import export
from museg.policy.loading import Policy, load_pretrained
from museg.policy.row_training import embedding_weights
from museg.policy.tiny import build_tiny
from museg.temporal.segments import Segment
from museg.video.budget import FrameBudget
from tests.video import made_files

WORDING = PromptWording(system="", before_video="cite {query}", after_video="")
BUDGET = FrameBudget(sample_rate_fps=1, min_pixels=784, max_pixels=784)
IDENTITY = {"checkpoint": {"name": "tiny", "sha256": "0123"}, "benchmark": "small", "code_version": "1"}
CLIP_OF_ROW = (0, 1, 2, 0, 3, 1, 4, 5, 0, 2, 6, 7)
"""Twelve questions about eight clips: three about the first, two about the second and third."""


def made_benchmark(folder: Path) -> Path:
    """Write the clips and a tiny checkpoint below `folder`."""
    _write_clips(folder)
    export(build_tiny(initializer_range=0.1, seed=0), folder / "checkpoint")  # writes another answer to every question
    return folder


def made_benchmark_of_events(folder: Path) -> Path:
    """Write the clips and a tiny checkpoint with heads below `folder`."""
    _write_clips(folder)
    write_checkpoint_of_events(folder / "checkpoint")
    return folder


def write_checkpoint_of_events(folder: Path) -> None:
    """Write a tiny model that likes to write structural tokens, and heads beside it."""
    policy = build_tiny(initializer_range=0.1, seed=0)
    ids = add_structural_tokens(policy.tokenizer, policy.model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in embedding_weights(policy.model):
            for token_id in ids.kinds:
                weight[token_id] = 2 * torch.randn(weight.shape[1], generator=generator)
    export(policy, folder)
    facts = AlignmentFacts(-2, -1, False, LocalizationSettings(dilation_steps=0, include_last_step=True))
    save_heads(folder, AlignmentHeads(policy.model.config.text_config.hidden_size).state_dict(), facts)


def _write_clips(folder: Path) -> None:
    (folder / "clips").mkdir()
    for clip in range(8):
        made_files.numbered_mp4(folder / "clips" / f"{clip}.mp4", num_frames=12 + 2 * clip, fps=2)


def asking_of(folder: Path) -> Asking:
    """The way that suits the checkpoint."""
    if not has_heads(folder / "checkpoint"):
        return WrittenAnswers(WORDING)
    alignment = load_heads(folder / "checkpoint")
    wordings = StructureWordings({"structure": WORDING}, "structure", {})
    return LocatedAnswers(wordings, alignment, alignment.facts.localization)


def sample(row: int, clip: int | str, question: str | None = None) -> BenchmarkSample:
    """A question about a clip."""
    question = f"When does 'red square {row * row}' occur?" if question is None else question
    return BenchmarkSample(f"small:{row}", row, "tvg", "made", f"{clip}.mp4", question, (Segment(0, 1),), None)


SAMPLES = tuple(sample(row, clip) for row, clip in enumerate(CLIP_OF_ROW))


def answer(
    folder: Path,
    output: Path,
    *,
    samples: Sequence[BenchmarkSample] = SAMPLES,
    identity: dict[str, Any] = IDENTITY,
    watch: Callable[[Policy], None] = lambda policy: None,
    progress: Callable[[int, int, str], None] = lambda num_done, num_all, state: None,
    told: dict[str, Any] | None = None,
    **changed: Any,
) -> Path:
    """Answer with the checkpoint, once `watch` has had it.

    `told` are further arguments of `predict`, `changed` are settings that differ.
    """

    def load() -> Policy:
        policy = load_pretrained(path=str(folder / "checkpoint"))
        watch(policy)
        return policy

    settings = {
        "batch_size": 3,
        "max_new_tokens": 24,
        "max_context_tokens": 512,
        "num_workers": 0,
        "timeout_s": 60,
        "feature_cache_mib": 8,
    }
    told = {"asking": asking_of(folder)} | (told or {})
    return predict(
        samples,
        policy_factory=load,
        settings=PredictSettings(**{**settings, **changed}),
        identity=identity,
        video_root=folder / "clips",
        budget=BUDGET,
        output=output,
        progress=progress,
        **told,
    )


def answer_shard(folder: Path, output: Path, shard: Shard) -> None:
    """Answer one shard."""
    torch.set_num_threads(1)
    answer(folder, output, shard=shard, num_workers=1)


def answer_and_die_after(folder: Path, output: Path, num_samples: int) -> None:
    """Answer with a decoding worker, and die when so many samples are answered."""
    torch.set_num_threads(1)

    def die(num_done: int, num_all: int, state: str) -> None:
        if num_done >= num_samples:
            os.kill(os.getpid(), signal.SIGKILL)

    answer(folder, output, progress=die, num_workers=1)


def answer_and_die_writing(folder: Path, output: Path, num_writes: int, share: float) -> None:
    """Answer, and die within that write to the shard's file (the header is the first), when `share` of it is done."""
    torch.set_num_threads(1)
    written, write = [], os.write

    def die_half_way(descriptor: int, data: bytes) -> int:
        if "shard_" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            return write(descriptor, data)
        written.append(data)
        if len(written) < num_writes:
            return write(descriptor, data)
        write(descriptor, data[: int(share * len(data))])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    os.write = die_half_way
    answer(folder, output)


def exit_codes_of(*calls: tuple[Callable[..., Any], tuple], timeout_s: float = 240) -> list[int | None]:
    """Run each call in a process of its own, all at once; an exit code is -9 for a process that was killed.

    They are forks of a fresh process that has imported everything and has no threads, so that this is paid for once.
    """
    context = multiprocessing.get_context("forkserver")
    receiving, sending = context.Pipe(duplex=False)
    launcher = context.Process(target=_fork_each, args=(calls, sending, timeout_s))
    launcher.start()
    codes = receiving.recv() if receiving.poll(timeout_s + 60) else [None] * len(calls)
    launcher.join(10)
    launcher.kill()
    return codes


def _fork_each(calls: Sequence[tuple[Callable[..., Any], tuple]], sending: Any, timeout_s: float) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=target, args=args) for target, args in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout_s)
    sending.send([process.exitcode for process in processes])
    for process in processes:
        process.kill()


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The lines below the header."""
    return [json.loads(line) for line in file.read_text().splitlines()[1:]]


def counts_of(output: Path) -> dict[str, int]:
    """How often videos were decoded and encoded."""
    return json.loads((output / "decoding.json").read_text())
