import numpy as np
import pytest

from museg.dialogue.dense_captions import DenseCaptions
from museg.metrics.caption_scores import CAPTION_SCORES
from museg.metrics.dense_captions import (
    CorrectedDenseCaptionTable,
    EtBenchDenseCaptionTable,
    caption_pairs,
    derived_word,
    exact_hits,
    published_hits,
    published_overlaps,
)
from museg.metrics.sample_table import SampleTable, column_means
from museg.temporal.segments import Segment
from tests.metrics.stand_ins import scorer_without_java

TRUE_CAPTIONS = ["stir the pot", "cut the bread"]
BOTH = "0 - 10, stir the pot. 20 - 30, cut the bread."
HALF = "0 - 10, stir the pot. 50 - 60, something else."
NOTHING = "no time at all"
TABLES = (EtBenchDenseCaptionTable, CorrectedDenseCaptionTable)


def row(video: str) -> dict:
    return {"task": "dvc", "video": video, "tgt": [[0, 10], [20, 30]], "g": TRUE_CAPTIONS}


def filled(table: SampleTable, *samples: tuple[str, str]) -> SampleTable:
    """`samples` are (answer, video)."""
    for position, (text, video) in enumerate(samples):
        table.update(position, text, row(video))
    return table


def test_a_right_answer_scores_one_everywhere():
    for table in TABLES:
        scores = filled(table(scorer_without_java()), (BOTH, "a.mp4")).compute()
        # CIDEr is not of this scale; captions of three words have no four in a row, so BLEU-4 is almost 0
        ones = [name for name in scores if not name.startswith(("Total", "Failed", "CIDEr", "Bleu_4"))]
        assert {name: scores[name] for name in ones} == pytest.approx(dict.fromkeys(ones, 1.0))
        assert {"F1@0.7", "METEOR", "ROUGE_L", "SentSim", "Bleu_3"} <= {
            name.removesuffix("_all_samples") for name in ones
        }


def test_detection_is_the_harmonic_mean_of_means_over_all_samples():
    # precision 1, 1/2, 0 (unreadable) and recall alike: means 1/2 and 1/2
    samples = ((BOTH, "a.mp4"), (HALF, "b.mp4"), (NOTHING, "c.mp4"))
    scores = filled(EtBenchDenseCaptionTable(), *samples).compute()
    assert scores == {"Total": 3, "Failed": 1, **{f"F1@{t}": 0.5 for t in (0.1, 0.3, 0.5, 0.7)}, "F1": 0.5}
    corrected = filled(CorrectedDenseCaptionTable(), *samples).compute()
    assert corrected == pytest.approx({f"F1{at}_all_samples": 0.5 for at in ("@0.1", "@0.3", "@0.5", "@0.7", "")})


def test_caption_scores_leave_failures_out_and_the_corrected_ones_do_not():
    samples = ((BOTH, "a.mp4"), (HALF, "b.mp4"), (NOTHING, "c.mp4"))
    # the stand-in for METEOR: pairs of equal captions: 1, 1/2 and, if counted, 0
    assert filled(EtBenchDenseCaptionTable(scorer_without_java()), *samples).compute()["METEOR"] == 0.75
    corrected = filled(CorrectedDenseCaptionTable(scorer_without_java()), *samples).compute()
    assert corrected["METEOR_all_samples"] == 0.5


def test_of_a_repeated_video_the_last_readable_answer_counts():
    samples = ((BOTH, "a.mp4"), (HALF, "a.mp4"), (NOTHING, "a.mp4"))
    scores = filled(EtBenchDenseCaptionTable(scorer_without_java()), *samples).compute()
    # one video is kept, of three samples: precision and recall 1/2 * 1/3
    assert scores["F1"] == round(1 / 6, 5)
    assert (scores["Total"], scores["Failed"], scores["METEOR"]) == (3, 1, 0.5)
    # by position, not by the order of updates
    table = EtBenchDenseCaptionTable(scorer_without_java())
    for position in (2, 0, 1):
        table.update(position, samples[position][0], row("a.mp4"))
    assert table.compute() == scores
    # corrected: (1 + 1/2 + 0) / 3
    assert filled(CorrectedDenseCaptionTable(scorer_without_java()), *samples).compute()["F1_all_samples"] == 0.5


