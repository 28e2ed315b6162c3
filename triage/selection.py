"""Which questions an officer should label next: those a desk is unsure of, each unlike the others picked.

How unsure a desk is of a question says how much its label may teach [1]_; but the fifty it is least sure of are often
one question asked fifty times. So each pick counts by how unsure the desk is of it, times how much of it the earlier
picks do not yet say: its remaining variance in a Gaussian process over the features, which every pick lowers [2]_.

References
----------
.. [1] Scheffer, Decomain, Wrobel (2001), "Active hidden Markov models for information extraction", IDA 2001, section 4
   (the margin between the two best labels).
.. [2] Seo, Wallat, Graepel, Obermayer (2000), "Gaussian process regression: active data selection and test point
   rejection", IJCNN 2000, section 3 (the point of largest variance).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from triage.archive.duplicates import THRESHOLD, bands_of, similarities
from triage.classifier import softmax
from triage.dataset import as_text, checks
from triage.errors import TriageError
from triage.features import check_texts
from triage.text import fold_text
from triage.triager import DECIDING, Triager

#: What `select` says of each pick beside its rank, its id and why.
FACTS = ("unlike", "target", "label", "second", "probability", "margin")

_POWER = 2  # of how unsure the desk is; of 1, 2, 3 and 5 it needed the fewest labels on training rows
_NOISE = 1 / 16  # variance of a label; that of features is 1, and this is the ridge that desks are trained with, C = 8
_N_CANDIDATES = 5000  # questions that the desk is least sure of, from which is picked
_UNSURE = 0.5  # below this margin the desk has two labels to choose from

Floats = npt.NDArray[np.floating[Any]]


def select(
    triager: Triager,
    texts: Any,
    n: int = 50,
    *,
    text: str = "text",
    known: Any = None,
    targets: Sequence[str] | None = None,
    as_of: Any = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Pick the questions whose labels would teach a desk most.

    Parameters
    ----------
    triager : Triager
        The desk.
    texts : iterable of str, Series, or DataFrame
        Questions without labels; a DataFrame with its column of texts named by `text`.
    n : int, default=50
        Most questions to pick, at least 1.
    text : str, default="text"
        Column of the texts, in `known` as well.
    known : iterable of str, Series, or DataFrame, optional
        Questions that have a label already, such as those the desk was trained on: the same words, whatever their case
        and marks, are not picked again. A bundle does not keep what it was trained on.
    targets : sequence of str, optional
        Targets that the desk should learn; by default those that decide whether a question leaves the desk (topic and
        jurisdiction), or all where there are none of these.
    as_of : optional
        As in `Triager.predict`.
    random_state : int, default=0
        Breaks ties.

    Returns
    -------
    DataFrame
        One row a pick, the best first, with the input's index: ``rank`` from 1, ``id`` (or ``row``, from 1), ``why``,
        ``unlike`` (out of scope, or a topic that is new), ``target`` of which the desk is least sure, its two likeliest
        labels ``label`` and ``second``, ``probability`` of the first, and ``margin`` by which it leads. Fewer than `n`
        where there are no more questions that differ.

    Raises
    ------
    TypeError
        If `texts` is one string or holds anything but strings.
    ValueError
        If `n` is less than 1, or `as_of` is no day or of another length.
    TriageError
        If the desk has not all of `targets`.
    DatasetError
        If a table has no column `text`.

    Notes
    -----
    Questions unlike anything learnt count as if nothing were known of them: a new topic is found among these. Nearly
    the same questions count once, and texts without a word never.

    Cost: reading each text once, and the spelling of at most 5000 (or 20 `n`) once more; then `n` products of their
    sparse matrix.

    Examples
    --------
    >>> import triage
    >>> table = pd.DataFrame({
    ...     "text": ["where is my card", "card not here", "top up failed", "my top up is gone"],
    ...     "label": ["card", "card", "top_up", "top_up"]})
    >>> desk = triage.train(table, targets="label")
    >>> new = ["my card is gone", "My card is gone!", "card not here"]
    >>> select(desk, new, known=table)[["rank", "row", "target", "label", "second"]]
       rank  row target label  second
    0     1    1  label  card  top_up
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    names, found, index = _questions(texts, text)
    targets = _targets(triager, targets)
    judged, vectors = _judged(triager, found, targets, as_of)
    # Of what it never saw the like of, a desk cannot be sure.
    margin = judged["margin"].to_numpy(copy=True)
    margin[judged["unlike"]] = 0
    usable = judged["readable"].to_numpy() & _unknown(found, known, text)
    order = np.random.default_rng(random_state).permutation(np.flatnonzero(usable))
    order = order[np.argsort(margin[order], kind="stable")][: max(_N_CANDIDATES, 20 * n)]
    candidates = [found[place] for place in order.tolist()]
    X = _matrix(triager, candidates, None if vectors is None else vectors[order])
    picked = order[pick_rows(X, margin[order], n, nearly_same_as(candidates))]
    picks = pd.DataFrame({"rank": np.arange(1, len(picked) + 1), names.name: names.to_numpy()[picked]})
    rows, labels = judged.iloc[picked], [triager.classes_[target].tolist() for target in targets]
    picks["unlike"], picks["target"] = rows["unlike"].to_numpy(), [targets[one] for one in rows["target"]]
    for name in ("label", "second"):
        picks[name] = [labels[target][one] for target, one in zip(rows["target"], rows[name], strict=True)]
    for name in ("probability", "margin"):
        picks[name] = rows[name].to_numpy()
    picks.insert(2, "why", [why(row) for row in picks[list(FACTS)].to_dict("records")])
    return picks.set_index(index[picked])


def pick_rows(
    X: sp.csr_matrix,
    margin: npt.ArrayLike,
    n: int,
    nearly_same: Callable[[int], npt.NDArray[np.intp]] | None = None,
) -> npt.NDArray[np.intp]:
    """Pick rows one by one, each by how unsure it is times the variance that the earlier picks leave of it.

    Parameters
    ----------
    X : scipy.sparse.csr_matrix of shape (n_rows, n_features)
    margin : array-like of shape (n_rows,)
        Of the likeliest label over the second, in [0, 1].
    n : int
        Most rows to pick.
    nearly_same : callable, optional
        Gives the rows that must not be picked after a row.

    Returns
    -------
    intp array of at most n rows
        In the order of the picks.

    Examples
    --------
    >>> X = sp.csr_matrix([[1.0, 0], [1, 0], [0, 1]])
    >>> pick_rows(X, [0.1, 0.1, 0.3], 3).tolist()
    [0, 2, 1]
    """
    X = X.astype(np.float64)
    unsure = (1 - np.asarray(margin, np.float64)) ** _POWER
    variance = np.asarray(X.multiply(X).sum(axis=1)).ravel()
    factor = np.zeros((min(n, len(variance)), len(variance)))  # Cholesky's, a row a pick
    free = np.ones(len(variance), bool)
    picked: list[int] = []
    while len(picked) < len(factor):
        value = np.where(free, unsure * variance, 0)
        best = int(value.argmax())
        if value[best] <= 0:
            break
        before = factor[: len(picked)]
        covariance = X @ X[best].toarray().ravel() - before.T @ before[:, best]
        factor[len(picked)] = covariance / np.sqrt(variance[best] + _NOISE)
        variance = np.maximum(variance - factor[len(picked)] ** 2, 0)
        picked.append(best)
        free[best] = False
        if nearly_same is not None:
            free[nearly_same(best)] = False
    return np.array(picked, np.intp)


def nearly_same_as(texts: Sequence[str]) -> Callable[[int], npt.NDArray[np.intp]]:
    """Return a function that gives the places of texts that are nearly the same as the one at a place.

    Parameters
    ----------
    texts : sequence of str

    Returns
    -------
    callable

    Examples
    --------
    >>> nearly_same_as(["Ai cấp phép?", "Nộp ở đâu?", "ai cap phep"])(0).tolist()
    [0, 2]
    """
    bands = bands_of(texts)

    def nearly_same(place: int) -> npt.NDArray[np.intp]:
        alike = np.flatnonzero((bands == bands[place]).any(axis=1))
        several = [texts[place], *(texts[one] for one in alike.tolist())]
        similarity = similarities(several, [0] * len(alike), range(1, len(several)))
        return alike[similarity >= THRESHOLD]

    return nearly_same


def why(pick: Mapping[Any, Any], name: Callable[[str, Any], str] | None = None) -> str:
    """Say why a question was picked.

    Parameters
    ----------
    pick : mapping
        A row of `select`.
    name : callable, optional
        Names a label of a target for people; by default the label itself.

    Returns
    -------
    str

    Examples
    --------
    >>> why({"unlike": False, "target": "topic", "label": "tax", "second": "land", "margin": 0.1})
    'topic: unsure between tax and land'
    """
    target = pick["target"]
    label, second = ((name(target, pick[one]) if name else str(pick[one])) or "none" for one in ("label", "second"))
    if pick["unlike"]:
        return f"unlike anything learnt; {target} nearest to {label}"
    if pick["margin"] < _UNSURE:
        return f"{target}: unsure between {label} and {second}"
    return f"{target}: rather {label}; unlike the picks above"


def _questions(texts: Any, text: str) -> tuple[pd.Series[Any], list[str], pd.Index[Any]]:
    """Return what names each question, the questions, and their index."""
    index = texts.index if isinstance(texts, (pd.Series, pd.DataFrame)) else None
    ids = None
    if isinstance(texts, pd.DataFrame):
        checks.raise_if(checks.absent_faults([text], texts), "DataFrame")
        ids = texts.get("id") if text != "id" else None
        texts = as_text(texts[text])
    found = check_texts(texts)
    names = pd.Series(range(1, len(found) + 1), name="row") if ids is None else ids
    return names, found, pd.RangeIndex(len(found)) if index is None else index


def _targets(triager: Triager, targets: Sequence[str] | None) -> list[str]:
    """Return the targets that the desk should learn."""
    unknown = [target for target in targets or () if target not in triager.targets]
    if unknown:
        raise TriageError(f"targets must be among those of the desk, {list(triager.targets)}; got {unknown}")
    deciding = [target for target in DECIDING if target in triager.targets]
    return list(targets or deciding or triager.targets)


def _judged(
    triager: Triager, texts: list[str], targets: Sequence[str], as_of: Any
) -> tuple[pd.DataFrame, npt.NDArray[np.float32] | None]:
    """Read each text once.

    Returns
    -------
    judged : DataFrame
        One row a text: ``target`` of the smallest margin and its two likeliest labels ``label`` and ``second``, all by
        their places, ``probability`` of the first, ``margin``, ``unlike``, and ``readable``: it has a word.
    vectors : float32 array of shape (n_texts, dim), or None
        What the texts mean, with an encoder.
    """
    which, label, second = np.zeros((3, len(texts)), np.intp)
    probability, margin = np.full(len(texts), np.nan), np.full(len(texts), np.inf)
    unlike, readable = np.zeros((2, len(texts)), bool)
    encoder = triager.features.encoder
    vectors = None if encoder is None else np.zeros((len(texts), encoder.dim), np.float32)
    for batch in triager.batches(texts, as_of):
        reading = batch.reading
        place, row = np.array(batch.places), np.arange(len(batch.places))
        unlike[place], readable[place] = reading.scope - triager.scope.threshold >= 0, ~reading.empty
        if vectors is not None:
            vectors[place] = reading.seen.vectors
        probabilities = batch.outcomes.probabilities(softmax(reading.outcome_scores))
        for number, target in enumerate(targets):
            of_labels = probabilities[target].astype(np.float64)
            best = of_labels.argmax(axis=1)
            first = of_labels[row, best]
            of_labels[row, best] = -1
            other = of_labels.argmax(axis=1)
            lead = first - of_labels[row, other]
            less = lead < margin[place]
            at = place[less]
            which[at], label[at], second[at] = number, best[less], other[less]
            probability[at], margin[at] = first[less], lead[less]
    columns = {"target": which, "probability": probability, "margin": margin, "label": label, "second": second}
    return pd.DataFrame({**columns, "unlike": unlike, "readable": readable}), vectors


def _matrix(triager: Triager, texts: list[str], vectors: npt.NDArray[np.float32] | None) -> sp.csr_matrix:
    """Return the features of texts; what they mean, with an encoder, was read before."""
    if vectors is None:
        return triager.features.transform(texts)
    return triager.features.read(texts, triager.features.words(texts), vectors).X


def _unknown(texts: list[str], known: Any, text: str) -> npt.NDArray[np.bool_]:
    """Say which texts are not among the known ones."""
    if known is None:
        return np.ones(len(texts), bool)
    same = {fold_text(one) for one in _questions(known, text)[1]}
    return np.array([fold_text(one) not in same for one in texts], bool)
