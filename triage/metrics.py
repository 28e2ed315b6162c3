"""Measures of probabilities, decisions and rankings: pure functions on arrays.

What scikit-learn measures already (accuracy, F1) is taken from there. Measures of nothing are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Bins of equal width, as Guo, Pleiss, Sun, Weinberger (2017), "On Calibration of Modern Neural Networks", ICML.
N_BINS = 15

_N_DRAWS = 500  # of outcomes, for what chance alone would show


def proportion_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share.

    See Brown, Cai, DasGupta (2001), "Interval estimation for a binomial proportion", Statistical Science 16(2), 3.1.1.

    Parameters
    ----------
    successes, n : int
        0 <= successes <= n; with no trials the interval is (0, 1).
    confidence : float, default=0.95
        Two-sided, in (0, 1).

    Returns
    -------
    tuple of float
        Lower and upper end, in [0, 1].

    Raises
    ------
    ValueError
        If the counts contradict each other.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"counts must be 0 <= successes <= n, got {successes} and {n}")
    if n == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    center = successes + z2 / 2
    half = math.sqrt(z2 * (successes * (n - successes) / n + z2 / 4))
    return max(0.0, (center - half) / (n + z2)), min(1.0, (center + half) / (n + z2))


def share_text(successes: int, n: int) -> str:
    """Return a share in per cent with its 95 % interval, for people: ``90.0 [59.6, 98.2]``."""
    low, high = proportion_interval(successes, n)
    return f"{100 * successes / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]" if n else "-"


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test that a change lost as many as it gained.

    Of the pairs that differ, each is as likely gained as lost if nothing changed: a binomial test with one half.

    Parameters
    ----------
    gained, lost : int
        Pairs that differ, in one direction and in the other; 0 or more.

    Returns
    -------
    float
        In (0, 1]; 1 without pairs that differ.

    Raises
    ------
    ValueError
        If a count is negative.

    Notes
    -----
    The exact test never rejects more often than its level, and so sees small changes late; fewer than six pairs that
    differ cannot reach 0.05.

    References
    ----------
    McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12(2), 153-157. Its chi-squared approximation, which Edwards (1948), Psychometrika 13(3), 185-187,
    corrects for continuity, is not used. Exact conditional version: Fagerland, Lydersen, Laake (2013), "The McNemar
    test for binary matched-pairs data", BMC Medical Research Methodology 13:91.

    Examples
    --------
    >>> mcnemar_p(1, 7)  # 2 * (1 + 8) / 2**8
    0.0703125
    """
    if min(gained, lost) < 0:
        raise ValueError(f"counts must be 0 or more, got {gained} and {lost}")
    n = gained + lost
    return min(1.0, float(binomtest(min(gained, lost), n, 0.5).pvalue)) if n else 1.0


