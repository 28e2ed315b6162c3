"""Tests of `triage.triager`: one answer whichever way it is asked for, whatever stands in the text or the bundle."""

from __future__ import annotations

import json
import logging
import pickle
import threading
import tracemalloc
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import triage
from triage import BundleError, Register
from triage.bundle import load_bundle, save_bundle
from triage.classifier import JointClassifier, softmax
from triage.dataset import Taxonomy, Topic
from triage.records import REASONS
from triage.register import outdated
from triage.triager.evidence import Evidence
from triage.triager.reasons import MOST_WORDS

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
few = settings(max_examples=30, suppress_health_check=list(HealthCheck))


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


def linear_part(triager, text, decision, day):
    """Return the features of a text, each by its pull towards the label that was decided on a day."""
    reading = triager.reader.read([text])
    label = triager.classes_[decision.target].tolist().index(decision.label)
    pull = triager.reader.pull(reading, triager.reader.meaning(day)[0], decision.target, label)
    return float(reading.seen.X.data.astype(float) @ pull)


@pytest.mark.parametrize("desk", ["triager", "desk_triager"])
@pytest.mark.parametrize("text", [*TEXTS, "  Hỏi UBND: (TTHC), HOÀ giải/đất-đai… liquor? UBND "])
def test_contributions_add_up_to_the_linear_part(desk, text, request):
    triager = request.getfixturevalue(desk)
    (result,) = triager.predict([text])
    for decision in result.decisions.values():
        linear = linear_part(triager, text, decision, result.evidence.get("as_of"))
        assert sum(contribution for _, contribution in decision.words) == pytest.approx(linear, abs=1e-4)
        words = [word for word, _ in decision.words]
        assert stand_in_order(words, text)
        assert all(word for word in words)
        assert words == [word for word, _ in result.decisions[triager.targets[0]].words]


def test_of_a_very_long_text_the_words_that_count_most_are_told(triager):
    text = "giấy phép " + " ".join(f"w{number}" for number in range(5000))
    decision = triager.predict([text])[0].decisions["topic"]
    words = [word for word, _ in decision.words]
    assert len(words) == MOST_WORDS
    assert words[:2] == ["giấy", "phép"]
    assert len(json.dumps(decision.to_dict())) < 100_000


@given(WILD)
@example("a\u0301 b\u0323. (hoà)")
@few
def test_words_of_any_text_add_up(triager, text):
    (result,) = triager.predict([text], k=0)
    decision = result.decisions["topic"]
    linear = linear_part(triager, text, decision, None)
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


# --- on a day: a desk with a register ---------------------------------------------------------------

DATED = [
    ("may i sell liquor in my shop", "liquor", "local", "commune", "", "M1"),
    ("licence to sell liquor by retail", "liquor", "local", "commune", "", "M1"),
    ("who grants a retail liquor licence", "liquor", "local", "commune", "", "M1"),
    ("liquor wholesale distributor permit", "liquor", "ministry", "", "", "M2"),
    ("national distribution of liquor", "liquor", "ministry", "", "", "M2"),
    ("permit for distributors of liquor", "liquor", "ministry", "", "", "M2"),
    ("tax on my rent income", "tax", "other_agency", "", "finance", "M3"),
    ("late tax return fine", "tax", "other_agency", "", "finance", "M3"),
    ("how to pay income tax", "tax", "other_agency", "", "finance", "M3"),
    ("quarry sand extraction permit", "minerals", "local", "province", "", "M4"),
    ("who allows sand and gravel digging", "minerals", "local", "province", "", "M4"),
    ("gravel quarry licence", "minerals", "local", "province", "", "M4"),
    ("what are your opening hours", "other", "local", "commune", "", ""),
    ("phone number of the office", "other", "local", "commune", "", ""),
    ("where is your office", "other", "local", "commune", "", ""),
]
DATED_COLUMNS = ["text", "topic", "jurisdiction", "level", "agency", "matter_id"]
PERIODS = [
    ("M1", "liquor", "Retail liquor licence", "local", "commune", "", "Decree 1", "2025-07-01", "2025-12-31"),
    ("M1", "liquor", "Retail liquor licence", "local", "province", "", "Decree 2", "2026-01-01", ""),
    ("M2", "liquor", "Liquor distribution permit", "ministry", "", "", "Decree 1", "", ""),
    ("M3", "tax", "Income tax", "other_agency", "", "finance", "Tax law", "2025-07-01", ""),
    ("M4", "minerals", "Sand and gravel", "local", "province", "", "Decree 3", "2025-07-01", "2026-06-30"),
    ("M4", "minerals", "Sand and gravel", "other_agency", "", "environment", "Decree 4", "2026-07-01", "2026-12-31"),
]
PERIOD_COLUMNS = ["matter_id", "topic", "matter_en", "jurisdiction", "level", "agency", "legal_basis"]
PERIOD_COLUMNS += ["valid_from", "valid_to"]
TAXONOMY = Taxonomy(
    "en",
    tuple(Topic(name, {"en": name}, "", ()) for name in ("liquor", "tax", "minerals", "other", "festivals")),
    {name: {"en": name} for name in ("local", "ministry", "other_agency")},
    {name: {"en": name} for name in ("commune", "district", "province")},
    {"finance": {"en": "Tax office", "vi": "Thuế"}, "environment": {"en": "Department of Environment"}},
)
RETAIL, GRAVEL, OFFICE, TAX = "retail liquor licence", "sand gravel quarry", "office opening hours", "income tax return"
ASKED = [RETAIL, GRAVEL, OFFICE, TAX, ""]
DAYS = ["2025-08-01", "2026-02-01", "2026-08-01", "2027-02-01"]  # each of another meaning
EACH = [(text, day) for day in DAYS for text in ASKED]
EACH = [EACH[place * 7 % len(EACH)] for place in range(len(EACH))]  # days and texts in no order


