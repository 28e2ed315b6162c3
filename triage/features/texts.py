"""Texts as they come: checked, and cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

_CHUNK_CHARS = 1 << 20  # characters of a chunk, unless one text has more


def check_texts(texts: Iterable[str]) -> list[str]:
    """Return texts as a list after checking that each is a string.

    Parameters
    ----------
    texts : iterable of str
        A list, tuple, array, pandas Series or generator.

    Returns
    -------
    list of str

    Raises
    ------
    TypeError
        If `texts` is itself a string or a table, or holds anything but strings; positions are named, contents are not.

    Examples
    --------
    >>> check_texts("a question")
    Traceback (most recent call last):
        ...
    TypeError: texts must be a sequence of strings, got one string; put it in a list
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts must be a sequence of strings, got one string; put it in a list")
    if isinstance(texts, Mapping) or getattr(texts, "ndim", 1) != 1:
        raise TypeError(f"texts must be a sequence of strings, got a {type(texts).__name__}; take its column of texts")
    found = list(texts)
    wrong = [place for place, text in enumerate(found) if not isinstance(text, str)]
    if wrong:
        kinds = sorted({type(found[place]).__name__ for place in wrong})
        places = ", ".join(map(str, wrong[:5])) + (", …" if len(wrong) > 5 else "")
        raise TypeError(
            f"every text must be a string, got {len(wrong)} of {len(found)} that are {' or '.join(kinds)} "
            f"(position {places}); drop these rows or fill them with ''"
        )
    return found


def chunks(texts: Sequence[str], n_texts: int) -> Iterator[Sequence[str]]:
    """Cut texts into chunks that bound memory.

    Parameters
    ----------
    texts : sequence of str
    n_texts : int
        Most texts in a chunk; long texts make chunks of fewer.

    Yields
    ------
    sequence of str
        One text or more, in order.
    """
    start, n_chars = 0, 0
    for place, text in enumerate(texts):
        if place > start and (place - start == n_texts or n_chars + len(text) > _CHUNK_CHARS):
            yield texts[start:place]
            start, n_chars = place, 0
        n_chars += len(text)
    if start < len(texts):
        yield texts[start:]
