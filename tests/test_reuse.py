"""Tests of `triage.reuse`: what signals make of an answer, and what is learnt from questions whose answer is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from triage.reuse import LARGEST_NONE, LARGEST_WEIGHT, MOST_POSSIBLE, SIGNALS, ReuseModel, fit_reuse

EDGES = [0.0, 1.0, 0.5, 1e-30, float(np.nextafter(np.float32(1), np.float32(0)))]
NUMBERS = st.one_of(st.sampled_from(EDGES), st.floats(0, 1, width=32))
few = settings(max_examples=40)


@st.composite
def asked(draw, names=None):
    """Draw a model with a score of none, and the signals it is to judge."""
    names = names or draw(st.lists(st.sampled_from([*SIGNALS]), min_size=1, unique=True))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 6)))
    signals = {name: draw(hnp.arrays(np.float32, shape, elements=NUMBERS)) for name in names}
    weights = {name: draw(st.floats(0, LARGEST_WEIGHT)) for name in SIGNALS}
    return ReuseModel(weights, draw(st.floats(-LARGEST_NONE, LARGEST_NONE))), signals


def taken(signals, rows=slice(None), columns=slice(None)):
    return {name: signal[rows][:, columns] for name, signal in signals.items()}


# --- what a model says ------------------------------------------------------------------------------


@few
@given(asked())
def test_probabilities_and_similarities_are_shares_and_never_nan(drawn):
    model, signals = drawn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probability, similarity = model.probability(signals), model.similarity(signals)
    for numbers in (probability, similarity):
        assert numbers.shape == next(iter(signals.values())).shape
        assert numbers.dtype == np.float32
        assert ((numbers >= 0) & (numbers <= 1)).all()
    assert (probability.sum(1) <= 1 + 1e-5).all()


@few
@given(asked())
def test_similarity_and_probability_put_answers_in_one_order(drawn):
    model, signals = drawn
    for near, sure in zip(model.similarity(signals), model.probability(signals), strict=True):
        order = np.argsort(-near, kind="stable")
        # As equal counts what rounding alone could part.
        assert (np.diff(sure[order].astype(np.float64)) <= 1e-4 * sure[order][:-1]).all()


@few
@given(asked(), st.randoms(use_true_random=False))
def test_order_of_questions_and_answers_does_not_matter(drawn, random):
    model, signals = drawn
    n_rows, n_columns = next(iter(signals.values())).shape
    rows, columns = random.sample(range(n_rows), n_rows), random.sample(range(n_columns), n_columns)
    names = random.sample([*signals], len(signals))
    moved = {name: taken(signals, rows, columns)[name] for name in names}
    assert model.similarity(moved) == pytest.approx(model.similarity(signals)[rows][:, columns], abs=1e-5)
    assert model.probability(moved) == pytest.approx(model.probability(signals)[rows][:, columns], abs=1e-4)


@few
@given(asked())
def test_question_is_judged_alone(drawn):
    model, signals = drawn
    together = model.probability(signals)
    alone = [model.probability(taken(signals, [row])) for row in range(len(together))]
    assert np.vstack(alone) == pytest.approx(together, abs=1e-6)


@few
@given(asked(names=["question"]))
def test_one_signal_ranks_as_it_is(drawn):
    model, signals = drawn
    model = ReuseModel({**model.weights, "question": 1 + model.weights["question"]}, model.none)
    signal, floor = signals["question"].astype(np.float64), SIGNALS["question"]
    assert model.similarity(signals) == pytest.approx((signal + floor) / (1 + floor), abs=1e-5)
    for own, near in zip(signal, model.similarity(signals), strict=True):
        assert (np.diff(near[np.argsort(own)]) >= 0).all()


@pytest.mark.parametrize("name", SIGNALS)
def test_more_of_any_signal_is_better(name):
    model = ReuseModel(dict.fromkeys(SIGNALS, 1.0), none=-5.0)
    signals = {one: np.array([[0.5, 0.5]], np.float32) for one in SIGNALS}
    signals[name] = np.array([[0.6, 0.5]], np.float32)
    for numbers in (model.similarity(signals), model.probability(signals)):
        assert numbers[0, 0] > numbers[0, 1]


def test_numbers_by_hand():
    model = ReuseModel({"question": 2.0, "answer": 1.0}, none=np.log(0.1))
    signals = {"question": np.array([[1.0, 0.49]], np.float32), "answer": np.array([[1.0, 0.0]], np.float32)}
    low = (0.51 / 1.02) ** 2 * (0.1 / 1.1)
    assert model.similarity(signals) == pytest.approx(np.array([[1, low ** (1 / 3)]]), rel=1e-5)
    assert model.probability(signals) == pytest.approx(np.array([[1, low]]) / (1 + low + 0.1), rel=1e-5)


def test_short_answer_that_shares_no_word_is_ruled_out_by_that_least_of_all():
    assert SIGNALS == {
        "question": 0.02,
        "answer": 0.1,
        "matter": 1e-4,
        "topic": 1e-3,
        "meaning": 0.1,
        "answer_meaning": 0.1,
    }
    nothing = {name: float(ReuseModel({name: 1.0}).similarity({name: np.zeros((1, 1))})[0, 0]) for name in SIGNALS}
    assert nothing == pytest.approx({name: floor / (1 + floor) for name, floor in SIGNALS.items()}, rel=1e-5)
    assert nothing["answer"] == max(nothing.values())
    assert nothing["question"] < nothing["answer"]


def test_another_answer_that_fits_as_well_halves_the_probability():
    model = ReuseModel({"question": 2.0}, none=-LARGEST_NONE)
    assert model.probability({"question": np.ones((1, 2), np.float32)}).tolist() == [[0.5, 0.5]]


def test_no_answers_at_all_leave_none_of_them():
    model, nothing = ReuseModel({"question": 2.0}, none=-3.0), {"question": np.zeros((2, 0), np.float32)}
    assert model.probability(nothing).shape == model.similarity(nothing).shape == (2, 0)


def test_weights_of_nothing_make_all_equal():
    model = ReuseModel(dict.fromkeys(SIGNALS, 0.0), none=0.0)
    signals = {"question": np.array([[0.0, 1.0]], np.float32)}
    assert model.similarity(signals).tolist() == [[1, 1]]
    assert model.probability(signals) == pytest.approx(1 / 3)


def test_desk_that_learnt_nothing_ranks_and_knows_no_probability():
    model, signals = ReuseModel.unfitted(), {"question": np.array([[0.9, 0.1]], np.float32)}
    assert set(model.weights) == set(SIGNALS)
    assert model.probability(signals) is None
    assert model.similarity(signals)[0].argmax() == 0
    assert ReuseModel.unfitted().weights is not model.weights


def test_judging_leaves_the_signals_as_they_are():
    signals = {name: np.array([[0.3, 0.7]], np.float32) for name in SIGNALS}
    before = {name: signal.copy() for name, signal in signals.items()}
    model = ReuseModel(dict.fromkeys(SIGNALS, 1.0), none=0.0)
    model.similarity(signals), model.probability(signals)
    assert all(np.array_equal(signals[name], before[name]) for name in SIGNALS)


def test_the_likelier_no_matter_has_an_answer_the_likelier_none_fits_by_hand():
    model = ReuseModel({"question": 1.0}, none=np.log(0.5), unanswered=2.0)
    signals, unanswered = {"question": np.ones((3, 1), np.float32)}, np.array([0.0, 0.5, 1.0], np.float32)
    odds = 0.5 * ((unanswered + 0.02) / 1.02) ** 2
    assert model.probability(signals, unanswered)[:, 0] == pytest.approx(1 / (1 + odds), rel=1e-5)
    assert model.probability(signals)[:, 0] == pytest.approx(1 / 1.5)  # as with 1


@few
@given(asked(), st.floats(0, LARGEST_WEIGHT), st.data())
def test_whatever_is_said_of_matters_without_an_answer_probabilities_are_shares(drawn, weight, data):
    plain, signals = drawn
    n_questions = len(next(iter(signals.values())))
    unanswered = data.draw(hnp.arrays(np.float32, n_questions, elements=NUMBERS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ReuseModel(plain.weights, plain.none, weight)
        probability, sure = model.probability(signals, unanswered), model.probability(signals, np.zeros(n_questions))
    assert probability.dtype == np.float32
    assert (probability.sum(1) <= 1 + 1e-5).all()
    assert (probability <= sure * (1 + 1e-4) + 1e-6).all()
    assert model.similarity(signals) == pytest.approx(plain.similarity(signals))


# --- what is learnt ---------------------------------------------------------------------------------


def drawn_questions(n_questions=300, n_answers=20, seed=0, **noise):
    """Return signals of which only those named tell the right answer, which is missing for a third of the questions."""
    rng = np.random.default_rng(seed)
    right = np.where(rng.random(n_questions) < 1 / 3, -1, rng.integers(0, n_answers, n_questions))
    signals = {name: rng.uniform(0, 0.4, (n_questions, n_answers)).astype(np.float32) for name in SIGNALS}
    fits = np.flatnonzero(right >= 0)
    for name in noise:
        signals[name][fits, right[fits]] += np.float32(noise[name])
    return signals, right, np.arange(n_questions) // 3


def drawn_from(model, n_questions, n_answers=8, names=tuple(SIGNALS)):
    """Return signals, and which answer fits drawn by a model's own probabilities."""
    rng = np.random.default_rng(0)
    signals = {name: rng.random((n_questions, n_answers)).astype(np.float32) for name in names}
    probability = np.hstack((model.probability(signals), np.zeros((n_questions, 1))))
    probability[:, -1] = 1 - probability.sum(1)
    right = (probability.cumsum(1) > rng.random((n_questions, 1))).argmax(1)
    return signals, np.where(right == n_answers, -1, right), np.arange(n_questions) // 2


