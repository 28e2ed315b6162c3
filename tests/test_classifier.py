"""Tests of `triage.classifier`: scikit-learn's contract, exact held-out scores, joint and calibrated probabilities."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.utils.estimator_checks import parametrize_with_checks

from triage import LabelClassifier
from triage.classifier import (
    LOSSES,
    JointClassifier,
    JointOptions,
    Link,
    fit_joint,
    fit_scores,
    fit_squared_error,
    fit_squared_hinge,
    fit_weights,
    gram_matrix,
    softmax,
)
from triage.classifier.calibration import LINKS, likeliest_link
from triage.classifier.fitting import _largest_effects

TOPICS = ["land", "liquor", "tax"]
PLACES = {"land": "local", "liquor": "ministry", "tax": "agency"}


def weights_of(features, right, start):
    return fit_weights(features, [right], start)[0][0]


def random_matrix(n_rows, n_features, density=0.4, seed=0):
    return sp.random(n_rows, n_features, density, "csr", np.float32, np.random.default_rng(seed))


def clusters(n_rows=60, n_features=12, seed=0):
    """Rows round one centre a topic, with the topic's code."""
    generator = np.random.default_rng(seed)
    codes = np.arange(n_rows) % len(TOPICS)
    X = generator.normal(0, 0.6, (n_rows, n_features))
    X[np.arange(n_rows), codes] += 1.5
    return sp.csr_matrix(X.astype(np.float32)), codes


def desk(n_rows=90, seed=0):
    """Rows with a topic, a jurisdiction that mostly follows from it, and a level that only local ones have."""
    X, codes = clusters(n_rows, seed=seed)
    generator = np.random.default_rng(seed + 1)
    topics = [TOPICS[code] for code in codes]
    places = [PLACES[topic] if generator.random() < 0.8 else "local" for topic in topics]
    levels = [("commune", "province")[generator.integers(2)] if place == "local" else "" for place in places]
    return X, {"topic": topics, "jurisdiction": places, "level": levels}


def linked(classifier):
    """Return the classifier with another link for each block, and what the scores of each then mean."""
    other = replace(classifier, links=tuple(Link(2.5 + n, 0.4 * n) for n in range(len(classifier.blocks))))
    return other, dict(zip(other.blocks, other.links, strict=True))


def read(classifier, X):
    """Return combination scores, joint distribution and probabilities of a matrix."""
    scores = classifier.combination_scores(classifier.scores(X))
    joint = softmax(scores)
    return scores, joint, classifier.outcomes.probabilities(joint)


# --- scikit-learn -----------------------------------------------------------------------------------