def paired_difference_interval(
    both: int, gained: int, lost: int, neither: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval of the difference of two shares that were counted on the same questions.

    Parameters
    ----------
    both, gained, lost, neither : int
        Questions right before and after, only after, only before, and never; without any the interval is (-1, 1).
    confidence : float, default=0.95
        Two-sided, in (0, 1).

    Returns
    -------
    tuple of float
        Lower and upper end of share after minus share before, in [-1, 1].

    Raises
    ------
    ValueError
        If a count is negative.

    References
    ----------
    Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions based on paired
    data", Statistics in Medicine 17, 2635-2650, method 10: Wilson intervals of both shares, squared and added with
    their correlation phi, which is corrected for continuity where it is positive.

    Examples
    --------
    >>> low, high = paired_difference_interval(36, 12, 2, 0)
    >>> round(low, 4), round(high, 4)
    (0.0569, 0.3404)
    """
    counts = (both, gained, lost, neither)
    if min(counts) < 0:
        raise ValueError(f"counts must be 0 or more, got {counts}")
    n = sum(counts)
    if n == 0:
        return -1.0, 1.0
    after, before = both + gained, both + lost
    p1, p2 = after / n, before / n
    (low1, high1), (low2, high2) = (proportion_interval(right, n, confidence) for right in (after, before))
    product = after * (n - after) * before * (n - before)
    agreement = float(both * neither - gained * lost)
    if agreement > 0:
        agreement = max(agreement - n / 2, 0.0)
    phi = agreement / math.sqrt(product) if product else 0.0

    def width(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))

    low = p1 - p2 - width(p1 - low1, high2 - p2)
    return max(-1.0, low), min(1.0, p1 - p2 + width(p2 - low2, high1 - p1))


def reliability(
    probability: npt.ArrayLike, correct: npt.ArrayLike, n_bins: int = N_BINS
) -> dict[str, npt.NDArray[Any]]:
    """Compare probabilities with outcomes, bin by bin: the numbers of a reliability diagram.

    Parameters
    ----------
    probability : array-like of shape (n_questions,)
        Probability of the best label, in [0, 1].
    correct : array-like of shape (n_questions,)
        Whether it is right; booleans or 0 and 1.
    n_bins : int, default=15
        Bins of equal width, each with its upper edge and without its lower one; the first has both.

    Returns
    -------
    dict of arrays of shape (n_bins,)
        ``low``, ``high``, ``n``, ``probability`` and ``accuracy`` (means, NaN in an empty bin).

    Raises
    ------
    ValueError
        If shapes or values are not as above.

    Examples
    --------
    >>> reliability([0.9, 0.8, 0.2], [True, False, False], n_bins=2)["n"].tolist()
    [1, 2]
    """
    p, right = checked_outcomes(probability, correct)
    edges, bins = _bins(p, n_bins)
    n = np.bincount(bins, minlength=n_bins)
    filled = np.where(n > 0, n, np.nan)
    means = {
        "probability": np.bincount(bins, p, n_bins) / filled,
        "accuracy": np.bincount(bins, right, n_bins) / filled,
    }
    return {"low": edges[:-1], "high": edges[1:], "n": n, **means}


def expected_calibration_error(probability: npt.ArrayLike, correct: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Return by how much probabilities and outcomes differ on average.

    Parameters
    ----------
    probability, correct, n_bins
        As in `reliability`.

    Returns
    -------
    float
        Sum over bins of ``n_bin / n * abs(accuracy_bin - probability_bin)``: Guo et al. (2017), equation 3.

    Examples
    --------
    >>> round(expected_calibration_error([0.9, 0.9, 0.6], [True, False, True]), 3)  # 2/3 * 0.4 + 1/3 * 0.4
    0.4
    """
    bins = reliability(probability, correct, n_bins)
    n = int(bins["n"].sum())
    return float(np.nansum(bins["n"] * abs(bins["accuracy"] - bins["probability"])) / n) if n else math.nan


def chance_calibration_error(probability: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the expected calibration error that true probabilities would show on so few questions.

    The error is a mean of absolute values, so that it is above 0 by chance alone, and the more so the fewer questions
    there are (Roelofs et al. 2022, "Mitigating bias in calibration error estimation", AISTATS). A measured error must
    be read beside this one.

    Parameters
    ----------
    probability, n_bins
        As in `reliability`.

    Returns
    -------
    float
        Mean of `expected_calibration_error` over 500 draws of outcomes, each right with its own probability; the draws
        are the same in every call. NaN without questions.

    Examples
    --------
    >>> chance_calibration_error([1.0, 0.0])
    0.0
    >>> few, many = chance_calibration_error([0.8] * 25), chance_calibration_error([0.8] * 2500)
    >>> round(few, 2), round(many, 3)
    (0.06, 0.007)
    """
    p = np.asarray(probability, np.float64)
    p, _ = checked_outcomes(p, np.zeros(p.shape, bool))
    if not len(p):
        return math.nan
    bins = _bins(p, n_bins)[1]
    order = np.argsort(bins, kind="stable")
    p, starts = p[order], np.flatnonzero(np.diff(bins[order], prepend=-1))
    rng = np.random.default_rng(0)
    errors = [abs(np.add.reduceat((rng.random(len(p)) < p) - p, starts)).sum() for _ in range(_N_DRAWS)]
    return float(np.mean(errors)) / len(p)


def _bins(p: Floats, n_bins: int) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the edges of bins of equal width, and the bin of each probability."""
    if n_bins < 1:
        raise ValueError(f"n_bins must be 1 or more, got {n_bins}")
    edges = np.linspace(0, 1, n_bins + 1)
    return edges, np.searchsorted(edges[1:-1], p, side="left")


def brier(probability: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return the mean squared distance of the probabilities from the truth: Brier (1950), equation 2.

    Parameters
    ----------
    probability : array-like of shape (n_questions, n_classes)
        In [0, 1].
    y : array-like of int of shape (n_questions,)
        Column of the true class; -1 for a class that has no column, whose probability is then 0.

    Returns
    -------
    float
        From 0, for certainty in the right label, to 2, for certainty in a wrong one.

    Raises
    ------
    ValueError
        If the shapes do not agree, a probability is not in [0, 1], or `y` names no column.

    Examples
    --------
    >>> round(brier([[0.8, 0.2], [0.5, 0.5]], [0, 1]), 2)  # (0.04 + 0.04 + 0.25 + 0.25) / 2
    0.29
    """
    p, column = np.asarray(probability, np.float64), np.asarray(y)
    if p.ndim != 2 or column.shape != p.shape[:1]:
        raise ValueError(f"must have shapes (n_questions, n_classes), (n_questions,), got {p.shape}, {column.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probability must be in [0, 1]")
    if column.dtype.kind not in "iu" or not np.isin(column, np.arange(-1, p.shape[1])).all():
        raise ValueError(f"y must hold integers in [-1, {p.shape[1] - 1}]")
    truth = column[:, None] == np.arange(p.shape[1])
    squares = ((p - truth) ** 2).sum(axis=1) + (column < 0)
    return float(squares.mean()) if len(p) else math.nan


def risk_coverage(probability: npt.ArrayLike, correct: npt.ArrayLike) -> dict[str, Floats]:
    """Return the share of errors among the assigned at every threshold.

    See El-Yaniv, Wiener (2010), "On the foundations of noise-free selective classification", JMLR 11, section 2.

    Parameters
    ----------
    probability, correct
        As in `reliability`.

    Returns
    -------
    dict of arrays of shape (n_thresholds,)
        For each distinct probability, highest first: ``threshold``, ``coverage`` (share assigned), ``risk`` (share of
        these that is wrong).

    Examples
    --------
    >>> risk_coverage([0.9, 0.8, 0.8, 0.4], [True, True, False, False])["risk"].round(3).tolist()
    [0.0, 0.333, 0.5]
    """
    p, right = checked_outcomes(probability, correct)
    order = np.argsort(-p, kind="stable")
    last = np.flatnonzero(np.diff(p[order], append=-np.inf))  # ties are assigned together
    n_right = np.cumsum(right[order])[last]
    return {"threshold": p[order][last], "coverage": (last + 1) / max(len(p), 1), "risk": 1 - n_right / (last + 1)}


def recall_at_precision(score: npt.ArrayLike, positive: npt.ArrayLike, precision: float) -> float:
    """Return the highest recall among the thresholds that reach a precision.

    Parameters
    ----------
    score : array-like of shape (n_questions,)
        Higher means more surely positive.
    positive : array-like of shape (n_questions,)
        Truth; booleans or 0 and 1.
    precision : float
        Precision to reach, in [0, 1].

    Returns
    -------
    float
        0 when no threshold reaches `precision`. The threshold is chosen on the very data it is measured on, so this
        is an upper estimate.

    Examples
    --------
    >>> recall_at_precision([0.9, 0.8, 0.7, 0.2, 0.1], [1, 0, 1, 0, 0], 0.66)  # 2 of the first 3
    1.0
    """
    if not np.any(positive):
        return math.nan
    precisions, recalls, _ = precision_recall_curve(positive, score)
    return float(recalls[precisions >= precision].max(initial=0))


def recall_at_k(rankings: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]], k: int) -> float:
    """Return the mean share of the relevant items that stand among the first k.

    Parameters
    ----------
    rankings : sequence of sequence
        Items for each query, best first.
    relevant : sequence of collection
        Items that are right for each query; a query without any is left out.
    k : int
        How many of the first items are looked at.

    Returns
    -------
    float

    Examples
    --------
    >>> recall_at_k([["a", "b", "c"], ["c", "a", "b"]], [{"a"}, {"a"}], k=1)
    0.5
    """
    pairs = [(ranking[:k], set(items)) for ranking, items in zip(rankings, relevant, strict=True) if items]
    shares = [len(items.intersection(found)) / len(items) for found, items in pairs]
    return float(np.mean(shares)) if shares else math.nan


def checked_outcomes(probability: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[Floats, Bools]:
    """Return probabilities and what came of them as arrays, once they are known to be such.

    Parameters
    ----------
    probability : array-like of shape (n,)
        In [0, 1].
    correct : array-like of shape (n,)
        Booleans, or 0 and 1.

    Returns
    -------
    probability : float64 array of shape (n,)
    correct : bool array of shape (n,)

    Raises
    ------
    ValueError
        If they are not.

    Examples
    --------
    >>> checked_outcomes([0.9, 0.4], [1, 0])
    (array([0.9, 0.4]), array([ True, False]))
    """
    p, right = np.asarray(probability, np.float64), np.asarray(correct)
    if p.ndim != 1 or p.shape != right.shape:
        raise ValueError(f"probability and outcomes must have one shape (n,), got {p.shape} and {right.shape}")
    fits = (p >= 0) & (p <= 1)
    if not fits.all():
        raise ValueError(f"probability must be in [0, 1], row {int(fits.argmin())} is not")
    if right.dtype != bool and not np.isin(right, (0, 1)).all():
        raise ValueError("outcomes must be booleans, or 0 and 1")
    return p, right.astype(bool)
