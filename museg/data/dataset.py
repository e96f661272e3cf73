"""The examples of a run: annotation files in training order, held-out examples, and where their videos are."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from museg.data.examples import GroundingExample
from museg.data.readers import ReadReport, read_museg_jsonl
from museg.dialogue.demonstrations import subject_of
from museg.dialogue.event_questions import EventQuestion
from museg.phases.batches import derive_seed
from museg.video.synthetic import make_synthetic, settings_hash
from museg.video.synthetic_layout import SyntheticSettings
from museg.video.synthetic_words import CAPTION

Order = Literal["by_step", "by_phase"]

VIDEOS_FOLDER = "videos"
MOST_LOOKED_FOR = 2000
"""Clips of a data set that are looked for before training; evenly chosen where there are more."""


@dataclass(frozen=True)
class GroundingData:
    """What a run trains on and is judged by; no video occurs both in `files` and in `held_out`."""

    files: tuple[tuple[GroundingExample, ...], ...]
    """Training examples, one tuple per annotation file, in the order the files are used."""
    held_out: tuple[GroundingExample, ...]
    video_root: Path
    order: Order
    """by_step: the files follow the optimizer step; by_phase: each phase has its own file."""
    num_annotated: tuple[int, ...] | None = None
    """Rows of each annotation file, held-out ones included, so that holding out moves no file to another step; None:
    none of their rows are held out."""
    kept_faults: Mapping[str, int] = field(default_factory=dict)
    """Faults of the annotations (names: museg.data.readers.FAULTS) to the number of rows that were kept with them, over
    all files, held-out ones included."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why rows of the annotations are no examples, to their number over all files."""
    questions: Mapping[str, EventQuestion] = field(default_factory=dict)
    """By task, how a method asks that learns to write events instead of times; other tasks it asks as they stand."""

    def __post_init__(self) -> None:
        if self.order not in ("by_step", "by_phase"):
            raise ValueError(f"order must be by_step or by_phase, got {self.order!r}")
        if not self.files or not all(self.files):
            raise ValueError("every training file needs at least one example; one is empty or was held out completely")
        if not self.video_root.is_dir():
            raise ValueError(f"video_root {self.video_root} is not a folder; set it to where the videos are")

    def asking_for_events(self) -> "GroundingData":
        """The same with the `questions` put."""
        files = tuple(tuple(map(self.asked_for_events, file)) for file in self.files)
        return replace(self, files=files, held_out=tuple(map(self.asked_for_events, self.held_out)))

    def asked_for_events(self, example: GroundingExample) -> GroundingExample:
        """An example with its question as `questions` has it."""
        question = self.questions.get(example.task)
        return example if question is None else replace(example, query=question.of(example.query))


def resolve_video(root: Path, relative: str) -> Path:
    """The file that an annotation's video path means under `root`, whether or not it exists.

    The released training files write `videos/charades/x.mp4`, the evaluation files `charades/x.mp4`; both mean the same
    clip, whether `root` is the folder `videos` itself or the one that holds it. Raises ValueError for a path that
    leaves the root: absolute, through `..`, or by a symbolic link.
    """
    written = PurePosixPath(relative)
    if not written.parts or "\0" in relative or written.is_absolute() or ".." in written.parts:
        raise ValueError(f"video path {relative!r} must be relative to the video root and stay inside it")
    candidates = [root / VIDEOS_FOLDER / clip_name(relative), root / clip_name(relative)]
    path = next((candidate for candidate in candidates if candidate.exists()), root / written)
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"video path {relative!r} leaves the video root {root} by a symbolic link")
    return path


def clip_name(video: str) -> str:
    """A clip's path without a leading `videos/`: the same for every way of writing it."""
    path = PurePosixPath(video)
    is_inside = path.parts[:1] == (VIDEOS_FOLDER,) and len(path.parts) > 1
    return str(path.relative_to(VIDEOS_FOLDER) if is_inside else path)


def hold_out(
    examples: Sequence[Sequence[GroundingExample]], share: float, seed: int
) -> tuple[tuple[tuple[GroundingExample, ...], ...], tuple[GroundingExample, ...]]:
    """Split off all examples of `share` of the videos (at least one video where `share` > 0), chosen by `seed`.

    Returns the remaining examples, file by file, and the held-out ones in file order.
    """
    if not 0 <= share < 1:
        raise ValueError(f"held_out_share must be at least 0 and below 1, got {share}")
    clips = sorted({clip_name(example.video) for file in examples for example in file})
    random.Random(derive_seed("hold_out", seed)).shuffle(clips)
    chosen = set(clips[: max(1, round(share * len(clips)))] if share > 0 else [])
    kept = tuple(tuple(example for example in file if clip_name(example.video) not in chosen) for file in examples)
    return kept, tuple(example for file in examples for example in file if clip_name(example.video) in chosen)


