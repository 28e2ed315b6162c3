"""Copies: the same words, or nearly, more than once; with other labels, in other splits, by other people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from triage.archive.duplicates import THRESHOLD, bands_of, similarities
from triage.dataset import checks
from triage.quality.findings import Finding
from triage.text import Normalizer, fold_text

_MOST_SHARING = 50  # of texts that share a band each is compared with the first so many
_PAIRS = 20_000  # compared at once


@dataclass(frozen=True, eq=False)
class Copies:
    """Rows with the same words.

    Attributes
    ----------
    rows : intp array
        From 0, ascending, at least two.
    exact : bool
        Whether they differ by case, diacritics, punctuation and space at most.
    """

    rows: npt.NDArray[np.intp]
    exact: bool

    def __str__(self) -> str:
        return "the same words" if self.exact else "nearly the same words"


def copies_of(texts: Sequence[str], language: str | None = None) -> list[Copies]:
    """Return which texts are copies of each other, word for word or nearly (see `triage.archive.duplicates`).

    Parameters
    ----------
    texts : sequence of str
    language : str, optional
        Language whose data normalises them.

    Returns
    -------
    list of Copies
        In the order of their first rows. A copy of a copy counts as one.

    Examples
    --------
    >>> [copies.rows.tolist() for copies in copies_of(["Hoà giải ở xã?", "thuế", "hoa giai o xa"])]
    [[0, 2]]
    """
    normalizer = Normalizer(language)
    keys, key_of = np.unique([fold_text(normalizer.normalize(text)) for text in texts], return_inverse=True)
    filled = np.array([any(map(str.isalnum, key)) for key in keys], bool)
    chosen = [str(key) for key in keys[filled]]
    left, right = _near_pairs(chosen)
    places = np.flatnonzero(filled)
    near = sp.coo_matrix((np.ones(len(left)), (places[left], places[right])), shape=(len(keys), len(keys)))
    _, group_of_key = sp.csgraph.connected_components(near, directed=False)
    rows = np.flatnonzero(filled[key_of])
    rows = rows[np.argsort(group_of_key[key_of[rows]], kind="stable")]
    parts = np.split(rows, np.flatnonzero(np.diff(group_of_key[key_of[rows]])) + 1)
    copies = [Copies(part, len(set(key_of[part])) == 1) for part in parts if len(part) > 1]
    return sorted(copies, key=lambda one: int(one.rows[0]))


def _near_pairs(texts: Sequence[str]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the pairs of nearly the same texts that share a band."""
    none = np.zeros(0, np.intp)
    if len(texts) < 2:
        return none, none
    bands = bands_of(texts)
    row = np.repeat(np.arange(len(texts)), bands.shape[1])
    order = np.argsort(bands.ravel(), kind="stable")
    starts = np.flatnonzero(np.diff(bands.ravel()[order])) + 1
    shared = [part for part in np.split(row[order], starts) if len(part) > 1]
    pairs = [
        np.stack((np.full(len(part) - first - 1, part[first]), part[first + 1 :]))
        for part in shared
        for first in range(min(len(part) - 1, _MOST_SHARING))
    ]
    if not pairs:
        return none, none
    left, right = np.unique(np.hstack(pairs), axis=1)
    kept = [
        similarities(texts, left[start : start + _PAIRS].tolist(), right[start : start + _PAIRS].tolist()) >= THRESHOLD
        for start in range(0, len(left), _PAIRS)
    ]
    alike = np.concatenate(kept)
    return left[alike], right[alike]


def copy_findings(
    copies: Sequence[Copies],
    text: str,
    labels: Mapping[str, pd.Series[str]],
    split: pd.Series[str] | None,
    groups: pd.Series[str] | None,
) -> Iterator[Finding]:
    """Say of each set of copies what is the matter with it.

    Parameters
    ----------
    copies : sequence of Copies
    text : str
        Column of the texts.
    labels : mapping of str to Series of str
        Labels of each target; empty where there is none.
    split, groups : Series of str or None
        In which split a row is, and who wrote it.

    Yields
    ------
    Finding
    """
    for one in copies:
        rows = one.rows
        numbers = tuple((rows + 1).tolist())
        faults = 0
        for target, of in labels.items():
            given = of.iloc[rows]
            counts = given[given != ""].value_counts(sort=False)
            if len(counts) > 1:
                faults += 1
                yield Finding("contradiction", target, numbers, f"{one}, labelled {_counted(counts)}")
        for kind, column in (("leak", split), ("shared", groups)):
            places = pd.Series(dtype=int) if column is None else column.iloc[rows].value_counts(sort=False)
            if len(places) > 1:
                faults += 1
                yield Finding(kind, text, numbers, f"{one}, in {_counted(places)}")
        if not faults:
            yield Finding("duplicate", text, numbers, f"{one}, {len(rows)} times")


def _counted(counts: pd.Series[int]) -> str:
    return ", ".join(f"{checks.cut(label) or '(none)'} ({n})" for label, n in sorted(counts.items()))
