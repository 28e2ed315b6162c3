"""Nearest questions by the features that the classifier reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

_COMMON_ROWS = 300  # smaller indexes keep every feature
_COMMON_SHARE = 0.02
_MOST_MAXIMA = 20  # for more suggestions a query is sorted whole


@dataclass(frozen=True)
class QuestionIndex:
    """Questions to be found again, by the exact cosine of the rows it keeps.

    Attributes
    ----------
    rows : scipy.sparse.csr_matrix of shape (n_questions, n_features)
        One row of length 1 a question.
    records : sequence of mapping
        ``id``, ``question`` and ``answer`` (or None) of each.
    """

    rows: sp.csr_matrix
    records: Sequence[Mapping[str, Any]]

    @classmethod
    def from_matrix(cls, X: sp.csr_matrix, records: Sequence[Mapping[str, Any]]) -> Self:
        """Make an index of questions whose features are the rows of a matrix, of any length.

        Parameters
        ----------
        X : scipy.sparse.csr_matrix of shape (n_questions, n_features)
        records : sequence of mapping, of length n_questions

        Returns
        -------
        QuestionIndex
            With more than 300 questions it leaves out the features of more than 300 and of more than 2 % of them:
            they cost most of the time and hardly tell one question from another. A query made of such features
            alone finds nothing.
        """
        frequency = np.bincount(X.indices, minlength=X.shape[1])
        common = frequency > max(_COMMON_ROWS, _COMMON_SHARE * X.shape[0])
        rare = sp.csr_matrix((np.where(common[X.indices], 0, X.data), X.indices, X.indptr), shape=X.shape)
        rare.eliminate_zeros()
        return cls(unit_rows(rare), records)

    def query(
        self, X: sp.csr_matrix, *, k: int, weight: npt.NDArray[np.float32] | None = None
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the most similar questions.

        Parameters
        ----------
        X : scipy.sparse.csr_matrix of shape (n_queries, n_features)
        k : int
            At most so many for each query, at least 1.
        weight : float32 array of shape (n_queries, n_questions), optional
            In [0, 1]; what else speaks for a question, to be multiplied with the cosine.

        Returns
        -------
        place : intp array of shape (n_queries, min(k, n_questions))
            Position in `records`, most similar first; among equals the earlier.
        similarity : float32 array of the same shape
            Cosine, or its product with the weight, in [0, 1].

        Raises
        ------
        ValueError
            If `k` is less than 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        similarity = (unit_rows(X) @ self._by_feature).toarray()
        np.clip(similarity, 0, 1, out=similarity)  # rounding must not part equals
        if weight is not None:
            similarity *= weight
        n = min(k, similarity.shape[1])
        if n > _MOST_MAXIMA:
            place = np.argsort(-similarity, axis=1, kind="stable")[:, :n]
            return place, np.take_along_axis(similarity, place, 1)
        # A few maxima one after the other: a sort of all, and numpy's partition, take ten times as long.
        row = np.arange(len(similarity))
        place = np.empty((len(similarity), n), np.intp)
        best = np.empty(place.shape, np.float32)
        for rank in range(n):
            place[:, rank] = found = similarity.argmax(1)
            best[:, rank] = similarity[row, found]
            similarity[row, found] = -1
        return place, best

    @cached_property
    def _by_feature(self) -> sp.csr_matrix:
        """The rows turned, (n_features, n_questions), as a product needs them."""
        return self.rows.T.tocsr()


def unit_rows(X: sp.csr_matrix) -> sp.csr_matrix:
    """Return a matrix with rows of length 1; empty rows stay empty.

    Parameters
    ----------
    X : scipy.sparse.csr_matrix

    Returns
    -------
    scipy.sparse.csr_matrix of the same shape
    """
    length = np.sqrt(np.bincount(np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), X.data**2, X.shape[0]))
    scale = (1 / np.where(length > 0, length, 1)).astype(np.float32)
    return sp.csr_matrix((X.data * np.repeat(scale, np.diff(X.indptr)), X.indices, X.indptr), shape=X.shape)
