"""Making the data of one benchmark or data set ready: fetch, see what is there, copy, and tell what is left to do."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from museg.data.dataset import VIDEOS_FOLDER, clip_name, resolve_video
from museg.data.download import Progress
from museg.data.fetching import Records, download_path, fetch, is_unpacked, needed
from museg.data.inventory import Inventory, missing_videos, take_inventory
from museg.data.reencode import RECIPES, reencode_videos
from museg.data.sources import Preparation, Source

LOCK = ".prepare.lock"
CHECKS = "checks"


@dataclass(frozen=True)
class Annotated:
    """The videos that the annotations name, and the folder their paths start from."""

    videos: tuple[str, ...]
    video_root: Path

    def place(self, video: str) -> Path:
        """Where a video that is missing belongs."""
        return self.video_root / clip_name(video)


@dataclass
class Outcome:
    """What became of a preparation."""

    inventory: Inventory | None = None
    """None when the annotations could not be read."""
    problems_file: Path | None = None
    failures: list[str] = field(default_factory=list)
    """Why annotations or videos could not be fetched or copied, one sentence each."""
    by_hand: list[Source] = field(default_factory=list)
    """What lacks and must be fetched by hand."""
    copies: Path | None = None
    """The folder of the re-encoded copies."""

    @property
    def is_complete(self) -> bool:
        return self.inventory is not None and self.inventory.is_complete and not self.failures


def prepare(
    preparation: Preparation,
    root: Path,
    read_annotations: Callable[[], Annotated],
    *,
    reencode: str | None,
    check: bool,
    num_workers: int,
    timeout_s: float,
    progress: Progress | None = None,
) -> Outcome:
    """Fetch what lacks below `root`, then see whether every annotated video is there and (`check`) can be decoded.

    `reencode` names a recipe of RECIPES: copies go to `<root>/videos_<recipe>`. A source that fails does not keep the
    others from being fetched. Raises ValueError when somebody else prepares the same root.
    """
    outcome = Outcome()
    with _alone_in(root):
        records = Records(root)
        _fetch_annotations(preparation, root, records, outcome, progress)
        if unfetched(preparation, root):
            return outcome
        try:
            annotated = read_annotations()
            missing = missing_videos(annotated.video_root, annotated.videos)
        except ValueError as error:
            outcome.failures.append(str(error))
            return outcome
        lacking = needed(preparation.videos, [annotated.place(video) for video in missing], root)
        _fetch_videos(lacking, root, records, outcome, progress)
        outcome.inventory = _inventory(preparation, root, annotated, check, num_workers, timeout_s, progress)
        outcome.problems_file = root / CHECKS / f"{preparation.label}_problems.jsonl"
        outcome.inventory.write(outcome.problems_file)
        still_missing = [annotated.place(video) for video in outcome.inventory.missing]
        outcome.by_hand = [source for source in needed(lacking, still_missing, root) if source.by_hand]
        if reencode is not None:
            _reencode(reencode, root, annotated, outcome, num_workers, progress)
    return outcome


def unfetched(preparation: Preparation, root: Path) -> list[Source]:
    """The annotation sources that are not in their place."""
    return [source for source in preparation.annotations if not all(place.is_file() for place in source.places(root))]


@contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Two downloads into one file would spoil each other."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{root} is being prepared by another process; wait until it is done") from error
        yield


def _fetch_annotations(
    preparation: Preparation, root: Path, records: Records, outcome: Outcome, progress: Progress | None
) -> None:
    absent = unfetched(preparation, root)
    for source in preparation.annotations:
        # Files that are there are checked again, archives they came from are not.
        if source in absent or source.unpack is None:
            _try_to_fetch(source, root, records, outcome, progress)


def _fetch_videos(
    sources: Sequence[Source], root: Path, records: Records, outcome: Outcome, progress: Progress | None
) -> None:
    for source in sources:
        if source.by_hand is None and not is_unpacked(source, records):
            _try_to_fetch(source, root, records, outcome, progress)


def _try_to_fetch(source: Source, root: Path, records: Records, outcome: Outcome, progress: Progress | None) -> None:
    try:
        fetch(source, root, records, progress)
    except ValueError as error:
        here = download_path(source, root)
        outcome.failures.append(f"{source.name}: {error}. You may also put the file at {here} yourself and call again")


def _inventory(
    preparation: Preparation,
    root: Path,
    annotated: Annotated,
    check: bool,
    num_workers: int,
    timeout_s: float,
    progress: Progress | None,
) -> Inventory:
    if not check:
        videos = list(dict.fromkeys(annotated.videos))
        return Inventory(len(videos), tuple(missing_videos(annotated.video_root, videos)), {})
    return take_inventory(
        annotated.video_root,
        annotated.videos,
        root / CHECKS / preparation.label,
        num_workers=num_workers,
        timeout_s=timeout_s,
        progress=progress,
    )


def _reencode(
    recipe: str, root: Path, annotated: Annotated, outcome: Outcome, num_workers: int, progress: Progress | None
) -> None:
    """Copy every video that is there and readable to the same place below `videos_<recipe>`."""
    outcome.copies = root / f"{VIDEOS_FOLDER}_{recipe}"
    left_out = {*outcome.inventory.missing, *outcome.inventory.unreadable}
    sources = {resolve_video(annotated.video_root, video) for video in annotated.videos if video not in left_out}
    jobs = [(source, outcome.copies / source.relative_to(root / VIDEOS_FOLDER)) for source in sorted(sources)]
    failures = reencode_videos(jobs, RECIPES[recipe], num_workers=num_workers, progress=progress)
    outcome.failures += [f"{source}: not re-encoded, {reason}" for source, reason in sorted(failures.items())]
