"""What a sweep's configurations are called: the settings they differ in, short enough to read, and no two alike."""

from collections import Counter
from collections.abc import Mapping, Sequence

from museg.report.sweep_settings import Settings
from museg.report.tolerant import clip

ONLY = "every run"
"""Label where all members have the same settings."""
MAX_VALUE_CHARS = 80
MAX_LABEL_CHARS = 120


def labels(found: Sequence[Settings]) -> list[str]:
    """The label of each of several different settings, as they would be typed: `reward=maximum, phase.steps=40`."""
    return _joined(found, {name: f"{name}=" for name in (found[0] if found else ())}, MAX_LABEL_CHARS)


def picture_labels(found: Sequence[Settings], max_chars: int) -> list[str]:
    """The same for a picture, each setting with at most so many characters.

    Of its name there is only the last part, and nothing where it is the only one.
    """
    names = list(found[0]) if found else []
    last = Counter(name.rpartition(".")[2] for name in names)
    brief = {name: part if last[part := name.rpartition(".")[2]] == 1 else name for name in names}
    return _joined(found, {name: f"{brief[name]}=" if len(names) > 1 else "" for name in names}, max_chars)


def _joined(found: Sequence[Settings], openings: Mapping[str, str], max_chars: int) -> list[str]:
    columns = [(opening, _readable([one[name] for one in found])) for name, opening in openings.items()]
    texts = [
        ", ".join(clip(f"{opening}{values[place]}", max_chars) for opening, values in columns)
        for place in range(len(found))
    ]
    return distinct([clip(text, MAX_LABEL_CHARS) or ONLY for text in texts])


def _readable(values: Sequence[str]) -> list[str]:
    """The values on one short line each; long ones without the beginning that all of them share."""
    lines = [" ".join(value.split()) for value in values]
    if len(set(lines)) > 1 and max(map(len, lines)) > MAX_VALUE_CHARS // 2:
        ends = zip(min(lines), max(lines), strict=False)  # what these two share, all share
        shared = next((place for place, (one, other) in enumerate(ends) if one != other), len(min(lines)))
        lines = [f"…{line[shared - 10 :]}" if shared > 20 else line for line in lines]
    return [clip(line, MAX_VALUE_CHARS) for line in lines]


def distinct(texts: Sequence[str]) -> list[str]:
    """The texts in their order, numbered where cutting them short has left several alike."""
    counts, seen, made = Counter(texts), Counter(), []
    for text in texts:
        seen[text] += 1
        made.append(f"{text} #{seen[text]}" if counts[text] > 1 else text)
    return made
