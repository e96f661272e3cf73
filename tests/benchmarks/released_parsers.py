"""How the released scripts read an answer, written down once more and plainly: what the readers are measured against.

Source: THUNLP-MT/MUSEG 889565e, src/eval_grounding.py and data/eval/et_bench/compute_metrics.py.
"""

import re

NUMBER = r"\d+\.*\d*"
PREAMBLE = "best option:"
MOMENT_WORDS = ("starts", "ends", "happens in", "start time", "end time", "start", "end", "happen")

Pairs = list[tuple[float, float]]


def answer_of(completion: str) -> str:
    """The inside of the only answer block, stripped; nothing without one."""
    found = re.findall(r"<answer>(.*?)</answer>", completion, re.DOTALL)
    return found[0].strip() if len(found) == 1 else ""


def number_pairs(text: str) -> Pairs:
    """The grounding script: all numbers two by two; one bad pair, or one number left over, voids the answer."""
    try:
        numbers = [float(number) for number in re.findall(NUMBER, text)]
    except ValueError:
        return []
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    return [] if len(numbers) % 2 or any(start >= end for start, end in pairs) else pairs


def ranges(text: str) -> Pairs | None:
    """Ranges of the tasks that ask for times; None where there are none."""
    text = text.lower()
    found = re.findall(rf"({NUMBER})\s*-\s*({NUMBER})", text) or re.findall(rf"({NUMBER})\s* to \s*({NUMBER})", text)
    if not found:
        numbers = []
        for piece in re.split(r"[!?\n]", text):
            number = re.search(r"\b(\d+(?:\.\d+)?)\b", piece)
            if number and any(word in piece for word in MOMENT_WORDS):
                numbers.append(number[1])
        found = list(zip(numbers[::2], numbers[1::2], strict=False))
    return [(min(pair), max(pair)) for pair in ((float(a), float(b)) for a, b in found)] or None


def moment(text: str) -> float | None:
    """The first number with its sign."""
    found = re.search(r"[-+]?\d*\.\d+|[-+]?\d+", text)
    return float(found[0]) if found else None


def without_preamble(text: str) -> str:
    """What stands after "Best option:", blanks and opening parentheses."""
    return (text[len(PREAMBLE) :] if text.lower().startswith(PREAMBLE) else text).lstrip(" \t\n(")


def opening_letter(text: str) -> str | None:
    """The first character, where it stands alone or a full stop, comma, blank or parenthesis follows."""
    return text[0].lower() if len(text) == 1 or text[1:2] in (".", ",", " ", ")") else None


def captioned_ranges(text: str) -> tuple[Pairs, list[str]] | None:
    """Ranges and captions of dense captioning; None where there are none, or where the script fails."""
    try:
        pairs, captions = _listed(text.lower())
    except ValueError:
        return None
    if pairs:
        return pairs, captions
    mark = "\n" if "\n" in text else "."
    for piece in (piece for piece in text.split(mark) if len(piece) > 7):
        parts = [part.strip(",") for part in piece.split("seconds")]
        try:
            pair = _told(parts[0])
        except ValueError:
            continue
        if pair:
            return [(min(pair), max(pair))], [parts[-1].strip()]
    return None


def _listed(text: str) -> tuple[Pairs, list[str]]:
    pattern = rf"({NUMBER})\s*-\s*({NUMBER})"
    found = re.findall(pattern, text)
    if found:
        for whole in [match[0] for match in re.finditer(pattern, text)]:
            text = text.replace(whole, "\n")
        chunks = text.replace("seconds", "").split("\n")
    else:
        starts = re.findall(rf"start(?:ing)? time: ({NUMBER})", text)
        ends = re.findall(rf"end(?:ing)? time: ({NUMBER})", text)
        found = list(zip(starts, ends, strict=False))
        if not found and re.search(rf"start time {NUMBER}, end time {NUMBER}", text):
            raise ValueError("a form that the script stumbles over")
        chunks = re.findall(r"description: (.*)", text) or re.findall(r"\*\s*(.*)", text)
    captions = [chunk.strip(" ,") for chunk in chunks if len(chunk) > 5]
    pairs = [(float(start), float(end)) for start, end in found][: len(captions)]
    return [(min(pair), max(pair)) for pair in pairs], captions[: len(pairs)]


def _told(text: str) -> tuple[float, float] | None:
    """A range, two moments, or the 40 seconds around one; as seconds or as minutes and seconds."""
    found = re.search(rf"({NUMBER})\s*-\s*({NUMBER})", text)
    if found:
        return float(found[1]), float(found[2])
    clocks = re.findall(rf"({NUMBER}):({NUMBER})", text)
    if clocks:
        times = [float(int(minutes) * 60 + int(seconds)) for minutes, seconds in clocks]
    else:
        times = [float(number) for number in re.findall(rf"{NUMBER}(?!\.)", text)]
    if len(times) == 2:
        return times[0], times[1]
    if len(times) != 1:
        return None
    time_s = times[0]
    return (time_s - 20, time_s + 20) if time_s > 20 else (time_s, time_s + 40)
