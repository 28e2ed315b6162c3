"""Tests of `triage.triager`: one answer whichever way it is asked for, whatever stands in the text or the bundle."""

from __future__ import annotations

import json
import logging
import pickle
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import triage
from triage import BundleError
from triage.bundle import load_bundle, save_bundle
from triage.records import REASONS

SECRET = "quảnchuối"  # stands in texts, must never stand in a message
TEXTS = [
    "UBND xã cấp giấy phép bán lẻ rượu?",
    "who settles a dispute over land",
    "",
    "nộp thuế nhà ở đâu",
    "zzz qqq",
    "hoà giải tranh chấp đất đai",
]
HOSTILE = {
    "empty": "",
    "spaces": " \n\t\u00a0\u3000",
    "one_letter": "a",
    "one_mark": "?",
    "digits": "0123456789",
    "long_digits": "1234567890" * 100,
    "emoji": "😀👩\u200d👩\u200d👧🇻🇳",
    "html": "<script>alert('rượu')</script><b>licence</b>&nbsp;",
    "nul": "\0\0rượu\0",
    "only_nul": "\0",
    "lone_surrogates": "\ud800 rượu \udfff",
    "only_surrogate": "\ud83d",
    "right_to_left": "\u202eliquor licence\u202c \u200f\u2066x\u2069",
    "marks": "\u0301\u0323\u0302",
    "decomposed": unicodedata.normalize("NFD", "Hoà giải ở xã"),
    "cjk": "漢字かな한글",
    "controls": "".join(map(chr, range(32))),
    "sql": "'; DROP TABLE questions; --",
    "formula": "=HYPERLINK(1)",
    "long_word": "x" * 100_000,
    "many_lines": "a\n" * 10_000,
}
PIECES = [
    "a",
    "xã",
    "rượu ",
    "land ",
    "licence",
    "UBND",
    " ",
    "\n",
    ".",
    "漢",
    "\u0301",
    "😀",
    "\ud800",
    "\0",
    "\u202e",
    "1",
    "-",
]
WILD = st.lists(st.one_of(st.sampled_from(PIECES), st.characters()), max_size=15).map("".join)
few = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))


def plain(results):
    """Return results as comparable JSON values, words and all."""
    return [result.to_dict() for result in results]


# --- one answer whichever way -----------------------------------------------------------------------


@pytest.mark.parametrize("desk", ["triager", "desk_triager"])
def test_predict_frame_and_probabilities_agree(desk, request):
    triager = request.getfixturevalue(desk)
    results, frame = triager.predict(TEXTS, k=1), triager.predict_frame(TEXTS)
    for target in triager.targets:
        probability = triager.predict_proba(TEXTS, target)
        labels = triager.classes_[target].tolist()
        assert probability.shape == (len(TEXTS), len(labels))
        assert probability.sum(1) == pytest.approx(1, abs=1e-5)
        assert (probability > 0).all()
        for row, result in enumerate(results):
            decision = result.decisions[target]
            assert decision.label == frame[target][row]
            assert decision.probability == frame[f"{target}_probability"][row]
            assert decision.status == frame[f"{target}_status"][row]
            assert decision.reason == (
                None if pd.isna(frame[f"{target}_reason"][row]) else frame[f"{target}_reason"][row]
            )
            assert (decision.status == "assigned") == (decision.reason is None)
            assert decision.reason in (None, *REASONS)
            assert dict(decision.ranking) == dict(zip(labels, probability[row].tolist(), strict=True))
            assert decision.ranking[0] == (decision.label, decision.probability)
            rest = [share for _, share in decision.ranking[1:]]
            assert rest == sorted(rest, reverse=True)
    assert [result.route for result in results] == frame["route"].tolist()
    ids = [result.suggestions[0].id if result.suggestions else None for result in results]
    assert ids == [None if pd.isna(one) else one for one in frame["suggestion_id"]]


