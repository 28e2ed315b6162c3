"""Metrics, checked by hand and against scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from triage.metrics import (
    brier,
    chance_calibration_error,
    expected_calibration_error,
    proportion_interval,
    recall_at_k,
    recall_at_precision,
    reliability,
    risk_coverage,
    share_text,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (3, 7), (96, 100), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_is_wilson(successes: int, n: int, confidence: float) -> None:
    expected = binomtest(successes, n).proportion_ci(confidence, "wilson")
    assert proportion_interval(successes, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_interval_of_nothing_is_everything() -> None:
    assert proportion_interval(0, 0) == (0, 1)


def test_interval_refuses() -> None:
    with pytest.raises(ValueError, match="0 <= successes <= n, got 3 and 2"):
        proportion_interval(3, 2)


def test_calibration_error_by_hand() -> None:
    # Bins of a fifth: (0.8, 1] holds 0.9, 1.0, 0.85; (0.2, 0.4] holds 0.4 and 0.3.
    p = [0.9, 1.0, 0.85, 0.4, 0.3]
    correct = [True, True, False, True, False]
    high, low = abs(2 / 3 - 2.75 / 3), abs(1 / 2 - 0.35)
    assert expected_calibration_error(p, correct, n_bins=5) == pytest.approx(3 / 5 * high + 2 / 5 * low)
    bins = reliability(p, correct, n_bins=5)
    assert bins["n"].tolist() == [0, 2, 0, 0, 3]
    assert bins["probability"][1] == pytest.approx(0.35)
    assert math.isnan(bins["accuracy"][0])


def test_calibration_error_of_extremes() -> None:
    ones, zeros = np.ones(10), np.zeros(10)
    assert expected_calibration_error(ones, ones) == 0
    assert expected_calibration_error(ones, zeros) == 1
    assert expected_calibration_error(zeros, ones) == 1
    assert expected_calibration_error(zeros, zeros) == 0
    assert math.isnan(expected_calibration_error([], np.array([], bool)))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 30))
def test_calibration_error_properties(pairs: list[tuple[float, bool]], n_bins: int) -> None:
    p, correct = map(np.array, zip(*pairs, strict=True))
    error = expected_calibration_error(p, correct, n_bins)
    # One bin sees only the means; more bins see at least as much.
    assert abs(correct.mean() - p.mean()) - 1e-9 <= error <= 1
    assert reliability(p, correct, n_bins)["n"].sum() == len(p)


def test_calibration_error_by_chance() -> None:
    # One question is off by 1 - p with probability p, by p otherwise.
    assert chance_calibration_error([0.3]) == pytest.approx(2 * 0.3 * 0.7, abs=0.03)
    # Two in one bin: both right, one right, none right.
    both, one, none = 0.36 * 0.4, 0.48 * 0.1, 0.16 * 0.6
    assert chance_calibration_error([0.6, 0.6]) == pytest.approx(both + one + none, abs=0.02)
    assert chance_calibration_error([0.0, 1.0, 1.0]) == 0
    assert math.isnan(chance_calibration_error([]))


def test_a_calibrated_desk_shows_the_error_of_chance() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(4, 1, 300)
    shown = [expected_calibration_error(p, rng.random(300) < p) for _ in range(100)]
    assert chance_calibration_error(p) == pytest.approx(np.mean(shown), rel=0.05)
    assert expected_calibration_error(p, rng.random(300) < p**2) > 1.5 * chance_calibration_error(p)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.integers(1, 30))
def test_calibration_error_by_chance_is_the_same_each_time(p: list[float], n_bins: int) -> None:
    error = chance_calibration_error(p, n_bins)
    assert 0 <= error <= 1
    assert chance_calibration_error(np.array(p, np.float64), n_bins) == error


def test_calibration_error_by_chance_refuses() -> None:
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], row 0 is not"):
        chance_calibration_error([2.0])
    with pytest.raises(ValueError, match="n_bins must be 1 or more, got 0"):
        chance_calibration_error([0.5], 0)


def test_reliability_puts_edges_below() -> None:
    assert reliability([0, 0.5, 1], [1, 1, 1], n_bins=2)["n"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("p", "correct", "message"),
    [
        ([0.5], [True, False], r"probability and outcomes must have one shape \(n,\), got \(1,\) and \(2,\)"),
        ([0.5, math.nan], [True, False], r"probability must be in \[0, 1\], row 1 is not"),
        ([1.5], [True], r"probability must be in \[0, 1\], row 0 is not"),
        ([0.5], [0.5], "outcomes must be booleans, or 0 and 1"),
    ],
)
def test_outcomes_are_refused(p: list[float], correct: list[Any], message: str) -> None:
    for metric in (reliability, risk_coverage, expected_calibration_error):
        with pytest.raises(ValueError, match=message):
            metric(p, correct)


def test_reliability_needs_a_bin() -> None:
    with pytest.raises(ValueError, match="n_bins must be 1 or more, got 0"):
        reliability([0.5], [True], 0)


def test_brier_by_hand() -> None:
    assert brier([[1, 0], [0, 1]], [0, 1]) == 0
    assert brier([[1, 0], [0, 1]], [1, 0]) == 2
    assert brier([[0.7, 0.2, 0.1]], [1]) == pytest.approx(0.49 + 0.64 + 0.01)
    assert brier([[0.6, 0.4]], [-1]) == pytest.approx(0.36 + 0.16 + 1)
    assert math.isnan(brier(np.empty((0, 2)), np.empty(0, int)))


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([0.5], [0], r"shapes \(n_questions, n_classes\), \(n_questions,\), got \(1,\), \(1,\)"),
        ([[0.5, 0.5]], [0, 1], r"got \(1, 2\), \(2,\)"),
        ([[0.5, math.nan]], [0], r"probability must be in \[0, 1\]"),
        ([[0.5, 0.5]], [2], r"y must hold integers in \[-1, 1\]"),
        ([[0.5, 0.5]], [-2], r"y must hold integers in \[-1, 1\]"),
        ([[0.5, 0.5]], [0.0], r"y must hold integers in \[-1, 1\]"),
    ],
)
def test_brier_refuses(p: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        brier(p, y)


def test_risk_coverage_takes_ties_together() -> None:
    curve = risk_coverage([0.5, 0.9, 0.5, 0.9], [True, True, False, True])
    found = {name: values.tolist() for name, values in curve.items()}
    assert found == {"threshold": [0.9, 0.5], "coverage": [0.5, 1], "risk": [0, 0.25]}
    assert not len(risk_coverage([], np.array([], bool))["risk"])


def test_recall_at_precision_by_hand() -> None:
    score, positive = [5.0, 4.0, 3.0, 3.0, 1.0], [1, 0, 1, 1, 0]
    # Precision at the thresholds 5, 4, 3, 1: 1, 1/2, 3/4, 3/5; recall: 1/3, 1/3, 1, 1.
    assert recall_at_precision(score, positive, 0.75) == 1
    assert recall_at_precision(score, positive, 0.76) == pytest.approx(1 / 3)
    assert recall_at_precision([2, 1], [0, 1], 0.9) == 0
    assert math.isnan(recall_at_precision([2, 1], [0, 0], 0.9))


def test_recall_at_k_by_hand() -> None:
    rankings = [["a", "b", "c"], ["b", "c", "a"], ["x"], []]
    relevant: list[set[str]] = [{"a", "c"}, {"c"}, set(), {"z"}]
    assert recall_at_k(rankings, relevant, 1) == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert recall_at_k(rankings, relevant, 3) == pytest.approx((1 + 1 + 0) / 3)
    assert math.isnan(recall_at_k([["a"]], [set()], 1))


def test_share_for_people() -> None:
    assert (share_text(9, 10), share_text(0, 0)) == ("90.0 [59.6, 98.2]", "-")
