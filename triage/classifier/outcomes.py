"""What may be decided of a question: combinations of labels, and the probability of each label among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from triage.classifier.calibration import softmax

Floats = npt.NDArray[np.floating[Any]]
Codes = npt.NDArray[np.intp]

_LEAST_PROBABILITY = 1e-9  # no label is impossible


@dataclass(frozen=True)
class _Grouping:
    """Columns sorted by a key, so that those of one key can be added up."""

    order: Codes
    starts: Codes
    keys: Codes  # of each sum, ascending

    @classmethod
    def of(cls, key: Codes) -> Self:
        """Group columns by their keys."""
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=-1))
        return cls(order, starts, key[order][starts])

    def sums(self, values: Floats) -> Floats:
        """Add up the columns of each key, (n_rows, n_keys)."""
        added: Floats = np.add.reduceat(values[:, self.order], self.starts, axis=1)
        return added


@dataclass(frozen=True)
class Outcomes:
    """Combinations of labels, of which exactly one is right for a question.

    Attributes
    ----------
    classes : dict of str to list
        Labels of each target. A label that stands in no combination has the least probability.
    codes : integer array of shape (n_outcomes, n_targets)
        Class of each target in each combination.
    within : dict of str to str
        Targets that only mean something within another: the level of a local jurisdiction.
    temperatures : float64 array of shape (n_targets,)
        Exponent on each target's probabilities that calibrates them.
    """

    classes: dict[str, list[Any]]
    codes: npt.NDArray[np.integer[Any]]
    within: dict[str, str]
    temperatures: Floats

    @cached_property
    def _members(self) -> dict[str, _Grouping]:
        """The outcomes by the class of each target; of a target within another by both classes."""
        names = list(self.classes)
        codes = {name: self.codes[:, place].astype(np.intp) for place, name in enumerate(names)}
        keys = {
            name: codes[self.within[name]] * len(self.classes[name]) + code if name in self.within else code
            for name, code in codes.items()
        }
        return {name: _Grouping.of(key) for name, key in keys.items()}

    @cached_property
    def _are_classes(self) -> bool:
        """Whether each outcome is one class of the only target, in their order, and calibrated as it stands."""
        in_order = np.array_equal(self.codes[:, 0], np.arange(len(next(iter(self.classes.values())))))
        return len(self.classes) == 1 and in_order and bool(self.temperatures[0] == 1)

    @cached_property
    def _pairs(self) -> dict[str, tuple[Codes, Codes, Codes, _Grouping, _Grouping]]:
        """For each target within another: class of the other, own class, place of the other, and both groupings."""
        found = {}
        for target in self.within:
            outer, inner = np.divmod(self._members[target].keys, len(self.classes[target]))
            place = np.unique(outer, return_inverse=True)[1]
            found[target] = outer, inner, place, _Grouping.of(outer), _Grouping.of(inner)
        return found

    def probabilities(self, joint: Floats) -> dict[str, Floats]:
        """Return calibrated probabilities of each target.

        Parameters
        ----------
        joint : float array of shape (n_rows, n_outcomes)
            Probability of each outcome.

        Returns
        -------
        dict of str to float array of shape (n_rows, n_classes)
            Rows sum to 1; columns in the order of `classes`; none is 0. A target within another is as
            probable as the other's class times its own share there.
        """
        found: dict[str, Floats] = {}
        if self._are_classes:
            return {target: np.maximum(joint, _LEAST_PROBABILITY) for target in self.classes}
        ordered = sorted(
            zip(self.classes, self.temperatures.tolist(), strict=True), key=lambda item: item[0] in self.within
        )
        for target, temperature in ordered:
            members, size = self._members[target], len(self.classes[target])
            mass = np.log(np.maximum(members.sums(joint), _LEAST_PROBABILITY)) * np.float32(temperature)
            if target not in self.within:
                found[target] = _spread(softmax(mass), members.keys, size, _LEAST_PROBABILITY)
                continue
            outer, _, place, by_outer, by_inner = self._pairs[target]
            share = np.exp(mass - mass.max(1, keepdims=True))
            pairs = share / by_outer.sums(share)[:, place] * found[self.within[target]][:, outer]
            probability = np.clip(by_inner.sums(pairs), _LEAST_PROBABILITY, 1)  # sums may pass 1 in the last digit
            found[target] = _spread(probability, by_inner.keys, size, _LEAST_PROBABILITY)
        return {target: found[target] for target in self.classes}

    def best(self, joint: Floats, probabilities: Mapping[str, Floats]) -> dict[str, Codes]:
        """Return the best class of each target; that of a target within another fits the other's best class.

        Parameters
        ----------
        joint : float array of shape (n_rows, n_outcomes)
        probabilities : mapping of str to float array of shape (n_rows, n_classes)
            What `probabilities` gave.

        Returns
        -------
        dict of str to intp array of shape (n_rows,)
        """
        best = {target: probability.argmax(1) for target, probability in probabilities.items()}
        for target, whole in self.within.items():
            outer, inner = self._pairs[target][:2]
            mass = np.where(outer == best[whole][:, None], self._members[target].sums(joint), -1)
            best[target] = inner[mass.argmax(1)]
        return best


def _spread(values: Floats, keys: Codes, size: int, rest: float) -> Floats:
    """Give each key its column, and `rest` to the columns without one."""
    if len(keys) == size:
        return values
    spread = np.full((len(values), size), rest, values.dtype)
    spread[:, keys] = values
    return spread
