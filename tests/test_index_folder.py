"""Tests of `triage.index`: folders that are saved, killed, damaged, or of another time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from triage.errors import BundleError
from triage.index import QuestionIndex, exact, folder

GOLDEN = Path(__file__).parent / "data" / "golden-index-1"
N_FEATURES = 40
SAVE_FOR_EVER = """
import sys
import numpy as np, scipy.sparse as sp
from triage.index import QuestionIndex, exact
exact.MOST_ROWS = 64
rng = np.random.default_rng(0)
index = QuestionIndex.from_matrix(sp.csr_matrix((0, 40), dtype=np.float32))
key = 0
while True:
    index.add(sp.random(20, 40, 0.2, "csr", np.float32, rng), np.arange(key, key + 20))
    key += 20
    if key % 60 == 0:
        index.merge()
    index.save(sys.argv[1])
    print(key, flush=True)
"""


def matrix(n_rows, seed=0):
    return sp.random(n_rows, N_FEATURES, 0.2, "csr", np.float32, np.random.default_rng(seed))


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Return the folder of an index with a bounded segment, an exact one and removed items."""
    monkeypatch.setattr(exact, "MOST_ROWS", 8)
    index = QuestionIndex.from_matrix(matrix(30))
    index.add(matrix(5, seed=1), np.arange(30, 35))
    index.remove([2, 31])
    index.save(tmp_path / "index")
    return tmp_path / "index"


def same(one, other):
    assert one.keys.tolist() == other.keys.tolist()
    assert one.last_key == other.last_key
    for found, expected in zip(one.query(matrix(5), k=50), other.query(matrix(5), k=50), strict=True):
        assert np.array_equal(found, expected)


def test_saved_again_and_again_it_is_the_same(saved, tmp_path):
    index = QuestionIndex.open(saved)
    assert [part.segment.kind for part in index._state.parts] == ["bounded", "exact"]
    index.save(tmp_path / "other")
    same(QuestionIndex.open(tmp_path / "other"), index)
    index.add(matrix(1), [99])
    index.save(tmp_path / "other")
    same(QuestionIndex.open(tmp_path / "other"), index)
    assert len(QuestionIndex.open(saved)) == 33  # what was saved first stays


def test_what_is_replaced_goes(saved):
    index = QuestionIndex.open(saved)
    index.merge()
    index.save(saved)
    same(QuestionIndex.open(saved), index)
    assert sorted(path.name.split("-")[0] for path in saved.iterdir()) == ["manifest.json", "segment", "state"]


def test_index_that_others_have_open_may_be_saved(saved):
    reader, writer = QuestionIndex.open(saved), QuestionIndex.open(saved)
    before = reader.query(matrix(5), k=50)
    writer.merge()
    writer.save(saved)
    for one, other in zip(reader.query(matrix(5), k=50), before, strict=True):
        assert np.array_equal(one, other)


def test_large_segment_is_made_in_the_folder(saved):
    index = QuestionIndex.open(saved)
    index.merge()
    members = json.loads((saved / "manifest.json").read_bytes())["members"]
    made = [path for path in saved.iterdir() if path.is_dir() and path.name not in members]
    assert [path.name for path in made] == [index._state.parts[0].name]
    QuestionIndex.open(saved).save(saved)  # another that saves clears it away
    assert not made[0].exists()


@pytest.mark.parametrize("n_saves", [1, 2, 3, 4, 6, 9])
def test_kill_leaves_what_was_saved(tmp_path, n_saves):
    run = subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, tmp_path / "index"], stdout=subprocess.PIPE, text=True)
    said = [int(run.stdout.readline()) for _ in range(n_saves)]
    time.sleep(0.003 * n_saves)
    run.send_signal(signal.SIGKILL)
    said += map(int, run.stdout.read().split())
    run.wait()
    index = QuestionIndex.open(tmp_path / "index")
    assert len(index) in (said[-1], said[-1] + 20)
    assert index.keys.tolist() == list(range(len(index)))
    assert index.last_key == len(index) - 1
    index.add(matrix(1), [5000])
    index.save(tmp_path / "index")
    same(QuestionIndex.open(tmp_path / "index"), index)
    members = json.loads((tmp_path / "index" / "manifest.json").read_bytes())["members"]
    assert {path.name for path in (tmp_path / "index").iterdir()} == {"manifest.json", *members}


