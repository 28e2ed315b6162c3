"""Faults of single cells and of columns: encoding, length, spelling of labels, classes too small."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from triage.dataset import MAX_TEXT_CHARS, Taxonomy, checks
from triage.quality.findings import Finding

#: A class of fewer questions is hardly learnt, and its numbers say nothing.
LEAST_CLASS = 20

_LONG_TIMES, _LONG_CHARS = 20, 2000  # times the median, and at least so many characters
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_SURE_RUNS = 3
_TWO_BYTES = "\u07ff"  # beyond, UTF-8 takes three bytes, which no language writes by chance


def text_findings(texts: Sequence[Any], column: str) -> Iterator[Finding]:
    """Find texts that cannot be read, or were read wrongly.

    Parameters
    ----------
    texts : sequence
        Cells, whatever they hold.
    column : str

    Yields
    ------
    Finding
    """
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    forms = _forms(texts)
    for row, cell in enumerate(texts, 1):
        if checks.is_missing(cell) or not isinstance(cell, str):
            missing = checks.is_missing(cell)
            found["empty", "no text" if missing else f"no text but {type(cell).__name__}"].append(row)
            continue
        if not any(map(str.isalnum, cell)):
            found["empty", "no letter and no digit"].append(row)
        for message in _encoding_faults(cell):
            found["encoding", message].append(row)
        if forms[row - 1]:
            found["encoding", "decomposed letters (Unicode NFD) where other texts have composed ones"].append(row)
    lengths = np.array([len(cell) if isinstance(cell, str) else 0 for cell in texts])
    limit = max(_LONG_CHARS, _LONG_TIMES * float(np.median(lengths[lengths > 0]))) if lengths.any() else 0
    for row in (np.flatnonzero(lengths > min(limit, MAX_TEXT_CHARS)) + 1).tolist():
        length, median = lengths[row - 1], np.median(lengths[lengths > 0])
        found["long", f"{length:,} characters, the median has {median:,.0f}"].append(row)
    for (kind, message), rows in found.items():
        yield Finding(kind, column, tuple(rows), message)
    said = {cell for cell in texts if isinstance(cell, str)}
    if len(said) == 1 and len(texts) > 1:
        yield Finding("constant", column, tuple(range(1, len(texts) + 1)), "all texts are the same")


def _encoding_faults(text: str) -> Iterator[str]:
    if "\ufffd" in text:
        yield "replacement characters (U+FFFD): letters were lost when the text was read"
    if _SURROGATE.search(text):
        yield "lone surrogates: half a character"
    if _CONTROL.search(text):
        yield "control characters"
    if is_mojibake(text):
        yield "UTF-8 that was read as Windows-1252"


def is_mojibake(text: str) -> bool:
    """Say whether a text is UTF-8 that was read as Windows-1252.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
        Whether all its runs beyond ASCII, three of them, or one of three bytes, are UTF-8 when written as
        Windows-1252 again.

    Examples
    --------
    >>> is_mojibake("hoà giải".encode().decode("cp1252")), is_mojibake("hoà giải"), is_mojibake("«CAFÉ»")
    (True, False, False)
    """
    runs = _FOREIGN.findall(text)
    read = [_read_again(run) for run in runs]
    good = [text for text in read if text]
    sure = any(max(text) > _TWO_BYTES for text in good)
    return sure or (len(good) > 0 and (len(good) == len(runs) or len(good) >= _SURE_RUNS))


def _read_again(run: str) -> str:
    """Return what characters say when they are written as Windows-1252 and read as UTF-8; nothing if they cannot."""
    try:
        # Five bytes have no character in Windows-1252; most programs read them as control characters.
        content = b"".join(
            bytes([ord(letter)]) if 0x80 <= ord(letter) < 0xA0 else letter.encode("cp1252") for letter in run
        )
        return content.decode("utf-8")
    except UnicodeError:
        return ""


def _forms(texts: Sequence[Any]) -> list[bool]:
    """Say which texts are decomposed, if there are composed ones among them."""
    words = [cell if isinstance(cell, str) else "" for cell in texts]
    composed = [unicodedata.is_normalized("NFC", text) for text in words]
    decomposed = [unicodedata.is_normalized("NFD", text) for text in words]
    mixed = any(one and not other for one, other in zip(composed, decomposed, strict=True))
    return [not one and (mixed or not other) for one, other in zip(composed, decomposed, strict=True)]


def label_findings(
    labels: pd.Series[str], column: str, known: Collection[str] | None, *, may_be_empty: bool
) -> Iterator[Finding]:
    """Find faults of the labels of a target.

    Parameters
    ----------
    labels : Series of str, of length n_rows
        Empty where there is none.
    column : str
    known : collection of str or None
        The labels that there are, None where nobody says.
    may_be_empty : bool
        Whether to have no label is no fault.

    Yields
    ------
    Finding
    """
    rows_of = {label: _numbers(labels == label) for label in labels.unique().tolist()}
    missing = rows_of.pop("", ())
    if missing and not may_be_empty:
        yield Finding("unlabelled", column, missing, "no label")
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in rows_of:
        spellings[" ".join(unicodedata.normalize("NFKC", label).casefold().split())].append(label)
    for same in spellings.values():
        usual, *others = sorted(same, key=lambda label: (known is None or label not in known, -len(rows_of[label])))
        for label in others:
            message = f"{checks.cut(repr(label))} beside {len(rows_of[usual])} times {checks.cut(repr(usual))}"
            yield Finding("label_spelling", column, rows_of[label], message)
    for label, rows in rows_of.items():
        if known is not None and label not in known:
            yield Finding("unknown_label", column, rows, f"{checks.cut(repr(label))} is not in the taxonomy")
    for label, rows in sorted(rows_of.items(), key=lambda item: len(item[1])):
        if len(rows) < LEAST_CLASS:
            message = f"{checks.cut(repr(label))} has {len(rows)} of the {LEAST_CLASS} questions that a class needs"
            yield Finding("small_class", column, rows, message)
    if len(rows_of) == 1 and len(labels) > 1:
        (label,) = rows_of
        yield Finding("constant", column, rows_of[label], f"all labels are {checks.cut(repr(label))}")


def known_labels(taxonomy: Taxonomy | None) -> Mapping[str, Collection[str]]:
    """Return the labels that a taxonomy names, by target."""
    if taxonomy is None:
        return {}
    known = {
        "topic": [topic.id for topic in taxonomy.topics],
        "jurisdiction": [*taxonomy.jurisdictions],
        "level": [*taxonomy.levels],
        "agency": [*taxonomy.agencies],
    }
    return {target: labels for target, labels in known.items() if labels}


def _numbers(chosen: pd.Series[bool]) -> tuple[int, ...]:
    return tuple((np.flatnonzero(chosen.to_numpy()) + 1).tolist())
