"""Legal documents that were replaced or ran out: what an answer that cites them must not be reused for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Any, Self

import pandas as pd

from triage.dataset import checks, day_of, name_of, read_table
from triage.errors import Fault
from triage.register.table import to_day
from triage.text import citations
from triage.text.languages import load_language

#: Columns of a table of documents.
COLUMNS = ("document", "valid_from", "valid_to", "replaced_by")
_PARTS = ("article", "clause", "point")
_Key = tuple[str, str | None, str | None, str | None]


@lru_cache(maxsize=4096)
def _cited(text: str, language: str | None) -> tuple[tuple[_Key, str], ...]:
    """Return the documents that a text cites, each with the part, and as it is written; kept for the next question."""
    return tuple(
        ((found.document, *(getattr(found, part) for part in _PARTS)), found.text)
        for found in citations(text, language=language)
        if found.document
    )


@dataclass(frozen=True, eq=False)
class Documents:
    """A table of legal documents, or parts of them, that are not in force for ever; `read` makes and checks one.

    Attributes
    ----------
    rows : DataFrame
        ``document``, ``valid_from``, ``valid_to`` (both inclusive, ISO text, may be empty), ``replaced_by``.
    language : str or None
        Language whose data tells the spellings of one document.
    """

    rows: pd.DataFrame
    language: str | None = None

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

        def problem(cell: Any) -> str | None:
            wrong = checks.text_problem(cell)
            if wrong is None and len(_cited(cell, language)) != 1:
                known = f"in the way of language {language!r}" if language else "in a language, and none was named"
                return f"must cite one legal document, or one part of it, {known}"
            return wrong

        return cls(_checked(read_table(source), name_of(source), problem), language)

    @classmethod
    def from_state(cls, rows: Sequence[Mapping[str, Any]], language: str | None) -> Self:
        """Return the table that a bundle holds.

        That each row cites a document was told when the bundle was made. It is not asked again, as that takes spaCy,
        which is slow to import, and of which a desk that only decides has no need.

        Parameters
        ----------
        rows : sequence of mappings
        language : str or None

        Returns
        -------
        Documents

        Raises
        ------
        DatasetError
            If the table has other faults.
        ValueError
            If the language is not one whose citations are known.
        """
        if "citations" not in load_language(language):
            raise ValueError("documents must be of a language whose citations are known")
        return cls(_checked(pd.DataFrame(rows, columns=list(COLUMNS)), "documents", checks.text_problem), language)

    @cached_property
    def _of(self) -> dict[str, dict[_Key, list[Mapping[str, str]]]]:
        """The rows of each document by its parts, by their first days."""
        found: dict[str, dict[_Key, list[Mapping[str, str]]]] = {}
        for row in sorted(self.rows.to_dict("records"), key=lambda row: row["valid_from"]):
            for key, _ in _cited(row["document"], self.language):
                found.setdefault(key[0], {}).setdefault(key, []).append({str(name): cell for name, cell in row.items()})
        return found

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
        TypeError
            If `basis` is one text.
        ValueError
            If `as_of` is no day.
        """
        if isinstance(basis, str):
            raise TypeError("basis must be an iterable of texts, got one text; put it in a list")
        day = to_day(as_of).isoformat()
        for text in basis:
            for cited, written in _cited(text, self.language):
                said = [
                    problem
                    for key, periods in self._of.get(cited[0], {}).items()
                    if all(own is None or own == other for own, other in zip(key, cited, strict=True))
                    if (problem := _problem(periods, day))
                ]
                if said:
                    return f"cites {written}, {min(said)[1]}"
        return None


def _problem(periods: list[Mapping[str, str]], day: str) -> tuple[str, str] | None:
    """Return since when, and in words why, a document is in none of its periods on a day; None when it is in one."""
    begun = [row for row in periods if row["valid_from"] <= day]
    if not begun:
        return periods[0]["valid_from"], f"in force only from {periods[0]['valid_from']}"
    if any(not row["valid_to"] or day <= row["valid_to"] for row in begun):
        return None
    last = max(begun, key=lambda row: row["valid_to"])
    return last["valid_to"], _end(last)


def _checked(frame: pd.DataFrame, name: str, problem: Callable[[Any], str | None]) -> pd.DataFrame:
    """Return the rows of a table as text, or raise what is wrong with it; `problem` says so of one document."""
    faults = checks.absent_faults(COLUMNS[:3], frame) + checks.cell_faults(frame, "document", problem)
    for column in COLUMNS[1:3]:
        faults += checks.cell_faults(frame, column, checks.date_problem)
    no_day = {fault.row for fault in faults if fault.column in COLUMNS[1:3]}
    rows = [{column: _text(row.get(column)) for column in COLUMNS} for row in frame.to_dict("records")]
    faults += [
        Fault(place, "valid_to", f"must not be before valid_from, got {row['valid_from']} to {row['valid_to']}")
        for place, row in enumerate(rows, 1)
        if place not in no_day and row["valid_to"] and row["valid_to"] < row["valid_from"]
    ]
    checks.raise_if(faults, name)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _text(cell: Any) -> str:
    """Return a checked cell as text, empty where it holds nothing."""
    return "" if checks.is_missing(cell) else str(day_of(cell) if isinstance(cell, date) else cell)


def _end(row: Mapping[str, str]) -> str:
    if row["replaced_by"]:
        since = date.fromisoformat(row["valid_to"]) + timedelta(days=1)
        return f"replaced by {row['replaced_by']} from {since.isoformat()}"
    return f"in force until {row['valid_to']}"
