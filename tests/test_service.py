"""The function for services: plain dictionaries, one load a model."""

import json
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pandas as pd
import pytest

import triage
from triage import service
from triage.records import Decision, TriageResult

TABLE = pd.DataFrame(
    {
        "text": [f"{words} {number}" for words in ("liquor licence", "land tax") for number in range(12)],
        "topic": [1] * 12 + [2] * 12,
    }
)


@pytest.fixture(autouse=True)
def _fresh_cache():
    service._MODELS.clear()


@pytest.fixture
def loads(monkeypatch):
    """Replace loading by a slow fake, and list what was loaded."""
    loaded = []

    class Fake:
        def predict(self, texts, as_of=None, k=5):
            topic = Decision("topic", f"{as_of}/{k}", 1.0, "assigned", None, ())
            return [TriageResult({"topic": topic}, "answer") for _ in texts]

    def load(path, encoder=None):
        loaded.append((path, encoder))
        time.sleep(0.05)
        if not path.exists():
            raise triage.BundleError(path=path, problem="is missing", remedy="train it")
        return Fake()

    monkeypatch.setitem(sys.modules, "triage.triager", SimpleNamespace(load=load))
    return loaded


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "manifest.json").write_text("{}", "utf-8")
    return tmp_path


def test_one_text_gives_a_dictionary_and_many_a_list(loads, folder):
    one = triage.predict("a", model=folder, as_of="2025-10-01", k=2)
    assert one["decisions"]["topic"]["label"] == "2025-10-01/2"
    assert triage.predict(["a", "b"], model=str(folder), as_of="2025-10-01", k=2) == [one, one]
    assert triage.predict([], model=folder) == []
    assert len(loads) == 1


def test_eight_threads_load_a_model_once(loads, folder):
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait()
        return triage.predict("a", model=folder)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert len(loads) == 1
    assert found == found[:1] * 8


def test_replaced_bundle_is_loaded_again(loads, folder):
    triage.predict("a", model=folder)
    (folder / "manifest.json").write_text('{"format": 1}', "utf-8")
    triage.predict("a", model=folder)
    triage.predict("a", model=folder)
    assert len(loads) == 2


def test_desk_folder_is_watched_through_its_bundle(loads, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}", "utf-8")
    triage.predict("a", model=tmp_path)
    triage.predict("a", model=tmp_path)
    assert len(loads) == 1


def test_failed_load_is_tried_again(loads, tmp_path):
    folder = tmp_path / "later"
    with pytest.raises(triage.BundleError, match="is missing"):
        triage.predict("a", model=folder)
    folder.mkdir()
    (folder / "manifest.json").write_text("{}", "utf-8")
    assert triage.predict("a", model=folder)["route"] == "answer"


def test_removed_bundle_stops_answering(loads, folder):
    triage.predict("a", model=folder)
    shutil.rmtree(folder)
    with pytest.raises(triage.BundleError, match="is missing"):
        triage.predict("a", model=folder)


def test_cache_keeps_the_models_used_last(loads, tmp_path):
    folders = [tmp_path / str(number) for number in range(service.MAX_MODELS + 1)]
    for folder in folders:
        folder.mkdir()
        (folder / "manifest.json").write_text("{}", "utf-8")
        triage.predict("a", model=folder)
    triage.predict("a", model=folders[-1])
    assert len(loads) == len(folders)
    triage.predict("a", model=folders[0])
    assert len(loads) == len(folders) + 1


def test_model_is_loaded_once_for_each_place_of_its_encoder(loads, folder):
    for encoder in (None, "onnx:here", "onnx:there", "onnx:here"):
        triage.predict("a", model=folder, encoder=encoder)
    assert loads == [(folder, None), (folder, "onnx:here"), (folder, "onnx:there")]


def test_model_with_an_encoder_answers_once_it_is_named(tmp_path, monkeypatch, word_encoder):
    triage.train(TABLE, targets=["topic"], encoder=word_encoder()).save(tmp_path / "model")
    monkeypatch.setattr("triage.triager.storing.open_encoder", {"onnx:here": word_encoder()}.__getitem__)
    with pytest.raises(triage.errors.EncoderError, match="say where it is"):
        triage.predict("a", model=tmp_path / "model")
    found = triage.predict("liquor licence", model=tmp_path / "model", encoder="onnx:here")
    assert found["decisions"]["topic"]["label"] == 1


def test_results_of_a_real_model_are_json(tmp_path):
    triager = triage.train(TABLE, targets=["topic"])
    triager.save(tmp_path / "model")
    found = triage.predict(["liquor licence", ""], model=tmp_path / "model")
    assert json.loads(json.dumps(found)) == found
    assert found[0]["decisions"]["topic"]["label"] == 1
    assert found[1]["decisions"]["topic"]["reason"] == "empty"


def test_path_that_is_no_model_is_a_clear_error(tmp_path):
    with pytest.raises(triage.BundleError, match=str(tmp_path.name)):
        triage.predict("a", model=tmp_path)
