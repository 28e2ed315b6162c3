"""Tests of `triage.index`: items come and go, segments merge, many threads ask."""

from __future__ import annotations

import pickle
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from triage.index import QuestionIndex, exact, question, unit_rows
from triage.index.bounded import BoundedSegment

N_FEATURES = 40
ROUNDED = 5e-3  # of cosines in a bounded segment: weights are kept in a byte


def matrix(n_rows, seed=0, n_features=N_FEATURES, density=0.2):
    return sp.random(n_rows, n_features, density, "csr", np.float32, np.random.default_rng(seed))


def one_hot(columns, n_features=N_FEATURES):
    return sp.csr_matrix(
        (np.ones(len(columns), np.float32), (range(len(columns)), columns)), (len(columns), n_features)
    )


def kinds(index):
    return [part.segment.kind for part in index._state.parts]


@pytest.fixture
def small_segments(monkeypatch):
    """Let more than 8 rows make a bounded segment."""
    monkeypatch.setattr(exact, "MOST_ROWS", 8)


class Model(RuleBasedStateMachine):
    """The index beside a dict of dense rows."""

    @initialize(n=st.integers(0, 20))
    def begin(self, n):
        exact.MOST_ROWS = 8
        self.folder = tempfile.TemporaryDirectory()
        self.n_saved = 0
        self.rows, self.highest, self.seed = {}, None, 0
        X = matrix(n, seed=n)
        self.index = QuestionIndex.from_matrix(X)
        self.note(X, range(n))

    def note(self, X, keys):
        self.rows.update(zip(keys, unit_rows(X).toarray(), strict=True))
        self.highest = max([*keys, -1 if self.highest is None else self.highest]) if len(keys) else self.highest

    @rule(keys=st.sets(st.integers(0, 60), max_size=12))
    def add(self, keys):
        new = sorted(keys - set(self.rows))
        self.seed += 1
        X = matrix(len(new), seed=100 + self.seed)
        self.index.add(X, new)
        self.note(X, new)

    @rule(keys=st.sets(st.integers(0, 60), max_size=6))
    def remove(self, keys):
        known = sorted(keys & set(self.rows))
        self.index.remove(known)
        for key in known:
            del self.rows[key]

    @rule()
    def merge(self):
        self.index.merge()
        assert len(kinds(self.index)) <= 1

    @rule(elsewhere=st.booleans())
    def save_and_open(self, elsewhere):
        self.n_saved += elsewhere or not self.n_saved
        folder = Path(self.folder.name, str(self.n_saved))
        self.index.save(folder)
        again = QuestionIndex.open(folder)
        for one, other in zip(again.query(matrix(3), k=4), self.index.query(matrix(3), k=4), strict=True):
            assert np.array_equal(one, other)
        self.index = again

    @rule(seed=st.integers(0, 5), k=st.integers(1, 30))
    def query(self, seed, k):
        X = matrix(3, seed)
        keys = np.array(sorted(self.rows), np.int64)
        dense = np.array([self.rows[key] for key in keys]).reshape(len(keys), N_FEATURES)
        expected = np.clip(unit_rows(X).toarray() @ dense.T, 0, 1)
        found, similarity = self.index.query(X, k=k)
        assert found.shape == similarity.shape == (3, min(k, len(keys)))
        assert similarity == pytest.approx(-np.sort(-expected, axis=1)[:, :k], abs=ROUNDED)
        for row in range(3):
            assert len(set(found[row])) == found.shape[1]
            places = np.searchsorted(keys, found[row])
            assert keys[places].tolist() == found[row].tolist()
            assert similarity[row] == pytest.approx(expected[row, places], abs=ROUNDED)
            assert (np.diff(similarity[row]) <= 0).all()
        if len(keys):
            assert self.index.cosines(X[0], keys[::-1]) == pytest.approx(
                np.clip(unit_rows(X[0]).toarray()[0] @ dense[::-1].T, 0, 1), abs=ROUNDED
            )

    @invariant()
    def keys_are_known(self):
        if hasattr(self, "index"):
            assert self.index.keys.tolist() == sorted(self.rows)
            assert len(self.index) == len(self.rows)
            assert self.index.last_key == self.highest

    def teardown(self):
        exact.MOST_ROWS = 20_000
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=20, suppress_health_check=list(HealthCheck))


def test_added_item_is_found_and_a_removed_one_is_not():
    index = QuestionIndex.from_matrix(matrix(50))
    index.add(one_hot([3]), [70])
    assert index.query(one_hot([3]), k=1)[0].tolist() == [[70]]
    index.remove([70])
    assert 70 not in index.query(one_hot([3]), k=50)[0]
    assert len(index) == 50
    assert index.last_key == 70  # so that an archive does not add it again


def test_item_is_changed_by_removing_and_adding_it():
    index = QuestionIndex.from_matrix(one_hot([1, 2]))
    index.remove([0])
    index.add(one_hot([5]), [0])
    assert index.query(one_hot([5]), k=1)[0].tolist() == [[0]]
    assert index.query(one_hot([1]), k=1)[1].tolist() == [[0]]


