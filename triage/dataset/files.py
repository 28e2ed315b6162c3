"""Files to tables and back: CSV, TSV, JSON Lines, Parquet, XLSX."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date, datetime
from gzip import GzipFile
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias, cast

import numpy as np
import pandas as pd

from triage.dataset import checks
from triage.disk import written_beside
from triage.errors import DatasetError, DependencyError, Fault, TriageError

Source: TypeAlias = "str | Path | BinaryIO"

_FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".xlsx": "xlsx"}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_XLSX = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_x[0-9A-Fa-f]{4}_")
_MAX_XLSX_CHARS = 32_767
_MAX_HEAD_ROWS = 10_000  # in which a column of JSON Lines is looked for
_EMPTY = Fault(None, None, "must not be empty; a table has a header and rows")
_DAMAGED = "but is damaged or of another kind"


def read_table(source: Source | pd.DataFrame, *, format: str | None = None) -> pd.DataFrame:
    r"""Read a table, and name every fault of the file at once.

    Parameters
    ----------
    source : path, binary stream or DataFrame
        ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson`` (each also with ``.gz``), ``.parquet``, ``.xlsx`` (first sheet,
        formulas are never computed). A DataFrame is copied and keeps its index.
    format : {"csv", "tsv", "jsonl", "parquet", "xlsx"}, optional
        Overrides the ending; needed for a stream.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        From text formats every cell is a ``str``; in JSON Lines null or an absent key is None, lists and objects
        stay. From XLSX an empty cell is ``""``, a date ISO text. Parquet keeps its types.

    Examples
    --------
    >>> read_table(io.BytesIO(b"id,text\n007,NA\n"), format="csv").to_dict("records")
    [{'id': '007', 'text': 'NA'}]
    """
    if isinstance(source, pd.DataFrame):
        checks.raise_if(checks.column_faults(source.columns), "DataFrame")
        return source.copy()
    (frame,) = _read(source, format, None)
    return frame


def iter_rows(
    source: Source, text_column: str, chunk_rows: int = 4096, *, format: str | None = None
) -> Iterator[pd.DataFrame]:
    """Read a table in chunks, in memory that does not grow with it (XLSX is read whole).

    Parameters
    ----------
    source, format
        As in :func:`read_table`, without DataFrames.
    text_column : str
        Column that must be there.
    chunk_rows : int, default=4096
        Largest number of rows of a chunk.

    Yields
    ------
    DataFrame of at most chunk_rows rows
        The index goes on counting from 0. Columns of JSON Lines are those of the chunk, and `text_column`, which one of
        the first 10,000 rows must have.

    Raises
    ------
    ValueError
        If `chunk_rows` is below 1.
    """
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows}")
    for chunk in _read(source, format, chunk_rows, text_column):
        checks.raise_if(checks.absent_faults([text_column], chunk), name_of(source))
        yield chunk


def iter_texts(stream: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    r"""Read one question a line, however long, in the memory of one line.

    Parameters
    ----------
    stream : binary stream
        In UTF-8; what cannot be decoded becomes U+FFFD.

    Yields
    ------
    tuple of (int, str)
        1-based line number and the line without its end; a blank line is an empty string.

    Examples
    --------
    >>> list(iter_texts(io.BytesIO(b"one\r\n\ntwo")))
    [(1, 'one'), (2, ''), (3, 'two')]
    """
    for number, raw in enumerate(stream, 1):
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
        yield number, line.removesuffix("\n").removesuffix("\r") if line.strip() else ""


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table without its index beside `path` and rename it into place; its ending names the format.

    Cells that the format cannot hold without loss are named in a DatasetError. XLSX cells are stored as text, never as
    formulas. CSV holds cells as they are: one that starts with ``=``, ``+``, ``-`` or ``@`` is run by a spreadsheet
    that opens the file, so hand people XLSX.
    """
    path = Path(path)
    kind, zipped = _format_of(path, None)
    faults = [fault for column in frame.columns for fault in checks.cell_faults(frame, column, _loss_in(kind))]
    checks.raise_if(checks.column_faults(frame.columns) + faults, path)
    with written_beside(path) as raw, GzipFile("", "wb", 9, raw, 0) if zipped else nullcontext(raw) as stream:
        _write(frame, cast("IO[bytes]", stream), kind, str(path))


