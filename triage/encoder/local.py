"""What encoders from local files share: order, batches, a lock, identity, copies."""

from __future__ import annotations

import hashlib
import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from triage.encoder.protocol import Identity, Vectors, clean_text, unit_vectors
from triage.errors import DependencyError, EncoderError

_PACKAGE = "package:"
_BATCH = 32


class LocalEncoder(ABC):
    """An encoder whose files are on this machine.

    It never changes, so a copy is the encoder itself; a pickle holds the place of its files and opens them again, once
    in a process. One thread encodes at a time: the libraries use all cores for it, and not each is known to bear two.

    Attributes
    ----------
    name : str
    dim : int
    files : dict of str to Path
        What its vectors depend on.
    """

    kind: ClassVar[str]
    name: str
    dim: int
    files: dict[str, Path]
    batch_size: int = _BATCH

    def __init__(self, *place: Any) -> None:
        self._place = place  # arguments that open it again
        self._encoding = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a row of length 1 for each text, of zeros for one without any token.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        float32 array of shape (n_texts, dim)
        """
        cleaned = [clean_text(text) for text in texts]
        rows = np.zeros((len(cleaned), self.dim), np.float32)
        # Texts of like length stand together: the shorter ones of a batch cost as much as its longest.
        order = [row for row in np.argsort([-len(text) for text in cleaned], kind="stable") if cleaned[row].strip()]
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            with self._encoding:
                rows[batch] = self._encode_batch([cleaned[row] for row in batch])
        return unit_vectors(rows)

    @abstractmethod
    def _encode_batch(self, texts: list[str]) -> npt.NDArray[Any]:
        """Return a row for each text, of any length."""

    @cached_property
    def identity(self) -> Identity:
        """Kind and checksums of the files; read once."""
        return Identity(self.kind, self.name, self.dim, {name: _sha256(path) for name, path in self.files.items()})

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (type(self), *self._place)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, map(str, self._place)))})"


@cache
def _reopened(kind: type[LocalEncoder], *place: Any) -> LocalEncoder:
    """Open an encoder of a pickle; the many tasks of one process share it."""
    return kind(*place)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def needed(module: str, *, package: str, extra: str | None) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module, package : str
        Names to import and to install.
    extra : str or None
        Extra of ``triage`` that brings it.

    Returns
    -------
    module

    Raises
    ------
    DependencyError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(package=package, extra=extra, purpose="this encoder") from error


def find_folder(place: str | Path, kind: str, base: Path | None = None) -> Path:
    """Return the folder of a model.

    Parameters
    ----------
    place : str or Path
        A folder, or ``package:NAME`` for an installed package with the model in itself or in its folder ``model``.
    kind : str
        Of the encoder, for errors.
    base : Path, optional
        What a relative folder is relative to; the working directory by default.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    EncoderError
        If there is no such folder or package. Nothing is ever looked up on a hub.
    """
    if isinstance(place, str) and place.startswith(_PACKAGE):
        package = place.removeprefix(_PACKAGE)
        found = find_spec(package) if package.isidentifier() else None
        if found is None or not found.submodule_search_locations:
            problem = f"the package {package!r} must be installed, and is not"
            raise EncoderError(encoder=kind, problem=problem, remedy="install it, or name a folder instead")
        folder = Path(found.submodule_search_locations[0])
        return (folder / "model" if (folder / "model").is_dir() else folder).absolute()
    folder = ((base or Path()) / place).absolute()
    if not str(place) or not folder.is_dir():
        problem = f"must have an existing folder, got {str(place)!r} ({folder})"
        remedy = "give the folder of the model's files; names of a hub are not looked up"
        raise EncoderError(encoder=kind, problem=problem, remedy=remedy)
    return folder


def name_of(kind: str, folder: Path) -> str:
    """Name an encoder by its folder, or by its package where the folder is only called ``model``."""
    return f"{kind}:{folder.parent.name if folder.name == 'model' else folder.name}"


def files_in(folder: Path, names: Sequence[str], kind: str) -> dict[str, Path]:
    """Return files of a folder by name.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        All must be there.
    kind : str
        Of the encoder, for errors.

    Returns
    -------
    dict of str to Path

    Raises
    ------
    EncoderError
        If one is missing.
    """
    if missing := [name for name in names if not (folder / name).is_file()]:
        problem = f"its folder {folder} must hold {', '.join(names)}, and has no {' and no '.join(missing)}"
        raise EncoderError(encoder=kind, problem=problem, remedy="give the folder of the model's files")
    return {name: folder / name for name in names}
