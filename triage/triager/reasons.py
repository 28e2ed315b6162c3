"""Why a question was decided so, in the asker's own words."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.classifier import Outcomes
from triage.features import QuestionVectorizer
from triage.text import Words
from triage.triager.reading import Reader, Reading

#: Of a longer text only so many words are told, those that add or take most.
MOST_WORDS = 1000

_CHUNK = re.compile(r"\S+")


class Reasons:
    """Why one question was decided so; its spelling is read again when the first reason is asked for.

    Parameters
    ----------
    reader : Reader
    text : str
    outcomes : Outcomes
        What was to be decided on the day.
    vectors : float32 array of shape (1, dim), or None
        What it means: an encoder is not asked again.
    """

    def __init__(self, reader: Reader, text: str, outcomes: Outcomes, vectors: npt.NDArray[np.float32] | None) -> None:
        self._reader = reader
        self._text = text
        self._outcomes = outcomes
        self._vectors = vectors

    def __deepcopy__(self, memo: dict[int, Any]) -> Reasons:
        """Return itself: a copy of a result must not copy the desk."""
        return self

    @cached_property
    def _found(self) -> tuple[Reading, list[str], npt.NDArray[np.intp], tuple[npt.NDArray[np.intp], ...]]:
        """The question's reading, the asker's own words, whose each normalised word is, and the n-grams' places."""
        words = self._reader.features.words([self._text])
        own, owner = own_words(self._reader.features, self._text, words)
        return self._reader.read([self._text], self._vectors), own, owner, self._reader.features.occurrences(words)

    def words_for(self, target: str, label: int) -> tuple[tuple[str, float], ...]:
        """Return what each of the asker's words adds to the score of a label over its rivals."""
        reading, own, owner, (column, first, last) = self._found
        X = reading.seen.X
        share = np.zeros(X.shape[1])
        share[X.indices] = X.data * self._reader.pull(reading, self._outcomes, target, label)
        share /= np.maximum(np.bincount(column, minlength=len(share)), 1)  # equally over an n-gram's places
        half = share[column] / 2  # to the first and the last word of each n-gram
        added = np.bincount(owner[first], half, len(own)) + np.bincount(owner[last], half, len(own))
        places = np.unique(owner)
        if len(places) > MOST_WORDS:
            places = np.sort(places[np.argsort(-abs(added[places]), kind="stable")[:MOST_WORDS]])
        return tuple((own[place], float(added[place])) for place in places.tolist())


def own_words(features: QuestionVectorizer, text: str, words: Words) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Return the asker's own words, and which of them each normalised word comes from.

    Parameters
    ----------
    features : QuestionVectorizer
    text : str
    words : Words
        The text's normalised words.

    Returns
    -------
    own : list of str
    owner : intp array of shape (n_words,)
    """
    chunks = _CHUNK.findall(text)
    again = features.words(chunks)
    if np.array_equal(again.codes, words.codes):
        return [_bare(chunk) for chunk in chunks], again.rows
    return words.strings(), np.arange(len(words.starts))  # rare scripts: a word reads differently on its own


def _bare(chunk: str) -> str:
    """Take off what stands around words; letters, marks and digits of every script stay."""
    inside = [unicodedata.category(character)[0] in "LMN" for character in chunk]
    return chunk[inside.index(True) : len(chunk) - inside[::-1].index(True)] if any(inside) else chunk
