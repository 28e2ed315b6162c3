"""Single questions to look at: the costliest errors with their words, and one or more of every reason for a review.

Texts are masked and cut: a report is handed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pandas as pd

from triage.records import TriageResult
from triage.text import mask_personal_data

MOST_ERRORS = 20  # of each target
MOST_EXAMPLES = 3  # of each reason
MOST_WORDS = 6
MOST_CHARS = 400


class Predicts(Protocol):
    """What gives a question's words."""

    def predict(self, texts: Sequence[str], as_of: Any = None, k: int = 5) -> list[TriageResult]:
        """Triage questions."""


def shown_text(text: str, language: str | None) -> str:
    """Return a text as a report may show it: masked, and cut after `MOST_CHARS` characters.

    Parameters
    ----------
    text : str
    language : str or None
        Whose personal data is masked; the international kinds always are.

    Returns
    -------
    str

    Examples
    --------
    >>> shown_text("write to hoa@example.com", None)
    'write to [EMAIL]'
    """
    shown = mask_personal_data(text, language=language)  # before the cut, which would break what it goes through
    return shown if len(shown) <= MOST_CHARS else shown[: MOST_CHARS - 1].rstrip() + "…"


def errors_of(answers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the most probable of the wrong labels that were assigned, at most `MOST_ERRORS` a target.

    Parameters
    ----------
    answers : mapping of str to DataFrame
        Of each target; indexed by the row of the question, from 0.

    Returns
    -------
    DataFrame
        ``target``, ``row`` (from 1), ``wanted``, ``label``, ``probability``; the worst of each target first.
    """
    parts = []
    for target, one in answers.items():
        wrong = one[one["assigned"] & ~one["right"]]
        worst = wrong.sort_values("probability", ascending=False, kind="stable").head(MOST_ERRORS)
        parts.append(_listed(worst.assign(target=target)))
    return pd.concat(parts, ignore_index=True) if parts else _listed(pd.DataFrame())


def examples_of(answers: Mapping[str, pd.DataFrame], messages: pd.DataFrame) -> pd.DataFrame:
    """Return some questions of every reason for a review.

    Parameters
    ----------
    answers : mapping of str to DataFrame
        Of each target.
    messages : DataFrame
        Messages out of scope: ``reason``, ``target``; indexed as the answers are.

    Returns
    -------
    DataFrame
        As `errors_of`, with ``reason``; those in the middle of the probabilities, as the extremes are no example.
        ``wanted`` is None for a message out of scope.
    """
    parts = [one[~one["assigned"]].assign(target=target) for target, one in answers.items()]
    parts = [part for part in [*parts, messages] if not part.empty]
    if not parts:
        return _listed(pd.DataFrame())
    waiting = pd.concat(parts)
    chosen = []
    for _, part in waiting.groupby("reason", sort=True):
        own = part[~part.index.duplicated()].sort_values("probability", kind="stable")
        step = max(1, len(own) // (MOST_EXAMPLES + 1))
        chosen.append(own.iloc[step - 1 :: step].head(MOST_EXAMPLES))
    return _listed(pd.concat(chosen))


def with_texts(
    listed: pd.DataFrame,
    triager: Predicts,
    texts: pd.Series[str],
    days: Sequence[Any] | None,
    ids: pd.Series[str] | None,
    language: str | None,
) -> pd.DataFrame:
    """Return listed questions with their ids, texts and the words that decided.

    Parameters
    ----------
    listed : DataFrame
        ``target`` and ``row``.
    triager : Predicts
    texts : Series of str, of length n_rows
    days : sequence or None, of length n_rows
    ids : Series of str or None, of length n_rows
    language : str or None
        Whose personal data is masked.

    Returns
    -------
    DataFrame
        Also ``id`` (or None), ``text``, ``words``: at most `MOST_WORDS` pairs of a word and what it added, largest
        first.
    """
    rows = sorted({*listed["row"]})
    places = [row - 1 for row in rows]
    asked = [texts.iloc[place] for place in places]
    on = None if days is None else [days[place] for place in places]
    results = dict(zip(rows, triager.predict(asked, as_of=on, k=0), strict=True)) if rows else {}
    shown = {row: shown_text(text, language) for row, text in zip(rows, asked, strict=True)}
    words = []
    for target, row in zip(listed["target"], listed["row"], strict=True):
        decision = results[row].decisions[target]
        added: dict[str, float] = {}
        for word, value in decision.words:
            if word in shown[row]:  # not so what is masked
                added[word] = added.get(word, 0.0) + float(value)
        largest = sorted(added.items(), key=lambda pair: -pair[1])[:MOST_WORDS]
        words.append([[word, round(value, 3)] for word, value in largest if value > 0])
    known = None if ids is None else [ids.iloc[row - 1] for row in listed["row"]]
    return listed.assign(id=known, text=listed["row"].map(shown), words=pd.Series(words, listed.index, object))


def _listed(part: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that name a question and what was said of it."""
    if part.empty:
        return pd.DataFrame(columns=["target", "row", "reason", "wanted", "label", "probability"])
    part = part.assign(row=part.index + 1, wanted=part["truth"], label=part["best"])
    return part[["target", "row", "reason", "wanted", "label", "probability"]].reset_index(drop=True)
