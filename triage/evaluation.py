"""A triager measured on labelled questions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from triage.dataset import OUT_OF_SCOPE_COLUMN, REGISTER_TARGETS, as_text, read_labelled, read_table
from triage.decision import Threshold, precision_lower_bound
from triage.errors import DatasetError, Fault, RecipeError
from triage.metrics import brier, expected_calibration_error, proportion_interval, reliability, share_text
from triage.recipe import read_recipe, train_recipe
from triage.register import BODY
from triage.triager import Triager

#: Columns by which the results are broken down when a frame has them.
SLICES = ("style", "asker")

_SHARES = {"accuracy": ("n_right", "n"), "precision": ("n_assigned_right", "n_assigned")}
_HARDEST = 5  # classes that the summary names


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a triager did with labelled questions. Shares are in [0, 1]; intervals are Wilson's, at 95 %.

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
        One row a target: ``target``, ``n`` (questions with a label), ``n_right``, ``n_assigned``,
        ``n_assigned_right``, ``coverage``, ``accuracy`` and ``precision`` (share right of the assigned) with
        ``…_low`` and ``…_high``, ``n_unseen`` (labels that training never saw; counted as wrong), ``macro_f1``,
        ``ece``, ``brier``, ``threshold``, ``promise``, ``promise_status`` (kept, not kept, cannot say, or None).
    classes : DataFrame
        One row a target and label: ``target``, ``label``, ``n``, ``precision``, ``recall``, ``f1``.
    slices : DataFrame
        One row a target, column and value: ``target``, ``column``, ``value``, then counts and shares as in `targets`.
    reliability : DataFrame
        One row a target and bin: ``target``, then the columns of `triage.metrics.reliability`.
    out_of_scope : dict of str to int, or None
        ``n`` messages out of scope, ``n_recognized`` (reason ``out_of_scope``), ``n_review`` (in review for any
        reason), ``n_false`` (questions taken for out of scope). None without such messages.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values: a list of rows for a DataFrame, None for NaN."""
        values = vars(self).items()
        return {name: _records(value) if isinstance(value, pd.DataFrame) else value for name, value in values}

    def summary(self) -> str:
        """Return the evaluation for people."""
        return "\n".join(_summary_lines(self)) + "\n"


def evaluate(triager: Triager, frame: pd.DataFrame, *, text: str = "text") -> Evaluation:
    """Measure a triager on labelled questions.

    Parameters
    ----------
    triager : Triager
        The desk.
    frame : DataFrame
        One row a question, with a column for one or more targets; ``matter`` stands in ``matter_id``. An empty cell
        is a label where the target has an empty class (level, agency, matter: does not apply), and else unknown. Rows
        with ``out_of_scope`` true, or labelled ``oos`` without such a class, are messages that belong to no class.
        With a register and a column ``date``, each question is decided as of its own day.
    text : str, default="text"
        Column of the questions.

    Returns
    -------
    Evaluation
        All results.

    Raises
    ------
    DatasetError
        If the frame has no rows, no column `text`, no label, or ``out_of_scope`` holds anything but true and false.

    Notes
    -----
    A promise is re-checked with the confidence it was given: kept when the lower Clopper-Pearson bound of the share
    right reaches it, not kept when the upper bound stays below it, and else these questions cannot say.

    Labels are compared as text: a table read from CSV fits a desk trained on numbers.
    """
    columns = {target: REGISTER_TARGETS.get(target, target) for target in triager.targets}
    columns = {target: column for target, column in columns.items() if column in frame}
    frame = frame.reset_index(drop=True)
    classes = {target: [str(label) for label in triager.classes_[target].tolist()] for target in columns}
    usable = columns or OUT_OF_SCOPE_COLUMN in frame
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
    if not (inside | outside).any():
        problem = f"must have a label in one of {list(columns.values())}"
        raise DatasetError(source="DataFrame", faults=[Fault(None, None, problem)])

    predicted = triager.predict_frame(texts, as_of=days)
    right = predicted[list(columns)].astype(str) == labels
    decided = inside & (predicted["route"] != "review")
    routed = inside & {*BODY}.issubset(columns)
    targets, classes_of, slices, bins = {}, {}, {}, {}
    for target in filter(lambda target: known[target].any(), columns):
        rows = known[target]
        answer = frame[[column for column in SLICES if column in frame]].apply(as_text)
        answer = answer.assign(truth=labels[target], best=predicted[target].astype(str), right=right[target])[rows]
        answer["assigned"] = predicted[f"{target}_status"][rows] == "assigned"
        answer["probability"] = predicted[f"{target}_probability"][rows].clip(0, 1)
        classes_of[target] = _by_class(answer)
        slices[target] = _by_slice(answer)
        bins[target] = pd.DataFrame(reliability(answer["probability"], answer["right"]))
        shares = _shares(answer)
        y = pd.Index(classes[target]).get_indexer(pd.Index(answer["truth"]))
        targets[target] = {
            **shares,
            "n_unseen": int((y < 0).sum()),
            "macro_f1": classes_of[target]["f1"].mean(),
            "ece": expected_calibration_error(answer["probability"], answer["right"]),
            # Sums of float32 probabilities may pass 1 in the last digit.
            "brier": brier(triager.predict_proba(texts[rows], target, as_of=_of(days, rows)).clip(0, 1), y),
            **_promise(triager.thresholds[target], shares["n_assigned_right"], shares["n_assigned"]),
        }
    return Evaluation(
        n_questions=int(inside.sum()),
        n_unlabelled=int((~inside & ~outside).sum()),
        routes={str(route): int(n) for route, n in predicted["route"][inside].value_counts().sort_index().items()},
        n_decided=int(decided.sum()),
        n_decided_right=int((right | ~known)[decided].all(axis=1).sum()),
        n_route=int(routed.sum()),
        n_route_right=int(right[routed].filter(list(BODY)).all(axis=1).sum()),
        targets=pd.DataFrame([{"target": target, **values} for target, values in targets.items()]),
        classes=_stack(classes_of),
        slices=_stack(slices),
        reliability=_stack(bins),
        out_of_scope=_out_of_scope(predicted, inside, outside) if outside.any() else None,
    )


