"""Questions in nearly the same words: copies with typing errors, without diacritics, with another place's name.

A question is the set of its runs of four characters, folded. Two are near duplicates when the Jaccard index of their
sets is at least `THRESHOLD`: on both desks that parts copies from everything else. Copies with five typing errors or
another commune's name have at least 0.64 (median 0.8); re-asks in a person's own words at most 0.38, and two different
questions of one archive at most 0.43.

Candidates come from MinHash signatures cut into bands (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, 3rd ed., section 3.4): 16 bands of 6 find a pair of similarity s with probability 1 - (1 - s**6)**16, which is
0.53 at 0.6, 0.87 at 0.7, 0.99 at 0.8; of the copies with five typing errors 97 to 99 %. One question has some 80
candidates among a million of its own field. Every candidate is compared exactly.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from triage.archive.items import Item
from triage.archive.results import NearDuplicate
from triage.text import Normalizer, fold_codes

THRESHOLD = 0.6

_N_BANDS, _BAND_ROWS = 16, 6
_CHUNK_CHARS = 250_000  # their shingles fit the processor's cache
_MAX_COMPARED = 50  # questions that share most bands with a new one; of a band, the first
_BLOCK_ROWS = 500
_PAIRS_ROWS = 2000
_NORMALIZER = Normalizer()

_CANDIDATES = f"""
    SELECT id, question FROM items JOIN (
        SELECT key, count(*) AS n_bands FROM bands WHERE band IN ({", ".join("?" * _N_BANDS)})
        GROUP BY key ORDER BY n_bands DESC, key LIMIT {_MAX_COMPARED}
    ) USING (key) ORDER BY key"""
# Of thousands of items in the same words each is compared with the first: all pairs of them would be millions.
_PAIRS = f"""
    WITH numbered AS (SELECT band, key, row_number() OVER (PARTITION BY band ORDER BY key) AS place FROM bands)
    SELECT DISTINCT one.key, other.key FROM numbered AS one
    JOIN bands AS other ON other.band = one.band AND other.key > one.key
    WHERE one.place <= {_MAX_COMPARED} ORDER BY 1, 2"""
_QUESTIONS = "SELECT key, id, question FROM items WHERE key IN (SELECT value FROM json_each(?))"


def bands_of(questions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the bands of questions; two near duplicates are likely to share one.

    Parameters
    ----------
    questions : sequence of str, of length n_questions

    Returns
    -------
    int64 array of shape (n_questions, 16)
        48-bit hashes; those of a question do not depend on the others.

    Examples
    --------
    >>> bands = bands_of(["Ai cấp giấy phép bán rượu?", "ai cap giay phep ban ruou", "Where is tax paid?"])
    >>> (bands[0] == bands[1]).all(), (bands[0] == bands[2]).any()
    (np.True_, np.False_)
    """
    bands = np.empty((len(questions), _N_BANDS), np.int64)
    ends = np.cumsum([len(question) for question in questions])
    start = 0
    while start < len(questions):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + _CHUNK_CHARS, side="right")))
        bands[start:end] = _bands(*_shingles(questions[start:end]))
        start = end
    return bands


