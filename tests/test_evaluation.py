"""Tests of `triage.evaluation`: metrics by hand, and a small triager whose every answer is known."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from triage.decision import Threshold, fit_threshold
from triage.errors import DatasetError
from triage.evaluation import (
    Evaluation,
    accuracy,
    brier,
    evaluate,
    expected_calibration_error,
    macro_f1,
    model_card,
    proportion_interval,
    recall_at_k,
    recall_at_precision,
    reliability,
    risk_coverage,
)

SECRET = "quảnchuối"  # stands in texts, must never stand in a message


# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (3, 7), (96, 100), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_is_wilson(successes: int, n: int, confidence: float) -> None:
    expected = binomtest(successes, n).proportion_ci(confidence, "wilson")
    assert proportion_interval(successes, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_interval_of_nothing_is_everything() -> None:
    assert proportion_interval(0, 0) == (0, 1)


def test_interval_refuses() -> None:
    with pytest.raises(ValueError, match="0 <= successes <= n, got 3 and 2"):
        proportion_interval(3, 2)
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got 1.0"):
        proportion_interval(1, 2, 1.0)


def test_accuracy_and_macro_f1_by_hand() -> None:
    true, predicted = ["a", "a", "b", "c"], ["a", "b", "b", "a"]
    assert accuracy(true, predicted) == 0.5
    # a: 2 * 1 / (2 + 2), b: 2 * 1 / (1 + 2), c: 0
    assert macro_f1(true, predicted) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert macro_f1([1, 2], [1, None]) == pytest.approx(1 / 2)
    assert math.isnan(accuracy([], []))
    assert math.isnan(macro_f1([], []))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_macro_f1_is_that_of_sklearn(pairs: list[tuple[int, int]]) -> None:
    true, predicted = zip(*pairs, strict=True)
    assert macro_f1(true, predicted) == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0))


def test_labels_are_refused_when_lengths_or_shapes_are_wrong() -> None:
    with pytest.raises(ValueError, match="y_true and y_pred must have one length, got 1 and 2"):
        accuracy(["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"labels must have the shape \(n_questions,\), got \(1, 1\)"):
        macro_f1([["a"]], ["a"])


def test_calibration_error_by_hand() -> None:
    # Bins of a fifth: (0.8, 1] holds 0.9, 1.0, 0.85; (0.2, 0.4] holds 0.4 and 0.3.
    p = [0.9, 1.0, 0.85, 0.4, 0.3]
    correct = [True, True, False, True, False]
    high, low = abs(2 / 3 - 2.75 / 3), abs(1 / 2 - 0.35)
    assert expected_calibration_error(p, correct, n_bins=5) == pytest.approx(3 / 5 * high + 2 / 5 * low)
    bins = reliability(p, correct, n_bins=5)
    assert bins["n"].tolist() == [0, 2, 0, 0, 3]
    assert bins["probability"].iloc[1] == pytest.approx(0.35)
    assert math.isnan(bins["accuracy"].iloc[0])


def test_calibration_error_of_extremes() -> None:
    ones, zeros = np.ones(10), np.zeros(10)
    assert expected_calibration_error(ones, ones) == 0
    assert expected_calibration_error(ones, zeros) == 1
    assert expected_calibration_error(zeros, ones) == 1
    assert expected_calibration_error(zeros, zeros) == 0
    assert math.isnan(expected_calibration_error([], np.array([], bool)))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 30))
def test_calibration_error_properties(pairs: list[tuple[float, bool]], n_bins: int) -> None:
    p, correct = map(np.array, zip(*pairs, strict=True))
    error = expected_calibration_error(p, correct, n_bins)
    # One bin sees only the means; more bins see at least as much.
    assert abs(correct.mean() - p.mean()) - 1e-9 <= error <= 1
    assert reliability(p, correct, n_bins)["n"].sum() == len(p)


def test_reliability_puts_edges_below() -> None:
    assert reliability([0, 0.5, 1], [1, 1, 1], n_bins=2)["n"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("p", "correct", "message"),
    [
        ([0.5], [True, False], r"probability and outcomes must have one shape \(n,\), got \(1,\) and \(2,\)"),
        ([0.5, math.nan], [True, False], r"probability must be in \[0, 1\], row 1 is not"),
        ([1.5], [True], r"probability must be in \[0, 1\], row 0 is not"),
        ([0.5], [0.5], "outcomes must be booleans, or 0 and 1"),
    ],
)
def test_outcomes_are_refused(p: list[float], correct: list[Any], message: str) -> None:
    for metric in (reliability, risk_coverage, expected_calibration_error):
        with pytest.raises(ValueError, match=message):
            metric(p, correct)


def test_reliability_needs_a_bin() -> None:
    with pytest.raises(ValueError, match="n_bins must be 1 or more, got 0"):
        reliability([0.5], [True], 0)


def test_brier_by_hand() -> None:
    assert brier([[1, 0], [0, 1]], [0, 1]) == 0
    assert brier([[1, 0], [0, 1]], [1, 0]) == 2
    assert brier([[0.7, 0.2, 0.1]], [1]) == pytest.approx(0.49 + 0.64 + 0.01)
    assert brier([[0.6, 0.4]], [-1]) == pytest.approx(0.36 + 0.16 + 1)
    assert math.isnan(brier(np.empty((0, 2)), np.empty(0, int)))


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([0.5], [0], r"shapes must be \(n_questions, n_classes\) and \(n_questions,\), got \(1,\) and \(1,\)"),
        ([[0.5, 0.5]], [0, 1], r"got \(1, 2\) and \(2,\)"),
        ([[0.5, math.nan]], [0], r"probability must be in \[0, 1\]"),
        ([[0.5, 0.5]], [2], r"y must hold integers in \[-1, 1\]"),
        ([[0.5, 0.5]], [-2], r"y must hold integers in \[-1, 1\]"),
        ([[0.5, 0.5]], [0.0], r"y must hold integers in \[-1, 1\]"),
    ],
)
def test_brier_refuses(p: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        brier(p, y)


def test_risk_coverage_takes_ties_together() -> None:
    curve = risk_coverage([0.5, 0.9, 0.5, 0.9], [True, True, False, True])
    assert curve.to_dict("list") == {"threshold": [0.9, 0.5], "coverage": [0.5, 1], "risk": [0, 0.25]}
    assert risk_coverage([], np.array([], bool)).empty


def test_recall_at_precision_by_hand() -> None:
    score, positive = [5.0, 4.0, 3.0, 3.0, 1.0], [1, 0, 1, 1, 0]
    # Precision at the thresholds 5, 4, 3, 1: 1, 1/2, 3/4, 3/5; recall: 1/3, 1/3, 1, 1.
    assert recall_at_precision(score, positive, 0.75) == 1
    assert recall_at_precision(score, positive, 0.76) == pytest.approx(1 / 3)
    assert recall_at_precision([2, 1], [0, 1], 0.9) == 0
    assert math.isnan(recall_at_precision([2, 1], [0, 0], 0.9))


def test_recall_at_precision_refuses() -> None:
    with pytest.raises(ValueError, match=r"precision must be in \[0, 1\], got 82"):
        recall_at_precision([1], [1], 82)
    with pytest.raises(ValueError, match="score must be finite, row 1 is not"):
        recall_at_precision([1, math.inf], [1, 0], 0.5)


def test_recall_at_k_by_hand() -> None:
    rankings = [["a", "b", "c"], ["b", "c", "a"], ["x"], []]
    relevant: list[set[str]] = [{"a", "c"}, {"c"}, set(), {"z"}]
    assert recall_at_k(rankings, relevant, 1) == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert recall_at_k(rankings, relevant, 3) == pytest.approx((1 + 1 + 0) / 3)
    assert math.isnan(recall_at_k([["a"]], [set()], 1))


def test_recall_at_k_refuses() -> None:
    with pytest.raises(ValueError, match="one length, got 1 and 0"):
        recall_at_k([["a"]], [], 1)
    with pytest.raises(ValueError, match="k must be 1 or more, got 0"):
        recall_at_k([["a"]], [{"a"}], 0)
    with pytest.raises(ValueError, match="must hold collections of items, got a bare string"):
        recall_at_k([["a"]], ["a"], 1)


# --- a triager of which every answer is known -------------------------------------------------------------------------

#: Answers by text: topic with probability, jurisdiction with probability, level, reason for all targets or None.
ANSWERS: dict[str, tuple[str | None, float, str | None, float, str | None, str | None]] = {
    "q1": ("land", 0.9, "local", 0.9, "commune", None),
    "q2": ("land", 0.8, "local", 0.9, "province", None),
    "q3": ("trade", 0.9, "other_agency", 0.9, "commune", None),
    "q4": ("trade", 0.6, "ministry", 0.9, "commune", None),
    "hello": ("land", 0.4, "local", 0.9, "commune", "out_of_scope"),
    "": (None, math.nan, None, math.nan, None, "empty"),
}


class FakeTriager:
    targets: Sequence[str] = ("topic", "jurisdiction", "level")
    classes_: Mapping[str, Any] = {
        "topic": np.array(["land", "trade"]),
        "jurisdiction": np.array(["local", "ministry", "other_agency"]),
        "level": np.array(["commune", "province"]),
    }
    thresholds: Mapping[str, Threshold | None] = {
        "topic": fit_threshold([0.9] * 40, [True] * 40, promise=0.9),
        "jurisdiction": fit_threshold([0.9, 0.2], [True, False], promise=None),
        "level": None,
    }
    metrics: Mapping[str, Any] = {}
    fingerprint = "ab12"
    description: Mapping[str, Any] = {}

    def predict_frame(self, texts: Sequence[str]) -> pd.DataFrame:
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

    def predict_proba(self, texts: Sequence[str], *, target: str) -> Any:
        frame = self.predict_frame(texts)
        classes = list(self.classes_[target])
        p = np.full((len(texts), len(classes)), 1 / len(classes), np.float32)
        for row, (label, best) in enumerate(zip(frame[target], frame[f"{target}_probability"], strict=True)):
            if isinstance(label, str):  # an empty question has none
                p[row] = (1 - best) / (len(classes) - 1)
                p[row, classes.index(label)] = best
        return p


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


def test_evaluation_by_hand() -> None:
    result = evaluate(FakeTriager(), questions())
    assert (result.n_questions, result.n_decided, result.n_decided_right) == (4, 3, 2)  # q4 in review, q2's level wrong
    assert result.routes == {"answer": 2, "forward": 1, "review": 1}
    topic = row_of(result.targets, target="topic")
    assert (topic["n"], topic["n_missing"], topic["n_unseen"]) == (4, 0, 0)
    assert topic["accuracy"] == 0.75
    assert (topic["accuracy_low"], topic["accuracy_high"]) == proportion_interval(3, 4)
    assert topic["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    # Bins: 0.9 twice (both right), 0.8, and 0.6 (wrong); 0.9, 0.8 and 0.6 lie in different bins of a fifteenth.
    assert topic["ece"] == pytest.approx((2 * 0.1 + 0.2 + 0.6) / 4)
    assert topic["brier"] == pytest.approx((0.02 + 0.08 + 0.02 + 0.72) / 4, abs=1e-6)
    assert (topic["n_assigned"], topic["coverage"], topic["precision"]) == (3, 0.75, 1)
    assert (topic["promise"], topic["threshold"], topic["promise_status"]) == (0.9, 0.9, "cannot say")
    level = row_of(result.targets, target="level")
    assert (level["n"], level["n_missing"], level["accuracy"]) == (2, 2, 0.5)
    assert math.isnan(level["threshold"])
    assert result.full_route is not None
    assert (result.full_route["n"], result.full_route["accuracy"]) == (4, 0.75)
    assert result.out_of_scope is None


def test_evaluation_by_class_and_slice() -> None:
    result = evaluate(FakeTriager(), questions())
    trade = row_of(result.classes, target="topic", label="trade")
    assert (trade["n"], trade["n_predicted"], trade["precision"], trade["recall"]) == (1, 2, 0.5, 1)
    assert trade["f1"] == pytest.approx(2 / 3)
    assert math.isnan(row_of(result.classes, target="level", label="province")["recall"])
    assert set(result.slices["column"]) == {"style"}
    typos = row_of(result.slices, target="topic", value="typos")
    assert (typos["n"], typos["accuracy"], typos["coverage"], typos["precision"]) == (2, 0.5, 0.5, 1)
    assert (typos["accuracy_low"], typos["accuracy_high"]) == proportion_interval(1, 2)
    assert result.reliability.groupby("target")["n"].sum().to_dict() == {"topic": 4, "jurisdiction": 4, "level": 2}


def test_labels_never_seen_are_counted_as_wrong() -> None:
    result = evaluate(FakeTriager(), questions(topic=["fishery", "land", "trade", "fishery"]))
    assert result.unseen.to_dict("records") == [{"target": "topic", "label": "fishery", "n": 2}]
    topic = row_of(result.targets, target="topic")
    assert (topic["n"], topic["n_unseen"], topic["accuracy"]) == (4, 2, 0.5)
    assert topic["brier"] == pytest.approx((1.82 + 0.08 + 0.02 + 1.52) / 4, abs=1e-6)
    assert "topic: 2 questions with 1 label that training never saw, counted as wrong." in result.summary()


def test_missing_texts_are_questions_too() -> None:
    result = evaluate(FakeTriager(), questions(text=["q1", None, math.nan, ""]))
    topic = row_of(result.targets, target="topic")
    assert (topic["n"], topic["n_assigned"], topic["accuracy"]) == (4, 1, 0.25)
    assert result.routes == {"answer": 1, "review": 3}


def test_rows_without_a_label_are_left_out() -> None:
    nothing = ["land", None, math.nan, "  "]
    result = evaluate(FakeTriager(), questions(topic=nothing)[["text", "topic"]])
    assert (result.n_questions, result.n_unlabelled) == (1, 3)
    assert result.full_route is None
    assert "3 rows without a label left out." in result.summary()


@pytest.mark.parametrize("mark", ["label", "flag", "words"])
def test_messages_out_of_scope_are_apart(mark: str) -> None:
    frame = questions(text=["q1", "hello", "q3", "hello"])
    if mark == "label":
        frame["topic"] = ["land", "oos", "oos", "land"]
    else:
        flags = [False, True, True, False]
        frame["out_of_scope"] = flags if mark == "flag" else [str(flag) for flag in flags]
    result = evaluate(FakeTriager(), frame)
    assert result.n_questions == 2
    assert result.out_of_scope == {
        **{"n": 2, "n_recognized": 1, "n_review": 1, "n_false": 1},
        **{"recall": 0.5, "precision": 0.5},
    }
    assert (
        "Of 2 messages out of scope, 1 is recognised and 1 goes to a person; 1 of 2 questions is taken for out of scope"
        in " ".join(result.summary().split())
    )


def test_messages_out_of_scope_may_be_all() -> None:
    result = evaluate(FakeTriager(), pd.DataFrame({"text": ["hello", ""], "out_of_scope": [True, True]}))
    assert (result.n_questions, len(result.targets)) == (0, 0)
    assert result.out_of_scope is not None
    assert result.summary().startswith("Of 0 questions, 0 are decided; 0 go to a person.")
    labelled = evaluate(FakeTriager(), pd.DataFrame({"text": ["hello"], "topic": ["oos"]}))
    assert labelled.targets["n"].tolist() == [0]
    assert labelled.to_dict()["targets"][0]["accuracy"] is None
    assert labelled.summary()


def test_oos_is_a_label_like_any_other_where_it_was_trained() -> None:
    class Trained(FakeTriager):
        classes_: Mapping[str, Any] = {**FakeTriager.classes_, "topic": np.array(["land", "oos", "trade"])}

    result = evaluate(Trained(), questions(topic=["land", "oos", "trade", "trade"]))
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
    result = evaluate(triager, frame)
    assert row_of(result.targets, target="topic")["promise_status"] == status
    words = {"kept": "is kept here with 95 % confidence", "not kept": "is not kept here"}
    assert f"promise 0.95 {words.get(status, 'can be neither')}" in result.summary()


def test_promise_that_assigns_nothing_cannot_be_checked() -> None:
    result = evaluate(FakeTriager(), questions(text=["", "", "", "q4"]))
    assert row_of(result.targets, target="topic")["promise_status"] == "cannot say"
    assert "topic: promise 0.9 cannot be checked here: nothing is assigned." in result.summary()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (questions().iloc[:0], "1 fault\n.*must have a row or more"),
        (questions().drop(columns="text"), "column 'text': must exist; the columns are .*'topic'"),
        (
            questions()[["text", "style"]],
            r"must have one of the triager's targets \['topic', 'jurisdiction', 'level'\]",
        ),
        (questions().iloc[:0][["style"]], "3 faults"),
        (questions(topic=None)[["text", "topic"]], r"must have a label in one of \['topic'\]"),
        (questions(out_of_scope=[True, SECRET, None, 3]), "2 faults\n  row 2, .*must be true or false\n  row 4"),
        (pd.concat([questions(), questions()["topic"]], axis=1), "column 'topic': must exist once"),
    ],
)
def test_frames_are_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        evaluate(FakeTriager(), frame)
    assert SECRET not in str(caught.value)


def test_integer_labels_are_labels() -> None:
    class Numbers(FakeTriager):
        targets = ("label",)
        classes_: Mapping[str, Any] = {"label": np.array([3, 5])}
        thresholds: Mapping[str, Threshold | None] = {}

        def predict_frame(self, texts: Sequence[str]) -> pd.DataFrame:
            decision = {"label": 5, "label_probability": 0.75, "label_status": "assigned", "label_reason": None}
            return pd.DataFrame([{**decision, "route": "answer"} for _ in texts])

        def predict_proba(self, texts: Sequence[str], *, target: str) -> Any:
            return np.tile([0.25, 0.75], (len(texts), 1))

    result = evaluate(Numbers(), pd.DataFrame({"body": list("ab"), "label": [5, 3]}), text="body")
    assert row_of(result.targets, target="label")["accuracy"] == 0.5
    assert row_of(result.targets, target="label")["ece"] == pytest.approx(0.25)
    assert json.loads(json.dumps(result.to_dict()))["classes"][0]["label"] == 3


# --- for people and programs ------------------------------------------------------------------------------------------


def long_names() -> Evaluation:
    triager, name = FakeTriager(), "t" * 70
    triager.targets = (name,)
    triager.classes_ = {name: ["a"]}
    triager.thresholds = {name: FakeTriager.thresholds["topic"]}
    status = {f"{name}_status": "assigned", f"{name}_reason": None, f"{name}_probability": 1.0, "route": "answer"}
    triager.predict_frame = lambda texts: pd.DataFrame([{name: "a", **status}] * len(texts))  # type: ignore[method-assign]
    triager.predict_proba = lambda texts, target: np.ones((len(texts), 1))  # type: ignore[method-assign]
    frame = pd.DataFrame({"text": "x", name: [f"label {i} " + "y" * 120 for i in range(9)], "style": "z" * 200})
    return evaluate(triager, frame)


def test_summary_opens_with_plain_words_and_fits() -> None:
    result = evaluate(FakeTriager(), questions())
    lines = result.summary().splitlines()
    assert lines[0] == "Of 4 questions, 3 are decided; of those, 2 are right; 1 goes to a person."
    assert lines[1].startswith("Full route right, decided or not: 75.0 [30.1, 95.4] % of 4 questions.")
    for summary in (result.summary(), long_names().summary()):
        assert max(map(len, summary.splitlines())) <= 100
        assert summary.endswith("\n")
        assert "nan" not in summary


def test_summary_aligns_its_columns() -> None:
    lines = evaluate(FakeTriager(), questions()).summary().splitlines()
    head = next(line for line in lines if line.startswith("target"))
    topic = next(line for line in lines if line.startswith("topic  "))
    assert topic.split() == "topic 4 75.0 [30.1, 95.4] 73.3 0.250 0.210 75.0 100.0 [43.9, 100.0]".split()
    assert len(topic) == len(head)


def test_to_dict_is_plain_json() -> None:
    result = evaluate(FakeTriager(), questions(text=["q1", "", "q3", "q4"]))
    values = result.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values) == set(vars(result))
    assert [row["target"] for row in values["targets"]] == ["topic", "jurisdiction", "level"]
    assert values["targets"][2]["promise_status"] is None


def card(metrics: Mapping[str, Any], **description: Any) -> str:
    triager = FakeTriager()
    triager.metrics, triager.description = metrics, description
    text = model_card(triager)
    assert text == model_card(triager)
    assert text.endswith("\n")
    assert "nan" not in text.lower().replace("finance", "")
    return text


def test_card_takes_its_numbers_from_the_metrics() -> None:
    values = json.loads(json.dumps(evaluate(FakeTriager(), questions(text=["q1", "", "q3", "q4"])).to_dict()))
    text = card({"valid": values, "n_train": 1262, "temperature": {"topic": 1.25}}, name="Land | desk", limits="One.")
    assert text.startswith(
        "# Land | desk\n\n- targets: topic (2 classes), jurisdiction (3 classes), level (2 classes)\n"
    )
    assert "- n train: 1262\n- fingerprint of the training table (SHA-256): `ab12`" in text
    assert "### valid\n\nOf 4 questions: 2 decided, 2 of these right [34.2, 100.0] %, 2 left to a person." in text
    assert "| topic | 4 | 50.0 [15.0, 85.0] |" in text
    assert "- temperature:\n  - topic: 1.25" in text
    assert "- topic: promise 0.9: kept at threshold 0.90; 100 % of 40 held-out questions assigned" in text
    assert "- level: no promise, no threshold measured" in text
    assert "- One.\n- Probabilities and promises hold" in text
    assert "Not measured: the evaluation had no messages that are out of scope." in text


def test_card_of_one_evaluation_and_of_none() -> None:
    frame = questions(text=["q1", "hello", "q3", "q4"], topic=["land", "oos", "trade", "trade"])
    text = card(evaluate(FakeTriager(), frame).to_dict())
    assert "###" not in text
    assert "- measured: Of 1 message out of scope, 1 is recognised and 1 goes to a person;" in text
    assert "Nothing was measured at training." in card({})


def test_card_says_what_the_recipe_says() -> None:
    text = card(
        {},
        name="Desk",
        language="vi",
        licence="CC BY 4.0",
        intended_use="Sort letters.",
        data={"questions": "datasets/land/questions.csv"},
        recipe="models/land/recipe.toml",
        contact="desk@example.org",
    )
    for line in (
        "- language: vi",
        "- licence: CC BY 4.0",
        "Sort letters.",
        "- questions: datasets/land/questions.csv",
        "triage train models/land/recipe.toml",
        "## Further facts\n\n- contact: desk@example.org",
    ):
        assert line in text
