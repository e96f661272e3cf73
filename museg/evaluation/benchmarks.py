"""What a benchmark is: which file, how it is read, which rule scores it, how many samples it has and whose it is."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from museg.data.dataset import synthetic_data
from museg.evaluation.et_bench_annotations import read_et_bench, read_et_bench_subset
from museg.evaluation.grounding_annotations import (
    QUERY_SLOT,
    read_activitynet_captions,
    read_museg_rows,
    read_released_grounding,
)
from museg.evaluation.highlight_annotations import read_qvhighlights
from museg.evaluation.samples import BenchmarkSample

ANNOTATIONS_FOLDER = "annotations"
HELD_OUT = "held_out.jsonl"

RULES = ("released_tvg", "released_tal", "released_by_task", "et_bench", "moment_retrieval", "sentence_grounding")
"""How answers are scored: as the released grounding script does (always as one of its two tasks, or as each row says),
as E.T. Bench does, as moment retrieval, or by the field's measures alone."""

Progress = Callable[[int, int], None]
Samples = tuple[BenchmarkSample, ...]


@dataclass(frozen=True)
class BenchmarkSettings:
    """One benchmark; a description of its own in `conf/benchmark`."""

    name: str
    format: str
    """How its annotation file is read: a key of FORMATS."""
    rule: str
    """One of RULES."""
    distributed: str | None
    """The annotation file as it is distributed, below `annotations` of the data root; None where there is none."""
    annotations: str | None
    """A file that replaces it; then the number of rows is not checked."""
    num_rows: int | None
    """Samples of the distributed file; None where that is unknown."""
    question: str
    """What is asked where the annotation holds a description: `{query}` stands for it."""
    video_folder: str
    """Where its videos are, below the data root."""
    video_root: str | None
    """A folder that replaces it."""
    licence: str
    origin: str
    max_new_tokens: int
    """Longest answer."""
    max_context_tokens: int
    """Prompt and answer together."""
    distributed_subset: str | None = None
    """et_bench_subset: the distributed file that names its samples."""
    subset: str | None = None
    """A file that replaces it."""
    clips: Mapping[str, Any] | None = None
    """synthetic: the arguments of `museg.data.dataset.synthetic_data`, which draws the clips."""

    def __post_init__(self) -> None:
        for field, options in (("format", FORMATS), ("rule", RULES)):
            if getattr(self, field) not in options:
                raise ValueError(f"benchmark.{field} must be one of {', '.join(options)}, not {getattr(self, field)}")
        if QUERY_SLOT not in self.question:
            raise ValueError(f"benchmark.question must contain {QUERY_SLOT}, given {self.question!r}")
        if self.annotations is None and self.distributed is None and self.clips is None:
            raise ValueError(f"benchmark {self.name} has no file of its own: set benchmark.annotations=FILE")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that was read."""

    settings: BenchmarkSettings
    file: Path
    sha256: str
    """Of the annotation file (and of the file that chooses the subset, one after the other)."""
    samples: Samples
    """In annotation order."""
    video_root: Path
    unasked: Samples = ()
    """Samples of the annotation file that a subset passes over."""


def read_benchmark(settings: BenchmarkSettings, data_root: Path, progress: Progress | None = None) -> Benchmark:
    """Read the annotations below `data_root`, or the file that replaces them.

    `progress` hears of clips that are drawn (`synthetic`). Raises ValueError for a missing file, for everything that is
    wrong with a file, and for a distributed file with another number of rows than it should have.
    """
    file, video_root = _located(settings, Path(data_root), progress)
    files = [_existing(file, settings, "annotations", data_root)]
    if settings.format == "et_bench_subset":
        chooser = _placed(settings.subset, settings.distributed_subset, Path(data_root))
        files.append(_existing(chooser, settings, "subset", data_root))
    samples, unasked = FORMATS[settings.format](settings, *files)
    if not samples:
        raise ValueError(f"{file} holds no rows; give a file with at least one")
    is_distributed = settings.annotations is None and settings.subset is None
    if is_distributed and settings.num_rows not in (None, len(samples)):
        raise ValueError(
            f"{file} gives {len(samples)} samples, but {settings.name} has {settings.num_rows}: fetch the file again "
            f"({_fetch(settings, data_root)}), or name your own with benchmark.annotations=FILE, which is not counted"
        )
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return Benchmark(settings, file, digest, samples, video_root, unasked)


def _located(settings: BenchmarkSettings, data_root: Path, progress: Progress | None) -> tuple[Path, Path]:
    """The annotation file and the folder of the videos; drawn clips are made where they are not there yet."""
    folder = data_root / settings.video_folder
    if settings.clips is not None and settings.annotations is None:
        arguments = {key: value for key, value in settings.clips.items() if not key.startswith("_")}
        folder = synthetic_data(**arguments, progress=progress).video_root
        file = folder / HELD_OUT
    else:
        file = _placed(settings.annotations, settings.distributed, data_root)
    return file, folder if settings.video_root is None else Path(settings.video_root)


def _placed(own: str | None, distributed: str | None, data_root: Path) -> Path:
    return data_root / ANNOTATIONS_FOLDER / str(distributed) if own is None else Path(own)


def _existing(file: Path, settings: BenchmarkSettings, key: str, data_root: Path) -> Path:
    """`file`, or ValueError where it is not: `benchmark.<key>` names another."""
    if file.is_file():
        return file
    if getattr(settings, key) is not None:
        raise ValueError(f"benchmark.{key} names {file}, which is not a file; give the path of an annotation file")
    raise ValueError(
        f"annotation file {file} of {settings.name} does not exist; fetch it with {_fetch(settings, data_root)}, "
        f"or name a file with benchmark.{key}=FILE"
    )


def _fetch(settings: BenchmarkSettings, data_root: Path) -> str:
    return f"python -m museg.commands.prepare benchmark={settings.name} root={data_root}"


def _released(settings: BenchmarkSettings, file: Path) -> Samples:
    return read_released_grounding(file, "tvg" if settings.rule == "released_tvg" else "tal")


def _museg_rows(settings: BenchmarkSettings, file: Path) -> Samples:
    return read_museg_rows(file)


def _whole(read: Callable[[BenchmarkSettings, Path], Samples]) -> Callable[..., tuple[Samples, Samples]]:
    """The reader of a format in which every sample of the file is asked."""
    return lambda settings, file: (read(settings, file), ())


FORMATS: dict[str, Callable[..., tuple[Samples, Samples]]] = {
    "released_grounding": _whole(_released),
    "et_bench": _whole(lambda settings, file: read_et_bench(file)),
    "et_bench_subset": lambda settings, file, subset: read_et_bench_subset(file, subset),
    "qvhighlights": _whole(lambda settings, file: read_qvhighlights(file, settings.question)),
    "activitynet_captions": _whole(lambda settings, file: read_activitynet_captions(file, settings.question)),
    "museg_jsonl": _whole(_museg_rows),
    "synthetic": _whole(_museg_rows),
}
"""Format -> reader of the samples that are asked and of those that are not, called with the settings and the file
(et_bench_subset: both files)."""