def partly_told(right, n_answers, share, seed=0):
    """Return what is known once, of a share of the questions, an answer drawn blindly is tried: it fits, or not."""
    rng = np.random.default_rng(seed)
    tried = rng.integers(0, n_answers, len(right))
    missed = (rng.random(len(right)) < share) & (tried != right)
    return np.where(missed, -1, right), np.where(missed, tried, -1)


def objective(signals, right, ruled_out, model):
    """Return what is to be least, by its definition, in float64: likelihood, and belief in what was before.

    Of the weights before the proportions are believed in most: what counts is how far the weights are from the nearest
    multiple of them, and a little how far this multiple is from them.
    """
    names = [*signals]
    logarithms = [np.log((signals[name].astype(float) + SIGNALS[name]) / (1 + SIGNALS[name])) for name in names]
    weights, before = (np.array([of.weights[name] for name in names]) for of in (model, ReuseModel.unfitted()))
    scores = np.einsum("i,ijk->jk", weights, logarithms)
    odds = np.exp(np.hstack((scores, np.full((len(right), 1), model.none))))
    surprise = 0.0
    for row, fits, misses in zip(odds, right, ruled_out, strict=True):
        possible = row[fits] if fits >= 0 else row[-1] if misses < 0 else row.sum() - row[misses]
        surprise -= np.log(possible / row.sum())
    size, away = (
        found.item() for found in np.linalg.lstsq(before[:, None], weights)[:2]
    )  # the best multiple, the rest
    return surprise + 60 * away + 5 * (size - 1) ** 2 + 0.5 * (model.none + 7.5) ** 2


