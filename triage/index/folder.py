"""An index on disk: a folder of numpy arrays that are mapped, and a manifest that is replaced last; no pickle.

``manifest.json`` names the segments and the state, each a sub-folder of ``NAME.npy``, with the bytes and a checksum of
every file, and carries a checksum of itself. A folder that it does not name is what a killed save or merge left, and
goes with the next save. One process writes a folder at a time; any number read it.

A file of up to 16 MB is checked whole, of a larger one 64 pages spread over it, so that a million items open in less
than a second. That finds what is cut short, torn or of another save, not every flipped bit in the middle.

To change the format: raise `FORMAT` by one, keep the reader of the old one, keep a golden folder of each in
``tests/data``, and never change what ``format`` and ``checksum`` in the manifest mean.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.disk import replace_file, sync_folder
from triage.errors import BundleError

FORMAT = 1

_MANIFEST = "manifest.json"
_CHECKED_WHOLE_BYTES = 1 << 24
_N_PAGES, _PAGE_BYTES = 64, 4096
RESTORE = "restore it from a backup, or build it again from the archive"

Arrays = Mapping[str, npt.NDArray[Any]]
Facts = dict[str, list[int]]  # bytes and checksum of each array


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Word what the system refuses."""
    try:
        yield
    except OSError as error:
        problem = f"must be writable, got {error.strerror or error}"
        raise BundleError(path=folder, problem=problem, remedy="check rights and disk, and save again") from error


def make_array(folder: Path, name: str, dtype: Any, length: int) -> npt.NDArray[Any]:
    """Return an array to fill that lies in a file of its own."""
    path = folder / f"{name}.npy"
    if not length:  # nothing cannot be mapped
        np.save(path, np.empty(0, dtype), allow_pickle=False)
        return np.empty(0, dtype)
    return np.asarray(np.lib.format.open_memmap(path, "w+", np.dtype(dtype), (length,)))


def fresh_folder(folder: Path, name: str) -> Path:
    """Return an empty sub-folder; away with what a killed process left there."""
    path = folder / name
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def write_arrays(folder: Path, name: str, arrays: Arrays) -> None:
    """Write arrays to a sub-folder beside and rename it."""
    beside = fresh_folder(folder, f".{name}")
    for member, array in arrays.items():
        np.save(beside / f"{member}.npy", array, allow_pickle=False)
    if (folder / name).exists():
        shutil.rmtree(folder / name)
    beside.rename(folder / name)


def seal(folder: Path, name: str) -> Facts:
    """Flush a sub-folder to disk; return bytes and checksum of each array."""
    found = {}
    for path in sorted((folder / name).iterdir()):
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
        found[path.stem] = [path.stat().st_size, _checksum(path)]
    sync_folder(folder / name)
    return found


def write_manifest(folder: Path, facts: Mapping[str, Any], kept: Sequence[str]) -> None:
    """Replace the manifest, then remove what neither it names nor `kept` does."""
    sync_folder(folder)
    facts = {"format": FORMAT, **facts}
    replace_file(folder / _MANIFEST, _dump({**facts, "checksum": zlib.crc32(_dump(facts))}))
    sync_folder(folder)
    known = {*facts["members"], *kept}
    for path in folder.iterdir():
        if path.is_dir() and path.name not in known and _is_ours(path.name):
            shutil.rmtree(path, ignore_errors=True)


def check_free(folder: Path) -> None:
    """Refuse to save a new index to a folder that holds anything.

    Raises
    ------
    BundleError
        If it holds an index, or what is no index.
    """
    if not folder.exists():
        return
    if (folder / _MANIFEST).exists():
        raise BundleError(path=folder, problem="holds an index already", remedy="open that one, or save elsewhere")
    if strangers := sorted(path.name for path in folder.iterdir() if not _is_ours(path.name)):
        problem = f"must be empty to take an index, got {strangers[0]!r}"
        raise BundleError(path=folder, problem=problem, remedy="save elsewhere")


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, npt.NDArray[Any]]]]:
    """Return the manifest and the mapped arrays of each member.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    manifest : dict
    arrays : dict of member to dict of name to array

    Raises
    ------
    BundleError
        If there is no index, or it is damaged or of a newer format.
    """
    manifest = _read_manifest(folder)
    try:
        return manifest, {name: map_arrays(folder / name, facts) for name, facts in manifest["members"].items()}
    except BundleError:
        # Another process may have replaced what the manifest named.
        if (again := _read_manifest(folder)) == manifest:
            raise
        return again, {name: map_arrays(folder / name, facts) for name, facts in again["members"].items()}


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest once its checksum and its format are right."""
    try:
        raw = (folder / _MANIFEST).read_bytes()
    except OSError as error:
        problem = f"must be the folder of an index, with {_MANIFEST} in it"
        raise BundleError(path=folder, problem=problem, remedy="check the path") from error
    try:
        manifest = json.loads(raw)
        facts = {name: value for name, value in manifest.items() if name != "checksum"}
        whole = manifest["checksum"] == zlib.crc32(_dump(facts)) and raw == _dump(manifest)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise _damaged(folder, f"{_MANIFEST} must have the checksum it states of itself, and has not")
    if manifest.get("format") != FORMAT:
        problem = f"is an index of format {manifest.get('format')}, and this version reads format {FORMAT}"
        raise BundleError(path=folder, problem=problem, remedy="upgrade triage")
    return dict(manifest)


def map_arrays(folder: Path, facts: Facts) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a member, mapped, once sizes and checksums are right."""
    arrays = {}
    for name, (n_bytes, checksum) in facts.items():
        path = folder / f"{name}.npy"
        where = f"{folder.name}/{path.name}"
        try:
            if path.stat().st_size != n_bytes:
                raise _damaged(folder.parent, f"{where} must have {n_bytes} bytes, got {path.stat().st_size}")
            if _checksum(path) != checksum:
                raise _damaged(folder.parent, f"{where} must have the checksum its manifest states, and has not")
            mapped = np.load(path, mmap_mode="r" if n_bytes > _PAGE_BYTES else None, allow_pickle=False)
        except OSError as error:
            raise _damaged(folder.parent, f"{where} must be there and readable, and is not") from error
        except ValueError as error:
            if isinstance(error, BundleError):
                raise
            raise _damaged(folder.parent, f"{where} must be an array, and is not") from error
        arrays[name] = np.asarray(mapped)  # views of a memmap are ten times slower to take
    return arrays


def _damaged(folder: Path, problem: str) -> BundleError:
    return BundleError(path=folder, problem=problem, remedy=RESTORE)


def _checksum(path: Path) -> int:
    """Return the CRC-32 of a file, or of pages spread over a large one, the first and the last among them."""
    n_bytes = path.stat().st_size
    with path.open("rb") as stream:
        if n_bytes <= _CHECKED_WHOLE_BYTES:
            return zlib.crc32(stream.read())
        checksum = 0
        for page in range(_N_PAGES):
            stream.seek(page * (n_bytes - _PAGE_BYTES) // (_N_PAGES - 1))
            checksum = zlib.crc32(stream.read(_PAGE_BYTES), checksum)
        return checksum


def _is_ours(name: str) -> bool:
    """Say whether a save or a merge gives such names."""
    return name == f".{_MANIFEST}" or name.lstrip(".").startswith(("segment-", "state-"))


def _dump(value: Any) -> bytes:
    return f"{json.dumps(value, sort_keys=True, indent=1)}\n".encode()
