"""Questions in: from a pipe or a table, in chunks of bounded memory."""

from __future__ import annotations

import io
import math
import select
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from triage.cli.terminal import note
from triage.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 2000
CHUNK_CHARS = 2_000_000
_READ_BYTES = 1 << 20
_WAIT_S = 0.01  # how long a chunk waits for a slow writer before it is answered as it is
_QUIET_S = 1.0  # work that is done by then shows no progress


@dataclass(frozen=True)
class Chunk:
    """Questions that are triaged together, with what names each in the answer; the table they came in, if any."""

    key: str
    ids: list[Any]
    texts: list[str]
    frame: pd.DataFrame | None = None


def read(file: str, text: str) -> Iterator[Chunk]:
    """Read a file in chunks, by its ending."""
    if file == "-":
        if sys.stdin.isatty():
            note("reading questions from the keyboard, one a line; end with Ctrl-D")
        yield from read_lines(sys.stdin.buffer)
    elif Path(file).suffix.lower() == ".txt":
        with open(file, "rb") as stream:
            yield from read_lines(stream)
    else:
        yield from _read_rows(file, text)


def read_lines(stream: BinaryIO) -> Iterator[Chunk]:
    """Read questions from a stream, one a line."""
    from triage.dataset import iter_texts

    numbers: list[Any] = []
    texts: list[str] = []
    chars = n_left = 0

    def arrived() -> Iterator[bytes]:
        nonlocal n_left
        for lines in _read_together(stream):
            n_left = len(lines)
            for line in lines:
                n_left -= 1
                yield line

    for number, line in iter_texts(arrived()):
        numbers.append(number)
        texts.append(line)
        chars += len(line)
        if len(texts) >= CHUNK_ROWS or chars >= CHUNK_CHARS or (not n_left and _waits(stream)):
            yield Chunk("line", numbers, texts)
            numbers, texts, chars = [], [], 0
    if texts:
        yield Chunk("line", numbers, texts)


def _read_together(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines that arrive together; nothing stays in Python's buffer, where `_waits` would not see it."""
    begun: list[bytes] = []  # of a long line
    while content := stream.read1(_READ_BYTES):  # type: ignore[attr-defined]
        *lines, rest = content.split(b"\n")
        if lines:
            lines[0] = b"".join([*begun, lines[0]])
            begun = []
            yield [line + b"\n" for line in lines]
        begun.append(rest)
    if last := b"".join(begun):
        yield [last]


def _waits(stream: BinaryIO) -> bool:
    """Say whether the writer of a pipe is slow, so that what came so far should be answered."""
    try:
        return not select.select([stream], [], [], _WAIT_S)[0]
    except (OSError, ValueError, io.UnsupportedOperation):
        return False


def _read_rows(file: str, text: str) -> Iterator[Chunk]:
    from triage.dataset import checks, iter_rows

    start, named = 1, False
    for frame in iter_rows(file, text, CHUNK_ROWS):
        checks.raise_if(checks.cell_faults(frame, text, checks.nested_problem, start), file)
        texts = ["" if checks.is_missing(cell) else str(cell) for cell in frame[text].tolist()]
        named = "id" in frame.columns and text != "id" if start == 1 else named  # all rows by id, or none
        rows = list(range(start, start + len(frame)))
        yield Chunk("id", _ids(frame), texts, frame) if named else Chunk("row", rows, texts, frame)
        start += len(frame)


def _ids(frame: pd.DataFrame) -> list[Any]:
    """Return what names the rows, None where nothing does; JSON has no NaN and no infinity."""
    from triage.dataset import checks

    if "id" not in frame.columns:
        return [None] * len(frame)
    ids = frame["id"].convert_dtypes() if frame["id"].dtype.kind == "f" else frame["id"]  # whole numbers beside a gap
    return [None if checks.is_missing(cell) or _infinite(cell) else cell for cell in ids.tolist()]


def _infinite(cell: Any) -> bool:
    return isinstance(cell, float) and math.isinf(cell)


def rows_of_split(frame: pd.DataFrame, split: str | None, source: str) -> pd.DataFrame:
    """Return the rows of one split, all without one; their index is that of the file."""
    from triage.dataset import checks

    if split is None:
        if "split" in frame.columns:
            note(f"{source} has a column 'split'; all its rows are measured, those for training too (see --split)")
        return frame
    if "split" not in frame.columns:
        columns = checks.column_names(frame.columns)
        raise typer.BadParameter(f"--split needs a column 'split' in {source}, got {columns}; leave the option out")
    found = frame["split"].astype(str)
    if split not in set(found):
        known = checks.column_names(sorted(set(found)))
        raise typer.BadParameter(f"--split must be one of {known} in {source}, got {split!r}")
    return frame[found == split]


@contextmanager
def told_by_file(frame: pd.DataFrame, file: str | Path) -> Iterator[None]:
    """Tell faults of a file's table, or of some of its rows, by the file's name and its rows."""
    try:
        yield
    except DatasetError as error:
        if error.source != "DataFrame":
            raise
        rows = (frame.index + 1).tolist()
        faults = [fault if fault.row is None else replace(fault, row=rows[fault.row - 1]) for fault in error.faults]
        raise DatasetError(source=file, faults=faults) from error


def watch(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Pass chunks on, and show on a terminal how many questions are done once the work is long."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    start = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} questions"), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task("", total=None)
    try:
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk.texts))
            if time.monotonic() - start > _QUIET_S:
                progress.start()
    finally:
        progress.stop()
