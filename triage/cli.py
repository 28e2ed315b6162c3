"""The program ``triage``: train, predict, evaluate, similar.

Heavy imports stay inside the commands, so that help and usage errors come at once. Answers go to standard output,
everything else to standard error; an error is one line and never a question's words.
"""

from __future__ import annotations

import io
import json
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NoReturn

import typer

from triage.errors import DatasetError, RecipeError, TriageError
from triage.records import Decision, Suggestion, TriageResult

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

    from triage.triager import Triager

CHUNK_ROWS = 2000
CHUNK_CHARS = 2_000_000
RANKED = 3  # labels of a ranking that are written without --full

_OUTPUTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx")
_WAIT_S = 0.05  # how long a chunk waits for a slow writer before it is answered as it is
_QUIET_S = 1.0  # work that is done by then shows no progress
_MAX_FAULTS = 50
_WIDTH = 100  # of a table that goes to a file or a pipe
_QUESTION_CHARS = 140
_NEAREST_CHARS = 80
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")

app = typer.Typer(
    name="triage",
    help="Triage of questions: topic, jurisdiction, and answered questions to reuse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Lines(StrEnum):
    """Format of answers: JSON Lines or a table for people."""

    JSONL = "jsonl"
    TABLE = "table"


class Report(StrEnum):
    """Format of an evaluation."""

    TABLE = "table"
    JSON = "json"


ModelArgument = Annotated[Path, typer.Argument(help="Folder of a model, such as models/land.", show_default=False)]
TextOption = Annotated[str, typer.Option("--text", metavar="COLUMN", help="Column of the questions in a table.")]
KOption = Annotated[int, typer.Option("-k", min=0, help="Largest number of suggestions a question.")]
FormatOption = Annotated[Lines, typer.Option("--format", help="JSON Lines, or a table for people.")]
LanguageOption = Annotated[
    str | None,
    typer.Option("--language", metavar="CODE", help="Language of names in a table; the desk's own by default."),
]


def main() -> None:
    """Run the program; the exit code is 0 done, 1 an error, 2 wrong usage, 130 interrupted, 141 reader gone."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


def _show_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        print(f"triage {importlib.metadata.version('triage')}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml, or the folder it is in.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the bundle; by default 'bundle' beside the recipe.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
) -> None:
    """Train the desk of a RECIPE, and write its bundle and model card."""
    with _guard():
        path = recipe / "recipe.toml" if recipe.is_dir() else recipe
        folder = output or path.parent / "bundle"
        if folder.exists() and not overwrite:
            raise TriageError(f"{folder}: must not exist yet; give --overwrite or another --output")
        from triage.card import model_card
        from triage.evaluation import train_and_measure

        start = time.monotonic()
        triager = train_and_measure(path, progress=_note)
        triager.save(folder, overwrite=overwrite)
        if output is None:
            (path.parent / "model_card.md").write_text(model_card(triager), encoding="utf-8")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        _note(f"{folder}: {size / 1e6:.1f} MB, {time.monotonic() - start:.0f} s")


@app.command()
def predict(
    model: ModelArgument,
    file: Annotated[
        str, typer.Argument(help="CSV, TSV, JSONL, Parquet or XLSX; .txt or - (standard input): a question a line.")
    ] = "-",
    text: TextOption = "text",
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="DATE", help="Day on which competences must hold, such as 2025-10-01."),
    ] = None,
    format: FormatOption = Lines.JSONL,
    k: KOption = 5,
    full: Annotated[bool, typer.Option("--full", help="Whole rankings, the words that decided, and answers.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write one table by its ending (.csv, .tsv, .jsonl, .parquet, .xlsx), input columns first."),
    ] = None,
    language: LanguageOption = None,
) -> None:
    """Triage the questions of FILE with MODEL: one JSON object a question, in constant memory."""
    with _guard():
        day = _day(as_of)
        if output is not None:
            _check_output(output)
        from triage.triager import load

        triager = load(model)
        chunks = _watch(_read(file, text))
        if output is not None:
            _write_table(triager, chunks, output, text=text, as_of=day)
            return
        for chunk in chunks:
            if format is Lines.TABLE:
                results = triager.predict(chunk.texts, as_of=day, k=min(k, 1))
                _show(_result_table(triager, chunk, results, language))
            else:
                results = triager.predict(chunk.texts, as_of=day, k=k)
                keys = zip(chunk.ids, results, strict=True)
                _emit({chunk.key: key, **_record(result, full)} for key, result in keys)


@app.command()
def evaluate(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="Table of questions with their labels.", show_default=False)],
    text: TextOption = "text",
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Take only the rows whose column 'split' has this value.")
    ] = None,
    format: Annotated[Report, typer.Option("--format", help="A table for people, or JSON.")] = Report.TABLE,
) -> None:
    """Measure MODEL on the labelled questions of FILE."""
    with _guard():
        from triage.dataset import read_table
        from triage.evaluation import evaluate as evaluate_triager
        from triage.triager import load

        triager = load(model)
        frame = _rows_of_split(read_table(file), split, str(file))
        result = evaluate_triager(triager, frame, text=text)
        if format is Report.JSON:
            _emit([result.to_dict()])
        else:
            _write((result.summary().rstrip("\n") + "\n").encode("utf-8", "backslashreplace"))


@app.command()
def similar(
    model: ModelArgument,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Questions.", show_default=False)],
    k: Annotated[int, typer.Option("-k", min=1, help="Largest number of suggestions a question.")] = 5,
    format: FormatOption = Lines.JSONL,
) -> None:
    """Find the questions nearest to each TEXT among those that MODEL knows."""
    with _guard():
        from triage.triager import load

        found = load(model).similar(texts, k=k)
        if format is Lines.TABLE:
            for text, suggestions in zip(texts, found, strict=True):
                _show(_suggestion_table(text, suggestions))
        else:
            for number, suggestions in enumerate(found, 1):
                _emit([{"line": number, "suggestions": [suggestion.to_dict() for suggestion in suggestions]}])


# Questions in


@dataclass(frozen=True)
class _Chunk:
    # Questions that are triaged together, with what names each in the answer; the table they came in, if any.
    key: str
    ids: list[Any]
    texts: list[str]
    frame: pd.DataFrame | None = None


def _read(file: str, text: str) -> Iterator[_Chunk]:
    # Read a file in chunks, by its ending.
    if file == "-":
        if sys.stdin.isatty():
            _note("reading questions from the keyboard, one a line; end with Ctrl-D")
        yield from _read_lines(sys.stdin.buffer)
    elif Path(file).suffix.lower() == ".txt":
        with open(file, "rb") as stream:
            yield from _read_lines(stream)
    else:
        yield from _read_rows(file, text)


def _read_lines(stream: BinaryIO) -> Iterator[_Chunk]:
    from triage.dataset import iter_texts

    numbers: list[Any] = []
    texts: list[str] = []
    chars = 0
    for number, line in iter_texts(stream):
        numbers.append(number)
        texts.append(line)
        chars += len(line)
        if len(texts) >= CHUNK_ROWS or chars >= CHUNK_CHARS or _waits(stream):
            yield _Chunk("line", numbers, texts)
            numbers, texts, chars = [], [], 0
    if texts:
        yield _Chunk("line", numbers, texts)


def _waits(stream: BinaryIO) -> bool:
    # Say whether the writer of a pipe is slow, so that what came so far should be answered.
    try:
        return not select.select([stream], [], [], _WAIT_S)[0]
    except (OSError, ValueError, io.UnsupportedOperation):
        return False


def _read_rows(file: str, text: str) -> Iterator[_Chunk]:
    from triage.dataset import iter_rows

    start = 1
    for frame in iter_rows(file, text, CHUNK_ROWS):
        cells = frame[text].where(frame[text].notna(), "").tolist()
        texts = [cell if isinstance(cell, str) else str(cell) for cell in cells]
        if "id" in frame.columns and text != "id":
            yield _Chunk("id", frame["id"].tolist(), texts, frame)
        else:
            yield _Chunk("row", list(range(start, start + len(frame))), texts, frame)
        start += len(frame)


def _rows_of_split(frame: pd.DataFrame, split: str | None, source: str) -> pd.DataFrame:
    if split is None:
        if "split" in frame.columns:
            _note(f"{source} has a column 'split'; all its rows are measured, those for training too (see --split)")
        return frame
    known = sorted(set(frame["split"].astype(str))) if "split" in frame.columns else []
    if split not in known:
        raise typer.BadParameter(f"must be one of {', '.join(known) or 'none (no column split)'}, got {split!r}")
    return frame[frame["split"].astype(str) == split]


def _day(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise typer.BadParameter(f"--as-of must be an ISO date such as 2025-10-01, got {value!r}") from None


# Answers out


def _record(result: TriageResult, full: bool) -> dict[str, Any]:
    # Return what a line of JSON says about a question.
    if full:
        return result.to_dict()
    return {
        "route": result.route,
        "decisions": {
            target: {
                "label": decision.label,
                "probability": round(float(decision.probability), 4),
                "status": decision.status,
                "reason": decision.reason,
                "ranking": [[label, round(float(p), 4)] for label, p in decision.ranking[:RANKED]],
            }
            for target, decision in result.decisions.items()
        },
        "suggestions": [
            {
                "id": suggestion.id,
                "question": suggestion.question,
                "similarity": round(float(suggestion.similarity), 4),
                "p_reuse": None if suggestion.p_reuse is None else round(float(suggestion.p_reuse), 4),
                "stale": suggestion.stale,
            }
            for suggestion in result.suggestions
        ],
    }


def _plain(value: Any) -> Any:
    # Return numpy scalars and arrays as JSON can hold them, and anything else as text.
    return value.tolist() if hasattr(value, "tolist") else str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_plain)


def _emit(records: Iterable[dict[str, Any]]) -> None:
    # Write JSON Lines and flush; a lone surrogate becomes its escape, which is JSON as well.
    lines = "".join(_ENCODER.encode(record) + "\n" for record in records)
    _write(lines.encode("utf-8", "backslashreplace"))


def _write(content: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _write_table(triager: Triager, chunks: Iterable[_Chunk], output: Path, *, text: str, as_of: str | None) -> None:
    # Write input columns and predictions side by side; an input column of the same name becomes NAME_given.
    import pandas as pd

    from triage.dataset import write_table

    frames = []
    for chunk in chunks:
        given = chunk.frame if chunk.frame is not None else pd.DataFrame({"line": chunk.ids, text: chunk.texts})
        given = given.reset_index(drop=True)
        found = triager.predict_frame(chunk.texts, as_of=as_of).reset_index(drop=True)
        taken = {column: f"{column}_given" for column in given.columns if column in found.columns}
        frames.append(pd.concat([given.rename(columns=taken), found], axis=1))
    write_table(pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), output)
    _note(f"{output}: {sum(map(len, frames)):,} rows")


def _check_output(output: Path) -> None:
    # Find out before the work whether the table can be written after it.
    if output.suffix.lower() not in _OUTPUTS and not output.name.lower().endswith(".gz"):
        raise typer.BadParameter(f"--output must end in one of {', '.join(_OUTPUTS)}, got {output.name!r}")
    if not output.parent.is_dir():
        raise TriageError(f"{output.parent}: must be a folder that exists")


# Tables for people

_WHY = {
    "low_confidence": "not sure enough",
    "ambiguous": "two answers are near each other",
    "out_of_scope": "no question for this desk",
    "empty": "no text",
    "conflict": "the parts contradict each other",
}
_ROUTES = {
    "reuse": ("reuse an answer", "green"),
    "answer": ("answer", "green"),
    "forward": ("forward", "cyan"),
    "review": ("a person must look", "yellow"),
}
_PLACES = ("level", "agency")


def _result_table(triager: Triager, chunk: _Chunk, results: Sequence[TriageResult], language: str | None) -> Table:
    from rich.table import Table

    name = _namer(triager, language)
    table = Table(show_lines=True, expand=True, header_style="bold")
    table.add_column("" if chunk.key == "line" else chunk.key, justify="right", no_wrap=True, max_width=12)
    table.add_column("question, and the nearest known one", ratio=9, overflow="fold")
    table.add_column("topic, and who decides" if "topic" in triager.targets else "label", ratio=7, overflow="fold")
    table.add_column("what to do", ratio=4, overflow="fold")
    for key, text, result in zip(chunk.ids, chunk.texts, results, strict=True):
        question = _question_cell(text, result.suggestions)
        table.add_row(_safe(str(key)), question, _label_cell(result, name), _route_cell(result))
    return table


def _question_cell(text: str, suggestions: Sequence[Suggestion]) -> Text:
    from rich.text import Text

    cell = Text(_cut(text, _QUESTION_CHARS) or "–")
    if suggestions:
        nearest = suggestions[0]
        sure = "" if nearest.p_reuse is None else f", reuse {_percent(nearest.p_reuse)}"
        stale = "" if nearest.stale is None else ", out of date"
        cell.append(f"\n↳ {_safe(nearest.id)}, {_share(nearest.similarity)} alike{sure}{stale}: ", "dim")
        cell.append(_cut(nearest.question, _NEAREST_CHARS), "dim italic")
    return cell


def _label_cell(result: TriageResult, name: Callable[[str, Any], str]) -> Table:
    # Show probability and label, line by line; a mark says what a person must check, with or without colour.
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for target, decision in _told(result):
        assigned = decision.status == "assigned"
        label = Text(name(target, decision.label) + ("" if assigned else " (?)"), "" if assigned else "yellow")
        grid.add_row(_percent(decision.probability), label)
    return grid


def _told(result: TriageResult) -> Iterator[tuple[str, Decision]]:
    # Of level and agency only the one that the jurisdiction calls for; the matter is evidence.
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
        for target, decision in _told(result):
            if decision.reason:
                reasons.setdefault(decision.reason, []).append(target)
        for decision in result.decisions.values():  # a question without any label to tell
            if decision.reason in ("empty", "out_of_scope"):
                reasons = {decision.reason: []}
        for reason, targets in reasons.items():
            where = f"{', '.join(targets)}: " if targets else ""
            cell.append(f"\n{where}{_WHY.get(reason, reason)}", "")
    return cell


def _suggestion_table(text: str, suggestions: Sequence[Suggestion]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(_cut(text, _QUESTION_CHARS)), title_justify="left", expand=True, header_style="bold")
    table.add_column("id", no_wrap=True, max_width=16)
    table.add_column("alike", justify="right")
    table.add_column("reuse", justify="right")
    table.add_column("question", ratio=1)
    for suggestion in suggestions:
        sure = "–" if suggestion.p_reuse is None else _percent(suggestion.p_reuse)
        question = Text(_cut(suggestion.question, _QUESTION_CHARS))
        if suggestion.stale:
            question.append(f"\nout of date: {_safe(suggestion.stale)}", "yellow")
        table.add_row(_safe(suggestion.id), _share(suggestion.similarity), sure, question)
    return table


def _namer(triager: Triager, language: str | None) -> Callable[[str, Any], str]:
    # Return a function that names a label for people; the id where the desk has no name for it.
    taxonomy = getattr(triager, "taxonomy", None)

    def name(target: str, label: Any) -> str:
        if taxonomy is not None:
            try:
                # A longer name explains itself in brackets.
                return _safe(taxonomy.name(target, label, language).split(" (")[0])
            except ValueError:
                pass
        return _safe(str(label))

    return name


def _show(table: Table) -> None:
    # Print a table as wide as the terminal, or 100 columns.
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
    _write(page.getvalue().encode("utf-8", "backslashreplace"))


def _percent(probability: float) -> str:
    if probability >= 0.995:  # nothing here is certain
        return ">99%"
    return _share(probability)


def _share(value: float) -> str:
    return f"{100 * float(value):.0f}%"


def _safe(text: str) -> str:
    # Drop control characters, which could steer a terminal.
    return _UNPRINTABLE.sub(" ", text)


def _cut(text: str, chars: int) -> str:
    # Shorten a text to one paragraph of so many characters.
    words = " ".join(_safe(text[: 4 * chars]).split())
    return words if len(words) <= chars else words[: chars - 1].rstrip() + "…"


# Standard error


def _note(line: str) -> None:
    print(f"triage: {line}", file=sys.stderr, flush=True)


def _watch(chunks: Iterable[_Chunk]) -> Iterator[_Chunk]:
    # Pass chunks on, and show on a terminal how many questions are done once the work is long.
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    start = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} questions"), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task("", total=None)
    try:
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk.texts))
            if time.monotonic() - start > _QUIET_S:
                progress.start()
    finally:
        progress.stop()


@contextmanager
def _guard() -> Iterator[None]:
    # Turn errors of users into one line and an exit code.
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
        _fail("\n".join([first, *lines[:_MAX_FAULTS], *more]))
    except RecipeError as error:
        _fail(str(error))
    except TriageError as error:
        _fail(" ".join(str(error).split()))
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        _fail(" ".join(named.split()))


def _fail(message: str) -> NoReturn:
    lines = (_UNPRINTABLE.sub(" ", line) for line in message.split("\n"))
    print("triage: error:", "\n".join(lines), file=sys.stderr)
    raise typer.Exit(1) from None
