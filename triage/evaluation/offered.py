"""What was offered for reuse, where the questions say which answer fits."""

from __future__ import annotations

from typing import Any

import pandas as pd

from triage.dataset import REGISTER_TARGETS, as_text
from triage.evaluation.curves import reuse_curve, reuse_facts
from triage.evaluation.desk import Desk

#: Column that names the answer that fits a question; empty beside a filled `NEAR_COLUMN` none does, and else unknown.
ANSWER_COLUMN, NEAR_COLUMN = "archive_id", "near"

_MATTER_COLUMN = REGISTER_TARGETS["matter"]


def answer_known(frame: pd.DataFrame) -> pd.Series[bool]:
    """Say of which questions it is known which answer fits, or that none does."""
    if ANSWER_COLUMN not in frame:
        return pd.Series(False, frame.index)
    known = as_text(frame[ANSWER_COLUMN]) != ""
    if NEAR_COLUMN in frame:
        known |= as_text(frame[NEAR_COLUMN]) != ""
    return known


def reuse_of(
    desk: Desk, frame: pd.DataFrame, predicted: pd.DataFrame, outside: pd.Series[bool]
) -> tuple[pd.DataFrame | None, dict[str, Any] | None]:
    """Return the curve and the facts of reuse, None where the questions or the desk cannot say."""
    if "suggestion_p_reuse" not in predicted or predicted["suggestion_p_reuse"].isna().all():
        return None, None
    if ANSWER_COLUMN in frame:
        by, known = ANSWER_COLUMN, answer_known(frame)
        fits = predicted["suggestion_id"].astype(str) == as_text(frame[ANSWER_COLUMN])
    elif _MATTER_COLUMN in frame:
        matter = {str(record["id"]): str(record.get(_MATTER_COLUMN) or "") for record in desk.records}
        by, wanted = _MATTER_COLUMN, as_text(frame[_MATTER_COLUMN])
        of_answer = predicted["suggestion_id"].astype(str).map(matter).fillna("")
        known = (wanted != "") & ~outside
        if not any(matter.values()):
            return None, None
        fits = of_answer == wanted
    else:
        return None, None
    p_reuse = predicted["suggestion_p_reuse"].fillna(0).clip(0, 1)
    if not known.any():
        return None, None
    facts = reuse_facts(by, predicted[known], fits[known], desk.reuse.threshold)
    return reuse_curve(p_reuse[known], fits[known]), dict(facts)
