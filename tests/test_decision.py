"""Tests of `triage.decision`: hand-worked thresholds and reasons, and the guarantee, measured."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binom, binomtest

from triage.decision import (
    DEFAULT_THRESHOLD,
    REASON_OF_CODE,
    Threshold,
    fit_threshold,
    precision_lower_bound,
    review_reasons,
    route_of,
)
from triage.records import REASONS

NONE = np.zeros(1, bool)


def threshold(**changes: object) -> Threshold:
    values = {"promise": 0.95, "confidence": 0.95, "value": 0.8349, "n_held_out": 145, "n_assigned": 103}
    values |= {"n_right": 102, "coverage": 103 / 145, "lower_bound": 0.9547, **changes}
    return Threshold(**values)  # type: ignore[arg-type]


def reasons(probability: object, **options: object) -> list[str | None]:
    n_questions = len(np.asarray(probability))
    flags = {"empty": np.zeros(n_questions, bool), "out_of_scope": np.zeros(n_questions, bool)}
    return [REASON_OF_CODE[code] for code in review_reasons(probability, **{**flags, **options})]  # type: ignore[arg-type]


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_right", "n_assigned"), [(0, 5), (1, 1), (59, 59), (97, 100), (960, 1000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_lower_bound_is_clopper_pearson(n_right: int, n_assigned: int, confidence: float) -> None:
    expected = binomtest(n_right, n_assigned, alternative="greater").proportion_ci(confidence, "exact").low
    assert precision_lower_bound(n_right, n_assigned, confidence) == pytest.approx(expected, abs=1e-12)


def test_lower_bound_of_nothing_is_zero() -> None:
    assert precision_lower_bound(0, 0) == 0


def test_lower_bound_by_hand() -> None:
    # All right: the bound solves bound ** n = 1 - confidence.
    assert precision_lower_bound(10, 10, 0.95) == pytest.approx(0.05 ** (1 / 10))


def test_lower_bound_refuses_contradictions() -> None:
    with pytest.raises(ValueError, match="0 <= n_right <= n_assigned, got 6 and 5"):
        precision_lower_bound(6, 5)
    with pytest.raises(ValueError, match=re.escape("confidence must be in (0, 1), got 1")):
        precision_lower_bound(5, 5, 1)


@pytest.mark.parametrize("confidence", [0.75, 0.9, 0.95, 0.99])
def test_rejections_satisfy_the_condition_of_hoeffding(confidence: float) -> None:
    n = np.arange(1, 1500)
    for promise in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99):
        needed = binom.isf(1 - confidence, n, promise) + 1
        assert (needed >= n * promise + 1)[needed <= n].all()


# --- fit_threshold ----------------------------------------------------------------------------------------------------


def test_promise_needs_64_right_answers() -> None:
    # Of 100 more 5 may be wrong. With none wrong of 64, that 6 of all 164 lie among those 100 has a chance below 0.05.
    assert math.comb(100, 6) / math.comb(164, 6) < 0.05 < math.comb(100, 6) / math.comb(163, 6)
    p = np.linspace(0.99, 0.5, 64)
    fitted = fit_threshold(p, np.ones(64), promise=0.95)
    assert (fitted.value, fitted.n_assigned, fitted.n_right, fitted.coverage) == (0.5, 64, 64, 1)
    assert fitted.lower_bound == pytest.approx(0.05 ** (1 / 64))
    one_less = fit_threshold(p[:63], np.ones(63), promise=0.95)
    assert (one_less.value, one_less.n_assigned, one_less.lower_bound) == (None, 0, 0)


@pytest.mark.parametrize(
    ("n", "promise"), [(60, 0.5), (60, 0.8), (300, 0.8), (300, 0.95), (1500, 0.5), (1500, 0.95), (1500, 0.99)]
)
def test_promise_asks_for_more_than_the_lower_bound(n: int, promise: float) -> None:
    fitted = (fit_threshold(np.full(n, 0.9), np.arange(n) < n_right, promise=promise) for n_right in range(n + 1))
    least = next(one for one in fitted if one.value is not None)
    assert least.lower_bound > promise


def test_threshold_stops_before_the_wrong_answers() -> None:
    p = np.linspace(1, 0.5, 200)
    correct = np.arange(200) < 100
    fitted = fit_threshold(p, correct, promise=0.9)
    assert fitted.n_right == 100
    assert fitted.lower_bound >= 0.9
    # 104 of the surest hold 4 wrong. 106 hold 6, and of 100 more 10 may be: that 11 of all 17 are has the chance 0.13.
    assert 100 < fitted.n_assigned < 106


def test_threshold_of_all_wrong_answers_is_none() -> None:
    fitted = fit_threshold(np.linspace(1, 0.5, 500), np.zeros(500), promise=0.5)
    assert (fitted.value, fitted.n_held_out) == (None, 500)


def test_ties_are_assigned_together() -> None:
    p = np.repeat([0.9, 0.8, 0.7], [70, 30, 50])
    correct = np.repeat([True, True, False], [70, 30, 50])
    assert fit_threshold(p, correct, promise=0.95).value == 0.8
    assert fit_threshold(p, correct, promise=0.95).n_assigned == 100
    assert fit_threshold(np.full(90, 0.7), np.ones(90), promise=0.95).n_assigned == 90
    assert fit_threshold(np.full(90, 0.7), np.arange(90) > 0, promise=0.95).value is None


def test_no_promise_measures_the_default() -> None:
    fitted = fit_threshold([0.9, 0.5, 0.4, 0.6], [True, True, True, False], promise=None)
    assert fitted == Threshold(None, 0.95, DEFAULT_THRESHOLD, 4, 3, 2, 0.75, precision_lower_bound(2, 3))


@pytest.mark.parametrize("promise", [None, 0.9])
def test_no_held_out_questions_promise_nothing(promise: float | None) -> None:
    fitted = fit_threshold([], np.array([], bool), promise=promise)
    assert (fitted.n_held_out, fitted.coverage, fitted.lower_bound) == (0, 0, 0)
    assert fitted.value == (DEFAULT_THRESHOLD if promise is None else None)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 400),
    st.sampled_from([0.6, 0.9, 0.95]),
    st.sampled_from([1, 2, 16]),
)
def test_threshold_agrees_with_its_counts(seed: int, n: int, promise: float, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.beta(6, 1, n).round(decimals)
    correct = rng.random(n) < p
    fitted = fit_threshold(p, correct, promise=promise)
    shuffled = rng.permutation(n)
    assert fit_threshold(p[shuffled], correct[shuffled], promise=promise) == fitted
    assert Threshold.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted
    if fitted.value is not None:
        assigned = p >= fitted.value
        assert (assigned.sum(), correct[assigned].sum()) == (fitted.n_assigned, fitted.n_right)
        assert fitted.lower_bound >= promise


@pytest.mark.parametrize(
    ("p", "correct", "message"),
    [
        ([0.5, 0.6], [True], r"one shape \(n,\), got \(2,\) and \(1,\)"),
        ([[0.5]], [[True]], r"one shape \(n,\), got \(1, 1\)"),
        ([0.5, 1.1], [1, 1], r"probability must be in \[0, 1\], row 1 is not"),
        ([float("nan"), 1], [1, 1], r"probability must be in \[0, 1\], row 0 is not"),
        ([0.5], [2], "outcomes must be booleans, or 0 and 1"),
        ([0.5], [float("nan")], "outcomes must be booleans, or 0 and 1"),
    ],
)
def test_fit_threshold_refuses_bad_arrays(p: object, correct: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_threshold(p, correct, promise=0.9)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0, 1, -0.1, 95, float("nan")])
def test_fit_threshold_refuses_bad_shares(share: float) -> None:
    with pytest.raises(ValueError, match=r"promise must be in \(0, 1\), got"):
        fit_threshold([0.5], [True], promise=share)
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got"):
        fit_threshold([0.5], [True], promise=0.9, confidence=share)


# --- the guarantee ----------------------------------------------------------------------------------------------------


def world(name: str, promise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, highest first, with the true chance that each is right."""
    z = np.clip(rng.normal(3.5 if name == "calibrated" else 2.5, 2, 200_000), -3, 9)
    p = -np.sort(-1 / (1 + np.exp(-z)))
    z = np.log(p / (1 - p))
    chance = {
        "calibrated": p,
        "overconfident": 1 / (1 + np.exp(-0.65 * z)),
        "hopeless": np.full(len(p), promise - 1e-6),  # every threshold breaks the promise, by next to nothing
        "cliff": np.where(z > 3, min(1, promise + 0.02), promise - 0.1),
        "reversed": np.where(z > 5, promise - 0.02, np.where(z > 1, 1, 0.5)),  # the surest are not the best
    }[name]
    return p, chance


