"""Labelled questions: every cell that training relies on is checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from triage.dataset import checks
from triage.dataset.files import Source, name_of, read_table
from triage.errors import Fault

SPLITS = ("train", "valid", "test")


def read_questions(
    source: Source | pd.DataFrame,
    *,
    text: str = "text",
    targets: Sequence[str] = ("topic", "jurisdiction"),
    split: str | None = None,
    classes: Mapping[str, Collection[Any]] | None = None,
    format: str | None = None,
) -> pd.DataFrame:
    """Read labelled questions, and name every fault at once, in the order of the rows.

    Parameters
    ----------
    source, format
        As in :func:`read_table`.
    text : str, default="text"
        Column of the questions: text, not blank, at most 1,000,000 characters, no NUL, no lone surrogate.
    targets : sequence of str
        Columns of the labels: text without white space around it, whole numbers or booleans; never missing.
    split : str, optional
        Column that holds ``train``, ``valid`` or ``test``; None for a table without one.
    classes : mapping of str to collection, optional
        Target to its allowed labels.

    Returns
    -------
    DataFrame of shape (n_questions, n_columns)
        All columns, as read, labels that are whole numbers as integers. A column ``id`` is unique and a column
        ``date`` holds ISO dates, where filled.

    Raises
    ------
    TypeError
        If `targets` is a bare string.

    Examples
    --------
    >>> read_questions(pd.DataFrame({"text": ["Who signs?"], "label": ["land"]}), targets=["label"])
             text label
    0  Who signs?  land
    """
    if isinstance(targets, str):
        raise TypeError(f"targets must be a sequence of column names, got the bare string {targets!r}")
    frame = read_table(source, format=format)
    faults = checks.absent_faults([text, *targets, *([split] if split else [])], frame)
    if frame.empty:
        faults.append(Fault(None, None, "must have at least one row, got none"))
    problems: dict[str, checks.Problem] = {"date": checks.date_problem}
    problems |= {split: checks.label_problem(SPLITS)} if split else {}
    problems |= {target: checks.label_problem((classes or {}).get(target)) for target in targets}
    problems[text] = checks.text_problem
    for column in dict.fromkeys([text, *targets, *problems]):
        faults += checks.cell_faults(frame, column, problems[column])
    if "id" not in (text, *targets):
        faults += checks.repeat_faults(frame, "id")
    checks.raise_if(faults, name_of(source))
    # Whole numbers that stood beside a gap once are floats in pandas.
    whole = {target: frame[target].astype("int64") for target in targets if frame[target].dtype.kind == "f"}
    return frame.assign(**whole) if whole else frame


def fingerprint(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """Hash what some columns of a table say, whatever file, index or pandas version it comes from.

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits, over lines of compact ASCII JSON: the list of `columns`, then for every row
        the list of its cells as ``str``; a missing cell counts as ``""``.

    Examples
    --------
    >>> fingerprint(pd.DataFrame({"text": ["a"]}), ["text"])[:16]
    '57cb7f86cae447e8'
    """
    checks.raise_if(checks.absent_faults(columns, frame), "DataFrame")
    digest = hashlib.sha256()
    for row in [list(columns), *zip(*(frame[column].tolist() for column in columns), strict=True)]:
        cells = ["" if checks.is_missing(cell) else str(cell) for cell in row]
        digest.update(json.dumps(cells, separators=(",", ":")).encode("ascii") + b"\n")
    return digest.hexdigest()
