"""Questions about times, as they are put to a model that writes events instead: without the form asked for times in."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EventQuestion:
    """What becomes of the questions of one task, in training as in evaluation.

    until: the question ends before these words, where it has them; None: it is asked as a whole.
    then: what is asked behind it, on a line of its own; "" for nothing.
    """

    until: str | None = None
    then: str = ""

    def of(self, question: str) -> str:
        """The question as it is put."""
        kept = question if self.until is None else question.partition(self.until)[0]
        return "\n".join(filter(None, (kept.strip(), self.then.strip())))
