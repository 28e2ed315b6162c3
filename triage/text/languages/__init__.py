"""Language data: one JSON file a language, named by its code.

A file holds ``language``, ``version`` and a section for each module that reads it: ``personal_data``,
``citations``, ``sentences``, ``tone_marks``. A language is added by adding a file; no code changes.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def known_languages() -> tuple[str, ...]:
    """Return the codes of the languages that have data, sorted.

    Returns
    -------
    tuple of str
        Codes such as ``"vi"``.

    Examples
    --------
    >>> "vi" in known_languages()
    True
    """
    names = (entry.name for entry in files("triage.text.languages").iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def language_with_data(code: str | None) -> str | None:
    """Return a language if it has data, and None for any other: texts are then read without.

    Parameters
    ----------
    code : str or None
        Code of any language, such as that of a desk's taxonomy.

    Returns
    -------
    str or None

    Examples
    --------
    >>> language_with_data("vi")
    'vi'
    >>> language_with_data("en") is None
    True
    """
    return code if code in known_languages() else None


@cache
def load_language(code: str | None) -> dict[str, Any]:
    """Return the data of a language; it is read once and shared, so do not change it.

    Parameters
    ----------
    code : str or None
        Code of a known language, or None for no language data at all.

    Returns
    -------
    dict
        The sections of the file; empty when `code` is None.

    Raises
    ------
    ValueError
        If no data is stored for `code`; the message lists the known codes.

    Examples
    --------
    >>> load_language("vi")["language"]
    'vi'
    >>> load_language(None)
    {}
    """
    if code is None:
        return {}
    if code not in known_languages():
        raise ValueError(f"language must be None or one of {', '.join(known_languages())}; got {code!r}")
    text = files("triage.text.languages").joinpath(f"{code}.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data
