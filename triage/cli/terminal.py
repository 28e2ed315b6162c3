"""What all commands share: options, answers to standard output, all else to standard error."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from triage.errors import DatasetError, RecipeError, TriageError

if TYPE_CHECKING:
    from rich.table import Table

    from triage.triager import Triager

_MAX_FAULTS = 50
_WIDTH = 100  # of a table that goes to a file or a pipe
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


class Lines(StrEnum):
    """Format of answers: JSON Lines or a table for people."""

    JSONL = "jsonl"
    TABLE = "table"


TextOption = Annotated[str, typer.Option("--text", metavar="COLUMN", help="Column of the questions in a table.")]
KOption = Annotated[int, typer.Option("-k", min=0, help="Largest number of suggestions a question.")]
AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="DATE", help="Day on which a body must be competent; today by default."),
]
FormatOption = Annotated[Lines, typer.Option("--format", help="JSON Lines, or a table for people.")]
LanguageOption = Annotated[
    str | None,
    typer.Option("--language", metavar="CODE", help="Language of names in a table; the desk's own by default."),
]


def day_option(value: str | None, option: str = "--as-of") -> str | None:
    """Return a day given on the command line, checked."""
    if value is None:
        return None
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise typer.BadParameter(f"{option} must be an ISO date such as 2025-10-01, got {value!r}") from None


def language_option(value: str | None) -> str | None:
    """Return the language of texts given on the command line, checked."""
    if value is None:
        return None
    from triage.text.languages import known_languages

    if value not in known_languages():
        raise typer.BadParameter(f"--language must be one of {', '.join(known_languages())}, got {value!r}")
    return value


def names_option(value: str | None, triager: Triager) -> str | None:
    """Return the language of names given on the command line, checked: a desk with names must have them in it."""
    taxonomy = triager.taxonomy
    if value is None or taxonomy is None:
        return value
    named = [topic.names for topic in taxonomy.topics]
    for names in (taxonomy.jurisdictions, taxonomy.levels, taxonomy.agencies):
        named += names.values()
    known = sorted({code for names in named for code in names})
    if value not in known:
        raise typer.BadParameter(f"--language must be one of {', '.join(known)}, got {value!r}")
    return value


# Answers out


def _plain(value: Any) -> Any:
    """Return numpy scalars and arrays as JSON can hold them, and anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_plain)


def emit(records: Iterable[dict[str, Any]]) -> None:
    """Write JSON Lines and flush; a lone surrogate becomes its escape, which is JSON as well."""
    lines = "".join(_ENCODER.encode(record) + "\n" for record in records)
    write(lines.encode("utf-8", "backslashreplace"))


def write(content: bytes) -> None:
    """Write bytes to standard output and flush."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def show(table: Table) -> None:
    """Print a table as wide as the terminal, or 100 columns."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    page = io.StringIO()
    console = Console(
        file=page,
        width=None if terminal else _WIDTH,
        force_terminal=terminal,
        highlight=False,
        markup=False,
    )
    console.print(table)
    write(page.getvalue().encode("utf-8", "backslashreplace"))


def percent(probability: float) -> str:
    """Say a probability in per cent."""
    if probability >= 0.995:  # nothing here is certain
        return ">99%"
    return share(probability)


def share(value: float) -> str:
    """Say a share in per cent."""
    return f"{100 * float(value):.0f}%"


def safe(text: str) -> str:
    """Drop control characters, which could steer a terminal."""
    return _UNPRINTABLE.sub(" ", text)


def cut(text: str, chars: int) -> str:
    """Shorten a text to one paragraph of so many characters."""
    words = " ".join(safe(text[: 4 * chars]).split())
    return words if len(words) <= chars else words[: chars - 1].rstrip() + "…"


# Standard error


def note(line: str) -> None:
    """Write a line to standard error."""
    print(f"triage: {line}", file=sys.stderr, flush=True)


@contextmanager
def guard() -> Iterator[None]:
    """Turn errors of users into one line and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # The reader has enough; what Python flushes at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except DatasetError as error:
        first, *lines = str(error).split("\n")
        more = [f"  and {len(lines) - _MAX_FAULTS:,} more"] if len(lines) > _MAX_FAULTS else []
        fail("\n".join([first, *lines[:_MAX_FAULTS], *more]))
    except RecipeError as error:
        fail(str(error))
    except TriageError as error:
        fail(" ".join(str(error).split()))
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        fail(" ".join(named.split()))


def fail(message: str) -> NoReturn:
    """End the program with an error."""
    lines = (_UNPRINTABLE.sub(" ", line) for line in message.split("\n"))
    print("triage: error:", "\n".join(lines), file=sys.stderr)
    raise typer.Exit(1) from None
