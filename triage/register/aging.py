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


def outdated(
    register: Register,
    rows: Iterable[Mapping[str, Any]],
    as_of: Any = None,
    *,
    documents: Documents | None = None,
    oldest_days: int | None = None,
) -> pd.DataFrame:
    """List the rows whose labels the register no longer bears out, and the answers that are out of date.

    Parameters
    ----------
    register : Register
    rows : iterable of mapping
        ``id``, ``matter_id``, ``date`` (its own day, may be empty), and the labels ``jurisdiction``, ``level`` and
        ``agency``, as far as known. An answer may have ``valid_to`` (its last day) and ``superseded_by`` (what took
        its place; from the day after ``valid_to`` on where there is one, else always), and as ``legal_basis`` a list
        of texts.
    as_of : date or ISO text, optional
        Today by default.
    documents : Documents, optional
        Legal documents that are not in force for ever: what the legal basis and the ``answer`` of a row cite counts.
    oldest_days : int, optional
        A row of more days before `as_of` is out of date.

    Returns
    -------
    DataFrame
        One line a row that is out of date: ``id``, ``matter_id``, ``date``, ``reason`` (``changed``: the matter is
        decided elsewhere now; ``contradicts``: it already was on the row's own day; ``ended``: no row of the register
        is valid; ``expired``: the answer's last day is over; ``superseded``; ``document``: what it rests on is not in
        force; ``old``), ``label`` and ``now``, who decides.

    Raises
    ------
    ValueError
        If `as_of`, or a day of a row, is no day.

    Examples
    --------
    >>> register = Register.read(pd.DataFrame({
    ...     "matter_id": ["M1", "M1"], "topic": ["liquor"] * 2, "matter_en": ["Retail licence"] * 2,
    ...     "jurisdiction": ["local"] * 2, "level": ["commune", "province"], "agency": ["", ""],
    ...     "valid_from": ["2025-07-01", "2026-01-01"], "valid_to": ["2025-12-31", ""]}))
    >>> row = {"id": "q1", "matter_id": "M1", "date": "2025-08-01", "jurisdiction": "local", "level": "commune"}
    >>> outdated(register, [row], "2026-02-01")[["id", "reason", "label", "now"]]
       id   reason          label             now
    0  q1  changed  local/commune  local/province
    """
    day = to_day(as_of)
    found = []
    for row in rows:
        reason, label, now = _reason(register, row, day, documents, oldest_days)
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
        As a row of `outdated`.
    as_of, documents, oldest_days
        As in `outdated`.

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
    reason, label, now = _reason(register, answer, day, documents, oldest_days)
    if reason is None:
        return None
    return {
        "document": None if documents is None else documents.problem(_basis(answer), day),
        "old": f"given on {answer.get('date')}, more than {oldest_days} days before",
        "superseded": f"superseded by {answer.get('superseded_by')}",
        "expired": f"valid until {answer.get('valid_to')}",
        "ended": f"nobody is competent for {answer.get('matter_id')} on the day",
    }.get(reason, f"competence changed from {label} to {now}")


def _basis(row: Mapping[str, Any]) -> list[str]:
    """Return the texts whose citations a row rests on."""
    cell: Any = row.get("legal_basis")
    basis = [cell] if isinstance(cell, str) else [] if checks.is_missing(cell) else list(cell)
    texts: list[Any] = [*basis, row.get("answer")]
    return [text for text in texts if not checks.is_missing(text)]


def _reason(
    register: Register | None,
    row: Mapping[str, Any],
    day: date,
    documents: Documents | None,
    oldest_days: int | None,
) -> tuple[str | None, str, str]:
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
    elif documents is not None and documents.problem(_basis(row), day):
        reason = "document"
    elif oldest_days is not None and "date" in cells and (day - to_day(cells["date"])).days > oldest_days:
        reason = "old"
    return reason, label, "" if now is None else body_of(now)
