"""Texts to normalised words, for a whole batch at once.

The batch becomes one array of code points, and every step works on that array: characters are mapped
through tables, words are found as runs of letters and digits, tone marks are placed one way, and
abbreviations are spelt out. Only texts with rare characters (combining marks, compatibility forms,
invisible marks, letters that expand) take a detour through ``unicodedata``, one by one, so the words of
a text never depend on the texts beside it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.text.languages import load_language

Codes = npt.NDArray[np.uint32]
Positions = npt.NDArray[np.intp]

SPACE = 32
_END = "\n"  # ends each text of a joined batch
_TABLE_SIZE = 0x2600  # alphabets and common punctuation; everything above takes the detour
_HASH_BASE = 0x9E3779B97F4A7C15  # odd, so that powers keep all 64 bits

# What the per-character table says.
_SEPARATOR, _WORD, _RARE = 0, 1, 2


@dataclass(frozen=True)
class Words:
    """Normalised words of a batch of texts.

    Attributes
    ----------
    codes : uint32 array of shape (n_codes,)
        Code points: a space, then every word followed by one space.
    starts, ends : intp arrays of shape (n_words,)
        Word ``i`` is ``codes[starts[i]:ends[i]]``.
    rows : intp array of shape (n_words,)
        Text that each word belongs to, ascending.
    n_rows : int
        Number of texts; one without words has no entry in `rows`.
    """

    codes: Codes
    starts: Positions
    ends: Positions
    rows: Positions
    n_rows: int

    def readable(self) -> npt.NDArray[np.bool_]:
        """Return which texts hold a word of two letters or more, (n_rows,); the others say nothing."""
        if not len(self.starts):
            return np.zeros(self.n_rows, bool)
        is_letter = (self.codes != SPACE) & ((self.codes < ord("0")) | (self.codes > ord("9")))
        n_letters = np.add.reduceat(is_letter[1:], self.starts - 1, dtype=np.intp)
        return np.bincount(self.rows[n_letters > 1], minlength=self.n_rows) > 0

    def strings(self) -> list[str]:
        """Return the words as strings, in order."""
        text = self.codes.astype("<u4", copy=False).tobytes().decode("utf-32-le", "surrogatepass")
        return [text[start:end] for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]


@lru_cache(maxsize=1)
def fold_data() -> dict[str, Any]:
    """Return the versioned table of letters that Unicode does not decompose (``fold.json``)."""
    data: dict[str, Any] = json.loads(files("triage.text").joinpath("fold.json").read_text("utf-8"))
    return data


def _fold_letter(letter: str) -> str:
    """Fold one lower-case letter; return it unchanged where folding would not give one letter."""
    base = unicodedata.normalize("NFD", letter)[0]
    return str(fold_data()["letters"].get(base, base))


@lru_cache(maxsize=1)
def _tables() -> tuple[npt.NDArray[np.uint8], Codes, Codes]:
    """Return, per code point of the table: its kind, its lower case, and its folded lower case."""
    kind = np.full(_TABLE_SIZE, _SEPARATOR, np.uint8)
    lower = np.arange(_TABLE_SIZE, dtype=np.uint32)
    folded = lower.copy()
    expand = fold_data()["expand"]
    for code in range(128, _TABLE_SIZE):
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Cs", "Co", "Cn"):
            continue  # lone surrogates, private and unassigned characters separate words
        case = character.casefold()
        base = unicodedata.normalize("NFD", case)[0]
        if category[0] == "M" or category == "Cf" or len(case) != 1 or base in expand:
            kind[code] = _RARE
        elif unicodedata.normalize("NFKC", character).casefold() != case or 0x1100 <= code < 0x1200:
            kind[code] = _RARE  # the latter are letters of Hangul, which compose
        elif category[0] in "LN":
            kind[code] = _WORD
            lower[code] = ord(case)
            folded[code] = ord(_fold_letter(case))
    for code in range(128):
        if chr(code).isalnum():
            kind[code] = _WORD
            lower[code] = folded[code] = ord(chr(code).lower())
    return kind, lower, folded


def fold_codes(codes: Codes) -> Codes:
    """Return `codes` (lower case) with diacritics folded, one code point for one.

    Parameters
    ----------
    codes : uint32 array
        Code points of normalised words.

    Returns
    -------
    uint32 array of the same shape
    """
    table = _tables()[2]
    if codes.size and int(codes.max()) >= _TABLE_SIZE:
        return np.where(codes < _TABLE_SIZE, table[np.minimum(codes, _TABLE_SIZE - 1)], codes)
    return table[codes]


_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180b-\u180e\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")


def _repair(text: str) -> str:
    """Bring one text with rare characters to a form that the tables can read."""
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    text = unicodedata.normalize("NFKD", text.casefold())  # apart, so that a letter expands under a mark too
    for letter, letters in fold_data()["expand"].items():
        text = text.replace(letter, letters)
    return unicodedata.normalize("NFKC", text).replace(_END, " ")


def _is_word_character(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32, copy=False)


def _joined(texts: Sequence[str]) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Return the lower-case code points of the texts, each ended by a newline, and which are in words."""
    kind, lower, _ = _tables()
    joined = _END.join([text.replace(_END, " ") if _END in text else text for text in texts]) + _END
    codes = _codes(joined)
    if joined.isascii():
        return lower[codes], kind[codes] == _WORD
    high = codes >= _TABLE_SIZE
    kinds = kind[np.where(high, 0, codes)] if high.any() else kind[codes]
    rare = (kinds == _RARE) | high
    if not rare.any():
        return lower[codes], kinds == _WORD
    # The detour: repair the texts that hold a rare character, leave the others as they are.
    rows = np.cumsum(codes == ord(_END)) - (codes == ord(_END))
    lines = joined.split(_END)
    for row in np.unique(rows[rare]).tolist():
        lines[row] = _repair(lines[row])
    joined = _END.join(lines)
    codes = _codes(joined)
    known = np.minimum(codes, _TABLE_SIZE - 1)
    in_word = (kind[known] == _WORD) & (codes < _TABLE_SIZE)
    # After the repair only marks without a composed form and letters above the table are left.
    for position in np.flatnonzero((kind[known] == _RARE) | (codes >= _TABLE_SIZE)).tolist():
        in_word[position] = _is_word_character(chr(int(codes[position])))
    return np.where(codes < _TABLE_SIZE, lower[known], codes), in_word