def periods(*more):
    return pd.DataFrame([*PERIODS, *more], columns=PERIOD_COLUMNS)


@pytest.fixture(scope="module")
def dated_table():
    """Return fifteen questions with their matters, of August 2025."""
    return pd.DataFrame(DATED, columns=DATED_COLUMNS).assign(date="2025-08-01")


@pytest.fixture(scope="module")
def dated(dated_table):
    """Return a desk whose register has a matter that moves within it, and one that leaves it and ends."""
    return triage.train(dated_table, register=periods(), taxonomy=TAXONOMY)


@pytest.fixture(scope="module")
def grown(dated):
    """Return the desk with a register of two matters more, which nobody asked about in training."""
    number = ("M9", "other", "National phone number", "local", "commune", "", "Decree 9", "2026-01-01", "")
    appeal = ("M8", "tax", "Fine for a late tax return", "local", "commune", "", "Decree 8", "", "")
    return dated.with_register(periods(number, appeal))


def labels_of(result):
    return {target: decision.label for target, decision in result.decisions.items()}


def without_gaps(frame):
    """Return a frame with None for all that is missing, whichever way."""
    return frame.astype(object).where(frame.notna(), None)


@pytest.mark.parametrize(
    ("text", "day", "place", "route"),
    [
        (RETAIL, "2025-08-01", ("local", "commune", ""), "answer"),
        (RETAIL, "2025-12-31", ("local", "commune", ""), "answer"),
        (RETAIL, "2026-01-01", ("local", "province", ""), "answer"),
        (GRAVEL, "2026-06-30", ("local", "province", ""), "answer"),
        (GRAVEL, "2026-07-01", ("other_agency", "", "environment"), "forward"),
        (TAX, "2026-07-01", ("other_agency", "", "finance"), "forward"),
        (OFFICE, "2025-08-01", ("local", "commune", ""), "answer"),
        (OFFICE, "2027-02-01", ("local", "commune", ""), "answer"),
    ],
)
def test_who_decides_depends_on_the_day(dated, text, day, place, route):
    (result,) = dated.predict([text], as_of=day)
    assert tuple(labels_of(result)[target] for target in ("jurisdiction", "level", "agency")) == place
    assert result.route == route
    assert {decision.status for decision in result.decisions.values()} == {"assigned"}


def test_what_a_question_is_about_does_not_depend_on_the_day(dated):
    for target in ("topic", "matter"):
        first, *others = (dated.predict_proba(ASKED, target, as_of=day) for day in DAYS)
        assert all(np.array_equal(first, other) for other in others)


def test_days_may_differ_within_a_batch(dated):
    texts, days = zip(*EACH, strict=True)
    alone = [dated.predict([text], as_of=day)[0] for text, day in EACH]
    assert plain(dated.predict(texts, as_of=days)) == plain(alone)
    assert plain(dated.predict(texts[::-1], as_of=days[::-1])) == plain(alone[::-1])
    assert [result.evidence["as_of"] for result in alone] == list(days)
    for target in dated.targets:
        rows = [dated.predict_proba([text], target, as_of=day)[0] for text, day in EACH]
        assert np.array_equal(dated.predict_proba(texts, target, as_of=days), np.stack(rows))
    matches = [dated.match([text], as_of=day, k=2)[0] for text, day in EACH]
    assert dated.match(texts, as_of=days, k=2) == matches
    similar = [dated.similar([text], k=2, as_of=day)[0] for text, day in EACH]
    assert dated.similar(texts, k=2, as_of=days) == similar
    assert dated.similar(texts[::-1], k=2, as_of=days[::-1]) == similar[::-1]


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_days_may_differ_within_a_large_batch(dated, n_jobs):
    texts, days = zip(*[EACH[place % 20] for place in range(2060)], strict=True)
    whole = replace(dated, n_jobs=n_jobs).predict_frame(texts, as_of=days)
    part = without_gaps(dated.predict_frame(texts[:20], as_of=days[:20]))
    pd.testing.assert_frame_equal(without_gaps(whole), pd.concat([part] * 103, ignore_index=True))


