"""The trained desk: owns the fitted parts and wires them; what they compute is theirs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from triage.bundle import Contents, load_bundle, save_bundle
from triage.classifier import JOINT, JointClassifier, softmax
from triage.dataset import Taxonomy, Topic
from triage.decision import REASON_OF_CODE, Threshold, review_reasons, route_of
from triage.errors import BundleError
from triage.features import BLOCKS, QuestionVectorizer, check_texts, chunks
from triage.index import QuestionIndex
from triage.records import Decision, Suggestion, TriageResult
from triage.scope import ScopeDetector, scope_statistics
from triage.text import Words

_CHUNK_TEXTS = 1024  # texts read at once; bounds memory, and rows do not depend on it
_CHUNK = re.compile(r"\S+")
DECIDING = ("topic", "jurisdiction")  # a desk's question leaves it when these are assigned


@dataclass(frozen=True)
class Reading:
    """What the fitted parts see in a chunk of texts.

    Attributes
    ----------
    X : scipy.sparse.csr_matrix of shape (n_texts, n_features)
    combination_scores : float32 array of shape (n_texts, n_combinations)
    scope : float64 array of shape (n_texts,)
        Higher is further out of scope.
    empty : bool array of shape (n_texts,)
        Texts without a word of two letters.
    """

    X: sp.csr_matrix
    combination_scores: npt.NDArray[Any]
    scope: npt.NDArray[Any]
    empty: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Triager:
    """A trained desk. Nothing in it changes after it is made, so any number of threads may use it at once.

    Attributes
    ----------
    features : QuestionVectorizer
    classifier : JointClassifier
    scope : ScopeDetector
    thresholds : dict of str to Threshold
        One a target.
    records : list of mapping
        Earlier questions to suggest: ``id``, ``question``, ``answer`` or None.
    fingerprint : str
        SHA-256 of the training table.
    metrics : dict
        Measured on held-out rows at training.
    description : dict
        What the recipe says of the desk.
    taxonomy : Taxonomy or None
        Names of the labels for people.
    n_jobs : int or None
        Threads for large batches (joblib).
    """

    features: QuestionVectorizer
    classifier: JointClassifier
    scope: ScopeDetector
    thresholds: dict[str, Threshold]
    records: list[dict[str, Any]]
    fingerprint: str
    metrics: dict[str, Any] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)
    taxonomy: Taxonomy | None = None
    n_jobs: int | None = None

    def __repr__(self) -> str:
        sizes = ", ".join(f"{target} ({len(labels)})" for target, labels in self.classifier.classes.items())
        return f"Triager(targets: {sizes}; {len(self.records)} questions to suggest)"

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order of training."""
        return tuple(self.classifier.classes)

    @cached_property
    def classes_(self) -> dict[str, npt.NDArray[Any]]:
        """Labels of each target, in the order of the columns of `predict_proba`."""
        return {target: np.array(labels) for target, labels in self.classifier.classes.items()}

    @cached_property
    def index(self) -> QuestionIndex:
        """The earlier questions by their features, made when they are first asked for."""
        texts = [f"{record['question']}\n{record['answer'] or ''}" for record in self.records]
        return QuestionIndex.from_matrix(self.features.transform(texts), self.records)

    # --- reading --------------------------------------------------------------------------------

    def read(self, texts: Sequence[str]) -> Reading:
        """Return what the fitted parts see in a chunk of texts."""
        words = self.features.words(texts)
        X, known_shares = self.features.read_words([words], len(texts))
        combination_scores = self.classifier.combination_scores(self.classifier.scores(X))
        scope = self.scope.score(scope_statistics(combination_scores, known_shares))
        return Reading(X, combination_scores, scope, ~words.readable())

    def _readings(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[str], Reading]]:
        parts = list(chunks(texts, _CHUNK_TEXTS))
        if len(parts) < 2 or self.n_jobs in (None, 1):
            for part in parts:
                yield part, self.read(part)
            return
        run = joblib.Parallel(n_jobs=self.n_jobs, prefer="threads", return_as="generator")
        yield from zip(parts, run(joblib.delayed(self.read)(part) for part in parts), strict=True)

    def _decide(
        self, reading: Reading
    ) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[np.int8]], dict[str, npt.NDArray[Any]], list[str]]:
        """Return probabilities, reason codes and best classes of each target, and the routes."""
        joint = softmax(reading.combination_scores)
        probabilities = self.classifier.probabilities(joint)
        best = self.classifier.best(joint, probabilities)
        outside = reading.scope >= self.scope.threshold
        row = np.arange(len(outside))
        codes = {
            target: review_reasons(
                probability,
                best=probability[row, best[target]],
                threshold=self.thresholds[target].value,
                empty=reading.empty,
                out_of_scope=outside,
            )
            for target, probability in probabilities.items()
        }
        for target, outer in self.classifier.within.items():  # a level means nothing while the jurisdiction is open
            codes[target] = np.where(codes[outer] == 0, codes[target], codes[outer])
        labels = {target: self.classes_[target][place] for target, place in best.items()}
        deciding = [target for target in DECIDING if target in codes] or list(codes)
        return probabilities, codes, best, route_of(codes, labels, deciding=deciding).tolist()

    # --- answers --------------------------------------------------------------------------------

    def predict(self, texts: Iterable[str], as_of: Any = None, k: int = 5) -> list[TriageResult]:
        """Triage questions.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
            Any strings; one without a word of two letters goes to review as ``empty``.
        as_of : date, ISO text, or a sequence of them of length n_texts, optional
            Day for which the answer is asked. Checked and kept in ``evidence``; a model without dated
            competences answers the same on every day.
        k : int, default=5
            Most suggestions a question; 0 for none.

        Returns
        -------
        list of TriageResult
            In the order of `texts`; a question's result does not depend on the others.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If `as_of` is no day or of another length, or `k` is negative.
        """
        found = check_texts(texts)
        days = check_days(as_of, len(found))
        if k < 0:
            raise ValueError(f"k must be at least 0, got {k}")
        results: list[TriageResult] = []
        for chunk, reading in self._readings(found):
            probabilities, codes, best, routes = self._decide(reading)
            suggestions = self._suggest(chunk, reading.X, k) if k else [()] * len(chunk)
            orders = {target: np.argsort(-p, 1, kind="stable") for target, p in probabilities.items()}
            for row, text in enumerate(chunk):
                decisions = {}
                reasons = Reasons(self, text)
                for target, labels in self.classifier.classes.items():
                    probability, order = probabilities[target][row], orders[target][row]
                    reason = REASON_OF_CODE[codes[target][row]]
                    label = int(best[target][row])
                    if order[0] != label:  # another label is likelier, and does not fit the target it lies within
                        order = np.concatenate(([label], order[order != label]))
                    shown = probability[order].tolist()
                    decisions[target] = Decision(
                        target=target,
                        label=labels[label],
                        probability=shown[0],
                        status="assigned" if reason is None else "review",
                        reason=reason,
                        ranking=tuple(zip([labels[place] for place in order.tolist()], shown, strict=True)),
                        explain=partial(reasons.words_for, target, label),
                    )
                evidence: dict[str, Any] = {"out_of_scope_score": float(reading.scope[row] - self.scope.threshold)}
                if days[len(results)] is not None:
                    evidence["as_of"] = days[len(results)]
                results.append(TriageResult(decisions, routes[row], tuple(suggestions[row]), evidence))
        return results

    def predict_frame(self, texts: Any, as_of: Any = None, *, text: str = "text") -> pd.DataFrame:
        """Triage questions into a table.

        Parameters
        ----------
        texts : iterable of str, Series, or DataFrame
            Questions; a DataFrame with its column of texts named by `text`.
        as_of : optional
            As in `predict`.
        text : str, default="text"
            Column of a DataFrame.

        Returns
        -------
        pandas.DataFrame of n_texts rows
            Index of the input. For each target ``t``: ``t`` (best label, whatever the status), ``t_probability``,
            ``t_status``, ``t_reason``; then ``route``, ``suggestion_id``, ``suggestion_p_reuse``.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If a DataFrame has no column `text`, or `as_of` is no day or of another length.
        """
        if isinstance(texts, pd.DataFrame):
            if text not in texts.columns:
                raise ValueError(
                    f"the table must have a column {text!r}, got {list(map(str, texts.columns))}; name it by text="
                )
            texts = texts[text]
        index = texts.index if isinstance(texts, pd.Series) else None
        found = check_texts(texts)
        check_days(as_of, len(found))
        columns: dict[str, list[Any]] = {
            f"{target}{part}": [] for target in self.targets for part in ("", "_probability", "_status", "_reason")
        }
        columns |= {"route": [], "suggestion_id": [], "suggestion_p_reuse": []}
        for chunk, reading in self._readings(found):
            probabilities, codes, best, routes = self._decide(reading)
            for target, probability in probabilities.items():
                columns[target] += self.classes_[target][best[target]].tolist()
                columns[f"{target}_probability"] += probability[np.arange(len(chunk)), best[target]].tolist()
                columns[f"{target}_status"] += np.where(codes[target] == 0, "assigned", "review").tolist()
                columns[f"{target}_reason"] += [REASON_OF_CODE[code] for code in codes[target].tolist()]
            columns["route"] += routes
            columns["suggestion_id"] += self._nearest_ids(reading.X)
            columns["suggestion_p_reuse"] += [np.nan] * len(chunk)
        return pd.DataFrame(columns, index=index)

    def predict_proba(self, texts: Iterable[str], target: str) -> npt.NDArray[Any]:
        """Return the calibrated probabilities of one target.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        target : str

        Returns
        -------
        float32 array of shape (n_texts, n_classes)
            Rows sum to 1; columns in the order of ``classes_[target]``.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If there is no such target; the known ones are listed.
        """
        if target not in self.classes_:
            raise ValueError(f"target must be one of {list(self.targets)}, got {target!r}")
        parts = [
            self.classifier.probabilities(softmax(reading.combination_scores))[target]
            for _, reading in self._readings(check_texts(texts))
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes_[target])), np.float32)

    def scope_scores(self, texts: Iterable[str]) -> npt.NDArray[np.float64]:
        """Return how far out of scope each text is.

        Parameters
        ----------
        texts : iterable of str, of length n_texts

        Returns
        -------
        float64 array of shape (n_texts,)
            Higher is further out; from 0 on a text is taken for out of scope.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        """
        parts = [reading.scope - self.scope.threshold for _, reading in self._readings(check_texts(texts))]
        return np.concatenate(parts) if parts else np.zeros(0)

    def similar(self, texts: Iterable[str], k: int = 5) -> list[list[Suggestion]]:
        """Return the most similar earlier questions.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        k : int, default=5
            Most suggestions a text, at least 1.

        Returns
        -------
        list of list of Suggestion
            Most similar first; only questions that share something with the text.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If `k` is less than 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        found = check_texts(texts)
        suggestions: list[list[Suggestion]] = []
        for chunk in chunks(found, _CHUNK_TEXTS):
            suggestions += self._suggest(chunk, self.features.transform(chunk), k)
        return suggestions

    def _suggest(self, texts: Sequence[str], X: sp.csr_matrix, k: int) -> list[list[Suggestion]]:
        if not self.records:
            return [[] for _ in texts]
        places, similarities = self.index.query(X, k=k)
        suggestions = []
        for text, place, similarity in zip(texts, places.tolist(), similarities.tolist(), strict=True):
            records = [self.records[one] for one in place]
            matched = self._matched(text, place)
            suggestions.append(
                [
                    Suggestion(record["id"], record["question"], record["answer"], score, matched=shared)
                    for record, score, shared in zip(records, similarity, matched, strict=True)
                    if score > 0
                ]
            )
        return suggestions

    def _nearest_ids(self, X: sp.csr_matrix) -> list[str | None]:
        if not self.records:
            return [None] * X.shape[0]
        places, similarities = self.index.query(X, k=1)
        return [
            self.records[place]["id"] if similarity > 0 else None
            for place, similarity in zip(places[:, 0].tolist(), similarities[:, 0].tolist(), strict=True)
        ]

    # --- reasons --------------------------------------------------------------------------------

    @cached_property
    def _record_words(self) -> list[set[str]]:
        """The normalised words of each earlier question."""
        words = self.features.words([record["question"] for record in self.records])
        found: list[set[str]] = [set() for _ in self.records]
        for word, row in zip(words.strings(), words.rows.tolist(), strict=True):
            found[row].add(word)
        return found

    def _matched(self, text: str, places: Sequence[int]) -> list[tuple[str, ...]]:
        """Return the asker's words that stand in each of some earlier questions too."""
        words = self.features.words([text])
        own, owner = own_words(self.features, text, words)
        mine = list(zip(words.strings(), owner.tolist(), strict=True))
        return [
            tuple(dict.fromkeys(own[one] for word, one in mine if word in self._record_words[place]))
            for place in places
        ]

    # --- storing --------------------------------------------------------------------------------

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the desk as a bundle: JSON and numpy arrays with checksums.

        Parameters
        ----------
        path : str or Path
            Folder to make.
        overwrite : bool, default=False
            Whether a bundle that stands there may be replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        BundleError
            If something stands there that may not be replaced, or the folder cannot be written.
        """
        features, feature_arrays = self.features.to_state()
        classifier, classifier_arrays = self.classifier.to_state()
        settings = {
            "features": features,
            "classifier": classifier,
            "scope": self.scope.to_state(),
            "thresholds": {target: threshold.to_dict() for target, threshold in self.thresholds.items()},
            "description": self.description,
            "taxonomy": None if self.taxonomy is None else asdict(self.taxonomy),
        }
        arrays = {f"features.{name}": array for name, array in feature_arrays.items()}
        arrays |= {f"classifier.{name}": array for name, array in classifier_arrays.items()}
        contents = Contents(settings, arrays, {"suggestions": list(self.records)}, self.metrics, self.fingerprint)
        return save_bundle(path, contents, overwrite=overwrite)


class Reasons:
    """Why one question was decided so; the text is read again when the first reason is asked for.

    Parameters
    ----------
    triager : Triager
    text : str
    """

    def __init__(self, triager: Triager, text: str) -> None:
        self._triager = triager
        self._text = text

    @cached_property
    def _found(self) -> tuple[Reading, list[str], npt.NDArray[np.intp], tuple[npt.NDArray[np.intp], ...]]:
        """The question's reading, the asker's own words, whose each normalised word is, and the n-grams' places."""
        words = self._triager.features.words([self._text])
        own, owner = own_words(self._triager.features, self._text, words)
        return self._triager.read([self._text]), own, owner, self._triager.features.occurrences(words)

    def words_for(self, target: str, label: int) -> tuple[tuple[str, float], ...]:
        """Return what each of the asker's words adds to the score of a label over its rivals."""
        reading, own, owner, (column, first, last) = self._found
        classifier = self._triager.classifier
        pull = classifier.pull(classifier.scores(reading.X)[0], target, label, reading.X.indices)
        share = np.zeros(reading.X.shape[1])
        share[reading.X.indices] = reading.X.data * pull
        share /= np.maximum(np.bincount(column, minlength=len(share)), 1)  # equally over an n-gram's places
        half = share[column] / 2  # to the first and the last word of each n-gram
        added = np.bincount(owner[first], half, len(own)) + np.bincount(owner[last], half, len(own))
        return tuple((own[place], float(added[place])) for place in np.unique(owner).tolist())


