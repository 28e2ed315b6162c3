"""Tests of the graph of a large `triage.index.VectorIndex`: near vectors found without a look at all."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from triage.errors import BundleError
from triage.index import VectorIndex, exact, graph, vectors
from triage.index.vectors import GraphSegment, VectorSegment

pytest.importorskip("usearch.index", reason="the extra `ann` is not installed")

DIM = 16
N = 600
K = 5


def matrix(n_rows, seed=0, dim=DIM):
    return np.random.default_rng(seed).normal(size=(n_rows, dim)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_graphs(monkeypatch):
    """Let a merge of more than 200 rows make a graph, and a search ask it for a few candidates."""
    monkeypatch.setattr(vectors, "MOST_EXACT", 200)
    monkeypatch.setattr(vectors, "_LEAST_NEAR", 30)
    monkeypatch.setattr(vectors, "_SHARE_NEAR", 8)
    monkeypatch.setattr(exact, "MOST_ROWS", 100)


@pytest.fixture
def whole(monkeypatch):
    """Return a function that makes an index without a graph."""

    def make(X, keys=None):
        with monkeypatch.context() as patch:
            patch.setattr(vectors, "MOST_EXACT", len(X))
            index = VectorIndex.from_matrix(X, keys)
        assert kinds(index) in (["vectors"], [])
        return index

    return make


@pytest.fixture
def no_usearch(monkeypatch):
    """Return a function after which usearch cannot be imported."""
    return lambda: monkeypatch.setitem(sys.modules, "usearch.index", None)


@pytest.fixture
def searched_whole(monkeypatch):
    """Return a list that gets how many queries were held against every row, each time some were."""
    counts, search = [], VectorSegment.search

    def counting(self, Q, k, dead):
        counts.append(len(Q))
        return search(self, Q, k, dead)

    monkeypatch.setattr(VectorSegment, "search", counting)
    return counts


def kinds(index):
    return [part.segment.kind for part in index._state.parts]


def same(one, other, k=K):
    assert one.keys.tolist() == other.keys.tolist()
    for found, expected in zip(one.query(matrix(20, 1), k=k), other.query(matrix(20, 1), k=k), strict=True):
        assert np.array_equal(found, expected)


def recall(found, expected):
    return np.mean([len({*one} & {*other}) / len(other) for one, other in zip(found, expected, strict=True)])


# --- asking ---------------------------------------------------------------------------------------


def test_nearest_are_found_without_a_look_at_all(whole, searched_whole):
    index, Q = VectorIndex.from_matrix(matrix(N)), matrix(100, 1)
    assert kinds(index) == ["graph"]
    keys, similarity = index.query(Q, k=K)
    assert not searched_whole
    expected, highest = whole(matrix(N)).query(Q, k=K)
    assert (keys.shape, keys.dtype, similarity.shape, similarity.dtype) == (
        (expected.shape, expected.dtype, highest.shape, highest.dtype)
    )
    assert recall(keys, expected) >= 0.98
    for row in range(len(Q)):
        assert np.array_equal(index.cosines(Q[row], keys[row]), similarity[row])
        both = np.isin(keys[row], expected[row])
        assert np.array_equal(similarity[row][both], highest[row][np.isin(expected[row], keys[row])])


def test_graph_does_not_ask_how_long_a_vector_is(whole):
    X = matrix(N) * np.geomspace(1e-20, 1e20, N, dtype=np.float32)[:, None]
    keys, _ = VectorIndex.from_matrix(X).query(matrix(50, 1) * 1000, k=K)
    assert recall(keys, whole(matrix(N)).query(matrix(50, 1), k=K)[0]) >= 0.98


def test_many_copies_come_in_the_order_of_keys_and_hide_nothing(whole, searched_whole):
    X = np.concatenate([np.repeat(matrix(1, 2), 300, 0), matrix(N)])
    index = VectorIndex.from_matrix(X)
    keys, similarity = index.query(matrix(1, 2), k=10)
    assert keys.tolist() == [list(range(10))]
    assert (similarity == similarity[0, 0]).all()
    near = matrix(20, 3) + 2 * matrix(1, 2)
    found, _ = index.query(near, k=K)
    index.remove(np.arange(300))
    behind, _ = index.query(near, k=K)
    assert not searched_whole
    alone = whole(X)
    assert recall(found, alone.query(near, k=K)[0]) >= 0.98
    alone.remove(np.arange(300))
    assert recall(behind, alone.query(near, k=K)[0]) >= 0.98


@pytest.mark.parametrize("k", [16, 100, N, N + 1, 10 * N])
def test_a_large_share_is_searched_whole(whole, k):
    same(VectorIndex.from_matrix(matrix(N)), whole(matrix(N)), k=k)


def test_vectors_of_zeros_are_similar_to_nothing(whole, searched_whole):
    X = matrix(N)
    X[::2] = 0
    index, alone = VectorIndex.from_matrix(X), whole(X)
    Q = np.concatenate([np.zeros((2, DIM), np.float32), X[1:2]])
    keys, similarity = index.query(Q, k=K)
    assert searched_whole == [2]
    assert np.array_equal(keys, alone.query(Q, k=K)[0])
    assert similarity[:2].tolist() == [[0] * K] * 2
    same(VectorIndex.from_matrix(0 * X), whole(0 * X))


def test_what_is_similar_to_few_is_searched_whole(whole):
    X = np.abs(matrix(N))
    X[:3] *= -1
    Q = -np.abs(matrix(4, 1))
    for found, expected in zip(VectorIndex.from_matrix(X).query(Q, k=K), whole(X).query(Q, k=K), strict=True):
        assert np.array_equal(found, expected)


def test_no_queries_and_few_items():
    assert VectorIndex.from_matrix(matrix(N)).query(matrix(0), k=3)[0].shape == (0, 3)
    assert kinds(VectorIndex.from_matrix(matrix(200))) == ["vectors"]
    assert kinds(VectorIndex.from_matrix(matrix(0))) == []
    assert VectorIndex.from_matrix(matrix(201, dim=1)).query(matrix(2, dim=1), k=300)[0].shape == (2, 201)


def test_the_same_rows_make_the_same_graph():
    one, other = (VectorIndex.from_matrix(matrix(N))._state.parts[0].segment.arrays() for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_import_does_not_load_usearch():
    code = "import sys, triage.index; sys.exit(any(name.startswith('usearch') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- changing -------------------------------------------------------------------------------------


def test_removed_items_never_come_back(whole, tmp_path):
    X, Q = matrix(N), matrix(40, 1)
    index = VectorIndex.from_matrix(X)
    gone = np.unique(index.query(Q, k=3)[0])
    index.remove(gone)
    keys, _ = index.query(Q, k=K)
    assert not np.isin(keys, gone).any()
    left = np.setdiff1d(np.arange(N), gone)
    assert recall(keys, whole(X[left], left).query(Q, k=K)[0]) >= 0.98
    index.save(tmp_path / "index")
    assert np.array_equal(VectorIndex.open(tmp_path / "index").query(Q, k=K)[0], keys)
    index.merge()
    assert not np.isin(index.query(Q, k=N)[0], gone).any()


def test_candidates_that_are_gone_are_made_up_for(whole, searched_whole):
    X = matrix(N)
    index = VectorIndex.from_matrix(X)
    gone = np.sort(index.query(X[:1], k=60)[0][0])
    index.remove(gone)
    searched_whole.clear()
    left = np.setdiff1d(np.arange(N), gone)
    keys, similarity = index.query(X[:1], k=K)
    assert searched_whole == [1]
    expected = whole(X[left], left).query(X[:1], k=K)
    assert np.array_equal(keys, expected[0])
    assert np.array_equal(similarity, expected[1])


def test_all_items_gone():
    index = VectorIndex.from_matrix(matrix(N))
    index.remove(np.arange(N))
    assert index.query(matrix(2), k=K)[0].shape == (2, 0)
    index.merge()
    assert kinds(index) == []


def test_added_items_are_found_at_once_and_by_the_next_graph():
    index = VectorIndex.from_matrix(matrix(N))
    new = matrix(30, 5)
    index.add(new, np.arange(N, N + 30))
    for _ in range(2):
        assert index.query(new, k=1)[0][:, 0].tolist() == list(range(N, N + 30))
        index.merge()
        assert kinds(index) == ["graph"]


def test_threads_ask_while_a_graph_is_made():
    X = matrix(N)
    index = VectorIndex.from_matrix(X)
    expected = index.query(X, k=K)
    done, wrong, n_asked = threading.Event(), [], [0] * 8

    def ask(number):
        while not done.is_set():
            found = index.query(X[number::8], k=K)
            n_asked[number] += 1
            if not all(np.array_equal(one, other[number::8]) for one, other in zip(found, expected, strict=True)):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        while min(n_asked) < 2:
            index.merge()  # of the same rows in the same order: the same graph
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert index.keys.tolist() == list(range(N))


# --- the folder -----------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """Return the folder of an index with a graph, a small segment and removed items."""
    index = VectorIndex.from_matrix(matrix(N))
    index.add(matrix(5, 4), np.arange(N, N + 5))
    index.remove([2, N + 1])
    index.save(tmp_path / "index")
    return tmp_path / "index"


def test_saved_index_is_mapped_and_answers_the_same(saved):
    index = VectorIndex.open(saved)
    assert kinds(index) == ["graph", "vectors"]
    mapped = index._state.parts[0].segment.graph.graph
    assert isinstance(mapped.base, np.memmap)
    assert not mapped.flags.writeable
    same(pickle.loads(pickle.dumps(index)), index)
    index.merge()
    assert kinds(index) == ["graph"]
    index.save(saved)
    same(VectorIndex.open(saved), index)


def test_opens_and_is_searched_whole_without_usearch(saved, no_usearch, searched_whole):
    keys, _ = VectorIndex.open(saved).query(matrix(20, 1), k=K)
    no_usearch()
    searched_whole.clear()
    index = VectorIndex.open(saved)
    found, _ = index.query(matrix(20, 1), k=K)
    assert searched_whole == [20, 20]  # of the graph's rows, and of those added
    assert recall(found, keys) >= 0.98
    index.merge()
    assert kinds(index) == ["vectors"]
    index.save(saved)
    same(VectorIndex.open(saved), index)


@pytest.mark.parametrize("member", ["graph.npy", "graph_sum.npy", "members.npy", "bounds.npy"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_graph_is_a_clear_error(saved, member, damage):
    (path,) = saved.rglob(member)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(raw if damage == "flip" else raw[: len(raw) // 2])
    with pytest.raises(BundleError, match=r"must (have|be) .*restore it"):
        VectorIndex.open(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: {"graph": one["graph"] ^ (np.arange(len(one["graph"])) == 30_000)}, "must have the checksum"),
        (lambda one: {"graph": one["graph"][:-1]}, "must have the checksum"),
        (lambda one: {"graph": one["graph"].astype(np.int16)}, "must have the kinds and lengths"),
        (lambda one: {"members": one["members"][1:]}, "must have the kinds and lengths"),
        (lambda one: {"members": one["members"] + 1}, "must lie within its rows"),
        (lambda one: {"bounds": one["bounds"][:-1]}, "must lie within its rows"),
        (lambda one: {"bounds": one["bounds"][::-1]}, "must lie within its rows"),
        (lambda one: {"bounds": np.delete(one["bounds"], 1)}, "must be of the rows beside it"),
        (lambda one: graph_of(np.zeros(1000, np.uint8)), "that this version of usearch reads"),
        (lambda one: graph_of(one["graph"][: len(one["graph"]) // 2]), "that this version of usearch reads"),
    ],
)
def test_graph_that_does_not_fit_is_refused(change, message):
    arrays = VectorIndex.from_matrix(matrix(N))._state.parts[0].segment.arrays()
    with pytest.raises(ValueError, match=message):
        GraphSegment.from_arrays(arrays | change(arrays), DIM)


def graph_of(raw):
    return {"graph": raw, "graph_sum": np.array([graph.zlib.crc32(raw.tobytes())], np.uint32)}