@pytest.mark.parametrize("share", [0, 0.5])
def test_weights_move_to_those_that_drew_the_questions_and_are_calibrated(share):
    model = ReuseModel({"question": 3.0, "answer": 0.3, "matter": 0.8, "topic": 0.5}, none=-2.0)
    signals, right, groups = drawn_from(model, 3000 if share == 0 else 5000, names=[*model.weights])
    told, ruled_out = partly_told(right, 8, share)
    assert (ruled_out >= 0).any() == (share > 0)
    found, held_out = fit_reuse(signals, told, groups, ruled_out=ruled_out)
    before = ReuseModel.unfitted().weights
    for name, weight in model.weights.items():
        assert abs(found.weights[name] - weight) < 0.6 * abs(before[name] - weight)
    assert found.none == pytest.approx(model.none, abs=0.3)
    sure, correct = held_out.max(1), held_out.argmax(1) == right
    thirds = np.array_split(np.argsort(sure), 3)
    assert [sure[third].mean() for third in thirds] == pytest.approx(
        [correct[third].mean() for third in thirds], abs=0.07
    )
    assert sure[thirds[2]].mean() - sure[thirds[0]].mean() > 0.1


def test_signal_that_tells_nothing_loses_weight():
    signals, right, groups = drawn_questions(n_questions=2000, question=0.3)
    weights, before = fit_reuse(signals, right, groups)[0].weights, ReuseModel.unfitted().weights
    for name in ("answer", "matter", "topic"):
        assert weights[name] / weights["question"] < before[name] / before["question"] / 2
    assert weights["question"] > before["question"]


