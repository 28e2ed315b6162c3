"""The spaCy component."""

import pickle
import subprocess
import sys

import pandas as pd
import pytest
import spacy
from spacy.tokens import Doc, DocBin

import triage
from triage.records import Decision, Suggestion, TriageResult

TABLE = pd.DataFrame(
    {
        "text": [f"{words} {number}" for words in ("liquor licence", "land tax") for number in range(12)],
        "topic": ["licence"] * 12 + ["tax"] * 12,
    }
)
TEXTS = ["who grants a liquor licence", "", "land tax is late", "liquor licence"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    triage.train(TABLE, targets=["topic"]).save(folder)
    return str(folder)


@pytest.fixture
def nlp(model):
    nlp = spacy.blank("xx")
    nlp.add_pipe("triage", config={"model": model, "k": 2})
    return nlp


def with_triager(triager):
    """Make a pipeline whose component has its model already."""
    nlp = spacy.blank("xx")
    nlp.add_pipe("triage")._triager = triager
    return nlp


class FakeTriager:
    def __init__(self):
        self.batches = []

    def predict(self, texts, as_of=None, k=5):
        self.batches.append(len(texts))
        if "bad" in texts:
            raise ValueError("bad batch")
        topic = Decision("topic", "a", 0.7, "assigned", None, (("a", 0.7), ("b", 0.3)), lambda: (("w", 0.5),))
        near = Suggestion("1", "question", "answer", 0.5, None, None, ("w",))
        return [TriageResult({"topic": topic}, "answer", (near,), {"matter": "m"}) for _ in texts]


def test_component_fills_cats_and_result(nlp, model):
    doc = nlp(TEXTS[0])
    (expected,) = triage.load(model).predict(TEXTS[:1], k=2)
    assert doc._.triage == expected
    assert doc.cats == {f"topic={label}": probability for label, probability in expected.decisions["topic"].ranking}


def test_pipe_equals_one_by_one(nlp):
    batched = [doc._.triage.to_dict() for doc in nlp.pipe(TEXTS, batch_size=3)]
    assert [entry["decisions"]["topic"]["label"] for entry in batched] == [
        nlp(text)._.triage.decisions["topic"].label for text in TEXTS
    ]


def test_pipe_works_in_processes(nlp):
    alone = [(doc._.triage, doc.cats) for doc in nlp.pipe(TEXTS)]
    assert [(doc._.triage, doc.cats) for doc in nlp.pipe(TEXTS, n_process=2, batch_size=2)] == alone


def test_pipe_batches():
    triager = FakeTriager()
    docs = list(with_triager(triager).pipe(["x"] * 5, batch_size=2))
    assert [len(docs), triager.batches] == [5, [2, 2, 1]]


def test_result_survives_bytes():
    nlp = with_triager(FakeTriager())
    doc = nlp("x")
    assert Doc(nlp.vocab).from_bytes(doc.to_bytes())._.triage == doc._.triage
    kept = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (again,) = DocBin().from_bytes(kept).get_docs(nlp.vocab)
    assert again._.triage == doc._.triage
    assert again._.triage.decisions["topic"].words == (("w", 0.5),)
    assert again._.triage.suggestions[0].matched == ("w",)


def test_document_without_the_component_has_no_result():
    with_triager(FakeTriager())
    assert spacy.blank("xx")("x")._.triage is None


def test_categories_of_other_components_stay():
    nlp = with_triager(FakeTriager())
    doc = nlp.make_doc("x")
    doc.cats = {"mine": 1.0}
    assert set(nlp.get_pipe("triage")(doc).cats) == {"mine", "topic=a", "topic=b"}


def test_error_handler_gets_the_batch():
    nlp, failed = with_triager(FakeTriager()), []
    with pytest.raises(ValueError, match="bad batch"):
        list(nlp.pipe(["a", "bad"]))
    nlp.set_error_handler(lambda name, pipe, docs, error: failed.append((name, len(docs), str(error))))
    assert [doc.text for doc in nlp.pipe(["a", "bad", "b", "c"], batch_size=2)] == ["b", "c"]
    assert failed == [("triage", 2, "bad batch")]


def test_missing_model_is_a_clear_error():
    nlp = spacy.blank("xx")
    nlp.add_pipe("triage")
    with pytest.raises(ValueError, match=r"'triage' must have a model"):
        nlp("x")


def test_saved_pipeline_keeps_the_path(nlp, model, tmp_path):
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert again(TEXTS[0])._.triage == nlp(TEXTS[0])._.triage
    assert sum(file.stat().st_size for file in (tmp_path / "pipeline" / "triage").iterdir()) < 1000
    bare = spacy.blank("xx")
    bare.add_pipe("triage")
    assert bare.from_bytes(nlp.to_bytes()).get_pipe("triage").model == model


def test_configured_model_wins_over_the_saved_one(tmp_path):
    nlp = spacy.blank("xx")
    nlp.add_pipe("triage", config={"model": "old", "encoder": "onnx:old"})
    nlp.to_disk(tmp_path)
    moved = spacy.load(tmp_path, config={"components": {"triage": {"model": "new", "encoder": None}}})
    component = moved.get_pipe("triage")
    assert (component.model, component.encoder) == ("new", None)


def test_encoder_is_found_where_the_configuration_says(tmp_path, monkeypatch, word_encoder):
    triage.train(TABLE, targets=["topic"], encoder=word_encoder()).save(tmp_path / "model")
    monkeypatch.setattr("triage.triager.storing.open_encoder", {"onnx:here": word_encoder()}.__getitem__)
    nlp = spacy.blank("xx")
    nlp.add_pipe("triage", config={"model": str(tmp_path / "model"), "encoder": "onnx:here"})
    assert nlp(TEXTS[0])._.triage.decisions["topic"].label == "licence"
    bare = spacy.blank("xx")
    bare.add_pipe("triage")
    assert bare.from_bytes(nlp.to_bytes()).get_pipe("triage").encoder == "onnx:here"


def test_pipeline_of_before_encoders_is_read():
    nlp = spacy.blank("xx")
    component = nlp.add_pipe("triage").from_bytes(b'{"model": "old"}')
    assert (component.model, component.encoder) == ("old", None)


def test_pickle_leaves_the_model_behind(nlp):
    nlp(TEXTS[0])
    again = pickle.loads(pickle.dumps(nlp.get_pipe("triage")))
    assert [again._triager, again.model] == [None, nlp.get_pipe("triage").model]


def test_listing_components_declares_nothing():
    code = "import spacy; from spacy.tokens import Doc; spacy.blank('xx'); print(Doc.has_extension('triage'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
