"""The parts of an index: segments that never change, with what is gone of them, and segments made of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.index import exact
from triage.index.bounded import BoundedSegment, Make, build_bounded
from triage.index.exact import ExactSegment
from triage.index.rows import common_features, leave_out, stacked, unit_rows

Keys = npt.NDArray[np.int64]
_NO_KEYS = np.zeros(0, np.int64)
_CHUNK_ROWS = 8192


class Segment(Protocol):
    """Items that never change, in one of the forms of `ExactSegment`, which says what the methods do."""

    kind: ClassVar[str]

    @property
    def keys(self) -> Keys:
        """Ascending."""

    def search(
        self, Q: Any, k: int, dead: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the most similar rows."""

    def cosines(self, q: Any, place: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the cosine of one query with some rows."""

    def take(self, place: npt.NDArray[np.intp]) -> Any:
        """Return some rows."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `from_arrays` takes."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_features: int) -> Self:
        """Return a segment whose arrays stay where they are; a ValueError says that they do not fit together."""


@dataclass(frozen=True, eq=False)
class Part:
    """A segment, which rows of it are gone, and the sub-folder that holds it, if one does."""

    segment: Segment
    dead: npt.NDArray[np.bool_] | None = None
    name: str | None = None

    @cached_property
    def live(self) -> npt.NDArray[np.intp]:
        """Places of the rows that are there."""
        return np.arange(len(self.segment.keys)) if self.dead is None else np.flatnonzero(~self.dead)

    @cached_property
    def n_live(self) -> int:
        """Rows that are there."""
        return len(self.segment.keys) - (0 if self.dead is None else int(np.count_nonzero(self.dead)))

    def find(self, keys: Keys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
        """Return which keys are there, and the places of those."""
        own = self.segment.keys
        place = np.minimum(np.searchsorted(own, keys), max(len(own) - 1, 0))
        there = own[place] == keys if len(own) else np.zeros(len(keys), bool)
        if self.dead is not None:
            there = there & ~self.dead[place]
        return there, place[there]

    def without(self, place: npt.NDArray[np.intp]) -> Part:
        """Return the part with more of its rows gone."""
        dead = np.zeros(len(self.segment.keys), bool) if self.dead is None else self.dead.copy()
        dead[place] = True
        return replace(self, dead=dead)


@dataclass(frozen=True, eq=False)
class State:
    """What a query sees, from its beginning to its end."""

    parts: tuple[Part, ...]
    left_out: npt.NDArray[np.bool_]
    last_key: int | None

    @cached_property
    def n_live(self) -> int:
        """Items."""
        return sum(part.n_live for part in self.parts)

    @cached_property
    def keys(self) -> Keys:
        """Keys of the items, ascending."""
        return np.sort(np.concatenate([_NO_KEYS, *(part.segment.keys[part.live] for part in self.parts)]))


def alike(earlier: Part, later: Part) -> bool:
    """Say whether two parts should become one: both searched whole, together still, and the earlier not far larger."""
    small = not any(isinstance(part.segment, BoundedSegment) for part in (earlier, later))
    return small and earlier.n_live + later.n_live <= exact.MOST_ROWS and earlier.n_live <= 2 * later.n_live


def joined(parts: list[Part]) -> tuple[Keys, Any]:
    """Return keys and rows of what is live of a few parts."""
    part, place, keys = order_of(parts)
    empty = parts[0].segment.take(np.zeros(0, np.intp))
    return keys, stacked([empty, *in_order(parts, part, place)])


def order_of(parts: Sequence[Part]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Keys]:
    """Return part, place and key of all live rows in the order of the keys."""
    part = np.repeat(np.arange(len(parts)), [one.n_live for one in parts])
    place = np.concatenate([np.zeros(0, np.intp), *(one.live for one in parts)])
    key = np.concatenate([_NO_KEYS, *(one.segment.keys[one.live] for one in parts)])
    order = np.argsort(key, kind="stable")
    return part[order], place[order], key[order]


def in_order(parts: Sequence[Part], part: npt.NDArray[np.intp], place: npt.NDArray[np.intp]) -> Iterator[Any]:
    """Yield rows of parts in a given order, chunk by chunk."""
    for start in range(0, len(part), _CHUNK_ROWS):
        owner, own = part[start : start + _CHUNK_ROWS], place[start : start + _CHUNK_ROWS]
        owners = np.unique(owner)
        blocks = [parts[one].segment.take(own[owner == one]) for one in owners.tolist()]
        if len(blocks) == 1:
            yield blocks[0]
        else:
            where = np.empty(len(owner), np.intp)
            where[np.argsort(owner, kind="stable")] = np.arange(len(owner))
            yield stacked(blocks)[where]


def merged(state: State, make: Make) -> tuple[Segment, npt.NDArray[np.bool_]]:
    """Return one segment of all live rows, and which features it leaves out."""
    n_features = len(state.left_out)
    part, place, keys = order_of(state.parts)
    frequency = np.zeros(n_features, np.int64)
    for X in in_order(state.parts, part, place):
        frequency += np.bincount(X.indices, minlength=n_features)
    common = common_features(frequency, len(keys))
    rows = (_without(X, common) for X in in_order(state.parts, part, place))
    if len(keys) <= exact.MOST_ROWS:
        empty = sp.csr_matrix((0, n_features), dtype=np.float32)
        return ExactSegment(keys, sp.vstack([empty, *rows], "csr")), state.left_out | common
    return build_bounded(keys, rows, np.where(common, 0, frequency), make), state.left_out | common


def _without(X: sp.csr_matrix, common: npt.NDArray[np.bool_]) -> sp.csr_matrix:
    """Return rows without some features, of length 1 again; a row that had none of them stays to the last bit."""
    rare = leave_out(X, common)
    if rare is X:
        return X
    changed = np.repeat(np.diff(rare.indptr) < np.diff(X.indptr), np.diff(rare.indptr))
    rare.data = np.where(changed, unit_rows(rare).data, rare.data)
    return rare
