"""A triager measured on labelled questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pandas as pd

from triage.dataset import OUT_OF_SCOPE_COLUMN, REGISTER_TARGETS, Labelled, as_text, checks, read_labelled
from triage.errors import DatasetError, Fault
from triage.evaluation.breakdown import (
    by_class,
    by_promise,
    by_reason,
    by_slice,
    confusion_of,
    promise_status,
    slices_of,
)
from triage.evaluation.curves import risk_curve
from triage.evaluation.desk import Desk
from triage.evaluation.examples import errors_of, examples_of, with_texts
from triage.evaluation.leak import LEAK_SLICE, leaks_of
from triage.evaluation.offered import ANSWER_COLUMN, answer_known, reuse_of
from triage.evaluation.result import Evaluation
from triage.evaluation.shares import shares_of, stacked
from triage.metrics import brier, chance_calibration_error, expected_calibration_error, reliability
from triage.register import BODY


def evaluate(
    triager: Desk,
    frame: pd.DataFrame,
    *,
    text: str = "text",
    language: str | None = None,
    train: pd.DataFrame | None = None,
) -> Evaluation:
    """Measure a triager on labelled questions.

    Parameters
    ----------
    triager : Triager
        The desk.
    frame : DataFrame
        One row a question, with a column for one or more targets; ``matter`` stands in ``matter_id``. An empty cell
        is a label where the target has an empty class (level, agency, matter: does not apply), and else unknown. Rows
        with ``out_of_scope`` true, or labelled ``oos`` without such a class, are messages that belong to no class.
        With a register and a column ``date``, each question is decided as of its own day. A column ``archive_id``
        names the answer that fits; where it is empty and ``near`` is not, none does. Without that column an answer on
        the question's matter counts as one that fits.
    text : str, default="text"
        Column of the questions.
    language : str, optional
        Whose personal data is masked in texts that are shown; the international kinds always are.
    train : DataFrame, optional
        Questions that the triager was trained on, in a column of the same name, to find near duplicates of them.

    Returns
    -------
    Evaluation
        All results.

    Raises
    ------
    DatasetError
        If the frame has no rows, no column `text`, no label, or ``out_of_scope`` holds anything but true and false;
        or `train` has no column `text`.
    TypeError
        If the table is no DataFrame.

    Notes
    -----
    A promise is re-checked with the confidence it was given: kept when the lower Clopper-Pearson bound of the share
    right reaches it, not kept when the upper bound stays below it, and else these questions cannot say.

    Labels are compared as text: a table read from CSV fits a desk trained on numbers.
    """
    checks.must_be_frame(frame)
    columns = {target: REGISTER_TARGETS.get(target, target) for target in triager.targets}
    columns = {target: column for target, column in columns.items() if column in frame}
    frame = frame.reset_index(drop=True)
    classes = {target: [str(label) for label in triager.classes_[target].tolist()] for target in columns}
    usable = columns or {OUT_OF_SCOPE_COLUMN, ANSWER_COLUMN} & {*frame.columns}
    labelled = read_labelled(
        frame,
        text,
        columns,
        classes,
        dated=triager.register is not None and "date" in frame,
        absent=None if usable else "must have a column for one of the triager's targets",
    )
    texts, labels, known, outside, days = (getattr(labelled, part.name) for part in fields(labelled))
    inside = labelled.inside
    if not (inside | outside | answer_known(frame)).any():
        problem = f"must have a label in one of {list(columns.values()) or [ANSWER_COLUMN]}"
        raise DatasetError(source="DataFrame", faults=[Fault(None, None, problem)])

    predicted, probabilities = triager.predict_with_proba(texts, as_of=days)
    right = predicted[list(columns)].astype(str) == labels
    decided = inside & (predicted["route"] != "review")
    routed = inside & {*BODY}.issubset(columns)
    ids = as_text(frame["id"]) if "id" in frame else None
    leaks, slices = None, slices_of(frame, texts)
    if train is not None:
        leaks, slices[LEAK_SLICE] = leaks_of(texts, ids, train, text, language)
    answers = _answers(labelled, predicted, right, slices)
    by_label = {target: by_class(answer) for target, answer in answers.items()}
    targets: dict[str, dict[str, Any]] = {}
    for target, answer in answers.items():
        rows = known[target]
        shares = shares_of(answer["right"], answer["assigned"])
        threshold = triager.thresholds[target]
        y = pd.Index(classes[target]).get_indexer(pd.Index(answer["truth"]))
        targets[target] = {
            **shares,
            "n_unseen": int((y < 0).sum()),
            "macro_f1": by_label[target]["f1"].mean(),
            "ece": expected_calibration_error(answer["probability"], answer["right"]),
            "ece_by_chance": chance_calibration_error(answer["probability"]),
            # Sums of float32 probabilities may pass 1 in the last digit.
            "brier": brier(probabilities[target][rows.to_numpy()].clip(0, 1), y),
            "threshold": threshold.value,
            "promise": threshold.promise,
            "promise_status": promise_status(threshold, shares["n_assigned_right"], shares["n_assigned"]),
        }
    group = predicted[BODY[0]].astype(str) if BODY[0] in predicted else None
    shown = (triager, texts, days, ids, language)
    curve, facts = reuse_of(triager, frame, predicted, outside)
    return Evaluation(
        n_questions=int(inside.sum()),
        n_unlabelled=int((~inside & ~outside).sum()),
        routes={str(route): int(n) for route, n in predicted["route"][inside].value_counts().sort_index().items()},
        n_decided=int(decided.sum()),
        n_decided_right=int((right | ~known)[decided].all(axis=1).sum()),
        n_route=int(routed.sum()),
        n_route_right=int(right[routed].filter(list(BODY)).all(axis=1).sum()),
        targets=pd.DataFrame([{"target": target, **values} for target, values in targets.items()]),
        classes=stacked(by_label),
        slices=_each(answers, lambda answer: by_slice(answer, list(slices.columns))),
        reliability=_each(answers, lambda answer: pd.DataFrame(reliability(answer["probability"], answer["right"]))),
        out_of_scope=_out_of_scope(predicted, inside, outside) if outside.any() else None,
        risk_coverage=_each(answers, lambda answer: risk_curve(answer["probability"], answer["right"])),
        confusion=_each(answers, confusion_of),
        promises=stacked({one: by_promise(answer, triager.thresholds[one], group) for one, answer in answers.items()}),
        reasons=_each(answers, by_reason),
        errors=with_texts(errors_of(answers).drop(columns="reason"), *shown),
        examples=with_texts(examples_of(answers, _messages(triager, predicted, outside)), *shown),
        reuse=curve,
        reused=facts,
        leaks=leaks,
    )


def _answers(
    labelled: Labelled, predicted: pd.DataFrame, right: pd.DataFrame, slices: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Return for each target the questions that have a label: truth, best label, what became of it, and its slices."""
    answers = {}
    for target in filter(lambda target: labelled.known[target].any(), right.columns):
        answer = slices.assign(
            truth=labelled.labels[target],
            best=predicted[target].astype(str),
            right=right[target],
            assigned=predicted[f"{target}_status"] == "assigned",
            reason=predicted[f"{target}_reason"],
            probability=predicted[f"{target}_probability"].clip(0, 1),
        )
        answers[target] = answer[labelled.known[target]]
    return answers


def _each(answers: Mapping[str, pd.DataFrame], measure: Any) -> pd.DataFrame:
    """Return a measure of every target in one table."""
    return stacked({target: measure(answer) for target, answer in answers.items()})


def _out_of_scope(predicted: pd.DataFrame, inside: pd.Series[bool], outside: pd.Series[bool]) -> dict[str, int]:
    # How the messages out of scope fared, and how many questions were taken for such.
    said = (predicted.filter(regex="_reason$") == "out_of_scope").any(axis=1)
    counts = {"n": outside, "n_recognized": outside & said, "n_false": inside & said}
    counts["n_review"] = outside & (predicted["route"] == "review")
    return {name: int(rows.sum()) for name, rows in counts.items()}


def _messages(triager: Desk, predicted: pd.DataFrame, outside: pd.Series[bool]) -> pd.DataFrame:
    """Return the messages out of scope that are in review, as answers of the first target."""
    target = next(iter(triager.targets))
    found = pd.DataFrame(
        {
            "target": target,
            "truth": None,
            "best": predicted[target].astype(str),
            "reason": predicted[f"{target}_reason"],
            "probability": predicted[f"{target}_probability"].clip(0, 1),
        }
    )
    return found[outside & (predicted[f"{target}_status"] != "assigned")]
