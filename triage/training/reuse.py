"""Re-asks to how sure it is that an earlier answer fits, and from when on it is offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

from triage.decision import fit_threshold
from triage.features import Seen
from triage.metrics import expected_calibration_error
from triage.reuse import MOST_POSSIBLE, fit_reuse
from triage.triager import Triager

Floats = npt.NDArray[np.floating[Any]]

REUSE = "reuse"  # its name among promises and metrics
_MOST_UNTAGGED = 0.1  # share of the answers that may be without a matter: each may be on any
_PROMISES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)  # that are tried, to be shown


def draw_unanswered(matters: Sequence[Any], archive: pd.DataFrame | None, n_fits: int, random_state: int) -> list[int]:
    """Draw questions that no archived answer is about, as many beside the re-asks as there are in the table.

    Parameters
    ----------
    matters : sequence of str or None
        Matter of each question of the table, empty for none.
    archive : DataFrame or None
        What `triage.training.tables.read_archive` gave.
    n_fits : int
        Number of re-asks that an answer fits.
    random_state : int

    Returns
    -------
    list of int
        Rows of the table; none where the matters of too many answers are not known, or no question is on any of them.
    """
    if archive is None or "matter_id" not in archive.columns:
        return []
    if (archive["matter_id"] == "").mean() > _MOST_UNTAGGED:
        return []
    answered = set(archive["matter_id"]) - {""}
    rows = [row for row, matter in enumerate(matters) if matter is not None and matter not in answered]
    share = len(rows) / max(1, len(matters))
    if share == 1:
        return []
    n_drawn = min(len(rows), round(n_fits * share / (1 - share)))
    drawn: list[int] = np.sort(np.random.default_rng(random_state).choice(rows, n_drawn, replace=False)).tolist()
    return drawn


def with_reuse(
    triager: Triager,
    reasks: pd.DataFrame,
    text: str,
    trained: tuple[Seen, npt.NDArray[Any]],
    promise: float | None,
    random_state: int,
) -> Triager:
    """Return the desk with what re-asks teach of reuse.

    Parameters
    ----------
    triager : Triager
    reasks : DataFrame
        ``archive_id`` of the answer that fits, or ``near`` of one that does not, though others may; with neither, no
        answer fits. As text; the rows that have the first were trained on.
    text : str
        Its column of questions.
    trained : tuple of Seen and float array
        Features of these rows, then of questions that no answer fits; and their scores as if they had not been trained
        on.
    promise : float or None
    random_state : int

    Returns
    -------
    Triager
    """
    fits = (reasks["archive_id"] != "").to_numpy()
    about = np.where(fits, reasks["archive_id"], reasks["near"])
    if len(np.unique(about)) < 2:
        return without_reuse(triager, promise)
    near_misses = triager.reader.read(reasks[text][~fits].tolist())
    # Among the questions that come are some that no answer is about: they teach, and a promise counts them too.
    n_fits, n_reasks = int(fits.sum()), len(fits)
    seen = Seen.joined([trained[0][:n_fits], near_misses.seen, trained[0][n_fits:]])
    scores = np.vstack([trained[1][:n_fits], near_misses.scores, trained[1][n_fits:]])
    outcome_scores = triager.reader.outcome_scores(seen.ngrams, scores)
    places, signals, unanswered = triager.suggester.signals(seen, outcome_scores, MOST_POSSIBLE)
    row_of = {record["id"]: row for row, record in enumerate(triager.records)}
    about = np.concatenate((about[fits], about[~fits]))
    named = places[:n_reasks] == np.array([row_of.get(id, -1) for id in about])[:, None]
    n_unanswered = len(seen) - n_reasks
    place = np.append(np.where(named.any(1), named.argmax(1), -1), np.full(n_unanswered, -1))
    groups = np.append(pd.factorize(about)[0], n_reasks + np.arange(n_unanswered))
    fits, is_reask = np.arange(len(place)) < n_fits, np.arange(len(place)) < n_reasks
    # Of a near miss that is not found nothing is known; an answer that is not found cannot be offered.
    known = fits | (place >= 0) | ~is_reask
    known[:n_reasks] |= about == ""
    if len(np.unique(groups[known & is_reask])) < 2:
        return without_reuse(triager, promise)
    right, ruled_out = np.where(fits, place, -1)[known], np.where(fits, -1, place)[known]
    model, held_out = fit_reuse(
        {name: signal[known] for name, signal in signals.items()},
        right,
        groups[known],
        ruled_out=ruled_out,
        unanswered=None if unanswered is None else unanswered[known],
        random_state=random_state,
    )
    best = held_out.argmax(1)
    told = (ruled_out < 0) | (best == ruled_out)  # of a near miss it is told only where it would be offered itself
    sure, correct, is_reask = held_out.max(1)[told], (best == right)[told], is_reask[known][told]
    measured = _measured(sure, correct, is_reask)
    fitted = {f"{share:g}": fit_threshold(sure, correct, promise=share) for share in _PROMISES}
    measured |= {
        "n_unanswered": n_unanswered,
        "could_promise": {share: one.coverage for share, one in fitted.items() if one.value is not None},
    }
    threshold = None if promise is None else fit_threshold(sure, correct, promise=promise)
    reuse = replace(triager.reuse, model=model, threshold=threshold)
    return replace(triager, reuse=reuse, metrics={**triager.metrics, REUSE: measured})


def _measured(sure: Floats, correct: npt.NDArray[np.bool_], is_reask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return how often the first answer to a re-ask fits, and how well its probability says so of all questions."""
    both = correct.any() and not correct.all()
    of_reasks = correct[is_reask]
    return {
        "n": len(of_reasks),
        "n_right": int(of_reasks.sum()),
        "accuracy": float(of_reasks.mean()) if len(of_reasks) else None,
        "ece": expected_calibration_error(sure, correct) if len(correct) else None,
        "auroc": float(roc_auc_score(correct, sure)) if both else None,
    }


def without_reuse(triager: Triager, promise: float | None) -> Triager:
    """Return a desk that could learn nothing of reuse: what was promised cannot be kept."""
    if promise is None:
        return triager
    return replace(triager, reuse=replace(triager.reuse, threshold=fit_threshold([], [], promise=promise)))
