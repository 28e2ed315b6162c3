"""Tests of `triage.index`: nearest questions by cosine."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from triage.index import QuestionIndex, unit_rows


def matrix(n_rows, seed=0, n_features=30):
    return sp.random(n_rows, n_features, 0.3, "csr", np.float32, np.random.default_rng(seed))


def index_of(X):
    return QuestionIndex.from_matrix(X)


def test_unit_rows_have_length_one_and_empty_rows_stay_empty():
    X = sp.csr_matrix(np.array([[3, 4], [0, 0], [0, 0.5]], np.float32))
    assert unit_rows(X).toarray() == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, 1]]))
    assert X.toarray()[0].tolist() == [3, 4]  # what was given stays


def test_query_is_the_cosine_of_a_dense_search():
    rows, queries = matrix(50), matrix(20, seed=1)
    place, similarity = index_of(rows).query(queries, k=7)
    dense = unit_rows(queries).toarray() @ unit_rows(rows).toarray().T
    assert place.shape == similarity.shape == (20, 7)
    assert similarity == pytest.approx(-np.sort(-dense, axis=1)[:, :7], abs=1e-5)
    assert np.take_along_axis(dense, place, 1) == pytest.approx(similarity, abs=1e-5)


def test_question_is_most_similar_to_itself():
    rows = matrix(50)
    place, similarity = index_of(rows).query(rows * 5, k=1)
    assert place[:, 0].tolist() == list(range(50))
    assert similarity[:, 0] == pytest.approx(1, abs=1e-5)
    assert (similarity <= 1).all()


def test_earlier_question_comes_first_among_equals():
    rows = sp.vstack([matrix(3)] * 4).tocsr()
    place, _ = index_of(rows).query(rows[:3], k=4)
    assert place.tolist() == [[row, row + 3, row + 6, row + 9] for row in range(3)]


@pytest.mark.parametrize(("k", "expected"), [(1, 1), (4, 4), (5, 5), (6, 5), (1000, 5)])
def test_at_most_k_questions_come_back(k, expected):
    place, similarity = index_of(matrix(5)).query(matrix(2, seed=1), k=k)
    assert place.shape == similarity.shape == (2, expected)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k):
    with pytest.raises(ValueError, match=f"k must be at least 1, got {k}"):
        index_of(matrix(5)).query(matrix(1), k=k)


def test_empty_query_is_similar_to_nothing():
    place, similarity = index_of(matrix(5)).query(sp.csr_matrix((1, 30), dtype=np.float32), k=3)
    assert (place.tolist(), similarity.tolist()) == ([[0, 1, 2]], [[0, 0, 0]])


def test_no_queries_give_no_rows():
    place, similarity = index_of(matrix(5)).query(sp.csr_matrix((0, 30), dtype=np.float32), k=3)
    assert place.shape == similarity.shape == (0, 3)


def test_row_does_not_depend_on_the_other_queries():
    index, queries = index_of(matrix(300, n_features=80)), matrix(40, seed=1, n_features=80)
    place, similarity = index.query(queries, k=10)
    for row in (0, 13, 39):
        alone = index.query(queries[row], k=10)
        assert np.array_equal(alone[0][0], place[row])
        assert np.array_equal(alone[1][0], similarity[row])


def test_large_index_leaves_out_what_stands_everywhere():
    rare = sp.random(2000, 3000, 0.005, "csr", np.float32, np.random.default_rng(0))
    rows = sp.hstack([rare, sp.csr_matrix(np.ones((2000, 1), np.float32))]).tocsr()
    place, similarity = index_of(rows).query(rows[:100], k=1)
    assert place[:, 0].tolist() == list(range(100))
    assert ((similarity > 0) & (similarity <= 1)).all()
    common = sp.csr_matrix(([1], ([0], [3000])), (1, 3001), np.float32)
    assert index_of(rows).query(common, k=1)[1].tolist() == [[0]]
