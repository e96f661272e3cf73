"""One clip on its way through the decoders, and the decoded clips kept in memory."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as DecodingTimeout
from pathlib import Path
from typing import NamedTuple, Protocol

from pebble import ProcessExpired

from museg.video.decoding import SampledVideo, UnreadableVideo


class ClipFile(NamedTuple):
    """Which file a video is now: one that takes its place, or is written anew, is another."""

    media: str
    video: str
    path: Path | None
    """Where it lies, all links followed; None for a video that may not be read."""
    state: tuple[int, ...] | str | None
    """Its identity, why it may not be read, or None where there is no file."""


class Task(Protocol):
    """What a worker pool returns for a clip handed to it."""

    def done(self) -> bool: ...

    def result(self) -> SampledVideo: ...

    def cancel(self) -> bool: ...


class InlineTask:
    """Stands for a task where there are no workers: runs when its result is asked for."""

    def __init__(self, decode: Callable[[], SampledVideo]) -> None:
        self.result = decode

    def done(self) -> bool:
        """Never before its result was asked for."""
        return False

    def cancel(self) -> bool:
        """Nothing has begun, so nothing is left to stop."""
        return True


class ClipDecoding:
    """The decoders still to try for one clip, what the tried ones said, and the frames once there are some.

    `submit` hands the clip to a decoder; `decoders` are tried in order, `timeout_s` is quoted in reasons.
    """

    def __init__(
        self,
        submit: Callable[[str], Task] | None,
        decoders: Sequence[str],
        timeout_s: float,
        file: ClipFile | None = None,
    ) -> None:
        self.video: SampledVideo | None = None
        self.reasons: dict[str, str] = {}
        self.is_undecided = False
        """Whether a decoder hung or died, which may be the machine's fault as well as the file's."""
        self.was_received = False
        self.file = file
        self._submit, self._untried, self._timeout_s = submit, list(decoders), timeout_s
        self._task: Task | None = None
        self._try_next()

    @classmethod
    def finished(cls, video: SampledVideo) -> "ClipDecoding":
        """A clip whose frames are known already."""
        decoding = cls(None, (), 0)
        decoding.video, decoding.was_received = video, True
        return decoding

    @classmethod
    def failed(cls, reasons: Mapping[str, str]) -> "ClipDecoding":
        """A clip that is known to be unreadable."""
        decoding = cls(None, (), 0)
        decoding.reasons, decoding.was_received = dict(reasons), True
        return decoding

    def advance(self) -> None:
        """Hand the clip to the next decoder if the one at work has failed; never waits."""
        if self._task is not None and self._task.done():
            self._settle()

    def wait(self) -> SampledVideo | None:
        """The frames, or None when every decoder failed."""
        while self._task is not None:
            self._settle()
        self.was_received = True
        return self.video

    def cancel(self) -> None:
        """Give the clip up; a worker that is busy with it is stopped."""
        if self._task is not None:
            self._task.cancel()

    def _try_next(self) -> None:
        self._decoder = self._untried.pop(0) if self._untried else None
        self._task = self._submit(self._decoder) if self._decoder else None

    def _settle(self) -> None:
        try:
            self.video, self._task = self._task.result(), None
            return
        except UnreadableVideo as error:
            reason = error.reason
        except DecodingTimeout:
            reason, self.is_undecided = f"no frames within {self._timeout_s:g} s, decoder stopped", True
        except ProcessExpired as error:
            reason, self.is_undecided = f"decoder process died (exit code {error.exitcode})", True
        self.reasons[self._decoder] = reason
        self._try_next()


class ClipCache:
    """The decoded clips used last, as many as fit in `max_bytes` of frames."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._num_bytes = 0
        self._clips: OrderedDict[ClipFile, SampledVideo] = OrderedDict()

    def get(self, file: ClipFile) -> SampledVideo | None:
        """The clip, or None where it is not held."""
        if file in self._clips:
            self._clips.move_to_end(file)
        return self._clips.get(file)

    def put(self, file: ClipFile, clip: SampledVideo) -> None:
        """Hold `clip`, dropping those not used for longest; one larger than the whole cache is not held."""
        if file in self._clips or clip.frames.nbytes > self.max_bytes:
            return
        self._clips[file] = clip
        self._num_bytes += clip.frames.nbytes
        while self._num_bytes > self.max_bytes:
            _, dropped = self._clips.popitem(last=False)
            self._num_bytes -= dropped.frames.nbytes