@parametrize_with_checks([LabelClassifier(), LabelClassifier(loss="squared_error")])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("loss", LOSSES)
def test_label_classifier_learns_and_its_probabilities_sum_to_one(loss):
    X, codes = clusters()
    y = np.array(TOPICS)[codes]
    model = LabelClassifier(loss=loss).fit(X, y)
    assert model.classes_.tolist() == TOPICS
    assert model.score(X, y) > 0.9
    probability = model.predict_proba(X)
    assert probability.sum(1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(model.classes_[probability.argmax(1)], model.predict(X))
    assert model.held_out_scores_.shape == (60, 3)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_class_with_a_single_example_has_a_probability_above_zero(loss, n_rows):
    X, _ = clusters(n_rows)
    y = ["a"] * (n_rows - 1) + ["b"]
    model = LabelClassifier(loss=loss).fit(X, y)
    assert (model.predict_proba(X) > 0).all()
    assert model.predict_proba(X).sum(1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_all_classes_with_a_single_example(loss):
    X, _ = clusters(6)
    model = LabelClassifier(loss=loss).fit(X, list("abcdef"))
    assert (model.predict_proba(X) > 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_sparse_and_dense_rows_give_the_same(loss):
    X, codes = clusters()
    sparse, dense = (LabelClassifier(loss=loss).fit(matrix, codes) for matrix in (X, X.toarray()))
    assert sparse.predict_proba(X) == pytest.approx(dense.predict_proba(X.toarray()), abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_order_of_rows_does_not_matter(loss):
    X, codes = clusters(45)
    order = np.random.default_rng(1).permutation(45)
    groups = np.arange(45) // 3
    plain = LabelClassifier(loss=loss).fit(X, codes, groups=groups)
    moved = LabelClassifier(loss=loss).fit(X[order], codes[order], groups=groups[order])
    assert moved.coef_ == pytest.approx(plain.coef_, abs=2e-3)
    assert moved.predict_proba(X) == pytest.approx(plain.predict_proba(X), abs=0.1)
    if loss == "squared_error":  # folds of the hinge depend on the order of the rows
        assert moved.held_out_scores_ == pytest.approx(plain.held_out_scores_[order], abs=1e-4)
        assert moved.predict_proba(X) == pytest.approx(plain.predict_proba(X), abs=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_names_of_classes_only_order_the_columns(loss):
    X, codes = clusters(45)
    plain = LabelClassifier(loss=loss).fit(X, codes)
    renamed = LabelClassifier(loss=loss).fit(X, np.array(["z", "m", "a"])[codes])
    assert renamed.classes_.tolist() == ["a", "m", "z"]
    assert renamed.predict_proba(X)[:, ::-1] == pytest.approx(plain.predict_proba(X), abs=0.1)
    assert renamed.coef_[:, ::-1] == pytest.approx(plain.coef_, abs=2e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_same_seed_gives_the_same_bits(loss):
    X, codes = clusters()
    first, second = (LabelClassifier(loss=loss, random_state=3).fit(X, codes) for _ in range(2))
    assert np.array_equal(first.predict_proba(X), second.predict_proba(X))
    assert first.temperature_ == second.temperature_


@pytest.mark.slow
def test_number_of_jobs_does_not_matter():
    X, codes = clusters()
    first, second = (LabelClassifier(n_jobs=n_jobs).fit(X, codes) for n_jobs in (1, 2))
    assert np.array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"loss": "log"}, r"loss must be one of \('squared_error', 'squared_hinge'\), got 'log'"),
        ({"C": 0}, "C must be above 0, got 0"),
        ({"n_folds": 1}, "n_folds must be at least 2, got 1"),
    ],
)
def test_option_out_of_range_is_refused(options, match):
    X, codes = clusters(6)
    with pytest.raises(ValueError, match=match):
        LabelClassifier(**options).fit(X, codes)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="at least two classes, got one class in 6 rows"):
        LabelClassifier().fit(clusters(6)[0], ["a"] * 6)


@pytest.mark.parametrize("loss", LOSSES)
def test_groups_of_another_length_are_refused(loss):
    X, codes = clusters(6)
    with pytest.raises(ValueError, match="groups must have one entry for each of the 6 rows, got 4"):
        LabelClassifier(loss=loss).fit(X, codes, groups=[0, 0, 1, 1])


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_of_one_group_are_fitted(loss):
    X, codes = clusters(9)
    model = LabelClassifier(loss=loss).fit(X, codes, groups=["a"] * 9)
    assert np.isfinite(model.predict_proba(X)).all()


# --- scores -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_gram_matrix_is_the_product(density):
    X = random_matrix(80, 200, density)
    assert gram_matrix(X) == pytest.approx((X @ X.T).toarray(), rel=1e-5, abs=1e-5)


def test_gram_matrix_of_an_empty_matrix():
    assert (gram_matrix(sp.csr_matrix((3, 5), dtype=np.float32)) == 0).all()


@pytest.mark.parametrize(
    "groups", [np.arange(24), np.arange(24) // 5, np.arange(24) % 3], ids=["rows", "runs", "thirds"]
)
def test_held_out_scores_are_those_of_training_without_the_group(groups):
    X = random_matrix(24, 40)
    codes, C = np.arange(24) % 3, 2.0
    scores = fit_squared_error(X, [codes], [3], C, [groups])
    signs = np.where(codes[:, None] == np.arange(3), 1.0, -1.0)
    dense = X.toarray().astype(float)
    for group in np.unique(groups):
        kept, out = groups != group, groups == group
        # Ridge on the rest, with the mean of all rows as its constant.
        left = dense[kept].T @ dense[kept] + np.eye(40) / (2 * C)
        coef = np.linalg.solve(left, dense[kept].T @ (signs[kept] - signs.mean(0)))
        assert scores.held_out[0][out] == pytest.approx(dense[out] @ coef + signs.mean(0), abs=1e-3)
    assert scores.intercept == pytest.approx(signs.mean(0), abs=1e-6)


def test_held_out_scores_come_close_to_those_of_a_second_training():
    X, codes = clusters(60)
    groups = np.arange(60) // 3  # one row of each class, so that the mean of the rest is the same
    scores = fit_squared_error(X, [codes], [3], 2.0, [groups])
    for group in (0, 7, 19):
        kept, out = groups != group, groups == group
        rest = fit_squared_error(X[kept], [codes[kept]], [3], 2.0, [groups[kept]])
        assert scores.held_out[0][out] == pytest.approx(X[out] @ rest.coef() + rest.intercept, abs=1e-3)


def test_hinge_scores_are_held_out_by_folds():
    X, codes = clusters(60)
    groups = np.arange(60) // 2
    scores = fit_squared_hinge(X, [codes], [3], 3.0, [groups], n_folds=3)
    in_sample = X @ scores.coef() + scores.intercept
    assert (scores.held_out[0].argmax(1) == codes).mean() > 0.7
    assert not np.allclose(scores.held_out[0], in_sample, atol=0.05)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_fold_holds_what_is_learnt_without_its_rows(loss):
    X, codes = clusters(60)
    other = np.where(np.arange(60) % 4 == 0, -1, codes % 2)  # of some rows nothing is known
    groups = np.arange(60) // 3  # one row of each class, so that the mean of the rest is the same
    fit = fit_squared_error if loss == "squared_error" else fit_squared_hinge
    fitted = fit(X, [codes, other], [3, 2], 2.0, [np.arange(60), groups], n_folds=4)
    seen = np.zeros(60, int)
    for fold in fitted.folds():
        out = fold.rows[0]
        seen[out] += 1
        assert set(groups[out]).isdisjoint(groups[np.setdiff1d(np.arange(60), out)])
        kept = np.setdiff1d(np.arange(60), out)
        rest = fit(X[kept], [codes[kept]], [3], 2.0, [groups[kept]])
        assert fold.coef[:, :3] == pytest.approx(rest.coef(), abs=2e-3)
        assert fold.coef.shape == (12, 5)
    assert (seen == 1).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_held_out_scores_lack_what_dropped_weights_would_add(loss):
    generator = np.random.default_rng(3)

    def wide(n_rows):  # a class shows in many features, a little in each
        codes = np.arange(n_rows) % 3
        X = generator.normal(0, 1, (n_rows, 300))
        X[:, :240] += 0.25 * (np.arange(240)[None] % 3 == codes[:, None])
        return sp.csr_matrix((X / 20).astype(np.float32)), [TOPICS[code] for code in codes]

    (X, labels), (new, truth) = wide(600), wide(3000)
    few = JointOptions(loss=loss, C=3.0, max_weights=120)
    pruned, (held_out,) = fit_joint(X, {"topic": labels}, options=few)
    _, (whole,) = fit_joint(X, {"topic": labels}, options=replace(few, max_weights=None))
    assert len(pruned.values) <= 120

    def right(scores, labels):
        return (np.array(TOPICS)[scores.argmax(1)] == np.array(labels)).mean()

    def sure(scores):
        return softmax(pruned.combination_scores(scores)).max(1).mean()

    of_new = pruned.scores(new)
    assert right(held_out, labels) == pytest.approx(right(of_new, truth), abs=0.06)
    assert right(whole, labels) > right(of_new, truth) + 0.06  # what they would promise, few weights do not keep
    assert sure(held_out) == pytest.approx(sure(of_new), abs=0.05)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_of_weight_two_teaches_as_two_rows_do(loss):
    X, codes = clusters(60)
    twice = np.arange(60) % 4 == 0
    again = np.concatenate([np.arange(60), np.flatnonzero(twice)])
    options = {"loss": loss, "C": 2.0, "n_folds": 3, "random_state": 0, "n_jobs": None}
    weighed = fit_scores(X, [codes], [3], [np.arange(60)], options, np.where(twice, 2.0, 1.0))
    repeated = fit_scores(X[again], [codes[again]], [3], [again], options)
    assert weighed.coef() == pytest.approx(repeated.coef(), abs=2e-3)
    assert weighed.intercept == pytest.approx(repeated.intercept, abs=2e-3)
    if loss == "squared_error":  # copies are held out together, as the row that they stand for is by itself
        assert weighed.held_out[0] == pytest.approx(repeated.held_out[0][:60], abs=2e-3)


@pytest.mark.parametrize(
    "weights", [[1.0] * 8, *([1.0] * 8 + [last] for last in (0.0, -1.0, np.nan, np.inf)), [[1.0] * 9]], ids=str
)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_that_are_not_above_zero_for_each_row_are_refused(loss, weights):
    X, codes = clusters(9)
    with pytest.raises(ValueError, match="sample_weight must have a finite number above 0 for each of the 9 rows"):
        fit_joint(X, {"label": codes.tolist()}, options=JointOptions(loss=loss), sample_weight=weights)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_way_of_holding_out_calibrates_alike(loss):
    X, labels = desk(240)
    rows, writers = np.arange(240), np.arange(240) // 120  # two large groups: half is missing when one is left out

    def sure(*groupings):
        classifier, held_out = fit_joint(X, labels, options=JointOptions(loss=loss), groupings=groupings)
        assert len(held_out) == len(groupings)
        return softmax(classifier.combination_scores(held_out[0])).max(1).mean()

    assert sure(rows, writers) == pytest.approx(sure(rows, writers, writers, rows), abs=1e-3)
    assert abs(sure(rows, writers) - sure(rows)) > 1e-3  # the second has a say


def test_without_weights_there_are_held_out_scores_alone():
    X, labels = desk()
    classifier, (held_out,) = fit_joint(X, labels, options=JointOptions(max_weights=None))
    whole, (same,) = fit_joint(X, labels, options=JointOptions())
    assert len(classifier.values) == 0
    assert np.array_equal(held_out, same)
    assert np.array_equal(classifier.shares, whole.shares)


def test_blocks_are_fitted_as_if_each_were_alone():
    X, codes = clusters(30)
    other = np.arange(30) % 2
    together = fit_squared_error(X, [codes, other], [3, 2], 2.0, [np.arange(30)])
    for block, (code, size) in enumerate([(codes, 3), (other, 2)]):
        alone = fit_squared_error(X, [code], [size], 2.0, [np.arange(30)])
        columns = slice(3 * block, 3 * block + size)
        assert together.coef()[:, columns] == pytest.approx(alone.coef(), abs=1e-4)
        assert together.held_out[0][:, columns] == pytest.approx(alone.held_out[0], abs=1e-4)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("block_rows", [1024, 7])
def test_a_block_known_of_some_rows_is_fitted_as_of_those_alone(monkeypatch, block_rows, weighed):
    monkeypatch.setattr("triage.classifier.scores._ROW_BLOCK", block_rows)
    X, codes = clusters(60)
    topics = np.where(np.arange(60) % 4 == 0, -1, codes)
    places = np.where(np.arange(60) % 3 == 1, -1, np.arange(60) % 2)
    groupings = [np.arange(60), np.arange(60) // 5]  # the last group is known in every block, so folds are dealt alike
    weight = np.where(np.arange(60) % 5 == 0, 3, 1).astype(np.float32)
    known = [(topics, 3), (codes, 3), (places, 2), (topics, 3)]

    def fit(rows, blocks):
        weights = weight[rows] if weighed else None
        codes, sizes = [code[rows] for code, _ in blocks], [size for _, size in blocks]
        return fit_squared_error(X[rows], codes, sizes, 2.0, [by[rows] for by in groupings], sample_weight=weights)

    together, end = fit(np.arange(60), known), 0
    for code, size in known:
        columns, rows = slice(end, end + size), np.flatnonzero(code >= 0)
        alone, end = fit(rows, [(code, size)]), end + size
        assert together.intercept[columns] == pytest.approx(alone.intercept, abs=1e-6)
        assert together.coef()[:, columns] == pytest.approx(alone.coef(), abs=1e-4)
        for ours, theirs in zip(together.held_out, alone.held_out, strict=True):
            assert ours[rows, columns] == pytest.approx(theirs, abs=1e-4)
        for fold, other in zip(together.folds(), alone.folds(), strict=True):
            assert fold.coef[:, columns] == pytest.approx(other.coef, abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_of_unknown_class_hardly_move_the_others(loss):
    X, codes = clusters(60)
    far = sp.csr_matrix(np.eye(12, dtype=np.float32)[[10, 11]] * 0.01)
    fit = fit_squared_error if loss == "squared_error" else fit_squared_hinge
    plain = fit(X, [codes], [3], 2.0, [np.arange(60)])
    more = fit(sp.vstack([X, far]).tocsr(), [np.concatenate((codes, [-1, -1]))], [3], 2.0, [np.arange(62)])
    assert more.coef() == pytest.approx(plain.coef(), abs=1e-2)
    assert more.intercept == pytest.approx(plain.intercept, abs=1e-2)
    assert np.isfinite(more.held_out[0]).all()


def test_too_many_rows_for_the_closed_form_are_refused():
    X = sp.csr_matrix((32_001, 2), dtype=np.float32)
    codes = np.arange(32_001) % 2
    with pytest.raises(ValueError, match="takes at most 32000 rows, got 32001; use loss='squared_hinge'"):
        fit_squared_error(X, [codes], [2], 1.0, [codes])


def test_rows_too_alike_for_the_closed_form_are_refused():
    X, codes = sp.csr_matrix(np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"the rows are too alike for C=100000000\.0; lower C"):
        fit_squared_error(X, [codes], [2], 1e8, [codes])


# --- calibration ------------------------------------------------------------------------------------


def test_one_weight_is_the_best_temperature():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(400, 4))
    truth = np.array([generator.choice(4, p=row) for row in softmax(2.5 * scores)])
    right = truth[:, None] == np.arange(4)
    (found,) = weights_of([scores], right, [1.0])
    grid = np.linspace(0.5, 6, 1101)
    losses = [-np.log(softmax(temperature * scores)[right]).mean() for temperature in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], abs=0.02)


def test_weights_are_the_same_whichever_classes_come_first():
    generator = np.random.default_rng(0)
    features = [generator.normal(size=(200, 4)) for _ in range(2)]
    right = (features[0] + 0.5 * features[1] + generator.gumbel(size=(200, 4))).argmax(1)[:, None] == np.arange(4)
    plain = weights_of(features, right, [1.0, 1.0])
    order = [2, 0, 3, 1]
    assert weights_of([f[:, order] for f in features], right[:, order], [1.0, 1.0]) == pytest.approx(plain, abs=1e-2)
    assert weights_of([f[::-1] for f in features], right[::-1], [1.0, 1.0]) == pytest.approx(plain, abs=1e-2)


def test_weights_are_never_negative():
    scores = np.eye(3)[np.arange(90) % 3]
    wrong = (np.arange(90) + 1)[:, None] % 3 == np.arange(3)
    assert weights_of([scores], wrong, [1.0])[0] == pytest.approx(0, abs=1e-6)


def test_weights_do_not_depend_on_rows_without_a_right_outcome():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(200, 3))
    right = (scores + generator.gumbel(size=(200, 3))).argmax(1)[:, None] == np.arange(3)
    plain = weights_of([scores], right, [1.0])
    more = np.vstack([scores, 5 * generator.normal(size=(100, 3))])
    assert weights_of([more], np.vstack([right, np.zeros((100, 3), bool)]), [1.0]) == pytest.approx(plain, abs=1e-2)


# --- jointly ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_probabilities_of_each_target_sum_to_one_and_none_is_zero(loss):
    X, labels = desk()
    classifier, (held_out,) = fit_joint(X, labels, options=JointOptions(loss=loss), within={"level": "jurisdiction"})
    far = sp.vstack([X, 50 * X[:3], sp.csr_matrix((1, X.shape[1]), dtype=np.float32)]).tocsr()
    _, joint, probabilities = read(classifier, far)
    assert joint.sum(1) == pytest.approx(1, abs=1e-5)
    for target, probability in probabilities.items():
        assert probability.shape == (94, len(classifier.classes[target]))
        assert probability.sum(1) == pytest.approx(1, abs=1e-5)
        assert (probability > 0).all()
    assert held_out.shape == (90, len(classifier.intercept))


@pytest.mark.parametrize("loss", LOSSES)
def test_joint_classifier_learns_all_targets(loss):
    X, labels = desk(150)
    classifier, _ = fit_joint(X, labels, options=JointOptions(loss=loss))
    _, joint, probabilities = read(classifier, X)
    for target, best in classifier.outcomes.best(joint, probabilities).items():
        right = np.array(classifier.classes[target])[best] == np.array(labels[target])
        assert right.mean() > (0.55 if target == "level" else 0.8)


def test_best_level_fits_the_best_jurisdiction():
    X, labels = desk(150)
    classifier, _ = fit_joint(X, labels, options=JointOptions(), within={"level": "jurisdiction"})
    _, joint, probabilities = read(classifier, random_matrix(400, 12, 1.0) * 3)
    best = classifier.outcomes.best(joint, probabilities)
    seen = set(zip(labels["jurisdiction"], labels["level"], strict=True))
    for place, level in zip(best["jurisdiction"], best["level"], strict=True):
        assert (classifier.classes["jurisdiction"][place], classifier.classes["level"][level]) in seen
    for target in ("topic", "jurisdiction"):
        assert np.array_equal(best[target], probabilities[target].argmax(1))


def test_combination_never_seen_has_no_probability_of_its_own():
    X, labels = desk()
    classifier, _ = fit_joint(X, labels, options=JointOptions())
    seen = set(zip(*labels.values(), strict=True))
    found = {
        tuple(classifier.classes[target][code] for target, code in zip(labels, row, strict=True))
        for row in classifier.combinations.tolist()
    }
    assert found == seen
    assert len(classifier.combinations) == len(seen)
    _, joint, probabilities = read(classifier, X)
    # land is never of the ministry: what the joint distribution gives both at once is 0, the product of the two is not
    land = classifier.combinations[:, 0] == classifier.classes["topic"].index("land")
    ministry = classifier.combinations[:, 1] == classifier.classes["jurisdiction"].index("ministry")
    assert joint[:, land & ministry].sum() == 0
    product = (
        probabilities["topic"][:, classifier.classes["topic"].index("land")]
        * probabilities["jurisdiction"][:, classifier.classes["jurisdiction"].index("ministry")]
    )
    assert (product > 0).all()


def test_probability_of_a_label_is_that_of_its_combinations():
    X, labels = desk()
    classifier, _ = fit_joint(X, labels, options=JointOptions())
    even = replace(classifier, temperatures=np.ones(3))
    _, joint, probabilities = read(even, X)
    for target, probability in probabilities.items():
        place = list(labels).index(target)
        for label in range(probability.shape[1]):
            expected = joint[:, classifier.combinations[:, place] == label].sum(1)
            assert probability[:, label] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_single_target_is_a_softmax_of_what_its_scores_mean(loss):
    X, codes = clusters()
    classifier, _ = fit_joint(X, {"topic": [TOPICS[code] for code in codes]}, options=JointOptions(loss=loss))
    assert classifier.blocks == (("topic",),)
    _, _, probabilities = read(classifier, X)
    expected = softmax(classifier.shares[0, 0] * classifier.links[0](classifier.scores(X)))
    assert probabilities["topic"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_that_lack_a_label_still_teach_the_others(loss):
    X, labels = desk(120)
    more, extra = desk(60, seed=5)
    unlabelled = {"topic": extra["topic"], "jurisdiction": [None] * 60, "level": [None] * 60}
    both = {target: labels[target] + unlabelled[target] for target in labels}
    classifier, (held_out,) = fit_joint(
        sp.vstack([X, more]).tocsr(), both, options=JointOptions(loss=loss), n_measured=120
    )
    assert held_out.shape[0] == 180
    assert classifier.classes["jurisdiction"] == sorted(set(labels["jurisdiction"]))
    _, _, probabilities = read(classifier, more)
    right = np.array(classifier.classes["topic"])[probabilities["topic"].argmax(1)] == np.array(extra["topic"])
    assert right.mean() > 0.8


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["aaa", "mmm", "zzz"])
def test_label_that_stands_in_no_combination_is_no_class(loss, name):
    X, labels = desk(60)
    rare = {**{target: list(values) for target, values in labels.items()}}
    rare["topic"][0], rare["jurisdiction"][0], rare["level"][0] = name, None, None
    classifier, _ = fit_joint(X, rare, options=JointOptions(loss=loss))
    _, _, probabilities = read(classifier, X)
    assert name not in classifier.classes["topic"]
    assert probabilities["topic"].sum(1) == pytest.approx(1, abs=1e-5)


def test_blocks_are_of_a_target_of_one_with_those_within_it_and_of_all():
    X, labels = desk()
    classifier, _ = fit_joint(X, labels, options=JointOptions(), within={"level": "jurisdiction"})
    assert classifier.blocks == (("topic",), ("jurisdiction",), ("jurisdiction", "level"), tuple(labels))
    pairs = sorted(set(zip(labels["jurisdiction"], labels["level"], strict=True)))
    sizes = [len(columns) for columns in classifier.columns_of.values()]
    assert sizes == [
        len(set(labels["topic"])),
        len(set(labels["jurisdiction"])),
        len(pairs),
        len(set(zip(*labels.values(), strict=True))),
    ]
    assert set(classifier.alone) == {"topic", "jurisdiction"}


def with_matters(n_rows=120):
    """Rows as of `desk`, with a matter for those on tax: one for each combination of the other labels."""
    X, labels = desk(n_rows)
    rows = zip(*labels.values(), strict=True)
    return X, {**labels, "matter": ["/".join(row) if row[0] == "tax" else "" for row in rows]}


def test_scores_that_the_same_rows_speak_for_have_one_column():
    X, labels = with_matters()
    classifier, (held_out,) = fit_joint(X, labels, options=JointOptions(loss="squared_error"))
    n_matters = len(set(labels["matter"])) - 1
    of_matters, of_all = classifier.columns_of["matter",], classifier.columns_of[tuple(labels)]
    assert n_matters > 1
    assert set(of_matters[1:]) <= set(of_all)  # the first is none, whose rows no combination has alone
    assert of_matters[0] not in of_all
    rows = [*labels.values(), [*zip(*labels.values(), strict=True)]]  # a block for each target, and one for all
    different = {tuple(value == label for value in values) for values in rows for label in {*values}}
    assert len(classifier.intercept) == held_out.shape[1] == len(different) < classifier.n_scores - n_matters
    assert np.array_equal(np.unique(classifier.column_of), np.arange(len(classifier.intercept)))


def test_one_column_for_equal_scores_changes_no_probability(monkeypatch):
    X, labels = with_matters()
    options = JointOptions(loss="squared_error")
    shared, (held_out,) = fit_joint(X, labels, options=options, apart="matter")
    monkeypatch.setattr(
        "triage.classifier.fitting._different", lambda _, sizes: (np.arange(sum(sizes)), np.arange(sum(sizes)))
    )
    apart, (each,) = fit_joint(X, labels, options=options, apart="matter")
    assert len(apart.intercept) == apart.n_scores > len(shared.intercept)
    assert held_out[:, shared.column_of] == pytest.approx(each, abs=1e-4)
    far = random_matrix(50, X.shape[1], 0.5)
    assert shared.scores(far)[:, shared.column_of] == pytest.approx(apart.scores(far), abs=1e-3)
    for target, probability in read(shared, X)[2].items():
        assert probability == pytest.approx(read(apart, X)[2][target], abs=1e-3)


def test_scores_for_which_other_rows_are_known_have_columns_of_their_own():
    X, codes = clusters(60)
    labels = {"topic": [TOPICS[code] for code in codes], "number": codes.tolist()}
    options = JointOptions(loss="squared_error")
    assert len(fit_joint(X, labels, options=options)[0].intercept) == 3
    some = {**labels, "topic": [None, *labels["topic"][1:]]}
    classifier, _ = fit_joint(X, some, options=options)
    assert classifier.columns_of["topic",].tolist() == classifier.columns_of["topic", "number"].tolist() == [0, 1, 2]
    assert classifier.columns_of["number",].tolist() == [3, 4, 5]


def test_shares_and_slopes_of_all_blocks_count_for_a_shared_column():
    X, labels = with_matters()
    classifier, link_of = linked(fit_joint(X, labels, options=JointOptions(loss="squared_error"))[0])
    largest = _largest_effects(classifier)
    whole = classifier.combinations[:, list(labels).index("matter")] > 0
    weighted = zip(classifier.blocks, classifier.weighted_parts, strict=True)
    together = sum(link_of[block].slope * shares[whole] for block, (_, shares) in weighted if "matter" in block)
    assert largest[classifier.columns_of["matter",][1:]] == pytest.approx(together, abs=1e-5)


def test_what_a_target_says_alone_is_read_from_its_columns():
    X, labels = with_matters()
    classifier, _ = fit_joint(X, labels, options=JointOptions(loss="squared_error"))
    columns = classifier.columns_of["matter",]
    assert columns.tolist() != list(range(columns[0], columns[0] + len(columns)))  # one matter has all of an agency
    scores = classifier.scores(X)
    classifier, link_of = linked(classifier)
    expected = softmax(classifier.alone["matter"] * link_of["matter",](scores[:, columns]))
    assert classifier.probability_alone(scores, "matter") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_link_is_the_logarithm_of_a_probability_however_large_the_score(dtype):
    scores = np.array([-1e30, -30, -1, -0.5, 0, 3, 1e30], dtype)
    found = Link(4.0, 1.0)(scores)
    assert found.dtype == dtype
    assert np.exp(found[1:]) == pytest.approx(1 / (1 + np.exp(-4 * (scores[1:].astype(float) + 1))), abs=1e-6)
    assert (np.diff(found) >= 0).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_likeliest_link_is_the_one_that_made_the_labels(link):
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1.1, 0.6, (20_000, 4))
    codes = (softmax(6 * link(scores)).cumsum(1) > rng.random((len(scores), 1))).argmax(1)
    assert likeliest_link(scores, codes[:, None] == np.arange(4)) == link
    assert likeliest_link(scores[:0], np.zeros((0, 4), bool)) == LINKS[0]


