"""Sentences and citations."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.text.spans import citations, sentences

PIECES = [
    "NĐ",
    "nd ",
    "139/2025/NĐ-CP",
    "139/2025",
    "Luật Đất đai ",
    "2024",
    "Điều 5",
    "khoản 1",
    "điểm h",
    "Đ49",
    "k2",
    " ",
    ", ",
    "và ",
]
PIECES += [
    ". ",
    "v.v.",
    "1. ",
    "\n",
    "\n\n",
    "- ",
    "TP.",
    "A.",
    "?",
    '"',
    "\u0301",
    "\ud800",
    "\x00",
    "\u200b",
    "đ",
    "(",
    "số ",
]
any_text = st.text(st.characters(), max_size=80) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def cut(text, language="vi"):
    return [text[span.start : span.end] for span in sentences(text, language=language)]


def cited(text):
    return [(c.kind, c.number, c.document, c.article, c.clause, c.point) for c in citations(text, language="vi")]


@pytest.mark.parametrize(
    "text",
    [
        "Tôi ở TP. Hồ Chí Minh.",
        "Nhà ở Đ. 5 khu phố 2.",
        "Giá 1.200.000 đồng.",
        "Nộp ngày 14/7/2025 tại xã.",
        "Theo NĐ-CP mới.",
        "Ở Q.1 và Q. 3 thì sao?",
        "Rượu, bia, v.v. và thuốc lá.",
        "Trang www.abc.vn có đúng không?",
        "1. Ai ký giấy?",
        "2.1. Ai ký?",
        "Bà L. hỏi ai ký.",
        "Ông Nguyễn Văn A. Trần ký.",
        "ThS. Lan trả lời.",
        "Xin hỏi... ai ký?",
        "dòng một\ndòng hai",
        'Ghi "chờ xử lý".',
    ],
)
def test_sentences_keeps_whole(text):
    assert cut(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ai ký? Nộp ở đâu!  Xin cảm ơn.", ["Ai ký?", "Nộp ở đâu!", "Xin cảm ơn."]),
        ("Theo Điều 5. Xin hỏi ai ký.", ["Theo Điều 5.", "Xin hỏi ai ký."]),
        ("xin hoi dc k. em cam on", ["xin hoi dc k.", "em cam on"]),
        ("Lô 1.200.000 đ. Ngày mai nộp.", ["Lô 1.200.000 đ.", "Ngày mai nộp."]),
        ("Rượu, bia, v.v. Xin hỏi ai cấp?", ["Rượu, bia, v.v.", "Xin hỏi ai cấp?"]),
        ('Hỏi "ai ký?" Đáp là xã.', ['Hỏi "ai ký?"', "Đáp là xã."]),
        ("Hỏi: 1. Ai ký? 2. Nộp đâu?", ["Hỏi: 1. Ai ký?", "2. Nộp đâu?"]),
        (
            "Kính gửi Bộ\n\nXin hỏi\n- việc một\n- việc hai\n3) việc ba",
            ["Kính gửi Bộ", "Xin hỏi", "- việc một", "- việc hai", "3) việc ba"],
        ),
        (" \n ", []),
    ],
)
def test_sentences_cuts(text, expected):
    assert cut(text) == expected


def test_sentences_without_language_uses_plain_rules():
    assert cut("Ở TP. Huế. 1.5 ha.", None) == ["Ở TP.", "Huế.", "1.5 ha."]


@given(any_text, st.sampled_from([None, "vi"]))
def test_sentences_cover_all_but_space_in_order(text, language):
    last = 0
    for span in sentences(text, language=language):
        assert text[last : span.start].strip() == ""
        assert last <= span.start < span.end <= len(text)
        last = span.end
    assert text[last:].strip() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nghị định 139/2025/NĐ-CP", ("decree", "139/2025/NĐ-CP", "139/2025/NĐ-CP", None, None, None)),
        ("NĐ 139/2025", ("decree", "139/2025", "139/2025/NĐ-CP", None, None, None)),
        ("nd 139/2025", ("decree", "139/2025", "139/2025/NĐ-CP", None, None, None)),
        ("7/2016/nd-cp", ("decree", "07/2016/NĐ-CP", "07/2016/NĐ-CP", None, None, None)),
        ("Thông tư 38/2025/TT-BCT Điều 4", ("circular", "38/2025/TT-BCT", "38/2025/TT-BCT", "4", None, None)),
        (
            "điểm h khoản 1 Điều 5 Nghị định 151/2025/NĐ-CP",
            ("decree", "151/2025/NĐ-CP", "151/2025/NĐ-CP", "5", "1", "h"),
        ),
        ("NĐ 151/2025/NĐ-CP Đ14 k1 điểm đ", ("decree", "151/2025/NĐ-CP", "151/2025/NĐ-CP", "14", "1", "đ")),
        ("Đ49 k2", (None, None, None, "49", "2", None)),
        ("NĐ 146/2025/NĐ-CP Đ49 k2", ("decree", "146/2025/NĐ-CP", "146/2025/NĐ-CP", "49", "2", None)),
        (
            "khoản 2 Điều 49 của Nghị định số 146/2025/NĐ-CP",
            ("decree", "146/2025/NĐ-CP", "146/2025/NĐ-CP", "49", "2", None),
        ),
        (
            "Nghị quyết 66.3/2025/NQ-CP, khoản 2 Điều 2",
            ("resolution", "66.3/2025/NQ-CP", "66.3/2025/NQ-CP", "2", "2", None),
        ),
        ("Nghị quyết 66.25/2026/NQ-CP", ("resolution", "66.25/2026/NQ-CP", "66.25/2026/NQ-CP", None, None, None)),
        ("NQ 254/2025", ("resolution", "254/2025", "NQ 254/2025", None, None, None)),
        ("Luật Đất đai 2024", ("law", None, "31/2024/QH15", None, None, None)),
        ("luat dat dai nam 2024", ("law", None, "31/2024/QH15", None, None, None)),
        ("Luật ĐĐ", ("law", None, "Luật Đất đai", None, None, None)),
        ("Luật 31/2024/QH15", ("law", "31/2024/QH15", "31/2024/QH15", None, None, None)),
        ("Luật Đất đai số 31/2024/QH15", ("law", "31/2024/QH15", "31/2024/QH15", None, None, None)),
        ("Luật 54/2024 Đ108 k1", ("law", "54/2024", "54/2024/QH15", "108", "1", None)),
        ("Quyết định số 123/QĐ-UBND", ("decision", "123/QĐ-UBND", "123/QĐ-UBND", None, None, None)),
        ("QĐ 12/2026/QĐ-TTg", ("decision", "12/2026/QĐ-TTg", "12/2026/QĐ-TTg", None, None, None)),
        ("TT 01/2026 Đ3 k1a", ("circular", "01/2026", "TT 01/2026", "3", "1a", None)),
        ("Thông báo 148/TB-SCT", ("notice", "148/TB-SCT", "148/TB-SCT", None, None, None)),
    ],
)
def test_citations_reads(text, expected):
    sentence = f"Xin hỏi theo {text} thì ai ký?"
    [found] = citations(sentence, language="vi")
    assert cited(sentence) == [expected]
    assert found.text == text == sentence[found.start : found.end]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("NĐ 151/2025/NĐ-CP Đ17, Đ19, Đ20", [("17", None), ("19", None), ("20", None)]),
        ("NĐ 151/2025/NĐ-CP Đ31 k9, k10", [("31", "9"), ("31", "10")]),
        ("NĐ 151/2025/NĐ-CP Đ28 k4, Đ31 k13", [("28", "4"), ("31", "13")]),
        ("Điều 12 và khoản 1 Điều 14 Nghị định 151/2025", [("12", None), ("14", "1")]),
        ("khoản 3, khoản 4 Điều 46 Nghị định 151/2025", [("46", "3"), ("46", "4")]),
    ],
)
def test_citations_gives_each_listed_part_its_document(text, parts):
    found = citations(text, language="vi")
    assert [(c.article, c.clause) for c in found] == parts
    assert {c.document for c in found} == {"151/2025/NĐ-CP"}


def test_citations_keeps_documents_apart():
    found = citations("Luật 54/2024 Đ108 k2; NĐ 136/2025 Đ34 (sửa bởi TT 26/2026/TT-BCT Đ6-8)", language="vi")
    assert [(c.document, c.article) for c in found] == [
        ("54/2024/QH15", "108"),
        ("136/2025/NĐ-CP", "34"),
        ("26/2026/TT-BCT", "6"),
    ]


def test_citations_reads_decomposed_text_at_original_offsets():
    text = "xem Nghi\u0323 đi\u0323nh 139/2025"
    [found] = citations(text, language="vi")
    assert (found.document, found.start, found.end) == ("139/2025/NĐ-CP", 4, len(text))


@pytest.mark.parametrize(
    "text",
    [
        "ngày 14/7/2025",
        "pháp luật xây dựng",
        "văn phòng luật",
        "k2 hộ",
        "đường D5",
        "Đ5",
        "1.200.000",
        "Số: 63/UBND-KT",
        "tỷ lệ 1/2000",
    ],
)
def test_citations_leaves(text):
    assert cited(text) == []


def test_citations_without_language_finds_none():
    assert citations("NĐ 139/2025", language=None) == []


@pytest.mark.parametrize("function", [sentences, citations])
def test_language_unknown_lists_the_known_ones(function):
    with pytest.raises(ValueError, match=r"language must be None or one of vi; got 'tlh'"):
        function("a", language="tlh")


@given(any_text)
def test_citations_lie_within_the_text_in_order_without_overlap(text):
    last = 0
    for found in citations(text, language="vi"):
        assert last <= found.start < found.end <= len(text)
        assert found.text == text[found.start : found.end]
        last = found.end


def test_citations_agree_in_eight_threads():
    texts = [
        f"Câu {n}: khoản {n} Điều {n + 1} Nghị định {n}/2025/NĐ-CP, Luật Đất đai 2024 và TT {n}/2024."
        for n in range(1, 60)
    ]
    alone = [(citations(text, language="vi"), sentences(text, language="vi")) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        runs = pool.map(
            lambda _: [(citations(text, language="vi"), sentences(text, language="vi")) for text in texts], range(8)
        )
        assert all(run == alone for run in runs)


@pytest.mark.parametrize(
    "unit",
    [
        "0",
        "a ",
        "luat dat dai ",
        "phap luat dat dai ",
        "dieu 1, ",
        "k1 ",
        "nd 1/2025 d1 ",
        ". ",
        '."',
        "1. ",
        "\n- ",
        "\u0301",
    ],
)
def test_spans_take_linear_time_on_hostile_text(unit):
    def seconds(n_chars):
        text = (unit * n_chars)[:n_chars]
        started = time.process_time()
        sentences(text, language="vi")
        citations(text, language="vi")
        return time.process_time() - started

    seconds(1_000)
    assert seconds(200_000) < 12 * min(seconds(50_000) for _ in range(2)) + 0.2  # 4 if linear, 16 if quadratic


def test_import_does_not_import_spacy():
    code = "import sys, triage.text.spans, triage.text.masking; sys.exit('spacy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