@pytest.mark.parametrize("size", [0.5, 2])
def test_how_sharp_the_weights_are_together_is_left_to_the_questions(size):
    before = ReuseModel.unfitted().weights
    truth = ReuseModel({name: size * weight for name, weight in before.items()}, none=-4.0)
    signals, right, groups = drawn_from(truth, 1000)
    model, _ = fit_reuse(signals, right, groups)
    weights, proportions = (np.array([of[name] for name in SIGNALS]) for of in (model.weights, before))
    assert weights.sum() / proportions.sum() == pytest.approx(size, rel=0.15)
    assert weights / weights.sum() == pytest.approx(proportions / proportions.sum(), abs=0.04)


def test_signals_half_as_sharp_are_given_twice_the_weight():
    signals, right, groups = drawn_from(ReuseModel(ReuseModel.unfitted().weights, none=-4.0), 3000)
    blunt = {
        name: (np.sqrt((signal + SIGNALS[name]) / (1 + SIGNALS[name])) * (1 + SIGNALS[name]) - SIGNALS[name])
        for name, signal in signals.items()
    }
    plain, other = (fit_reuse(one, right, groups) for one in (signals, blunt))
    for name, weight in plain[0].weights.items():
        assert other[0].weights[name] == pytest.approx(2 * weight, rel=0.1)
    assert other[0].none == pytest.approx(plain[0].none, abs=0.1)
    assert other[1] == pytest.approx(plain[1], abs=0.05)


@pytest.mark.parametrize("share", [None, 0, 0.6, 1])
def test_optimum_is_no_worse_than_any_weights_near_it(share):
    signals, right, groups = drawn_questions(question=0.4, topic=0.2)
    told, ruled_out = (right, np.full(len(right), -1)) if share is None else partly_told(right, 20, share)
    model, _ = fit_reuse(signals, told, groups, ruled_out=None if share is None else ruled_out)

    def loss(weights, none):
        return objective(signals, told, ruled_out, ReuseModel(dict(zip(SIGNALS, weights, strict=True)), none))

    best = [*model.weights.values()]
    at_best = loss(best, model.none)
    for place in range(len(best)):
        for step in (-0.05, 0.05):
            assert loss([w + step * (place == at) for at, w in enumerate(best)], model.none) > at_best
    for step in (-0.2, 0.2):
        assert loss(best, model.none + step) > at_best


