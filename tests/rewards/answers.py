"""Responses whose answer is a given list of segments."""

from collections.abc import Sequence

from museg.dialogue.responses import ParsedResponse, read_strict
from museg.temporal.segments import Segment


def answer(segments: Sequence[Segment], reasoning: str = "look") -> ParsedResponse:
    """A well-formed response that gives `segments` with all their digits."""
    body = " ".join(f"{float(start_s)!r}-{float(end_s)!r}" for start_s, end_s in segments)
    return read_strict(f"<think>{reasoning}</think><answer>{body}</answer>")


UNREADABLE = read_strict("<think>look</think><answer>soon</answer>")
