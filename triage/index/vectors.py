"""The index of vectors, as a dense encoder gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from triage.index import exact
from triage.index.bounded import Make
from triage.index.changing import ChangingIndex
from triage.index.graph import Graph, build_graph, is_installed
from triage.index.parts import Keys, Segment, State, in_order, order_of
from triage.index.rows import best

Matrix = npt.NDArray[Any]

MOST_EXACT = 200_000  # rows of a segment that is always searched whole

_LEAST_NEAR = 800  # groups of rows that a graph is asked for, or eight times as many as are wanted
_SHARE_NEAR = 16  # where they are more than one in so many rows, all are compared as fast
_BLOCK_ROWS = 2048  # that stay in the cache of a processor
_QUERIES = 64  # searched together


@dataclass(frozen=True, eq=False)
class VectorSegment:
    """Items with their vectors as whole numbers, searched whole.

    Attributes
    ----------
    keys : int64 array of shape (n_rows,)
        Ascending.
    rows : int16 array of shape (n_rows, dim)
        As `_steps` gives them.
    """

    keys: Keys
    rows: npt.NDArray[np.int16]

    kind: ClassVar[str] = "vectors"

    def search(
        self, Q: npt.NDArray[np.int16], k: int, dead: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the most similar rows, in the terms of `ExactSegment.search`.

        Parameters
        ----------
        Q : int16 array of shape (n_queries, dim)
        k, dead
            As there.

        Returns
        -------
        place, similarity
            As there.
        """
        n_rows = len(self.keys)
        found = [(np.zeros((0, min(k, n_rows)), np.intp), np.zeros((0, min(k, n_rows)), np.float32))]
        for first in range(0, len(Q), _QUERIES):
            queries = Q[first : first + _QUERIES].astype(np.float32)
            similarity = np.empty((len(queries), n_rows), np.float32)
            for start in range(0, n_rows, _BLOCK_ROWS):
                block = self.rows[start : start + _BLOCK_ROWS].astype(np.float32)
                similarity[:, start : start + _BLOCK_ROWS] = queries @ block.T
            _scale(similarity, self.rows.shape[1])
            if dead is not None:
                similarity[:, dead] = -1
            found.append(best(similarity, k))
        place, value = zip(*found, strict=True)
        return np.concatenate(place), np.concatenate(value)

    def cosines(self, q: npt.NDArray[np.int16], place: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the cosine of a query of shape (1, dim) with some rows."""
        cosine = self.rows[place].astype(np.float32) @ q[0].astype(np.float32)
        return _scale(cosine, self.rows.shape[1])

    def take(self, place: npt.NDArray[np.intp]) -> npt.NDArray[np.int16]:
        """Return some rows."""
        return self.rows[place]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `from_arrays` takes."""
        return {"keys": self.keys, "rows": self.rows.ravel()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_features: int) -> Self:
        """Return a segment whose arrays stay where they are; a ValueError says that they do not fit together."""
        keys, rows = arrays["keys"], arrays["rows"]
        if (keys.dtype.str, rows.dtype.str) != ("<i8", "<i2") or len(rows) != len(keys) * n_features:
            raise ValueError("the arrays of a segment must have the kinds and lengths of an index, and have not")
        return cls(keys, rows.reshape(len(keys), n_features))


@dataclass(frozen=True, eq=False)
class GraphSegment(VectorSegment):
    """Items of which a graph says which may be near, and whose rows say how near they are.

    Without usearch it is searched whole.

    Attributes
    ----------
    keys, rows
        As in `VectorSegment`.
    graph : Graph
        Of the rows.
    """

    graph: Graph

    kind: ClassVar[str] = "graph"

    def search(
        self, Q: npt.NDArray[np.int16], k: int, dead: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the most similar rows among the candidates, in the terms of `ExactSegment.search`.

        A query whose candidates are fewer than `k` or not all similar to it is held against every row.

        Parameters
        ----------
        Q, k, dead
            As there.

        Returns
        -------
        place, similarity
            As there.
        """
        n_near = max(_LEAST_NEAR, 8 * k)
        if n_near * _SHARE_NEAR > len(self.keys) or not is_installed():
            return super().search(Q, k, dead)
        place, similarity = np.empty((len(Q), k), np.intp), np.empty((len(Q), k), np.float32)
        whole = []
        for row, query in enumerate(Q):
            near = self.graph.near(query, n_near)
            if dead is not None:
                near = near[~dead[near]]
            found, value = best(self.cosines(query[None], near)[None], k)
            if found.shape[1] == k and value[0, -1] > 0:
                place[row], similarity[row] = near[found[0]], value[0]
            else:
                whole.append(row)
        if whole:
            place[whole], similarity[whole] = super().search(Q[whole], k, dead)
        return place, similarity

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `from_arrays` takes."""
        return {**super().arrays(), **self.graph.arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_features: int) -> Self:
        """Return a segment whose arrays stay where they are; a ValueError says that they do not fit together."""
        whole = VectorSegment.from_arrays(arrays, n_features)
        return cls(whole.keys, whole.rows, Graph.from_arrays(arrays, len(whole.keys), n_features))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_arrays, (self.arrays(), self.rows.shape[1])  # views of a graph are no data


class VectorIndex(ChangingIndex[Matrix]):
    """Vectors to be found again by their cosine; items come and go while others search.

    Make one by `from_matrix` or `open`. What `QuestionIndex` promises of threads, of a kill, and of `last_key` holds
    here too.

    Notes
    -----
    Up to 200,000 items are compared with every query, which costs some 0.25 ms for each thousand items of 384 numbers.
    A merge of more builds a graph of them by usearch, from the extra ``ann``, and takes minutes for it: then a query
    looks at some thousands of items, and may miss a near one. Similarities are exact in either case; what was added
    since the merge, or is asked for by a large `k`, is compared whole. Without usearch a merge makes no graph, and an
    index that was saved with one is searched whole. See ``tests/benchmarks/vectors.py``.

    A number takes two bytes, as a multiple of some 1/4096, which moves a cosine by some 0.0001. Sums of products of
    such numbers are exact in float32, so that equals are equal to the last bit, whatever stands beside them, and on
    every machine. Arrays of a saved index are mapped.

    Examples
    --------
    >>> index = VectorIndex.from_matrix(np.array([[3, 4, 0], [0, 1, 1], [0, 0, 2]], np.float32))
    >>> keys, similarity = index.query(np.array([[3, 4, 0]], np.float32), k=2)
    >>> keys
    array([[0, 1]])
    >>> similarity.round(2)
    array([[1.  , 0.57]], dtype=float32)
    >>> index.add(np.array([[3, 4, 0]], np.float32), [7])
    >>> index.remove([0])
    >>> index.query(np.array([[3, 4, 0]], np.float32), k=1)[0].tolist(), index.keys.tolist()
    ([[7]], [1, 2, 7])
    """

    _segments: ClassVar[Mapping[str, type[Segment]]] = {one.kind: one for one in (VectorSegment, GraphSegment)}

    @classmethod
    def from_matrix(cls, X: Matrix, keys: npt.ArrayLike | None = None) -> Self:
        """Make an index of items whose vectors are the rows of a matrix, of any length.

        Parameters
        ----------
        X : array of shape (n_items, dim)
        keys : int64 array of shape (n_items,), optional
            Ascending; 0 to n_items - 1 by default.

        Returns
        -------
        VectorIndex
            In memory.

        Raises
        ------
        ValueError
            If the keys do not ascend or are not as many as the rows, or a value is not finite.
        """
        if X.ndim != 2:
            raise ValueError(f"vectors must be the rows of a matrix, got an array of {X.ndim} dimensions")
        index = cls(State((), np.zeros(X.shape[1], bool), None))
        index.add(X, np.arange(len(X)) if keys is None else keys)
        if len(index) > exact.MOST_ROWS:
            index.merge()
        return index

    def cosines(self, X: Matrix, keys: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return how similar given items are to one query.

        Parameters
        ----------
        X : array of shape (dim,) or (1, dim)
        keys : int64 array of shape (n_items,)
            In any order.

        Returns
        -------
        float32 array of shape (n_items,)
            In [0, 1], what `query` gives for these items.
        """
        return super().cosines(np.atleast_2d(X), keys)

    def _shape(self, X: Matrix) -> tuple[int, int]:
        if X.ndim != 2:
            raise ValueError(f"vectors must be the rows of a matrix, got an array of {X.ndim} dimensions")
        return len(X), X.shape[1]

    def _kept(self, X: Matrix) -> npt.NDArray[np.int16]:
        return _steps(X)

    def _asked(self, X: Matrix) -> npt.NDArray[np.int16]:
        return _steps(X)

    def _segment(self, keys: Keys, rows: Any) -> Segment:
        return VectorSegment(keys, rows)

    def _merged(self, state: State, make: Make) -> tuple[Segment, npt.NDArray[np.bool_]]:
        part, place, keys = order_of(state.parts)
        dim = len(state.left_out)
        made = {"keys": make("keys", "<i8", len(keys)), "rows": make("rows", "<i2", len(keys) * dim)}
        made["keys"][:] = keys
        filled = 0
        for rows in in_order(state.parts, part, place):
            made["rows"][filled : filled + rows.size] = rows.ravel()
            filled += rows.size
        if len(keys) > MOST_EXACT and is_installed():
            made |= build_graph(made["rows"].reshape(len(keys), dim), make)
            return GraphSegment.from_arrays(made, dim), state.left_out
        return VectorSegment.from_arrays(made, dim), state.left_out


def _n_steps(dim: int) -> int:
    """Return into how many steps 1 is cut: so few that rounded rows of length 1 have a product below 2^24."""
    return 4096 - int(np.ceil(np.sqrt(dim) / 2))


def _steps(X: Matrix) -> npt.NDArray[np.int16]:
    """Return rows of length 1, or of zeros, in whole steps; a ValueError says that they are not finite."""
    # A float32 holds every whole number up to 2^24. By Cauchy and Schwarz no sum of some of the products of two such
    # rows is above, so that the order in which a processor adds them does not matter.
    if not np.isfinite(X).all():
        raise ValueError("the values of a matrix must be finite")
    steps = np.empty(X.shape, np.int16)
    for start in range(0, len(X), _BLOCK_ROWS):
        block = X[start : start + _BLOCK_ROWS].astype(np.float64)
        largest = np.abs(block).max(1, initial=0, keepdims=True)
        block /= np.where(largest > 0, largest, 1)  # else a square may be more or less than a number can be
        length = np.sqrt(np.einsum("ij,ij->i", block, block))[:, None]
        steps[start : start + _BLOCK_ROWS] = np.rint(block * (_n_steps(X.shape[1]) / np.maximum(length, 1)))
    return steps


def _scale(product: npt.NDArray[np.float32], dim: int) -> npt.NDArray[np.float32]:
    """Turn products of steps into cosines in [0, 1], in place."""
    product /= np.float32(_n_steps(dim) ** 2)
    return np.clip(product, 0, 1, out=product)
