"""How good a desk is: metrics on arrays, the evaluation of a triager on labelled questions, and its model card."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.decision import Threshold, precision_lower_bound
from triage.errors import DatasetError, Fault

#: Columns that together say who decides; all that a frame has must be right for the full route.
ROUTE_TARGETS = ("jurisdiction", "level", "agency")
#: Columns by which the results are broken down when a frame has them.
SLICES = ("style", "asker")
#: Boolean column that marks messages which belong to no class.
OUT_OF_SCOPE_COLUMN = "out_of_scope"
#: Label that says the same in a target's column, unless it is one of the target's classes (as in CLINC150).
OUT_OF_SCOPE_LABEL = "oos"

_N_BINS = 15  # as Guo et al. (2017), section 4
_WIDTH = 100
_NAME_WIDTHS = (16, 24)
_LABEL_WIDTH = 40
_HARDEST = 5
_TRUE, _FALSE = {"true", "1", "1.0", "yes"}, {"false", "0", "0.0", "no", ""}

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]


class TriagerLike(Protocol):
    """What is asked of a triager here; `triage.Triager` has it."""

    @property
    def targets(self) -> Sequence[str]:
        """Names of the targets."""

    @property
    def classes_(self) -> Mapping[str, Any]:
        """Labels of each target, in the order of the columns of `predict_proba`."""

    @property
    def thresholds(self) -> Mapping[str, Threshold | None]:
        """Threshold of each target."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Numbers measured at training."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the training table."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What the recipe says of the desk; may be empty."""

    def predict_proba(self, texts: Sequence[str], *, target: str) -> Any:
        """Return probabilities of shape (n_questions, n_classes)."""

    def predict_frame(self, texts: Sequence[str]) -> pd.DataFrame:
        """Return one row a question."""


# --- metrics on arrays ------------------------------------------------------------------------------------------------


def proportion_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share.

    Parameters
    ----------
    successes : int
        In [0, `n`].
    n : int
        Trials; with 0 the interval is (0, 1).
    confidence : float, default=0.95
        Two-sided, in (0, 1).

    Returns
    -------
    tuple of float
        Lower and upper end, in [0, 1].

    Raises
    ------
    ValueError
        If the counts contradict each other or `confidence` is not in (0, 1).

    References
    ----------
    Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22(158), 209-212; recommended in Brown, Cai, DasGupta (2001), "Interval estimation for a
    binomial proportion", Statistical Science 16(2), 101-133, section 3.1.1.

    Examples
    --------
    >>> [round(end, 3) for end in proportion_interval(9, 10)]
    [0.596, 0.982]
    """
    from scipy.special import ndtri

    if not 0 <= successes <= n:
        raise ValueError(f"counts must be 0 <= successes <= n, got {successes} and {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if n == 0:
        return 0.0, 1.0
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    share = successes / n
    center = share + z2 / (2 * n)
    half = math.sqrt(z2 * share * (1 - share) / n + (z2 / (2 * n)) ** 2)
    scale = 1 + z2 / n
    # The ends are exact where all or none succeed; rounding must not push them past 0 or 1.
    low = 0.0 if successes == 0 else (center - half) / scale
    high = 1.0 if successes == n else (center + half) / scale
    return low, high


def accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the share of labels that are right.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_questions,)
        Labels of any kind.

    Returns
    -------
    float
        In [0, 1]; NaN without questions.

    Raises
    ------
    ValueError
        If the lengths differ.

    Examples
    --------
    >>> accuracy(["a", "b", "b", "c"], ["a", "b", "c", "c"])
    0.75
    """
    true, predicted = _label_pair(y_true, y_pred)
    return _share(int(np.count_nonzero(true == predicted)), len(true))


