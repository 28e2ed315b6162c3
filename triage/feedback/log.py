"""The log of corrections: what goes in, and what comes out as rows to train on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from triage.dataset import REGISTER_TARGETS, utc_of
from triage.feedback.corrections import Correction, Label, check_correction
from triage.feedback.file import FeedbackFile, Head
from triage.text import mask_personal_data
from triage.text.languages import load_language


class FeedbackLog:
    """Corrections of one desk, appended and never changed.

    Threads and processes may use one log at the same time: each waits for the others. A network drive may not lock as
    it must; on Windows there is no such lock, so use a log from one process and thread there.

    Parameters
    ----------
    path : path
        The file, best beside the desk's archive; ``NAME.head`` is kept beside it, and belongs to it in every copy.
    language : str, optional
        Whose personal data is masked besides the international kinds. A new log keeps it; it may be left out
        afterwards.
    create : bool, default=True
        Make the log if it is not there.

    Attributes
    ----------
    path : Path
    language : str or None

    Raises
    ------
    FeedbackError
        If the file is no log, of a newer format or of another language, its head is missing or behind by more than a
        killed writer leaves, or the disk refuses.

    Notes
    -----
    There is no secret key, so the chain alone proves little against one who can write both files and computes the
    hashes anew. What is proved:

    - any line that was changed, removed, put in or swapped, and any damage, where the head beside the log was left as
      it was: `verify` names the line;
    - the same, and that lines at the end were taken away or the whole was written anew, by ``verify(head=...)`` with a
      head that was noted where that person cannot write: on paper, in another system, in the weekly report.

    What is not: that a correction is right, that it was made by whom it names, or that one was never taken down.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> log = FeedbackLog(Path(mkdtemp()) / "desk.feedback")
    >>> done = log.append("Who signs the licence?", "jurisdiction", "local", who="An", old_label="ministry")
    >>> done.sequence, log.verify().n_corrections
    (1, 1)
    >>> log.export()[["text", "jurisdiction", "author"]].to_dict("records")
    [{'text': 'Who signs the licence?', 'jurisdiction': 'local', 'author': 'An'}]
    """

    def __init__(self, path: str | Path, *, language: str | None = None, create: bool = True) -> None:
        load_language(language)
        self._file = FeedbackFile(Path(path), language, create)
        self.path = self._file.path
        self.language = self._file.language

    def __len__(self) -> int:
        return len(self._file)

    def __iter__(self) -> Iterator[Correction]:
        """Yield all corrections in their order, as they are when it begins; each line is verified."""
        for values in self._file.corrections():
            yield Correction(**values)

    def append(
        self,
        question: str,
        target: str,
        new_label: Label,
        *,
        who: str = "",
        old_label: Label | None = None,
        old_probability: float | None = None,
        question_id: str = "",
        at: datetime | None = None,
    ) -> Correction:
        """Add a correction; it is on the disk when the call returns. Personal data in it is masked first.

        Parameters
        ----------
        question : str
        target : str
        new_label : str, int or bool
        who : str, default=""
        old_label : str, int or bool, optional
        old_probability : float, optional
        question_id : str, default=""
        at : datetime, optional
            Now by default; in UTC if it does not say.

        Returns
        -------
        Correction
            As stored.

        Raises
        ------
        DatasetError
            If an argument is not as `Correction` says.
        FeedbackError
            If the disk refuses, and then nothing of it is stored; or the log is not whole.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> log = FeedbackLog(Path(mkdtemp()) / "desk.feedback")
        >>> log.append("I am at an@example.org, who signs?", "level", "commune", who="An").question
        'I am at [EMAIL], who signs?'
        """
        # The labels of a desk may be numpy's.
        new_label = new_label.item() if isinstance(new_label, np.generic) else new_label
        old_label = old_label.item() if isinstance(old_label, np.generic) else old_label
        check_correction(locals())
        values: dict[str, Any] = {
            "question": mask_personal_data(question, language=self.language),
            "question_id": question_id,
            "target": target,
            "old_label": old_label,
            "old_probability": None if old_probability is None else float(old_probability),
            "new_label": new_label,
            "who": mask_personal_data(who, language=self.language),
            "at": utc_of(at),
        }
        return Correction(sequence=self._file.append(values), **values)

    def verify(self, head: Head | None = None) -> Head:
        """Read the whole log and check every line of it.

        Parameters
        ----------
        head : Head, optional
            A state that was noted elsewhere; the log may have grown since.

        Returns
        -------
        Head
            The present state, to be noted where nobody who can write the log can write.

        Raises
        ------
        FeedbackError
            With the number of the line (line 1 says what the log is) that was changed, removed, put in or swapped.

        Notes
        -----
        What this proves, and what not, stands at the class.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> log = FeedbackLog(Path(mkdtemp()) / "desk.feedback")
        >>> done = log.append("Who signs?", "level", "commune")
        >>> noted = log.verify()
        >>> done = log.append("Who pays?", "level", "province")
        >>> log.verify(noted).n_corrections
        2
        """
        return self._file.verify(head)

    def export(self, targets: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the corrections as rows to train on.

        Parameters
        ----------
        targets : sequence of str, optional
            Only these, and only the questions of which each is known: what `triage.train` takes in one table with
            other questions. By default all, with None where nobody said, for ``triage.train(..., examples=...)``.

        Returns
        -------
        DataFrame
            One row a question, in the order of its first correction: ``id`` (None without one), ``text``, ``date`` (of
            the last correction, UTC), one column a target (``matter_id`` for ``matter``), ``author`` (who made the
            last correction). Of the corrections of one question and target the last counts. A question is told by its
            id, or by its text where it has none.

        Raises
        ------
        FeedbackError
            As `verify`.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> log = FeedbackLog(Path(mkdtemp()) / "desk.feedback")
        >>> for label in ("province", "commune"):
        ...     done = log.append("Who signs?", "level", label)
        >>> log.export(["level"])[["text", "level"]].to_dict("records")
        [{'text': 'Who signs?', 'level': 'commune'}]
        """
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        columns: dict[str, None] = {} if targets is None else dict.fromkeys(map(_column, targets))
        for correction in self:
            key = ("id", correction.question_id) if correction.question_id else ("text", correction.question)
            row = rows.setdefault(key, {"id": correction.question_id or None})
            column = _column(correction.target)
            day = correction.at[:10]  # noqa: PD008 -- no DataFrame
            row |= {"text": correction.question, "date": day, "author": correction.who}
            row[column] = correction.new_label
            if targets is None:
                columns[column] = None
        kept = [row for row in rows.values() if targets is None or all(column in row for column in columns)]
        names = ["id", "text", "date", *columns, "author"]
        return pd.DataFrame([[row.get(name) for name in names] for row in kept], columns=names, dtype=object)


def _column(target: str) -> str:
    return REGISTER_TARGETS.get(target, target)
