"""What an evaluation found, as tables, JSON and text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from triage.evaluation.leak import LEAK_SLICE
from triage.evaluation.shares import SHARES, rows_of
from triage.metrics import share_text
from triage.register import BODY

_HARDEST = 5  # classes that the summary names
_SUMMARY_SLICES = ("style", "asker", LEAK_SLICE)
_NAME_CHARS = 40  # of a value in the summary; "near duplicate in training" must be whole
_MOST_CLASSES = 50  # of a target whose classes a bundle keeps
_KEPT = ("targets", "classes", "slices", "reliability", "promises", "reasons")
_KEPT_SLICES = ("style", "asker", "length", LEAK_SLICE)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a triager did with labelled questions. Shares are in [0, 1]; intervals are Wilson's, at 95 %.

    *Counts and shares* are ``n`` (questions with a label), ``n_right``, ``n_assigned``, ``n_assigned_right``,
    ``coverage``, ``accuracy`` and ``precision`` (share right of the assigned), the last two with ``…_low`` and
    ``…_high``. ``too_few`` marks what rests on fewer than 20 questions: too small to judge.

    Attributes
    ----------
    n_questions : int
        Questions with a label for at least one target; messages out of scope are not among them.
    n_unlabelled : int
        Rows without any label.
    routes : dict of str to int
        How many of the questions go each way.
    n_decided, n_decided_right : int
        Questions that no person must look at; of these, right in every target that has a label.
    n_route, n_route_right : int
        Questions with a label for jurisdiction, level and agency; of these, right in all three, decided or not.
    targets : DataFrame
        One row a target: ``target``, counts and shares, ``n_unseen`` (labels that training never saw; counted as
        wrong), ``macro_f1``, ``ece``, ``ece_by_chance`` (what true probabilities would show on as many questions, see
        `triage.metrics.chance_calibration_error`), ``brier``, ``threshold``, ``promise``, ``promise_status`` (kept,
        not kept, cannot say, or None).
    classes : DataFrame
        One row a target and label: ``target``, ``label``, ``n``, ``n_right``, ``n_predicted``, ``precision`` and
        ``recall`` with their intervals, ``f1``, ``too_few``.
    slices : DataFrame
        One row a target, column and value: ``target``, ``column`` (style, asker, province, length, month, and whether
        training had a near duplicate), ``value``, counts and shares, ``too_few``.
    reliability : DataFrame
        One row a target and bin: ``target``, then the columns of `triage.metrics.reliability`.
    out_of_scope : dict of str to int, or None
        ``n`` messages out of scope, ``n_recognized`` (reason ``out_of_scope``), ``n_review`` (in review for any
        reason), ``n_false`` (questions taken for out of scope). None without such messages.
    risk_coverage : DataFrame
        One row a target and threshold, see `triage.evaluation.curves.risk_curve`.
    confusion : DataFrame
        ``target``, ``label``, ``said`` (assigned label, or ``(review)``), ``n``; what never happened is left out.
    promises : DataFrame
        The promise of each target for each jurisdiction: ``target``, ``group`` (the jurisdiction that the desk
        gave, empty over all), counts and shares, ``promise``, ``status``, ``too_few``.
    reasons : DataFrame
        ``target``, ``reason``, ``n`` in review for it, ``n_right`` (the best label was right), ``accuracy``.
    errors : DataFrame
        The most probable of the wrong labels that were assigned: ``target``, ``row`` (from 1), ``id``, ``wanted``,
        ``label``, ``probability``, ``text`` (masked and cut), ``words`` (pairs of a word and what it added).
    examples : DataFrame
        A few questions of every reason for a review: as `errors`, with ``reason``.
    reuse : DataFrame or None
        What would be offered from each probability on, see `triage.evaluation.curves.reuse_curve`; None where the
        questions do not say which answer fits.
    reused : dict or None
        What was offered, see `triage.evaluation.curves.reuse_facts`.
    leaks : DataFrame or None
        Questions that training had nearly the same: ``row``, ``id``, ``like_row`` (from 1), ``like_id``,
        ``similarity``, ``text``, ``like_text`` (both masked and cut); the nearest. None when no table was given.
    """

    n_questions: int
    n_unlabelled: int
    routes: dict[str, int]
    n_decided: int
    n_decided_right: int
    n_route: int
    n_route_right: int
    targets: pd.DataFrame
    classes: pd.DataFrame
    slices: pd.DataFrame
    reliability: pd.DataFrame
    out_of_scope: dict[str, int] | None
    risk_coverage: pd.DataFrame
    confusion: pd.DataFrame
    promises: pd.DataFrame
    reasons: pd.DataFrame
    errors: pd.DataFrame
    examples: pd.DataFrame
    reuse: pd.DataFrame | None
    reused: dict[str, Any] | None
    leaks: pd.DataFrame | None

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values: a list of rows for a DataFrame, None for NaN.

        Returns
        -------
        dict
            One entry an attribute. ``errors``, ``examples`` and ``leaks`` hold texts of questions, masked.
        """
        values = vars(self).items()
        return {name: rows_of(value) if isinstance(value, pd.DataFrame) else value for name, value in values}

    def to_metrics(self) -> dict[str, Any]:
        """Return what a bundle keeps of the evaluation: plain JSON values, small, without a text of any question.

        Returns
        -------
        dict
            Classes of a target with more than 50 of them are counted only (``n_classes``, ``n_classes_too_few``).
        """
        values = self.to_dict()
        left_out = {name for name, value in vars(self).items() if isinstance(value, pd.DataFrame)} - {*_KEPT}
        kept = {name: value for name, value in values.items() if name not in left_out | {"reuse", "leaks"}}
        kept["slices"] = [row for row in kept["slices"] if row["column"] in _KEPT_SLICES]
        kept["slice_columns"] = list(dict.fromkeys(row["column"] for row in values["slices"]))
        for row in kept["targets"]:
            own = [one for one in kept["classes"] if one["target"] == row["target"]]
            row["n_classes"], row["n_classes_too_few"] = len(own), sum(one["too_few"] for one in own)
        large = {row["target"] for row in kept["targets"] if row["n_classes"] > _MOST_CLASSES}
        kept["classes"] = [row for row in kept["classes"] if row["target"] not in large]
        return kept

    def summary(self) -> str:
        """Return the evaluation for people."""
        return "\n".join(_summary_lines(self)) + "\n"


def _summary_lines(result: Evaluation) -> Iterator[str]:
    # Plain words first, then one line a target, then what needs attention.
    n, n_decided = result.n_questions, result.n_decided
    yield f"{n} questions: {n_decided} decided, {n - n_decided} left to a person; {result.n_unlabelled} without a label"
    yield f"right in all targets, of those decided: {share_text(result.n_decided_right, n_decided)} %"
    if result.n_route:
        yield f"right in {', '.join(BODY)}, of all: {share_text(result.n_route_right, result.n_route)} %"
    if result.out_of_scope:
        yield (
            "{n} messages out of scope: {n_recognized} recognised, {n_review} left to a person; {n_false} questions "
            "taken for such"
        ).format(**result.out_of_scope)
    sliced = result.slices[result.slices["column"].isin(_SUMMARY_SLICES)] if len(result.slices) else result.slices
    for frame, names in ((result.targets, ["target"]), (sliced, ["target", "column", "value"])):
        if not frame.empty:
            yield f"\n{_table(frame, names)}"
    yield "\naccuracy, assigned and precision (share right of the assigned) in per cent, with 95 % intervals"
    for row in rows_of(result.targets):
        target = row["target"]
        if row["promise_status"]:
            counts = f"{row['n_assigned_right']} of {row['n_assigned']} assigned are right"
            yield f"{target}: promise {row['promise']:g}: {row['promise_status']} on these questions; {counts}"
        if row["n_unseen"]:
            yield f"{target}: {row['n_unseen']} questions with a label that training never saw, counted as wrong"
        classes = result.classes[(result.classes["target"] == target) & (result.classes["recall"] < 1)]
        hardest = rows_of(classes.sort_values(["recall", "n"], kind="stable").head(_HARDEST))
        if hardest:
            listed = [f"{one['label'] or '(none)'} ({100 * one['recall']:.0f} % of {one['n']})" for one in hardest]
            yield f"{target}: lowest recall in {', '.join(listed)}"


def _table(frame: pd.DataFrame, names: list[str]) -> str:
    # Names, counts and shares in columns.
    shown = frame[[*names, "n"]].assign(assigned=(100 * frame["coverage"]).map("{:.1f}".format))
    for name, (part, whole) in SHARES.items():
        shown[name] = [share_text(*pair) for pair in zip(frame[part], frame[whole], strict=True)]
    measures = [name for name in ("macro_f1", "ece", "ece_by_chance", "brier") if name in frame]
    return shown.join(frame[measures].map("{:.3f}".format)).to_string(index=False, max_colwidth=_NAME_CHARS)