def _split(texts: Sequence[str]) -> Words:
    """Split texts into lower-case words."""
    codes, in_word = _joined(texts)
    before = np.concatenate(([False], in_word[:-1]))
    keep = in_word | before  # the characters of words, and the first separator after each word
    ends_text = codes == ord(_END)
    rows = ends_text.cumsum()[keep] - ends_text[keep]
    kept = np.where(in_word[keep], codes[keep], SPACE).astype(np.uint32, copy=False)
    spaces = (kept == SPACE).nonzero()[0] + 1  # one more, for the space put in front
    starts = np.concatenate(([0], spaces[:-1])) + 1 if len(spaces) else np.zeros(0, np.intp)
    return Words(np.concatenate((np.array([SPACE], np.uint32), kept)), starts, spaces, rows[spaces - 1], len(texts))


def _replace(words: Words, target: Positions, choice: Positions, replacements: Sequence[Codes]) -> Words:
    """Return `words` with word ``target[i]`` replaced by ``replacements[choice[i]]`` (itself one or more words)."""
    if not len(target):
        return words
    bank = np.concatenate(replacements)
    sizes = np.array([len(codes) for codes in replacements], np.intp)
    offsets = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    source, length = words.starts.copy(), words.ends - words.starts
    source[target] = len(words.codes) + offsets[choice]
    length[target] = sizes[choice]
    length = length + 1  # and the space after
    first = np.concatenate(([0], np.cumsum(length)[:-1]))
    take = np.arange(length.sum()) + np.repeat(source - first, length)
    take[first + length - 1] = 0  # position 0 is a space
    codes = np.concatenate((words.codes[:1], np.concatenate((words.codes, bank))[take]))
    spaces = np.flatnonzero(codes == SPACE)
    rows = np.repeat(words.rows, length)[spaces[1:] - 1]
    return Words(codes, spaces[:-1] + 1, spaces[1:], rows, words.n_rows)


