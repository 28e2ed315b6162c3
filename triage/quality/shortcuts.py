"""Shortcuts: words that alone decide a class and do not belong to what it is about.

A signature, the header of a form, a number, a writer's habit: where it goes with one class in the table, a desk learns
it in place of the matter, and is wrong as soon as somebody else writes. No program knows which words belong to a class,
so it asks for two things that can be counted. The words *decide*: with 95 % confidence `LEAST_PRECISION` of the
questions that hold them are of the class, and they cover `LEAST_COVERAGE` of it. And they are *odd*: they hold a digit,
stand nearly always at the same end of the text, or one group wrote nearly all of them and only a part of the class.
Words that decide more than half of a class are told even if not odd, unless the names of the class hold them.

How much a desk leans on them is measured: the share of these questions that a linear model of words, trained on the
other half of the table, reads rightly as they are and with the words taken out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import scipy.stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.svm import LinearSVC

from triage.dataset import checks
from triage.quality.findings import Finding
from triage.text import Normalizer, fold_text

LEAST_PRECISION = 0.9
LEAST_COVERAGE = 0.2
MOST_COVERAGE = 0.5  # of words that need not be odd

_LEAST_ROWS = 10
_NEARLY = 0.9
_CONFIDENCE = 0.95
_SAME = 0.8  # Jaccard index of the rows of words that are told as one shortcut
_SHOWN_WORDS = 6
_EDGE = 3  # words from an end of the text


@dataclass(frozen=True, eq=False)
class _Words:
    """Which texts hold which words and pairs of words.

    Attributes
    ----------
    names : list of str
    held : csc_matrix of shape (n_rows, n_words)
        1 where a text holds a word.
    texts : list of list of str
        The words of each text.
    """

    names: list[str]
    held: sp.csc_matrix
    texts: list[list[str]]

    def rows(self, word: int) -> npt.NDArray[np.intp]:
        """Return the rows that hold a word, ascending."""
        return np.sort(self.held.indices[self.held.indptr[word] : self.held.indptr[word + 1]])


def shortcut_findings(
    texts: pd.Series[str],
    labels: Mapping[str, pd.Series[str]],
    names: Mapping[str, Mapping[str, str]],
    groups: pd.Series[str] | None,
    language: str | None,
) -> Iterator[Finding]:
    """Find words that alone decide a class.

    Parameters
    ----------
    texts : Series of str, of length n_rows
        Its index is the numbers of the rows.
    labels : mapping of str to Series of str
        Labels of each target.
    names : mapping of str to mapping of str to str
        What is said of each class of a target in its names.
    groups : Series of str or None
        Who wrote each text.
    language : str or None

    Yields
    ------
    Finding
    """
    words = _read(texts.tolist(), language)
    if words is None:
        return
    for target, of in labels.items():
        classes, codes = np.unique(of.to_numpy(str), return_inverse=True)
        if len(classes) < 2:
            continue
        sizes = np.bincount(codes)
        models: list[LinearSVC] = []
        n_held = np.asarray(words.held.sum(0)).ravel()
        for code, label in enumerate(classes.tolist()):
            n_right = np.asarray(words.held[codes == code].sum(0)).ravel()
            # The exact lower bound of a share (Clopper and Pearson 1934).
            bound = scipy.stats.beta.ppf(1 - _CONFIDENCE, np.maximum(n_right, 0.5), n_held - n_right + 1)
            covers = n_right / sizes[code]
            decisive = np.flatnonzero((bound >= LEAST_PRECISION) & (covers >= LEAST_COVERAGE)).tolist()
            own = set(_split(f"{label.replace('_', ' ')} {names.get(target, {}).get(label, '')}", language))
            foreign = [word for word in decisive if not own.intersection(words.names[word].split())]
            for together in _same(words, foreign, covers):
                why = _odd(words, together[0], codes == code, groups)
                if why or covers[together[0]] >= MOST_COVERAGE:
                    models = models or _halves(words, codes)
                    accuracies = _accuracies(words, together, codes, models)
                    message = _message(words, together, codes == code, label, bound, accuracies, why)
                    yield Finding("shortcut", target, tuple(texts.index[words.rows(together[0])].tolist()), message)


def _split(text: str, language: str | None) -> list[str]:
    return fold_text(Normalizer(language).normalize(text)).split()


def _read(texts: list[str], language: str | None) -> _Words | None:
    normalizer = Normalizer(language)
    found = normalizer.words(texts)
    split: list[list[str]] = [[] for _ in texts]
    for row, word in zip(found.rows.tolist(), map(fold_text, found.strings()), strict=True):
        split[row].append(word)
    counter = CountVectorizer(analyzer=_grams, binary=True, min_df=_LEAST_ROWS)
    try:
        held = counter.fit_transform(split)
    except ValueError:  # no word is in so many texts
        return None
    return _Words(counter.get_feature_names_out().tolist(), sp.csc_matrix(held), split)


def _grams(words: list[str]) -> list[str]:
    return [*words, *map(" ".join, pairwise(words))]


def _same(words: _Words, chosen: list[int], covers: npt.NDArray[np.float64]) -> Iterator[list[int]]:
    """Put together words that stand in nearly the same texts, the one that covers most first."""
    left = sorted(chosen, key=lambda word: (-covers[word], word))
    rows = {word: set(words.rows(word).tolist()) for word in left}
    while left:
        first, *rest = left
        together = [word for word in rest if len(rows[word] & rows[first]) >= _SAME * len(rows[word] | rows[first])]
        yield [first, *together]
        left = [word for word in rest if word not in together]


def _odd(words: _Words, word: int, of_class: npt.NDArray[np.bool_], groups: pd.Series[str] | None) -> list[str]:
    """Say what is odd about a word: reasons, none where it may as well belong to the class."""
    rows = words.rows(word)
    parts = words.names[word].split()
    why = ["holds a number"] if any(map(str.isdecimal, "".join(parts))) else []
    lengths = [len(words.texts[row]) for row in rows]
    first = sum(words.texts[row][: len(parts)] == parts for row in rows)
    last = sum(words.texts[row][-len(parts) :] == parts for row in rows)
    near = sum(set(parts) <= set(words.texts[row][-_EDGE:]) for row in rows)
    if min(lengths) > 2 * _EDGE:
        why += ["begins the text"] if first >= _NEARLY * len(rows) else []
        why += ["ends the text"] if max(last, near) >= _NEARLY * len(rows) else []
    if groups is not None:
        by = groups.iloc[rows].value_counts()
        own = (groups[of_class] == by.index[0]).mean()
        if by.iloc[0] >= _NEARLY * len(rows) and own < _NEARLY:
            why.append(f"nearly always by {checks.cut(by.index[0])}")
    return why


def _message(
    words: _Words,
    together: list[int],
    of_class: npt.NDArray[np.bool_],
    label: str,
    bound: npt.NDArray[np.float64],
    accuracies: tuple[float, float],
    why: list[str],
) -> str:
    """Word a shortcut: the words themselves, and the numbers."""
    rows = words.rows(together[0])
    shown = ", ".join(f"“{checks.cut(words.names[one])}”" for one in together[:_SHOWN_WORDS])
    more = f" and {len(together) - _SHOWN_WORDS} more" if len(together) > _SHOWN_WORDS else ""
    n_right = int(of_class[rows].sum())
    as_it_is, without = accuracies
    return (
        f"{shown}{more}: {n_right} of {len(rows)} are {checks.cut(repr(label))} (at least {bound[together[0]]:.0%}), "
        f"{n_right / of_class.sum():.0%} of the class"
        + ("" if np.isnan(without) else f"; read rightly {as_it_is:.0%}, without the words {without:.0%}")
        + (f"; {', '.join(why)}" if why else "")
    )


def _halves(words: _Words, codes: npt.NDArray[np.intp]) -> list[LinearSVC]:
    """Return a model of each half of the table; none where a half has one class only."""
    half_of = _half_of(codes)
    if any(len(np.unique(codes[half_of == half])) < 2 for half in (0, 1)):
        return []
    held = words.held.tocsr()
    return [LinearSVC(C=0.1, random_state=0).fit(held[half_of == half], codes[half_of == half]) for half in (0, 1)]


def _half_of(codes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the half of each row; those of one class go to both in turns."""
    half_of = np.empty(len(codes), np.intp)
    half_of[np.argsort(codes, kind="stable")] = np.arange(len(codes)) % 2
    return half_of


def _accuracies(
    words: _Words, together: list[int], codes: npt.NDArray[np.intp], models: list[LinearSVC]
) -> tuple[float, float]:
    """Return the share read rightly of the rows that hold the words, as they are and without the words."""
    rows = words.rows(together[0])
    masked = {part for word in together for part in words.names[word].split()}
    kept = sp.diags([float(not masked.intersection(name.split())) for name in words.names])
    held = words.held.tocsr()[rows]
    half_of = _half_of(codes)[rows]
    shares = []
    for read in (held, held @ kept):
        right = np.zeros(len(rows), bool)
        for half, model in enumerate(models):
            others = half_of != half
            if others.any():
                right[others] = model.predict(read[others]) == codes[rows[others]]
        shares.append(float(right.mean()) if models else float("nan"))
    return shares[0], shares[1]