def name_of(source: Any) -> str:
    """Name what is read, for errors."""
    if isinstance(source, pd.DataFrame):
        return "DataFrame"
    return str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "stream"))


@contextmanager
def undamaged(name: str, problem: str) -> Iterator[None]:
    """Word whatever a parser raises on a damaged file; its own words may quote cells, so they are dropped."""
    try:
        yield
    except (TriageError, MemoryError):
        raise
    except Exception as error:
        fault = Fault(None, None, f"{problem} ({type(error).__name__})")
        raise DatasetError(source=name, faults=[fault]) from None


def _format_of(source: Source, format: str | None) -> tuple[str, bool]:
    # Return the format and whether it is compressed.
    path = Path(source) if isinstance(source, str | Path) else Path()
    zipped = path.suffix.lower() == ".gz"
    if format is not None and format not in _FORMATS.values():
        raise ValueError(f"format must be one of {checks.listing(set(_FORMATS.values()), format)}, got {format!r}")
    kind = format or _FORMATS.get(Path(path.stem if zipped else path).suffix.lower())
    if kind is None or (zipped and kind in ("parquet", "xlsx")):
        problem = "must end in .csv, .tsv, .jsonl, .ndjson (each also with .gz), .parquet or .xlsx, or have a format"
        raise DatasetError(source=name_of(source), faults=[Fault(None, None, problem)])
    return kind, zipped


