"""From the documents and parts found in a text to citations: normal forms, and which part is of which document."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from triage.text.span import fold_with_offsets

LEVELS = ("article", "clause", "point")  # from the whole to the part
NUMBER = (  # 139/2025/nd-cp, 139/2025, 123/qd-ubnd, in folded text
    r"(?P<serial>\d{1,5}[a-z]?(?:\.\d{1,3})?)/"
    r"(?:(?P<year>(?:19|20)\d\d)(?:/(?P<suffix>[a-z]+\d*(?:-[a-z0-9]+)*))?|(?P<body>[a-z]+(?:-[a-z0-9]+)+))"
)
WORD = re.compile(r"\w+(?:[./:@&-]\w+)*|\s+|[.!?。！？।]+|[^\w\s]")


@dataclass(frozen=True)
class Citation:
    """A mention of a legal document, of a part of one, or of both.

    Parameters
    ----------
    start, end : int
        Character offsets in the original text.
    text : str
        ``original[start:end]``.
    kind : str or None
        Kind of document by the language's data (``"decree"``, ``"circular"``, ``"law"``, ``"resolution"``,
        ``"decision"``, …); None for a part whose document is not named beside it.
    number : str or None
        Number in normal form, as far as it is written; None for a law cited by its title.
    document : str or None
        Join key, equal for every spelling of one document where the language's data can tell; else the
        kind's symbol with the number, or a law's title. None when `kind` is.
    article, clause, point : str or None
        Part that is cited.
    """

    start: int
    end: int
    text: str
    kind: str | None = None
    number: str | None = None
    document: str | None = None
    article: str | None = None
    clause: str | None = None
    point: str | None = None


@dataclass(frozen=True)
class Item:
    """A document (its label is the kind) or a part (one of `LEVELS`), placed in the folded text."""

    label: str
    start: int
    end: int


def fold(text: str) -> str:
    """Fold a text.

    Returns
    -------
    str
        Without case and diacritics.
    """
    return fold_with_offsets(text)[0]


def split_words(name: str) -> list[str]:
    """Split a name.

    Returns
    -------
    list of str
        Its folded words and signs, without space.
    """
    return [word for word in WORD.findall(fold(name)) if not word.isspace()]


class CitationRules:
    """Normal forms of one language, from the section ``citations`` of its data."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.kinds: dict[str, dict[str, Any]] = data["kinds"]
        self.symbols = {
            fold(s): (kind, s) for kind, d in self.kinds.items() for s in (d["symbol"], *d.get("symbols", ()))
        }
        self.issuers = {fold(issuer): issuer for issuer in data["issuers"]}
        self.near = {"", *map(fold, data["of_words"])}
        self.listed = {",", *map(fold, data["and_words"])}
        laws = data["laws"].items()
        self.laws = {
            " ".join(split_words(name)): title for title, law in laws for name in (title, *law.get("short", ()))
        }
        self.law_numbers = {(title, year): number for title, law in laws for year, number in law["years"].items()}

    def name_document(self, kind: str, written: str) -> Citation:
        """Read a document.

        Returns
        -------
        Citation
            Kind, number and join key of what is written; without a place.
        """
        folded, offsets = fold_with_offsets(written)
        match = re.search(rf"(?:^|[\s:(]){NUMBER}$", folded)
        if match is None:
            return Citation(0, 0, "", kind, None, self._name_law(kind, " ".join(split_words(folded))))
        year, group = match["year"], "body" if match["body"] else "suffix"
        serial = match["serial"] if match["serial"][1:2].isdigit() else f"0{match['serial']}"
        number = f"{serial}/{year}" if year else serial
        if not match[group]:
            known = self.kinds[kind]
            suffix = known.get("suffix") or known.get("suffix_by_year", {}).get(year)
            return Citation(0, 0, "", kind, number, f"{number}/{suffix}" if suffix else f"{known['symbol']} {number}")
        start, end = match.span(group)
        head, *rest = (
            unicodedata.normalize("NFC", written[offsets[start] : offsets[end]]).upper().replace("–", "-").split("-")
        )
        kind, head = self.symbols.get(fold(head), (kind, head))
        number = "-".join([f"{number}/{head}", *(self.issuers.get(fold(part), part) for part in rest)])
        return Citation(0, 0, "", kind, number, number)

    def _name_law(self, kind: str, words: str) -> str:
        # Return the number of a law cited by title and year, or its title when the number is not known.
        title = self.laws[max((name for name in self.laws if f" {name} " in f" {words} "), key=len)]
        last = words.split()[-1]
        year = last if re.fullmatch(r"\d{4}", last) else ""
        return str(self.law_numbers.get((title, year), f"{self.kinds[kind]['symbol']} {title} {year}".strip()))


