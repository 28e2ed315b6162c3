"""The index of questions by the features that the classifier reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.index import exact
from triage.index.bounded import BoundedSegment, Make
from triage.index.changing import ChangingIndex
from triage.index.exact import ExactSegment
from triage.index.parts import Keys, Segment, State, merged
from triage.index.rows import common_features, leave_out, unit_rows


class QuestionIndex(ChangingIndex[sp.csr_matrix]):
    """Questions to be found again by their cosine; items come and go while others search.

    Make one by `from_matrix` or `open`. Any number of threads may call any method. A query never waits: it sees the
    items as they were when it began. Adding, removing and saving wait for each other; a merge runs beside them.

    An index on disk is as it was saved last; a kill at any moment leaves that, or what was just being saved. Items
    added since are lost, so keep them elsewhere, in an archive: after `open` add those whose key is above `last_key`,
    and remove those keys that the archive has no more.

    Notes
    -----
    Up to 20,000 items are searched whole, by exact cosine. A merge of more makes one large segment with weights
    rounded to a byte (a cosine moves by some 0.0002), where the cosine is taken of some hundred candidates that share
    with the query what few have. Similarities are those of rows without the features of more than 300 and of more than
    2 % of the items: they cost most of the time and hardly tell one question from another. Which these are is decided
    by `from_matrix` and anew by `merge`, which cannot bring back what was left out.

    Examples
    --------
    >>> X = sp.csr_matrix(np.array([[3, 4, 0], [0, 1, 1], [0, 0, 2]], np.float32))
    >>> index = QuestionIndex.from_matrix(X)
    >>> keys, similarity = index.query(X[0], k=2)
    >>> keys
    array([[0, 1]])
    >>> similarity.round(2)
    array([[1.  , 0.57]], dtype=float32)
    >>> index.add(X[0], [7])
    >>> index.remove([0])
    >>> index.query(X[0], k=1)[0].tolist(), index.keys.tolist()
    ([[7]], [1, 2, 7])
    """

    _segments: ClassVar[Mapping[str, type[Segment]]] = {one.kind: one for one in (ExactSegment, BoundedSegment)}

    @classmethod
    def from_matrix(cls, X: sp.csr_matrix, keys: npt.ArrayLike | None = None) -> Self:
        """Make an index of questions whose features are the rows of a matrix, of any length.

        Parameters
        ----------
        X : scipy.sparse.csr_matrix of shape (n_questions, n_features)
            Values at least 0.
        keys : int64 array of shape (n_questions,), optional
            Ascending; 0 to n_questions - 1 by default.

        Returns
        -------
        QuestionIndex
            In memory. For a large one on disk begin with some 20,000 questions, `save`, then `add` and `save` the
            others by blocks of as many, at last `merge` and `save`: no more than a block is in memory at once.

        Raises
        ------
        ValueError
            If the keys do not ascend or are not as many as the rows, or a value is not finite.
        """
        common = common_features(np.bincount(X.indices, minlength=X.shape[1]), X.shape[0])
        index = cls(State((), common, None))
        index.add(X, np.arange(X.shape[0]) if keys is None else keys)
        if len(index) > exact.MOST_ROWS:
            index.merge()
        return index

    def _shape(self, X: sp.csr_matrix) -> tuple[int, int]:
        return int(X.shape[0]), int(X.shape[1])

    def _kept(self, X: sp.csr_matrix) -> sp.csr_matrix:
        if not np.isfinite(X.data).all():
            raise ValueError("the values of a matrix must be finite")
        return unit_rows(leave_out(_canonical(X), self._state.left_out)).astype(np.float32, copy=False)

    def _asked(self, X: sp.csr_matrix) -> sp.csr_matrix:
        return unit_rows(_canonical(X))

    def _segment(self, keys: Keys, rows: Any) -> Segment:
        return ExactSegment(keys, rows)

    def _merged(self, state: State, make: Make) -> tuple[Segment, npt.NDArray[np.bool_]]:
        return merged(state, make)


def _canonical(X: sp.csr_matrix) -> sp.csr_matrix:
    """Return a matrix whose rows are sorted, without duplicates."""
    if X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X
