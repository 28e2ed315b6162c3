"""A table of questions to a trained desk."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.classifier import LOSSES, JointClassifier, fit_joint, softmax
from triage.dataset import REGISTER_TARGETS, Taxonomy, checks, fingerprint, read_questions
from triage.decision import check_share, fit_threshold
from triage.encoder import Encoder, open_encoder
from triage.metrics import expected_calibration_error
from triage.register import Documents, Register
from triage.scope import fit_scope, scope_statistics
from triage.training.gathering import gather
from triage.training.options import TrainingOptions
from triage.training.profile import with_profile
from triage.training.reuse import REUSE, draw_unanswered, with_reuse, without_reuse
from triage.training.tables import (
    labelled_of,
    meanings_of,
    named,
    out_of_scope_texts,
    read_answered,
    records_of,
    with_days,
)
from triage.triager import Reuse, Triager
from triage.triager.columns import clashing

logger = logging.getLogger(__name__)

_WITHIN = {"level": "jurisdiction", "agency": "jurisdiction"}


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
    reasks: Any = None,
    documents: Any = None,
    oldest_days: int | None = None,
    examples: Any = None,
    neighbours: Any = None,
    taxonomy: Taxonomy | str | Path | None = None,
    language: str | None = None,
    abbreviations: Mapping[str, str] | None = None,
    encoder: Encoder | str | None = None,
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
    archive : Archive, DataFrame or path, optional
        Answered questions (``id``, ``question``, ``answer``, and labels): trained on, and suggested.
        Without it the training questions are suggested. Personal data is masked in what is kept of either.
        What officers said of an `Archive`'s suggestions is learnt from, as re-asks are.
    oos : sequence of str, DataFrame or path, optional
        Messages that belong to no class. Without them such messages are told by their scores alone.
    promise : mapping of str to float, optional
        For a target, the share of assigned labels that must be right with 95 % confidence, in all and of a fifth as
        many questions more; for ``reuse``, the share of answers offered for reuse that must fit: without this promise
        none is offered. See `triage.decision.fit_threshold`.
    random_state : int, default=0
        Seed of everything that is drawn.
    groups : str, optional
        Column of who wrote a question. Probabilities and promises are then made for writers never read before as well
        as for known ones: they hold over all writers together, and one writer's questions may do worse.
    reasks : DataFrame or path, optional
        Later questions: ``archive_id`` of the answer that fits, or empty, and then ``near`` of one that only seems to
        (others may fit), or empty too where none fits. The first are trained on; all teach how sure it is that an
        answer fits.
    documents : Documents, DataFrame or path, optional
        Legal documents that were replaced or ran out: an answer that cites one is stale. See
        `triage.register.Documents`.
    oldest_days : int, optional
        An answer given more days ago is stale.
    examples : DataFrame or path, optional
        Further labelled questions that are trained on and not measured.
    neighbours : DataFrame or path, optional
        Labelled questions of another desk. Those for other agencies that this desk forwards to as well are trained on,
        for jurisdiction, level and agency: an agency's field is the same whichever desk is asked.
    taxonomy : Taxonomy or path, optional
        Names of the labels for people, and typical matters of the topics to train on.
    language : str, optional
        Language whose data normalises the text; the taxonomy's by default, if there is data of it.
    abbreviations : mapping of str to str, optional
        Words to spell out.
    encoder : Encoder or str, optional
        Reads what texts mean, beside how they are spelt: one of `triage.encoder`, or where it is, see
        `triage.encoder.open_encoder`. The desk needs it wherever it is loaded.
    options : TrainingOptions, optional
    description : mapping, optional
        Facts of the desk for its model card.
    progress : callable, optional
        Called with a line a step.

    Returns
    -------
    Triager
        With ``metrics`` measured on the table's rows by models that had not seen them, nor, with `groups`, anything
        else by the same writer.

    Raises
    ------
    DatasetError
        If a table has faults; all of them are named.
    ValueError
        If a target has one class only, a promise is for no target, or for ``reuse`` without an archive, or an option
        is out of range, or a target is called like a column of predictions.
    TypeError
        If `promise` is no mapping.

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
    taxonomy, language = named(taxonomy, language)
    competences = None if register is None else Register.read(register, taxonomy)
    columns = {target: target for target in targets}
    if competences is not None:
        frame = with_days(frame)
        columns |= {target: column for target, column in REGISTER_TARGETS.items() if column in frame.columns}
    read_documents = None if documents is None else Documents.read(documents, language)
    reuse = Reuse(documents=read_documents, oldest_days=oldest_days)
    archived, asked_again = read_answered(archive, reasks, text)
    promised = [*columns, REUSE] if archived is not None else [*columns]
    promise = promise or {}
    if not isinstance(promise, Mapping):
        raise TypeError(f"promise must be a mapping such as {{{targets[0]!r}: 0.95}}, got {type(promise).__name__}")
    for target, share in promise.items():
        check_share(f"promise of {target!r}", share)
    unknown = sorted(set(promise) - set(promised))
    if unknown:
        remedy = f"; {REUSE!r} needs archive= and reasks=" if REUSE in unknown else ""
        raise ValueError(f"a promise must be for one of {promised}, got {unknown}{remedy}")
    if taken := clashing([*columns]) + [target for target in columns if target == REUSE]:
        raise ValueError(f"a target must not be called {taken[0]!r}, as a column of predictions is; rename the column")
    if groups is not None and groups not in frame.columns:
        there = checks.column_names(frame.columns)
        raise ValueError(f"groups must name a column of the table, got {groups!r}; columns are {there}")

    gathered = gather(
        frame,
        text,
        columns,
        groups,
        competences,
        archived,
        asked_again,
        examples,
        neighbours,
        taxonomy,
        options,
        language,
    )
    say(
        f"{len(frame)} questions, {len(gathered.texts) - len(frame)} further texts to train on; "
        f"targets {', '.join(columns)}"
    )
    several = len(columns) > 1
    features = options.vectorizer(
        len(gathered.texts),
        language,
        abbreviations,
        open_encoder(encoder) if isinstance(encoder, str) else encoder,
        several=several,
    )
    texts = gathered.texts
    if archived is not None:  # answers are searched too: their words must be known
        texts = [*texts, *(answer for answer in archived["answer"] if isinstance(answer, str))]
    of_all = features.fit_read(texts)
    seen = of_all[: len(gathered.texts)]
    say(f"{features.n_features_} features; training")
    groupings = gathered.groupings(groups is not None)
    classifier, (held_out, *by_row) = fit_joint(
        seen.X,
        gathered.labels,
        options=options.joint(LOSSES[0 if several else 1], random_state),
        groupings=groupings,
        n_measured=len(frame),
        within={target: outer for target, outer in _WITHIN.items() if target in columns and outer in columns},
        apart="matter" if "matter" in columns else None,
        kinds_by="jurisdiction" if "jurisdiction" in columns and competences is not None else None,
    )
    say("measuring on held-out rows")
    truth = {target: gathered.labels[target][: len(frame)] for target in columns}
    scores = classifier.combination_scores(held_out[: len(frame)])
    measured = [_measured(classifier, scores, truth)]
    measured += [_measured(classifier, classifier.combination_scores(each[: len(frame)]), truth) for each in by_row]
    thresholds, metrics = {}, {}
    for target, (sure, right) in measured[0].items():
        fitted = [fit_threshold(*each[target], promise=promise.get(target)) for each in measured]
        thresholds[target] = max(fitted, key=lambda one: math.inf if one.value is None else one.value)
        metrics[target] = {
            "n": len(right),
            "n_right": int(right.sum()),
            "accuracy": float(right.mean()),
            "ece": expected_calibration_error(sure, right),
        }
    inside = scope_statistics(scores, features.held_out_shares(seen.ngrams, groupings[0])[: len(frame)])
    outside = None
    if oos is not None:
        messages = out_of_scope_texts(oos, text)
        read = features.read(messages)
        outside = scope_statistics(classifier.combination_scores(classifier.scores(read.X)), read.known_shares)
    records = records_of(frame, text, archived, language)
    counts = {"n_questions": len(frame), **({"n_examples": gathered.n_examples} if gathered.n_examples else {})}
    triager = Triager(
        features=features,
        classifier=classifier,
        scope=fit_scope(inside, outside),
        thresholds=thresholds,
        records=records,
        meanings=meanings_of(features, records, texts, of_all),
        fingerprint=fingerprint(frame, [text, *columns.values()]),
        metrics={"held_out": metrics, "grouped_by": groups, **counts},
        description=dict(description or {}),
        taxonomy=taxonomy,
        register=competences,
        labelled=[] if competences is None else labelled_of(frame),
        reuse=reuse,
        n_jobs=options.n_jobs,
    )
    held_out_rows = seen[: len(frame)], held_out[: len(frame)]
    triager = with_profile(triager, gathered.texts[: len(frame)], held_out_rows, inside, truth)
    if asked_again is None:
        return without_reuse(triager, promise.get(REUSE))
    say(f"learning reuse from {len(asked_again)} re-asks")
    unanswered = draw_unanswered(truth.get("matter", []), archived, len(gathered.reasks), random_state)
    rows = [*gathered.reasks, *unanswered]
    return with_reuse(triager, asked_again, text, (seen[rows], held_out[rows]), promise.get(REUSE), random_state)


def _measured(
    classifier: JointClassifier, scores: npt.NDArray[Any], truth: Mapping[str, Sequence[Any]]
) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
    """Return for each target how probable the best label of each row is, and whether it is right."""
    joint = softmax(scores)
    probabilities = classifier.outcomes.probabilities(joint)
    found = {}
    for target, best in classifier.outcomes.best(joint, probabilities).items():
        right = np.array(classifier.classes[target])[best] == np.array(truth[target])
        found[target] = probabilities[target][np.arange(len(best)), best], right
    return found