def test_blocks_of_many_rare_labels_are_read_by_a_link_of_their_own():
    X, labels = desk(300)
    rare = [f"{topic} {number % 25}" for number, topic in enumerate(labels["topic"])]
    classifier, _ = fit_joint(X, {**labels, "rare": rare}, options=JointOptions(loss="squared_error"))
    link_of = dict(zip(classifier.blocks, classifier.links, strict=True))
    assert link_of["rare",].offset > link_of["topic",].offset


@pytest.mark.parametrize("loss", LOSSES)
def test_target_unknown_of_all_measured_rows_is_trained_nevertheless(loss):
    X, labels = desk(120)
    labels["level"] = [None] * 60 + labels["level"][60:]
    classifier, _ = fit_joint(X, labels, options=JointOptions(loss=loss), n_measured=60)
    assert np.isfinite(read(classifier, X)[1]).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_fitted_with_some_columns_alone_is_what_those_columns_were(loss):
    X, codes = clusters(60)
    groups = np.arange(60) % 20
    options = {**vars(JointOptions(loss=loss)), "C": 2.0}
    whole = fit_scores(X, [codes, np.minimum(codes, 1), codes], [3, 2, 3], [groups], options)
    columns = np.array([0, 2, 4])  # some of the first block, the last of the second, none of the third
    some = whole.only(columns)
    assert some.columns == [slice(0, 2), slice(2, 3), slice(3, 3)]
    assert np.array_equal(some.intercept, whole.intercept[columns])
    assert np.array_equal(some.coef(), whole.coef()[:, columns])
    assert np.array_equal(some.held_out[0], whole.held_out[0][:, columns])
    for one, other in zip(some.folds(), whole.folds(), strict=True):
        assert np.array_equal(one.coef, other.coef[:, columns])
        assert all(np.array_equal(*rows) for rows in zip(one.rows, other.rows, strict=True))
    assert whole.only(np.arange(8)) is whole