def train_and_measure(path: str | Path, *, progress: Callable[[str], None] | None = None) -> Triager:
    """Train a desk as its recipe says, and measure it on the splits that the recipe names in ``measure_on``.

    Parameters
    ----------
    path : str or Path
        ``recipe.toml``.
    progress : callable, optional
        Called with a line a step.

    Returns
    -------
    Triager
        Its ``metrics`` hold `Evaluation.to_dict` of these splits, with their messages out of scope, by their names.

    Raises
    ------
    RecipeError
        If the recipe is not usable, or measures on what it trains on.
    DatasetError
        If a table has faults.
    """
    recipe = read_recipe(path)
    splits, column = recipe.data.get("measure_on"), recipe.data.get("split")
    if splits and (column is None or {*splits} & {*recipe.data.get("train_on", ["train"])}):
        raise RecipeError(path=path, problems=["[data] measure_on needs split, and other splits than train_on"])
    triager = train_recipe(path, progress=progress)
    if not splits:
        return triager
    text = recipe.data.get("text", "text")
    questions = read_table(recipe.path.parent / recipe.data["questions"])  # checked by train_recipe
    parts = [questions[questions[column].isin(splits)]]
    messages = recipe.file("oos")
    if messages is not None:
        rows = read_table(messages)
        rows = rows[rows[column].isin(splits)] if column in rows else rows.iloc[:0]  # all others were trained on
        parts.append(rows[[text]].assign(**{OUT_OF_SCOPE_COLUMN: True}))
    result = evaluate(triager, pd.concat(parts, ignore_index=True), text=text)
    return replace(triager, metrics={**triager.metrics, "+".join(splits): result.to_dict()})


def _of(days: list[Any] | None, rows: pd.Series[bool]) -> list[Any] | None:
    # The days of some rows.
    return None if days is None else [day for day, chosen in zip(days, rows, strict=True) if chosen]


def _shares(answer: pd.DataFrame) -> dict[str, Any]:
    # Counts and shares of some questions of one target.
    right, assigned = answer["right"].to_numpy(bool), answer["assigned"].to_numpy(bool)
    counts = {"n": len(right), "n_right": int(right.sum()), "n_assigned": int(assigned.sum())}
    counts["n_assigned_right"] = int((right & assigned).sum())
    shares: dict[str, float] = {"coverage": counts["n_assigned"] / counts["n"]}
    for name, (part, whole) in _SHARES.items():
        shares[name] = counts[part] / counts[whole] if counts[whole] else math.nan
        shares[f"{name}_low"], shares[f"{name}_high"] = proportion_interval(counts[part], counts[whole])
    return {**counts, **shares}


