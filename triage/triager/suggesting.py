"""Earlier questions near a text: by their words, by the matter, and whether their answers still hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.classifier import softmax
from triage.index import QuestionIndex
from triage.records import Suggestion
from triage.register import staleness
from triage.triager.reading import MATTER, Reader, Reading
from triage.triager.reasons import own_words

# An answered question counts by its cosine and by how probable its matter is, the cosine times (p + 0.0001) ** 0.1:
# on the desks' re-asks of split valid the right answer stands first for 76 and 84 of 100, by the cosine alone for
# 61 and 64; exponents of 0.1 and 0.15 and floors of 0.01 to 0.0001 differ little.
_LEAST_MATTER, _MATTER_WEIGHT = 1e-4, 0.1


@dataclass(frozen=True, eq=False)
class Suggester:
    """Finds earlier questions again.

    Attributes
    ----------
    reader : Reader
    records : list of mapping
        ``id``, ``question``, ``answer`` or None, and what is known of an answer: labels, matter, days.
    """

    reader: Reader
    records: list[dict[str, Any]]

    @cached_property
    def index(self) -> QuestionIndex:
        """The earlier questions by their features, made when they are first asked for."""
        texts = [f"{record['question']}\n{record['answer'] or ''}" for record in self.records]
        return QuestionIndex.from_matrix(self.reader.features.transform(texts), self.records)

    def suggest(
        self, texts: Sequence[str], reading: Reading, k: int, days: Sequence[str | None]
    ) -> list[list[Suggestion]]:
        """Return the most similar earlier questions of each text, on its day.

        Parameters
        ----------
        texts : sequence of str, of length n_texts
        reading : Reading
            Of these texts.
        k : int
            Most suggestions a text, at least 1.
        days : sequence of str or None, of length n_texts
            ISO text; None for today.

        Returns
        -------
        list of list of Suggestion
            Most similar first; only questions that share something with the text.
        """
        if not self.records:
            return [[] for _ in texts]
        places, similarities = self.index.query(reading.X, k=k, weight=self._agreement(reading))
        suggestions = []
        for text, day, place, similarity in zip(texts, days, places.tolist(), similarities.tolist(), strict=True):
            records = [self.records[one] for one in place]
            matched = self._matched(text, place)
            suggestions.append(
                [
                    Suggestion(
                        record["id"],
                        record["question"],
                        record["answer"],
                        score,
                        stale=self._stale(record, day),
                        matched=shared,
                    )
                    for record, score, shared in zip(records, similarity, matched, strict=True)
                    if score > 0
                ]
            )
        return suggestions

    def _stale(self, record: Mapping[str, Any], day: str | None) -> str | None:
        """Say why an answer is out of date on a day."""
        if record["answer"] is None:
            return None
        return staleness(self.reader.register, {**record, "date": record.get("answered_at")}, day)

    @cached_property
    def _matter_of_record(self) -> npt.NDArray[np.intp] | None:
        """Class of the matter of each earlier question, one past the last where it is unknown; None without matters."""
        if MATTER not in self.reader.classes or not any("matter_id" in record for record in self.records):
            return None
        place = {matter: code for code, matter in enumerate(self.reader.classes[MATTER])}
        return np.array([place.get(record.get("matter_id", ""), len(place)) for record in self.records], np.intp)

    def _agreement(self, reading: Reading) -> npt.NDArray[np.float32] | None:
        """Return how far the matter of each earlier question may be that of each text, (n_texts, n_records)."""
        if self._matter_of_record is None:
            return None
        probabilities = self.reader.meaning(None)[0].probabilities(softmax(reading.outcome_scores))[MATTER]
        sure = np.minimum(np.pad(probabilities, ((0, 0), (0, 1))) + np.float32(_LEAST_MATTER), 1)
        agreement: npt.NDArray[np.float32] = (sure**_MATTER_WEIGHT).astype(np.float32)[:, self._matter_of_record]
        return agreement

    def nearest_ids(self, reading: Reading) -> list[str | None]:
        """Return the id of the most similar earlier question of each text, None where none shares anything.

        Parameters
        ----------
        reading : Reading
            Of n_texts.

        Returns
        -------
        list of str or None, of length n_texts
        """
        if not self.records:
            return [None] * len(reading.empty)
        places, similarities = self.index.query(reading.X, k=1, weight=self._agreement(reading))
        return [
            self.records[place]["id"] if similarity > 0 else None
            for place, similarity in zip(places[:, 0].tolist(), similarities[:, 0].tolist(), strict=True)
        ]

    @cached_property
    def _record_words(self) -> list[set[str]]:
        """The normalised words of each earlier question."""
        words = self.reader.features.words([record["question"] for record in self.records])
        found: list[set[str]] = [set() for _ in self.records]
        for word, row in zip(words.strings(), words.rows.tolist(), strict=True):
            found[row].add(word)
        return found

    def _matched(self, text: str, places: Sequence[int]) -> list[tuple[str, ...]]:
        """Return the asker's words that stand in each of some earlier questions too."""
        words = self.reader.features.words([text])
        own, owner = own_words(self.reader.features, text, words)
        mine = list(zip(words.strings(), owner.tolist(), strict=True))
        return [
            tuple(dict.fromkeys(own[one] for word, one in mine if word in self._record_words[place]))
            for place in places
        ]
