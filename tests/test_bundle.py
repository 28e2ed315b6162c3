"""Tests of `triage.bundle`: what is saved comes back, and whatever is wrong with a folder is found and named."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import triage.bundle.saving
from triage.bundle import FORMAT, Contents, load_bundle, save_bundle
from triage.errors import BundleError

SECRET = "quảnchuối"  # stands in contents, must never stand in a message
MEMBERS = ["features.idf.npy", "metrics.json", "questions.jsonl", "settings.json", "model_card.md"]
DTYPES = ["?", "i1", "u1", "f2"] + [order + kind for order in "<>" for kind in ("i2", "u4", "i8", "f4", "f8")]


def make_contents(value: float = 0.5, n_weights: int = 64) -> Contents:
    return Contents(
        settings={"threshold": value, "classes": ["đất đai", "b"], "note": SECRET},
        arrays={"features.idf": np.full(n_weights, value), "linh vực/ä": np.arange(6).reshape(2, 3)},
        tables={"questions": [{"id": 1, "text": f"{SECRET}\n\u2028,"}, {"id": 2, "text": "{}"}], "empty": []},
        metrics={"ece": 0.1 + 0.2, "nothing": float("nan")},
        fingerprint="ab12",
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_bundle(tmp_path / "desk", make_contents(), documents={"model_card.md": "# Card\n"})


def refused(path: Path, match: str) -> BundleError:
    with pytest.raises(BundleError, match=match) as caught:
        load_bundle(path)
    assert SECRET not in str(caught.value)
    assert caught.value.remedy
    return caught.value


def dump(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2) + "\n").encode()


def forge(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest and make its checksum right again, as a tamperer who can would."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["checksum"]
    change(manifest)
    (folder / "manifest.json").write_bytes(dump({**manifest, "checksum": hashlib.sha256(dump(manifest)).hexdigest()}))


def plant(folder: Path, name: str, content: bytes) -> None:
    """Replace a member, with right size and checksum."""
    (folder / name).write_bytes(content)
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    forge(folder, lambda manifest: manifest["members"].update({name: facts}))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# Round trip


def test_contents_come_back(saved: Path) -> None:
    contents, manifest = load_bundle(saved)
    want = make_contents()
    assert contents.settings == want.settings
    assert contents.tables == want.tables
    assert contents.metrics == {"ece": 0.1 + 0.2, "nothing": None}
    assert contents.fingerprint == "ab12"
    assert contents.arrays.keys() == want.arrays.keys()
    assert set(manifest["members"]) == {*MEMBERS, "linh%20v%E1%BB%B1c%2F%C3%A4.npy", "empty.jsonl"}
    assert manifest["format"] == FORMAT
    assert manifest["versions"].keys() == {"triage", "python", "numpy", "scipy", "scikit-learn", "spacy"}
    assert manifest["versions"]["numpy"] == np.__version__


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda n: n[0] != ".")
arrays = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, arrays, max_size=3), st.booleans())
def test_arrays_come_back_equal(given_arrays: dict[str, np.ndarray], fortran: bool) -> None:
    if len({name.lower() for name in given_arrays}) < len(given_arrays):
        return
    given_arrays = {n: np.asarray(a, order="F") if fortran else a for n, a in given_arrays.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = save_bundle(Path(folder) / "b", Contents({}, given_arrays, {}, {}, ""))
        loaded = load_bundle(path)[0].arrays
    assert loaded.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert loaded[name].dtype.isnative
        assert loaded[name].shape == array.shape
        assert loaded[name].flags.c_contiguous
        assert loaded[name].flags.writeable
        assert loaded[name].flags.aligned
        assert np.array_equal(loaded[name], array, equal_nan=array.dtype.kind == "f")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.integers(0, 3))
def test_json_comes_back_equal(record: dict[str, Any], n_rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save_bundle(Path(folder) / "b", Contents(record, {}, {"t": [record] * n_rows}, record, "f"))
        contents, _ = load_bundle(path)
    assert contents.settings == contents.metrics == record
    assert contents.tables == {"t": [record] * n_rows}


def test_two_saves_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = make_contents(), make_contents()
    second = Contents(
        dict(reversed(second.settings.items())),
        {name: np.asfortranarray(array).astype(array.dtype.newbyteorder(">")) for name, array in second.arrays.items()},
        dict(reversed(second.tables.items())),
        second.metrics,
        second.fingerprint,
    )
    assert bytes_of(save_bundle(tmp_path / "a", first)) == bytes_of(save_bundle(tmp_path / "b", second))


def test_numpy_scalars_and_tuples_become_json(tmp_path: Path) -> None:
    contents = Contents({"a": np.int64(3), "b": (np.float32(0.5), np.bool_(True), np.str_("x"))}, {}, {}, {}, "")
    assert load_bundle(save_bundle(tmp_path / "b", contents))[0].settings == {"a": 3, "b": [0.5, True, "x"]}


def test_bundle_is_found_in_a_desks_folder(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    save_bundle(tmp_path / "bundle", make_contents())
    assert load_bundle(str(tmp_path))[0].fingerprint == load_bundle(tmp_path / "bundle")[0].fingerprint == "ab12"


def test_parents_are_made_and_the_path_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert save_bundle("models/new", make_contents()) == Path("models/new")
    assert [file.name for file in Path("models").iterdir()] == ["new"]
    monkeypatch.chdir(tmp_path / "models" / "new")
    assert load_bundle(".")[0].fingerprint == "ab12"


def test_eight_threads_load_at_once(saved: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda _: load_bundle(saved)[0], range(64)))
    assert all(np.array_equal(one.arrays["features.idf"], np.full(64, 0.5)) for one in loaded)


def test_ten_megabytes_load_fast(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    many = {f"a{i}": rng.random(125_000) for i in range(10)}
    path = save_bundle(tmp_path / "b", Contents({}, many, {}, {}, ""))
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        load_bundle(path)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) <= 0.06


# What cannot be saved


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"settings": {"a": {"b": [0, float("nan")]}}}, r"settings\.a\.b\[1\] must be finite, got nan"),
        ({"settings": {"a": np.float32("inf")}}, r"settings\.a must be finite, got inf"),
        ({"settings": {"a": {1: 2}}}, r"settings\.a must be a JSON value, its keys text; got dict"),
        ({"settings": {"a": np.ones(2)}}, r"settings\.a must be a JSON value.*got ndarray"),
        ({"settings": [1]}, r"settings must be a dict, got list"),
        ({"settings": {"a": "\ud800"}}, r"settings\.a must not hold lone surrogates"),
        ({"metrics": {"a": object()}}, r"metrics\.a must be a JSON value.*got object"),
        ({"tables": {"t": [{}, {"x": float("inf")}]}}, r"table 't', row 2\.x must be finite"),
        ({"tables": {"t": [[]]}}, r"table 't', row 1 must be a dict"),
        ({"arrays": {"o": np.array([{}, None])}}, r"array 'o' must be of booleans.*dtype object"),
        ({"arrays": {"s": np.array(["a"])}}, r"array 's' must be .* dtype <U1"),
        ({"arrays": {"c": np.ones(1, complex)}}, r"dtype complex128"),
        ({"arrays": {"l": np.ones(1, np.longdouble)}}, r"array 'l' must be"),
        ({"arrays": {"r": np.zeros(1, [("a", "f8")])}}, r"array 'r' must be"),
        ({"arrays": {"a": np.ones(1), "A": np.ones(1)}}, r"'a\.npy' must differ"),
        ({"arrays": {"../a": np.ones(1)}}, r"'..%2Fa\.npy' must be a plain file name"),
        ({"arrays": {"": np.ones(1)}}, r"'\.npy' must be a plain file name"),
        ({"fingerprint": None}, r"fingerprint must be a str"),
    ],
)
def test_contents_that_cannot_be_stored_are_refused(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    parts = {"settings": {}, "arrays": {}, "tables": {}, "metrics": {}, "fingerprint": "", **change}
    save_bundle(tmp_path / "b", make_contents())
    before = bytes_of(tmp_path / "b")
    with pytest.raises(BundleError, match=match):
        save_bundle(tmp_path / "b", Contents(**parts), overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["b"]
    assert bytes_of(tmp_path / "b") == before


@pytest.mark.parametrize(
    "name", ["../card.md", "a/b.md", ".card", "settings.json", "x.npy", "x.jsonl", "manifest.json"]
)
def test_documents_with_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"must not end in|must be a plain file name"):
        save_bundle(tmp_path / "b", make_contents(), documents={name: ""})
    assert list(tmp_path.iterdir()) == []


# Overwriting


def test_existing_path_is_not_overwritten_unless_told(saved: Path) -> None:
    before = bytes_of(saved)
    with pytest.raises(BundleError, match=r"must not exist yet; save elsewhere, or with overwrite=True") as caught:
        save_bundle(saved, make_contents(0.9))
    assert isinstance(caught.value.__cause__, FileExistsError)
    assert bytes_of(saved) == before
    save_bundle(saved, make_contents(0.9), overwrite=True)
    assert load_bundle(saved)[0].settings["threshold"] == 0.9
    assert "model_card.md" not in bytes_of(saved)
    assert [file.name for file in saved.parent.iterdir()] == ["desk"]


@pytest.mark.parametrize("files", [{}, {"letter.docx": "x"}, {"manifest.json": "{}"}, {"manifest.json": "[" * 10**5}])
def test_folder_that_is_no_bundle_is_never_overwritten(tmp_path: Path, files: dict[str, str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(BundleError, match=r"must be a bundle to be overwritten.*by hand"):
        save_bundle(folder, make_contents(), overwrite=True)
    assert {file.name: file.read_text() for file in folder.iterdir()} == files


def test_bundle_with_somebodys_file_is_not_overwritten(saved: Path) -> None:
    (saved / "thesis.docx").touch()
    with pytest.raises(BundleError, match=r"nothing but a bundle to be overwritten, got thesis\.docx"):
        save_bundle(saved, make_contents(), overwrite=True)
    assert (saved / "thesis.docx").exists()


def test_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    with pytest.raises(BundleError, match=r"must be a bundle to be overwritten"):
        save_bundle(tmp_path / "f", make_contents(), overwrite=True)
    assert (tmp_path / "f").read_text() == "mine"


def test_damaged_bundle_may_be_overwritten(saved: Path) -> None:
    (saved / "settings.json").unlink()
    save_bundle(saved, make_contents(), overwrite=True)
    assert load_bundle(saved)[0].fingerprint == "ab12"


def test_link_stays_and_its_bundle_is_replaced(saved: Path) -> None:
    link = saved.parent / "current"
    link.symlink_to("desk")
    save_bundle(link, make_contents(0.9), overwrite=True)
    assert link.is_symlink()
    assert load_bundle(link)[0].settings == load_bundle(saved)[0].settings == make_contents(0.9).settings


# Damage


@pytest.mark.parametrize("name", [*MEMBERS, "manifest.json"])
def test_truncated_file_is_found(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    for n_bytes in {0, len(whole) - 1, *random.Random(name).sample(range(len(whole)), min(5, len(whole)))}:
        (saved / name).write_bytes(whole[:n_bytes])
        error = refused(saved, re.escape(name))
        assert "restore the folder from a backup, or train again" in error.remedy
        assert error.__cause__ is not None


@pytest.mark.parametrize("name", [*MEMBERS, "manifest.json"])
def test_flipped_byte_is_found(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        for mask in (0x01, 0x20, 0xFF):
            raw = bytearray(whole)
            raw[position] ^= mask
            (saved / name).write_bytes(raw)
            refused(saved, re.escape(name))


@pytest.mark.parametrize("name", MEMBERS)
def test_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    refused(saved, rf"must hold all files its manifest names, misses {re.escape(name)}")


def test_missing_manifest_is_named(saved: Path) -> None:
    (saved / "manifest.json").unlink()
    refused(saved, r"must be a folder with manifest\.json")


def test_unexpected_file_is_named(saved: Path) -> None:
    (saved / "extra.npy").touch()
    refused(saved, r"must hold only files its manifest names, got extra\.npy too")


def test_missing_path_and_file_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none", r"none: must be a bundle's folder, nothing is there; check the path")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", r"must be a folder with manifest\.json")
    refused(tmp_path / ("x" * 300), r"nothing is there|must be readable")
    refused(Path("a\0b"), r"null byte|nothing is there")


def test_linked_member_is_refused(saved: Path) -> None:
    (saved / "settings.json").rename(saved.parent / "elsewhere.json")
    (saved / "settings.json").symlink_to(saved.parent / "elsewhere.json")
    refused(saved, r"settings\.json must be a plain file, no link")
    (saved / "settings.json").unlink()
    (saved / "settings.json").mkdir()
    refused(saved, r"settings\.json must be a plain file")
    (saved / "settings.json").rmdir()
    os.mkfifo(saved / "settings.json")
    refused(saved, r"settings\.json must be a plain file")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format=FORMAT + 1),
        lambda m: m.update(fingerprint="0"),
        lambda m: m["members"].pop("model_card.md"),
        lambda m: m["versions"].update(numpy="0"),
        lambda m: m.update(more=1),
        lambda m: m.pop("checksum"),
    ],
)
def test_tampered_manifest_is_found(saved: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((saved / "manifest.json").read_bytes())
    change(manifest)
    (saved / "manifest.json").write_bytes(dump(manifest))
    refused(saved, r"manifest\.json must have the checksum it states of itself")


def test_other_formats_are_refused(saved: Path) -> None:
    forge(saved, lambda m: m.update(format=FORMAT + 1, members=None))
    error = refused(saved, rf"is of bundle format {FORMAT + 1}, and this version reads formats up to {FORMAT}")
    assert error.remedy == "upgrade triage"
    for number in (0, None, "1", [1], True):
        forge(saved, lambda m, number=number: m.update(format=number))
        assert "backup" in refused(saved, r"is of bundle format").remedy


@pytest.mark.parametrize("name", ["../outside.npy", "/etc/hostname", "a/b", "..", "", ".x", "manifest.json", "a\n"])
def test_member_outside_the_folder_is_refused(saved: Path, name: str) -> None:
    forge(saved, lambda m: m["members"].update({name: {"bytes": 1, "sha256": ""}}))
    refused(saved, r"must name plain files of this folder, got")


@pytest.mark.parametrize("members", [None, [], {}, {"settings.json": {}}, {"settings.json": 1, "metrics.json": 1}])
def test_manifest_with_other_members_is_refused(saved: Path, members: Any) -> None:
    forge(saved, lambda m: m.update(members=members))
    refused(saved, r"manifest\.json must (have|give)")


# Deflated arrays


LARGE = {
    "numbers": np.random.default_rng(1).integers(0, 97, 60_000, np.int32),
    "noise": np.random.default_rng(0).integers(0, 256, 70_000, np.uint8),  # does not deflate
    "zeros": np.zeros(3_000_000, np.int8),  # deflates more than a reader may believe
    "small": np.zeros(100),
}


def save_large(folder: Path) -> Path:
    return save_bundle(folder / "large", Contents({}, LARGE, {}, {}, ""))


def test_large_arrays_are_deflated_where_that_helps(tmp_path: Path) -> None:
    path = save_large(tmp_path)
    assert {file.name for file in path.glob("*.npy*")} == {"numbers.npy.z", "noise.npy", "zeros.npy", "small.npy"}
    assert (path / "numbers.npy.z").stat().st_size < 100_000
    loaded = load_bundle(path)[0].arrays
    for name, array in LARGE.items():
        assert np.array_equal(loaded[name], array)
        assert loaded[name].flags.writeable


def test_same_arrays_are_deflated_to_the_same_bytes(tmp_path: Path) -> None:
    first, second = (save_large(tmp_path / part) for part in ("a", "b") if (tmp_path / part).mkdir() is None)
    assert bytes_of(first) == bytes_of(second)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", r"must hold one deflated array"),
        (b"no deflated bytes", r"must be deflated, and is not"),
        (zlib.compress(bytes(50_000_000)), r"must hold one deflated array, at most 64 times its size, and does not"),
        (zlib.compress(bytes(range(256)) * 9)[:-3], r"must hold one deflated array"),
        (zlib.compress(bytes(range(256)) * 9) + b"more", r"must hold one deflated array"),
        (zlib.compress(bytes(range(256)) * 9), r"must be an array of booleans, integers or floats"),
    ],
    ids=["empty", "garbage", "bomb", "truncated", "longer", "no array"],
)
def test_false_deflated_array_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = save_large(tmp_path)
    plant(path, "numbers.npy.z", content)
    refused(path, rf"numbers\.npy\.z {problem}")


def test_bundle_of_format_1_is_read(saved: Path) -> None:
    forge(saved, lambda m: m.update(format=1))
    assert load_bundle(saved)[1]["format"] == 1


# Files that are false although their checksum is right


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was executed",))


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    raw = header.encode() + b" " * 20 + b"\n"
    return b"\x93NUMPY" + version + len(raw).to_bytes(2, "little") + raw + body


def saved_array(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        saved_array(np.array([Bomb()], dtype=object)),
        saved_array(np.array(["text"])),
        saved_array(np.zeros(2, [("a", "f8")])),
        saved_array(np.ones((2, 3), order="F")),
        pickle.dumps(Bomb()),
        b"",
        b"\x93NUMPY",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", bytes(8)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", bytes(8)),
        npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {10**30}), }}"),
        npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {10**17}, {10**17}), }}"),
        npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({'9' * 5000},), }}"),
        npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({'0, ' * 99}), }}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1 2,), }", bytes(96)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        npy("__import__('os').abort()"),
        npy("(" * 9000),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(8), version=b"\x03\x00"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(9)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(7)),
    ],
)
def test_false_array_is_refused(saved: Path, content: bytes) -> None:
    plant(saved, "features.idf.npy", content)
    refused(saved, r"features\.idf\.npy must ")


@pytest.mark.parametrize("name", ["settings.json", "metrics.json", "questions.jsonl"])
@pytest.mark.parametrize(
    "content", [b"[1]\n", b"1\n", b"\xff\n", b"{\n", b"[" * 10**6, SECRET.encode(), pickle.dumps(1)]
)
def test_false_json_is_refused(saved: Path, name: str, content: bytes) -> None:
    plant(saved, name, content)
    refused(saved, rf"{re.escape(name)} must ")


def test_no_file_is_read_twice(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    plain_open = Path.open

    def count(self: Path, *args: Any, **options: Any) -> Any:
        opened.append(self.name)
        return plain_open(self, *args, **options)

    monkeypatch.setattr(Path, "open", count)
    load_bundle(saved)
    assert sorted(opened) == sorted(file.name for file in saved.iterdir())


# Interrupted saves


@pytest.mark.parametrize("call", ["write", "fsync", "rename 1", "rename 2"])
def test_full_disk_leaves_the_old_bundle(saved: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    before = bytes_of(saved)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*args: Any) -> None:
        raise full

    if call == "write":
        monkeypatch.setattr(triage.bundle.saving, "write_file", fail)
    elif call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        plain_rename, calls = Path.rename, []

        def rename(self: Path, target: Path) -> Path:
            calls.append(target)
            if len(calls) == int(call[-1]):
                raise full
            return plain_rename(self, target)

        monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(BundleError, match=r"must be writable, got No space left on device; check space") as caught:
        save_bundle(saved, make_contents(0.9), overwrite=True)
    assert caught.value.__cause__ is full
    assert bytes_of(saved) == before
    assert [file.name for file in saved.parent.iterdir()] == ["desk"]


SAVER = """
import sys
import numpy as np
from triage.bundle import Contents, save_bundle
arrays = {f"a{i}": np.full(20_000, 2.0) for i in range(12)}
contents = Contents({"threshold": 2.0}, arrays, {}, {}, "new")
print("ready", flush=True)
while True:
    save_bundle(sys.argv[1], contents, overwrite=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_save_leaves_a_bundle(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "desk", make_contents())
    rng = random.Random(0)
    strays = 0
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.random() * 0.15)
            process.send_signal(signal.SIGKILL)
        strays += len(list(tmp_path.iterdir())) > 1
        assert load_bundle(path)[0].fingerprint in {"ab12", "new"}
    save_bundle(path, make_contents(), overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["desk"]
    assert strays > 0


def test_save_killed_between_the_two_renames_loses_nothing(saved: Path) -> None:
    aside = saved.with_name(".desk.triage-old")
    saved.rename(aside)
    shutil.copytree(aside, saved.with_name(".desk.triage-new"))
    assert load_bundle(saved)[0].settings == make_contents().settings
    with pytest.raises(BundleError, match=r"must not exist yet"):
        save_bundle(saved, make_contents(0.9))
    assert [file.name for file in saved.parent.iterdir()] == ["desk"]
    save_bundle(saved, make_contents(0.9), overwrite=True)
    assert load_bundle(saved)[0].settings["threshold"] == 0.9


def test_save_killed_after_the_two_renames_is_cleared(saved: Path) -> None:
    shutil.copytree(saved, saved.with_name(".desk.triage-old"))
    save_bundle(saved, make_contents(0.9), overwrite=True)
    assert [file.name for file in saved.parent.iterdir()] == ["desk"]
    assert load_bundle(saved)[0].settings["threshold"] == 0.9


KILLED = """
import os, sys
from pathlib import Path
from triage.bundle import Contents, save_bundle
plain_rename, n_calls = Path.rename, 0
def rename(self, target):
    global n_calls
    if n_calls == int(sys.argv[2]):
        os._exit(9)
    n_calls += 1
    return plain_rename(self, target)
Path.rename = rename
save_bundle(sys.argv[1], Contents({}, {}, {}, {}, "new"), overwrite=True)
"""


@pytest.mark.parametrize(("n_renames", "fingerprint"), [(0, "ab12"), (1, "ab12"), (2, "new")])
def test_save_killed_before_each_rename(saved: Path, n_renames: int, fingerprint: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(saved), str(n_renames)], check=False)
    assert done.returncode == 9
    assert load_bundle(saved)[0].fingerprint == fingerprint
    save_bundle(saved, make_contents(0.9), overwrite=True)
    assert [file.name for file in saved.parent.iterdir()] == ["desk"]


def test_loads_during_saves_give_one_bundle_or_the_other(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").touch()
    path = save_bundle(tmp_path / "bundle", make_contents(0.0))
    stop = threading.Event()

    def load() -> int:
        n_loads = 0
        while not stop.is_set():
            contents, _ = load_bundle(tmp_path if n_loads % 2 else path)
            assert (contents.arrays["features.idf"] == contents.settings["threshold"]).all()
            n_loads += 1
        return n_loads

    def save(start: int) -> None:
        for value in range(start, start + 10):
            save_bundle(path, make_contents(float(value)), overwrite=True)

    with ThreadPoolExecutor(6) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        try:
            for saver in [pool.submit(save, 0), pool.submit(save, 100)]:
                saver.result()
        finally:
            stop.set()
        assert all(future.result() > 0 for future in loads)
