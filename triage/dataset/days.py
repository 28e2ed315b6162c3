"""Days and moments of checked cells."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from triage.dataset import checks


def day_of(cell: Any) -> date | None:
    """Return the day that a checked cell holds, None for an empty one."""
    if checks.is_missing(cell):
        return None
    return date.fromisoformat(cell.isoformat()[:10] if isinstance(cell, date) else cell)


def utc_of(moment: datetime | None = None) -> str:
    """Return a checked moment as ISO text in UTC, which it is taken for if it does not say; None is now."""
    if moment is None:
        moment = datetime.now(UTC)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
