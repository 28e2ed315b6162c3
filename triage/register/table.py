"""A competence register: its rows by day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.dataset import Taxonomy, day_of, name_columns, read_register_table
from triage.records import Match

#: What a row says of a matter besides its names, in the order shown.
FACTS = ("topic", "jurisdiction", "level", "agency", "legal_basis", "source", "confidence", "note")
BODY = ("jurisdiction", "level", "agency")  # the labels that name who decides, and that change hands
_SOURCES = ("source", "source_url")  # columns that may say where a row comes from

Matcher = Callable[..., list[list[Match]]]


@dataclass(frozen=True, eq=False)
class Register:
    """Matters with the body that decides each, period by period.

    Attributes
    ----------
    rows : DataFrame of shape (n_rows, n_columns)
        Checked rows, all text; an empty cell says nothing.
    matcher : callable or None
        How a trained desk matches texts; None for a register by itself.

    Examples
    --------
    >>> rows = pd.DataFrame({
    ...     "matter_id": ["M1", "M1"], "topic": "minerals", "matter_en": "Mining licence", "agency": ["finance", ""],
    ...     "jurisdiction": ["other_agency", "local"], "level": ["", "province"],
    ...     "valid_from": ["2025-07-01", "2026-09-15"], "valid_to": ["2026-09-14", ""]})
    >>> register = Register.read(rows)
    >>> register.valid("2026-01-01")["jurisdiction"].tolist()
    ['other_agency']
    >>> register.changes("2026-01-01", "2026-12-31")[["date", "from", "to"]].values.tolist()
    [['2026-09-15', 'other_agency/finance', 'local/province']]
    """

    rows: pd.DataFrame
    matcher: Matcher | None = field(default=None, repr=False)

    @classmethod
    def read(cls, source: Any, taxonomy: Taxonomy | None = None) -> Self:
        """Read and check a register.

        Parameters
        ----------
        source : path, DataFrame or Register
            As for `triage.dataset.read_register_table`.
        taxonomy : Taxonomy, optional
            With it topics, jurisdictions, levels and agencies must be those it names.

        Returns
        -------
        Register

        Raises
        ------
        DatasetError
            If the table has faults; all of them are named.
        """
        if isinstance(source, Register):
            source = source.rows
        frame = read_register_table(source, taxonomy=taxonomy).reset_index(drop=True)
        for column in ("valid_from", "valid_to"):
            frame[column] = [str(day_of(cell) or "") for cell in frame[column]]
        return cls(frame.astype(object).where(frame.notna(), "").astype(str))

    def __len__(self) -> int:
        return len(self.rows)

    # --- days -----------------------------------------------------------------------------------

    def valid(self, as_of: Any = None) -> pd.DataFrame:
        """Return the rows valid on a day, one a matter.

        Parameters
        ----------
        as_of : date or ISO text, optional
            Today by default.

        Returns
        -------
        DataFrame
            Rows of the register, with its index.

        Raises
        ------
        ValueError
            If `as_of` is no day.
        """
        found = self.row_of(to_day(as_of))
        return self.rows.iloc[np.sort(found[found >= 0])]

    def changes(self, since: Any, until: Any = None) -> pd.DataFrame:
        """Return what changed hands.

        Parameters
        ----------
        since, until : date or ISO text
            First and last day of a change; `until` is today by default.

        Returns
        -------
        DataFrame
            One row a change, by date: ``date`` (first day of the new state), ``matter_id``, ``name``, ``change``
            (``moved``, ``started`` or ``ended``), ``from`` and ``to`` (jurisdiction, and level or agency; empty
            where nobody is named), ``legal_basis`` of the new state.

        Raises
        ------
        ValueError
            If `until` lies before `since`, or one is no day.
        """
        first, last = to_day(since), to_day(until)
        if last < first:
            raise ValueError(f"until must not be before since, got {since} to {until or 'today'}")
        found = []
        for number, matter in enumerate(self.matters):
            rows = np.flatnonzero(self.matter_of_row == number)
            rows = rows[np.argsort(self._start[rows])]
            for before, after in pairwise([None, *rows.tolist(), None]):
                named = before if after is None else after
                if named is None:
                    continue
                day = self._end[named] + 1 if after is None else self._start[named]
                if not first.toordinal() <= day <= last.toordinal():
                    continue
                old, new = ("" if row is None else body_of(self._facts[row]) for row in (before, after))
                if old != new:
                    found.append(
                        {
                            "date": date.fromordinal(int(day)).isoformat(),
                            "matter_id": matter,
                            "name": self._names[named],
                            "change": "started" if before is None else "ended" if after is None else "moved",
                            "from": old,
                            "to": new,
                            "legal_basis": "" if after is None else self._facts[after].get("legal_basis", ""),
                        }
                    )
        columns = ["date", "matter_id", "name", "change", "from", "to", "legal_basis"]
        return pd.DataFrame(found, columns=columns).sort_values(["date", "matter_id"], ignore_index=True)

    def expiring(self, within_days: int, as_of: Any = None) -> pd.DataFrame:
        """Return the rows that end soon.

        Parameters
        ----------
        within_days : int
            From `as_of` on, at least 0.
        as_of : date or ISO text, optional
            Today by default.

        Returns
        -------
        DataFrame
            Rows valid on `as_of` whose last day is at most `within_days` later, by that day; ``followed`` says
            whether another period follows.

        Raises
        ------
        ValueError
            If `within_days` is negative, or `as_of` is no day.
        """
        if within_days < 0:
            raise ValueError(f"within_days must be at least 0, got {within_days}")
        day = to_day(as_of).toordinal()
        found = self.row_of(date.fromordinal(day))
        found = found[found >= 0]
        found = found[self._end[found] <= day + within_days]
        found = found[np.argsort(self._end[found], kind="stable")]
        starts = {(matter, start) for matter, start in zip(self.matter_of_row, self._start, strict=True)}
        followed = [(self.matter_of_row[row], self._end[row] + 1) in starts for row in found]
        return self.rows.iloc[found].assign(followed=followed)

    def row_of(self, day: date) -> npt.NDArray[np.intp]:
        """Return the row of each matter that is valid on a day.

        Parameters
        ----------
        day : date

        Returns
        -------
        intp array of shape (n_matters,)
            -1 where no row is valid.
        """
        found = np.full(len(self.matters), -1)
        rows = np.flatnonzero((self._start <= day.toordinal()) & (day.toordinal() <= self._end))
        found[self.matter_of_row[rows]] = rows
        return found

    def of_each(self, as_of: Any = None) -> pd.DataFrame:
        """Return one row a matter: the one valid on a day, else its last.

        Parameters
        ----------
        as_of : date or ISO text, optional
            Today by default.

        Returns
        -------
        DataFrame
            Rows of the register, with its index.

        Raises
        ------
        ValueError
            If `as_of` is no day.
        """
        found = self.row_of(to_day(as_of))
        return self.rows.iloc[np.where(found < 0, self.last_row, found)]

    def epoch(self, day: date) -> int:
        """Return a number that is the same for all days between which nothing starts or ends.

        Parameters
        ----------
        day : date

        Returns
        -------
        int
        """
        return int(np.searchsorted(self._boundaries, day.toordinal(), side="right"))

    # --- matters --------------------------------------------------------------------------------

    @cached_property
    def matters(self) -> list[str]:
        """Ids of the matters, in the order of the rows."""
        return list(dict.fromkeys(self.rows["matter_id"]))

    @cached_property
    def _number(self) -> dict[str, int]:
        return {matter: number for number, matter in enumerate(self.matters)}

    def number(self, matter: str) -> int:
        """Return the number of a matter in `matters`, -1 for one that the register has not."""
        return self._number.get(matter, -1)

    @cached_property
    def matter_of_row(self) -> npt.NDArray[np.intp]:
        """Number in `matters` of each row."""
        return np.array([self._number[matter] for matter in self.rows["matter_id"]], np.intp)

    @cached_property
    def last_row(self) -> npt.NDArray[np.intp]:
        """Row of each matter's last period, whatever the order of the rows."""
        last = np.zeros(len(self.matters), np.intp)
        order = np.argsort(self._start, kind="stable")
        last[self.matter_of_row[order]] = order
        return last

    def name_column(self, language: str | None = None) -> str:
        """Return the column of the matters' names, that of a language if there is one, else the first."""
        columns = name_columns(self.rows)
        return f"matter_{language}" if f"matter_{language}" in columns else columns[0]

    def names(self, language: str | None, rows: Any) -> list[str]:
        """Return the matters' names in some rows, in a language as far as there are any.

        Parameters
        ----------
        language : str or None
        rows : sequence of int

        Returns
        -------
        list of str
        """
        first, own = self.name_column(), self.name_column(language)
        chosen = self.rows.iloc[list(rows)]
        return [name or other for name, other in zip(chosen[own], chosen[first], strict=True)]

    def facts(self, row: int) -> dict[str, Any]:
        """Return what a row says, as plain values of the caller's own."""
        facts = self._facts[row]
        return {**facts, "names": dict(facts["names"])}

    def match(self, texts: Iterable[str], as_of: Any = None, k: int = 5) -> list[list[Match]]:
        """Match texts to matters, by the trained desk that the register belongs to.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        as_of : optional
            As in `triage.Triager.predict`.
        k : int, default=5
            Matters a text, at least 1.

        Returns
        -------
        list of list of Match
            Most probable first: `k` matters, and that there is none (``matter`` None) where training had such
            questions.

        Raises
        ------
        ValueError
            If the register belongs to no trained desk, or an argument is out of range.
        TypeError
            If `texts` is one string or holds anything but strings.
        """
        if self.matcher is None:
            raise ValueError(
                "match needs a trained desk, got a register by itself; use the register of a Triager: "
                "triage.load('models/land').register.match(texts)"
            )
        return self.matcher(texts, as_of=as_of, k=k)

    def __getstate__(self) -> dict[str, Any]:
        """Take the rows along, not the desk; a desk binds its register again."""
        return {"rows": self.rows, "matcher": None}

    def bound(self, matcher: Matcher) -> Register:
        """Return the register with a way to match texts."""
        return replace(self, matcher=matcher)

    # --- derived --------------------------------------------------------------------------------

    @cached_property
    def _start(self) -> npt.NDArray[np.int64]:
        return np.array([(day_of(cell) or date.min).toordinal() for cell in self.rows["valid_from"]], np.int64)

    @cached_property
    def _end(self) -> npt.NDArray[np.int64]:
        return np.array([(day_of(cell) or date.max).toordinal() for cell in self.rows["valid_to"]], np.int64)

    @cached_property
    def _boundaries(self) -> npt.NDArray[np.int64]:
        return np.unique(np.concatenate((self._start, self._end + 1)))

    @cached_property
    def _names(self) -> list[str]:
        return self.rows[self.name_column()].tolist()

    @cached_property
    def _facts(self) -> list[dict[str, Any]]:
        source = next((column for column in _SOURCES if column in self.rows), None)
        columns = {fact: fact for fact in FACTS if fact in self.rows} | ({"source": source} if source else {})
        names = {column.removeprefix("matter_"): column for column in name_columns(self.rows)}
        return [
            {
                "matter_id": row["matter_id"],
                "names": {language: row[column] for language, column in names.items() if row[column]},
                **{fact: row[columns[fact]] for fact in FACTS if fact in columns},
                "valid_from": row["valid_from"] or None,
                "valid_to": row["valid_to"] or None,
            }
            for row in self.rows.to_dict("records")
        ]


def body_of(facts: Mapping[str, Any]) -> str:
    """Name the body that labels stand for: jurisdiction, and level or agency.

    Parameters
    ----------
    facts : mapping

    Returns
    -------
    str

    Examples
    --------
    >>> body_of({"jurisdiction": "local", "level": "province", "agency": ""})
    'local/province'
    """
    return "/".join(filter(None, (facts.get(name) for name in BODY)))


def to_day(value: Any) -> date:
    """Return a day.

    Parameters
    ----------
    value : date, ISO text or None
        None for today.

    Returns
    -------
    date

    Raises
    ------
    ValueError
        If it is no day.

    Examples
    --------
    >>> to_day("2025-10-01")
    datetime.date(2025, 10, 1)
    """
    if value is None:
        return date.today()
    if isinstance(value, np.datetime64) and not np.isnat(value):
        value = value.astype("datetime64[D]").item()
    try:
        if isinstance(value, date):  # NaT is one as well, and has no ordinal
            return date.fromordinal(value.toordinal())
        return date.fromisoformat(value)
    except (AttributeError, TypeError, ValueError):
        kind = type(value).__name__
        raise ValueError(f"a day must be a date or text such as '2025-10-01', got other {kind}") from None