def _optional(package: str, kind: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DependencyError(package=package, extra="files", purpose=f"reading or writing {kind}") from error


# Reading: a stream becomes rows (a list of cells, an object, or what is wrong with them), rows become frames


def _read(
    source: Source, format: str | None, chunk_rows: int | None, wanted: str | None = None
) -> Iterator[pd.DataFrame]:
    # Yield the table in chunks, as one frame when `chunk_rows` is None; objects may lack the column wanted.
    name = name_of(source)
    kind, zipped = _format_of(source, format)
    with open(source, "rb") if isinstance(source, str | Path) else nullcontext(source) as stream:
        if kind == "parquet":
            yield from _parquet_frames(stream, chunk_rows, name)
            return
        lines = _lines(GzipFile(fileobj=stream) if zipped else stream, name)
        if kind == "jsonl":
            objects = _json_rows(lines)
            head, known = _until(objects, wanted)
            yield from _frames(None, chain(head, objects), chunk_rows, name, known)
            return
        rows = _xlsx_rows(stream, name) if kind == "xlsx" else _csv_rows(lines, _DELIMITERS[kind])
        header = next(rows, [])
        if isinstance(header, str) or not header:
            raise DatasetError(source=name, faults=[Fault(None, None, str(header)) if header else _EMPTY])
        checks.raise_if([cell for cell in header if isinstance(cell, Fault)], name)
        yield from _frames(list(map(str, header)), rows, chunk_rows, name)


def _until(objects: Iterator[Any], wanted: str | None) -> tuple[list[Any], list[str]]:
    # Return the first objects up to one that has a key, and the key if there is one: no chunk alone can say so.
    head = []
    for record in islice(objects, 0 if wanted is None else _MAX_HEAD_ROWS):
        head.append(record)
        if isinstance(record, dict) and wanted in record:
            return head, [str(wanted)]
    return head, []


def _frames(
    columns: list[str] | None,
    rows: Iterator[Any],
    chunk_rows: int | None,
    name: str,
    known: Sequence[str] = (),
) -> Iterator[pd.DataFrame]:
    # Collect rows into frames; without `columns` the rows are objects, and their keys and the known are the columns.
    start = 0
    while (batch := list(islice(rows, chunk_rows))) or start == 0:
        checks.raise_if(
            [one for row, cells in enumerate(batch, start + 1) for one in _faults(row, cells, columns)], name
        )
        keys = columns or list(dict.fromkeys([*(key for record in batch for key in record), *known]))
        checks.raise_if(checks.column_faults(keys) if keys else [_EMPTY], name)
        records = [[row.get(key) for key in keys] for row in batch] if columns is None else batch
        index = pd.RangeIndex(start, start + len(batch))
        yield pd.DataFrame(records, columns=keys, index=index, dtype=object)
        if not batch:
            return
        start += len(batch)


def _faults(row: int, cells: Any, columns: list[str] | None) -> list[Fault]:
    if isinstance(cells, str):
        return [Fault(row, None, cells)]
    if columns is not None and len(cells) != len(columns):
        return [Fault(row, None, f"must have {len(columns)} cells like the header, got {len(cells)}")]
    named = [] if columns is None else zip(columns, cells, strict=True)
    nul = Fault(row, None, checks.SAFE)
    found = [(column, nul if isinstance(cell, str) and "\0" in cell else cell) for column, cell in named]
    return [Fault(row, checks.shown(column), cell.problem) for column, cell in found if isinstance(cell, Fault)]


def _lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    # Yield the lines of a UTF-8 stream with their ends, without the byte order mark.
    with undamaged(name, f"must be readable as text, {_DAMAGED}"):
        for number, raw in enumerate(stream, 1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                problem = f"must be UTF-8, but line {number} is not; save it as UTF-8 ('CSV UTF-8' in a spreadsheet)"
                raise DatasetError(source=name, faults=[Fault(None, None, problem)]) from None


def _csv_rows(lines: Iterator[str], delimiter: str) -> Iterator[list[str] | str]:
    # Blank lines do not count; after a malformed row it goes on, so that the next ones are checked too.
    csv.field_size_limit(2**31 - 1)  # of the whole process; the default refuses texts over 128 KiB
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            if cells := next(reader):
                yield cells
        except StopIteration:
            return
        except csv.Error as error:
            yield f"must be well-formed, but {error}"


def _json_rows(lines: Iterator[str]) -> Iterator[dict[str, Any] | str]:
    # Blank lines do not count.
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON, write null")

    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse, object_pairs_hook=unique)
    for line in filter(None, map(str.strip, lines)):
        try:
            record = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            problem = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
            yield f"must be a JSON object on one line: {problem}"
        else:
            if isinstance(record, dict):
                yield {key: str(cell) if isinstance(cell, bool) else cell for key, cell in record.items()}
            else:
                yield 'must be a JSON object, such as {"text": "..."}, got another value'


def _xlsx_rows(stream: IO[bytes], name: str) -> Iterator[list[Any]]:
    # The first sheet without the empty rows at its end; every row is as long as the header, or too long.
    openpyxl = _optional("openpyxl", "XLSX")
    with undamaged(name, f"must be readable as XLSX, {_DAMAGED}"):
        content = io.BytesIO(stream.read())
        sheets = [openpyxl.load_workbook(content, read_only=True, data_only=stored).worksheets[0] for stored in (1, 0)]
        for sheet in sheets:
            sheet.reset_dimensions()
        grid = [list(map(_xlsx_cell, *pair)) for pair in zip(*(sheet.iter_rows() for sheet in sheets), strict=True)]
    for row in grid:
        while row and row[-1] == "":
            row.pop()
    while grid and not grid[-1]:
        grid.pop()
    yield from (row + [""] * (len(grid[0]) - len(row)) for row in grid)


def _xlsx_cell(value: Any, source: Any) -> Any:
    # Return a cell's stored value, or a Fault without place.
    if source.data_type == "f" and value.value is None:
        return Fault(None, None, "must be stored, got a formula without its value; save the file in a spreadsheet")
    if value.data_type == "e":
        return Fault(None, None, "must be a value, got a spreadsheet error")
    if isinstance(value.value, datetime):
        return value.value.isoformat().removesuffix("T00:00:00")
    return "" if value.value is None else value.value


def _parquet_frames(stream: IO[bytes], chunk_rows: int | None, name: str) -> Iterator[pd.DataFrame]:
    _optional("pyarrow", "Parquet")
    import pyarrow.parquet

    with undamaged(name, f"must be readable as Parquet, {_DAMAGED}"):
        file = pyarrow.parquet.ParquetFile(stream if stream.seekable() else io.BytesIO(stream.read()))
        whole = chunk_rows is None or file.metadata.num_rows == 0
        start = 0
        for batch in [file.read()] if whole else file.iter_batches(chunk_rows):
            frame: pd.DataFrame = batch.to_pandas()
            checks.raise_if(checks.column_faults(frame.columns), name)
            if chunk_rows is not None:
                frame.index = pd.RangeIndex(start, start + len(frame))
            start += len(frame)
            yield frame


# Writing


def _write(frame: pd.DataFrame, stream: IO[bytes], kind: str, name: str) -> None:
    columns = [str(column) for column in frame.columns]
    rows = [[_plain(cell) for cell in row] for row in zip(*(frame[one].tolist() for one in frame.columns), strict=True)]
    if kind == "parquet":
        _optional("pyarrow", "Parquet")
        with undamaged(name, "must hold one type in each column to be written as Parquet"):
            frame.to_parquet(stream, engine="pyarrow", index=False)
    elif kind == "xlsx":
        openpyxl = _optional("openpyxl", "XLSX")
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet()
        for row in [columns, *rows]:
            cells = [openpyxl.cell.WriteOnlyCell(sheet, _flat(cell)) for cell in row]
            for cell in cells:
                cell.data_type = "s" if isinstance(cell.value, str) else cell.data_type  # ``=1+1`` is no formula
            sheet.append(cells)
        book.save(stream)
    else:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        if kind == "jsonl":
            for row in rows:
                text.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=str) + "\n")
        else:
            flat = [["" if cell is None else str(_flat(cell)) for cell in row] for row in rows]
            quoting: Any = csv.QUOTE_ALL if any("\r" in cell for row in flat for cell in row) else csv.QUOTE_MINIMAL
            writer = csv.writer(text, delimiter=_DELIMITERS[kind], lineterminator="\n", quoting=quoting)
            writer.writerows([columns, *flat])
        text.detach()


