"""Matrices to calibrated probabilities: one linear model for all targets, read jointly.

Each target has one score a class, linear in the features. Where there are several targets, the
combinations seen together (topic × jurisdiction × level × agency × matter …) form one more block of
scores, the *joint* one: a combination never seen has no probability of its own. What the blocks say is
weighed on held-out scores, which calibrates the probabilities in the same step.

Two losses. ``squared_error`` has a closed form for all blocks at once, and gives the exact score that
every row would get from a model trained without its group: held-out scores cost no second training.
``squared_hinge`` (scikit-learn's LinearSVC, one class against the rest) is more accurate on large tables
with many examples a class, and is held out by folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import joblib
import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.optimize
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import LinearSVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

Floats = npt.NDArray[np.floating[Any]]
Codes = npt.NDArray[np.intp]

LOSSES = ("squared_error", "squared_hinge")
JOINT = "(combinations)"  # name of the block of combinations
_MAX_ROWS_CLOSED_FORM = 20_000  # the Gram matrix of so many rows takes 1.6 GB
_DENSE_SHARE = 0.02  # columns in more than this share of rows are multiplied densely
_COLUMN_BLOCK = 64
_DENSE_WEIGHTS = 0.2  # weights denser than this are multiplied as a dense matrix
_OFFSETS = (0.0, 0.3, 0.6, 0.9)
_ROWS_FOR_OFFSET = 1500  # about so many rows choose the offset
_LARGEST_WEIGHT = 20.0  # tables that every score separates would ask for ever larger ones
_LEAST_PROBABILITY = 1e-9  # no label is impossible


# --- scores -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """A fitted block of linear scores.

    Attributes
    ----------
    coef : float32 array of shape (n_features, n_classes)
    intercept : float32 array of shape (n_classes,)
    held_out : float32 array of shape (n_rows, n_classes)
        Score of every training row by a model that has not seen its group.
    """

    coef: Floats
    intercept: Floats
    held_out: Floats


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
    gram: Floats = (rare @ rare.T).toarray().astype(np.float32)
    columns = np.flatnonzero(common)
    for start in range(0, len(columns), 4096):
        dense = by_column[:, columns[start : start + 4096]].toarray().astype(np.float32)
        gram += dense @ dense.T
    return gram


def _signs(codes: Codes, n_classes: int) -> Floats:
    """Return 1 for the class of a row and -1 for the others."""
    signs = np.full((len(codes), n_classes), -1, np.float32)
    signs[np.arange(len(codes)), codes] = 1
    return signs


def fit_squared_error(
    X: sp.csr_matrix, codes: Sequence[Codes], sizes: Sequence[int], C: float, groups: Codes
) -> list[Scores]:
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
    groups : intp array of shape (n_rows,)
        Rows of one group are held out together.

    Returns
    -------
    list of Scores, one a block

    Raises
    ------
    ValueError
        If there are too many rows for the closed form.

    Notes
    -----
    With ``H`` the inverse of ``X X' + ridge I`` and ``a = H (Y - mean)``, the error that the rows of group ``g``
    make when they are held out is ``inv(H[g, g]) a[g]`` (Rifkin and Lippert, "Notes on Regularized Least Squares",
    2007, section 4, for one row). Cost: cubic in rows, once for all blocks.
    """
    n_rows = X.shape[0]
    if n_rows > _MAX_ROWS_CLOSED_FORM:
        raise ValueError(
            f"loss='squared_error' takes at most {_MAX_ROWS_CLOSED_FORM} rows, got {n_rows}; use loss='squared_hinge'"
        )
    inverse = gram_matrix(X)
    inverse[np.diag_indices(n_rows)] += 1 / (2 * C)
    factor, failed = scipy.linalg.lapack.spotrf(inverse.T, lower=0, overwrite_a=1)
    if failed:
        raise ValueError(f"the rows are too alike for C={C}; lower C")
    inverse, _ = scipy.linalg.lapack.spotri(factor, lower=0, overwrite_c=1)
    inverse = np.triu(inverse)
    inverse += np.triu(inverse, 1).T
    fitted: list[Scores | None] = [None] * len(codes)
    # Blocks that know the labels of the same rows are solved together.
    for pattern in sorted({(code >= 0).tobytes() for code in codes}):
        blocks = [block for block, code in enumerate(codes) if (code >= 0).tobytes() == pattern]
        rows = np.flatnonzero(np.frombuffer(pattern, bool))
        signs = np.hstack([_signs(codes[block][rows], sizes[block]) for block in blocks])
        mean = signs.mean(0)
        own = _without_other_rows(inverse, rows)
        weights = own @ (signs - mean)
        held_out = np.full((n_rows, signs.shape[1]), mean, np.float32)
        held_out[rows] = signs
        order = np.argsort(groups[rows], kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(groups[rows][order])) + 1):
            held_out[rows[members]] -= np.linalg.solve(own[np.ix_(members, members)], weights[members])
        transposed = X[rows].T.tocsr()
        coef = np.hstack(
            [
                transposed @ np.ascontiguousarray(weights[:, start : start + _COLUMN_BLOCK])
                for start in range(0, signs.shape[1], _COLUMN_BLOCK)
            ]
        )
        end = 0
        for block in blocks:
            columns = slice(end, end + sizes[block])
            fitted[block] = Scores(coef[:, columns], mean[columns], held_out[:, columns])
            end += sizes[block]
    return [scores for scores in fitted if scores is not None]


