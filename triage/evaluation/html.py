"""Pieces of a page: escaped text, tables, intervals, figures."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

from triage.evaluation.display import Display, Palette, figure_of, svg_of
from triage.metrics import proportion_interval

#: What a browser must not be given: controls, halves of surrogate pairs, marks that turn the reading direction, and
#: code points that are no characters.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
# Colours that no figure has otherwise; each stands for a variable of the style sheet.
_PALETTE = Palette("#010203", "#010204", "#010205", "#010206", "#010207", "none")
_VARIABLES = {
    "#010203": "var(--ink)",
    "#010204": "var(--muted)",
    "#010205": "var(--line)",
    "#010206": "var(--accent)",
    "#010207": "var(--warn)",
}
_STYLE = re.compile(r' style="([^"]*)"')
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.DOTALL)
_GROUP_ID = re.compile(r'<(g|text) id="[^"]*"')
_SIZE = re.compile(r'<svg [^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>')
_SCALE = 1.25  # of a figure's points to the page's pixels
_FONT = re.compile(r"^([\d.]+px)")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def clean(text: str) -> str:
    r"""Replace what a browser must not be given.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> clean("a\x00b\u202e")
    'a�b�'
    """
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def escape(content: Any) -> Markup:
    """Return content as HTML; markup as it is."""
    return content if isinstance(content, Markup) else Markup(html.escape(clean(str(content))))


def element(tag: str, *content: Any, **attributes: str) -> Markup:
    """Return an element; a trailing underscore of an attribute's name is dropped.

    Parameters
    ----------
    tag : str
    *content
        Escaped unless it is `Markup`.
    **attributes : str

    Returns
    -------
    Markup

    Examples
    --------
    >>> element("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    given = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{given}>{''.join(map(escape, content))}</{tag}>")


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, text_columns: int = 1, faint: Any = None) -> Markup:
    """Return a table that scrolls by itself.

    Parameters
    ----------
    heads : sequence of str
    rows : iterable of sequence
        Cells, escaped unless they are `Markup`.
    text_columns : int, default=1
        How many columns from the left are text; the others are numbers, set right.
    faint : callable, optional
        Says of a row whether it is set faintly.

    Returns
    -------
    Markup
    """
    kinds = ["" if place < text_columns else "number" for place in range(len(heads))]

    def line(tag: str, cells: Sequence[Any]) -> Markup:
        styled = zip(cells, kinds, strict=True)
        return Markup("".join(element(tag, cell, **({"class_": kind} if kind else {})) for cell, kind in styled))

    body = [element("tr", line("td", row), **({"class_": "faint"} if faint and faint(row) else {})) for row in rows]
    head = element("thead", element("tr", line("th", heads)))
    inside = element("table", head, element("tbody", *body))
    return element("div", inside, class_="scroll", tabindex="0", role="region", **{"aria-label": "table"})


def percent(share: float | None) -> str:
    """Say a share in per cent."""
    return "–" if share is None or share != share else f"{100 * share:.1f}"


def interval(part: int, whole: int) -> Markup:
    """Return a share in per cent with its 95 % interval, as numbers and as a mark on a line from 0 to 100."""
    if not whole:
        return Markup("–")
    low, high = proportion_interval(part, whole)
    share = part / whole
    said = element("span", f"{100 * low:.0f}–{100 * high:.0f}", class_="interval")
    mark = (
        '<svg class="range" viewBox="0 0 100 10" aria-hidden="true"><path class="track" d="M0 5H100"/>'
        f'<path class="span" d="M{100 * low:.1f} 5H{100 * high:.1f}"/>'
        f'<circle cx="{100 * share:.1f}" cy="5" r="3"/></svg>'
    )
    return Markup(f"{100 * share:.1f} {said}{mark}")


def figure(display: Display, caption: Any, *, label: str) -> Markup:
    """Return a figure with its caption; it takes the page's colours and fonts.

    Parameters
    ----------
    display : Display
    caption : str or Markup
        How to read it.
    label : str
        What it shows, for who cannot see it; unlike that of every other figure of the page.

    Returns
    -------
    Markup
    """
    svg = svg_of(figure_of(display, _PALETTE), label)
    svg = _DROPPED.sub("", svg[svg.index("<svg") :])
    svg = _STYLE.sub(_as_attributes, svg)
    svg = _GROUP_ID.sub(r"<\1", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    size = _SIZE.search(svg)
    width = float(size[1]) if size else 0
    kind = "wide" if width > 420 else "narrow"
    if size:
        box = f'viewBox="0 0 {size[1]} {size[2]}" width="{_SCALE * width:.0f}"'
        svg = svg.replace(size[0], f'<svg role="img" aria-label="{escape(label)}" {box}>', 1)
    return element(
        "figure", element("div", Markup(svg.strip()), class_="canvas"), element("figcaption", caption), class_=kind
    )


def _as_attributes(match: re.Match[str]) -> str:
    """Return a style as attributes of SVG, which a page without inline styles may have."""
    pairs = (rule.split(":", 1) for rule in html.unescape(match[1]).split(";") if ":" in rule)
    given = {name.strip(): value.strip() for name, value in pairs}
    font = _FONT.match(given.pop("font", ""))
    if font:
        given["font-size"] = font[1]
    given.pop("font-family", None)
    return "".join(f' {name}="{html.escape(value)}"' for name, value in given.items())
