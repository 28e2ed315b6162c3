"""A graph of near vectors, in which a search looks at some thousand of a million; by usearch, which need not be there.

The graph holds each row as bytes, equal ones once: copies would only lead to each other. It is made by one thread in
a fixed order, so that the same rows on the same kind of processor make the same graph to the byte; on another it may
differ in a few links. It only proposes rows: what is said of them comes from the rows themselves.
"""

from __future__ import annotations

import importlib
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from triage.index.bounded import Make

_LINKS, _TRIED = 16, 64  # of a row, and rows looked at to choose them
_BLOCK_ROWS = 1024
_KINDS = {"graph": "|u1", "graph_sum": "<u4", "members": "<i4", "bounds": "<i8"}


def is_installed() -> bool:
    """Say whether graphs can be made and searched."""
    return _usearch() is not None


@dataclass(frozen=True, eq=False)
class Graph:
    """What usearch keeps of rows, as arrays that may lie on disk.

    Attributes
    ----------
    graph : uint8 array
        As usearch saves it, one node for each group of rows that are the same in bytes.
    graph_sum : uint32 array of shape (1,)
        Its CRC-32. usearch follows links without a look at where they lead, so all of them are checked.
    members : int32 array of shape (n_rows,)
        Places of the rows of each group, ascending.
    bounds : int64 array of shape (n_groups + 1,)
        Where groups begin and end.
    """

    graph: npt.NDArray[np.uint8]
    graph_sum: npt.NDArray[np.uint32]
    members: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]
    _views: deque[Any] = field(default_factory=deque, repr=False)  # of the graph; each thread needs one of its own

    def near(self, query: npt.NDArray[np.int16], n: int) -> npt.NDArray[np.intp]:
        """Return places of rows near to one query of shape (dim,): those of some `n` groups, ascending."""
        try:
            view = self._views.pop()
        except IndexError:
            view = self._view()
        found = view.search(_bytes_of(query[None])[0], n, threads=1).keys.astype(np.intp)
        self._views.append(view)
        slices = [self.members[self.bounds[group] : self.bounds[group + 1]] for group in found.tolist()]
        return np.sort(np.concatenate([np.zeros(0, np.intp), *slices]))

    def _view(self) -> Any:
        usearch = _usearch()
        view = usearch.Index.restore(self.graph, view=True, enable_key_lookups=False)
        view.graph = self.graph  # usearch reads there and keeps no reference
        return view

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `from_arrays` takes."""
        return {name: getattr(self, name) for name in _KINDS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_rows: int, dim: int) -> Self:
        """Return a graph whose arrays stay where they are; a ValueError says that they do not fit together."""
        graph, graph_sum, members, bounds = (arrays[name] for name in _KINDS)
        if any(arrays[name].dtype.str != kind for name, kind in _KINDS.items()) or len(members) != n_rows:
            raise ValueError("the arrays of a segment must have the kinds and lengths of an index, and have not")
        inside = n_rows and members.min() >= 0 and members.max() < n_rows and (np.diff(bounds) > 0).all()
        if not inside or bounds[0] != 0 or bounds[-1] != n_rows:
            raise ValueError("the groups of a graph must lie within its rows, and do not")
        if graph_sum.tolist() != [zlib.crc32(graph.data)]:
            raise ValueError("a graph must have the checksum that stands beside it, and has not")
        made = cls(graph, graph_sum, members, bounds)
        if is_installed():
            try:
                view = made._view()
            except (RuntimeError, ValueError) as error:
                raise ValueError("a graph must be one that this version of usearch reads, and is not") from error
            if (len(view), view.ndim) != (len(bounds) - 1, dim):
                raise ValueError("a graph must be of the rows beside it, and is not")
            made._views.append(view)
        return made


def build_graph(rows: npt.NDArray[np.int16], make: Make) -> dict[str, npt.NDArray[Any]]:
    """Make the arrays of a graph; while it is made it is in memory, some 550 bytes for a row of 384 numbers.

    Parameters
    ----------
    rows : int16 array of shape (n_rows, dim)
        At least one.
    make : callable of name, dtype and length
        Gives the arrays to fill.

    Returns
    -------
    dict of name to array
        What `Graph.from_arrays` takes.
    """
    usearch = _usearch()
    hashes = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = _bytes_of(rows[start : start + _BLOCK_ROWS])
        hashes[start : start + len(block)] = [int.from_bytes(blake2b(row, digest_size=8).digest()) for row in block]
    # In the order of hashes, not of the keys: a graph of what came sorted by matter or day is a worse one.
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    built = usearch.Index(
        **{"ndim": rows.shape[1], "metric": "cos", "dtype": "i8", "connectivity": _LINKS, "expansion_add": _TRIED},
        enable_key_lookups=False,
    )
    for start in range(0, len(first), _BLOCK_ROWS):
        block = _bytes_of(rows[first[start : start + _BLOCK_ROWS]])
        built.add(np.arange(start, start + len(block), dtype=np.uint64), block, threads=1)
    saved = np.frombuffer(built.save(), np.uint8)
    lengths = {"graph": len(saved), "graph_sum": 1, "members": len(rows), "bounds": len(first) + 1}
    made = {name: make(name, kind, lengths[name]) for name, kind in _KINDS.items()}
    made["graph"][:] = saved
    made["graph_sum"][:] = zlib.crc32(saved.data)
    made["members"][:] = np.argsort(group, kind="stable")
    made["bounds"][:] = np.concatenate(([0], np.cumsum(np.bincount(group))))
    return made


def _bytes_of(rows: npt.NDArray[np.int16]) -> npt.NDArray[np.int8]:
    """Return rows as bytes, each relative to its largest: the metric does not ask how long a row is."""
    largest = np.maximum(np.abs(rows).max(1, initial=0, keepdims=True), 1)
    scaled: npt.NDArray[np.int8] = np.rint(rows * (np.float32(127) / largest.astype(np.float32))).astype(np.int8)
    return scaled


def _usearch() -> Any:
    """Return the module, or None where it is not installed."""
    try:
        return importlib.import_module("usearch.index")
    except ImportError:
        return None
