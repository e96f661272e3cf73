"""Command lines of `key=value` words, as the small commands take them."""

from collections.abc import Collection, Sequence

from museg.config.suggestions import closest


def key_values(words: Sequence[str], known: Collection[str], example: str) -> dict[str, str]:
    """Key -> value as text. Raises ValueError for other words, and for keys that are given twice or not `known`."""
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ValueError(f"{word!r} must be written key=value, for example {example}")
        if key in given:
            raise ValueError(f"{key} is given twice")
        given[key] = value
    for key in given:
        if key not in known:
            raise ValueError(unknown("argument", key, list(known)))
    return given


def unknown(kind: str, name: str, valid: Sequence[str]) -> str:
    """What to say of a name that there is not: the valid ones, and the closest of them."""
    return " ".join([f"unknown {kind} {name!r}; there are {', '.join(valid)}.", *closest(name, list(valid))])


def is_true(key: str, value: str) -> bool:
    """Whether `key=value` says true. Raises ValueError for anything but true and false."""
    if value not in ("true", "false"):
        raise ValueError(f"{key} is true or false, not {value!r}")
    return value == "true"