@pytest.mark.parametrize("loss", LOSSES)
def test_dropped_weights_are_missed_in_held_out_scores_of_shared_columns(loss):
    X, labels = with_matters()
    few = JointOptions(loss=loss, max_weights=60)
    pruned, (held_out,) = fit_joint(X, labels, options=few)
    whole, (before,) = fit_joint(X, labels, options=replace(few, max_weights=None))
    assert len(pruned.intercept) == len(whole.intercept) < pruned.n_scores
    assert len(pruned.values) <= 60
    # What each fold's model loses is what its rows' scores lose: so the errors made on all rows are like those.
    moved = held_out - before
    of_model = pruned.scores(X) - fit_joint(X, labels, options=replace(few, max_weights=10**7))[0].scores(X)
    assert np.abs(moved).max() > 0.05
    assert np.corrcoef(moved.ravel(), of_model.ravel())[0, 1] > 0.4


def test_two_targets_one_within_the_other_have_one_block_together():
    X, labels = desk()
    two = {name: labels[name] for name in ("jurisdiction", "level")}
    classifier, _ = fit_joint(X, two, options=JointOptions(), within={"level": "jurisdiction"})
    assert classifier.blocks == (("jurisdiction",), ("jurisdiction", "level"))


@pytest.mark.parametrize("loss", LOSSES)
def test_row_without_a_topic_still_teaches_who_decides(loss):
    X, labels = desk(120)
    more, extra = desk(60, seed=5)
    unlabelled = {**extra, "topic": [None] * 60}
    options = JointOptions(loss=loss)
    both = {target: labels[target] + unlabelled[target] for target in labels}
    within = {"level": "jurisdiction"}
    classifier, _ = fit_joint(sp.vstack([X, more]).tocsr(), both, options=options, n_measured=120, within=within)
    without, _ = fit_joint(X, labels, options=options, within=within)

    def moved(block):
        one, other = (each.scores(more)[:, each.columns_of[block]] for each in (classifier, without))
        return np.abs(one - other).max()

    assert moved(("jurisdiction", "level")) > 0.1
    assert moved(("topic",)) < 0.01


