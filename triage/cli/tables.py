"""Answers for people: tables of decisions and suggestions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from triage.cli.terminal import cut, percent, safe, share
from triage.records import Decision, Suggestion, TriageResult

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from triage.cli.questions import Chunk
    from triage.triager import Triager

_QUESTION_CHARS = 140
_NEAREST_CHARS = 80
_SURE_MATTER = 0.5  # a less probable one is no basis to show

_WHY = {
    "low_confidence": "not sure enough",
    "ambiguous": "two answers are near each other",
    "out_of_scope": "no question for this desk",
    "empty": "no text",
    "conflict": "register and wording contradict each other",
}
_ROUTES = {
    "reuse": ("reuse an answer", "green"),
    "answer": ("answer", "green"),
    "forward": ("forward", "cyan"),
    "review": ("a person must look", "yellow"),
}
_PLACES = ("level", "agency")


def result_table(triager: Triager, chunk: Chunk, results: Sequence[TriageResult], language: str | None) -> Table:
    """Lay out decisions, a question a row."""
    from rich.table import Table

    name = namer(triager, language)
    table = Table(show_lines=True, expand=True, header_style="bold")
    table.add_column("" if chunk.key == "line" else chunk.key, justify="right", no_wrap=True, max_width=12)
    table.add_column("question, and the nearest known one", ratio=9, overflow="fold")
    table.add_column(_label_header(triager.targets), ratio=7, overflow="fold")
    table.add_column("what to do", ratio=4, overflow="fold")
    for key, text, result in zip(chunk.ids, chunk.texts, results, strict=True):
        question = _question_cell(text, result.suggestions)
        table.add_row("" if key is None else safe(str(key)), question, _label_cell(result, name), _route_cell(result))
    return table


def _question_cell(text: str, suggestions: Sequence[Suggestion]) -> Text:
    from rich.text import Text

    cell = Text(cut(text, _QUESTION_CHARS) or "–")
    if suggestions:
        nearest = suggestions[0]
        fits = nearest.p_reuse is not None
        near = f"fits {percent(nearest.p_reuse or 0)}" if fits else f"{share(nearest.similarity)} alike"
        stale = "" if nearest.stale is None else ", out of date"
        cell.append(f"\n↳ {safe(nearest.id)}, {near}{stale}: ", "dim")
        cell.append(cut(nearest.question, _NEAREST_CHARS), "dim italic")
    return cell


def _label_header(targets: Sequence[str]) -> str:
    """Name the targets as `told` shows them; jurisdiction, level and agency say together who decides."""
    decides = "jurisdiction" in targets
    names = [one for one in targets if one != "matter" and not (decides and one in ("jurisdiction", *_PLACES))]
    return safe(", and ".join(filter(None, (", ".join(names), "who decides" if decides else ""))))


def _label_cell(result: TriageResult, name: Callable[[str, Any], str]) -> Table:
    """Show probability and label, line by line; a mark says what a person must check, with or without colour."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for target, decision in told(result):
        assigned = decision.status == "assigned"
        label = Text(name(target, decision.label) + ("" if assigned else " (?)"), "" if assigned else "yellow")
        grid.add_row(percent(decision.probability), label)
    basis = _basis(result)
    if basis:
        grid.add_row("§", Text(basis, "dim"))
    return grid


def _basis(result: TriageResult) -> str:
    """Name the legal basis of the matter, as far as it bears the decision out."""
    matter = result.evidence.get("matter")
    if not matter or not matter["agrees"] or matter["probability"] < _SURE_MATTER:
        return ""
    basis = matter.get("legal_basis") or "no legal basis"
    sourced = "" if matter.get("confidence") == "sourced" else " (general knowledge)"
    return safe(f"{matter['matter_id']}: {basis}{sourced}")


def told(result: TriageResult) -> Iterator[tuple[str, Decision]]:
    """Of level and agency only the one that the jurisdiction calls for; the matter is evidence."""
    jurisdiction = result.decisions.get("jurisdiction")
    place = {"local": "level", "other_agency": "agency"}.get(jurisdiction.label) if jurisdiction else None
    for target, decision in result.decisions.items():
        wanted = target == place if jurisdiction and target in _PLACES else target != "matter"
        if wanted and decision.label not in (None, ""):
            yield target, decision


def _route_cell(result: TriageResult) -> Text:
    from rich.text import Text

    words, style = _ROUTES.get(result.route, (result.route, ""))
    cell = Text(words, f"bold {style}")
    if result.route == "review":
        reasons: dict[str, list[str]] = {}
        for target, decision in told(result):
            if decision.reason:
                reasons.setdefault(decision.reason, []).append(target)
        for decision in result.decisions.values():  # a question without any label to tell
            if decision.reason in ("empty", "out_of_scope"):
                reasons = {decision.reason: []}
        for reason, targets in reasons.items():
            where = f"{', '.join(targets)}: " if targets else ""
            cell.append(f"\n{where}{_WHY.get(reason, reason)}", "")
    return cell


def suggestion_table(text: str, suggestions: Sequence[Suggestion]) -> Table:
    """Lay out the earlier questions near one text."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(cut(text, _QUESTION_CHARS)), title_justify="left", expand=True, header_style="bold")
    table.add_column("id", no_wrap=True, max_width=16)
    table.add_column("fits", justify="right")
    table.add_column("alike", justify="right")
    table.add_column("question", ratio=1)
    for suggestion in suggestions:
        sure = "–" if suggestion.p_reuse is None else percent(suggestion.p_reuse)
        question = Text(cut(suggestion.question, _QUESTION_CHARS))
        if suggestion.stale:
            question.append(f"\nout of date: {safe(suggestion.stale)}", "yellow")
        table.add_row(safe(suggestion.id), sure, share(suggestion.similarity), question)
    return table


def namer(triager: Triager, language: str | None) -> Callable[[str, Any], str]:
    """Return a function that names a label for people; the id where the desk has no name for it."""
    taxonomy = getattr(triager, "taxonomy", None)

    def name(target: str, label: Any) -> str:
        if taxonomy is not None:
            try:
                # A longer name explains itself in brackets.
                return safe(taxonomy.name(target, label, language).split(" (")[0])
            except ValueError:
                pass
        return safe(str(label))

    return name
