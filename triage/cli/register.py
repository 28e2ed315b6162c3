"""``triage register``: check a competence register, what changed, what expires, which matter a question is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triage.cli.desk import EncoderOption, ModelArgument, load_desk
from triage.cli.questions import Chunk, read
from triage.cli.terminal import (
    AsOfOption,
    FormatOption,
    Lines,
    cut,
    day_option,
    emit,
    guard,
    note,
    percent,
    safe,
    show,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from triage.records import Match
    from triage.register import Register

app = typer.Typer(help="The competence register: who decides what, from when to when.", no_args_is_help=True)

_NAME_CHARS = 100

RegisterArgument = Annotated[
    Path,
    typer.Argument(metavar="REGISTER", help="Table of the register, or a model's folder.", show_default=False),
]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Table of the register.", show_default=False)],
    taxonomy: Annotated[
        Path | None, typer.Option(help="taxonomy.json: topics, jurisdictions, levels and agencies must be its own.")
    ] = None,
) -> None:
    """Check a register: labels, and periods that overlap, leave a gap or end before they start."""
    with guard():
        from triage.dataset import read_taxonomy
        from triage.register import Register

        register = Register.read(file, None if taxonomy is None else read_taxonomy(taxonomy))
        periods = len(register) - len(register.matters)
        note(f"{file}: {len(register.matters)} matters, {periods} further periods of them; no faults")


@app.command()
def changes(
    register: RegisterArgument,
    since: Annotated[str, typer.Option("--since", metavar="DATE", help="First day of a change.")],
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Last day of a change; today by default.")
    ] = None,
    format: FormatOption = Lines.JSONL,
    encoder: EncoderOption = None,
) -> None:
    """List what changed hands: from whom, to whom, and since when."""
    with guard():
        first, last = day_option(since, "--since"), day_option(until, "--until")
        if (last or date.today().isoformat()) < str(first):
            raise typer.BadParameter(f"--until must not be before --since, got {last or 'today'}")
        rows = _register(register, encoder).changes(first, last)
        _tell(rows, format, ["date", "matter_id", "name", "change", "from", "to"])


@app.command()
def expiring(
    register: RegisterArgument,
    within_days: Annotated[int, typer.Option("--within-days", min=0, help="Days from --as-of on.")] = 90,
    as_of: AsOfOption = None,
    format: FormatOption = Lines.JSONL,
    encoder: EncoderOption = None,
) -> None:
    """List the rows that end soon, and whether another period follows."""
    with guard():
        found = _register(register, encoder)
        rows = found.expiring(within_days, day_option(as_of))
        rows = rows.rename(columns={found.name_column(): "name"})
        _tell(rows, format, ["valid_to", "matter_id", "name", "jurisdiction", "level", "agency", "followed"])


@app.command()
def match(
    model: ModelArgument,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Questions; - reads them, a line each.")],
    as_of: AsOfOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Largest number of matters a question.")] = 5,
    format: FormatOption = Lines.JSONL,
    encoder: EncoderOption = None,
) -> None:
    """Match each TEXT to the matters of MODEL's register."""
    with guard():
        from triage.errors import TriageError

        day = day_option(as_of)
        triager = load_desk(model, encoder)
        if triager.reader.competence is None:
            raise TriageError(f"{model}: must have a register and questions with a matter_id, and was trained without")
        chunks = read("-", "text") if texts == ["-"] else [Chunk("line", list(range(1, len(texts) + 1)), texts)]
        for chunk in chunks:
            found = triager.match(chunk.texts, as_of=day, k=k)
            for number, text, matches in zip(chunk.ids, chunk.texts, found, strict=True):
                if format is Lines.TABLE:
                    show(_match_table(text, matches))
                else:
                    emit([{chunk.key: number, "matches": [one.to_dict() for one in matches]}])


def retrain_check(
    model: ModelArgument,
    as_of: AsOfOption = None,
    register: Annotated[
        Path | None, typer.Option(help="Another register than the one MODEL was trained with.", show_default=False)
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Check the answers of this archive, not those MODEL was trained with.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = Lines.JSONL,
    encoder: EncoderOption = None,
) -> None:
    """List the training questions and answers of MODEL that a change of law put out of date, and their share."""
    with guard():
        from triage.archive import Archive
        from triage.errors import TriageError
        from triage.register import Register, outdated
        from triage.triager.following import record_of

        day = day_option(as_of)
        triager = load_desk(model, encoder)
        if triager.register is None:
            raise TriageError(f"{model}: must have a register, and was trained without")
        competences = triager.register
        if register is not None:
            competences = Register.read(register, triager.taxonomy)
        reuse = triager.reuse
        with nullcontext() if archive is None else Archive(archive, create=False) as store:
            answers = _Answers(triager.records if store is None else map(record_of, store))
            stale = outdated(competences, answers, day, documents=reuse.documents, oldest_days=reuse.oldest_days)
        tables = {
            "question": (len(triager.labelled), outdated(competences, triager.labelled, day)),
            "answer": (answers.n, stale),
        }
        for what, (n_rows, found) in tables.items():
            note(f"{len(found)} of {n_rows} {what}s {_percent(len(found), n_rows)}are out of date")
            if format is Lines.TABLE and len(found):
                show(_table(found, list(found.columns)))
            elif len(found):
                emit([{"kind": what, **row} for row in _records(found)])


class _Answers:
    # The answers among records, one by one, as an archive may hold a million; and how many were read.
    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.n = 0
        self._records = records

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for record in self._records:
            if record.get("answer"):
                self.n += 1
                yield {**record, "date": record.get("answered_at")}


def _register(path: Path, encoder: str | None) -> Register:
    # A register's table, or that of a model.
    from triage.errors import TriageError
    from triage.register import Register

    if not path.is_dir():
        if encoder is not None:
            raise typer.BadParameter("--encoder is for a model's folder; leave it out for a table")
        return Register.read(path)
    found = load_desk(path, encoder).register
    if found is None:
        raise TriageError(f"{path}: must have a register, and was trained without")
    return found


def _tell(rows: pd.DataFrame, format: Lines, columns: list[str]) -> None:
    if format is Lines.TABLE:
        show(_table(rows, columns))
    else:
        emit(_records(rows))
    note(f"{len(rows)} found")


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): cell for name, cell in row.items()} for row in rows.to_dict("records")]


def _table(rows: pd.DataFrame, columns: list[str]) -> Table:
    from rich.table import Table

    table = Table(expand=True, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", ratio=3 if column == "name" else 1)
    for row in _records(rows[columns]):
        table.add_row(*(_cell(row[column]) for column in columns))
    return table


def _cell(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else cut(str(value), _NAME_CHARS)


def _match_table(text: str, matches: list[Match]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from triage.register import body_of

    table = Table(title=Text(cut(text, _NAME_CHARS)), title_justify="left", expand=True, header_style="bold")
    table.add_column("", justify="right")
    table.add_column("matter", no_wrap=True)
    table.add_column("name", ratio=3, overflow="fold")
    table.add_column("who decides", ratio=1, overflow="fold")
    table.add_column("legal basis", ratio=1, overflow="fold")
    for one in matches:
        row = one.row or {}
        name = next(iter(row.get("names", {}).values()), "no row is valid on this day" if one.matter else "none")
        body = body_of(row)
        basis = row.get("legal_basis") or ""
        table.add_row(percent(one.probability), one.matter or "–", *(safe(cell) for cell in (name, body, basis)))
    return table


def _percent(n: int, of: int) -> str:
    return f"({100 * n / of:.0f} %) " if of else ""