@pytest.mark.parametrize("within", [{"level": "place"}, {"level": "jurisdiction", "jurisdiction": "topic"}])
def test_target_within_none_of_the_others_is_refused(within):
    X, labels = desk(30)
    with pytest.raises(ValueError, match="a target must be within one that is within no other, got 'level' in"):
        fit_joint(X, labels, options=JointOptions(), within=within)


@pytest.mark.parametrize("labels", [[3, 1, 2], [True, False, True], ["a", "b", "c"], [2**70, 1, 2]], ids=str)
def test_labels_come_back_as_they_are(labels):
    X, codes = clusters(30)
    classifier, _ = fit_joint(X, {"label": [labels[code] for code in codes]}, options=JointOptions())
    assert classifier.classes["label"] == sorted(set(labels))
    assert [type(label) for label in classifier.classes["label"]] == [type(label) for label in sorted(set(labels))]


@pytest.mark.parametrize("labels", [["a", 1, 2], [True, 2, "True"]], ids=str)
def test_labels_of_several_kinds_are_refused(labels):
    X, codes = clusters(30)
    with pytest.raises(ValueError, match="'label' must have labels of one kind, got"):
        fit_joint(X, {"label": [labels[code] for code in codes]}, options=JointOptions())


def test_one_class_is_refused_with_the_name_of_its_target():
    X, labels = desk(12)
    with pytest.raises(ValueError, match="target 'level' must have at least two classes, got one class in 12 rows"):
        fit_joint(X, {**labels, "level": ["x"] * 12}, options=JointOptions())


