"""E.T. Bench tasks answered with moments and a caption for each: dense captioning (dvc), step captioning (slc).

Shapes: P predicted moments, G true ones.
"""

import hashlib
import random
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from museg.dialogue.dense_captions import DenseCaptions, read_dense_captions
from museg.metrics.caption_scores import CAPTION_SCORES, CaptionScorer, Pair
from museg.metrics.et_bench_table import FAILED, EtBenchTable, five_decimals
from museg.metrics.grounding_scores import IOU_THRESHOLDS
from museg.metrics.overlaps import TIE_TOLERANCE, iou_table
from museg.metrics.sample_table import NOT_COUNTED, Means, SampleTable
from museg.temporal.segments import Segment

PRECISIONS = {threshold: f"precision@{threshold}" for threshold in IOU_THRESHOLDS}
RECALLS = {threshold: f"recall@{threshold}" for threshold in IOU_THRESHOLDS}
DETECTION = (*PRECISIONS.values(), *RECALLS.values())
VIDEO_KEY = "video_key"
"""Column: a number made from the video's name, equal for equal names."""
MAX_PROPOSALS = 1_000

UnmatchedWord = Callable[[str, float, int], str]
"""(video, threshold, index of the prediction) -> what a prediction without a match is compared with."""


def derived_word(video: str, threshold: float, index: int) -> str:
    """10 to 20 lower-case letters that depend on the arguments alone.

    The published script draws them from the global generator, in the order of a set of names, so that its sentence
    similarity differs in the third decimal from run to run.
    """
    generator = random.Random(f"{video!r} {threshold} {index}")
    return "".join(generator.choices(string.ascii_lowercase, k=generator.randint(10, 20)))


class EtBenchDenseCaptionTable(EtBenchTable):
    """dvc, slc: `F1@t` of moments and their mean `F1`; with `captions`, also the scores that it names.

    Answers that cannot be read, and all but the last readable one of a repeated video, are left out: of detection they
    lower recall and precision, of caption scores they are no part at all.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, dvc_eval, DVCEval.
    """

    def __init__(
        self, captions: CaptionScorer | None = None, unmatched_word: UnmatchedWord = derived_word, **options: Any
    ) -> None:
        self.caption_names = () if captions is None else CAPTION_SCORES
        super().__init__((*DETECTION, *self.caption_names, VIDEO_KEY), **options)
        self.captions = captions
        self.unmatched_word = unmatched_word

    def prime(self, texts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Tokenise and embed at once what the captions of these answers will be compared with."""
        if self.captions is not None:
            self.captions.prime(compared_captions(texts, rows, published_hits, self.unmatched_word))

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against the moments `row["tgt"]` and captions `row["g"]` of the video `row["video"]`."""
        self.add_found(position, read_proposals(text), row)

    def add_found(self, position: int, found: DenseCaptions | None, row: Mapping[str, Any]) -> None:
        """Score moments that need not be read; None for an answer that failed."""
        key = {
            VIDEO_KEY: float(
                int.from_bytes(hashlib.sha256(row["video"].encode("utf-8", "surrogatepass")).digest()[:6], "big")
            )
        }
        if found is None:
            return self.add_failure(position, False, dict.fromkeys(self.caption_names, NOT_COUNTED) | key)
        overlaps = published_overlaps(found.segments, row["tgt"])
        values = detection_scores({threshold: overlaps > threshold for threshold in IOU_THRESHOLDS})
        if self.captions is not None:
            pairs = caption_pairs(found, row, published_hits(found, row), self.unmatched_word)
            values |= caption_means(self.captions, pairs)
        self.add_scores(position, values | key)

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """As for every table; a row that a later one of its video replaces scores 0, its captions do not count."""
        positions, rows = super().table()
        key, failed = self.columns.index(VIDEO_KEY), self.columns.index(FAILED)
        last = {rows[index, key]: index for index in range(len(rows)) if not rows[index, failed]}
        replaced = np.ones(len(rows), dtype=bool)
        replaced[list(last.values())] = False
        rows[np.ix_(replaced, [self.columns.index(name) for name in DETECTION])] = 0.0
        rows[np.ix_(replaced, [self.columns.index(name) for name in self.caption_names])] = NOT_COUNTED
        return positions, rows

    def summarise(self, means: Means) -> dict[str, Any]:
        scores = detection_f1_scores(means)
        captions = {name: np.where(np.isnan(means[name]), 0.0, means[name]) for name in self.caption_names}
        return {name: five_decimals(value) for name, value in (scores | captions).items()}


class CorrectedDenseCaptionTable(SampleTable):
    """dvc, slc over all samples: `F1@t_all_samples`, `F1_all_samples`, and caption scores named alike.

    An answer that cannot be read scores 0 everywhere, repeated videos count, and an exact tie is a hit.
    """

    def __init__(self, captions: CaptionScorer | None = None, **options: Any) -> None:
        self.caption_names = () if captions is None else CAPTION_SCORES
        super().__init__((*DETECTION, *self.caption_names), **options)
        self.captions = captions

    def prime(self, texts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Tokenise and embed at once what the captions of these answers will be compared with."""
        if self.captions is not None:
            self.captions.prime(compared_captions(texts, rows, exact_hits, derived_word))

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against the moments `row["tgt"]` and captions `row["g"]` of the video `row["video"]`."""
        found = read_proposals(text)
        if found is None:
            return self.add(position, dict.fromkeys(self.columns, 0.0))
        hits = exact_hits(found, row)
        values = detection_scores(hits)
        if self.captions is not None:
            values |= caption_means(self.captions, caption_pairs(found, row, hits, derived_word))
        self.add(position, values)

    def summarise(self, means: Means) -> dict[str, Any]:
        scores = detection_f1_scores(means) | {name: means[name] for name in self.caption_names}
        return {f"{name}_all_samples": value for name, value in scores.items()}


Hits = Mapping[float, np.ndarray]
"""Threshold -> which predicted moment matches which true one, [P, G]."""


def read_proposals(text: str) -> DenseCaptions | None:
    """The first MAX_PROPOSALS moments of an answer; None when it cannot be read."""
    found = read_dense_captions(text)
    return found and DenseCaptions(found.segments[:MAX_PROPOSALS], found.captions[:MAX_PROPOSALS])


def published_overlaps(predicted: Sequence[Segment], targets: Sequence[Segment]) -> np.ndarray:
    """IoU as the published script has it, [P, G]: the union is never larger than the hull and never quite 0.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, DVCEval.iou.
    """
    one = np.asarray(predicted, dtype=np.float64)[:, None]
    other = np.asarray(targets, dtype=np.float64)[None]
    latest_end = np.maximum(one[..., 1], other[..., 1])
    with np.errstate(invalid="ignore"):  # an end beyond the range of floats: no overlap
        shared = np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0])
        hull = latest_end - np.minimum(one[..., 0], other[..., 0])
        lengths = other[..., 1] - other[..., 0] + one[..., 1] - one[..., 0]
        return np.fmax(shared, 0.0) / (np.fmin(hull, lengths) + 1e-8)


