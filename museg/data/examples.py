"""One question about one video or picture, with the times or the words that answer it."""

from dataclasses import dataclass
from typing import Literal

from museg.temporal.segments import Segment

Media = Literal["video", "image"]


@dataclass(frozen=True, slots=True)
class GroundingExample:
    """A question and its ground truth; times are seconds from the start of the file."""

    example_id: str
    """Unique within a data set: annotation file stem, a colon, and the row's own idx."""
    video: str
    """Path of the clip, or of the picture, as the annotation writes it, relative to the video root."""
    query: str
    """The whole question put to the model."""
    targets: tuple[Segment, ...]
    """True segments in the order the annotation lists them, none where words are asked for; faults of the annotation
    are kept."""
    duration_s: float | None
    """Length of the clip where the annotation states one."""
    task: str
    """What kind of question it is: tvg (one segment asked for), tal (all segments asked for), another task of E.T.
    Instruct, or conversation (words asked for)."""
    source: str
    """The collection the clip belongs to, such as charades or hacs."""
    captions: tuple[str, ...] = ()
    """What happens in each of `targets`, in their order, in words that hold no control token; empty where the
    annotation does not tell (`museg.data.captions` knows what to say then)."""
    response: str | None = None
    """A reference answer in words that hold no control token, where the annotation has one."""
    media: Media = "video"
    """What lies at `video`: a clip, or a picture."""
