"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_beside(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` that takes its place when all is written, so that a reader sees one or the other."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as stream:
            yield stream
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file and flush it to disk; its name is flushed by `sync_folder`."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside `path` and flush it before it takes the place, for one writer at a time.

    What a killed process leaves beside is overwritten by the next.

    Raises
    ------
    OSError
        Where the system refuses to write; `path` is then as it was.
    """
    part = path.with_name(f".{path.name}")
    try:
        write_file(part, content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk; Windows has no such call."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
