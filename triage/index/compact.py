"""Rows of column numbers in two bytes each, in memory or on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 1 << 16  # columns whose numbers fit two bytes


@dataclass(frozen=True, eq=False)
class CompactRows:
    """Which columns each row has, cut into blocks of 65,536 columns.

    Attributes
    ----------
    low : uint16 array of shape (n_values,)
        Column within its block; row by row, ascending.
    bounds : int64 array of shape (n_rows * n_blocks + 1,)
        Where the values of each block of each row begin.
    n_columns : int
    """

    low: npt.NDArray[np.uint16]
    bounds: npt.NDArray[np.int64]
    n_columns: int

    @property
    def n_blocks(self) -> int:
        """Blocks of a row."""
        return blocks_of(self.n_columns)

    def ends(self, row: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return where some rows begin and end."""
        return self.bounds[row * self.n_blocks], self.bounds[(row + 1) * self.n_blocks]

    def take(self, row: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """Return the columns of some rows, one after the other, and how many each row has."""
        of_block = self.bounds[row[:, None] * self.n_blocks + np.arange(self.n_blocks + 1)]
        columns = slices(self.low, of_block[:, 0], of_block[:, -1]).astype(np.intp)
        base = np.tile(np.arange(self.n_blocks) * BLOCK, len(row))
        columns += np.repeat(base, np.diff(of_block, axis=1).ravel())
        return columns, of_block[:, -1] - of_block[:, 0]


def blocks_of(n_columns: int) -> int:
    """Return into how many blocks the columns are cut."""
    return max(1, -(-n_columns // BLOCK))


def slices(values: npt.NDArray[Any], begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return slices joined; a few hundred copies are faster than an index for each value."""
    return np.concatenate([values[:0], *(values[i:j] for i, j in zip(begin.tolist(), end.tolist(), strict=True))])
