"""``triage next``: which questions to label next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triage.cli.desk import EncoderOption, ModelArgument, load_desk
from triage.cli.questions import read, watch
from triage.cli.tables import namer
from triage.cli.terminal import (
    AsOfOption,
    LanguageOption,
    Lines,
    TextOption,
    cut,
    day_option,
    emit,
    guard,
    names_option,
    note,
    safe,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

_QUESTION_CHARS = 140


def next_(
    model: ModelArgument,
    file: Annotated[
        str, typer.Argument(help="CSV, TSV, JSONL, Parquet or XLSX; .txt or - (standard input): a question a line.")
    ] = "-",
    n: Annotated[int, typer.Option("-n", min=1, help="Largest number of questions.")] = 50,
    known: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Questions with labels, such as MODEL's own: not picked again."),
    ] = None,
    text: TextOption = "text",
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="Labels for this target; may be given again. By default those that decide whether a question leaves "
            "the desk.",
        ),
    ] = None,
    as_of: AsOfOption = None,
    random_state: Annotated[int, typer.Option("--random-state", metavar="SEED", min=0, help="Breaks ties.")] = 0,
    encoder: EncoderOption = None,
    language: LanguageOption = None,
    format: Annotated[
        Lines | None,
        typer.Option("--format", help="JSON Lines, or a table for people; by default a table on a terminal."),
    ] = None,
) -> None:
    """Pick the questions of FILE whose labels would teach MODEL most, the best first."""
    with guard():
        day = day_option(as_of)
        from triage.selection import FACTS, select, why

        triager = load_desk(model, encoder)
        language = names_option(language, triager)
        for name in target or ():
            if name not in triager.targets:
                raise typer.BadParameter(f"--target must be one of {', '.join(triager.targets)}, got {name!r}")
        key, ids, texts = "row", [], []
        for chunk in watch(read(file, text)):
            key = chunk.key
            ids += chunk.ids
            texts += chunk.texts
        picks = select(
            triager,
            texts,
            n,
            text=text,
            known=None if known is None else [one for chunk in read(str(known), text) for one in chunk.texts],
            targets=target,
            as_of=day,
            random_state=random_state,
        )
        picks[key] = [ids[place] for place in picks.index]
        picks["question"] = [texts[place] for place in picks.index]
        picks = picks.round({"probability": 4, "margin": 4})
        columns = ["rank", key, "question", "why", *FACTS]
        rows = [dict(zip(columns, cells, strict=True)) for cells in picks[columns].itertuples(index=False, name=None)]
        if format is Lines.TABLE or (format is None and sys.stdout.isatty()):
            names = namer(triager, language)
            show(_table(key, rows, lambda row: why(row, names)))
        else:
            emit(rows)
        note(f"{len(rows)} of {len(texts):,} questions picked")


def _table(key: str, rows: list[dict[str, Any]], say: Callable[[dict[str, Any]], str]) -> Table:
    from rich.table import Table

    table = Table(expand=True, header_style="bold")
    table.add_column("", justify="right")
    table.add_column(key, no_wrap=True, max_width=16)
    table.add_column("question", ratio=3, overflow="fold")
    table.add_column("why", ratio=2, overflow="fold")
    for row in rows:
        table.add_row(str(row["rank"]), safe(str(row[key])), cut(row["question"], _QUESTION_CHARS), safe(say(row)))
    return table