def _without_other_rows(inverse: Floats, rows: Codes) -> Floats:
    """Return what the inverse of a matrix would be of `rows` alone (Schur complement)."""
    if len(rows) == len(inverse):
        return inverse
    others = np.setdiff1d(np.arange(len(inverse)), rows)
    between = inverse[np.ix_(others, rows)]
    own: Floats = inverse[np.ix_(rows, rows)] - between.T @ np.linalg.solve(inverse[np.ix_(others, others)], between)
    return own


def _fit_svm(X: sp.csr_matrix, codes: Codes, size: int, C: float, seed: int) -> tuple[Floats, Floats]:
    """Return coefficients and intercepts of one class against the rest; a class without rows scores -1."""
    present = np.unique(codes)
    coef = np.zeros((X.shape[1], size), np.float32)
    intercept = np.full(size, -1, np.float32)
    if len(present) < 2:
        intercept[present] = 1
        return coef, intercept
    model = LinearSVC(C=C, random_state=seed).fit(X, codes)
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
    groups: Codes,
    *,
    n_folds: int = 3,
    seed: int = 0,
    n_jobs: int | None = None,
) -> list[Scores]:
    """Fit each block with LinearSVC, one class against the rest, with scores held out by folds.

    Parameters
    ----------
    X, codes, sizes, C, groups
        As in `fit_squared_error`.
    n_folds : int, default=3
        Folds of the held-out scores.
    seed : int, default=0
    n_jobs : int or None, default=None
        Trainings at once (joblib).

    Returns
    -------
    list of Scores, one a block
    """
    folds = [_folds(code, groups, n_folds, seed) for code in codes]
    tasks = [(block, fold) for fold in range(-1, n_folds) for block in range(len(codes))]
    rows = [np.flatnonzero((folds[block] != fold) & (codes[block] >= 0)) for block, fold in tasks]
    # Processes, not threads: liblinear draws from one generator of the whole process.
    fitted = joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(_fit_svm)(X[kept], codes[block][kept], sizes[block], C, seed)
        for (block, _), kept in zip(tasks, rows, strict=True)
    )
    held_out = [np.empty((X.shape[0], size), np.float32) for size in sizes]
    for (block, fold), (coef, intercept) in zip(tasks, fitted, strict=True):
        if fold >= 0:
            out = np.flatnonzero(folds[block] == fold)
            held_out[block][out] = X[out] @ coef + intercept
    return [Scores(fitted[block][0], fitted[block][1], held_out[block]) for block in range(len(codes))]


# --- from scores to probabilities ---------------------------------------------------------------------


