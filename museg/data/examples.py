"""One question about one video with the times that answer it."""

from dataclasses import dataclass

from museg.temporal.segments import Segment


@dataclass(frozen=True, slots=True)
class GroundingExample:
    """A grounding question and its ground truth, in seconds from the start of the file."""

    example_id: str
    """Unique within a data set: annotation file stem, a colon, and the row's own idx."""
    video: str
    """Path of the clip as the annotation writes it, relative to the video root."""
    query: str
    """The whole question put to the model."""
    targets: tuple[Segment, ...]
    """True segments in the order the annotation lists them; faults of the annotation are kept."""
    duration_s: float | None
    """Length of the clip where the annotation states one."""
    task: str
    """tvg (one segment asked for) or tal (all segments asked for)."""
    source: str
    """The collection the clip belongs to, such as charades or hacs."""
