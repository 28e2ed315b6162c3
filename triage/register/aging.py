"""What a change of law makes out of date: labels that were trained on, and answers that were given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from triage.dataset import checks
from triage.register.table import ROUTE, Register, body_of, to_day

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
    """
    day = to_day(as_of)
    number = {matter: place for place, matter in enumerate(register.matters)}
    valid = register.row_of(day)
    found = []
    for row in rows:
        cells = {name: cell for name, cell in row.items() if not checks.is_missing(cell)}
        given = [name for name in ROUTE if isinstance(row.get(name), str)]  # an empty label says that it does not apply
        place = number.get(str(cells.get("matter_id")), -1)
        now = None if place < 0 or valid[place] < 0 else register.facts(valid[place])
        reason = None
        if "superseded_by" in cells:
            reason = "superseded"
        elif "valid_to" in cells and to_day(cells["valid_to"]) < day:
            reason = "expired"
        elif place >= 0 and now is None:
            reason = "ended"
        elif now is not None and any(row[name] != now[name] for name in given):
            own = register.row_of(to_day(cells["date"]))[place] if "date" in cells else -1
            then = register.facts(own) if own >= 0 else row
            reason = "contradicts" if any(row[name] != then[name] for name in given) else "changed"
        if reason:
            label = body_of({name: row[name] for name in given})
            told = (
                cells.get("matter_id", ""),
                cells.get("date", ""),
                reason,
                label,
                "" if now is None else body_of(now),
            )
            found.append((row["id"], *told))
    return pd.DataFrame(found, columns=_COLUMNS)
