"""Tables of a competence register: which body decides a matter, from when to when."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd

from triage.dataset import checks
from triage.dataset.days import day_of
from triage.dataset.files import Source, name_of, read_table
from triage.dataset.taxonomy import Taxonomy
from triage.errors import Fault

#: Targets that a competence register brings, and the column of questions and register in which each stands.
#: An empty cell there says that the target does not apply, and is a label like any other.
REGISTER_TARGETS = {"level": "level", "agency": "agency", "matter": "matter_id"}

_NAME = re.compile("matter_(?!id$).+")
_COLUMNS = ("matter_id", "topic", "jurisdiction", "level", "agency", "valid_from", "valid_to")


def read_register_table(
    source: Source | pd.DataFrame, *, taxonomy: Taxonomy | None = None, format: str | None = None
) -> pd.DataFrame:
    """Read the rows of a competence register, and name every fault.

    Parameters
    ----------
    source, format
        As in :func:`read_table`. Columns ``matter_id``, ``topic``, ``matter_<language>`` (one or more),
        ``jurisdiction``, ``level``, ``agency``, ``valid_from``, ``valid_to``; others are kept.
    taxonomy : Taxonomy, optional
        With it topics, jurisdictions, levels and agencies must be those it names.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        One row a matter and period. ``valid_from`` and ``valid_to`` are ISO dates, both inclusive, or empty (open).

    Raises
    ------
    DatasetError
        With every fault: a column or cell that is not as said, an end before its start, and periods of one matter
        that overlap or leave a day between them.
    """
    frame = read_table(source, format=format)
    faults = checks.absent_faults(_COLUMNS, frame)
    if not name_columns(frame):
        faults.append(Fault(None, None, "must have a column matter_<language> with the matter's name"))
    known = {} if taxonomy is None else _known_labels(taxonomy)
    for column in _COLUMNS[:3]:
        faults += checks.cell_faults(frame, column, checks.label_problem(known.get(column)))
    for column in _COLUMNS[3:5]:
        faults += checks.cell_faults(frame, column, _or_empty(checks.label_problem(known.get(column) or None)))
    for column in _COLUMNS[5:]:
        faults += checks.cell_faults(frame, column, checks.date_problem)
    for column in name_columns(frame)[:1]:  # the one that questions are held against
        faults += checks.cell_faults(frame, column, checks.text_problem)
    for column in [str(name) for name in frame.columns if name not in (*_COLUMNS, *name_columns(frame)[:1])]:
        faults += checks.cell_faults(frame, column, _unsafe)
    if not any(fault.row is None or fault.column in ("matter_id", *_COLUMNS[5:]) for fault in faults):
        faults += _period_faults(frame)
    checks.raise_if(faults, name_of(source))
    return frame


def name_columns(frame: pd.DataFrame) -> list[str]:
    """List the columns with names of matters, ``matter_<language>``."""
    return [str(column) for column in frame.columns if _NAME.fullmatch(str(column))]


def _known_labels(taxonomy: Taxonomy) -> dict[str, list[str]]:
    return {
        "topic": [topic.id for topic in taxonomy.topics],
        "jurisdiction": list(taxonomy.jurisdictions),
        "level": list(taxonomy.levels),
        "agency": list(taxonomy.agencies),
    }


def _unsafe(cell: Any) -> str | None:
    return checks.SAFE if isinstance(cell, str) and checks.UNSAFE.search(cell) else None


def _or_empty(problem: checks.Problem) -> checks.Problem:
    return lambda cell: None if checks.is_missing(cell) else problem(cell)


def _period_faults(frame: pd.DataFrame) -> list[Fault]:
    """Name the rows that end before they start, and those that do not go on where the matter's last period ended."""
    faults = []
    periods: dict[Any, list[tuple[date, date, int]]] = {}
    for row, (matter, *days) in enumerate(zip(*(frame[c] for c in ("matter_id", *_COLUMNS[-2:])), strict=True), 1):
        start, end = day_of(days[0]) or date.min, day_of(days[1]) or date.max
        if end < start:
            faults.append(Fault(row, "valid_to", f"must not be before valid_from, got {start} to {end}"))
        else:
            periods.setdefault(str(matter), []).append((start, end, row))
    for spans in periods.values():
        spans.sort()
        for (_, end, row), (start, _, later) in pairwise(spans):
            if start <= end:
                faults.append(Fault(later, "valid_from", f"must not overlap with row {row}, which ends {_shown(end)}"))
            elif start - end > timedelta(1):
                problem = f"must be the day after row {row} ends, {_shown(end)}, got {start}: nobody would be competent"
                faults.append(Fault(later, "valid_from", problem))
    return faults


def _shown(day: date) -> str:
    return "never" if day == date.max else day.isoformat()
