"""The log's file: lines that are chained by their hashes, and only grow.

JSON Lines: line 1 says what it is, each further line is one correction and carries the SHA-256 of the line before.
Beside it stands ``NAME.head``: how many corrections there are, how many bytes, and the SHA-256 of the last line. A
correction is acknowledged, that is `FeedbackFile.append` returns, once its line and then the new head are on the disk.
So what follows the bytes of the head was never acknowledged: a torn line there is what a killed writer left, and is
cut; a whole one that is chained to the line before is kept.

To change the format: raise `FORMAT` by one, go on reading the old one, and say so in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from triage.disk import replace_file, sync_folder
from triage.errors import FeedbackError
from triage.feedback.corrections import Correction

if sys.platform != "win32":
    import fcntl

FORMAT = 1

_KIND = "triage feedback"
_FIRST = ("format", "kind", "language")  # of line 1
_NAMES = tuple(field.name for field in fields(Correction))  # of each further line, beside "previous"
_MAX_FIRST_BYTES = 200
_DIGEST_CHARS = 64
_RESTORE = "restore log and head from a copy, and find out who changed them"


@dataclass(frozen=True)
class Head:
    """The state of a log; noted elsewhere, it proves that nothing up to here was changed since.

    Attributes
    ----------
    n_corrections : int
    sha256 : str
        Of the last line, 64 hexadecimal digits.

    Examples
    --------
    >>> str(Head(2, "ab" * 32)) == "2:" + "ab" * 32
    True
    """

    n_corrections: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.n_corrections}:{self.sha256}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Return the head that ``str`` wrote.

        Parameters
        ----------
        text : str

        Returns
        -------
        Head

        Raises
        ------
        ValueError
            If it is no head.

        Examples
        --------
        >>> Head.parse("2:" + "ab" * 32) == Head(2, "ab" * 32)
        True
        """
        count, _, digest = text.partition(":")
        if not (count.isascii() and count.isdigit() and _is_digest(digest)):
            raise ValueError("a head must be a count, a colon and 64 hexadecimal digits")
        return cls(int(count), digest)


@dataclass(frozen=True)
class _Stored:
    """The file of the head: the state, and the bytes of the log up to it."""

    n_bytes: int
    n_corrections: int
    sha256: str


