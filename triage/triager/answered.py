"""The earlier questions of a desk, to be held against texts: what is asked of them, and those of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.features import QuestionVectorizer, Seen
from triage.index import common_features, leave_out, unit_rows

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.intp]
Likely = Callable[[int], list[str]]

_OF_ANSWERS = {"answer": "question", "answer_meaning": "meaning"}  # signals, and what stands in for them
_MOST_PAIRS = 1 << 22  # of texts and earlier questions at once; bounds memory


class Answered(Protocol):
    """Earlier questions that texts are held against."""

    def __len__(self) -> int:
        """Return how many there are."""

    def has(self, column: str) -> bool:
        """Say whether any of them may have a label."""

    def found(self, seen: Seen, likely: Likely) -> Iterator[tuple[Rows, Found]]:
        """Return what may serve some texts, part by part, in their order.

        Parameters
        ----------
        seen : Seen
            The texts.
        likely : callable
            Gives the ids of the likeliest matters of a text.

        Yields
        ------
        rows : intp array
            Places of the texts.
        found : Found
        """


class Found(Protocol):
    """Some earlier questions, held against texts."""

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        """``id``, ``question``, ``answer`` or None, and what is known of an answer: labels, matter, days."""

    def signals(self, seen: Seen) -> dict[str, Floats]:
        """Return how near texts are to each question and answer, (n_texts, n_found) each, as `triage.reuse.SIGNALS`.

        Where a question has no answer it stands in for it; where none has one, nothing is said of answers.
        """

    def codes(self, column: str, labels: Sequence[Any]) -> Rows:
        """Return the class of each one's label, one past the last where it is unknown, (n_found,)."""


def codes_of(records: Sequence[Mapping[str, Any]], column: str, labels: Sequence[Any]) -> Rows:
    """Return the class of each record's label, one past the last where it has none that is known, (n_records,)."""
    place = {label: code for code, label in enumerate(labels) if label != ""}
    return np.array([place.get(record.get(column), len(labels)) for record in records], np.intp)


def with_answers(signals: Mapping[str, Floats], has_answer: npt.NDArray[np.bool_]) -> dict[str, Floats]:
    """Let a question stand in for the answer that it lacks; drop what is said of answers where there are none."""
    stand_in = {answer: signals[question] for answer, question in _OF_ANSWERS.items() if answer in signals}
    if not has_answer.any():
        return {name: signal for name, signal in signals.items() if name not in stand_in}
    return {**signals, **{name: np.where(has_answer, signals[name], other) for name, other in stand_in.items()}}


def _clipped(cosines: Floats) -> Floats:
    return np.clip(cosines, 0, 1, out=cosines)  # rounding must not part equals


@dataclass(frozen=True, eq=False)
class _AllFound:
    """All records of a bundle."""

    records: Sequence[Mapping[str, Any]]
    questions: sp.csr_matrix
    answers: sp.csr_matrix
    meanings: tuple[Floats, Floats] | None

    @cached_property
    def _by_feature(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Both matrices turned, as a product needs them."""
        return self.questions.T.tocsr(), self.answers.T.tocsr()

    @cached_property
    def _has_answer(self) -> npt.NDArray[np.bool_]:
        return np.array([bool(record["answer"]) for record in self.records], bool)

    @cached_property
    def _codes_of(self) -> dict[str, Rows]:
        return {}

    def signals(self, seen: Seen) -> dict[str, Floats]:
        rows = unit_rows(seen.ngrams)
        question, answer = (_clipped((rows @ part).toarray()) for part in self._by_feature)
        signals = {"question": question, "answer": answer}
        if self.meanings is not None and seen.vectors is not None:
            question, answer = (_clipped(seen.vectors @ part.T.astype(np.float32)) for part in self.meanings)
            signals |= {"meaning": question, "answer_meaning": answer}
        return with_answers(signals, self._has_answer)

    def codes(self, column: str, labels: Sequence[Any]) -> Rows:
        if column not in self._codes_of:
            self._codes_of[column] = codes_of(self.records, column, labels)
        return self._codes_of[column]


@dataclass(frozen=True, eq=False)
class Records:
    """The earlier questions of a bundle, all held against every text.

    Attributes
    ----------
    features : QuestionVectorizer
    records : list of mapping
    meanings : tuple of two float arrays of shape (n_records, dim), or None
        Vectors of the questions and of the answers, with an encoder.
    """

    features: QuestionVectorizer
    records: list[dict[str, Any]]
    meanings: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def has(self, column: str) -> bool:
        """Say whether any of them has a label."""
        return any(record.get(column) for record in self.records)

    @cached_property
    def _all(self) -> _AllFound:
        """All of them by their features, made when they are first asked for."""
        questions, answers = (
            _rare_rows(self.features.ngrams([record[part] or "" for record in self.records]))
            for part in ("question", "answer")
        )
        return _AllFound(self.records, questions, answers, self.meanings)

    def found(self, seen: Seen, likely: Likely) -> Iterator[tuple[Rows, Found]]:
        """Return all of them for every text, see `Answered`."""
        step = max(1, _MOST_PAIRS // max(1, len(self.records)))
        for start in range(0, len(seen), step):
            yield np.arange(start, min(start + step, len(seen))), self._all


def _rare_rows(X: sp.csr_matrix) -> sp.csr_matrix:
    """Return rows of length 1, without the features that hardly tell one question from another."""
    return unit_rows(leave_out(X, common_features(np.bincount(X.indices, minlength=X.shape[1]), X.shape[0])))
