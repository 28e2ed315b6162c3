"""Items of the archive: rows in, checked, cleaned and masked; rows out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from triage.dataset import checks
from triage.errors import Fault
from triage.text import mask_personal_data


@dataclass(frozen=True)
class Item:
    """One answered question; an empty text is not known.

    Attributes
    ----------
    id, question : str
        Never empty.
    answer, topic, jurisdiction, level, agency, matter_id : str
    legal_basis : tuple of str
        No entry is empty, holds ``;`` or has white space around it.
    answered_at, valid_to : str
        ISO days; `valid_to` is the last one on which the answer holds.
    superseded_by : str
        What put the answer out of date.
    source, who : str
        Where it comes from, and who entered it.
    """

    id: str
    question: str
    answer: str = ""
    topic: str = ""
    jurisdiction: str = ""
    level: str = ""
    agency: str = ""
    matter_id: str = ""
    legal_basis: tuple[str, ...] = ()
    answered_at: str = ""
    valid_to: str = ""
    superseded_by: str = ""
    source: str = ""
    who: str = ""


#: Columns of a table of items.
COLUMNS = tuple(field.name for field in fields(Item))
_MASKED = ("question", "answer", "source", "who")
_BASIS_END = ";"


def rows_of(items: Item | Mapping[str, Any] | Iterable[Item | Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one or many items as rows.

    Parameters
    ----------
    items : Item, mapping or iterable of them

    Returns
    -------
    list of mapping

    Raises
    ------
    TypeError
        If one is neither an Item nor a mapping.
    """
    rows: list[Mapping[str, Any]] = []
    for number, item in enumerate([items] if isinstance(items, Item | Mapping) else items, 1):
        if not isinstance(item, Item | Mapping):
            raise TypeError(f"an item must be an Item or a mapping, got {type(item).__name__} as number {number}")
        rows.append(vars(item) if isinstance(item, Item) else item)
    return rows


def check_items(rows: Sequence[Mapping[str, Any]], *, source: str, language: str | None = None) -> list[Item]:
    """Check rows, and return them as items without personal data.

    Parameters
    ----------
    rows : sequence of mapping
        Columns of an item each; one that is absent is not known. ``legal_basis`` is a list or text parted by ``;``.
    source : str
        Where they come from, for errors.
    language : str, optional
        Whose personal data is masked besides the international kinds.

    Returns
    -------
    list of Item
        In the order of the rows.

    Raises
    ------
    DatasetError
        With every fault: columns that are not known, cells that are not as an item has them, an end before the
        answer, an id that occurs again with other content.

    Examples
    --------
    >>> row = {"id": "a1", "question": "Call me at hoa@example.com?", "legal_basis": "Law 1; Law 2"}
    >>> (item,) = check_items([row], source="items")
    >>> item.question, item.legal_basis
    ('Call me at [EMAIL]?', ('Law 1', 'Law 2'))
    """
    items: list[Item] = []
    faults: list[Fault] = []
    first: dict[str, tuple[int, Item]] = {}
    for number, row in enumerate(rows, 1):
        cells, found = _clean(row, language)
        faults += [Fault(number, column, problem) for column, problem in found]
        if found:
            continue
        item = Item(**cells)
        seen, same = first.setdefault(item.id, (number, item))
        if same != item:
            faults.append(Fault(number, "id", f"must be unique, but row {seen} has the same with other content"))
        items.append(item)
    checks.raise_if(faults, source)
    return items


def column_faults(columns: Iterable[Any]) -> list[Fault]:
    """Name the columns of a table that an item has not, and those it must have.

    Parameters
    ----------
    columns : iterable

    Returns
    -------
    list of Fault
    """
    names = list(columns)
    absent = [name for name in ("id", "question") if name not in names]
    faults = [Fault(None, checks.cut(name), _unknown(name)) for name in names if name not in COLUMNS]
    return faults + [
        Fault(None, name, f"must be there; the columns are {checks.listing(names, name)}") for name in absent
    ]


