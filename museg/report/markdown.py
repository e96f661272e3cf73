"""Texts of unknown origin inside Markdown: whatever they hold, they are shown as text."""

import re

from jinja2 import Environment, FunctionLoader, StrictUndefined

from museg.report.rendering import packaged
from museg.report.tolerant import clip, text_of

MAX_SPAN_CHARS = 300
MAX_BLOCK_CHARS = 4_000


class Markdown(str):
    """A text that is meant as Markdown: made here, of pieces that were made harmless before."""


def span(value: object) -> Markdown:
    """A value as a code span, in which nothing is markup: on one line, without backticks, fit for a table cell."""
    text = " ".join(clip(text_of(value), MAX_SPAN_CHARS).split()).replace("`", "'").replace("|", "\\|")
    return Markdown(f"`{text}`" if text else "–")


def block(value: object) -> Markdown:
    """A value as a code block, line by line; its fence is longer than any in it."""
    text = clip(text_of(value), MAX_BLOCK_CHARS)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markdown(f"{fence}text\n{text}\n{fence}")


def render_markdown(template: str, **values: object) -> str:
    """What a Markdown template of this package gives; every value that is no `Markdown` becomes a code span."""

    def shown(value: object) -> object:
        return value if isinstance(value, (Markdown, int)) and not isinstance(value, bool) else span(value)

    environment = Environment(
        autoescape=False,  # escaping is for HTML; here `finalize` sees every value
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=shown,
        loader=FunctionLoader(packaged),
    )
    environment.filters["block"] = block
    return environment.get_template(template).render(**values)
