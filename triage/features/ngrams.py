"""The n-grams of a batch of texts, hashed by array operations over its code points: the hot path.

No Python loop runs over texts, words or n-grams. Diacritics are folded first; an n-gram that had diacritics counts
once more as written, so that text without marks meets the folded half of text with marks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.text import Words, fold_codes, word_hashes

Indices = npt.NDArray[np.intp]

BLOCKS = ("characters", "words", "pairs")
_Group = tuple[int, npt.NDArray[np.uint32], Indices, int]  # block, hashes, first word, words from first to last
_STEP = np.uint32(0x9E3779B1)


def _buckets(hashes: npt.NDArray[np.uint32], n_bits: int) -> npt.NDArray[np.uint32]:
    """Spread 32-bit hashes over ``2**n_bits`` buckets (finaliser of Wellons, "Hash Prospector", lowbias32)."""
    hashes ^= hashes >> np.uint32(16)
    hashes *= np.uint32(0x7FEB352D)
    hashes ^= hashes >> np.uint32(15)
    hashes *= np.uint32(0x846CA68B)
    hashes >>= np.uint32(32 - n_bits)
    return hashes


def sorted_keys(keys: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return unsigned keys in order, 16 bits at a time: numpy sorts 16-bit numbers by radix, in linear time."""
    if len(keys) < 4096:
        keys.sort()
        return keys
    last = int(keys.max(initial=0)).bit_length()
    for shift in range(0, last, 16):
        digit = (keys >> keys.dtype.type(shift)).astype(np.uint16)
        keys = keys.take(digit.argsort(kind="stable"))
    return keys


@dataclass(frozen=True)
class Ngrams:
    """Which n-grams are taken of a text; see `triage.features.QuestionVectorizer` for the options.

    Attributes
    ----------
    char_ngrams : tuple (shortest, longest)
    word_ngrams, pair_window, n_bits : int
    """

    char_ngrams: tuple[int, int]
    word_ngrams: int
    pair_window: int
    n_bits: int

    def occurrences(self, words: Words) -> tuple[npt.NDArray[np.uint32], Indices, Indices]:
        """Return every n-gram of a batch, as often as it stands there.

        Parameters
        ----------
        words : Words
            At least one.

        Returns
        -------
        bucket : uint32 array of shape (n_occurrences,)
            Block ``b`` has ``b * 2**n_bits`` and up.
        first, gap : intp arrays of shape (n_occurrences,)
            The word that it begins with, and how many words on it ends.
        """
        n_codes, n_words = len(words.codes), len(words.starts)
        folded = fold_codes(words.codes)
        changed = folded != words.codes
        # Second channel, as written: behind the folded one in the same arrays, so that each step runs once.
        twice = bool(changed.any())
        codes = np.concatenate((folded, words.codes)) if twice else folded
        span = words.ends - words.starts + 1
        room = np.ones(n_codes, np.intp)  # longest n-gram that starts here and stays in its word
        room[:-1] = (words.ends + 1).repeat(span) - np.arange(n_codes - 1)
        word_of = np.arange(n_words).repeat(span)
        mark = None
        if twice:
            room, word_of = np.concatenate((room, room)), np.concatenate((word_of, [0], word_of))
            # The written channel counts only n-grams with a mark: the nearest mark must lie within the n-gram.
            place = np.where(np.concatenate((np.zeros(n_codes, bool), changed)), np.arange(2 * n_codes), 4 * n_codes)
            mark = np.minimum.accumulate(place[::-1])[::-1] - np.arange(2 * n_codes)
            mark[:n_codes] = 0
        groups: list[_Group] = []
        hashes = codes
        for length in range(2, self.char_ngrams[1] + 1):
            hashes = hashes[:-1] * _STEP + codes[length - 1 :]
            if length >= self.char_ngrams[0]:
                inside = room[: len(hashes)] >= length
                if mark is not None:
                    inside &= mark[: len(hashes)] < length
                start = inside.nonzero()[0]
                groups.append((0, hashes.take(start) * _STEP + np.uint32(length), word_of.take(start), 0))
        groups += self._of_words(words, word_hashes(folded, words), None)
        if twice:
            marked = np.logical_or.reduceat(changed[1:], words.starts - 1)
            groups += self._of_words(words, word_hashes(words.codes, words), marked)
        sizes = [len(first) for _, _, first, _ in groups]
        bucket = _buckets(np.concatenate([hashed for _, hashed, _, _ in groups]), self.n_bits)
        bucket += np.array([block << self.n_bits for block, _, _, _ in groups], np.uint32).repeat(sizes)
        gap = np.array([gap for _, _, _, gap in groups]).repeat(sizes)
        return bucket, np.concatenate([first for _, _, first, _ in groups]), gap

    def _of_words(
        self, words: Words, hashes: npt.NDArray[np.uint64], marked: npt.NDArray[np.bool_] | None
    ) -> list[_Group]:
        """Return the occurrences of words, runs of words and pairs; with `marked`, only those with a marked word."""
        rows = words.rows
        narrow = (hashes ^ hashes >> np.uint64(32)).astype(np.uint32)
        single = np.arange(len(rows)) if marked is None else marked.nonzero()[0]
        groups: list[_Group] = [(1, narrow[single] * _STEP + np.uint32(1), single, 0)]
        run, run_marked = narrow, marked
        for gap in range(1, min(max(self.word_ngrams - 1, self.pair_window), len(rows) - 1) + 1):
            near = rows[gap:] == rows[:-gap]
            if marked is not None and run_marked is not None:
                run_marked = run_marked[:-1] | marked[gap:]
            if gap < self.word_ngrams:
                run = run[:-1] * _STEP + narrow[gap:]
                first = (near if run_marked is None else near & run_marked).nonzero()[0]
                groups.append((1, run[first] * _STEP + np.uint32(gap + 1), first, gap))
            if gap <= self.pair_window:
                first = (near if marked is None else near & (marked[:-gap] | marked[gap:])).nonzero()[0]
                left, right = narrow[first], narrow[first + gap]
                groups.append((2, (left ^ right) * _STEP + left + right, first, gap))  # the same in either order
        return groups
