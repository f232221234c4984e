r"""Templates become pages, or parts of one that are drawn anew while it is open.

All that comes from elsewhere is escaped by Jinja and made harmless by `printable`: control characters and
what turns the order of letters round stand as `\x1b` and `\u202e`. A page that is saved holds all that it
needs, and no script.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from launcher.ui.charts import HEIGHT, WIDTH
from trainer.protocol.printable import escape_controls

_FOLDER = Path(__file__).with_name("templates")
SAVED_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Of a page that is saved: it loads nothing and runs nothing."""
_TONES = {
    "Succeeded": "good", "Failed": "bad", "Lost": "bad", "Running": "busy", "Restarting": "odd",
    "Pulling": "odd",
    "Cancelled": "odd", "Suspended": "odd", "Gone": "faint", "Unknown": "faint", "Unsent": "faint",
}  # fmt: skip


def read_asset(name: str) -> str:
    """Return the stylesheet or the script, as it lies in the package."""
    return (_FOLDER / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_harmless, auto_reload=False,
    )  # fmt: skip
    environment.filters["tone"] = lambda state: _TONES.get(state, "waits")
    environment.globals.update(chart_width=WIDTH, chart_height=HEIGHT, saved_policy=SAVED_POLICY)
    return environment


def draw_part(name: str, /, **given: object) -> str:
    """Return the HTML of a part of a page, from `parts/NAME.html.j2`."""
    return _environment().get_template(f"parts/{name}.html.j2").render(given)


def draw_page(name: str, /, *, parts: Mapping[str, str], is_saved: bool = False, **given: object) -> str:
    """Return a whole page.

    Args:
        name: Of its template.
        parts: HTML of its parts, as `draw_part` has made it.
        is_saved: Make it a file of its own: with its style, without script, links and forms.
        given: What the template needs beside them.
    """
    marked = {key: Markup(html) for key, html in parts.items()}  # noqa: S704 - escaped when it was drawn
    assets = {"css": Markup(read_asset("ui.css"))} if is_saved else {"css": ""}  # noqa: S704 - our own file
    return (
        _environment()
        .get_template(f"{name}.html.j2")
        .render({**given, **assets, "parts": marked, "is_saved": is_saved})
    )


def draw_lines(lines: list[str]) -> str:
    """Return lines of a log as HTML."""
    return "".join(f"<div>{escape(escape_controls(line))}</div>" for line in lines)


def _harmless(value: object) -> object:
    """Escape controls in all that a template writes, but for what is HTML already."""
    return (
        value
        if isinstance(value, Markup)
        else escape_controls(str(value))
        if isinstance(value, str)
        else value
    )
