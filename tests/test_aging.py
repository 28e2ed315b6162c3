"""Tests of `triage.register.aging`: which labels and answers a change of law makes out of date, and why."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from triage.register import Documents, Register, outdated, staleness

COLUMNS = ["matter_id", "topic", "matter_en", "jurisdiction", "level", "agency", "valid_from", "valid_to"]
ROWS = [
    ("M1", "liquor", "Retail of liquor", "local", "commune", "", "2025-07-01", "2025-12-31"),
    ("M1", "liquor", "Retail of liquor", "local", "province", "", "2026-01-01", ""),
    ("M2", "tax", "Income tax", "other_agency", "", "finance", "2025-07-01", "2025-12-31"),
]
COMMUNE = {"jurisdiction": "local", "level": "commune", "agency": ""}
PROVINCE = {"jurisdiction": "local", "level": "province", "agency": ""}
FINANCE = {"jurisdiction": "other_agency", "level": "", "agency": "finance"}
BEFORE, AFTER = "2025-10-01", "2026-02-01"
DECREE = "Nghị định 151/2025/NĐ-CP"
ENDED = Documents.read(
    pd.DataFrame({"document": [DECREE], "valid_from": ["2025-07-01"], "valid_to": ["2025-12-31"]}), "vi"
)


@pytest.fixture
def register():
    """Return a register of a matter that moved and one that ended, both at the end of 2025."""
    return Register.read(pd.DataFrame(ROWS, columns=COLUMNS))


def reason(register, as_of, **row):
    """Return why one row is out of date, None if it is not."""
    found = outdated(register, [{"id": "7", "matter_id": "M1", "date": "2025-08-01", **row}], as_of)
    return found["reason"].item() if len(found) else None


@pytest.mark.parametrize(
    ("as_of", "row", "expected"),
    [
        (BEFORE, COMMUNE, None),
        (AFTER, COMMUNE, "changed"),
        (AFTER, PROVINCE | {"date": "2026-01-01"}, None),
        (AFTER, COMMUNE | {"date": "2026-01-01"}, "contradicts"),
        (BEFORE, PROVINCE, "contradicts"),
        (BEFORE, FINANCE, "contradicts"),
        (AFTER, PROVINCE, None),  # wrong on its own day, right today
        (AFTER, COMMUNE | {"date": ""}, "changed"),
        (AFTER, COMMUNE | {"date": None}, "changed"),
        (AFTER, COMMUNE | {"date": "2025-06-30"}, "changed"),  # before the register says anything
        (AFTER, COMMUNE | {"date": date(2026, 1, 1)}, "contradicts"),
        (BEFORE, FINANCE | {"matter_id": "M2"}, None),
        (AFTER, FINANCE | {"matter_id": "M2"}, "ended"),
        (AFTER, {"matter_id": "M2"}, "ended"),
        ("2025-06-30", COMMUNE, "ended"),  # not begun: nobody decides
        (BEFORE, COMMUNE | {"valid_to": "2025-09-30"}, "expired"),
        (BEFORE, COMMUNE | {"valid_to": BEFORE}, None),
        (BEFORE, COMMUNE | {"valid_to": ""}, None),
        (BEFORE, COMMUNE | {"superseded_by": "8"}, "superseded"),
        (BEFORE, COMMUNE | {"superseded_by": ""}, None),
        (AFTER, {}, None),  # no label that could be wrong
        (AFTER, COMMUNE | {"matter_id": ""}, None),
        (AFTER, COMMUNE | {"matter_id": None}, None),
        (AFTER, COMMUNE | {"matter_id": "M9"}, None),
        (AFTER, {"matter_id": "", "valid_to": "2026-01-31"}, "expired"),
        (AFTER, {"matter_id": "M9", "superseded_by": "8"}, "superseded"),
    ],
)
def test_reason(register, as_of, row, expected):
    assert reason(register, as_of, **row) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"superseded_by": "8", "valid_to": "2025-09-30", "matter_id": "M2"}, "superseded"),
        ({"valid_to": "2025-09-30", "matter_id": "M2"}, "expired"),
        ({"valid_to": "2025-09-30"}, "expired"),
        ({"matter_id": "M2"}, "ended"),
        ({"date": "2026-01-01"}, "contradicts"),
        ({}, "changed"),
    ],
)
def test_strongest_of_several_reasons_is_told(register, row, expected):
    assert reason(register, AFTER, **{**COMMUNE, **row}) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"superseded_by": "8", "valid_to": "2025-09-30", "matter_id": "M2"}, "superseded"),
        ({"valid_to": "2025-09-30"}, "expired"),
        ({"matter_id": "M2"}, "ended"),
        ({**COMMUNE, "date": "2026-01-01"}, "contradicts"),
        (COMMUNE, "changed"),
        (PROVINCE, "document"),
        ({**PROVINCE, "legal_basis": [DECREE]}, "document"),
        ({**PROVINCE, "legal_basis": ["Luật 1"]}, "document"),  # what it cites besides counts as well
        ({**PROVINCE, "legal_basis": ["Luật 1"], "answer": "The province."}, "old"),
        ({**PROVINCE, "answer": "The province."}, "old"),
        ({**PROVINCE, "answer": None}, "old"),
        ({**PROVINCE, "answer": float("nan"), "legal_basis": float("nan")}, "old"),
        ({**PROVINCE, "answer": None, "date": ""}, None),
        ({**PROVINCE, "answer": None, "date": AFTER}, None),
        ({"matter_id": ""}, "document"),  # of no matter
        ({"matter_id": "M9", "answer": ""}, "old"),
    ],
)
def test_document_and_age_tell_where_the_register_does_not(register, row, expected):
    row = {"id": "7", "matter_id": "M1", "date": "2025-08-01", "answer": f"By {DECREE} Điều 5.", **row}
    found = outdated(register, [row], AFTER, documents=ENDED, oldest_days=30)
    assert found["reason"].tolist() == ([] if expected is None else [expected])
    said = staleness(register, row, AFTER, documents=ENDED, oldest_days=30)
    assert (said is not None) == (expected is not None)
    if expected == "document":
        cited = DECREE if DECREE in row.get("legal_basis", ()) else f"{DECREE} Điều 5"
        assert said == f"cites {cited}, in force until 2025-12-31"
    if expected == "old":
        assert said == "given on 2025-08-01, more than 30 days before"
    if expected in {"document", "old"}:
        assert outdated(register, [row], AFTER).empty  # who is not asked, does not tell


def test_documents_and_days_are_held_against_the_day_asked(register):
    rows = [
        {"id": "1", "date": "2025-12-31", "answer": f"By {DECREE}."},
        {"id": "2", "date": "2025-12-01", "answer": "Yes."},
        {"id": "3", "matter_id": "M1", "date": "2025-12-01", **PROVINCE},
    ]

    def found(day, **options):
        return outdated(register, iter(rows), day, **options)[["id", "reason", "now"]].values.tolist()

    assert found("2025-12-31", documents=ENDED, oldest_days=30)[:1] == [["3", "contradicts", "local/commune"]]
    assert found("2026-01-01", documents=ENDED) == [["1", "document", ""]]
    assert found("2026-01-01", documents=ENDED, oldest_days=30) == [
        ["1", "document", ""],
        ["2", "old", ""],
        ["3", "old", "local/province"],
    ]
    assert found("2025-06-30", documents=ENDED)[0] == ["1", "document", ""]  # not in force yet
    assert found("2026-01-31", oldest_days=30) == [
        ["1", "old", ""],
        ["2", "old", ""],
        ["3", "old", "local/province"],
    ]
    assert found("2026-01-30", oldest_days=30)[0] == ["2", "old", ""]  # the thirtieth day is not too many
    assert found("2026-01-01", oldest_days=1) == [["2", "old", ""], ["3", "old", "local/province"]]


@pytest.mark.parametrize("labels", [{"jurisdiction": "local"}, {"jurisdiction": "local", "level": "commune"}])
def test_labels_that_are_not_known_are_not_held_against_a_row(register, labels):
    assert reason(register, BEFORE, **labels) is None
    assert reason(register, BEFORE, **{**labels, "jurisdiction": "ministry"}) == "contradicts"


def test_rows_that_are_out_of_date_are_listed_in_their_order(register):
    rows = [
        {"id": "1", "matter_id": "M1", "date": "2025-08-01", **COMMUNE},
        {"id": "2", "matter_id": "M1", "date": "2026-01-01", **PROVINCE},
        {"id": "3", "matter_id": "M2", "date": "", **FINANCE},
        {"id": "4", "matter_id": "", "superseded_by": "2", **PROVINCE},
    ]
    found = outdated(register, iter(rows), date.fromisoformat(AFTER))
    assert found.columns.tolist() == ["id", "matter_id", "date", "reason", "label", "now"]
    assert found.values.tolist() == [
        ["1", "M1", "2025-08-01", "changed", "local/commune", "local/province"],
        ["3", "M2", "", "ended", "other_agency/finance", ""],
        ["4", "", "", "superseded", "local/province", ""],
    ]


@pytest.mark.parametrize("rows", [[], [{"id": "1", "matter_id": "M1", "date": "2025-08-01", **COMMUNE}]])
def test_nothing_out_of_date_is_a_table_without_rows(register, rows):
    found = outdated(register, rows, BEFORE)
    assert found.columns.tolist() == ["id", "matter_id", "date", "reason", "label", "now"]
    assert len(found) == 0


def test_empty_register_makes_nothing_out_of_date_by_itself(register):
    rows = [{"id": "1", "matter_id": "M1", **COMMUNE}, {"id": "2", "matter_id": "M1", "valid_to": "2025-01-01"}]
    found = outdated(Register.read(register.rows.iloc[:0]), rows, AFTER)
    assert found[["id", "reason"]].values.tolist() == [["2", "expired"]]


def test_today_is_the_default(register):
    rows = [{"id": "1", "matter_id": "M2", "date": "2025-08-01", **FINANCE}]
    pd.testing.assert_frame_equal(outdated(register, rows), outdated(register, rows, date.today()))


@pytest.mark.parametrize("day", ["soon", 20260201], ids=repr)
def test_day_that_is_none_is_refused(register, day):
    with pytest.raises(ValueError, match="a day must be a date or text such as '2025-10-01', got"):
        outdated(register, [], day)


# --- in words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "day", "said"),
    [
        ({"valid_to": "2025-12-31"}, "2026-01-01", "valid until 2025-12-31"),
        ({"valid_to": "2025-12-31"}, "2025-12-31", None),
        ({"superseded_by": "a2"}, BEFORE, "superseded by a2"),
        ({"superseded_by": "a2", "valid_to": "2025-12-31"}, "2025-12-31", None),
        ({"superseded_by": "a2", "valid_to": "2025-12-31"}, "2026-01-01", "superseded by a2"),
        ({"matter_id": "M1", "date": BEFORE, **COMMUNE}, BEFORE, None),
        (
            {"matter_id": "M1", "date": BEFORE, **COMMUNE},
            AFTER,
            "competence changed from local/commune to local/province",
        ),
        ({"matter_id": "M2", "date": BEFORE, **FINANCE}, AFTER, "nobody is competent for M2 on the day"),
        ({"matter_id": "M404", **COMMUNE}, AFTER, None),
    ],
)
def test_answer_out_of_date_says_why(register, answer, day, said):
    assert staleness(register, {"id": "a1", **answer}, day) == said


def test_answer_tells_its_last_day_without_a_register():
    assert staleness(None, {"id": "a1", "matter_id": "M1", **COMMUNE}, AFTER) is None
    assert staleness(None, {"id": "a1", "valid_to": "2025-12-31"}, date(2026, 1, 1)) == "valid until 2025-12-31"