@pytest.mark.parametrize("share", [0, 0.6])
def test_loss_is_the_definition_and_its_gradient_that_of_it(monkeypatch, share):
    signals, right, groups = drawn_questions(n_questions=40, question=0.4)
    right, ruled_out = partly_told(right, 20, share)
    asked_of, losses = [], []

    def checked(loss, start, **options):
        points = [start, start + 0.5, np.array([0.1, 3.0, 0.0, 2.0, 0.5, 0.3, 1.0])]
        for point in points:
            near = scipy.optimize.approx_fprime(point, lambda numbers: loss(numbers)[0], 1e-3)
            asked_of.append((loss(point)[1], near))
            losses.append((point, loss(point)[0]))
        return scipy.optimize.OptimizeResult(x=start)

    monkeypatch.setattr("triage.reuse.scipy.optimize.minimize", checked)
    fit_reuse(signals, right, groups, ruled_out=ruled_out)
    assert len(asked_of) == 3 * 6
    for point, value in losses[-3:]:  # of all questions
        model = ReuseModel(dict(zip(SIGNALS, point[:-1], strict=True)), point[-1])
        assert value == pytest.approx(objective(signals, right, ruled_out, model) / len(right), rel=1e-4)
    for gradient, near in asked_of:
        assert gradient == pytest.approx(near, abs=0.02)


def unanswered_of(right, told=0.8, seed=1):
    """Return what is high for most questions that no answer fits, and low for most others."""
    rng = np.random.default_rng(seed)
    return np.where((right < 0) == (rng.random(len(right)) < told), 0.9, 0.1).astype(np.float32)


def test_what_tells_questions_without_an_answer_is_learnt():
    signals, right, groups = drawn_questions(n_questions=900, question=0.2)
    plain = fit_reuse(signals, right, groups)
    assert plain[0].unanswered == 0
    for told, learnt in ((0.95, True), (0.5, False)):  # the second says nothing
        unanswered = unanswered_of(right, told)
        model, held_out = fit_reuse(signals, right, groups, unanswered=unanswered)
        assert (model.unanswered > 0.8) == learnt
        best = [(of[right < 0].max(1).mean(), of[right >= 0].max(1).mean()) for of in (plain[1], held_out)]
        assert (best[1][0] < 0.7 * best[0][0] and best[1][1] > best[0][1]) == learnt
    again = fit_reuse(signals, right, groups, unanswered=unanswered)
    assert again[0] == model


def test_gradient_is_that_of_the_loss_where_matters_without_an_answer_are_known(monkeypatch):
    signals, right, groups = drawn_questions(n_questions=40, question=0.4)
    asked_of = []

    def checked(loss, start, **options):
        for point in (start, start + 0.5):
            near = scipy.optimize.approx_fprime(point, lambda numbers: loss(numbers)[0], 1e-3)
            asked_of.append((loss(point)[1], near))
        return scipy.optimize.OptimizeResult(x=start)

    monkeypatch.setattr("triage.reuse.scipy.optimize.minimize", checked)
    fit_reuse(signals, right, groups, unanswered=unanswered_of(right))
    assert len(asked_of) == 2 * 6
    for gradient, near in asked_of:
        assert len(gradient) == len(SIGNALS) + 2
        assert gradient == pytest.approx(near, abs=0.02)


def test_questions_of_one_group_are_held_out_together():
    signals, right, groups = drawn_questions(n_questions=60, question=0.4)
    _, held_out = fit_reuse(signals, right, groups)
    for group in (0, 7):
        mine = groups == group
        others = np.where(mine, (right + 2) % 20 - 1, right)  # what its own answers teach must not reach the group
        other = fit_reuse(signals, others, groups)[1]
        assert np.array_equal(other[mine], held_out[mine])
        assert not np.array_equal(other[~mine], held_out[~mine])


def test_two_groups_are_enough_and_held_out_each_by_the_other():
    signals = {"question": np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)}
    model, held_out = fit_reuse(signals, np.array([0, 1]), np.array([0, 1]))
    assert model.none is not None
    assert held_out.argmax(1).tolist() == [0, 1]
    assert set(model.weights) == set(SIGNALS)
    assert {name: model.weights[name] for name in ("answer", "matter", "topic")} == {
        name: ReuseModel.unfitted().weights[name] for name in ("answer", "matter", "topic")
    }


