"""What is seen of a batch of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp


@dataclass(frozen=True, eq=False)
class Seen:
    """What the features see of some texts, each of which was read once.

    Attributes
    ----------
    ngrams : scipy.sparse.csr_matrix of shape (n_texts, n_features), float32
        How they are spelt; the columns of meaning are empty.
    vectors : float32 array of shape (n_texts, dim), or None
        What they mean, of length 1 or 0; None without an encoder.
    X : scipy.sparse.csr_matrix of shape (n_texts, n_features), float32
        Both, as a classifier takes them.
    known_shares : float64 array of shape (n_texts, 3)
        Share in [0, 1] of the tf-idf weight of characters, words and pairs that has a column.
    """

    ngrams: sp.csr_matrix
    vectors: npt.NDArray[np.float32] | None
    X: sp.csr_matrix
    known_shares: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.X.shape[0])

    def __getitem__(self, rows: Any) -> Seen:
        """Return what is seen of some of the texts, by a slice or an array of rows."""
        ngrams = self.ngrams[rows]
        X = ngrams if self.vectors is None else self.X[rows]
        return Seen(ngrams, None if self.vectors is None else self.vectors[rows], X, self.known_shares[rows])

    @staticmethod
    def joined(parts: Sequence[Seen]) -> Seen:
        """Return what is seen of several batches, one after the other."""
        if len(parts) == 1:
            return parts[0]
        ngrams = sp.vstack([part.ngrams for part in parts], format="csr")
        vectors = [part.vectors for part in parts if part.vectors is not None]
        X = sp.vstack([part.X for part in parts], format="csr") if vectors else ngrams
        shares = np.vstack([part.known_shares for part in parts])
        return Seen(ngrams, np.vstack(vectors) if vectors else None, X, shares)
