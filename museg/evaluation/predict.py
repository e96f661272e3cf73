"""A benchmark answered by a model, restartable at any moment and by any number of processes that share a folder."""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from museg.data.clips import ClipLoader
from museg.data.disk_cache import DiskCache
from museg.data.inventory import FileState, file_state
from museg.evaluation import merging
from museg.evaluation.answering import Answerer, Asking
from museg.evaluation.prediction_file import Record, ShardFile, as_json
from museg.evaluation.run_folder import version_of
from museg.evaluation.samples import BenchmarkSample
from museg.evaluation.shards import Shard, plan_batches
from museg.evaluation.unreadable import (
    is_absent,
    is_unreadable,
    refuse_absent,
    settled,
    still_unreadable,
    with_cause,
)
from museg.files import write_whole
from museg.policy.loading import Policy
from museg.policy.rollout import RolloutSettings
from museg.video.budget import FrameBudget
from museg.video.decoding import Reader, read_video

STEPS_AHEAD = 2
"""Batches decoded while one is answered; a video whose questions fall into two of them is decoded once for both."""

Progress = Callable[[int, int, str], None]
"""Told the number of answered samples of this shard, of all its samples, and a few words."""

Batch = tuple[BenchmarkSample, ...]


@dataclass(frozen=True)
class PredictSettings:
    """How a model answers; only the first three can change an answer.

    Attributes:
        batch_size: questions answered together.
        max_new_tokens: longest completion.
        max_context_tokens: longest prompt and completion together; a longer prompt is a fault of its sample.
        num_workers: processes that decode videos; 0 decodes in this one, where no timeout is possible.
        timeout_s: seconds per video and decoder.
        feature_cache_mib: vision features kept in memory for further questions on the same video.
        feature_disk: where they are kept for other evaluations with the same vision weights, if anywhere.
        read: what reads a video, with or without a cache of frames.
        shard: (index, count) of this process among those that share the samples.
        allow_missing_videos: questions on videos that are not there are faults, instead of a reason not to begin or,
            where an earlier start allowed it, not to go on.
    """

    batch_size: int
    max_new_tokens: int
    max_context_tokens: int
    num_workers: int
    timeout_s: float
    feature_cache_mib: float
    feature_disk: DiskCache | None = None
    read: Reader = read_video
    shard: Shard = (0, 1)
    allow_missing_videos: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.feature_cache_mib < 0:
            raise ValueError(
                "batch_size must be at least 1 and feature_cache_mib at least 0, "
                f"got {self.batch_size} and {self.feature_cache_mib}"
            )

    @property
    def limits(self) -> RolloutSettings:
        """The token limits, as generation knows them."""
        return RolloutSettings(
            num_generations=1, max_new_tokens=self.max_new_tokens, max_context_tokens=self.max_context_tokens
        )


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def predict(
    samples: Sequence[BenchmarkSample],
    *,
    policy_factory: Callable[[], Policy],
    asking: Asking,
    settings: PredictSettings,
    identity: Mapping[str, Any],
    video_root: Path,
    budget: FrameBudget,
    output: Path,
    progress: Progress = lambda num_done, num_all, state: None,
    say: Callable[[str], None] = _tell,
    remedy: str = "Put them there.",
) -> Path:
    """Answer this shard's samples that nobody has answered yet, and merge the shards when none is missing.

    Writes below `output`: `predictions/shard_<i>_of_<n>.jsonl` batch by batch; then `predictions.jsonl` (a header, one
    line per sample in the order of `samples`), `quarantine.jsonl` (unreadable videos) and `decoding.json` (how often
    videos were decoded and encoded, restarts included). The same call after a kill, wherever it struck, ends with the
    same `predictions.jsonl`; with other shards or another batch size it goes on too. Questions on a video that
    could not be read are asked again when its file has changed since, and at every start when a decoder hung or died
    over it.

    Args:
        policy_factory: gives the model, on its device; called only when something is left to answer.
        asking: how questions are put, and what becomes of the answers.
        identity: JSON values that say what answers what (checkpoint, benchmark, dtype, device, code version). Together
            with what `asking` says of itself, budget, limits and the versions of torch and transformers they are the
            header.
        say: told, one sentence a call, what changed since the folder was begun and decides no answer.
        remedy: the sentence that tells a user where absent videos come from.

    Returns the path of `predictions.jsonl`, which is not there while `merging.missing_rows` names samples of other
    shards.

    Raises ValueError when `output` holds answers of another header, this shard is being answered by somebody else,
    videos to be asked about are not there (`allow_missing_videos`), or a batch is too large for the graphics card.
    """
    output = Path(output)
    header = header_of(identity, asking, settings, budget)
    merging.check_headers(output, header, say)
    plan = plan_batches(samples, settings.shard, settings.batch_size)
    if not settings.allow_missing_videos:
        refuse_absent(_needed_videos(plan, output, video_root), video_root, remedy)
    with ShardFile(merging.shard_path(output, "shard.jsonl", settings.shard), header) as shard_file:
        left, still = _left(plan, output, video_root)
        num_all, num_left = sum(map(len, plan)), sum(map(len, left))
        progress(num_all - num_left, num_all, "")
        if left:
            with _loader(still, settings, video_root, budget) as loader:
                answerer = Answerer(
                    policy_factory(),
                    asking,
                    settings.limits,
                    feature_cache_mib=settings.feature_cache_mib,
                    feature_disk=settings.feature_disk,
                )
                counts = _Counts(merging.shard_path(output, merging.DECODING, settings.shard), loader, answerer)
                for num_answered in _answer(left, loader, answerer, shard_file, counts):
                    progress(num_all - num_left + num_answered, num_all, counts.in_words())
    return merging.merge(output, samples, header)