def softmax(logits: Floats) -> Floats:
    """Return the softmax of each row."""
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: Floats = exponents / exponents.sum(1, keepdims=True)
    return probabilities


def saturate(scores: Floats, offset: float) -> Floats:
    """Return the logarithm of the probability that each score means by itself, ``-log(1 + exp(-3 (score + offset)))``.

    Parameters
    ----------
    scores : float array
    offset : float
        Score, negated, that means one half.

    Returns
    -------
    float array of the same shape and type
        A score far above its threshold says no more than one a little lower. The slope of 3 was chosen on
        validation data; see ``tests/benchmarks``.
    """
    saturated: Floats = -np.logaddexp(scores.dtype.type(0), -3 * (scores + scores.dtype.type(offset)))
    return saturated


def fit_weights(
    features: Sequence[Floats], right: npt.NDArray[np.bool_], start: Sequence[float]
) -> tuple[npt.NDArray[np.float64], float]:
    """Weigh features so that the softmax of their sum gives the right outcomes the most probability.

    Parameters
    ----------
    features : sequence of float arrays of shape (n_rows, n_outcomes)
    right : bool array of shape (n_rows, n_outcomes)
        Outcomes that are right for a row; several may be.
    start : sequence of float
        First weights.

    Returns
    -------
    weights : float64 array of shape (n_features,)
        In [0, 20].
    surprise : float
        Mean negative logarithm of the probability of the right outcomes.

    Notes
    -----
    With one feature this is temperature scaling (Guo et al. 2017).
    """
    stack = np.stack([feature.astype(np.float32) for feature in features])

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        logits = np.tensordot(weights.astype(np.float32), stack, 1)
        probability = softmax(logits)
        hit = np.where(right, probability, 0)
        total = np.maximum(hit.sum(1, keepdims=True), 1e-12)
        pull = probability - hit / total
        gradient = np.array([np.sum(pull * feature, dtype=np.float64) for feature in stack]) / len(pull)
        return float(-np.log(total, dtype=np.float64).mean()), gradient

    found = scipy.optimize.minimize(
        loss,
        np.array(start),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, _LARGEST_WEIGHT)] * len(stack),
        options={"maxiter": 60},
    )
    return found.x, float(found.fun)


# --- one target ---------------------------------------------------------------------------------------


def _fit_scores(
    X: sp.csr_matrix, codes: Sequence[Codes], sizes: Sequence[int], groups: Codes, options: Mapping[str, Any]
) -> list[Scores]:
    """Fit blocks with the loss that the options name."""
    if options["loss"] not in LOSSES:
        raise ValueError(f"loss must be one of {LOSSES}, got {options['loss']!r}")
    if not options["C"] > 0:
        raise ValueError(f"C must be above 0, got {options['C']}")
    if len(groups) != X.shape[0]:
        raise ValueError(f"groups must have one entry for each of the {X.shape[0]} rows, got {len(groups)}")
    if options["n_folds"] < 2:
        raise ValueError(f"n_folds must be at least 2, got {options['n_folds']}")
    if options["loss"] == "squared_error":
        return fit_squared_error(X, codes, sizes, options["C"], groups)
    return fit_squared_hinge(
        X,
        codes,
        sizes,
        options["C"],
        groups,
        n_folds=options["n_folds"],
        seed=options["random_state"],
        n_jobs=options["n_jobs"],
    )