@pytest.mark.parametrize("desk", ["triager", "desk_triager"])
def test_level_fits_jurisdiction_and_order_is_that_of_training(desk, request):
    triager = request.getfixturevalue(desk)
    assert list(triager.predict(TEXTS[:1])[0].decisions) == list(triager.targets)
    if "level" in triager.targets:
        frame = triager.predict_frame(TEXTS)
        assert frame.loc[frame["jurisdiction"] != "local", "level"].eq("").all()
        assert frame.loc[frame["jurisdiction"] == "local", "level"].isin(["commune", "province"]).all()


def test_columns_of_the_frame(triager):
    frame = triager.predict_frame(TEXTS)
    parts = [
        f"{target}{part}" for target in ("topic", "jurisdiction") for part in ("", "_probability", "_status", "_reason")
    ]
    assert frame.columns.tolist() == [*parts, "route", "suggestion_id", "suggestion_p_reuse"]
    assert set(frame["route"]) <= {"reuse", "answer", "forward", "review"}


@pytest.mark.parametrize("desk", ["triager", "desk_triager"])
def test_result_does_not_depend_on_the_batch(desk, request):
    triager = request.getfixturevalue(desk)
    together = plain(triager.predict(TEXTS))
    assert together == [plain(triager.predict([text]))[0] for text in TEXTS]
    assert together[::-1] == plain(triager.predict(TEXTS[::-1]))
    for target in triager.targets:
        alone = [triager.predict_proba([text], target)[0] for text in TEXTS]
        assert np.array_equal(triager.predict_proba(TEXTS, target), np.stack(alone))


@given(st.lists(WILD, max_size=5))
@example([*TEXTS])
@few
def test_result_of_any_text_does_not_depend_on_the_batch(triager, texts):
    assert plain(triager.predict(texts)) == [plain(triager.predict([text]))[0] for text in texts]


def test_large_batch_gives_what_small_ones_give(triager):
    texts = [f"{TEXTS[number % len(TEXTS)]} {number % 11}" for number in range(2100)]
    frame = triager.predict_frame(texts)
    parts = [triager.predict_frame(texts[start : start + 77]) for start in range(0, len(texts), 77)]
    pd.testing.assert_frame_equal(frame, pd.concat(parts, ignore_index=True), check_dtype=False)
    pd.testing.assert_frame_equal(frame, replace(triager, n_jobs=2).predict_frame(texts))


def test_eight_threads_give_what_one_gives(triager):
    fresh = replace(triager)  # nothing cached yet
    batches = [TEXTS[number % 6 :] + TEXTS[: number % 6] for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda texts: plain(fresh.predict(texts)), batches))
    assert found == [plain(triager.predict(texts)) for texts in batches]


def test_no_texts_give_no_results(triager):
    assert (triager.predict([]), triager.similar([])) == ([], [])
    assert len(triager.predict_frame([])) == 0
    assert triager.predict_frame([]).columns.tolist() == triager.predict_frame(TEXTS).columns.tolist()
    assert triager.predict_proba([], "topic").shape == (0, 3)
    assert triager.scope_scores([]).shape == (0,)


# --- what comes in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("desk", ["triager", "desk_triager"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_decided_or_reviewed(desk, name, request):
    triager = request.getfixturevalue(desk)
    text = HOSTILE[name]
    (result,) = triager.predict([text])
    json.dumps(result.to_dict(), allow_nan=False)
    for decision in result.decisions.values():
        assert 0 < decision.probability <= 1
        words = triager.features.words([text]).strings()
        assert (decision.reason == "empty") == all(len(word.strip("0123456789")) < 2 for word in words)
        if decision.reason in ("empty", "out_of_scope"):
            assert result.route == "review"
    assert (result.evidence["out_of_scope_score"] >= 0) <= (result.route == "review")


@pytest.mark.parametrize("name", ["empty", "spaces", "one_mark", "emoji", "only_nul", "only_surrogate", "controls"])
def test_text_without_words_is_reviewed_as_empty(triager, name):
    (result,) = triager.predict([HOSTILE[name]])
    assert {decision.reason for decision in result.decisions.values()} == {"empty"}
    assert (result.route, result.suggestions) == ("review", ())
    assert all(decision.words == () for decision in result.decisions.values())