def header_of(
    identity: Mapping[str, Any], asking: Asking, settings: PredictSettings, budget: FrameBudget
) -> dict[str, Any]:
    """What decides the answers, and what they were given with, as JSON values."""
    versions = {package: version_of(package) for package in ("torch", "transformers")}
    limits = {name: getattr(settings, name) for name in ("batch_size", "max_new_tokens", "max_context_tokens")}
    answering = {**limits, **asking.facts(), "budget": asdict(budget)}
    return as_json({**identity, "answering": answering, "versions": versions})


def _left(plan: Sequence[Batch], output: Path, video_root: Path) -> tuple[list[Batch], dict[str, Mapping[str, str]]]:
    """What is to be answered, and the videos that nobody needs to try again with the reasons."""
    written = merging.records(output)
    still = still_unreadable(written, video_root)
    return without(plan, settled(merging.newest(written), still)), still


def _needed_videos(plan: Sequence[Batch], output: Path, video_root: Path) -> list[str]:
    """The videos of what is to be answered, and of what an earlier start gave up because its video was not there."""
    written = merging.records(output)
    newest = merging.newest(written)
    given_up = {key for key, record in newest.items() if is_absent(record)}
    needed = without(plan, settled(newest, still_unreadable(written, video_root)) - given_up)
    return list(dict.fromkeys(sample.video for batch in needed for sample in batch))


def without(plan: Sequence[Batch], done: Collection[str]) -> list[Batch]:
    """The batches less the samples whose ids are in `done`; none of them empty."""
    left = (tuple(sample for sample in batch if sample.sample_id not in done) for batch in plan)
    return [batch for batch in left if batch]


def _answer(
    batches: Sequence[Batch], loader: ClipLoader, answerer: Answerer, shard_file: ShardFile, counts: "_Counts"
) -> Iterator[int]:
    """Answer batch after batch; yields the number of samples answered so far, all of them on the disk."""
    example_of = answerer.asking.example_of
    steps = ((number, [example_of(sample) for sample in batch]) for number, batch in enumerate(batches))
    before = {sample.video: file_state(loader.video_root, sample.video) for batch in batches for sample in batch}
    num_answered = 0
    for batch, decoded in zip(batches, loader.stream(steps), strict=True):
        counts.write()
        answers = zip(batch, answerer.answer(batch, decoded.clips), strict=True)
        shard_file.append([_explained(record, sample.video, loader, before) for sample, record in answers])
        counts.write()
        num_answered += len(batch)
        yield num_answered


def _explained(record: Record, video: str, loader: ClipLoader, before: Mapping[str, FileState | None]) -> Record:
    """The record, with the cause where the video could not be read."""
    if not is_unreadable(record):
        return record
    reasons, is_undecided = loader.quarantine.reasons(video), video in loader.undecided
    return with_cause(record, video, loader.video_root, before[video], reasons, is_undecided=is_undecided)


def _loader(
    still: Mapping[str, Mapping[str, str]], settings: PredictSettings, video_root: Path, budget: FrameBudget
) -> ClipLoader:
    """Decoding ahead in workers; the videos that are `still` unreadable are not tried."""
    loader = ClipLoader(
        budget,
        video_root,
        num_workers=settings.num_workers,
        timeout_s=settings.timeout_s,
        steps_ahead=STEPS_AHEAD,
        quarantine_file=Path(os.devnull),  # what cannot be read stands in the answers
        writes_quarantine=False,
        read=settings.read,
    )
    for video, reasons in still.items():
        loader.quarantine.add(video, [], reasons, step=0)
    return loader


class _Counts:
    """How often this shard decoded and encoded videos, kept in a file over restarts."""

    def __init__(self, file: Path, loader: ClipLoader, answerer: Answerer) -> None:
        self.file, self.loader, self.answerer = file, loader, answerer
        self.before = Counter(json.loads(file.read_bytes()) if file.exists() else {})

    def now(self) -> dict[str, int]:
        """The counts of all starts together."""
        return {
            "decoded": self.before["decoded"] + self.loader.num_decoded,
            "second_decoder": self.before["second_decoder"] + self.loader.num_by_second_decoder,
            "from_disk": self.before["from_disk"] + self.loader.num_from_disk,
            "encoded": self.before["encoded"] + self.answerer.features.num_encoded,
        }

    def write(self) -> None:
        """Bring the file up to date."""
        write_whole(self.file, json.dumps(self.now()) + "\n")

    def in_words(self) -> str:
        """For the line of progress."""
        now = self.now()
        further = {"from the disk": now["from_disk"], "unreadable": len(self.loader.quarantine)}
        words = [
            f"videos decoded: {now['decoded']}",
            *(f"{name}: {number}" for name, number in further.items() if number),
        ]
        return ", ".join(words)
