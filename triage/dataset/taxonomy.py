"""How a desk names things: its labels in several languages, and its abbreviations."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from triage.dataset import checks
from triage.dataset.files import Source, name_of, read_table, undamaged
from triage.errors import Fault


@dataclass(frozen=True)
class Topic:
    """A topic of a desk: its label, its names by language, what belongs to it, and matters as examples."""

    id: str
    names: Mapping[str, str]
    description: str
    typical_matters: tuple[str, ...]


@dataclass(frozen=True)
class Taxonomy:
    """The labels of a desk and their names by language, in the order of the file; all have one in `language`."""

    language: str
    topics: tuple[Topic, ...]
    jurisdictions: Mapping[str, Mapping[str, str]]
    levels: Mapping[str, Mapping[str, str]]
    agencies: Mapping[str, Mapping[str, str]]

    def name(self, target: str, label: str, language: str | None = None) -> str:
        """Name a label for people, by default in the taxonomy's own language; a ValueError lists what is known."""
        names: Any = {"topic": {topic.id: topic.names for topic in self.topics}, "jurisdiction": self.jurisdictions}
        names |= {"level": self.levels, "agency": self.agencies}
        for what, key in (("target", target), (target, label), ("language", language or self.language)):
            if key not in names:
                raise ValueError(f"{what} must be one of {checks.listing(names, key)}, got {checks.cut(repr(key))}")
            names = names[key]
        return str(names)


def read_taxonomy(path: str | Path) -> Taxonomy:
    """Read a desk's ``taxonomy.json``, and name every fault at its place in the JSON.

    Parameters
    ----------
    path : str or Path
        JSON object with ``language`` and lists ``topics``, ``jurisdictions`` (each may have ``levels``) and
        ``agencies``; every entry has ``id`` and ``name_<language>``, and names in as many languages as wanted.

    Returns
    -------
    Taxonomy
    """
    faults: list[Fault] = []
    content = Path(path).read_bytes()
    with undamaged(str(path), "must be JSON in UTF-8"):
        tree = json.loads(content.decode("utf-8-sig"))
    if not isinstance(tree, dict) or not _is_text(tree.get("language")):
        checks.raise_if([Fault(None, "language", "must be an object with a language such as 'vi'")], path)
    language = tree["language"]
    keys = ("topics", "jurisdictions", "agencies")
    topics, jurisdictions, agencies = (_entries(tree, key, language, faults) for key in keys)
    levels: dict[str, dict[str, Any]] = {}
    for entry in jurisdictions.values():
        levels |= _entries(entry, "levels", language, faults)
    if not topics and not faults:
        faults.append(Fault(None, "topics", "must have at least one topic"))
    checks.raise_if(faults, path)
    of_topic = {key: tuple(entry.get(_matters(language), [])) for key, entry in topics.items()}
    names = _names(topics).items()
    listed = (Topic(key, name, str(topics[key].get("description", "")), of_topic[key]) for key, name in names)
    return Taxonomy(language, tuple(listed), *map(_names, (jurisdictions, levels, agencies)))


def _entries(tree: dict[str, Any], key: str, language: str, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    # Return the entries of a list by id; what is wrong with them goes to `faults`.
    entries: dict[str, dict[str, Any]] = {}
    listed = tree.get(key, [])
    if not isinstance(listed, list):
        faults.append(Fault(None, key, "must be a list"))
        return {}
    for number, entry in enumerate(listed):
        place = f"{key}[{number}]"
        if not isinstance(entry, dict) or not _is_text(entry.get("id")):
            faults.append(Fault(None, place, "must be an object with an id"))
            continue
        if entry["id"] in entries:
            faults.append(Fault(None, f"{place}.id", f"must be unique, got {checks.cut(repr(entry['id']))} again"))
        for name in dict.fromkeys([f"name_{language}", *(name for name in entry if name.startswith("name_"))]):
            if not _is_text(entry.get(name)):
                faults.append(Fault(None, f"{place}.{name}", "must be a text that is not empty"))
        matters = entry.get(_matters(language), [])
        if not isinstance(matters, list) or not all(map(_is_text, matters)):
            faults.append(Fault(None, f"{place}.{_matters(language)}", "must be a list of texts"))
        entries[entry["id"]] = entry
    return entries


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _matters(language: str) -> str:
    return f"typical_matters_{language}"


def _names(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    # Return each entry's names by language.
    return {
        key: {name.removeprefix("name_"): text for name, text in entry.items() if name.startswith("name_")}
        for key, entry in entries.items()
    }


def read_abbreviations(source: Source | pd.DataFrame, *, format: str | None = None) -> dict[str, str]:
    """Read a desk's abbreviations, and name every fault.

    Parameters
    ----------
    source, format
        As in :func:`read_table`. Columns ``abbreviation`` (one token) and ``expansion``.

    Returns
    -------
    dict of str to str
        Abbreviation in lower case and Unicode NFC to its expansion, in the order of the file.

    Examples
    --------
    >>> read_abbreviations(pd.DataFrame({"abbreviation": ["UBND"], "expansion": ["ủy ban nhân dân"]}))
    {'ubnd': 'ủy ban nhân dân'}
    """
    frame = read_table(source, format=format)
    faults = checks.absent_faults(["abbreviation", "expansion"], frame)
    if not faults:
        frame["abbreviation"] = [unicodedata.normalize("NFC", str(cell)).lower() for cell in frame["abbreviation"]]
    faults += checks.cell_faults(
        frame, "abbreviation", lambda cell: None if len(str(cell).split()) == 1 else "must be one token"
    )
    faults += checks.repeat_faults(frame, "abbreviation") + checks.cell_faults(frame, "expansion", checks.text_problem)
    checks.raise_if(faults, name_of(source))
    return dict(zip(frame["abbreviation"], frame["expansion"], strict=True))
