"""Which parts of a model a phase trains."""

from dataclasses import dataclass, fields
from typing import Literal

Rows = Literal["all", "new_rows", "none"]
ALL, NEW_ROWS, NONE = "all", "new_rows", "none"


@dataclass(frozen=True)
class TrainedParts:
    """Parts by name; what is not trained keeps its values.

    vision: the tower; projector: what joins it to the decoder; language: the decoder's layers and last norm, or the
    adapter on them where there is one.
    embeddings: the matrices at the decoder's input and output, all their rows or those of tokens that a method added.
    heads: what a method trains beside the model.
    """

    vision: bool
    projector: bool
    language: bool
    embeddings: Rows
    heads: bool

    def __post_init__(self) -> None:
        for name in ("vision", "projector", "language", "heads"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"trains.{name} must be true or false, given {getattr(self, name)!r}")
        if self.embeddings not in (ALL, NEW_ROWS, NONE):
            raise ValueError(f"trains.embeddings must be {ALL}, {NEW_ROWS} or {NONE}, given {self.embeddings!r}")
        if not (self.trains_model or self.heads):
            raise ValueError(
                "trains: at least one part must be trained; leave `trains` out to train what the model says"
            )

    @property
    def trains_model(self) -> bool:
        """Whether any weight of the model itself is trained, or its adapter."""
        return self.vision or self.projector or self.language or self.embeddings != NONE

    @property
    def beyond_adapter(self) -> tuple[str, ...]:
        """The parts, by name, that train weights of the model itself where an adapter stands for its language."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        return tuple(name for name in ("vision", "projector", "embeddings") if named[name] not in (False, NONE))
