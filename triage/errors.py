"""Errors of the package. Each takes facts as keywords and words itself.

Every class is a ``ValueError``, so callers who do not care which table or bundle was bad need one
``except``. A message says what must hold, what was found, where, and what to do; it never repeats a
question's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class TriageError(ValueError):
    """Base class of the package's own errors."""


@dataclass(frozen=True)
class Fault:
    """One fault of a table.

    Parameters
    ----------
    row : int or None
        1-based number of the data row (the header is not counted), None when the fault is the whole table's.
    column : str or None
        Column it stands in, None when it is the whole row's.
    problem : str
        What must hold and what was found, without the cell's words.
    """

    row: int | None
    column: str | None
    problem: str

    def __str__(self) -> str:
        where = [f"row {self.row}"] if self.row is not None else []
        where += [f"column {self.column!r}"] if self.column is not None else []
        return f"{', '.join(where)}: {self.problem}" if where else self.problem


class DatasetError(TriageError):
    """A table cannot be used; every fault is named at once.

    Parameters
    ----------
    source : str or Path
        Path of the file, or a name such as ``"DataFrame"``.
    faults : sequence of Fault
        All faults, in the order of the rows; at least one.

    Attributes
    ----------
    source, faults
        As given.

    Examples
    --------
    >>> raise DatasetError(source="q.csv", faults=[Fault(3, "text", "must not be empty")])
    Traceback (most recent call last):
        ...
    triage.errors.DatasetError: q.csv: 1 fault
      row 3, column 'text': must not be empty
    """

    def __init__(self, *, source: str | Path, faults: Sequence[Fault]) -> None:
        self.source = str(source)
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n  ".join([f"{self.source}: {count}", *map(str, self.faults)]))


class RecipeError(TriageError):
    """A recipe cannot be used.

    Parameters
    ----------
    path : str or Path
        The recipe.
    problems : sequence of str
        Every problem found, each with what must hold.
    """

    def __init__(self, *, path: str | Path, problems: Sequence[str]) -> None:
        self.path = str(path)
        self.problems = tuple(problems)
        super().__init__("\n  ".join([f"{self.path}: not a usable recipe", *self.problems]))


class StorageError(TriageError):
    """Something on disk cannot be opened, read or written.

    Parameters
    ----------
    path : str or Path
        File or folder.
    problem : str
        What must hold and what was found.
    remedy : str
        What to do about it.
    """

    def __init__(self, *, path: str | Path, problem: str, remedy: str) -> None:
        self.path = str(path)
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{self.path}: {problem}; {remedy}")


class BundleError(StorageError):
    """A bundle, or the folder of an index, cannot be loaded or written."""


class ArchiveError(StorageError):
    """An archive cannot be opened, read or written, or has not what was asked of it."""


class FeedbackError(StorageError):
    """A log of feedback cannot be opened or written, or a line of it was changed."""


class EncoderError(TriageError):
    """An encoder cannot be opened, is not the one that is wanted, or gives what is no vector.

    Parameters
    ----------
    encoder : str
        Its name or kind.
    problem : str
        What must hold and what was found.
    remedy : str
        What to do about it.
    """

    def __init__(self, *, encoder: str, problem: str, remedy: str) -> None:
        self.encoder = encoder
        super().__init__(f"encoder {encoder!r}: {problem}; {remedy}")


class DependencyError(TriageError, ImportError):
    """An optional package is needed and not installed.

    Parameters
    ----------
    package : str
        Name on the package index.
    extra : str or None
        Extra of ``triage`` that brings it; None when it is installed by its own name.
    purpose : str
        What it is needed for.
    """

    def __init__(self, *, package: str, extra: str | None, purpose: str) -> None:
        self.package = package
        wanted = f"'triage[{extra}]'" if extra else package
        super().__init__(f"{purpose} needs the package {package!r}; install it with: pip install {wanted}")