class LabelClassifier(ClassifierMixin, BaseEstimator):
    """Linear classifier with calibrated probabilities.

    One class against the rest, and one temperature that makes the softmax of held-out scores likely. A
    class with a single example is no obstacle: it has a score, and a probability above 0.

    Parameters
    ----------
    loss : {"squared_hinge", "squared_error"}, default="squared_hinge"
        Hinge: scikit-learn's LinearSVC. Error: closed form, at most 20,000 rows; better where classes
        are many and examples few.
    C : float, default=3.0
        Inverse strength of regularisation.
    n_folds : int, default=3
        Folds of the held-out scores (hinge only).
    n_jobs : int or None, default=None
        Trainings at once (joblib).
    random_state : int, default=0

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    coef_ : float32 array of shape (n_features, n_classes)
    intercept_ : float32 array of shape (n_classes,)
    temperature_ : float
        Factor on the scores before the softmax.
    held_out_scores_ : float32 array of shape (n_rows, n_classes)
        Scores of the training rows by models that had not seen them.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1], [0.1, 1], [1, 0], [1, 0.2]])
    >>> model = LabelClassifier().fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[1, 0]]).tolist()
    ['b']
    >>> model.predict_proba([[1, 0]]).sum().round(6).item()
    1.0
    """

    def __init__(
        self,
        *,
        loss: str = "squared_hinge",
        C: float = 3.0,
        n_folds: int = 3,
        n_jobs: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.loss = loss
        self.C = C
        self.n_folds = n_folds
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Learn from a matrix and labels.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
        groups : array-like of shape (n_rows,) or None
            Rows of one group are held out together; None holds out every row by itself.

        Returns
        -------
        LabelClassifier
            Itself.

        Raises
        ------
        ValueError
            If an option is out of range, the arrays do not fit, or there is only one class.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32, accept_large_sparse=False)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"labels must be of at least two classes, got one class in {len(y)} rows")
        group_of = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
        (scores,) = _fit_scores(sp.csr_matrix(X), [codes], [len(self.classes_)], group_of, self.get_params())
        self.coef_, self.intercept_, self.held_out_scores_ = scores.coef, scores.intercept, scores.held_out
        right = codes[:, None] == np.arange(len(self.classes_))
        self.temperature_ = float(fit_weights([scores.held_out], right, [4.0])[0][0])
        return self

    def _scores(self, X: Any) -> Floats:
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False)
        scores: Floats = X @ self.coef_ + self.intercept_
        return scores

    def decision_function(self, X: Any) -> Floats:
        """Return the scores.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        float array of shape (n_rows, n_classes), or (n_rows,) for two classes
            Higher is likelier; for two classes, positive means ``classes_[1]``.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Floats:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        float array of shape (n_rows, n_classes)
            Rows sum to 1; columns in the order of `classes_`.
        """
        scores = self._scores(X)
        return softmax(self.temperature_ * scores)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likeliest label of each row.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        array of shape (n_rows,)
        """
        scores = self._scores(X)
        labels: npt.NDArray[Any] = self.classes_[scores.argmax(1)]
        return labels

    def __sklearn_tags__(self) -> Any:
        """Say that sparse matrices are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


# --- several targets, jointly -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grouping:
    """Columns sorted by a key, so that those of one key can be added up."""

    order: Codes
    starts: Codes
    keys: Codes  # of each sum, ascending

    @classmethod
    def of(cls, key: Codes) -> Self:
        """Group columns by their keys."""
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=-1))
        return cls(order, starts, key[order][starts])

    def sums(self, values: Floats) -> Floats:
        """Add up the columns of each key, (n_rows, n_keys)."""
        added: Floats = np.add.reduceat(values[:, self.order], self.starts, axis=1)
        return added


@dataclass(frozen=True)
class JointOptions:
    """Options of a `JointClassifier`.

    Attributes
    ----------
    loss : str
        One of `LOSSES`.
    C : float
        Inverse strength of regularisation.
    n_folds : int
        Folds of the held-out scores (squared hinge only).
    max_weights : int
        Weights kept, those that move scores most; the rest become 0.
    n_jobs : int or None
        Trainings at once (joblib).
    random_state : int
    """

    loss: str = "squared_hinge"
    C: float = 3.0
    n_folds: int = 3
    max_weights: int = 4_000_000
    n_jobs: int | None = None
    random_state: int = 0


