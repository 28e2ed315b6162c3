"""The folder of a bundle: it is found, locked, and replaced whole, whatever happens meanwhile."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triage.disk import sync_folder
from triage.errors import BundleError

if sys.platform != "win32":
    import fcntl

MANIFEST = "manifest.json"
RESTORE = "restore the folder from a backup, or train again and save with overwrite=True"
_MAX_LISTED = 5


def beside(target: Path, state: str) -> Path:
    """Return where a save puts the new bundle, or the old one aside."""
    return target.parent / f".{target.name}.triage-{state}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one save at a time into a folder; the system frees the lock of a killed process."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # network disks without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def clear(target: Path, new: Path, old: Path) -> None:
    """Finish what a killed save left: the old bundle back if nothing stands in its place, else away with it."""
    if new.exists():
        shutil.rmtree(new)
    if old.exists() and not target.exists():
        old.rename(target)
    elif old.exists():
        old.rename(new)  # first, so that a half deleted folder never stands for a bundle
        shutil.rmtree(new)


def check_free(path: str | Path, target: Path, overwrite: bool) -> None:
    """Refuse a target that stands, unless it is a bundle and nothing else, and may be replaced.

    Raises
    ------
    BundleError
        If it must not be replaced; caused by a FileExistsError if `overwrite` was not asked for.
    """
    if not target.exists():
        return
    if not overwrite:
        exists = FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        remedy = "save elsewhere, or with overwrite=True"
        raise BundleError(path=path, problem="must not exist yet", remedy=remedy) from exists
    remedy = "save elsewhere, or move the folder away by hand"
    try:
        manifest = json.loads((target / MANIFEST).read_bytes())
        strangers = {file.name for file in target.iterdir()} - {MANIFEST, *manifest["members"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        problem = f"must be a bundle to be overwritten, and has no {MANIFEST} of one"
        raise BundleError(path=path, problem=problem, remedy=remedy) from error
    if strangers:
        problem = f"must hold nothing but a bundle to be overwritten, got {listed(strangers)}"
        raise BundleError(path=path, problem=problem, remedy=remedy)


def swap(target: Path, new: Path, old: Path) -> None:
    """Put `new` at `target`, and what stood there back if that fails."""
    if not target.exists():
        new.rename(target)
        sync_folder(target.parent)
        return
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    sync_folder(target.parent)
    old.rename(new)  # the caller deletes it; `old` stands for a bundle that a load may use


def find(path: Path) -> Path:
    """Return the folder with the manifest: `path`, its sub-folder, or either as a save has just put it aside."""
    for folder in (path, path / "bundle"):
        for candidate in (folder, beside(folder.resolve(), "old")):
            if os.path.lexists(candidate / MANIFEST) and (candidate is folder or not folder.exists()):
                return candidate
    if not path.exists():
        raise BundleError(path=path, problem="must be a bundle's folder, nothing is there", remedy="check the path")
    problem = f"must be a folder with {MANIFEST}, in it or in its sub-folder 'bundle'; found none"
    raise BundleError(path=path, problem=problem, remedy=f"check the path; if it was a bundle, {RESTORE}")


def identity(path: Path) -> list[tuple[int, int] | None]:
    """Return what changes whenever a save replaces what `find` looks at."""
    found: list[tuple[int, int] | None] = []
    for folder in (path, path / "bundle"):
        try:
            facts = folder.stat()
            found.append((facts.st_ino, facts.st_ctime_ns))
        except (OSError, ValueError):
            found.append(None)
    return found


def listed(names: Iterable[str]) -> str:
    """Return the first few names in order, and how many more there are."""
    shown = sorted(names)
    return ", ".join(shown[:_MAX_LISTED]) + (
        f" and {len(shown) - _MAX_LISTED} more" if len(shown) > _MAX_LISTED else ""
    )
