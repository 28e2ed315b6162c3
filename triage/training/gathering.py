"""The texts to train on: the table's own, and everything else that teaches the same labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.dataset import Taxonomy, checks, read_questions
from triage.decision import FORWARD
from triage.errors import DatasetError, Fault
from triage.register import BODY, Register
from triage.text import Normalizer, fold_text
from triage.training.options import TrainingOptions
from triage.training.tables import labels_of

_MARKED_SHARE = 0.2  # from this share of texts with diacritics on, copies without them are trained on too


@dataclass
class Examples:
    """Texts to train on, with what is known of each; the table's own rows come first.

    Texts of one group are held out together, and so are copies of one text, which have its number or name in `copies`.
    """

    targets: Sequence[str]
    texts: list[str] = field(default_factory=list)
    labels: dict[str, list[Any]] = field(default_factory=dict)
    groups: list[Any] = field(default_factory=list)
    copies: list[Any] = field(default_factory=list)
    reasks: list[int] = field(default_factory=list)  # places of the re-asks that an answer fits
    n_examples: int = 0  # labelled questions that are not the table's

    def add(
        self,
        texts: Sequence[str],
        labels: Mapping[str, Sequence[Any]],
        groups: Sequence[Any] | None = None,
        copies: Sequence[Any] | None = None,
    ) -> None:
        """Add texts; a target that `labels` lacks is not known of them, and without groups copies stay together."""
        start = len(self.texts)
        self.texts += texts
        for target in self.targets:
            self.labels.setdefault(target, []).extend(labels.get(target, [None] * len(texts)))
        self.copies += [("row", start + place) for place in range(len(texts))] if copies is None else copies
        self.groups += self.copies[start:] if groups is None else groups

    def groupings(self, by_writer: bool) -> list[npt.NDArray[np.intp]]:
        """Return which texts are held out together, as numbers: by writer and then by copies, or in one way alone."""
        # Whoever wrote before may write again: a desk meets known writers as well as new ones.
        ways = [self.groups, self.copies] if by_writer else [self.groups]
        return [pd.factorize(pd.Series(way, dtype=object))[0] for way in ways]


def gather(
    frame: pd.DataFrame,
    text: str,
    columns: Mapping[str, str],
    groups: str | None,
    register: Register | None,
    archive: pd.DataFrame | None,
    reasks: pd.DataFrame | None,
    examples: Any,
    neighbours: Any,
    taxonomy: Taxonomy | None,
    options: TrainingOptions,
    language: str | None,
) -> Examples:
    """Gather the texts to train on: the table's rows first, then everything that teaches the same labels."""
    gathered = Examples(list(columns))
    gathered.add(frame[text].tolist(), labels_of(frame, columns), _writers(frame, groups))
    if examples is not None:
        further = read_questions(examples, text=text, targets=[])
        gathered.n_examples = len(further)
        gathered.add(further[text].tolist(), labels_of(further, columns), _writers(further, groups))
    if options.unmarked_copies is not False:
        normalizer = Normalizer(language)
        marked = [(place, question) for place, question in enumerate(gathered.texts) if not question.isascii()]
        copies = [(place, fold_text(question)) for place, question in marked]
        copies = [(place, copy) for place, copy in copies if copy != normalizer.normalize(gathered.texts[place])]
        if options.unmarked_copies or len(copies) >= _MARKED_SHARE * len(gathered.texts):
            # Every third example, for cost grows with the cube of the rows: of land's questions without marks, authors
            # left out, the route is right for 90.0 with copies of all, 88.3 with none; all other questions are alike.
            own = sum(place < len(frame) for place, _ in copies)
            copies = [*copies[:own], *copies[own::3]]
            places = [place for place, _ in copies]
            labels = {target: [values[place] for place in places] for target, values in gathered.labels.items()}
            held_out = ([of[place] for place in places] for of in (gathered.groups, gathered.copies))
            gathered.add([copy for _, copy in copies], labels, *held_out)
    if archive is not None:
        answered = _known(labels_of(archive, columns))
        gathered.add(archive["question"].tolist(), answered)
        if reasks is not None:
            place = {id: row for row, id in enumerate(archive["id"].map(str))}
            fits = reasks[reasks["archive_id"] != ""]
            answers = [place[id] for id in fits["archive_id"]]
            gathered.reasks = [len(gathered.texts) + one for one in range(len(answers))]
            of_answers = {target: [labels[row] for row in answers] for target, labels in answered.items()}
            # The same words may be given again as feedback: held out together, or they would be read before.
            gathered.add(fits[text].tolist(), of_answers, copies=[("reask", asked) for asked in fits[text]])
    if neighbours is not None:
        _add_neighbours(gathered, read_questions(neighbours, text=text, targets=[]), text, columns, groups)
    if register is not None:
        last = max(frame["date"], default="") if "date" in frame.columns else ""
        rows = register.of_each(last or date.max)  # with the labels that the questions have
        labels = labels_of(rows, columns)
        if "matter" in labels:  # a matter without any question is found by its name, see triage.register.competence
            asked = set(gathered.labels["matter"])
            labels["matter"] = [matter if matter in asked else None for matter in labels["matter"]]
        gathered.add(register.names(language, rows.index), labels)
    if options.name_classes:
        _name_classes(gathered, taxonomy)
    return gathered


def _known(labels: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return labels of answers; of one that has none at all nothing is known, not that it has no matter."""
    said = [any(label not in (None, "") for label in row) for row in zip(*labels.values(), strict=True)]
    return {
        target: [label if known else None for label, known in zip(of, said, strict=True)]
        for target, of in labels.items()
    }


def _add_neighbours(
    gathered: Examples, rows: pd.DataFrame, text: str, columns: Mapping[str, str], groups: str | None
) -> None:
    """Add what another desk forwards to agencies that this one forwards to as well."""
    absent = [name for name in ("jurisdiction", "agency") if name not in rows.columns]
    if absent:
        problem = f"must be a column, got {checks.column_names(rows.columns)}"
        faults = [Fault(None, name, problem) for name in absent]
        raise DatasetError(source="neighbours", faults=faults)
    if "agency" not in columns:
        return
    known = set(gathered.labels["agency"]) - {"", None}
    rows = rows[(rows["jurisdiction"] == FORWARD) & rows["agency"].isin(known)]
    labels = labels_of(rows, {target: columns[target] for target in BODY if target in columns})
    gathered.add(rows[text].tolist(), labels, _writers(rows, groups))


def _writers(frame: pd.DataFrame, groups: str | None) -> list[Any] | None:
    """Return the writer of each row, None where a table does not say."""
    return [(groups, who) for who in frame[groups]] if groups is not None and groups in frame.columns else None


def _name_classes(gathered: Examples, taxonomy: Taxonomy | None) -> None:
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
