"""A bundle on disk: a folder of JSON and numpy arrays with checksums; no pickle, nothing is executed on load.

``manifest.json`` names every other file with its size and SHA-256, and carries a checksum of its own content.
``settings.json`` and ``metrics.json`` are objects, ``NAME.npy`` arrays, ``NAME.jsonl`` tables; other files are
documents for people. A large array is deflated where that helps, ``NAME.npy.z`` (since format 2). The same contents
give the same bytes.

Checksums find damage, and tampering by one who cannot recompute them. They are no signature: take bundles from
people you trust. A false bundle can give wrong answers; it cannot run code.

To change the format:

1. Raise `FORMAT` by one, and keep the reader of the old format beside the new one, chosen in `_load` by the
   manifest's number. Old bundles must open for as long as a desk may hold one.
2. Never change `_dump`, nor the meaning of ``format`` and ``checksum`` in the manifest: by them a release tells a
   bundle that is newer than itself from a damaged one.
3. Keep a golden bundle of every released format in ``tests/data/`` with a test that loads it, and never touch it again.
4. Say in CHANGELOG.md what changed and from which version of triage on the new format can be read.

A new array, table or setting is no change of format: the part that reads it copes with its absence.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import io
import json
import math
import os
import re
import shutil
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from triage.disk import sync_folder, write_file
from triage.errors import BundleError

if sys.platform != "win32":
    import fcntl

FORMAT = 4

_MANIFEST = "manifest.json"
_OBJECTS = {"settings.json", "metrics.json"}
_PACKAGES = ("triage", "numpy", "scipy", "scikit-learn", "spacy")
_PLAIN_NAME = re.compile(r"[\w%~-][\w.%~-]*", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
# Older ones lack deflated arrays, kinds by a target, or blocks of several targets, and are read by the same code.
_READABLE = range(1, FORMAT + 1)
_DEFLATED = ".npy.z"
_DEFLATE_FROM_BYTES = 1 << 15  # smaller arrays are not worth it
_MOST_UNPACKED = 64  # times its size that a deflated array may become, so that a false bundle cannot fill the memory
_ARRAY_PRELUDE = 10  # bytes before the header: magic, version, length of the header
_ARRAY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<dtype>\|b1|[|<][iu]1|<[iuf][248])', 'fortran_order': False, "
    rb"'shape': \((?P<shape>(?:\d{1,18}, ){0,63}(?:\d{1,18},?)?)\), \} *\n",
    re.DOTALL,
)
_MAX_LISTED = 5
_MAX_RETRIES = 10
_RESTORE = "restore the folder from a backup, or train again and save with overwrite=True"


@dataclass(frozen=True, eq=False)
class Contents:
    """What a fitted triager hands over, and gets back.

    Parameters
    ----------
    settings : dict
        JSON values of every part, such as options, classes and thresholds; no NaN and no infinity. Tuples come back
        as lists, numpy scalars as numbers, keys in sorted order.
    arrays : dict of name to array
        Booleans, integers and floats of at most 8 bytes, of any shape. They come back in C order, writable.
    tables : dict of name to list of dict
        Records of JSON values, such as the training questions; the same rules as `settings`.
    metrics : dict
        JSON values; a NaN or an infinity becomes None.
    fingerprint : str
        SHA-256 of the training table.

    Notes
    -----
    Names of arrays and tables may be any text that does not begin with a dot; they are percent-encoded on disk.
    """

    settings: dict[str, Any]
    arrays: dict[str, np.ndarray[Any, Any]]
    tables: dict[str, list[dict[str, Any]]]
    metrics: dict[str, Any]
    fingerprint: str


def save_bundle(
    path: str | Path, contents: Contents, *, overwrite: bool = False, documents: Mapping[str, str] | None = None
) -> Path:
    """Save a bundle to exactly `path`; parent folders are made.

    Parameters
    ----------
    path : str or Path
        Folder to write; it must not exist unless `overwrite`.
    contents : Contents
        What to save.
    overwrite : bool, default=False
        Replace the bundle at `path`. A folder that is no bundle, or holds anything else, is never replaced.
    documents : mapping of file name to text, optional
        Texts for people, such as a model card, kept and checked with the bundle; not ``.json``, ``.jsonl``, ``.npy``,
        ``.npy.z``.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    BundleError
        When `path` exists (caused by a FileExistsError), `contents` cannot be stored or the disk refuses. What stood
        at `path` is intact.

    Notes
    -----
    The bundle is written to ``.NAME.triage-new`` beside `path`, flushed to disk and renamed. To overwrite, the old one
    is first renamed to ``.NAME.triage-old``; in the instant between the two renames nothing stands at `path`, and
    `load_bundle` reads the old one there. A killed process leaves the old or the new bundle, and at most one of these
    folders, which the next save to `path` clears. Saves into one parent folder wait for each other, except on Windows
    and on network disks without locks: save from one process at a time there.

    Examples
    --------
    >>> import tempfile
    >>> contents = Contents({"threshold": 0.8}, {"features.idf": np.ones(3)}, {"questions": [{"id": 7}]}, {}, "ab12")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = save_bundle(folder + "/desk", contents)
    ...     sorted(file.name for file in saved.iterdir())
    ['features.idf.npy', 'manifest.json', 'metrics.json', 'questions.jsonl', 'settings.json']
    """
    try:
        target = Path(path).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent):
            new, old = _beside(target, "new"), _beside(target, "old")
            _clear(target, new, old)
            _check_free(path, target, overwrite)
            try:
                _write(path, new, contents, documents or {})
                _swap(target, new, old)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        problem = f"must be writable, got {error.strerror or error}"
        raise BundleError(path=path, problem=problem, remedy="check space and rights, then save again") from error
    return Path(path)


def load_bundle(path: str | Path) -> tuple[Contents, dict[str, Any]]:
    """Load a bundle, every byte checked before any of it is used.

    Parameters
    ----------
    path : str or Path
        The bundle's folder, or a folder whose sub-folder ``bundle`` is one.

    Returns
    -------
    contents : Contents
        As saved.
    manifest : dict
        ``format``, ``versions``, ``fingerprint``, ``members`` (file name to ``bytes`` and ``sha256``), ``checksum``.

    Raises
    ------
    BundleError
        When there is no bundle, it is of a format this version cannot read, or anything in it is missing, unexpected,
        damaged or no plain file. Documents are checked and not returned.

    Notes
    -----
    Each file is read once; what was checked is what is used. A load during a save gives the old or the new bundle.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_bundle(folder + "/bundle", Contents({}, {"weights": np.arange(3)}, {}, {}, "ab12"))
    ...     contents, manifest = load_bundle(folder)
    >>> contents.arrays["weights"].tolist(), manifest["format"]
    ([0, 1, 2], 4)
    """
    for _ in range(_MAX_RETRIES):
        before = _identity(Path(path))
        try:
            return _load(Path(path))
        except BundleError:
            if _identity(Path(path)) == before:
                raise  # else a save has replaced the folder meanwhile
    return _load(Path(path))


# Writing


def _encode(contents: Contents, documents: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    # File names and bytes of all members.
    if not isinstance(contents.fingerprint, str):
        raise ValueError(f"fingerprint must be a str, got {type(contents.fingerprint).__name__}")
    yield "settings.json", _dump(_record(contents.settings, "settings"))
    yield "metrics.json", _dump(_record(contents.metrics, "metrics", nan_to_none=True))
    for name, array in sorted(contents.arrays.items()):
        array = np.asarray(array)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise ValueError(f"array {name!r} must be of booleans, integers or floats, got dtype {array.dtype}")
        buffer = io.BytesIO()
        array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
        raw = buffer.getvalue()
        packed = zlib.compress(raw, 6) if len(raw) >= _DEFLATE_FROM_BYTES else raw
        deflated = len(packed) < 0.9 * len(raw) <= 0.9 * _MOST_UNPACKED * len(packed)
        yield f"{quote(name, safe='')}.npy{'.z' if deflated else ''}", packed if deflated else raw
    for name, rows in sorted(contents.tables.items()):
        plain = (_record(row, f"table {name!r}, row {number}") for number, row in enumerate(rows, 1))
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in plain)
        yield f"{quote(name, safe='')}.jsonl", "".join(lines).encode()
    for name, text in sorted(documents.items()):
        if name.endswith((".json", ".jsonl", ".npy", _DEFLATED)):
            raise ValueError(f"document {name!r} must not end in .json, .jsonl, .npy or .npy.z")
        yield name, _plain(text, f"document {name!r}").encode()


def _write(path: str | Path, folder: Path, contents: Contents, documents: Mapping[str, str]) -> None:
    # Write and flush all files of a bundle to a folder made for them.
    folder.mkdir()
    members: dict[str, dict[str, Any]] = {}
    taken = {_MANIFEST}
    try:
        for name, content in _encode(contents, documents):
            if not _PLAIN_NAME.fullmatch(name):
                raise ValueError(f"{name!r} must be a plain file name that does not begin with a dot")
            if name.lower() in taken:
                raise ValueError(f"{name!r} must differ from other names by more than upper and lower case")
            taken.add(name.lower())
            members[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            write_file(folder / name, content)
    except ValueError as error:
        remedy = "nothing was saved; correct it and save again"
        raise BundleError(path=path, problem=str(error), remedy=remedy) from error
    versions: dict[str, str | None] = {"python": "{}.{}".format(*sys.version_info)}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None  # run from source
    facts = {"format": FORMAT, "versions": versions, "fingerprint": contents.fingerprint, "members": members}
    write_file(folder / _MANIFEST, _dump({**facts, "checksum": hashlib.sha256(_dump(facts)).hexdigest()}))
    sync_folder(folder)


def _record(value: Any, where: str, *, nan_to_none: bool = False) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a dict, got {type(value).__name__}")
    return dict(_plain(value, where, nan_to_none=nan_to_none))


def _plain(value: Any, where: str, *, nan_to_none: bool = False) -> Any:
    # Value as JSON keeps it without loss; a ValueError says where that fails, never what stands there.
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and _SURROGATE.search(value):
        raise ValueError(f"{where} must not hold lone surrogates")
    if isinstance(value, float) and not math.isfinite(value):
        if nan_to_none:
            return None
        raise ValueError(f"{where} must be finite, got {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", nan_to_none=nan_to_none) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {
            _plain(key, f"a key of {where}"): _plain(item, f"{where}.{key}", nan_to_none=nan_to_none)
            for key, item in value.items()
        }
    raise ValueError(f"{where} must be a JSON value, its keys text; got {type(value).__name__}")


def _dump(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=2)
    return f"{text}\n".encode()


# Folders


def _beside(target: Path, state: str) -> Path:
    return target.parent / f".{target.name}.triage-{state}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # One save at a time in a folder; the system frees the lock of a killed process.
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


def _clear(target: Path, new: Path, old: Path) -> None:
    # Finish what a killed save left: the old bundle back if nothing stands in its place, else away with it.
    if new.exists():
        shutil.rmtree(new)
    if old.exists() and not target.exists():
        old.rename(target)
    elif old.exists():
        old.rename(new)  # first, so that a half deleted folder never stands for a bundle
        shutil.rmtree(new)


def _check_free(path: str | Path, target: Path, overwrite: bool) -> None:
    # Raise unless `target` is absent, or a bundle and nothing else that may be replaced.
    if not target.exists():
        return
    if not overwrite:
        exists = FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        remedy = "save elsewhere, or with overwrite=True"
        raise BundleError(path=path, problem="must not exist yet", remedy=remedy) from exists
    remedy = "save elsewhere, or move the folder away by hand"
    try:
        manifest = json.loads((target / _MANIFEST).read_bytes())
        strangers = {file.name for file in target.iterdir()} - {_MANIFEST, *manifest["members"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        problem = f"must be a bundle to be overwritten, and has no {_MANIFEST} of one"
        raise BundleError(path=path, problem=problem, remedy=remedy) from error
    if strangers:
        problem = f"must hold nothing but a bundle to be overwritten, got {_listed(strangers)}"
        raise BundleError(path=path, problem=problem, remedy=remedy)


def _swap(target: Path, new: Path, old: Path) -> None:
    # Put `new` at `target`, and what stood there back if that fails.
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


# Reading


def _find(path: Path) -> Path:
    # The folder with the manifest: `path`, its sub-folder, or either as a save has just put it aside.
    for folder in (path, path / "bundle"):
        for candidate in (folder, _beside(folder.resolve(), "old")):
            if os.path.lexists(candidate / _MANIFEST) and (candidate is folder or not folder.exists()):
                return candidate
    if not path.exists():
        raise BundleError(path=path, problem="must be a bundle's folder, nothing is there", remedy="check the path")
    problem = f"must be a folder with {_MANIFEST}, in it or in its sub-folder 'bundle'; found none"
    raise BundleError(path=path, problem=problem, remedy=f"check the path; if it was a bundle, {_RESTORE}")


def _identity(path: Path) -> list[tuple[int, int] | None]:
    # Changes whenever a save replaces what `_find` looks at.
    found: list[tuple[int, int] | None] = []
    for folder in (path, path / "bundle"):
        try:
            facts = folder.stat()
            found.append((facts.st_ino, facts.st_ctime_ns))
        except (OSError, ValueError):
            found.append(None)
    return found


def _load(path: Path) -> tuple[Contents, dict[str, Any]]:
    # Manifest, list of files, sizes, checksums; only then the contents.
    folder = path
    try:
        folder = _find(path)
        manifest = _read_manifest(folder)
        checked = _read_members(folder, manifest["members"])
        return _parse(checked, manifest["fingerprint"]), manifest
    except BundleError:
        raise
    except OSError as error:
        problem = f"must be readable, got {error.strerror or error}"
        raise BundleError(path=folder, problem=problem, remedy=f"check rights and disk, or {_RESTORE}") from error
    except ValueError as error:
        raise BundleError(path=folder, problem=str(error), remedy=_RESTORE) from error


def _read_manifest(folder: Path) -> dict[str, Any]:
    raw = _read_file(folder / _MANIFEST)
    manifest: dict[str, Any] = _parse_json(raw, _MANIFEST)
    facts = {key: value for key, value in manifest.items() if key != "checksum"}
    if manifest.get("checksum") != hashlib.sha256(_dump(facts)).hexdigest() or raw != _dump(manifest):
        raise ValueError(f"{_MANIFEST} must have the checksum it states of itself, and has not: it was changed")
    number = manifest.get("format")
    if isinstance(number, bool) or number not in _READABLE:
        problem = f"is of bundle format {number!r}, and this version reads formats up to {FORMAT}"
        newer = isinstance(number, int) and number > FORMAT
        raise BundleError(path=folder, problem=problem, remedy="upgrade triage" if newer else _RESTORE)
    members = manifest.get("members")
    if (
        not isinstance(manifest.get("fingerprint"), str)
        or not isinstance(members, dict)
        or not members.keys() >= _OBJECTS
    ):
        raise ValueError(f"{_MANIFEST} must have a fingerprint, and members with {_listed(_OBJECTS)}")
    for name, member in members.items():
        if not _PLAIN_NAME.fullmatch(name) or name == _MANIFEST:
            raise ValueError(f"{_MANIFEST} must name plain files of this folder, got {name!r}")
        if not isinstance(member, dict) or not member.keys() >= {"bytes", "sha256"}:
            raise ValueError(f"{_MANIFEST} must give bytes and sha256 of {name}")
    return manifest


def _read_members(folder: Path, members: dict[str, Any]) -> dict[str, bytearray]:
    # The bytes of all members, once all are there, alone, and as the manifest says.
    found = {file.name for file in folder.iterdir()} - {_MANIFEST}
    if absent := members.keys() - found:
        raise ValueError(f"must hold all files its manifest names, misses {_listed(absent)}")
    if strangers := found - members.keys():
        raise ValueError(f"must hold only files its manifest names, got {_listed(strangers)} too")
    checked = {}
    for name, facts in members.items():
        checked[name] = _read_file(folder / name, facts["bytes"])
        if hashlib.sha256(checked[name]).hexdigest() != facts["sha256"]:
            raise ValueError(f"{name} must have the checksum its manifest states, and has not: it is damaged")
    return checked


def _read_file(file: Path, n_bytes: int | None = None) -> bytearray:
    # Into memory that arrays can be views of, and be written to.
    facts = file.lstat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError(f"{file.name} must be a plain file, no link, folder or device")
    if n_bytes not in (None, facts.st_size):
        raise ValueError(f"{file.name} must have {n_bytes} bytes, got {facts.st_size}")
    raw = bytearray(facts.st_size)
    with file.open("rb") as stream:
        stream.readinto(raw)  # a file cut short meanwhile leaves zeros, which fail the checksum
    return raw


def _parse(checked: dict[str, bytearray], fingerprint: str) -> Contents:
    arrays, tables = {}, {}
    for name, raw in checked.items():
        if name.endswith(_DEFLATED):
            arrays[unquote(name.removesuffix(_DEFLATED))] = _parse_array(_unpack(raw, name), name)
            continue
        stem, _, ending = name.rpartition(".")
        if ending == "npy":
            arrays[unquote(stem)] = _parse_array(raw, name)
        elif ending == "jsonl":
            tables[unquote(stem)] = _parse_json(raw, name, lines=True)
    settings, metrics = (_parse_json(checked[name], name) for name in ("settings.json", "metrics.json"))
    return Contents(settings, arrays, tables, metrics, fingerprint)


def _unpack(packed: bytearray, name: str) -> bytearray:
    # The bytes of a deflated array, at most so many times as long.
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(packed, _MOST_UNPACKED * len(packed) + 1)
    except zlib.error as error:
        raise ValueError(f"{name} must be deflated, and is not") from error
    if not stream.eof or stream.unused_data or len(raw) > _MOST_UNPACKED * len(packed):
        raise ValueError(f"{name} must hold one deflated array, at most {_MOST_UNPACKED} times its size, and does not")
    return bytearray(raw)


def _parse_array(raw: bytearray, name: str) -> np.ndarray[Any, Any]:
    # A view of `raw`. What the header claims is held against the bytes that are there, before anything is allocated.
    header = _ARRAY_HEADER.match(raw)
    if header is None or header.end() != _ARRAY_PRELUDE + int.from_bytes(raw[8:10], "little"):
        raise ValueError(f"{name} must be an array of booleans, integers or floats in C order, and is not")
    dtype = np.dtype(header["dtype"].decode())
    shape = [int(n) for n in header["shape"].split(b",") if n.strip()]
    if math.prod(shape) * dtype.itemsize != len(raw) - header.end():
        raise ValueError(f"{name} must have as many bytes as its header claims, got {len(raw)}")
    try:
        array = np.frombuffer(raw, dtype, offset=header.end()).reshape(shape)
    except ValueError as error:  # no bytes, and other dimensions beyond all memory
        raise ValueError(f"{name} must have a shape that numpy can hold, got {shape}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _parse_json(raw: bytearray, name: str, *, lines: bool = False) -> Any:
    # An object, or with `lines` a list of the objects that stand one a line.
    try:
        text = raw.decode()
        # One call for all lines is much faster than one a line; a line feed never stands inside a JSON value.
        value = json.loads(f"[{text[:-1].replace(chr(10), ',')}]" if lines else text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} must be JSON in UTF-8, and is not") from error
    if not all(isinstance(item, dict) for item in (value if lines else [value])):
        raise ValueError(f"{name} must hold JSON objects")
    return value


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:_MAX_LISTED]) + (
        f" and {len(shown) - _MAX_LISTED} more" if len(shown) > _MAX_LISTED else ""
    )