def find_near_duplicates(
    connection: sqlite3.Connection, items: Sequence[Item], bands: npt.NDArray[np.int64], *, store: bool
) -> list[NearDuplicate | None]:
    """Say of each new item whether it is nearly the same as one stored or to be stored.

    Parameters
    ----------
    connection : sqlite3.Connection
    items : sequence of Item, of length n_items
        None is in the archive yet.
    bands : int64 array of shape (n_items, 16)
    store : bool
        Whether near duplicates are stored as well.

    Returns
    -------
    list of NearDuplicate or None
        The most similar one, if any is similar enough.
    """
    values, counts = np.unique(bands, return_counts=True)
    repeated = set(values[counts > 1].tolist())
    earlier: dict[int, list[int]] = defaultdict(list)  # band to the first rows that have it
    found: list[NearDuplicate | None] = [None] * len(items)
    dropped: set[str] = set()
    for start in range(0, len(items), _BLOCK_ROWS):
        block = items[start : start + _BLOCK_ROWS]
        candidates: list[tuple[int, str, str]] = []
        for row, own in enumerate(bands[start : start + len(block)].tolist(), start):
            shared = [band for band in own if band in repeated]
            above = Counter(other for band in shared for other in earlier[band]).most_common(_MAX_COMPARED)
            candidates += [(row, id, question) for id, question in connection.execute(_CANDIDATES, own)]
            candidates += [(row, items[other].id, items[other].question) for other, _ in sorted(above)]
            for band in shared:
                if len(earlier[band]) < _MAX_COMPARED:
                    earlier[band].append(row)
        questions = dict.fromkeys([item.question for item in block] + [question for *_, question in candidates])
        place = {question: number for number, question in enumerate(questions)}
        new = [place[items[row].question] for row, *_ in candidates]
        known = [place[question] for *_, question in candidates]
        similarity = similarities([*questions], new, known)
        for (row, id, _), value in zip(candidates, similarity.tolist(), strict=True):
            best = found[row]
            if value >= THRESHOLD and id not in dropped and (best is None or value > best.similarity):
                found[row] = NearDuplicate(items[row].id, id, value)
                if not store:
                    dropped.add(items[row].id)
    return found


def find_new_near_duplicates(connection: sqlite3.Connection, old: Item, new: Item) -> list[NearDuplicate]:
    """Find the items that a changed item is nearly the same as, and was not before.

    Parameters
    ----------
    connection : sqlite3.Connection
    old, new : Item
        An item of the archive, and what it is to be.

    Returns
    -------
    list of NearDuplicate
        Most similar first.
    """
    candidates = connection.execute(_CANDIDATES, bands_of([new.question])[0].tolist())
    others = {id: question for id, question in candidates if id != new.id}
    places = range(2, len(others) + 2)
    questions = [old.question, new.question, *others.values()]
    before, now = (similarities(questions, [one] * len(others), places).tolist() for one in (0, 1))
    alike = [
        NearDuplicate(new.id, id, value)
        for id, was, value in zip(others, before, now, strict=True)
        if was < THRESHOLD <= value
    ]
    return sorted(alike, key=lambda near: -near.similarity)


def iter_near_duplicates(connection: sqlite3.Connection, threshold: float) -> Iterator[NearDuplicate]:
    """Find pairs of items that are nearly the same: all, but of more than fifty that share a band those with the first.

    Parameters
    ----------
    connection : sqlite3.Connection
    threshold : float

    Yields
    ------
    NearDuplicate
    """
    cursor = connection.execute(_PAIRS)
    while block := list(islice(cursor, _PAIRS_ROWS)):
        keys = [*{key for pair in block for key in pair}]
        rows = {key: (id, question) for key, id, question in connection.execute(_QUESTIONS, [json.dumps(keys)])}
        pairs = [pair for pair in block if rows.keys() >= {*pair}]  # another Unicode version may leave bands behind
        place = {key: number for number, key in enumerate(rows)}
        earlier, later = ([place[pair[side]] for pair in pairs] for side in (0, 1))
        similarity = similarities([question for _, question in rows.values()], earlier, later)
        for (one, other), value in zip(pairs, similarity.tolist(), strict=True):
            if value >= threshold:
                yield NearDuplicate(rows[other][0], rows[one][0], value)