@pytest.mark.parametrize("n_questions", [0, 1, 4])
def test_questions_about_fewer_than_two_answers_are_refused(n_questions):
    signals = {"question": np.full((n_questions, 3), 0.5, np.float32)}
    with pytest.raises(ValueError, match=f"at least two answers, got {min(n_questions, 1)}"):
        fit_reuse(signals, np.zeros(n_questions, int), np.zeros(n_questions, int))


def taught_by(*, right, ruled_out):
    """Return probabilities before and after 40 questions are told of, to all of which two answers look alike.

    The first answer is near by its question, the second by its answer; the third by neither. The 80 questions known
    before are as unlike as they come, so that they say how sharp the weights are.
    """
    asked = {"question": [0.9, 0.3, 0.1], "answer": [0.1, 0.9, 0.1]}
    weights = ReuseModel.unfitted().weights
    known, said, _ = drawn_from(ReuseModel(weights, none=-3.0), 80, n_answers=3, names=[*asked])
    signals = {name: np.vstack((known[name], np.tile(np.float32(asked[name]), (40, 1)))) for name in asked}
    models = (
        fit_reuse(known, said, np.arange(80))[0],
        fit_reuse(
            signals,
            np.append(said, [right] * 40),
            np.arange(120),
            ruled_out=None if ruled_out is None else np.append(np.full(80, -1), [ruled_out] * 40),
        )[0],
    )
    return [model.probability(taken(signals, [-1]))[0] for model in models]


def test_near_miss_speaks_against_the_answer_named_and_against_no_other():
    before, after = taught_by(right=-1, ruled_out=0)
    assert after[0] < 0.8 * before[0]
    assert after[1] > before[1]
    assert after[2] > before[2]
    assert 1 - after.sum() > 1 - before.sum()
    before, after = taught_by(right=-1, ruled_out=1)
    assert after[1] < before[1]
    assert after[0] > before[0]


@pytest.mark.parametrize("ruled_out", [None, -1])
def test_where_none_fits_all_answers_lose(ruled_out):
    before, after = taught_by(right=-1, ruled_out=ruled_out)
    assert (after < 0.6 * before).all()


def test_near_misses_of_the_only_answer_say_that_none_fits():
    signals = {"question": np.full((30, 1), 0.6, np.float32)}
    nothing = np.full(30, -1)
    one, other = (
        fit_reuse(signals, nothing, np.arange(30), ruled_out=ruled_out) for ruled_out in (nothing, nothing + 1)
    )
    assert one[0] == other[0]
    assert np.array_equal(one[1], other[1])


def test_answers_ruled_out_of_questions_whose_right_one_is_known_say_nothing_more():
    signals, right, groups = drawn_questions(n_questions=90, question=0.4)
    plain = fit_reuse(signals, right, groups)
    for ruled_out in (np.full(90, -1), np.where(right >= 0, (right + 1) % 20, -1), np.where(right >= 0, right, -1)):
        model, held_out = fit_reuse(signals, right, groups, ruled_out=ruled_out)
        assert model == plain[0]
        assert np.array_equal(held_out, plain[1])
    near = fit_reuse(signals, right, groups, ruled_out=np.where(right >= 0, -1, 3))
    assert near[0].none < plain[0].none