def test_earlier_key_comes_first_among_equals_of_all_segments():
    index = QuestionIndex.from_matrix(one_hot([1, 1]), [20, 30])
    index.add(one_hot([1, 1]), [5, 25])
    assert index.query(one_hot([1]), k=4)[0].tolist() == [[5, 20, 25, 30]]


def test_earlier_key_comes_first_among_more_equals_than_candidates(small_segments, monkeypatch):
    monkeypatch.setattr("triage.index.bounded._ROUNDS", ((10_000, 5),))
    index = QuestionIndex.from_matrix(one_hot([2] * 5 + [1] * 250))
    assert kinds(index) == ["bounded"]
    assert index.query(one_hot([1]), k=3)[0].tolist() == [[5, 6, 7]]


def test_small_additions_become_few_segments():
    index = QuestionIndex.from_matrix(matrix(0))
    for key in range(200):
        index.add(matrix(1, seed=key), [key])
    assert len(kinds(index)) <= 8
    index.remove(list(range(0, 200, 2)))
    index.add(matrix(64), list(range(1000, 1064)))
    assert index.keys.tolist() == [*range(1, 200, 2), *range(1000, 1064)]


def test_merge_decides_anew_what_is_left_out():
    index = QuestionIndex.from_matrix(one_hot([0], 500))
    X = sp.hstack([np.ones((400, 1), np.float32), one_hot([*range(400)], 499)]).tocsr()
    index.add(X, np.arange(1, 401))
    assert index.query(one_hot([0], 500), k=1)[1] == pytest.approx(1)
    index.merge()
    assert index.query(one_hot([0], 500), k=1)[1].tolist() == [[0]]
    assert index.query(X[7], k=1)[1] == pytest.approx(np.sqrt(0.5), abs=1e-5)  # of what is left


def test_bounded_segment_finds_what_exact_cosine_finds():
    rng = np.random.default_rng(0)
    X = sp.random(21_000, 70_000, 0.0006, "csr", np.float32, rng)  # columns and rows need two bytes and more
    index = QuestionIndex.from_matrix(X)
    assert kinds(index) == ["bounded"]
    Q = X[::1000].copy()
    Q.data *= rng.random(Q.nnz, np.float32)
    keys, similarity = index.query(Q, k=3)
    exact = (unit_rows(Q) @ unit_rows(X).T).toarray()
    assert similarity == pytest.approx(-np.sort(-exact, axis=1)[:, :3], abs=ROUNDED)
    assert keys[:, 0].tolist() == exact.argmax(1).tolist()
    assert np.array_equal(index.cosines(Q[4], keys[4]), similarity[4])


def test_matrix_may_be_unsorted_with_duplicates_zeros_and_doubles(small_segments):
    column = np.array([5, 3, 5, 7, 0] * 10)
    data = np.array([1, 2, 3, 0, 0.5] * 10)
    X = sp.csr_matrix((data, column, range(0, 51, 5)), (10, N_FEATURES))
    index = QuestionIndex.from_matrix(X)
    index.merge()
    expected = unit_rows(one_hot([3])).toarray() @ unit_rows(sp.csr_matrix(X.toarray())).toarray().T
    assert index.query(one_hot([3]), k=10)[1] == pytest.approx(expected, abs=ROUNDED)
    assert X.data.tolist() == data.tolist()  # what was given stays


def test_keys_may_be_any_whole_numbers():
    index = QuestionIndex.from_matrix(one_hot([1, 2]), [-9, -5])
    assert (index.last_key, index.query(one_hot([2]), k=1)[0].tolist()) == (-5, [[-5]])


def test_bounded_segment_reads_no_more_than_it_may(monkeypatch):
    monkeypatch.setattr("triage.index.bounded._ROUNDS", ((50, 5), (200, 10)))
    monkeypatch.setattr(exact, "MOST_ROWS", 8)
    index = QuestionIndex.from_matrix(matrix(280, density=0.5))
    read = []
    candidates = BoundedSegment._candidates
    monkeypatch.setattr(
        BoundedSegment,
        "_candidates",
        lambda self, ids, *rest: read.append(self.postings.take(ids)[1].sum()) or candidates(self, ids, *rest),
    )
    keys, _ = index.query(matrix(20, seed=1), k=2)
    assert keys.shape == (20, 2)
    assert max(read) <= 200


def test_empty_index_answers_with_nothing(small_segments):
    index = QuestionIndex.from_matrix(matrix(0))
    for _ in range(2):
        keys, similarity = index.query(matrix(3), k=5)
        assert keys.shape == similarity.shape == (3, 0)
        index.merge()
    assert (len(index), index.last_key, index.keys.tolist()) == (0, None, [])
    index.add(matrix(9), np.arange(9))
    index.remove(np.arange(9))
    index.merge()
    assert index.query(matrix(3), k=5)[0].shape == (3, 0)
    assert (len(index), index.last_key) == (0, 8)


