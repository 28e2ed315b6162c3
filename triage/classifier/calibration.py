"""Scores to probabilities: how surely a score speaks, and weights that make held-out outcomes likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.optimize

Floats = npt.NDArray[np.floating[Any]]

_LARGEST_EXPONENT = 80.0  # of 32 bits; what is less likely is impossible as well
_LARGEST_WEIGHT = 20.0  # tables that every score separates would ask for ever larger ones
# How strongly the weights of all kinds are drawn to their mean, in nats of all rows together for a distance of 1. On
# held-out authors of both desks 0.3 to 3 are alike; without, a kind with few rows learns their chance (land: mean
# negative logarithm of the labels' probabilities 1.196, and 1.167 with it).
_DRAWN_TOGETHER = 1.0


def softmax(logits: Floats) -> Floats:
    """Return the softmax of each row."""
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: Floats = exponents / exponents.sum(1, keepdims=True)
    return probabilities


class Link(NamedTuple):
    """What a linear score means by itself: the logarithm of a probability, ``-log(1 + exp(-slope (score + offset)))``.

    A score far above its threshold says no more than one a little lower.

    Attributes
    ----------
    slope : float
        How fast the score becomes sure.
    offset : float
        Score, negated, that means one half.
    """

    slope: float
    offset: float

    def __call__(self, scores: Floats) -> Floats:
        """Return the logarithms, of the shape and type of the scores."""
        slope, offset, most = map(scores.dtype.type, (self.slope, self.offset, _LARGEST_EXPONENT))
        # np.logaddexp says the same in ten times the time
        logarithms: Floats = -np.log1p(np.exp(np.minimum(-slope * (scores + offset), most)))
        return logarithms


# Labels with many questions are told by scores around 0, those of few by how little they are below -1. Chosen on
# held-out authors of both desks' splits `train` and `valid`; see ``tests/benchmarks/results/jurisdiction.md``.
LINKS = (Link(3.0, 0.0), Link(3.0, 0.3), Link(3.0, 0.6), Link(3.0, 0.9), Link(4.0, 1.0), Link(6.0, 0.9))


def likeliest_link(scores: Floats, right: npt.NDArray[np.bool_]) -> Link:
    """Choose the link by which one block's scores, calibrated by one factor, give the right labels most probability.

    Parameters
    ----------
    scores : float array of shape (n_rows, n_labels)
        Held-out scores.
    right : bool array of shape (n_rows, n_labels)

    Returns
    -------
    Link
        One of `LINKS`; the first without any row.
    """
    if not len(scores):
        return LINKS[0]
    return min(LINKS, key=lambda link: fit_weights([link(scores)], [right], [4.0])[-1])


def fit_weights(
    features: Sequence[Floats],
    rights: Sequence[npt.NDArray[np.bool_]],
    start: npt.ArrayLike,
    kinds: npt.NDArray[np.intp] | None = None,
    n_kinds: int = 1,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Weigh features so that the softmax of their sum gives the right outcomes the most probability.

    Parameters
    ----------
    features : sequence of float arrays of shape (n_rows, n_outcomes)
    rights : sequence of bool arrays of shape (n_rows, n_outcomes)
        Outcomes that are right for a row, one array a question asked of it; several may be.
    start : array-like of shape (n_features,) or (n_kinds, n_features)
        First weights.
    kinds : intp array of shape (n_outcomes,), optional
        Outcomes of different kinds, numbered from 0, have weights of their own, which are drawn to the mean of all
        kinds'. One kind by default.
    n_kinds : int, default=1
        A kind without an outcome gets that mean.

    Returns
    -------
    weights : float64 array of shape (n_kinds, n_features)
        In [0, 20].
    constants : float64 array of shape (n_kinds,)
        What each kind's outcomes have beside that sum, in [-20, 20], drawn to 0; with one kind it is 0.
    surprise : float
        Mean negative logarithm of the probability of the right outcomes.

    Notes
    -----
    With one feature and one kind this is temperature scaling (Guo et al. 2017).
    """
    stack = [feature.astype(np.float32) for feature in features]
    kind = np.zeros(stack[0].shape[1], np.intp) if kinds is None else kinds
    n_features, drawn = len(stack), _DRAWN_TOGETHER / len(stack[0])
    n_weights = n_kinds * n_features

    def distances(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        weights = numbers[:n_weights].reshape(n_kinds, n_features)
        return np.concatenate(((weights - weights.mean(0)).ravel(), numbers[n_weights:]))

    def loss(numbers: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights, constants = numbers[:n_weights].reshape(n_kinds, n_features), numbers[n_weights:]
        logits = np.zeros(stack[0].shape, np.float32)
        for feature, weight in zip(stack, weights.T.astype(np.float32), strict=True):
            logits += weight[kind] * feature
        logits += constants[kind].astype(np.float32)
        probability = softmax(logits)
        surprise, pull = 0.0, len(rights) * probability
        for right in rights:
            hit = np.where(right, probability, 0)
            total = np.maximum(hit.sum(1, keepdims=True), 1e-12)
            pull -= hit / total
            surprise -= float(np.log(total, dtype=np.float64).mean())
        by_outcome = [np.einsum("ij,ij->j", pull, feature, dtype=np.float64) for feature in stack]
        by_kind = [np.bincount(kind, column, n_kinds) for column in by_outcome]
        of_constants = np.bincount(kind, pull.sum(0, dtype=np.float64), n_kinds)
        gradient = np.concatenate((np.stack(by_kind, 1).ravel(), of_constants)) / len(pull)
        apart = distances(numbers)
        surprise += drawn * float(apart @ apart)
        return surprise / len(rights), (gradient + 2 * drawn * apart) / len(rights)

    most = _LARGEST_WEIGHT if n_kinds > 1 else 0.0  # a constant of all outcomes alike says nothing
    found = scipy.optimize.minimize(
        loss,
        np.concatenate((np.broadcast_to(start, (n_kinds, n_features)).ravel(), np.zeros(n_kinds))),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, _LARGEST_WEIGHT)] * n_weights + [(-most, most)] * n_kinds,
        options={"maxiter": 100},
    )
    apart = distances(found.x)
    surprise = float(found.fun) - drawn * float(apart @ apart) / len(rights)
    return found.x[:n_weights].reshape(n_kinds, n_features), found.x[n_weights:], surprise
