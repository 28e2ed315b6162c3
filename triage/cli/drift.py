"""``triage drift``: a week's questions beside those a desk was trained on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from triage.cli.desk import EncoderOption, ModelArgument, load_desk
from triage.cli.terminal import Lines, TextOption, emit, guard, safe, write

RETRAIN = 3  # exit code of a week that says so

EPILOG = (
    "Exit code 0: no need to train again, or too few questions to say. 3: train the desk again. 1 is an error and 2 "
    "wrong usage, as everywhere."
)


def drift(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="Table of the week's questions, no labels.", show_default=False)],
    text: TextOption = "text",
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="TABLE",
            help="Compare with these questions, which MODEL was not trained on; needed for a model of an old version.",
        ),
    ] = None,
    format: Annotated[
        Lines | None,
        typer.Option("--format", help="JSON, or words for people; by default words on a terminal."),
    ] = None,
    encoder: EncoderOption = None,
) -> None:
    """Compare the week's questions of FILE with those MODEL was trained on, and say whether to train it again."""
    with guard():
        from triage.dataset import read_table
        from triage.drift import drift as compare_week

        before = None if reference is None else read_table(reference)
        report = compare_week(load_desk(model, encoder), read_table(file), text=text, reference=before)
        if format is Lines.TABLE or (format is None and sys.stdout.isatty()):
            lines = map(safe, report.summary().rstrip("\n").split("\n"))
            write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
        else:
            emit([report.to_dict()])
    if report.verdict == "retrain":
        raise typer.Exit(RETRAIN)
