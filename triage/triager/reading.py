"""Texts to the probability of every outcome, by features, classifier and register together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.classifier import JointClassifier, Link, Outcomes, softmax
from triage.features import QuestionVectorizer, Seen
from triage.register import Competence, DatedOutcomes, NameScores, Register
from triage.scope import ScopeDetector, scope_statistics

DECIDING = ("topic", "jurisdiction")  # a desk's question leaves it when these are assigned
JURISDICTION, MATTER = "jurisdiction", "matter"

# Where outcomes have kinds by a target, the blocks that know the matter have about two thirds of the share that they
# had. On split `valid`, a quarter of the matters withheld (industry-trade: the first, land: the first two in turn), the
# mean negative logarithms of jurisdiction and matter fall by 3 and 12 %, 7 and 17 % against 1.
_SHARE_BY_KINDS = 1.5
# There scores were read by this link. Where a matter that is not learnt costs less than by it, shares are larger; what
# names say has no link, so their share is made smaller by as much. (Where it costs more, bundles answer as they did.)
_LINK_BY_KINDS = Link(3, 0.6)


@dataclass(frozen=True)
class Reading:
    """What the fitted parts see in some texts.

    Attributes
    ----------
    seen : Seen
        Their features.
    scores : float32 array of shape (n_texts, n_columns)
        Linear scores of the classifier's blocks.
    outcome_scores : float32 array of shape (n_texts, n_outcomes)
        Their softmax is the probability of each outcome.
    scope : float64 array of shape (n_texts,)
        Higher is further out of scope.
    empty : bool array of shape (n_texts,)
        Texts without a word of two letters.
    """

    seen: Seen
    scores: npt.NDArray[Any]
    outcome_scores: npt.NDArray[Any]
    scope: npt.NDArray[Any]
    empty: npt.NDArray[np.bool_]

    def of(self, rows: npt.NDArray[np.intp]) -> Reading:
        """Return the reading of some of the texts."""
        return Reading(*(getattr(self, part.name)[rows] for part in fields(self)))


@dataclass(frozen=True, eq=False)
class Reader:
    """Features, classifier, scope and register as one.

    Attributes
    ----------
    features : QuestionVectorizer
    learnt : JointClassifier
        As training left it.
    scope : ScopeDetector
    register : Register or None
    """

    features: QuestionVectorizer
    learnt: JointClassifier
    scope: ScopeDetector
    register: Register | None
    _meanings: dict[int | None, tuple[Outcomes, DatedOutcomes | None]] = field(default_factory=dict, repr=False)

    @cached_property
    def competence(self) -> Competence | None:
        """The register beside the outcomes; None without a register, or where questions have no matter."""
        if self.register is None or MATTER not in self.learnt.classes:
            return None
        return Competence.of(self.register, self.learnt.classes, self.learnt.combinations)

    @cached_property
    def classes(self) -> dict[str, list[Any]]:
        """Labels of each target, those that only the register has among them."""
        return self.learnt.classes if self.competence is None else self.competence.classes

    @cached_property
    def classifier(self) -> JointClassifier:
        """The classifier with an outcome for each matter that training never saw."""
        if self.competence is None or not len(self.competence.added):
            return self.learnt
        return replace(self.learnt, added=self.competence.added)

    @cached_property
    def _names(self) -> NameScores | None:
        """How matters that training never saw are found; None where there are none."""
        if self.competence is None or self.register is None or self.classifier is self.learnt:
            return None
        names = self.register.names(self.features.language, self.register.last_row)
        new = self.competence.matter_of[len(self.learnt.combinations) :]
        share = self.learnt.share_of(MATTER)
        if self.learnt.kinds_by is not None:
            links = self.learnt.link_of[(MATTER,)], _LINK_BY_KINDS
            not_learnt, there = (link(np.array(-1.0)) for link in links)
            share *= _SHARE_BY_KINDS * min(1.0, float(not_learnt / there))
        return NameScores(self.features.ngrams(names).T.tocsr(), new, share)

    def read(self, texts: Sequence[str], vectors: npt.NDArray[np.float32] | None = None) -> Reading:
        """Return what the fitted parts see in texts; `vectors`: what these mean, if that was read before."""
        words = self.features.words(texts)
        seen = self.features.read(texts, words, vectors)
        scores = self.classifier.scores(seen.X)
        outcome_scores = self.outcome_scores(seen.ngrams, scores)
        scope = self.scope.score(scope_statistics(outcome_scores, seen.known_shares))
        return Reading(seen, scores, outcome_scores, scope, ~words.readable())

    def outcome_scores(self, ngrams: sp.csr_matrix, scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the score of every outcome, (n_texts, n_outcomes), from n-grams and the classifier's scores."""
        outcome_scores = self.classifier.combination_scores(scores)
        if self._names is not None:
            outcome_scores[:, len(self.learnt.combinations) :] += self._names.scores(ngrams)
        return outcome_scores

    @cached_property
    def _undated(self) -> Outcomes:
        """What the outcomes meant in training."""
        codes = self.learnt.combinations if self.competence is None else self.competence.codes
        return replace(self.learnt.outcomes, classes=self.classes, codes=codes)

    def meaning(self, day: str | None) -> tuple[Outcomes, DatedOutcomes | None]:
        """Return what the outcomes mean on a day, and by which rows of the register.

        Parameters
        ----------
        day : str or None
            ISO text.

        Returns
        -------
        outcomes : Outcomes
        dated : DatedOutcomes or None
            None without a register, or on no day: then they mean what they meant in training.
        """
        if self.competence is None or self.register is None:
            return self.learnt.outcomes, None
        if day is None:
            return self._undated, None
        when = date.fromisoformat(day)
        epoch = self.register.epoch(when)
        if epoch not in self._meanings:  # kept, as few days differ
            dated = self.competence.on(when)
            meaning = replace(self._undated, codes=dated.codes), dated
            self._meanings.setdefault(epoch, meaning)  # another thread may have been first
        return self._meanings[epoch]

    def contradicts(self, reading: Reading, matter: npt.NDArray[Any], dated: DatedOutcomes | None) -> Any:
        """Say where register and classifier contradict each other, (n_texts,); None without a register."""
        if dated is None or self.competence is None:
            return None
        can_say = JURISDICTION in self.learnt.alone
        alone = self.learnt.probability_alone(reading.scores, JURISDICTION) if can_say else None
        return self.competence.contradicts(matter, alone, JURISDICTION, dated)

    def pull(self, reading: Reading, outcomes: Outcomes, target: str, label: int) -> npt.NDArray[Any]:
        """Return how strongly each feature of one question pulls towards a label and away from its rivals.

        Parameters
        ----------
        reading : Reading
            Of one text.
        outcomes : Outcomes
        target : str
        label : int
            Class of the label.

        Returns
        -------
        float array, one value for each stored feature of ``reading.seen.X``
            Weight of the feature in the score of the label's outcomes, each by its probability among these, less that
            of all others, each by its probability among those.
        """
        joint = softmax(reading.outcome_scores.astype(np.float64))[0]
        mine = outcomes.codes[:, list(outcomes.classes).index(target)] == label
        for_label, against = np.where(mine, joint, 0), np.where(mine, 0, joint)
        difference = for_label / max(for_label.sum(), 1e-300) - against / max(against.sum(), 1e-300)
        pulled: npt.NDArray[Any] = self.classifier.pull(reading.scores[0], difference, reading.seen.X.indices)
        if self._names is not None:
            pulled = pulled + self._names.pull(reading.seen.X, difference[len(self.learnt.combinations) :])
        return pulled
