"""Saving and loading a bundle: the manifest, and the files that it names."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triage.bundle.contents import OBJECTS, Contents, dump, encode, parse, parse_json
from triage.bundle.folder import MANIFEST, RESTORE, beside, check_free, clear, find, identity, listed, locked, swap
from triage.disk import sync_folder, write_file
from triage.errors import BundleError

FORMAT = 6

_PACKAGES = ("triage", "numpy", "scipy", "scikit-learn", "spacy")
_PLAIN_NAME = re.compile(r"[\w%~-][\w.%~-]*", re.ASCII)
# Older ones lack deflated arrays, kinds by a target, blocks of several targets, scores that share a column, or a link
# for each block, and are read by the same code.
_READABLE = range(1, FORMAT + 1)
_MAX_RETRIES = 10


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
    >>> import numpy as np
    >>> contents = Contents({"threshold": 0.8}, {"features.idf": np.ones(3)}, {"questions": [{"id": 7}]}, {}, "ab12")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = save_bundle(folder + "/desk", contents)
    ...     sorted(file.name for file in saved.iterdir())
    ['features.idf.npy', 'manifest.json', 'metrics.json', 'questions.jsonl', 'settings.json']
    """
    try:
        target = Path(path).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.parent):
            new, old = beside(target, "new"), beside(target, "old")
            clear(target, new, old)
            check_free(path, target, overwrite)
            try:
                _write(path, new, contents, documents or {})
                swap(target, new, old)
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
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_bundle(folder + "/bundle", Contents({}, {"weights": np.arange(3)}, {}, {}, "ab12"))
    ...     contents, manifest = load_bundle(folder)
    >>> contents.arrays["weights"].tolist(), manifest["fingerprint"]
    ([0, 1, 2], 'ab12')
    """
    for _ in range(_MAX_RETRIES):
        before = identity(Path(path))
        try:
            return _load(Path(path))
        except BundleError:
            if identity(Path(path)) == before:
                raise  # else a save has replaced the folder meanwhile
    return _load(Path(path))


def _write(path: str | Path, folder: Path, contents: Contents, documents: Mapping[str, str]) -> None:
    # Write and flush all files of a bundle to a folder made for them.
    folder.mkdir()
    members: dict[str, dict[str, Any]] = {}
    taken = {MANIFEST}
    try:
        for name, content in encode(contents, documents):
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
    write_file(folder / MANIFEST, dump({**facts, "checksum": hashlib.sha256(dump(facts)).hexdigest()}))
    sync_folder(folder)


def _load(path: Path) -> tuple[Contents, dict[str, Any]]:
    # Manifest, list of files, sizes, checksums; only then the contents.
    folder = path
    try:
        folder = find(path)
        manifest = _read_manifest(folder)
        checked = _read_members(folder, manifest["members"])
        return parse(checked, manifest["fingerprint"]), manifest
    except BundleError:
        raise
    except OSError as error:
        problem = f"must be readable, got {error.strerror or error}"
        raise BundleError(path=folder, problem=problem, remedy=f"check rights and disk, or {RESTORE}") from error
    except ValueError as error:
        raise BundleError(path=folder, problem=str(error), remedy=RESTORE) from error


def _read_manifest(folder: Path) -> dict[str, Any]:
    raw = _read_file(folder / MANIFEST)
    manifest: dict[str, Any] = parse_json(raw, MANIFEST)
    facts = {key: value for key, value in manifest.items() if key != "checksum"}
    if manifest.get("checksum") != hashlib.sha256(dump(facts)).hexdigest() or raw != dump(manifest):
        raise ValueError(f"{MANIFEST} must have the checksum it states of itself, and has not: it was changed")
    number = manifest.get("format")
    if isinstance(number, bool) or number not in _READABLE:
        problem = f"is of bundle format {number!r}, and this version reads formats up to {FORMAT}"
        newer = isinstance(number, int) and number > FORMAT
        raise BundleError(path=folder, problem=problem, remedy="upgrade triage" if newer else RESTORE)
    members = manifest.get("members")
    if (
        not isinstance(manifest.get("fingerprint"), str)
        or not isinstance(members, dict)
        or not members.keys() >= OBJECTS
    ):
        raise ValueError(f"{MANIFEST} must have a fingerprint, and members with {listed(OBJECTS)}")
    for name, member in members.items():
        if not _PLAIN_NAME.fullmatch(name) or name == MANIFEST:
            raise ValueError(f"{MANIFEST} must name plain files of this folder, got {name!r}")
        if not isinstance(member, dict) or not member.keys() >= {"bytes", "sha256"}:
            raise ValueError(f"{MANIFEST} must give bytes and sha256 of {name}")
    return manifest


def _read_members(folder: Path, members: dict[str, Any]) -> dict[str, bytearray]:
    # The bytes of all members, once all are there, alone, and as the manifest says.
    found = {file.name for file in folder.iterdir()} - {MANIFEST}
    if absent := members.keys() - found:
        raise ValueError(f"must hold all files its manifest names, misses {listed(absent)}")
    if strangers := found - members.keys():
        raise ValueError(f"must hold only files its manifest names, got {listed(strangers)} too")
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
