"""Tests of `triage.text.MarkRestorer`: diacritics put back into text that was typed without."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from triage.text import MarkRestorer, Normalizer, fold_text

LAND = Path(__file__).parent.parent / "datasets" / "land"
TEXTS = [
    text.split()
    for text in (
        "ai ký giấy chứng nhận quyền sử dụng đất",
        "thủ tục cấp giấy chứng nhận lần đầu",
        "thủ tục tách thửa đất ở xã",
        "tranh chấp đất đai hòa giải ở xã",
        "đất ở có được tách thửa không",
        "bán đất cho người nước ngoài",
        "bạn đất cho bạn",
        "ban hành bảng giá đất",
    )
]
ENGLISH = [text.split() for text in ("who signs the licence", "where is the café", "my tax return is late", "fee")]
PIECES = [
    "đất",
    "dat",
    "ở",
    "o",
    "ký",
    "ky",
    "ﷺ",
    "ß",
    "ẞ",
    "ﬁ",
    "İ",
    "ắ",
    "a\u0306\u0301",
    "漢字",
    "각",
    "ŉ",
    "½",
    "\ud800",
]
WILD = st.lists(
    st.lists(st.one_of(st.sampled_from(PIECES), st.characters()), max_size=6).map("".join), min_size=1, max_size=8
).map(" ".join)
few = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def restorer():
    return MarkRestorer.learn(TEXTS)


@pytest.fixture(scope="module")
def land():
    """Return the words of the land desk's questions: those to learn from, and others."""
    table = pd.read_csv(LAND / "questions.csv", dtype=str, keep_default_na=False)
    words = {split: [] for split in ("train", "valid")}
    for split, text in zip(table["split"], table["text"], strict=True):
        if split in words:
            words[split].append(Normalizer("vi").normalize(text).split(" "))
    return words["train"], words["valid"]


def bare(words):
    return fold_text(" ".join(words)).split(" ")


def words_of(text):
    return Normalizer("vi").words([text]).strings()


# --- what is restored -------------------------------------------------------------------------------


@pytest.mark.parametrize("words", TEXTS[:5], ids=" ".join)
def test_text_without_marks_gets_those_of_the_texts_it_was_learnt_from(restorer, words):
    assert restorer.restore(bare(words)) == words


def test_words_beside_it_decide_between_two_forms_of_a_word():
    texts = [["bán", "đất", "ở"], ["bán", "đất", "đó"], ["bạn", "đó", "ở"], ["bạn", "đó", "hả"], ["bạn", "đó", "à"]]
    restorer = MarkRestorer.learn(texts)
    assert restorer.restore(["ban", "dat"]) == ["bán", "đất"]
    assert restorer.restore(["ban", "do"]) == ["bạn", "đó"]


def test_commonest_form_is_taken_where_nothing_else_speaks():
    restorer = MarkRestorer.learn([["đó", "ạ"], ["đó", "à"], ["đỏ", "ả"]])
    assert restorer.restore(["do"]) == ["đó"]


def test_word_that_was_never_seen_stays(restorer):
    assert restorer.restore(["ky", "xyzzy", "dat"]) == ["ký", "xyzzy", "đất"]


def test_text_with_marks_is_left_alone(restorer):
    for words in TEXTS:
        assert restorer.restore(words) == words
    assert restorer.restore(["cấp", "giấy", "dat", "ở"]) == ["cấp", "giấy", "dat", "ở"]


def test_mark_of_one_word_does_not_keep_others_from_being_restored(restorer):
    words = ["ai", "ký", *bare(TEXTS[0][2:])]
    assert restorer.restore(words) == TEXTS[0]


@pytest.mark.parametrize("words", [[], ["a"], ["1", "2"], ["đ"]])
def test_hardly_any_words_are_no_trouble(restorer, words):
    assert restorer.restore(words) == words


