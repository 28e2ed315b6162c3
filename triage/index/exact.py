"""A segment that is searched whole, by the exact cosine of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.index.rows import best

MOST_ROWS = 20_000  # of a segment that is searched whole


@dataclass(frozen=True, eq=False)
class ExactSegment:
    """Items with their rows as they came.

    Attributes
    ----------
    keys : int64 array of shape (n_rows,)
        Ascending.
    rows : scipy.sparse.csr_matrix of shape (n_rows, n_features), float32
        Of length 1, or empty.
    """

    keys: npt.NDArray[np.int64]
    rows: sp.csr_matrix

    kind: ClassVar[str] = "exact"

    def search(
        self,
        Q: sp.csr_matrix,
        k: int,
        dead: npt.NDArray[np.bool_] | None,
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the most similar rows.

        Parameters
        ----------
        Q : scipy.sparse.csr_matrix of shape (n_queries, n_features)
            Rows of length 1.
        k : int
        dead : bool array of shape (n_rows,), or None
            Rows that are no longer there.

        Returns
        -------
        place : intp array of shape (n_queries, min(k, n_rows))
            Most similar first; among equals the earlier.
        similarity : float32 array of the same shape
            In [0, 1]; -1 where nothing is.
        """
        similarity = (Q @ self._by_feature).toarray()
        np.clip(similarity, 0, 1, out=similarity)  # rounding must not part equals
        if dead is not None:
            similarity[:, dead] = -1
        return best(similarity, k)

    def cosines(self, q: sp.csr_matrix, place: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the cosine of a query of shape (1, n_features) with some rows."""
        cosine: npt.NDArray[np.float32] = self.rows[place] @ q.toarray()[0]
        return cosine

    def take(self, place: npt.NDArray[np.intp]) -> sp.csr_matrix:
        """Return some rows."""
        return self.rows[place]

    @cached_property
    def _by_feature(self) -> sp.csr_matrix:
        """The rows turned, (n_features, n_rows), as a product needs them."""
        return self.rows.T.tocsr()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `from_arrays` takes."""
        pointers = {"indices": self.rows.indices.astype(np.int32), "indptr": self.rows.indptr.astype(np.int32)}
        return {"keys": self.keys, "data": self.rows.data, **pointers}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_features: int) -> ExactSegment:
        """Return a segment whose arrays stay where they are.

        Parameters
        ----------
        arrays : mapping of name to array
        n_features : int

        Returns
        -------
        ExactSegment

        Raises
        ------
        ValueError
            If the arrays do not fit together: a product of such rows would read outside them.
        """
        keys, data, indices, indptr = (arrays[name] for name in ("keys", "data", "indices", "indptr"))
        kinds = tuple(array.dtype.str for array in (keys, data, indices, indptr))
        if kinds != ("<i8", "<f4", "<i4", "<i4") or len(indptr) != len(keys) + 1:
            raise ValueError("the arrays of a segment must have the kinds and lengths of an index, and have not")
        inside = not len(indices) or (indices.min() >= 0 and indices.max() < n_features)
        if not inside or indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
            raise ValueError("the rows of a segment must lie within its arrays, and do not")
        return cls(keys, sp.csr_matrix((data, indices, indptr), shape=(len(keys), n_features), copy=False))