@dataclass(frozen=True)
class JointClassifier:
    """Probabilities of several targets from one matrix of linear scores.

    Attributes
    ----------
    classes : dict of str to list
        Labels of each target, in the order of training.
    blocks : tuple of str
        Targets with scores of their own, in the order of the columns; with several targets, the last
        block is that of the combinations.
    combinations : int32 array of shape (n_combinations, n_targets)
        Class of each target in each combination of labels that the training table holds.
    values : int8 array of shape (n_weights,)
    columns : uint16 array of shape (n_weights,)
    starts : int32 array of shape (n_features + 1,)
        The weights as a sparse matrix by rows, in units of `scale`.
    scale, intercept : float32 arrays of shape (n_columns,)
    shares : float64 array of shape (n_blocks,)
        Weight of each block in the score of a combination.
    temperatures : float64 array of shape (n_targets,)
        Exponent on each target's probabilities that calibrates them.
    within : dict of str to str
        Targets that only mean something within another: the level of a local jurisdiction.
    offset : float
        Where scores saturate, see `saturate`.
    """

    classes: dict[str, list[Any]]
    blocks: tuple[str, ...]
    combinations: npt.NDArray[np.int32]
    values: npt.NDArray[np.int8]
    columns: npt.NDArray[np.uint16]
    starts: npt.NDArray[np.int32]
    scale: Floats
    intercept: Floats
    shares: Floats
    temperatures: Floats
    within: dict[str, str] = field(default_factory=dict)
    offset: float = 0.0

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        """First column and number of columns of each block."""
        sizes = [len(self.combinations) if block == JOINT else len(self.classes[block]) for block in self.blocks]
        return list(zip((np.cumsum(sizes) - sizes).tolist(), sizes, strict=True))

    @cached_property
    def _weights(self) -> Floats | sp.csr_matrix:
        """The weights of shape (n_features, n_columns), dense or sparse, whichever is multiplied faster."""
        weights = sp.csr_matrix(
            (self.values * self.scale[self.columns], self.columns.astype(np.int32), self.starts),
            shape=(len(self.starts) - 1, len(self.intercept)),
        )
        return weights.toarray() if weights.nnz > _DENSE_WEIGHTS * weights.shape[0] * weights.shape[1] else weights

    @cached_property
    def _parts(self) -> list[Codes]:
        """For each block, the column that adds to the score of each combination."""
        names = list(self.classes)
        return [
            start + (np.arange(size) if block == JOINT else self.combinations[:, names.index(block)].astype(np.intp))
            for block, (start, size) in zip(self.blocks, self._spans, strict=True)
        ]

    @cached_property
    def _members(self) -> dict[str, _Grouping]:
        """The combinations by the class of each target; of a target within another by both classes."""
        names = list(self.classes)
        codes = {name: self.combinations[:, place].astype(np.intp) for place, name in enumerate(names)}
        sizes = {name: len(labels) for name, labels in self.classes.items()}
        keys = {
            name: codes[self.within[name]] * sizes[name] + code if name in self.within else code
            for name, code in codes.items()
        }
        return {name: _Grouping.of(key) for name, key in keys.items()}

    def scores(self, X: sp.csr_matrix) -> Floats:
        """Return the linear scores of all blocks.

        Parameters
        ----------
        X : scipy.sparse.csr_matrix of shape (n_rows, n_features)

        Returns
        -------
        float32 array of shape (n_rows, n_columns)
        """
        product = X @ self._weights
        dense: Floats = product.toarray() if sp.issparse(product) else product
        return dense + self.intercept

    def combination_scores(self, scores: Floats) -> Floats:
        """Return the score of each combination of labels: its blocks' saturated scores, each by the block's share.

        Parameters
        ----------
        scores : float array of shape (n_rows, n_columns)

        Returns
        -------
        float32 array of shape (n_rows, n_combinations)
            Logits: their softmax is the joint distribution.
        """
        saturated = saturate(scores, self.offset)
        logits = np.zeros((len(scores), len(self.combinations)), np.float32)
        for columns, share in zip(self._parts, self.shares.astype(np.float32), strict=True):
            logits += share * saturated[:, columns]
        return logits

    def probabilities(self, joint: Floats) -> dict[str, Floats]:
        """Return calibrated probabilities of each target.

        Parameters
        ----------
        joint : float array of shape (n_rows, n_combinations)
            Softmax of the combination scores.

        Returns
        -------
        dict of str to float32 array of shape (n_rows, n_classes)
            Rows sum to 1; columns in the order of `classes`; none is 0. A target within another is as
            probable as the other's class times its own share there.
        """
        found: dict[str, Floats] = {}
        ordered = sorted(
            zip(self.classes, self.temperatures.tolist(), strict=True), key=lambda item: item[0] in self.within
        )
        for target, temperature in ordered:
            mass = np.log(np.maximum(self._members[target].sums(joint), _LEAST_PROBABILITY)) * np.float32(temperature)
            if target not in self.within:
                found[target] = softmax(mass)
                continue
            outer, inner = np.divmod(self._members[target].keys, len(self.classes[target]))
            share = np.exp(mass - mass.max(1, keepdims=True))
            whole = _Grouping.of(outer).sums(share)
            outer_place = np.unique(outer, return_inverse=True)[1]
            pairs = share / whole[:, outer_place] * found[self.within[target]][:, outer]
            found[target] = np.maximum(_Grouping.of(inner).sums(pairs), _LEAST_PROBABILITY)
        return {target: found[target] for target in self.classes}

    def best(self, joint: Floats, probabilities: Mapping[str, Floats]) -> dict[str, Codes]:
        """Return the best class of each target; that of a target within another fits the other's best class.

        Parameters
        ----------
        joint : float array of shape (n_rows, n_combinations)
        probabilities : mapping of str to float array of shape (n_rows, n_classes)
            What `probabilities` gave.

        Returns
        -------
        dict of str to intp array of shape (n_rows,)
        """
        best = {target: probability.argmax(1) for target, probability in probabilities.items()}
        for target, whole in self.within.items():
            outer, inner = np.divmod(self._members[target].keys, len(self.classes[target]))
            mass = np.where(outer == best[whole][:, None], self._members[target].sums(joint), -1)
            best[target] = inner[mass.argmax(1)]
        return best

    def pull(self, scores: Floats, target: str, label: int, features: Codes) -> Floats:
        """Return how strongly each feature pulls towards a label and away from its rivals.

        Parameters
        ----------
        scores : float array of shape (n_columns,)
            Linear scores of one row.
        target : str
        label : int
            Class of the label.
        features : intp array of shape (n,)
            Columns of the matrix that are asked for.

        Returns
        -------
        float32 array of shape (n,)
            Weight of each feature in the score of the label's combinations, each by its probability among
            these, less that of all others, each by its probability among those. A row times these weights,
            plus a constant, is that difference of scores exactly: what saturation takes from a score, it takes
            from all its features alike.
        """
        joint = softmax(self.combination_scores(scores[None]).astype(np.float64))[0]
        mine = self.combinations[:, list(self.classes).index(target)] == label
        for_label, against = np.where(mine, joint, 0), np.where(mine, 0, joint)
        difference = for_label / max(for_label.sum(), 1e-300) - against / max(against.sum(), 1e-300)
        column = np.zeros(len(self.intercept))
        for columns, share in zip(self._parts, self.shares, strict=True):
            column += share * np.bincount(columns, difference, len(column))
        # From the intercept to the score, the saturated score rises by this much for each unit of the linear one.
        added = scores.astype(np.float64) - self.intercept
        rise = saturate(scores.astype(np.float64), self.offset) - saturate(
            self.intercept.astype(np.float64), self.offset
        )
        column *= np.divide(rise, added, out=np.zeros_like(added), where=np.abs(added) > 1e-9)
        weights: Floats = self._weights[features] @ column.astype(np.float32)
        return weights

    def to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return the classes as JSON values, and the numbers as arrays."""
        names = ("combinations", "values", "columns", "starts", "scale", "intercept", "shares", "temperatures")
        classes = [{"target": target, "labels": labels} for target, labels in self.classes.items()]
        settings = {"classes": classes, "blocks": list(self.blocks), "within": self.within, "offset": self.offset}
        return settings, {name: getattr(self, name) for name in names}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the classifier from what `to_state` gave."""
        classes = {entry["target"]: entry["labels"] for entry in settings["classes"]}
        return cls(
            classes=classes,
            blocks=tuple(settings["blocks"]),
            within=settings["within"],
            offset=settings["offset"],
            **arrays,
        )