def macro_f1(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the mean over classes of the harmonic mean of precision and recall.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_questions,)
        Labels of any kind; every class that occurs in either counts once.

    Returns
    -------
    float
        In [0, 1]; NaN without questions.

    Raises
    ------
    ValueError
        If the lengths differ.

    Notes
    -----
    The same as ``sklearn.metrics.f1_score(average="macro", zero_division=0)``.

    Examples
    --------
    >>> round(macro_f1(["a", "a", "b"], ["a", "b", "b"]), 3)  # 2/3 each
    0.667
    """
    true, predicted = _label_pair(y_true, y_pred)
    n_true, n_predicted, n_right, _ = _class_counts(true, predicted)
    return float(np.mean(2 * n_right / (n_true + n_predicted))) if len(true) else math.nan


def reliability(probability: npt.ArrayLike, correct: npt.ArrayLike, n_bins: int = _N_BINS) -> pd.DataFrame:
    """Compare probabilities with outcomes, bin by bin: the numbers of a reliability diagram.

    Parameters
    ----------
    probability : array-like of shape (n_questions,)
        Probability of the best label, in [0, 1].
    correct : array-like of shape (n_questions,)
        Whether it is right; booleans or 0 and 1.
    n_bins : int, default=15
        Bins of equal width, each with its upper edge and without its lower one; the first has both.

    Returns
    -------
    DataFrame
        One row a bin: ``low``, ``high``, ``n``, ``probability`` and ``accuracy`` (means, NaN in an empty bin).

    Raises
    ------
    ValueError
        If the arrays are not one-dimensional and of one length, a probability is not in [0, 1], `correct` holds
        anything but 0 and 1, or `n_bins` is less than 1.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), "On Calibration of Modern Neural Networks", ICML, section 2.

    Examples
    --------
    >>> reliability([0.9, 0.8, 0.2], [True, False, False], n_bins=2)["n"].tolist()
    [1, 2]
    """
    p, right = _outcomes(probability, correct)
    if n_bins < 1:
        raise ValueError(f"n_bins must be 1 or more, got {n_bins}")
    edges = np.linspace(0, 1, n_bins + 1)
    bins = np.searchsorted(edges[1:-1], p, side="left")
    n = np.bincount(bins, minlength=n_bins)
    filled = np.where(n > 0, n, np.nan)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "n": n,
            "probability": np.bincount(bins, p, n_bins) / filled,
            "accuracy": np.bincount(bins, right, n_bins) / filled,
        }
    )


def expected_calibration_error(probability: npt.ArrayLike, correct: npt.ArrayLike, n_bins: int = _N_BINS) -> float:
    """Return by how much probabilities and outcomes differ on average.

    Parameters
    ----------
    probability : array-like of shape (n_questions,)
        Probability of the best label, in [0, 1].
    correct : array-like of shape (n_questions,)
        Whether it is right; booleans or 0 and 1.
    n_bins : int, default=15
        Bins of equal width, see `reliability`.

    Returns
    -------
    float
        Sum over bins of ``n_bin / n * abs(accuracy_bin - probability_bin)``, in [0, 1]; NaN without questions.

    Raises
    ------
    ValueError
        As `reliability`.

    References
    ----------
    Naeini, Cooper, Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian binning", AAAI; in
    this form Guo et al. (2017), equation 3.

    Examples
    --------
    >>> round(expected_calibration_error([0.9, 0.9, 0.6], [True, False, True]), 3)  # 2/3 * 0.4 + 1/3 * 0.4
    0.4
    """
    bins = reliability(probability, correct, n_bins)
    return _calibration_error(bins)


def brier(probability: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return the mean squared distance of the probabilities from the truth.

    Parameters
    ----------
    probability : array-like of shape (n_questions, n_classes)
        Probabilities, in [0, 1].
    y : array-like of int of shape (n_questions,)
        Column of the true class; -1 for a class that has no column, whose probability is then 0.

    Returns
    -------
    float
        Sum of squares over the classes, mean over the questions, in [0, 2]: 0 for certainty in the right label, 2
        for certainty in a wrong one; NaN without questions.

    Raises
    ------
    ValueError
        If the shapes do not agree, a probability is not in [0, 1], or `y` names no column.

    References
    ----------
    Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78(1), 1-3,
    equation 2.

    Examples
    --------
    >>> round(brier([[0.8, 0.2], [0.5, 0.5]], [0, 1]), 2)  # (0.04 + 0.04 + 0.25 + 0.25) / 2
    0.29
    """
    p, column = np.asarray(probability, np.float64), np.asarray(y)
    if p.ndim != 2 or column.shape != p.shape[:1]:
        raise ValueError(
            f"shapes must be (n_questions, n_classes) and (n_questions,), got {p.shape} and {column.shape}"
        )
    if not len(p):
        return math.nan
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probability must be in [0, 1]")
    if not np.issubdtype(column.dtype, np.integer) or column.min() < -1 or column.max() >= p.shape[1]:
        raise ValueError(f"y must hold integers in [-1, {p.shape[1] - 1}]")
    known = np.flatnonzero(column >= 0)
    # Sum of (p - truth)^2 is the sum of p^2, plus 1, less twice the probability of the truth.
    squares = (p**2).sum(axis=1) + 1
    squares[known] -= 2 * p[known, column[known]]
    return float(max(squares.mean(), 0.0))


def risk_coverage(probability: npt.ArrayLike, correct: npt.ArrayLike) -> pd.DataFrame:
    """Return the share of errors among the assigned at every threshold.

    Parameters
    ----------
    probability : array-like of shape (n_questions,)
        Probability of the best label, in [0, 1].
    correct : array-like of shape (n_questions,)
        Whether it is right; booleans or 0 and 1.

    Returns
    -------
    DataFrame
        One row for each distinct probability, highest first: ``threshold``, ``coverage`` (share assigned), ``risk``
        (share of these that is wrong).

    Raises
    ------
    ValueError
        As `reliability`.

    References
    ----------
    El-Yaniv, Wiener (2010), "On the foundations of noise-free selective classification", Journal of Machine Learning
    Research 11, 1605-1641, section 2.

    Examples
    --------
    >>> risk_coverage([0.9, 0.8, 0.8, 0.4], [True, True, False, False]).round(3).values.tolist()
    [[0.9, 0.25, 0.0], [0.8, 0.75, 0.333], [0.4, 1.0, 0.5]]
    """
    p, right = _outcomes(probability, correct)
    threshold, n, n_right = _cumulated(p, right)
    return pd.DataFrame({"threshold": threshold, "coverage": n / max(len(p), 1), "risk": 1 - n_right / n})


def recall_at_precision(score: npt.ArrayLike, positive: npt.ArrayLike, precision: float) -> float:
    """Return the highest recall among the thresholds that reach a precision.

    Parameters
    ----------
    score : array-like of shape (n_questions,)
        Higher means more surely positive; finite, of any scale.
    positive : array-like of shape (n_questions,)
        Truth; booleans or 0 and 1.
    precision : float
        Precision to reach, in [0, 1].

    Returns
    -------
    float
        In [0, 1]; 0 when no threshold reaches `precision`, NaN without positives.

    Raises
    ------
    ValueError
        If the arrays are not one-dimensional and of one length, a score is not finite, `positive` holds anything but
        0 and 1, or `precision` is not in [0, 1].

    Notes
    -----
    The threshold is chosen on the very data it is measured on, as is usual in reports of out-of-scope recall, so the
    number is an upper estimate of what one fixed beforehand would reach.

    Examples
    --------
    >>> recall_at_precision([0.9, 0.8, 0.7, 0.2, 0.1], [1, 0, 1, 0, 0], 0.66)  # 2 of the first 3
    1.0
    """
    if not 0 <= precision <= 1:
        raise ValueError(f"precision must be in [0, 1], got {precision}")
    s, truth = _outcomes(score, positive, name="score", bounded=False)
    if not truth.any():
        return math.nan
    _, n, n_right = _cumulated(s, truth)
    enough = n_right[n_right / n >= precision]
    return float(enough.max(initial=0)) / int(truth.sum())


