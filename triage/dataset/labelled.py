"""A table of questions with their labels, to measure what desks say of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from triage.dataset import checks
from triage.dataset.days import day_of
from triage.errors import Fault

#: What marks messages that belong to no class: a boolean column, or a label that no class has (as in CLINC150).
OUT_OF_SCOPE_COLUMN, OUT_OF_SCOPE_LABEL = "out_of_scope", "oos"

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Questions with their labels as text.

    Attributes
    ----------
    texts : Series of str, of length n_rows
    labels : DataFrame of str, of shape (n_rows, n_targets)
        Empty where a cell is.
    known : DataFrame of bool, of shape (n_rows, n_targets)
        Where a label can be right or wrong: it is there, or to be empty is a label too.
    outside : Series of bool, of length n_rows
        Messages that belong to no class.
    days : list of date or None, of length n_rows; or None
        Day of each question; None where it is not to be read.
    """

    texts: pd.Series[str]
    labels: pd.DataFrame
    known: pd.DataFrame
    outside: pd.Series[bool]
    days: list[date | None] | None

    @property
    def inside(self) -> pd.Series[bool]:
        """The questions with a label for at least one target, (n_rows,)."""
        inside: pd.Series[bool] = self.known.any(axis=1)
        return inside


def read_labelled(
    frame: pd.DataFrame,
    text: str,
    columns: Mapping[str, str],
    classes: Mapping[str, Collection[str]],
    *,
    dated: bool,
    absent: str | None = None,
) -> Labelled:
    """Read questions with their labels from a table.

    Parameters
    ----------
    frame : DataFrame
        Its index counts from 0.
    text : str
        Column of the questions.
    columns : mapping of str to str
        Column of each target.
    classes : mapping of str to collection of str
        Labels that are known of each target.
    dated : bool
        Whether column ``date`` is read.
    absent : str, optional
        What is wrong with the columns as a whole, to be told with the other faults.

    Returns
    -------
    Labelled

    Raises
    ------
    DatasetError
        If the frame has no rows, no column `text` or a list or object in it, what `absent` says, a day that is none,
        or ``out_of_scope`` holds anything but true and false; all faults are named.
    """
    flags = as_text(frame.get(OUT_OF_SCOPE_COLUMN, pd.Series("", frame.index))).str.lower()
    faults = [Fault(None, None, "must have a row or more")] if frame.empty else []
    if text not in frame:
        faults.append(Fault(None, text, f"must exist; the columns are {checks.column_names(frame.columns)}"))
    faults += [Fault(None, None, absent)] if absent else []
    faults += checks.cell_faults(frame, text, checks.nested_problem)
    bad = np.flatnonzero(~flags.isin(["true", "false", ""])) + 1
    faults += [Fault(row, OUT_OF_SCOPE_COLUMN, "must be true or false") for row in bad.tolist()]
    faults += checks.cell_faults(frame, "date", checks.date_problem) if dated else []
    checks.raise_if(faults, "DataFrame")
    labels = pd.DataFrame({target: as_text(frame[column]) for target, column in columns.items()}, frame.index)
    outside = flags == "true"
    for target in columns:
        outside |= (labels[target] == OUT_OF_SCOPE_LABEL) & (OUT_OF_SCOPE_LABEL not in classes[target])
    known = pd.DataFrame({target: (labels[target] != "") | ("" in classes[target]) for target in columns}, frame.index)
    known[outside] = False
    days = [day_of(cell) for cell in frame["date"]] if dated else None
    return Labelled(as_text(frame[text]), labels, known, outside, days)


def as_text(column: pd.Series[Any]) -> pd.Series[str]:
    """Return cells as text, missing ones empty; whole numbers beside a gap are whole, lone surrogates replaced."""
    column = column.convert_dtypes() if column.dtype.kind == "f" else column
    cells = column.astype(object).where(column.notna(), "")
    # A column of text in Arrow cannot hold lone surrogates.
    whole = [_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", str(cell)) for cell in cells]
    return pd.Series(whole, column.index, str, column.name)
