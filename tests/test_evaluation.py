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

from triage.decision import Threshold, fit_threshold
from triage.errors import DatasetError, RecipeError
from triage.evaluation import Evaluation, evaluate
from triage.metrics import proportion_interval
from triage.recipe import train_and_measure
from triage.records import Decision, TriageResult
from triage.triager.reading import as_days

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
    assert topic.split() == "topic 4 75.0 75.0 [30.1, 95.4] 100.0 [43.9, 100.0] 0.733 0.250 0.210".split()
    assert "nan" not in "".join(lines)


def test_to_dict_is_plain_json() -> None:
    result = measure(questions(text=["q1", "", "q3", "q4"]))
    values = result.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values) == set(vars(result))
    assert [row["target"] for row in values["targets"]] == ["topic", "jurisdiction", "level"]
    assert values["targets"][2]["promise_status"] is None


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