def own_words(features: QuestionVectorizer, text: str, words: Words) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Return the asker's own words, and which of them each normalised word comes from.

    Parameters
    ----------
    features : QuestionVectorizer
    text : str
    words : Words
        The text's normalised words.

    Returns
    -------
    own : list of str
    owner : intp array of shape (n_words,)
    """
    chunks = _CHUNK.findall(text)
    again = features.words(chunks)
    if np.array_equal(again.codes, words.codes):
        return [_bare(chunk) for chunk in chunks], again.rows
    return words.strings(), np.arange(len(words.starts))  # rare scripts: a word reads differently on its own


def _bare(chunk: str) -> str:
    """Take off what stands around words; letters, marks and digits of every script stay."""
    inside = [unicodedata.category(character)[0] in "LMN" for character in chunk]
    return chunk[inside.index(True) : len(chunk) - inside[::-1].index(True)] if any(inside) else chunk


def load(path: str | Path, *, n_jobs: int | None = None) -> Triager:
    """Load a desk from a bundle.

    Parameters
    ----------
    path : str or Path
        Folder of a bundle, or a model's folder with the bundle in it.
    n_jobs : int or None, default=None
        Threads for large batches (joblib).

    Returns
    -------
    Triager
        Gives the same answers as the one that was saved.

    Raises
    ------
    BundleError
        If the bundle is missing, damaged, changed, or of a newer format. Nothing in a bundle is executed.
    """
    contents, _ = load_bundle(path)
    settings = contents.settings
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {"features": {}, "classifier": {}}
    try:
        for name, array in contents.arrays.items():
            part, _, own = name.partition(".")
            parts[part][own] = array
        triager = Triager(
            features=QuestionVectorizer.from_state(settings["features"], parts["features"]),
            classifier=JointClassifier.from_state(settings["classifier"], parts["classifier"]),
            scope=ScopeDetector.from_state(settings["scope"]),
            thresholds={name: Threshold.from_dict(values) for name, values in settings["thresholds"].items()},
            records=contents.tables["suggestions"],
            fingerprint=contents.fingerprint,
            metrics=contents.metrics,
            description=settings["description"],
            taxonomy=_taxonomy(settings["taxonomy"]),
            n_jobs=n_jobs,
        )
        _check_fit(triager)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BundleError(
            path=path,
            problem=f"the parts of a bundle must fit each other, got {type(error).__name__} on putting them together",
            remedy="train again, or restore the folder from a backup",
        ) from error
    return triager


def _check_fit(triager: Triager) -> None:
    """Raise ValueError unless the parts that came from a bundle fit each other; reading texts relies on it."""
    features, classifier = triager.features, triager.classifier
    classes = [classifier.classes[target] for target in triager.targets]
    sizes = {
        **{target: len(labels) for target, labels in classifier.classes.items()},
        JOINT: len(classifier.combinations),
    }
    n_columns = sum(sizes[block] for block in classifier.blocks)
    learnt = classifier.to_state()[1]
    buckets, starts, combinations = features.buckets_, classifier.starts, classifier.combinations
    n_weights = len(learnt["values"])
    for array, kinds, shape in (
        (buckets, "iu", (features.n_features_,)),
        (features.idf_, "f", (features.n_features_,)),
        (combinations, "iu", (len(combinations), len(classes))),
        (learnt["values"], "iu", (n_weights,)),
        (classifier.columns, "iu", (n_weights,)),
        (starts, "iu", (features.n_features_ + 1,)),
        (classifier.scale, "f", (n_columns,)),
        (classifier.intercept, "f", (n_columns,)),
        (classifier.shares, "f", (len(classifier.blocks),)),
        (classifier.temperatures, "f", (len(classes),)),
    ):
        if array.shape != shape or array.dtype.kind not in kinds or not np.isfinite(array).all():
            raise ValueError(f"an array must have shape {shape}, got {array.shape}")
    numbers = (features.unknown_idf_, classifier.offset, triager.scope.threshold, *triager.scope.weights)
    fits = (
        (buckets[1:] > buckets[:-1]).all() and buckets[0] >= 0 and buckets[-1] < len(BLOCKS) << features.n_bits,
        starts[0] == 0 and (starts[1:] >= starts[:-1]).all() and starts[-1] == n_weights,
        (classifier.columns >= 0).all() and (classifier.columns < n_columns).all(),
        (combinations >= 0).all() and (combinations < [len(labels) for labels in classes]).all(),
        all(isinstance(labels, list) and len(labels) > 1 for labels in classes),
        all(isinstance(label, (str, int)) for labels in classes for label in labels),
        {*classifier.within.keys(), *classifier.within.values()} <= set(triager.targets),
        set(triager.thresholds) == set(triager.targets),
        len(triager.scope.weights) == 1 + len(BLOCKS),
        all(isinstance(number, (int, float)) and np.isfinite(number) for number in numbers),
        isinstance(classifier.offset, (int, float)) and abs(classifier.offset) < 100,
        all(isinstance(record[name], str) for record in triager.records for name in ("id", "question")),
        all(isinstance(record["answer"], (str, type(None))) for record in triager.records),
    )
    if not all(fits):
        raise ValueError(f"part {[bool(fit) for fit in fits].index(False)} does not fit")


def _taxonomy(state: Mapping[str, Any] | None) -> Taxonomy | None:
    if state is None:
        return None
    topics = tuple(Topic(**{**topic, "typical_matters": tuple(topic["typical_matters"])}) for topic in state["topics"])
    return Taxonomy(**{**state, "topics": topics})


def check_days(as_of: Any, n_texts: int) -> list[str | None]:
    """Return the day of each text as ISO text.

    Parameters
    ----------
    as_of : None, date, ISO text, or a sequence of them of length n_texts
    n_texts : int

    Returns
    -------
    list of str or None, of length n_texts

    Raises
    ------
    ValueError
        If a day is no day, or there are more or fewer days than texts.

    Examples
    --------
    >>> check_days("2025-10-01", 2)
    ['2025-10-01', '2025-10-01']
    """
    if not isinstance(as_of, Iterable) or isinstance(as_of, str):
        return [_day(as_of)] * n_texts
    days = [_day(day) for day in as_of]
    if len(days) != n_texts:
        raise ValueError(f"as_of must be one day, or one for each of the {n_texts} texts, got {len(days)} days")
    return days


def _day(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        value = value.date()
    try:
        return date.fromisoformat(value.isoformat() if isinstance(value, date) else value).isoformat()
    except (TypeError, ValueError):
        raise ValueError(f"as_of must be a date or text such as '2025-10-01', got {str(value)[:20]!r}") from None