@pytest.mark.parametrize("share", [None, 0.6])
def test_what_is_learnt_is_the_optimum_of_the_definition(share):
    """Without answers ruled out it is the conditional logit, as ever."""
    signals, right, groups = drawn_questions(n_questions=60, question=0.4, topic=0.2)
    told, ruled_out = (right, np.full(60, -1)) if share is None else partly_told(right, 20, share)
    model, _ = fit_reuse(signals, told, groups, ruled_out=None if share is None else ruled_out)

    def loss(numbers):
        return objective(
            signals, told, ruled_out, ReuseModel(dict(zip(SIGNALS, numbers[:-1], strict=True)), numbers[-1])
        )

    start = [*ReuseModel.unfitted().weights.values(), -7.5]
    bounds = [(0, LARGEST_WEIGHT)] * len(SIGNALS) + [(-LARGEST_NONE, LARGEST_NONE)]
    best = scipy.optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds).x
    assert [*model.weights.values()] == pytest.approx(best[:-1], abs=0.01)
    assert model.none == pytest.approx(best[-1], abs=0.03)


def test_only_questions_that_none_fits_teach_that_none_fits():
    signals, _, groups = drawn_questions(n_questions=300)
    signals = {name: signal + np.float32(0.6) for name, signal in signals.items()}
    model, held_out = fit_reuse(signals, np.full(300, -1), groups)
    before = ReuseModel(ReuseModel.unfitted().weights, -7.5).probability(signals)
    assert held_out.sum(1).max() < 0.3 < before.sum(1).min()
    assert np.isfinite([*model.weights.values(), model.none]).all()


def test_only_right_answers_teach_that_one_fits():
    signals, right, groups = drawn_questions(n_questions=300, n_answers=MOST_POSSIBLE, question=0.5)
    fits = right >= 0
    model, held_out = fit_reuse(taken(signals, fits), right[fits], groups[fits])
    assert model.none < -7.5
    assert held_out.sum(1).min() > 0.8
    assert np.quantile(held_out.sum(1), 0.05) > 0.9
    # What is left for none of them is what the belief in its score before holds against the questions, and no more.
    left = 1 - model.probability(taken(signals, fits)).sum(1)
    assert left.sum() == pytest.approx(-7.5 - model.none, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_signals_that_are_all_alike_are_no_obstacle(value):
    signals = {name: np.full((6, 3), value, np.float32) for name in SIGNALS}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, held_out = fit_reuse(signals, np.array([0, 1, 2, -1, -1, 0]), np.arange(6))
    assert np.isfinite(held_out).all()
    assert np.ptp(held_out, axis=1) == pytest.approx(0, abs=1e-6)
    assert -LARGEST_NONE <= model.none <= LARGEST_NONE


@settings(max_examples=8)
@given(st.data())
def test_whatever_the_signals_what_is_learnt_is_finite_and_in_bounds(data):
    n_questions, n_answers = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 4))
    signals = {name: data.draw(hnp.arrays(np.float32, (n_questions, n_answers), elements=NUMBERS)) for name in SIGNALS}
    right = data.draw(hnp.arrays(np.intp, n_questions, elements=st.integers(-1, n_answers - 1)))
    ruled_out = data.draw(st.none() | hnp.arrays(np.intp, n_questions, elements=st.integers(-1, n_answers - 1)))
    groups = np.arange(n_questions) % data.draw(st.integers(2, n_questions))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, held_out = fit_reuse(signals, right, groups, ruled_out=ruled_out)
    weights = np.array([*model.weights.values()])
    assert ((weights >= 0) & (weights <= LARGEST_WEIGHT)).all()
    assert abs(model.none) <= LARGEST_NONE
    assert ((held_out >= 0) & (held_out <= 1)).all()
    assert (held_out.sum(1) <= 1 + 1e-5).all()