def published_hits(found: DenseCaptions, row: Mapping[str, Any]) -> Hits:
    """Matches of captions: an exact tie is one. Detection, in the published script, misses there."""
    overlaps = published_overlaps(found.segments, row["tgt"])
    return {threshold: overlaps >= threshold for threshold in IOU_THRESHOLDS}


def exact_hits(found: DenseCaptions, row: Mapping[str, Any]) -> Hits:
    """Matches by float64 IoU, exact ties included; an undefined IoU is none."""
    overlaps = np.nan_to_num(iou_table(found.segments, row["tgt"], np.float64))
    return {threshold: overlaps >= threshold - TIE_TOLERANCE for threshold in IOU_THRESHOLDS}


def detection_scores(hits: Hits) -> dict[str, float]:
    """Share of predicted moments that match any true one (precision) and of true ones that are matched (recall)."""
    precisions = {PRECISIONS[threshold]: float(table.any(axis=1).mean()) for threshold, table in hits.items()}
    recalls = {RECALLS[threshold]: float(table.any(axis=0).mean()) for threshold, table in hits.items()}
    return precisions | recalls


def detection_f1_scores(means: Means) -> dict[str, Any]:
    """`F1@t`, the harmonic mean of mean precision and mean recall, and their mean `F1`."""
    scores = {}
    for threshold in IOU_THRESHOLDS:
        precision, recall = np.asarray(means[PRECISIONS[threshold]]), np.asarray(means[RECALLS[threshold]])
        total = precision + recall
        scores[f"F1@{threshold}"] = 2 * precision * recall / np.where(total == 0, 1.0, total)
    return scores | {"F1": sum(scores.values()) / len(scores)}


def caption_pairs(
    found: DenseCaptions, row: Mapping[str, Any], hits: Hits, unmatched_word: UnmatchedWord
) -> dict[float, list[Pair]]:
    """Threshold -> predicted captions with the references they are scored against.

    A prediction is paired with the caption of every true moment that it matches, and with a word of no meaning where it
    matches none.
    """
    pairs: dict[float, list[Pair]] = {}
    for threshold, table in hits.items():
        pairs[threshold] = []
        for index, caption in enumerate(found.captions):
            references = [row["g"][target] for target in np.flatnonzero(table[index])]
            references = references or [unmatched_word(row["video"], threshold, index)]
            pairs[threshold] += [(caption, reference) for reference in references]
    return pairs


def caption_means(captions: CaptionScorer, pairs: Mapping[float, Sequence[Pair]]) -> dict[str, float]:
    """Caption scores of one video, averaged over the thresholds."""
    scores = [captions(corpus) for corpus in pairs.values()]
    return {name: sum(score[name] for score in scores) / len(scores) for name in CAPTION_SCORES}


def compared_captions(
    texts: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    hits_of: Callable[[DenseCaptions, Mapping[str, Any]], Hits],
    unmatched_word: UnmatchedWord,
) -> Iterable[str]:
    """Every caption, reference and word that scoring these answers compares."""
    for text, row in zip(texts, rows, strict=True):
        found = read_proposals(text)
        if found is not None:
            pairs = caption_pairs(found, row, hits_of(found, row), unmatched_word)
            yield from (caption for corpus in pairs.values() for pair in corpus for caption in pair)
