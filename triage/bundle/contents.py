"""What a bundle holds, as files and back: JSON values and arrays, without loss and without running anything."""

from __future__ import annotations

import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

OBJECTS = {"settings.json", "metrics.json"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEFLATED = ".npy.z"
_DEFLATE_FROM_BYTES = 1 << 15  # smaller arrays are not worth it
_MOST_UNPACKED = 64  # times its size that a deflated array may become, so that a false bundle cannot fill the memory
_ARRAY_PRELUDE = 10  # bytes before the header: magic, version, length of the header
_ARRAY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<dtype>\|b1|[|<][iu]1|<[iuf][248])', 'fortran_order': False, "
    rb"'shape': \((?P<shape>(?:\d{1,18}, ){0,63}(?:\d{1,18},?)?)\), \} *\n",
    re.DOTALL,
)


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


def encode(contents: Contents, documents: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every file but the manifest; a ValueError says what cannot be kept, and where."""
    if not isinstance(contents.fingerprint, str):
        raise ValueError(f"fingerprint must be a str, got {type(contents.fingerprint).__name__}")
    yield "settings.json", dump(_record(contents.settings, "settings"))
    yield "metrics.json", dump(_record(contents.metrics, "metrics", nan_to_none=True))
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


def dump(value: Any) -> bytes:
    """Return a JSON value as the bytes that a manifest is checked by."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=2)
    return f"{text}\n".encode()


def parse(checked: dict[str, bytearray], fingerprint: str) -> Contents:
    """Return the contents from the checked bytes of every file; a ValueError names one that is wrong."""
    deflated = {name: raw for name, raw in checked.items() if name.endswith(_DEFLATED)}
    with ThreadPoolExecutor() as pool:  # inflating lets other threads work meanwhile
        inflated = zip(deflated, pool.map(_unpack, deflated.values(), deflated), strict=True)
        arrays = {unquote(name.removesuffix(_DEFLATED)): _parse_array(raw, name) for name, raw in inflated}
    tables = {}
    for name, raw in checked.items():
        stem, _, ending = name.rpartition(".")
        if ending == "npy":
            arrays[unquote(stem)] = _parse_array(raw, name)
        elif ending == "jsonl":
            tables[unquote(stem)] = parse_json(raw, name, lines=True)
    settings, metrics = (parse_json(checked[name], name) for name in ("settings.json", "metrics.json"))
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


def parse_json(raw: bytearray, name: str, *, lines: bool = False) -> Any:
    """Return an object, or with `lines` a list of the objects that stand one a line."""
    try:
        text = raw.decode()
        # One call for all lines is much faster than one a line; a line feed never stands inside a JSON value.
        value = json.loads(f"[{text[:-1].replace(chr(10), ',')}]" if lines else text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} must be JSON in UTF-8, and is not") from error
    if not all(isinstance(item, dict) for item in (value if lines else [value])):
        raise ValueError(f"{name} must hold JSON objects")
    return value
