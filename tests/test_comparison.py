"""Two desks compared: desks of which every answer is known, desks trained here, and the command."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial
from typer.testing import CliRunner

import triage
from triage import cli
from triage.comparison import MIN_DISCORDANT, Comparison, compare
from triage.errors import DatasetError, TriageError
from triage.evaluation import evaluate
from triage.metrics import mcnemar_p, paired_difference_interval, proportion_interval
from triage.triager.batches import as_days

SECRET = "quảnchuối"  # stands in texts, must never stand in an answer
COUNTS = st.integers(0, 60)

# The measures


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (6, 16, 0.052479),  # Cavo et al. (2012), as in the tests of the R package contingencytables
        (1, 7, 2 * (1 + 8) / 2**8),
        (0, 5, 2 / 32),
        (0, 6, 2 / 64),
        (0, 0, 1),
        (4, 4, 1),
    ],
)
def test_p_of_mcnemar_is_the_published_or_hand_worked_one(gained: int, lost: int, p: float) -> None:
    assert mcnemar_p(gained, lost) == pytest.approx(p, abs=5e-7)


def test_p_of_mcnemar_counts_all_outcomes_as_unlikely() -> None:
    for n in range(1, 11):
        for gained in range(n + 1):
            outcomes = [sum(signs) for signs in product((0, 1), repeat=n)]
            extreme = sum(abs(2 * one - n) >= abs(2 * gained - n) for one in outcomes)
            assert mcnemar_p(gained, n - gained) == pytest.approx(extreme / 2**n)


@given(gained=COUNTS, lost=COUNTS)
def test_p_of_mcnemar_is_scipys_and_has_no_direction(gained: int, lost: int) -> None:
    assert mcnemar_p(gained, lost) == mcnemar_p(lost, gained)
    if gained + lost:
        assert mcnemar_p(gained, lost) == pytest.approx(binomtest(gained, gained + lost).pvalue)


def test_too_few_questions_are_those_that_cannot_be_significant() -> None:
    assert mcnemar_p(MIN_DISCORDANT, 0) <= 0.05 < mcnemar_p(MIN_DISCORDANT - 1, 0)


def test_interval_of_a_paired_difference_is_the_published_one() -> None:
    # Cavo et al. (2012), as in the tests of the R package contingencytables.
    assert paired_difference_interval(59, 6, 16, 80) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


def test_interval_of_a_paired_difference_by_hand() -> None:
    # 1 * 12 - 1 * 7 is less than 21 / 2, so phi is 0: Wilson's half widths are squared and added.
    (low1, high1), (low2, high2) = proportion_interval(2, 21), proportion_interval(8, 21)
    low = -6 / 21 - math.hypot(2 / 21 - low1, high2 - 8 / 21)
    high = -6 / 21 + math.hypot(8 / 21 - low2, high1 - 2 / 21)
    assert paired_difference_interval(1, 1, 7, 12) == pytest.approx((low, high))


@pytest.mark.parametrize(
    "cells", [(0.6, 0.2, 0.1, 0.1), (0.25, 0.25, 0.25, 0.25), (0.8, 0.1, 0.05, 0.05), (0.1, 0.5, 0.3, 0.1)]
)
def test_interval_of_a_paired_difference_covers_it_as_often_as_promised(cells: Sequence[float]) -> None:
    # All tables of 20 questions, each with its probability.
    n, truth = 20, cells[1] - cells[2]
    tables = [
        (both, gained, lost, n - both - gained - lost)
        for both in range(n + 1)
        for gained in range(n + 1 - both)
        for lost in range(n + 1 - both - gained)
    ]
    intervals = [paired_difference_interval(*counts) for counts in tables]
    holds = np.array([low <= truth <= high for low, high in intervals])
    assert 0.94 < multinomial.pmf(tables, n, cells)[holds].sum() < 0.99  # few questions: wider rather than narrower


@given(both=COUNTS, gained=COUNTS, lost=COUNTS, neither=COUNTS)
def test_interval_of_a_paired_difference_holds_it_and_turns_with_it(
    both: int, gained: int, lost: int, neither: int
) -> None:
    low, high = paired_difference_interval(both, gained, lost, neither)
    n = both + gained + lost + neither
    assert -1 <= low <= (gained - lost) / max(n, 1) <= high <= 1
    assert paired_difference_interval(both, lost, gained, neither) == pytest.approx((-high, -low))


def test_counts_below_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="counts must be 0 or more, got -1 and 2"):
        mcnemar_p(-1, 2)
    with pytest.raises(ValueError, match=r"counts must be 0 or more, got \(1, 0, -2, 3\)"):
        paired_difference_interval(1, 0, -2, 3)


# Desks of which every answer is known


class FakeDesk:
    """Says of each text what it was told to: a label, and ``?`` after it where a person must look."""

    def __init__(
        self, answers: Mapping[str, Mapping[str, str]], classes: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        self.answers = answers  # by target and text
        self.targets = tuple(answers)
        found = classes or {target: sorted({one.strip("?") for one in by.values()}) for target, by in answers.items()}
        self.classes_ = {target: np.array(labels) for target, labels in found.items()}
        self.register: Any = None
        self.asked: Any = None

    def predict_frame(self, texts: pd.Series[str], as_of: Any = None) -> pd.DataFrame:
        self.asked = as_days(as_of, len(texts))
        columns: dict[str, list[Any]] = {}
        for target, answers in self.answers.items():
            said = [answers[text] for text in texts]
            columns[target] = [one.strip("?") for one in said]
            columns[f"{target}_probability"] = [0.4 if "?" in one else 0.9 for one in said]
            columns[f"{target}_status"] = ["review" if "?" in one else "assigned" for one in said]
        frame = pd.DataFrame(columns, index=texts.index)
        review = (frame[[f"{target}_status" for target in self.targets]] == "review").any(axis=1)
        return frame.assign(route=np.where(review, "review", "answer"))


def desks(old: Sequence[str], new: Sequence[str], **options: Any) -> tuple[Any, Any]:
    """Make two desks with the one target topic, that answer the texts 0, 1, 2, … so."""
    return tuple(FakeDesk({"topic": {str(i): one for i, one in enumerate(said)}}, **options) for said in (old, new))  # type: ignore[return-value]


def table(wanted: Sequence[Any], **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"text": list(map(str, range(len(wanted)))), "topic": wanted, **columns})
    return frame.set_axis([7] * len(frame))  # an odd index: results must not depend on it


def row_of(frame: pd.DataFrame, **where: Any) -> dict[str, Any]:
    for name, value in where.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return {str(name): value for name, value in frame.iloc[0].items()}


@pytest.fixture(scope="module")
def by_hand() -> Comparison:
    #         gained  lost  gained  better sure  both wrong
    wanted = ["land", "land", "trade", "trade", "land", "land"]
    old = ["trade", "land", "land?", "trade?", "trade", "land"]
    new = ["land", "trade?", "trade", "trade", "trade?", "land"]
    return compare(*desks(old, new), table(wanted, id=[f"q{i}" for i in range(6)]))


def test_counts_of_a_target_by_hand(by_hand: Comparison) -> None:
    topic = row_of(by_hand.targets, target="topic")
    assert (topic["n"], topic["n_right_old"], topic["n_right_new"]) == (6, 3, 4)
    assert (topic["gained"], topic["lost"], topic["p"]) == (2, 1, 1)
    assert topic["difference"] == pytest.approx(1 / 6)
    interval = (topic["difference_low"], topic["difference_high"])
    assert interval == paired_difference_interval(2, 2, 1, 1)
    assert (topic["n_assigned_old"], topic["n_assigned_new"]) == (4, 4)
    assert (topic["n_assigned_wrong_old"], topic["n_assigned_wrong_new"], topic["p_assigned_wrong"]) == (2, 0, 0.5)


def test_moves_between_outcomes_by_hand(by_hand: Comparison) -> None:
    moves = {(row.old, row.new): row.n for row in by_hand.moves.itertuples()}
    assert moves == {
        ("assigned wrong", "assigned right"): 1,
        ("assigned right", "review"): 1,
        ("review", "assigned right"): 2,
        ("assigned wrong", "review"): 1,
        ("assigned right", "assigned right"): 1,
    }
    routes = {(row.old, row.new): row.n for row in by_hand.routes.itertuples()}
    assert routes == {("answer", "answer"): 2, ("answer", "review"): 2, ("review", "answer"): 2}
    assert by_hand.decided == {"n_old": 4, "n_new": 4, "n_wrong_old": 2, "n_wrong_new": 0}


def test_classes_without_a_difference_are_left_out(by_hand: Comparison) -> None:
    land = row_of(by_hand.classes, label="land")
    assert (land["n"], land["gained"], land["lost"], land["small"]) == (4, 1, 1, True)
    same = ["land", "trade?"]
    assert compare(*desks(same, same), table(["land", "land"])).classes.empty
    wanted = ["land"] * MIN_DISCORDANT
    many = compare(*desks(wanted, ["trade"] * MIN_DISCORDANT), table(wanted))
    assert not row_of(many.classes, label="land")["small"]


def test_changed_questions_have_a_verdict_each(by_hand: Comparison) -> None:
    assert dict(zip(by_hand.changed["id"], by_hand.changed["verdict"], strict=True)) == {
        "q0": "better",
        "q1": "worse",
        "q2": "better",
        "q3": "other",  # right before, and sure now
        "q4": "other",  # wrong before and now
    }
    assert row_of(by_hand.changed, id="q1") == {
        "id": "q1",
        "target": "topic",
        "wanted": "land",
        "old_label": "land",
        "old_probability": 0.9,
        "old_status": "assigned",
        "new_label": "trade",
        "new_probability": 0.4,
        "new_status": "review",
        "verdict": "worse",
    }


@pytest.mark.parametrize(
    ("columns", "name", "expected"),
    [({}, "row", [2]), ({"row": [8, 9]}, "row", [9]), ({"id": ["a", "b"]}, "id", ["b"])],
)
def test_changed_questions_are_named_by_id_or_row(columns: Any, name: str, expected: list[Any]) -> None:
    result = compare(*desks(["a", "a"], ["a", "b"]), table(["a", "a"], **columns))
    assert result.changed.columns[0] == name
    assert result.changed[name].tolist() == expected


def test_no_answer_repeats_a_question() -> None:
    old, new = (FakeDesk({"topic": {SECRET: label}}) for label in ("a", "b"))
    result = compare(old, new, pd.DataFrame({"text": [SECRET] * 9, "topic": "a"}))  # type: ignore[arg-type]
    assert result.worse() == ["topic"]
    assert SECRET not in result.summary() + json.dumps(result.to_dict(), ensure_ascii=False)


PAIRS = st.lists(st.tuples(*[st.sampled_from(["a", "b", "c", "a?", "b?"])] * 2, st.sampled_from("abc")), min_size=1)


@given(pairs=PAIRS)
def test_swapped_desks_swap_gained_and_lost_and_keep_p(pairs: list[tuple[str, str, str]]) -> None:
    old, new, wanted = map(list, zip(*pairs, strict=True))
    result, swapped = compare(*desks(old, new), table(wanted)), compare(*desks(new, old), table(wanted))
    one, other = row_of(result.targets), row_of(swapped.targets)
    right = [(a.strip("?") == c, b.strip("?") == c) for a, b, c in pairs]
    assert one["gained"] + one["lost"] == sum(before != after for before, after in right)
    assert (one["gained"], one["lost"], one["p"]) == (other["lost"], other["gained"], other["p"])
    assert (one["difference_low"], one["difference_high"]) == pytest.approx(
        (-other["difference_high"], -other["difference_low"])
    )
    assert one["p_assigned_wrong"] == other["p_assigned_wrong"]
    assert result.classes[["gained", "lost"]].sum().tolist() == [one["gained"], one["lost"]]
    assert result.moves["n"].sum() == result.routes["n"].sum() == one["n"] == len(pairs)
    assert (result.changed["verdict"] == "better").sum() == one["gained"]
    assert (result.changed["verdict"] == "worse").sum() == one["lost"]
    assert len(result.changed) == sum(a != b for a, b, _ in pairs)
    assert not (result.worse() and swapped.worse())
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_desk_beside_itself_changes_nothing() -> None:
    same = ["land", "trade?", "trade"]
    result = compare(*desks(same, same), table(["land", "land", "trade"]))
    topic = row_of(result.targets)
    assert (topic["gained"], topic["lost"], topic["p"], topic["difference"]) == (0, 0, 1, 0)
    assert result.changed.empty
    assert result.unshared.empty
    assert result.worse(alpha=0.999) == []
    assert "not significantly worse in any target" in result.summary()


@pytest.mark.parametrize(
    ("n", "alpha", "worse"), [(5, 0.05, []), (6, 0.05, ["topic"]), (6, 0.01, []), (5, 0.1, ["topic"])]
)
def test_worse_is_a_matter_of_alpha(n: int, alpha: float, worse: list[str]) -> None:
    wanted = ["land"] * n
    result = compare(*desks(wanted, ["trade"] * n), table(wanted))
    assert result.worse(alpha) == worse
    assert ("significantly worse in topic" in result.summary(alpha)) == bool(worse)
    better = compare(*desks(["trade"] * n, wanted), table(wanted))
    assert better.worse(alpha) == []
    assert (": better" in better.summary(alpha)) == bool(worse)


def test_more_wrongly_assigned_is_told_where_labels_are_the_same() -> None:
    result = compare(*desks(["b?"] * 6, ["b"] * 6), table(["a"] * 6))
    topic = row_of(result.targets)
    assert (topic["p"], topic["p_assigned_wrong"]) == (1, 2 / 64)
    assert "wrongly assigned, which costs more than a review: 0 -> 6 (p = 0.031)" in result.summary()
    assert "moved: review -> assigned wrong 6" in result.summary()


# What the desks do not share


def test_classes_and_targets_of_one_desk_are_told() -> None:
    old = FakeDesk({"topic": {"0": "a"}, "level": {"0": "x"}}, {"topic": ["a", "b"], "level": ["x"]})
    new = FakeDesk({"agency": {"0": "z"}, "topic": {"0": "a"}}, {"agency": ["z"], "topic": ["a", "c"]})
    result = compare(old, new, table(["b"], level="x", agency="z"))  # type: ignore[arg-type]
    assert result.targets["target"].tolist() == ["topic"]
    topic = row_of(result.targets)
    assert (topic["n_unseen_old"], topic["n_unseen_new"]) == (0, 1)
    rows = [tuple(row.values()) for row in result.to_dict()["unshared"]]
    assert rows == [("level", None, "old"), ("topic", "b", "old"), ("agency", None, "new"), ("topic", "c", "new")]
    for words in (
        "only the old desk has the target level",
        "only the new desk has the target agency",
        "topic: only the old desk has the class b",
        "topic: only the new desk has the class c",
        "1 questions with a label that the new desk does not know, counted as wrong",
    ):
        assert words in result.summary()


def test_target_without_a_label_is_told_and_left_out() -> None:
    old, new = (FakeDesk({"topic": {"0": "a"}, "style": {"0": "x"}, "tone": {"0": "x"}}) for _ in range(2))
    result = compare(old, new, table(["a"], style=None))  # type: ignore[arg-type]
    assert (result.targets["target"].tolist(), result.absent) == (["topic"], ("style", "tone"))
    assert "not compared, for the table has no label of it: style, tone" in result.summary()


def test_only_the_wanted_targets_are_compared() -> None:
    old, new = (FakeDesk({"topic": {"0": "a"}, "style": {"0": "x"}}) for _ in range(2))
    result = compare(old, new, table(["a"], style="x"), targets=["style"])  # type: ignore[arg-type]
    assert result.targets["target"].tolist() == ["style"]
    with pytest.raises(TriageError, match=r"among those of both desks, \['topic', 'style'\]; got \['tone'\]"):
        compare(old, new, table(["a"]), targets=["tone"])  # type: ignore[arg-type]


def test_desks_without_a_target_in_common_are_refused() -> None:
    old, new = FakeDesk({"topic": {"0": "a"}}), FakeDesk({"level": {"0": "a"}})
    with pytest.raises(TriageError, match=r"a target in common, got \['topic'\] \(old\) and \['level'\] \(new\)"):
        compare(old, new, table(["a"]))  # type: ignore[arg-type]


# How the table is read


def test_labels_are_read_as_by_an_evaluation() -> None:
    # An empty cell is a label where a desk has an empty class, whole numbers are text, oos is no class.
    said = {"topic": {"0": "3", "1": "5", "2": "3?"}, "level": {"0": "x", "1": "", "2": ""}}
    old, new = (
        FakeDesk(said, {"topic": [3, 5], "level": ["", "x"]}),
        FakeDesk(said, {"topic": [3, 5], "level": ["", "x"]}),
    )
    frame = table([3, np.nan, 5], level=["x", None, "x"])
    result = compare(old, new, frame)  # type: ignore[arg-type]
    assert row_of(result.targets, target="topic")["n"] == 2
    assert row_of(result.targets, target="topic")["n_right_old"] == 1
    assert row_of(result.targets, target="level")["n"] == 3
    assert row_of(result.targets, target="level")["n_right_old"] == 2


@pytest.mark.parametrize("mark", ["label", "flag"])
def test_messages_out_of_scope_are_apart(mark: str) -> None:
    columns = {"out_of_scope": [False, True, "true"]} if mark == "flag" else {}
    wanted = ["a", "", "a"] if mark == "flag" else ["a", "oos", "oos"]
    result = compare(*desks(["a", "a", "a?"], ["a", "a?", "a?"]), table(wanted, **columns))
    assert (result.n_questions, result.n_unlabelled, row_of(result.targets)["n"]) == (1, 0, 1)
    assert result.out_of_scope is not None
    assert (result.out_of_scope["n"], result.out_of_scope["gained"], result.out_of_scope["lost"]) == (2, 1, 0)
    assert "2 messages out of scope, left to a person: 1 -> 2" in result.summary()
    assert result.changed.empty


def test_matter_and_route_are_compared() -> None:
    parts = {"jurisdiction": {"0": "local"}, "level": {"0": "x"}, "agency": {"0": ""}, "matter": {"0": "M1"}}
    old, new = (
        FakeDesk(parts),
        FakeDesk({**parts, "agency": {"0": "z"}}, {**{target: ["z"] for target in parts}, "agency": [""]}),
    )
    frame = pd.DataFrame({"text": ["0"], "jurisdiction": "local", "level": "x", "agency": "", "matter_id": "M1"})
    result = compare(old, new, frame)  # type: ignore[arg-type]
    assert row_of(result.targets, target="matter")["n_right_new"] == 1
    assert result.body is not None
    assert (result.body["n"], result.body["gained"], result.body["lost"]) == (1, 0, 1)
    assert "jurisdiction, level, agency together: right 1 -> 0 of 1" in result.summary()


@pytest.mark.parametrize("register", ["old", "new", None])
def test_questions_are_decided_as_of_their_own_day(register: str | None) -> None:
    old, new = desks(["a", "a"], ["a", "a"])
    if register:
        (old if register == "old" else new).register = "one"
    frame = table(["a", "a"], date=["2025-07-01", None])
    compare(old, new, frame)
    assert old.asked == new.asked == (["2025-07-01", None] if register else [None, None])
    compare(old, new, frame, as_of=date(2026, 3, 1))
    assert old.asked == new.asked == ["2026-03-01"] * 2


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table([]), "must have a row or more"),
        (table(["a"]).drop(columns="text"), r"column 'text': must exist; the columns are \['topic'\]"),
        (table(["a"]).drop(columns="topic"), r"a target of both desks, \['topic'\]; the columns are \['text'\]"),
        (pd.DataFrame(), "3 faults"),
        (table(["", None]), r"must have a label in one of \['topic'\]"),
        (
            table(["a", "a"], out_of_scope=[True, SECRET]),
            "1 fault\n  row 2, column 'out_of_scope': must be true or false",
        ),
    ],
)
def test_frames_are_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        compare(*desks(["a", "a"], ["a", "a"]), frame)
    assert SECRET not in str(caught.value)


def test_path_in_the_place_of_a_table_is_refused() -> None:
    with pytest.raises(TypeError, match="the table must be a DataFrame, got str; read a file with"):
        compare(*desks(["a"], ["a"]), "questions.csv")  # type: ignore[arg-type]


def test_day_that_is_none_is_refused() -> None:
    old, new = desks(["a"], ["a"])
    old.register = "one"
    with pytest.raises(DatasetError, match="row 1, column 'date'"):
        compare(old, new, table(["a"], date=["soon"]))


# Desks trained here

TOPICS = {"licence": "licence to sell liquor", "tax": "tax on rent of a house", "land": "boundary of a garden"}


def questions(n: int = 8) -> pd.DataFrame:
    rows = [(f"{topic}{i}", f"{text} number {i}", topic) for topic, text in TOPICS.items() for i in range(n)]
    return pd.DataFrame(rows, columns=["id", "text", "topic"]).assign(split="test")


@pytest.fixture(scope="module")
def good() -> triage.Triager:
    return triage.train(questions(), targets=["topic"], random_state=0)


@pytest.fixture(scope="module")
def confused() -> triage.Triager:
    """Return a desk that takes licences for tax and tax for licences, and knows a class more."""
    wrong = questions().replace({"topic": {"licence": "tax", "tax": "licence"}})
    more = pd.DataFrame({"text": [f"bridge over river {i}" for i in range(4)], "topic": "bridges"})
    return triage.train(pd.concat([wrong, more], ignore_index=True), targets=["topic"], random_state=0)


def test_confused_desk_is_worse_and_the_good_one_better(good: triage.Triager, confused: triage.Triager) -> None:
    result = compare(good, confused, questions())
    topic = row_of(result.targets)
    assert (topic["gained"], topic["lost"]) == (0, 16)
    assert result.worse() == ["topic"]
    assert compare(confused, good, questions()).worse() == []
    assert result.classes["label"].tolist() == ["licence", "tax"]
    assert result.to_dict()["unshared"] == [{"target": "topic", "label": "bridges", "desk": "new"}]


def test_counts_are_those_of_two_evaluations(triager: triage.Triager, questions: pd.DataFrame) -> None:
    other = triage.train(questions.iloc[::2], language="vi", random_state=0)
    frame = questions.assign(topic=questions["topic"].mask(questions.index % 5 == 0, "oos"))
    result = compare(triager, other, frame)
    for name, desk in (("old", triager), ("new", other)):
        found = evaluate(desk, frame)
        assert (result.n_questions, result.n_unlabelled) == (found.n_questions, found.n_unlabelled)
        assert result.decided[f"n_{name}"] == found.n_decided
        assert result.decided[f"n_wrong_{name}"] == found.n_decided - found.n_decided_right
        assert result.routes.groupby(name)["n"].sum().to_dict() == found.routes
        assert result.out_of_scope is not None
        assert found.out_of_scope is not None
        assert result.out_of_scope[f"n_right_{name}"] == found.out_of_scope["n_review"]
        for target in ("topic", "jurisdiction"):
            one, two = row_of(result.targets, target=target), row_of(found.targets, target=target)
            assert (one["n"], one[f"n_right_{name}"]) == (two["n"], two["n_right"])
            assert one[f"n_unseen_{name}"] == two["n_unseen"]
            assert one[f"n_assigned_{name}"] == two["n_assigned"]
            assert one[f"n_assigned_wrong_{name}"] == two["n_assigned"] - two["n_assigned_right"]


# The command


@pytest.fixture(scope="module")
def folder(good: triage.Triager, confused: triage.Triager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("desks")
    good.save(path / "good")
    confused.save(path / "confused")
    triage.train(questions().rename(columns={"topic": "theme"}), targets=["theme"]).save(path / "themes")
    questions().to_csv(path / "questions.csv", index=False)
    return path


def run(folder: Path, old: str, new: str, *arguments: Any, file: str = "questions.csv") -> Any:
    words = [folder / old, folder / new, folder / file, *arguments]
    return CliRunner().invoke(cli.app, ["compare", *map(str, words)], env={"COLUMNS": "200", "TERM": "dumb"})


@pytest.mark.parametrize(
    ("old", "new", "code"), [("good", "good", 0), ("confused", "good", 0), ("good", "confused", 3)]
)
def test_exit_code_tells_whether_the_new_desk_is_worse(folder: Path, old: str, new: str, code: int) -> None:
    result = run(folder, old, new, "--split", "test")
    assert result.exit_code == code
    assert result.stderr == ""
    assert ("significantly worse in topic" in result.stdout) == (code == 3)


def test_alpha_moves_the_exit_code(folder: Path) -> None:
    assert run(folder, "good", "confused", "--split", "test", "--alpha", "0.00001").exit_code == 0


def test_json_is_one_line_with_the_verdict(folder: Path) -> None:
    result = run(folder, "good", "confused", "--split", "test", "--format", "json", "--target", "topic")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["alpha"], found["worse"]) == (3, 0.05, ["topic"])
    assert found["targets"][0]["lost"] == 16


@pytest.mark.parametrize("with_id", [True, False])
def test_changed_questions_are_written_without_their_words(folder: Path, tmp_path: Path, with_id: bool) -> None:
    frame = pd.concat([questions(2).assign(split="train"), questions(2)])  # rows are those of the file
    (frame if with_id else frame.drop(columns="id")).to_csv(folder / "some.csv", index=False)
    output = tmp_path / "changed.csv"
    run(folder, "good", "confused", "--split", "test", "--changed", output, file="some.csv")
    found = pd.read_csv(output, dtype=str)
    key = "id" if with_id else "row"
    worse = found[found["verdict"] == "worse"][key].tolist()
    assert worse == (["licence0", "licence1", "tax0", "tax1"] if with_id else ["7", "8", "9", "10"])
    assert "liquor" not in output.read_text("utf-8")


def test_nothing_changed_is_a_table_without_rows(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "good", "good", "--split", "test", "--changed", tmp_path / "changed.csv")
    assert result.exit_code == 0
    assert result.stderr.endswith("changed.csv: 0 rows\n")
    assert list(pd.read_csv(tmp_path / "changed.csv").columns)[-1] == "verdict"


def test_all_rows_of_a_table_with_splits_are_warned_of(folder: Path) -> None:
    assert "column 'split'" in run(folder, "good", "good").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--alpha", "0"),
        ("--alpha", "nan"),
        ("--target", "level"),
        ("--split", "valid"),
        ("--as-of", "soon"),
        ("--format", "xml"),
        ("--changed", "changed.pdf"),
    ],
)
def test_wrong_usage_is_exit_code_2(folder: Path, arguments: tuple[str, str]) -> None:
    result = run(folder, "good", "confused", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


def test_errors_are_exit_code_1_and_a_line(folder: Path) -> None:
    (folder / "other.csv").write_text(f"text,theme\n{SECRET},x\n", "utf-8")
    (folder / "empty.csv").write_text("text,topic\n", "utf-8")
    for result, words in (
        (run(folder, "good", "themes"), "must have a target in common"),
        (run(folder, "good", "nowhere"), "nowhere"),
        (run(folder, "good", "confused", file="other.csv"), "must have a column for a target of both desks"),
        (run(folder, "good", "confused", file="empty.csv"), "must have a row or more"),
        (run(folder, "good", "confused", "--text", "question", "--split", "test"), "column 'question': must exist"),
        (run(folder, "good", "confused", "--changed", folder / "none" / "c.csv"), "must be a folder that exists"),
    ):
        assert (result.exit_code, result.stdout) == (1, "")
        assert words in result.stderr
        assert SECRET not in result.stderr


def test_help_documents_the_exit_codes() -> None:
    shown = CliRunner().invoke(cli.app, ["compare", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    assert "Exit code 0: NEW is not significantly worse" in shown
    assert "3: it is in one or more" in shown
