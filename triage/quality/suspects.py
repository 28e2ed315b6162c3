"""Labels that are probably wrong: each is weighed against what models say that had not seen its question.

Every question gets out-of-fold probabilities, and so two explanations of its label: it is right and as probable as the
models say, or it was drawn at random from the other classes. How many labels are of the second kind is what makes the
labels of the table the most likely:

    P(label | question) = (1 - e) p(label) + e (1 - p(label)) / (n_classes - 1),    p proportional to q ** (1 + 5 e)

with q the out-of-fold probability and e the share of wrong labels (classification noise: Angluin and Laird 1988). The
probabilities were calibrated on the labels as they are, wrong ones too, which makes them flat: with a tenth wrong, the
exponent (a temperature, Guo et al. 2017) that sharpens them again was 1.5 on average, on desks and BANKING77 alike.
Fitted freely, exponent and share are mistaken for each other: the worst of 11 draws found 64 % of land's wrong
jurisdictions, and 71 % with both tied together. A label is wrong with probability
e (1 - p(label)) / (n_classes - 1) / P(label), and the suspects are the labels for which it is at least
`LEAST_P_WRONG`. No share of wrong labels is told, and none is assumed.

The models are trained twice. The second time each question teaches only as far as its labels can be trusted (importance
reweighting, Liu and Tao 2016, "Classification with noisy labels by importance reweighting", IEEE TPAMI 38(3), 447-461),
by the square of the probability that they are right: 1, 2 and 4 as exponents are alike. (So a question's label has a
little say in what others teach of it; its own words are still not learnt.) Of 8 draws of land's questions without other
tables, the 70 % of wrong jurisdictions that are found first are found with a precision of 64 % in place of 61.

This is confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels", JAIR 70) with another count. There, a question of label i counts as one of class j when q_j is the largest of
those at least t_j, the mean of q_j over the questions labelled j (equations 1 and 2); ``tests/benchmarks/noise.py``
measures it beside: where classes are few and probabilities flat it finds fewer wrong labels, with less precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.optimize
from scipy.special import logsumexp

from triage.classifier import LOSSES, JointClassifier, fit_joint, softmax
from triage.dataset import Taxonomy, checks, read_questions
from triage.errors import DatasetError, Fault
from triage.register import Register
from triage.training import TrainingOptions
from triage.training.gathering import gather
from triage.training.tables import named, read_answered, with_days

#: A label is listed when it is wrong with this probability; chosen on other seeds than those of the benchmark.
LEAST_P_WRONG = 0.225

COLUMNS = ("row", "id", "target", "label", "likelier", "p_label", "p_likelier", "margin", "p_wrong", "rank")

Floats = npt.NDArray[np.floating[Any]]

_MAX_ROWS_CLOSED_FORM = 16_000  # texts; beyond, folds of LinearSVC are faster
_N_FOLDS = 5
_LEAST = 1e-9
_SHARPENED = 5.0  # 4 to 6 are alike
_N_PASSES = 2  # a third finds no more
_LEAST_TRUST = 0.02
_OPTIONS = TrainingOptions(pair_window=8, n_bits=17)


@dataclass(frozen=True, eq=False)
class Judged:
    """What out-of-fold models say of the labels of one target.

    Attributes
    ----------
    classes : list
        Labels, sorted.
    codes : intp array of shape (n_rows,)
        Class that each row was given.
    probabilities : float array of shape (n_rows, n_classes)
        Of each class, by models that had not seen the row, and half of them not its group; given its other labels.
    """

    classes: list[Any]
    codes: npt.NDArray[np.intp]
    probabilities: Floats

    def noise(self) -> tuple[float, float]:
        """Return the share of wrong labels that makes the labels the most likely, and the exponent of it."""
        logs = np.log(np.maximum(self.probabilities, _LEAST))
        own = logs[np.arange(len(logs)), self.codes]

        def surprise(share: float) -> float:
            exponent = _exponent(share)
            p = np.exp(exponent * own - logsumexp(exponent * logs, axis=1))
            return -float(np.log((1 - share) * p + share * (1 - p) / (len(self.classes) - 1) + _LEAST).mean())

        # There may be a second, lower valley beyond the first: each is looked into.
        found = [
            scipy.optimize.minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-5})
            for bounds in ((1e-4, 0.15), (0.15, 0.5))
        ]
        share = float(min(found, key=lambda one: float(one.fun)).x)
        return share, _exponent(share)

    def cleaned(self) -> tuple[Floats, Floats]:
        """Return the probabilities of the right label, and how probable it is that the given one is wrong.

        Returns
        -------
        probabilities : float array of shape (n_rows, n_classes)
        p_wrong : float array of shape (n_rows,)
        """
        share, exponent = self.noise()
        probabilities = softmax(exponent * np.log(np.maximum(self.probabilities, _LEAST)))
        own = probabilities[np.arange(len(self.codes)), self.codes]
        wrong = share * (1 - own) / (len(self.classes) - 1)
        return probabilities, wrong / (wrong + (1 - share) * own + _LEAST)


def _exponent(share: float) -> float:
    return 1 + _SHARPENED * share


def label_suspects(
    frame: pd.DataFrame,
    targets: str | Sequence[str] = ("topic", "jurisdiction"),
    *,
    text: str = "text",
    groups: str | None = None,
    random_state: int = 0,
    register: Any = None,
    archive: Any = None,
    reasks: Any = None,
    examples: Any = None,
    taxonomy: Taxonomy | str | Path | None = None,
    language: str | None = None,
    abbreviations: Mapping[str, str] | None = None,
    options: TrainingOptions | None = None,
) -> pd.DataFrame:
    """List the labels that are probably wrong, the surest first.

    Parameters
    ----------
    frame : DataFrame
        One row a labelled question, as for `triage.train`.
    targets : str or sequence of str, default=("topic", "jurisdiction")
        Columns of the labels. Several are judged together: what one says of a question helps to judge the other.
    text : str, default="text"
        Column of the questions.
    groups : str, optional
        Column of who wrote a question: each is judged half by models that know none of this person's questions. Without
        it, by models that know all questions but the one.
    random_state : int, default=0
    register, archive, reasks, examples, taxonomy, language, abbreviations
        As for `triage.train`: they teach the same labels, and are not judged. No column of matters is read.
    options : TrainingOptions, optional

    Returns
    -------
    DataFrame of shape (n_suspects, 10)
        ``row`` (from 1), ``id`` (None without such a column), ``target``, ``label``, ``likelier`` (another label),
        ``p_label`` and ``p_likelier`` (their probabilities), ``margin`` (the second less the first), ``p_wrong`` (how
        probable it is that the label is wrong), ``rank`` (from 1 in each target). No text of a question.

    Raises
    ------
    DatasetError
        If a table has faults; all of them are named.
    ValueError
        If a target has one class only.

    Examples
    --------
    >>> table = pd.DataFrame({"text": ["sell beer", "sell wine", "beer shop", "pay tax", "late tax", "tax rate"] * 4})
    >>> table["label"] = (["drink"] * 3 + ["tax"] * 3) * 4
    >>> table.loc[7, "label"] = "tax"
    >>> label_suspects(table, "label")[["row", "label", "likelier"]].to_dict("records")
    [{'row': 8, 'label': 'tax', 'likelier': 'drink'}]
    """
    targets = [targets] if isinstance(targets, str) else list(targets)
    judged = judge(
        frame,
        targets,
        text=text,
        groups=groups,
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
    ids = frame["id"].tolist() if "id" in frame.columns and "id" not in (text, *targets) else [None] * len(frame)
    parts = [_listed(target, one, ids) for target, one in judged.items()]
    return pd.concat(parts, ignore_index=True).astype({"id": object})


def _listed(target: str, judged: Judged, ids: Sequence[Any]) -> pd.DataFrame:
    """Return the suspects of one target, the surest first."""
    probabilities, p_wrong = judged.cleaned()
    rows = np.arange(len(p_wrong))
    own = probabilities[rows, judged.codes]
    others = probabilities.copy()
    others[rows, judged.codes] = -1
    likelier = others.argmax(1)
    p_likelier = others[rows, likelier]
    chosen = np.flatnonzero((p_wrong >= LEAST_P_WRONG) & (p_likelier > own))
    chosen = chosen[np.argsort(-p_wrong[chosen], kind="stable")]
    columns = {
        "row": chosen + 1,
        "id": [ids[row] for row in chosen.tolist()],
        "target": target,
        "label": [judged.classes[code] for code in judged.codes[chosen]],
        "likelier": [judged.classes[code] for code in likelier[chosen]],
        "p_label": own[chosen],
        "p_likelier": p_likelier[chosen],
        "margin": p_likelier[chosen] - own[chosen],
        "p_wrong": p_wrong[chosen],
        "rank": np.arange(1, len(chosen) + 1),
    }
    return pd.DataFrame(columns, columns=[*COLUMNS])


def judge(
    frame: pd.DataFrame,
    targets: Sequence[str],
    *,
    text: str = "text",
    groups: str | None = None,
    random_state: int = 0,
    register: Any = None,
    archive: Any = None,
    reasks: Any = None,
    examples: Any = None,
    taxonomy: Taxonomy | str | Path | None = None,
    language: str | None = None,
    abbreviations: Mapping[str, str] | None = None,
    options: TrainingOptions | None = None,
) -> dict[str, Judged]:
    """Return what out-of-fold models say of the labels of each target.

    Parameters
    ----------
    frame, targets, text, groups, random_state, register, archive, reasks, examples, taxonomy, language, abbreviations
        As for `label_suspects`.
    options : TrainingOptions, optional

    Returns
    -------
    dict of str to Judged

    Raises
    ------
    DatasetError
        If a table has faults, or no column `groups`.
    """
    options = options or _OPTIONS
    frame = read_questions(frame, text=text, targets=targets)
    if groups is not None and groups not in frame.columns:
        problem = f"must be a column, got {list(map(checks.cut, frame.columns))}"
        raise DatasetError(source="DataFrame", faults=[Fault(None, checks.cut(groups), problem)])
    taxonomy, language = named(taxonomy, language)
    if register is not None and not isinstance(register, Register):
        register = Register.read(register, taxonomy)
    if register is not None:
        frame = with_days(frame)
    answered, asked_again = read_answered(archive, reasks, text)
    columns = {target: target for target in targets}
    gathered = gather(
        frame, text, columns, groups, register, answered, asked_again, examples, None, taxonomy, options, language
    )
    n_texts = len(gathered.texts)
    how = options.joint(LOSSES[0 if n_texts <= _MAX_ROWS_CLOSED_FORM else 1], random_state)
    groupings = gathered.groupings(groups is not None)
    X = options.vectorizer(n_texts, language, abbreviations).fit_transform(gathered.texts)
    labels = {target: frame[target].tolist() for target in targets}
    found: dict[str, Judged] = {}
    for _ in range(_N_PASSES):
        classifier, held_out = fit_joint(
            X,
            gathered.labels,
            options=replace(how, n_folds=_N_FOLDS, max_weights=None),
            groupings=groupings,
            n_measured=len(frame),
            sample_weight=_trust(found, gathered.copies) if found else None,
        )
        # A writer's other questions say something too, but must not have the last word: writers err alike all along.
        scores: Floats = np.stack([each[: len(frame)] for each in held_out]).mean(0)
        found = _judged(classifier, softmax(classifier.combination_scores(scores)).astype(np.float64), labels)
    return found


def _trust(judged: Mapping[str, Judged], copies: Sequence[Any]) -> Floats:
    """Return how much each text, and its copies, shall teach: the less, the less its labels can be trusted."""
    p_right = np.prod([1 - one.cleaned()[1] for one in judged.values()], axis=0)
    place = {copy: row for row, copy in enumerate(copies[: len(p_right)])}
    rows = np.array([place.get(copy, -1) for copy in copies])
    return np.where(rows >= 0, np.maximum(p_right[rows] ** 2, _LEAST_TRUST), 1.0)


def _judged(classifier: JointClassifier, joint: Floats, labels: Mapping[str, Sequence[Any]]) -> dict[str, Judged]:
    """Return the probabilities of each target, given the labels of the others as far as these can be trusted."""
    place = {target: {label: code for code, label in enumerate(known)} for target, known in classifier.classes.items()}
    codes = {target: np.array([place[target][label] for label in of]) for target, of in labels.items()}
    of_combination = dict(zip(classifier.classes, classifier.combinations.T.astype(np.intp), strict=True))

    def of(target: str, weights: Floats) -> Judged:
        known = classifier.classes[target]
        sums = np.stack([weights[:, of_combination[target] == code].sum(1) for code in range(len(known))], 1)
        sums = np.maximum(sums, _LEAST)
        return Judged(known, codes[target], sums / sums.sum(1, keepdims=True))

    alone = {target: of(target, joint) for target in labels}
    if len(alone) == 1:
        return alone
    agrees = {}  # how likely each row's label of a target is under each combination
    for target, judged in alone.items():
        share = judged.noise()[0]
        same = of_combination[target] == codes[target][:, None]
        agrees[target] = np.where(same, 1 - share, share / (len(judged.classes) - 1))
    return {
        target: replace(judged, probabilities=of(target, joint * _product(agrees, target)).probabilities)
        for target, judged in alone.items()
    }


def _product(agrees: Mapping[str, Floats], target: str) -> Floats:
    """Multiply what all targets but one say."""
    product: Floats = np.prod([of for other, of in agrees.items() if other != target], axis=0)
    return product
