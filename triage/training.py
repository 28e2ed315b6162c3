"""From a table of questions to a trained desk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from triage.classifier import LOSSES, JointOptions, fit_joint, softmax
from triage.dataset import (
    REGISTER_TARGETS,
    Taxonomy,
    checks,
    day_of,
    fingerprint,
    read_questions,
    read_table,
    read_taxonomy,
)
from triage.decision import FORWARD, fit_threshold
from triage.errors import DatasetError, Fault
from triage.features import QuestionVectorizer, check_texts
from triage.metrics import expected_calibration_error
from triage.register import BODY, Register
from triage.scope import fit_scope, scope_statistics
from triage.text import Normalizer, fold_text, mask_personal_data
from triage.triager import Triager

logger = logging.getLogger(__name__)

_WITHIN = {"level": "jurisdiction", "agency": "jurisdiction"}
_LABELLED = ("matter_id", "date", *BODY)
_ANSWERED = ("matter_id", *BODY, "answered_at", "valid_to", "superseded_by")
_DAYS = ("answered_at", "valid_to")  # of an answer
_MARKED_SHARE = 0.2  # from this share of texts with diacritics on, copies without them are trained on too


@dataclass(frozen=True)
class TrainingOptions:
    """Options of training. What they do was chosen on validation data; see ``tests/benchmarks``.

    Attributes
    ----------
    loss : str or None
        ``"squared_error"`` or ``"squared_hinge"``; None takes the first with several targets, the second with one.
    C : float or None
        Inverse strength of regularisation; None takes 8 with squared error and 3 with squared hinge.
    n_folds : int
        Folds of held-out scores (squared hinge only).
    max_weights : int
        Weights kept.
    char_ngrams, word_ngrams, pair_window, min_df, n_bits
        See `triage.features.QuestionVectorizer`; ``min_df`` None takes 2, or 1 below 3000 texts.
    unmarked_copies : bool or None
        Whether each text with diacritics is trained on once more without; None where a fifth of the texts have some.
    name_classes : bool
        Whether the names of classes are trained on as texts: the taxonomy's topics with their typical matters, or
        the labels of a single target, read as words.
    n_jobs : int or None
        Trainings at once (joblib).
    """

    loss: str | None = None
    C: float | None = None
    n_folds: int = 3
    max_weights: int = 4_000_000
    char_ngrams: tuple[int, int] = (2, 5)
    word_ngrams: int = 2
    pair_window: int = 3
    min_df: int | None = None
    n_bits: int = 16
    unmarked_copies: bool | None = None
    name_classes: bool = True
    n_jobs: int | None = None


@dataclass
class _Examples:
    """Texts to train on, with what is known of each; the table's own rows come first."""

    targets: Sequence[str]
    texts: list[str] = field(default_factory=list)
    labels: dict[str, list[Any]] = field(default_factory=dict)
    groups: list[Any] = field(default_factory=list)

    def add(
        self, texts: Sequence[str], labels: Mapping[str, Sequence[Any]], groups: Sequence[Any] | None = None
    ) -> None:
        start = len(self.texts)
        self.texts += texts
        for target in self.targets:
            self.labels.setdefault(target, []).extend(labels.get(target, [None] * len(texts)))
        # A row of its own group is held out by itself.
        self.groups += [("row", start + place) for place in range(len(texts))] if groups is None else groups


