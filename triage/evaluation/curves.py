"""What would be at other thresholds: risk against coverage, and answers offered for reuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.evaluation.breakdown import promise_status
from triage.evaluation.shares import with_share
from triage.metrics import risk_coverage

#: Most points of a curve; thresholds between them change a question in some hundred.
MOST_POINTS = 120

_RISK = ["threshold", "coverage", "n_assigned", "n_wrong", "risk", "risk_low", "risk_high"]
_REUSE = ["threshold", "n_offered", "n_right", "coverage", "precision", "precision_low", "precision_high"]


def risk_curve(probability: npt.ArrayLike, right: npt.ArrayLike) -> pd.DataFrame:
    """Return the share of errors among the assigned at every threshold, at most `MOST_POINTS` of them.

    Parameters
    ----------
    probability : array-like of shape (n_questions,)
        Of the best label.
    right : array-like of bool of shape (n_questions,)

    Returns
    -------
    DataFrame
        ``threshold`` (falling), ``n_assigned``, ``n_wrong``, ``coverage``, ``risk`` with ``risk_low``, ``risk_high``.
    """
    values = risk_coverage(probability, right)
    n = len(np.asarray(right))
    assigned = np.rint(values["coverage"] * n).astype(int)
    wrong = np.rint(values["risk"] * assigned).astype(int)
    rows = [
        {
            "threshold": float(values["threshold"][place]),
            "coverage": float(values["coverage"][place]),
            **with_share(
                {"n_assigned": int(assigned[place]), "n_wrong": int(wrong[place])}, "risk", "n_wrong", "n_assigned"
            ),
        }
        for place in _spread(values["coverage"])
    ]
    return pd.DataFrame(rows, columns=_RISK, dtype=None if rows else float)


def reuse_curve(p_reuse: npt.ArrayLike, fits: npt.ArrayLike) -> pd.DataFrame:
    """Return how many first answers would be offered from each probability on, and how many of them fit.

    Parameters
    ----------
    p_reuse : array-like of shape (n_questions,)
        Probability that the first answer fits.
    fits : array-like of bool of shape (n_questions,)

    Returns
    -------
    DataFrame
        ``threshold`` (falling), ``n_offered``, ``n_right``, ``coverage``, ``precision`` with ``precision_low``,
        ``precision_high``.

    Examples
    --------
    >>> reuse_curve([0.9, 0.6, 0.6], [True, True, False])[["threshold", "n_offered", "n_right"]].to_numpy().tolist()
    [[0.9, 1.0, 1.0], [0.6, 3.0, 2.0]]
    """
    curve = risk_curve(p_reuse, fits)
    rows = [
        with_share(
            {
                "threshold": row["threshold"],
                "n_offered": row["n_assigned"],
                "n_right": row["n_assigned"] - row["n_wrong"],
                "coverage": row["coverage"],
            },
            "precision",
            "n_right",
            "n_offered",
        )
        for row in curve.astype(object).to_dict("records")
    ]
    return pd.DataFrame(rows, columns=_REUSE, dtype=None if rows else float)


def reuse_facts(by: str, predicted: pd.DataFrame, fits: pd.Series[bool], threshold: Any) -> Mapping[str, Any]:
    """Return what was offered for reuse, and whether the promise holds.

    Parameters
    ----------
    by : str
        Column that says which answer is right.
    predicted : DataFrame
        As `Triager.predict_frame` gives it.
    fits : Series of bool
        Whether the first answer is right.
    threshold : Threshold or None

    Returns
    -------
    dict
        ``by``, ``n``, ``n_first_right``, ``n_offered`` (route ``reuse``), ``n_offered_right``, ``threshold``,
        ``promise``, ``promise_status``.
    """
    offered = predicted["route"] == "reuse"
    n_offered, n_right = int(offered.sum()), int((offered & fits).sum())
    return {
        "by": by,
        "n": len(fits),
        "n_first_right": int(fits.sum()),
        "n_offered": n_offered,
        "n_offered_right": n_right,
        "threshold": None if threshold is None else threshold.value,
        "promise": None if threshold is None else threshold.promise,
        "promise_status": None if threshold is None else promise_status(threshold, n_right, n_offered),
    }


def _spread(coverage: npt.NDArray[np.float64]) -> list[int]:
    """Return places of at most `MOST_POINTS` points, evenly spread over the coverage, the first and last among them."""
    if len(coverage) <= MOST_POINTS:
        return list(range(len(coverage)))
    wanted = np.linspace(coverage[0], coverage[-1], MOST_POINTS)
    return np.unique(np.searchsorted(coverage, wanted).clip(0, len(coverage) - 1)).tolist()  # type: ignore[no-any-return]
