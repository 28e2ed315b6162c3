"""Labels against the register: what the row of a question's matter says on its day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import pandas as pd

from triage.dataset import as_text, checks, day_of
from triage.quality.findings import Finding
from triage.register import BODY, Register

_LABELS = ("topic", *BODY)


def register_findings(frame: pd.DataFrame, register: Register, columns: Sequence[str]) -> Iterator[Finding]:
    """Find labels that the register contradicts, of the questions whose matter is given.

    Parameters
    ----------
    frame : DataFrame
        With a column ``matter_id``. Where a column ``date`` is filled the row of that day counts; else, and where no
        row is valid on the day, a label that one of the matter's rows has is good.
    register : Register
    columns : sequence of str
        Columns of the frame that may be labels.

    Yields
    ------
    Finding
    """
    labels = [name for name in _LABELS if name in columns and name in register.rows.columns]
    rows_of: dict[str, list[int]] = defaultdict(list)
    for place, number in enumerate(register.matter_of_row.tolist()):
        rows_of[register.matters[number]].append(place)
    said = as_text_rows(register.rows[labels])
    given = as_text_rows(frame[labels])
    matters = as_text(frame["matter_id"]).tolist()
    days = frame["date"].tolist() if "date" in columns else [None] * len(frame)
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    valid: dict[object, list[int]] = {}
    for row, (matter, cell) in enumerate(zip(matters, days, strict=True)):
        if matter == "":
            continue
        if matter not in rows_of:
            found["matter_id", f"matter {checks.cut(repr(matter))} is not in the register"].append(row + 1)
            continue
        day = None if checks.date_problem(cell) else day_of(cell)
        if day is not None and day not in valid:
            valid[day] = register.row_of(day).tolist()
        own = -1 if day is None else valid[day][register.number(matter)]
        for column, name in enumerate(labels):
            may = [said[one][column] for one in ([own] if own >= 0 else rows_of[matter])]
            if given[row][column] not in may:
                known = " or ".join(repr(label) for label in dict.fromkeys(may))
                message = f"{matter} has {name} {known}, the question {checks.cut(repr(given[row][column]))}"
                found[name, message].append(row + 1)
    for (name, message), rows in found.items():
        yield Finding("register", name, tuple(rows), message)


def as_text_rows(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the rows of a table as text."""
    if frame.shape[1] == 0:
        return [()] * len(frame)
    return list(zip(*(as_text(frame[name]).tolist() for name in frame.columns), strict=True))