def _compress(
    X: sp.csr_matrix, coef: Floats, max_weights: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16], npt.NDArray[np.int32], Floats]:
    """Keep the weights that move scores most, as 8-bit numbers in units of their column's largest / 127."""
    typical = np.sqrt(np.bincount(X.indices, X.data.astype(np.float64) ** 2, X.shape[1]) / X.shape[0]).astype(
        np.float32
    )
    moves = np.abs(coef)
    moves *= typical[:, None]
    n_dropped = moves.size - max_weights
    most_dropped = np.partition(moves.ravel(), n_dropped - 1)[n_dropped - 1] if n_dropped > 0 else -1
    scale = np.maximum(np.abs(coef).max(0), 1e-12).astype(np.float32) / 127
    values, columns, per_row = [], [], []
    for start in range(0, len(coef), 4096):
        part = np.rint(coef[start : start + 4096] / scale).astype(np.int8)
        part[moves[start : start + 4096] <= most_dropped] = 0
        row, column = np.nonzero(part)
        values.append(part[row, column])
        columns.append(column.astype(np.uint16))
        per_row.append(np.bincount(row, minlength=len(part)))
    starts = np.concatenate(([0], *per_row)).cumsum().astype(np.int32)
    return np.concatenate(values), np.concatenate(columns), starts, scale