def test_kill_before_the_first_save_leaves_a_folder_that_can_be_saved_to(tmp_path):
    (tmp_path / "index" / ".segment-1-0").mkdir(parents=True)
    (tmp_path / "index" / "segment-1-1").mkdir()
    (tmp_path / "index" / ".manifest.json").write_text("{")
    index = QuestionIndex.from_matrix(matrix(3))
    index.save(tmp_path / "index")
    same(QuestionIndex.open(tmp_path / "index"), index)


def files(path):
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


def test_every_damaged_or_missing_file_is_refused(saved):
    assert len(files(saved)) == 15
    for name in files(saved):
        file = saved / name
        whole = file.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(BundleError, match="must have the checksum"):
                QuestionIndex.open(saved)
        file.write_bytes(whole[:-1])
        with pytest.raises(BundleError, match=r"must have the checksum|must have [0-9]+ bytes, got"):
            QuestionIndex.open(saved)
        file.unlink()
        with pytest.raises(BundleError, match=r"must be there and readable|must be the folder of an index"):
            QuestionIndex.open(saved)
        file.write_bytes(whole)
    assert len(QuestionIndex.open(saved)) == 33


def write_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_bytes()) | changes
    del manifest["checksum"]
    manifest["checksum"] = zlib.crc32(folder._dump(manifest))
    (path / "manifest.json").write_bytes(folder._dump(manifest))


def test_newer_format_is_refused(saved):
    write_manifest(saved, format=2, segments="in another way")
    with pytest.raises(BundleError, match="is an index of format 2, and this version reads format 1; upgrade triage"):
        QuestionIndex.open(saved)


@pytest.mark.parametrize(
    "changes", [{"n_features": 900}, {"segments": [["segment-9", "exact", False]]}, {"state": "x"}]
)
def test_manifest_that_does_not_fit_its_arrays_is_refused(saved, changes):
    write_manifest(saved, **changes)
    with pytest.raises(BundleError, match="must hold the arrays of an index, and does not"):
        QuestionIndex.open(saved)


@pytest.mark.parametrize(
    ("name", "value"),
    [("indices", 40), ("indices", -1), ("indptr", 10**6), ("indptr", -1), ("data", None), ("keys", None)],
)
def test_rows_outside_their_arrays_are_refused(saved, name, value):
    (member,) = {path.parent for path in saved.glob("*/indices.npy")}
    array = np.load(member / f"{name}.npy")
    if value is None:
        array = array.astype(np.float64)
    else:
        array[len(array) // 2] = value
    np.save(member / f"{name}.npy", array)
    members = json.loads((saved / "manifest.json").read_bytes())["members"]
    write_manifest(saved, members=members | {member.name: folder.seal(saved, member.name)})
    with pytest.raises(BundleError, match="must hold the arrays of an index, and does not"):
        QuestionIndex.open(saved)


def test_other_folders_are_refused(saved, tmp_path):
    index = QuestionIndex.from_matrix(matrix(3))
    with pytest.raises(BundleError, match="holds an index already; open that one"):
        index.save(saved)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"must be empty to take an index, got 'notes\.txt'"):
        index.save(tmp_path / "mine")
    with pytest.raises(BundleError, match="must be the folder of an index"):
        QuestionIndex.open(tmp_path / "mine")
    with pytest.raises(BundleError, match="must be writable, got"):
        index.save(tmp_path / "mine" / "notes.txt" / "index")
    assert files(tmp_path / "mine") == ["notes.txt"]


def test_large_file_is_checked_by_pages(tmp_path):
    (tmp_path / "part").mkdir()
    file = tmp_path / "part" / "numbers.npy"
    np.save(file, np.arange(3_000_000))
    facts = folder.seal(tmp_path, "part")
    assert folder.map_arrays(tmp_path / "part", facts)["numbers"][-1] == 2_999_999
    with file.open("rb+") as stream:
        stream.seek(-100, 2)
        stream.write(b"x")
    with pytest.raises(BundleError, match=r"part/numbers.npy must have the checksum"):
        folder.map_arrays(tmp_path / "part", facts)


def test_golden_folder_gives_the_answers_it_gave():
    index = QuestionIndex.open(GOLDEN / "index")
    expected = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
    assert [part.segment.kind for part in index._state.parts] == ["bounded", "exact"]
    assert (index.keys.tolist(), index.last_key) == (expected["keys"], expected["last_key"])
    X = sp.csr_matrix(np.array(expected["queries"], np.float32))
    keys, similarity = index.query(X, k=4)
    assert keys.tolist() == expected["found"]
    assert similarity == pytest.approx(np.array(expected["similarity"]), abs=1e-6)