def test_most_words_of_questions_that_were_not_learnt_from_come_back(land):
    trained, others = land
    restorer = MarkRestorer.learn(trained)
    marked = [words for words in others if restorer.restore(words) == words and words != bare(words)]
    pairs = [pair for words in marked for pair in zip(words, restorer.restore(bare(words)), strict=True)]
    as_typed = sum(word == fold_text(word) for word, _ in pairs) / len(pairs)
    assert len(pairs) > 1000
    assert sum(word == again for word, again in pairs) / len(pairs) > 0.9 > 0.5 > as_typed


# --- what is learnt ---------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [[], [[]], ENGLISH, [*ENGLISH, TEXTS[0]], [["漢字", "あ"]]], ids=repr)
def test_language_in_which_texts_without_marks_are_nothing_odd_has_none(texts):
    assert MarkRestorer.learn(texts) is None


def test_texts_typed_without_marks_teach_no_form(restorer):
    typed = [["dat", "dai", "dat", "dat"]] * 3
    assert MarkRestorer.learn([*TEXTS, *typed, []]) == restorer


def test_few_forms_of_a_word_are_kept():
    texts = [[form, "ở"] for number, form in enumerate("àáảãạăắ", 1) for _ in range(number)]
    (forms,) = [forms for word, forms in MarkRestorer.learn(texts).forms.items() if word == "a"]
    assert forms == {"ắ": 7, "ă": 6, "ạ": 5, "ã": 4, "ả": 3}


def test_order_of_the_texts_changes_nothing(land):
    trained, others = land
    one, other = MarkRestorer.learn(trained), MarkRestorer.learn(random.Random(0).sample(trained, len(trained)))
    assert one == other
    assert [one.restore(bare(words)) for words in others] == [other.restore(bare(words)) for words in others]


@few
@given(st.lists(WILD, min_size=1, max_size=6), WILD)
@example(["đất ở ﷺ", "đất ß"], "dat ﷺ")
def test_learning_and_restoring_keep_the_folded_words_and_their_number(texts, text):
    for learnt in (MarkRestorer.learn(TEXTS), MarkRestorer.learn([*TEXTS, *map(words_of, [*texts, text])])):
        for words in map(words_of, [*texts, text, fold_text(text)]):
            restored = learnt.restore(words)
            assert len(restored) == len(words)
            assert bare(restored) == bare(words)
            assert learnt.restore(words) == restored


# --- storing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort_keys", [False, True])
def test_state_goes_through_json_and_restores_the_same(land, sort_keys):
    trained, others = land
    restorer = MarkRestorer.learn(trained)
    again = MarkRestorer.from_state(json.loads(json.dumps(restorer.to_state(), sort_keys=sort_keys)))
    assert again == restorer
    # Forms that were seen as often are told apart alike, in whatever order they are stored.
    assert [again.restore(bare(words)) for words in others] == [restorer.restore(bare(words)) for words in others]


def test_same_texts_make_the_same_state(land):
    one, other = (json.dumps(MarkRestorer.learn(land[0]).to_state()) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("table", ["forms", "pairs"])
@pytest.mark.parametrize("counts", [{"đất": 0}, {"đất": -1}, {"đất": "2"}, {"đất": 1.5}, {"đất": None}, {}], ids=repr)
def test_damaged_counts_are_refused(restorer, table, counts):
    with pytest.raises(ValueError, match="words must have counts above 0"):
        MarkRestorer.from_state({**restorer.to_state(), table: {"dat": counts}})


@pytest.mark.parametrize("share", [float("nan"), -1.0, 0.0, 1.5, float("inf")])
def test_damaged_share_is_refused(restorer, share):
    with pytest.raises(ValueError, match="share of marked words"):
        MarkRestorer.from_state({**restorer.to_state(), "least_share": share})


@pytest.mark.parametrize("name", ["forms", "pairs", "least_share"])
def test_state_that_lacks_a_part_is_refused(restorer, name):
    state = {**restorer.to_state()}
    del state[name]
    with pytest.raises(KeyError, match=name):
        MarkRestorer.from_state(state)
