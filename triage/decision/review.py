"""Probabilities to decisions: assigned, or left to a person, and why; and where a question goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.decision.threshold import DEFAULT_THRESHOLD
from triage.records import REASONS

#: Reason of each code of `review_reasons`; None for code 0, assigned.
REASON_OF_CODE: tuple[str | None, ...] = (None, *REASONS)

#: Jurisdiction of questions that belong elsewhere.
FORWARD = "other_agency"

_NEVER_REUSED = ("out_of_scope", "empty", "conflict")
_CODES = {reason: code for code, reason in enumerate(REASON_OF_CODE)}
_SECOND_TO_BEST = 3  # the second label is a rival when it has at least a third of the best one's probability

Codes = npt.NDArray[np.int8]


def review_reasons(
    probability: npt.ArrayLike,
    *,
    best: npt.ArrayLike | None = None,
    threshold: float | None,
    empty: npt.ArrayLike,
    out_of_scope: npt.ArrayLike,
    conflict: npt.ArrayLike | None = None,
) -> Codes:
    """Decide for each question of one target whether its best label is assigned.

    Parameters
    ----------
    probability : array-like of shape (n_questions, n_classes)
        Calibrated probabilities.
    best : array-like of shape (n_questions,), optional
        Probability of the label that would be assigned; the row's largest by default.
    threshold : float or None
        ``Threshold.value``, in [0, 1]; None, for a promise that cannot be kept, sends everything to review.
    empty : array-like of bool of shape (n_questions,)
        Nothing is left of the text to decide on.
    out_of_scope : array-like of bool of shape (n_questions,)
        The text belongs to no class.
    conflict : array-like of bool of shape (n_questions,), optional
        Two sources contradict each other.

    Returns
    -------
    ndarray of int8 of shape (n_questions,)
        0 for assigned, else the place of the reason in `REASON_OF_CODE`. Of several reasons the first of ``empty``,
        ``out_of_scope``, ``conflict``, ``ambiguous``, ``low_confidence`` is given.

    Raises
    ------
    ValueError
        If the shapes do not agree, a best probability is NaN, or `threshold` is not in [0, 1].

    Notes
    -----
    A best label below the threshold is ``ambiguous`` when it has one rival to choose from: the two best labels
    together reach the threshold (`DEFAULT_THRESHOLD` when it is None), and the second has at least a third of the
    best one's probability. Else it is ``low_confidence``. Someone who reviews an ambiguous question has two labels
    to choose from, so it is worth telling apart.

    Cost: one pass over the matrix, and a partial sort of the rows below the threshold.

    Examples
    --------
    >>> probability = [[0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.6, 0.15, 0.25], [0.9, 0.1, 0.0]]
    >>> codes = review_reasons(probability, threshold=0.88, empty=np.zeros(4, bool), out_of_scope=[0, 0, 0, 1])
    >>> [REASON_OF_CODE[code] for code in codes]
    [None, 'ambiguous', 'low_confidence', 'out_of_scope']
    """
    p = np.asarray(probability)
    if p.ndim != 2 or p.shape[1] == 0:
        raise ValueError(f"probability must have shape (n_questions, n_classes) with a class or more, got {p.shape}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1] or None, got {threshold}")
    flags = {"conflict": conflict, "out_of_scope": out_of_scope, "empty": empty}
    top = p.max(axis=1)
    if np.isnan(top).any():
        raise ValueError(f"probability must not be NaN, row {int(np.isnan(top).argmax())} is")
    chosen = top if best is None else np.asarray(best)
    codes = np.zeros(len(p), np.int8)
    below = np.arange(len(p)) if threshold is None else np.flatnonzero(chosen < threshold)
    codes[below] = _CODES["low_confidence"]
    if len(below) and p.shape[1] > 1:
        second = np.where(chosen[below] < top[below], top[below], np.partition(p[below], -2, axis=1)[:, -2])
        enough = DEFAULT_THRESHOLD if threshold is None else threshold
        rival = (chosen[below] + second >= enough) & (_SECOND_TO_BEST * second >= chosen[below])
        codes[below[rival]] = _CODES["ambiguous"]
    for reason, flag in flags.items():  # weakest first, the last one written stays
        if flag is not None:
            mask = np.asarray(flag, bool)
            if mask.shape != codes.shape:
                raise ValueError(f"{reason} must have shape ({len(p)},) like the rows of probability, got {mask.shape}")
            codes[mask] = _CODES[reason]
    return codes


def route_of(
    codes: Mapping[str, npt.ArrayLike],
    labels: Mapping[str, npt.ArrayLike],
    *,
    deciding: Sequence[str] | None = None,
    forward_target: str = "jurisdiction",
    forward_label: Any = FORWARD,
    reusable: npt.ArrayLike | None = None,
) -> npt.NDArray[np.object_]:
    """Return where each question goes.

    Parameters
    ----------
    codes : mapping of target to array-like of shape (n_questions,)
        Results of `review_reasons`.
    labels : mapping of target to array-like of shape (n_questions,)
        Best labels; only `forward_target` is looked up, and it may be absent.
    deciding : sequence of str, optional
        Targets that must be assigned for a question to leave the desk; default all of `codes`.
    forward_target : str, default="jurisdiction"
        Target that says who is competent. A desk without it forwards nothing.
    forward_label : object, default="other_agency"
        Its label for questions that belong elsewhere.
    reusable : array-like of shape (n_questions,), optional
        Whether an earlier answer surely fits.

    Returns
    -------
    ndarray of str of shape (n_questions,)
        ``"reuse"`` when an earlier answer fits, unless a deciding target is in review because the text is empty, out
        of scope or in conflict with the register; else ``"review"`` when one is in review, else ``"forward"`` when the
        question belongs elsewhere, else ``"answer"``.

    Raises
    ------
    ValueError
        If there is no deciding target, one is not in `codes`, or lengths differ.

    Examples
    --------
    >>> codes = {"topic": [0, 0, 0], "jurisdiction": [0, 0, 1]}
    >>> route_of(codes, {"jurisdiction": ["local", "other_agency", "other_agency"]}).tolist()
    ['answer', 'forward', 'review']
    """
    names = list(codes) if deciding is None else list(deciding)
    unknown = [name for name in names if name not in codes]
    if not names or unknown:
        raise ValueError(f"deciding must name one or more of {list(codes)}, got {names}")
    columns = {name: np.asarray(codes[name]) for name in names}
    n_questions = len(columns[names[0]])
    # An object array of labels, so that labels of any kind compare one by one.
    elsewhere = np.asarray(labels[forward_target], object) if forward_target in labels else None
    lengths = {name: column.shape for name, column in columns.items()}
    if elsewhere is not None:
        lengths[f"labels of {forward_target}"] = elsewhere.shape
    if reusable is not None:
        lengths["reusable"] = np.shape(reusable)
    if set(lengths.values()) != {(n_questions,)}:
        raise ValueError(f"codes and labels must have one value a question, got shapes {lengths}")
    routes = np.full(n_questions, "answer", dtype=object)
    if elsewhere is not None:
        routes[elsewhere == forward_label] = "forward"
    for column in columns.values():
        routes[column != 0] = "review"
    if reusable is not None:
        blocked = np.isin(np.stack(list(columns.values())), [_CODES[reason] for reason in _NEVER_REUSED]).any(0)
        routes[np.asarray(reusable, bool) & ~blocked] = "reuse"
    return routes
