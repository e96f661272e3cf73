"""What stands in for the sentence encoder and for Java where their real numbers do not matter."""

from collections.abc import Iterable, Sequence

import numpy as np

from museg.metrics.caption_scores import CaptionScorer


class WordOverlap:
    """Share of common words, in float32: the stand-in for a sentence encoder with which reference scores were made."""

    def __init__(self) -> None:
        self.primed: set[str] = set()

    def prime(self, texts: Iterable[str]) -> None:
        self.primed |= set(texts)

    def paired(self, first: Sequence[str], second: Sequence[str]) -> float:
        return sum(float(self.between(*pair)) for pair in zip(first, second, strict=True)) / len(first)

    @staticmethod
    def between(one: str, other: str) -> np.float32:
        words, others = set(one.lower().split()), set(other.lower().split())
        return np.float32(len(words & others) / len(words | others) if words | others else 0)


def lower_case_words(texts: Sequence[str]) -> list[str]:
    """Words without full stops and commas."""
    return [" ".join(text.lower().replace(".", " ").replace(",", " ").split()) for text in texts]


def share_of_equal_captions(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Pairs of equal captions, as a share."""
    return sum(map(str.__eq__, predictions, references)) / len(predictions)


def scorer_without_java() -> CaptionScorer:
    return CaptionScorer(WordOverlap(), lower_case_words, share_of_equal_captions)
