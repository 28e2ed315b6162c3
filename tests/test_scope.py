"""Tests of `triage.scope`: messages out of scope are told from questions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from triage.scope import LOST_QUESTIONS, ScopeDetector, fit_scope, scope_statistics

GENERATOR = np.random.default_rng(0)
INSIDE = np.column_stack([GENERATOR.normal(2, 1, 500), GENERATOR.uniform(0.6, 1, (500, 3))])
OUTSIDE = np.column_stack([GENERATOR.normal(1, 1, 60), GENERATOR.uniform(0, 0.5, (60, 3))])


def test_statistics_are_the_best_score_and_the_shares():
    statistics = scope_statistics(
        np.array([[1, 5, 2], [0, -1, -2]], np.float32), np.array([[0.1, 0.2, 0.3], [1, 1, 0]])
    )
    assert statistics == pytest.approx(np.array([[5, 0.1, 0.2, 0.3], [0, 1, 1, 0]]))
    assert statistics.dtype == np.float64


@pytest.mark.parametrize("outside", [None, OUTSIDE[:9], OUTSIDE[:0]], ids=["none", "nine", "no_rows"])
def test_without_enough_examples_the_best_score_decides_alone(outside):
    detector = fit_scope(INSIDE, outside)
    assert (detector.learned, detector.weights) == (False, (-1, 0, 0, 0))
    assert detector.threshold == pytest.approx(-np.quantile(INSIDE[:, 0], LOST_QUESTIONS))


@pytest.mark.parametrize("outside", [None, OUTSIDE], ids=["none", "learned"])
def test_three_per_cent_of_the_questions_are_lost(outside):
    detector = fit_scope(INSIDE, outside)
    assert (detector.score(INSIDE) >= detector.threshold).mean() == pytest.approx(LOST_QUESTIONS, abs=0.003)


def test_examples_teach_more_than_the_score():
    plain, learned = fit_scope(INSIDE), fit_scope(INSIDE, OUTSIDE)
    assert learned.learned
    fresh = np.column_stack([GENERATOR.normal(1, 1, 200), GENERATOR.uniform(0, 0.5, (200, 3))])
    found = [(detector.score(fresh) >= detector.threshold).mean() for detector in (plain, learned)]
    assert found[1] > 0.95 > found[0]


def test_statistic_that_never_varies_is_no_obstacle():
    inside, outside = INSIDE.copy(), OUTSIDE.copy()
    inside[:, 3] = outside[:, 3] = 0
    detector = fit_scope(inside, outside)
    assert np.isfinite(detector.score(inside)).all()
    assert (detector.score(outside) >= detector.threshold).mean() > 0.9


def test_order_of_the_rows_does_not_matter():
    plain, turned = fit_scope(INSIDE, OUTSIDE), fit_scope(INSIDE[::-1], OUTSIDE[::-1])
    assert turned.weights == pytest.approx(plain.weights, rel=1e-3)
    assert turned.threshold == pytest.approx(plain.threshold, rel=1e-3)


@pytest.mark.parametrize("outside", [None, OUTSIDE])
def test_state_goes_through_json_and_back(outside):
    detector = fit_scope(INSIDE, outside)
    assert ScopeDetector.from_state(json.loads(json.dumps(detector.to_state()))) == detector