def test_frame_with_a_day_a_row_keeps_its_index(dated):
    index = pd.Index([7, *range(18), 7], name="row")
    frame = pd.DataFrame(EACH, columns=["text", "asked_on"], index=index)
    results = dated.predict(frame["text"], as_of=frame["asked_on"], k=1)
    found = dated.predict_frame(frame, as_of=frame["asked_on"])
    pd.testing.assert_index_equal(found.index, index)
    found = without_gaps(found)
    for target in dated.targets:
        decisions = [result.decisions[target] for result in results]
        assert found[target].tolist() == [decision.label for decision in decisions]
        assert found[f"{target}_probability"].tolist() == [decision.probability for decision in decisions]
        assert found[f"{target}_reason"].tolist() == [decision.reason for decision in decisions]
    assert found["route"].tolist() == [result.route for result in results]
    ids = [result.suggestions[0].id if result.suggestions else None for result in results]
    assert found["suggestion_id"].tolist() == ids


def test_days_may_stand_in_a_column_of_the_frame(dated):
    frame = pd.DataFrame(EACH, columns=["text", "asked_on"])
    expected = dated.predict_frame(frame, as_of=frame["asked_on"])
    pd.testing.assert_frame_equal(dated.predict_frame(frame, as_of="asked_on"), expected)


def test_today_is_the_default_with_a_register(dated, monkeypatch):
    class Fixed(date):
        @classmethod
        def today(cls):
            return date(2026, 8, 1)

    monkeypatch.setattr("triage.triager.batches.date", Fixed)
    assert plain(dated.predict(ASKED)) == plain(dated.predict(ASKED, as_of="2026-08-01"))
    days = [None, "2025-08-01", None, None, None]
    results = dated.predict(ASKED, as_of=days)
    assert [result.evidence["as_of"] for result in results] == ["2026-08-01", "2025-08-01", *["2026-08-01"] * 3]
    pd.testing.assert_frame_equal(dated.predict_frame(ASKED), dated.predict_frame(ASKED, as_of="2026-08-01"))
    forwarded = dated.classes_["jurisdiction"].tolist().index("other_agency")
    assert dated.predict_proba([GRAVEL], "jurisdiction")[0, forwarded] > 0.9
    assert dated.match([GRAVEL], k=1)[0][0].row["agency"] == "environment"


def test_eight_threads_ask_for_many_days_at_once(grown):
    fresh = replace(grown)
    batches = [EACH[number:] + EACH[:number] for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: plain(fresh.predict(*zip(*batch, strict=True))), batches))
    assert found == [plain(grown.predict(*zip(*batch, strict=True))) for batch in batches]


def test_threads_that_meet_on_a_new_day_mix_up_no_evidence(dated, monkeypatch):
    starts = [date(2000, 1, 1) + timedelta(2 * place) for place in range(150)]
    places = [("local", "commune", ""), ("local", "province", "")]
    rows = [
        ("M1", "liquor", "Retail liquor licence", *places[n % 2], "", str(day), str(day + timedelta(1)))
        for n, day in enumerate(starts)
    ]
    others = periods()
    many = pd.concat([pd.DataFrame(rows, columns=PERIOD_COLUMNS), others[others["matter_id"] != "M1"]])
    desk = dated.with_register(many)
    row_of, slower = Register.row_of, threading.Event()

    def slow(register, day):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            slower.wait()
        return row_of(register, day)

    monkeypatch.setattr(Register, "row_of", slow)
    for day in map(str, starts):
        begun = threading.Event()
        slower.clear()
        other = threading.Thread(target=desk.match, args=([RETAIL],), kwargs={"as_of": day})
        other.start()
        begun.wait()  # the other has found the day new, and goes on when this one is done
        first = desk.match([RETAIL], as_of=day, k=1)[0][0]
        slower.set()
        other.join()
        assert first.row["valid_from"] == day


# --- what the register says -------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "row"), [("2025-08-01", 0), ("2026-02-01", 1)])
def test_evidence_is_the_matter_with_its_row_on_the_day(dated, day, row):
    (result,) = dated.predict([RETAIL], as_of=day)
    matter = dict(result.evidence["matter"])
    assert matter.pop("agrees") is True
    assert matter.pop("probability") == result.decisions["matter"].probability
    assert matter == dated.register.facts(row)
    assert matter["legal_basis"] == f"Decree {row + 1}"
    assert (matter["valid_from"], matter["valid_to"]) == (("2025-07-01", "2025-12-31"), ("2026-01-01", None))[row]
    assert matter["names"] == {"en": "Retail liquor licence"}
    assert result.evidence["matters"][0] == {"matter_id": "M1", "probability": result.decisions["matter"].probability}
    assert result.evidence["conflict"] is None


def test_question_without_a_matter_has_none_in_its_evidence(dated):
    (result,) = dated.predict([OFFICE], as_of="2025-08-01")
    assert result.decisions["matter"].label == ""
    assert (result.evidence["matter"], result.evidence["conflict"]) == (None, None)
    assert all(matter["matter_id"] for matter in result.evidence["matters"])


def test_matter_agrees_just_where_all_labels_are_those_of_its_row(dated, desk_triager, desk_table):
    for day in ("2025-08-01", "2026-06-01"):
        for result in desk_triager.predict(desk_table["text"][:50], as_of=day, k=0):
            matter, labels = result.evidence["matter"], labels_of(result)
            if matter is not None:
                places = ("jurisdiction", "level", "agency")
                assert matter["agrees"] == all(matter.get(target) == labels[target] for target in places)
    outcomes, rows = dated.reader.meaning("2025-08-01")
    evidence = Evidence(dated.register, dated.reader.classes, rows, outcomes.codes[:, 4])
    sure = np.array([float(matter == "M1") for matter in dated.classes_["matter"]])
    labels = {"jurisdiction": "local", "level": "commune", "agency": ""}
    assert evidence.of(sure, labels)["matter"]["agrees"]
    for target in labels:
        assert not evidence.of(sure, {**labels, target: "x"})["matter"]["agrees"]


