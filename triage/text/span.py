"""Stretches of a text, and a folded copy of a text whose positions lead back to the original."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from triage.text.normal import fold_data


@dataclass(frozen=True)
class Span:
    """A stretch ``text[start:end]``.

    Parameters
    ----------
    start, end : int
        Character offsets in the original text.
    label : str, default=""
        What it is, such as ``"PHONE"``; empty when there is nothing to say.
    """

    start: int
    end: int
    label: str = ""


class _Letters(dict[str, str]):
    """Each character folded to one lower-case character, or to nothing when it is a mark or invisible."""

    def __missing__(self, char: str) -> str:
        category = unicodedata.category(char)
        if category in {"Mn", "Me", "Cf"}:
            folded = ""
        elif category == "Cs":
            folded = "\ufffd"  # a lone surrogate, which UTF-8 cannot hold
        elif category == "Pd":
            folded = "-"
        else:
            folded = unicodedata.normalize("NFKD", char)[0].lower()[0]
            folded = fold_data()["letters"].get(folded, folded)
            if folded.isspace() != char.isspace():  # a free-standing accent decomposes to a space first
                folded = char
        self[char] = folded
        return folded


_LETTERS = _Letters()


def fold_with_offsets(text: str) -> tuple[str, Sequence[int]]:
    r"""Fold case, diacritics, dashes and character width, and remember where each character stood.

    A mark is dropped only after a character it can belong to, so no character is left outside every span.

    Parameters
    ----------
    text : str
        Any string.

    Returns
    -------
    folded : str
        The folded text, without surrogates and never longer than `text`.
    offsets : sequence of int, length ``len(folded) + 1``
        ``folded[s:e]`` stands at ``text[offsets[s]:offsets[e]]``.

    Examples
    --------
    >>> folded, offsets = fold_with_offsets("Nghi\u0323 đi\u0323nh")
    >>> folded, list(offsets)[-4:]
    ('nghi dinh', [7, 9, 10, 11])
    """
    letters = [_LETTERS[char] for char in text]
    if all(letters):
        return "".join(letters), range(len(text) + 1)
    kept: list[str] = []
    offsets: list[int] = []
    for position, letter in enumerate(letters):
        if letter or not kept or kept[-1].isspace():
            kept.append(letter or "\ufffd")
            offsets.append(position)
    return "".join(kept), [*offsets, len(text)]