def test_random_state_and_order_of_targets():
    X, labels = desk()
    options = JointOptions(random_state=4)
    first, second = (fit_joint(X, labels, options=options)[0] for _ in range(2))
    assert all(
        np.array_equal(a, b) for a, b in zip(first.to_state()[1].values(), second.to_state()[1].values(), strict=True)
    )
    turned, _ = fit_joint(X, dict(reversed(labels.items())), options=JointOptions(loss="squared_error"))
    plain, _ = fit_joint(X, labels, options=JointOptions(loss="squared_error"))
    for target in labels:
        assert read(turned, X)[2][target] == pytest.approx(read(plain, X)[2][target], abs=0.02)


# --- fewer weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("max_weights", [1, 2, 7, 50, 10_000])
def test_at_most_so_many_weights_are_kept(max_weights):
    X, labels = desk()
    classifier, _ = fit_joint(X, labels, options=JointOptions(max_weights=max_weights))
    assert len(classifier.values) <= max_weights
    assert np.isfinite(read(classifier, X)[0]).all()


def test_at_most_so_many_weights_are_kept_of_two_classes():
    X, codes = clusters(30)
    for max_weights in (1, 3, 5):  # the two columns mirror each other, so weights tie in pairs
        classifier, _ = fit_joint(X, {"label": (codes > 0).tolist()}, options=JointOptions(max_weights=max_weights))
        assert len(classifier.values) <= max_weights