def test_empty_query_and_empty_rows_are_similar_to_nothing(small_segments):
    index = QuestionIndex.from_matrix(sp.vstack([matrix(9), sp.csr_matrix((3, N_FEATURES), dtype=np.float32)], "csr"))
    index.remove([1])
    keys, similarity = index.query(sp.csr_matrix((1, N_FEATURES), dtype=np.float32), k=3)
    assert (keys.tolist(), similarity.tolist()) == ([[0, 2, 3]], [[0, 0, 0]])
    assert index.cosines(matrix(1), [10, 11]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("X", "keys", "message"),
    [
        (matrix(2), [3, 50], "keys must be new, got 3 that are in the index"),
        (matrix(5), [0, 1, 2, 3, 4], "got 0, 1, 2 and 2 more that are in the index"),
        (matrix(2), [51, 51], "keys must ascend, each once"),
        (matrix(2), [52, 51], "keys must ascend"),
        (matrix(2), [51], "keys must be as many as the 2 rows, got 1"),
        (matrix(1), [0.5], "keys must be whole numbers in one row, got float64"),
        (matrix(1, n_features=7), [50], "must have the 40 features of the index, got 7"),
        (matrix(1) * np.float32(np.nan), [50], "must be finite"),
        (matrix(1) * np.float32(np.inf), [50], "must be finite"),
    ],
)
def test_bad_additions_are_refused_whole(X, keys, message):
    index = QuestionIndex.from_matrix(matrix(10))
    with pytest.raises(ValueError, match=message):
        index.add(X, keys)
    assert index.keys.tolist() == list(range(10))


def test_unknown_keys_are_refused():
    index = QuestionIndex.from_matrix(matrix(10))
    index.remove([4])
    with pytest.raises(ValueError, match="keys must be in the index, got 4, 11 that are not"):
        index.remove([3, 4, 11])
    with pytest.raises(ValueError, match="got 4 that are not"):
        index.cosines(matrix(1), [4])
    assert len(index) == 9


def test_wrong_queries_are_refused():
    index = QuestionIndex.from_matrix(matrix(10))
    with pytest.raises(ValueError, match="must have the 40 features of the index, got 7"):
        index.query(matrix(1, n_features=7), k=1)
    with pytest.raises(ValueError, match="X must be one row, got 2"):
        index.cosines(matrix(2), [1])


def test_copy_has_no_folder_and_the_same_answers(tmp_path, small_segments):
    index = QuestionIndex.from_matrix(matrix(30))
    index.save(tmp_path / "index")
    index.add(matrix(3, seed=1), [40, 41, 42])
    copy = pickle.loads(pickle.dumps(index))
    for one, other in zip(copy.query(matrix(3), k=4), index.query(matrix(3), k=4), strict=True):
        assert np.array_equal(one, other)
    copy.save(tmp_path / "copy")
    assert QuestionIndex.open(tmp_path / "copy").keys.tolist() == index.keys.tolist()


def test_eight_threads_see_whole_changes_only(small_segments, tmp_path):
    index = QuestionIndex.from_matrix(one_hot([0, 0] * 6, 64))
    index.save(tmp_path / "index")
    done, torn, n_asked = threading.Event(), [], [0] * 8

    def ask(number):
        # Items come and go in pairs of equal rows: one without the other is half of a change.
        rng = np.random.default_rng(number)
        try:
            while not done.is_set():
                keys, similarity = index.query(one_hot([rng.integers(1, 64)], 64), k=2)
                if similarity[0].round(2).tolist() not in ([1, 1], [0, 0]) or keys[0, 0] == keys[0, 1]:
                    torn.append((keys.tolist(), similarity.tolist()))
                n_asked[number] += 1
        except BaseException as error:
            torn.append(error)
            raise

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    merges = []
    try:
        for turn in range(30):
            pair = [1000 + 2 * turn, 1001 + 2 * turn]
            index.add(one_hot([1 + turn % 63] * 2, 64), pair)
            if turn >= 10:
                index.remove([pair[0] - 20, pair[1] - 20])
            if turn % 6 == 0:
                merges.append(threading.Thread(target=index.merge))
                merges[-1].start()
            if turn % 10 == 0:
                index.save(tmp_path / "index")
        for merge in merges:
            merge.join()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not torn
    assert min(n_asked) > 0
    assert index.keys.tolist() == [*range(12), *range(1040, 1060)]
    index.save(tmp_path / "index")
    assert QuestionIndex.open(tmp_path / "index").keys.tolist() == index.keys.tolist()


def test_items_change_while_a_merge_runs(small_segments, monkeypatch):
    index = QuestionIndex.from_matrix(one_hot(range(20)))
    index.remove([3])
    begun, go_on = threading.Event(), threading.Event()
    whole = question.merged

    def slow(*args):
        begun.set()
        assert go_on.wait(10)
        return whole(*args)

    monkeypatch.setattr(question, "merged", slow)
    merge = threading.Thread(target=index.merge)
    merge.start()
    assert begun.wait(10)
    index.remove([4, 5])
    index.add(one_hot([4, 30]), [5, 50])
    assert index.query(one_hot([4]), k=1)[0].tolist() == [[5]]
    go_on.set()
    merge.join()
    assert index.keys.tolist() == [*range(3), *range(5, 20), 50]
    assert index.query(one_hot([4, 30, 5]), k=1)[0].tolist() == [[5], [50], [0]]