def recall_at_k(rankings: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]], k: int) -> float:
    """Return the mean share of the relevant items that stand among the first k.

    Parameters
    ----------
    rankings : sequence of sequence
        Items for each query, best first.
    relevant : sequence of collection
        Items that are right for each query; a query without any is left out.
    k : int
        How many of the first items are looked at, 1 or more.

    Returns
    -------
    float
        In [0, 1]; NaN when no query has a relevant item. With one relevant item each, the share of queries that find
        it.

    Raises
    ------
    ValueError
        If the lengths differ, `k` is less than 1, or a collection is a bare string.

    References
    ----------
    Manning, Raghavan, Schütze (2008), "Introduction to Information Retrieval", section 8.4.

    Examples
    --------
    >>> recall_at_k([["a", "b", "c"], ["c", "a", "b"]], [{"a"}, {"a"}], k=1)
    0.5
    """
    if len(rankings) != len(relevant):
        raise ValueError(f"rankings and relevant must have one length, got {len(rankings)} and {len(relevant)}")
    if k < 1:
        raise ValueError(f"k must be 1 or more, got {k}")
    if any(isinstance(items, str) for items in (*rankings, *relevant)):
        raise ValueError("rankings and relevant must hold collections of items, got a bare string")
    shares = [
        len(set(ranking[:k]) & set(items)) / len(set(items))
        for ranking, items in zip(rankings, relevant, strict=True)
        if items
    ]
    return float(np.mean(shares)) if shares else math.nan


# --- evaluation of a triager ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a triager did with labelled questions. Shares are in [0, 1]; intervals are Wilson's, at 95 %.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of the triager's training table.
    n_questions : int
        Questions with a label for at least one target; messages out of scope are not among them.
    n_unlabelled : int
        Rows without any label, not looked at further.
    routes : dict of str to int
        How many of the questions go each way.
    n_decided : int
        Questions that no person must look at.
    n_decided_right : int
        Of these, right in every target that has a label.
    full_route : dict or None
        ``n``, ``accuracy``, ``accuracy_low``, ``accuracy_high``: jurisdiction, and level and agency where the question
        has one, all right, decided or not. None when the frame or the triager lacks one of them.
    targets : DataFrame
        One row a target: ``target``, ``n`` (questions with a label), ``n_missing`` (without), ``n_unseen`` (with a
        label that training never saw; counted as wrong), ``accuracy`` with ``accuracy_low`` and ``accuracy_high``,
        ``macro_f1``, ``ece``, ``brier``, ``n_assigned``, ``coverage``, ``n_assigned_right``, ``precision`` with
        ``precision_low`` and ``precision_high`` (share right of the assigned, NaN when none is), ``threshold``,
        ``promise``, ``confidence``, ``promise_status`` (``"kept"``, ``"not kept"``, ``"cannot say"``, or None without
        a promise).
    classes : DataFrame
        One row a target and label: ``target``, ``label``, ``n``, ``n_predicted``, ``precision``, ``recall``, ``f1``.
    slices : DataFrame
        One row a target, column and value: ``target``, ``column``, ``value``, ``n``, ``accuracy`` with its interval,
        ``coverage``, ``precision``.
    reliability : DataFrame
        `reliability` of every target.
    unseen : DataFrame
        ``target``, ``label``, ``n``: labels that training never saw.
    out_of_scope : dict or None
        ``n`` messages out of scope, ``n_recognized`` (reason ``out_of_scope``), ``n_review`` (in review for any
        reason), ``n_false`` (questions taken for out of scope), ``recall``, ``precision``. None without such rows.
    """

    fingerprint: str
    n_questions: int
    n_unlabelled: int
    routes: dict[str, int]
    n_decided: int
    n_decided_right: int
    full_route: dict[str, Any] | None
    targets: pd.DataFrame
    classes: pd.DataFrame
    slices: pd.DataFrame
    reliability: pd.DataFrame
    unseen: pd.DataFrame
    out_of_scope: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values: a list of rows for a DataFrame, None for NaN."""
        values: dict[str, Any] = _plain(vars(self))
        return values

    def summary(self) -> str:
        """Return the evaluation for people, in lines of at most 100 characters."""
        return "\n".join(line.rstrip() for line in _summary_lines(self)) + "\n"


