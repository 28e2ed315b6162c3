"""What every index is: a state of parts that is swapped whole, and what changes it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from triage.errors import BundleError
from triage.index import exact
from triage.index import folder as disk
from triage.index.bounded import Make
from triage.index.parts import Keys, Part, Segment, State, alike, joined

_NO_BITS = np.zeros(0, np.uint8)
_MOST_NAMED = 3  # keys in an error

Rows = TypeVar("Rows")


class ChangingIndex(ABC, Generic[Rows]):
    """Items found by the cosine of their rows; they come and go while others search.

    Any number of threads may call any method. A query never waits: it sees the items as they were when it began.
    Adding, removing and saving wait for each other; a merge runs beside them.

    An index on disk is as it was saved last; a kill at any moment leaves that, or what was just being saved. Items
    added since are lost, so keep them elsewhere, in an archive: after `open` add those whose key is above `last_key`,
    and remove those keys that the archive has no more.
    """

    _segments: ClassVar[Mapping[str, type[Segment]]]  # by kind

    def __init__(self, state: State) -> None:
        self._state = state
        self._writing = threading.Lock()
        self._merging = threading.Lock()
        self._n_in_merge = 0  # of the first parts, which stay as they are until the merge ends
        self._path: Path | None = None
        self._generation = 0  # of names in the folder
        self._sealed: dict[str, disk.Facts] = {}  # what the folder's manifest says of its segments
        self._being_made: list[str] = []  # sub-folder that a merge fills

    def __reduce__(self) -> tuple[Any, ...]:
        parts = tuple(replace(part, name=None) for part in self._state.parts)
        return type(self), (replace(self._state, parts=parts),)  # a copy has no folder: one index writes it

    # --- what rows are --------------------------------------------------------------------------

    @abstractmethod
    def _shape(self, X: Rows) -> tuple[int, int]:
        """Return rows and columns of a matrix."""

    @abstractmethod
    def _kept(self, X: Rows) -> Any:
        """Return rows as a segment keeps them; a ValueError says that they are not finite."""

    @abstractmethod
    def _asked(self, X: Rows) -> Any:
        """Return rows as a segment compares them."""

    @abstractmethod
    def _segment(self, keys: Keys, rows: Any) -> Segment:
        """Return a small segment of rows that are kept."""

    @abstractmethod
    def _merged(self, state: State, make: Make) -> tuple[Segment, npt.NDArray[np.bool_]]:
        """Return one segment of all live rows, and which features it leaves out."""

    # --- opening, saving --------------------------------------------------------------------------

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open what was saved; the arrays are mapped, so this takes no time.

        Parameters
        ----------
        folder : str or Path

        Returns
        -------
        Self

        Raises
        ------
        BundleError
            If there is no index, or it is damaged, incomplete or of a newer format.
        """
        path = Path(folder)
        manifest, arrays = disk.read_folder(path)
        try:
            state = arrays[manifest["state"]]
            left_out = _unpack(state["left_out"], manifest["n_features"])
            parts, n_bytes = [], 0
            for name, kind, has_dead in manifest["segments"]:
                segment = cls._segments[kind].from_arrays(arrays[name], len(left_out))
                parts.append(Part(segment, name=name))
                if has_dead:
                    parts[-1] = replace(parts[-1], dead=_unpack(state["dead"][n_bytes:], len(segment.keys)))
                    n_bytes += -(-len(segment.keys) // 8)
            index = cls(State(tuple(parts), left_out, manifest["last_key"]))
            index._path, index._generation = path, manifest["generation"]
            index._sealed = {part.name: manifest["members"][part.name] for part in parts if part.name is not None}
        except (LookupError, TypeError, ValueError) as error:
            raise BundleError(
                path=path, problem=f"must hold the arrays of an index, and does not ({error})", remedy=disk.RESTORE
            ) from error
        return index

    def save(self, folder: str | Path) -> None:
        """Save to a folder what is not yet there; from then on the saved arrays are mapped.

        Parameters
        ----------
        folder : str or Path
            That of this index, as opened or saved last, or one that holds no index yet.

        Raises
        ------
        BundleError
            If the folder holds another index, or anything else; or cannot be written.
        """
        path = Path(folder)
        with self._writing, disk.writing(path):
            parts = self._state.parts
            if self._path is None or path.resolve() != self._path.resolve():
                disk.check_free(path)
                path.mkdir(parents=True, exist_ok=True)
                parts = tuple(replace(part, name=None) for part in parts)
            self._generation += 1
            stored = [self._stored(path, number, part) for number, part in enumerate(parts)]
            sealed = {name: facts for _, name, facts in stored}
            state = f"state-{self._generation}"
            gone = [np.packbits(part.dead) for part in parts if part.dead is not None]
            left_out = np.packbits(self._state.left_out)
            disk.write_arrays(path, state, {"dead": np.concatenate([_NO_BITS, *gone]), "left_out": left_out})
            facts = {
                "generation": self._generation,
                "members": {**sealed, state: disk.seal(path, state)},
                "segments": [[name, part.segment.kind, part.dead is not None] for part, name, _ in stored],
                "state": state,
                "n_features": len(self._state.left_out),
                "last_key": self._state.last_key,
            }
            disk.write_manifest(path, facts, self._being_made)
            self._path, self._sealed = path, sealed
            self._state = replace(self._state, parts=tuple(part for part, _, _ in stored))

    def _stored(self, path: Path, number: int, part: Part) -> tuple[Part, str, disk.Facts]:
        """Return a part whose arrays are those in the folder, its name, and what the manifest says of it."""
        if part.name is not None:  # saved before, or made there by a merge and not sealed yet
            return part, part.name, self._sealed.get(part.name) or disk.seal(path, part.name)
        name = f"segment-{self._generation}-{number}"
        disk.write_arrays(path, name, part.segment.arrays())
        facts = disk.seal(path, name)
        segment = type(part.segment).from_arrays(disk.map_arrays(path / name, facts), len(self._state.left_out))
        return replace(part, segment=segment, name=name), name, facts

    # --- changing -------------------------------------------------------------------------------

    def add(self, X: Rows, keys: npt.ArrayLike) -> None:
        """Add items; a query finds them at once.

        Parameters
        ----------
        X : matrix of shape (n_items, n_features)
        keys : int64 array of shape (n_items,)
            Ascending, none of them in the index. To change an item remove it first.

        Raises
        ------
        ValueError
            If the keys do not ascend, are not as many as the rows or are in the index already, or the matrix is of
            another width, or a value is not finite. Then nothing is added.
        """
        added = _checked_keys(keys)
        self._check_width(X)
        n_rows, _ = self._shape(X)
        if len(added) != n_rows:
            raise ValueError(f"keys must be as many as the {n_rows} rows, got {len(added)}")
        rows = self._kept(X)
        if not len(added):
            return
        with self._writing:
            state = self._state
            if known := [key for part in state.parts for key in added[part.find(added)[0]].tolist()]:
                raise ValueError(f"keys must be new, got {_listed(known)} that are in the index; remove them first")
            pieces = [slice(start, start + exact.MOST_ROWS) for start in range(0, len(added), exact.MOST_ROWS)]
            parts = [*state.parts, *(Part(self._segment(added[piece], rows[piece])) for piece in pieces)]
            # Of small segments no more than a few of each size: two of like size become one.
            while len(parts) - self._n_in_merge > 1 and alike(*parts[-2:]):
                parts[-2:] = [Part(self._segment(*joined(parts[-2:])))]
            last = max([int(added[-1]), *([] if state.last_key is None else [state.last_key])])
            self._state = replace(state, parts=tuple(parts), last_key=last)

    def remove(self, keys: npt.ArrayLike) -> None:
        """Remove items; no query finds them from now on.

        Parameters
        ----------
        keys : int64 array of shape (n_items,)
            Ascending.

        Raises
        ------
        ValueError
            If the keys do not ascend, or one is not in the index. Then nothing is removed.
        """
        removed = _checked_keys(keys)
        with self._writing:
            state = self._state
            places = self._find(state, removed)
            gone = zip(state.parts, places, strict=True)
            parts = tuple(part.without(place) if len(place) else part for part, (_, place) in gone)
            self._state = replace(state, parts=parts)

    def merge(self) -> None:
        """Make one segment of all, without what was removed; queries, additions and removals go on meanwhile.

        Call it in a thread of its own when many items came or went: each segment of some thousand items costs a query
        some 0.1 ms. The features that are left out are decided anew. In a folder the new segment is written there,
        and the next `save` puts it in place of the old ones.
        """
        with self._merging:
            with self._writing:
                state, path = self._state, self._path
                self._generation += 1
                name = f"segment-{self._generation}"
                self._n_in_merge, self._being_made = len(state.parts), [name]
            try:
                on_disk = path is not None and state.n_live > exact.MOST_ROWS
                make = partial(disk.make_array, disk.fresh_folder(path, name)) if path and on_disk else _in_memory
                segment, left_out = self._merged(state, make)
                with self._writing:
                    part = Part(segment, name=name if on_disk and path == self._path else None)
                    self._put_merged(part, left_out, state)
            finally:
                self._n_in_merge, self._being_made = 0, []

    def _put_merged(self, part: Part, left_out: npt.NDArray[np.bool_], before: State) -> None:
        """Put a part in the place of those it was merged from, without what was removed meanwhile."""
        now = self._state
        for old, new in zip(before.parts, now.parts, strict=False):
            if new.dead is not None and new.dead is not old.dead:
                removed = old.segment.keys[old.live[new.dead[old.live]]]
                part = part.without(part.find(removed)[1])
        merged = (part,) if len(part.segment.keys) else ()
        self._state = State((*merged, *now.parts[len(before.parts) :]), left_out, now.last_key)

    # --- asking ---------------------------------------------------------------------------------

    def query(self, X: Rows, *, k: int) -> tuple[Keys, npt.NDArray[np.float32]]:
        """Return the most similar items.

        Parameters
        ----------
        X : matrix of shape (n_queries, n_features)
        k : int
            At most so many for each query, at least 1.

        Returns
        -------
        key : int64 array of shape (n_queries, min(k, n_items))
            Most similar first; among equals the earlier key.
        similarity : float32 array of the same shape
            Cosine, in [0, 1].

        Raises
        ------
        ValueError
            If `k` is less than 1, or the matrix is of another width.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        state = self._state
        self._check_width(X)
        Q, n = self._asked(X), self._shape(X)[0]
        keys, similarities = [np.zeros((n, 0), np.int64)], [np.zeros((n, 0), np.float32)]
        for part in state.parts:
            place, similarity = part.segment.search(Q, k, part.dead)
            keys.append(part.segment.keys[place])
            similarities.append(similarity)
        if len(state.parts) == 1 and state.parts[0].dead is None:
            return keys[1], similarities[1]
        key, similarity = np.concatenate(keys, 1), np.concatenate(similarities, 1)
        order = np.lexsort((key, -similarity))[:, : min(k, state.n_live)]  # what is gone has -1 and comes last
        return np.take_along_axis(key, order, 1), np.take_along_axis(similarity, order, 1)

    def cosines(self, X: Rows, keys: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return how similar given items are to one query.

        Parameters
        ----------
        X : matrix of shape (1, n_features)
        keys : int64 array of shape (n_items,)
            In any order.

        Returns
        -------
        float32 array of shape (n_items,)
            In [0, 1], what `query` gives for these items.

        Raises
        ------
        ValueError
            If `X` is no single row of the index's width, or a key is not in the index.
        """
        state = self._state
        self._check_width(X)
        if self._shape(X)[0] != 1:
            raise ValueError(f"X must be one row, got {self._shape(X)[0]}")
        asked = np.asarray(keys, np.int64)
        q = self._asked(X)
        cosine = np.zeros(len(asked), np.float32)
        for part, (there, place) in zip(state.parts, self._find(state, asked), strict=True):
            if len(place):
                cosine[there] = np.clip(part.segment.cosines(q, place), 0, 1)
        return cosine

    def __len__(self) -> int:
        return self._state.n_live

    @property
    def keys(self) -> Keys:
        """Keys of the items, ascending."""
        return self._state.keys

    @property
    def last_key(self) -> int | None:
        """The highest key that was ever added, also when its item is gone; None when none was."""
        return self._state.last_key

    def _check_width(self, X: Rows) -> None:
        width, got = len(self._state.left_out), self._shape(X)[1]
        if got != width:
            raise ValueError(f"a matrix must have the {width} features of the index, got {got}")

    def _find(self, state: State, keys: Keys) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]]:
        """Return for each part which keys are there and where; all must be in one."""
        found = [part.find(keys) for part in state.parts]
        missing = np.ones(len(keys), bool)
        for there, _ in found:
            missing &= ~there
        if missing.any():
            raise ValueError(f"keys must be in the index, got {_listed(keys[missing].tolist())} that are not")
        return found


def _checked_keys(keys: npt.ArrayLike) -> Keys:
    """Return keys as an array once they are numbers that ascend."""
    found = np.asarray(keys)
    if found.ndim != 1 or not (found.dtype.kind in "iu" or not found.size):
        raise ValueError(f"keys must be whole numbers in one row, got {found.dtype} of shape {found.shape}")
    if (found[1:] <= found[:-1]).any():
        raise ValueError("keys must ascend, each once; sort them with their rows, and leave out duplicates")
    return found.astype(np.int64)


def _listed(keys: list[int]) -> str:
    rest = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    return ", ".join(map(str, keys[:_MOST_NAMED])) + rest


def _unpack(bits: npt.NDArray[np.uint8], n: int) -> npt.NDArray[np.bool_]:
    unpacked = np.unpackbits(bits, count=n)
    if len(bits) * 8 < n:
        raise ValueError(f"expected {n} bits, got {len(bits) * 8}")
    return unpacked.astype(bool)


def _in_memory(name: str, dtype: Any, length: int) -> npt.NDArray[Any]:
    return np.empty(length, dtype)