def train(
    table: Any,
    text: str = "text",
    targets: str | Sequence[str] = ("topic", "jurisdiction"),
    register: Any = None,
    archive: Any = None,
    oos: Any = None,
    promise: Mapping[str, float] | None = None,
    random_state: int = 0,
    *,
    groups: str | None = None,
    examples: Any = None,
    neighbours: Any = None,
    taxonomy: Taxonomy | str | Path | None = None,
    language: str | None = None,
    abbreviations: Mapping[str, str] | None = None,
    options: TrainingOptions | None = None,
    description: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Triager:
    """Train a desk on a table of labelled questions.

    Parameters
    ----------
    table : DataFrame or path
        One row a question.
    text : str, default="text"
        Column of the questions.
    targets : str or sequence of str, default=("topic", "jurisdiction")
        Columns of the labels. Any columns can be targets.
    register : DataFrame or path, optional
        Competence register. Its rows are trained on as texts, and columns ``level``, ``agency`` and ``matter_id``
        of the questions become targets (the last as ``matter``).
    archive : DataFrame or path, optional
        Answered questions (``id``, ``question``, ``answer``, and labels): trained on, and suggested.
        Without it the training questions are suggested. Personal data is masked in what is kept of either.
    oos : sequence of str, DataFrame or path, optional
        Messages that belong to no class. Without them such messages are told by their scores alone.
    promise : mapping of str to float, optional
        For a target, the share of assigned labels that must be right with 95 % confidence.
    random_state : int, default=0
        Seed of everything that is drawn.
    groups : str, optional
        Column of who wrote a question. Probabilities and promises are then made for writers never read before: they
        hold over all writers together, and one writer's questions may do worse.
    examples : DataFrame or path, optional
        Further labelled questions that are trained on and not measured.
    neighbours : DataFrame or path, optional
        Labelled questions of another desk. Those for other agencies that this desk forwards to as well are trained on,
        for jurisdiction, level and agency: an agency's field is the same whichever desk is asked.
    taxonomy : Taxonomy or path, optional
        Names of the labels for people, and typical matters of the topics to train on.
    language : str, optional
        Language whose data normalises the text; the taxonomy's by default.
    abbreviations : mapping of str to str, optional
        Words to spell out.
    options : TrainingOptions, optional
    description : mapping, optional
        Facts of the desk for its model card.
    progress : callable, optional
        Called with a line a step.

    Returns
    -------
    Triager
        With ``metrics`` measured on the table's rows by models that had not seen them (nor their group).

    Raises
    ------
    DatasetError
        If a table has faults; all of them are named.
    ValueError
        If a target has one class only, a promise is for no target, or an option is out of range.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({
    ...     "text": ["where is my card", "card not here", "top up failed", "my top up is gone"],
    ...     "label": ["card", "card", "top_up", "top_up"]})
    >>> triager = train(table, targets="label")
    >>> triager.predict_frame(["is my card lost"]).label.tolist()
    ['card']
    """
    options = options or TrainingOptions()
    say = progress or logger.info
    targets = [targets] if isinstance(targets, str) else list(targets)
    if not targets:
        raise ValueError("targets must name at least one column, got none")
    frame = read_questions(table, text=text, targets=targets)
    if isinstance(taxonomy, (str, Path)):
        taxonomy = read_taxonomy(taxonomy)
    if taxonomy is not None and language is None and taxonomy.language == "vi":
        language = taxonomy.language
    competences = None if register is None else Register.read(register, taxonomy)
    columns = {target: target for target in targets}
    if competences is not None:
        frame = _with_days(frame)
        columns |= {target: column for target, column in REGISTER_TARGETS.items() if column in frame.columns}
    unknown = sorted(set(promise or {}) - set(columns))
    if unknown:
        raise ValueError(f"a promise must be for one of the targets {list(columns)}, got {unknown}")
    if groups is not None and groups not in frame.columns:
        raise ValueError(f"groups must name a column of the table, got {groups!r}; columns are {list(frame.columns)}")

    archived = None if archive is None else _read_archive(archive)
    gathered = _gather(
        frame, text, columns, groups, competences, archived, examples, neighbours, taxonomy, options, language
    )
    say(
        f"{len(frame)} questions, {len(gathered.texts) - len(frame)} further texts to train on; "
        f"targets {', '.join(columns)}"
    )
    features = QuestionVectorizer(
        language=language,
        abbreviations=dict(abbreviations or {}),
        char_ngrams=options.char_ngrams,
        word_ngrams=options.word_ngrams,
        pair_window=options.pair_window,
        min_df=options.min_df or (2 if len(gathered.texts) >= 3000 else 1),
        n_bits=options.n_bits,
    )
    X = features.fit_transform(gathered.texts)
    say(f"{features.n_features_} features; training")
    several = len(columns) > 1
    loss = options.loss or LOSSES[0 if several else 1]
    group_of = pd.factorize(pd.Series(gathered.groups, dtype=object))[0]
    classifier, held_out = fit_joint(
        X,
        gathered.labels,
        options=JointOptions(
            loss=loss,
            C=options.C or (8.0 if loss == "squared_error" else 3.0),
            n_folds=options.n_folds,
            max_weights=options.max_weights,
            n_jobs=options.n_jobs,
            random_state=random_state,
        ),
        groups=group_of,
        n_held_out=len(frame),
        within={target: outer for target, outer in _WITHIN.items() if target in columns and outer in columns},
    )
    say("measuring on held-out rows")
    scores = classifier.combination_scores(held_out)
    truth = {target: gathered.labels[target][: len(frame)] for target in columns}
    thresholds, metrics = {}, {}
    joint = softmax(scores)
    probabilities = classifier.outcomes.probabilities(joint)
    for target, best in classifier.outcomes.best(joint, probabilities).items():
        right = np.array(classifier.classes[target])[best] == np.array(truth[target])
        sure = probabilities[target][np.arange(len(best)), best]
        thresholds[target] = fit_threshold(sure, right, promise=(promise or {}).get(target))
        metrics[target] = {
            "n": len(right),
            "n_right": int(right.sum()),
            "accuracy": float(right.mean()),
            "ece": expected_calibration_error(sure, right),
        }
    inside = scope_statistics(scores, features.held_out_shares(X, group_of)[: len(frame)])
    outside = None
    if oos is not None:
        messages = out_of_scope_texts(oos, text)
        X_outside, known_shares = features.read_words([features.words(messages)], len(messages))
        scores = classifier.combination_scores(classifier.scores(X_outside))
        outside = scope_statistics(scores, known_shares)
    return Triager(
        features=features,
        classifier=classifier,
        scope=fit_scope(inside, outside),
        thresholds=thresholds,
        records=_records(frame, text, archived, language),
        fingerprint=fingerprint(frame, [text, *columns.values()]),
        metrics={"held_out": metrics, "n_questions": len(frame), "grouped_by": groups},
        description=dict(description or {}),
        taxonomy=taxonomy,
        register=competences,
        labelled=[] if competences is None else _labelled(frame),
        n_jobs=options.n_jobs,
    )


def _gather(
    frame: pd.DataFrame,
    text: str,
    columns: Mapping[str, str],
    groups: str | None,
    register: Register | None,
    archive: pd.DataFrame | None,
    examples: Any,
    neighbours: Any,
    taxonomy: Taxonomy | None,
    options: TrainingOptions,
    language: str | None,
) -> _Examples:
    """Gather the texts to train on: the table's rows first, then everything that teaches the same labels."""
    gathered = _Examples(list(columns))
    own = [(groups, who) for who in frame[groups]] if groups is not None else None
    gathered.add(frame[text].tolist(), _labels_of(frame, columns), own)
    if options.unmarked_copies is not False:
        normalizer = Normalizer(language)
        marked = [(place, question) for place, question in enumerate(gathered.texts) if not question.isascii()]
        copies = [(place, fold_text(question)) for place, question in marked]
        copies = [(place, copy) for place, copy in copies if copy != normalizer.normalize(gathered.texts[place])]
        if options.unmarked_copies or len(copies) >= _MARKED_SHARE * len(frame):
            places = [place for place, _ in copies]
            labels = {target: [values[place] for place in places] for target, values in gathered.labels.items()}
            gathered.add([copy for _, copy in copies], labels, [gathered.groups[place] for place in places])
    if archive is not None:
        gathered.add(archive["question"].tolist(), _labels_of(archive, columns))
    if examples is not None:
        further = read_questions(examples, text=text, targets=[])
        gathered.add(further[text].tolist(), _labels_of(further, columns))
    if neighbours is not None:
        _add_neighbours(gathered, read_questions(neighbours, text=text, targets=[]), text, columns, groups)
    if register is not None:
        last = max(frame["date"], default="") if "date" in frame.columns else ""
        rows = register.of_each(last or date.max)  # with the labels that the questions have
        labels = _labels_of(rows, columns)
        if "matter" in labels:  # a matter without any question is found by its name, see triage.register.competence
            asked = set(gathered.labels["matter"])
            labels["matter"] = [matter if matter in asked else None for matter in labels["matter"]]
        gathered.add(register.names(language, rows.index), labels)
    if options.name_classes:
        _name_classes(gathered, taxonomy)
    return gathered


def _with_days(frame: pd.DataFrame) -> pd.DataFrame:
    """Return questions with their days as ISO text, empty where there is none, and ids of matters as text."""
    checks.raise_if(checks.cell_faults(frame, "date", checks.date_problem), "questions")
    changed = {}
    if "date" in frame.columns:
        changed["date"] = [str(day_of(cell) or "") for cell in frame["date"]]
    if "matter_id" in frame.columns:
        changed["matter_id"] = _ids(frame["matter_id"])
    return frame.assign(**changed)


def _ids(column: pd.Series[Any]) -> list[str]:
    """Return ids as text, as a register has them; whole numbers beside a gap are whole."""
    whole = column.convert_dtypes() if column.dtype.kind == "f" else column
    return ["" if checks.is_missing(cell) else str(cell) for cell in whole]


def _add_neighbours(
    gathered: _Examples, rows: pd.DataFrame, text: str, columns: Mapping[str, str], groups: str | None
) -> None:
    """Add what another desk forwards to agencies that this one forwards to as well."""
    absent = [name for name in ("jurisdiction", "agency") if name not in rows.columns]
    if absent:
        faults = [Fault(None, name, f"must be a column, got {list(rows.columns)}") for name in absent]
        raise DatasetError(source="neighbours", faults=faults)
    if "agency" not in columns:
        return
    known = set(gathered.labels["agency"]) - {"", None}
    rows = rows[(rows["jurisdiction"] == FORWARD) & rows["agency"].isin(known)]
    labels = _labels_of(rows, {target: columns[target] for target in BODY if target in columns})
    own = [(groups, who) for who in rows[groups]] if groups is not None and groups in rows.columns else None
    gathered.add(rows[text].tolist(), labels, own)


def _labels_of(frame: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the labels of a table that may lack some of the targets."""
    labels = {}
    for target, column in columns.items():
        if column in frame.columns:
            values = pd.Series(_ids(frame[column])) if target == "matter" else frame[column]
            missing = (values.isna() | (values == "")).tolist()
            none = "" if target in REGISTER_TARGETS else None
            labels[target] = [none if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]
    return labels


def _read_archive(source: Any) -> pd.DataFrame:
    """Return answered questions, checked."""
    rows = read_questions(source, text="question", targets=[])
    problem = f"must be a column, got {list(rows.columns)}"
    faults = [Fault(None, column, problem) for column in ("id", "answer") if column not in rows.columns]
    for column in _DAYS:
        faults += checks.cell_faults(rows, column, checks.date_problem)
    checks.raise_if(faults, "archive")
    as_text = {column: [str(day_of(cell) or "") for cell in rows[column]] for column in _DAYS if column in rows}
    if "matter_id" in rows:
        as_text["matter_id"] = _ids(rows["matter_id"])
    rows = rows.assign(**as_text)
    return rows


def _name_classes(gathered: _Examples, taxonomy: Taxonomy | None) -> None:
    """Add the names of classes as texts: the taxonomy's, with typical matters, or a single target's labels as words."""
    if taxonomy is not None and "topic" in gathered.targets:
        seen = set(gathered.labels["topic"])
        topics = [topic for topic in taxonomy.topics if topic.id in seen]
        named = {topic.id: (topic.names[taxonomy.language], *topic.typical_matters) for topic in topics}
        pairs = [(name, label) for label, names in named.items() for name in names]
        gathered.add([name for name, _ in pairs], {"topic": [label for _, label in pairs]})
    elif len(gathered.targets) == 1:
        (target,) = gathered.targets
        labels = sorted({label for label in gathered.labels[target] if isinstance(label, str) and len(label) > 1})
        gathered.add([label.replace("_", " ").replace("-", " ") for label in labels], {target: labels})


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
            raise DatasetError(source="oos", faults=[Fault(None, text, f"must be a column, got {list(rows.columns)}")])
        return check_texts(rows[text])
    return check_texts(oos)


def _labelled(frame: pd.DataFrame) -> list[dict[str, Any]]:
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


def _records(
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
        }
        for row in archive.to_dict("records")
    ]