def evaluate(triager: TriagerLike, frame: pd.DataFrame, *, text: str = "text") -> Evaluation:
    """Measure a triager on labelled questions.

    Parameters
    ----------
    triager : Triager
        The desk.
    frame : DataFrame
        One row a question, with a column for one or more of the triager's targets. An empty cell or NaN means that
        the label is not known or does not apply. Rows where ``out_of_scope`` is true, or where a target that has no
        class ``oos`` is labelled so, are messages that belong to no class.
    text : str, default="text"
        Column of the questions.

    Returns
    -------
    Evaluation
        All results.

    Raises
    ------
    DatasetError
        If the frame has no rows, lacks the text column or all targets, has no label at all, or ``out_of_scope`` holds
        anything but true and false.

    Notes
    -----
    A promise is re-checked with the confidence it was given: kept when the lower Clopper-Pearson bound of the share
    right reaches it, not kept when the upper bound stays below it, and else these questions cannot say.

    Cost: each text is predicted once, and once more for each target.
    """
    _check_frame(triager, frame, text)
    names = [target for target in triager.targets if target in frame]
    labels = {target: _labels(frame[target]) for target in names}
    outside = _outside(triager, frame, labels)
    known = {target: _is_known(labels[target]) & ~outside for target in names}
    inside = np.logical_or.reduce([*known.values(), np.zeros(len(frame), bool)])
    if not inside.any() and not outside.any():
        raise DatasetError(source="DataFrame", faults=[Fault(None, None, f"must have a label in one of {names}")])
    kept = np.flatnonzero(inside | outside)
    texts = ["" if missing else str(value) for value, missing in _cells(frame[text].iloc[kept])]
    predicted = triager.predict_frame(texts)
    inner = inside[kept]
    questions = _Questions(
        triager=triager,
        texts=[value for value, is_inner in zip(texts, inner, strict=True) if is_inner],
        predicted=predicted[inner],
        frame=frame.iloc[kept[inner]],
        labels={target: labels[target][kept[inner]] for target in names},
        known={target: known[target][kept[inner]] for target in names},
    )
    routes = predicted["route"].to_numpy(object)[inner]
    decided = routes != "review"
    all_right = np.logical_and.reduce(
        [~questions.known[target] | questions.is_right(target) for target in names] or [np.zeros(len(routes), bool)]
    )
    per_target = {target: _TargetResults(questions, target) for target in names}
    return Evaluation(
        fingerprint=triager.fingerprint,
        n_questions=int(inner.sum()),
        n_unlabelled=len(frame) - len(kept),
        routes={str(route): int(n) for route, n in sorted(pd.Series(routes).value_counts().items())},
        n_decided=int(decided.sum()),
        n_decided_right=int((decided & all_right).sum()),
        full_route=_full_route(questions, frame),
        targets=_frame([per_target[target].overall() for target in names], _TARGET_COLUMNS),
        classes=_frame([row for target in names for row in per_target[target].classes()], _CLASS_COLUMNS),
        slices=_frame([row for target in names for row in per_target[target].slices()], _SLICE_COLUMNS),
        reliability=_frame([row for target in names for row in per_target[target].reliability()], _RELIABILITY_COLUMNS),
        unseen=_frame([row for target in names for row in per_target[target].unseen()], ["target", "label", "n"]),
        out_of_scope=_out_of_scope(triager, predicted, inner) if outside.any() else None,
    )


_TARGET_COLUMNS = [
    *("target", "n", "n_missing", "n_unseen", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "ece", "brier"),
    *("n_assigned", "coverage", "n_assigned_right", "precision", "precision_low", "precision_high"),
    *("threshold", "promise", "confidence", "promise_status"),
]
_CLASS_COLUMNS = ["target", "label", "n", "n_predicted", "precision", "recall", "f1"]
_SLICE_COLUMNS = [
    *("target", "column", "value", "n", "accuracy", "accuracy_low", "accuracy_high", "coverage", "precision")
]
_RELIABILITY_COLUMNS = ["target", "low", "high", "n", "probability", "accuracy"]

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Questions:
    # The questions in scope, their labels, and what was predicted; all in one order.
    triager: TriagerLike
    texts: list[str]
    predicted: pd.DataFrame
    frame: pd.DataFrame
    labels: dict[str, Objects]
    known: dict[str, Bools]

    def is_right(self, target: str) -> Bools:
        """Return whether the best label is the question's."""
        return _same(self.labels[target], self.predicted[target].to_numpy(object))


class _TargetResults:
    # Results for one target, over the questions that have a label for it.
    def __init__(self, questions: _Questions, target: str) -> None:
        rows = np.flatnonzero(questions.known[target])
        predicted = questions.predicted.iloc[rows]
        self.target = target
        self.n_missing = len(questions.texts) - len(rows)
        self.y_true = questions.labels[target][rows]
        self.y_pred = predicted[target].to_numpy(object)
        self.right = questions.is_right(target)[rows]
        self.assigned = (predicted[f"{target}_status"] == "assigned").to_numpy(bool)
        # A question that is empty may come without a probability.
        self.best = predicted[f"{target}_probability"].fillna(0.0).to_numpy(np.float64)
        self.frame = questions.frame.iloc[rows]
        self.threshold = questions.triager.thresholds.get(target)
        classes = pd.Index(list(questions.triager.classes_[target]), dtype=object)
        self.column = classes.get_indexer(pd.Index(self.y_true, dtype=object))
        texts = [questions.texts[row] for row in rows]
        proba = questions.triager.predict_proba(texts, target=target) if texts else np.empty((0, len(classes)))
        # Sums of float32 probabilities may pass 1 in the last digit.
        self.probability = np.clip(np.asarray(proba, np.float64), 0, 1)

    def overall(self) -> Row:
        """Return the row of `Evaluation.targets`."""
        n, n_right = len(self.right), int(self.right.sum())
        n_assigned, n_assigned_right = int(self.assigned.sum()), int((self.assigned & self.right).sum())
        low, high = proportion_interval(n_right, n)
        precision_low, precision_high = proportion_interval(n_assigned_right, n_assigned)
        threshold = self.threshold
        return {
            "target": self.target,
            "n": n,
            "n_missing": self.n_missing,
            "n_unseen": int((self.column < 0).sum()),
            "accuracy": _share(n_right, n),
            "accuracy_low": low,
            "accuracy_high": high,
            "macro_f1": macro_f1(self.y_true, self.y_pred),
            "ece": expected_calibration_error(np.clip(self.best, 0, 1), self.right),
            "brier": brier(self.probability, self.column),
            "n_assigned": n_assigned,
            "coverage": _share(n_assigned, n),
            "n_assigned_right": n_assigned_right,
            "precision": _share(n_assigned_right, n_assigned),
            "precision_low": precision_low,
            "precision_high": precision_high,
            "threshold": threshold.value if threshold else None,
            "promise": threshold.promise if threshold else None,
            "confidence": threshold.confidence if threshold and threshold.promise is not None else None,
            "promise_status": _promise_status(threshold, n_assigned_right, n_assigned),
        }

    def classes(self) -> Iterator[Row]:
        """Yield the rows of `Evaluation.classes`, in the order of the labels' names."""
        n_true, n_predicted, n_right, labels = _class_counts(self.y_true, self.y_pred)
        for place in sorted(range(len(labels)), key=lambda place: str(labels[place])):
            n, n_said, n_hit = int(n_true[place]), int(n_predicted[place]), int(n_right[place])
            yield {
                "target": self.target,
                "label": labels[place],
                "n": n,
                "n_predicted": n_said,
                "precision": _share(n_hit, n_said),
                "recall": _share(n_hit, n),
                "f1": 2 * n_hit / (n + n_said),
            }

    def slices(self) -> Iterator[Row]:
        """Yield the rows of `Evaluation.slices`."""
        for column in SLICES:
            if column not in self.frame:
                continue
            values = np.array(["" if missing else str(value) for value, missing in _cells(self.frame[column])], object)
            for value in sorted(set(values)):
                rows = values == value
                n, n_right, n_assigned = int(rows.sum()), int(self.right[rows].sum()), int(self.assigned[rows].sum())
                low, high = proportion_interval(n_right, n)
                yield {
                    "target": self.target,
                    "column": column,
                    "value": value,
                    "n": n,
                    "accuracy": _share(n_right, n),
                    "accuracy_low": low,
                    "accuracy_high": high,
                    "coverage": _share(n_assigned, n),
                    "precision": _share(int((self.assigned & self.right)[rows].sum()), n_assigned),
                }

    def reliability(self) -> Iterator[Row]:
        """Yield the rows of `Evaluation.reliability`."""
        for row in _rows(reliability(np.clip(self.best, 0, 1), self.right)):
            yield {"target": self.target, **row}

    def unseen(self) -> Iterator[Row]:
        """Yield the rows of `Evaluation.unseen`, in the order of the labels' names."""
        labels = self.y_true[self.column < 0]
        for label in sorted(set(labels.tolist()), key=str):
            yield {"target": self.target, "label": label, "n": int(np.count_nonzero(_equals(labels, label)))}


