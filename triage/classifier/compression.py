"""Few weights in the place of many: those that move scores most, as 8-bit numbers, and what the others took away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.classifier.scores import Fitted, Floats


def compress(
    X: sp.csr_matrix, coef: Floats, effect: Floats, max_weights: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16], npt.NDArray[np.int32], Floats]:
    """Keep the weights that move combinations most, as 8-bit numbers in units of their column's largest / 127."""
    typical = np.sqrt(np.bincount(X.indices, X.data.astype(np.float64) ** 2, X.shape[1]) / X.shape[0]).astype(
        np.float32
    )
    most_dropped = np.float32(-1)
    n_dropped = coef.size - max_weights
    if n_dropped > 0:
        moves = np.abs(coef)
        moves *= typical[:, None]
        moves *= effect
        moves = moves.ravel()
        moves.partition(n_dropped - 1)  # in place: there are as many as weights
        most_dropped = moves[n_dropped - 1]
        del moves
    scale = np.maximum(np.abs(coef).max(0), 1e-12).astype(np.float32) / 127
    values, columns, per_row = [], [], []
    for start in range(0, len(coef), 4096):
        of_rows = coef[start : start + 4096]
        part = np.rint(of_rows / scale).astype(np.int8)
        part[np.abs(of_rows) * typical[start : start + 4096, None] * effect <= most_dropped] = 0
        row, column = np.nonzero(part)
        values.append(part[row, column])
        columns.append(column.astype(np.uint16))
        per_row.append(np.bincount(row, minlength=len(part)))
    starts = np.concatenate(([0], *per_row)).cumsum().astype(np.int32)
    return np.concatenate(values), np.concatenate(columns), starts, scale


def lost_by(X: sp.csr_matrix, fitted: Fitted, effect: Floats, max_weights: int) -> Floats:
    """Return what dropping weights does to the scores of rows that were left out, (n_rows, n_columns)."""
    lost = np.zeros((X.shape[0], len(effect)), np.float32)
    for fold in fitted.folds():
        kept, columns, starts, scale = compress(X, fold.coef, effect, max_weights)
        left = sp.csr_matrix((kept * scale[columns], columns.astype(np.int32), starts), shape=fold.coef.shape)
        for rows, block in zip(fold.rows, fitted.columns, strict=True):
            lost[rows, block] = (X[rows] @ left[:, block]).toarray() - X[rows] @ fold.coef[:, block]
        del fold  # before the next is made
    return lost
