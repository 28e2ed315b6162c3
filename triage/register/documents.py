"""Legal documents that were replaced or ran out: what an answer that cites them must not be reused for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Self

import pandas as pd

from triage.dataset import checks, day_of, name_of, read_table
from triage.errors import Fault
from triage.register.table import to_day
from triage.text import citations

#: Columns of a table of documents.
COLUMNS = ("document", "valid_from", "valid_to", "replaced_by")
_PARTS = ("article", "clause", "point")
_Key = tuple[str, str | None, str | None, str | None]


@lru_cache(maxsize=4096)
def _cited(text: str, language: str | None) -> tuple[_Key, ...]:
    """Return the documents that a text cites, each with the part; kept, as the same answers are found again."""
    return tuple(
        (found.document, *(getattr(found, part) for part in _PARTS))
        for found in citations(text, language=language)
        if found.document
    )


@dataclass(frozen=True)
class Documents:
    """A table of legal documents, or parts of them, that are not in force for ever.

    Attributes
    ----------
    rows : DataFrame
        ``document``, ``valid_from``, ``valid_to`` (both inclusive, ISO text, may be empty), ``replaced_by``.
    language : str or None
        Language whose data tells the spellings of one document.
    """

    rows: pd.DataFrame
    language: str | None = None
    _of: dict[str, list[tuple[_Key, Mapping[str, str]]]] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, source: Any, language: str | None = None) -> Self:
        """Read and check a table of documents.

        Parameters
        ----------
        source : Documents, DataFrame or path
        language : str, optional

        Returns
        -------
        Documents

        Raises
        ------
        DatasetError
            If the table has faults; all are named. A document must be cited in a way that the language's data knows.

        Examples
        --------
        >>> table = pd.DataFrame({"document": ["Nghị định 151/2025/NĐ-CP Điều 5"], "valid_from": ["2025-07-01"],
        ...     "valid_to": ["2026-01-30"], "replaced_by": ["Nghị định 49/2026/NĐ-CP"]})
        >>> documents = Documents.read(table, "vi")
        >>> documents.problem(["NĐ 151/2025 Đ5 k1"], "2026-02-01")
        'cites NĐ 151/2025 Đ5 k1, replaced by Nghị định 49/2026/NĐ-CP from 2026-01-31'
        """
        if isinstance(source, cls):
            return source
        frame = read_table(source)

        def problem(cell: Any) -> str | None:
            wrong = checks.text_problem(cell)
            if wrong is None and len(_cited(cell, language)) != 1:
                return "must cite one legal document or one part of it, such as 'Nghị định 151/2025/NĐ-CP Điều 5'"
            return wrong

        faults = checks.absent_faults(COLUMNS[:3], frame) + checks.cell_faults(frame, "document", problem)
        for column in COLUMNS[1:3]:
            faults += checks.cell_faults(frame, column, checks.date_problem)
        no_day = {fault.row for fault in faults if fault.column in COLUMNS[1:3]}
        rows = [{name: _text(row.get(name)) for name in COLUMNS} for row in frame.to_dict("records")]
        faults += [
            Fault(place, "valid_to", f"must not be before valid_from, got {row['valid_from']} to {row['valid_to']}")
            for place, row in enumerate(rows, 1)
            if place not in no_day and row["valid_to"] and row["valid_to"] < row["valid_from"]
        ]
        checks.raise_if(faults, name_of(source))
        documents = cls(pd.DataFrame(rows, columns=list(COLUMNS)), language)
        for row in sorted(rows, key=lambda row: row["valid_to"] or "9999"):  # what ended first is said first
            (key,) = _cited(row["document"], language)
            documents._of.setdefault(key[0], []).append((key, row))
        return documents

    def problem(self, basis: Iterable[str], as_of: Any = None) -> str | None:
        """Say which of the documents that an answer rests on is not in force.

        Parameters
        ----------
        basis : iterable of str
            Texts with citations.
        as_of : date or ISO text, optional
            Today by default.

        Returns
        -------
        str or None
            The first of them in words; None when the table lists none. A row for a part of a document says nothing
            of answers that cite the whole.

        Raises
        ------
        ValueError
            If `as_of` is no day.
        """
        day = to_day(as_of)
        for text in basis:
            for cited in _cited(text, self.language):
                for key, row in self._of.get(cited[0], []):
                    inside = all(own is None or own == other for own, other in zip(key, cited, strict=True))
                    if inside and row["valid_to"] and date.fromisoformat(row["valid_to"]) < day:
                        return f"cites {text}, {_end(row)}"
                    if inside and row["valid_from"] and day < date.fromisoformat(row["valid_from"]):
                        return f"cites {text}, in force only from {row['valid_from']}"
        return None


def _text(cell: Any) -> str:
    """Return a checked cell as text, empty where it holds nothing."""
    return "" if checks.is_missing(cell) else str(day_of(cell) if isinstance(cell, date) else cell)


def _end(row: Mapping[str, str]) -> str:
    if row["replaced_by"]:
        since = date.fromisoformat(row["valid_to"]) + timedelta(days=1)
        return f"replaced by {row['replaced_by']} from {since.isoformat()}"
    return f"in force until {row['valid_to']}"