@lru_cache(maxsize=8)
def _powers(n_powers: int) -> npt.NDArray[np.uint64]:
    """Return the first powers of the hash base, modulo 2**64."""
    factors = np.full(n_powers, _HASH_BASE, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def word_hashes(codes: Codes, words: Words) -> npt.NDArray[np.uint64]:
    """Return a 64-bit polynomial hash of each word.

    Parameters
    ----------
    codes : uint32 array
        ``words.codes``, or these folded.
    words : Words
        Where the words stand.

    Returns
    -------
    uint64 array of shape (n_words,)
        Equal words have equal hashes, wherever they stand.
    """
    if not len(words.starts):
        return np.zeros(0, np.uint64)
    span = words.ends - words.starts + 1  # with the space after the word
    first = words.starts - 1  # words stand side by side behind one leading space
    place = np.arange(len(codes) - 1) - first.repeat(span)
    value = (codes[1:].astype(np.uint64) - np.uint64(SPACE)) * _powers(1 << int(span.max()).bit_length())[place]
    return np.add.reduceat(value, first)  # a space counts 0


class Normalizer:
    """Texts to normalised words: lower case, one form of each letter, tone marks in one place, abbreviations spelt out.

    Parameters
    ----------
    language : str or None
        Code of a language whose data the package ships (tone marks); None for none.
    abbreviations : mapping of str to str, or None
        Words to spell out, compared after lower-casing; each key must be one word.

    Raises
    ------
    ValueError
        If the language is unknown, or an abbreviation is not one word or has an empty expansion.

    Examples
    --------
    >>> Normalizer("vi", {"UBND": "ủy ban nhân dân"}).words(["UBND xã HOÀ\u200b Bình?"]).strings()
    ['ủy', 'ban', 'nhân', 'dân', 'xã', 'hòa', 'bình']
    """

    def __init__(self, language: str | None = None, abbreviations: Mapping[str, str] | None = None) -> None:
        self.language = language
        self.abbreviations = dict(abbreviations or {})
        tone_marks = load_language(language).get("tone_marks", {})
        self._pairs = {_pair(*map(ord, old)): tuple(map(ord, new)) for old, new in tone_marks.get("pairs", {}).items()}
        self._not_after = [ord(letter) for letter in tone_marks.get("not_after", [])]
        self._compile_abbreviations()

    def _compile_abbreviations(self) -> None:
        keys = self._place_tone_marks(_split(list(self.abbreviations)))
        expansions = self._place_tone_marks(_split(list(self.abbreviations.values())))
        per_key = np.bincount(keys.rows, minlength=keys.n_rows)
        per_expansion = np.bincount(expansions.rows, minlength=keys.n_rows)
        for key, n_words, n_expanded in zip(self.abbreviations, per_key, per_expansion, strict=True):
            if n_words != 1 or n_expanded < 1:
                raise ValueError(
                    f"an abbreviation must be one word with an expansion of one or more, "
                    f"got {key!r} ({n_words} words, {n_expanded} in its expansion); split it or take it out"
                )
        hashes = word_hashes(keys.codes, keys)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        firsts = np.searchsorted(expansions.rows, np.arange(keys.n_rows), "left")
        lasts = np.searchsorted(expansions.rows, np.arange(keys.n_rows), "right") - 1
        self._expansions = [
            expansions.codes[start:end]
            for start, end in zip(expansions.starts[firsts], expansions.ends[lasts], strict=True)
        ]

    def _place_tone_marks(self, words: Words) -> Words:
        """Move tone marks within a final vowel pair to the one canonical place."""
        if not self._pairs:
            return words
        codes = words.codes
        last = words.ends - 1  # the pair must end its syllable, and a word of such a language is a syllable
        last = last[(words.ends - words.starts > 1) & (codes[last] >= 128)]
        for position in last.tolist():
            new = self._pairs.get(_pair(int(codes[position - 1]), int(codes[position])))
            if new is not None and int(codes[position - 2]) not in self._not_after:
                codes[position - 1 : position + 1] = new  # the array is this batch's own
        return words

    def words(self, texts: Sequence[str]) -> Words:
        """Return the normalised words of a batch of texts.

        Parameters
        ----------
        texts : sequence of str, of length n_texts
            Any strings: lone surrogates, control characters and other separators only part words.

        Returns
        -------
        Words
            Words of a text do not depend on the other texts.
        """
        words = self._place_tone_marks(_split(texts))
        if not self.abbreviations or not len(words.starts):
            return words
        hashes = word_hashes(words.codes, words)
        place = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        target = np.flatnonzero(self._hashes[place] == hashes)
        return _replace(words, target, self._order[place[target]], self._expansions)

    def normalize(self, text: str) -> str:
        """Return one text as its normalised words, a space between two."""
        return " ".join(self.words([text]).strings())


def _pair(first: int, second: int) -> int:
    return first << 21 | second  # a code point has 21 bits


def normalize_text(text: str, *, language: str | None = None, abbreviations: Mapping[str, str] | None = None) -> str:
    """Return a text in normal form: its words, lower case, a space between two.

    Parameters
    ----------
    text : str
    language, abbreviations
        See `Normalizer`.

    Returns
    -------
    str
        Normalising twice gives the same, where no expansion holds an abbreviation.

    Examples
    --------
    >>> normalize_text("Cấp GIẤY  phép – hoà giải?", language="vi")
    'cấp giấy phép hòa giải'
    """
    return Normalizer(language, abbreviations).normalize(text)


def fold_text(text: str) -> str:
    """Return a text without diacritics, lower case; letters that Unicode does not decompose come from ``fold.json``.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> fold_text("Đường Łódź, Straße, Ørsted")
    'duong lodz strasse orsted'
    """
    words = _split([text])
    return fold_codes(words.codes).astype("<u4", copy=False).tobytes().decode("utf-32-le", "surrogatepass").strip()