class FeedbackFile:
    """The file of a log and its head; lines are verified whenever they are read.

    Parameters
    ----------
    path : Path
    language : str or None
        Of a new log; of one that is there it must be the same, or None.
    create : bool
        Make the log if it is not there.

    Attributes
    ----------
    path : Path
    language : str or None

    Raises
    ------
    FeedbackError
        As `triage.FeedbackLog` says.
    """

    def __init__(self, path: Path, language: str | None, create: bool) -> None:
        self.path = path.absolute()
        self._head_path = self.path.with_name(f"{self.path.name}.head")
        stored = self._find(language, create)
        if language not in (None, stored):
            raise self._error(f"must be opened with its language {stored!r}, got {language!r}", "leave it out")
        self.language: str | None = stored

    def __len__(self) -> int:
        """Return how many corrections the head says there are."""
        return self._head().n_corrections

    def corrections(self) -> Iterator[dict[str, Any]]:
        """Yield the values of all corrections, in their order, as they are when it begins.

        Yields
        ------
        dict of str to object

        Raises
        ------
        FeedbackError
            If a line was changed, removed, put in or swapped.
        """
        with self._locked() as file:
            lines, _ = self._verified(file)
        for line in lines[1:]:
            values = json.loads(line)
            yield {name: values[name] for name in _NAMES}

    def append(self, values: dict[str, Any]) -> int:
        """Add a correction; it is on the disk when the call returns.

        Parameters
        ----------
        values : dict
            Those of `Correction`, but for its number.

        Returns
        -------
        int
            Its number.

        Raises
        ------
        FeedbackError
            If the disk refuses, and then nothing of it is stored; or the log is not whole.
        """
        with self._locked(write=True) as file:
            before = self._settled(file)
            sequence = before.n_corrections + 1
            self._store(file, before, _line({**values, "sequence": sequence, "previous": before.sha256}))
        return sequence

    def verify(self, head: Head | None) -> Head:
        """Check every line, and that a state noted earlier is still among them.

        Parameters
        ----------
        head : Head or None

        Returns
        -------
        Head
            The present state.

        Raises
        ------
        FeedbackError
            As `triage.FeedbackLog.verify` says.
        """
        with self._locked() as file:
            lines, _ = self._verified(file)
        if head is not None and len(lines) <= head.n_corrections:
            problem = f"must go on to line {head.n_corrections + 1}, as noted, but ends after line {len(lines)}"
            raise self._error(problem, _RESTORE)
        if head is not None and _digest(lines[head.n_corrections]) != head.sha256:
            problem = f"line {head.n_corrections + 1} or one before it was changed since its head was noted"
            raise self._error(problem, _RESTORE)
        return Head(len(lines) - 1, _digest(lines[-1]))

    def _find(self, language: str | None, create: bool) -> str | None:
        """Return the language of the log, which is made if it is not there."""
        if self.path.is_dir():
            raise self._error("must be a file, but is a folder", "give the log's file")
        if not self.path.exists():
            if not create:
                remedy = "check the path, or make one with FeedbackLog(path) or triage feedback add"
                raise self._error("must be a log that exists", remedy)
            head = self._read_head()
            if head is not None:
                problem = f"must be there with {head.n_corrections} corrections, as its head says"
                raise self._error(problem, f"restore it, or delete {self._head_path.name} to begin a new log")
        elif self._read_head() is not None:
            create = False
        with self._locked(write=create, create=create) as file:
            if self._read_head() is None:
                self._begin(file, language)
            return self._language_of(file.readline(_MAX_FIRST_BYTES))

    def _begin(self, file: BinaryIO, language: str | None) -> None:
        """Write line 1 and the head of a log that is new, or whose maker was killed."""
        content = file.read(_MAX_FIRST_BYTES)
        line = _line({"format": FORMAT, "kind": _KIND, "language": language})
        if content != line[: len(content)]:
            self._language_of(content.partition(b"\n")[0] + b"\n")  # most likely no log
            raise self._error(f"must have its head {self._head_path.name} beside it", _RESTORE)
        self._store(file, _Stored(0, -1, ""), line)
        file.seek(0)

    def _language_of(self, first: bytes) -> str | None:
        """Return what line 1 says."""
        values = _parsed(first)
        if values is None or values.get("kind") != _KIND or type(values.get("format")) is not int:
            raise self._error("must be a log of feedback, but line 1 is something else or damaged", _RESTORE)
        if values["format"] > FORMAT:
            raise self._error(f"must be of format {FORMAT} at most, got {values['format']}", "update triage")
        language = values.get("language")
        if set(values) != set(_FIRST) or values["format"] < 1 or not isinstance(language, str | None):
            raise self._error("line 1 was changed or is damaged", _RESTORE)
        return language

    @contextmanager
    def _locked(self, *, write: bool = False, create: bool = False) -> Iterator[BinaryIO]:
        """Open the log, for writing alone among all threads and processes; a killed one's lock is freed."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | getattr(os, "O_BINARY", 0) | (os.O_CREAT if create else 0)
        try:
            with open(os.open(self.path, flags, 0o666), "r+b" if write else "rb", buffering=0) as file:
                if sys.platform != "win32":
                    fcntl.flock(file, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
                yield file
        except OSError as error:
            problem = f"log and folder must be usable, but: {error.strerror or error}"
            raise self._error(problem, "nothing of this was stored; look to disk and rights and do it again") from error

    def _head(self) -> _Stored:
        head = self._read_head()
        if head is None:
            raise self._error(f"must have its head {self._head_path.name} beside it", _RESTORE)
        return head

    def _settled(self, file: BinaryIO) -> _Stored:
        """Return the head to write after, once what a killed writer left behind it is cut or taken in."""
        head = self._head()
        size = file.seek(0, os.SEEK_END)
        if size == head.n_bytes:
            return head
        _, last = self._verified(file)
        if not last:
            file.truncate(head.n_bytes)
            os.fsync(file.fileno())
            return head
        taken = _Stored(head.n_bytes + len(last), head.n_corrections + 1, _digest(last))
        self._write_head(taken)
        sync_folder(self.path.parent)
        return taken

    def _verified(self, file: BinaryIO) -> tuple[list[bytes], bytes]:
        """Return the acknowledged lines, and the whole line behind them that a killed writer left, else nothing."""
        head = self._head()
        file.seek(0)
        lines = [line + b"\n" for line in _read(file).split(b"\n")]
        lines.pop()  # what was never finished, or nothing
        place, extra = len(lines) - 1, b""
        if place > 0 and _digest(lines[place]) != head.sha256 and _digest(lines[place - 1]) == head.sha256:
            place, extra = place - 1, lines[place]
            if not _follows(_parsed(extra), head.n_corrections + 1, head.sha256):
                raise self._error(f"line {place + 2} was put in or moved", _RESTORE)
        if place < 0 or _digest(lines[place]) != head.sha256:
            n_lines = head.n_corrections + 1
            if place + 1 < n_lines:
                problem = f"must go on to line {n_lines}, but ends after line {place + 1} or lacks lines before"
                raise self._error(problem, _RESTORE)
            raise self._error(f"line {place + 1} was changed, put in or moved, or the head was changed", _RESTORE)
        moved = place - head.n_corrections
        # From the end: a line that the one behind vouches for is what was written, and vouches for the one before.
        for number in range(place, 0, -1):
            behind = _parsed(lines[number]) or {}
            if _digest(lines[number - 1]) != behind.get("previous"):
                what = f"line {number} was put in or moved" if moved > 0 else f"line {number} was changed or moved"
                what = f"line {behind.get('sequence')} is missing" if moved < 0 else what
                raise self._error(what, _RESTORE)
        if moved < 0:
            raise self._error("line 1 is missing", _RESTORE)
        if moved > 0 or sum(map(len, lines[: place + 1])) != head.n_bytes:
            raise self._error(f"its head {self._head_path.name} was changed or is damaged", _RESTORE)
        self._language_of(lines[0])
        for number, (before, line) in enumerate(pairwise(lines[: place + 1]), 1):
            if not _follows(_parsed(line), number, _digest(before)):
                raise self._error(f"line {number + 1} is no correction, though chained like one", _RESTORE)
        return lines[: place + 1], extra

    def _store(self, file: BinaryIO, before: _Stored, line: bytes) -> None:
        """Write a line and then the head, each flushed; take the line back where that fails."""
        try:
            file.seek(before.n_bytes)
            _write(file, line)
            file.truncate()
            os.fsync(file.fileno())
            self._write_head(_Stored(before.n_bytes + len(line), before.n_corrections + 1, _digest(line)))
        except BaseException:
            file.truncate(before.n_bytes)
            os.fsync(file.fileno())
            raise
        sync_folder(self.path.parent)

    def _read_head(self) -> _Stored | None:
        try:
            content = self._head_path.read_bytes()
        except FileNotFoundError:
            return None
        values = _parsed(content)
        numbers = [] if values is None else [values.get("n_bytes"), values.get("n_corrections")]
        if (
            values is None
            or set(values) != {field.name for field in fields(_Stored)}
            or not all(type(number) is int and number >= 0 for number in numbers)
            or not _is_digest(values["sha256"])
        ):
            problem = f"its head {self._head_path.name} was changed or is damaged"
            raise self._error(problem, _RESTORE)
        return _Stored(**values)

    def _write_head(self, head: _Stored) -> None:
        replace_file(self._head_path, _line(asdict(head)))

    def _error(self, problem: str, remedy: str) -> FeedbackError:
        return FeedbackError(path=self.path, problem=problem, remedy=remedy)


def _line(values: dict[str, Any]) -> bytes:
    return (
        json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    )


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None unless it is exactly as `_line` writes it."""
    try:
        values = json.loads(line)
        return values if isinstance(values, dict) and _line(values) == line else None
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or a number that none writes
        return None


def _follows(values: dict[str, Any] | None, sequence: int, previous: str) -> bool:
    return (
        values is not None
        and set(values) == {*_NAMES, "previous"}
        and values["sequence"] == sequence
        and values["previous"] == previous
    )


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and len(text) == _DIGEST_CHARS and not set(text) - set("0123456789abcdef")


def _read(file: BinaryIO) -> bytes:
    content: bytes = file.read()
    return content


def _write(file: BinaryIO, content: bytes) -> None:
    """Write all of it; an unbuffered file may take less at a time."""
    view = memoryview(content)
    while len(view):
        view = view[file.write(view) :]
