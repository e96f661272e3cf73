import sys
import time

import pytest

from museg.metrics.caption_scores import CAPTION_SCORES, CaptionScorer, readable
from museg.metrics.java_tools import MeteorProcess, tokenise
from tests.metrics.stand_ins import WordOverlap, real_meteor, scorer_without_java


@pytest.fixture
def meteor() -> MeteorProcess:
    return real_meteor()


def test_words_without_punctuation(meteor):
    texts = ["Stir the pot, please.", "", "It's 5.5 (cups)!", "no.", "5 apples"]
    assert tokenise(texts) == ["stir the pot please", "", "it 's 5.5 -lrb- cups -rrb-", "no", "5 apples"]


def test_equal_captions_score_one_and_strangers_zero(meteor):
    assert meteor(["stir the pot"], ["stir the pot"]) == pytest.approx(1.0, abs=1e-3)
    assert meteor(["stir the pot"], ["dogs run"]) == 0.0
    assert 0 < meteor(["stir the pot", "dogs run"], ["stir the pot", "cats sleep"]) < 1


def test_odd_captions_get_an_answer(meteor):
    for odd in ("", "|||", "a ||| b", "<b> & $", "' '", "the " * 1_000):
        assert 0 <= meteor([odd.strip()], ["stir the pot"]) < 1
        assert 0 <= meteor(["stir the pot"], [readable(odd).replace("|||", "| | |")]) < 1
    assert meteor(["stir the pot"], ["stir the pot"]) > 0.9  # still in step


def test_one_process_until_it_is_closed(meteor):
    assert meteor(["stir"], ["stir"]) > 0
    process = meteor._process
    meteor(["cut"], ["stir"])
    assert meteor._process is process
    meteor.close()
    assert process.poll() is not None
    assert meteor(["cut"], ["cut"]) > 0  # a later score starts another


def test_real_scores_of_a_corpus(meteor):
    scorer = CaptionScorer(WordOverlap(), meteor=meteor)
    scores = scorer([("Stir the pot.", "stir the pot"), ("cut a loaf", "cut the bread")])
    assert set(scores) == set(CAPTION_SCORES)
    # four of six words are in their reference: 2/3; pairs in a row: "stir the", "the pot" of four: sqrt(2/3 * 1/2)
    assert scores["Bleu_1"] == pytest.approx(2 / 3, abs=1e-6)
    assert scores["Bleu_2"] == pytest.approx((2 / 3 * 1 / 2) ** 0.5, abs=1e-6)
    # longest common subsequences: 3 of 3, and "cut" of 3
    assert scores["ROUGE_L"] == pytest.approx((1 + 1 / 3) / 2)
    # words in common: 3 of 3, and "cut" of 5
    assert scores["SentSim"] == pytest.approx((1 + 1 / 5) / 2)


def test_one_pair_has_no_cider():
    # the only document holds every word: all weights are log(1/1) = 0
    assert scorer_without_java()([("stir the pot", "stir the pot")])["CIDEr"] == 0.0


def test_a_corpus_is_scored_once():
    calls = []
    scorer = CaptionScorer(WordOverlap(), lambda texts: calls.append(texts) or list(texts), lambda *_: 0.5)
    scorer.prime(["stir the pot", "cut"])
    scorer.prime(["cut", "stir the pot"])
    assert scorer([("stir the pot", "cut")]) is scorer([("stir the pot", "cut")])
    assert calls == [["cut", "stir the pot"]]


def test_captions_become_ascii_on_one_line():
    assert readable("caf\u00e9\x00\tat\r\nnoon\x1c\ud800\U0001f600") == "caf   at  noon   "
    assert len(readable("a" * 10_000_000)) == 4_000


@pytest.mark.parametrize("caption", ["the " * 1_000, "1, 2. " * 700, "()[]{}" * 700, "a" * 4_000, "'`\"" * 1_300])
def test_long_captions_are_scored_in_no_time(meteor, caption):
    start_s = time.perf_counter()
    scores = CaptionScorer(WordOverlap(), meteor=meteor)([(caption, "the pot of the man"), ("stir", "stir")])
    assert all(0 <= score <= 10 for score in scores.values())
    assert time.perf_counter() - start_s < 10


def test_missing_java_names_its_remedy(monkeypatch):
    monkeypatch.setenv("PATH", "")
    for start in (lambda: tokenise(["stir"]), lambda: MeteorProcess()(["stir"], ["stir"])):
        with pytest.raises(ValueError, match="need Java: install"):
            start()


def test_a_missing_package_names_its_remedy(monkeypatch):
    for module in ("pycocoevalcap", "pycocoevalcap.bleu.bleu"):
        monkeypatch.setitem(sys.modules, module, None)
    for start in (lambda: tokenise(["stir"]), lambda: scorer_without_java()([("stir", "stir")])):
        with pytest.raises(ValueError, match=r"pip install -e '.\[etbench\]'"):
            start()
