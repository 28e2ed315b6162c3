"""What an officer says a label must be, and what that must look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triage.dataset import checks
from triage.errors import Fault

Label = str | int | bool

#: Columns of exported rows; no target may be called so.
OWN_COLUMNS = ("id", "text", "date", "author")


@dataclass(frozen=True)
class Correction:
    """What an officer says a label must be.

    Attributes
    ----------
    sequence : int
        Number of the correction in its log, from 1.
    question : str
        Its text, personal data masked.
    question_id : str
        Empty where it has none.
    target : str
        Anything but a column that `FeedbackLog.export` adds: ``id``, ``text``, ``date``, ``author``.
    old_label : str, int, bool or None
        What the desk said; None where that is not known.
    old_probability : float or None
        How sure it was, in [0, 1].
    new_label : str, int or bool
        The same as `old_label` where an officer confirms it; empty where a question has none, as a question to the
        ministry has no level.
    who : str
        Personal data masked; may be empty.
    at : str
        When, in UTC.

    Examples
    --------
    >>> done = Correction(1, "Who signs?", "q1", "level", "province", 0.62, "commune", "An", "2025-10-01T08:00:00Z")
    >>> done.old_label, done.new_label
    ('province', 'commune')
    """

    sequence: int
    question: str
    question_id: str
    target: str
    old_label: Label | None
    old_probability: float | None
    new_label: Label
    who: str
    at: str


def check_correction(given: Mapping[str, Any]) -> None:
    """Check what is to become a correction.

    Parameters
    ----------
    given : mapping of str to object
        The arguments of `triage.FeedbackLog.append`, by their names.

    Raises
    ------
    DatasetError
        If any is not as `Correction` says; all are named.
    """
    probability = given["old_probability"]
    is_share = isinstance(probability, int | float) and not isinstance(probability, bool) and 0 <= probability <= 1
    problems = {
        "question": checks.text_problem(given["question"]),
        "target": _target_problem(given["target"]),
        "new_label": _label_problem(given["new_label"]),
        "old_label": None if given["old_label"] is None else _label_problem(given["old_label"]),
        "old_probability": None if probability is None or is_share else "must be a number in [0, 1]",
        "question_id": _optional_problem(given["question_id"]),
        "who": _optional_problem(given["who"]),
        "at": checks.moment_problem(given["at"]),
    }
    checks.raise_if([Fault(None, name, problem) for name, problem in problems.items() if problem], "feedback")


def _target_problem(target: Any) -> str | None:
    taken = isinstance(target, str) and target in OWN_COLUMNS
    return f"must be none of {', '.join(OWN_COLUMNS)}" if taken else checks.text_problem(target)


def _label_problem(label: Any) -> str | None:
    if isinstance(label, str) and not label:
        return None
    return (
        checks.label_problem()(label) if type(label) in (str, int, bool) else "must be text, a whole number or a bool"
    )


def _optional_problem(cell: Any) -> str | None:
    return None if isinstance(cell, str) and not cell else checks.text_problem(cell)
