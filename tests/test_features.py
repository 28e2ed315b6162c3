"""Tests of `triage.features`: the vectorised n-grams against slow ones, and the scikit-learn contract."""

from __future__ import annotations

import json
from collections import Counter
from math import log

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline

from triage import LabelClassifier, QuestionVectorizer
from triage.features import BLOCKS, check_texts
from triage.text import Normalizer, fold_codes

TEXTS = [
    "UBND xã có cấp giấy phép bán lẻ rượu không?",
    "Hoà giải đất đai ở xã, ở huyện",
    "who grants a liquor licence",
    "a a a b a",
    "rượu",
    "đđ 漢字",
]
SECRET = "quảnchuối"
PIECES = [
    "a",
    "b",
    "ab",
    "ộ",
    "đ",
    "xã",
    "xa",
    " ",
    " ",
    "\n",
    ".",
    "漢",
    "\u0301",
    "😀",
    "\ud800",
    "\0",
    "rượu ",
    "ruou ",
]
WILD = st.lists(st.one_of(st.sampled_from(PIECES), st.characters()), max_size=15).map("".join)
few = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
FITTED = QuestionVectorizer(language="vi", abbreviations={"UBND": "ủy ban nhân dân"}, min_df=1).fit(TEXTS)


def same(X, Y):
    """Whether two matrices are equal to the last bit."""
    return (
        X.shape == Y.shape
        and np.array_equal(X.indptr, Y.indptr)
        and np.array_equal(X.indices, Y.indices)
        and np.array_equal(X.data, Y.data)
    )


# --- a slow reference -------------------------------------------------------------------------------


def slow_ngrams(vectorizer, text):
    """Count the n-grams of a text by the definition: (block, n-gram) to occurrences."""
    words = Normalizer(vectorizer.language, vectorizer.abbreviations).words([text])
    text_of = fold_codes(words.codes).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    written = words.strings()
    folded = [text_of[start:end] for start, end in zip(words.starts, words.ends, strict=True)]
    found = Counter()
    for plain, word in zip(folded, written, strict=True):
        plain, word = f" {plain} ", f" {word} "
        for length in range(max(2, vectorizer.char_ngrams[0]), vectorizer.char_ngrams[1] + 1):
            for start in range(len(word) - length + 1):
                gram, marked = plain[start : start + length], word[start : start + length]
                found["characters", gram] += 1
                if gram != marked:
                    found["characters", marked] += 1
    for gap in range(max(vectorizer.word_ngrams, vectorizer.pair_window + 1)):
        for first in range(len(written) - gap):
            run, marked = tuple(folded[first : first + gap + 1]), tuple(written[first : first + gap + 1])
            if gap < vectorizer.word_ngrams:
                found["words", run] += 1
                if run != marked:
                    found["words", marked] += 1
            if 0 < gap <= vectorizer.pair_window:
                pair, marked_pair = (run[0], run[-1]), (marked[0], marked[-1])
                found["pairs", tuple(sorted(pair))] += 1
                if pair != marked_pair:
                    found["pairs", tuple(sorted(marked_pair))] += 1
    return found


def slow_rows(vectorizer, texts):
    """Return the sorted tf-idf values of each text and block, with the length of each block over all its n-grams."""
    counted = [slow_ngrams(vectorizer, text) for text in texts]
    frequency = Counter(gram for counts in counted for gram in counts)
    least = {block: 1 if block == "words" else min(vectorizer.min_df, len(texts)) for block in BLOCKS}
    rows = []
    for counts in counted:
        values = {block: [] for block in BLOCKS}
        squares = dict.fromkeys(BLOCKS, 0.0)
        for (block, gram), count in counts.items():
            df = frequency[block, gram]
            if df >= least[block]:
                values[block].append((log(count) + 1) * (log((1 + len(texts)) / (1 + df)) + 1))
                squares[block] += values[block][-1] ** 2
            else:  # an n-gram without a column counts by its occurrences, each with the largest weight
                squares[block] += count * (log(1 + len(texts)) + 1) ** 2
        n_blocks = sum(square > 0 for square in squares.values())
        rows.append([sorted(value / (squares[block] * n_blocks) ** 0.5 for value in values[block]) for block in BLOCKS])
    return rows