@pytest.mark.parametrize("name", ["one_letter", "digits", "long_digits", "many_lines"])
def test_text_without_a_word_of_two_letters_is_reviewed_as_empty(desk_triager, name):
    (result,) = desk_triager.predict([HOSTILE[name]])
    assert {decision.reason for decision in result.decisions.values()} == {"empty"}
    assert result.route == "review"


def test_text_of_a_megabyte_is_decided(triager):
    results = triager.predict(["đất đai " * 125_000, "x" * 1_000_000, TEXTS[0]], k=1)
    assert results[0].decisions["topic"].label == "land"
    assert plain(results[2:]) == plain(triager.predict([TEXTS[0]], k=1))


@pytest.mark.parametrize("method", ["predict", "predict_frame", "similar", "scope_scores"])
@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (SECRET, "got one string; put it in a list"),
        ([SECRET, None], r"NoneType \(position 1\)"),
        ([SECRET, float("nan")], r"float \(position 1\)"),
        ({"text": [SECRET]}, "take its column of texts"),
    ],
    ids=["bare", "None", "NaN", "dict"],
)
def test_anything_but_a_sequence_of_strings_is_refused(triager, method, texts, match):
    with pytest.raises(TypeError, match=match) as caught:
        getattr(triager, method)(texts)
    assert SECRET not in str(caught.value)


def test_missing_cell_of_a_frame_is_refused_by_position(triager):
    with pytest.raises(TypeError, match=r"got 1 of 2 .*\(position 1\)") as caught:
        triager.predict_frame(pd.DataFrame({"text": [SECRET, None]}))
    assert SECRET not in str(caught.value)


def test_index_is_kept_with_its_duplicates(triager):
    index = pd.Index([7, 7, "x", None, 7, "x"], name="row")
    expected = triager.predict_frame(TEXTS)
    for texts in (pd.Series(TEXTS, index), pd.DataFrame({"text": TEXTS, "more": 1}, index)):
        frame = triager.predict_frame(texts)
        pd.testing.assert_index_equal(frame.index, index)
        pd.testing.assert_frame_equal(frame.reset_index(drop=True), expected)


def test_frame_may_have_its_texts_in_any_column(triager):
    frame = triager.predict_frame(pd.DataFrame({"question": TEXTS, "text": "x"}), text="question")
    pd.testing.assert_frame_equal(frame, triager.predict_frame(TEXTS))
    with pytest.raises(ValueError, match=r"must have a column 'question', got \['a', 'b'\]; name it by text="):
        triager.predict_frame(pd.DataFrame({"a": [SECRET], "b": [SECRET]}), text="question")


def test_unknown_target_is_refused(triager):
    with pytest.raises(ValueError, match=r"target must be one of \['topic', 'jurisdiction'\], got 'level'"):
        triager.predict_proba(TEXTS, "level")


# --- as_of and k ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "as_of",
    [
        "2025-10-01",
        date(2025, 10, 1),
        datetime(2025, 10, 1, 23, 59),
        pd.Timestamp("2025-10-01 08:00"),
        ["2025-10-01"] * 2,
        (date(2025, 10, 1), "2025-10-01"),
        pd.Series(["2025-10-01"] * 2, dtype="datetime64[ns]"),
    ],
    ids=repr,
)
def test_day_is_kept_in_the_evidence(triager, as_of):
    results = triager.predict(TEXTS[:2], as_of=as_of)
    assert [result.evidence["as_of"] for result in results] == ["2025-10-01"] * 2
    pd.testing.assert_frame_equal(triager.predict_frame(TEXTS[:2], as_of=as_of), triager.predict_frame(TEXTS[:2]))


def test_day_may_be_missing(triager):
    assert "as_of" not in triager.predict(TEXTS[:1])[0].evidence
    results = triager.predict(TEXTS[:2], as_of=[None, "2025-10-01"])
    assert ["as_of" in result.evidence for result in results] == [False, True]


@pytest.mark.parametrize("method", ["predict", "predict_frame"])
@pytest.mark.parametrize(
    "as_of",
    ["", "yesterday", "2025-13-01", "01/10/2025", 20251001, 1.5, pd.NaT, ["2025-10-01", 7], b"2025-10-01"],
    ids=repr,
)
def test_day_that_is_none_is_refused(triager, method, as_of):
    with pytest.raises(ValueError, match="as_of must be a date or text such as '2025-10-01', got"):
        getattr(triager, method)(TEXTS[:2], as_of=as_of)


