"""What a classifier's outcomes mean on a day: the register says who decides the matter of each.

The classifier learns which matter a question is about; that does not change with the law. Who decides the matter
does, and is read off the row valid on the day. A matter that training never saw is an outcome as well, found by its
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.register.table import BODY, Register

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]

MATTER = "matter"
_LABELS = ("topic", *BODY)  # what a row decides, where it is a target

# What the name of a matter that training never saw says in place of the blocks of matters, which have not learnt it: a
# constant, a weight of the cosine between question and name, and one of how far this cosine exceeds the best of all
# matters known, all by the share of those blocks. Fitted to both desks with a quarter of the matters withheld in turn,
# mixed with the questions on all others; either desk's own best numbers serve the other as well to 0.5 % of the mean
# negative logarithm. See tests/benchmarks/jurisdiction.py.
_CONSTANT, _COSINE, _LEAD = 0.3, 1.7, 2.5

# The classifier's own label contradicts the register from these probabilities on, of the matter and of that label.
# On held-out questions of both desks 2 to 4 of 100 are such, and of these every fourth or fifth would be decided
# wrongly, of all others every tenth.
_SURE_MATTER, _SURE_LABEL = 0.5, 0.7


@dataclass(frozen=True)
class DatedOutcomes:
    """What outcomes mean on a day.

    Attributes
    ----------
    epoch : int
        Number of the time between two changes of the register.
    codes : int32 array of shape (n_outcomes, n_targets)
        Class of each target in each outcome.
    row : intp array of shape (n_outcomes,)
        Row of the register that says so, -1 where none does.
    ended : bool array of shape (n_outcomes,)
        The register has the matter, and no row of it is valid on the day.
    """

    epoch: int
    codes: npt.NDArray[np.int32]
    row: npt.NDArray[np.intp]
    ended: Bools


@dataclass(frozen=True)
class Competence:
    """A register beside the combinations of labels that a classifier has learnt.

    Attributes
    ----------
    register : Register
    classes : dict of str to list
        Labels of each target: the classifier's, then those that only the register has.
    codes : int32 array of shape (n_outcomes, n_targets)
        The classifier's combinations, then one for each matter that training never saw.
    n_learnt : int
        The first so many outcomes are the classifier's.
    """

    register: Register
    classes: dict[str, list[Any]]
    codes: npt.NDArray[np.int32]
    n_learnt: int
    _dated: dict[int, DatedOutcomes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, register: Register, classes: Mapping[str, list[Any]], combinations: npt.NDArray[np.int32]) -> Self:
        """Lay a register beside a classifier's combinations.

        Parameters
        ----------
        register : Register
        classes : mapping of str to list
            With a target ``matter``.
        combinations : int32 array of shape (n_combinations, n_targets)

        Returns
        -------
        Competence
        """
        known = {target: set(labels) for target, labels in classes.items()}
        facts = [register.facts(row) for row in range(len(register))]
        # A matter is scored by the labels of its last period, like those of training by the labels they had then.
        last = {matter: facts[row] for matter, row in zip(register.matters, register.last_row, strict=True)}
        new = [matter for matter in register.matters if matter not in known[MATTER]]
        of_row = {target: {row[target] for row in facts} for target in _LABELS if target in classes} | {MATTER: {*new}}
        whole = {
            target: [*labels, *sorted(of_row.get(target, set()) - known[target])] for target, labels in classes.items()
        }
        # What the register does not know of may be anything that training saw together.
        seen = np.unique(combinations[:, [target not in (*_LABELS, MATTER) for target in whole]], axis=0)
        added = []
        for matter in new:
            labels = {**{target: last[matter][target] for target in _LABELS}, MATTER: matter}
            codes = np.empty((len(seen), len(whole)), np.int32)
            free = iter(seen.T)
            for place, target in enumerate(whole):
                codes[:, place] = whole[target].index(labels[target]) if target in labels else next(free)
            added.append(codes)
        combined = np.concatenate((combinations, *added))
        return cls(register, whole, combined.astype(np.int32), len(combinations))

    @property
    def added(self) -> npt.NDArray[np.int32]:
        """The outcomes of matters that training never saw."""
        return self.codes[self.n_learnt :]

    @cached_property
    def matter_of(self) -> npt.NDArray[np.intp]:
        """Number in the register's matters of each outcome's matter, -1 for one that it has not, and for none."""
        of_class = np.array([self.register.number(label) for label in self.classes[MATTER]], np.intp)
        return of_class[self.codes[:, list(self.classes).index(MATTER)]]

    @cached_property
    def _row_codes(self) -> npt.NDArray[np.int32]:
        """Class of jurisdiction, level and agency in each row of the register, (n_rows, 3); -1 for no target."""
        codes = np.full((len(self.register), len(BODY)), -1, np.int32)
        for place, target in enumerate(BODY):
            if target in self.classes:
                of_label = {label: code for code, label in enumerate(self.classes[target])}
                labels = (self.register.facts(row)[target] for row in range(len(self.register)))
                codes[:, place] = [of_label[label] for label in labels]
        return codes

    def on(self, day: date) -> DatedOutcomes:
        """Return what the outcomes mean on a day; kept, as few days differ.

        Parameters
        ----------
        day : date

        Returns
        -------
        DatedOutcomes
            Outcomes with a valid row have its labels; all others keep those of training.
        """
        epoch = self.register.epoch(day)
        if epoch not in self._dated:
            known = self.matter_of >= 0
            row = np.full(len(self.codes), -1)
            row[known] = self.register.row_of(day)[self.matter_of[known]]
            codes = self.codes.copy()
            valid = row >= 0
            for place, target in enumerate(BODY):
                if target in self.classes:
                    codes[valid, list(self.classes).index(target)] = self._row_codes[row[valid], place]
            self._dated.setdefault(
                epoch, DatedOutcomes(epoch, codes, row, known & ~valid)
            )  # another thread may be first
        return self._dated[epoch]

    def contradicts(self, matter: Floats, alone: Floats | None, target: str, day: DatedOutcomes) -> Bools:
        """Say for each question whether its matter and the classifier's own label contradict each other.

        Parameters
        ----------
        matter : float array of shape (n_questions, n_matters)
            Probability of each matter, in the order of its classes.
        alone : float array of shape (n_questions, n_labels), or None
            What the classifier says of `target` without the matter; None where it cannot say.
        target : str
        day : DatedOutcomes

        Returns
        -------
        bool array of shape (n_questions,)
            The most probable matter is sure, and the classifier is sure of a label that this matter has neither on the
            day nor had in training (so that a change of law is no contradiction); or no row of the matter is valid on
            the day.
        """
        best = matter.argmax(1)
        of_outcome = self.codes[:, list(self.classes).index(MATTER)]
        known = np.zeros(matter.shape[1], bool)
        known[of_outcome[self.matter_of >= 0]] = True
        ended = np.zeros(matter.shape[1], bool)
        ended[of_outcome[day.ended]] = True
        found: Bools = ended[best].copy()
        if alone is not None:
            column, label = list(self.classes).index(target), alone.argmax(1)
            had = np.zeros((matter.shape[1], len(self.classes[target])), bool)
            had[of_outcome, self.codes[:, column]] = True
            had[of_outcome, day.codes[:, column]] = True
            found |= known[best] & ~had[best, label] & (alone.max(1) >= _SURE_LABEL)
        found &= matter[np.arange(len(matter)), best] >= _SURE_MATTER
        return found


@dataclass(frozen=True)
class NameScores:
    """Scores of matters that training never saw, by their names.

    Attributes
    ----------
    names : scipy.sparse.csr_matrix of shape (n_features, n_matters)
        Features of all names, turned.
    matter : intp array of shape (n_added,)
        Number of the matter of each outcome that was added.
    share : float
        Weight in an outcome's score of the blocks of matters, which have not learnt it.
    """

    names: sp.csr_matrix
    matter: npt.NDArray[np.intp]
    share: float

    @cached_property
    def _known(self) -> Bools:
        """The matters that training saw, (n_matters,)."""
        return ~np.isin(np.arange(self.names.shape[1]), self.matter)

    def scores(self, X: sp.csr_matrix) -> Floats:
        """Return what a matter's name adds to the scores of its labels.

        Parameters
        ----------
        X : scipy.sparse.csr_matrix of shape (n_questions, n_features)

        Returns
        -------
        float32 array of shape (n_questions, n_added)
        """
        cosine = (X @ self.names).toarray()
        known = cosine[:, self._known].max(1, keepdims=True, initial=0)
        new = cosine[:, self.matter]
        said = np.float32(_CONSTANT) + np.float32(_COSINE) * new + np.float32(_LEAD) * (new - known)
        # Several outcomes of one matter share what its name says.
        shared = np.log(np.bincount(self.matter, minlength=cosine.shape[1])[self.matter]).astype(np.float32)
        scores: Floats = np.float32(self.share) * said - shared
        return scores

    def pull(self, X: sp.csr_matrix, difference: Floats) -> Floats:
        """Return how strongly the features of one question pull towards some added outcomes and away from others.

        Parameters
        ----------
        X : scipy.sparse.csr_matrix of shape (1, n_features)
        difference : float array of shape (n_added,)
            Weight of each outcome in the sum that is explained.

        Returns
        -------
        float array of shape (n_features of the question,)
            Weight of each feature of the row in that sum, but for a constant.
        """
        cosine = (X @ self.names).toarray()[0]
        weight = (_COSINE + _LEAD) * np.bincount(self.matter, difference, len(cosine))
        known = np.where(self._known, cosine, 0)
        if known.any():
            weight[known.argmax()] -= _LEAD * difference.sum()
        pulled: Floats = self.names[X.indices] @ (self.share * weight)
        return pulled
