"""Decisions as columns of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.decision import REASON_OF_CODE
from triage.triager.batches import Batch
from triage.triager.deciding import Decided, Decider
from triage.triager.suggesting import Suggester

_PARTS = ("", "_probability", "_status", "_reason")  # columns of each target
_OF_QUESTION = ("route", "suggestion_id", "suggestion_p_reuse")


def clashing(targets: Sequence[str]) -> list[str]:
    """Return the targets that are called like another column of `Triager.predict_frame`."""
    counts = Counter([*_OF_QUESTION, *(f"{target}{part}" for target in targets for part in _PARTS)])
    return [target for target in targets if counts[target] > 1]


def columns_of(
    batches: Iterable[Batch],
    decider: Decider,
    suggester: Suggester,
    probabilities: dict[str, npt.NDArray[Any]] | None = None,
) -> dict[str, list[Any]]:
    """Return the columns of `Triager.predict_frame`.

    Parameters
    ----------
    batches : iterable of Batch
    decider : Decider
    suggester : Suggester
    probabilities : dict of str to array of shape (n_texts, n_classes), optional
        Filled in with every class's probability, of each target.

    Returns
    -------
    dict of str to list of length n_texts
    """
    columns: dict[str, list[Any]] = {f"{target}{part}": [] for target in decider.labels for part in _PARTS}
    columns |= {name: [] for name in _OF_QUESTION}
    order: list[int] = []
    for batch in batches:
        order += batch.places
        decided = decider.decide(batch.reading, batch.day)
        for target, array in (probabilities or {}).items():
            array[batch.places] = decided.probabilities[target]
        for name, cells in _of_batch(batch, decided, decider, suggester).items():
            columns[name] += cells
    if order != sorted(order):
        back = np.argsort(order).tolist()
        columns = {name: [cells[row] for row in back] for name, cells in columns.items()}
    return columns


def _of_batch(batch: Batch, decided: Decided, decider: Decider, suggester: Suggester) -> dict[str, list[Any]]:
    row = np.arange(len(batch.places))
    columns: dict[str, list[Any]] = {}
    for target, probability in decided.probabilities.items():
        best, codes = decided.best[target], decided.codes[target]
        columns[target] = decider.labels[target][best].tolist()
        columns[f"{target}_probability"] = probability[row, best].tolist()
        columns[f"{target}_status"] = np.where(codes == 0, "assigned", "review").tolist()
        columns[f"{target}_reason"] = [REASON_OF_CODE[code] for code in codes.tolist()]
    found = suggester.ranked(batch.reading, 1)
    columns["suggestion_id"] = [one.records[0]["id"] if one.records else None for one in found]
    columns["suggestion_p_reuse"] = [one.p_reuse[0] if one.records else np.nan for one in found]
    columns["route"] = decider.routes(decided, suggester.reusable(found, batch.days))
    return columns