def _check_frame(triager: TriagerLike, frame: pd.DataFrame, text: str) -> None:
    # Every fault of the frame as a whole, at once.
    faults = []
    if not len(frame):
        faults.append(Fault(None, None, "must have a row or more"))
    if text not in frame:
        faults.append(Fault(None, text, f"must exist; the columns are {list(map(str, frame.columns))}"))
    if not any(name in frame for name in (*triager.targets, OUT_OF_SCOPE_COLUMN)):
        faults.append(Fault(None, None, f"must have one of the triager's targets {list(triager.targets)} as a column"))
    repeated = [name for name in (text, *triager.targets) if list(frame.columns).count(name) > 1]
    faults += [Fault(None, name, "must exist once") for name in repeated]
    if faults:
        raise DatasetError(source="DataFrame", faults=faults)


def _outside(triager: TriagerLike, frame: pd.DataFrame, labels: Mapping[str, Objects]) -> Bools:
    # Which rows belong to no class.
    outside = np.zeros(len(frame), bool)
    for target, column in labels.items():
        if OUT_OF_SCOPE_LABEL not in list(triager.classes_[target]):
            outside |= _equals(column, OUT_OF_SCOPE_LABEL)
    if OUT_OF_SCOPE_COLUMN in frame and OUT_OF_SCOPE_COLUMN not in triager.targets:
        words = ["" if missing else str(value).strip().lower() for value, missing in _cells(frame[OUT_OF_SCOPE_COLUMN])]
        faults = [
            Fault(row, OUT_OF_SCOPE_COLUMN, "must be true or false")
            for row, word in enumerate(words, 1)
            if word not in _TRUE | _FALSE
        ]
        if faults:
            raise DatasetError(source="DataFrame", faults=faults)
        outside |= np.array([word in _TRUE for word in words], bool)
    return outside


def _full_route(questions: _Questions, frame: pd.DataFrame) -> Row | None:
    # Jurisdiction with level or agency, where the frame says so and the triager can know.
    parts = [name for name in ROUTE_TARGETS if name in frame]
    if ROUTE_TARGETS[0] not in parts or len(parts) < 2 or any(name not in questions.labels for name in parts):
        return None
    rows = questions.known[ROUTE_TARGETS[0]]
    right = np.logical_and.reduce([~questions.known[name] | questions.is_right(name) for name in parts])[rows]
    low, high = proportion_interval(int(right.sum()), len(right))
    n_right = int(right.sum())
    return {
        "n": len(right),
        "accuracy": _share(n_right, len(right)),
        "accuracy_low": low,
        "accuracy_high": high,
    }


def _out_of_scope(triager: TriagerLike, predicted: pd.DataFrame, inner: Bools) -> Row:
    # How the messages out of scope fared, and how many questions were taken for such.
    said = np.logical_or.reduce(
        [(predicted[f"{target}_reason"] == "out_of_scope").to_numpy(bool) for target in triager.targets]
    )
    in_review = (predicted["route"] == "review").to_numpy(bool)
    n, n_recognized, n_false = int((~inner).sum()), int((said & ~inner).sum()), int((said & inner).sum())
    return {
        "n": n,
        "n_recognized": n_recognized,
        "n_review": int((in_review & ~inner).sum()),
        "n_false": n_false,
        "recall": _share(n_recognized, n),
        "precision": _share(n_recognized, n_recognized + n_false),
    }


def _promise_status(threshold: Threshold | None, n_right: int, n_assigned: int) -> str | None:
    # Whether these questions bear the promise out.
    if threshold is None or threshold.promise is None:
        return None
    if precision_lower_bound(n_right, n_assigned, threshold.confidence) >= threshold.promise:
        return "kept"
    if n_assigned and 1 - precision_lower_bound(n_assigned - n_right, n_assigned, threshold.confidence) < (
        threshold.promise
    ):
        return "not kept"
    return "cannot say"


# --- the summary ------------------------------------------------------------------------------------------------------


