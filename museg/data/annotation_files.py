"""Annotation files of instruction data: where one is, how it is read, which of its rows count."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from museg.data.examples import GroundingExample
from museg.data.instruction_readers import read_conversations, read_et_instruct
from museg.data.readers import ReadReport, report_of

FORMATS = ("conversations", "et_instruct")


@dataclass(frozen=True, kw_only=True)
class RowLimits:
    """Which rows count, by the length of their clip and of their answer; clips of untold length do.

    **Source:** pangzss/MeCo d3ed11b, meco/train/train.py, MultimodalDataset (which counts the words of all turns).
    """

    min_duration_s: float = 0.0
    max_duration_s: float | None = None
    max_words: int | None = None
    """Of the answer, or of all captions where it is captions alone."""

    def __post_init__(self) -> None:
        if self.max_duration_s is not None and self.max_duration_s < self.min_duration_s:
            raise ValueError(
                f"no clip lasts at least {self.min_duration_s} s and at most {self.max_duration_s} s; raise "
                "max_duration_s or lower min_duration_s"
            )

    def applied_to(self, report: ReadReport) -> ReadReport:
        """The report without the rows that do not count; they are added to those left out."""
        reasons = [self._against(example) for example in report.examples]
        kept = [example for example, reason in zip(report.examples, reasons, strict=True) if reason is None]
        left_out = Counter(report.left_out) + Counter(reason for reason in reasons if reason is not None)
        return report_of(kept, left_out)

    def _against(self, example: GroundingExample) -> str | None:
        if example.duration_s is not None and example.duration_s < self.min_duration_s:
            return "below_min_duration"
        if None not in (example.duration_s, self.max_duration_s) and example.duration_s > self.max_duration_s:
            return "above_max_duration"
        answer = " ".join(example.captions) if example.response is None else example.response
        return "above_max_words" if self.max_words is not None and len(answer.split()) > self.max_words else None


@dataclass(frozen=True, kw_only=True)
class AnnotationFile(RowLimits):
    """A file of one of FORMATS, and the folders of what its rows are about; all below the video root."""

    file: str
    format: str
    images: str = ""
    videos: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format not in FORMATS:
            raise ValueError(f"format of {self.file} must be one of {', '.join(FORMATS)}, not {self.format!r}")

    def read(self, root: Path) -> ReadReport:
        """The rows that count. Raises ValueError for what cannot be read."""
        path = root / self.file
        if self.format == "et_instruct":
            return self.applied_to(read_et_instruct(path, videos=self.videos))
        return self.applied_to(read_conversations(path, images=self.images, videos=self.videos))