def _group(parts: Sequence[Item], touching: Sequence[bool]) -> list[tuple[list[Item], list[Item]]]:
    # Split a run into the parts it names, each as the items standing there and those taken over.
    # A run reads from whole to part ("Đ5 k1") or from part to whole ("khoản 1 Điều 5"); the first two that
    # touch tell which. A level that comes again opens the next group, which takes over the levels above it.
    ranks = [LEVELS.index(part.label) for part in parts]
    steps = [later - earlier for earlier, later, near in zip(ranks, ranks[1:], touching, strict=False) if near]
    backwards = bool(steps) and steps[0] < 0
    groups: list[tuple[list[Item], list[Item]]] = []
    for part in reversed(parts) if backwards else parts:
        own, above = groups[-1] if groups else ([], [])
        rank = LEVELS.index(part.label)
        if not groups or any(LEVELS.index(item.label) >= rank for item in own):
            groups.append(([part], [item for item in (*above, *own) if LEVELS.index(item.label) < rank]))
        else:
            own.append(part)
    return groups[::-1] if backwards else groups


def _runs(items: Sequence[Item], joints: Sequence[str]) -> Iterator[tuple[int, int]]:
    # Yield the stretches of parts that stand together, as ranges of `items`.
    start = 0
    for i, item in enumerate(items):
        stop = i + 1 if item.label in LEVELS else i
        if start < stop and (stop == i or not joints[i]):
            yield start, stop
        if stop == i or not joints[i]:
            start = i + 1


def cite(text: str, folded: str, offsets: Sequence[int], items: Sequence[Item], rules: CitationRules) -> list[Citation]:
    """Give each document the parts beside it.

    Returns
    -------
    list of Citation
        In order and without overlap.
    """

    def value(item: Item) -> str:
        match = re.search(r"(\d{1,3}[a-z]?|[a-z])(?:-\d+)?$", folded[item.start : item.end])
        start, end = match.span(1) if match else (0, 0)
        return unicodedata.normalize("NFC", text[offsets[item.start + start] : offsets[item.start + end]]).lower()

    gaps = [folded[item.end : later.start].strip() for item, later in itertools.pairwise(items)]
    joints = ["near" if gap in rules.near else "list" if gap in rules.listed else "" for gap in gaps] + [""]
    documents = {
        i: rules.name_document(item.label, text[offsets[item.start] : offsets[item.end]])
        for i, item in enumerate(items)
        if item.label not in LEVELS
    }
    placed: list[tuple[int, int, Citation]] = []
    taken: set[int] = set()  # documents that already stand in a citation
    for first, stop in _runs(items, joints):
        before, after = joints[first - 1] if first else "", joints[stop - 1]
        owner = first - 1 if before == "near" or (before and after != "near") else stop if after == "near" else None
        groups = _group(items[first:stop], [joint == "near" for joint in joints[first : stop - 1]])
        beside = groups[0 if owner == first - 1 else -1]
        for own, above in groups:
            standing = list(own)
            levels = {item.label: value(item) for item in (*above, *own)}
            if owner is None:
                short = any(
                    item.label == "article" and folded[item.start : item.end].isalnum() for item in (*above, *own)
                )
                if "article" not in levels or (short and "clause" not in levels):
                    continue
            elif own is beside[0] and owner not in taken:
                taken.add(owner)
                standing.append(items[owner])
            citation = replace(
                Citation(0, 0, "") if owner is None else documents[owner],
                article=levels.get("article"),
                clause=levels.get("clause"),
                point=levels.get("point"),
            )
            placed.append((min(item.start for item in standing), max(item.end for item in standing), citation))
    placed += [(items[i].start, items[i].end, document) for i, document in documents.items() if i not in taken]
    return [
        replace(citation, start=offsets[start], end=offsets[end], text=text[offsets[start] : offsets[end]])
        for start, end, citation in sorted(placed, key=lambda place: place[0])
    ]
