"""What cells must be, and how faults are worded: never by what a cell of text says."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from functools import lru_cache
from itertools import filterfalse
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from triage.errors import DatasetError, Fault

MAX_TEXT_CHARS = 1_000_000
UNSAFE = re.compile("[\0\ud800-\udfff]")
SAFE = "must not hold NUL characters or lone surrogates"

#: The check of one cell: what is wrong with it, None when it is good.
Problem: TypeAlias = Callable[[Any], "str | None"]

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MAX_REPR_CHARS = 40
_MAX_LISTED = 12
_MAX_NAME_CHARS, _MAX_NAME_WORDS, _MAX_NAME_DIGITS = 30, 4, 4  # more, and it is no name but a text


def raise_if(faults: Sequence[Fault], source: str | Path) -> None:
    """Raise one error with all faults in the order of their rows, if there are any."""
    if faults:
        raise DatasetError(source=source, faults=sorted(faults, key=lambda fault: fault.row or 0))


def must_be_frame(frame: Any) -> None:
    """Refuse what is no table in memory, with a TypeError."""
    if not isinstance(frame, pd.DataFrame):
        remedy = "read a file with triage.dataset.read_table"
        raise TypeError(f"the table must be a DataFrame, got {type(frame).__name__}; {remedy}")


def cell_faults(frame: pd.DataFrame, column: str, problem: Problem, first: int = 1) -> list[Fault]:
    """Apply a check to every cell of a column, if it is there; rows count from `first`."""
    if column not in frame.columns:
        return []
    cells = frame[column]
    cells = cells.convert_dtypes() if cells.dtype.kind == "f" else cells  # whole numbers beside a gap are whole
    found = ((row, problem(cell)) for row, cell in enumerate(cells.tolist(), first))
    return [Fault(row, shown(column), what) for row, what in found if what]


def text_problem(cell: Any) -> str | None:
    """Check a question's text."""
    if not isinstance(cell, str):
        return "must not be missing" if is_missing(cell) else f"must be text, got {type(cell).__name__}"
    if not cell.strip():
        return "must not be blank"
    if len(cell) > MAX_TEXT_CHARS:
        return f"must have at most {MAX_TEXT_CHARS:,} characters, got {len(cell):,}"
    return SAFE if UNSAFE.search(cell) else None


def nested_problem(cell: Any) -> str | None:
    """Check a cell that is read as text where numbers and days may stand as well."""
    nested = isinstance(cell, bytes | bytearray | list | tuple | set | dict | np.ndarray)
    return f"must be text, got {type(cell).__name__}" if nested else None


def label_problem(known: Collection[Any] | None = None) -> Problem:
    """Make the check of a label, against the known ones if given."""

    @lru_cache(maxsize=None, typed=True)
    def unknown(cell: Any) -> str:
        return f"must be one of {listing(known or (), cell)}, got {cut(repr(cell))}"

    def problem(cell: Any) -> str | None:
        if is_missing(cell):
            return "must not be missing"
        if not isinstance(cell, str | int | np.bool_ | np.integer):
            return f"must be text, a whole number or a boolean, got {type(cell).__name__}"
        if isinstance(cell, str) and (cell != cell.strip() or UNSAFE.search(cell)):
            return f"must have no white space around it, no NUL and no lone surrogate, got {cut(repr(cell))}"
        return None if known is None or cell in known else unknown(cell)

    return problem


def date_problem(cell: Any) -> str | None:
    """Check a date; it may be empty."""
    if is_missing(cell) or isinstance(cell, date):
        return None
    try:
        date.fromisoformat(cell if isinstance(cell, str) and _ISO_DATE.fullmatch(cell) else "")
    except ValueError:
        return "must be an ISO date such as 2025-07-01, or empty"
    return None


def moment_problem(value: Any) -> str | None:
    """Check a moment; None is now."""
    return None if value is None or (isinstance(value, datetime) and value == value) else "must be a datetime"


def repeat_faults(frame: pd.DataFrame, column: str) -> list[Fault]:
    """Name the rows whose cell stood in an earlier row already."""
    first: dict[str, int] = {}
    cells = enumerate(frame[column].tolist() if column in frame.columns else [], 1)
    found = ((row, first.setdefault(str(cell), row)) for row, cell in cells if not is_missing(cell))
    return [Fault(row, column, f"must be unique, but row {seen} has the same") for row, seen in found if row != seen]


def column_faults(columns: Iterable[Any]) -> list[Fault]:
    """Check the names of columns."""
    counts = Counter(columns)
    faults = [Fault(None, shown(key), f"must be unique, occurs {n} times") for key, n in counts.items() if n > 1]
    return faults + [Fault(None, shown(key), SAFE) for key in counts if UNSAFE.search(str(key))]


def absent_faults(columns: Sequence[str], frame: pd.DataFrame) -> list[Fault]:
    """Name the columns that are not there."""
    there = list(frame.columns)
    absent = [column for column in columns if column not in there]
    return [Fault(None, column, f"must be there; the columns are {column_names(there, column)}") for column in absent]


def is_missing(cell: Any) -> bool:
    """Say whether a cell holds nothing: None, NaN, NA, NaT or an empty text."""
    if isinstance(cell, str):
        return not cell
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell)


def shown(name: Any) -> str:
    """Return a column's name to be shown; of what is a text only its length, as a file without a header has one."""
    return f"({len(str(name))} characters)" if _is_text(name) else str(name)


def column_names(columns: Iterable[Any], wanted: Any = None) -> str:
    """List the first columns of a table: in brackets, or with the one nearest to what was wanted."""
    names = list(map(str, columns))
    headless = any(map(_is_text, names))
    # Beside a text, what has more than one word may be the name of who wrote it.
    hidden = {name for name in names if _is_text(name) or (headless and len(name.split()) > 1)}
    listed = ", ".join(f"({len(name)} characters)" if name in hidden else repr(name) for name in names[:_MAX_LISTED])
    listed += f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    listed = f"[{listed}]" if wanted is None else listed + _nearest([*filterfalse(hidden.__contains__, names)], wanted)
    return listed + (" (the first line must hold the column names)" if headless else "")


def _is_text(name: Any) -> bool:
    """Say whether a column's name reads as a text, a number that is somebody's or an address of e-mail."""
    name = str(name)
    many = len(name) > _MAX_NAME_CHARS or len(name.split()) > _MAX_NAME_WORDS or "@" in name
    return many or sum(map(str.isdigit, name)) > _MAX_NAME_DIGITS


def cut(name: Any) -> str:
    """Cut a value to be shown; for the name of a column see `shown`."""
    text = str(name)
    return text if len(text) <= _MAX_REPR_CHARS else text[: _MAX_REPR_CHARS - 1] + "…"


def listing(known: Iterable[Any], wanted: Any) -> str:
    """List the first known values, and the one nearest to what was wanted."""
    values = sorted(known, key=str) if isinstance(known, set | frozenset) else list(known)
    rest = f" and {len(values) - _MAX_LISTED} more" if len(values) > _MAX_LISTED else ""
    return ", ".join(cut(repr(value)) for value in values[:_MAX_LISTED]) + rest + _nearest(values, wanted)


def _nearest(known: Iterable[Any], wanted: Any) -> str:
    near = difflib.get_close_matches(str(wanted), list(map(str, known)), 1)
    return f" (did you mean {cut(repr(near[0]))}?)" if near else ""
