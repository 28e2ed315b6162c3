"""What the archive answers besides items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NearDuplicate:
    """Two items that ask nearly the same in nearly the same words.

    Attributes
    ----------
    id : str
        The later item.
    like : str
        The earlier item.
    similarity : float
        Share of their runs of four characters that they have in common, in [0, 1].
    """

    id: str
    like: str
    similarity: float


@dataclass(frozen=True)
class Added:
    """What became of items that were to be added.

    Attributes
    ----------
    added : tuple of str
        Ids of the items stored, in their order.
    unchanged : tuple of str
        Ids of the items that were there already.
    near_duplicates : tuple of NearDuplicate
        New items that are nearly the same as another; among `added` only where that was asked for.
    """

    added: tuple[str, ...]
    unchanged: tuple[str, ...]
    near_duplicates: tuple[NearDuplicate, ...]


@dataclass(frozen=True)
class Change:
    """One change of the archive.

    Attributes
    ----------
    sequence : int
        Its number; that of a put is the item's key until the next change of the item.
    id : str
        The item.
    kind : {"put", "remove"}
    replaced : int or None
        Key that is no longer current, None when the item is new.
    """

    sequence: int
    id: str
    kind: Literal["put", "remove"]
    replaced: int | None
