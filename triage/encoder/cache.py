"""Vectors kept on disk, so that a text is encoded once however often a desk is trained."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np

from triage.encoder.protocol import Encoder, Identity, Vectors, checked, clean_text, identity_of
from triage.errors import StorageError

_APPLICATION = 0x74726576  # "trev"
_WAIT_S = 600  # for another writer
_ASKED = 500  # keys in one statement
_BLOCK = 1024  # texts encoded before they are stored, so that a kill loses no more
_KEY_BYTES = 16
_TABLE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"


class CachedEncoder:
    """An encoder that looks on disk first.

    The file holds hashes of texts and vectors, never a text. It may serve any number of encoders, threads and
    processes at once, and may be deleted when nobody has it open: it is filled anew. A file that is damaged, or no
    such cache, is an error and left as it is.

    Parameters
    ----------
    encoder : Encoder
    path : str or Path
        SQLite; made if it is not there, with its folder. Not on a network drive, which does not lock as it must.

    Attributes
    ----------
    name, dim, identity
        Those of the encoder.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> class Stub:
    ...     name, dim = "stub", 2
    ...
    ...     def encode(self, texts):
    ...         print(f"encodes {len(texts)}")
    ...         return np.array([[len(text), 1] for text in texts], np.float32) / np.sqrt(2, dtype=np.float32)
    >>> encoder = CachedEncoder(Stub(), Path(mkdtemp()) / "vectors.sqlite")
    >>> encoder.encode(["a", "b", "a"]).shape, encoder.encode(["b"]).round(2)
    encodes 2
    ((3, 2), array([[0.71, 0.71]], dtype=float32))
    """

    def __init__(self, encoder: Encoder, path: str | Path) -> None:
        self.encoder = encoder
        self.path = Path(path)
        self.identity: Identity = identity_of(encoder)
        self._salt = bytes.fromhex(self.identity.fingerprint)

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return self.encoder.name

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.encoder.dim

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a row of length 1, or of zeros, for each text; each text is encoded once at most.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        float32 array of shape (n_texts, dim)

        Raises
        ------
        StorageError
            If the file is damaged, no such cache, or cannot be written.
        EncoderError
            If the encoder gives what is no vector.
        """
        cleaned = [clean_text(text) for text in texts]
        keys = [blake2b(text.encode(), digest_size=_KEY_BYTES, key=self._salt).digest() for text in cleaned]
        text_of = dict(zip(keys, cleaned, strict=True))
        rows = self._read(list(text_of))
        # Longest first, as encoders like texts of one length together.
        missing = sorted(text_of.keys() - rows, key=lambda key: (-len(text_of[key]), key))
        for start in range(0, len(missing), _BLOCK):
            block = missing[start : start + _BLOCK]
            vectors = dict(zip(block, checked(self.encoder, [text_of[key] for key in block]), strict=True))
            self._write(vectors)
            rows |= vectors
        return np.array([rows[key] for key in keys], np.float32).reshape(len(keys), self.dim)

    def _read(self, keys: list[bytes]) -> dict[bytes, Vectors]:
        """Return the vectors that are there."""
        rows = {}
        with self._file() as file:
            for start in range(0, len(keys), _ASKED):
                asked = keys[start : start + _ASKED]
                marks = ", ".join("?" * len(asked))
                found = file.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", asked)
                rows.update({key: np.frombuffer(raw, "<f4") for key, raw in found})
        if any(len(row) != self.dim or not _is_whole(row) for row in rows.values()):
            raise self._error("must hold vectors of length 1, and does not: it is damaged")
        return rows

    def _write(self, rows: dict[bytes, Vectors]) -> None:
        """Store vectors, all or none; one that another process was faster with stays."""
        with self._file() as file:
            file.execute("BEGIN IMMEDIATE")
            stored = [(key, row.astype("<f4").tobytes()) for key, row in rows.items()]
            file.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", stored)
            file.execute("COMMIT")

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        """Open the file for a moment: a connection serves one thread and one process."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)) as file:
                self._prepare(file)
                yield file
        except (OSError, sqlite3.Error, ValueError, TypeError) as error:  # the last two from values that are damaged
            if isinstance(error, StorageError):
                raise
            raise self._error(f"must be a cache of vectors that can be read and written ({error})") from error

    def _prepare(self, file: sqlite3.Connection) -> None:
        """Make the table in a new file; refuse a file of anybody else's."""
        if file.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION:
            return
        file.execute("BEGIN IMMEDIATE")
        if file.execute("SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '%vectors%'").fetchone()[0]:
            raise self._error("must be a cache of vectors, but is another database")
        file.execute(_TABLE)
        file.execute(f"PRAGMA application_id = {_APPLICATION}")
        file.execute("COMMIT")

    def _error(self, problem: str) -> StorageError:
        return StorageError(path=self.path, problem=problem, remedy="delete it to fill it anew, or name another file")


def _is_whole(vector: Vectors) -> bool:
    """Say whether a vector has length 1 or 0."""
    square = float(vector @ vector)
    return square == 0 or abs(square - 1) < 1e-3