def test_forwarded_question_names_the_agency(dated):
    results = {day: dated.predict([GRAVEL], as_of=day)[0] for day in DAYS}
    sure = results[DAYS[2]].decisions["agency"].probability
    forward = {"agency": "environment", "probability": sure, "status": "assigned"}
    forward["names"] = {"en": "Department of Environment"}
    assert [results[day].evidence["forward_to"] for day in DAYS] == [None, None, forward, None]
    assert [results[day].route for day in DAYS] == ["answer", "answer", "forward", "review"]
    (result,) = dated.predict([TAX], as_of="2026-02-01")
    assert result.evidence["forward_to"] == {
        "agency": "finance",
        "probability": result.decisions["agency"].probability,
        "status": "assigned",
        "names": {"en": "Tax office", "vi": "Thuế"},
    }


def test_agency_without_a_taxonomy_has_no_names(dated):
    (result,) = replace(dated, taxonomy=None).predict([TAX], as_of="2026-02-01")
    assert result.evidence["forward_to"] == {
        "agency": "finance",
        "probability": result.decisions["agency"].probability,
        "status": "assigned",
        "names": {},
    }


def test_matter_that_has_ended_is_a_conflict(dated):
    (result,) = dated.predict([GRAVEL], as_of="2027-02-01")
    assert result.route == "review"
    reasons = {target: decision.reason for target, decision in result.decisions.items()}
    assert reasons == {"topic": None, "matter": None} | dict.fromkeys(("jurisdiction", "level", "agency"), "conflict")
    assert result.evidence["matter"] == {
        "matter_id": "M4",
        "probability": result.decisions["matter"].probability,
        "agrees": False,
    }
    conflict = result.evidence["conflict"]
    assert conflict["register"] == {
        "matter_id": "M4",
        "probability": result.decisions["matter"].probability,
        "jurisdiction": None,
        "level": None,
        "agency": None,
    }
    assert conflict["classifier"]["jurisdiction"] == "local"


def test_matter_that_has_ended_is_a_conflict_also_without_levels_and_agencies(dated_table):
    desk = triage.train(dated_table.drop(columns=["level", "agency"]), register=periods())
    assert desk.targets == ("topic", "jurisdiction", "matter")
    routes = [desk.predict([GRAVEL], as_of=day)[0].route for day in DAYS]
    assert routes == ["answer", "answer", "forward", "review"]


def test_conflict_shows_both_sides(dated, monkeypatch):
    sure = np.array([0.05, 0.9, 0.05], np.float32)  # of the ministry, whatever the matter is
    monkeypatch.setattr(
        JointClassifier, "probability_alone", lambda self, scores, target: np.tile(sure, (len(scores), 1))
    )
    (result,) = dated.predict([RETAIL], as_of="2026-02-01")
    assert (result.route, result.decisions["jurisdiction"].reason) == ("review", "conflict")
    conflict = result.evidence["conflict"]
    assert conflict["register"] == {
        "matter_id": "M1",
        "probability": result.decisions["matter"].probability,
        "jurisdiction": "local",
        "level": "province",
        "agency": "",
    }
    assert conflict["classifier"] == {"jurisdiction": "ministry", "probability": pytest.approx(0.9)}


def test_classifier_that_says_what_the_row_of_the_day_says_is_no_conflict(dated):
    name = "Fine for a late tax return"
    moved = [
        ("M8", "tax", name, "other_agency", "", "finance", "", "", "2025-12-31"),
        ("M8", "tax", name, "local", "commune", "", "", "2026-01-01", ""),
    ]
    (result,) = dated.with_register(periods(*moved)).predict([name], as_of="2025-08-01")
    assert result.decisions["jurisdiction"].label == "other_agency"
    assert result.evidence["matter"]["agrees"]
    assert result.evidence["conflict"] is None
    assert result.route == "forward"


def test_change_of_law_is_no_conflict(dated):
    assert all(dated.predict([RETAIL], as_of=day)[0].evidence["conflict"] is None for day in DAYS)
    assert all(dated.predict([GRAVEL], as_of=day)[0].evidence["conflict"] is None for day in DAYS[:3])


def test_evidence_is_plain_json(grown):
    texts, days = zip(*EACH, strict=True)
    results = plain(grown.predict(texts, as_of=days))
    assert json.loads(json.dumps(results, allow_nan=False)) == results


