"""Questions in: from a pipe or a table, in chunks of bounded memory."""

from __future__ import annotations

import io
import select
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from triage.cli.terminal import note

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 2000
CHUNK_CHARS = 2_000_000
_WAIT_S = 0.05  # how long a chunk waits for a slow writer before it is answered as it is
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
    chars = 0
    for number, line in iter_texts(stream):
        numbers.append(number)
        texts.append(line)
        chars += len(line)
        if len(texts) >= CHUNK_ROWS or chars >= CHUNK_CHARS or _waits(stream):
            yield Chunk("line", numbers, texts)
            numbers, texts, chars = [], [], 0
    if texts:
        yield Chunk("line", numbers, texts)


def _waits(stream: BinaryIO) -> bool:
    """Say whether the writer of a pipe is slow, so that what came so far should be answered."""
    try:
        return not select.select([stream], [], [], _WAIT_S)[0]
    except (OSError, ValueError, io.UnsupportedOperation):
        return False


def _read_rows(file: str, text: str) -> Iterator[Chunk]:
    from triage.dataset import iter_rows

    start = 1
    for frame in iter_rows(file, text, CHUNK_ROWS):
        cells = frame[text].where(frame[text].notna(), "").tolist()
        texts = [cell if isinstance(cell, str) else str(cell) for cell in cells]
        if "id" in frame.columns and text != "id":
            yield Chunk("id", frame["id"].tolist(), texts, frame)
        else:
            yield Chunk("row", list(range(start, start + len(frame))), texts, frame)
        start += len(frame)


def rows_of_split(frame: pd.DataFrame, split: str | None, source: str) -> pd.DataFrame:
    """Return the rows of one split, all without one."""
    if split is None:
        if "split" in frame.columns:
            note(f"{source} has a column 'split'; all its rows are measured, those for training too (see --split)")
        return frame
    known = sorted(set(frame["split"].astype(str))) if "split" in frame.columns else []
    if split not in known:
        raise typer.BadParameter(f"must be one of {', '.join(known) or 'none (no column split)'}, got {split!r}")
    return frame[frame["split"].astype(str) == split]


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
