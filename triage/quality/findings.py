"""What a check finds: rows of one kind with what is the matter, and all of it together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

#: Kinds of findings with what each is, in the order in which they are told.
KINDS = {
    "unlabelled": "label is missing",
    "empty": "nothing to read in the text",
    "constant": "column with one value",
    "encoding": "characters that were read or written wrongly",
    "long": "text much longer than the others",
    "label_spelling": "labels that differ only by case, space or Unicode form",
    "unknown_label": "label that the taxonomy does not name",
    "small_class": "class too small to learn or to judge",
    "contradiction": "copies with different labels",
    "leak": "copies in different splits",
    "shared": "copies by different groups",
    "duplicate": "copies",
    "suspect": "label that is probably wrong",
    "register": "label that contradicts the register",
    "shortcut": "words that alone decide a class; look whether they should",
}


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    column : str
        Column of the table: the text's, a target's or another.
    rows : tuple of int
        Numbers of the rows, from 1.
    message : str
        What is the matter. Never a text; labels, and of a shortcut its words.
    """

    kind: str
    column: str
    rows: tuple[int, ...]
    message: str


@dataclass(frozen=True, eq=False)
class Quality:
    """What a check of labelled questions found.

    Attributes
    ----------
    n_rows : int
        Rows of the table.
    n_judged : int
        Rows whose labels were judged: those with a text and all labels.
    findings : DataFrame
        One row a finding: ``kind`` (of `KINDS`, in their order), ``column``, ``n_rows``, ``rows`` (numbers from 1),
        ``ids`` (None without a column ``id``), ``message``.
    suspects : DataFrame
        What `label_suspects` gives, with all its numbers.
    """

    n_rows: int
    n_judged: int
    findings: pd.DataFrame
    suspects: pd.DataFrame

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each kind, without those of none."""
        counts = self.findings["kind"].value_counts()
        return {kind: int(counts[kind]) for kind in KINDS if kind in counts}

    def records(self) -> list[dict[str, Any]]:
        """Return the findings as plain JSON values; a suspect with all its numbers."""
        numbers = iter(_records(self.suspects.drop(columns=["row", "id", "target"])))
        return [
            {**finding, **(next(numbers) if finding["kind"] == "suspect" else {})}
            for finding in _records(self.findings)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "n_rows": self.n_rows,
            "n_judged": self.n_judged,
            "counts": self.counts(),
            "findings": self.records(),
        }

    def summary(self) -> str:
        """Return for people what was found, a line a kind."""
        lines = [f"{self.n_rows} rows, the labels of {self.n_judged} judged"]
        for kind, n in self.counts().items():
            n_rows = len({row for rows in self.findings["rows"][self.findings["kind"] == kind] for row in rows})
            lines.append(f"{kind}: {n} in {n_rows} rows ({KINDS[kind]})")
        return "\n".join([*lines, *(["nothing found"] if len(lines) == 1 else [])]) + "\n"


def table_of(findings: Sequence[Finding], ids: Sequence[Any] | None) -> pd.DataFrame:
    """Return findings as a table, by kind; within a kind in the order given."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    records = [
        {
            "kind": finding.kind,
            "column": finding.column,
            "n_rows": len(finding.rows),
            "rows": list(finding.rows),
            "ids": None if ids is None else [ids[row - 1] for row in finding.rows],
            "message": finding.message,
        }
        for finding in sorted(findings, key=lambda one: order[one.kind])
    ]
    return pd.DataFrame(records, columns=["kind", "column", "n_rows", "rows", "ids", "message"], dtype=object)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values."""
    return [
        {str(name): cell.item() if hasattr(cell, "item") else cell for name, cell in row.items()}
        for row in frame.to_dict("records")
    ]
