"""A segment too large to be searched whole: a bounded number of postings, then the cosine of the best candidates.

A row keeps its weights in a byte each, relative to its largest, which moves a cosine by some 0.0002. Postings have no
weights: a posting counts by the query's weight, and the sum by the mean weight of the item's row. Read first is what
tells most for what it costs. A query that nothing is near to reads more. See ``tests/benchmarks/index.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.index.compact import BLOCK, CompactRows, blocks_of, slices

_ROUNDS = ((40_000, 200), (500_000, 800))  # most postings read for a query, and candidates whose cosine is taken
_NEAR = 0.25  # with k items as similar as this the first round is enough
_FINDS = 25  # postings kept for each candidate, as an item has one for each feature shared
_SAMPLE = 8  # of so many postings one says where to cut
_CHUNK_ROWS = 32_768

Make = Callable[[str, Any, int], npt.NDArray[Any]]  # of name, dtype and length: an array in memory or on disk


@dataclass(frozen=True, eq=False)
class BoundedSegment:
    """Items with compact rows and postings.

    Attributes
    ----------
    keys : int64 array of shape (n_rows,)
        Ascending.
    rows : CompactRows of n_features columns
        Features of each item.
    level : uint8 array of shape (n_values,)
        Weight of each feature of a row, in 255ths of the row's largest.
    scale : float32 array of shape (n_rows,)
        Weight of a level: with it the row has length 1.
    mean : float32 array of shape (n_rows,)
        Mean weight of the row's features.
    postings : CompactRows of n_rows columns
        Items of each feature.
    """

    keys: npt.NDArray[np.int64]
    rows: CompactRows
    level: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    postings: CompactRows
    # A score for each row and a weight for each feature, all 0 between queries; one pair for each query at a time.
    _scratch: deque[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = field(default_factory=deque, repr=False)

    kind: ClassVar[str] = "bounded"

    def search(
        self,
        Q: sp.csr_matrix,
        k: int,
        dead: npt.NDArray[np.bool_] | None,
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the most similar rows among the candidates, in the terms of `ExactSegment.search`.

        Where fewer than `k` are found, the first rows that are left follow with similarity 0.

        Parameters
        ----------
        Q, k, dead
            As there.

        Returns
        -------
        place, similarity
            As there.
        """
        n = min(k, len(self.keys))
        place = np.zeros((Q.shape[0], n), np.intp)
        similarity = np.full(place.shape, -1, np.float32)
        for row in range(Q.shape[0]):
            ids, values = (array[Q.indptr[row] : Q.indptr[row + 1]] for array in (Q.indices, Q.data))
            found, cosine = self._search_one(ids, values, k, dead)
            top = np.lexsort((found, -cosine))[:n]
            found, cosine = found[top], cosine[top]
            if len(found) < n:
                left = np.ones(len(self.keys), bool) if dead is None else ~dead
                left[found] = False
                found = np.concatenate((found, np.flatnonzero(left)[: n - len(found)]))
            place[row, : len(found)] = found
            similarity[row, : len(found)] = 0
            similarity[row, : len(cosine)] = cosine
        return place, similarity

    def _search_one(
        self, ids: npt.NDArray[Any], values: npt.NDArray[np.float32], k: int, dead: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return candidates with their cosines."""
        begin, end = self.postings.ends(ids)
        length = end - begin
        order = np.argsort(length / np.maximum(values * values, 1e-12), kind="stable")
        order = order[length[order] > 0]
        n_read = np.cumsum(length[order])
        found, cosine = np.zeros(0, np.intp), np.zeros(0, np.float32)
        scores, query = self._borrow()
        query[ids] = values
        for n_postings, n in _ROUNDS:
            read = order[: max(1, int(np.searchsorted(n_read, n_postings, "right")))]
            found = self._candidates(ids[read], values[read], max(n, 4 * k), scores, dead)
            cosine = self._products(query, found)
            if len(read) == len(order) or (len(cosine) >= k and np.partition(cosine, -k)[-k] >= _NEAR):
                break
        query[ids] = 0
        self._scratch.append((scores, query))
        return found, cosine

    def _candidates(
        self,
        ids: npt.NDArray[Any],
        values: npt.NDArray[np.float32],
        n: int,
        scores: npt.NDArray[np.float32],
        dead: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[np.intp]:
        """Return the at most `n` rows that share most with these features; `scores` is 0 before and after."""
        items, length = self.postings.take(ids)
        # An array that was unpickled has a dtype of its own, which makes numpy take thirty times as long: hence astype.
        np.add.at(scores, items, np.repeat(values.astype(np.float32), length))
        sample = scores.take(items[::_SAMPLE])
        cut = max(len(sample) - _FINDS * n // _SAMPLE, 0)
        found = np.flatnonzero(scores >= np.partition(sample, cut)[cut]) if cut else np.flatnonzero(scores)
        if dead is not None:
            found = found[~dead[found]]
        score = scores.take(found) * self.mean.take(found)
        scores[items] = 0
        if len(found) <= n:
            return found
        least = np.partition(score, -n)[-n]
        above, equal = np.flatnonzero(score > least), np.flatnonzero(score == least)
        return found[np.concatenate((above, equal[: n - len(above)]))]  # among equals the earlier

    def _borrow(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return scratch that no other thread has; after an error it is not given back."""
        try:
            return self._scratch.pop()
        except IndexError:
            return np.zeros(len(self.keys), np.float32), np.zeros(self.rows.n_blocks * BLOCK, np.float32)

    def _products(self, query: npt.NDArray[np.float32], place: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the cosines of a dense query with some rows."""
        columns, length = self.rows.take(place)
        product = np.zeros(len(columns) + 1, np.float32)
        np.multiply(query.take(columns), slices(self.level, *self.rows.ends(place)), out=product[:-1])
        total = np.add.reduceat(product, np.cumsum(length) - length) if len(place) else product[:0]
        total[length == 0] = 0
        return np.clip(total * self.scale[place], 0, 1)

    def cosines(self, q: sp.csr_matrix, place: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the cosine of a query of shape (1, n_features) with some rows."""
        scores, query = self._borrow()
        query[q.indices] = q.data
        cosine = self._products(query, place)
        query[q.indices] = 0
        self._scratch.append((scores, query))
        return cosine

    def take(self, place: npt.NDArray[np.intp]) -> sp.csr_matrix:
        """Return some rows."""
        columns, length = self.rows.take(place)
        indptr = np.concatenate(([0], np.cumsum(length)))
        data = slices(self.level, *self.rows.ends(place)) * np.repeat(self.scale[place], length)
        return sp.csr_matrix((data, columns, indptr), shape=(len(place), self.rows.n_columns))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `from_arrays` takes."""
        parts = (
            *(self.keys, self.rows.bounds, self.rows.low, self.level, self.scale, self.mean),
            *(self.postings.bounds, self.postings.low),
        )
        return dict(zip(_KINDS, parts, strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_features: int) -> BoundedSegment:
        """Return a segment whose arrays stay where they are; a ValueError says that they do not fit together."""
        n_rows = len(arrays["keys"])
        lengths = {
            "keys": n_rows,
            "row_bounds": n_rows * blocks_of(n_features) + 1,
            "row_low": arrays["row_bounds"][-1],
            "level": arrays["row_bounds"][-1],
            "scale": n_rows,
            "mean": n_rows,
            "posting_bounds": n_features * blocks_of(n_rows) + 1,
            "posting_low": arrays["posting_bounds"][-1],
        }
        if any((len(arrays[name]), arrays[name].dtype.str) != (n, _KINDS[name]) for name, n in lengths.items()):
            raise ValueError("the arrays of a segment must have the kinds and lengths of an index, and have not")
        rows = CompactRows(arrays["row_low"], arrays["row_bounds"], n_features)
        postings = CompactRows(arrays["posting_low"], arrays["posting_bounds"], n_rows)
        return cls(arrays["keys"], rows, arrays["level"], arrays["scale"], arrays["mean"], postings)


_KINDS = {
    "keys": "<i8",
    "row_bounds": "<i8",
    "row_low": "<u2",
    "level": "|u1",
    "scale": "<f4",
    "mean": "<f4",
    "posting_bounds": "<i8",
    "posting_low": "<u2",
}


def build_bounded(
    keys: npt.NDArray[np.int64], rows: Iterable[sp.csr_matrix], frequency: npt.NDArray[np.int64], make: Make
) -> BoundedSegment:
    """Make a segment chunk by chunk, so that it need never be in memory.

    Parameters
    ----------
    keys : int64 array of shape (n_rows,)
        Ascending.
    rows : iterable of scipy.sparse.csr_matrix with n_features columns
        Rows of length 1 in the order of the keys.
    frequency : int64 array of shape (n_features,)
        Number of rows with each feature.
    make : callable of name, dtype and length
        Gives the arrays to fill.

    Returns
    -------
    BoundedSegment
    """
    n_rows, n_features, n_values = len(keys), len(frequency), int(frequency.sum())
    n_blocks = blocks_of(n_features)
    n_of = {"row_bounds": n_rows * n_blocks + 1, "row_low": n_values, "level": n_values, "posting_low": n_values}
    n_of["posting_bounds"] = n_features * blocks_of(n_rows) + 1
    made = {name: make(name, kind, n_of.get(name, n_rows)) for name, kind in _KINDS.items()}
    made["keys"][:] = keys
    made["row_bounds"][0] = row = value = 0
    for X in rows:
        X.sum_duplicates()
        owner, length = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), np.diff(X.indptr)
        own, values = slice(row, row + X.shape[0]), slice(value, value + X.nnz)
        largest = np.ones(X.shape[0], np.float32)
        if X.nnz:
            largest[length > 0] = np.maximum.reduceat(X.data, X.indptr[:-1][length > 0])
        level = np.clip(np.rint(X.data * (255 / largest)[owner]), 1, 255)  # what a row has it keeps
        squares = np.bincount(owner, level * level, X.shape[0])
        made["scale"][own] = 1 / np.sqrt(np.maximum(squares, 1))
        made["mean"][own] = made["scale"][own] * np.bincount(owner, level, X.shape[0]) / np.maximum(length, 1)
        made["level"][values] = level
        made["row_low"][values] = X.indices % BLOCK
        n_in_block = np.bincount(owner * n_blocks + X.indices // BLOCK, minlength=X.shape[0] * n_blocks)
        made["row_bounds"][row * n_blocks + 1 : own.stop * n_blocks + 1] = value + np.cumsum(n_in_block)
        row, value = own.stop, values.stop
    _post(made, frequency)
    return BoundedSegment.from_arrays(made, n_features)


def _post(made: dict[str, npt.NDArray[Any]], frequency: npt.NDArray[np.int64]) -> None:
    """Turn the rows into postings, one block of items after the other."""
    n_rows, n_features = len(made["keys"]), len(frequency)
    rows = CompactRows(made["row_low"], made["row_bounds"], n_features)
    n_blocks = blocks_of(n_rows)
    begin = np.cumsum(frequency) - frequency  # where the next postings of each feature go
    bounds = made["posting_bounds"][:-1].reshape(n_features, n_blocks)
    for block in range(n_blocks):
        bounds[:, block] = begin
        end = min((block + 1) * BLOCK, n_rows)
        for first in range(block * BLOCK, end, _CHUNK_ROWS):
            columns, length = rows.take(np.arange(first, min(first + _CHUNK_ROWS, end)))
            indptr = np.concatenate(([0], np.cumsum(length)))
            turned = sp.csr_matrix(
                (np.ones(len(columns), np.uint8), columns, indptr), shape=(len(length), n_features)
            ).tocsc()
            n_new = np.diff(turned.indptr)
            where = np.repeat(begin - turned.indptr[:-1], n_new) + np.arange(turned.nnz)
            made["posting_low"][where] = turned.indices + first % BLOCK
            begin += n_new
    made["posting_bounds"][-1] = len(made["posting_low"])
