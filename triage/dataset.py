"""Tables in: read, checked, and every fault reported at once.

Text formats (CSV, TSV, JSON Lines) are read as text: a cell ``NA`` stays text, an id ``007`` keeps its zeros.
A faulty table raises one :class:`~triage.errors.DatasetError` that names every fault by row and column; a
message never repeats what a cell of text says.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import importlib
import io
import json
import math
import os
import re
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from gzip import GzipFile
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias, cast

import numpy as np
import pandas as pd

from triage.errors import DatasetError, DependencyError, Fault, TriageError

MAX_TEXT_CHARS = 1_000_000
SPLITS = ("train", "valid", "test")

Source: TypeAlias = "str | Path | BinaryIO"
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_MAX_XLSX_CHARS = 32_767
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_XLSX = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_x[0-9A-Fa-f]{4}_")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MAX_REPR_CHARS = 40
_MAX_LISTED = 12
_EMPTY = Fault(None, None, "must not be empty; a table has a header and rows")
_DAMAGED = "but is damaged or of another kind"
_NO_NUL = "must not hold NUL characters"
_NO_SURROGATE = "must not hold lone surrogates"
_Row: TypeAlias = "dict[str, Any] | list[Fault]"


def read_table(source: Source | pd.DataFrame, *, format: str | None = None) -> pd.DataFrame:
    r"""Read a table.

    Parameters
    ----------
    source : path, binary stream or DataFrame
        The format follows from the ending: ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson`` (each also with ``.gz``),
        ``.parquet``, ``.xlsx`` (first sheet). A DataFrame is copied and keeps its index.
    format : {"csv", "tsv", "jsonl", "parquet", "xlsx"}, optional
        Overrides the ending; needed for a stream.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        Rows in the order of the file. From text formats every cell is a ``str``; in JSON Lines null or an absent
        key is None, numbers and booleans are their JSON text, lists and objects stay what they are. From XLSX an
        empty cell is ``""``, a date is ISO text, numbers and booleans keep their type. Parquet keeps its types.

    Raises
    ------
    DatasetError
        Unknown ending, empty file, not UTF-8, NUL characters, ragged or malformed rows, column names that are not
        unique, a formula without a stored value (formulas are never computed), a damaged file.
    DependencyError
        Parquet without pyarrow, XLSX without openpyxl.

    Examples
    --------
    >>> read_table(io.BytesIO(b"id,text\n007,NA\n"), format="csv").to_dict("records")
    [{'id': '007', 'text': 'NA'}]
    """
    if isinstance(source, pd.DataFrame):
        _raise_if(_column_faults(list(source.columns)), "DataFrame")
        return source.copy()
    (frame,) = _read(source, format, None)
    return frame


def iter_rows(
    source: Source, text_column: str, chunk_rows: int = 4096, *, format: str | None = None
) -> Iterator[pd.DataFrame]:
    r"""Read a table in chunks, in memory that does not grow with it (XLSX is read whole).

    Parameters
    ----------
    source, format
        As in :func:`read_table`, without DataFrames.
    text_column : str
        Column that must be there.
    chunk_rows : int, default 4096
        Largest number of rows of a chunk, at least 1.

    Yields
    ------
    DataFrame of shape (at most chunk_rows, n_columns)
        As from :func:`read_table`; the index goes on counting from 0. Columns of JSON Lines are those of the chunk.

    Raises
    ------
    DatasetError
        As in :func:`read_table`, with all faults of the first faulty chunk.
    ValueError
        If ``chunk_rows`` is below 1.

    Examples
    --------
    >>> [len(chunk) for chunk in iter_rows(io.BytesIO(b"text\na\nb\nc\n"), "text", 2, format="csv")]
    [2, 1]
    """
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows}")
    for chunk in _read(source, format, chunk_rows):
        _raise_if(_absent([text_column], chunk), _name(source))
        yield chunk


def iter_texts(stream: Iterable[bytes | str]) -> Iterator[tuple[int, str]]:
    r"""Read one question a line, however long, in the memory of one line.

    Parameters
    ----------
    stream : binary or text stream
        Read as UTF-8 with or without a byte order mark.

    Yields
    ------
    tuple of (int, str)
        1-based line number and the line without its end. A blank line is an empty string; what cannot be decoded is
        U+FFFD.

    Examples
    --------
    >>> list(iter_texts(io.BytesIO(b"one\r\n\ntwo")))
    [(1, 'one'), (2, ''), (3, 'two')]
    """
    for number, raw in enumerate(stream, 1):
        line = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else _SURROGATE.sub("\ufffd", raw)
        line = line.removeprefix("\ufeff") if number == 1 else line
        line = line.removesuffix("\n").removesuffix("\r")
        yield number, line if line.strip() else ""


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table beside ``path`` and rename it into place.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        Its index is not written. Missing cells are empty (null in JSON Lines and Parquet).
    path : str or Path
        Its ending names the format, as in :func:`read_table`. An existing file is replaced.

    Raises
    ------
    DatasetError
        A cell that the format cannot hold without loss (every one is named), or an unknown ending.
    DependencyError
        Parquet without pyarrow, XLSX without openpyxl.

    Notes
    -----
    XLSX cells are stored as text, never as formulas. CSV and TSV hold the cells as they are: a cell that starts
    with ``=``, ``+``, ``-`` or ``@`` is run by a spreadsheet that opens the file, so hand people XLSX.
    """
    path = Path(path)
    kind, zipped = _kind(path, None)
    faults = _column_faults(list(frame.columns)) + _unwritable(frame, kind)
    _raise_if(faults, path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as raw, GzipFile("", "wb", 9, raw, 0) if zipped else nullcontext(raw) as stream:
            _write(frame, cast("IO[bytes]", stream), kind, str(path))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_questions(
    source: Source | pd.DataFrame,
    *,
    text: str = "text",
    targets: Sequence[str] = ("topic", "jurisdiction"),
    split: str | None = None,
    classes: Mapping[str, Collection[Any]] | None = None,
    format: str | None = None,
) -> pd.DataFrame:
    """Read labelled questions and check every cell that training relies on.

    Parameters
    ----------
    source, format
        As in :func:`read_table`.
    text : str, default "text"
        Column of the questions: text, not blank, at most 1,000,000 characters, no NUL, no lone surrogate.
    targets : sequence of str
        Columns of the labels: text without white space around it, whole numbers or booleans; never missing.
    split : str, optional
        Column that holds ``train``, ``valid`` or ``test``; None for a table without one.
    classes : mapping of str to collection, optional
        Target to its allowed labels.

    Returns
    -------
    DataFrame of shape (n_questions, n_columns)
        All columns, as read. A column ``id`` is unique and a column ``date`` holds ISO dates, where filled.

    Raises
    ------
    DatasetError
        With every fault of the table in the order of its rows.
    TypeError
        If ``targets`` is a bare string.

    Examples
    --------
    >>> read_questions(pd.DataFrame({"text": ["Who signs?"], "label": ["land"]}), targets=["label"])
             text label
    0  Who signs?  land
    """
    if isinstance(targets, str):
        raise TypeError(f"targets must be a sequence of column names, got the bare string {targets!r}")
    frame = read_table(source, format=format)
    faults = _absent([text, *targets, *([split] if split else [])], frame)
    if frame.empty:
        faults.append(Fault(None, None, "must have at least one row, got none"))
    checks: list[tuple[str, Callable[[Any], str | None]]] = [(text, _text_problem)]
    checks += [(target, _label_check((classes or {}).get(target))) for target in targets]
    checks += [(split, _label_check(SPLITS))] if split else []
    checks += [("date", _date_problem)] if "date" not in (text, *targets) else []
    for column, problem in checks:
        faults += _check(frame, column, problem)
    if "id" not in (text, *targets):
        faults += _repeats(frame, "id")
    _raise_if(faults, _name(source))
    return frame


@dataclass(frozen=True)
class Topic:
    """A topic of a desk.

    Parameters
    ----------
    id : str
        The label.
    names : mapping of str to str
        Language to name.
    description : str
        What belongs to it, may be empty.
    typical_matters : tuple of str
        Matters in the taxonomy's language, may be empty.
    """

    id: str
    names: Mapping[str, str]
    description: str
    typical_matters: tuple[str, ...]


@dataclass(frozen=True)
class Taxonomy:
    """The labels of a desk and their names for people.

    Parameters
    ----------
    language : str
        The desk's language; everything has a name in it.
    topics : tuple of Topic
        In the order of the file.
    jurisdictions, levels, agencies : mapping of str to mapping
        Id to names (language to name), in the order of the file.
    """

    language: str
    topics: tuple[Topic, ...]
    jurisdictions: Mapping[str, Mapping[str, str]]
    levels: Mapping[str, Mapping[str, str]]
    agencies: Mapping[str, Mapping[str, str]]

    def name(self, target: str, label: str, language: str | None = None) -> str:
        """Name a label for people.

        Parameters
        ----------
        target : {"topic", "jurisdiction", "level", "agency"}
            What the label is a label of.
        label : str
            Its id.
        language : str, optional
            The taxonomy's own by default.

        Returns
        -------
        str
            The name.

        Raises
        ------
        ValueError
            Unknown target, label or language; the message lists the known ones.
        """
        tables = {"topic": {topic.id: topic.names for topic in self.topics}, "jurisdiction": self.jurisdictions}
        tables |= {"level": self.levels, "agency": self.agencies}
        names = _look_up(tables, target, "target")
        return str(_look_up(_look_up(names, label, target), language or self.language, "language"))


def read_taxonomy(path: str | Path) -> Taxonomy:
    """Read a desk's ``taxonomy.json``.

    Parameters
    ----------
    path : str or Path
        JSON object with ``language`` and lists ``topics``, ``jurisdictions`` (each may have ``levels``) and
        ``agencies``; every entry has ``id`` and ``name_<language>``, and names in as many languages as wanted.

    Returns
    -------
    Taxonomy
        Checked.

    Raises
    ------
    DatasetError
        With every fault, each at its place in the JSON.
    """
    faults: list[Fault] = []
    content = Path(path).read_bytes()
    with _undamaged(str(path), "must be JSON in UTF-8"):
        tree = json.loads(content.decode("utf-8-sig"))
    if not isinstance(tree, dict) or not isinstance(tree.get("language"), str) or not tree["language"]:
        _raise_if([Fault(None, "language", "must be an object with a language such as 'vi'")], path)
    language = tree["language"]
    topics = _entries(tree, "topics", language, faults)
    jurisdictions = _entries(tree, "jurisdictions", language, faults)
    agencies = _entries(tree, "agencies", language, faults)
    levels = {
        key: names
        for entry in jurisdictions.values()
        for key, names in _entries(entry, "levels", language, faults).items()
    }
    if not topics and not faults:
        faults.append(Fault(None, "topics", "must have at least one topic"))
    _raise_if(faults, path)
    return Taxonomy(
        language=language,
        topics=tuple(
            Topic(
                key,
                _names(entry),
                str(entry.get("description", "")),
                tuple(entry.get(f"typical_matters_{language}", [])),
            )
            for key, entry in topics.items()
        ),
        jurisdictions={key: _names(entry) for key, entry in jurisdictions.items()},
        levels={key: _names(entry) for key, entry in levels.items()},
        agencies={key: _names(entry) for key, entry in agencies.items()},
    )


def read_register_table(source: Source | pd.DataFrame, *, format: str | None = None) -> pd.DataFrame:
    """Read the rows of a competence register.

    Parameters
    ----------
    source, format
        As in :func:`read_table`. Columns ``matter_id``, ``topic``, ``matter_<language>`` (one or more),
        ``jurisdiction``, ``level``, ``agency``, ``valid_from``, ``valid_to``; others are kept.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        One row a matter and period. ``valid_from`` and ``valid_to`` are ISO dates, both inclusive, or empty (open).

    Raises
    ------
    DatasetError
        With every fault: a column missing, an empty matter, topic or jurisdiction, a date that is none, a period that
        ends before it starts.
    """
    frame = read_table(source, format=format)
    columns = ("matter_id", "topic", "jurisdiction", "level", "agency", "valid_from", "valid_to")
    faults = _absent(columns, frame)
    if not any(re.fullmatch("matter_(?!id$).+", str(column)) for column in frame.columns):
        faults.append(Fault(None, None, "must have a column matter_<language> with the matter's name"))
    for column in columns[:3]:
        faults += _check(frame, column, _label_check())
    for column in columns[-2:]:
        faults += _check(frame, column, _date_problem)
    if not faults:
        periods = zip(frame["valid_from"], frame["valid_to"], strict=True)
        faults += [
            Fault(row, "valid_to", f"must not be before valid_from, got {_iso(start)} to {_iso(end)}")
            for row, (start, end) in enumerate(periods, 1)
            if not _is_missing(start) and not _is_missing(end) and _iso(end) < _iso(start)
        ]
    _raise_if(faults, _name(source))
    return frame


def read_abbreviations(source: Source | pd.DataFrame, *, format: str | None = None) -> dict[str, str]:
    """Read a desk's abbreviations.

    Parameters
    ----------
    source, format
        As in :func:`read_table`. Columns ``abbreviation`` (one token) and ``expansion``.

    Returns
    -------
    dict of str to str
        Abbreviation in lower case and Unicode NFC to its expansion, in the order of the file.

    Raises
    ------
    DatasetError
        With every fault: a column missing, an empty cell, more than one token, an abbreviation listed twice.

    Examples
    --------
    >>> read_abbreviations(pd.DataFrame({"abbreviation": ["UBND"], "expansion": ["ủy ban nhân dân"]}))
    {'ubnd': 'ủy ban nhân dân'}
    """
    frame = read_table(source, format=format)
    faults = _absent(["abbreviation", "expansion"], frame)
    if not faults:
        frame["abbreviation"] = [unicodedata.normalize("NFC", str(cell)).lower() for cell in frame["abbreviation"]]
    faults += _check(frame, "abbreviation", lambda cell: None if len(str(cell).split()) == 1 else "must be one token")
    faults += _repeats(frame, "abbreviation") + _check(frame, "expansion", _text_problem)
    _raise_if(faults, _name(source))
    return dict(zip(frame["abbreviation"], frame["expansion"], strict=True))


def fingerprint(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """Hash what a table says, whatever file, index or pandas version it comes from.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        Its order of rows counts, its index and other columns do not.
    columns : sequence of str
        Columns to hash, in this order.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    DatasetError
        A column is missing.

    Notes
    -----
    SHA-256 over lines of compact ASCII JSON ended by a line feed: the list of column names, then for every row the
    list of its cells as ``str``; a missing cell counts as ``""``.

    Examples
    --------
    >>> fingerprint(pd.DataFrame({"text": ["a"]}), ["text"])[:16]
    '57cb7f86cae447e8'
    """
    _raise_if(_absent(columns, frame), "DataFrame")
    digest = hashlib.sha256()
    for row in [list(columns), *zip(*(frame[column].tolist() for column in columns), strict=True)]:
        cells = ["" if _is_missing(cell) else str(cell) for cell in row]
        digest.update(json.dumps(cells, separators=(",", ":")).encode("ascii") + b"\n")
    return digest.hexdigest()


# Reading: a stream becomes rows, rows become frames


def _read(source: Source, format: str | None, chunk_rows: int | None) -> Iterator[pd.DataFrame]:
    # Yield the table in chunks, as one frame when ``chunk_rows`` is None.
    name = _name(source)
    kind, zipped = _kind(source, format)
    with open(source, "rb") if isinstance(source, str | Path) else nullcontext(source) as stream:
        if kind == "parquet":
            yield from _parquet_frames(stream, chunk_rows, name)
        else:
            lines = _lines(GzipFile(fileobj=stream) if zipped else stream, name)
            if kind == "xlsx":
                columns, rows = _xlsx_rows(stream, name)
            elif kind == "jsonl":
                columns, rows = [], _json_rows(lines)
            else:
                columns, rows = _csv_rows(lines, _DELIMITERS[kind], name)
            yield from _frames(columns, rows, chunk_rows, name)


def _frames(columns: list[str], rows: Iterator[_Row], chunk_rows: int | None, name: str) -> Iterator[pd.DataFrame]:
    # Collect rows into frames; without ``columns`` the rows' own keys are the columns.
    _raise_if(_column_faults(columns), name)
    start = 0
    while (batch := list(islice(rows, chunk_rows))) or start == 0:
        _raise_if([fault for row in batch if isinstance(row, list) for fault in row], name)
        records = [row for row in batch if isinstance(row, dict)]
        keys = columns or list(dict.fromkeys(key for record in records for key in record))
        _raise_if(_column_faults(keys) if keys else [_EMPTY], name)
        cells = {key: [record.get(key) for record in records] for key in keys}
        yield pd.DataFrame(cells, index=pd.RangeIndex(start, start + len(batch)), dtype=object)
        if not batch:
            return
        start += len(batch)


def _lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    # Yield the lines of a UTF-8 stream with their ends, without the byte order mark.
    offset = 0
    with _undamaged(name, f"must be readable as text, {_DAMAGED}"):
        for number, raw in enumerate(stream, 1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                where = f"line {number} (byte {offset + error.start} of the file, counted from 0)"
                problem = f"must be UTF-8, but {where} is not; save it again as UTF-8 ('CSV UTF-8' in a spreadsheet)"
                raise DatasetError(source=name, faults=[Fault(None, None, problem)]) from None
            yield line.removeprefix("\ufeff") if number == 1 else line
            offset += len(raw)


def _csv_rows(lines: Iterator[str], delimiter: str, name: str) -> tuple[list[str], Iterator[_Row]]:
    # Split CSV into its header and its rows; blank lines between rows do not count.
    csv.field_size_limit(2**31 - 1)  # of the whole process; the default refuses texts over 128 KiB
    records = _csv_records(csv.reader(lines, delimiter=delimiter, strict=True))
    header = next(records, None)
    if header is None:
        raise DatasetError(source=name, faults=[_EMPTY])
    if isinstance(header, csv.Error):
        raise DatasetError(source=name, faults=[Fault(None, None, f"must have a header, but {header}")])
    return header, (_csv_row(row, header, cells) for row, cells in enumerate(records, 1))


def _csv_records(reader: Iterator[list[str]]) -> Iterator[list[str] | csv.Error]:
    # Skip blank lines, and go on after a malformed record, so that the next ones are checked too.
    while True:
        try:
            if cells := next(reader):
                yield cells
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _csv_row(row: int, header: list[str], cells: list[str] | csv.Error) -> _Row:
    if isinstance(cells, csv.Error):
        return [Fault(row, None, f"must be well-formed, but {cells}")]
    if len(cells) != len(header):
        return [Fault(row, None, f"must have {len(header)} cells like the header, got {len(cells)}")]
    record = dict(zip(header, cells, strict=True))
    return [Fault(row, _cut(key), _NO_NUL) for key, cell in record.items() if "\0" in cell] or record


def _json_rows(lines: Iterator[str]) -> Iterator[_Row]:
    # Yield the objects of JSON Lines; blank lines do not count.
    decoder = json.JSONDecoder(
        parse_int=str, parse_float=str, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys
    )
    for row, line in enumerate(filter(None, map(str.strip, lines)), 1):
        try:
            record = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            problem = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
            yield [Fault(row, None, f"must be a JSON object on one line: {problem}")]
        else:
            if isinstance(record, dict):
                yield {key: str(cell).lower() if isinstance(cell, bool) else cell for key, cell in record.items()}
            else:
                yield [Fault(row, None, 'must be a JSON object, such as {"text": "..."}, got another value')]


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON, write null")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key occurs twice")
    return record


def _xlsx_rows(stream: IO[bytes], name: str) -> tuple[list[str], Iterator[_Row]]:
    # Split the first sheet of a workbook into its header and its rows, without the empty rows at its end.
    openpyxl = _optional("openpyxl", "reading or writing XLSX")
    with _undamaged(name, f"must be readable as XLSX, {_DAMAGED}"):
        content = stream.read()
        stored, written = (
            openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=data_only).worksheets[0]
            for data_only in (True, False)
        )
        for sheet in (stored, written):
            sheet.reset_dimensions()
        grid = [
            [_xlsx_cell(value, source) for value, source in zip(values, sources, strict=True)]
            for values, sources in zip(stored.iter_rows(), written.iter_rows(), strict=True)
        ]
    while grid and not any(cell != "" for cell in grid[-1]):
        grid.pop()
    header = [str(cell) for cell in grid[0]] if grid else []
    while header and not header[-1]:
        header.pop()
    _raise_if([cell for cell in grid[0] if isinstance(cell, Fault)] if header else [_EMPTY], name)
    return header, (_xlsx_record(row, header, cells) for row, cells in enumerate(grid[1:], 1))


def _xlsx_cell(value: Any, source: Any) -> Any:
    # Return a cell's stored value, or a Fault without place.
    if source.data_type == "f" and value.value is None:
        return Fault(None, None, "must be stored, got a formula without its value; save the file in a spreadsheet")
    if value.data_type == "e":
        return Fault(None, None, "must be a value, got a spreadsheet error")
    if isinstance(value.value, datetime):
        return value.value.isoformat().removesuffix("T00:00:00")
    return "" if value.value is None else value.value


def _xlsx_record(row: int, header: list[str], cells: list[Any]) -> _Row:
    if any(cell != "" for cell in cells[len(header) :]):
        return [Fault(row, None, f"must have {len(header)} cells like the header, got {len(cells)}")]
    record = dict(zip_longest(header, cells[: len(header)], fillvalue=""))
    faults = [Fault(row, _cut(key), cell.problem) for key, cell in record.items() if isinstance(cell, Fault)]
    return faults or record


def _parquet_frames(stream: IO[bytes], chunk_rows: int | None, name: str) -> Iterator[pd.DataFrame]:
    _optional("pyarrow", "reading or writing Parquet")
    import pyarrow.parquet

    with _undamaged(name, f"must be readable as Parquet, {_DAMAGED}"):
        file = pyarrow.parquet.ParquetFile(stream if stream.seekable() else io.BytesIO(stream.read()))
        start, rows = 0, file.metadata.num_rows
        batches = iter([file.read()]) if chunk_rows is None or rows == 0 else file.iter_batches(chunk_rows)
        for batch in batches:
            frame: pd.DataFrame = batch.to_pandas()
            _raise_if(_column_faults(list(frame.columns)), name)
            if chunk_rows is not None:
                frame.index = pd.RangeIndex(start, start + len(frame))
            start += len(frame)
            yield frame


# Writing


def _write(frame: pd.DataFrame, stream: IO[bytes], kind: str, name: str) -> None:
    rows = list(zip(*(frame[column].tolist() for column in frame.columns), strict=True))
    columns = [str(column) for column in frame.columns]
    if kind == "parquet":
        _optional("pyarrow", "reading or writing Parquet")
        with _undamaged(name, "must hold one type in each column to be written as Parquet"):
            frame.to_parquet(stream, engine="pyarrow", index=False)
    elif kind == "xlsx":
        openpyxl = _optional("openpyxl", "reading or writing XLSX")
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet()
        for row in [columns, *rows]:
            sheet.append([_literal(_flat(cell), sheet, openpyxl) for cell in row])
        book.save(stream)
    else:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        if kind == "jsonl":
            for row in rows:
                record = {key: _plain(cell) for key, cell in zip(columns, row, strict=True)}
                text.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
        else:
            cells = [["" if _is_missing(cell) else str(_flat(cell)) for cell in row] for row in rows]
            quoting: Any = csv.QUOTE_ALL if any("\r" in cell for row in cells for cell in row) else csv.QUOTE_MINIMAL
            writer = csv.writer(text, delimiter=_DELIMITERS[kind], lineterminator="\n", quoting=quoting)
            writer.writerows([columns, *cells])
        text.detach()


def _plain(cell: Any) -> Any:
    # Return a cell as JSON can hold it: None where missing, numpy scalars as Python's, dates as ISO text.
    if _is_missing(cell):
        return "" if isinstance(cell, str) else None
    if isinstance(cell, date):
        return cell.isoformat()
    return cell.tolist() if isinstance(cell, np.generic | np.ndarray) else cell


def _flat(cell: Any) -> Any:
    # Return a cell as a spreadsheet can hold it: lists and objects as JSON text.
    cell = _plain(cell)
    return json.dumps(cell, ensure_ascii=False, default=str) if isinstance(cell, list | dict) else cell


def _literal(cell: Any, sheet: Any, openpyxl: Any) -> Any:
    # Return an XLSX cell that holds text as text, so that ``=1+1`` is never a formula.
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    literal = openpyxl.cell.WriteOnlyCell(sheet, str(cell))
    literal.data_type = "s"
    return literal


def _unwritable(frame: pd.DataFrame, kind: str) -> list[Fault]:
    # Name the cells that the format would lose or change.

    def problem(cell: Any) -> str | None:
        text = _flat(cell) if kind in (*_DELIMITERS, "xlsx") else cell
        if not isinstance(text, str):
            unlike = isinstance(text, float) and math.isinf(text) and kind in ("jsonl", "xlsx")
            return "must be finite" if unlike else None
        if _SURROGATE.search(text):
            return _NO_SURROGATE
        if kind in _DELIMITERS and "\0" in text:
            return _NO_NUL
        if kind == "xlsx" and (len(text) > _MAX_XLSX_CHARS or _NOT_XLSX.search(text)):
            return (
                f"must have at most {_MAX_XLSX_CHARS:,} characters and no control characters or _x0000_ codes in XLSX"
            )
        return None

    return [fault for column in frame.columns for fault in _check(frame, column, problem)]


# Checks: one function a kind of cell, None when it is good


def _check(frame: pd.DataFrame, column: str, problem: Callable[[Any], str | None]) -> list[Fault]:
    # Apply a check to a column, if it is there.
    if column not in frame.columns:
        return []
    cells = frame[column]
    cells = cells.convert_dtypes() if cells.dtype.kind == "f" else cells  # whole numbers beside a gap are whole
    found = ((row, problem(cell)) for row, cell in enumerate(cells.tolist(), 1))
    return [Fault(row, _cut(column), what) for row, what in found if what]


def _text_problem(cell: Any) -> str | None:
    if not isinstance(cell, str):
        return "must not be missing" if _is_missing(cell) else f"must be text, got {type(cell).__name__}"
    if not cell.strip():
        return "must not be blank"
    if len(cell) > MAX_TEXT_CHARS:
        return f"must have at most {MAX_TEXT_CHARS:,} characters, got {len(cell):,}"
    if "\0" in cell:
        return _NO_NUL
    return None if cell.isascii() or not _SURROGATE.search(cell) else _NO_SURROGATE


def _label_check(known: Collection[Any] | None = None) -> Callable[[Any], str | None]:
    # Make the check of a label, against the ``known`` ones if given.
    allowed = None if known is None else frozenset(known)

    def problem(cell: Any) -> str | None:
        if _is_missing(cell):
            return "must not be missing"
        if not isinstance(cell, str | int | np.bool_ | np.integer):
            return f"must be text, a whole number or a boolean, got {type(cell).__name__}"
        if isinstance(cell, str) and (cell != cell.strip() or "\0" in cell or _SURROGATE.search(cell)):
            return f"must have no white space around it, no NUL and no lone surrogate, got {_short(cell)}"
        return None if allowed is None or cell in allowed else unknown(cell)

    @lru_cache(maxsize=None, typed=True)
    def unknown(cell: Any) -> str:
        return f"must be one of {_listing(known or (), cell)}, got {_short(cell)}"

    return problem


def _date_problem(cell: Any) -> str | None:
    if _is_missing(cell) or isinstance(cell, date):
        return None
    try:
        date.fromisoformat(cell if isinstance(cell, str) and _ISO_DATE.fullmatch(cell) else "")
    except ValueError:
        return "must be an ISO date such as 2025-07-01, or empty"
    return None


def _repeats(frame: pd.DataFrame, column: str) -> list[Fault]:
    # Name the rows whose cell stood in an earlier row already.
    first: dict[str, int] = {}
    cells = enumerate(frame[column].tolist() if column in frame.columns else [], 1)
    found = ((row, first.setdefault(str(cell), row)) for row, cell in cells if not _is_missing(cell))
    return [Fault(row, column, f"must be unique, but row {seen} has the same") for row, seen in found if row != seen]


def _column_faults(columns: Sequence[Any]) -> list[Fault]:
    counts = Counter(columns)
    faults = [Fault(None, _cut(key), f"must be unique, occurs {n} times") for key, n in counts.items() if n > 1]
    bad = [key for key in counts if isinstance(key, str) and ("\0" in key or _SURROGATE.search(key))]
    return faults + [Fault(None, _cut(key), f"{_NO_NUL} and {_NO_SURROGATE}") for key in bad]


def _absent(columns: Sequence[str], frame: pd.DataFrame) -> list[Fault]:
    there = list(frame.columns)
    return [
        Fault(None, column, f"must be there; the columns are {_listing(there, column)}")
        for column in columns
        if column not in there
    ]


def _is_missing(cell: Any) -> bool:
    return (
        cell is None
        or cell is pd.NA
        or cell is pd.NaT
        or (isinstance(cell, str | float) and (cell == "" or cell != cell))  # NaN alone differs from itself
    )


def _iso(cell: Any) -> str:
    return cell.isoformat()[:10] if isinstance(cell, date) else str(cell)


def _raise_if(faults: Sequence[Fault], source: str | Path) -> None:
    if faults:
        raise DatasetError(source=source, faults=sorted(faults, key=lambda fault: fault.row or 0))


# Taxonomy


def _entries(tree: dict[str, Any], key: str, language: str, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    # Return the entries of a list by id; what is wrong with them goes to ``faults``.
    entries: dict[str, dict[str, Any]] = {}
    listed = tree.get(key, [])
    if not isinstance(listed, list):
        faults.append(Fault(None, key, "must be a list"))
        listed = []
    for number, entry in enumerate(listed):
        place = f"{key}[{number}]"
        if not isinstance(entry, dict) or not _is_texts([entry.get("id")]):
            faults.append(Fault(None, place, "must be an object with an id"))
            continue
        if entry["id"] in entries:
            faults.append(Fault(None, f"{place}.id", f"must be unique, got {_short(entry['id'])} again"))
        names = {name: entry[name] for name in entry if name.startswith("name_")}
        for name in {f"name_{language}": None, **names}:
            if not _is_texts([entry.get(name)]):
                faults.append(Fault(None, f"{place}.{name}", "must be a text that is not empty"))
        if not _is_texts(entry.get(f"typical_matters_{language}", [])):
            faults.append(Fault(None, f"{place}.typical_matters_{language}", "must be a list of texts"))
        entries[entry["id"]] = entry
    return entries


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def _names(entry: Mapping[str, Any]) -> dict[str, str]:
    return {key.removeprefix("name_"): name for key, name in entry.items() if key.startswith("name_")}


def _look_up(table: Mapping[str, Any], key: str, what: str) -> Any:
    if key not in table:
        raise ValueError(f"{what} must be one of {_listing(table, key)}, got {_short(key)}")
    return table[key]


# Names, words, optional packages


def _name(source: Any) -> str:
    if isinstance(source, pd.DataFrame):
        return "DataFrame"
    return str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "stream"))


