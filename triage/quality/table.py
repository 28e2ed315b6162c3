"""A table of labelled questions checked for what makes a desk learn, or be measured, wrongly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from triage.dataset import REGISTER_TARGETS, Taxonomy, as_text, checks, read_table
from triage.errors import Fault
from triage.quality.cells import known_labels, label_findings, text_findings
from triage.quality.copies import copies_of, copy_findings
from triage.quality.findings import Finding, Quality, table_of
from triage.quality.register import register_findings
from triage.quality.shortcuts import shortcut_findings
from triage.quality.suspects import COLUMNS, label_suspects
from triage.register import Register
from triage.training import TrainingOptions
from triage.training.tables import named

#: Labels that a question may lack: they mean something within another only.
_MAY_BE_EMPTY = ("level", "agency")

_LEAST_JUDGED = 20  # rows; fewer teach nothing


def check(
    frame: pd.DataFrame,
    targets: str | Sequence[str] = ("topic", "jurisdiction"),
    *,
    text: str = "text",
    split: str | None = None,
    groups: str | None = None,
    taxonomy: Taxonomy | str | Path | None = None,
    register: Any = None,
    archive: Any = None,
    reasks: Any = None,
    examples: Any = None,
    language: str | None = None,
    abbreviations: Mapping[str, str] | None = None,
    random_state: int = 0,
    options: TrainingOptions | None = None,
    progress: Callable[[str], None] | None = None,
) -> Quality:
    """Check a table of labelled questions, whatever its cells hold.

    Parameters
    ----------
    frame : DataFrame
        One row a question.
    targets : str or sequence of str, default=("topic", "jurisdiction")
        Columns of the labels.
    text : str, default="text"
        Column of the questions.
    split : str, optional
        Column of the splits: copies in different ones are leaks.
    groups : str, optional
        Column of who wrote a question.
    taxonomy : Taxonomy or path, optional
        Names the labels that there are.
    register : Register, DataFrame or path, optional
        Competence register: labels that contradict the row of a question's ``matter_id`` are told.
    archive, reasks, examples : optional
        Further texts with labels, as for `label_suspects`.
    language : str, optional
        Language whose data normalises the texts; the taxonomy's by default, if there is data of it.
    abbreviations : mapping of str to str, optional
        Words to spell out.
    random_state : int, default=0
    options : TrainingOptions, optional
    progress : callable, optional
        Called with a line a step.

    Returns
    -------
    Quality

    Raises
    ------
    DatasetError
        If a column is not there, the frame has no rows, or the register, the archive or the examples have faults.

    Examples
    --------
    >>> table = pd.DataFrame({"text": ["Who signs?", "who signs", "Where?"], "label": ["a", "b", "b"]})
    >>> check(table, "label").counts()
    {'small_class': 2, 'contradiction': 1}
    """
    say = progress or (lambda line: None)
    targets = [targets] if isinstance(targets, str) else list(targets)
    frame = read_table(frame).reset_index(drop=True)
    faults = checks.absent_faults([text, *targets, *filter(None, (split, groups))], frame)
    if frame.empty:
        faults.append(Fault(None, None, "must have at least one row, got none"))
    checks.raise_if(faults, "DataFrame")
    taxonomy, language = named(taxonomy, language)
    if register is not None and not isinstance(register, Register):
        register = Register.read(register, taxonomy)

    cells = frame[text].tolist()
    texts = pd.Series([cell if isinstance(cell, str) else "" for cell in cells], frame.index + 1, dtype=object)
    columns = list(dict.fromkeys([*targets, *(REGISTER_TARGETS.values() if register is not None else ())]))
    labels = {name: _labels(frame[name]) for name in columns if name in frame.columns and name != "matter_id"}
    by = None if groups is None else as_text(frame[groups])
    findings = [*text_findings(cells, text)]
    known = known_labels(taxonomy)
    for name, of in labels.items():
        findings += label_findings(of, name, known.get(name), may_be_empty=name in _MAY_BE_EMPTY)
    say("looking for copies")
    judged = {target: labels[target] for target in targets}
    copies = copies_of(texts.tolist(), language)
    findings += copy_findings(copies, text, judged, None if split is None else as_text(frame[split]), by)
    if register is not None and "matter_id" in frame.columns:
        findings += register_findings(frame, register, list(frame.columns))

    usable = _usable(frame[text], judged)
    n_classes = {target: of[usable].nunique() for target, of in judged.items()}
    several = [target for target in targets if n_classes[target] > 1]
    suspects = pd.DataFrame(columns=[*COLUMNS])
    if several and usable.sum() >= _LEAST_JUDGED:
        say("looking for shortcuts")
        clean = {target: judged[target][usable] for target in several}
        rows = usable.to_numpy()
        findings += shortcut_findings(
            texts[rows],
            clean,
            _names(several, taxonomy, register, language),
            None if by is None else by[usable],
            language,
        )
        say(f"judging the labels of {usable.sum()} rows")
        suspects = _suspects(
            frame[usable].assign(**{str(name): of for name, of in clean.items()}),
            several,
            text=text,
            groups=groups if by is not None and len(set(by[usable])) > 1 else None,
            random_state=random_state,
            register=register,
            archive=archive,
            reasks=reasks,
            examples=examples,
            taxonomy=taxonomy,
            language=language,
            abbreviations=abbreviations,
            options=options,
        )
        findings += [_finding(row) for row in suspects.itertuples()]
    ids = frame["id"].tolist() if "id" in frame.columns and "id" not in (text, *targets) else None
    n_judged = int(usable.sum()) if several and usable.sum() >= _LEAST_JUDGED else 0
    return Quality(len(frame), n_judged, table_of(findings, ids), suspects)


def _labels(column: pd.Series[Any]) -> pd.Series[str]:
    """Return labels as text; a cell of white space alone is empty."""
    as_they_are = as_text(column)
    return as_they_are.where(as_they_are.str.strip() != "", "")


def _usable(texts: pd.Series[Any], labels: Mapping[str, pd.Series[str]]) -> pd.Series[bool]:
    """Say which rows can be learnt from: a text and all labels are as training wants them."""
    label_problem = checks.label_problem()
    good = pd.Series([checks.text_problem(cell) is None for cell in texts], texts.index)
    for of in labels.values():
        good &= pd.Series([label_problem(label) is None for label in of], of.index)
    return good


def _names(
    targets: Sequence[str], taxonomy: Taxonomy | None, register: Register | None, language: str | None
) -> dict[str, dict[str, str]]:
    """Return what the taxonomy and the register say of the classes of each target."""
    names: dict[str, dict[str, str]] = {target: {} for target in targets}
    if taxonomy is not None:
        for target, labels in known_labels(taxonomy).items():
            if target in names:
                names[target] = {label: taxonomy.name(target, label) for label in labels}
        if "topic" in names:
            for topic in taxonomy.topics:
                names["topic"][topic.id] += " " + " ".join(topic.typical_matters)
    if register is not None:
        of_matters = register.names(language, range(len(register.rows)))
        for target in set(targets).intersection(register.rows.columns):
            for label, name in zip(as_text(register.rows[target]), of_matters, strict=True):
                names[target][label] = f"{names[target].get(label, '')} {name}"
    return names


def _suspects(frame: pd.DataFrame, targets: Sequence[str], **arguments: Any) -> pd.DataFrame:
    """Return the suspects among some rows of a table, by their numbers in the whole table."""
    numbers = frame.index.to_numpy() + 1
    given = frame.drop(
        columns=[name for name in ("date",) if name in frame and checks.cell_faults(frame, name, checks.date_problem)]
    )
    ids = given["id"].tolist() if "id" in given.columns else [None] * len(given)
    found = label_suspects(given.drop(columns="id", errors="ignore").reset_index(drop=True), targets, **arguments)
    place = found["row"].to_numpy() - 1
    return found.assign(row=numbers[place], id=[ids[one] for one in place])


def _finding(row: Any) -> Finding:
    label, likelier = checks.cut(repr(row.label)), checks.cut(repr(row.likelier))
    message = f"{label} ({row.p_label:.0%}), rather {likelier} ({row.p_likelier:.0%}); wrong by {row.p_wrong:.0%}"
    return Finding("suspect", row.target, (int(row.row),), message)