@pytest.mark.parametrize("share", [0, 0.6])
def test_same_seed_learns_the_same_and_the_order_of_answers_and_questions_hardly_matters(share):
    signals, right, groups = drawn_questions(n_questions=90, question=0.4)
    right, ruled_out = partly_told(right, 20, share)
    model, held_out = fit_reuse(signals, right, groups, ruled_out=ruled_out, random_state=3)
    again = fit_reuse(signals, right, groups, ruled_out=ruled_out, random_state=3)
    assert again[0] == model
    assert np.array_equal(again[1], held_out)
    other_folds = fit_reuse(signals, right, groups, ruled_out=ruled_out, random_state=4)[1]
    assert not np.array_equal(other_folds, held_out)
    order = np.random.default_rng(0).permutation(20)
    moved = [np.where(places >= 0, np.argsort(order)[places], -1) for places in (right, ruled_out)]
    other = fit_reuse(taken(signals, columns=order), moved[0], groups, ruled_out=moved[1], random_state=3)
    assert other[0].weights == pytest.approx(model.weights, abs=0.01)
    assert other[1] == pytest.approx(held_out[:, order], abs=0.01)
    rows = np.random.default_rng(1).permutation(90)
    other = fit_reuse(taken(signals, rows), right[rows], groups[rows], ruled_out=ruled_out[rows], random_state=3)
    assert other[0].weights == pytest.approx(model.weights, abs=0.01)
    assert other[0].none == pytest.approx(model.none, abs=0.02)
    assert other[1] == pytest.approx(held_out[rows], abs=0.01)


def test_answers_beyond_the_possible_ones_take_nothing_from_the_first():
    model = ReuseModel({"question": 2.0}, none=-7.5)
    few, many = (np.full((2, n), 0.01, np.float32) for n in (MOST_POSSIBLE, 40 * MOST_POSSIBLE))
    few[:, 0] = many[:, 0] = [0.9, 0.5]
    few[:, 1:] += np.linspace(0, 0.01, few.shape[1] - 1, dtype=np.float32)
    many[:, 1 : few.shape[1]] = few[:, 1:]
    many[:, few.shape[1] :] = 0
    expected = model.probability({"question": few})
    found = model.probability({"question": many})
    assert found[:, : few.shape[1]] == pytest.approx(expected)
    assert (found[:, few.shape[1] :] == 0).all()
    few[:, 1:] = many[:, 1:] = 0  # as many as there are that share nothing, all alike
    found = model.probability({"question": many})
    assert found[:, : few.shape[1]] == pytest.approx(model.probability({"question": few}))
    assert (found[:, few.shape[1] :] == 0).all()


@pytest.mark.parametrize("size", [1, 2])
def test_archive_that_grows_by_what_has_nothing_to_do_with_a_question_hardly_changes_the_first(size):
    weights = {name: size * weight for name, weight in ReuseModel.unfitted().weights.items()}
    model, rng, shape = ReuseModel(weights, none=-7.5), np.random.default_rng(0), (20, 5000)
    most = {"question": 0.05, "answer": 0.1, "matter": 1e-4, "topic": 1.0}  # many are of its topic, none of its matter
    most |= {"meaning": 0.2, "answer_meaning": 0.2}
    signals = {name: (most[name] * rng.random(shape)).astype(np.float32) for name in SIGNALS}
    fits = {"question": 0.6, "answer": 0.2, "matter": 0.5, "topic": 0.9, "meaning": 0.95, "answer_meaning": 0.9}
    for name, signal in signals.items():
        signal[:, 0] = fits[name]
    few, many = (model.probability(taken(signals, columns=slice(n)))[:, 0] for n in (10, 5000))
    assert (few > 0.9).all()
    assert np.abs(many - few).max() < 0.01


def test_few_re_asks_that_contradict_each_other_leave_the_nearer_question_first():
    near = {"question": [0.7, 0.2, 0.1, 0.1], "answer": [0.35, 0.1, 0.05, 0.05], "matter": [0.9, 0.05, 0.05, 0.05]}
    signals = {name: np.tile(np.array(row, np.float32), (46, 1)) for name, row in near.items()}
    right, ruled_out = np.repeat([0, -1], [6, 40]), np.repeat([-1, 0], [6, 40])
    model, _ = fit_reuse(signals, right, np.arange(46), ruled_out=ruled_out)
    assert model.weights["question"] > 0.1
    assert model.similarity(signals)[0].argmax() == 0
    assert (np.diff(model.similarity(signals)[0, :3]) < 0).all()
