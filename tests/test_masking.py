"""Masking of personal data."""

import json
import time
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.text.languages import known_languages, load_language
from triage.text.masking import mask_personal_data, personal_data_spans

HOSTILE = [
    "0",
    "a@",
    "+84 ",
    "0 ",
    "a.",
    "://a:",
    "stk ",
    "de89 ",
    "(0",
    "4111 ",
    "a@b.c ",
    "0912345678 ",
    "+1.000.",
    "\u0301",
]
PIECES = [
    "0912345678",
    "0101243150",
    "0312345679",
    "001085012345",
    "123456789",
    "4111 1111 1111 1111",
    "DE89370400440532013000",
]
PIECES += [
    "a@b.vn",
    "+84",
    "912345678",
    "+14155552671",
    "84912345678",
    "MST",
    "CMND",
    "stk",
    "://u:p@",
    "[PHONE]",
    "[",
    "]",
]
PIECES += [" ", "-", ".", ":", "(024)", "123", "45", "x", "@", "\u0301", "\u200b", "\n", "đ", "1.200.000"]
any_text = st.text(st.characters(), max_size=80) | st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


def mask(text):
    return mask_personal_data(text, language="vi")


@pytest.mark.parametrize(
    "number",
    [
        "0912345678",
        "0912 345 678",
        "0912.345.678",
        "091-234-5678",
        "+84 912 345 678",
        "+84912345678",
        "0084 912345678",
        "84912345678",
        "(024) 3825 1234",
        "024.3825.1234",
        "02838251234",
        "+84 (0)912 345 678",
        "0912\u200b345678",
        "０９１２３４５６７８",
    ],
)
def test_mask_replaces_telephone_numbers(number):
    assert mask(f"Gọi {number} nhé") == "Gọi [PHONE] nhé"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("thư hoa.le+1@so-ct.example.vn.", "thư [EMAIL]."),
        ("CCCD 001085012345", "CCCD [ID]"),
        ("số 001085012345 của tôi", "số [ID] của tôi"),
        ("CMND: 123456789", "CMND: [ID]"),
        ("so can cuoc cua em la 123 456 789", "so can cuoc cua em la [ID]"),
        ("MST 0101243150-001", "MST [TAX]"),
        ("ma so thue: 0312345678", "ma so thue: [TAX]"),
        ("công ty 0101243150 hỏi", "công ty [TAX] hỏi"),
        ("STK của em ở Vietcombank là 0071000123456", "STK của em ở Vietcombank là [BANK]"),
        ("hộ chiếu B1234567", "hộ chiếu [ID]"),
        ("https://user:secret@example.vn/a", "https://[URL-CREDENTIALS]@example.vn/a"),
        ("ĐT0912345678ạ", "ĐT[PHONE]ạ"),
    ],
)
def test_mask_replaces_vietnamese_personal_data(text, masked):
    assert mask(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("IBAN DE89 3704 0044 0532 0130 00, danke", "IBAN [IBAN], danke"),
        ("GB82WEST12345698765432", "[IBAN]"),
        ("DE88 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
        ("4111 1111 1111 1111 or 378282246310005", "[CARD] or [CARD]"),
        ("+49 30 1234567 / x@y.de", "[PHONE] / [EMAIL]"),
        ("0912345678 and CCCD 001085012345", "0912345678 and CCCD 001085012345"),
    ],
)
def test_mask_without_language_replaces_international_data_only(text, masked):
    assert mask_personal_data(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "139/2025/NĐ-CP",
        "Nghị định 139/2025",
        "ngày 14/7/2025",
        "02.10.2025 123 hộ",
        "03-10-2025 15 hộ",
        "1.200.000 đồng",
        "150.000.000.000 đ",
        "tăng +12.500.000.000 đồng",
        "210 m²",
        "năm 2024, 2025",
        "khoản 1 Điều 49",
        "thửa 123 tờ 45",
        "tổng đài 1900 1234 hoặc 18001234",
        "số 123456789",
        "mã 1.012568, 2.002620",
        "mã 1.012568 000.00.12.H10-250702-0001",
        "MST của công ty từ năm 2025",
        "chuyển vào tài khoản 150.000.000 đồng",
        "thẻ 4111 1111 1111 1112",
    ],
)
def test_mask_leaves_what_is_nobodys(text):
    assert mask(text) == text


def test_mask_takes_tax_number_by_check_digit_only_without_its_word():
    assert mask("mã 0101243151") == "mã 0101243151"
    assert mask("mst 0101243151") == "mst [TAX]"


def test_mask_keeps_the_rest_of_a_decomposed_text():
    assert mask("Căn cu\u031b\u0301ớc: 001085012345, Hu\u0323") == "Căn cu\u031b\u0301ớc: [ID], Hu\u0323"


@pytest.mark.parametrize(
    "text",
    [
        "DE89370400440532013000DE89370400440532013000",  # neighbours that are masked must not unlock each other
        "0912345678DE89370400440532013000+14155552671",
        "a@b.vn+84@1.20",
        "0101243150(024)1.200.000",
        "4111 1111 1111 1111 0912 345 678",
        "0912345678mst 0101243151",
    ],
)
def test_mask_twice_is_mask_once_for_neighbours(text):
    assert mask(mask(text)) == mask(text) != text


@given(any_text, st.sampled_from([None, "vi"]))
def test_mask_twice_is_mask_once(text, language):
    once = mask_personal_data(text, language=language)
    assert mask_personal_data(once, language=language) == once


@given(any_text, st.sampled_from([None, "vi"]))
def test_spans_lie_within_the_text_in_order_without_overlap(text, language):
    last = 0
    for span in personal_data_spans(text, language):
        assert last <= span.start < span.end <= len(text)
        last = span.end


@pytest.mark.parametrize("unit", HOSTILE)
def test_mask_takes_linear_time_on_hostile_text(unit):
    def seconds(n_chars):
        text = (unit * n_chars)[:n_chars]
        started = time.process_time()
        mask(text)
        return time.process_time() - started

    seconds(1_000)
    assert seconds(400_000) < 12 * min(seconds(100_000) for _ in range(3)) + 0.2  # 4 if linear, 16 if quadratic
    assert len(mask((unit * 1_000_000)[:1_000_000])) > 0


def test_language_unknown_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"language must be None or one of vi; got 'xx'"):
        mask_personal_data("a", language="xx")
    with pytest.raises(ValueError, match="one of vi"):
        load_language("../languages/vi")


@pytest.mark.parametrize("code", known_languages())
def test_language_file_names_itself_and_its_version(code):
    data = json.loads(files("triage.text.languages").joinpath(f"{code}.json").read_text("utf-8"))
    assert data["language"] == code
    assert data["version"]
    assert load_language(code) is load_language(code)