def _summary_lines(result: Evaluation) -> Iterator[str]:
    # Plain words first, then one line a target, then what needs attention.
    yield from _wrap(_opening(result))
    if result.n_unlabelled:
        yield from _wrap(f"{_count(result.n_unlabelled, 'row')} without a label left out.")
    if result.full_route:
        yield from _wrap(
            f"Full route right, decided or not: {_interval(result.full_route, 'accuracy')} % of "
            f"{_count(result.full_route['n'], 'question')}."
        )
    if result.out_of_scope:
        yield from _wrap(_out_of_scope_sentence(result.out_of_scope, result.n_questions))
    rows = _rows(result.targets)
    if rows:
        yield ""
        yield from _table(_TARGET_HEADS, [_target_cells(row) for row in rows])
        yield "Shares in per cent, with 95 % intervals in brackets; right: share of the assigned that is right."
    notes = [note for row in rows for note in _notes(row, result)]
    if notes:
        yield ""
        for note in notes:
            yield from _wrap(note)
    if len(result.slices):
        yield ""
        yield from _table(_SLICE_HEADS, [_slice_cells(row) for row in _rows(result.slices)])


def _opening(result: Evaluation) -> str:
    # The sentence for those who read no further.
    n, n_decided = result.n_questions, result.n_decided
    n_right = result.n_decided_right
    of_those = f"; of those, {n_right} {_is(n_right)} right" if n_decided else ""
    return (
        f"Of {_count(n, 'question')}, {n_decided} {_is(n_decided)} decided{of_those}; "
        f"{n - n_decided} {'goes' if n - n_decided == 1 else 'go'} to a person."
    )


def _out_of_scope_sentence(counts: Mapping[str, Any], n_questions: int) -> str:
    # Both kinds of error in one sentence.
    return (
        f"Of {_count(counts['n'], 'message')} out of scope, {counts['n_recognized']} {_is(counts['n_recognized'])} "
        f"recognised and {counts['n_review']} {'goes' if counts['n_review'] == 1 else 'go'} to a person; "
        f"{counts['n_false']} of {_count(n_questions, 'question')} {_is(counts['n_false'])} taken for out of scope."
    )


_TARGET_HEADS = ["target", "n", "accuracy", "macro-F1", "ECE", "Brier", "assigned", "right"]
_SLICE_HEADS = ["target", "slice", "n", "accuracy", "assigned", "right"]


def _target_cells(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["target"]),
        str(row["n"]),
        _interval(row, "accuracy"),
        _percent(row["macro_f1"]),
        _decimal(row["ece"]),
        _decimal(row["brier"]),
        _percent(row["coverage"]),
        _interval(row, "precision"),
    ]


def _slice_cells(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["target"]),
        f"{row['column']} {row['value'] or '(none)'}",
        str(row["n"]),
        _interval(row, "accuracy"),
        _percent(row["coverage"]),
        _percent(row["precision"]),
    ]


def _notes(row: Mapping[str, Any], result: Evaluation) -> Iterator[str]:
    # What a reader must know of one target besides its numbers.
    target = row["target"]
    if isinstance(row["promise_status"], str):
        yield f"{target}: promise {row['promise']:g} {_recheck(row)}."
    if row["n_unseen"]:
        labels = result.unseen[result.unseen["target"] == target]
        yield (
            f"{target}: {_count(row['n_unseen'], 'question')} with {_count(len(labels), 'label')} that training never "
            "saw, counted as wrong."
        )
    classes = result.classes[(result.classes["target"] == target) & (result.classes["n"] > 0)]
    hardest = classes[classes["recall"] < 1].sort_values(["recall", "n"], kind="stable").head(_HARDEST)
    if len(hardest) and len(classes) > 2:
        listed = [
            f"{_cut(str(one['label']), _LABEL_WIDTH)} ({_percent(one['recall'])} % of {one['n']})"
            for one in _rows(hardest)
        ]
        yield f"{target}: lowest recall in {', '.join(listed)}."


def _recheck(row: Mapping[str, Any]) -> str:
    # The promise on these questions, in words.
    if not row["n_assigned"]:
        return "cannot be checked here: nothing is assigned"
    counts = f"{row['n_assigned_right']} of {row['n_assigned']} right"
    return {
        "kept": f"is kept here with {100 * row['confidence']:g} % confidence ({counts})",
        "not kept": f"is not kept here ({counts})",
        "cannot say": f"can be neither confirmed nor refuted here ({counts})",
    }[row["promise_status"]]


