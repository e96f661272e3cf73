"""The tiny model's tokenizer: bytes, plus one token for every word and time of the synthetic task.

It carries Qwen2.5-VL's special tokens and chat format. Any text survives encoding and decoding unchanged, because every
byte has a token and nothing is normalised.
"""

from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from museg.video.synthetic_words import SYNTHETIC_WORDS

SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# Of the chat format, the demonstrations and the short prompt wordings; any other word costs one token for each byte.
CHAT_WORDS = ("system", "user", "assistant")
DEMONSTRATION_WORDS = ("look", "for", "the", "from", "to", "and", "never")
PROMPT_WORDS = ("answer", "cite", "think", "then", "times", "seconds", "when", "in", "with", "video")
NUM_TIMES = 61
# ChatML; a video is its placeholder between the vision marks, which the caller repeats once per merged patch.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'text' %}{{ part.text }}"
    "{% else %}<|vision_start|><|{{ part.type }}_pad|><|vision_end|>{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: bytes, words and times ("12.0") with and without a leading space, tags, special tokens.

    Times are whole seconds from 0.0 to 60.0; others are spelt byte by byte. Tags are ordinary tokens, so that they stay
    in decoded texts from which special tokens are dropped.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: index for index, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(word, normalized=False, special=False) for word in _whole_tokens()])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in ("<|im_end|>", "<|endoftext|>")],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def _whole_tokens() -> Iterator[str]:
    yield from TAGS
    yield from _with_leading_space(dict.fromkeys((*SYNTHETIC_WORDS, *CHAT_WORDS, *DEMONSTRATION_WORDS, *PROMPT_WORDS)))
    yield from _with_leading_space(f"{second}.0" for second in range(NUM_TIMES))


def _with_leading_space(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if len(word) > 1:  # a single letter is a byte already
            yield word
        yield f" {word}"
