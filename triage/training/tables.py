"""What training is given: tables of questions, answers, re-asks and messages, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.archive import COLUMNS, Archive
from triage.archive.items import split_basis
from triage.dataset import REGISTER_TARGETS, Taxonomy, checks, day_of, read_questions, read_table, read_taxonomy
from triage.errors import DatasetError, Fault
from triage.features import QuestionVectorizer, Seen, check_texts
from triage.register import BODY
from triage.text import mask_personal_data
from triage.text.languages import language_with_data

_LABELLED = ("matter_id", "date", *BODY)
_ANSWERED = ("topic", "matter_id", *BODY, "answered_at", "valid_to", "superseded_by")
_SQLITE = b"SQLite format 3"  # how an archive begins
_DAYS = ("answered_at", "valid_to")  # of an answer


def named(taxonomy: Taxonomy | str | Path | None, language: str | None) -> tuple[Taxonomy | None, str | None]:
    """Return the taxonomy, read if it is a path, and the language: its own where none is given."""
    if isinstance(taxonomy, (str, Path)):
        taxonomy = read_taxonomy(taxonomy)
    if taxonomy is not None and language is None:
        language = language_with_data(taxonomy.language)
    return taxonomy, language


def with_days(frame: pd.DataFrame) -> pd.DataFrame:
    """Return questions with their days as ISO text, empty where there is none, and ids of matters as text."""
    checks.raise_if(checks.cell_faults(frame, "date", checks.date_problem), "questions")
    changed = {}
    if "date" in frame.columns:
        changed["date"] = [str(day_of(cell) or "") for cell in frame["date"]]
    if "matter_id" in frame.columns:
        changed["matter_id"] = ids_of(frame["matter_id"])
    return frame.assign(**changed)


def ids_of(column: pd.Series[Any]) -> list[str]:
    """Return ids as text, as a register has them; whole numbers beside a gap are whole."""
    whole = column.convert_dtypes() if column.dtype.kind == "f" else column
    return ["" if checks.is_missing(cell) else str(cell) for cell in whole]


def labels_of(frame: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the labels of a table that may lack some of the targets."""
    labels = {}
    for target, column in columns.items():
        if column in frame.columns:
            values = pd.Series(ids_of(frame[column])) if target == "matter" else frame[column]
            missing = (values.isna() | (values == "")).tolist()
            none = "" if target in REGISTER_TARGETS else None
            labels[target] = [none if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]
    return labels


def read_archive(source: Any) -> pd.DataFrame:
    """Return answered questions, checked; from a table or an archive."""
    if isinstance(source, Archive):
        source = pd.DataFrame(list(source), columns=list(COLUMNS))
    rows = read_questions(source, text="question", targets=[])
    faults = checks.absent_faults(["id", "answer"], rows)
    for column in _DAYS:
        faults += checks.cell_faults(rows, column, checks.date_problem)
    checks.raise_if(faults, "archive")
    as_text = {column: [str(day_of(cell) or "") for cell in rows[column]] for column in _DAYS if column in rows}
    if "matter_id" in rows:
        as_text["matter_id"] = ids_of(rows["matter_id"])
    rows = rows.assign(**as_text)
    return rows


def read_reasks(source: Any, text: str, archive: pd.DataFrame) -> pd.DataFrame:
    """Return re-asks, checked: ``archive_id`` of the answer that fits, or ``near`` of one that does not.

    Parameters
    ----------
    source : DataFrame or path
    text : str
        Column of the questions.
    archive : DataFrame
        What `read_archive` gave.

    Returns
    -------
    DataFrame
        Both columns as text, empty where there is nothing.

    Raises
    ------
    DatasetError
        If the table has faults, such as an id that the archive has not.
    """
    rows = read_questions(source, text=text, targets=[])
    known = set(archive["id"].map(str))

    def problem(cell: Any) -> str | None:
        if checks.is_missing(cell) or str(cell) in known:
            return None
        return "must be the id of an answered question of the archive, or empty"

    faults = checks.absent_faults(["archive_id"], rows)
    for column in ("archive_id", "near"):
        faults += checks.cell_faults(rows, column, problem)
    checks.raise_if(faults, "reasks")
    near = ids_of(rows["near"]) if "near" in rows.columns else ""
    return rows.assign(archive_id=ids_of(rows["archive_id"]), near=near)


