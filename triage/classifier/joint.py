"""Several targets from one matrix of linear scores, read jointly.

A *block* of scores, linear in the features, has one for each combination of some targets' labels that was seen: of one
target (the topic), of a target with what only means something within it (jurisdiction × level × agency: who decides),
and of all targets together; a combination of all that was never seen has no probability of its own. Scores that the
same rows speak for and against, as those of a matter and of the only combination that it stands in, have their weights
once. What the blocks say is weighed on held-out scores, which calibrates the probabilities in the same step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.classifier.blocks import Block, Integers, codes_in, places_in, read_blocks, table_of
from triage.classifier.calibration import Link, softmax
from triage.classifier.outcomes import Outcomes
from triage.classifier.scores import Codes, Floats

MAX_COLUMNS = 65_535  # 16 bits each
_DENSE_WEIGHTS = 0.2  # weights denser than this are multiplied as a dense matrix


@dataclass(frozen=True, eq=False)
class JointClassifier:
    """Scores of combinations of labels, from one matrix of linear scores.

    Attributes
    ----------
    classes : dict of str to list
        Labels of each target, in the order of training.
    blocks : tuple of tuples of str
        The targets of each block; the last block is of all.
    column_of : integer array of shape (n_scores,)
        Column of each score, block by block; scores that always agree have one. At most 65,535 columns.
    combinations : int32 array of shape (n_combinations, n_targets)
        Class of each target in each combination of labels that the training table holds.
    values : int8 array of shape (n_weights,)
    columns : uint16 array of shape (n_weights,)
    starts : int32 array of shape (n_features + 1,)
        The weights as a sparse matrix by rows, in units of `scale`.
    scale, intercept : float32 arrays of shape (n_columns,)
    shares : float64 array of shape (n_kinds, n_blocks)
        Weight of each block in the score of a combination, by the combination's kind, see `apart` and `kinds_by`.
    constants : float64 array of shape (n_kinds,)
        What a combination's score has beside its blocks.
    temperatures : float64 array of shape (n_targets,)
        Exponent on each target's probabilities that calibrates them.
    within : dict of str to str
        Targets that only mean something within another: the level of a local jurisdiction.
    links : tuple of Link
        What the scores of each block mean.
    alone : dict of str to float
        What makes the softmax of a block of one target alone a calibrated probability.
    apart : str or None
        A target that may have no label: combinations in which it is empty are of other kinds than those in which it is
        not.
    kinds_by : str or None
        A target each of whose classes makes kinds of its own. (How surely a high score for another agency means that no
        matter fits is another thing than how surely a high score for the ministry does. Held-out authors, industry and
        trade: route without a matter 70.5 with two kinds, 75.0 with six, none told from a matter 0.874 and 0.897.)
    added : int32 array of shape (n_added, n_targets), or None
        Combinations that training never saw: scored by the blocks that have learnt their labels. What a block has not
        learnt, as the block of all targets has none of these, scores -1: what a row is not.
    """

    classes: dict[str, list[Any]]
    blocks: tuple[Block, ...]
    column_of: npt.NDArray[np.integer[Any]]
    combinations: npt.NDArray[np.int32]
    values: npt.NDArray[np.int8]
    columns: npt.NDArray[np.uint16]
    starts: npt.NDArray[np.int32]
    scale: Floats
    intercept: Floats
    shares: Floats
    constants: Floats
    temperatures: Floats
    links: tuple[Link, ...]
    within: dict[str, str] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)
    apart: str | None = None
    kinds_by: str | None = None
    added: npt.NDArray[np.int32] | None = None

    @cached_property
    def outcomes(self) -> Outcomes:
        """The combinations of the training table."""
        return Outcomes(self.classes, self.combinations, self.within, self.temperatures)

    @cached_property
    def _tables(self) -> dict[Block, Integers]:
        """The combinations of each block's targets, as classes, (n_scores of the block, n_targets of the block)."""
        return {block: table_of(block, self.classes, self.combinations) for block in self.blocks}

    @cached_property
    def n_scores(self) -> int:
        """Number of scores of all blocks together."""
        return sum(len(table) for table in self._tables.values())

    @cached_property
    def columns_of(self) -> dict[Block, Codes]:
        """Column of each score of each block."""
        ends = np.cumsum([len(table) for table in self._tables.values()])
        return dict(zip(self.blocks, np.split(self.column_of.astype(np.intp), ends[:-1]), strict=True))

    @property
    def link_of(self) -> dict[Block, Link]:
        """What the scores of each block mean."""
        return dict(zip(self.blocks, self.links, strict=True))

    @cached_property
    def _weights(self) -> Floats | sp.csr_matrix:
        """The weights of shape (n_features, n_columns), dense or sparse, whichever is multiplied faster."""
        weights = sp.csr_matrix(
            (self.values * self.scale[self.columns], self.columns.astype(np.int32), self.starts),
            shape=(len(self.starts) - 1, len(self.intercept)),
        )
        return weights.toarray() if weights.nnz > _DENSE_WEIGHTS * weights.shape[0] * weights.shape[1] else weights

    @cached_property
    def parts(self) -> list[Codes]:
        """For each block, the column that adds to the score of each combination; one past the last is not learnt."""
        codes = self._codes
        parts = []
        for block, columns in self.columns_of.items():
            place = places_in(self._tables[block], codes_in(block, [*self.classes], codes))
            parts.append(np.where(place < 0, len(self.intercept), columns[place]))
        return parts

    @property
    def _codes(self) -> npt.NDArray[np.int32]:
        """The combinations of training, and the added ones."""
        return self.combinations if self.added is None else np.concatenate((self.combinations, self.added))

    @property
    def n_kinds(self) -> int:
        """Number of kinds of combinations."""
        return self._n_classed * (1 if self.apart is None else 2)

    @property
    def _n_classed(self) -> int:
        """Kinds that `kinds_by` makes: one a class, and one for combinations with a class that training never saw."""
        return 1 if self.kinds_by is None else len(self.classes[self.kinds_by]) + 1

    @cached_property
    def kind(self) -> Codes:
        """The kind of each combination, those of training and the added ones."""
        codes = self._codes
        names, kind = list(self.classes), np.zeros(len(codes), np.intp)
        if self.kinds_by is not None:
            kind += np.minimum(codes[:, names.index(self.kinds_by)], self._n_classed - 1)
        if self.apart is not None:
            empty = codes[:, names.index(self.apart)] == self.classes[self.apart].index("")
            kind += self._n_classed * empty
        return kind

    def share_of(self, target: str) -> float:
        """Return the share that the blocks of a target have together, in the mean of the combinations of training.

        With `apart`, of those in which it is not empty.

        Parameters
        ----------
        target : str

        Returns
        -------
        float
        """
        chosen = [place for place, block in enumerate(self.blocks) if target in block]
        kind = self.kind[: len(self.combinations)]
        whole = kind[kind < self._n_classed] if (kind < self._n_classed).any() else kind
        return float(self.shares[whole][:, chosen].sum(1).mean())

    @cached_property
    def weighted_parts(self) -> list[tuple[Codes, npt.NDArray[np.float32]]]:
        """For each block its `parts`, and its share in the score of each combination."""
        return list(zip(self.parts, self.shares.T[:, self.kind].astype(np.float32), strict=True))

    def scores(self, X: sp.csr_matrix) -> Floats:
        """Return the linear scores of all blocks, each that others always agree with once.

        Parameters
        ----------
        X : scipy.sparse.csr_matrix of shape (n_rows, n_features)

        Returns
        -------
        float32 array of shape (n_rows, n_columns)
        """
        product = X @ self._weights
        dense: Floats = product.toarray() if sp.issparse(product) else product
        return dense + self.intercept

    def combination_scores(self, scores: Floats) -> Floats:
        """Return the score of each combination of labels: what its blocks' scores mean, each by the block's share.

        Parameters
        ----------
        scores : float array of shape (n_rows, n_columns)

        Returns
        -------
        float32 array of shape (n_rows, n_combinations + n_added)
            Logits: their softmax is the joint distribution.
        """
        if self.added is not None:
            scores = np.hstack((scores, np.full((len(scores), 1), -1, scores.dtype)))
        said = {link: link(scores) for link in set(self.links)}
        logits = np.tile(self.constants[self.kind].astype(np.float32), (len(scores), 1))
        for (columns, share), link in zip(self.weighted_parts, self.links, strict=True):
            logits += share * said[link][:, columns]
        return logits

    def probability_alone(self, scores: Floats, target: str) -> Floats:
        """Return what the block of one target alone says by itself.

        Parameters
        ----------
        scores : float array of shape (n_rows, n_columns)
        target : str
            One of `alone`.

        Returns
        -------
        float array of shape (n_rows, n_classes)
            Calibrated; rows sum to 1.
        """
        own = scores[:, self.columns_of[(target,)]]
        return softmax(np.float32(self.alone[target]) * self.link_of[(target,)](own))

    def pull(self, scores: Floats, difference: Floats, features: Codes) -> Floats:
        """Return how strongly each feature pulls towards some combinations and away from others.

        Parameters
        ----------
        scores : float array of shape (n_columns,)
            Linear scores of one row.
        difference : float array of shape (n_combinations + n_added,)
            Weight of each combination's score in the sum that is explained.
        features : intp array of shape (n,)
            Columns of the matrix that are asked for.

        Returns
        -------
        float32 array of shape (n,)
            Weight of each feature in that sum. A row times these weights, plus a constant, is the sum exactly:
            what a link takes from a score, it takes from all its features alike.
        """
        from_intercept, to_score = self.intercept.astype(np.float64), scores.astype(np.float64)
        added = to_score - from_intercept
        column = np.zeros(len(added))
        for (columns, share), link in zip(self.weighted_parts, self.links, strict=True):
            # From the intercept to the score, what it means rises by this much for each unit of it.
            rise = np.divide(
                link(to_score) - link(from_intercept), added, out=np.zeros_like(added), where=np.abs(added) > 1e-9
            )
            column += rise * np.bincount(columns, share * difference, len(column) + 1)[:-1]
        weights: Floats = self._weights[features] @ column.astype(np.float32)
        return weights

    def to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return the classes as JSON values, and the numbers as arrays."""
        names = ("column_of", "combinations", "values", "starts", "scale", "intercept", "temperatures")
        classes = [{"target": target, "labels": labels} for target, labels in self.classes.items()]
        settings = {
            "classes": classes,
            "blocks": [list(block) for block in self.blocks],
            "within": self.within,
            "links": [list(link) for link in self.links],
            **({"alone": self.alone} if self.alone else {}),
        }
        arrays = {name: getattr(self, name) for name in names}
        settings |= {name: value for name in ("apart", "kinds_by") if (value := getattr(self, name)) is not None}
        if self.n_kinds == 1:  # as bundles were before there were kinds
            arrays["shares"] = self.shares[0]
        else:
            arrays |= {"shares": self.shares, "constants": self.constants}
        # Steps from column to column, low bytes apart from high ones: mostly small numbers, which deflate well.
        steps = np.diff(self.columns, prepend=np.uint16(0))
        packed = np.stack((steps & 0xFF, steps >> 8)).astype(np.uint8)
        return settings, {**arrays, "steps": packed}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the classifier from what `to_state` gave."""
        classes = {entry["target"]: entry["labels"] for entry in settings["classes"]}
        arrays = dict(arrays)
        if "steps" in arrays:  # bundles of format 1 have the columns themselves
            steps = arrays.pop("steps")
            if steps.dtype != np.uint8:
                raise ValueError(f"steps must be 8-bit, got {steps.dtype}")
            low, high = steps.astype(np.uint16)
            arrays["columns"] = np.cumsum(low + (high << 8), dtype=np.uint16)
        if "constants" not in arrays:
            arrays |= {"shares": arrays["shares"][None], "constants": np.zeros(1)}
        if "column_of" not in arrays:  # bundles of formats 1 to 4 have a column for each score
            if arrays["intercept"].size > MAX_COLUMNS:
                raise ValueError(f"there must be at most {MAX_COLUMNS} columns, got {arrays['intercept'].size}")
            arrays["column_of"] = np.arange(arrays["intercept"].size, dtype=np.uint16)
        blocks = read_blocks(settings["blocks"], [*classes])
        # bundles of formats 1 to 5 read all blocks alike
        links = settings["links"] if "links" in settings else [(3.0, settings["offset"])] * len(blocks)
        return cls(
            classes=classes,
            blocks=blocks,
            links=tuple(Link(*link) for link in links),
            within=settings["within"],
            alone=settings.get("alone", {}),  # bundles of before the register have none
            apart=settings.get("apart"),
            kinds_by=settings.get("kinds_by"),
            **arrays,
        )