def nearest_duplicates(
    questions: Sequence[str], known: Sequence[str]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Find for each question the most similar of the known ones, if one is nearly the same.

    Parameters
    ----------
    questions : sequence of str, of length n_questions
    known : sequence of str

    Returns
    -------
    place : intp array of shape (n_questions,)
        In `known`; -1 where none is a near duplicate.
    similarity : float64 array of shape (n_questions,)
        0 where none is.

    Examples
    --------
    >>> place, similarity = nearest_duplicates(["ai cap phep?", "Thuế?"], ["Nộp ở đâu?", "Ai cấp phép?"])
    >>> place.tolist(), similarity.tolist()
    ([1, -1], [1.0, 0.0])
    """
    rows_of: dict[int, list[int]] = defaultdict(list)  # band to the first known questions that have it
    for row, own in enumerate(bands_of(known).tolist()):
        for band in own:
            if len(rows_of[band]) < _MAX_COMPARED:
                rows_of[band].append(row)
    place = np.full(len(questions), -1, np.intp)
    best = np.zeros(len(questions))
    bands = bands_of(questions)
    for start in range(0, len(questions), _BLOCK_ROWS):
        block = questions[start : start + _BLOCK_ROWS]
        pairs: list[tuple[int, int]] = []
        for row, own in enumerate(bands[start : start + len(block)].tolist()):
            shared = Counter(other for band in own for other in rows_of.get(band, ())).most_common(_MAX_COMPARED)
            pairs += [(row, other) for other, _ in sorted(shared)]
        others = {other: len(block) + number for number, other in enumerate(dict.fromkeys(two for _, two in pairs))}
        texts = [*block, *(known[other] for other in others)]
        similarity = similarities(texts, [one for one, _ in pairs], [others[two] for _, two in pairs])
        for (one, other), value in zip(pairs, similarity.tolist(), strict=True):
            if value >= THRESHOLD and value > best[start + one]:
                place[start + one], best[start + one] = other, value
    return place, best


def similarities(questions: Sequence[str], left: Sequence[int], right: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the Jaccard index of pairs of questions, exactly.

    Parameters
    ----------
    questions : sequence of str
    left, right : sequence of int, of length n_pairs
        Positions in `questions`.

    Returns
    -------
    float64 array of shape (n_pairs,)
        0 for two of at most one letter.

    Examples
    --------
    >>> similarities(["Hoà giải?", "hoa giai", "thuế"], [0, 0], [1, 2]).tolist()
    [1.0, 0.0]
    """
    shingles, offsets = _shingles(questions)
    known, columns = np.unique(shingles, return_inverse=True)
    held = sp.csr_array((np.ones(len(columns)), columns, offsets), shape=(len(questions), len(known)))
    held.sum_duplicates()
    held.data[:] = 1
    sizes = np.diff(held.indptr)
    one, other = np.asarray(left, np.intp), np.asarray(right, np.intp)
    both = held[one].multiply(held[other]).sum(axis=1)
    return np.asarray(both / np.maximum(sizes[one] + sizes[other] - both, 1), np.float64)


def _shingles(questions: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """Return the shingles of all questions as hashes, and where those of each start and the last end."""
    words = _NORMALIZER.words(questions)
    codes = fold_codes(words.codes).astype(np.uint64)
    first = np.searchsorted(words.rows, np.arange(len(questions)), "left")
    last = np.searchsorted(words.rows, np.arange(len(questions)), "right") - 1
    filled = last >= first
    starts = np.zeros(len(questions), np.intp)
    counts = np.zeros(len(questions), np.intp)
    starts[filled] = words.starts[first[filled]] - 1  # with the spaces before and after
    counts[filled] = np.maximum(words.ends[last[filled]] - starts[filled] - 2, 0)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    place = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
    bits = np.uint64(21)  # of a code point
    three = codes[place] << bits << bits | codes[place + 1] << bits | codes[place + 2]
    return _mix(_mix(three) ^ codes[place + 3]), offsets


def _bands(shingles: npt.NDArray[np.uint64], offsets: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    hashes = (shingles >> np.uint64(32)).astype(np.uint32)
    filled = np.flatnonzero(np.diff(offsets))
    signature = np.full((_N_BANDS * _BAND_ROWS, len(offsets) - 1), 2**32 - 1, np.uint64)
    if len(filled):
        for line, factor in zip(signature, _FACTORS, strict=True):
            line[filled] = np.minimum.reduceat(hashes * factor, offsets[filled])
    bands = np.repeat(np.arange(_N_BANDS, dtype=np.uint64)[:, None], len(offsets) - 1, axis=1)
    for row in range(_BAND_ROWS):
        bands = _mix(bands ^ signature[row::_BAND_ROWS])
    return (bands.T >> np.uint64(16)).astype(np.int64)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread 64-bit numbers (Steele, Lea and Flood 2014, the finaliser of SplitMix64)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)


# Odd, so that each is a permutation of 32-bit numbers. They are part of the file's format.
_FACTORS = (_mix(np.arange(_N_BANDS * _BAND_ROWS, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
