"""Linear scores, one class against the rest, each row also held out with its group.

Two losses. ``squared_error`` has a closed form for all blocks of classes at once, and gives the exact score that
every row would get from a model trained without its group: held-out scores cost no second training, however rows are
grouped.
``squared_hinge`` (scikit-learn's LinearSVC) is more accurate on large tables with many examples a class, and is
held out by folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp
from sklearn.svm import LinearSVC

Floats = npt.NDArray[np.floating[Any]]
Codes = npt.NDArray[np.intp]

LOSSES = ("squared_error", "squared_hinge")
_MAX_ROWS_CLOSED_FORM = 32_000  # the Gram matrix of so many rows takes 4.1 GB
_DENSE_SHARE = 0.02  # columns in more than this share of rows are multiplied densely
_COLUMN_BLOCK = 64
_ROW_BLOCK = 1024


@dataclass(frozen=True)
class Fold:
    """What was learnt without some of the rows.

    Attributes
    ----------
    rows : list of intp arrays
        The rows left out, one array a block.
    coef : float32 array of shape (n_features, n_columns)
    """

    rows: list[Codes]
    coef: Floats


@dataclass(frozen=True)
class Fitted:
    """Blocks of linear scores fitted together; their columns stand beside each other.

    Attributes
    ----------
    columns : list of slice
        Columns of each block, one a class.
    intercept : float32 array of shape (n_columns,)
    held_out : tuple of float32 arrays of shape (n_rows, n_columns)
        Score of every training row by a model that has not seen its group, one array a grouping. (In closed form, of
        a row whose label is not known the mean.)
    coef : callable
        Returns the coefficients, float32 of shape (n_features, n_columns): a gigabyte of a large desk, so they are
        only made when asked for.
    folds : callable
        Yields each `Fold`, by the last grouping.
    """

    columns: list[slice]
    intercept: Floats
    held_out: tuple[Floats, ...]
    coef: Callable[[], Floats]
    folds: Callable[[], Iterator[Fold]]

    def only(self, columns: Codes) -> Fitted:
        """Return what was fitted, with some of the columns alone, in their order."""
        if len(columns) == len(self.intercept):
            return self
        coef, folds = self.coef, self.folds  # the functions below must not keep `self`, whose scores are large
        ends = np.searchsorted(columns, [block.stop for block in self.columns])
        return Fitted(
            _columns(np.diff(ends, prepend=0).tolist()),
            self.intercept[columns],
            tuple(scores[:, columns] for scores in self.held_out),
            lambda: coef()[:, columns],
            lambda: map(lambda fold: Fold(fold.rows, fold.coef[:, columns]), folds()),  # keeps no fold
        )


def gram_matrix(X: sp.csr_matrix) -> Floats:
    """Return ``X @ X.T`` as a dense array, common columns by dense multiplication and rare ones sparsely.

    Parameters
    ----------
    X : scipy.sparse.csr_matrix of shape (n_rows, n_features)

    Returns
    -------
    float32 array of shape (n_rows, n_rows)
    """
    frequency = np.bincount(X.indices, minlength=X.shape[1])
    common = frequency > _DENSE_SHARE * X.shape[0]
    by_column = X.tocsc()
    rare = by_column[:, ~common].tocsr()
    gram = np.empty((X.shape[0], X.shape[0]), np.float32)
    for start in range(0, len(gram), _ROW_BLOCK):  # the whole product would be in memory twice, once as a sparse matrix
        gram[start : start + _ROW_BLOCK] = (rare[start : start + _ROW_BLOCK] @ rare.T).toarray()
    columns = np.flatnonzero(common)
    for start in range(0, len(columns), 4096):
        dense = by_column[:, columns[start : start + 4096]].toarray().astype(np.float32)
        for row in range(0, len(gram), _ROW_BLOCK):
            gram[row : row + _ROW_BLOCK] += dense[row : row + _ROW_BLOCK] @ dense.T
    return gram


def _mirror(matrix: Floats) -> None:
    """Copy the upper triangle of a square matrix to the lower one, in place."""
    for start in range(0, len(matrix), _ROW_BLOCK):
        rows = slice(start, start + _ROW_BLOCK)
        corner = np.triu(matrix[rows, rows])
        matrix[rows, rows] = corner + np.triu(corner, 1).T
        matrix[rows.stop :, rows] = matrix[rows, rows.stop :].T


class _Inverse:
    """What the inverse of a matrix would be of some of its rows alone, from the inverse of all.

    By the Schur complement, ``whole[rows, rows] - half @ half.T`` with ``half`` of shape (n_rows, n_others), which is
    all that is kept beside `whole`.

    Parameters
    ----------
    whole : float32 array of shape (n, n)
        The inverse of all rows, symmetric and positive definite.
    rows : intp array of shape (n_rows,)
    """

    def __init__(self, whole: Floats, rows: Codes) -> None:
        others = np.setdiff1d(np.arange(len(whole)), rows)
        self._whole, self._rows = whole, rows
        self._half = np.zeros((len(rows), 0), np.float32)
        if len(others):
            factor = np.linalg.cholesky(whole[np.ix_(others, others)])
            between = whole[np.ix_(others, rows)]
            self._half = scipy.linalg.solve_triangular(factor, between, lower=True, overwrite_b=True).T

    def square(self, members: Codes) -> Floats:
        """Return the part of some of the rows."""
        rows = self._rows[members]
        part: Floats = self._whole[np.ix_(rows, rows)]
        half = self._half[members]
        if half.size:
            part -= half @ half.T
        return part

    def times(self, columns: Floats, members: Codes | None = None) -> Floats:
        """Return the product with columns that are 0 but for some of the rows, or with columns of all rows."""
        rows, half = (self._rows, self._half) if members is None else (self._rows[members], self._half[members])
        product = np.zeros((len(self._whole), columns.shape[1]), np.float32)
        for start in range(0, len(rows), _ROW_BLOCK):
            some = slice(start, start + _ROW_BLOCK)
            product += self._whole[rows[some]].T @ columns[some]
        of_rows: Floats = product[self._rows]
        of_rows -= self._half @ (half.T @ columns)
        return of_rows


def _columns(sizes: Sequence[int]) -> list[slice]:
    """Return the columns of each block, beside each other."""
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _signs(codes: Codes, n_classes: int) -> Floats:
    """Return 1 for the class of a row and -1 for the others."""
    signs = np.full((len(codes), n_classes), -1, np.float32)
    signs[np.arange(len(codes)), codes] = 1
    return signs


def fit_squared_error(
    X: sp.csr_matrix,
    codes: Sequence[Codes],
    sizes: Sequence[int],
    C: float,
    groupings: Sequence[Codes],
    *,
    sample_weight: Floats | None = None,
    n_folds: int = 3,
    seed: int = 0,
) -> Fitted:
    """Fit all blocks by regularised least squares with exact leave-one-group-out scores.

    Parameters
    ----------
    X : scipy.sparse.csr_matrix of shape (n_rows, n_features)
    codes : sequence of intp arrays of shape (n_rows,)
        Class of each row, one array a block; -1 where it is not known.
    sizes : sequence of int
        Classes of each block.
    C : float
        Inverse strength of regularisation; the ridge is ``1 / (2 C)``.
    groupings : sequence of intp arrays of shape (n_rows,)
        Rows of one group are held out together; once for each grouping.
    sample_weight : float array of shape (n_rows,) or None
        How much each row counts, above 0: as so many rows. None for all alike.
    n_folds : int, default=3
        Folds of the weights that `Fitted.folds` yields; held-out scores need none.
    seed : int, default=0
        Deals groups to folds.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        If there are too many rows for the closed form.

    Notes
    -----
    With ``H`` the inverse of ``X X' + ridge I`` (for a row of weight w, ``ridge / w``) and ``a = H (Y - mean)``, the
    error that the rows of group ``g`` make when they are held out is ``inv(H[g, g]) a[g]`` (Rifkin and Lippert, "Notes
    on Regularized Least Squares", 2007, section 4, for one row), and without them ``a`` would be
    ``a - H[:, g] inv(H[g, g]) a[g]``. Cost: cubic in rows, once for all blocks, and in the
    rows without a label, once for all blocks that lack the same.
    """
    n_rows = X.shape[0]
    if n_rows > _MAX_ROWS_CLOSED_FORM:
        raise ValueError(
            f"loss='squared_error' takes at most {_MAX_ROWS_CLOSED_FORM} rows, got {n_rows}; use loss='squared_hinge'"
        )
    gram = gram_matrix(X)
    gram[np.diag_indices(n_rows)] += 1 / (2 * C) if sample_weight is None else 1 / (2 * C * sample_weight)
    factor, failed = scipy.linalg.lapack.spotrf(gram.T, lower=0, overwrite_a=1)
    if failed:
        raise ValueError(f"the rows are too alike for C={C}; lower C")
    whole, _ = scipy.linalg.lapack.spotri(factor, lower=0, overwrite_c=1)
    _mirror(whole)
    whole = whole.T  # the same, row by row in memory
    columns_of, n_columns = _columns(sizes), sum(sizes)
    intercept = np.empty(n_columns, np.float32)
    held_out = tuple(np.empty((n_rows, n_columns), np.float32) for _ in groupings)
    solved = []
    # Blocks that know the labels of the same rows are solved together.
    for pattern in sorted({(code >= 0).tobytes() for code in codes}):
        blocks = [block for block, code in enumerate(codes) if (code >= 0).tobytes() == pattern]
        columns = np.concatenate([np.arange(n_columns)[columns_of[block]] for block in blocks])
        rows = np.flatnonzero(np.frombuffer(pattern, bool))
        signs = np.hstack([_signs(codes[block][rows], sizes[block]) for block in blocks])
        mean = signs.mean(0) if sample_weight is None else sample_weight[rows] @ signs / sample_weight[rows].sum()
        inverse = _Inverse(whole, rows)
        weights = inverse.times(signs - mean)
        solved.append((columns, rows, inverse, weights))
        intercept[columns] = mean
        for groups, scores in zip(groupings, held_out, strict=True):
            without = np.full((n_rows, len(columns)), mean, np.float32)
            without[rows] = signs
            order = np.argsort(groups[rows], kind="stable")
            for members in np.split(order, np.flatnonzero(np.diff(groups[rows][order])) + 1):
                without[rows[members]] -= np.linalg.solve(inverse.square(members), weights[members])
            scores[:, columns] = without

    transposed = X.T.tocsr()

    def coefficients(parts: Sequence[tuple[Codes, Codes, Floats]]) -> Floats:
        """Return the weights of features from those of rows, some columns at a time."""
        coef = np.empty((X.shape[1], n_columns), np.float32)
        for columns, rows, weights in parts:
            for start in range(0, len(columns), _COLUMN_BLOCK):
                some = slice(start, start + _COLUMN_BLOCK)
                of_all = np.zeros((n_rows, len(columns[some])), np.float32)
                of_all[rows] = weights[:, some]
                coef[:, columns[some]] = transposed @ of_all
        return coef

    def folds() -> Iterator[Fold]:
        n_groups = int(groupings[-1].max(initial=0)) + 1
        fold_of = (np.random.default_rng(seed).permutation(n_groups) % n_folds)[groupings[-1]]
        for fold in range(n_folds):
            parts = []
            for columns, rows, inverse, weights in solved:
                members = np.flatnonzero(fold_of[rows] == fold)
                less = weights - inverse.times(np.linalg.solve(inverse.square(members), weights[members]), members)
                less[members] = 0
                parts.append((columns, rows, less))
            yield Fold([np.flatnonzero(fold_of == fold)] * len(codes), coefficients(parts))

    return Fitted(
        columns_of,
        intercept,
        held_out,
        lambda: coefficients([(columns, rows, weights) for columns, rows, _, weights in solved]),
        folds,
    )


def _fit_svm(
    X: sp.csr_matrix, codes: Codes, size: int, C: float, sample_weight: Floats | None, seed: int
) -> tuple[Floats, Floats]:
    """Return coefficients and intercepts of one class against the rest; a class without rows scores -1."""
    present = np.unique(codes)
    coef = np.zeros((X.shape[1], size), np.float32)
    intercept = np.full(size, -1, np.float32)
    if len(present) < 2:
        intercept[present] = 1
        return coef, intercept
    model = LinearSVC(C=C, random_state=seed).fit(X, codes, sample_weight)
    signs = np.array([[-1], [1]]) if len(present) == 2 else 1  # LinearSVC keeps one column for two classes
    coef[:, present] = (model.coef_ * signs).T
    intercept[present] = (model.intercept_.reshape(-1, 1) * signs).ravel() if len(present) == 2 else model.intercept_
    return coef, intercept


def _folds(codes: Codes, groups: Codes, n_folds: int, seed: int) -> Codes:
    """Deal groups out to folds, class by class, so that a class is spread as evenly as it can be."""
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    dealt = shuffled[np.argsort(codes[first][shuffled], kind="stable")]
    fold = np.empty(len(first), np.intp)
    fold[dealt] = np.arange(len(first)) % n_folds
    return fold[group_of]


def fit_squared_hinge(
    X: sp.csr_matrix,
    codes: Sequence[Codes],
    sizes: Sequence[int],
    C: float,
    groupings: Sequence[Codes],
    *,
    sample_weight: Floats | None = None,
    n_folds: int = 3,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Fitted:
    """Fit each block with LinearSVC, one class against the rest, with scores held out by folds.

    Parameters
    ----------
    X, codes, sizes, C, groupings, sample_weight
        As in `fit_squared_error`.
    n_folds : int, default=3
        Folds of the held-out scores.
    seed : int, default=0
    n_jobs : int or None, default=None
        Trainings at once (joblib).

    Returns
    -------
    Fitted
    """
    # Fold -1 of no grouping leaves nothing out: the model itself.
    folds = [[_folds(code, groups, n_folds, seed) for code in codes] for groups in groupings]
    whole = [(None, block, -1) for block in range(len(codes))]
    tasks = whole + [
        (place, block, fold)
        for place in range(len(groupings))
        for fold in range(n_folds)
        for block in range(len(codes))
    ]
    rows = [
        np.flatnonzero((codes[block] >= 0) & (place is None or folds[place][block] != fold))
        for place, block, fold in tasks
    ]
    # Processes, not threads: liblinear draws from one generator of the whole process.
    fitted = joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(_fit_svm)(
            X[kept], codes[block][kept], sizes[block], C, None if sample_weight is None else sample_weight[kept], seed
        )
        for (_, block, _), kept in zip(tasks, rows, strict=True)
    )
    columns = _columns(sizes)
    held_out = tuple(np.empty((X.shape[0], sum(sizes)), np.float32) for _ in groupings)
    for (place, block, fold), (coef, intercept) in zip(tasks, fitted, strict=True):
        if place is not None:
            out = np.flatnonzero(folds[place][block] == fold)
            held_out[place][out, columns[block]] = X[out] @ coef + intercept

    def left_out() -> Iterator[Fold]:
        last = fitted[-n_folds * len(codes) :]
        for fold in range(n_folds):
            coefs = [coef for coef, _ in last[fold * len(codes) : (fold + 1) * len(codes)]]
            yield Fold([np.flatnonzero(dealt == fold) for dealt in folds[-1]], np.hstack(coefs))

    return Fitted(
        columns,
        np.concatenate([intercept for _, intercept in fitted[: len(codes)]]),
        held_out,
        lambda: np.hstack([coef for coef, _ in fitted[: len(codes)]]),
        left_out,
    )


def fit_scores(
    X: sp.csr_matrix,
    codes: Sequence[Codes],
    sizes: Sequence[int],
    groupings: Sequence[Codes],
    options: Mapping[str, Any],
    sample_weight: npt.ArrayLike | None = None,
) -> Fitted:
    """Fit blocks with the loss that the options name.

    Parameters
    ----------
    X, codes, sizes, groupings, sample_weight
        As in `fit_squared_error`.
    options : mapping
        ``loss``, ``C``, ``n_folds``, ``random_state``, ``n_jobs``; see `JointOptions`.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        If an option is out of range, or groups or weights are not as they must be.
    """
    if options["loss"] not in LOSSES:
        raise ValueError(f"loss must be one of {LOSSES}, got {options['loss']!r}")
    if not options["C"] > 0:
        raise ValueError(f"C must be above 0, got {options['C']}")
    for groups in groupings:
        if len(groups) != X.shape[0]:
            raise ValueError(f"groups must have one entry for each of the {X.shape[0]} rows, got {len(groups)}")
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float32)
    if weight is not None and not (weight.shape == (X.shape[0],) and (np.isfinite(weight) & (weight > 0)).all()):
        raise ValueError(
            f"sample_weight must have a finite number above 0 for each of the {X.shape[0]} rows, got an array of shape "
            f"{weight.shape}, the least {weight.min(initial=np.inf)}"
        )
    if options["n_folds"] < 2:
        raise ValueError(f"n_folds must be at least 2, got {options['n_folds']}")
    common = {"sample_weight": weight, "n_folds": options["n_folds"], "seed": options["random_state"]}
    if options["loss"] == "squared_error":
        return fit_squared_error(X, codes, sizes, options["C"], groupings, **common)
    return fit_squared_hinge(X, codes, sizes, options["C"], groupings, **common, n_jobs=options["n_jobs"])