def simulate(name: str, n: int, promise: float, n_draws: int) -> tuple[float, float, float]:
    """Return how often the promised share is not the true one, and not that of more questions, and what is assigned."""
    rng = np.random.default_rng([n, int(100 * promise)])
    p, chance = world(name, promise, rng)
    precision = np.cumsum(chance) / np.arange(1, len(p) + 1)
    n_broken, n_broken_again, n_assigned = 0, 0, 0
    for _ in range(n_draws):
        rows, again = rng.integers(0, len(p), n), rng.integers(0, len(p), max(n // 5, 100))
        right, right_again = (rng.random(len(drawn)) < chance[drawn] for drawn in (rows, again))
        fitted = fit_threshold(p[rows], right, promise=promise)
        if fitted.value is not None:
            last = int(np.searchsorted(-p, -fitted.value, side="right")) - 1
            n_broken += bool(precision[last] < promise)
            assigned = p[again] >= fitted.value
            n_broken_again += bool(assigned.any() and right_again[assigned].mean() < promise)
            n_assigned += last + 1
    return n_broken / n_draws, n_broken_again / n_draws, n_assigned / n_draws / len(p)


@pytest.mark.parametrize("name", ["calibrated", "overconfident", "hopeless", "cliff", "reversed"])
@pytest.mark.parametrize(("n", "promise"), [(145, 0.9), (500, 0.95), (2000, 0.99)])
def test_promise_is_broken_at_most_as_often_as_said(name: str, n: int, promise: float) -> None:
    n_draws = 250
    broken, broken_again, _ = simulate(name, n, promise, n_draws)
    assert broken <= binom.isf(1e-4, n_draws, 0.05) / n_draws
    # A little more often, as a fifth of what is assigned seldom allows a whole number of wrong labels.
    assert broken_again <= binom.isf(1e-4, n_draws, 0.07) / n_draws


@pytest.mark.slow
@pytest.mark.parametrize("name", ["calibrated", "overconfident", "hopeless", "cliff", "reversed"])
@pytest.mark.parametrize("n", [145, 500, 2000])
@pytest.mark.parametrize("promise", [0.9, 0.95, 0.99])
def test_promise_is_broken_at_most_as_often_as_said_in_many_draws(name: str, n: int, promise: float) -> None:
    broken, broken_again, _ = simulate(name, n, promise, 1000)
    assert broken <= binom.isf(1e-4, 1000, 0.05) / 1000
    assert broken_again <= binom.isf(1e-4, 1000, 0.07) / 1000


def test_promise_leaves_most_questions_assigned() -> None:
    # 88 % could be assigned if the true chances were known.
    *_, coverage = simulate("calibrated", 500, 0.95, 100)
    assert coverage > 0.55


# --- Threshold --------------------------------------------------------------------------------------------------------


def test_threshold_words_itself() -> None:
    assert str(threshold()) == (
        "promise 0.95: kept at threshold 0.83; 71 % of 145 held-out questions assigned, 102 of 103 right; "
        "at least 95 % right with 95 % confidence"
    )
    broken = threshold(promise=0.99, value=None, n_assigned=0, n_right=0, coverage=0.0, lower_bound=0.0)
    assert str(broken) == "promise 0.99: cannot be kept on 145 held-out questions; everything goes to review"
    assert str(threshold(promise=None, value=0.5)) == (
        "no promise: threshold 0.50; 71 % of 145 held-out questions assigned, 102 of 103 right; "
        "at least 95.4 % right with 95 % confidence"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"promise": 1.0}, r"promise must be in \(0, 1\), got 1.0"),
        ({"confidence": 0.0}, r"confidence must be in \(0, 1\), got 0.0"),
        ({"value": 1.2}, r"value of a threshold must be in \[0, 1\], got 1.2"),
        ({"value": float("nan")}, r"value of a threshold must be in \[0, 1\], got nan"),
        ({"coverage": -1.0}, r"coverage of a threshold must be in \[0, 1\]"),
        ({"lower_bound": 2.0}, r"lower_bound of a threshold must be in \[0, 1\]"),
        ({"n_right": 104}, "n_right <= n_assigned <= n_held_out, got 104, 103, 145"),
        ({"n_held_out": 102}, "n_right <= n_assigned <= n_held_out, got 102, 103, 102"),
    ],
)
def test_threshold_refuses_contradictions(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        threshold(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": 1}, "a threshold must have the values .* got .*'extra'"),
        ({"n_right": 3.5}, "n_right of a threshold must be an integer"),
        ({"n_right": True}, "n_right of a threshold must be an integer"),
        ({"value": "0.5"}, "value of a threshold must be a number"),
        ({"coverage": None}, "coverage of a threshold must be a number"),
    ],
)
def test_from_dict_refuses_what_to_dict_never_writes(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Threshold.from_dict({**threshold().to_dict(), **changes})
    with pytest.raises(ValueError, match="a threshold must have the values"):
        Threshold.from_dict({"promise": 0.9})


# --- review_reasons ---------------------------------------------------------------------------------------------------


def test_reasons_by_hand() -> None:
    p = [
        [0.80, 0.15, 0.05],  # at the threshold
        [0.79, 0.16, 0.05],  # together 0.95, but the second has less than a third
        [0.60, 0.20, 0.20],  # together 0.8, and the second exactly a third
        [0.50, 0.29, 0.21],  # together 0.79
    ]
    assert reasons(p, threshold=0.8) == [None, "low_confidence", "ambiguous", "low_confidence"]
    assert reasons(p, threshold=None) == ["low_confidence", "low_confidence", "ambiguous", "ambiguous"]
    assert reasons(p, threshold=0) == [None] * 4


def test_reasons_have_an_order_of_precedence() -> None:
    p = np.tile([0.5, 0.5], (5, 1))
    flags = {
        "empty": [1, 0, 0, 0, 0],
        "out_of_scope": [1, 1, 0, 0, 0],
        "conflict": [1, 1, 1, 0, 0],
    }
    assert reasons(p, threshold=0.9, **flags) == ["empty", "out_of_scope", "conflict", "ambiguous", "ambiguous"]
    assert reasons(p, threshold=0.1, **flags) == ["empty", "out_of_scope", "conflict", None, None]


def test_reasons_of_one_class_and_of_no_question() -> None:
    assert reasons([[1.0], [0.2]], threshold=0.5) == [None, "low_confidence"]
    assert reasons(np.empty((0, 3)), threshold=0.5) == []
    assert reasons(np.empty((0, 3)), threshold=None) == []


def test_codes_name_the_reasons() -> None:
    codes = review_reasons([[1.0]], threshold=0.5, empty=NONE, out_of_scope=NONE)
    assert codes.dtype == np.int8
    assert REASON_OF_CODE == (None, *REASONS)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(0, 1, width=32)),
    st.one_of(st.none(), st.floats(0, 1)),
    st.randoms(use_true_random=False),
)
def test_reasons_do_not_depend_on_the_batch(p: np.ndarray, value: float | None, random: object) -> None:
    together = reasons(p, threshold=value)
    assert together == [reasons(row[None], threshold=value)[0] for row in p]
    for row, reason in zip(p, together, strict=True):
        assert (reason is None) == (value is not None and row.max() >= value)