def _by_class(answer: pd.DataFrame) -> pd.DataFrame:
    labels = sorted({*answer["truth"], *answer["best"]})
    values = precision_recall_fscore_support(answer["truth"], answer["best"], labels=labels, zero_division=np.nan)
    precision, recall, f1, n = values
    return pd.DataFrame({"label": labels, "n": n, "precision": precision, "recall": recall, "f1": f1})


def _by_slice(answer: pd.DataFrame) -> pd.DataFrame:
    columns = [column for column in SLICES if column in answer]
    groups = ((column, value, rows) for column in columns for value, rows in answer.groupby(column))
    return pd.DataFrame([{"column": column, "value": value, **_shares(rows)} for column, value, rows in groups])


def _promise(threshold: Threshold, n_right: int, n_assigned: int) -> dict[str, Any]:
    # Whether these questions bear the promise out.
    promise, confidence, status = threshold.promise, threshold.confidence, None
    if promise is not None:
        kept = precision_lower_bound(n_right, n_assigned, confidence) >= promise
        broken = 1 - precision_lower_bound(n_assigned - n_right, n_assigned, confidence) < promise
        status = "kept" if kept else "not kept" if broken else "cannot say"
    return {"threshold": threshold.value, "promise": promise, "promise_status": status}


def _out_of_scope(predicted: pd.DataFrame, inside: pd.Series[bool], outside: pd.Series[bool]) -> dict[str, int]:
    # How the messages out of scope fared, and how many questions were taken for such.
    said = (predicted.filter(regex="_reason$") == "out_of_scope").any(axis=1)
    counts = {"n": outside, "n_recognized": outside & said, "n_false": inside & said}
    counts["n_review"] = outside & (predicted["route"] == "review")
    return {name: int(rows.sum()) for name, rows in counts.items()}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    # Rows of a table; None for what is no number.
    names = list(map(str, frame.columns))
    return [dict(zip(names, row, strict=True)) for row in frame.astype(object).where(frame.notna(), None).to_numpy()]


def _stack(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    # One table of several, with the target each is of.
    named = [frame.assign(target=target)[["target", *frame.columns]] for target, frame in frames.items()]
    return pd.concat(named, ignore_index=True) if named else pd.DataFrame()


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
    for frame, names in ((result.targets, ["target"]), (result.slices, ["target", "column", "value"])):
        if not frame.empty:
            yield f"\n{_table(frame, names)}"
    yield "\naccuracy, assigned and precision (share right of the assigned) in per cent, with 95 % intervals"
    for row in _records(result.targets):
        target = row["target"]
        if row["promise_status"]:
            counts = f"{row['n_assigned_right']} of {row['n_assigned']} assigned are right"
            yield f"{target}: promise {row['promise']:g}: {row['promise_status']} on these questions; {counts}"
        if row["n_unseen"]:
            yield f"{target}: {row['n_unseen']} questions with a label that training never saw, counted as wrong"
        classes = result.classes[(result.classes["target"] == target) & (result.classes["recall"] < 1)]
        hardest = _records(classes.sort_values(["recall", "n"], kind="stable").head(_HARDEST))
        if hardest:
            listed = [f"{one['label'] or '(none)'} ({100 * one['recall']:.0f} % of {one['n']})" for one in hardest]
            yield f"{target}: lowest recall in {', '.join(listed)}"


def _table(frame: pd.DataFrame, names: list[str]) -> str:
    # Names, counts and shares in columns.
    shown = frame[[*names, "n"]].assign(assigned=(100 * frame["coverage"]).map("{:.1f}".format))
    for name, (part, whole) in _SHARES.items():
        shown[name] = [share_text(*pair) for pair in zip(frame[part], frame[whole], strict=True)]
    measures = [name for name in ("macro_f1", "ece", "brier") if name in frame]
    return shown.join(frame[measures].map("{:.3f}".format)).to_string(index=False, max_colwidth=24)
