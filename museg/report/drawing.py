"""One drawing, two files: a PNG for slides and an SVG for the page that follows the reader's light or dark theme.

Pictures are drawn by matplotlib in the colours of `COLOURS`. In the SVG each colour becomes a CSS variable of the
same name (the page's style sheet defines both themes), identifiers are renamed so that pictures on one page cannot
refer into each other, and everything that acts on the whole page (style rules, metadata) is taken out.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1c2330",
    "muted": "#667085",
    "grid": "#e4e7ec",
    "band": "#f3f5f8",
    "blue": "#1f6fb5",
    "orange": "#d9700f",
    "teal": "#0f8f83",
    "plum": "#8f4f9f",
    "ochre": "#a88a10",
    "brick": "#b5443c",
}
"""Name -> colour of the light theme. Blue against orange carries every meaning that colour carries alone."""
SERIES_COLOURS = ("blue", "orange", "teal", "plum", "ochre", "brick")
PNG_DPI = 150
REFERENCE = re.compile(r"(^|url\()#([\w.-]+)")
"""A link to an element of the same SVG: the whole of an href, or the inside of url(...)."""
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": COLOURS["ink"],
    "text.parse_math": False,
    "text.usetex": False,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.linewidth": 0.6,
    "axes.unicode_minus": True,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "museg",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Picture:
    """A picture of the page: inline SVG and the PNG file with the same drawing."""

    name: str
    title: str
    svg: str
    png: Path


@contextmanager
def drawing_style() -> Iterator[None]:
    """matplotlib's defaults plus ours, whatever the user's matplotlibrc says; texts are never read as formulas."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


class Margins(NamedTuple):
    """Space around the axes, in inches."""

    left: float
    right: float
    top: float
    bottom: float


def new_axes(width_in: float, height_in: float, margins: Margins) -> tuple[Figure, Axes]:
    """A figure with one pair of axes at a fixed place: pictures of one width have one scale on the page."""
    figure = new_figure(width_in, height_in)
    return figure, add_axes(figure, margins)


def new_figure(width_in: float, height_in: float) -> Figure:
    """A figure without pyplot, and so without global state."""
    figure = Figure(figsize=(width_in, height_in))
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, margins: Margins) -> Axes:
    """A pair of axes with that much space around it."""
    width_in, height_in = figure.get_size_inches()
    left, bottom = margins.left / width_in, margins.bottom / height_in
    width, height = 1 - left - margins.right / width_in, 1 - bottom - margins.top / height_in
    axes = figure.add_axes((left, bottom, width, height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(length=2.5, width=0.6)
    return axes


def save(figure: Figure, name: str, title: str, folder: Path) -> Picture:
    """Write `<folder>/<name>.png` (titled, for use outside the page) and return it with the untitled SVG.

    Must be called inside `drawing_style`. Missing glyphs are drawn as boxes in the PNG; the SVG keeps the text.
    """
    png, svg = folder / f"{name}.png", io.StringIO()
    with _missing_glyphs_allowed():
        figure.patch.set_visible(False)
        figure.savefig(svg, format="svg")
    png.write_bytes(png_of(figure, title))
    return Picture(name, title, inline_svg(svg.getvalue(), name, title), png)


def png_of(figure: Figure, title: str) -> bytes:
    """The drawing as a PNG that stands alone, under its title. Must be called inside `drawing_style`."""
    png = io.BytesIO()
    with _missing_glyphs_allowed():
        figure.patch.set_visible(True)
        figure.suptitle(title, x=0.01, y=1.0, ha="left", va="bottom", fontsize=10, color=COLOURS["ink"])
        figure.savefig(png, format="png", dpi=PNG_DPI, bbox_inches="tight", pad_inches=0.12, facecolor="white")
    return png.getvalue()


@contextmanager
def _missing_glyphs_allowed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def inline_svg(svg: str, name: str, title: str) -> str:
    """The SVG document as an element to stand in an HTML page: themed, self-contained, with its own identifiers."""
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith("}metadata") or child.tag.endswith("}style"):
                parent.remove(child)
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = {target for value in values for _, target in REFERENCE.findall(value)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _rewritten(value, name, used)
            for key, value in element.attrib.items()
            if key != "id" or value in used
        }
        if "id" in element.attrib:
            element.set("id", f"{name}-{element.attrib['id']}")
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode")


def _rewritten(value: str, name: str, used: set[str]) -> str:
    for colour, code in COLOURS.items():
        value = value.replace(code, f"var(--{colour}, {code})")
    return REFERENCE.sub(lambda match: f"{match[1]}#{name}-{match[2]}" if match[2] in used else match[0], value)
