"""Texts such as an untrained, a half-trained or a hostile model might write."""

import random
from collections.abc import Iterator

FRAGMENTS = (
    *("<think>", "</think>", "<answer>", "</answer>", "<THINK>", "<answer", "answer>", "<|im_end|>"),
    *("1", "2.0", "12.50", "0", "007", "5.", ".5", "1e5", "1e+16", "1e400", "nan", "inf", "-inf", "9" * 400, "1_0"),
    *("１２", "٣", "½", "²", "1-2", "3.0-4.5", "9-2", "2-2", "1-2-3", "-5-15", "5..15", "0:05", "5s", "0x1"),
    *("-", "--", "–", "−", ",", ":", ".", "..", "+", "e", "_", "'", '"', "\\", "{query}", "%s", "(((", "[a-", "*+?"),
    *(" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\x00", "\x1c", "\x85", "\u2028"),
    *("from", "to", "the event", "person", "é", "日本", "🎬", "\ud800", "\udfff", "\U0010ffff"),
)


def generated_texts(count: int, seed: int) -> Iterator[str]:
    """`count` texts, the same for the same seed: fragments in any order, every other one in tags."""
    draw = random.Random(seed)
    for index in range(count):
        parts = draw.choices(FRAGMENTS, k=draw.randrange(12))
        if index % 2:
            cut = draw.randrange(len(parts) + 1)
            yield f"<think>{''.join(parts[:cut])}</think><answer>{''.join(parts[cut:])}</answer>"
        else:
            yield "".join(parts)