def museg_data(
    *,
    stage_1: str,
    stage_2: str,
    video_root: str,
    held_out_file: str | None,
    held_out_share: float,
    order: Order,
    seed: int,
) -> GroundingData:
    """The two released annotation files, read as they are; held out as for `jsonl_data`."""
    return data_from_files([stage_1, stage_2], video_root, held_out_file, held_out_share, order, seed)


def jsonl_data(
    *,
    train_file: str,
    held_out_file: str | None,
    held_out_share: float,
    video_root: str,
    order: Order,
    seed: int,
) -> GroundingData:
    """A user's own file in the released schema.

    Held-out examples come from `held_out_file`, or else are all examples of `held_out_share` of the videos. Raises
    ValueError when both are given, when a held-out video is also trained on, or when most videos are not found.
    """
    return data_from_files([train_file], video_root, held_out_file, held_out_share, order, seed)


def synthetic_data(
    *,
    root: str = "outputs/data/synthetic",
    order: Order = "by_step",
    progress: Callable[[int, int], None] | None = None,
    **settings: object,
) -> GroundingData:
    """Clips made here, once for each combination of `settings` (fields of SyntheticSettings), kept under `root`.

    What happens in a segment follows from the question, so captions are made up when the annotations are read.
    """
    known = [setting.name for setting in fields(SyntheticSettings)]
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"unknown setting of synthetic clips: {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = SyntheticSettings(**settings)
    folder = Path(root) / settings_hash(chosen)
    make_synthetic(chosen, folder, progress=progress)
    train, held_out = (read_museg_jsonl(folder / f"{split}.jsonl") for split in ("train", "held_out"))
    faults = sum_of([train.kept_faults, held_out.kept_faults])
    splits = (tuple(map(_with_captions, report.examples)) for report in (train, held_out))
    return GroundingData((next(splits),), next(splits), folder, order, kept_faults=faults)


def _with_captions(example: GroundingExample) -> GroundingExample:
    caption = CAPTION.replace("{object}", subject_of(example.query))
    return replace(example, captions=(caption,) * len(example.targets))


def data_from_files(
    train_files: Sequence[str],
    video_root: str,
    held_out_file: str | None,
    held_out_share: float,
    order: Order,
    seed: int,
    read: Callable[[Path], ReadReport] = read_museg_jsonl,
) -> GroundingData:
    """The annotation files as `read` reads them; what is held out, and errors, as for `jsonl_data`."""
    if held_out_file is not None and held_out_share > 0:
        raise ValueError(
            f"give either held_out_file ({held_out_file}) or held_out_share ({held_out_share}), not both; "
            "set held_out_share=0 to use the file"
        )
    reports = [read(Path(file)) for file in train_files]
    annotated = [report.examples for report in reports]
    train, held_out = hold_out(annotated, held_out_share, seed)
    if held_out_file is not None:
        reports.append(read(Path(held_out_file)))
        held_out = reports[-1].examples
    trained_on = {clip_name(example.video) for file in train for example in file}
    if shared := trained_on & {clip_name(example.video) for example in held_out}:
        raise ValueError(
            f"{len(shared)} video(s) of {held_out_file} are also trained on, such as {min(shared)}; "
            "remove them from one of the files"
        )
    faults, left_out = (sum_of(getattr(report, name) for report in reports) for name in ("kept_faults", "left_out"))
    data = GroundingData(train, held_out, Path(video_root), order, tuple(map(len, annotated)), faults, left_out)
    check_most_videos_exist(data.video_root, [example for file in (*data.files, data.held_out) for example in file])
    return data


def sum_of(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The numbers under each name, added up."""
    return dict(sum(map(Counter, counts), Counter()))


def check_most_videos_exist(root: Path, examples: Iterable[GroundingExample]) -> None:
    """A wrong root would put nearly every clip in quarantine; say so before training instead."""
    video_of = {clip_name(example.video): example.video for example in examples}
    names = sorted(video_of)
    looked_for = [video_of[name] for name in names[:: 1 + (len(names) - 1) // MOST_LOOKED_FOR]]
    missing = [video for video in looked_for if not _is_there(root, video)]
    if len(missing) > len(looked_for) / 2:
        raise ValueError(
            f"{len(missing)} of the {len(looked_for)} annotated videos are not there, the first is "
            f"{root / missing[0]}; set video_root to where at least half of them are"
        )


def _is_there(root: Path, video: str) -> bool:
    try:
        return resolve_video(root, video).exists()
    except ValueError:
        return False
