"""Questions that are nearly the same as one trained on: what is measured on them flatters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from triage.archive.duplicates import nearest_duplicates
from triage.dataset import as_text
from triage.errors import DatasetError, Fault
from triage.evaluation.examples import shown_text

#: Slice of the questions that have a near duplicate among those trained on.
LEAK_SLICE = "near duplicate in training"

_MOST_LEAKS = 20


def leaks_of(
    texts: pd.Series[str], ids: pd.Series[str] | None, train: pd.DataFrame, text: str, language: str | None
) -> tuple[pd.DataFrame, pd.Series[str]]:
    """Return the questions that training had nearly the same, and for each row whether it did.

    Parameters
    ----------
    texts : Series of str
    ids : Series of str or None
    train : DataFrame
        What was trained on.
    text : str
        Its column of texts.
    language : str or None
        Whose personal data is masked.

    Returns
    -------
    leaks : DataFrame
        The nearest, see `Evaluation`.
    leaked : Series of str
        ``yes`` or ``no``.

    Raises
    ------
    DatasetError
        If `train` has no column `text`.
    """
    if text not in train:
        raise DatasetError(source="train", faults=[Fault(None, text, "must exist")])
    known = as_text(train[text]).tolist()
    known_ids = as_text(train["id"]).tolist() if "id" in train else None
    place, similarity = nearest_duplicates(texts.tolist(), known)
    found = np.flatnonzero(place >= 0)
    listed = found[np.argsort(-similarity[found], kind="stable")][:_MOST_LEAKS]
    leaks = [
        {
            "row": row + 1,
            "id": None if ids is None else ids.iloc[row],
            "like_row": int(place[row]) + 1,
            "like_id": None if known_ids is None else known_ids[place[row]],
            "similarity": float(similarity[row]),
            "text": shown_text(texts.iloc[row], language),
            "like_text": shown_text(known[place[row]], language),
        }
        for row in listed.tolist()
    ]
    columns = ["row", "id", "like_row", "like_id", "similarity", "text", "like_text"]
    leaked = pd.Series(["yes" if near else "no" for near in (place >= 0).tolist()], texts.index)
    return pd.DataFrame(leaks, columns=columns), leaked
