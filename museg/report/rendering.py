"""From a template of this package and values to a page: escaping, style sheet, writing in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from museg.report.facts import signed, stage_title
from museg.report.tolerant import clip
from museg.temporal.segments import Segment

SHORT_TEXT_CHARS = 420
MAX_TEXT_CHARS = 20_000
"""A text is clipped to the first, unfolds to the second; beyond that the page names the file that has all of it."""
MAX_LISTED_SEGMENTS = 12


@dataclass(frozen=True)
class ReportFiles:
    """What writing a page left behind."""

    html: Path
    pngs: tuple[Path, ...]


def packaged(name: str) -> str:
    """The text of a file that comes with this package."""
    return (files("museg.report") / name).read_text(encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """The page that a template of this package gives; everything is escaped that is not marked as markup."""
    loader = FunctionLoader(packaged)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.filters |= {"clip": clip, "stage": stage_title, "signed": signed, "segments": segments_text}
    environment.globals |= {
        "style": Markup(packaged("report.css")),
        "short_chars": SHORT_TEXT_CHARS,
        "max_chars": MAX_TEXT_CHARS,
    }
    return environment.get_template(template).render(**values)


def emptied_figures(folder: Path, *own: str) -> Path:
    """The folder of pictures beside a page, without those of an earlier page: the files that `own` matches."""
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for pattern in own:
        for old in figures.glob(pattern):
            old.unlink()
    return figures


def segments_text(segments: Sequence[Segment]) -> str:
    """Segments as people read them, in seconds; a long list is cut."""
    shown = ", ".join(f"{segment.start_s:g}–{segment.end_s:g}" for segment in segments[:MAX_LISTED_SEGMENTS])
    return f"{shown}, … ({len(segments)} segments)" if len(segments) > MAX_LISTED_SEGMENTS else shown