def _table(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    # Columns of fixed width: names left and cut, numbers right.
    n_names = heads.index("n")
    cells = [
        [_cut(cell, _NAME_WIDTHS[place]) if place < n_names else cell for place, cell in enumerate(row)]
        for row in [heads, *rows]
    ]
    widths = [max(len(row[place]) for row in cells) for place in range(len(heads))]
    for row in cells:
        yield "  ".join(
            cell.ljust(width) if place < n_names else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )


# --- the model card ---------------------------------------------------------------------------------------------------


def model_card(triager: TriagerLike) -> str:
    """Describe a triager in Markdown: what it is for, what it was trained on, how good it is, where it ends.

    Parameters
    ----------
    triager : Triager
        The desk. Every number comes from ``triager.metrics``: an `Evaluation.to_dict`, or one for each of several
        splits under its name; other values are listed as they are. ``triager.description`` may give ``name``,
        ``language``, ``licence``, ``intended_use``, ``data``, ``limits``, ``recipe`` and more.

    Returns
    -------
    str
        Ends with a newline. The same triager gives the same text.

    References
    ----------
    Mitchell et al. (2019), "Model Cards for Model Reporting", FAT*, 220-229.
    """
    about = dict(triager.description)
    name = str(about.pop("name", "Triage model"))
    parts = [f"# {_one_line(name)}", _facts(triager, about)]
    parts += ["## Intended use", _prose(about.pop("intended_use", _INTENDED_USE))]
    parts += ["## Data", _data(triager, about)]
    parts += ["## Measured", _measured(triager.metrics)]
    parts += ["## Promises", _promises(triager)]
    parts += ["## Out of scope", _scope(triager.metrics)]
    parts += ["## Limits", _prose(about.pop("limits", None), _LIMITS)]
    parts += ["## How to reproduce", _reproduction(about.pop("recipe", None))]
    if about:
        parts += ["## Further facts", _bullets(about)]
    return "\n\n".join(part for part in parts if part) + "\n"


_INTENDED_USE = (
    "To sort incoming questions for the staff of a desk: a label for each target with its probability, and whether a "
    "person must look. It answers no question, and decides nothing about a person's rights."
)
_LIMITS = (
    "Probabilities and promises hold for questions like the held-out ones. Other askers, topics, styles or rules of "
    "law are outside them: measure again on new questions before relying on the numbers.",
    "What is in review must be looked at by a person; what is assigned should be sampled.",
)
_ABOUT_FACTS = ("language", "licence", "license", "version")


def _facts(triager: TriagerLike, about: dict[str, Any]) -> str:
    # Targets first, then what the recipe says in a word; takes the latter out of `about`.
    targets = ", ".join(f"{target} ({_count(len(triager.classes_[target]), 'class')})" for target in triager.targets)
    facts = {name: about.pop(name) for name in _ABOUT_FACTS if name in about}
    return _bullets({"targets": targets, **facts})


def _data(triager: TriagerLike, about: dict[str, Any]) -> str:
    # What was trained on; `about` loses its ``data``.
    described = about.pop("data", None)
    counts = {
        name: value
        for name, value in triager.metrics.items()
        if name.startswith("n_") and not isinstance(value, Mapping) and not _is_evaluation(triager.metrics)
    }
    facts = {**counts, "fingerprint of the training table (SHA-256)": f"`{triager.fingerprint}`"}
    if isinstance(described, Mapping):
        return _bullets({**described, **facts})
    return "\n\n".join(part for part in (_prose(described), _bullets(facts)) if part)


def _measured(metrics: Mapping[str, Any]) -> str:
    # One table for each evaluation, then the other values.
    evaluations = _evaluations(metrics)
    parts = []
    for title, values in evaluations.items():
        parts += [f"### {_one_line(title)}"] if title else []
        parts.append(_evaluation_markdown(values))
    if evaluations:
        parts.append(
            "Shares in per cent with 95 % Wilson intervals; ECE over 15 bins of equal width; Brier summed over "
            "classes; right: share right of the assigned."
        )
    others = {} if _is_evaluation(metrics) else _others(metrics)
    parts += [_bullets(others)] if others else []
    return "\n\n".join(parts) or "Nothing was measured at training."


def _evaluation_markdown(values: Mapping[str, Any]) -> str:
    # Sentence, table and notes of one `Evaluation.to_dict`.
    parts = []
    if all(isinstance(values.get(name), int) for name in ("n_questions", "n_decided", "n_decided_right")):
        n, n_decided, n_right = values["n_questions"], values["n_decided"], values["n_decided_right"]
        low, high = proportion_interval(n_right, n_decided)
        right = f" {n_right} of these right [{_percent(low)}, {_percent(high)}] %," if n_decided else ""
        parts.append(f"Of {_count(n, 'question')}: {n_decided} decided,{right} {n - n_decided} left to a person.")
    rows = [[_escape(cell) for cell in _target_cells(_Gaps(row))] for row in values["targets"]]
    lines = [_TARGET_HEADS, ["---"] + ["---:"] * (len(_TARGET_HEADS) - 1), *rows]
    parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if values.get("full_route"):
        row = _Gaps(values["full_route"])
        parts.append(f"Full route: {_interval(row, 'accuracy')} % of {_count(row['n'], 'question')}.")
    rechecks = [_Gaps(row) for row in values["targets"] if row.get("promise_status")]
    parts += ["\n".join(f"- {row['target']}: promise {row['promise']:g} {_recheck(row)}" for row in rechecks)]
    return "\n\n".join(part for part in parts if part)


def _promises(triager: TriagerLike) -> str:
    # One line a target, from the thresholds.
    lines = {
        target: str(triager.thresholds.get(target) or "no promise, no threshold measured") for target in triager.targets
    }
    return _bullets(lines)


def _scope(metrics: Mapping[str, Any]) -> str:
    # What was measured on messages out of scope.
    lines = {
        title or "measured": _out_of_scope_sentence(values["out_of_scope"], values["n_questions"])
        for title, values in _evaluations(metrics).items()
        if values.get("out_of_scope") and "n_questions" in values
    }
    return _bullets(lines) if lines else "Not measured: the evaluation had no messages that are out of scope."


def _reproduction(recipe: Any) -> str:
    # Commands that give this model and its numbers again.
    path = _one_line(str(recipe)) if isinstance(recipe, str) else "recipe.toml"
    return f"```\ntriage train {path}\ntriage evaluate MODEL QUESTIONS\n```\n\nTraining twice gives the same bytes."


def _is_evaluation(values: Any) -> bool:
    # Whether it looks like an `Evaluation.to_dict`.
    return isinstance(values, Mapping) and isinstance(values.get("targets"), list)


def _evaluations(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    # Evaluations by name; a single one has no name.
    if _is_evaluation(metrics):
        return {"": metrics}
    return {str(name): values for name, values in metrics.items() if _is_evaluation(values)}


def _others(metrics: Mapping[str, Any]) -> dict[str, Any]:
    # Metrics shown neither as a table nor with the data.
    return {
        name: value
        for name, value in metrics.items()
        if not _is_evaluation(value) and (isinstance(value, Mapping) or not name.startswith("n_"))
    }


class _Gaps(dict[str, Any]):
    # A row read back from JSON: what is absent or None is NaN.
    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__({name: math.nan if value is None else value for name, value in row.items()})

    def __missing__(self, name: str) -> float:
        return math.nan


def _bullets(values: Mapping[str, Any], indent: str = "") -> str:
    # A nested list of names and values.
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}- {_spaced(name)}:"] + ([_bullets(value, f"{indent}  ")] if value else [])
        else:
            lines.append(f"{indent}- {_spaced(name)}: {_value(value)}")
    return "\n".join(lines)


def _value(value: Any) -> str:
    # One value of a list.
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    return _one_line(str(value))


def _prose(text: Any, further: Sequence[str] = ()) -> str:
    # Paragraphs, or a list where several things are said.
    if isinstance(text, Mapping):
        return "\n".join([_bullets(text), *(f"- {line}" for line in further)])
    said = [text] if isinstance(text, str) else [str(line) for line in text or ()]
    lines = [_one_line(line) for line in (*said, *further)]
    return lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)


