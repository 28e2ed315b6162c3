"""The trained desk, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.archive import Archive
from triage.bundle import load_bundle, save_bundle
from triage.classifier import JointClassifier, softmax
from triage.dataset import Taxonomy, checks
from triage.decision import Threshold
from triage.encoder import Encoder
from triage.errors import BundleError, DependencyError, EncoderError, Fault
from triage.evaluation import Evaluation, evaluate
from triage.features import QuestionVectorizer, check_texts
from triage.profile import Profile, concatenated
from triage.records import Match, Suggestion, TriageResult
from triage.register import Register
from triage.scope import ScopeDetector
from triage.triager.answered import Records
from triage.triager.batches import Batch, in_order, read_batches
from triage.triager.columns import columns_of
from triage.triager.deciding import Decider
from triage.triager.following import Following
from triage.triager.profiling import observe
from triage.triager.reading import MATTER, Reader
from triage.triager.storing import contents_of, encoder_of, parts_of
from triage.triager.suggesting import Reuse, Suggester


@dataclass(frozen=True, eq=False)
class Triager:
    """A trained desk. Nothing in it changes after it is made, so any number of threads may use it at once.

    With an archive its suggestions follow what is written there, see `with_archive`.

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
    register : Register or None
        Who decides a matter, from when to when; with a way to match texts to matters.
    labelled : list of mapping
        Labels that were trained on, without the texts: ``id``, ``matter_id``, ``date``, ``jurisdiction``, ``level``,
        ``agency``; with a register only.
    reuse : Reuse
        When an answer is offered for reuse.
    meanings : tuple of two float16 arrays of shape (n_records, dim), or None
        Vectors of the questions in `records` and of their answers, with an encoder.
    following : Following or None
        The archive whose answers are suggested in the place of `records`, see `with_archive`.
    profile : Profile or None
        What training saw in its questions when they were held out, for `triage.drift`; None in an old bundle.
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
    register: Register | None = None
    labelled: list[dict[str, Any]] = field(default_factory=list)
    reuse: Reuse = field(default_factory=Reuse)
    meanings: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None
    following: Following | None = None
    profile: Profile | None = None
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        if self.register is not None:
            object.__setattr__(self, "register", self.register.bound(self.match))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Bind the register to this desk, which was pickled without."""
        vars(self).update(state)
        self.__post_init__()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{target} ({len(labels)})" for target, labels in self.reader.classes.items())
        n_answered = len(self.records if self.following is None else self.following)
        return f"Triager(targets: {sizes}; {n_answered} questions to suggest)"

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order of training."""
        return tuple(self.classifier.classes)

    @property
    def classes_(self) -> dict[str, npt.NDArray[Any]]:
        """Labels of each target, in the order of the columns of `predict_proba`."""
        return self.decider.labels

    @cached_property
    def reader(self) -> Reader:
        """Features, classifier, scope and register as one."""
        return Reader(self.features, self.classifier, self.scope, self.register)

    @cached_property
    def decider(self) -> Decider:
        """Readings to decisions."""
        return Decider(self.reader, self.thresholds, self.taxonomy)

    @cached_property
    def suggester(self) -> Suggester:
        """The earlier questions, to be found again."""
        # An empty archive is one too, and is false.
        answered = Records(self.features, self.records, self.meanings) if self.following is None else self.following
        return Suggester(self.reader, answered, self.reuse)

    def with_register(self, register: Any, taxonomy: Taxonomy | None = None) -> Triager:
        """Return the same desk with another register.

        Parameters
        ----------
        register : Register, DataFrame or path
            A matter that training never saw is found by its name from now on; one whose rows changed is decided by
            the new ones. Nothing is trained again: thresholds and promises stay as they were measured.
        taxonomy : Taxonomy, optional
            Names of labels, for a register with labels that the desk's own does not name.

        Returns
        -------
        Triager

        Raises
        ------
        DatasetError
            If the register has faults, all of which are named; or has no row of a matter that the desk has learnt
            and its old register has: end it by ``valid_to``.
        """
        taxonomy = taxonomy or self.taxonomy
        new = Register.read(register, taxonomy)
        if self.register is not None:
            learnt = {str(label) for label in self.classifier.classes.get(MATTER, [])}
            gone = [name for name in self.register.matters if name in learnt and new.number(name) < 0]
            problem = "must go on to have rows of matter {!r}, which the desk has learnt; end it by valid_to"
            checks.raise_if([Fault(None, "matter_id", problem.format(name)) for name in gone], "register")
        return replace(self, register=new, taxonomy=taxonomy)

    def with_archive(self, archive: Archive | str | Path, index: str | Path | None = None) -> Triager:
        """Return the same desk with the answers of an archive in the place of those it was trained with.

        Parameters
        ----------
        archive : Archive or path
            What is added to it, changed or removed, by whichever process, is so for the next question as well.
        index : path, optional
            Folder where the index of its answers is kept, so that the next start need not make it anew. One process
            at a time may write it.

        Returns
        -------
        Triager
            `save` stores the answers it was trained with, not those of the archive.

        Raises
        ------
        ArchiveError
            If there is no archive, or it cannot be read.
        BundleError
            If the index is damaged, or the folder holds anything else.

        Notes
        -----
        Another process that gets the desk, as of `joblib.Parallel`, opens archive and index itself, and makes the
        index anew where none is kept.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> import triage
        >>> table = pd.DataFrame({"text": ["where is my card", "top up failed"], "label": ["card", "top_up"]})
        >>> archive = Archive(Path(mkdtemp()) / "desk.archive")
        >>> desk = triage.train(table, targets="label").with_archive(archive)
        >>> archive.add({"id": "a1", "question": "My card is lost", "answer": "Block it in the app."}).added
        ('a1',)
        >>> desk.similar(["is the card lost?"])[0][0].answer
        'Block it in the app.'
        """
        if not isinstance(archive, Archive):
            archive = Archive(archive, create=False)
        folder = None if index is None else Path(index)
        return replace(self, following=Following(self.features, archive, folder))

    # --- reading --------------------------------------------------------------------------------

    def batches(self, texts: Iterable[str], as_of: Any = None) -> Iterator[Batch]:
        """Read texts part by part, for who needs several things of them and each text read once.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        as_of : optional
            As in `predict`.

        Returns
        -------
        iterator of Batch

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If `as_of` is no day or of another length.
        """
        return self._batches(check_texts(texts), as_of)

    def _batches(self, checked: Sequence[str], as_of: Any = None) -> Iterator[Batch]:
        return read_batches(self.reader, checked, as_of, self.n_jobs)

    # --- answers --------------------------------------------------------------------------------

    def predict(self, texts: Iterable[str], as_of: Any = None, k: int = 5) -> list[TriageResult]:
        """Triage questions.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
            Any strings; one without a word of two letters goes to review as ``empty``.
        as_of : date, ISO text, or a sequence of them of length n_texts, optional
            Day on which a body must be competent, and an answer hold; today by default. It decides which rows of the
            register count; the labels of a desk without a register are the same on every day.
        k : int, default=5
            Most suggestions a question; 0 for none, and then none is routed to ``reuse``.

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
        if k < 0:
            raise ValueError(f"k must be at least 0, got {k}")
        results: dict[int, TriageResult] = {}
        for batch in self.batches(texts, as_of):
            decided = self.decider.decide(batch.reading, batch.day)
            ranked = self.suggester.ranked(batch.reading, k) if k else []
            suggestions = self.suggester.suggest(batch.texts, ranked, batch.days) if k else [[]] * len(batch.places)
            routes = self.decider.routes(decided, self.suggester.reusable(ranked, batch.days) if k else None)
            for row, place in enumerate(batch.places):
                suggested = tuple(suggestions[row])
                results[place] = self.decider.result(batch, decided, row, routes[row], suggested)
        return in_order(results)

    def predict_frame(self, texts: Any, as_of: Any = None, *, text: str = "text") -> pd.DataFrame:
        """Triage questions into a table.

        Parameters
        ----------
        texts : iterable of str, Series, or DataFrame
            Questions; a DataFrame with its column of texts named by `text`.
        as_of : optional
            As in `predict`; or the name of a DataFrame's column of days.
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
                    f"the table must have a column {text!r}, got {checks.column_names(texts.columns)}; name it by text="
                )
            if isinstance(as_of, str) and as_of in texts.columns and as_of != text:
                as_of = [None if checks.is_missing(day) else day for day in texts[as_of]]
            texts = texts[text]
        index = texts.index if isinstance(texts, pd.Series) else None
        columns = columns_of(self.batches(texts, as_of), self.decider, self.suggester)
        return pd.DataFrame(columns, index=index)

    def predict_with_proba(
        self, texts: Iterable[str], as_of: Any = None
    ) -> tuple[pd.DataFrame, dict[str, npt.NDArray[Any]]]:
        """Return what `predict_frame` and, of every target, `predict_proba` do, with the texts read once.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        as_of : optional
            As in `predict`.

        Returns
        -------
        frame : pandas.DataFrame of n_texts rows
        probabilities : dict of str to float32 array of shape (n_texts, n_classes)

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If `as_of` is no day or of another length.
        """
        index = texts.index if isinstance(texts, pd.Series) else None
        found = check_texts(texts)
        probabilities = {target: np.zeros((len(found), len(own)), np.float32) for target, own in self.classes_.items()}
        columns = columns_of(self._batches(found, as_of), self.decider, self.suggester, probabilities)
        return pd.DataFrame(columns, index=index), probabilities

    def predict_proba(self, texts: Iterable[str], target: str, as_of: Any = None) -> npt.NDArray[Any]:
        """Return the calibrated probabilities of one target.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        target : str
        as_of : optional
            As in `predict`.

        Returns
        -------
        float32 array of shape (n_texts, n_classes)
            Rows sum to 1; columns in the order of ``classes_[target]``.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If there is no such target (the known ones are listed), or `as_of` is no day or of another length.
        """
        if target not in self.classes_:
            raise ValueError(f"target must be one of {list(self.targets)}, got {target!r}")
        found = check_texts(texts)
        probabilities = np.zeros((len(found), len(self.classes_[target])), np.float32)
        for batch in self._batches(found, as_of):
            probabilities[batch.places] = batch.outcomes.probabilities(softmax(batch.reading.outcome_scores))[target]
        return probabilities

    def match(self, texts: Iterable[str], as_of: Any = None, k: int = 5) -> list[list[Match]]:
        """Match texts to matters of the register.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        as_of : optional
            As in `predict`.
        k : int, default=5
            Matters a text, at least 1.

        Returns
        -------
        list of list of Match
            Most probable first: `k` matters, and that there is none (``matter`` None) where training had such
            questions.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If the desk has no register or its questions no matter, or an argument is out of range.
        """
        if self.reader.competence is None:
            raise ValueError("match needs a desk trained with a register and a column matter_id, got one without")
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        matches: dict[int, list[Match]] = {}
        for batch in self.batches(texts, as_of):
            decided = self.decider.decide(batch.reading, batch.day)
            evidence = self.decider.evidence(decided)
            for place, probability in zip(batch.places, decided.probabilities[MATTER], strict=True):
                matches[place] = evidence.ranked(probability, k)
        return in_order(matches)

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
        parts = [batch.reading.scope - self.scope.threshold for batch in self.batches(texts)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def similar(self, texts: Iterable[str], k: int = 5, as_of: Any = None) -> list[list[Suggestion]]:
        """Return the most similar earlier questions.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        k : int, default=5
            Most suggestions a text, at least 1.
        as_of : optional
            As in `predict`: the day on which an answer must hold, today by default.

        Returns
        -------
        list of list of Suggestion
            Best first; only questions that share something with the text. What counts is how near question and answer
            are to the text by their features, and how probable it is that the text is about the answer's matter and
            topic; the similarity is the mean of these, see `triage.reuse.ReuseModel`. ``p_reuse`` is the probability
            that the answer fits, None where the desk was trained without re-asks. ``stale`` says why an answer is out
            of date: its last day is over, another took its place, by the register the matter is decided elsewhere
            than when it was given, it rests on a document that is no longer in force, or it is too old.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If `k` is less than 1, or `as_of` is no day or of another length.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        suggestions: dict[int, list[Suggestion]] = {}
        for batch in self.batches(texts, as_of):
            found = self.suggester.suggest(batch.texts, self.suggester.ranked(batch.reading, k), batch.days)
            suggestions.update(zip(batch.places, found, strict=True))
        return in_order(suggestions)

    def evaluate(self, frame: pd.DataFrame, *, text: str = "text", train: pd.DataFrame | None = None) -> Evaluation:
        """Measure the desk on labelled questions.

        Parameters
        ----------
        frame, text, train
            As in `triage.evaluation.evaluate`.

        Returns
        -------
        Evaluation

        Raises
        ------
        DatasetError
            If a table has faults.
        """
        return evaluate(self, frame, text=text, language=self.features.language, train=train)

    def observe(self, texts: Iterable[str]) -> Profile:
        """Return what the desk sees in questions, to be compared with what it saw in others.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
            One or more.

        Returns
        -------
        Profile
            A row a text; labels as they were trained, whatever the register says today.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If there are no texts.
        """
        found = check_texts(texts)
        if not found:
            raise ValueError("texts must hold one or more, got none")
        return concatenated([observe(self.decider, batch.texts, batch.reading) for batch in self._batches(found)])

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
        return save_bundle(path, contents_of(self), overwrite=overwrite)


def load(path: str | Path, *, encoder: Encoder | str | None = None, n_jobs: int | None = None) -> Triager:
    """Load a desk from a bundle.

    Parameters
    ----------
    path : str or Path
        Folder of a bundle, or a model's folder with the bundle in it.
    encoder : Encoder or str, optional
        For a desk that was trained with one: the same encoder, or where it is, see `triage.encoder.open_encoder`. One
        of an installed package is found without.
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
    EncoderError
        If its encoder is not there, or is another one.
    DependencyError
        If the package of its encoder is not installed.
    """
    contents, _ = load_bundle(path)
    try:
        return Triager(**parts_of(contents, encoder_of(contents, encoder)), n_jobs=n_jobs)
    except (DependencyError, EncoderError):  # ValueErrors too, that say what to do
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BundleError(
            path=path,
            problem=f"the parts of a bundle must fit each other, got {type(error).__name__} on putting them together",
            remedy="train again, or restore the folder from a backup",
        ) from error