def fit_joint(
    X: sp.csr_matrix,
    labels: Mapping[str, Sequence[Any]],
    *,
    options: JointOptions,
    groups: npt.NDArray[Any] | None = None,
    n_held_out: int | None = None,
    without_block: Sequence[str] = (),
    within: Mapping[str, str] | None = None,
) -> tuple[JointClassifier, Floats]:
    """Train all targets together from one matrix.

    Parameters
    ----------
    X : scipy.sparse.csr_matrix of shape (n_rows, n_features)
    labels : mapping of str to sequence of length n_rows
        One entry a target; None where a row's label is not known.
    options : JointOptions
    groups : array of shape (n_rows,) or None
        Rows of one group are held out together; None holds out every row by itself.
    n_held_out : int or None
        The first so many rows are the table's own; the rest only train and are not measured. None for all.
    without_block : sequence of str
        Targets without scores of their own, read off the combinations alone.
    within : mapping of str to str or None
        Targets that only mean something within another.

    Returns
    -------
    classifier : JointClassifier
    held_out : float32 array of shape (n_held_out, n_columns)
        Scores of the rows by models that had not seen their group.

    Raises
    ------
    ValueError
        If a target has only one class, or an option is out of range.
    """
    if options.max_weights < 1:
        raise ValueError(f"max_weights must be at least 1, got {options.max_weights}")
    if JOINT in labels:
        raise ValueError(f"a target must not be called {JOINT!r}; rename the column")
    n_targets_known = np.sum([[value is not None for value in values] for values in labels.values()], 0)
    classes, codes = {}, {}
    for target, values in labels.items():
        found, code = _encode(target, values, n_targets_known == len(labels))
        if len(found) < 2:
            raise ValueError(f"target {target!r} must have at least two classes, got one class in {len(code)} rows")
        classes[target], codes[target] = found, code
    stacked = np.stack(list(codes.values()), 1)
    whole = (stacked >= 0).all(1)
    combinations, place = np.unique(stacked[whole], axis=0, return_inverse=True)
    joint_code = np.full(len(stacked), -1)
    joint_code[whole] = place.ravel()
    blocks = [target for target in labels if target not in without_block]
    block_codes = [codes[target] for target in blocks]
    if len(labels) > 1:
        blocks, block_codes = [*blocks, JOINT], [*block_codes, joint_code]
    sizes = [len(combinations) if block == JOINT else len(classes[block]) for block in blocks]
    if sum(sizes) > 65_535:
        raise ValueError(f"targets must have at most 65535 classes and combinations together, got {sum(sizes)}")
    group_of = np.arange(X.shape[0]) if groups is None else np.unique(groups, return_inverse=True)[1]
    fitted = _fit_scores(X, block_codes, sizes, group_of, vars(options))
    n_measured = X.shape[0] if n_held_out is None else n_held_out
    held_out = np.hstack([scores.held_out[:n_measured] for scores in fitted])
    intercept = np.concatenate([scores.intercept for scores in fitted]).astype(np.float32)
    weights, columns, starts, scale = _compress(X, np.hstack([scores.coef for scores in fitted]), options.max_weights)
    classifier = JointClassifier(
        classes=classes,
        blocks=tuple(blocks),
        combinations=combinations.astype(np.int32),
        values=weights,
        columns=columns,
        starts=starts,
        scale=scale,
        intercept=intercept,
        shares=np.ones(len(blocks)),
        temperatures=np.ones(len(classes)),
        within=dict(within or {}),
    )
    return _calibrate(classifier, held_out, {target: code[:n_measured] for target, code in codes.items()}), held_out


