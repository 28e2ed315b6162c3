"""What an evaluation cannot tell, in sentences: for the page and for the model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triage.evaluation.breakdown import SLICES
from triage.evaluation.shares import FEWEST

_MOST_NAMED = 8  # groups of a column


def unknowns(values: Mapping[str, Any]) -> list[str]:
    """Say what the questions of an evaluation cannot tell.

    Parameters
    ----------
    values : mapping
        As `Evaluation.to_dict` or `Evaluation.to_metrics` gives it, or as an older bundle keeps it, whose rows have
        no ``too_few``.

    Returns
    -------
    list of str
    """
    said = []
    for row in values["targets"]:
        own = [one for one in values["classes"] if one["target"] == row["target"]]
        n, few = row.get("n_classes", len(own)), row.get("n_classes_too_few", sum(map(_is_few, own)))
        if few:
            said.append(
                f"{few} of {n} classes of {row['target']} have fewer than {FEWEST} questions: too small to judge."
            )
        if row["promise_status"] == "cannot say":
            said.append(
                f"Whether the promise of {row['target']} holds: {row['n_assigned']} assigned questions can neither "
                "prove nor refute it."
            )
    small: dict[str, dict[str, None]] = {}
    for row in filter(_is_few, values["slices"]):
        small.setdefault(row["column"], {})[str(row["value"])] = None
    for column, groups in small.items():
        listed = f": {', '.join(groups)}" if len(groups) <= _MOST_NAMED else f", {len(groups)} of them"
        said.append(f"Groups by {column} that are too small to judge{listed}.")
    missing = [name for name in (*SLICES, "month") if name not in values.get("slice_columns", (*SLICES, "month"))]
    if missing:
        said.append(f"How it differs by {', '.join(missing)}: the questions do not say.")
    if values["out_of_scope"] is None:
        said.append("How messages that belong to no class fare: there were none.")
    return said


def _is_few(row: Mapping[str, Any]) -> bool:
    return bool(row["n"] < FEWEST)
