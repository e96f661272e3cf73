import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from museg.dialogue.demonstrations import demonstration
from museg.policy.tiny_tokenizer import SPECIAL_TOKENS, TAGS, tiny_tokenizer
from museg.temporal.segments import Segment
from museg.video.synthetic_words import SYNTHETIC_WORDS

TOKENIZER = tiny_tokenizer()


def pieces(text: str) -> list[str]:
    return [TOKENIZER.decode([token]) for token in TOKENIZER.encode(text, add_special_tokens=False)]


def writable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


fragments = st.sampled_from(
    [
        *SYNTHETIC_WORDS,
        *TAGS,
        *SPECIAL_TOKENS,
        "12.0",
        " 12.0",
        "2.0-5.0",
        "112.05",
        " ",
        "  ",
        "\n",
        "\t",
        "Ġ",
        "é",
        "½",
        "龍",
        "🎬",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text().filter(writable), st.lists(fragments | st.text(max_size=3).filter(writable)).map("".join)))
def test_any_text_survives(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=30))
def test_any_sampled_ids_decode(ids):
    assert isinstance(TOKENIZER.decode(ids, skip_special_tokens=True), str)


def test_an_answer_takes_few_tokens():
    assert pieces("2.0-5.0 8.0-60.0") == ["2.0", "-", "5.0", " 8.0", "-", "60.0"]
    text = demonstration("When does 'red square' occur?", [Segment(2, 5), Segment(8, 9)], cites_times=True)
    assert text == "<think>red square from 2.0 to 5.0 and 8.0 to 9.0</think><answer>2.0-5.0 8.0-9.0</answer>"
    assert len(pieces(text)) == 20


def test_every_synthetic_word_is_one_token_with_and_without_a_space():
    for word in SYNTHETIC_WORDS:
        assert pieces(word) == [word]
        assert pieces(f" {word}") == [f" {word}"]


def test_tags_stay_and_special_tokens_go():
    ids = TOKENIZER.encode("<think>a</think><|im_end|><|endoftext|>", add_special_tokens=False)
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "<think>a</think>"


def test_nothing_is_added_around_a_text():
    assert TOKENIZER.encode("a") == TOKENIZER.encode("a", add_special_tokens=False)
    assert TOKENIZER.encode("") == []


def test_vocabulary_is_small_and_unique():
    assert len(set(TOKENIZER.get_vocab().values())) == len(TOKENIZER) < 600
    assert (TOKENIZER.eos_token, TOKENIZER.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_saved_and_loaded_it_is_the_same(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "<think>red square from 2.0 to 5.0</think> né 12.05<|im_end|>"
    assert loaded.encode(text) == TOKENIZER.encode(text)
    assert loaded.decode(loaded.encode(text)) == text
    assert loaded.get_vocab() == TOKENIZER.get_vocab()


@pytest.mark.parametrize("system", ["", "be brief"])
def test_chat_template_writes_the_prompt_of_the_dialogue(system):
    from museg.dialogue.prompts import PromptWording, render_prompt

    before, after = render_prompt(PromptWording(system, "cite {query} ", " now"), "'red square'")
    user = [{"type": "text", "text": "cite 'red square' "}, {"type": "video"}, {"type": "text", "text": " now"}]
    messages = [{"role": "user", "content": user}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == f"{before}<|video_pad|>{after}"
