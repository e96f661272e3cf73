"""BLEU, METEOR, ROUGE-L, CIDEr and sentence similarity of predicted captions, each paired with one reference."""

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol

from museg.metrics.java_tools import MeteorProcess, tokenise
from museg.metrics.sentence_similarity import REMEDY, SentenceEncoder

BLEU_NAMES = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4")
CAPTION_SCORES = (*BLEU_NAMES, "METEOR", "ROUGE_L", "CIDEr", "SentSim")
MAX_CHARACTERS = 4_000
"""What is scored of a caption; 512 tokens, the published limit of a whole answer, make about 2,500."""

Pair = tuple[str, str]
"""A predicted caption and its reference."""


class PairedSimilarity(Protocol):
    """What compares sentences, such as `SentenceEncoder`."""

    def prime(self, texts: Iterable[str]) -> None:
        """Do at once what would be slow text by text."""

    def paired(self, first: Sequence[str], second: Sequence[str]) -> float:
        """Mean similarity of texts taken pair by pair."""


class CaptionScorer:
    """Scores lists of (prediction, reference) pairs, each list a corpus of its own.

    Captions are cut to MAX_CHARACTERS, made ASCII and tokenised before they are compared. `prime` does that, and the
    embedding, for many captions at once; captions not primed cost a run of Java for each list. What stands in for the
    tokenizer, METEOR or the encoder may be given. Close the scorer, or use it in a `with`, to end METEOR's process.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, DVCEval, which calls pycocoevalcap.
    """

    names = CAPTION_SCORES

    def __init__(
        self,
        similarity: PairedSimilarity | None = None,
        tokeniser: Callable[[Sequence[str]], Sequence[str]] = tokenise,
        meteor: Callable[[Sequence[str], Sequence[str]], float] | None = None,
    ) -> None:
        self._similarity = SentenceEncoder() if similarity is None else similarity
        self._tokenise = tokeniser
        self._meteor_process = MeteorProcess()
        self._meteor = meteor or self._meteor_process
        self._tokens: dict[str, str] = {}
        self._known: dict[tuple[Pair, ...], dict[str, float]] = {}

    def prime(self, captions: Iterable[str]) -> None:
        """Tokenise and embed all captions that were not seen before."""
        unseen = sorted({readable(caption) for caption in captions} - self._tokens.keys())
        if unseen:
            self._tokens.update(zip(unseen, self._tokenise(unseen), strict=True))
            self._similarity.prime(self._tokens[caption] for caption in unseen)

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, float]:
        """Name (one of `names`) -> score of the corpus that `pairs` make; at least one pair."""
        key = tuple(pairs)
        if key not in self._known:
            self.prime(caption for pair in pairs for caption in pair)
            predictions, references = (
                [self._tokens[readable(caption)] for caption in side] for side in zip(*pairs, strict=True)
            )
            scores = overlap_scores(predictions, references)
            scores["METEOR"] = self._meteor(predictions, references)
            scores["SentSim"] = self._similarity.paired(predictions, references)
            self._known[key] = scores
        return self._known[key]

    def close(self) -> None:
        """End METEOR's process."""
        self._meteor_process.close()

    def __enter__(self) -> "CaptionScorer":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def readable(caption: str) -> str:
    """A caption as ASCII on one line: blanks stand for all other characters and for control characters.

    The published script replaces what is not ASCII and newlines; a tab or a form feed would part a line as well.
    """
    return "".join(letter if " " <= letter <= "~" else " " for letter in caption[:MAX_CHARACTERS])


def overlap_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU, ROUGE-L and CIDEr of tokenised captions taken together as one corpus."""
    bleu, rouge, cider = _scorers()
    references_by_pair = {index: [reference] for index, reference in enumerate(references)}
    predictions_by_pair = {index: [prediction] for index, prediction in enumerate(predictions)}
    bleu_scores, _ = bleu.compute_score(references_by_pair, predictions_by_pair, verbose=0)
    rouge_score, _ = rouge.compute_score(references_by_pair, predictions_by_pair)
    cider_score, _ = cider.compute_score(references_by_pair, predictions_by_pair)
    named = dict(zip(BLEU_NAMES, map(float, bleu_scores), strict=True))
    return {**named, "ROUGE_L": float(rouge_score), "CIDEr": float(cider_score)}


def _scorers() -> tuple[Any, Any, Any]:
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as error:
        raise ValueError(f"caption scores need the package pycocoevalcap: {REMEDY}") from error
    return Bleu(4), Rouge(), Cider()