def _kind(source: Source, format: str | None) -> tuple[str, bool]:
    # Return the format and whether it is compressed.
    path = Path(_name(source) if isinstance(source, str | Path) else "")
    zipped = path.suffix.lower() == ".gz"
    ending = Path(path.stem).suffix.lower() if zipped else path.suffix.lower()
    if format is not None and format not in _ENDINGS.values():
        raise ValueError(f"format must be one of {_listing(set(_ENDINGS.values()), format)}, got {_short(format)}")
    kind = format or _ENDINGS.get(ending)
    if kind is None or (zipped and kind in ("parquet", "xlsx")):
        problem = (
            "must end in .csv, .tsv, .jsonl, .ndjson (each also with .gz), .parquet or .xlsx, or have format given"
        )
        raise DatasetError(source=_name(source), faults=[Fault(None, None, problem)])
    return kind, zipped


def _cut(name: Any) -> str:
    # Cut a column's name: in a file without a header it is a question's words.
    text = str(name)
    return text if len(text) <= _MAX_REPR_CHARS else text[: _MAX_REPR_CHARS - 1] + "…"


def _short(value: Any) -> str:
    return _cut(repr(value))


def _listing(known: Iterable[Any], wanted: Any = None) -> str:
    # List the first known values, and the one nearest to what was wanted.
    values = sorted(known, key=str) if isinstance(known, set | frozenset) else list(known)
    rest = f" and {len(values) - _MAX_LISTED} more" if len(values) > _MAX_LISTED else ""
    near = difflib.get_close_matches(str(wanted), list(map(str, values)), 1)
    hint = f" (did you mean {_short(near[0])}?)" if near else ""
    return ", ".join(map(_short, values[:_MAX_LISTED])) + rest + hint


def _optional(package: str, purpose: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DependencyError(package=package, extra="files", purpose=purpose) from error


@contextmanager
def _undamaged(name: str, problem: str) -> Iterator[None]:
    # Word whatever a parser raises on a damaged file; its own words may quote cells, so they are dropped.
    try:
        yield
    except (TriageError, MemoryError):
        raise
    except Exception as error:
        detail = (
            f"{error.msg}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else type(error).__name__
        )
        raise DatasetError(source=name, faults=[Fault(None, None, f"{problem} ({detail})")]) from None
