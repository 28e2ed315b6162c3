"""What a change of law makes out of date: labels that were trained on, and answers that were given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import pandas as pd

from triage.dataset import checks
from triage.register.documents import Documents
from triage.register.table import BODY, Register, body_of, to_day

_COLUMNS = ("id", "matter_id", "date", "reason", "label", "now")


def outdated(register: Register, rows: Iterable[Mapping[str, Any]], as_of: Any = None) -> pd.DataFrame:
    """List the rows whose labels the register no longer bears out.

    Parameters
    ----------
    register : Register
    rows : iterable of mapping
        ``id``, ``matter_id``, ``date`` (its own day, may be empty), and the labels ``jurisdiction``, ``level`` and
        ``agency``, as far as known. An answer may have ``valid_to`` (its last day) and ``superseded_by`` (the id of
        the answer that took its place).
    as_of : date or ISO text, optional
        Today by default.

    Returns
    -------
    DataFrame
        One line a row that is out of date: ``id``, ``matter_id``, ``date``, ``reason`` (``changed``: the matter is
        decided elsewhere now; ``contradicts``: it already was on the row's own day; ``ended``: no row of the register
        is valid; ``expired``: the answer's last day is over; ``superseded``), ``label`` and ``now``, who decides.

    Raises
    ------
    ValueError
        If `as_of`, or a day of a row, is no day.
    """
    day = to_day(as_of)
    found = []
    for row in rows:
        reason, label, now = _reason(register, row, day)
        if reason:
            facts = {name: row[name] for name in ("matter_id", "date") if not checks.is_missing(row.get(name))}
            found.append((row["id"], facts.get("matter_id", ""), facts.get("date", ""), reason, label, now))
    return pd.DataFrame(found, columns=_COLUMNS)


def staleness(
    register: Register | None,
    answer: Mapping[str, Any],
    as_of: Any = None,
    *,
    documents: Documents | None = None,
    oldest_days: int | None = None,
) -> str | None:
    """Say in words why an answer is out of date.

    Parameters
    ----------
    register : Register or None
        None where only the answer itself can tell.
    answer : mapping
        As a row of `outdated`; its ``legal_basis`` is a list of texts.
    as_of : date or ISO text, optional
        Today by default.
    documents : Documents, optional
        Legal documents that are not in force for ever. Where an answer names no legal basis, what its text cites
        counts.
    oldest_days : int, optional
        An answer given more days before `as_of` is out of date.

    Returns
    -------
    str or None
        None when nothing says that it is out of date.

    Raises
    ------
    ValueError
        If `as_of`, or a day of the answer, is no day.

    Examples
    --------
    >>> staleness(None, {"id": "a1", "valid_to": "2025-12-31"}, "2026-03-01")
    'valid until 2025-12-31'
    """
    day = to_day(as_of)
    reason, label, now = _reason(register, answer, day)
    if reason is None:
        basis = answer.get("legal_basis") or [answer.get("answer") or ""]
        problem = None if documents is None else documents.problem(basis, day)
        given = answer.get("date")
        if problem is None and oldest_days is not None and not checks.is_missing(given):
            age = (day - to_day(given)).days
            problem = f"given {age} days ago" if age > oldest_days else None
        return problem
    return {
        "superseded": f"superseded by {answer.get('superseded_by')}",
        "expired": f"valid until {answer.get('valid_to')}",
        "ended": f"nobody is competent for {answer.get('matter_id')} on the day",
    }.get(reason, f"competence changed from {label} to {now}")


def _reason(register: Register | None, row: Mapping[str, Any], day: date) -> tuple[str | None, str, str]:
    """Return why a row is out of date (None when it is not), who decides by its labels, and who does on the day."""
    cells = {name: cell for name, cell in row.items() if not checks.is_missing(cell)}
    given = [name for name in BODY if isinstance(row.get(name), str)]  # an empty label says that it does not apply
    label = body_of({name: row[name] for name in given})
    place = -1 if register is None else register.number(str(cells.get("matter_id")))
    now, then = None, row
    if register is not None and place >= 0:
        valid = int(register.row_of(day)[place])
        now = register.facts(valid) if valid >= 0 else None
        own = int(register.row_of(to_day(cells["date"]))[place]) if "date" in cells else -1
        then = register.facts(own) if own >= 0 else row
    over = "valid_to" in cells and to_day(cells["valid_to"]) < day
    reason = None
    if "superseded_by" in cells and (over or "valid_to" not in cells):
        reason = "superseded"
    elif over:
        reason = "expired"
    elif place >= 0 and now is None:
        reason = "ended"
    elif now is not None and any(row[name] != now[name] for name in given):
        reason = "contradicts" if any(row[name] != then[name] for name in given) else "changed"
    return reason, label, "" if now is None else body_of(now)