def frame_of(items: Iterable[Item], *, nested: bool) -> pd.DataFrame:
    """Return items as a table, ``legal_basis`` as lists if nested, else as text joined by ``;``.

    Parameters
    ----------
    items : iterable of Item
    nested : bool

    Returns
    -------
    DataFrame of shape (n_items, n_columns)
    """
    records = [
        vars(item) | {"legal_basis": list(item.legal_basis) if nested else join_basis(item.legal_basis)}
        for item in items
    ]
    return pd.DataFrame(records, columns=list(COLUMNS), dtype=object)


def join_basis(entries: Iterable[str]) -> str:
    """Write a legal basis as one text."""
    return f"{_BASIS_END} ".join(entries)


def split_basis(cell: str | Iterable[str]) -> tuple[str, ...]:
    """Read a legal basis from a text or a list of them."""
    parts = (part.strip() for entry in ([cell] if isinstance(cell, str) else cell) for part in entry.split(_BASIS_END))
    return tuple(filter(None, parts))


def _clean(row: Mapping[str, Any], language: str | None) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the cells of a row as an item has them, and what is wrong with it by column."""
    found = [(checks.cut(name), _unknown(name)) for name in row if name not in COLUMNS]
    cells: dict[str, Any] = {}
    for column, problem_of in _PROBLEMS.items():
        cell: Any = row.get(column)
        if isinstance(cell, str) and not cell.strip():
            cell = ""
        problem = problem_of(cell)
        if problem is None and column in _MASKED and not checks.is_missing(cell):
            cell = mask_personal_data(_text(cell), language=language)
            problem = problem_of(cell)  # a placeholder may be longer than what it replaces
        if problem is not None:
            found.append((column, problem))
        elif column == "legal_basis":
            cells[column] = () if checks.is_missing(cell) else split_basis(cell)
        else:
            cells[column] = _text(cell)
    if not found and cells["valid_to"] and cells["valid_to"] < cells["answered_at"]:
        days = f"{cells['answered_at']} to {cells['valid_to']}"
        found.append(("valid_to", f"must not be before answered_at, got {days}"))
    return cells, found


def _text(cell: Any) -> str:
    """Return a checked cell as text, a day in ISO form."""
    if checks.is_missing(cell):
        return ""
    return cell.isoformat()[:10] if isinstance(cell, date) else str(cell)


def _unknown(name: Any) -> str:
    return f"is no column of an item; those are {checks.listing(COLUMNS, name)}"


def _or_empty(problem: checks.Problem) -> checks.Problem:
    return lambda cell: None if checks.is_missing(cell) else problem(cell)


def _note_problem(cell: Any) -> str | None:
    """Check a free text, which a spreadsheet may have made a number."""
    return checks.text_problem(str(cell) if isinstance(cell, int) else cell)


def _basis_problem(cell: Any) -> str | None:
    entries = [cell] if isinstance(cell, str) else cell
    if not isinstance(entries, list | tuple | np.ndarray) or not all(isinstance(entry, str) for entry in entries):
        return f"must be a list of texts, or text parted by {_BASIS_END!r}, got {type(cell).__name__}"
    return checks.SAFE if any(checks.UNSAFE.search(entry) for entry in entries) else None


_PROBLEMS: dict[str, checks.Problem] = {
    "id": checks.label_problem(),
    "question": checks.text_problem,
    "answer": _or_empty(checks.text_problem),
    **dict.fromkeys(("topic", "jurisdiction", "level", "agency", "matter_id"), _or_empty(checks.label_problem())),
    "legal_basis": _or_empty(_basis_problem),
    **dict.fromkeys(("answered_at", "valid_to"), checks.date_problem),
    **dict.fromkeys(("superseded_by", "source", "who"), _or_empty(_note_problem)),
}
