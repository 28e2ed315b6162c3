"""``triage check-data``: is a table of labelled questions fit to train on."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triage.cli.terminal import Lines, TextOption, cut, emit, guard, language_option, note, safe, show

if TYPE_CHECKING:
    from rich.table import Table

    from triage.quality import Quality

FOUND = 3  # exit code of a finding of a kind that must not be

_SHOWN = 15  # findings of a kind in a table
_SHOWN_NAMES = 4
_MESSAGE_CHARS = 400


class Kind(StrEnum):
    """What `triage.quality` finds."""

    UNLABELLED = "unlabelled"
    EMPTY = "empty"
    CONSTANT = "constant"
    ENCODING = "encoding"
    LONG = "long"
    LABEL_SPELLING = "label_spelling"
    UNKNOWN_LABEL = "unknown_label"
    SMALL_CLASS = "small_class"
    CONTRADICTION = "contradiction"
    LEAK = "leak"
    SHARED = "shared"
    DUPLICATE = "duplicate"
    SUSPECT = "suspect"
    REGISTER = "register"
    SHORTCUT = "shortcut"


def check_data(
    file: Annotated[
        Path,
        typer.Argument(
            help="Table of labelled questions, or a recipe.toml (or its folder), which names table, targets and more.",
            show_default=False,
        ),
    ],
    text: TextOption = "text",
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="NAME", help="Column of labels; may be given again. [default: topic, jurisdiction]"
        ),
    ] = None,
    groups: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of who wrote a question, such as author.")
    ] = None,
    register: Annotated[Path | None, typer.Option(help="Table of a register that labels must not contradict.")] = None,
    taxonomy: Annotated[Path | None, typer.Option(help="taxonomy.json that must name the labels.")] = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Language of the texts; the taxonomy's by default.")
    ] = None,
    fail_on: Annotated[
        list[Kind] | None,
        typer.Option("--fail-on", help="End with exit code 3 if anything of this kind is found; may be given again."),
    ] = None,
    format: Annotated[
        Lines | None,
        typer.Option("--format", help="JSON Lines, or a table for people. [default: a table on a terminal]"),
    ] = None,
) -> None:
    """Check the labelled questions of FILE: copies, leaks, wrong labels, small classes, broken text, shortcuts."""
    with guard():
        from triage.dataset import read_table
        from triage.quality import check

        path = file / "recipe.toml" if file.is_dir() else file
        given: dict[str, Any] = {"text": text, "targets": target, "groups": groups}
        given |= {"register": register, "taxonomy": taxonomy, "language": language_option(language)}
        given = {name: value for name, value in given.items() if value is not None}
        if path.suffix.lower() == ".toml":
            table, options = _of_recipe(path, text)
            options |= {name: value for name, value in given.items() if name != "text"}
        else:
            table, options = path, given
        frame = read_table(table)
        options.setdefault("targets", ["topic", "jurisdiction"])
        if "split" in frame.columns:
            options.setdefault("split", "split")
        quality = check(frame, progress=note, **options)
        if (format or (Lines.TABLE if sys.stdout.isatty() else Lines.JSONL)) is Lines.JSONL:
            emit(quality.records())
        else:
            for kind in quality.counts():
                show(_kind_table(quality, kind))
        for line in quality.summary().splitlines():
            note(line)
    unwanted = sorted({kind.value for kind in fail_on or ()}.intersection(quality.counts()))
    if unwanted:
        note(f"found what must not be: {', '.join(unwanted)}")
        raise typer.Exit(FOUND)


def _of_recipe(path: Path, text: str) -> tuple[Path, dict[str, Any]]:
    """Return the table of a recipe, and what the recipe says of it."""
    from triage.dataset import read_abbreviations
    from triage.recipe import read_recipe

    recipe = read_recipe(path)
    data = recipe.data
    options: dict[str, Any] = {name: data[name] for name in ("targets", "split", "groups") if name in data}
    tables: dict[str, Any] = {name: recipe.file(name) for name in ("taxonomy", "register", "archive")}
    tables |= {name: recipe.table(name) for name in ("reasks", "examples")}
    options |= {name: table for name, table in tables.items() if table is not None}
    abbreviations = recipe.file("abbreviations")
    if abbreviations is not None:
        options["abbreviations"] = read_abbreviations(abbreviations)
    if "language" in recipe.desk:
        options["language"] = recipe.desk["language"]
    return path.parent / data["questions"], {"text": data.get("text", text), **options}


def _kind_table(quality: Quality, kind: str) -> Table:
    """Lay out the findings of one kind."""
    from rich.table import Table

    from triage.quality import KINDS

    found = quality.findings[quality.findings["kind"] == kind]
    table = Table(
        title=f"{kind}: {KINDS[kind]} ({len(found)})",
        title_justify="left",
        expand=True,
        header_style="bold",
        caption=f"and {len(found) - _SHOWN} more; --format jsonl has all" if len(found) > _SHOWN else None,
        caption_justify="left",
    )
    table.add_column("column", ratio=3, overflow="fold")
    table.add_column("row" if found["ids"].isna().all() else "id", ratio=4, overflow="fold")
    table.add_column("what", ratio=10, overflow="fold")
    shown: list[dict[Any, Any]] = found.head(_SHOWN).to_dict("records")
    for row in shown:
        names = row["rows"] if row["ids"] is None else row["ids"]
        table.add_row(cut(row["column"], 40), _where(names), cut(safe(row["message"]), _MESSAGE_CHARS))
    return table


def _where(names: list[Any]) -> str:
    shown = ", ".join(cut(str(name), 40) for name in names[:_SHOWN_NAMES])
    return shown + (f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else "")
