"""Readings to decisions, each with its reason and its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.classifier import Outcomes, softmax
from triage.dataset import Taxonomy
from triage.decision import REASON_OF_CODE, Threshold, review_reasons, route_of
from triage.records import Decision, Suggestion, TriageResult
from triage.register import DatedOutcomes
from triage.triager.batches import Batch
from triage.triager.evidence import Evidence, both_sides, forward_to
from triage.triager.reading import DECIDING, JURISDICTION, MATTER, Reader, Reading
from triage.triager.reasons import Reasons


@dataclass(frozen=True)
class Decided:
    """What was decided of texts on whose days the outcomes mean the same.

    Attributes
    ----------
    outcomes : Outcomes
    dated : DatedOutcomes or None
        Rows of the register, with one.
    probabilities, codes, best : dict of str to array
        Of each target: probabilities (n_texts, n_classes), code of the reason, best class.
    conflict : bool array of shape (n_texts,), or None
    """

    outcomes: Outcomes
    dated: DatedOutcomes | None
    probabilities: dict[str, npt.NDArray[Any]]
    codes: dict[str, npt.NDArray[np.int8]]
    best: dict[str, npt.NDArray[Any]]
    conflict: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class Decider:
    """Decides what readings say.

    Attributes
    ----------
    reader : Reader
    thresholds : mapping of str to Threshold
        One a target.
    taxonomy : Taxonomy or None
        Names of the labels for people.
    """

    reader: Reader
    thresholds: Mapping[str, Threshold]
    taxonomy: Taxonomy | None

    @cached_property
    def labels(self) -> dict[str, npt.NDArray[Any]]:
        """Labels of each target, in the order of the columns of probabilities."""
        return {target: np.array(labels) for target, labels in self.reader.classes.items()}

    def decide(self, reading: Reading, day: str | None) -> Decided:
        """Return what is decided of texts on a day.

        Parameters
        ----------
        reading : Reading
            Of n_texts.
        day : str or None
            ISO text.

        Returns
        -------
        Decided
        """
        outcomes, dated = self.reader.meaning(day)
        joint = softmax(reading.outcome_scores)
        probabilities = outcomes.probabilities(joint)
        best = outcomes.best(joint, probabilities)
        outside = reading.scope >= self.reader.scope.threshold
        conflict = None if dated is None else self.reader.contradicts(reading, probabilities[MATTER], dated)
        disputed = [JURISDICTION] if JURISDICTION in probabilities else self._deciding
        row = np.arange(len(outside))
        codes = {
            target: review_reasons(
                probability,
                best=probability[row, best[target]],
                threshold=self.thresholds[target].value,
                empty=reading.empty,
                out_of_scope=outside,
                conflict=conflict if target in disputed else None,
            )
            for target, probability in probabilities.items()
        }
        for target, outer in outcomes.within.items():  # a level means nothing while the jurisdiction is open
            codes[target] = np.where(codes[outer] == 0, codes[target], codes[outer])
        return Decided(outcomes, dated, probabilities, codes, best, conflict)

    @property
    def _deciding(self) -> list[str]:
        """Targets that must be assigned for a question to leave the desk."""
        return [target for target in DECIDING if target in self.reader.classes] or list(self.reader.classes)

    def routes(self, decided: Decided, reusable: npt.NDArray[np.bool_] | None = None) -> list[str]:
        """Return where each question goes; `reusable` says which have an earlier answer that surely fits."""
        labels = {target: self.labels[target][place] for target, place in decided.best.items()}
        routes: list[str] = route_of(decided.codes, labels, deciding=self._deciding, reusable=reusable).tolist()
        return routes

    def result(
        self,
        batch: Batch,
        decided: Decided,
        row: int,
        route: str,
        suggestions: tuple[Suggestion, ...],
    ) -> TriageResult:
        """Return the answer to one question, the one in place `row` of a batch."""
        text, day, reading = batch.texts[row], batch.days[row], batch.reading
        vectors = reading.seen.vectors
        own = None if vectors is None else vectors[[row]]
        reasons = Reasons(self.reader, text, decided.outcomes, own)
        decisions = {}
        for target, labels in self.reader.classes.items():
            probability, label = decided.probabilities[target][row], int(decided.best[target][row])
            reason = REASON_OF_CODE[decided.codes[target][row]]
            decisions[target] = Decision(
                target=target,
                label=labels[label],
                probability=float(probability[label]),
                status="assigned" if reason is None else "review",
                reason=reason,
                ranking=partial(_ranking, labels, probability.copy(), label),  # type: ignore[arg-type]
                explain=partial(reasons.words_for, target, label),
            )
        evidence: dict[str, Any] = {"out_of_scope_score": float(reading.scope[row] - self.reader.scope.threshold)}
        if day is not None:
            evidence["as_of"] = day
        if decided.dated is not None:
            decision_labels = {target: decision.label for target, decision in decisions.items()}
            evidence |= self.evidence(decided).of(decided.probabilities[MATTER][row], decision_labels)
            evidence["conflict"] = None
            if decided.conflict is not None and decided.conflict[row] and JURISDICTION in self.reader.learnt.alone:
                alone = self.reader.learnt.probability_alone(reading.scores[row : row + 1], JURISDICTION)[0]
                evidence["conflict"] = both_sides(evidence["matter"], alone, self.reader.learnt.classes[JURISDICTION])
            if "agency" in decisions:
                evidence["forward_to"] = forward_to(decisions["agency"], self.taxonomy) if route == "forward" else None
        return TriageResult(decisions, route, suggestions, evidence)

    def evidence(self, decided: Decided) -> Evidence:
        """Return the evidence of a day, with a register."""
        assert self.reader.register is not None
        assert decided.dated is not None
        epoch = decided.dated.epoch
        if epoch not in self._evidence_of:  # kept, as few days differ
            codes = decided.outcomes.codes[:, list(decided.outcomes.classes).index(MATTER)]
            evidence = Evidence(self.reader.register, self.reader.classes, decided.dated, codes)
            self._evidence_of.setdefault(epoch, evidence)  # another thread may have been first
        return self._evidence_of[epoch]

    @cached_property
    def _evidence_of(self) -> dict[int, Evidence]:
        return {}


def _ranking(labels: Sequence[Any], probability: npt.NDArray[Any], best: int) -> tuple[tuple[Any, float], ...]:
    """Return all labels with their probabilities, the best first, then by probability."""
    order = np.argsort(-probability, kind="stable")
    if order[0] != best:  # another label is likelier, and does not fit the target it lies within
        order = np.concatenate(([best], order[order != best]))
    return tuple(zip([labels[place] for place in order.tolist()], probability[order].tolist(), strict=True))
