"""``triage feedback``: the log of corrections by officers, line by line and as rows to train on."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triage.cli.desk import EncoderOption, load_desk
from triage.cli.terminal import Lines, TextOption, cut, emit, guard, language_option, note, safe, show
from triage.errors import TriageError

if TYPE_CHECKING:
    from rich.table import Table

    from triage.feedback import Correction
    from triage.records import Decision

app = typer.Typer(help="Corrections by officers, in a log that shows when a line was changed.", no_args_is_help=True)

_QUESTION_CHARS = 120

LogArgument = Annotated[Path, typer.Argument(metavar="LOG", help="File of the log.", show_default=False)]


@app.command()
def add(
    log: LogArgument,
    target: Annotated[str, typer.Option("--target", metavar="NAME", help="What is corrected, such as topic.")],
    label: Annotated[str, typer.Option("--label", help="What it must be; an empty text where it has none.")],
    question: Annotated[
        str | None, typer.Option("--question", metavar="TEXT", help="The question, unless --file has it.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Its id; with --file the row that is meant.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Table with the question, found by its id.")
    ] = None,
    text: TextOption = "text",
    who: Annotated[str, typer.Option("--who", help="Who says so.")] = "",
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FOLDER", help="Model whose label and probability are noted as the old ones."),
    ] = None,
    encoder: EncoderOption = None,
    confirm_rest: Annotated[
        bool, typer.Option("--confirm-rest", help="Note too that the other labels of --model are right.")
    ] = False,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="CODE", help="Language of a new log, whose personal data is masked."),
    ] = None,
) -> None:
    """Add a correction to LOG, which is made if it is not there."""
    with guard():
        if (question is None) == (file is None):
            raise typer.BadParameter("give the question by --question, or by --file and --id")
        if file is not None and id is None:
            raise typer.BadParameter("--file needs --id")
        if confirm_rest and model is None:
            raise typer.BadParameter("--confirm-rest needs --model")
        if encoder is not None and model is None:
            raise typer.BadParameter("--encoder needs --model")
        language = language_option(language)
        from triage.feedback import FeedbackLog

        words = question if question is not None else _question_of(file, str(id), text)  # type: ignore[arg-type]
        decisions = {} if model is None else _decisions(model, encoder, words)
        if decisions and target not in decisions:
            raise typer.BadParameter(f"--target must be one of {', '.join(decisions)}, got {target!r}")
        given: dict[str, Any] = {"who": who, "question_id": id or ""}
        store = FeedbackLog(log, language=language)
        done = [
            store.append(words, target, _label(label, decisions.get(target)), **_old(decisions.get(target)), **given)
        ]
        for name, decision in decisions.items() if confirm_rest else ():
            if name != target:
                done.append(store.append(words, name, decision.label, **_old(decision), **given))
        emit(map(asdict, done))


@app.command("list")
def list_corrections(
    log: LogArgument,
    target: Annotated[str | None, typer.Option("--target", metavar="NAME", help="Only of this target.")] = None,
    format: Annotated[
        Lines | None,
        typer.Option("--format", help="JSON Lines, or a table for people; by default a table on a terminal."),
    ] = None,
) -> None:
    """List the corrections of LOG in their order, each verified."""
    with guard():
        from triage.feedback import FeedbackLog

        found = [one for one in FeedbackLog(log, create=False) if target in (None, one.target)]
        if format is Lines.TABLE or (format is None and sys.stdout.isatty()):
            show(_table(found))
        else:
            emit(map(asdict, found))
        note(f"{len(found):,} found")


@app.command()
def verify(
    log: LogArgument,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="COUNT:HASH", help="What this command printed before, noted elsewhere."),
    ] = None,
) -> None:
    """Check every line of LOG, and print its head, to be noted where nobody who can write LOG can write."""
    with guard():
        from triage.feedback import FeedbackLog, Head

        try:
            noted = None if head is None else Head.parse(head)
        except ValueError as error:
            raise typer.BadParameter(f"--head: {error}") from None
        found = FeedbackLog(log, create=False).verify(noted)
        emit([{"corrections": found.n_corrections, "head": str(found)}])


@app.command()
def export(
    log: LogArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written by its ending.", show_default=False)],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="Only these, of questions of which all are known; may be given again. All questions by default.",
        ),
    ] = None,
) -> None:
    """Write the corrections of LOG to FILE as rows to train on, the last word on each question and target."""
    with guard():
        from triage.dataset import write_table
        from triage.feedback import FeedbackLog

        rows = FeedbackLog(log, create=False).export(target or None)
        write_table(rows, file)
        note(f"{file}: {len(rows):,} rows")


def _question_of(file: Path, id: str, text: str) -> str:
    from triage.dataset import as_text, checks, read_table

    frame = read_table(file)
    absent = [name for name in ("id", text) if name not in frame.columns]
    if absent:
        raise TriageError(f"{file}: must have the column {absent[0]!r}, got {checks.column_names(frame.columns)}")
    found = frame[as_text(frame["id"]) == id]
    if len(found) != 1:
        raise TriageError(f"{file}: must have one row with id {id!r}, got {len(found)}")
    return str(as_text(found[text]).iloc[0])


def _decisions(model: Path, encoder: str | None, question: str) -> dict[str, Decision]:
    (result,) = load_desk(model, encoder).predict([question], k=0)
    return dict(result.decisions)


def _old(decision: Decision | None) -> dict[str, Any]:
    """Return what the desk said, rounded as probabilities are shown elsewhere."""
    if decision is None:
        return {}
    return {"old_label": decision.label, "old_probability": round(float(decision.probability), 4)}


def _label(label: str, decision: Decision | None) -> Any:
    """Return a label as its target has it: a number where the desk's labels are numbers."""
    known = {} if decision is None else {str(one): one for one, _ in decision.ranking}
    return known.get(label, label)


def _table(found: list[Correction]) -> Table:
    from rich.table import Table

    table = Table(expand=True, header_style="bold")
    table.add_column("no", no_wrap=True)
    table.add_column("question", ratio=3, overflow="fold")
    for column in ("target", "old", "new", "who"):
        table.add_column(column, ratio=1, overflow="fold")
    table.add_column("at", no_wrap=True)
    for one in found:
        old = "" if one.old_label is None else str(one.old_label)
        cells = (one.target, old, str(one.new_label), one.who, one.at[:10])
        table.add_row(str(one.sequence), cut(one.question, _QUESTION_CHARS), *map(safe, cells))
    return table
