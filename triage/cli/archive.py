"""``triage archive``: the store of answered questions, item by item and as tables."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from triage.cli.terminal import (
    FormatOption,
    Lines,
    cut,
    day_option,
    emit,
    guard,
    language_option,
    note,
    safe,
    share,
    show,
)
from triage.errors import TriageError

if TYPE_CHECKING:
    from rich.table import Table

    from triage.archive import Item

app = typer.Typer(help="The archive: answered questions in one durable file.", no_args_is_help=True)

_QUESTION_CHARS = 200


class NearDuplicates(StrEnum):
    """What becomes of a question in nearly the words of another."""

    REPORT = "report"
    STORE = "store"


def _cell(name: str, help: str) -> Any:
    return typer.Option(name, help=help, show_default=False)


ArchiveArgument = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="File of the archive.", show_default=False)]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The item.", show_default=False)]
Topic = Annotated[str | None, _cell("--topic", "Its topic.")]
Jurisdiction = Annotated[str | None, _cell("--jurisdiction", "Who decides: local, ministry, other_agency.")]
Level = Annotated[str | None, _cell("--level", "Which level of local government decides.")]
Agency = Annotated[str | None, _cell("--agency", "Which other agency decides.")]
MatterId = Annotated[str | None, _cell("--matter-id", "Its matter in the competence register.")]
LegalBasis = Annotated[list[str] | None, _cell("--legal-basis", "A legal basis; may be given again.")]
AnsweredAt = Annotated[str | None, _cell("--answered-at", "Day of the answer, such as 2025-10-01.")]
ValidTo = Annotated[str | None, _cell("--valid-to", "Last day on which the answer holds.")]
SupersededBy = Annotated[str | None, _cell("--superseded-by", "What put the answer out of date.")]
Source = Annotated[str | None, _cell("--source", "Where it comes from.")]
Who = Annotated[str | None, _cell("--who", "Who entered it.")]
NearOption = Annotated[
    NearDuplicates,
    typer.Option("--near-duplicates", help="Report a question in nearly the words of another, or store it as well."),
]
LanguageOption = Annotated[
    str | None,
    typer.Option("--language", metavar="CODE", help="Language of a new archive, whose personal data is masked."),
]


@app.command()
def add(
    archive: ArchiveArgument,
    question: Annotated[str, _cell("--question", "The question.")],
    answer: Annotated[str | None, _cell("--answer", "Its answer.")] = None,
    id: Annotated[str | None, _cell("--id", "Its id; made up by default.")] = None,
    topic: Topic = None,
    jurisdiction: Jurisdiction = None,
    level: Level = None,
    agency: Agency = None,
    matter_id: MatterId = None,
    legal_basis: LegalBasis = None,
    answered_at: AnsweredAt = None,
    valid_to: ValidTo = None,
    superseded_by: SupersededBy = None,
    source: Source = None,
    who: Who = None,
    near_duplicates: NearOption = NearDuplicates.REPORT,
    language: LanguageOption = None,
) -> None:
    """Add an answered question to ARCHIVE, which is made if it is not there."""
    cells = _given(locals())
    with guard():
        from triage.archive import Archive

        with Archive(archive, language=language_option(language)) as store:
            done = store.add({"id": uuid.uuid4().hex, **cells}, near_duplicates=near_duplicates.value)
        if not (done.added or done.unchanged):
            (near,) = done.near_duplicates
            alike = f"is {share(near.similarity)} like item {near.like}"
            raise TriageError(f"{archive}: not stored, because it {alike}; update that, or --near-duplicates store")
        status = "added" if done.added else "unchanged"
        emit([{"id": (*done.added, *done.unchanged)[0], "status": status}])


@app.command()
def update(
    archive: ArchiveArgument,
    id: IdArgument,
    question: Annotated[str | None, _cell("--question", "The question.")] = None,
    answer: Annotated[str | None, _cell("--answer", "Its answer.")] = None,
    topic: Topic = None,
    jurisdiction: Jurisdiction = None,
    level: Level = None,
    agency: Agency = None,
    matter_id: MatterId = None,
    legal_basis: LegalBasis = None,
    answered_at: AnsweredAt = None,
    valid_to: ValidTo = None,
    superseded_by: SupersededBy = None,
    source: Source = None,
    who: Who = None,
    near_duplicates: NearOption = NearDuplicates.REPORT,
) -> None:
    """Change item ID of ARCHIVE; an empty text says that something is not known."""
    cells = _given(locals())
    del cells["id"]
    with guard():
        from triage.archive import Archive

        with Archive(archive, create=False) as store:
            emit([asdict(store.update(id, near_duplicates=near_duplicates.value, **cells))])


@app.command()
def remove(archive: ArchiveArgument, id: IdArgument) -> None:
    """Remove item ID from ARCHIVE."""
    with guard():
        from triage.archive import Archive

        with Archive(archive, create=False) as store:
            store.remove(id)
        note(f"{archive}: {id} removed")


@app.command("list")
def list_items(
    archive: ArchiveArgument,
    topic: Topic = None,
    jurisdiction: Jurisdiction = None,
    level: Level = None,
    agency: Agency = None,
    matter_id: MatterId = None,
    since: Annotated[str | None, typer.Option("--since", metavar="DATE", help="Answered on that day or later.")] = None,
    format: Annotated[
        Lines | None,
        typer.Option("--format", help="JSON Lines, or a table for people; by default a table on a terminal."),
    ] = None,
) -> None:
    """List the items of ARCHIVE that pass every filter."""
    with guard():
        day = day_option(since, "--since")
        from triage.archive import Archive

        with Archive(archive, create=False) as store:
            found = store.list(
                topic=topic, jurisdiction=jurisdiction, level=level, agency=agency, matter_id=matter_id, since=day
            )
        if format is Lines.TABLE or (format is None and _on_terminal(sys.stdout)):
            show(_item_table(found))
        else:
            emit(map(asdict, found))
        note(f"{len(found):,} found")


@app.command("import")
def import_file(
    archive: ArchiveArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Table of items by its ending.", show_default=False)],
    near_duplicates: NearOption = NearDuplicates.REPORT,
    language: LanguageOption = None,
) -> None:
    """Add the items of FILE to ARCHIVE, all or none; say which are near duplicates."""
    with guard():
        from triage.archive import Archive

        with Archive(archive, language=language_option(language)) as store, _working(f"importing {file}"):
            done = store.import_table(file, near_duplicates=near_duplicates.value)
        emit(map(asdict, done.near_duplicates))
        stored = "stored as well" if near_duplicates is NearDuplicates.STORE else "not stored"
        near = f"; {len(done.near_duplicates):,} near duplicates {stored}" if done.near_duplicates else ""
        note(f"{archive}: {len(done.added):,} added, {len(done.unchanged):,} there already{near}")


@app.command()
def export(
    archive: ArchiveArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written by its ending.", show_default=False)],
) -> None:
    """Write the items of ARCHIVE to FILE; take XLSX for people, CSV may be run as formulas by a spreadsheet."""
    with guard():
        from triage.archive import Archive

        with Archive(archive, create=False) as store, _working(f"exporting to {file}"):
            store.export(file)
        note(f"{file}: written")


@app.command()
def duplicates(archive: ArchiveArgument, format: FormatOption = Lines.JSONL) -> None:
    """List the pairs of items of ARCHIVE in nearly the same words, most alike first."""
    with guard():
        from triage.archive import Archive

        with Archive(archive, create=False) as store, _working("looking for near duplicates"):
            pairs = store.duplicates()
        if format is Lines.TABLE:
            from rich.table import Table

            table = Table("id", "like", "alike", header_style="bold")
            for pair in pairs:
                table.add_row(safe(pair.id), safe(pair.like), share(pair.similarity))
            show(table)
        else:
            emit(map(asdict, pairs))
        note(f"{len(pairs):,} found")


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return those arguments of a command that are cells of an item and were given."""
    from triage.archive import COLUMNS

    return {name: arguments[name] for name in COLUMNS if arguments[name] not in (None, [])}


def _item_table(items: list[Item]) -> Table:
    from rich.table import Table

    table = Table(expand=True, header_style="bold")
    table.add_column("id", no_wrap=True, max_width=16)
    table.add_column("question", ratio=3, overflow="fold")
    for column in ("topic", "who decides", "matter"):
        table.add_column(column, ratio=1, overflow="fold")
    table.add_column("answered", no_wrap=True)
    for item in items:
        body = "/".join(filter(None, (item.jurisdiction, item.level, item.agency)))
        cells = (cut(item.question, _QUESTION_CHARS), item.topic, body, item.matter_id, item.answered_at)
        table.add_row(safe(item.id), *map(safe, cells))
    return table


def _on_terminal(stream: TextIO) -> bool:
    return stream.isatty()


@contextmanager
def _working(what: str) -> Iterator[None]:
    """Show on a terminal that long work goes on."""
    if not _on_terminal(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(safe(what), total=None)
        yield