@pytest.mark.parametrize(
    ("p", "options", "message"),
    [
        ([0.5], {}, r"shape \(n_questions, n_classes\) with a class or more, got \(1,\)"),
        (np.empty((2, 0)), {}, r"with a class or more, got \(2, 0\)"),
        ([[0.5, float("nan")]], {}, "probability must not be NaN, row 0 is"),
        ([[0.5]], {"threshold": 1.5}, r"threshold must be in \[0, 1\] or None, got 1.5"),
        ([[0.5]], {"threshold": float("nan")}, r"threshold must be in \[0, 1\] or None, got nan"),
        ([[0.5]], {"empty": [False, True]}, r"empty must have shape \(1,\) like the rows of probability, got \(2,\)"),
        ([[0.5]], {"out_of_scope": False}, r"out_of_scope must have shape \(1,\)"),
        ([[0.5]], {"conflict": [[True]]}, r"conflict must have shape \(1,\)"),
    ],
)
def test_review_reasons_refuses(p: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        review_reasons(p, **{"threshold": 0.5, "empty": NONE, "out_of_scope": NONE, **options})  # type: ignore[arg-type]


# --- route_of ---------------------------------------------------------------------------------------------------------


def test_route_by_hand() -> None:
    codes = {"topic": [0, 0, 1, 0], "jurisdiction": [0, 0, 0, 2]}
    labels = {"jurisdiction": np.array(["local", "other_agency", "other_agency", "ministry"])}
    assert route_of(codes, labels).tolist() == ["answer", "forward", "review", "review"]
    assert route_of(codes, labels, deciding=["jurisdiction"]).tolist() == ["answer", "forward", "forward", "review"]


def test_route_of_a_desk_without_jurisdiction() -> None:
    assert route_of({"label": np.array([0, 3], np.int8)}, {"label": [7, 8]}).tolist() == ["answer", "review"]


def test_route_forwards_by_any_target_and_label() -> None:
    routes = route_of({"owner": [0, 0, 0]}, {"owner": [1, None, 2]}, forward_target="owner", forward_label=2)
    assert routes.tolist() == ["answer", "answer", "forward"]


def test_route_of_no_question() -> None:
    assert route_of({"label": []}, {}).tolist() == []


def test_route_refuses() -> None:
    with pytest.raises(ValueError, match=r"deciding must name one or more of \['label'\], got \['topic'\]"):
        route_of({"label": [0]}, {}, deciding=["topic"])
    with pytest.raises(ValueError, match=r"deciding must name one or more of \[\], got \[\]"):
        route_of({}, {})
    with pytest.raises(ValueError, match=r"one value a question, got shapes \{'a': \(1,\), 'b': \(2,\)\}"):
        route_of({"a": [0], "b": [0, 1]}, {})
    with pytest.raises(ValueError, match="labels of jurisdiction"):
        route_of({"a": [0]}, {"jurisdiction": ["local", "local"]})


REVIEWS = {reason: code for code, reason in enumerate(REASON_OF_CODE)}


@pytest.mark.parametrize(
    ("reason", "route"),
    [
        (None, "reuse"),
        ("low_confidence", "reuse"),
        ("ambiguous", "reuse"),
        ("out_of_scope", "review"),
        ("empty", "review"),
        ("conflict", "review"),
    ],
)
def test_answer_that_surely_fits_is_reused_unless_the_question_is_none_or_in_conflict(
    reason: str | None, route: str
) -> None:
    for target in ("topic", "jurisdiction"):
        codes = {"topic": [0], "jurisdiction": [0], target: [REVIEWS[reason]]}
        assert route_of(codes, {"jurisdiction": ["local"]}, reusable=[True]).tolist() == [route]
        other = route_of(codes, {"jurisdiction": ["local"]}, reusable=[False])
        assert other.tolist() == ["answer" if reason is None else "review"]


def test_route_of_reusable_by_hand() -> None:
    codes = {"topic": [0, 0, 1, 3, 0], "jurisdiction": [0, 0, 0, 0, 0]}
    labels = {"jurisdiction": ["other_agency", "other_agency", "local", "local", "local"]}
    reusable = np.array([True, False, True, True, False])
    assert route_of(codes, labels, reusable=reusable).tolist() == ["reuse", "forward", "reuse", "review", "answer"]
    assert route_of(codes, labels, reusable=np.zeros(5, bool)).tolist() == route_of(codes, labels).tolist()


def test_targets_that_do_not_decide_do_not_keep_from_reuse() -> None:
    codes = {"topic": [REVIEWS["conflict"]], "jurisdiction": [0]}
    assert route_of(codes, {}, deciding=["jurisdiction"], reusable=[True]).tolist() == ["reuse"]
    assert route_of(codes, {}, deciding=["topic"], reusable=[True]).tolist() == ["review"]


def test_one_reusable_for_two_questions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one value a question, got shapes \{'a': \(2,\), 'reusable': \(1,\)\}"):
        route_of({"a": [0, 0]}, {}, reusable=[True])
