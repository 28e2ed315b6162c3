"""The store of answered questions."""

from __future__ import annotations

import builtins
import difflib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.archive.duplicates import (
    THRESHOLD,
    bands_of,
    find_near_duplicates,
    find_new_near_duplicates,
    iter_near_duplicates,
)
from triage.archive.file import ArchiveFile
from triage.archive.items import COLUMNS, Item, check_items, column_faults, frame_of, join_basis, rows_of, split_basis
from triage.archive.results import Added, Change, NearDuplicate
from triage.dataset import Source, checks, day_of, read_table, utc_of, write_table
from triage.dataset.files import name_of
from triage.errors import ArchiveError, Fault
from triage.text import mask_personal_data

NearDuplicates: TypeAlias = Literal["report", "store"]

_COLUMNS = ", ".join(COLUMNS)
_BASIS = COLUMNS.index("legal_basis")
_PUT = f"INSERT INTO items (key, {_COLUMNS}) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"
_PART_ROWS = 100_000
_NEIGHBOURS = 6  # ids before and after one that is not known, to find what was meant


class Archive:
    """Answered questions in one SQLite file.

    A change is on the disk when the call returns. Threads and processes may use one file at the same time: writers
    wait for each other, readers never wait.

    Parameters
    ----------
    path : path
        The file. Beside it stand ``-wal`` and ``-shm`` while it is open, so copy it when it is not; `export` leaves
        out feedback and changes. A network drive does not lock as it must.
    language : str, optional
        Whose personal data is masked besides the international kinds. A new archive keeps it; it may be left out
        afterwards.
    create : bool, default=True
        Make the file if it is not there.

    Attributes
    ----------
    path : Path
    language : str or None
    identity : str
        What tells this archive from any other, drawn when it was made.

    Raises
    ------
    ArchiveError
        If the file is no archive, damaged, of a newer format, of another language, or not to be read.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> with Archive(Path(mkdtemp()) / "desk.archive") as archive:
    ...     archive.add({"id": "a1", "question": "Who signs the licence?", "answer": "The commune."}).added
    ...     archive.add({"id": "a2", "question": "who signs the license"}).near_duplicates[0].like
    ...     archive.update("a1", answer="The province.").answer
    ...     archive.changes(since=0)
    ('a1',)
    'a1'
    'The province.'
    [Change(sequence=1, id='a1', kind='put', replaced=None), Change(sequence=2, id='a1', kind='put', replaced=1)]
    """

    def __init__(self, path: str | Path, *, language: str | None = None, create: bool = True) -> None:
        self.path = Path(path).absolute()  # whoever changes folders later means the same file
        self._file = ArchiveFile(self.path, language=language, create=create)
        self.language, self.identity = self._file.language, self._file.identity

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open the file itself."""
        return partial(Archive, create=False), (self.path,)

    def close(self) -> None:
        """Close the file; closing twice is well."""
        self._file.close()

    # --- changes --------------------------------------------------------------------------------

    def add(
        self,
        items: Item | Mapping[str, Any] | Iterable[Item | Mapping[str, Any]],
        *,
        near_duplicates: NearDuplicates = "report",
    ) -> Added:
        """Add new items, all or none. Personal data in them is masked first.

        Parameters
        ----------
        items : Item, mapping or iterable of them
            A mapping holds columns of an item; ``id`` and ``question`` must be there.
        near_duplicates : {"report", "store"}, default="report"
            Whether an item in nearly the words of another (see `triage.archive.duplicates`) is only reported, or
            stored as well.

        Returns
        -------
        Added

        Raises
        ------
        DatasetError
            With every faulty item by number from 1, also those whose id the archive has with other content.
        """
        return self._add(rows_of(items), near_duplicates, "items")

    def import_table(
        self, source: Source | pd.DataFrame, *, format: str | None = None, near_duplicates: NearDuplicates = "report"
    ) -> Added:
        """Add the items of a table, all or none.

        Parameters
        ----------
        source, format
            As for `triage.dataset.read_table`. Columns as of an Item, ``id`` and ``question`` at least.
        near_duplicates : {"report", "store"}, default="report"
            As in `add`; "store" to take over the whole of another archive.

        Returns
        -------
        Added

        Raises
        ------
        DatasetError
            With every fault by row and column.
        """
        frame = read_table(source, format=format)
        checks.raise_if(column_faults(frame.columns), name_of(source))
        return self._add(cast("list[dict[str, Any]]", frame.to_dict("records")), near_duplicates, name_of(source))

    def update(self, id: str, /, *, near_duplicates: NearDuplicates = "report", **cells: Any) -> Item:
        """Change an item; nothing is stored when that changes nothing.

        Parameters
        ----------
        id : str
        near_duplicates : {"report", "store"}, default="report"
            Whether a question in nearly the words of another item's, which it was not before, is only reported, by an
            error, or stored all the same.
        **cells
            Columns of an item but ``id``, and their new content.

        Returns
        -------
        Item
            As stored.

        Raises
        ------
        ArchiveError
            If there is no such item, or it would be a near duplicate.
        ValueError
            If the id is among the columns, or `near_duplicates` is neither.
        DatasetError
            If a column is not known, or a cell not as an item has it.
        """
        if "id" in cells:
            raise ValueError("an id must stay the same; add an item under the new id and remove the old one")
        _check_way(near_duplicates)
        with self._file.transaction() as connection:
            key, old = self._find(connection, id)
            (new,) = check_items([vars(old) | cells], source=f"item {checks.cut(repr(id))}", language=self.language)
            if new != old:
                if near_duplicates == "report" and new.question != old.question:
                    self._refuse_near(find_new_near_duplicates(connection, old, new))
                _delete(connection, key, old)
                _put(connection, [new], bands_of([new.question]), replaced=key)
        return new

    def remove(self, id: str) -> None:
        """Remove an item.

        Parameters
        ----------
        id : str

        Raises
        ------
        ArchiveError
            If there is no such item.
        """
        with self._file.transaction() as connection:
            key, old = self._find(connection, id)
            _delete(connection, key, old)
            record = "INSERT INTO changes (id, kind, replaced, at) VALUES (?, 'remove', ?, ?)"
            connection.execute(record, [old.id, key, utc_of()])

    # --- items ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._file.connection() as connection:
            (n_items,) = connection.execute("SELECT count(*) FROM items").fetchone()
        return int(n_items)

    def __iter__(self) -> Iterator[Item]:
        return self.items()

    def get(self, id: str) -> Item:
        """Return an item.

        Parameters
        ----------
        id : str

        Returns
        -------
        Item

        Raises
        ------
        ArchiveError
            If there is no such item.
        """
        with self._file.connection() as connection:
            return self._find(connection, id)[1]

    def list(
        self,
        *,
        topic: str | None = None,
        jurisdiction: str | None = None,
        level: str | None = None,
        agency: str | None = None,
        matter_id: str | None = None,
        since: Any = None,
    ) -> builtins.list[Item]:
        """Return the items that pass every filter, by key; the time grows with the archive.

        Parameters
        ----------
        topic, jurisdiction, level, agency, matter_id : str, optional
            What the column must say; ``""`` for items that do not say it.
        since : date or ISO text, optional
            Answered on that day or later.

        Returns
        -------
        list of Item

        Raises
        ------
        ValueError
            If `since` is no day.
        """
        if problem := checks.date_problem(since):
            raise ValueError(f"since {problem}")
        labels = {"topic": topic, "jurisdiction": jurisdiction, "level": level, "agency": agency}
        labels |= {"matter_id": matter_id}
        wanted = {f"{column} = ?": value for column, value in labels.items() if value is not None}
        if day := day_of(since):
            wanted["answered_at >= ?"] = day.isoformat()
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        with self._file.connection() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM items {where} ORDER BY key", [*wanted.values()])
            return [_item(row) for row in rows]

    def items(self) -> Iterator[Item]:
        """Read all items by key, in the memory of one block.

        Yields
        ------
        Item
            Of the archive as it was at the first one.
        """
        for block in self.blocks():
            yield from (item for _, item in block)

    def export(self, path: str | Path) -> None:
        """Write all items as a table, beside `path` and then renamed into place.

        Parameters
        ----------
        path : path
            As for `triage.dataset.write_table`: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, ``.xlsx``. Only XLSX is
            safe to be opened in a spreadsheet. ``legal_basis`` is a list in JSON Lines, else text joined by ``;``.

        Raises
        ------
        DatasetError
            If the format cannot hold a text.
        """
        nested = str(path).lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))
        write_table(frame_of(self.items(), nested=nested), path)

    def duplicates(self, threshold: float = THRESHOLD) -> builtins.list[NearDuplicate]:
        """Return the pairs of items in nearly the same words.

        Of more than fifty items in the same words, or nearly, each is paired with the first ones, not with all others.

        Parameters
        ----------
        threshold : float, default=0.6
            Least similarity, in [0.6, 1].

        Returns
        -------
        list of NearDuplicate
            Most similar first.

        Raises
        ------
        ValueError
            If `threshold` is out of range.
        """
        if not THRESHOLD <= threshold <= 1:
            raise ValueError(f"threshold must be in [{THRESHOLD}, 1], got {threshold}; below, most pairs are not found")
        with self._file.transaction("DEFERRED") as connection:
            return sorted(iter_near_duplicates(connection, threshold), key=lambda pair: -pair.similarity)

    # --- following ------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Number of the last change, 0 before the first."""
        with self._file.connection() as connection:
            return _version(connection)

    def time_of(self, sequence: int) -> str | None:
        """Return when a change was made, as ISO text in UTC; None for one that this archive has not."""
        with self._file.connection() as connection:
            row = connection.execute("SELECT at FROM changes WHERE sequence = ?", [sequence]).fetchone()
        return None if row is None else str(row[0])

    def changes(self, since: int) -> builtins.list[Change]:
        """Return what changed.

        Parameters
        ----------
        since : int
            A `version` of this archive.

        Returns
        -------
        list of Change
            The later changes, in their order.

        Raises
        ------
        ValueError
            If the archive never had that version.
        """
        with self._file.transaction("DEFERRED") as connection:
            version = _version(connection)
            if not 0 <= since <= version:
                raise ValueError(f"since must be in [0, {version}] (the version), got {since}; read the archive anew")
            rows = connection.execute(
                "SELECT sequence, id, kind, replaced FROM changes WHERE sequence > ? ORDER BY sequence", [since]
            )
            return [Change(*row) for row in rows]

    def keys(self) -> npt.NDArray[np.int64]:
        """Return the current keys.

        Returns
        -------
        int64 array of shape (n_items,)
            Ascending.
        """
        with self._file.connection() as connection:
            keys = connection.execute("SELECT key FROM items")  # from the index of ids, which is small
            return np.sort(np.fromiter((key for (key,) in keys), np.int64))

    def keys_on(self, matter_ids: Sequence[str], most: int) -> npt.NDArray[np.int64]:
        """Return the latest keys of items on some matters.

        Parameters
        ----------
        matter_ids : sequence of str
        most : int
            At most so many of each matter.

        Returns
        -------
        int64 array of shape (n_items,)
            Of the first matter latest first, then of the next.
        """
        query = "SELECT key FROM items WHERE matter_id = ? ORDER BY key DESC LIMIT ?"
        with self._file.connection() as connection:
            keys = [key for matter in matter_ids for (key,) in connection.execute(query, [matter, most])]
        return np.array(keys, np.int64)

    def of_keys(self, keys: Sequence[int] | npt.NDArray[np.int64]) -> builtins.list[Item | None]:
        """Return items by key.

        Parameters
        ----------
        keys : sequence of int, of length n_keys

        Returns
        -------
        list of Item or None, of length n_keys
            In the order of `keys`; None for a key that is no longer current.
        """
        wanted = [int(key) for key in keys]
        query = f"SELECT key, {_COLUMNS} FROM items WHERE key IN (SELECT value FROM json_each(?))"
        with self._file.connection() as connection:
            found = {key: _item(row) for key, *row in connection.execute(query, [json.dumps(wanted)])}
        return [found.get(key) for key in wanted]

    def blocks(self, n_rows: int = 4096) -> Iterator[builtins.list[tuple[int, Item]]]:
        """Read all items with their keys, by key.

        Parameters
        ----------
        n_rows : int, default=4096
            Largest number of items of a block, at least 1.

        Yields
        ------
        list of (int, Item)
            Of the archive as it was at the first block, whatever is written meanwhile.

        Raises
        ------
        ValueError
            If `n_rows` is less than 1.
        """
        if n_rows < 1:
            raise ValueError(f"n_rows must be at least 1, got {n_rows}")
        with self._file.transaction("DEFERRED") as connection:
            rows = connection.execute(f"SELECT key, {_COLUMNS} FROM items ORDER BY key")
            while block := rows.fetchmany(n_rows):
                yield [(key, _item(row)) for key, *row in block]

    # --- feedback -------------------------------------------------------------------------------

    def feedback(
        self, question: str, suggestion_id: str, accepted: bool, who: str = "", at: datetime | None = None
    ) -> None:
        """Store whether a suggested item was the answer to a question. Personal data is masked first.

        Parameters
        ----------
        question : str
        suggestion_id : str
            Id of an item; the feedback stays when the item is removed.
        accepted : bool
        who : str, default=""
        at : datetime, optional
            Now by default; in UTC if it does not say.

        Raises
        ------
        DatasetError
            If an argument is not as said.
        ArchiveError
            If there is no such item.
        """
        problems = {
            "question": checks.text_problem(question),
            "accepted": None if isinstance(accepted, bool | np.bool_) else "must be True or False",
            "who": checks.text_problem(who) if who else None,
            "at": checks.moment_problem(at),
        }
        checks.raise_if([Fault(None, name, problem) for name, problem in problems.items() if problem], "feedback")
        masked = [mask_personal_data(text, language=self.language) for text in (question, who)]
        with self._file.transaction() as connection:
            self._find(connection, suggestion_id)
            connection.execute(
                "INSERT INTO feedback (question, suggestion_id, accepted, who, at) VALUES (?, ?, ?, ?, ?)",
                [masked[0], suggestion_id, bool(accepted), masked[1], utc_of(at)],
            )

    def feedback_rows(self) -> pd.DataFrame:
        """Return the feedback as re-asked questions to train on.

        Returns
        -------
        DataFrame of shape (n_feedback, 5)
            In the order given: ``text``, ``archive_id`` (the item if accepted, else ``""``), ``near`` (the item if
            not), ``date`` (UTC) and ``who``.
        """
        query = """
            SELECT question AS text, iif(accepted, suggestion_id, '') AS archive_id,
                   iif(accepted, '', suggestion_id) AS near, substr(at, 1, 10) AS date, who
            FROM feedback ORDER BY number"""
        with self._file.connection() as connection:
            rows = connection.execute(query)
            columns = [name for name, *_ in rows.description]
            return pd.DataFrame(rows.fetchall(), columns=columns, dtype=object)

    # --- inside ---------------------------------------------------------------------------------

    def _add(self, rows: Sequence[Mapping[str, Any]], near_duplicates: NearDuplicates, source: str) -> Added:
        _check_way(near_duplicates)
        items = check_items(rows, source=source, language=self.language)
        bands = bands_of([item.question for item in items])
        first = {item: place for place, item in reversed([*enumerate(items)])}
        new: list[int] = []
        unchanged: list[str] = []
        faults: list[Fault] = []
        with self._file.transaction() as connection:
            for item, place in sorted(first.items(), key=lambda pair: pair[1]):
                stored = _stored(connection, item.id)
                if stored is None:
                    new.append(place)
                elif stored[1] == item:
                    unchanged.append(item.id)
                else:
                    problem = "must be new, but the archive has it with other content; change that by update"
                    faults.append(Fault(place + 1, "id", problem))
            checks.raise_if(faults, source)
            store = near_duplicates == "store"
            found = find_near_duplicates(connection, [items[place] for place in new], bands[new], store=store)
            kept = [place for place, like in zip(new, found, strict=True) if store or like is None]
            _put(connection, [items[place] for place in kept], bands[kept])
        ids = tuple(items[place].id for place in kept)
        return Added(ids, tuple(unchanged), tuple(like for like in found if like is not None))

    def _refuse_near(self, found: Sequence[NearDuplicate]) -> None:
        """Raise if a changed item is nearly the same as others."""
        if found:
            id, like = (checks.cut(repr(name)) for name in (found[0].id, found[0].like))
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            problem = f"item {id} is not changed, because it would be {found[0].similarity:.0%} like item {like}{more}"
            raise ArchiveError(path=self.path, problem=problem, remedy="change that, or let near duplicates be stored")

    def _find(self, connection: sqlite3.Connection, id: str) -> tuple[int, Item]:
        """Return an item and its key, or say which ids are near."""
        if not isinstance(id, str) or checks.UNSAFE.search(id):
            problem = f"got {type(id).__name__}" if not isinstance(id, str) else "got some; check where it comes from"
            raise ValueError(f"an id must be text without NUL characters and lone surrogates, {problem}")
        stored = _stored(connection, id)
        if stored is not None:
            return stored
        near = connection.execute(
            "SELECT id FROM (SELECT id FROM items WHERE id > ?1 ORDER BY id LIMIT ?2) UNION ALL "
            "SELECT id FROM (SELECT id FROM items WHERE id < ?1 ORDER BY id DESC LIMIT ?2)",
            [id, _NEIGHBOURS],
        )
        ids = [other for (other,) in near]
        nearest = difflib.get_close_matches(id, ids, 3, 0) or ["none"]
        remedy = f"the nearest ids are {', '.join(map(checks.cut, nearest))}"
        raise ArchiveError(path=self.path, problem=f"has no item {checks.cut(repr(id))}", remedy=remedy)


