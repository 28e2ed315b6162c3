"""Tests of `triage.dataset`: what reads, what is refused, and that every fault is named at once."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import sys
import time
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triage.dataset import (
    checks,
    fingerprint,
    iter_rows,
    iter_texts,
    read_abbreviations,
    read_labelled,
    read_questions,
    read_register_table,
    read_table,
    read_taxonomy,
    write_table,
)
from triage.errors import DatasetError, DependencyError

DATASETS = Path(__file__).parent.parent / "datasets"
DESKS = ["industry-trade", "land"]
FORMATS = ["csv", "tsv", "jsonl", "parquet", "xlsx"]
ENDINGS = [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".csv.gz", ".tsv.gz", ".jsonl.gz"]
SECRET = "quảnchuối"  # stands in texts, must never stand in a message


def stream(content: str | bytes) -> io.BytesIO:
    return io.BytesIO(content.encode() if isinstance(content, str) else content)


def faults_of(call: Any, *args: Any, **options: Any) -> list[tuple[int | None, str | None]]:
    with pytest.raises(DatasetError, match=r"fault") as caught:
        call(*args, **options)
    assert SECRET not in str(caught.value)
    return [(fault.row, fault.column) for fault in caught.value.faults]


def questions(**columns: list[Any]) -> pd.DataFrame:
    n_rows = len(next(iter(columns.values()), [0, 0]))
    good = {"text": [SECRET] * n_rows, "topic": ["land"] * n_rows, "jurisdiction": ["local"] * n_rows}
    return pd.DataFrame({**good, **columns})


# read_labelled


@pytest.mark.parametrize(("cell", "kind"), [(["a"], "list"), ({"a": 1}, "dict"), (b"a", "bytes")])
def test_labelled_text_must_not_be_a_list_or_object(cell: Any, kind: str) -> None:
    with pytest.raises(DatasetError, match=f"row 2, column 'text': must be text, got {kind}"):
        read_labelled(pd.DataFrame({"text": [1.5, cell, None]}), "text", {}, {}, dated=False)


# read_table


@pytest.mark.parametrize("ending", ENDINGS)
def test_table_survives_write_and_read(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame(
        {"id": ["007", "8"], "text": ['say "a, b"\tc', "two\nlines"], "cell": ["NA", ""]}, index=[5, 3]
    )
    write_table(frame, tmp_path / f"table{ending}")
    read = read_table(str(tmp_path / f"table{ending}"))
    assert read.to_dict("list") == frame.to_dict("list")
    assert list(read.index) == [0, 1]


def test_text_formats_keep_cells_as_text() -> None:
    read = read_table(stream("id,a,b,c\n007,NA,null,\n"), format="csv")
    assert read.to_dict("records") == [{"id": "007", "a": "NA", "b": "null", "c": ""}]


def test_json_lines_keep_lists_and_gaps_and_make_numbers_text() -> None:
    lines = '{"a": 1.50, "b": true, "c": null}\n\n{"a": [1, "x"], "d": "y"}\n'
    read = read_table(stream(lines), format="jsonl")
    assert read.to_dict("records") == [
        {"a": "1.50", "b": "True", "c": None, "d": None},
        {"a": ["1", "x"], "b": None, "c": None, "d": "y"},
    ]


@pytest.mark.parametrize(("content", "kind"), [("text\nxin chào\n", "csv"), ('{"text": "xin chào"}', "jsonl")])
def test_byte_order_mark_is_no_part_of_the_first_column(content: str, kind: str) -> None:
    assert read_table(stream(b"\xef\xbb\xbf" + content.encode()), format=kind).to_dict("list") == {"text": ["xin chào"]}


def test_windows_line_ends_and_blank_lines_are_read() -> None:
    read = read_table(stream('text,a\r\n"one\r\ntwo",1\r\n\r\nthree,2'), format="csv")
    assert list(read["text"]) == ["one\r\ntwo", "three"]


def test_dataframe_is_copied_and_keeps_its_index() -> None:
    frame = pd.DataFrame({"text": ["a"]}, index=["x"])
    read = read_table(frame)
    read.loc["x", "text"] = "b"
    assert list(read.index) == ["x"]
    assert frame.loc["x", "text"] == "a"


def test_header_without_rows_is_an_empty_table() -> None:
    read = read_table(stream("text,topic\n"), format="csv")
    assert (list(read.columns), len(read)) == (["text", "topic"], 0)


def test_cell_of_a_megabyte_is_read() -> None:
    text = "x" * 1_000_001
    assert read_table(stream(f"text\n{text}\n"), format="csv")["text"][0] == text


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["table.ods", "table", "table.xlsx.gz"])
def test_unknown_ending_lists_the_known(name: str) -> None:
    with pytest.raises(DatasetError, match=r"must end in \.csv, \.tsv, \.jsonl"):
        read_table(name)


def test_unknown_format_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"format must be one of 'csv', 'jsonl'.*did you mean 'csv'.*got 'cvs'"):
        read_table("table.csv", format="cvs")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_empty_file_is_refused(kind: str, content: bytes) -> None:
    if kind == "csv" and content == b"\n \n":
        content = b"\n\n"
    with pytest.raises(DatasetError, match="must not be empty"):
        read_table(stream(content), format=kind)


def test_empty_workbook_is_refused(tmp_path: Path) -> None:
    openpyxl.Workbook().save(tmp_path / "empty.xlsx")
    with pytest.raises(DatasetError, match="must not be empty"):
        read_table(tmp_path / "empty.xlsx")


def test_other_encoding_names_line_and_remedy() -> None:
    with pytest.raises(DatasetError, match="line 2 is not; save it as UTF-8"):
        read_table(stream(b"text\nab\xe9\n"), format="csv")


def test_every_ragged_and_nul_row_is_named() -> None:
    content = f"text,topic\n{SECRET}\ngood,a\n{SECRET},a,b\n{SECRET}\0,\0\n"
    assert faults_of(read_table, stream(content), format="csv") == [
        (1, None),
        (3, None),
        (4, "text"),
        (4, "topic"),
    ]


def test_quote_that_never_ends_is_named() -> None:
    with pytest.raises(DatasetError, match=r"row 2: must be well-formed, but unexpected end of data"):
        read_table(stream('text\na\n"b\n'), format="csv")


def test_every_broken_json_line_is_named() -> None:
    lines = [
        '{"text": "good"}',
        f'{{"text": "{SECRET}"',
        f'["{SECRET}"]',
        '{"text": NaN}',
        '{"text": 1, "text": 2}',
        "[" * 100_000,
        '"x"',
    ]
    assert faults_of(read_table, stream("\n".join(lines)), format="jsonl") == [(row, None) for row in range(2, 8)]


@pytest.mark.parametrize("source", [stream("a,b,a\n1,2,3\n"), pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])])
def test_repeated_column_is_refused(source: Any) -> None:
    with pytest.raises(DatasetError, match=r"column .*a.*: must be unique, occurs 2 times"):
        read_table(source, format="csv")


def test_texts_in_the_place_of_column_names_are_not_shown() -> None:
    with pytest.raises(DatasetError, match=r"must be there; .* 'a', 'b', \(60 characters\) \(the first") as caught:
        read_questions(stream(f"a,b,{'x' * 50} {SECRET}\nc,d,e\n"), format="csv")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 31, "a b c d e", "09 12 345", "an@b.vn", 12345])
def test_what_is_no_column_name_is_shown_by_its_length(name: Any) -> None:
    length = f"({len(str(name))} characters)"
    hint = " (the first line must hold the column names)"
    assert checks.shown(name) == length
    assert checks.column_names(["id", name]) == f"['id', {length}]{hint}"
    assert checks.column_names(["id", name], str(name)) == f"'id', {length}{hint}"


def test_names_of_people_beside_a_text_are_not_shown() -> None:
    assert checks.column_names(["An Lê", "Q"]) == "['An Lê', 'Q']"
    assert checks.column_names(["An Lê", "Q", "x" * 40]).startswith("[(5 characters), 'Q', (40 characters)] (the first")


def test_first_column_names_are_listed_with_the_nearest() -> None:
    names = [f"c{number}" for number in range(14)]
    assert checks.column_names(names).endswith("'c11' and 2 more]")
    assert checks.column_names(names, "c13").endswith("'c11' and 2 more (did you mean 'c13'?)")


def test_texts_in_the_place_of_column_names_are_not_shown_in_faults() -> None:
    content = f"{'x' * 50} {SECRET}\na\0\n"
    assert faults_of(read_table, stream(content), format="csv") == [(1, "(60 characters)")]
    assert faults_of(read_table, stream("0912345678,0912345678\n"), format="csv") == [(None, "(10 characters)")]


@pytest.mark.parametrize("content", [b"garbage", gzip.compress(b"text\nabc\n" * 99)[:-9]])
def test_damaged_compression_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "q.csv.gz").write_bytes(content)
    with pytest.raises(DatasetError, match="must be readable as text"):
        read_table(tmp_path / "q.csv.gz")


@given(content=st.binary(max_size=200), kind=st.sampled_from(FORMATS))
def test_garbage_raises_nothing_but_dataset_errors(content: bytes, kind: str) -> None:
    with suppress(DatasetError):
        read_table(stream(content), format=kind)


@given(
    content=st.text(st.sampled_from('a,"\n\r\t{}[]:1\\u0\0é'), max_size=60),
    kind=st.sampled_from(["csv", "tsv", "jsonl"]),
)
def test_near_tables_raise_nothing_but_dataset_errors(content: str, kind: str) -> None:
    with suppress(DatasetError):
        read_table(stream(content), format=kind)


def test_damaged_workbook_and_parquet_are_refused(tmp_path: Path) -> None:
    for ending in ("xlsx", "parquet"):
        path = tmp_path / f"q.{ending}"
        write_table(questions(), path)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(DatasetError, match=r"must be readable as (XLSX|Parquet)"):
            read_table(path)


@pytest.mark.parametrize(("package", "kind"), [("pyarrow", "parquet"), ("openpyxl", "xlsx")])
def test_absent_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, package: str, kind: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=rf"{package}.*triage\[files\]"):
        read_table(stream(b""), format=kind)


# XLSX


def workbook(*rows: list[Any]) -> io.BytesIO:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    content.seek(0)
    return content


def test_workbook_keeps_types_and_drops_empty_rows_at_its_end() -> None:
    content = workbook(["text", "n", "date"], ["a", 1, datetime(2025, 7, 1)], [None, None], ["b", True], [None], [""])
    read = read_table(content, format="xlsx")
    assert read.to_dict("records") == [
        {"text": "a", "n": 1, "date": "2025-07-01"},
        {"text": "", "n": "", "date": ""},
        {"text": "b", "n": True, "date": ""},
    ]


def test_formula_without_stored_value_is_a_fault() -> None:
    content = workbook(["text", "topic"], ["a", "=1+1"], ["b", "x"], ['=HYPERLINK("http://x")', "y"])
    assert faults_of(read_table, content, format="xlsx") == [(1, "topic"), (3, "text")]


def test_formula_in_the_header_is_a_fault() -> None:
    with pytest.raises(DatasetError, match=r"1 fault\n  must be stored, got a formula without its value"):
        read_table(workbook(["text", "=A1"], ["a", "b"]), format="xlsx")


def test_spreadsheet_error_and_cell_beyond_the_header_are_faults() -> None:
    content = workbook(["text", "topic"], ["a", "#REF!"], ["b", "x", "y"])
    assert faults_of(read_table, content, format="xlsx") == [(1, "topic"), (2, None)]


def test_workbook_never_holds_a_formula(tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "#N/A"]
    write_table(pd.DataFrame({"text": texts}), tmp_path / "q.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "q.xlsx").active
    assert {sheet.cell(row, 1).data_type for row in range(2, 7)} == {"s"}
    assert list(read_table(tmp_path / "q.xlsx")["text"]) == texts


def test_workbook_refuses_what_it_would_lose(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["fine", "bell\a", "x" * 32_768, "_x0041_", "cr\r"]})
    assert faults_of(write_table, frame, tmp_path / "q.xlsx") == [(row, "text") for row in range(2, 6)]
    assert not list(tmp_path.iterdir())


# write_table

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ROWS = st.lists(st.fixed_dictionaries({"id": CELLS, "text": CELLS}), min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, ending=st.sampled_from(ENDINGS))
def test_any_text_survives_write_and_read_or_is_refused(
    tmp_path: Path, rows: list[dict[str, str]], ending: str
) -> None:
    path = tmp_path / f"table{ending}"
    try:
        write_table(pd.DataFrame(rows, columns=["id", "text"]), path)
    except DatasetError:
        if ending != ".xlsx":
            raise
        return
    read = read_table(path).to_dict("records")
    kept = rows
    while ending == ".xlsx" and kept and not any(kept[-1].values()):
        kept = kept[:-1]
    assert read == kept


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"a": ["1"]}), tmp_path / "q.csv")
    write_table(pd.DataFrame({"a": ["2"]}), tmp_path / "q.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["q.csv"]
    assert (tmp_path / "q.csv").read_bytes() == b"a\n2\n"


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"a": ["1"]}), tmp_path / "q.parquet")
    before = (tmp_path / "q.parquet").read_bytes()
    with pytest.raises(DatasetError, match="must hold one type in each column"):
        write_table(pd.DataFrame({"a": [SECRET, 1]}), tmp_path / "q.parquet")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("q.parquet", before)]


def test_same_table_gives_the_same_bytes_compressed(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_table(questions(), tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_values_that_are_not_text_are_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [np.nan, 0.5], "c": [date(2025, 7, 1), None], "d": [["x"], np.array([1])]})
    write_table(frame, tmp_path / "q.jsonl")
    assert [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()] == [
        {"a": 1, "b": None, "c": "2025-07-01", "d": ["x"]},
        {"a": 2, "b": 0.5, "c": None, "d": [1]},
    ]
    write_table(frame, tmp_path / "q.csv")
    assert (tmp_path / "q.csv").read_text() == 'a,b,c,d\n1,,2025-07-01,"[""x""]"\n2,0.5,,[1]\n'


@pytest.mark.parametrize("ending", ["csv", "jsonl", "xlsx", "parquet"])
def test_lone_surrogates_are_not_written(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame({"text": ["fine", "\ud800"]}, dtype=object)
    assert faults_of(write_table, frame, tmp_path / f"q.{ending}") == [(2, "text")]


def test_infinity_is_not_written_as_json(tmp_path: Path) -> None:
    assert faults_of(write_table, pd.DataFrame({"a": [1.0, np.inf]}), tmp_path / "q.jsonl") == [(2, "a")]


# iter_texts, iter_rows


def test_lines_come_in_order_with_blank_ones() -> None:
    assert list(iter_texts(stream("\ufeffmột\r\n\n \nhai"))) == [(1, "một"), (2, ""), (3, ""), (4, "hai")]


def test_undecodable_bytes_are_replaced_and_long_lines_kept() -> None:
    (first, second) = (text for _, text in iter_texts(stream(b"a\xff\n" + b"x" * 2_000_000)))
    assert (first, len(second)) == ("a\ufffd", 2_000_000)


def test_lines_are_read_one_by_one() -> None:
    taken = []

    def lines() -> Any:
        for number in range(10):
            taken.append(number)
            yield b"x\n"

    next(iter_texts(lines()))
    assert taken == [0]


@pytest.mark.parametrize("ending", ENDINGS)
def test_chunks_together_are_the_table(tmp_path: Path, ending: str) -> None:
    write_table(pd.DataFrame({"text": list("abcde")}), tmp_path / f"q{ending}")
    chunks = list(iter_rows(tmp_path / f"q{ending}", "text", 2))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert list(pd.concat(chunks).index) == [0, 1, 2, 3, 4]
    assert list(pd.concat(chunks)["text"]) == list("abcde")


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 7, 100])
def test_key_absent_from_a_whole_chunk_of_json_lines_is_a_gap(chunk_rows: int) -> None:
    rows = [{"n": 0}, {}, {"text": "a"}, {}, {"n": 1}, {}, {"text": "b"}, {}, {}]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    chunks = list(iter_rows(stream(content), "text", chunk_rows, format="jsonl"))
    texts = [cell for chunk in chunks for cell in chunk["text"]]
    assert texts == [None, None, "a", None, None, None, "b", None, None]


@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
def test_key_absent_from_all_json_lines_is_an_absent_column(chunk_rows: int) -> None:
    with pytest.raises(DatasetError, match="column 'text': must be there; the columns are 'n'"):
        next(iter_rows(stream('{"n": 1}\n' * 9), "text", chunk_rows, format="jsonl"))


def test_booleans_read_alike_from_every_format(tmp_path: Path) -> None:
    for kind in FORMATS:
        write_table(pd.DataFrame({"urgent": [True, False]}), tmp_path / f"b.{kind}")
        assert list(map(str, read_table(tmp_path / f"b.{kind}")["urgent"])) == ["True", "False"]


def test_chunks_do_not_read_ahead() -> None:
    taken = []

    class Endless(io.BytesIO):
        def __iter__(self) -> Any:
            taken.append(b"text\n")
            yield b"text\n"
            while len(taken) < 1000:
                taken.append(b"x\n")
                yield b"x\n"

    next(iter_rows(Endless(), "text", 3, format="csv"))
    assert len(taken) < 10


def test_chunks_name_absent_column_and_bad_rows() -> None:
    with pytest.raises(DatasetError, match=r"column 'txt': must be there.*did you mean 'text'"):
        next(iter_rows(stream("text\na\n"), "txt", format="csv"))
    chunks = iter_rows(stream("text,a\nb,c\nd\ne,f\ng\n"), "text", 1, format="csv")
    assert len(next(chunks)) == 1
    assert faults_of(next, chunks) == [(2, None)]


def test_chunk_rows_must_be_positive() -> None:
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, got 0"):
        next(iter_rows(stream("text\n"), "text", 0, format="csv"))


# read_questions


def test_good_questions_come_back_unchanged() -> None:
    frame = questions(id=["1", "2"], date=["2025-07-01", ""], split=["train", "test"])
    pd.testing.assert_frame_equal(read_questions(frame, split="split"), frame)


def test_absent_columns_are_named_with_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"column 'topics'.*'text', 'topic', 'jurisdiction' \(did you mean 'topic'"):
        read_questions(questions(), targets=["topics"])
    assert faults_of(read_questions, pd.DataFrame({"a": [1]}), split="part") == [
        (None, "text"),
        (None, "topic"),
        (None, "jurisdiction"),
        (None, "part"),
    ]


def test_table_without_rows_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least one row"):
        read_questions(stream("text,topic,jurisdiction\n"), format="csv")


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("", "must not be blank"),
        (" \n\u3000", "must not be blank"),
        (None, "must not be missing"),
        (np.nan, "must not be missing"),
        (3, "must be text, got int"),
        ("x" * 1_000_001, "at most 1,000,000 characters, got 1,000,001"),
        (f"{SECRET}\0", "must not hold NUL"),
        (f"{SECRET}\udc80", "must not hold .*lone surrogates"),
    ],
)
def test_text_must_be_text(cell: Any, problem: str) -> None:
    frame = questions().astype(object)
    frame.loc[1, "text"] = cell
    with pytest.raises(DatasetError, match=rf"row 2, column 'text': .*{problem}") as caught:
        read_questions(frame)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("", "must not be missing"),
        (None, "must not be missing"),
        (pd.NaT, "must not be missing"),
        (1.5, "must be text, a whole number or a boolean, got float"),
        (["a"], "got list"),
        (" local", "no white space around it.*got ' local'"),
        ("x" * 99 + " ", "got 'x{38}…"),
    ],
)
def test_label_must_be_a_label(cell: Any, problem: str) -> None:
    frame = questions().astype(object)
    frame.at[1, "topic"] = cell
    with pytest.raises(DatasetError, match=rf"row 2, column 'topic': .*{problem}"):
        read_questions(frame)


@pytest.mark.parametrize("labels", [[1, 2], [True, False], [np.int64(1), "a"], pd.Categorical(["a", "b"])])
def test_labels_of_other_kinds_are_kept(labels: Any) -> None:
    read = read_questions(questions(topic=labels), targets=["topic"])
    assert list(read["topic"]) == list(labels)


def test_gap_among_whole_numbers_is_one_fault() -> None:
    assert faults_of(read_questions, questions(topic=[1, None, 3]), targets=["topic"]) == [(2, "topic")]


def test_unknown_label_lists_the_known() -> None:
    known = {"topic": [f"topic_{number}" for number in range(30)], "jurisdiction": {"local"}}
    with pytest.raises(DatasetError, match=r"'topic_11' and 18 more, got 'land'"):
        read_questions(questions(), classes=known)


def test_split_is_checked_only_when_asked_for() -> None:
    frame = questions(split=["train", "dev"])
    assert len(read_questions(frame)) == 2
    with pytest.raises(
        DatasetError, match=r"row 2, column 'split': must be one of 'train', 'valid', 'test', got 'dev'"
    ):
        read_questions(frame, split="split")


@pytest.mark.parametrize("cell", ["01/07/2025", "2025-7-1", "20250701", "2025-02-30", 5])
def test_date_must_be_iso(cell: Any) -> None:
    with pytest.raises(DatasetError, match=r"row 2, column 'date': must be an ISO date"):
        read_questions(questions(date=["2025-07-01", cell]))


def test_date_may_be_empty_or_a_date() -> None:
    assert len(read_questions(questions(date=[None, date(2025, 7, 1), pd.Timestamp("2025-07-01"), ""]))) == 4


def test_id_must_be_unique_where_filled() -> None:
    with pytest.raises(DatasetError, match=r"1 fault\n  row 4, column 'id': must be unique, but row 1 has the same"):
        read_questions(questions(id=["a", "", "", "a"]))


def test_forty_faults_are_all_named_in_row_order() -> None:
    cells = [("", "", "", "x"), (" ", None, "nowhere", "2025")] * 5
    texts, topics, places, dates = (list(column) for column in zip(*cells, strict=True))
    frame = questions(text=texts, topic=topics, jurisdiction=places, date=dates)
    found = faults_of(read_questions, frame, classes={"jurisdiction": {"local"}})
    assert found == [(row, key) for row in range(1, 11) for key in ("text", "topic", "jurisdiction", "date")]


def test_targets_must_not_be_a_bare_string() -> None:
    with pytest.raises(TypeError, match="targets must be a sequence of column names, got the bare string 'topic'"):
        read_questions(questions(), targets="topic")


def test_hundred_thousand_rows_are_checked_in_two_seconds() -> None:
    frame = questions(id=[str(number) for number in range(100_000)], date=["2025-07-01"] * 100_000)
    start = time.perf_counter()
    read_questions(frame, classes={"topic": {"land"}})
    assert time.perf_counter() - start < 2


# read_taxonomy, read_register_table, read_abbreviations


def taxonomy() -> dict[str, Any]:
    return {
        "language": "de",
        "topics": [{"id": "wald", "name_de": "Wald", "name_en": "Forest", "typical_matters_de": ["Fällung"]}],
        "jurisdictions": [{"id": "local", "name_de": "Ort", "levels": [{"id": "commune", "name_de": "Gemeinde"}]}],
        "agencies": [{"id": "tax", "name_de": "Finanzamt"}],
    }


def written(path: Path, tree: Any) -> Path:
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def test_taxonomy_names_labels_in_any_language(tmp_path: Path) -> None:
    read = read_taxonomy(written(tmp_path / "t.json", taxonomy()))
    assert read.topics[0].typical_matters == ("Fällung",)
    assert read.name("topic", "wald", "en") == "Forest"
    labels = [("jurisdiction", "local"), ("level", "commune"), ("agency", "tax")]
    assert [read.name(target, label) for target, label in labels] == ["Ort", "Gemeinde", "Finanzamt"]


@pytest.mark.parametrize(
    ("lookup", "problem"),
    [
        (("topc", "wald"), r"target must be one of 'topic', .*did you mean 'topic'\?\), got 'topc'"),
        (("topic", "forst"), "topic must be one of 'wald', got 'forst'"),
        (("topic", "wald", "vi"), "language must be one of 'de', 'en', got 'vi'"),
    ],
)
def test_taxonomy_lists_what_it_knows(tmp_path: Path, lookup: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_taxonomy(written(tmp_path / "t.json", taxonomy())).name(*lookup)


def test_every_fault_of_a_taxonomy_is_named(tmp_path: Path) -> None:
    tree = taxonomy()
    tree["topics"] += [{"id": "wald", "name_de": "Wald"}, {"id": "", "name_de": "x"}, {"id": "see", "name_en": 3}, "x"]
    tree["topics"][0]["typical_matters_de"] = "Fällung"
    tree["jurisdictions"][0]["levels"] = {"id": "commune"}
    tree["agencies"][0]["name_de"] = ""
    assert [column for _, column in faults_of(read_taxonomy, written(tmp_path / "t.json", tree))] == [
        "topics[0].typical_matters_de",
        "topics[1].id",
        "topics[2]",
        "topics[3].name_de",
        "topics[3].name_en",
        "topics[4]",
        "agencies[0].name_de",
        "levels",
    ]


@pytest.mark.parametrize("tree", [[], {}, {"language": ""}, {"language": 3}, {"language": "vi"}])
def test_taxonomy_needs_language_and_topics(tmp_path: Path, tree: Any) -> None:
    with pytest.raises(DatasetError, match=r"must (be an object with a language|have at least one topic)"):
        read_taxonomy(written(tmp_path / "t.json", tree))


@given(content=st.binary(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_taxonomy_of_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(DatasetError, match="fault"):
        read_taxonomy(tmp_path / "t.json")


def register(**columns: list[str]) -> pd.DataFrame:
    good = {"matter_id": "M", "topic": "t", "matter_vi": "x", "jurisdiction": "local", "level": "", "agency": ""}
    rows = len(next(iter(columns.values()), [0]))
    return pd.DataFrame(
        {**{key: [cell] * rows for key, cell in good.items()}, "valid_from": "", "valid_to": "", **columns}
    )


def test_register_keeps_open_periods() -> None:
    days = {"valid_from": ["", "2025-07-01", "2025-07-01"], "valid_to": ["2025-06-30", "", "2025-07-01"]}
    assert read_register_table(register(matter_id=["M", "M", "N"], **days))[[*days]].to_dict("list") == days


def test_every_fault_of_a_register_is_named() -> None:
    frame = register(matter_id=["", "M", "M"], valid_from=["", "soon", ""], valid_to=["2025-13-01", "", ""])
    assert faults_of(read_register_table, frame) == [(1, "matter_id"), (1, "valid_to"), (2, "valid_from")]
    assert faults_of(read_register_table, frame[["matter_id", "topic", "valid_from", "valid_to"]])[:4] == [
        (None, "jurisdiction"),
        (None, "level"),
        (None, "agency"),
        (None, None),
    ]


def test_period_must_not_end_before_it_starts() -> None:
    frame = register(valid_from=["2025-07-01"], valid_to=["2025-06-30"])
    with pytest.raises(DatasetError, match=r"row 1, .*must not be before valid_from, got 2025-07-01 to 2025-06-30"):
        read_register_table(frame)


def test_abbreviations_are_lower_case_and_composed() -> None:
    frame = pd.DataFrame({"abbreviation": ["NĐ", "TT"], "expansion": ["nghị định", "thông tư"]})
    assert read_abbreviations(frame) == {"nđ": "nghị định", "tt": "thông tư"}
    assert list(read_abbreviations(pd.DataFrame({"abbreviation": ["E\u0302"], "expansion": ["x"]}))) == ["ê"]


def test_every_fault_of_abbreviations_is_named() -> None:
    frame = pd.DataFrame({"abbreviation": ["NĐ", "nđ", "", "a b"], "expansion": ["x", "", "y", "z"]})
    assert faults_of(read_abbreviations, frame) == [
        (2, "abbreviation"),
        (2, "expansion"),
        (3, "abbreviation"),
        (4, "abbreviation"),
    ]
    assert faults_of(read_abbreviations, pd.DataFrame({"short": ["a"]})) == [
        (None, "abbreviation"),
        (None, "expansion"),
    ]


# fingerprint


def test_fingerprint_is_the_documented_hash() -> None:
    frame = pd.DataFrame({"text": ["á", None], "n": [1, 2]}, index=[9, 4])
    expected = hashlib.sha256(b'["text","n"]\n["\\u00e1","1"]\n["","2"]\n').hexdigest()
    assert fingerprint(frame, ["text", "n"]) == expected


@pytest.mark.parametrize("ending", ENDINGS)
def test_fingerprint_does_not_depend_on_the_file(tmp_path: Path, ending: str) -> None:
    frame = questions(id=["007", ""])
    write_table(frame, tmp_path / f"q{ending}")
    columns = list(frame.columns)
    assert fingerprint(read_table(tmp_path / f"q{ending}"), columns) == fingerprint(frame, columns)


def test_fingerprint_depends_on_cells_order_and_columns() -> None:
    frame = pd.DataFrame({"a": ["1", "2"], "b": ["2", "1"]})
    prints = {fingerprint(frame, ["a"]), fingerprint(frame, ["b"]), fingerprint(frame, ["a", "b"])}
    assert len(prints | {fingerprint(frame[::-1], ["a"])}) == 4
    with pytest.raises(DatasetError, match="column 'c': must be there"):
        fingerprint(frame, ["c"])


# The data that comes with the project


@pytest.mark.parametrize("desk", DESKS)
def test_shipped_tables_pass_their_checks(desk: str) -> None:
    folder = DATASETS / desk
    names = read_taxonomy(folder / "taxonomy.json")
    classes = {"topic": [topic.id for topic in names.topics], "jurisdiction": names.jurisdictions}
    read_questions(folder / "questions.csv", split="split", classes=classes)
    read_questions(folder / "examples.csv", classes=classes)
    read_questions(folder / "archive.jsonl", text="question", classes=classes)
    read_questions(folder / "reasks.jsonl", targets=[], split="split")
    read_questions(folder / "oos.csv", targets=["kind"], split="split")
    read_register_table(folder / "register.csv", taxonomy=names)


@pytest.mark.parametrize("desk", DESKS)
def test_shipped_abbreviations_are_lower_case_single_tokens(desk: str) -> None:
    table = read_table(DATASETS / desk / "abbreviations.csv")
    expansions = read_abbreviations(table)
    assert list(expansions) == list(table["abbreviation"])
    assert all(re.fullmatch(r"\w+", key) for key in expansions)
    assert all(expansion == expansion.lower().strip() for expansion in expansions.values())


@pytest.mark.parametrize("desk", DESKS)
def test_card_counts_are_those_of_the_files(desk: str) -> None:
    card = (DATASETS / desk / "README.md").read_text(encoding="utf-8")
    for name, count in re.findall(r"^### `(\S+)` \((\d+) rows\)$", card, re.MULTILINE):
        assert len(read_table(DATASETS / desk / name)) == int(count), name
    checked = 0
    counts = card.split("## Counts")[1].split("## How it was made")[0]
    for name, body in re.findall(r"`(\S+)`\n\n\| column \| rows \|\n\|---\|---\|\n((?:\|.*\n)+)", counts):
        table = read_table(DATASETS / desk / name)
        for column, cells in re.findall(r"^\| `(\w+)` \| (.+) \|$", body, re.MULTILINE):
            stated = {value: int(n) for value, n in re.findall(r"(\S+) (\d+)(?: · |$)", cells)}
            assert stated == table[column].replace("", "(empty)").value_counts().to_dict(), (name, column)
            checked += 1
    assert checked == 26


@pytest.mark.parametrize("desk", DESKS)
def test_further_questions_are_new_and_labelled_as_the_register_says(desk: str) -> None:
    measured, further = (read_table(DATASETS / desk / name) for name in ("questions.csv", "examples.csv"))
    assert further["id"].is_unique
    assert not set(further["author"]) & set(measured["author"])
    asked = pd.concat([measured["text"], read_table(DATASETS / desk / "reasks.jsonl")["text"]])
    assert not further["text"].str.lower().isin(asked.str.lower()).any()
    register = read_table(DATASETS / desk / "register.csv").replace({"valid_to": {"": "9999"}})
    rows = further[further["matter_id"] != ""].merge(register, on="matter_id", suffixes=("", "_row"))
    valid = rows[(rows["valid_from"] <= rows["date"]) & (rows["date"] <= rows["valid_to"])]
    assert sorted(valid["id"]) == sorted(further.loc[further["matter_id"] != "", "id"])
    for name in ("topic", "jurisdiction", "level", "agency"):
        assert (valid[name] == valid[f"{name}_row"]).all(), name


def test_index_counts_are_those_of_the_files() -> None:
    index = (DATASETS / "README.md").read_text(encoding="utf-8")
    for desk in DESKS:
        folder = DATASETS / desk
        sizes = [
            len(read_table(folder / name)) for name in ("archive.jsonl", "reasks.jsonl", "oos.csv", "abbreviations.csv")
        ]
        matters = read_table(folder / "register.csv")["matter_id"].nunique()
        topics = len(read_taxonomy(folder / "taxonomy.json").topics)
        questions, further = (len(read_table(folder / name)) for name in ("questions.csv", "examples.csv"))
        row = [questions, further, topics, matters, *sizes]
        assert f"| [{desk}]({desk}/README.md) | {' | '.join(map(str, row))} |" in index