# --- matching ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "expected"), [(1, 1), (2, 2), (4, 4), (9, 4)])
def test_match_ranks_k_matters_and_that_there_is_none(dated, k, expected):
    for text, matches in zip(ASKED, dated.match(ASKED, as_of="2026-08-01", k=k), strict=True):
        assert [match.matter for match in matches].count(None) == 1
        assert len({match.matter for match in matches}) == len(matches) == expected + 1
        shares = [match.probability for match in matches]
        assert shares == sorted(shares, reverse=True)
        labels = dated.classes_["matter"].tolist()
        own = dict(zip(labels, dated.predict_proba([text], "matter")[0].tolist(), strict=True))
        assert {match.matter or "": match.probability for match in matches}.items() <= own.items()
        best = sorted((share for label, share in own.items() if label), reverse=True)
        assert [match.probability for match in matches if match.matter] == best[:k]


def test_match_gives_the_row_of_the_day(dated):
    found = {match.matter: match.row for match in dated.match([GRAVEL], as_of="2027-02-01")[0]}
    assert found == {
        None: None,
        "M1": dated.register.facts(1),
        "M2": dated.register.facts(2),
        "M3": dated.register.facts(3),
        "M4": None,
    }
    assert dated.match([GRAVEL], as_of="2026-02-01", k=1)[0][0].row == dated.register.facts(4)


def test_register_of_a_desk_matches_as_the_desk_does(dated, grown):
    for desk in (dated, grown):
        assert desk.register.match(ASKED, as_of="2026-02-01", k=3) == desk.match(ASKED, as_of="2026-02-01", k=3)
    assert {match.matter for match in grown.register.match([RETAIL], k=9)[0]} >= {"M8", "M9"}
    assert not {match.matter for match in dated.register.match([RETAIL], k=9)[0]} & {"M8", "M9"}
    assert dated.match([]) == []


def test_match_that_cannot_be_is_refused(triager, dated):
    with pytest.raises(ValueError, match="match needs a desk trained with a register and a column matter_id"):
        triager.match(TEXTS)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        dated.match(ASKED, k=0)
    with pytest.raises(ValueError, match="one for each of the 5 texts, got 1 days"):
        dated.match(ASKED, as_of=["2026-02-01"])
    with pytest.raises(TypeError, match="got one string; put it in a list"):
        dated.match(SECRET)


# --- another register -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["National phone number", "who allows a national number for phones?"])
def test_new_matter_is_found_by_its_name_without_training(dated, grown, text):
    (result,) = grown.predict([text], as_of="2026-02-01")
    assert tuple(labels_of(result).values()) == ("other", "local", "commune", "", "M9")
    assert result.route == "answer"
    assert result.evidence["matter"]["legal_basis"] == "Decree 9"
    assert result.evidence["matter"]["agrees"]
    assert grown.classifier is dated.classifier
    assert "M9" not in dated.classes_["matter"]


def test_new_labels_come_after_those_of_training(dated):
    more = ("M7", "festivals", "National phone number", "local", "district", "", "", "2026-01-01", "")
    desk = dated.with_register(periods(more))
    assert desk.targets == dated.targets
    for target, label in {"topic": "festivals", "level": "district", "matter": "M7", "agency": "environment"}.items():
        known = sorted({*dated.classifier.classes[target]})
        assert desk.classes_[target].tolist() == [*known, label]
    for target in desk.targets:
        probability = desk.predict_proba(ASKED, target, as_of="2026-02-01")
        assert probability.shape == (5, len(desk.classes_[target]))
        assert probability.sum(1) == pytest.approx(1, abs=1e-5)
        assert (probability > 0).all()
    (result,) = desk.predict(["national phone number"], as_of="2026-02-01")
    assert tuple(labels_of(result).values()) == ("festivals", "local", "district", "", "M7")


@pytest.mark.parametrize(
    ("topic", "level"),
    [("other", "commune"), ("festivals", "commune"), ("other", "district"), ("festivals", "district")],
)
def test_new_matter_takes_no_question_away_from_others(dated, dated_table, topic, level):
    desk = dated.with_register(periods(("M7", topic, "Fireworks display", "local", level, "", "", "", "")))
    assert "M7" not in desk.predict_frame(dated_table)["matter"].tolist()
    assert "M7" not in desk.predict_frame(ASKED[:4])["matter"].tolist()


def test_new_matter_changes_little_for_questions_on_others(dated, grown):
    texts = [RETAIL, GRAVEL, TAX]
    for one, other in zip(*(desk.predict(texts, as_of="2026-02-01") for desk in (dated, grown)), strict=True):
        assert labels_of(one) == labels_of(other)
        assert other.decisions["matter"].probability == pytest.approx(one.decisions["matter"].probability, abs=0.02)


def test_new_rows_of_a_known_matter_decide_from_now_on(dated):
    moved = periods().replace({"legal_basis": {"Decree 2": "Decree 22"}, "level": {"province": "district"}})
    before, after = (
        desk.predict([RETAIL], as_of="2026-02-01")[0] for desk in (dated, dated.with_register(Register.read(moved)))
    )
    assert [labels_of(result)["level"] for result in (before, after)] == ["province", "district"]
    assert after.evidence["matter"]["legal_basis"] == "Decree 22"
    assert after.decisions["matter"].probability == before.decisions["matter"].probability


def test_register_with_faults_is_refused_and_the_desk_is_as_before(dated):
    before = plain(dated.predict(ASKED, as_of="2026-02-01"))
    with pytest.raises(triage.DatasetError, match=r"row 7, column 'level': must be one of .*, got 'village'"):
        dated.with_register(periods(("M7", "tax", "x", "local", "village", "", "", "", "")))
    assert plain(dated.predict(ASKED, as_of="2026-02-01")) == before