def test_weights_kept_are_those_that_move_scores_most():
    X, labels = desk()
    whole, _ = fit_joint(X, labels, options=JointOptions())
    part, _ = fit_joint(X, labels, options=JointOptions(max_weights=len(whole.values) // 2))
    close, _ = fit_joint(X, labels, options=JointOptions(max_weights=4 * len(whole.values) // 5))
    scores = [read(classifier, X)[2]["topic"] for classifier in (whole, close, part)]
    assert np.abs(scores[1] - scores[0]).mean() < np.abs(scores[2] - scores[0]).mean() < 0.2


def test_no_weights_at_all_are_refused():
    X, labels = desk(12)
    with pytest.raises(ValueError, match="max_weights must be at least 1, got 0"):
        fit_joint(X, labels, options=JointOptions(max_weights=0))


def test_eight_bits_change_scores_little():
    X, codes = clusters()
    classifier, _ = fit_joint(X, {"topic": codes.tolist()}, options=JointOptions(loss="squared_error"))
    exact = fit_squared_error(X, [codes], [3], 3.0, [np.arange(60)])
    assert classifier.scores(X) == pytest.approx(X @ exact.coef() + exact.intercept, abs=0.05)
    assert classifier.values.dtype == np.int8


# --- explaining and storing -------------------------------------------------------------------------


def difference(classifier, joint, target, label):
    """Weight of each combination in the label's score less that of the others, by its share of the probability."""
    mine = classifier.combinations[:, list(classifier.classes).index(target)] == label
    return np.where(mine, joint / joint[mine].sum(), -joint / joint[~mine].sum())


@pytest.mark.parametrize(("target", "label"), [*itertools.product(["topic", "jurisdiction", "level"], range(3))])
def test_pull_and_a_constant_are_the_difference_of_scores(target, label):
    X, labels = desk()
    classifier, _ = linked(fit_joint(X, labels, options=JointOptions())[0])
    every = np.arange(X.shape[1])
    for row in (0, 1, 2):
        scores, joint, _ = read(classifier, X[row])
        weights = difference(classifier, joint[0].astype(float), target, label)
        linear = classifier.scores(X[row])[0]
        pull = classifier.pull(linear, weights, every)
        zero = classifier.combination_scores(classifier.scores(sp.csr_matrix((1, X.shape[1]), dtype=np.float32)))[0]
        assert (X[row] @ pull)[0] + zero @ weights == pytest.approx(scores[0] @ weights, abs=1e-3)
        some = np.array([4, 1])
        assert classifier.pull(linear, weights, some) == pytest.approx(pull[some], abs=1e-5)


def columns_of(classifier, block):
    """The column of each combination of a block's labels."""
    places = [list(classifier.classes).index(target) for target in block]
    seen = sorted({tuple(row) for row in classifier.combinations[:, places].tolist()})
    return dict(zip(seen, classifier.columns_of[block].tolist(), strict=True))


def test_combination_added_is_scored_by_the_blocks_of_its_labels():
    X, labels = desk()
    classifier, _ = fit_joint(X, labels, options=JointOptions(), within={"level": "jurisdiction"})
    known = classifier.combinations[0]
    other_topic = (known[0] + 1) % len(classifier.classes["topic"])
    added = np.array(
        [[other_topic, *known[1:]], [0, 1, 2], [2, 2, 0], [3, 0, 7]], np.int32
    )  # labels never seen at last
    classifier, link_of = linked(classifier)
    more = replace(classifier, added=added)
    linear = classifier.scores(X)
    scores = more.combination_scores(linear)
    n_learnt = len(classifier.combinations)
    assert np.array_equal(scores[:, :n_learnt], classifier.combination_scores(linear))
    for place, codes in enumerate(added):
        expected = np.zeros(len(linear), np.float32)
        for block, share in zip(classifier.blocks, classifier.shares[0], strict=True):
            at = columns_of(classifier, block)
            codes_there = tuple(codes[[list(labels).index(target) for target in block]].tolist())
            score = linear[:, at[codes_there]] if codes_there in at else np.full(len(linear), -1, np.float32)
            expected += share * link_of[block](score)
        assert scores[:, n_learnt + place] == pytest.approx(expected, abs=1e-4)


def test_pull_explains_combinations_added_too():
    X, labels = desk()
    classifier, _ = linked(fit_joint(X, labels, options=JointOptions())[0])
    more = replace(classifier, added=np.array([[0, 1, 2], [3, 0, 7]], np.int32))
    every = np.arange(X.shape[1])
    weights = np.random.default_rng(0).normal(size=len(classifier.combinations) + 2)
    zero = more.combination_scores(more.scores(sp.csr_matrix((1, X.shape[1]), dtype=np.float32)))[0]
    for row in (0, 1, 2):
        linear = more.scores(X[row])
        pull = more.pull(linear[0], weights, every)
        expected = more.combination_scores(linear)[0] @ weights
        assert (X[row] @ pull)[0] + zero @ weights == pytest.approx(expected, abs=1e-3)


def test_kinds_of_outcomes_have_weights_of_their_own():
    rng = np.random.default_rng(0)
    code = rng.integers(6, size=600)
    kinds = (np.arange(6) >= 3).astype(int)
    right = code[:, None] == np.arange(6)
    noise = rng.normal(0, 1, (2, 600, 6))
    features = [right * np.where(kinds == kind, 3.0, 0.0) + noise[kind] for kind in range(2)]  # each tells one kind
    weights, constants, surprise = fit_weights(features, [right], [1.0, 1.0], kinds, 2)
    assert weights.shape == (2, 2)
    assert constants.shape == (2,)
    assert weights[0, 0] > 2 * weights[0, 1]
    assert weights[1, 1] > 2 * weights[1, 0]
    assert surprise < fit_weights(features, [right], [1.0, 1.0])[-1] - 0.05


@pytest.mark.parametrize("scale", [1, 100])
def test_constant_of_a_kind_is_how_often_it_is_right(scale):
    code = np.array([0] * 30 * scale + [1] * 10 * scale)
    nothing = np.zeros((len(code), 2))
    _, constants, _ = fit_weights([nothing], [code[:, None] == np.arange(2)], [1.0], np.array([0, 1]), 2)
    beyond = constants[1] - constants[0] - np.log(10 / 30)
    assert (0.02 if scale == 1 else 0) < beyond < (0.2 if scale == 1 else 0.005)  # few rows say less than many


def test_kind_without_outcomes_is_between_all_others():
    rng = np.random.default_rng(0)
    code, kinds = rng.integers(4, size=400), np.array([0, 0, 1, 1])
    right = code[:, None] == np.arange(4)
    feature = right * np.array([2.0, 2.0, 4.0, 4.0]) + rng.normal(0, 1, (400, 4))
    weights, constants, _ = fit_weights([feature], [right], [1.0], kinds, 3)
    assert weights[2] == pytest.approx(weights[:2].mean(0), abs=0.05)
    assert constants[2] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("kinds", [None, np.zeros(3, int)])
def test_one_kind_has_no_constant(kinds):
    code = np.arange(30) % 3
    _, constants, _ = fit_weights([np.eye(3)[code]], [code[:, None] == np.arange(3)], [1.0], kinds)
    assert constants.tolist() == [0]


def test_combinations_without_a_label_have_shares_of_their_own():
    X, labels = desk()
    classifier, (held_out,) = fit_joint(X, labels, options=JointOptions(), apart="level")
    together, _ = fit_joint(X, labels, options=JointOptions())
    assert classifier.shares.shape == (2, len(classifier.blocks))
    assert together.shares.shape == (1, len(classifier.blocks))
    classifier, link_of = linked(classifier)
    scores = classifier.combination_scores(held_out)
    place = list(labels).index("level")
    for outcome, codes in enumerate(classifier.combinations):
        kind = int(classifier.classes["level"][codes[place]] == "")
        expected = np.full(len(held_out), classifier.constants[kind])
        for block, share in zip(classifier.blocks, classifier.shares[kind], strict=True):
            codes_there = tuple(codes[[list(labels).index(target) for target in block]].tolist())
            expected += share * link_of[block](held_out[:, columns_of(classifier, block)[codes_there]])
        assert scores[:, outcome] == pytest.approx(expected, abs=1e-3)


def test_combinations_with_each_class_have_shares_of_their_own():
    X, labels = desk()
    classifier, (held_out,) = fit_joint(X, labels, options=JointOptions(), apart="level", kinds_by="jurisdiction")
    n_classed = len(classifier.classes["jurisdiction"]) + 1
    assert classifier.kinds_by == "jurisdiction"
    assert classifier.shares.shape == (2 * n_classed, len(classifier.blocks))
    assert classifier.constants.shape == (2 * n_classed,)
    place = {name: at for at, name in enumerate(labels)}
    empty = classifier.classes["level"].index("")
    never_seen = np.array([[0, n_classed - 1, empty], [0, n_classed + 3, empty]], np.int32)
    more = replace(classifier, added=never_seen)
    expected = [
        n_classed * (codes[place["level"]] == empty) + min(codes[place["jurisdiction"]], n_classed - 1)
        for codes in [*classifier.combinations, *never_seen]
    ]
    assert more.kind.tolist() == expected
    assert expected[-2:] == [2 * n_classed - 1] * 2
    whole = [kind for kind in expected[:-2] if kind < n_classed]
    places = [place for place, block in enumerate(classifier.blocks) if "topic" in block]
    assert len(places) == 2
    mean = np.mean([classifier.shares[kind, places].sum() for kind in whole])
    assert classifier.share_of("topic") == pytest.approx(mean)
    settings, arrays = classifier.to_state()
    again = JointClassifier.from_state(settings, arrays)
    assert np.array_equal(again.combination_scores(held_out), classifier.combination_scores(held_out))


def test_target_that_always_has_a_label_has_one_kind_of_combinations():
    X, labels = desk()
    classifier, _ = fit_joint(X, labels, options=JointOptions(), apart="jurisdiction")
    assert classifier.apart is None
    assert classifier.shares.shape[0] == 1


def test_block_alone_is_a_calibrated_softmax():
    X, labels = desk(150)
    classifier, (held_out,) = fit_joint(X, labels, options=JointOptions(), within={"level": "jurisdiction"})
    assert list(classifier.alone) == ["topic", "jurisdiction"]
    scores = classifier.scores(X)
    probability = classifier.probability_alone(scores, "jurisdiction")
    start = len(classifier.classes["topic"])
    own = classifier.links[1](scores[:, start : start + 3])
    assert probability == pytest.approx(softmax(np.float32(classifier.alone["jurisdiction"]) * own), abs=1e-5)
    assert probability.sum(1) == pytest.approx(1, abs=1e-5)
    sure = classifier.probability_alone(held_out, "jurisdiction")
    truth = [classifier.classes["jurisdiction"].index(label) for label in labels["jurisdiction"]]
    right = (sure.argmax(1) == truth).mean()
    assert sure.max(1).mean() == pytest.approx(right, abs=0.1)
    with pytest.raises(KeyError, match="colour"):
        classifier.probability_alone(scores, "colour")


@pytest.mark.parametrize("loss", LOSSES)
def test_state_goes_through_json_and_back(loss):
    X, labels = desk()
    classifier, _ = fit_joint(X, labels, options=JointOptions(loss=loss), within={"level": "jurisdiction"})
    settings, arrays = classifier.to_state()
    again = JointClassifier.from_state(json.loads(json.dumps(settings)), arrays)
    for one, other in zip(read(classifier, X)[:2], read(again, X)[:2], strict=True):
        assert np.array_equal(one, other)
    assert again.within == classifier.within
    assert again.alone == classifier.alone
    assert again.alone.keys() == {"topic", "jurisdiction"}
    assert again.classes == classifier.classes


def test_row_does_not_depend_on_the_others():
    X, labels = desk()
    classifier, _ = fit_joint(X, labels, options=JointOptions())
    _, _, together = read(classifier, X)
    for row in (0, 17, 89):
        _, _, alone = read(classifier, X[row])
        for target in labels:
            assert np.array_equal(alone[target][0], together[target][row])


def test_order_of_targets_does_not_matter_to_what_is_within_another():
    X, labels = desk()
    turned = {name: labels[name] for name in ("level", "topic", "jurisdiction")}
    classifier, _ = fit_joint(X, turned, options=JointOptions(), within={"level": "jurisdiction"})
    assert classifier.blocks == (("topic",), ("jurisdiction",), ("level", "jurisdiction"), tuple(turned))
    one, _ = fit_joint(X, labels, options=JointOptions(), within={"level": "jurisdiction"})
    scores, other = classifier.scores(X), one.scores(X)
    topic, topic_other = classifier.columns_of["topic",], one.columns_of["topic",]
    assert scores[:, topic] == pytest.approx(other[:, topic_other], abs=1e-3)
    both = zip(classifier.combination_scores(scores).argmax(1), one.combination_scores(other).argmax(1), strict=True)
    named = [(classifier.combinations[a][[1, 2, 0]], one.combinations[b]) for a, b in both]
    assert np.mean([np.array_equal(*pair) for pair in named]) > 0.9


def test_gram_matrix_is_the_same_however_many_rows_are_multiplied_at_once(monkeypatch):
    X = sp.random(50, 30, 0.3, format="csr", dtype=np.float32, random_state=0)
    whole = gram_matrix(X)
    assert whole == pytest.approx((X @ X.T).toarray(), abs=1e-6)
    codes, groups = np.arange(50) % 3, np.arange(50) // 2
    once = fit_squared_error(X, [codes], [3], 2.0, [groups])
    monkeypatch.setattr("triage.classifier.scores._ROW_BLOCK", 7)
    assert gram_matrix(X) == pytest.approx(whole, abs=1e-6)
    by_seven = fit_squared_error(X, [codes], [3], 2.0, [groups])
    assert by_seven.coef() == pytest.approx(once.coef(), abs=1e-5)
    assert by_seven.held_out[0] == pytest.approx(once.held_out[0], abs=1e-5)
