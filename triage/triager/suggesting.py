"""Earlier questions near a text, how surely their answers fit, and whether these still hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.classifier import softmax
from triage.decision import Threshold
from triage.features import Seen
from triage.index import best
from triage.records import Suggestion
from triage.register import Documents, staleness
from triage.reuse import BY_TEXT, ReuseModel
from triage.triager.answered import Answered, Found
from triage.triager.reading import Reader, Reading
from triage.triager.reasons import own_words

Floats = npt.NDArray[np.floating[Any]]

_LABELS = {"matter": "matter_id", "topic": "topic"}  # signals by a label: the target, and where an answer has it
_MOST_LIKELY = 3  # matters of a text that earlier answers are looked up on


@dataclass(frozen=True)
class Reuse:
    """When an answer is offered for reuse.

    Attributes
    ----------
    model : ReuseModel
    threshold : Threshold or None
        From which probability on; None where nothing was learnt: then none is.
    documents : Documents or None
        Legal documents that are not in force for ever.
    oldest_days : int or None
        An answer given more days ago is stale.

    Raises
    ------
    ValueError
        If `oldest_days` is no whole number from 0 on.
    """

    model: ReuseModel = field(default_factory=ReuseModel.unfitted)
    threshold: Threshold | None = None
    documents: Documents | None = None
    oldest_days: int | None = None

    def __post_init__(self) -> None:
        days = self.oldest_days
        if days is not None and (not isinstance(days, int) or isinstance(days, bool) or days < 0):
            raise ValueError(f"oldest_days must be a whole number from 0 on, got {days!r}")

    def offers(self, p_reuse: float | None) -> bool:
        """Say whether it is sure enough that an answer fits."""
        value = None if self.threshold is None else self.threshold.value
        return value is not None and p_reuse is not None and p_reuse >= value


@dataclass(frozen=True)
class Ranked:
    """The earlier questions found for one text, best first.

    Attributes
    ----------
    records : list of mapping
    similarity, p_reuse : list of float
        Of each; the latter NaN where nothing was learnt.
    """

    records: list[Mapping[str, Any]]
    similarity: list[float]
    p_reuse: list[float]


@dataclass(frozen=True, eq=False)
class Suggester:
    """Finds earlier questions again.

    Attributes
    ----------
    reader : Reader
    answered : Answered
        The earlier questions.
    reuse : Reuse
    """

    reader: Reader
    answered: Answered
    reuse: Reuse

    def suggest(
        self, texts: Sequence[str], ranked: Sequence[Ranked], days: Sequence[str | None]
    ) -> list[list[Suggestion]]:
        """Return the earlier questions that serve each text best, as they are shown on its day.

        Parameters
        ----------
        texts : sequence of str, of length n_texts
        ranked : sequence of Ranked, of length n_texts
            What `ranked` gave for these texts.
        days : sequence of str or None, of length n_texts
            ISO text; None for today.

        Returns
        -------
        list of list of Suggestion
            Best first; only questions that share something with the text.
        """
        return [
            [
                Suggestion(
                    record["id"],
                    record["question"],
                    record["answer"],
                    similarity,
                    p_reuse=None if np.isnan(p_reuse) else p_reuse,
                    stale=self.stale(record, day),
                    matched=shared,
                )
                for record, similarity, p_reuse, shared in zip(
                    found.records, found.similarity, found.p_reuse, self._matched(text, found.records), strict=True
                )
            ]
            for text, day, found in zip(texts, days, ranked, strict=True)
        ]

    def ranked(self, reading: Reading, k: int) -> list[Ranked]:
        """Return the `k` best earlier questions of each text.

        Parameters
        ----------
        reading : Reading
            Of n_texts.
        k : int

        Returns
        -------
        list of Ranked, of length n_texts
        """
        ranked: list[Ranked] = []
        probabilities = self._probabilities(reading.outcome_scores)
        for rows, found in self.answered.found(reading.seen, self._likely(probabilities)):
            of_rows = {target: of[rows] for target, of in probabilities.items()}
            signals = self._signals(reading.seen[rows], of_rows, found)
            unanswered = self._unanswered(of_rows, signals, found) if self.reuse.model.unanswered else None
            ranked += self._best(found, signals, unanswered, k)
        return ranked

    def reusable(self, ranked: Sequence[Ranked], days: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """Say for which texts the first answer surely fits and is in force on the day, (n_texts,)."""
        return np.array(
            [
                bool(found.records)
                and self.reuse.offers(found.p_reuse[0])
                and found.records[0]["answer"] is not None
                and self.stale(found.records[0], day) is None
                for found, day in zip(ranked, days, strict=True)
            ],
            bool,
        )

    def _best(self, found: Found, signals: Mapping[str, Floats], unanswered: Floats | None, k: int) -> list[Ranked]:
        """Rank what was found for some texts."""
        model = self.reuse.model
        shares = np.any([signals[name] > 0 for name in BY_TEXT if name in signals], axis=0)
        # One signal ranks like its logarithm, which would take longer than all the rest.
        order = signals["question"].copy() if len(signals) == 1 else model.similarity(signals)
        order[~shares] = -1
        place, _ = best(order, k)
        chosen = {name: np.take_along_axis(signal, place, 1) for name, signal in signals.items()}
        similarity = model.similarity(chosen)
        probability = model.probability(signals, unanswered)
        p_reuse = np.full(place.shape, np.nan) if probability is None else np.take_along_axis(probability, place, 1)
        there = np.take_along_axis(shares, place, 1)
        return [
            Ranked([found.records[one] for one in places[known].tolist()], near[known].tolist(), sure[known].tolist())
            for places, near, sure, known in zip(place, similarity, p_reuse, there, strict=True)
        ]

    def signals(
        self, seen: Seen, outcome_scores: Floats, most: int
    ) -> tuple[npt.NDArray[np.intp], dict[str, Floats], Floats | None]:
        """Return what speaks for the earlier questions, of many the most similar ones only, and for none of them.

        Parameters
        ----------
        seen : Seen
            Of n_texts.
        outcome_scores : float array of shape (n_texts, n_outcomes)
        most : int

        Returns
        -------
        place : intp array of shape (n_texts, min(most, n_records))
            Place among the records.
        signals : dict of str to float array of the same shape
        unanswered : float array of shape (n_texts,), or None
            How probable it is that no earlier question was on the matter of a text; None where no matter is known.
        """
        probabilities = self._probabilities(outcome_scores)
        places, parts, unanswered = [], [], []
        for rows, found in self.answered.found(seen, self._likely(probabilities)):
            of_rows = {target: of[rows] for target, of in probabilities.items()}
            signals = self._signals(seen[rows], of_rows, found)
            unanswered.append(self._unanswered(of_rows, signals, found))
            place, _ = best(self.reuse.model.similarity(signals), most)
            places.append(place)
            parts.append({name: np.take_along_axis(signal, place, 1) for name, signal in signals.items()})
        whole = {name: np.vstack([part[name] for part in parts]) for name in parts[0]}
        known = [part for part in unanswered if part is not None]
        return np.vstack(places), whole, np.concatenate(known) if known else None

    def _probabilities(self, outcome_scores: Floats) -> dict[str, Floats]:
        """Return the probability of each class of the targets that earlier questions have labels of."""
        targets = [target for target in _LABELS if target in self.reader.classes and self.answered.has(_LABELS[target])]
        if not targets:
            return {}
        # Neither depends on the day.
        all_targets = self.reader.meaning(None)[0].probabilities(softmax(outcome_scores))
        return {target: all_targets[target] for target in targets}

    def _likely(self, probabilities: Mapping[str, Floats]) -> Callable[[int], list[str]]:
        """Return what gives the likeliest matters of a text."""

        def likely(row: int) -> list[str]:
            if "matter" not in probabilities:
                return []
            order = np.argsort(-probabilities["matter"][row], kind="stable")[:_MOST_LIKELY]
            return [label for label in (self.reader.classes["matter"][code] for code in order.tolist()) if label]

        return likely

    def _signals(self, seen: Seen, probabilities: Mapping[str, Floats], found: Found) -> dict[str, Floats]:
        """Return what speaks for each earlier question that was found, (n_texts, n_found) each."""
        signals = found.signals(seen)
        for target, probability in probabilities.items():
            labels = self.reader.classes[target]
            code = found.codes(_LABELS[target], labels)
            # An answer whose label is not known is judged by its question alone.
            known = np.minimum(code, len(labels) - 1)
            signals[target] = np.where(code < len(labels), probability[:, known], signals["question"])
        return signals

    def _unanswered(
        self, probabilities: Mapping[str, Floats], signals: Mapping[str, Floats], found: Found
    ) -> Floats | None:
        """Return how probable it is that no earlier question found was on the matter of each text, (n_texts,)."""
        if "matter" not in self.reader.classes:
            return None
        labels = self.reader.classes["matter"]
        codes = found.codes(_LABELS["matter"], labels)
        known = codes < len(labels)
        # One whose matter is not known may be on it, the more so the nearer it is to the text.
        unanswered: Floats = 1 - signals["question"][:, ~known].max(1, initial=0)
        if "matter" in probabilities:
            probability, of_matters = probabilities["matter"], np.unique(codes[known])
            # Of the likeliest matters alone: by these answers are looked up, whatever else the archive holds.
            last = min(_MOST_LIKELY, len(labels)) - 1
            least = -np.partition(-probability, last, axis=1)[:, last, None]
            unanswered *= 1 - np.where(probability >= least, probability, 0)[:, of_matters].sum(1)
        return np.clip(unanswered, 0, 1)

    def stale(self, record: Mapping[str, Any], day: str | None) -> str | None:
        """Say why an answer is out of date on a day; None for a question without an answer."""
        if record["answer"] is None:
            return None
        return staleness(
            self.reader.register,
            {**record, "date": record.get("answered_at")},
            day,
            documents=self.reuse.documents,
            oldest_days=self.reuse.oldest_days,
        )

    def _matched(self, text: str, records: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """Return the asker's words that stand in each of some earlier questions too."""
        words = self.reader.features.words([text])
        own, owner = own_words(self.reader.features, text, words)
        mine = list(zip(words.strings(), owner.tolist(), strict=True))
        theirs = self.reader.features.words([record["question"] for record in records])
        found: list[set[str]] = [set() for _ in records]
        for word, row in zip(theirs.strings(), theirs.rows.tolist(), strict=True):
            found[row].add(word)
        return [tuple(dict.fromkeys(own[one] for word, one in mine if word in known)) for known in found]