@pytest.mark.parametrize("n_days", [0, 1, 3])
def test_as_many_days_as_texts_are_needed(triager, n_days):
    with pytest.raises(ValueError, match=f"one for each of the 2 texts, got {n_days} days"):
        triager.predict(TEXTS[:2], as_of=["2025-10-01"] * n_days)


@pytest.mark.parametrize(("k", "expected"), [(0, 0), (1, 1), (5, 5), (16, 16), (1000, 16)])
def test_at_most_k_suggestions(triager, k, expected):
    (result,) = triager.predict(["who grants a licence for land and liquor, là gì ở đâu"], k=k)
    assert len(result.suggestions) <= expected
    assert len(result.suggestions) >= min(expected, 10)
    similarities = [suggestion.similarity for suggestion in result.suggestions]
    assert similarities == sorted(similarities, reverse=True)
    assert all(0 < similarity <= 1 for similarity in similarities)


def test_k_out_of_range_is_refused(triager):
    with pytest.raises(ValueError, match="k must be at least 0, got -1"):
        triager.predict(TEXTS, k=-1)
    for k in (0, -1):
        with pytest.raises(ValueError, match=f"k must be at least 1, got {k}"):
            triager.similar(TEXTS, k=k)


def test_similar_gives_what_predict_suggests(desk_triager):
    found = desk_triager.similar(TEXTS, k=3)
    assert found == [list(result.suggestions) for result in desk_triager.predict(TEXTS, k=3)]
    for text, suggestions in zip(TEXTS, found, strict=True):
        for suggestion in suggestions:
            assert suggestion.id.startswith("ar-ld-")
            assert suggestion.answer
            assert all(word in text for word in suggestion.matched)


def test_training_question_is_suggested_first(triager, questions):
    found = triager.similar(questions["text"], k=1)
    assert [suggestions[0].question for suggestions in found] == questions["text"].tolist()
    assert all(suggestions[0].similarity == pytest.approx(1, abs=1e-5) for suggestions in found)


# --- words ------------------------------------------------------------------------------------------


def stand_in_order(words, text):
    """Whether words are pieces of the text, one after the other."""
    place = 0
    for word in words:
        place = text.find(word, place) + len(word)
        if place < len(word):
            return False
    return True


@pytest.mark.parametrize("desk", ["triager", "desk_triager"])
@pytest.mark.parametrize("text", [*TEXTS, "  Hỏi UBND: (TTHC), HOÀ giải/đất-đai… liquor? UBND "])
def test_contributions_add_up_to_the_linear_part(desk, text, request):
    triager = request.getfixturevalue(desk)
    (result,) = triager.predict([text])
    reading = triager.read([text])
    for target, decision in result.decisions.items():
        label = triager.classes_[target].tolist().index(decision.label)
        pull = triager.classifier.pull(triager.classifier.scores(reading.X)[0], target, label, reading.X.indices)
        linear = float(reading.X.data.astype(float) @ pull)
        assert sum(contribution for _, contribution in decision.words) == pytest.approx(linear, abs=1e-4)
        words = [word for word, _ in decision.words]
        assert stand_in_order(words, text)
        assert all(word for word in words)
        assert words == [word for word, _ in result.decisions[triager.targets[0]].words]