def test_desk_without_matters_takes_a_register_and_decides_as_before(triager):
    desk = triager.with_register(periods())
    pd.testing.assert_frame_equal(desk.predict_frame(TEXTS), triager.predict_frame(TEXTS))
    assert desk.register.valid("2026-02-01")["matter_id"].tolist() == ["M1", "M2", "M3", "M4"]
    assert "matter" not in desk.predict(TEXTS[:1])[0].evidence
    with pytest.raises(ValueError, match="match needs a desk trained with a register and a column matter_id"):
        desk.register.match(TEXTS)


@pytest.mark.parametrize("desk", ["dated", "grown"])
def test_saved_register_gives_the_same_results(desk, request, tmp_path):
    triager = request.getfixturevalue(desk)
    again = triage.load(triager.save(tmp_path / "desk"))
    texts, days = zip(*EACH, strict=True)
    texts, days = [*texts, "national phone number"], [*days, "2026-02-01"]
    assert plain(again.predict(texts, as_of=days)) == plain(triager.predict(texts, as_of=days))
    assert again.register.match(texts, as_of=days) == triager.register.match(texts, as_of=days)
    pd.testing.assert_frame_equal(again.register.rows, triager.register.rows)
    assert again.labelled == triager.labelled
    assert repr(again) == repr(triager)


def test_labels_of_training_are_kept_without_the_texts(dated):
    assert [row["id"] for row in dated.labelled] == [str(number) for number in range(12)]
    assert dated.labelled[9] == {
        "id": "9",
        "matter_id": "M4",
        "date": "2025-08-01",
        "jurisdiction": "local",
        "level": "province",
        "agency": "",
    }
    found = outdated(dated.register, dated.labelled, "2026-02-01")
    assert found[["id", "reason"]].values.tolist() == [[str(number), "changed"] for number in range(3)]


def test_desk_with_a_register_goes_through_pickle(grown):
    again = pickle.loads(pickle.dumps(grown))
    assert plain(again.predict(ASKED, as_of="2026-02-01")) == plain(grown.predict(ASKED, as_of="2026-02-01"))


def test_further_target_is_decided_beside_a_new_matter(dated_table):
    desk = triage.train(
        dated_table.assign(tone=["calm", "angry", "calm"] * 5),
        targets=["topic", "jurisdiction", "tone"],
        register=periods(("M9", "other", "National phone number", "local", "commune", "", "", "2026-01-01", "")),
    )
    assert set(desk.classes_["tone"]) == {"calm", "angry"}
    assert labels_of(desk.predict(["national phone number"], as_of="2026-02-01")[0])["matter"] == "M9"


def test_matters_may_be_numbers(dated_table):
    numbered = dated_table[dated_table["matter_id"] != ""]
    table, register = (
        frame.assign(matter_id=frame["matter_id"].str[1:].astype(int)) for frame in (numbered, periods())
    )
    desk = triage.train(table, register=register)
    assert sorted(map(str, desk.classes_["matter"])) == ["1", "2", "3", "4"]
    (result,) = desk.predict([RETAIL], as_of="2026-02-01")
    assert result.decisions["level"].label == "province"
    assert result.evidence["matter"]["agrees"]
    assert {row["matter_id"] for row in desk.labelled} == {"1", "2", "3", "4"}


# --- words, with a register -------------------------------------------------------------------------


@pytest.mark.parametrize("desk", ["triager", "desk_triager", "dated", "grown"])
@pytest.mark.parametrize("day", ["2025-08-01", "2026-02-01"])
def test_contributions_and_a_constant_are_the_difference_of_scores(desk, day, request):
    triager = request.getfixturevalue(desk)
    texts = [RETAIL, GRAVEL, TAX, "National phone, a fine for a late tax return?", "", "đất đai ở xã do ai cấp"]
    nothing = triager.reader.read([""]).outcome_scores[0]
    outcomes = triager.reader.meaning(day)[0]
    for text, result in zip(texts, triager.predict(texts, as_of=day, k=0), strict=True):
        scores = triager.reader.read([text]).outcome_scores[0].astype(float)
        share = softmax(scores[None])[0]
        for target, decision in result.decisions.items():
            label = triager.classes_[target].tolist().index(decision.label)
            mine = outcomes.codes[:, triager.targets.index(target)] == label
            weight = np.where(mine, share / share[mine].sum(), -share / share[~mine].sum())
            added = sum(contribution for _, contribution in decision.words)
            assert added == pytest.approx((scores - nothing) @ weight, abs=2e-3)


def test_words_of_a_new_name_pull_towards_its_matter(grown):
    (result,) = grown.predict(["who allows a national phone number"], as_of="2026-02-01")
    decision = result.decisions["matter"]
    assert decision.label == "M9"
    ranked = sorted(decision.words, key=lambda item: -item[1])
    assert {word for word, _ in ranked[:3]} == {"national", "phone", "number"}


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
    ["column_of", "combinations", "values", "steps", "starts", "scale", "intercept", "shares", "temperatures"],
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


