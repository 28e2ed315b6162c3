"""Tests of `triage.register.table` and the table it is read from: one row a matter a day, and every fault named."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from triage import DatasetError, Match, Register
from triage.dataset import Taxonomy, Topic, day_of, name_columns
from triage.register.table import body_of, to_day

COLUMNS = ["matter_id", "topic", "matter_vi", "matter_en", "jurisdiction", "level", "agency", "valid_from", "valid_to"]
ROWS = [
    ("M1", "liquor", "Bán lẻ rượu", "Retail of liquor", "local", "commune", "", "2025-07-01", "2025-12-31"),
    ("M1", "liquor", "Bán lẻ rượu", "Retail of liquor", "local", "province", "", "2026-01-01", ""),
    ("M2", "minerals", "Khai thác cát", "", "local", "province", "", "", "2026-06-30"),
    ("M2", "minerals", "Khai thác cát", "", "other_agency", "", "environment", "2026-07-01", "2026-07-01"),
    ("M3", "tax", "Thuế", "Tax", "other_agency", "", "finance", "", ""),
]
TAXONOMY = Taxonomy(
    "en",
    tuple(Topic(name, {"en": name}, "", ()) for name in ("liquor", "minerals", "tax")),
    {name: {"en": name} for name in ("local", "ministry", "other_agency")},
    {name: {"en": name} for name in ("commune", "province")},
    {name: {"en": name} for name in ("environment", "finance")},
)
EPOCH = date(2026, 1, 1)
DAYS = [EPOCH + timedelta(place) for place in range(-2, 44)]  # around all days that `tables` draws
few = settings(max_examples=40)
BODIES = [("local", "commune", ""), ("local", "province", ""), ("ministry", "", ""), ("other_agency", "", "finance")]


def table(rows=ROWS, **more):
    return pd.DataFrame(rows, columns=COLUMNS).assign(**more)


@pytest.fixture
def register():
    """Return a register of three matters: one moved, one ended, one always valid."""
    return Register.read(table(legal_basis=[f"Decree {row}" for row in range(5)]))


@st.composite
def tables(draw):
    """Draw rows of up to four matters, each with periods that follow one another."""
    rows = []
    for number in range(draw(st.integers(1, 4))):
        start = EPOCH + timedelta(draw(st.integers(0, 10)))
        lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
        is_open, never_ends = draw(st.booleans()), draw(st.booleans())
        for place, length in enumerate(lengths):
            first, last = start.isoformat(), (start + timedelta(length - 1)).isoformat()
            first = "" if is_open and place == 0 else first
            last = "" if never_ends and place == len(lengths) - 1 else last
            rows.append((f"M{number}", "t", f"name {number}", "", *draw(st.sampled_from(BODIES)), first, last))
            start += timedelta(length)
    return table(draw(st.permutations(rows)))


def plain_rows(frame, day):
    """Return the places of the rows of each matter that are valid on a day, by comparing ISO texts."""
    found = {matter: [] for matter in frame["matter_id"]}
    for place, (matter, start, end) in enumerate(
        frame[["matter_id", "valid_from", "valid_to"]].itertuples(index=False)
    ):
        if start <= day.isoformat() and (not end or day.isoformat() <= end):
            found[matter].append(place)
    return found


def plain_bodies(frame, day):
    """Return who decides each matter on a day; empty for nobody."""
    rows = plain_rows(frame, day)
    return {matter: body_of(frame.iloc[places[0]]) if places else "" for matter, places in rows.items()}


# --- days, against plain loops ----------------------------------------------------------------------


@given(tables())
@few
def test_row_of_is_the_one_row_valid_on_the_day(frame):
    register = Register.read(frame)
    assert register.matters == list(dict.fromkeys(frame["matter_id"]))
    for day in DAYS:
        expected = plain_rows(frame, day)
        assert all(len(places) <= 1 for places in expected.values())
        assert register.row_of(day).tolist() == [(places or [-1])[0] for places in expected.values()]


@given(tables())
@few
def test_valid_rows_stand_in_the_order_of_the_table(frame):
    register = Register.read(frame)
    for day in DAYS[::7]:
        expected = sorted(place for places in plain_rows(frame, day).values() for place in places)
        valid = register.valid(day)
        assert valid.index.tolist() == expected
        assert valid["matter_id"].is_unique


@given(tables())
@few
def test_epoch_changes_just_where_a_period_starts_or_ends(frame):
    register = Register.read(frame)
    starts = set(frame["valid_from"]) | {
        (date.fromisoformat(day) + timedelta(1)).isoformat() for day in frame["valid_to"] if day
    }
    for before, after in pairwise(DAYS):
        step = register.epoch(after) - register.epoch(before)
        assert step == (after.isoformat() in starts)
        if not step:
            assert np.array_equal(register.row_of(before), register.row_of(after))


@given(tables(), st.integers(1, 45), st.integers(0, 45))
@few
def test_changes_are_the_days_on_which_somebody_else_decides(frame, since, length):
    days = DAYS[since : since + length + 1]
    expected = []
    for day in days:
        before, after = (plain_bodies(frame, one) for one in (day - timedelta(1), day))
        expected += [[str(day), matter, before[matter], after[matter]] for matter in sorted(after)]
    expected = [row for row in expected if row[2] != row[3]]
    changes = Register.read(frame).changes(days[0], days[-1])
    assert changes[["date", "matter_id", "from", "to"]].values.tolist() == expected
    kinds = ["started" if not old else "ended" if not new else "moved" for _, _, old, new in expected]
    assert changes["change"].tolist() == kinds


@given(tables(), st.integers(0, 20), st.integers(0, 45))
@few
def test_expiring_rows_end_within_the_days(frame, within, place):
    day, last = DAYS[place], DAYS[place] + timedelta(within)
    valid = [frame.iloc[place] for places in plain_rows(frame, day).values() for place in places]
    ends = [row for row in valid if row["valid_to"] and row["valid_to"] <= str(last)]
    expiring = Register.read(frame).expiring(within, as_of=day)
    assert expiring["valid_to"].is_monotonic_increasing
    assert sorted(expiring.index) == sorted(row.name for row in ends)
    for _, row in expiring.iterrows():
        next_day = date.fromisoformat(row["valid_to"]) + timedelta(1)
        assert row["followed"] == bool(plain_rows(frame, next_day)[row["matter_id"]])


# --- days, by hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "levels"),
    [
        ("2025-06-30", [None, "province", ""]),
        ("2025-12-31", ["commune", "province", ""]),
        (date(2026, 1, 1), ["province", "province", ""]),
        (datetime(2026, 7, 1, 23, 59), ["province", "", ""]),
        (pd.Timestamp("2026-07-02"), ["province", None, ""]),
        (date.min, [None, "province", ""]),
        (date.max, ["province", None, ""]),
    ],
)
def test_valid_rows_on_a_day(register, day, levels):
    valid = register.valid(day).set_index("matter_id")["level"].to_dict()
    assert [valid.get(matter) for matter in register.matters] == levels


def test_today_is_the_default():
    yesterday, tomorrow = (str(date.today() + timedelta(days)) for days in (-1, 1))
    row = ("M1", "t", "x", "", "local")
    register = Register.read(
        table([(*row, "commune", "", "", yesterday), (*row, "province", "", str(date.today()), "")])
    )
    assert register.valid()["level"].tolist() == ["province"]
    assert register.of_each()["level"].tolist() == ["province"]
    assert register.changes(yesterday)["to"].tolist() == ["local/province"]
    ending = Register.read(table([(*row, "commune", "", "", tomorrow)]))
    assert (len(ending.expiring(1)), len(ending.expiring(0))) == (1, 0)


def test_changes_by_hand(register):
    changes = register.changes("2025-07-01", "2026-12-31").to_dict("split")
    assert changes["columns"] == ["date", "matter_id", "name", "change", "from", "to", "legal_basis"]
    environment = "other_agency/environment"
    assert changes["data"] == [
        ["2025-07-01", "M1", "Bán lẻ rượu", "started", "", "local/commune", "Decree 0"],
        ["2026-01-01", "M1", "Bán lẻ rượu", "moved", "local/commune", "local/province", "Decree 1"],
        ["2026-07-01", "M2", "Khai thác cát", "moved", "local/province", environment, "Decree 3"],
        ["2026-07-02", "M2", "Khai thác cát", "ended", environment, "", ""],
    ]
    assert len(register.changes("2026-01-02", "2026-06-30")) == 0


def test_new_legal_basis_alone_is_no_change_of_hands():
    rows = [("M1", "t", "x", "", "ministry", "", "", *days) for days in (("", "2025-12-31"), ("2026-01-01", ""))]
    register = Register.read(table(rows, legal_basis=["Decree 1", "Decree 2"]))
    assert len(register.changes("2025-01-01", "2026-12-31")) == 0


def test_expiring_by_hand(register):
    found = register.expiring(365, as_of="2025-12-01")
    assert found[["matter_id", "valid_to", "followed"]].values.tolist() == [
        ["M1", "2025-12-31", True],
        ["M2", "2026-06-30", True],
    ]
    assert register.expiring(0, as_of="2026-07-01")["followed"].tolist() == [False]
    assert len(register.expiring(29, as_of="2025-12-01")) == 0


def test_one_row_of_each_is_the_valid_one_or_the_last(register):
    assert register.of_each("2025-08-01").index.tolist() == [0, 2, 4]
    assert register.of_each("2026-07-01").index.tolist() == [1, 3, 4]
    assert register.of_each("2027-01-01").index.tolist() == [1, 3, 4]
    assert register.of_each("2025-01-01").index.tolist() == [1, 2, 4]


def test_order_of_the_rows_does_not_matter(register):
    turned = Register.read(register.rows.iloc[::-1])
    year = ("2025-01-01", "2026-12-31")
    pd.testing.assert_frame_equal(turned.changes(*year), register.changes(*year))
    for day in ("2025-01-01", "2025-08-01", "2026-07-01", "2027-01-01"):
        for one, other in ((register.valid, turned.valid), (register.of_each, turned.of_each)):
            assert sorted(one(day).values.tolist()) == sorted(other(day).values.tolist())


@pytest.mark.parametrize("method", ["valid", "of_each", "changes"])
@pytest.mark.parametrize("day", ["", "yesterday", "2025-13-01", "01/10/2025", 20251001, b"2025-10-01"], ids=repr)
def test_day_that_is_none_is_refused(register, method, day):
    with pytest.raises(ValueError, match="a day must be a date or text such as '2025-10-01', got"):
        getattr(register, method)(day)


def test_period_that_ends_before_it_starts_is_refused(register):
    with pytest.raises(ValueError, match="until must not be before since, got 2026-01-02 to 2026-01-01"):
        register.changes("2026-01-02", "2026-01-01")
    with pytest.raises(ValueError, match="within_days must be at least 0, got -1"):
        register.expiring(-1)


def test_to_day_keeps_the_day_and_drops_the_time():
    assert [to_day(day) for day in ("2025-10-01", date(2025, 10, 1), datetime(2025, 10, 1, 23, 59))] == [
        date(2025, 10, 1)
    ] * 3
    assert to_day(None) == date.today()


# --- what a row says --------------------------------------------------------------------------------


def test_facts_are_plain_values_with_names_by_language(register):
    assert register.facts(2) == {
        "matter_id": "M2",
        "names": {"vi": "Khai thác cát"},
        "topic": "minerals",
        "jurisdiction": "local",
        "level": "province",
        "agency": "",
        "legal_basis": "Decree 2",
        "valid_from": None,
        "valid_to": "2026-06-30",
    }
    assert register.facts(0)["names"] == {"vi": "Bán lẻ rượu", "en": "Retail of liquor"}


def test_facts_that_are_changed_leave_the_register_alone(register):
    register.facts(0)["level"] = "nobody"
    assert register.facts(0)["level"] == "commune"


@pytest.mark.parametrize("column", ["source", "source_url"])
def test_source_is_told_whichever_way_its_column_is_called(column):
    register = Register.read(table(**{column: "https://x", "confidence": "sourced", "note": "n", "more": "m"}))
    facts = register.facts(0)
    assert (facts["source"], facts["confidence"], facts["note"]) == ("https://x", "sourced", "n")
    assert "more" not in facts
    assert "more" in register.rows


@pytest.mark.parametrize(
    ("facts", "body"),
    [
        ({"jurisdiction": "ministry", "level": "", "agency": ""}, "ministry"),
        ({"jurisdiction": "other_agency", "level": "", "agency": "finance"}, "other_agency/finance"),
        ({"jurisdiction": "local"}, "local"),
        ({}, ""),
    ],
)
def test_body_is_jurisdiction_and_level_or_agency(facts, body):
    assert body_of(facts) == body


def test_names_are_those_of_the_language_or_the_first(register):
    assert [register.name_column(language) for language in ("en", "vi", "fr", None)] == [
        "matter_en",
        "matter_vi",
        "matter_vi",
        "matter_vi",
    ]
    assert name_columns(register.rows) == ["matter_vi", "matter_en"]


# --- reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA])
def test_empty_cells_are_empty_texts_whatever_stands_for_nothing(register, nothing):
    frame = register.rows.astype(object).replace("", nothing)
    pd.testing.assert_frame_equal(Register.read(frame).rows, register.rows)


def test_days_may_be_dates_or_timestamps(register):
    for kind in (date.fromisoformat, pd.Timestamp):
        days = {
            name: [kind(cell) if cell else None for cell in register.rows[name]] for name in ("valid_from", "valid_to")
        }
        pd.testing.assert_frame_equal(Register.read(register.rows.assign(**days)).rows, register.rows)


def test_path_frame_and_register_read_the_same(register, tmp_path):
    register.rows.to_csv(tmp_path / "register.csv", index=False)
    index = pd.Index([9, 9, 3, 1, 0])
    for source in (tmp_path / "register.csv", register.rows.set_axis(index), register):
        pd.testing.assert_frame_equal(Register.read(source).rows, register.rows)
    assert len(register) == 5


def test_day_of_a_cell():
    cells = ["2025-07-01", date(2025, 7, 1), pd.Timestamp("2025-07-01 08:00"), "", None, pd.NaT]
    assert [day_of(cell) for cell in cells] == [date(2025, 7, 1)] * 3 + [None] * 3


# --- faults -----------------------------------------------------------------------------------------


def faults_of(frame, taxonomy=None):
    """Read a faulty register and return row, column and problem of each fault."""
    with pytest.raises(DatasetError, match=r"\d+ faults?") as caught:
        Register.read(frame, taxonomy)
    return [(fault.row, fault.column, fault.problem) for fault in caught.value.faults]


def test_all_faults_are_named_at_once():
    rows = [
        ("M1", "liqor", "x", "", "local", "commune", "", "", "2025-12-31"),
        ("M1", "liquor", "x", "", "locl", "province", "", "2025-12-31", "2026-01-31"),
        ("M1", "liquor", "x", "", "local", "district", "", "2026-02-02", ""),
        ("M2", "tax", "x", "", "other_agency", "", "treasury", "2026-01-02", "2026-01-01"),
        ("M3", "tax", "x", "", "ministry", "", "", "", ""),
    ]
    assert faults_of(table(rows), TAXONOMY) == [
        (1, "topic", "must be one of 'liquor', 'minerals', 'tax' (did you mean 'liquor'?), got 'liqor'"),
        (2, "jurisdiction", "must be one of 'local', 'ministry', 'other_agency' (did you mean 'local'?), got 'locl'"),
        (2, "valid_from", "must not overlap with row 1, which ends 2025-12-31"),
        (3, "level", "must be one of 'commune', 'province', got 'district'"),
        (
            3,
            "valid_from",
            "must be the day after row 2 ends, 2026-01-31, got 2026-02-02: nobody would be competent",
        ),
        (4, "agency", "must be one of 'environment', 'finance', got 'treasury'"),
        (4, "valid_to", "must not be before valid_from, got 2026-01-02 to 2026-01-01"),
    ]


def test_without_a_taxonomy_any_label_will_do():
    rows = [("M1", "liqor", "x", "", "locl", "district", "treasury", "", "")]
    assert Register.read(table(rows)).facts(0)["level"] == "district"
    assert len(faults_of(table(rows), TAXONOMY)) == 4


def test_taxonomy_without_levels_and_agencies_allows_any():
    bare = Taxonomy("en", TAXONOMY.topics, TAXONOMY.jurisdictions, {}, {})
    assert len(Register.read(table(), bare)) == 5


def test_level_and_agency_may_be_empty_where_a_taxonomy_names_them():
    assert len(Register.read(table(), TAXONOMY)) == 5


@pytest.mark.parametrize(
    ("days", "row", "problem"),
    [
        ([("", ""), ("2026-01-01", "")], 2, "must not overlap with row 1, which ends never"),
        ([("2026-01-01", ""), ("", "")], 1, "must not overlap with row 2, which ends never"),
        ([("2026-01-01", ""), ("2026-01-01", "")], 2, "must not overlap with row 1, which ends never"),
        ([("", "2026-01-01"), ("2026-01-01", "")], 2, "must not overlap with row 1, which ends 2026-01-01"),
        ([("2026-01-03", ""), ("", "2026-01-01")], 1, "must be the day after row 2 ends, 2026-01-01, got 2026-01-03"),
    ],
)
def test_periods_of_a_matter_must_follow_one_another(days, row, problem):
    frame = table([("M1", "t", "x", "", "local", "", "", *period) for period in days])
    ((found, column, what),) = faults_of(frame)
    assert (found, column) == (row, "valid_from")
    assert what.startswith(problem)


@pytest.mark.parametrize(
    "days", [[("", "2026-01-01"), ("2026-01-02", "")], [("2026-01-01", "2026-01-01"), ("2026-01-02", "2026-01-02")]]
)
def test_periods_may_follow_on_the_next_day_in_any_order(days):
    rows = [("M1", "t", "x", "", "local", "", "", *period) for period in days]
    assert len(Register.read(table(rows))) == len(Register.read(table(rows[::-1]))) == 2


def test_periods_of_different_matters_may_overlap_and_leave_gaps():
    days = {"M1": ("", "2025-01-01"), "M2": ("2026-01-01", ""), "M3": ("2026-06-01", "2026-06-30")}
    assert len(Register.read(table([(m, "t", "x", "", "local", "", "", *period) for m, period in days.items()]))) == 3


@given(tables(), st.data())
@few
def test_any_day_counted_twice_or_left_out_is_a_fault(frame, data):
    later = frame.index[frame["valid_from"] != frame.groupby("matter_id")["valid_from"].transform("min")]
    assume(len(later))
    row, step = data.draw(st.sampled_from(later.tolist())), data.draw(st.sampled_from([-1, 1]))
    moved = (date.fromisoformat(frame["valid_from"][row]) + timedelta(step)).isoformat()
    assume(not frame["valid_to"][row] or moved <= frame["valid_to"][row])
    faults = faults_of(frame.assign(valid_from=frame["valid_from"].where(frame.index != row, moved)))
    assert [(where, column) for where, column, _ in faults] == [(row + 1, "valid_from")]


def test_faulty_file_is_named(tmp_path):
    table([("M1", "t", "", "", "local", "", "", "", "")]).to_csv(tmp_path / "faulty.csv", index=False)
    with pytest.raises(DatasetError, match=r"faulty\.csv: 1 fault\n  row 1, column 'matter_vi': must not be"):
        Register.read(tmp_path / "faulty.csv")


# --- matching ---------------------------------------------------------------------------------------


def test_register_by_itself_matches_nothing(register):
    with pytest.raises(ValueError, match="match needs a trained desk, got a register by itself; use the register of a"):
        register.match(["rượu"])


def test_bound_register_asks_its_matcher(register):
    calls = []

    def matcher(texts, as_of, k):
        calls.append((texts, as_of, k))
        return [[Match("M1", 0.75)] for _ in texts]

    bound = register.bound(matcher)
    assert bound.match(["a", "b"], as_of="2026-01-01", k=2) == [[Match("M1", 0.75)]] * 2
    assert calls == [(["a", "b"], "2026-01-01", 2)]
    assert bound.rows is register.rows
    assert register.matcher is None