@given(WILD)
@example("a\u0301 b\u0323. (hoà)")
@few
def test_words_of_any_text_add_up(triager, text):
    (result,) = triager.predict([text], k=0)
    reading = triager.read([text])
    decision = result.decisions["topic"]
    label = triager.classes_["topic"].tolist().index(decision.label)
    pull = triager.classifier.pull(triager.classifier.scores(reading.X)[0], "topic", label, reading.X.indices)
    linear = float(reading.X.data.astype(float) @ pull)
    assert sum(contribution for _, contribution in decision.words) == pytest.approx(linear, abs=1e-4)
    assert np.isfinite([contribution for _, contribution in decision.words]).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UBND xã, HOÀ giải?", ["UBND", "xã", "HOÀ", "giải"]),
        ("(ubnd) TTHC", ["ubnd", "TTHC"]),
        ("đất/đai – 12/2025/NĐ-CP.", ["đất/đai", "12/2025/NĐ-CP"]),
        ("« rượu »\n“vang”", ["rượu", "vang"]),
        ("rượu\u200bvang", ["rượu\u200bvang"]),
        (
            unicodedata.normalize("NFD", "hoà thủ (ở)"),
            [unicodedata.normalize("NFD", word) for word in ("hoà", "thủ", "ở")],
        ),
        ("हिन्दी? มี", ["हिन्दी", "มี"]),
    ],
)
def test_words_are_in_the_askers_own_spelling(triager, text, expected):
    (result,) = triager.predict([text])
    assert [word for word, _ in result.decisions["topic"].words] == expected


def test_word_of_the_label_pulls_towards_it(triager):
    (result,) = triager.predict(["who sells liquor"])
    decision = result.decisions["topic"]
    assert decision.label == "liquor"
    assert max(decision.words, key=lambda item: item[1])[0] == "liquor"


def test_matched_words_are_the_askers_own(triager):
    (suggestion,) = triager.similar(["Cấp GIẤY phép: RƯỢU ở ubnd"], k=1)[0]
    assert set(suggestion.matched) <= {"Cấp", "GIẤY", "phép", "RƯỢU", "ở", "ubnd"}
    assert {"GIẤY", "phép", "RƯỢU"} <= set(suggestion.matched)


# --- out of the process -----------------------------------------------------------------------------


@pytest.mark.parametrize("desk", ["triager", "desk_triager"])
def test_results_go_through_pickle_and_json(desk, request):
    results = request.getfixturevalue(desk).predict(TEXTS, as_of="2025-10-01")
    again = pickle.loads(pickle.dumps(results))
    assert again == results
    assert plain(again) == plain(results)  # words and all
    assert json.loads(json.dumps(plain(results), allow_nan=False)) == plain(results)


@pytest.mark.parametrize("desk", ["triager", "desk_triager"])
def test_saved_desk_gives_the_same_results(desk, request, tmp_path):
    triager = request.getfixturevalue(desk)
    again = triage.load(triager.save(tmp_path / "desk"))
    texts = [*TEXTS, *(text for text in HOSTILE.values() if len(text) < 2000)]
    assert plain(again.predict(texts)) == plain(triager.predict(texts))
    pd.testing.assert_frame_equal(again.predict_frame(texts), triager.predict_frame(texts))
    assert again.fingerprint == triager.fingerprint
    assert again.thresholds == triager.thresholds
    assert again.taxonomy == triager.taxonomy
    assert repr(again) == repr(triager)


def test_saving_twice_gives_the_same_bytes(triager, tmp_path):
    first = triager.save(tmp_path / "first")
    second = triage.load(first).save(tmp_path / "second")
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_bundle_that_stands_there_is_kept_unless_told(triager, tmp_path):
    path = triager.save(tmp_path / "desk")
    with pytest.raises(BundleError, match="must not exist yet"):
        triager.save(path)
    assert triager.save(path, overwrite=True) == path


def test_nothing_to_load_is_refused(tmp_path):
    with pytest.raises(BundleError, match="nothing is there"):
        triage.load(tmp_path / "nothing")


def test_no_question_stands_in_errors_or_logs(triager, caplog, tmp_path):
    with caplog.at_level(logging.DEBUG):
        triager.predict([f"{SECRET} {text}" for text in HOSTILE.values() if len(text) < 2000])
        triager.predict_frame([SECRET])
        triage.load(triager.save(tmp_path / "desk")).similar([SECRET])
    assert SECRET not in caplog.text
    assert SECRET not in repr(triager)


# --- bundles whose parts do not fit -----------------------------------------------------------------


@pytest.fixture(scope="module")
def contents(triager, tmp_path_factory):
    return load_bundle(triager.save(tmp_path_factory.mktemp("bundles") / "desk"))[0]