@pytest.mark.parametrize("name", ["classifier.shares", "classifier.constants"])
@pytest.mark.parametrize("damage", [*DAMAGES, "beyond"])
def test_shares_of_kinds_that_do_not_fit_are_refused(dated_contents, tmp_path, name, damage):
    damages = {**DAMAGES, "beyond": lambda array: np.full_like(array, 1e300)}
    array = damages[damage](dated_contents.arrays[name])
    arrays = {**dated_contents.arrays, name: array}
    if array is None:
        del arrays[name]
    refused = refused_or_harmless(save_bundle(tmp_path / "desk", replace(dated_contents, arrays=arrays)))
    assert refused or damage == "negative"


@pytest.mark.parametrize(
    "name", ["features.buckets", "classifier.starts", "classifier.steps", "classifier.combinations"]
)
def test_array_in_another_order_is_refused_or_harmless(contents, tmp_path, name):
    arrays = {**contents.arrays, name: contents.arrays[name][::-1].copy()}
    refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, arrays=arrays)))


@pytest.mark.parametrize("new", [..., None, -1, "x", [], {}, 1e300, True], ids=repr)
def test_setting_that_does_not_fit_is_refused_or_harmless(contents, new, monkeypatch):
    for path in leaves(contents.settings):
        false = replace(contents, settings=changed(contents.settings, path, new))
        monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _, false=false: (false, {}))
        refused_or_harmless("a bundle")


@pytest.mark.parametrize(
    "block",
    [[], ["place"], ["topic", "topic"], ["topic"] * 100_000, [["topic"]], [None], None, 3, {"topic": 1}],
    ids=["empty", "unknown", "twice", "often", "nested", "none_within", "none", "number", "dict"],
)
def test_block_that_is_of_no_targets_or_of_one_twice_is_refused(contents, tmp_path, block):
    blocks = [*contents.settings["classifier"]["blocks"], block]
    settings = changed(contents.settings, ("classifier", "blocks"), blocks)
    n_blocks = len(blocks)
    shares = np.resize(
        contents.arrays["classifier.shares"], (*contents.arrays["classifier.shares"].shape[:-1], n_blocks)
    )
    wide = {
        f"classifier.{name}": np.append(contents.arrays[f"classifier.{name}"], np.float32(0))
        for name in ("scale", "intercept")
    }
    arrays = {**contents.arrays, **wide, "classifier.shares": shares}
    assert refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, settings=settings, arrays=arrays)))


@pytest.mark.parametrize(
    "link",
    [[], [3.0], [3.0, 0.0, 1.0], [0.0, 0.0], [-3.0, 0.0], [3.0, 1e9], [1e300, 0.0], ["3", 0.0], [3.0, None], 3.0, None],
    ids=repr,
)
def test_link_that_is_no_slope_above_0_and_an_offset_is_refused(contents, tmp_path, link):
    links = [*contents.settings["classifier"]["links"][:-1], link]
    settings = changed(contents.settings, ("classifier", "links"), links)
    assert refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, settings=settings)))


@pytest.mark.parametrize("n_more", [-1, 1])
def test_more_or_fewer_links_than_blocks_are_refused(contents, tmp_path, n_more):
    links = contents.settings["classifier"]["links"]
    settings = changed(contents.settings, ("classifier", "links"), [*links, links[0]] if n_more > 0 else links[:-1])
    assert refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, settings=settings)))


@pytest.mark.parametrize("last", ["beyond", "unused"])
def test_score_of_no_column_and_column_of_no_score_are_refused(contents, tmp_path, last):
    column_of = contents.arrays["classifier.column_of"].copy()
    column_of[column_of == column_of.max()] = len(column_of) if last == "beyond" else 0
    arrays = {**contents.arrays, "classifier.column_of": column_of}
    assert refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, arrays=arrays)))


@pytest.mark.parametrize("n_blocks", ["none", "twice"])
def test_no_blocks_and_block_told_twice_are_refused(contents, tmp_path, n_blocks):
    blocks = contents.settings["classifier"]["blocks"]
    blocks = [*blocks, blocks[-1]] if n_blocks == "twice" else []
    shares = np.resize(
        contents.arrays["classifier.shares"], (*contents.arrays["classifier.shares"].shape[:-1], len(blocks))
    )
    arrays = {**contents.arrays, "classifier.shares": shares}
    if not blocks:
        empty = {
            name: contents.arrays[name][:0]
            for name in ("classifier.intercept", "classifier.scale", "classifier.column_of")
        }
        arrays |= empty
    settings = changed(contents.settings, ("classifier", "blocks"), blocks)
    assert refused_or_harmless(save_bundle(tmp_path / "desk", replace(contents, settings=settings, arrays=arrays)))


@pytest.mark.parametrize("shape", [(10**12, 0), (10**9,)], ids=str)
def test_columns_without_end_are_refused_before_they_fill_the_memory(contents, monkeypatch, shape):
    arrays = {name: array for name, array in contents.arrays.items() if name != "classifier.column_of"}
    arrays["classifier.intercept"] = np.broadcast_to(np.float32(0), shape)
    monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _: (replace(contents, arrays=arrays), {}))
    tracemalloc.start()
    try:
        assert refused_or_harmless("a bundle")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("combinations", [np.zeros((10**12, 0), np.int32), np.zeros((3, 1), np.float32)], ids=str)
