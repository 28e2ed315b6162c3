"""Diacritics put back into text that was typed without, as a desk's own texts have them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from triage.text.normal import fold_text

_LEAST_TYPICAL = 0.3  # where fewer words than this have marks, a text without any is nothing odd
_MOST_FORMS = 5  # written forms of a word without marks
_LEAST_PAIRS = 2  # times that two words stood together
_BEGIN = ""

Words = Sequence[str]


@dataclass(frozen=True)
class MarkRestorer:
    """Restores the diacritics of texts that have hardly any.

    The likeliest sequence of written forms: each word's by how often it stands in the desk's texts, and how often
    after the word before it (Viterbi's algorithm over a bigram model, backed off to single words with weight 1).

    Attributes
    ----------
    forms : dict of str to dict of str to int
        For a word without marks, its written forms and how often each was seen.
    pairs : dict of str to dict of str to int
        For a word as written, the words seen after it and how often, where either could be another.
    least_share : float
        A text with a smaller share of marked words is restored.

    Examples
    --------
    >>> texts = [["thủ", "tục", "đất", "đai"], ["thủ", "tục", "đất", "ở"], ["đất", "đai"]]
    >>> restorer = MarkRestorer.learn(texts)
    >>> " ".join(restorer.restore(["thu", "tuc", "dat", "dai"]))
    'thủ tục đất đai'
    """

    forms: Mapping[str, Mapping[str, int]]
    pairs: Mapping[str, Mapping[str, int]] = field(repr=False)
    least_share: float

    @classmethod
    def learn(cls, texts: Iterable[Words]) -> Self | None:
        """Learn from texts that have their marks.

        Parameters
        ----------
        texts : iterable of sequence of str
            Normalised words of each; texts without marks are passed over.

        Returns
        -------
        MarkRestorer or None
            None for a language in which texts without marks are nothing odd.
        """
        shared = [(words, marked_share(words)) for words in texts if words]
        marked = sorted(share for _, share in shared if share >= _LEAST_TYPICAL)
        if not marked or len(marked) < len(shared) / 2:
            return None
        least_share = marked[len(marked) // 2] / 2
        forms: dict[str, Counter[str]] = defaultdict(Counter)
        pairs: Counter[tuple[str, str]] = Counter()
        for words, share in shared:
            if share >= least_share:
                for folded, word in zip(folded_words(words), words, strict=True):
                    forms[folded][word] += 1
                pairs.update(zip([_BEGIN, *words], words, strict=False))
        kept = {folded: _commonest(of) for folded, of in forms.items() if {folded} != {*of}}
        follows: dict[str, dict[str, int]] = {}
        for (before, word), count in sorted(pairs.items()):
            if count >= _LEAST_PAIRS and any(len(kept.get(fold_text(one), ())) > 1 for one in (before, word)):
                follows.setdefault(before, {})[word] = count
        return cls(dict(sorted(kept.items())), follows, least_share)

    def restore(self, words: Words, typed: Words | None = None) -> list[str]:
        """Return the words with marks, where the text has hardly any; else as they are.

        Parameters
        ----------
        words : sequence of str
            Normalised words of one text.
        typed : sequence of str, optional
            The words before abbreviations were spelt out, which says nothing of how the text was typed.

        Returns
        -------
        list of str, of the same length
        """
        if not words or marked_share(typed or words) >= self.least_share:
            return list(words)
        # Of every form of the word read last: its logarithm of probability, and the forms on the likeliest way to it.
        ways: dict[str, tuple[float, Any]] = {_BEGIN: (0.0, None)}
        for word in words:
            now: dict[str, tuple[float, Any]] = {}
            for before, (score, way) in ways.items():
                for form, probability in self._after(before, word):
                    reached = score + math.log(probability)
                    if form not in now or reached > now[form][0]:
                        now[form] = reached, (before, way)
            ways = now
        form, (_, way) = max(ways.items(), key=lambda one: one[1][0])
        restored = [form]
        while way is not None and way[0] != _BEGIN:
            restored.append(way[0])
            way = way[1]
        return restored[::-1]

    @cached_property
    def _count(self) -> dict[str, int]:
        """How often each form was seen that could be another."""
        return {form: count for of in self.forms.values() for form, count in of.items()}

    def _after(self, before: str, word: str) -> list[tuple[str, float]]:
        """Return each written form of a word with its probability after the word before, up to a constant of that."""
        forms = self.forms.get(word, {word: 1})
        together, whole = self.pairs.get(before, {}), sum(forms.values())
        n_before = self._count.get(before, 0) + 1
        return [(form, (together.get(form, 0) + count / whole) / n_before) for form, count in forms.items()]

    def to_state(self) -> dict[str, Any]:
        """Return the restorer as JSON values."""
        return {"forms": self.forms, "pairs": self.pairs, "least_share": self.least_share}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the restorer from what `to_state` gave."""
        for table in (state["forms"], state["pairs"]):
            counts = [count for of in table.values() for count in of.values()]
            if not all(isinstance(count, int) and count > 0 for count in counts) or not all(table.values()):
                raise ValueError("words must have counts above 0, and have not")
        least_share = float(state["least_share"])
        if not 0 < least_share <= 1:
            raise ValueError(f"the least share of marked words must be in (0, 1], got {least_share}")
        return cls(state["forms"], state["pairs"], least_share)


def _commonest(forms: Mapping[str, int]) -> dict[str, int]:
    """Return the forms seen most often, in the order in which they are stored: the first of equals is taken."""
    return dict(sorted(sorted(forms.items(), key=lambda one: (-one[1], one[0]))[:_MOST_FORMS]))


def marked_share(words: Words) -> float:
    """Return the share of words that have diacritics, in [0, 1]."""
    return sum(map(str.__ne__, words, folded_words(words))) / len(words)


def folded_words(words: Words) -> list[str]:
    """Return each word without its diacritics."""
    return fold_text(" ".join(words)).split(" ")