def fast_rows(vectorizer, X):
    """Return the sorted values of each row and block of a matrix."""
    block_of = vectorizer.buckets_ >> vectorizer.n_bits
    return [
        [sorted(X.data[start:end][block_of[X.indices[start:end]] == block].tolist()) for block in range(len(BLOCKS))]
        for start, end in zip(X.indptr[:-1], X.indptr[1:], strict=True)
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_df": 1},
        {"min_df": 3},
        {"min_df": 1, "char_ngrams": (3, 3)},
        {"min_df": 1, "word_ngrams": 1, "pair_window": 0},
        {"min_df": 1, "word_ngrams": 3, "pair_window": 1},
        {"min_df": 1, "word_ngrams": 5, "pair_window": 0},
        {"min_df": 1, "language": "vi", "abbreviations": {"UBND": "ủy ban nhân dân"}},
    ],
    ids=str,
)
def test_matrix_holds_the_ngrams_of_the_definition(options):
    vectorizer = QuestionVectorizer(n_bits=22, **options)  # so many buckets that no two n-grams share one
    X = vectorizer.fit_transform(TEXTS)
    for row, (fast, slow) in enumerate(zip(fast_rows(vectorizer, X), slow_rows(vectorizer, TEXTS), strict=True)):
        for block, got, expected in zip(BLOCKS, fast, slow, strict=True):
            assert len(got) == len(expected), f"row {row}, {block}"
            assert got == pytest.approx(expected, rel=1e-5), f"row {row}, {block}"


@given(st.lists(WILD, min_size=1, max_size=4))
@example(["\ud800 a\0b", "ộ", "", "\u0301x"])
@few
def test_occurrences_are_those_of_the_definition(texts):
    vectorizer = QuestionVectorizer(min_df=1, n_bits=12).fit([*texts, "a b"])
    words = vectorizer.words(texts)
    column, first, last = vectorizer.occurrences(words)
    assert np.array_equal(words.rows[first], words.rows[last])
    block = vectorizer.buckets_[column] >> vectorizer.n_bits
    for row, text in enumerate(texts):
        expected = Counter()
        for (name, _), count in slow_ngrams(vectorizer, text).items():
            expected[BLOCKS.index(name)] += count
        assert Counter(block[words.rows[first] == row].tolist()) == expected


def test_row_has_length_one_when_all_is_known_and_less_when_not():
    lengths = np.sqrt(FITTED.transform([*TEXTS, "rượu unknown", "zzz", ""]).power(2).sum(1)).A1
    assert lengths[: len(TEXTS)] == pytest.approx(1, abs=1e-5)
    assert 0 < lengths[-3] < 1
    assert lengths[-2:] == pytest.approx([0, 0], abs=0.5)
    assert lengths[-1] == 0


# --- independence -----------------------------------------------------------------------------------


@given(st.lists(WILD, max_size=5))
@example(["a", "zzz", "", "\ud800", "rượu"])
@few
def test_row_does_not_depend_on_the_others(texts):
    X = FITTED.transform(texts)
    assert X.shape == (len(texts), FITTED.n_features_)
    assert X.dtype == np.float32
    for row, text in enumerate(texts):
        assert same(FITTED.transform([text]), X[row])
    assert same(FITTED.transform(texts[::-1]), X[::-1])


def test_row_does_not_depend_on_the_chunk():
    texts = [f"{TEXTS[number % len(TEXTS)]} {number % 7}" for number in range(2500)]
    X = FITTED.transform(texts)
    assert same(FITTED.read(texts, FITTED.words(texts)).X, X)
    for row in (0, 255, 256, 1023, 1024, 2499):
        assert same(FITTED.transform([texts[row]]), X[row])


@pytest.mark.parametrize("min_df", [1, 2, 9])
def test_fit_transform_is_fit_and_transform(min_df):
    vectorizer = QuestionVectorizer(min_df=min_df)
    X = vectorizer.fit_transform(TEXTS)
    assert same(vectorizer.transform(TEXTS), X)
    assert same(QuestionVectorizer(min_df=min_df).fit(TEXTS).transform(TEXTS), X)


def test_columns_ascend_in_each_row():
    X = FITTED.transform(TEXTS)
    assert X.has_sorted_indices
    assert (np.diff(FITTED.buckets_) > 0).all()


def test_counts_are_the_same_with_wide_and_narrow_keys():
    vectorizer = QuestionVectorizer(n_bits=16).fit(TEXTS)
    words = vectorizer.words(TEXTS * 40)
    narrow, wide = (vectorizer._counts(words, None, n_columns) for n_columns in (3 << 16, 1 << 31))
    for name in ("row", "column", "count"):
        assert np.array_equal(getattr(narrow, name), getattr(wide, name))


@pytest.mark.parametrize("container", [list, tuple, iter, np.array, pd.Series])
def test_texts_come_in_any_sequence(container):
    assert same(FITTED.transform(container(TEXTS)), FITTED.transform(TEXTS))


