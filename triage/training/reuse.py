"""Re-asks to how sure it is that an earlier answer fits, and from when on it is offered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from triage.decision import fit_threshold
from triage.metrics import expected_calibration_error
from triage.reuse import fit_reuse
from triage.triager import Triager

REUSE = "reuse"  # its name among promises and metrics
_MOST_FOUND = 500  # answers that one question is held against


def with_reuse(
    triager: Triager,
    reasks: pd.DataFrame,
    text: str,
    trained: tuple[sp.csr_matrix, npt.NDArray[Any]],
    promise: float | None,
    random_state: int,
) -> Triager:
    """Return the desk with what re-asks teach of reuse.

    Parameters
    ----------
    triager : Triager
    reasks : DataFrame
        ``archive_id`` and ``near`` as text; the rows that have the first were trained on.
    text : str
        Its column of questions.
    trained : tuple of csr matrix and float array
        Features of the rows that were trained on, and their scores as if they had not been.
    promise : float or None
    random_state : int

    Returns
    -------
    Triager
    """
    fits = (reasks["archive_id"] != "").to_numpy()
    place = {record["id"]: row for row, record in enumerate(triager.records)}
    right = np.array([place.get(id, -1) for id in reasks["archive_id"]])
    about = np.where(fits, reasks["archive_id"], reasks["near"])
    if len(np.unique(about)) < 2:
        return triager
    others = triager.reader.read(reasks[text][~fits].tolist())
    X, scores = sp.vstack([trained[0], others.X]).tocsr(), np.vstack([trained[1], others.scores])
    order = np.argsort(np.concatenate((np.flatnonzero(fits), np.flatnonzero(~fits))))
    X, scores = X[order], scores[order]
    places, signals = triager.suggester.signals(X, triager.reader.outcome_scores(X, scores), _MOST_FOUND)
    is_right = places == right[:, None]
    right = np.where(is_right.any(1), is_right.argmax(1), -1)  # what is not found, does not fit
    groups = pd.factorize(pd.Series(about))[0]
    model, held_out = fit_reuse(signals, right, groups, random_state=random_state)
    row, best = np.arange(len(right)), held_out.argmax(1)
    sure, correct = held_out[row, best], best == right
    both = correct.any() and not correct.all()
    measured = {
        "n": len(right),
        "n_right": int(correct.sum()),
        "accuracy": float(correct.mean()),
        "ece": expected_calibration_error(sure, correct),
        "auroc": float(roc_auc_score(correct, sure)) if both else None,
    }
    return replace(
        triager,
        reuse=replace(triager.reuse, model=model, threshold=fit_threshold(sure, correct, promise=promise)),
        metrics={**triager.metrics, REUSE: measured},
    )
