"""Blocks of scores: some targets together, with one score for each combination of their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Block = tuple[str, ...]
_WHOLE = "(combinations)"  # the block of all targets, in bundles of formats 1 to 3
Integers = npt.NDArray[np.integer[Any]]


def blocks_of(targets: Sequence[str], within: Mapping[str, str]) -> tuple[Block, ...]:
    """Return the blocks of some targets; those within another have one with it in the place of their own.

    What a commune decides is a clearer class than all that some commune decides, or all that has no agency. Held-out
    authors of land and of industry-trade, route right and mean negative logarithms of five targets: 92.4 (1.115) and
    88.1 (1.653) with a block for each target and one for all, 93.1 (1.102) and 88.3 (1.649) with these.

    Parameters
    ----------
    targets : sequence of str
    within : mapping of str to str
        Targets that only mean something within another.

    Returns
    -------
    tuple of tuples of str
        The last is of all targets.

    Raises
    ------
    ValueError
        If a target is within none of the others, or within one that is itself within another.

    Examples
    --------
    >>> blocks_of(["topic", "jurisdiction", "level"], {"level": "jurisdiction"})
    (('topic',), ('jurisdiction',), ('jurisdiction', 'level'), ('topic', 'jurisdiction', 'level'))
    """
    lost = [target for target in targets if target in within and within[target] not in {*targets} - {*within}]
    if lost:
        raise ValueError(f"a target must be within one that is within no other, got {lost[0]!r} in {within[lost[0]]!r}")
    blocks: list[Block] = []
    for target in targets:
        if target not in within:
            together = tuple(name for name in targets if name == target or within.get(name) == target)
            blocks += [(target,), together] if len(together) > 1 else [together]
    whole = tuple(targets)
    return tuple(blocks) if whole in blocks else (*blocks, whole)


def read_blocks(stored: Sequence[Any], targets: Sequence[str]) -> tuple[Block, ...]:
    """Return the blocks that a bundle has: each a list of targets, in formats 1 to 3 the name of one or of all.

    Parameters
    ----------
    stored : sequence of list or str
    targets : sequence of str

    Returns
    -------
    tuple of tuples of str

    Raises
    ------
    ValueError
        If there is none, one stands twice, or is of no target, of an unknown one, or of one twice.
    """
    blocks: list[Block] = []
    for block in stored:
        named = block if isinstance(block, list) else [*targets] if block == _WHOLE else [block]
        if not named or len(named) > len(targets) or len({*named}) < len(named) or not {*named} <= {*targets}:
            raise ValueError("a block must be of targets, each once")
        blocks.append(tuple(named))
    if not blocks or len({*blocks}) < len(blocks):
        raise ValueError("there must be blocks, each once")
    return tuple(blocks)


def codes_in(block: Block, targets: Sequence[str], codes: Integers) -> Integers:
    """Return the classes of a block's targets, (n_rows, n_targets of the block), from those of all targets."""
    return codes[:, [targets.index(target) for target in block]]


def table_of(block: Block, classes: Mapping[str, Sequence[Any]], combinations: Integers) -> Integers:
    """Return the combinations of a block's targets that stand in those of all, in order; of one target each class."""
    if len(block) == 1:
        return np.arange(len(classes[block[0]]))[:, None]
    return np.unique(codes_in(block, [*classes], combinations), axis=0)


def places_in(table: Integers, rows: Integers) -> npt.NDArray[np.intp]:
    """Return where each row stands in a table of different rows, -1 where it does not."""
    place = {row: number for number, row in enumerate(map(tuple, table.tolist()))}
    return np.array([place.get(row, -1) for row in map(tuple, rows.tolist())], np.intp)