def test_combinations_of_no_targets_are_refused(contents, monkeypatch, combinations):
    false = replace(contents, arrays={**contents.arrays, "classifier.combinations": combinations})
    monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _: (false, {}))
    assert refused_or_harmless("a bundle")


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


# --- bundles whose register does not fit ------------------------------------------------------------


@pytest.fixture(scope="module")
def dated_contents(dated, tmp_path_factory):
    return load_bundle(dated.save(tmp_path_factory.mktemp("bundles") / "dated"))[0]


def test_damaged_register_is_refused(dated_contents, tmp_path):
    rows = dated_contents.tables["register"]
    damaged = {
        "overlap": [*rows, rows[0]],
        "no_matter": [{**rows[0], "matter_id": ""}],
        "no_day": [{**rows[0], "valid_from": "soon"}],
        "no_cells": [{}],
        "list": [{**rows[0], "topic": []}],
    }
    for name, register in damaged.items():
        tables = {**dated_contents.tables, "register": register}
        assert refused_or_harmless(save_bundle(tmp_path / name, replace(dated_contents, tables=tables))), name


def test_bundle_of_before_the_register_is_a_desk_without(dated_contents, tmp_path):
    old = changed(dated_contents.settings, ("register",), ...)
    tables = {"suggestions": dated_contents.tables["suggestions"]}
    desk = triage.load(save_bundle(tmp_path / "desk", replace(dated_contents, settings=old, tables=tables)))
    assert (desk.register, desk.labelled) == (None, [])
    assert "as_of" not in desk.predict(ASKED)[0].evidence


@pytest.mark.parametrize("new", ["x", {}, [], ["matter_id"], 7], ids=repr)
def test_columns_of_a_register_that_do_not_fit_are_refused(dated_contents, tmp_path, new):
    settings_ = changed(dated_contents.settings, ("register",), new)
    assert refused_or_harmless(save_bundle(tmp_path / "desk", replace(dated_contents, settings=settings_)))


@pytest.mark.parametrize("new", [..., None, -1, "x", [], {}, 1e300], ids=repr)
def test_setting_of_a_dated_desk_that_does_not_fit_is_refused_or_harmless(dated_contents, new, monkeypatch):
    for path in leaves(dated_contents.settings["classifier"], ("classifier",)):
        false = replace(dated_contents, settings=changed(dated_contents.settings, path, new))
        monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _, false=false: (false, {}))
        refused_or_harmless("a bundle")


# --- answers out of date ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answered(dated_table):
    columns = ["id", "question", "answer", "matter_id", "jurisdiction", "level", "answered_at", "valid_to"]
    rows = [
        ("a1", RETAIL, "At the commune.", "M1", "local", "commune", "2025-08-01", ""),
        ("a2", GRAVEL, "At the office.", "", "", "", "2025-08-01", "2025-09-30"),
    ]
    return triage.train(dated_table, register=periods(), archive=pd.DataFrame(rows, columns=columns))


@pytest.mark.parametrize(
    ("text", "day", "stale"),
    [
        (RETAIL, "2025-08-01", None),
        (RETAIL, "2026-02-01", "competence changed from local/commune to local/province"),
        (GRAVEL, "2025-09-30", None),
        (GRAVEL, "2025-10-01", "valid until 2025-09-30"),
    ],
)
def test_suggestion_says_on_which_day_its_answer_is_out_of_date(answered, text, day, stale, tmp_path):
    for desk in (answered, triage.load(answered.save(tmp_path / "desk"))):
        assert desk.similar([text], as_of=day)[0][0].stale == stale
        assert desk.predict([text, text], as_of=["2025-08-01", day])[1].suggestions[0].stale == stale


def test_question_without_an_answer_is_never_out_of_date(dated):
    assert all(one.stale is None for one in dated.similar([RETAIL], as_of="2026-02-01")[0])


def test_answer_on_the_matter_of_the_question_stands_before_one_that_is_worded_alike(dated_table):
    worded = "retail liquor, a licence for wholesale distributors"  # alike, but on another matter
    columns = ["id", "question", "answer", "matter_id"]
    rows = [
        ("alike", worded, "Nobody.", "M2"),
        ("right", "who grants a licence to retail in my shop", "The commune.", "M1"),
    ]
    archive = pd.DataFrame(rows, columns=columns)
    desk = triage.train(dated_table, register=periods(), archive=archive.iloc[1:])
    both = replace(
        desk, records=[*desk.records, {"id": "alike", "question": worded, "answer": "No.", "matter_id": "M2"}]
    )
    plain_desk = replace(both, records=[{**record, "matter_id": "M404"} for record in both.records])
    (found,), (by_words,) = both.similar([RETAIL], as_of="2025-08-01"), plain_desk.similar([RETAIL])
    assert by_words[0].id == "alike"
    assert found[0].id == "right"
    assert all(0 <= one.similarity <= 1 for one in found)
    assert both.predict_frame([RETAIL], as_of="2025-08-01")["suggestion_id"].tolist() == ["right"]
