"""On what a decision rests besides the words: the matter, its row of the register, and what contradicts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.dataset import Taxonomy
from triage.records import Decision, Match
from triage.register import BODY, DatedOutcomes, Register
from triage.triager.reading import JURISDICTION, MATTER

_MOST_MATTERS, _LEAST_PROBABLE = 3, 0.05  # of a ranking of matters in the evidence


class Evidence:
    """Evidence of a chunk of questions on one day.

    Parameters
    ----------
    register : Register
    classes : mapping of str to list
    dated : DatedOutcomes
    codes : int array of shape (n_outcomes,)
        Class of the matter of each outcome.
    """

    def __init__(
        self, register: Register, classes: Mapping[str, list[Any]], dated: DatedOutcomes, codes: npt.NDArray[Any]
    ) -> None:
        self._register = register
        self._matters = classes[MATTER]
        # The row of a matter is that of any of its outcomes.
        self._row = np.full(len(self._matters), -1)
        self._row[codes] = dated.row

    def ranked(self, probability: npt.NDArray[Any], k: int) -> list[Match]:
        """Return the `k` most probable matters, and that there is none, by probability."""
        found: list[Match] = []
        n_matters = 0
        for place in np.argsort(-probability, kind="stable").tolist():
            matter = self._matters[place] or None
            if matter is not None and n_matters == k:
                continue
            n_matters += matter is not None
            row = int(self._row[place])
            found.append(Match(matter, float(probability[place]), None if row < 0 else self._register.facts(row)))
        return found

    def of(self, probability: npt.NDArray[Any], labels: Mapping[str, Any]) -> dict[str, Any]:
        """Return the most probable matter with its row, and the likeliest ones ranked.

        Parameters
        ----------
        probability : float array of shape (n_matters,)
            Of one question, in the order of the classes.
        labels : mapping of str to label
            What was decided.

        Returns
        -------
        dict
            ``matter`` and ``matters``.
        """
        likely = np.flatnonzero(probability >= _LEAST_PROBABLE)
        likely = likely[np.argsort(-probability[likely], kind="stable")]
        ranked = [
            {"matter_id": self._matters[place], "probability": float(probability[place])}
            for place in likely.tolist()
            if self._matters[place]
        ]
        best = int(likely[0]) if len(likely) else int(probability.argmax())
        if not self._matters[best]:
            return {"matter": None, "matters": ranked[:_MOST_MATTERS]}
        row = int(self._row[best])
        facts: dict[str, Any] = {"matter_id": self._matters[best], "probability": float(probability[best])}
        if row >= 0:
            facts |= self._register.facts(row)
        facts["agrees"] = row >= 0 and all(facts[name] == labels[name] for name in BODY if name in labels)
        return {"matter": facts, "matters": ranked[:_MOST_MATTERS]}


def both_sides(matter: Mapping[str, Any] | None, alone: npt.NDArray[Any], labels: list[Any]) -> dict[str, Any]:
    """Return what register and classifier say each of who is competent.

    Parameters
    ----------
    matter : mapping or None
        As `Evidence.of` gives it.
    alone : float array of shape (n_labels,)
        Probability of each jurisdiction without the matter.
    labels : list
        Jurisdictions.

    Returns
    -------
    dict
        ``register`` and ``classifier``.
    """
    best = int(alone.argmax())
    said = {name: (matter or {}).get(name) for name in ("matter_id", "probability", *BODY)}
    return {"register": said, "classifier": {JURISDICTION: labels[best], "probability": float(alone[best])}}


def forward_to(agency: Decision, taxonomy: Taxonomy | None) -> dict[str, Any]:
    """Return an agency, how sure it is, and its names by language as far as the desk's taxonomy has them."""
    names = {} if taxonomy is None else dict(taxonomy.agencies.get(agency.label, {}))
    return {"agency": agency.label, "probability": agency.probability, "status": agency.status, "names": names}