def test_no_texts_give_no_rows():
    X = FITTED.transform([])
    assert (X.shape, X.nnz, X.dtype) == ((0, FITTED.n_features_), 0, np.float32)


# --- scikit-learn -----------------------------------------------------------------------------------


def test_clone_and_parameters():
    vectorizer = QuestionVectorizer(language="vi", abbreviations={"a": "b"}, n_bits=10)
    copy = clone(vectorizer)
    assert copy.get_params() == vectorizer.get_params()
    assert copy.set_params(n_bits=11).n_bits == 11
    assert not hasattr(copy, "idf_")
    with pytest.raises(ValueError, match="Invalid parameter 'n_bit'"):
        copy.set_params(n_bit=3)


def test_pipeline_gives_probabilities(questions):
    pipeline = make_pipeline(QuestionVectorizer(min_df=1), LabelClassifier(loss="squared_error"))
    pipeline.fit(questions["text"], questions["topic"])
    probability = pipeline.predict_proba(questions["text"])
    assert probability.sum(1) == pytest.approx(1, abs=1e-5)
    assert pipeline.score(questions["text"], questions["topic"]) == 1


def test_grid_search_over_a_pipeline(questions):
    pipeline = Pipeline([("features", QuestionVectorizer(min_df=1)), ("classifier", LabelClassifier())])
    search = GridSearchCV(
        pipeline, {"features__char_ngrams": [(2, 3), (2, 5)], "classifier__C": [1.0, 3.0]}, cv=2, error_score="raise"
    )
    search.fit(questions["text"], questions["topic"])
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert set(search.predict(["liquor licence", "land dispute"])) <= set(questions["topic"])


@pytest.mark.parametrize("use", [lambda v: v.transform(["a"]), lambda v: v.to_state()], ids=["transform", "to_state"])
def test_use_before_fit_is_refused(use):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        use(QuestionVectorizer())


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform"])
@pytest.mark.parametrize("texts", [SECRET, SECRET.encode()])
def test_bare_string_is_refused(method, texts):
    with pytest.raises(TypeError, match="got one string; put it in a list") as caught:
        getattr(clone(FITTED).fit(TEXTS), method)(texts)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        ([SECRET, None], r"got 1 of 2 that are NoneType \(position 1\)"),
        ([None, SECRET, float("nan")], r"got 2 of 3 that are NoneType or float \(position 0, 2\)"),
        ([1] * 9, r"got 9 of 9 that are int \(position 0, 1, 2, 3, 4, …\)"),
        ([[SECRET]], r"that are list \(position 0\)"),
        (pd.Series([SECRET, pd.NA], dtype=object), r"that are NAType \(position 1\)"),
        ([SECRET.encode()], r"that are bytes \(position 0\)"),
    ],
)
def test_anything_but_strings_is_refused_by_position(texts, match):
    with pytest.raises(TypeError, match=match) as caught:
        check_texts(texts)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("kind", [pd.DataFrame, dict, lambda table: np.array([table["text"]])])
def test_table_instead_of_its_column_is_refused(kind):
    with pytest.raises(TypeError, match=r"got a .*; take its column of texts") as caught:
        check_texts(kind({"text": [SECRET], "label": ["a"]}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"char_ngrams": (4, 3)}, r"char_ngrams\[0\] must be in .*, got 4"),
        ({"char_ngrams": (1, 3)}, r"char_ngrams\[0\] must be in \[2, 3\], got 1"),
        ({"char_ngrams": (2, 13)}, r"char_ngrams\[1\] must be in \[2, 12\], got 13"),
        ({"word_ngrams": 0}, r"word_ngrams must be in \[1, 5\], got 0"),
        ({"pair_window": -1}, r"pair_window must be in \[0, 20\], got -1"),
        ({"min_df": 0}, r"min_df must be in \[1, 1000000\], got 0"),
        ({"n_bits": 25}, r"n_bits must be in \[8, 24\], got 25"),
        ({"language": "xx-none"}, r"'xx-none'"),
        ({"abbreviations": {"a b": "c"}}, r"must be one word"),
    ],
)
def test_option_out_of_range_is_refused_at_fit(options, match):
    vectorizer = QuestionVectorizer(**options)
    with pytest.raises(ValueError, match=match):
        vectorizer.fit(TEXTS)


@pytest.mark.parametrize("texts", [[], [""], ["…", "\ud800", "\0"]])
def test_texts_without_a_word_are_refused_at_fit(texts):
    with pytest.raises(ValueError, match=rf"at least one of the {len(texts)} texts must hold a word"):
        QuestionVectorizer().fit(texts)