def changed(value, path, new):
    """Return nested dicts and lists with what stands at a path replaced, or taken away with ... for `new`."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    if new is ... and len(path) == 1:
        del copied[path[0]]
    else:
        copied[path[0]] = changed(value[path[0]], path[1:], new)
    return copied


def leaves(value, path=()):
    """Yield the path of everything inside nested dicts and short lists."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        yield from leaves(item, (*path, key))


def refused_or_harmless(path):
    """A false bundle is refused with a clear error, or answers; it never crashes."""
    try:
        triager = triage.load(path)
    except BundleError as error:
        if "must fit each other" in str(error) and error.remedy:
            return True
        raise
    plain(triager.predict(TEXTS))
    triager.predict_frame(TEXTS)
    return False


ARRAYS = (
    ["buckets", "idf"],
    ["combinations", "values", "columns", "starts", "scale", "intercept", "shares", "temperatures"],
)
NAMES = [f"{part}.{name}" for part, names in zip(("features", "classifier"), ARRAYS, strict=True) for name in names]
DAMAGES = {
    "missing": lambda array: None,
    "truncated": lambda array: array[:-1],
    "longer": lambda array: np.concatenate((array, array[-1:])),
    "empty": lambda array: array[:0],
    "scalar": lambda array: np.array(1.0),
    "flat": lambda array: array[None],
    "huge": lambda array: np.full_like(array, np.iinfo(array.dtype).max if array.dtype.kind in "iu" else np.inf),
    "nan": lambda array: np.full(array.shape, np.nan),
    "negative": lambda array: -array.astype(np.int64 if array.dtype.kind in "iu" else array.dtype) - 1,
    "booleans": lambda array: array.astype(bool),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_array_that_does_not_fit_is_refused(contents, tmp_path, name, damage):
    array = DAMAGES[damage](contents.arrays[name])
    arrays = {**contents.arrays, name: array}
    if array is None:
        del arrays[name]
    was_refused = refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, arrays=arrays)))
    harmless = {("classifier.values", "huge"), ("classifier.values", "negative")}
    harmless |= {(f"classifier.{name}", "negative") for name in ("scale", "intercept", "shares", "temperatures")}
    harmless |= {("features.idf", "negative")}
    assert was_refused or (name, damage) in harmless


@pytest.mark.parametrize(
    "name", ["features.buckets", "classifier.starts", "classifier.columns", "classifier.combinations"]
)
def test_array_in_another_order_is_refused_or_harmless(contents, tmp_path, name):
    arrays = {**contents.arrays, name: contents.arrays[name][::-1].copy()}
    refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, arrays=arrays)))


@pytest.mark.parametrize("new", [..., None, -1, "x", [], {}, 1e300, True], ids=repr)
def test_setting_that_does_not_fit_is_refused_or_harmless(contents, new, monkeypatch):
    for path in leaves(contents.settings):
        false = replace(contents, settings=changed(contents.settings, path, new))
        monkeypatch.setattr("triage.triager.load_bundle", lambda _, false=false: (false, {}))
        refused_or_harmless("a bundle")


@pytest.mark.parametrize(
    "path", [(part,) for part in ("features", "classifier", "scope", "thresholds", "description", "taxonomy")]
)
def test_missing_part_is_refused(contents, tmp_path, path):
    assert refused_or_harmless(
        save_bundle(tmp_path / "desk", replace(contents, settings=changed(contents.settings, path, ...)))
    )


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"suggestions": [{}]},
        {"suggestions": [{"id": 1, "question": "q", "answer": None}]},
        {"suggestions": [{"id": "1", "question": None, "answer": None}]},
    ],
    ids=["missing", "no_columns", "number", "no_question"],
)
def test_suggestions_that_do_not_fit_are_refused(contents, tmp_path, tables):
    assert refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, tables=tables)))


def test_arrays_of_another_desk_are_refused(contents, desk_triager, tmp_path):
    other = load_bundle(desk_triager.save(tmp_path / "other"))[0]
    for part in ("features.", "classifier."):
        arrays = {name: (other if name.startswith(part) else contents).arrays[name] for name in NAMES}
        assert refused_or_harmless(save_bundle(tmp_path / part.strip("."), replace(contents, arrays=arrays)))
