"""The archive's file: SQLite, opened with care, and what its errors mean.

To change the format: raise `FORMAT` by one, teach `ArchiveFile` to bring the old one up to date in one transaction, add
a golden archive under ``tests/data`` that is never touched again, and a line in CHANGELOG.md. The bands of
`triage.archive.duplicates` and the normal form of text that they rest on are part of the format.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from triage.archive.items import COLUMNS
from triage.errors import ArchiveError
from triage.text.languages import load_language

FORMAT = 1

_APPLICATION = 0x74726961  # "tria"
_WAIT_S = 600  # for another writer, such as an import of a million items
_CACHE_KIB = 65_536
_MAX_LOG_BYTES = 67_108_864  # of the write-ahead log that is kept between two long imports

_SCHEMA = f"""
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
    CREATE TABLE changes (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('put', 'remove')),
        replaced INTEGER,
        at TEXT NOT NULL
    );
    CREATE TABLE items (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        {", ".join(f"{column} TEXT NOT NULL" for column in COLUMNS[1:])}
    );
    CREATE INDEX items_by_matter ON items (matter_id, key);
    CREATE TABLE bands (band INTEGER, key INTEGER, PRIMARY KEY (band, key)) WITHOUT ROWID;
    CREATE TABLE feedback (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        question TEXT NOT NULL,
        suggestion_id TEXT NOT NULL,
        accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)),
        who TEXT NOT NULL,
        at TEXT NOT NULL
    );
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {FORMAT};
"""

_NO_ARCHIVE = "must be an archive, but is another kind of file or damaged"
_RESTORE = "give another file, or restore it from an export or a copy"
_FAILURES = (sqlite3.Error, UnicodeDecodeError)  # the latter where a damaged file is quoted in SQLite's own error
_MEANINGS = {
    sqlite3.SQLITE_FULL: ("the disk is full, and nothing of this was stored", "free space and do it again"),
    sqlite3.SQLITE_IOERR: ("the disk failed or is full, and nothing of this was stored", "look to it and do it again"),
    sqlite3.SQLITE_BUSY: (f"another program has been writing for {_WAIT_S} s", "wait for it and do it again"),
    sqlite3.SQLITE_READONLY: ("file and folder must be writable", "change their permissions or the user"),
    sqlite3.SQLITE_CANTOPEN: ("file and folder must be readable and writable", "change their permissions or the user"),
    sqlite3.SQLITE_CORRUPT: ("must be whole, but is damaged", _RESTORE),
    sqlite3.SQLITE_NOTADB: (_NO_ARCHIVE, _RESTORE),
}


class ArchiveFile:
    """Connections to the file: one for each piece of work at the same time, kept to be used again.

    Parameters
    ----------
    path : Path
    language : str or None
        For a new archive; an old one has its own, which must be the same if given.
    create : bool
        Whether a file that is not there is made.
    """

    def __init__(self, path: Path, *, language: str | None, create: bool) -> None:
        load_language(language)
        self.path = path
        self._open = True
        self._idle: dict[int, list[sqlite3.Connection]] = defaultdict(list)  # by process: a fork must not use them
        try:
            self._find(language, create)
        except OSError as error:
            raise self._error(f"must be within reach, but: {error.strerror}", "check path and permissions") from error
        with self.connection() as connection:
            self._check_format(connection)
            settings = dict(connection.execute("SELECT name, value FROM settings"))
        stored = settings.get("language")
        self.identity: str = settings.get("identity") or ""
        if language not in (None, stored):
            raise self._error(f"must be opened with its language {stored!r}, got {language!r}", "leave it out")
        self.language: str | None = stored

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection.

        Yields
        ------
        sqlite3.Connection

        Raises
        ------
        ArchiveError
            If the archive is closed, or the file cannot be read or written.
        """
        if not self._open:
            raise self._error("the archive is closed", "open it again")
        idle = self._idle[os.getpid()]
        try:
            connection = idle.pop() if idle else self._connect()
        except _FAILURES as error:
            raise self._error(*_meaning(error)) from error
        try:
            yield connection
        except _FAILURES as error:
            connection.close()  # a new one knows what became of the disk
            raise self._error(*_meaning(error)) from error
        except BaseException:
            idle.append(connection)
            raise
        else:
            idle.append(connection)
        finally:
            if not self._open:
                self.close()

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Lend a connection for changes that are stored all or not at all.

        Parameters
        ----------
        kind : {"IMMEDIATE", "DEFERRED"}, default="IMMEDIATE"
            The latter to read one state of the archive over many statements.

        Yields
        ------
        sqlite3.Connection
        """
        with self.connection() as connection:
            connection.execute(f"BEGIN {kind}")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connections that are not lent; the others are closed when given back."""
        self._open = False
        idle = self._idle[os.getpid()]
        while idle:
            idle.pop().close()

    def _connect(self) -> sqlite3.Connection:
        address = f"{self.path.as_uri()}?mode=rw"
        connection = sqlite3.connect(
            address, uri=True, timeout=_WAIT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(f"PRAGMA journal_size_limit = {_MAX_LOG_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _find(self, language: str | None, create: bool) -> None:
        if self.path.is_dir():
            raise self._error("must be a file, but is a folder", "give the archive's file")
        if not self.path.exists():
            if not create:
                remedy = "check the path, or make one with Archive(path) or triage archive add"
                raise self._error("must be an archive that exists", remedy)
            self._create(language)
        if not self.path.stat().st_size:
            raise self._error("must be an archive, but is empty", "delete it to begin a new one, or restore it")

    def _create(self, language: str | None) -> None:
        """Make the file beside and link it into place, so that no other process sees half of it."""
        part = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.part")
        try:
            with closing(sqlite3.connect(part, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
                settings = [("language", language), ("identity", uuid.uuid4().hex)]
                connection.executemany("INSERT INTO settings VALUES (?, ?)", settings)
            os.link(part, self.path)
        except FileExistsError:
            pass  # another process was faster
        except sqlite3.Error as error:
            raise self._error(*_meaning(error)) from error
        finally:
            part.unlink(missing_ok=True)

    def _check_format(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION or version < 1:
            raise self._error(_NO_ARCHIVE, _RESTORE)
        if version > FORMAT:
            raise self._error(f"must be of format {FORMAT} at most, got {version}", "update triage")

    def _error(self, problem: str, remedy: str) -> ArchiveError:
        return ArchiveError(path=self.path, problem=problem, remedy=remedy)


def _meaning(error: Exception) -> tuple[str, str]:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # text that is no UTF-8 has none
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return _MEANINGS.get(code & 0xFF, (f"must be usable as an archive, but is not ({name})", _RESTORE))