def read_answered(archive: Any, reasks: Any, text: str) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Return answered questions, and re-asks of them with what officers said of suggestions; None where there are none.

    Parameters
    ----------
    archive : Archive, DataFrame or path, or None
        The path of a table, or of an archive.
    reasks : DataFrame or path, or None
    text : str
        Column of the questions of re-asks.

    Returns
    -------
    answered, reasks : DataFrame or None

    Raises
    ------
    ValueError
        If there are re-asks and no archive.
    """
    if archive is None:
        if reasks is not None:
            raise ValueError("re-asks need the archive that they ask again, got none; pass archive=")
        return None, None
    with _opened(archive) as source:
        answered = read_archive(source)
        tables = [] if reasks is None else [read_reasks(reasks, text, answered)]
        if isinstance(source, Archive):
            said = source.feedback_rows().rename(columns={"text": text})
            # Of answers that are no longer there nothing can be learnt.
            known = set(answered["id"])
            said = said[said["archive_id"].isin(known) | said["near"].isin(known)]
            tables += [said] if len(said) else []
    return answered, pd.concat(tables, ignore_index=True) if tables else None


def _opened(source: Any) -> AbstractContextManager[Any]:
    """Return the archive at a path, to be closed again; anything else as it is."""
    if isinstance(source, (str, Path)) and Path(source).is_file():
        with open(source, "rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                return Archive(source, create=False)
    return nullcontext(source)


def out_of_scope_texts(oos: Any, text: str) -> list[str]:
    """Return the messages out of scope.

    Parameters
    ----------
    oos : sequence of str, DataFrame or path
    text : str
        Column of the messages in a table.

    Returns
    -------
    list of str

    Raises
    ------
    DatasetError
        If a table has faults, or no column `text`.
    TypeError
        If a sequence holds anything but strings.
    """
    if isinstance(oos, (str, Path, pd.DataFrame)):
        rows = read_table(oos)
        if text not in rows.columns:
            problem = f"must be a column, got {checks.column_names(rows.columns)}"
            raise DatasetError(source="oos", faults=[Fault(None, text, problem)])
        return check_texts(rows[text])
    return check_texts(oos)


def labelled_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the labels of the questions that have a matter, without their texts."""
    if "matter_id" not in frame.columns:
        return []
    of_matter = frame[frame["matter_id"].notna() & (frame["matter_id"] != "")]
    ids = of_matter["id"] if "id" in of_matter.columns else of_matter.index
    given = {name: of_matter[name] for name in _LABELLED if name in of_matter.columns}
    rows = [
        {"id": str(one), **dict(zip(given, cells, strict=True))}
        for one, *cells in zip(ids, *given.values(), strict=True)
    ]
    return [{name: cell if isinstance(cell, str) else "" for name, cell in row.items()} for row in rows]


def records_of(
    frame: pd.DataFrame, text: str, archive: pd.DataFrame | None, language: str | None
) -> list[dict[str, Any]]:
    """Return the questions to suggest, the archive's or the table's own, with personal data masked."""
    mask = partial(mask_personal_data, language=language)
    if archive is None:
        ids = frame["id"] if "id" in frame.columns else frame.index
        return [
            {"id": str(one), "question": mask(question), "answer": None}
            for one, question in zip(ids, frame[text], strict=True)
        ]
    facts = [name for name in _ANSWERED if name in archive.columns]
    return [
        {
            "id": str(row["id"]),
            "question": mask(row["question"]),
            "answer": mask(row["answer"]) if isinstance(row["answer"], str) and row["answer"] else None,
            **{name: row[name] for name in facts if isinstance(row[name], str) and row[name]},
            **_basis_of(row.get("legal_basis")),
        }
        for row in archive.to_dict("records")
    ]


def _basis_of(cell: Any) -> dict[str, list[str]]:
    """Return the legal basis of an answer, a list or one text, as a record has it."""
    entries = split_basis(cell) if isinstance(cell, (str, list, tuple)) else ()
    return {"legal_basis": list(entries)} if entries else {}


def meanings_of(
    features: QuestionVectorizer, records: Sequence[Mapping[str, Any]], texts: Sequence[str], seen: Seen
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]] | None:
    """Return the vectors of questions to suggest and of their answers; None without an encoder.

    Parameters
    ----------
    features : QuestionVectorizer
    records : sequence of mapping, of length n_records
        With ``question`` and ``answer``, which may be None.
    texts : sequence of str
    seen : Seen
        Of these texts, which need not be read again: an encoder takes its time.

    Returns
    -------
    tuple of two float16 arrays of shape (n_records, dim), or None
    """
    known = seen.vectors
    if known is None:
        return None
    place = {text: row for row, text in enumerate(texts)}
    new = sorted({record[part] or "" for record in records for part in ("question", "answer")} - {*place})
    place |= {text: len(known) + row for row, text in enumerate(new)}
    vectors = features.read(new).vectors
    assert vectors is not None
    both = np.vstack((known, vectors)).astype(np.float16)
    questions, answers = (both[[place[record[part] or ""] for record in records]] for part in ("question", "answer"))
    return questions, answers