# --- small parts ------------------------------------------------------------------------------------------------------


def _outcomes(
    score: npt.ArrayLike, correct: npt.ArrayLike, *, name: str = "probability", bounded: bool = True
) -> tuple[Floats, Bools]:
    # Scores with what came of them, checked.
    values, right = np.asarray(score, np.float64), np.asarray(correct)
    if values.ndim != 1 or values.shape != right.shape:
        raise ValueError(f"{name} and outcomes must have one shape (n,), got {values.shape} and {right.shape}")
    fits = (values >= 0) & (values <= 1) if bounded else np.isfinite(values)
    if not fits.all():
        raise ValueError(f"{name} must be {'in [0, 1]' if bounded else 'finite'}, row {int(fits.argmin())} is not")
    if right.dtype != bool and not np.isin(right, (0, 1)).all():
        raise ValueError("outcomes must be booleans, or 0 and 1")
    return values, right.astype(bool)


def _cumulated(score: Floats, right: Bools) -> tuple[Floats, npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    # Distinct scores, highest first, with how many reach each and how many of these are right.
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.flatnonzero(np.diff(ordered, append=-np.inf) != 0)
    return ordered[last], (last + 1).astype(np.int_), np.cumsum(right[order], dtype=np.int_)[last]


def _calibration_error(bins: pd.DataFrame) -> float:
    # Expected calibration error from the bins of `reliability`.
    n = int(bins["n"].sum())
    gaps = (bins["accuracy"] - bins["probability"]).abs()
    return float((bins["n"] * gaps).sum() / n) if n else math.nan


def _label_pair(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Objects, Objects]:
    # Two columns of labels of one length.
    true, predicted = _objects(y_true), _objects(y_pred)
    if len(true) != len(predicted):
        raise ValueError(f"y_true and y_pred must have one length, got {len(true)} and {len(predicted)}")
    return true, predicted


def _objects(values: npt.ArrayLike) -> Objects:
    # One column of labels of any kind.
    column = np.asarray(values, object)
    if column.ndim != 1:
        raise ValueError(f"labels must have the shape (n_questions,), got {column.shape}")
    return column


def _class_counts(
    true: Objects, predicted: Objects
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_], npt.NDArray[np.int_], list[Any]]:
    # For each label that occurs: how often true, how often predicted, how often both; and the labels.
    codes, labels = pd.factorize(np.concatenate([true, predicted]))
    true_codes, predicted_codes = codes[: len(true)], codes[len(true) :]
    # Code -1 is no label: nothing was predicted for an empty question.
    counts: list[npt.NDArray[np.int_]] = [
        np.bincount(chosen[chosen >= 0], minlength=len(labels))
        for chosen in (true_codes, predicted_codes, true_codes[true_codes == predicted_codes])
    ]
    return counts[0], counts[1], counts[2], list(labels)


def _same(true: Objects, predicted: Objects) -> Bools:
    # Which labels are equal; NaN equals nothing.
    return np.array([bool(a == b) for a, b in zip(true, predicted, strict=True)], bool)


def _equals(labels: Objects, label: Any) -> Bools:
    # Which labels are this one.
    return np.array([bool(one == label) for one in labels], bool)


def _cells(column: pd.Series[Any]) -> list[tuple[Any, bool]]:
    # Values of a column, each with whether it is missing.
    return list(zip(column.tolist(), column.isna().tolist(), strict=True))


def _labels(column: pd.Series[Any]) -> Objects:
    # Labels of a column; None where there is none.
    labels = np.empty(len(column), object)
    for row, (value, missing) in enumerate(_cells(column)):
        labels[row] = None if missing or (isinstance(value, str) and not value.strip()) else value
    return labels


def _is_known(labels: Objects) -> Bools:
    # Where there is a label.
    return np.array([label is not None for label in labels], bool)


def _frame(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    # Rows as a table that has its columns also when there is no row.
    return pd.DataFrame(rows, columns=columns)


def _rows(frame: pd.DataFrame) -> list[Row]:
    # Rows of a table, each with its columns' names.
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    # JSON values: lists of rows for tables, numbers for numpy's, None for what is no number.
    if isinstance(value, pd.DataFrame):
        return [_plain(row) for row in _rows(value)]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _share(part: int, whole: int) -> float:
    # NaN when there is nothing to take a share of.
    return part / whole if whole else math.nan


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _decimal(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _interval(row: Mapping[str, Any], name: str) -> str:
    # A share with its interval, in per cent.
    if math.isnan(row[name]):
        return "-"
    return f"{_percent(row[name])} [{_percent(row[f'{name}_low'])}, {_percent(row[f'{name}_high'])}]"


def _count(n: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n} {noun if n == 1 else plural}"


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _cut(text: str, width: int) -> str:
    line = _one_line(text)
    return line if len(line) <= width else line[: width - 1] + "…"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _spaced(name: Any) -> str:
    return _one_line(str(name).replace("_", " "))


def _escape(cell: str) -> str:
    return _one_line(cell).replace("|", "\\|")


_wrap: Callable[[str], list[str]] = textwrap.TextWrapper(_WIDTH, subsequent_indent="  ").wrap
