"""The report: one page of HTML that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

import pandas as pd

from triage.disk import written_beside
from triage.evaluation import sections
from triage.evaluation.html import Markup, element, escape
from triage.evaluation.result import Evaluation
from triage.evaluation.sections import Namer, Page

_SECTIONS = {
    "In plain words": sections.headline,
    "Labels": sections.labels,
    "Promises": sections.promises,
    "Probabilities": sections.probabilities,
    "Risk and review": sections.review,
    "Confusions": sections.confusions,
    "Classes": sections.classes,
    "Slices": sections.slices,
    "Reuse of answers": sections.reuse,
    "Out of scope": sections.scope,
    "Costliest errors": sections.errors,
    "What a person must look at": sections.examples,
    "Would more data help?": sections.learning,
    "Seen in training": sections.leaks,
    "Suspected labels": sections.suspects,
    "What is not known": sections.unknown,
}


def report(
    result: Evaluation,
    *,
    title: str = "Evaluation",
    about: str = "",
    name: Namer | None = None,
    language: str | None = None,
    learning_curve: pd.DataFrame | None = None,
    suspects: pd.DataFrame | None = None,
) -> str:
    """Return an evaluation as one page of HTML.

    Parameters
    ----------
    result : Evaluation
    title : str, default="Evaluation"
        Such as the desk's name.
    about : str, optional
        A line below it: which questions these are.
    name : callable, optional
        Names a label of a target for people; the label itself by default.
    language : str, optional
        Whose personal data is masked in `suspects`; the other texts are masked already.
    learning_curve : DataFrame, optional
        As `triage.recipe.learning_curve` gives it.
    suspects : DataFrame, optional
        Labels that may be wrong, the most suspicious first; texts in it are masked and cut.

    Returns
    -------
    str
        No script, nothing from elsewhere; the same arguments give the same page.

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    """
    page = Page(result, name or (lambda target, label: label), language, learning_curve, suspects)
    made = [(head, make(page)) for head, make in _SECTIONS.items()]
    shown = [(f"s{number}", head, content) for number, (head, content) in enumerate(made, 1) if content]
    links = [element("li", element("a", head, href=f"#{anchor}")) for anchor, head, _ in shown]
    bodies = [element("section", element("h2", head), content, id=anchor) for anchor, head, content in shown]
    top = element("header", element("h1", title), element("p", about, class_="note") if about else "")
    style = files("triage.evaluation").joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        element("title", f"{title}: evaluation"),
        f"<style>{style}</style>",
    ]
    nav = element("nav", element("ol", *links), **{"aria-label": "Contents"})
    body = element("body", top, element("div", nav, element("main", *bodies), class_="columns"))
    lines = ["<!DOCTYPE html>", f'<html lang="{escape("en")}">', "<head>", *head, "</head>", body, "</html>", ""]
    return Markup("\n").join(lines)


def write_report(path: str | Path, page: str) -> None:
    """Write a page beside its place and rename it there: it is whole or not there.

    Parameters
    ----------
    path : str or Path
        What stands there is replaced.
    page : str
        As `report` gives it.
    """
    with written_beside(path) as stream:
        stream.write(page.encode())
