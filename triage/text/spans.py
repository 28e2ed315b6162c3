"""Sentences and citations of legal documents, by rules; the only module that knows spaCy.

Both read a folded copy of the text (`triage.text.span.fold_with_offsets`), so ``nghi dinh 139/2025`` is
found like ``Nghị định 139/2025``. What a language writes stands in its data, in the sections ``sentences``
and ``citations``. spaCy is imported at first use; its vocabulary is shared, so one text is read at a time,
and forgotten after each text, so memory does not grow with the texts read.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from triage.text.languages import load_language
from triage.text.reference import NUMBER, WORD, Citation, CitationRules, Item, cite, fold, split_words
from triage.text.span import Span, fold_with_offsets

if TYPE_CHECKING:
    from spacy.matcher import Matcher, PhraseMatcher
    from spacy.tokens import Doc
    from spacy.vocab import Vocab

__all__ = ["Citation", "Span", "citations", "sentences"]

_TERMINATOR = re.compile(r"[.!?。！？।]+")
_LIST_MARK = re.compile(r"\d{1,2}(?:\.\d{1,2})*|[ivx]{1,4}|[a-z]")
_BULLETS = frozenset("-•●○▪*+")
_CLOSERS = frozenset("\"')]}»”’")
_SPACE: dict[str, Any] = {"IS_SPACE": True, "OP": "?"}
_LOCK = threading.Lock()


def _sentence_starts(words: Sequence[str], heads: Sequence[str], data: dict[str, Any]) -> list[bool]:
    # Say for each word whether a sentence starts there; `heads` are the words' first characters as written.
    never, before_name, may_end = (
        frozenset(map(fold, data.get(f"abbreviations{rest}", ())))
        for rest in ("", "_before_number_or_name", "_that_may_end")
    )
    starts = [False] * len(words)
    ended: str | None = "any"  # what the next word must be for a sentence to start: "any", "upper", None
    first = 0  # first word of the sentence or of the item
    line = True  # nothing but space since the line began
    for i, word in enumerate(words):
        if word.isspace():
            line = line or "\n" in word
            ended = "any" if word.count("\n") > 1 else ended
            continue
        before, after = words[i - 1] if i else " ", words[i + 1] if i + 1 < len(words) else " "
        marked = word in _BULLETS or (after[0] in ".)" and _LIST_MARK.fullmatch(word) is not None)
        if ended and word in _CLOSERS and not before.isspace():
            continue
        if i == 0 or ended == "any" or (ended == "upper" and heads[i].isupper()) or (line and marked):
            starts[i] = True
            first = i
        elif before in {":", ";"} or words[i - 2 : i] in ([":", " "], [";", " "]):
            first = i
        line, ended = False, None
        if not _TERMINATOR.fullmatch(word):
            continue
        if word != ".":
            ended = "upper" if word.startswith("..") else "any"
        elif after.isspace() or after in _CLOSERS:
            initial = len(before) == 1 and heads[i - 1].isupper() and heads[i - 1].isalpha()
            item = first == i - 1 and _LIST_MARK.fullmatch(before)
            if before in may_end:
                ended = "upper"
            elif not (before in never or initial or item or (before in before_name and _names(words, heads, i - 1))):
                ended = "any"
    return starts


def _names(words: Sequence[str], heads: Sequence[str], i: int) -> bool:
    # Say whether word i, a short form, is followed by a number or, when it has a capital itself, by a name.
    following = next((j for j in range(i + 2, min(i + 4, len(words))) if not words[j].isspace()), i)
    return heads[following].isdigit() or (heads[i].isupper() and heads[following].isupper() and following > i)


@cache
def _vocab() -> Vocab:
    # Return spaCy's vocabulary alone: a whole ``spacy.blank`` would load every installed plug-in.
    from spacy.lang.xx import MultiLanguage
    from spacy.vocab import create_vocab

    return create_vocab("xx", MultiLanguage.Defaults)


def _make_doc(text: str, folded: str, offsets: Sequence[int], language: str | None) -> Doc:
    # Cut the folded text into words and sentences; a single space after a word belongs to the word.
    from spacy.tokens import Doc

    pieces = [(match[0], text[offsets[match.start()]]) for match in WORD.finditer(folded)]
    starts = _sentence_starts(
        [p[0] for p in pieces], [p[1] for p in pieces], load_language(language).get("sentences", {})
    )
    words: list[str] = []
    spaces: list[bool] = []
    kept: list[bool | int | None] = []
    for (word, _), start in zip(pieces, starts, strict=True):
        if word == " " and words and not words[-1].isspace():
            spaces[-1] = True
        else:
            words.append(word)
            spaces.append(False)
            kept.append(start)
    return Doc(_vocab(), words=words, spaces=spaces, sent_starts=kept)


def sentences(text: str, *, language: str | None) -> list[Span]:
    """Cut a text into sentences.

    Parameters
    ----------
    text : str
        Any string.
    language : str or None
        Code of the language whose abbreviations are known; None for the plain rules alone.

    Returns
    -------
    list of Span
        In order, without overlap, without space at their ends; every other character is in one of them.

    Notes
    -----
    A sentence ends at ``.``, ``?`` or ``!``, at a blank line, and before a bullet or a list number on a new
    line. It does not end inside a number or name, after an initial, or after the number of a list item.

    Examples
    --------
    >>> text = "Tôi ở TP. Hồ Chí Minh. Hồ sơ nộp ở đâu?"
    >>> [text[span.start : span.end] for span in sentences(text, language="vi")]
    ['Tôi ở TP. Hồ Chí Minh.', 'Hồ sơ nộp ở đâu?']
    """
    folded, offsets = fold_with_offsets(text)
    with _LOCK, _vocab().memory_zone():
        bounds = [(sent.start_char, sent.end_char) for sent in _make_doc(text, folded, offsets, language).sents]
    found = []
    for start, end in bounds:
        body = folded[start:end]
        start, end = end - len(body.lstrip()), start + len(body.rstrip())
        if start < end:
            found.append(Span(offsets[start], offsets[end]))
    return found


def _spaced(name: str) -> list[dict[str, Any]]:
    # Return the token pattern of a name, with any space between its words.
    return [token for word in split_words(name) for token in (_SPACE, {"ORTH": word})][1:]


def _one_of(words: Sequence[str]) -> dict[str, Any]:
    # Return the pattern of one of some words, or of nothing.
    return {"ORTH": {"IN": [fold(word) for word in words]}, "OP": "?"}


@dataclass(frozen=True)
class _Patterns:
    """What finds the documents, articles, clauses and points of one language."""

    matcher: Matcher
    titles: PhraseMatcher
    title_tail: re.Pattern[str]  # year and number that may follow a title
    not_before_title: tuple[str, ...]
    rules: CitationRules

    def find(self, doc: Doc, folded: str) -> list[Item]:
        """Find documents and parts.

        Returns
        -------
        list of Item
            In order; the first and longest where two overlap.
        """
        found = [Item(span.label_, span.start_char, span.end_char) for span in self.matcher(doc, as_spans=True)]
        for span in self.titles(doc, as_spans=True):
            before = folded[max(0, span.start_char - 20) : span.start_char].rstrip()
            if not before.endswith(self.not_before_title):
                tail = self.title_tail.match(folded, span.end_char)
                found.append(Item(span.label_, span.start_char, tail.end() if tail else span.end_char))
        items: list[Item] = []
        for item in sorted(found, key=lambda item: (item.start, -item.end)):
            if not items or item.start >= items[-1].end:
                items.append(item)
        return items


@cache
def _patterns(language: str) -> _Patterns:
    # Compile the patterns of a language that has the section ``citations``.
    from spacy.matcher import Matcher, PhraseMatcher

    data = load_language(language)["citations"]
    rules = CitationRules(data)
    matcher, titles = Matcher(_vocab()), PhraseMatcher(_vocab())
    number = [_SPACE, _one_of(data["number_words"]), _one_of([":", "("]), _SPACE, {"TEXT": {"REGEX": f"^{NUMBER}$"}}]
    for kind, known in rules.kinds.items():
        matcher.add(kind, [[*_spaced(name), *number] for name in known["names"]])
        if known.get("has_titles"):
            names = [f"{fold(name)} {title}" for name in known["names"] for title in rules.laws]
            titles.add(kind, [_make_doc(name, name, range(len(name) + 1), None) for name in names])
    symbols = "|".join(map(re.escape, rules.symbols))
    telling = rf"^\d{{1,5}}[a-z]?(?:\.\d{{1,3}})?(?:/(?:19|20)\d\d)?/(?:{symbols})(?:-[a-z0-9]+)+$"
    matcher.add(next(iter(rules.kinds)), [[{"TEXT": {"REGEX": telling}}]])  # its suffix tells the kind
    for level, known in data["references"].items():
        value = "[a-z]" if level == "point" else r"\d{1,3}[a-z]?"
        spelt = [[*_spaced(name), _SPACE, {"TEXT": {"REGEX": f"^{value}$"}}] for name in known["names"]]
        short = [[{"TEXT": {"REGEX": rf"^{fold(name)}\.?{value}(?:-\d+)?$"}}] for name in known["short"]]
        matcher.add(level, spelt + short)
    year, said = ("|".join(map(fold, data[words])) for words in ("year_words", "number_words"))
    tail = rf"(?:\s+(?:(?:{year})\s+)?(?:19|20)\d\d(?![\w/]))?(?:[\s:(]+(?:(?:{said})[\s:]+)?{NUMBER}(?![\w/]))?"
    return _Patterns(matcher, titles, re.compile(tail), tuple(map(fold, data["law_title_not_after"])), rules)


def citations(text: str, *, language: str | None) -> list[Citation]:
    """Find the legal documents, and the articles, clauses and points, that a text cites.

    Parameters
    ----------
    text : str
        Any string.
    language : str or None
        Code of the language whose forms of citation are known; None finds nothing.

    Returns
    -------
    list of Citation
        In order and without overlap. Where several parts of a document are listed, each has its own entry
        with the document's `kind`, `number` and `document`. A part alone is reported when it has an article.

    Examples
    --------
    >>> [found] = citations("theo điểm h khoản 1 Điều 5 NĐ 151/2025", language="vi")
    >>> found.number, found.document, found.article, found.clause, found.point
    ('151/2025', '151/2025/NĐ-CP', '5', '1', 'h')
    """
    if language is None or "citations" not in load_language(language):
        return []
    folded, offsets = fold_with_offsets(text)
    with _LOCK:
        patterns = _patterns(language)  # before the memory zone opens, so that it outlives the zone
        with _vocab().memory_zone():
            items = patterns.find(_make_doc(text, folded, offsets, None), folded)
    return cite(text, folded, offsets, items, patterns.rules)
