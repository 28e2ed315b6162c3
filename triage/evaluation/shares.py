"""Counts of questions and the shares made of them, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.metrics import proportion_interval

#: With fewer questions than this a share is shown and not judged: its 95 % interval is some 40 points wide.
FEWEST = 20

#: Shares of a table of counts: what is counted, of which whole.
SHARES = {"accuracy": ("n_right", "n"), "precision": ("n_assigned_right", "n_assigned")}


def with_share(counts: Mapping[str, Any], name: str, part: str, whole: str) -> dict[str, Any]:
    """Return counts with a share of two of them and its Wilson interval at 95 %; NaN of nothing.

    Parameters
    ----------
    counts : mapping of str to int
    name : str
        Of the share.
    part, whole : str
        What is counted, of which whole.

    Returns
    -------
    dict
        The counts, and ``name``, ``name_low``, ``name_high``.

    Examples
    --------
    >>> with_share({"n_right": 3, "n": 4}, "accuracy", "n_right", "n")["accuracy"]
    0.75
    """
    share = counts[part] / counts[whole] if counts[whole] else math.nan
    low, high = proportion_interval(int(counts[part]), int(counts[whole]))
    return {**counts, name: share, f"{name}_low": low, f"{name}_high": high}


def shares_of(right: npt.ArrayLike, assigned: npt.ArrayLike) -> dict[str, Any]:
    """Return counts and shares of some questions of one target.

    Parameters
    ----------
    right, assigned : array-like of bool of shape (n_questions,)
        Whether the best label is right, and whether it was assigned.

    Returns
    -------
    dict
        ``n``, ``n_right``, ``n_assigned``, ``n_assigned_right``, ``coverage``, and of `SHARES` each with ``…_low``
        and ``…_high``.
    """
    good, sure = np.asarray(right, bool), np.asarray(assigned, bool)
    counts: dict[str, Any] = {"n": len(good), "n_right": int(good.sum()), "n_assigned": int(sure.sum())}
    counts["n_assigned_right"] = int((good & sure).sum())
    counts["coverage"] = counts["n_assigned"] / counts["n"] if counts["n"] else math.nan
    for name, (part, whole) in SHARES.items():
        counts = with_share(counts, name, part, whole)
    return counts


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values; None for what is no number."""
    names = list(map(str, frame.columns))
    cells = frame.astype(object).where(frame.notna(), None).to_numpy()
    return [{name: _plain(cell) for name, cell in zip(names, row, strict=True)} for row in cells]


def stacked(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one table of several, with the target each is of in front."""
    named = [frame.assign(target=target)[["target", *frame.columns]] for target, frame in frames.items()]
    named = [frame for frame in named if not frame.empty]
    return pd.concat(named, ignore_index=True) if named else pd.DataFrame()


def _plain(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) else cell