def _check_way(near_duplicates: str) -> None:
    if near_duplicates not in ("report", "store"):
        raise ValueError(f"near_duplicates must be 'report' or 'store', got {near_duplicates!r}")


def _item(row: Sequence[str]) -> Item:
    cells: list[Any] = [*row]
    if not all(isinstance(cell, str) for cell in cells):
        raise sqlite3.DatabaseError("a damaged file may hold what was never stored")
    cells[_BASIS] = split_basis(cells[_BASIS])
    return Item(*cells)


def _stored(connection: sqlite3.Connection, id: str) -> tuple[int, Item] | None:
    row = connection.execute(f"SELECT key, {_COLUMNS} FROM items WHERE id = ?", [id]).fetchone()
    return None if row is None else (row[0], _item(row[1:]))


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM changes").fetchone()
    return int(version)


def _put(
    connection: sqlite3.Connection, items: Sequence[Item], bands: npt.NDArray[np.int64], replaced: int | None = None
) -> None:
    """Store items under new keys."""
    first, now = _version(connection) + 1, utc_of()
    keys = np.arange(first, first + len(items))
    connection.executemany(
        "INSERT INTO changes (sequence, id, kind, replaced, at) VALUES (?, ?, 'put', ?, ?)",
        ((key, item.id, replaced, now) for key, item in zip(keys.tolist(), items, strict=True)),
    )
    connection.executemany(_PUT, ([key, *_cells(item)] for key, item in zip(keys.tolist(), items, strict=True)))
    order = np.argsort(bands, axis=None)  # so that each page of the table is written once
    for part in np.array_split(order, len(order) // _PART_ROWS + 1):
        pairs = np.column_stack((bands.ravel()[part], keys[part // bands.shape[1]]))
        connection.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", pairs.tolist())


def _delete(connection: sqlite3.Connection, key: int, item: Item) -> None:
    connection.execute("DELETE FROM items WHERE key = ?", [key])
    own = ((band, key) for band in bands_of([item.question])[0].tolist())
    connection.executemany("DELETE FROM bands WHERE band = ? AND key = ?", own)


def _cells(item: Item) -> list[str]:
    cells: list[Any] = [*vars(item).values()]
    cells[_BASIS] = join_basis(item.legal_basis)
    return cells
