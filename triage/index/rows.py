"""Rows of features: what is left out, length 1, the best of a matrix of similarities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

_COMMON_ROWS = 300  # smaller indexes keep every feature
_COMMON_SHARE = 0.02
_MOST_MAXIMA = 20  # for more suggestions those above a limit are sorted


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


def common_features(frequency: npt.NDArray[np.int64], n_rows: int) -> npt.NDArray[np.bool_]:
    """Say which features so many rows have that they hardly tell one from another, and cost most of the time.

    Parameters
    ----------
    frequency : int64 array of shape (n_features,)
        Number of rows with each feature.
    n_rows : int

    Returns
    -------
    bool array of shape (n_features,)
        True for those of more than 300 and of more than 2 % of the rows.
    """
    common: npt.NDArray[np.bool_] = frequency > max(_COMMON_ROWS, _COMMON_SHARE * n_rows)
    return common


def leave_out(X: sp.csr_matrix, features: npt.NDArray[np.bool_]) -> sp.csr_matrix:
    """Return a matrix without some features, and without zeros.

    Parameters
    ----------
    X : scipy.sparse.csr_matrix of shape (n_rows, n_features)
    features : bool array of shape (n_features,)

    Returns
    -------
    scipy.sparse.csr_matrix of the same shape
        The matrix itself if it has none of them.
    """
    kept = ~features[X.indices] & (X.data != 0)
    if kept.all():
        return X
    indptr = np.concatenate(([0], np.cumsum(kept)))[X.indptr]
    return sp.csr_matrix((X.data[kept], X.indices[kept], indptr), shape=X.shape)


def stacked(blocks: Sequence[Any]) -> Any:
    """Return blocks of rows, all sparse or none, one below the other.

    Parameters
    ----------
    blocks : sequence of matrices with as many columns
        At least one.

    Returns
    -------
    matrix of the same form
    """
    return sp.vstack(blocks, "csr") if sp.issparse(blocks[0]) else np.concatenate(blocks)


def best(similarity: npt.NDArray[np.float32], k: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return the highest values of each row, the first among equals first.

    Parameters
    ----------
    similarity : float32 array of shape (n_queries, n_items)
        At least -1. It is overwritten.
    k : int

    Returns
    -------
    place : intp array of shape (n_queries, min(k, n_items))
    value : float32 array of the same shape
    """
    n = min(k, similarity.shape[1])
    if n > _MOST_MAXIMA:
        place = np.array([_highest(row, n) for row in similarity], np.intp).reshape(len(similarity), n)
        return place, np.take_along_axis(similarity, place, 1)
    # A few maxima one after the other: a sort of all, and numpy's partition, take ten times as long.
    row = np.arange(len(similarity))
    place = np.empty((len(similarity), n), np.intp)
    value = np.empty(place.shape, np.float32)
    for rank in range(n):
        place[:, rank] = found = similarity.argmax(1)
        value[:, rank] = similarity[row, found]
        similarity[row, found] = -2  # below what is removed, which has -1
    return place, value


def _highest(values: npt.NDArray[np.float32], n: int) -> npt.NDArray[np.intp]:
    """Return the places of the `n` highest values, the first among equals first."""
    least = np.partition(values, len(values) - n)[len(values) - n]
    place = np.flatnonzero(values >= least)
    return place[np.argsort(-values[place], kind="stable")[:n]]
