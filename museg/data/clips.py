"""Clips decoded ahead of training in worker processes that may hang or die without taking the run with them.

Each clip is decoded by decord, then, should that fail, time out or crash, by PyAV in a new task, a picture by Pillow;
one that none of them reads is quarantined and its examples are left out of their step, never replaced by others.
"""

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from pebble import ProcessPool

from museg.data.clip_decoding import ClipCache, ClipDecoding, ClipFile, InlineTask, Task
from museg.data.dataset import resolve_video
from museg.data.examples import GroundingExample
from museg.data.frame_cache import CachedVideo
from museg.data.quarantine import Quarantine
from museg.files import identity_of
from museg.video.budget import FrameBudget
from museg.video.decoding import Reader, SampledVideo
from museg.video.pictures import decoders_of, read_media


@dataclass(frozen=True, slots=True)
class LoadedClip:
    """An example with its frames; `position` is its place among the examples asked for in the step."""

    example: GroundingExample
    position: int
    video: SampledVideo


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The readable clips of one step in the order asked for; `num_asked` counts the unreadable ones too."""

    global_step: int
    clips: list[LoadedClip]
    num_asked: int


class ClipLoader:
    """Decodes the clips of coming steps while the current one trains.

    `num_workers` processes (0: in this process, where no timeout is possible), `timeout_s` seconds per clip and
    decoder, `steps_ahead` steps in flight beyond the current one, up to `cache_mib` MiB of decoded clips kept for later
    steps. What is loaded does not depend on any of these. `read` is what a worker calls. Of several processes with one
    `quarantine_file` only one may have `writes_quarantine`.
    """

    def __init__(
        self,
        budget: FrameBudget,
        video_root: Path,
        *,
        num_workers: int,
        timeout_s: float,
        steps_ahead: int,
        quarantine_file: Path,
        writes_quarantine: bool = True,
        cache_mib: float = 0,
        read: Reader = read_media,
    ) -> None:
        if num_workers < 0 or steps_ahead < 0 or cache_mib < 0 or not timeout_s > 0:
            raise ValueError(
                "ClipLoader needs num_workers, steps_ahead and cache_mib >= 0 and timeout_s > 0, got "
                f"num_workers={num_workers}, steps_ahead={steps_ahead}, cache_mib={cache_mib}, timeout_s={timeout_s}"
            )
        self.budget, self.video_root, self.read = budget, Path(video_root), read
        self.num_workers, self.timeout_s, self.steps_ahead = num_workers, timeout_s, steps_ahead
        self.quarantine = Quarantine.load(quarantine_file, writes=writes_quarantine)
        self.undecided: set[str] = set()
        """Videos quarantined by this loader of which a decoder hung or died: another try may read them."""
        self.num_decoded = 0
        self.num_by_second_decoder = 0
        self.num_from_disk = 0
        self._has_told = False
        self._cache = ClipCache(int(cache_mib * 2**20))
        self._pool: ProcessPool | None = None

    def stream(self, plan: Iterable[tuple[int, Sequence[GroundingExample]]]) -> Iterator[StepBatch]:
        """Yield the steps of `plan` (step number, its examples) in order, decoding the following ones meanwhile.

        A thread hands them in, because a step should not wait for that either: it takes as long as a small clip.
        """
        plan = iter(plan)
        window: deque[tuple[int, Sequence[GroundingExample], list[ClipDecoding]]] = deque()
        under_way: WeakValueDictionary[ClipFile, ClipDecoding] = WeakValueDictionary()

        def look_ahead(num_steps: int) -> None:
            for decoding in list(under_way.values()):
                decoding.advance()
            for step, examples in islice(plan, num_steps - len(window)):
                window.append((step, examples, [self._start(under_way, example) for example in examples]))

        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(look_ahead, 1 + self.steps_ahead)
            try:
                while True:
                    # what goes wrong further ahead is told when the steps before it are done
                    if ahead.exception() is None and not window:
                        look_ahead(1)
                    if not window:
                        return ahead.result()
                    step, examples, decodings = window.popleft()
                    batch = self._collect(step, examples, decodings)
                    if ahead.exception() is None:
                        ahead = thread.submit(look_ahead, self.steps_ahead)
                    yield batch
            finally:
                thread.shutdown()
                for decoding in list(under_way.values()):
                    decoding.cancel()

    @property
    def counts(self) -> dict[str, int]:
        """Clips decoded, those that needed the second decoder, those whose frames were kept on disk, and what is
        quarantined, since this loader began."""
        return {
            "decoded": self.num_decoded,
            "second_decoder": self.num_by_second_decoder,
            "from_disk": self.num_from_disk,
            **{f"quarantined_{name}": number for name, number in self.quarantine.counts.items()},
        }

    def close(self) -> None:
        """End the worker processes; tasks under way are dropped."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def __enter__(self) -> "ClipLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, under_way: WeakValueDictionary, example: GroundingExample) -> ClipDecoding:
        file = self._file_of(example)
        decoding = under_way.get(file)
        if decoding is None:
            decoding = under_way[file] = self._new_decoding(file)
        return decoding

    def _file_of(self, example: GroundingExample) -> ClipFile:
        try:
            path = Path(os.path.realpath(resolve_video(self.video_root, example.video)))
        except ValueError as error:
            return ClipFile(example.media, example.video, None, str(error))
        try:
            return ClipFile(example.media, example.video, path, identity_of(path))
        except OSError:
            return ClipFile(example.media, example.video, path, None)

    def _new_decoding(self, file: ClipFile) -> ClipDecoding:
        if file.video in self.quarantine:
            return ClipDecoding.failed(self.quarantine.reasons(file.video))
        if (clip := self._cache.get(file)) is not None:
            return ClipDecoding.finished(clip)
        if file.path is None:
            return ClipDecoding.failed({"path": file.state})
        submit = partial(self._submit, file.path)
        return ClipDecoding(submit, decoders_of(file.media == "image"), self.timeout_s, file)

    def _submit(self, path: Path, decoder: str) -> Task:
        if self.num_workers == 0:
            return InlineTask(partial(self.read, path, self.budget, decoder))
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            self._pool = ProcessPool(self.num_workers, initializer=_start_worker, context=context)
        return self._pool.schedule(self.read, args=(path, self.budget, decoder), timeout=self.timeout_s)

    def _collect(self, step: int, examples: Sequence[GroundingExample], decodings: list[ClipDecoding]) -> StepBatch:
        clips = []
        for position, (example, decoding) in enumerate(zip(examples, decodings, strict=True)):
            is_new = not decoding.was_received
            video = decoding.wait()
            if video is None:
                asking = [other.example_id for other in examples if other.video == example.video]
                self.quarantine.add(example.video, asking, decoding.reasons, step)
                if decoding.is_undecided:
                    self.undecided.add(example.video)
                continue
            if is_new:
                self._count(video, by_second_decoder=bool(decoding.reasons))
                if self._file_of(example) == decoding.file:  # else it may show what came in its place meanwhile
                    self._cache.put(decoding.file, video)
            clips.append(LoadedClip(example, position, video))
        return StepBatch(step, clips, num_asked=len(examples))

    def _count(self, video: SampledVideo, *, by_second_decoder: bool) -> None:
        """Note where the frames came from; say once when they could not be kept."""
        is_cached = isinstance(video, CachedVideo)
        if is_cached and video.is_from_disk:
            self.num_from_disk += 1
            return
        self.num_decoded += 1
        self.num_by_second_decoder += by_second_decoder
        if is_cached and video.trouble and not self._has_told:
            self._has_told = True
            print(f"warning: decoded frames cannot be kept, so each is decoded again: {video.trouble}", file=sys.stderr)


def _start_worker() -> None:
    torch.set_num_threads(1)
    # A worker that hangs in a decoder would outlive a run that is killed.
    threading.Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
