"""The language of the synthetic clips: what can be drawn and the questions asked about it.

Kept apart from the drawing so that a tokenizer can be built from it without loading a video library.
"""

COLOURS_RGB: dict[str, tuple[int, int, int]] = {
    "red": (225, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 80, 235),
    "yellow": (235, 215, 50),
    "magenta": (215, 60, 205),
    "cyan": (50, 205, 215),
}
"""Colour word to sRGB, ordered so that the first four are the easiest to tell apart after chroma subsampling."""

SHAPES: tuple[str, ...] = ("square", "circle", "triangle")

MOTIONS: tuple[str, ...] = ("still", "drifting", "blinking", "growing")

SINGLE_PROBLEM = "When does '{object}' occur?"
"""The question about an object seen once (task tvg)."""

MULTI_PROBLEM = "Find all times of '{object}'."
"""The question about an object seen several times (task tal)."""

CAPTION = "the {object}"
"""What is said of an event; the tokenizer knows its words."""

SYNTHETIC_WORDS: tuple[str, ...] = (
    *("When", "does", "occur", "Find", "all", "times", "of"),
    *COLOURS_RGB,
    *SHAPES,
    *MOTIONS,
)
"""Every word a synthetic problem can contain; besides them only blanks and the marks ``'`` ``?`` ``.`` occur."""