@pytest.mark.parametrize("n_words", range(1, 8))
def test_short_texts_fit_with_long_runs_of_words(n_words):
    texts = [" ".join("abcdefg"[:n_words])]
    vectorizer = QuestionVectorizer(min_df=1, word_ngrams=5, pair_window=20)
    assert vectorizer.fit_transform(texts).shape[0] == 1


def test_text_of_a_megabyte_is_read():
    X = FITTED.transform(["rượu " * 200_000, "x" * 1_000_000, "rượu"])
    assert same(FITTED.transform(["rượu"]), X[2])


# --- shares known -----------------------------------------------------------------------------------


@given(st.lists(WILD, max_size=4))
@example(["rượu", "zzz", "a zzz", "", "rượu zzz b"])
@few
def test_known_shares_are_shares(texts):
    seen = FITTED.read(texts)
    X, known = seen.X, seen.known_shares
    assert same(X, FITTED.transform(texts))
    assert known.shape == (len(texts), len(BLOCKS))
    assert (known >= 0).all()
    assert (known <= 1).all()


def test_known_shares_of_known_unknown_and_empty_texts():
    texts = [TEXTS[0], "rượu", "qqq www", "", "rượu qqq www jjj"]
    known = FITTED.read(texts).known_shares
    assert known[0] == pytest.approx([1, 1, 1])
    assert known[1] == pytest.approx([1, 1, 0])  # one word has no pairs
    assert known[3] == pytest.approx([0, 0, 0])
    assert known[2].max() < 0.1
    assert (known[4] > 0).tolist() == [True, True, False]


@pytest.mark.parametrize("min_df", [1, 2])
def test_held_out_shares_are_of_features_learnt_without_the_group(min_df):
    texts = [*TEXTS[:4], "UBND xã cấp giấy phép rượu", "who grants land", "a liquor licence in a a", "xã hoà giải rượu"]
    groups = np.array([0, 1, 2, 3, 0, 2, 4, 1])
    vectorizer = QuestionVectorizer(min_df=min_df)
    X = vectorizer.fit_transform(texts)
    held_out = vectorizer.held_out_shares(X, groups)
    block_of = vectorizer.buckets_ >> vectorizer.n_bits
    for row, group in enumerate(groups):
        others = QuestionVectorizer(min_df=min_df).fit(
            [text for text, g in zip(texts, groups, strict=True) if g != group]
        )
        known = np.isin(vectorizer.buckets_, others.buckets_)
        square = X[row].toarray()[0] ** 2
        expected = [square[known & (block_of == block)].sum() * len(BLOCKS) for block in range(len(BLOCKS))]
        assert held_out[row] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("min_df", [1, 2])
def test_held_out_shares_are_at_most_the_known_shares(min_df):
    texts = [*TEXTS, "rượu vang", "licence", "giấy", "rượuphong"]
    vectorizer = QuestionVectorizer(min_df=min_df)
    X = vectorizer.fit_transform(texts)
    known = vectorizer.read(texts).known_shares
    held_out = vectorizer.held_out_shares(X, np.arange(len(texts)))
    assert (held_out >= 0).all()
    assert (held_out <= known + 1e-6).all()


def test_held_out_shares_of_one_group_are_nothing():
    X = QuestionVectorizer(min_df=1).fit_transform(TEXTS)
    vectorizer = QuestionVectorizer(min_df=1).fit(TEXTS)
    assert (vectorizer.held_out_shares(X, np.zeros(len(TEXTS), int)) == 0).all()


# --- explaining and storing -------------------------------------------------------------------------


@given(WILD)
@example("xã xã có rượu")
@few
def test_occurrences_have_exactly_the_columns_of_the_row(text):
    words = FITTED.words([text])
    column, first, last = FITTED.occurrences(words)
    X = FITTED.transform([text])
    assert np.array_equal(np.unique(column), X.indices)
    assert ((first >= 0) & (first <= last) & (last < len(words.starts))).all()


def test_occurrences_stand_on_their_words():
    words = FITTED.words(["rượu xã"])
    column, first, last = FITTED.occurrences(words)
    alone = set(FITTED.transform(["rượu"]).indices) - set(FITTED.transform(["xã"]).indices)
    inner = np.isin(column, list(alone))
    assert set(first[inner].tolist()) == {0}
    assert set(last[inner].tolist()) == {0}
    assert (first <= last).all()


def test_state_goes_through_json_and_back():
    options, arrays = FITTED.to_state()
    again = QuestionVectorizer.from_state(json.loads(json.dumps(options)), arrays)
    texts = [*TEXTS, "UBND hoà", "unknown words", ""]
    assert same(again.transform(texts), FITTED.transform(texts))
    assert again.get_params() == FITTED.get_params()
    assert again.to_state()[0] == options