def _plain(cell: Any) -> Any:
    # Return a cell as JSON can hold it: None where missing, numpy scalars as Python's, dates as ISO text.
    if checks.is_missing(cell):
        return "" if isinstance(cell, str) else None
    if isinstance(cell, date):
        return cell.isoformat()
    return cell.tolist() if isinstance(cell, np.generic | np.ndarray) else cell


def _flat(cell: Any) -> Any:
    # Return a cell as a spreadsheet can hold it: lists and objects as JSON text, anything else unknown as text.
    if isinstance(cell, list | dict):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return cell if cell is None or isinstance(cell, bool | int | float) else str(cell)


def _loss_in(kind: str) -> checks.Problem:
    # Make the check that a format holds a cell without loss.
    lost = _NOT_XLSX if kind == "xlsx" else checks.UNSAFE if kind in _DELIMITERS else _SURROGATE

    def problem(cell: Any) -> str | None:
        text = cell if kind in ("jsonl", "parquet") else _flat(_plain(cell))
        if isinstance(text, float) and math.isinf(text) and kind in ("jsonl", "xlsx"):
            return "must be finite"
        if not isinstance(text, str) or not (lost.search(text) or (kind == "xlsx" and len(text) > _MAX_XLSX_CHARS)):
            return None
        return checks.SAFE + f", nor what XLSX cannot keep, nor over {_MAX_XLSX_CHARS:,} characters" * (kind == "xlsx")

    return problem


def ending_problem(path: str | Path) -> str | None:
    """Say what a path must end in so that `write_table` can write it; None where it does."""
    try:
        _format_of(Path(path), None)
    except DatasetError:
        return f"must end in one of {', '.join(_FORMATS)}, text also with .gz, got {Path(path).name!r}"
    return None
