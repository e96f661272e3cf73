"""What happens in an annotated event, in words: read off an annotation, or said by a template where that is silent."""

import re
from collections.abc import Sequence

from museg.data.examples import GroundingExample
from museg.dialogue.demonstrations import subject_of
from museg.dialogue.et_bench_answers import chosen_letter
from museg.dialogue.event_tokens import EVENT_TOKEN, GAP_TOKEN
from museg.dialogue.prompts import without_markers
from museg.temporal.segments import Segment

MAX_DIFFERENCE_S = 0.5
"""Times in an answer are rounded, at most to whole seconds."""
TEMPLATES = {
    "vhd": "a highlight of the video",
    "evs": "a part that sums up the video",
    "tvc": "an event of the video",
    "dvc": "an event of the video",
    "slc": "a step of the activity",
}
"""Task to what is said of an event where nothing else is known; our words."""
OTHERWISE = "the moment that the question asks for"
CONCLUDING_TASK, CONCLUSION = "gvq", "Therefore, the answer is ({letter})."
"""The task whose questions have options, and how the last caption ends there: as evaluation reads it."""

_TIME = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)(?:\s*(?:-|to)\s*\d+(?:\.\d+)?)?\s*s(?:ec(?:ond)?s?)?\b")
_LETTER = re.compile(r"[^\W\d_]")


def captions_of(example: GroundingExample) -> tuple[str, ...]:
    """What happens in each target of an example, in their order: as annotated, else what its query puts in quotes, else
    the template of its task. Where there are options the latter two end with that of the annotated answer."""
    if example.captions:
        return example.captions
    subject = subject_of(example.query)
    words = TEMPLATES.get(example.task, OTHERWISE) if subject == example.query else subject
    captions = (without_markers(words),) * len(example.targets)
    return _concluded(captions, example) if example.task == CONCLUDING_TASK else captions


def _concluded(captions: tuple[str, ...], example: GroundingExample) -> tuple[str, ...]:
    """Captions of which the one that is written last, that of the last event, names the option of the answer."""
    letter = chosen_letter(example.response or "")
    if letter is None or not captions:
        return captions
    last = max(range(len(captions)), key=lambda place: sorted(example.targets[place]))
    words = f"{captions[last].rstrip('. ')}. {CONCLUSION.format(letter=letter.upper())}"
    return (*captions[:last], words, *captions[last + 1 :])


def captions_before_tokens(answer: str) -> tuple[str, ...]:
    """The captions of an answer in which every one is closed by EVENT_TOKEN; blank ones are dropped.

    **Source:** pangzss/MeCo d3ed11b, meco/train/train.py, MultimodalDataset.
    """
    pieces = answer.replace(GAP_TOKEN, "").split(EVENT_TOKEN)
    return tuple(without_markers(piece.strip()) for piece in pieces if piece.strip())


def captions_beside_times(answer: str, targets: Sequence[Segment]) -> tuple[str, ...]:
    """The captions of an answer such as "2.5 - 4.8 seconds, he pours.": one behind each target's time.

    Empty unless the times told are the starts of `targets`, in that order, and words follow each.
    """
    times = list(_TIME.finditer(answer))
    starts_s = [float(time[1]) for time in times]
    if len(times) != len(targets) or any(
        abs(start_s - target.start_s) > MAX_DIFFERENCE_S for start_s, target in zip(starts_s, targets, strict=True)
    ):
        return ()
    ends = [*(time.start() for time in times[1:]), len(answer)]
    captions = [answer[time.end() : end].strip(" \t\r\n,;:-") for time, end in zip(times, ends, strict=True)]
    return tuple(map(without_markers, captions)) if all(map(_LETTER.search, captions)) else ()
