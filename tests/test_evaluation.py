"""Evaluation of a triager of which every answer is known, and of desks trained by recipe."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import triage
from triage.decision import Threshold, fit_threshold
from triage.errors import DatasetError, RecipeError
from triage.evaluation import Evaluation, evaluate
from triage.evaluation.curves import MOST_POINTS, risk_curve
from triage.metrics import proportion_interval
from triage.recipe import learning_curve, train_and_measure
from triage.records import Decision, TriageResult
from triage.triager.batches import as_days

SECRET = "quảnchuối"  # stands in texts, must never stand in a message

#: Answers by text: topic with probability, jurisdiction with probability, level, reason for all targets or None.
ANSWERS: dict[str, tuple[str | None, float, str | None, float, str | None, str | None]] = {
    "q1": ("land", 0.9, "local", 0.9, "commune", None),
    "q2": ("land", 0.8, "local", 0.9, "province", None),
    "q3": ("trade", 0.9, "other_agency", 0.9, "commune", None),
    "q4": ("trade", 0.6, "ministry", 0.9, "commune", None),
    "hello": ("land", 0.4, "local", 0.9, "commune", "out_of_scope"),
    "": ("land", 0.5, "local", 0.4, "commune", "empty"),
}


class FakeTriager:
    register: Any = None
    records: Sequence[Mapping[str, Any]] = ()
    reuse: Any = None
    targets = ("topic", "jurisdiction", "level")
    classes_: Mapping[str, Any] = {
        "topic": np.array(["land", "trade"]),
        "jurisdiction": np.array(["local", "ministry", "other_agency"]),
        "level": np.array(["", "commune", "province"]),
    }
    thresholds: Mapping[str, Threshold] = {
        "topic": fit_threshold([0.9] * 40, [True] * 40, promise=0.9),
        "jurisdiction": fit_threshold([0.9, 0.2], [True, False], promise=None),
        "level": fit_threshold([0.9, 0.2], [True, False], promise=None),
    }

    def predict_frame(self, texts: Sequence[str], as_of: Any = None) -> pd.DataFrame:
        rows = []
        for text in texts:
            topic, p_topic, jurisdiction, p_jurisdiction, level, reason = ANSWERS[text]
            row: dict[str, Any] = {}
            sure = {"topic": (topic, p_topic), "jurisdiction": (jurisdiction, p_jurisdiction), "level": (level, 0.9)}
            for target, (label, p) in sure.items():
                why = reason or ("low_confidence" if p < 0.7 else None)
                row |= {target: label, f"{target}_probability": p, f"{target}_reason": why}
                row[f"{target}_status"] = "review" if why else "assigned"
            in_review = any(row[f"{target}_status"] == "review" for target in self.targets)
            row["route"] = "review" if in_review else "forward" if jurisdiction == "other_agency" else "answer"
            rows.append(row)
        return pd.DataFrame(rows)

    def predict_with_proba(self, texts: Sequence[str], as_of: Any = None) -> tuple[pd.DataFrame, dict[str, Any]]:
        frame = self.predict_frame(texts, as_of)
        return frame, {target: self.predict_proba(texts, target, as_of) for target in self.targets}

    def predict(self, texts: Sequence[str], as_of: Any = None, k: int = 5) -> list[TriageResult]:
        return [
            TriageResult(
                {
                    target: Decision(
                        target,
                        row[target],
                        row[f"{target}_probability"],
                        row[f"{target}_status"],
                        row[f"{target}_reason"],
                        (),
                        lambda row=row: tuple((word, 1.0) for word in row["asked"].split()),
                    )
                    for target in self.targets
                },
                row["route"],
            )
            for row in self.predict_frame(texts, as_of).assign(asked=list(texts)).to_dict("records")
        ]

    def predict_proba(self, texts: Sequence[str], target: str, as_of: Any = None) -> Any:
        frame = self.predict_frame(texts)
        classes = list(self.classes_[target])
        p = np.full((len(texts), len(classes)), 1 / len(classes), np.float32)
        for row, (label, best) in enumerate(zip(frame[target], frame[f"{target}_probability"], strict=True)):
            p[row] = (1 - best) / (len(classes) - 1)
            p[row, classes.index(label)] = best
        return p


def measure(frame: pd.DataFrame, triager: Any = None) -> Evaluation:
    return evaluate(triager or FakeTriager(), frame)


def questions(**changes: Any) -> pd.DataFrame:
    columns = {
        "text": ["q1", "q2", "q3", "q4"],
        "topic": ["land", "land", "trade", "land"],
        "jurisdiction": ["local", "local", "other_agency", "ministry"],
        "level": ["commune", "commune", "", None],
        "style": ["clean", "typos", "clean", "typos"],
    }
    # An odd index: results must not depend on it.
    return pd.DataFrame({**columns, **changes}, index=[7, 7, 3, 1])


def row_of(frame: pd.DataFrame, **where: Any) -> dict[str, Any]:
    for name, value in where.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return {str(name): value for name, value in frame.iloc[0].items()}


def rows(frame: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = frame.to_dict("records")
    return found


def test_evaluation_by_hand() -> None:
    result = measure(questions())
    # q4 is in review; q2's level is wrong, and so is q3's, which does not apply.
    assert (result.n_questions, result.n_decided, result.n_decided_right) == (4, 3, 1)
    assert result.routes == {"answer": 2, "forward": 1, "review": 1}
    topic = row_of(result.targets, target="topic")
    assert (topic["n"], topic["n_right"], topic["n_unseen"], topic["accuracy"]) == (4, 3, 0, 0.75)
    assert (topic["accuracy_low"], topic["accuracy_high"]) == proportion_interval(3, 4)
    assert topic["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    # Bins: 0.9 twice (both right), 0.8, and 0.6 (wrong); 0.9, 0.8 and 0.6 lie in different bins of a fifteenth.
    assert topic["ece"] == pytest.approx((2 * 0.1 + 0.2 + 0.6) / 4)
    assert topic["brier"] == pytest.approx((0.02 + 0.08 + 0.02 + 0.72) / 4, abs=1e-6)
    assert (topic["n_assigned"], topic["n_assigned_right"], topic["coverage"], topic["precision"]) == (3, 3, 0.75, 1)
    assert (topic["promise"], topic["threshold"], topic["promise_status"]) == (0.9, 0.9, "cannot say")
    assert pd.isna(row_of(result.targets, target="level")["promise_status"])
    assert (result.n_route, result.n_route_right, result.out_of_scope) == (0, 0, None)  # no agency


class Dated(FakeTriager):
    """Decides by the day: on 1 July 2026 the first label of all, else what is known of the text."""

    register = "one"

    def predict_frame(self, texts: Sequence[str], as_of: Any = None) -> pd.DataFrame:
        days = as_days(as_of, len(texts))
        frame = FakeTriager().predict_frame(texts)
        return frame.assign(topic=frame["topic"].where([day != "2026-07-01" for day in days], "land"))

    def predict_proba(self, texts: Sequence[str], target: str, as_of: Any = None) -> Any:
        found = FakeTriager().predict_proba(texts, target)
        late = [day == "2026-07-01" for day in as_days(as_of, len(texts))]
        if target == "topic":
            found[late] = [1, 0]
        return found


@pytest.mark.parametrize("kind", [str, date.fromisoformat, pd.Timestamp])
def test_question_is_decided_as_of_its_own_day(kind: Any) -> None:
    days = [kind(day) for day in ("2025-07-01", "2025-07-01", "2025-07-01", "2026-07-01")]
    topic = row_of(measure(questions(date=days), Dated()).targets, target="topic")
    assert topic["n_right"] == 4  # q4 is of trade on every other day
    assert topic["brier"] == pytest.approx((0.02 + 0.08 + 0.02 + 0) / 4, abs=1e-6)
    some = questions(date=days, topic=["land", None, None, "land"]).drop(columns=["jurisdiction", "level"])
    topic = row_of(measure(some, Dated()).targets, target="topic")
    assert (topic["n"], topic["n_right"]) == (2, 2)
    assert topic["brier"] == pytest.approx((0.02 + 0) / 2, abs=1e-6)


@pytest.mark.parametrize("nothing", ["", None, math.nan, pd.NaT])
def test_question_may_lack_its_day(nothing: Any) -> None:
    days = [nothing, "2025-07-01", nothing, "2026-07-01"]
    assert row_of(measure(questions(date=days), Dated()).targets, target="topic")["n_right"] == 4
    assert row_of(measure(questions(date=[nothing] * 4), Dated()).targets, target="topic")["n_right"] == 3


@pytest.mark.parametrize("nothing", ["", None, math.nan])
def test_what_does_not_apply_is_a_label(nothing: Any) -> None:
    result = measure(questions(level=["commune", "province", nothing, nothing]))
    level = row_of(result.targets, target="level")
    assert (level["n"], level["n_right"], level["n_unseen"]) == (4, 2, 0)
    assert row_of(result.classes, target="level", label="")["recall"] == 0


def test_route_is_right_when_all_its_parts_are() -> None:
    class Route(FakeTriager):
        targets = ("jurisdiction", "level", "agency")
        classes_: Mapping[str, Any] = {**FakeTriager.classes_, "agency": np.array(["", "x"])}
        thresholds: Mapping[str, Threshold] = {**FakeTriager.thresholds, "agency": FakeTriager.thresholds["level"]}

        def predict_frame(self, texts: Sequence[str], as_of: Any = None) -> pd.DataFrame:
            sure = {"agency": "", "agency_probability": 1.0, "agency_status": "assigned", "agency_reason": None}
            return FakeTriager().predict_frame(texts).assign(**sure)

        def predict_proba(self, texts: Sequence[str], target: str, as_of: Any = None) -> Any:
            return np.tile([1.0, 0.0], (len(texts), 1)) if target == "agency" else super().predict_proba(texts, target)

    result = measure(questions(level="commune", agency=["", "x", "", None]), Route())
    assert (result.n_route, result.n_route_right) == (4, 3)


def test_matter_stands_in_the_column_of_the_register() -> None:
    class Matters(FakeTriager):
        targets = ("matter",)
        classes_: Mapping[str, Any] = {"matter": np.array(["", "M1"])}
        thresholds: Mapping[str, Threshold] = {"matter": FakeTriager.thresholds["level"]}

        def predict_frame(self, texts: Sequence[str], as_of: Any = None) -> pd.DataFrame:
            sure = {"matter": "M1", "matter_probability": 0.75, "matter_status": "assigned", "matter_reason": None}
            return pd.DataFrame([{**sure, "route": "answer"} for _ in texts])

        def predict_proba(self, texts: Sequence[str], target: str, as_of: Any = None) -> Any:
            return np.tile([0.25, 0.75], (len(texts), 1))

    frame = pd.DataFrame({"text": ["a", "b", "c"], "matter_id": ["M1", None, "M2"]})
    matter = row_of(measure(frame, Matters()).targets, target="matter")
    assert (matter["n"], matter["n_right"], matter["n_unseen"]) == (3, 1, 1)


def test_evaluation_by_class_and_slice() -> None:
    result = measure(questions())
    trade = row_of(result.classes, target="topic", label="trade")
    assert (trade["n"], trade["precision"], trade["recall"]) == (1, 0.5, 1)
    assert trade["f1"] == pytest.approx(2 / 3)
    assert math.isnan(row_of(result.classes, target="level", label="province")["recall"])
    assert set(result.slices["column"]) == {"style", "length"}
    typos = row_of(result.slices, target="topic", value="typos")
    assert (typos["n"], typos["accuracy"], typos["coverage"], typos["precision"]) == (2, 0.5, 0.5, 1)
    assert (typos["accuracy_low"], typos["accuracy_high"]) == proportion_interval(1, 2)
    assert result.reliability.groupby("target")["n"].sum().to_dict() == {"topic": 4, "jurisdiction": 4, "level": 4}


def test_labels_never_seen_are_counted_as_wrong() -> None:
    result = measure(questions(topic=["fishery", "land", "trade", "fishery"]))
    topic = row_of(result.targets, target="topic")
    assert (topic["n"], topic["n_unseen"], topic["accuracy"]) == (4, 2, 0.5)
    assert topic["brier"] == pytest.approx((1.82 + 0.08 + 0.02 + 1.52) / 4, abs=1e-6)
    assert "topic: 2 questions with a label that training never saw, counted as wrong" in result.summary()


def test_missing_texts_are_questions_too() -> None:
    result = measure(questions(text=["q1", None, math.nan, ""]))
    assert row_of(result.targets, target="topic")["n_assigned"] == 1
    assert result.routes == {"answer": 1, "review": 3}


def test_rows_without_a_label_are_left_out() -> None:
    result = measure(questions(topic=["land", None, math.nan, ""])[["text", "topic"]])
    assert (result.n_questions, result.n_unlabelled, len(result.targets)) == (1, 3, 1)
    assert "3 without a label" in result.summary()


@pytest.mark.parametrize("mark", ["label", "flag", "words"])
def test_messages_out_of_scope_are_apart(mark: str) -> None:
    frame = questions(text=["q1", "hello", "q3", "hello"])
    if mark == "label":
        frame["topic"] = ["land", "oos", "oos", "land"]
    else:
        flags = [False, True, True, None]
        frame["out_of_scope"] = flags if mark == "flag" else [str(flag or "") for flag in flags]
    result = measure(frame)
    assert result.n_questions == 2
    assert result.out_of_scope == {"n": 2, "n_recognized": 1, "n_review": 1, "n_false": 1}
    assert "2 messages out of scope: 1 recognised, 1 left to a person; 1 questions taken for such" in result.summary()


def test_messages_out_of_scope_may_be_all() -> None:
    result = measure(pd.DataFrame({"text": ["hello", ""], "out_of_scope": [True, True]}))
    assert (result.n_questions, result.n_decided_right, len(result.targets)) == (0, 0, 0)
    assert result.out_of_scope is not None
    assert result.summary()
    assert json.loads(json.dumps(result.to_dict()))["targets"] == []


def test_oos_is_a_label_like_any_other_where_it_was_trained() -> None:
    class Trained(FakeTriager):
        classes_: Mapping[str, Any] = {**FakeTriager.classes_, "topic": np.array(["land", "oos", "trade"])}

    result = measure(questions(topic=["land", "oos", "trade", "trade"]), Trained())
    assert result.out_of_scope is None
    assert row_of(result.targets, target="topic")["n"] == 4


@pytest.mark.parametrize(
    ("n_right", "n", "status"), [(200, 200, "kept"), (190, 200, "cannot say"), (160, 200, "not kept")]
)
def test_promise_is_checked_again(n_right: int, n: int, status: str) -> None:
    # 95 % right of 200 neither proves nor refutes 0.95: Clopper-Pearson reaches from 91.7 to 97.3 %.
    frame = pd.DataFrame({"text": ["q1"] * n, "topic": ["land"] * n_right + ["trade"] * (n - n_right)})
    triager = FakeTriager()
    triager.thresholds = {"topic": fit_threshold([0.9] * 100, [True] * 100, promise=0.95)}
    result = measure(frame, triager)
    assert row_of(result.targets, target="topic")["promise_status"] == status
    assert f"topic: promise 0.95: {status} on these questions; {n_right} of 200 assigned" in result.summary()


def test_promise_that_assigns_nothing_cannot_be_checked() -> None:
    result = measure(questions(text=["", "", "", "q4"]))
    assert row_of(result.targets, target="topic")["promise_status"] == "cannot say"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (questions().iloc[:0], "1 fault\n.*must have a row or more"),
        (questions().drop(columns="text"), "column 'text': must exist; the columns are .*'topic'"),
        (questions()[["text", "style"]], "must have a column for one of the triager's targets"),
        (questions().iloc[:0][["style"]], "3 faults"),
        (questions(topic=None)[["text", "topic"]], r"must have a label in one of \['topic'\]"),
        (questions(out_of_scope=[True, SECRET, None, 3]), "2 faults\n  row 2, .*must be true or false\n  row 4"),
    ],
)
def test_frames_are_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        measure(frame)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("labels", [[5, 3, None], ["5", "3", ""]])
def test_numbers_are_labels_also_as_text(labels: list[Any]) -> None:
    class Numbers(FakeTriager):
        targets = ("label",)
        classes_: Mapping[str, Any] = {"label": np.array([3, 5])}
        thresholds: Mapping[str, Threshold] = {"label": FakeTriager.thresholds["level"]}

        def predict_frame(self, texts: Sequence[str], as_of: Any = None) -> pd.DataFrame:
            decision = {"label": 5, "label_probability": 0.75, "label_status": "assigned", "label_reason": None}
            return pd.DataFrame([{**decision, "route": "answer"} for _ in texts])

        def predict_proba(self, texts: Sequence[str], target: str, as_of: Any = None) -> Any:
            return np.tile([0.25, 0.75], (len(texts), 1))

    result = evaluate(Numbers(), pd.DataFrame({"body": list("abc"), "label": labels}), text="body")
    label = row_of(result.targets, target="label")
    assert (label["n"], label["n_unseen"], label["accuracy"], label["ece"]) == (2, 0, 0.5, pytest.approx(0.25))


def test_summary_opens_with_plain_words_and_has_a_line_a_target() -> None:
    lines = measure(questions()).summary().splitlines()
    assert lines[0] == "4 questions: 3 decided, 1 left to a person; 0 without a label"
    assert lines[1] == "right in all targets, of those decided: 33.3 [6.1, 79.2] %"
    (topic,) = (line for line in lines if line.split()[:2] == ["topic", "4"])
    assert topic.split() == "topic 4 75.0 75.0 [30.1, 95.4] 100.0 [43.9, 100.0] 0.733 0.250 0.284 0.210".split()
    assert "nan" not in "".join(lines)


@pytest.mark.parametrize("frame", ["questions.csv", [{"text": "q1"}]])
def test_what_is_no_table_is_refused(frame: Any) -> None:
    with pytest.raises(TypeError, match=r"the table must be a DataFrame, got (str|list); read a file with"):
        measure(frame)


def test_to_dict_is_plain_json() -> None:
    result = measure(questions(text=["q1", "", "q3", "q4"]))
    values = result.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values) == set(vars(result))
    assert [row["target"] for row in values["targets"]] == ["topic", "jurisdiction", "level"]
    assert values["targets"][2]["promise_status"] is None


# --- breakdowns, curves, single questions -----------------------------------------------------------------------------


def test_slices_are_those_the_frame_has_and_small_ones_say_so() -> None:
    frame = questions(province=["A", "B", "A", ""], date=["2025-07-01", "2025-08-09", "2025-07-31", "no day"])
    slices = measure(frame).slices
    assert slices["column"].unique().tolist() == ["style", "province", "length", "month"]
    of_topic = slices[slices["target"] == "topic"]
    assert {value: n for value, n in zip(of_topic["value"], of_topic["n"], strict=True) if len(value) == 7} == {
        "2025-07": 2,
        "2025-08": 1,
    }
    assert row_of(slices, target="topic", value="A")["n_right"] == 2
    assert slices["too_few"].all()
    many = pd.DataFrame({"text": ["q1"] * 20 + ["q2"] * 19, "topic": "land", "style": ["a"] * 20 + ["b"] * 19})
    slices = measure(many).slices
    assert [row_of(slices, column="style", value=value)["too_few"] for value in "ab"] == [False, True]


@pytest.mark.parametrize(("length", "band"), [(49, "under 50 characters"), (50, "50 to 99"), (200, "200 or more")])
def test_length_is_in_a_band_without_its_upper_end(monkeypatch: pytest.MonkeyPatch, length: int, band: str) -> None:
    monkeypatch.setitem(ANSWERS, "q" * length, ANSWERS["q1"])
    slices = measure(pd.DataFrame({"text": ["q" * length], "topic": ["land"]})).slices
    assert slices["value"].tolist() == [band]


def test_classes_have_intervals_and_say_when_they_are_too_small() -> None:
    trade = row_of(measure(questions()).classes, target="topic", label="trade")
    assert (trade["n_right"], trade["n_predicted"], trade["too_few"]) == (1, 2, True)
    assert (trade["recall_low"], trade["recall_high"]) == proportion_interval(1, 1)
    assert (trade["precision_low"], trade["precision_high"]) == proportion_interval(1, 2)


def test_confusion_has_a_column_of_what_is_in_review() -> None:
    confusion = measure(questions()).confusion
    topic = confusion[confusion["target"] == "topic"]
    assert topic[["label", "said", "n"]].to_numpy().tolist() == [
        ["land", "(review)", 1],
        ["land", "land", 2],
        ["trade", "trade", 1],
    ]
    assert confusion.groupby("target")["n"].sum().to_dict() == {"topic": 4, "jurisdiction": 4, "level": 4}


def test_risk_falls_to_what_all_have_wrong() -> None:
    risk = measure(questions()).risk_coverage
    topic = risk[risk["target"] == "topic"]
    assert topic[["threshold", "n_assigned", "n_wrong"]].to_numpy().tolist() == [[0.9, 2, 0], [0.8, 3, 0], [0.6, 4, 1]]
    assert (topic["risk_low"].iloc[-1], topic["risk_high"].iloc[-1]) == proportion_interval(1, 4)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=400))
def test_curve_has_few_points_and_keeps_its_ends(pairs: list[tuple[float, bool]]) -> None:
    p, right = zip(*pairs, strict=True)
    curve = risk_curve(p, right)
    assert 1 <= len(curve) <= MOST_POINTS
    assert (curve["threshold"].iloc[0], curve["threshold"].iloc[-1]) == (max(p), min(p))
    assert (curve["n_assigned"].iloc[-1], curve["n_wrong"].iloc[-1]) == (len(p), right.count(False))
    assert curve["coverage"].is_monotonic_increasing
    assert (curve["risk_low"] <= curve["risk"] + 1e-9).all()


def test_promise_is_checked_where_the_desk_says_each_jurisdiction() -> None:
    promises = measure(questions()).promises
    groups = promises[promises["target"] == "topic"]
    assert groups["group"].tolist() == ["", "local", "ministry", "other_agency"]
    assert groups["n_assigned"].tolist() == [3, 2, 0, 1]
    assert groups["status"].tolist() == ["cannot say"] * 4
    assert groups["too_few"].all()


def test_reasons_say_how_often_the_best_label_was_right() -> None:
    reasons = measure(questions(text=["q1", "q2", "q4", "q4"], topic=["land", "land", "trade", "land"])).reasons
    row = row_of(reasons, target="topic")
    assert (row["reason"], row["n"], row["n_right"], row["accuracy"]) == ("low_confidence", 2, 1, 0.5)


def test_errors_are_assigned_and_wrong_the_surest_first_with_their_words() -> None:
    frame = questions(topic=["trade", "trade", "trade", "land"], id=["a", "b", "c", "d"])
    errors = measure(frame).errors
    topic = errors[errors["target"] == "topic"]
    assert topic[["row", "id", "wanted", "label", "probability"]].to_numpy().tolist() == [
        [1, "a", "trade", "land", 0.9],
        [2, "b", "trade", "land", 0.8],
    ]
    assert topic["text"].tolist() == ["q1", "q2"]
    assert topic["words"].tolist() == [[["q1", 1.0]], [["q2", 1.0]]]


def test_personal_data_is_in_no_text_and_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "tranh chấp gọi 0912 345 678 hoặc hoa@example.com"
    monkeypatch.setitem(ANSWERS, text, ANSWERS["q1"])
    frame = pd.DataFrame({"text": [text], "topic": ["trade"]})
    result = evaluate(FakeTriager(), frame, language="vi", train=frame)
    assert row_of(result.errors)["text"] == "tranh chấp gọi [PHONE] hoặc [EMAIL]"
    assert [word for word, _ in row_of(result.errors)["words"]] == ["tranh", "chấp", "gọi", "hoặc"]
    shown = "".join(row["text"] + row.get("like_text", "") for row in [*rows(result.errors), *rows(result.leaks)])
    assert not [word for word in ("0912", "345", "678", "hoa@") if word in shown]
    assert shown.count("[PHONE]") == 3


def test_long_texts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "land " * 300_000
    monkeypatch.setitem(ANSWERS, text, ANSWERS["q1"])
    result = measure(pd.DataFrame({"text": [text], "topic": ["trade"]}))
    assert len(row_of(result.errors)["text"]) <= 400


def test_every_reason_has_examples_and_messages_are_among_them() -> None:
    frame = questions(text=["q4", "", "hello", "q1"], topic=["land", "land", "oos", "land"])
    examples = measure(frame).examples
    assert examples["reason"].tolist() == ["empty", "low_confidence", "out_of_scope"]
    assert examples["row"].tolist() == [2, 1, 3]
    assert examples["wanted"].isna().tolist() == [False, False, True]


def test_near_duplicates_of_training_are_a_slice_and_listed() -> None:
    texts = ["Ai cấp giấy phép bán lẻ rượu ở xã này?", "Thuế nhà đất nộp ở đâu?"]
    answers = {text: ANSWERS["q1"] for text in texts}
    train = pd.DataFrame({"id": ["t1", "t2"], "text": ["Hoàn thuế thế nào?", "ai cap giay phep ban le ruou o xa nay"]})
    frame = pd.DataFrame({"text": texts, "topic": ["land", "trade"]})
    with pytest.MonkeyPatch.context() as patch:
        for text, answer in answers.items():
            patch.setitem(ANSWERS, text, answer)
        result = evaluate(FakeTriager(), frame, train=train)
        assert measure(frame).leaks is None
    assert result.leaks is not None
    leak = row_of(result.leaks)
    assert (leak["row"], leak["like_row"], leak["like_id"], leak["similarity"]) == (1, 2, "t2", 1.0)
    leaked = result.slices[result.slices["column"] == "near duplicate in training"]
    assert leaked[["value", "n", "n_right"]].to_numpy().tolist() == [["no", 1, 0], ["yes", 1, 1]]
    assert " near duplicate in training " in result.summary()
    with pytest.raises(DatasetError, match=r"train: 1 fault\n.*column 'text': must exist"):
        evaluate(FakeTriager(), questions(), train=pd.DataFrame({"body": ["a"]}))


class Answering(FakeTriager):
    """Suggests an answer by text, and offers it from 0.8 on."""

    targets = ("topic",)
    records = ({"id": "a", "matter_id": "M1"}, {"id": "b", "matter_id": "M2"}, {"id": "c"})
    suggested: Mapping[str, tuple[str | None, float]] = {
        "q1": ("a", 0.9),
        "q2": ("b", 0.8),
        "q3": ("b", 0.5),
        "q4": (None, math.nan),
    }

    class reuse:
        threshold = fit_threshold([0.8] * 40, [True] * 40, promise=0.7)

    def predict_frame(self, texts: Sequence[str], as_of: Any = None) -> pd.DataFrame:
        frame = FakeTriager().predict_frame(texts)
        frame["suggestion_id"], frame["suggestion_p_reuse"] = zip(
            *(self.suggested[text] for text in texts), strict=True
        )
        return frame.assign(route=frame["route"].mask(frame["suggestion_p_reuse"] >= 0.8, "reuse"))


def test_reuse_is_measured_by_the_item_that_fits() -> None:
    frame = questions(archive_id=["a", "", "b", ""], near=["", "b", "", ""])  # of q4 it is not known
    result = measure(frame, Answering())
    assert result.reuse is not None
    assert result.reuse[["threshold", "n_offered", "n_right"]].to_numpy().tolist() == [
        [0.9, 1, 1],
        [0.8, 2, 1],
        [0.5, 3, 2],
    ]
    facts = {"by": "archive_id", "n": 3, "n_first_right": 2, "n_offered": 2, "n_offered_right": 1}
    assert result.reused == {**facts, "threshold": 0.8, "promise": 0.7, "promise_status": "cannot say"}


def test_reuse_is_measured_by_the_matter_where_no_item_is_named() -> None:
    result = measure(questions(matter_id=["M1", "M1", "M2", ""]), Answering())
    assert result.reused is not None
    assert (result.reused["by"], result.reused["n"], result.reused["n_first_right"]) == ("matter_id", 3, 2)


def test_reuse_cannot_be_told_without_either() -> None:
    result = measure(questions(), Answering())
    assert (result.reuse, result.reused) == (None, None)
    assert measure(questions(archive_id=""), Answering()).reuse is None
    assert measure(questions(archive_id="a")).reuse is None  # a desk that suggests nothing


def test_later_questions_without_a_label_measure_reuse_alone() -> None:
    result = measure(questions(archive_id="a")[["text", "archive_id"]], Answering())
    assert (result.n_questions, len(result.targets), result.reused["n"]) == (0, 0, 4)  # type: ignore[index]
    assert result.summary()


def test_lone_surrogates_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWERS, "\ufffdq1", ANSWERS["q1"])
    frame = questions().astype(object)
    frame["text"] = pd.Series(["\ud800q1", "q2", "q3", "q4"], frame.index, dtype=object)
    assert row_of(measure(frame).targets, target="topic")["n_right"] == 3


def test_metrics_are_small_and_hold_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWERS, SECRET, ANSWERS["q1"])
    result = measure(questions(text=[SECRET] * 4, topic=["trade"] * 4, province=["Hà Nội"] * 4))
    assert SECRET in json.dumps(result.to_dict(), ensure_ascii=False)
    kept = result.to_metrics()
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept
    assert SECRET not in json.dumps(kept, ensure_ascii=False)
    assert not {"errors", "examples", "confusion", "risk_coverage", "leaks", "reuse"} & {*kept}
    assert {row["column"] for row in kept["slices"]} == {"style", "length"}
    assert kept["slice_columns"] == ["style", "province", "length"]


def test_metrics_count_the_classes_of_a_large_target() -> None:
    class Many(FakeTriager):
        classes_: Mapping[str, Any] = {
            **FakeTriager.classes_,
            "topic": np.array(["land", *map(str, range(60)), "trade"]),
        }

    frame = pd.DataFrame({"text": ["q1"] * 60, "topic": list(map(str, range(60))), "jurisdiction": "local"})
    kept = measure(frame, Many()).to_metrics()
    assert {row["target"] for row in kept["classes"]} == {"jurisdiction"}
    topic = kept["targets"][0]
    assert (topic["n_classes"], topic["n_classes_too_few"]) == (61, 61)


def test_evaluate_of_a_triager_is_the_function(triager: triage.Triager) -> None:
    frame = pd.DataFrame({"text": ["liquor licence", "tax"], "topic": ["liquor", "land"]})
    assert triager.evaluate(frame).to_dict() == evaluate(triager, frame, language="vi").to_dict()


def test_table_and_probabilities_of_one_reading_are_those_of_two(desk_triager: triage.Triager) -> None:
    texts = pd.Series(["Ai ký sổ đỏ lần đầu?", "", "Xin tách thửa", "Thuế đất nộp ở đâu?"], [3, 1, 1, 0])
    days = ["2025-07-01", "2026-03-01", "2025-07-01", "2026-03-01"]  # a matter changed hands between them
    frame, probabilities = desk_triager.predict_with_proba(texts, as_of=days)
    pd.testing.assert_frame_equal(frame, desk_triager.predict_frame(texts, as_of=days))
    for target in desk_triager.targets:
        np.testing.assert_array_equal(probabilities[target], desk_triager.predict_proba(texts, target, as_of=days))


# --- by recipe --------------------------------------------------------------------------------------------------------

RECIPE = """
[desk]
name = "Cards"
[data]
questions = "questions.csv"
oos = "oos.csv"
targets = ["topic"]
split = "split"
measure_on = ["test"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = [
        f"{text} {number},{topic},{split}"
        for topic, text in (("card", "where is my card"), ("top_up", "my top up failed"))
        for number, split in enumerate(["train"] * 8 + ["test"] * 3)
    ]
    (tmp_path / "questions.csv").write_text("\n".join(["text,topic,split", *rows]), "utf-8")
    (tmp_path / "oos.csv").write_text("text,split\nxyzzy plugh,test\nabracadabra,train\n", "utf-8")
    (tmp_path / "recipe.toml").write_text(RECIPE, "utf-8")
    return tmp_path / "recipe.toml"


def test_recipe_is_measured_on_its_splits(recipe: Path) -> None:
    triager = train_and_measure(recipe)
    assert triager.metrics["n_questions"] == 16
    measured = triager.metrics["test"]
    assert (measured["n_questions"], measured["out_of_scope"]["n"]) == (6, 1)
    assert measured["targets"][0]["accuracy"] == 1


def test_recipe_without_measure_on_is_trained_only(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace('measure_on = ["test"]', ""), "utf-8")
    assert set(train_and_measure(recipe).metrics) == {"held_out", "n_questions", "grouped_by"}


@pytest.mark.parametrize(("old", "new"), [('["test"]', '["test", "train"]'), ('split = "split"', "")])
def test_recipe_must_not_measure_on_what_it_trains_on(recipe: Path, old: str, new: str) -> None:
    recipe.write_text(RECIPE.replace(old, new), "utf-8")
    with pytest.raises(RecipeError, match="measure_on needs split, and other splits than train_on"):
        train_and_measure(recipe)


def test_same_recipe_gives_the_same_bundle(recipe: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train_and_measure(recipe).save(tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


def test_learning_curve_trains_on_growing_parts(recipe: Path) -> None:
    questions = pd.read_csv(recipe.parent / "questions.csv")
    frame = questions[questions["split"] == "test"]
    steps: list[str] = []
    curve = learning_curve(recipe, frame, fractions=(1.0, 0.5), progress=steps.append)
    assert curve[["fraction", "n_train", "target", "n"]].to_numpy().tolist() == [
        [0.5, 8, "topic", 6],
        [1.0, 16, "topic", 6],
    ]
    assert curve["accuracy"].iloc[-1] == 1
    assert steps == ["learning curve: 8 of 16 questions", "learning curve: 16 of 16 questions"]
    pd.testing.assert_frame_equal(curve, learning_curve(recipe, frame, fractions=(0.5, 1.0)))


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5])
def test_learning_curve_refuses_a_part_that_is_none(recipe: Path, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"fractions must be in \(0, 1\], got"):
        learning_curve(recipe, questions(), fractions=(fraction,))
