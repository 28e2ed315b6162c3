"""Tests of `triage.register.competence`: what outcomes mean on a day, and matters that training never saw."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st

from triage.register import Competence, NameScores, Register, competence

COLUMNS = ["matter_id", "topic", "matter_en", "jurisdiction", "level", "agency", "valid_from", "valid_to"]
ROWS = [
    ("M9", "festivals", "Fireworks", "ministry", "", "", "2025-07-01", "2025-12-31"),
    ("M9", "festivals", "Fireworks", "local", "district", "", "2026-01-01", ""),
    ("M1", "liquor", "Retail of liquor", "local", "commune", "", "2025-07-01", "2025-12-31"),
    ("M1", "liquor", "Retail of liquor", "local", "province", "", "2026-01-01", ""),
    ("M2", "tax", "Income tax", "other_agency", "", "finance", "", "2025-12-31"),
    ("M5", "liquor", "Brewing", "other_agency", "", "health", "", ""),
]
CLASSES = {
    "topic": ["liquor", "tax"],
    "jurisdiction": ["local", "ministry", "other_agency"],
    "level": ["", "commune"],
    "agency": ["", "finance"],
    "matter": ["", "M1", "M2", "M3"],
}
# Labels of each outcome that was learnt; M3 stands in no register.
LEARNT = [
    ("liquor", "local", "commune", "", ""),
    ("liquor", "local", "commune", "", "M1"),
    ("liquor", "ministry", "", "", "M1"),
    ("tax", "other_agency", "", "finance", "M2"),
    ("tax", "ministry", "", "", "M3"),
]
BEFORE, AFTER = date(2025, 8, 1), date(2026, 8, 1)


def codes_of(labels, classes):
    return np.array(
        [[classes[target].index(label) for target, label in zip(classes, row, strict=True)] for row in labels], np.int32
    )


def labels_of(codes, classes):
    return [tuple(labels[code] for labels, code in zip(classes.values(), row, strict=True)) for row in codes.tolist()]


@pytest.fixture
def register():
    """Return a register with two matters that training saw, and two that it did not."""
    return Register.read(pd.DataFrame(ROWS, columns=COLUMNS))


@pytest.fixture
def laid(register):
    """Return the register beside five outcomes."""
    return Competence.of(register, CLASSES, codes_of(LEARNT, CLASSES))


# --- outcomes ---------------------------------------------------------------------------------------


def test_labels_that_only_the_register_has_come_after_those_of_training(laid):
    assert laid.classes == {
        "topic": ["liquor", "tax", "festivals"],
        "jurisdiction": ["local", "ministry", "other_agency"],
        "level": ["", "commune", "district", "province"],
        "agency": ["", "finance", "health"],
        "matter": ["", "M1", "M2", "M3", "M5", "M9"],
    }
    assert list(laid.classes) == list(CLASSES)


def test_outcomes_learnt_stay_and_new_matters_follow_in_the_order_of_the_register(laid):
    assert laid.n_learnt == 5
    assert labels_of(laid.codes, laid.classes) == [
        *LEARNT,
        ("festivals", "local", "district", "", "M9"),  # as its last period has it
        ("liquor", "other_agency", "", "health", "M5"),
    ]
    assert labels_of(laid.added, laid.classes) == labels_of(laid.codes[5:], laid.classes)
    assert laid.codes.dtype == np.int32


def test_last_period_is_the_last_whatever_the_order_of_the_rows(register):
    turned = Register.read(register.rows.iloc[::-1])
    laid = Competence.of(turned, CLASSES, codes_of(LEARNT, CLASSES))
    assert set(labels_of(laid.added, laid.classes)) == {
        ("festivals", "local", "district", "", "M9"),
        ("liquor", "other_agency", "", "health", "M5"),
    }


def test_register_of_known_matters_adds_nothing(register):
    known = Register.read(register.rows[register.rows["matter_id"].isin(["M1", "M2"])])
    laid = Competence.of(known, CLASSES, codes_of(LEARNT, CLASSES))
    assert labels_of(laid.codes, laid.classes) == LEARNT
    assert laid.added.shape == (0, 5)
    assert laid.classes == CLASSES | {"level": ["", "commune", "province"]}


def test_only_what_was_trained_is_decided(register):
    classes = {name: CLASSES[name] for name in ("matter", "jurisdiction")}
    learnt = [(row[-1], row[1]) for row in LEARNT]
    laid = Competence.of(register, classes, codes_of(learnt, classes))
    assert list(laid.classes) == ["matter", "jurisdiction"]
    assert labels_of(laid.on(BEFORE).codes, laid.classes)[-2:] == [("M9", "ministry"), ("M5", "other_agency")]


def test_target_that_no_register_knows_is_left_to_training(register):
    classes = {**CLASSES, "urgency": ["high", "low"]}
    learnt = [(*row, "low") for row in LEARNT]
    laid = Competence.of(register, classes, codes_of(learnt, classes))
    assert laid.classes["urgency"] == ["high", "low"]
    assert [row[:5] for row in labels_of(laid.codes, laid.classes)[:5]] == LEARNT


def test_what_it_is_made_of_is_not_changed(register):
    classes = {target: list(labels) for target, labels in CLASSES.items()}
    codes = codes_of(LEARNT, CLASSES)
    Competence.of(register, classes, codes).on(AFTER)
    assert classes == CLASSES
    assert np.array_equal(codes, codes_of(LEARNT, CLASSES))


# --- on a day ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [date(2025, 6, 30), date(2025, 7, 1), BEFORE, date(2026, 1, 1), AFTER], ids=str)
def test_outcomes_follow_the_row_valid_on_the_day(register, laid, day):
    dated = laid.on(day)
    whole = labels_of(laid.codes, laid.classes)
    valid = register.row_of(day).tolist()
    for place, found in enumerate(labels_of(dated.codes, laid.classes)):
        matter = whole[place][-1]
        row = valid[register.matters.index(matter)] if matter in register.matters else -1
        facts = register.facts(row) if row >= 0 else dict(zip(laid.classes, whole[place], strict=True))
        assert found == (whole[place][0], facts["jurisdiction"], facts["level"], facts["agency"], matter)
        assert dated.row[place] == row
        assert dated.ended[place] == (matter in register.matters and row < 0)


def test_outcomes_by_hand(laid):
    before, after = (labels_of(laid.on(day).codes, laid.classes) for day in (BEFORE, AFTER))
    assert [row[1:4] for row in before[1:3]] == [("local", "commune", "")] * 2
    assert [row[1:4] for row in after[1:3]] == [("local", "province", "")] * 2
    assert before[5] == ("festivals", "ministry", "", "", "M9")
    assert after[3] == LEARNT[3]  # no row is valid any more: the labels of training stay
    assert [laid.on(day).ended.tolist() for day in (BEFORE, AFTER)] == [[False] * 7, [False] * 3 + [True] + [False] * 3]
    assert laid.on(AFTER).row.tolist() == [-1, 3, 3, -1, -1, 1, 5]


def test_days_between_which_nothing_changes_share_one_object(laid):
    assert laid.on(BEFORE) is laid.on(date(2025, 7, 1)) is laid.on(date(2025, 12, 31))
    assert laid.on(BEFORE) is not laid.on(date(2026, 1, 1))
    assert laid.on(AFTER) is laid.on(date(2026, 1, 1)) is laid.on(date.max)


def test_empty_register_leaves_everything_as_it_was_learnt(register):
    laid = Competence.of(Register.read(register.rows.iloc[:0]), CLASSES, codes_of(LEARNT, CLASSES))
    dated = laid.on(BEFORE)
    assert labels_of(dated.codes, laid.classes) == LEARNT
    assert (dated.row.tolist(), dated.ended.any()) == ([-1] * 5, False)


# --- contradictions ---------------------------------------------------------------------------------


def spread(n, place, share):
    """Return a distribution with a share at one place and the rest equally elsewhere."""
    probability = np.full(n, (1 - share) / (n - 1))
    probability[place] = share
    return probability


@pytest.mark.parametrize(
    ("matter", "sure", "label", "alone", "day", "found"),
    [
        ("M1", 0.9, "other_agency", 0.9, BEFORE, True),
        ("M1", 0.9, "local", 0.9, BEFORE, False),
        ("M1", 0.9, "local", 0.9, AFTER, False),  # the law changed since training
        ("M1", 0.9, "ministry", 0.9, AFTER, False),  # as one row of training had it
        ("M1", 0.45, "other_agency", 0.9, BEFORE, False),
        ("M1", 0.55, "other_agency", 0.9, BEFORE, True),
        ("M1", 0.9, "other_agency", 0.65, BEFORE, False),
        ("M1", 0.9, "other_agency", 0.75, BEFORE, True),
        ("", 0.9, "ministry", 0.9, BEFORE, False),  # no matter
        ("M3", 0.9, "local", 0.9, BEFORE, False),  # a matter that the register has not
        ("M2", 0.9, "other_agency", 0.9, BEFORE, False),
        ("M2", 0.9, "other_agency", 0.9, AFTER, True),  # ended
        ("M2", 0.45, "other_agency", 0.9, AFTER, False),
        ("M9", 0.9, "ministry", 0.9, AFTER, True),
        ("M9", 0.9, "local", 0.9, BEFORE, False),  # as its last row has it, whose labels score a new matter
    ],
)
def test_contradiction_needs_a_sure_matter_and_another_sure_label(laid, matter, sure, label, alone, day, found):
    probability = spread(6, laid.classes["matter"].index(matter), sure)[None]
    own = spread(3, CLASSES["jurisdiction"].index(label), alone)[None]
    assert laid.contradicts(probability, own, "jurisdiction", laid.on(day)).tolist() == [found]


def test_matter_that_has_ended_is_found_without_a_label_beside_it(laid):
    probability = np.stack([spread(6, place, 0.9) for place in range(6)])
    found = laid.contradicts(probability, None, "jurisdiction", laid.on(AFTER))
    assert [laid.classes["matter"][place] for place in np.flatnonzero(found)] == ["M2"]


def test_contradictions_are_found_row_by_row(laid):
    probability = np.stack([spread(6, place, 0.9) for place in range(6)])
    own = np.stack([spread(3, 1, 0.9)] * 6)
    together = laid.contradicts(probability, own, "jurisdiction", laid.on(AFTER))
    rows = range(6)
    alone = [laid.contradicts(probability[[row]], own[[row]], "jurisdiction", laid.on(AFTER)).item() for row in rows]
    assert together.tolist() == alone
    assert laid.contradicts(probability[:0], own[:0], "jurisdiction", laid.on(AFTER)).shape == (0,)


# --- names ------------------------------------------------------------------------------------------


def weights(n_rows, n_columns):
    """Draw a small matrix; whole halves, so that sums are exact and ties are common."""
    row = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0]), min_size=n_columns, max_size=n_columns)
    return st.lists(row, min_size=n_rows, max_size=n_rows).map(lambda rows: np.array(rows, np.float32))


@st.composite
def named(draw):
    """Draw names of matters, which of them are new, and questions."""
    n_features, n_matters = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    added = np.array(draw(st.lists(st.booleans(), min_size=n_matters, max_size=n_matters)))
    return draw(weights(n_features, n_matters)), added, draw(weights(draw(st.integers(1, 3)), n_features))


def plain_scores(names, added, questions):
    """Return the score of each new matter for each question, one product at a time."""
    found = np.zeros((len(questions), added.sum()))
    for row, question in enumerate(questions):
        cosines = [sum(a * b for a, b in zip(question.tolist(), name, strict=True)) for name in names.T.tolist()]
        best = max([0.0, *(cosine for cosine, new in zip(cosines, added, strict=True) if not new)])
        new = [cosine for cosine, is_new in zip(cosines, added, strict=True) if is_new]
        for place, cosine in enumerate(new):
            lead = competence._LEAD * (cosine - best)
            found[row, place] = competence._CONSTANT + competence._COSINE * cosine + lead
    return found


@given(named())
@example((np.ones((1, 2), np.float32), np.array([True, True]), np.ones((1, 1), np.float32)))
def test_scores_of_names_are_those_of_a_plain_loop(drawn):
    names, added, questions = drawn
    scores = NameScores(sp.csr_matrix(names), np.flatnonzero(added), 1.0).scores(sp.csr_matrix(questions))
    assert scores.shape == (len(questions), added.sum())
    assert scores.dtype == np.float32
    assert scores == pytest.approx(plain_scores(names, added, questions), abs=1e-4)


@given(named(), st.data())
def test_pull_of_names_and_a_constant_are_the_difference_of_scores(drawn, data):
    names, added, questions = drawn
    n_added = int(added.sum())
    share = st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0])
    difference = np.array(data.draw(st.lists(share, min_size=n_added, max_size=n_added)))
    by_name, X = NameScores(sp.csr_matrix(names), np.flatnonzero(added), 1.0), sp.csr_matrix(questions[:1])
    pull = by_name.pull(X, difference)
    assert pull.shape == (X.nnz,)
    constant = by_name.scores(sp.csr_matrix(X.shape, dtype=np.float32))[0] @ difference
    assert X.data @ pull + constant == pytest.approx(by_name.scores(X)[0] @ difference, abs=1e-4)


def test_name_that_fits_best_scores_highest():
    names = sp.csr_matrix(np.eye(4, dtype=np.float32))
    scores = NameScores(names, np.array([0, 2]), 1.0).scores(names)
    assert scores.argmax(1).tolist()[::2] == [0, 1]
    assert (scores[1] < scores[0].min()).all()  # another matter's name speaks against the new ones
