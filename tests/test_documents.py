"""Tests of `triage.register.documents`: legal documents that end, and the answers that must not outlive them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import triage
from triage.errors import DatasetError
from triage.register import Documents, Register, staleness

SECRET = "quảnchuối"  # stands in cells, must never stand in a message
DECREE = "Nghị định 151/2025/NĐ-CP"
NEXT = "Nghị định 49/2026/NĐ-CP"
FIRST, LAST = "2025-07-01", "2026-01-30"
WITHIN, AFTER, BEFORE = "2025-12-01", "2026-01-31", "2025-06-30"


def table(*rows):
    return pd.DataFrame(rows, columns=["document", "valid_from", "valid_to", "replaced_by"])


def documents(*rows):
    return Documents.read(table(*rows), "vi")


def faults_of(source, language="vi"):
    """Read a faulty table and return where its faults are."""
    with pytest.raises(DatasetError, match=r"\d+ faults?") as caught:
        Documents.read(source, language)
    assert SECRET not in str(caught.value)
    return [(fault.row, fault.column) for fault in caught.value.faults]


# --- what is in force -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "cited", "ended"),
    [
        (DECREE, DECREE, True),
        (DECREE, f"{DECREE} Điều 5", True),
        (DECREE, f"điểm h khoản 1 Điều 5 {DECREE}", True),
        (f"{DECREE} Điều 5", DECREE, False),  # the decree without its article may well hold
        (f"{DECREE} Điều 5", f"{DECREE} Điều 5", True),
        (f"{DECREE} Điều 5", f"{DECREE} Điều 5 khoản 1 điểm h", True),
        (f"{DECREE} Điều 5", f"{DECREE} Điều 6", False),
        (f"{DECREE} Điều 5", f"{DECREE} Điều 15", False),
        (f"{DECREE} Điều 5 khoản 1", f"{DECREE} Điều 5", False),
        (f"{DECREE} Điều 5 khoản 1", f"{DECREE} Điều 5 khoản 1 điểm h", True),
        (f"{DECREE} Điều 5 khoản 1", f"{DECREE} Điều 6 khoản 1", False),
        (f"{DECREE} Điều 5 khoản 1", f"{DECREE} Điều 5 khoản 2", False),
        (f"{DECREE} Điều 5 khoản 1 điểm h", f"{DECREE} Điều 5 khoản 1 điểm i", False),
        (DECREE, "Nghị định 151/2024/NĐ-CP", False),
        (DECREE, "Nghị định 15/2025/NĐ-CP", False),
        (DECREE, "khoản 1 Điều 5", False),
        (DECREE, "Luật 1", False),
        (DECREE, "", False),
    ],
)
def test_row_speaks_of_the_document_and_of_the_parts_inside_it(row, cited, ended):
    problem = documents((row, FIRST, LAST, "")).problem([cited], AFTER)
    assert problem == (f"cites {cited}, in force until {LAST}" if ended else None)


@pytest.mark.parametrize(
    "spelling",
    ["NĐ 151/2025 Đ5 k1", "nghị định số 151/2025/nđ-cp Điều 5 khoản 1", "Khoản 1 Điều 5 Nghị định 151/2025/NĐ-CP"],
)
def test_every_spelling_of_a_document_is_known_in_rows_and_in_answers(spelling):
    full = f"{DECREE} Điều 5 khoản 1"
    assert documents((full, "", LAST, "")).problem([spelling], AFTER) is not None
    assert documents((spelling, "", LAST, "")).problem([full], AFTER) is not None


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2025-06-30", f"in force only from {FIRST}"),
        ("2025-07-01", None),
        ("2026-01-30", None),
        ("2026-01-31", f"in force until {LAST}"),
        (date(2026, 1, 30), None),
        (date(2026, 1, 31), f"in force until {LAST}"),
    ],
)
def test_first_and_last_day_are_in_force(day, said):
    found = documents((DECREE, FIRST, LAST, "")).problem([DECREE], day)
    assert found == (said and f"cites {DECREE}, {said}")


@given(st.dates(date(2000, 1, 1), date(2030, 1, 1)), st.integers(0, 900), st.integers(-3, 903))
@settings(max_examples=50)
def test_document_is_in_force_from_its_first_to_its_last_day(start, length, place):
    last, day = start + timedelta(length), start + timedelta(place)
    found = documents((DECREE, start, last, NEXT)).problem([DECREE], day)
    assert (found is None) == (0 <= place <= length)
    assert place <= length or f"{NEXT} from {last + timedelta(1)}" in found


@pytest.mark.parametrize("nothing", ["", None, float("nan"), pd.NaT])
def test_days_that_are_empty_are_no_bounds(nothing):
    assert documents((DECREE, nothing, nothing, nothing)).problem([DECREE], "1900-01-01") is None
    assert documents((DECREE, nothing, LAST, nothing)).problem([DECREE], "1900-01-01") is None
    assert documents((DECREE, FIRST, nothing, nothing)).problem([DECREE], "2999-01-01") is None
    assert documents((DECREE, nothing, LAST, nothing)).problem([DECREE], AFTER) == (
        f"cites {DECREE}, in force until {LAST}"
    )


@pytest.mark.parametrize("last", [LAST, date(2026, 1, 30), pd.Timestamp(f"{LAST} 08:30")], ids=["text", "date", "time"])
def test_days_may_come_in_several_kinds(last):
    found = documents((DECREE, "", last, NEXT))
    assert found.rows["valid_to"].tolist() == [LAST]
    assert found.problem([DECREE], AFTER) == f"cites {DECREE}, replaced by {NEXT} from 2026-01-31"


def test_document_that_is_replaced_for_ever_has_a_last_day_all_the_same():
    assert documents((DECREE, "", "9999-12-31", NEXT)).problem([DECREE], "9999-12-31") is None


def test_of_two_rows_of_one_document_the_one_that_ended_first_is_told():
    rows = [(DECREE, "", "2026-06-30", ""), (f"{DECREE} Điều 5", "", LAST, NEXT)]
    for order in (rows, rows[::-1]):
        found = documents(*order)
        assert found.problem([f"{DECREE} Điều 5"], "2027-01-01") == (
            f"cites {DECREE} Điều 5, replaced by {NEXT} from 2026-01-31"
        )
        assert found.problem([f"{DECREE} Điều 6"], "2027-01-01") == (
            f"cites {DECREE} Điều 6, in force until 2026-06-30"
        )
        assert found.problem([f"{DECREE} Điều 6"], AFTER) is None
        assert found.problem([DECREE], AFTER) is None


def test_first_text_with_a_problem_is_told():
    found = documents((DECREE, "", LAST, ""), (NEXT, "2026-03-01", "", ""))
    assert found.problem([NEXT, DECREE], AFTER) == f"cites {NEXT}, in force only from 2026-03-01"
    assert found.problem(["", "Luật 1", DECREE, NEXT], AFTER) == f"cites {DECREE}, in force until {LAST}"
    assert found.problem([f"{NEXT} và {DECREE}"], "2026-03-01") == f"cites {DECREE}, in force until {LAST}"
    assert found.problem([f"{NEXT} và {DECREE}"], AFTER) == f"cites {NEXT}, in force only from 2026-03-01"
    assert found.problem([], AFTER) is None
    assert found.problem(iter([DECREE]), AFTER) is not None


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        (f"Theo {DECREE} Điều 5 khoản 1, UBND xã ký.", f"{DECREE} Điều 5 khoản 1"),
        ("UBND xã ký (điểm h khoản 1 Điều 5 NĐ 151/2025); xem Luật Đất đai 2024.", "điểm h khoản 1 Điều 5 NĐ 151/2025"),
        (f"Theo {NEXT}, không theo NĐ 151/2025 Đ5.", "NĐ 151/2025 Đ5"),
        (f"Theo {DECREE} Điều 6 và {DECREE} Điều 5.", f"{DECREE} Điều 5"),
    ],
)
def test_reason_cites_the_citation_as_written_and_nothing_else_of_the_text(text, cited):
    found = documents((f"{DECREE} Điều 5", FIRST, LAST, NEXT))
    said = f"cites {cited}, replaced by {NEXT} from 2026-01-31"
    assert found.problem([text], AFTER) == said
    assert found.problem(["Có.", text], AFTER) == said
    assert staleness(None, {"id": "a1", "answer": text}, AFTER, documents=found) == said
    assert found.problem([text], WITHIN) is None


@pytest.mark.parametrize("day", [BEFORE, FIRST, WITHIN, LAST, AFTER])
def test_answer_is_judged_alike_each_time_and_by_each_table(day):
    """What a text cites is kept for the next question, and must be kept apart from what a table says of it."""
    first, other = documents((DECREE, FIRST, LAST, "")), documents((DECREE, "", "", ""))
    unknown = Documents(table((DECREE, FIRST, LAST, "")), None)
    said = [(first.problem([DECREE], day), other.problem([DECREE], day), unknown.problem([DECREE], day))] * 2
    assert said[0] == said[1] == (first.problem([DECREE], day), None, None)
    assert (said[0][0] is None) == (FIRST <= day <= LAST)


PERIODS = [("2025-01-01", "2025-03-31", ""), ("2025-06-01", "2025-08-31", NEXT), ("2026-01-01", "", "")]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]], ids=str)
@pytest.mark.parametrize(
    "spellings", [[f"{DECREE} Điều 5"] * 3, [f"{DECREE} Điều 5", "NĐ 151/2025 Đ5", DECREE + " Đ5"]]
)
@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2024-12-31", "in force only from 2025-01-01"),
        ("2025-01-01", None),
        ("2025-03-31", None),
        ("2025-04-01", "in force until 2025-03-31"),
        ("2025-05-31", "in force until 2025-03-31"),
        ("2025-06-01", None),
        ("2025-08-31", None),
        ("2025-09-01", f"replaced by {NEXT} from 2025-09-01"),
        ("2026-01-01", None),
        ("2999-01-01", None),
    ],
)
def test_rows_of_one_part_are_its_periods_and_any_of_them_will_do(order, spellings, day, said):
    rows = [(spelling, *period) for spelling, period in zip(spellings, PERIODS, strict=True)]
    found = documents(*(rows[place] for place in order))
    cited = f"{DECREE} Điều 5"
    assert found.problem([cited], day) == (said and f"cites {cited}, {said}")
    inside = f"{DECREE} Điều 5 khoản 1"
    assert found.problem([inside], day) == (said and f"cites {inside}, {said}")
    assert found.problem([DECREE], day) is None
    assert found.problem([f"{DECREE} Điều 6"], day) is None


def test_periods_that_overlap_or_have_no_bounds_hold_where_either_does():
    found = documents((DECREE, "", "2025-06-30", NEXT), (DECREE, "2025-03-01", "2025-12-31", ""))
    for day in ("1900-01-01", "2025-04-01", "2025-07-01", "2025-12-31"):
        assert found.problem([DECREE], day) is None
    assert found.problem([DECREE], "2026-01-01") == f"cites {DECREE}, in force until 2025-12-31"
    longer = documents((DECREE, "2025-03-01", "2025-04-30", ""), (DECREE, "", "2025-12-31", NEXT))
    assert longer.problem([DECREE], "2025-07-01") is None
    assert longer.problem([DECREE], "2026-01-01") == f"cites {DECREE}, replaced by {NEXT} from 2026-01-01"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=5), st.integers(-2, 90))
@settings(max_examples=50)
def test_document_is_in_force_on_the_days_of_its_periods_and_no_other(periods, place):
    start = date(2025, 1, 1)
    days = [(start + timedelta(first), start + timedelta(first + length)) for first, length in periods]
    day = start + timedelta(place)
    found = documents(*((DECREE, first, last, "") for first, last in days)).problem([DECREE], day)
    assert (found is None) == any(first <= day <= last for first, last in days)


def test_period_of_the_whole_revives_no_part_that_ended():
    rows = [(DECREE, "", LAST, ""), (DECREE, AFTER, "", ""), (f"{DECREE} Điều 5", "", LAST, NEXT)]
    found = documents(*rows)
    assert found.problem([DECREE], AFTER) is None
    assert found.problem([f"{DECREE} Điều 6"], AFTER) is None
    assert found.problem([f"{DECREE} Điều 5"], AFTER) == f"cites {DECREE} Điều 5, replaced by {NEXT} from {AFTER}"


def test_today_is_the_default():
    today = date.today()
    assert documents((DECREE, "", today, "")).problem([DECREE]) is None
    assert documents((DECREE, "", today - timedelta(1), "")).problem([DECREE]) is not None
    assert documents((DECREE, today + timedelta(1), "", "")).problem([DECREE]) is not None


@pytest.mark.parametrize("day", ["soon", "2026-02-30", 20260201], ids=repr)
def test_day_that_is_none_is_refused(day):
    with pytest.raises(ValueError, match="a day must be a date or text such as '2025-10-01', got"):
        documents((DECREE, "", LAST, "")).problem([DECREE], day)


# --- reading ----------------------------------------------------------------------------------------


def test_table_comes_as_frame_path_or_documents(tmp_path):
    rows = table((DECREE, FIRST, LAST, NEXT))
    rows.to_csv(tmp_path / "documents.csv", index=False)
    read = [Documents.read(source, "vi") for source in (rows, tmp_path / "documents.csv")]
    assert read[0].rows.equals(read[1].rows)
    assert Documents.read(read[0]) is read[0]
    assert read[0].language == "vi"
    assert rows.columns.tolist() == read[0].rows.columns.tolist()


def test_index_and_further_columns_change_nothing_and_replaced_by_may_be_absent():
    rows = table((DECREE, FIRST, LAST, ""), (NEXT, "", "", "")).assign(note="x").set_axis([7, 7])
    found = Documents.read(rows.drop(columns="replaced_by"), "vi")
    assert found.rows.values.tolist() == [[DECREE, FIRST, LAST, ""], [NEXT, "", "", ""]]
    assert found.problem([DECREE], AFTER) is not None


@pytest.mark.parametrize("column", ["document", "valid_from", "valid_to"])
def test_column_that_is_absent_is_named(column):
    assert faults_of(table((DECREE, FIRST, LAST, "")).drop(columns=column)) == [(None, column)]


@pytest.mark.parametrize(
    "cell",
    [
        f"Điều 5 {SECRET}",
        "khoản 1 Điều 5",
        f"Văn bản 151-2025 {SECRET}",
        f"{DECREE} và {NEXT}",
        f"{DECREE} Điều 5, Điều 6",
        f"{DECREE} Điều 5 khoản 1, khoản 2",
        f"{SECRET} \0",
        "",
        " ",
        None,
        float("nan"),
        7,
    ],
    ids=repr,
)
def test_cell_that_does_not_cite_one_document_is_refused(cell):
    assert faults_of(table((DECREE, "", "", ""), (cell, "", "", ""))) == [(2, "document")]


def test_citation_of_a_language_that_is_not_given_is_refused():
    assert faults_of(table((DECREE, "", "", "")), language=None) == [(1, "document")]


@pytest.mark.parametrize(
    ("cell", "language", "said"),
    [
        (DECREE, None, "must cite one legal document, or one part of it, in a language, and none was named"),
        ("khoản 1", "vi", "must cite one legal document, or one part of it, in the way of language 'vi'"),
        (f"{DECREE} và {NEXT}", "vi", "must cite one legal document, or one part of it, in the way of language 'vi'"),
    ],
)
def test_cell_that_cites_none_is_told_in_which_language(cell, language, said):
    with pytest.raises(DatasetError) as caught:
        Documents.read(table((cell, "", "", "")), language)
    (fault,) = caught.value.faults
    assert (fault.row, fault.column, fault.problem) == (1, "document", said)
    assert said in str(caught.value)


@pytest.mark.parametrize("column", ["valid_from", "valid_to"])
@pytest.mark.parametrize("cell", ["soon", "01/07/2025", "2025-02-30", 20250701], ids=repr)
def test_cell_that_is_no_day_is_refused(column, cell):
    rows = table((DECREE, "", "", "")).astype(object)
    rows.loc[0, column] = cell
    assert faults_of(rows) == [(1, column)]


def test_end_before_the_start_is_refused_and_one_day_is_not():
    assert faults_of(table((DECREE, LAST, FIRST, ""))) == [(1, "valid_to")]
    assert documents((DECREE, FIRST, FIRST, "")).problem([DECREE], FIRST) is None


def test_all_faults_are_named_at_once():
    rows = table(
        (SECRET, "soon", "later", ""),
        (DECREE, LAST, FIRST, ""),
        (None, LAST, FIRST, ""),
        (DECREE, "soon", FIRST, ""),
        (f"{DECREE} và {NEXT}", "", "", ""),
    )
    assert faults_of(rows) == [
        (1, "document"),
        (1, "valid_from"),
        (1, "valid_to"),
        (2, "valid_to"),
        (3, "document"),
        (3, "valid_to"),
        (4, "valid_from"),
        (5, "document"),
    ]


@pytest.mark.parametrize("desk", ["land", "industry-trade"])
def test_documents_of_the_desks_are_read(desk):
    root = triage.__path__[0] + f"/../datasets/{desk}"
    read = Documents.read(f"{root}/documents.csv", "vi")
    for row in read.rows.to_dict("records"):
        if row["valid_to"]:
            day = date.fromisoformat(row["valid_to"]) + timedelta(1)
            assert read.problem([row["document"]], day).startswith(f"cites {row['document']}, ")


# --- answers that rest on them ----------------------------------------------------------------------

ENDED = table((DECREE, "", LAST, ""))


@pytest.mark.parametrize(
    ("answer", "stale"),
    [
        ({"legal_basis": [DECREE]}, True),
        ({"legal_basis": ("Luật 1", DECREE), "answer": "Có."}, True),
        ({"legal_basis": [NEXT], "answer": f"Theo {DECREE}."}, True),  # what it cites besides counts as well
        ({"legal_basis": [NEXT], "answer": f"Theo {NEXT}."}, False),
        ({"legal_basis": [], "answer": f"Theo {DECREE}, có."}, True),
        ({"legal_basis": (), "answer": f"Theo {DECREE}, có."}, True),
        ({"legal_basis": None, "answer": f"Theo {DECREE}, có."}, True),
        ({"answer": f"Theo điểm h khoản 1 Điều 5 {DECREE}, có."}, True),
        ({"answer": "Có."}, False),
        ({"answer": None}, False),
        ({"answer": float("nan")}, False),
        ({"answer": pd.NA}, False),
        ({"legal_basis": float("nan"), "answer": f"Theo {DECREE}, có."}, True),
        ({"legal_basis": [float("nan"), None, DECREE]}, True),
        ({"legal_basis": np.array([NEXT, DECREE])}, True),
        ({}, False),
    ],
)
def test_answer_rests_on_its_basis_and_on_what_it_cites(answer, stale):
    ended = Documents.read(ENDED, "vi")
    said = staleness(None, {"id": "a1", **answer}, AFTER, documents=ended)
    assert (said is not None) == stale
    assert staleness(None, {"id": "a1", **answer}, LAST, documents=ended) is None
    assert staleness(None, {"id": "a1", **answer}, AFTER) is None
    assert said is None or said.endswith(f"in force until {LAST}")


@pytest.mark.parametrize(
    ("given", "day", "stale"),
    [
        ("2025-01-01", "2025-01-31", False),
        ("2025-01-01", "2025-02-01", True),
        (date(2025, 1, 1), "2025-02-01", True),
        ("2025-02-01", "2025-01-01", False),
        ("", "2025-02-01", False),
        (None, "2025-02-01", False),
        (float("nan"), "2025-02-01", False),
    ],
)
def test_answer_of_more_days_is_too_old(given, day, stale):
    said = staleness(None, {"id": "a1", "date": given}, day, oldest_days=30)
    assert (said is not None) == stale
    assert said is None or said == f"given on {given}, more than 30 days before"
    assert staleness(None, {"id": "a1", "date": given}, day) is None


def test_no_days_at_all_are_a_bound_too():
    assert staleness(None, {"id": "a1", "date": AFTER}, AFTER, oldest_days=0) is None
    assert staleness(None, {"id": "a1", "date": AFTER}, "2026-02-01", oldest_days=0) is not None


@pytest.mark.parametrize(
    ("answer", "start"),
    [
        ({"superseded_by": "a2"}, "superseded by a2"),
        ({"valid_to": WITHIN}, f"valid until {WITHIN}"),
        ({"matter_id": "M1", "jurisdiction": "local", "level": "commune"}, "competence changed from"),
        ({}, "cites"),
        ({"legal_basis": [NEXT]}, "given "),
    ],
)
def test_strongest_of_several_reasons_is_told(answer, start):
    columns = ["matter_id", "topic", "matter_en", "jurisdiction", "level", "agency", "valid_from", "valid_to"]
    row = ("M1", "liquor", "Retail of liquor", "local", "province", "", "2026-01-01", "")
    register = Register.read(pd.DataFrame([row], columns=columns))
    everything = {"id": "a1", "legal_basis": [DECREE], "date": "2020-01-01", **answer}
    said = staleness(register, everything, AFTER, documents=Documents.read(ENDED, "vi"), oldest_days=30)
    assert said.startswith(start)


def test_table_made_without_read_is_no_table_of_nothing():
    rows = table((DECREE, FIRST, LAST, NEXT))
    assert Documents(rows, "vi").problem([DECREE], AFTER) == Documents.read(rows, "vi").problem([DECREE], AFTER)
    assert Documents(rows, "vi").problem([DECREE], AFTER)


def test_one_text_in_the_place_of_many_is_refused():
    with pytest.raises(TypeError, match="put it in a list"):
        documents((DECREE, FIRST, LAST, NEXT)).problem(DECREE, AFTER)
