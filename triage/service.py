"""One function for other services: text and a model's path in, JSON-ready dictionaries out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, overload

if TYPE_CHECKING:
    from triage.triager import Triager

MAX_MODELS = 8
_Stamp: TypeAlias = "tuple[int, int, int] | None"


@overload
def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str, but one question
    text: str, *, model: str | Path, as_of: Any = None, k: int = 5, encoder: str | None = None
) -> dict[str, Any]: ...
@overload
def predict(
    text: Sequence[str], *, model: str | Path, as_of: Any = None, k: int = 5, encoder: str | None = None
) -> list[dict[str, Any]]: ...
def predict(
    text: str | Sequence[str], *, model: str | Path, as_of: Any = None, k: int = 5, encoder: str | None = None
) -> dict[str, Any] | list[dict[str, Any]]:
    """Triage one question or many with a model on disk.

    Parameters
    ----------
    text : str or sequence of str
        One question, or many.
    model : str or Path
        Folder of the model, as for :func:`triage.load`.
    as_of : date, ISO text or a sequence of them, optional
        Day on which competences must hold; one for all questions or one a question.
    k : int, default 5
        Largest number of suggestions a question.
    encoder : str, optional
        Where the encoder is that the model was trained with, as for :func:`triage.load`. One of an installed package
        is found without.

    Returns
    -------
    dict or list of dict
        :meth:`TriageResult.to_dict <triage.records.TriageResult.to_dict>` of the question; a list, in the same
        order, for a sequence.

    Raises
    ------
    BundleError
        The model is missing, damaged or of a newer format.
    EncoderError
        The model's encoder is not there, or is another one.

    Notes
    -----
    The `MAX_MODELS` models used last stay in memory, and each is loaded once however many threads ask at the same
    time. A model that is replaced on disk is loaded again at the next call. Safe from any number of threads. A model
    asked with its encoder in two places is two models.
    """
    triager = _MODELS.load(model, encoder)
    if isinstance(text, str):
        return triager.predict([text], as_of=as_of, k=k)[0].to_dict()
    return [result.to_dict() for result in triager.predict(text, as_of=as_of, k=k)]


class _Slot:
    # One model: its lock is held while it is loaded, so that others wait instead of loading too.
    def __init__(self) -> None:
        self.lock = Lock()
        self.stamp: _Stamp = None
        self.triager: Triager | None = None


class _Models:
    # The models used last, by path and where their encoder is.
    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._slots: OrderedDict[tuple[Path, str | None], _Slot] = OrderedDict()

    def load(self, model: str | Path, encoder: str | None) -> Triager:
        from triage.triager import load

        path = Path(model).resolve()
        with self._lock:
            slot = self._slots.setdefault((path, encoder), _Slot())
            self._slots.move_to_end((path, encoder))
            while len(self._slots) > self._size:
                self._slots.popitem(last=False)
        with slot.lock:
            stamp = _stamp(path)
            if slot.triager is None or stamp is None or slot.stamp != stamp:
                slot.triager = None  # a model that cannot be read again must not go on answering
                slot.triager, slot.stamp = load(path, encoder=encoder), stamp
            return slot.triager

    def clear(self) -> None:
        with self._lock:
            self._slots.clear()


def _stamp(path: Path) -> _Stamp:
    # Return what changes when a bundle is replaced; None when there is no manifest to look at.
    for manifest in (path / "manifest.json", path / "bundle" / "manifest.json"):
        try:
            status = manifest.stat()
        except OSError:
            continue
        return status.st_mtime_ns, status.st_size, status.st_ino
    return None


_MODELS = _Models(MAX_MODELS)
