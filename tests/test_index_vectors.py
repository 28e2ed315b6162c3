"""Tests of `triage.index.VectorIndex`: nearest vectors, exact, while items come and go."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from triage.errors import BundleError
from triage.index import QuestionIndex, VectorIndex, exact, vectors

DIM = 24
ROUNDED = 1e-3  # at most, of a cosine
SAVE_FOR_EVER = """
import sys
import numpy as np
from triage.index import VectorIndex, exact
exact.MOST_ROWS = 64
rng = np.random.default_rng(0)
index = VectorIndex.from_matrix(np.zeros((0, 24), np.float32))
key = 0
while True:
    index.add(rng.normal(size=(20, 24)).astype(np.float32), np.arange(key, key + 20))
    key += 20
    if key % 60 == 0:
        index.merge()
    index.save(sys.argv[1])
    print(key, flush=True)
"""


def matrix(n_rows, seed=0, dim=DIM):
    return np.random.default_rng(seed).normal(size=(n_rows, dim)).astype(np.float32)


def unit(X):
    length = np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    return X / np.where(length > 0, length, 1)


def cosine(X, Y):
    return np.clip(unit(X) @ unit(Y).T, 0, 1)


@pytest.fixture
def small_segments(monkeypatch):
    """Let no more than 8 rows be joined when they are added."""
    monkeypatch.setattr(exact, "MOST_ROWS", 8)


@pytest.fixture
def saved(tmp_path, small_segments):
    """Return the folder of an index with two segments and removed items."""
    index = VectorIndex.from_matrix(matrix(30))
    index.add(matrix(5, seed=1), np.arange(30, 35))
    index.remove([2, 31])
    index.save(tmp_path / "index")
    return tmp_path / "index"


def same(one, other):
    assert one.keys.tolist() == other.keys.tolist()
    assert one.last_key == other.last_key
    for found, expected in zip(one.query(matrix(5), k=50), other.query(matrix(5), k=50), strict=True):
        assert np.array_equal(found, expected)


# --- asking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 3, 64, 384, 1024, 4097])
@pytest.mark.parametrize("k", [3, 30])
def test_query_is_brute_force_at_any_dimension(dim, k):
    X, Q = matrix(100, dim=dim), matrix(70, seed=1, dim=dim) * 1000
    keys, similarity = VectorIndex.from_matrix(X).query(Q, k=k)
    dense = cosine(Q, X)
    assert keys.shape == similarity.shape == (70, k)
    assert similarity == pytest.approx(-np.sort(-dense, axis=1)[:, :k], abs=ROUNDED)
    assert np.take_along_axis(dense, keys, 1) == pytest.approx(similarity, abs=ROUNDED)


@given(arrays(np.float32, st.tuples(st.integers(0, 30), st.just(5)), elements=st.floats(-(2.0**90), 2.0**90, width=32)))
def test_any_finite_vectors_are_found(X):
    _, similarity = VectorIndex.from_matrix(X).query(X, k=3)
    dense = cosine(X, X)
    assert similarity == pytest.approx(-np.sort(-dense, axis=1)[:, :3], abs=ROUNDED)
    assert ((similarity >= 0) & (similarity <= 1)).all()


@given(st.integers(2, 2000), st.integers(0, 2**32 - 1))
def test_sums_of_products_are_exact(dim, seed):
    rng = np.random.default_rng(seed)
    row = rng.choice([-1.0, 1.0, rng.normal()], size=(1, dim))
    steps = vectors._steps(row).astype(np.int64)
    assert (steps * steps).sum() <= 2**24


def test_similarity_does_not_depend_on_the_other_queries_or_items(monkeypatch):
    X, Q = matrix(300, dim=384), matrix(100, seed=1, dim=384)
    together = VectorIndex.from_matrix(X).query(Q, k=10)
    monkeypatch.setattr(vectors, "_BLOCK_ROWS", 7)
    few = VectorIndex.from_matrix(X[:0])
    for start in range(0, 300, 50):
        few.add(X[start : start + 50], np.arange(start, start + 50))
    for row in (0, 13, 64, 99):
        alone = few.query(Q[row : row + 1], k=10)
        assert np.array_equal(alone[0][0], together[0][row])
        assert np.array_equal(alone[1][0], together[1][row])
        assert np.array_equal(few.cosines(Q[row], together[0][row]), together[1][row])


@pytest.mark.parametrize("k", [4, 24])
def test_earlier_item_comes_first_among_equals(k):
    X = np.concatenate([matrix(3)] * 8)
    keys, _ = VectorIndex.from_matrix(X).query(X[:3], k=k)
    assert keys[:, :4].tolist() == [[row, row + 3, row + 6, row + 9] for row in range(3)]


@pytest.mark.parametrize(("k", "expected"), [(1, 1), (5, 5), (6, 5), (1000, 5)])
def test_at_most_k_items_come_back(k, expected):
    keys, similarity = VectorIndex.from_matrix(matrix(5)).query(matrix(2, seed=1), k=k)
    assert keys.shape == similarity.shape == (2, expected)


def test_vector_of_zeros_is_similar_to_nothing():
    index = VectorIndex.from_matrix(np.concatenate([matrix(2), np.zeros((1, DIM), np.float32)]))
    assert index.query(np.zeros((1, DIM)), k=3)[1].tolist() == [[0, 0, 0]]
    assert index.cosines(matrix(1)[0], [2]).tolist() == [0]


def test_empty_index_and_no_queries_give_nothing():
    assert VectorIndex.from_matrix(matrix(0)).query(matrix(2), k=3)[0].shape == (2, 0)
    assert VectorIndex.from_matrix(matrix(5)).query(matrix(0), k=3)[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda index: index.query(matrix(1), k=0), "k must be at least 1, got 0"),
        (lambda index: index.query(matrix(1, dim=3), k=1), "must have the 24 features of the index, got 3"),
        (lambda index: index.query(matrix(1)[0], k=1), "rows of a matrix, got an array of 1 dimensions"),
        (lambda index: index.query(matrix(1) * np.nan, k=1), "must be finite"),
        (lambda index: index.cosines(matrix(2), [1]), "X must be one row, got 2"),
        (lambda index: index.cosines(matrix(1), [1, 77]), "keys must be in the index, got 77"),
        (lambda index: index.add(matrix(1), [3]), "keys must be new, got 3"),
        (lambda index: index.add(matrix(2), [8, 7]), "keys must ascend"),
        (lambda index: index.add(matrix(2), [7]), "keys must be as many as the 2 rows, got 1"),
        (lambda index: index.add(matrix(1) * np.inf, [7]), "must be finite"),
        (lambda index: index.remove([4, 5]), "keys must be in the index, got 5"),
        (lambda index: VectorIndex.from_matrix(matrix(1)[0]), "rows of a matrix, got an array of 1 dimensions"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(ask, message):
    index = VectorIndex.from_matrix(matrix(5))
    with pytest.raises(ValueError, match=message):
        ask(index)
    same(index, VectorIndex.from_matrix(matrix(5)))


# --- changing -------------------------------------------------------------------------------------


class Model(RuleBasedStateMachine):
    """The index beside a dict of rows."""

    @initialize(n=st.integers(0, 20))
    def begin(self, n):
        exact.MOST_ROWS = 8
        self.folder = tempfile.TemporaryDirectory()
        self.n_saved = 0
        self.rows, self.highest, self.seed = {}, None, 0
        self.index = VectorIndex.from_matrix(matrix(n, seed=n))
        self.note(matrix(n, seed=n), range(n))

    def note(self, X, keys):
        self.rows.update(zip(keys, X, strict=True))
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

    @rule(elsewhere=st.booleans())
    def save_and_open(self, elsewhere):
        self.n_saved += elsewhere or not self.n_saved
        folder = Path(self.folder.name, str(self.n_saved))
        self.index.save(folder)
        again = VectorIndex.open(folder)
        same(again, self.index)
        self.index = again

    @rule(seed=st.integers(0, 5), k=st.integers(1, 40))
    def query(self, seed, k):
        X = matrix(3, seed)
        keys = np.array(sorted(self.rows), np.int64)
        dense = np.array([self.rows[key] for key in keys], np.float32).reshape(len(keys), DIM)
        alone = VectorIndex.from_matrix(dense, keys)
        for found, expected in zip(self.index.query(X, k=k), alone.query(X, k=k), strict=True):
            assert np.array_equal(found, expected)
        if len(keys):
            assert self.index.cosines(X[0], keys[::-1]) == pytest.approx(cosine(X[:1], dense[::-1])[0], abs=ROUNDED)

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
TestModel.settings = settings(max_examples=6, stateful_step_count=15, suppress_health_check=list(HealthCheck))


def test_pickle_is_an_index_without_a_folder(saved):
    index = VectorIndex.open(saved)
    same(pickle.loads(pickle.dumps(index)), index)


def test_threads_ask_while_items_change(small_segments, tmp_path):
    fixed = matrix(12)
    index = VectorIndex.from_matrix(fixed)
    done, torn, n_asked = threading.Event(), [], [0, 0]

    def ask(number):
        while not done.is_set():
            keys, similarity = index.query(fixed, k=1)
            n_asked[number] += 1
            if keys[:, 0].tolist() != list(range(12)) or (similarity < 1 - ROUNDED).any():
                torn.append(keys)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(40):
            index.add(matrix(3, seed=turn + 1), np.arange(100 + 3 * turn, 103 + 3 * turn))
            if turn >= 10:
                index.remove(np.arange(70 + 3 * turn, 73 + 3 * turn))
            if turn % 8 == 0:
                index.merge()
            if turn % 10 == 0:
                index.save(tmp_path / "index")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not torn
    assert min(n_asked) > 0
    assert index.keys.tolist() == [*range(12), *range(190, 220)]


# --- the folder -----------------------------------------------------------------------------------


def test_merged_rows_are_made_in_the_folder_and_mapped(saved):
    index = VectorIndex.open(saved)
    index.merge()
    assert len(index._state.parts) == 1
    index.save(saved)
    same(VectorIndex.open(saved), index)
    assert sorted(path.name.split("-")[0] for path in saved.iterdir()) == ["manifest.json", "segment", "state"]


@pytest.mark.parametrize("n_saves", [1, 3, 6])
def test_kill_leaves_what_was_saved(tmp_path, n_saves):
    run = subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, tmp_path / "index"], stdout=subprocess.PIPE, text=True)
    said = [int(run.stdout.readline()) for _ in range(n_saves)]
    time.sleep(0.003 * n_saves)
    run.send_signal(signal.SIGKILL)
    said += map(int, run.stdout.read().split())
    run.wait()
    index = VectorIndex.open(tmp_path / "index")
    assert len(index) in (said[-1], said[-1] + 20)
    assert index.keys.tolist() == list(range(len(index)))
    index.add(matrix(1), [5000])
    index.save(tmp_path / "index")
    same(VectorIndex.open(tmp_path / "index"), index)


@pytest.mark.parametrize("member", ["manifest.json", "keys.npy", "rows.npy", "dead.npy", "left_out.npy"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_folder_is_a_clear_error(saved, member, damage):
    for path in saved.rglob(member):
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        if damage == "remove":
            path.unlink()
        else:
            path.write_bytes(raw if damage == "flip" else raw[: len(raw) // 2])
    with pytest.raises(BundleError, match=r"must (have|be) .*restore it|must be the folder of an index"):
        VectorIndex.open(saved)


def test_each_index_refuses_the_folder_of_the_other(saved, tmp_path):
    with pytest.raises(BundleError, match=r"must hold the arrays of an index, and does not \('vectors'\)"):
        QuestionIndex.open(saved)
    QuestionIndex.from_matrix(sp.eye(3, format="csr", dtype=np.float32)).save(tmp_path / "questions")
    with pytest.raises(BundleError, match=r"must hold the arrays of an index, and does not \('exact'\)"):
        VectorIndex.open(tmp_path / "questions")


def test_rows_of_another_length_are_refused(saved):
    manifest = json.loads((saved / "manifest.json").read_bytes())
    name = manifest["segments"][0][0]
    parts = {file.stem: np.load(file) for file in (saved / name).iterdir()}
    with pytest.raises(ValueError, match="must have the kinds and lengths"):
        vectors.VectorSegment.from_arrays(parts, DIM + 1)
    with pytest.raises(ValueError, match="must have the kinds and lengths"):
        vectors.VectorSegment.from_arrays(parts | {"rows": parts["rows"].astype(np.int32)}, DIM)
