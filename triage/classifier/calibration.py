"""Scores to probabilities: saturation, and weights that make held-out outcomes likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.optimize

Floats = npt.NDArray[np.floating[Any]]

_LARGEST_WEIGHT = 20.0  # tables that every score separates would ask for ever larger ones


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
    features: Sequence[Floats], rights: Sequence[npt.NDArray[np.bool_]], start: Sequence[float]
) -> tuple[npt.NDArray[np.float64], float]:
    """Weigh features so that the softmax of their sum gives the right outcomes the most probability.

    Parameters
    ----------
    features : sequence of float arrays of shape (n_rows, n_outcomes)
    rights : sequence of bool arrays of shape (n_rows, n_outcomes)
        Outcomes that are right for a row, one array a question asked of it; several may be.
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
        surprise, pull = 0.0, len(rights) * probability
        for right in rights:
            hit = np.where(right, probability, 0)
            total = np.maximum(hit.sum(1, keepdims=True), 1e-12)
            pull -= hit / total
            surprise -= float(np.log(total, dtype=np.float64).mean())
        gradient = np.array([np.sum(pull * feature, dtype=np.float64) for feature in stack]) / len(pull)
        return surprise / len(rights), gradient / len(rights)

    found = scipy.optimize.minimize(
        loss,
        np.array(start),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, _LARGEST_WEIGHT)] * len(stack),
        options={"maxiter": 60},
    )
    return found.x, float(found.fun)