def _encode(target: str, values: Sequence[Any], whole: npt.NDArray[np.bool_]) -> tuple[list[Any], Codes]:
    """Return sorted classes as plain Python values, and the class of each row."""
    kinds = sorted({type(np.asarray(value).item()).__name__ for value in values if value is not None})
    if len(kinds) > 1:
        raise ValueError(
            f"target {target!r} must have labels of one kind, got {' and '.join(kinds)}; convert the column"
        )
    known = np.array([value is not None for value in values])
    found, place = np.unique(np.asarray([value for value in values if value is not None]), return_inverse=True)
    code = np.full(len(known), -1)
    code[known] = place.ravel()
    # A label that stands in no combination, as no row has it whose labels are all known, is no class.
    used = np.unique(code[whole])
    renumbered = np.full(len(found) + 1, -1)  # the last one serves -1
    renumbered[used] = np.arange(len(used))
    return found[used].tolist(), renumbered[code]


def _calibrate(classifier: JointClassifier, held_out: Floats, codes: Mapping[str, Codes]) -> JointClassifier:
    """Fit the shares of the blocks, and each target's temperature, to held-out scores."""
    right = {
        target: classifier.combinations[:, place] == codes[target][:, None]
        for place, target in enumerate(classifier.classes)
        if len(classifier.classes) == 1 or target in classifier.blocks
    }
    start = [4.0 if block == JOINT or len(classifier.classes) == 1 else 1.0 for block in classifier.blocks]

    def weigh(offset: float, rows: slice) -> tuple[npt.NDArray[np.float64], float]:
        """Fit the shares for all targets with scores of their own at once; each row counts once for each."""
        saturated = saturate(held_out[rows], offset)
        parts = [np.concatenate([saturated[:, columns]] * len(right)) for columns in classifier._parts]
        return fit_weights(parts, np.concatenate([outcome[rows] for outcome in right.values()]), start)

    step = max(1, len(held_out) // _ROWS_FOR_OFFSET)
    offset = min(_OFFSETS, key=lambda tried: weigh(tried, slice(None, None, step))[1])
    weighed = replace(classifier, shares=weigh(offset, slice(None))[0], offset=offset)
    if len(classifier.classes) == 1:
        return weighed
    joint = softmax(weighed.combination_scores(held_out))
    for place, (target, code) in enumerate(codes.items()):

        def surprise(temperature: float, place: int = place, target: str = target, code: Codes = code) -> float:
            temperatures = weighed.temperatures.copy()
            temperatures[place] = temperature
            probability = replace(weighed, temperatures=temperatures).probabilities(joint)[target]
            return float(-np.log(probability[np.arange(len(code)), code]).mean())

        found = scipy.optimize.minimize_scalar(surprise, bounds=(0.1, 5), method="bounded", options={"xatol": 0.005})
        weighed.temperatures[place] = found.x
    return weighed
