"""Tests of `triage.text.normal`: words of a text, whatever stands in it and beside it."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from triage.text import Normalizer, Words, fold_codes, fold_text, normalize_text, word_hashes
from triage.text.normal import SPACE

ABBREVIATIONS = {"UBND": "ủy ban nhân dân", "TTHC": "thủ tục hành chính", "ko": "không", "HĐND": "hội đồng nhân dân"}
PLAIN = Normalizer()
VIETNAMESE = Normalizer("vi", ABBREVIATIONS)

# Whatever has broken a tokenizer before: lone surrogates, NUL, marks without a base, invisible and right-to-left
# marks, letters that expand or change with case, ligatures, compatibility forms, emoji, separators, CJK, Hangul.
TROUBLE = [
    *("\ud800", "\udfff", "\ud83d\ude00", "\0", "\x1f", "\n", "\r\n", "\u0085", "\u2028", "\u00a0", "\u3000", " "),
    *(
        "\u0301",
        "\u0323",
        "\u0345",
        "\u20e3",
        "\u0e33",
        "a\u0323\u0302",
        "\u0302\u0323",
        "æ\u0323",
        "ǽ",
        "ǣ",
        "œ\u0301",
    ),
    *("\u200b", "\u200d", "\u200f", "\u202e", "\u2066", "\u00ad", "\ufeff", "\ufe0f", "\u034f", "\u061c"),
    *("ΑΣ", "ς", "Σ", "İ", "ı", "ß", "ẞ", "ŉ", "ǰ", "ΐ", "ᾳ", "ﬁ", "ﬃ", "Ǆ", "ſ", "K", "Å", "ﷺ", "½", "²", "´", "¨"),
    *("hoà", "hòa", "HOÀ", "quý", "thuý", "UBND", "ubnd", "TTHC.", "ko", "kox", "đ", "Đ", "ł", "ø", "æ", "þ", "ĳ", "ŋ"),
    *(
        "👩\u200d👩\u200d👧",
        "🇻🇳",
        "1\ufe0f\u20e3",
        "漢字",
        "한글",
        "\u1112\u1161\u11ab",
        "हिन्दी",
        "ไทย",
        "مرحبا",
        "שלום",
    ),
    *(
        "𝔘𝔫𝔦",
        "Ｆｕｌｌ",
        "𐐀",
        "\ue000",
        "\U000f0000",
        "\u0378",
        "\U0010ffff",
        "e\u0301",
        "o\u031b\u0309",
        "<b>",
        "&amp;",
    ),
]
WILD = st.lists(st.one_of(st.sampled_from(TROUBLE), st.characters()), max_size=12).map("".join)
few = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])


def by_row(words: Words) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(words.n_rows)]
    for word, row in zip(words.strings(), words.rows.tolist(), strict=True):
        found[row].append(word)
    return found


@given(st.lists(WILD, max_size=6))
@example(["a", "\u0301b", "", "\nB\n", "ΑΣ", "ς"])
@few
def test_words_of_a_text_do_not_depend_on_its_neighbours(texts):
    alone = [VIETNAMESE.words([text]).strings() for text in texts]
    assert by_row(VIETNAMESE.words(texts)) == alone
    assert by_row(VIETNAMESE.words(texts[::-1])) == alone[::-1]
    assert by_row(VIETNAMESE.words(["plain", *texts, "漢字 \ud800"]))[1:-1] == alone


@given(st.lists(WILD, max_size=6))
@few
def test_words_stand_one_space_apart(texts):
    words = VIETNAMESE.words(texts)
    assert words.codes[0] == SPACE
    assert np.array_equal(words.ends, np.flatnonzero(words.codes == SPACE)[1:])
    assert np.array_equal(words.starts, np.flatnonzero(words.codes == SPACE)[:-1] + 1)
    assert (words.ends > words.starts).all()
    assert (np.diff(words.rows) >= 0).all()
    assert words.n_rows == len(texts)
    assert words.codes.dtype == np.uint32


@given(WILD)
@example("æ\u0323")
@example("ĳ\u0301 œ\u0301 þ\u0323")
@few
def test_normalizing_twice_gives_the_same(text):
    once = normalize_text(text, language="vi")
    assert normalize_text(once, language="vi") == once


@given(WILD)
@example("한글 a")
@few
def test_composed_and_decomposed_forms_read_the_same(text):
    expected = normalize_text(text, language="vi")
    for form in ("NFC", "NFD"):
        assert normalize_text(unicodedata.normalize(form, text), language="vi") == expected


@given(WILD)
@example("ǽ ǣ")
@few
def test_folding_twice_gives_the_same(text):
    # A mark that has no composed form with its letter stays, and may find one once the letter is folded.
    assume(not any(unicodedata.combining(character) for character in normalize_text(text)))
    once = fold_text(text)
    assert fold_text(once) == once


@given(st.lists(WILD, max_size=4))
@few
def test_fold_codes_keeps_length_and_spaces(texts):
    codes = PLAIN.words(texts).codes
    folded = fold_codes(codes)
    assert folded.shape == codes.shape
    assert np.array_equal(folded == SPACE, codes == SPACE)
    assert np.array_equal(fold_codes(folded), folded)


def test_fold_codes_of_nothing_is_nothing():
    assert fold_codes(np.zeros(0, np.uint32)).shape == (0,)


@given(st.lists(WILD, max_size=4))
@few
def test_equal_words_have_equal_hashes_wherever_they_stand(texts):
    words = PLAIN.words(texts)
    hash_of = {}
    for word, value in zip(words.strings(), word_hashes(words.codes, words).tolist(), strict=True):
        assert hash_of.setdefault(word, value) == value
    assert len(set(hash_of.values())) == len(hash_of)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cấp GIẤY  phép – hoà giải?", "cấp giấy phép hòa giải"),
        ("a\nb\r\nc\u2028d\te\u00a0f", "a b c d e f"),
        ("ΌΣΟΣ ὅσος", "όσοσ ὅσοσ"),  # a final sigma is no other letter
        ("STRASSE Straße STRAẞE", "strasse strasse strasse"),
        ("ﬁnd Ｆｕｌｌ ½ m²", "find full 1 2 m2"),
        ("soft\u00adhy\u200dphen \u202eabc\u202c a\u200bb", "softhyphen abc a b"),
        ("漢字かな 한글", "漢字かな 한글"),
        ("12/2025/NĐ-CP", "12 2025 nđ cp"),
        ("x\0y\ud800z", "x y z"),
        ("😀 a 👩\u200d👩\u200d👧 b 🇻🇳", "a b"),
    ],
)
def test_normal_form(text, expected):
    assert normalize_text(text, language="vi") == expected


@pytest.mark.parametrize(
    ("old", "new"), [("hoà", "hòa"), ("HOÀ", "hòa"), ("khoẻ", "khỏe"), ("thuý", "thúy"), ("hoạ", "họa"), ("uỷ", "ủy")]
)
def test_tone_marks_are_placed_one_way(old, new):
    assert normalize_text(old, language="vi") == normalize_text(new, language="vi") == new
    assert normalize_text(unicodedata.normalize("NFD", old), language="vi") == new


@pytest.mark.parametrize("word", ["quý", "quỳ", "toàn", "hoàng", "khoáng", "oan", "à", "của"])
def test_tone_marks_stay_where_they_belong(word):
    assert normalize_text(word, language="vi") == word


def test_tone_marks_stay_without_a_language():
    assert normalize_text("hoà") == "hoà"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UBND", "ủy ban nhân dân"),
        ("ubnd xã", "ủy ban nhân dân xã"),
        ("về TTHC", "về thủ tục hành chính"),
        ("UBND TTHC", "ủy ban nhân dân thủ tục hành chính"),
        ("ko ko ko", "không không không"),
        ("hỏi HĐND, UBND: TTHC ko?", "hỏi hội đồng nhân dân ủy ban nhân dân thủ tục hành chính không"),
        ("UBNDX kox xko TTHC1", "ubndx kox xko tthc1"),
        ("(UBND)", "ủy ban nhân dân"),
        (unicodedata.normalize("NFD", "HĐND"), "hội đồng nhân dân"),
    ],
)
def test_abbreviations_are_spelt_out_as_whole_words(text, expected):
    assert VIETNAMESE.normalize(text) == expected


@given(st.lists(st.lists(st.sampled_from(["UBND", "ko", "TTHC", "xã", "kox", "\u0301", "a"]), max_size=6), max_size=5))
@few
def test_abbreviations_replace_each_word_in_its_own_text(texts):
    expansions = {key.lower(): normalize_text(value, language="vi").split() for key, value in ABBREVIATIONS.items()}
    joined = [" ".join(words) for words in texts]
    plain = by_row(Normalizer("vi").words(joined))
    assert by_row(VIETNAMESE.words(joined)) == [
        [new for word in words for new in expansions.get(word, [word])] for words in plain
    ]


@pytest.mark.parametrize(
    ("abbreviations", "match"),
    [
        ({"a b": "c"}, r"must be one word .* got 'a b' \(2 words, 1 in its expansion\)"),
        ({"": "c"}, r"must be one word .* got '' \(0 words"),
        ({"a": "…"}, r"got 'a' \(1 words, 0 in its expansion\)"),
    ],
)
def test_abbreviation_that_is_no_word_is_refused(abbreviations, match):
    with pytest.raises(ValueError, match=match):
        Normalizer(None, abbreviations)


def test_unknown_language_is_refused():
    with pytest.raises(ValueError, match=r"language.*'xx-none'"):
        Normalizer("xx-none")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("đ Đ", "d d"),
        ("Łódź", "lodz"),
        ("Ørsted", "orsted"),
        ("Straße", "strasse"),
        ("Ærø", "aero"),
        ("Ǽ", "ae"),
        ("Œuvre", "oeuvre"),
        ("Ủy ban nhân dân", "uy ban nhan dan"),
        (unicodedata.normalize("NFD", "Đường số Ưu"), "duong so uu"),
        ("漢字", "漢字"),
        ("", ""),
        ("…", ""),
    ],
)
def test_fold_text(text, expected):
    assert fold_text(text) == expected


@pytest.mark.parametrize("piece", ["giấy phép ", "a", "ồ", "o\u0302\u0300", "😀", "UBND "])
def test_text_of_a_megabyte(piece):
    text = piece * (1_000_000 // len(piece))
    words = VIETNAMESE.words(["trước", text, "sau"])
    assert words.n_rows == 3
    assert by_row(words)[0] == ["trước"]
    assert by_row(words)[2] == ["sau"]


def test_no_texts_have_no_words():
    words = VIETNAMESE.words([])
    assert (words.strings(), words.n_rows, len(word_hashes(words.codes, words))) == ([], 0, 0)


@pytest.mark.parametrize("texts", [[""], ["…", " ", "\n\n"], ["\0", "\ud800"], ["😀"], ["\u200b"], ["\u202e"]])
def test_texts_without_words_keep_their_rows(texts):
    words = VIETNAMESE.words(texts)
    assert (words.strings(), words.n_rows) == ([], len(texts))
    assert by_row(VIETNAMESE.words([*texts, "x"])) == [*([] for _ in texts), ["x"]]