def test_nothing_readable_is_zero():
    scores = filled(EtBenchDenseCaptionTable(scorer_without_java()), (NOTHING, "a.mp4")).compute()
    assert scores == {**dict.fromkeys(scores, 0.0), "Total": 1, "Failed": 1}
    assert set(CAPTION_SCORES) < set(scores)


def test_exact_ties():
    # 5 of 10 seconds: the published union is 1e-8 too large, so 0.5 misses
    found = DenseCaptions((Segment(0.0, 5.0),), ("stir the pot",))
    assert not published_hits(found, row("a"))[0.5].any()
    assert exact_hits(found, row("a"))[0.5].tolist() == [[True, False]]
    assert published_overlaps(found.segments, [[0, 10]])[0, 0] == 5 / (10 + 1e-8)


@pytest.mark.parametrize("predicted", [(5.0, 5.0), (float("inf"), float("inf")), (0.0, float("inf"))])
def test_odd_segments_overlap_nothing(predicted):
    found = DenseCaptions((Segment(*predicted),), ("stir the pot",))
    assert published_overlaps(found.segments, [[0.0, 10.0]]).tolist() == [[0.0]]
    assert not exact_hits(found, row("a"))[0.1].any()


def test_every_match_is_a_pair_and_no_match_a_word():
    found = DenseCaptions((Segment(0.0, 30.0), Segment(50.0, 60.0)), ("stir", "leave"))
    pairs = caption_pairs(found, row("a.mp4"), exact_hits(found, row("a.mp4")), derived_word)
    # 10 of 30 seconds with both: matched at 0.1 and 0.3, not at 0.5
    words = {t: [derived_word("a.mp4", t, index) for index in range(2)] for t in pairs}
    assert pairs[0.3] == [("stir", "stir the pot"), ("stir", "cut the bread"), ("leave", words[0.3][1])]
    assert pairs[0.5] == [("stir", words[0.5][0]), ("leave", words[0.5][1])]


def test_words_depend_on_sample_threshold_and_place_only():
    words = {derived_word(video, t, index) for video in ("a", "b") for t in (0.1, 0.3) for index in range(50)}
    assert len(words) == 200
    assert all(word.isascii() and word.islower() and 10 <= len(word) <= 20 for word in words)
    assert derived_word("a.mp4", 0.1, 0) == "lgsxxjilhuiqhxbsut"  # the same on every machine and in every process


def test_a_thousand_proposals_are_looked_at():
    # 1000 ranges far away come first: a right one after them is not seen, one among them is
    away = "".join(f"{500 + index} - {500 + index}.5, somewhere\n" for index in range(1_000))
    late = filled(EtBenchDenseCaptionTable(), (away + "0 - 10, stir the pot", "a.mp4")).compute()
    assert late["F1"] == 0.0
    early = filled(EtBenchDenseCaptionTable(), ("0 - 10, stir the pot\n" + away, "a.mp4")).compute()
    # precision 1/1000, recall 1/2
    assert early["F1"] == pytest.approx(2 * 0.001 * 0.5 / 0.501, abs=5e-6)


@pytest.mark.parametrize("table", TABLES)
def test_resampled_means(table):
    full = filled(table(scorer_without_java()), (BOTH, "a.mp4"), (HALF, "b.mp4"), (NOTHING, "c.mp4"))
    _, rows = full.table()
    weights = np.array([[1, 1, 1], [3, 0, 0], [0, 0, 3]])
    means = column_means(rows, weights)
    resampled = full.summarise({name: means[:, index] for index, name in enumerate(full.columns)})
    alone = {k: v for k, v in full.compute().items() if k not in ("Total", "Failed")}
    assert {name: values[0] for name, values in resampled.items()} == pytest.approx(alone, abs=1e-5)
    assert all(values[2] == 0 for values in resampled.values())  # nothing but failures


def test_everything_compared_is_primed():
    for table in (table(scorer_without_java()) for table in TABLES):
        table.prime([BOTH, HALF, NOTHING], [row("a.mp4"), row("b.mp4"), row("c.mp4")])
        primed = set(table.captions._tokens)
        filled(table, (BOTH, "a.mp4"), (HALF, "b.mp4"), (NOTHING, "c.mp4"))
        assert set(table.captions._tokens) == primed
