"""Answers broken down: by class, by slice, by what they were taken for, by whom the promise was made to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from triage.dataset import as_text
from triage.decision import Threshold, precision_lower_bound
from triage.evaluation.shares import FEWEST, shares_of, with_share

#: Columns by which the results are broken down when a frame has them, as they are.
SLICES = ("style", "asker", "province")

#: Where the column of a confusion says what was left to a person.
REVIEW = "(review)"

_LENGTHS = {"under 50 characters": 50, "50 to 99": 100, "100 to 199": 200, "200 or more": np.inf}
_MONTH = r"^(\d{4}-\d{2})-\d{2}"


def slices_of(frame: pd.DataFrame, texts: pd.Series[str]) -> pd.DataFrame:
    """Return in which slices each question is.

    Parameters
    ----------
    frame : DataFrame
        The questions; its columns ``style``, ``asker``, ``province`` and ``date`` are used as far as it has them.
    texts : Series of str

    Returns
    -------
    DataFrame of str
        ``style``, ``asker``, ``province`` (where the frame has them), ``length``, and ``month`` where it has days.
    """
    found = frame[[column for column in SLICES if column in frame]].apply(as_text)
    found.index = texts.index
    bands = np.searchsorted(list(_LENGTHS.values()), texts.str.len(), side="right")
    found["length"] = np.array([*_LENGTHS])[bands]
    if "date" in frame:
        found["month"] = as_text(frame["date"]).str.extract(_MONTH, expand=False).fillna("").to_numpy()
    return found


def by_class(answers: pd.DataFrame) -> pd.DataFrame:
    """Return precision and recall of every class of one target, with intervals."""
    labels = sorted({*answers["truth"], *answers["best"]})
    values = precision_recall_fscore_support(answers["truth"], answers["best"], labels=labels, zero_division=np.nan)
    right = answers["truth"][answers["right"]].value_counts()
    predicted = answers["best"].value_counts()
    rows = []
    for label, precision, recall, f1, n in zip(labels, *values, strict=True):
        counts = {"label": label, "n": int(n), "n_right": int(right.get(label, 0))}
        counts["n_predicted"] = int(predicted.get(label, 0))
        row = with_share(with_share(counts, "precision", "n_right", "n_predicted"), "recall", "n_right", "n")
        rows.append({**row, "precision": precision, "recall": recall, "f1": f1, "too_few": n < FEWEST})
    return pd.DataFrame(rows)


def by_slice(answers: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return counts and shares of one target in every slice; questions of which it is not known are in none."""
    rows: list[dict[str, Any]] = []
    for column in columns:
        order = [*_LENGTHS] if column == "length" else sorted({*answers[column]} - {""})
        groups = dict(iter(answers.groupby(column, sort=False)))
        for value in order:
            if value in groups:
                part = groups[value]
                shares = shares_of(part["right"], part["assigned"])
                rows.append({"column": column, "value": value, **shares, "too_few": shares["n"] < FEWEST})
    return pd.DataFrame(rows)


def confusion_of(answers: pd.DataFrame) -> pd.DataFrame:
    """Return how many questions of each label were assigned which, or left to a person.

    Parameters
    ----------
    answers : DataFrame
        ``truth``, ``best``, ``assigned``.

    Returns
    -------
    DataFrame
        ``label``, ``said`` (the assigned label, or `REVIEW`), ``n``; what never happened is left out.

    Examples
    --------
    >>> answers = pd.DataFrame({"truth": ["a", "a", "b"], "best": ["a", "b", "b"], "assigned": [True, False, True]})
    >>> confusion_of(answers).to_numpy().tolist()
    [['a', '(review)', 1], ['a', 'a', 1], ['b', 'b', 1]]
    """
    said = answers["best"].where(answers["assigned"], REVIEW)
    counts = answers.assign(said=said).groupby(["truth", "said"], sort=True).size()
    return counts.rename("n").reset_index().rename(columns={"truth": "label"})


def promise_status(threshold: Threshold, n_right: int, n_assigned: int) -> str | None:
    """Say whether questions bear a promise out: kept, not kept, cannot say; None without a promise."""
    promise, confidence = threshold.promise, threshold.confidence
    if promise is None:
        return None
    if precision_lower_bound(n_right, n_assigned, confidence) >= promise:
        return "kept"
    broken = 1 - precision_lower_bound(n_assigned - n_right, n_assigned, confidence) < promise
    return "not kept" if broken else "cannot say"


def by_promise(answers: pd.DataFrame, threshold: Threshold, group: pd.Series[str] | None) -> pd.DataFrame:
    """Check the promise of one target again: over all questions, and for each group by itself.

    Parameters
    ----------
    answers : DataFrame
    threshold : Threshold
    group : Series of str or None
        Group of each question: what can be seen when the promise is relied on.

    Returns
    -------
    DataFrame
        ``group`` (empty over all), counts and shares, ``promise``, ``status``, ``too_few`` (of the assigned). The
        promise was made over all questions together; a group's status is for information.
    """
    parts = {"": answers}
    if group is not None:
        own = group.loc[answers.index]
        parts |= {value: answers[own == value] for value in sorted({*own} - {""})}
    rows = []
    for value, part in parts.items():
        shares = shares_of(part["right"], part["assigned"])
        status = promise_status(threshold, shares["n_assigned_right"], shares["n_assigned"])
        few = shares["n_assigned"] < FEWEST
        rows.append({"group": value, **shares, "promise": threshold.promise, "status": status, "too_few": few})
    return pd.DataFrame(rows)


def by_reason(answers: pd.DataFrame) -> pd.DataFrame:
    """Return why questions of one target were left to a person, and how often the best label was right."""
    rows = []
    for reason, part in answers[~answers["assigned"]].groupby("reason", sort=True):
        counts = {"reason": reason, "n": len(part), "n_right": int(part["right"].sum())}
        rows.append(with_share(counts, "accuracy", "n_right", "n"))
    return pd.DataFrame(rows)
