"""Texts in batches: each read once, in parts that bound memory, and decided with those whose days mean the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import joblib
import numpy as np

from triage.classifier import Outcomes
from triage.features import chunks
from triage.register import to_day
from triage.triager.reading import Reader, Reading

T = TypeVar("T")

_CHUNK_TEXTS = 1024  # texts read at once; bounds memory, and rows do not depend on it


@dataclass(frozen=True)
class Batch:
    """Some of the texts, on whose days the outcomes mean the same.

    Attributes
    ----------
    places : list of int
        Where each text stands among all; the batches of all texts have each place once, in order if all have one day.
    texts : list of str
    days : list of str or None
        ISO text; None without a register where no day was given.
    reading : Reading
    outcomes : Outcomes
        What the outcomes mean on these days.
    """

    places: list[int]
    texts: list[str]
    days: list[str | None]
    reading: Reading
    outcomes: Outcomes

    @property
    def day(self) -> str | None:
        """A day that stands for all."""
        return self.days[0]


def read_batches(reader: Reader, texts: Sequence[str], as_of: Any = None, n_jobs: int | None = None) -> Iterator[Batch]:
    """Read texts part by part.

    Parameters
    ----------
    reader : Reader
    texts : sequence of str, of length n_texts
        As `check_texts` gives them.
    as_of : optional
        As for `as_days`; with a register, today where none is given.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    iterator of Batch

    Raises
    ------
    ValueError
        If `as_of` is no day or of another length: at once, not with the first batch.
    """
    days = as_days(as_of, len(texts))
    if reader.register is not None:
        today = date.today().isoformat()
        days = [day or today for day in days]
    return _batches(reader, texts, days, n_jobs)


def _batches(reader: Reader, texts: Sequence[str], days: list[str | None], n_jobs: int | None) -> Iterator[Batch]:
    start = 0
    for chunk, reading in _read(reader, texts, n_jobs):
        places = list(range(start, start + len(chunk)))
        start += len(chunk)
        meanings = {day: reader.meaning(day) for day in {days[place] for place in places}}
        epochs = {day: None if dated is None else dated.epoch for day, (_, dated) in meanings.items()}
        groups: dict[int | None, list[int]] = {}
        for place in places:
            groups.setdefault(epochs[days[place]], []).append(place)
        for group in groups.values():
            part = reading if len(groups) == 1 else reading.of(np.array(group) - places[0])
            on = [days[place] for place in group]
            yield Batch(group, [texts[place] for place in group], on, part, meanings[on[0]][0])


def _read(reader: Reader, texts: Sequence[str], n_jobs: int | None) -> Iterator[tuple[Sequence[str], Reading]]:
    parts = list(chunks(texts, _CHUNK_TEXTS))
    if len(parts) < 2 or n_jobs in (None, 1):
        for part in parts:
            yield part, reader.read(part)
        return
    run = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    yield from zip(parts, run(joblib.delayed(reader.read)(part) for part in parts), strict=True)


def in_order(found: Mapping[int, T]) -> list[T]:
    """Return what was found of each text, by its place, in the order of the texts."""
    return [found[place] for place in sorted(found)]


def as_days(as_of: Any, n_texts: int) -> list[str | None]:
    """Return the day of each text as ISO text.

    Parameters
    ----------
    as_of : None, date, ISO text, or a sequence of them of length n_texts
    n_texts : int

    Returns
    -------
    list of str or None, of length n_texts

    Raises
    ------
    ValueError
        If a day is no day, or there are more or fewer days than texts.

    Examples
    --------
    >>> as_days("2025-10-01", 2)
    ['2025-10-01', '2025-10-01']
    """
    if not isinstance(as_of, Iterable) or isinstance(as_of, str):
        return [_day(as_of, "")] * n_texts
    days = [_day(day, f" at position {place}") for place, day in enumerate(as_of)]
    if len(days) != n_texts:
        raise ValueError(f"as_of must be one day, or one for each of the {n_texts} texts, got {len(days)} days")
    return days


def _day(value: Any, where: str) -> str | None:
    if value is None:
        return None
    try:
        return to_day(value).isoformat()
    except ValueError:  # the value may be a question's words
        kind = type(value).__name__
        raise ValueError(f"as_of must be a date or text such as '2025-10-01', got other {kind}{where}") from None
