"""Training of a `JointClassifier`: linear scores, what few weights lose of them, and shares that calibrate them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.sparse as sp

from triage.classifier.blocks import blocks_of, codes_in, places_in, table_of
from triage.classifier.calibration import LINKS, fit_weights, likeliest_link, softmax
from triage.classifier.compression import compress, lost_by
from triage.classifier.joint import MAX_COLUMNS, JointClassifier
from triage.classifier.scores import Codes, Floats, fit_scores

_ROWS_FOR_LINKS = 1500  # about so many rows choose them


@dataclass(frozen=True)
class JointOptions:
    """Options of a `JointClassifier`.

    Attributes
    ----------
    loss : str
        One of `LOSSES`.
    C : float
        Inverse strength of regularisation.
    n_folds : int
        Folds of the held-out scores (squared hinge), and of what dropped weights take from them.
    max_weights : int or None
        Weights kept, those that move scores most; the rest become 0. None keeps none: for held-out scores alone.
    n_jobs : int or None
        Trainings at once (joblib).
    random_state : int
    """

    loss: str = "squared_hinge"
    C: float = 3.0
    n_folds: int = 3
    max_weights: int | None = 4_000_000
    n_jobs: int | None = None
    random_state: int = 0


def fit_joint(
    X: sp.csr_matrix,
    labels: Mapping[str, Sequence[Any]],
    *,
    options: JointOptions,
    groupings: Sequence[npt.NDArray[Any]] = (),
    n_measured: int | None = None,
    sample_weight: npt.ArrayLike | None = None,
    within: Mapping[str, str] | None = None,
    apart: str | None = None,
    kinds_by: str | None = None,
) -> tuple[JointClassifier, list[Floats]]:
    """Train all targets together from one matrix.

    Parameters
    ----------
    X : scipy.sparse.csr_matrix of shape (n_rows, n_features)
    labels : mapping of str to sequence of length n_rows
        One entry a target; None where a row's label is not known. A row teaches the blocks all of whose labels are
        known of it.
    options : JointOptions
    groupings : sequence of arrays of shape (n_rows,)
        Rows of one group are held out together, once for each grouping, and all of these calibrate alike. Without any,
        every row is held out by itself.
    n_measured : int or None
        The first so many rows are the table's own, which calibrate; the rest only train. None for all.
    sample_weight : float array of shape (n_rows,) or None
        How much each row counts in training, above 0: as so many rows. Calibration counts all alike.
    within : mapping of str to str or None
        Targets that only mean something within another.
    apart : str or None
        A target that may be empty; the blocks have shares of their own in combinations in which it is.
    kinds_by : str or None
        A target; the blocks have shares of their own in combinations with each of its classes.

    Returns
    -------
    classifier : JointClassifier
    held_out : list of float32 arrays of shape (n_rows, n_columns)
        Scores of the rows by models that had not seen their group, one array a grouping, with fewer weights as well.

    Raises
    ------
    ValueError
        If a target has only one class or is within none of the others, or an option is out of range.
    """
    if options.max_weights is not None and options.max_weights < 1:
        raise ValueError(f"max_weights must be at least 1, got {options.max_weights}")
    n_targets_known = np.sum([[value is not None for value in values] for values in labels.values()], 0)
    classes, codes = {}, {}
    for target, values in labels.items():
        found, code = _encode(target, values, n_targets_known == len(labels))
        if len(found) < 2:
            raise ValueError(f"target {target!r} must have at least two classes, got one class in {len(code)} rows")
        classes[target], codes[target] = found, code
    stacked = np.stack(list(codes.values()), 1)
    combinations = np.unique(stacked[(stacked >= 0).all(1)], axis=0).astype(np.int32)
    within = dict(within or {})
    blocks = blocks_of([*labels], within)
    tables = [table_of(block, classes, combinations) for block in blocks]
    block_codes = [
        places_in(table, codes_in(block, [*labels], stacked)) for block, table in zip(blocks, tables, strict=True)
    ]
    sizes = [len(table) for table in tables]
    if sum(sizes) > MAX_COLUMNS:
        raise ValueError(f"targets must have at most {MAX_COLUMNS} classes and combinations together, got {sum(sizes)}")
    group_of = [np.unique(groups, return_inverse=True)[1] for groups in groupings] or [np.arange(X.shape[0])]
    first, column_of = _different(block_codes, sizes)
    fitted = fit_scores(X, block_codes, sizes, group_of, vars(options), sample_weight).only(first)
    held_out = list(fitted.held_out)
    classifier = JointClassifier(
        classes=classes,
        blocks=blocks,
        column_of=column_of,
        combinations=combinations,
        values=np.zeros(0, np.int8),
        columns=np.zeros(0, np.uint16),
        starts=np.zeros(X.shape[1] + 1, np.int32),
        scale=np.ones(len(first), np.float32),
        intercept=fitted.intercept,
        shares=np.array([[1.0] * (len(blocks) - 1) + [4.0]]),
        constants=np.zeros(1),
        temperatures=np.ones(len(classes)),
        links=LINKS[:1] * len(blocks),
        within=within,
        apart=apart if apart is not None and "" in classes[apart] else None,
        kinds_by=kinds_by,
    )
    known = {target: code[:n_measured] for target, code in codes.items()}
    known_blocks = [code[:n_measured] for code in block_codes]
    calibrated = _calibrate(classifier, [scores[:n_measured] for scores in held_out], known, known_blocks)
    if options.max_weights is None:
        return calibrated, held_out
    if X.shape[1] * len(first) > options.max_weights:
        # What is dropped is missing from new questions' scores: so it must be missing here.
        lost = lost_by(X, fitted, _largest_effects(calibrated), options.max_weights)
        held_out = [scores + lost for scores in held_out]
        calibrated = _calibrate(classifier, [scores[:n_measured] for scores in held_out], known, known_blocks)
    kept, columns, starts, scale = compress(X, fitted.coef(), _largest_effects(calibrated), options.max_weights)
    return replace(calibrated, values=kept, columns=columns, starts=starts, scale=scale), held_out


def _different(block_codes: Sequence[Codes], sizes: Sequence[int]) -> tuple[Codes, npt.NDArray[np.uint16]]:
    """Return the first of the scores that the same rows speak for and against, and the place of each one's first."""
    # A matter's score is that of its only combination if the labels of all targets are known of the same rows.
    places: dict[tuple[bytes, bytes], int] = {}
    first: list[int] = []
    column_of: list[int] = []
    for codes, size in zip(block_codes, sizes, strict=True):
        known = np.packbits(codes >= 0).tobytes()
        for label in range(size):
            place = places.setdefault((known, np.flatnonzero(codes == label).tobytes()), len(first))
            if place == len(first):
                first.append(len(column_of))
            column_of.append(place)
    return np.array(first), np.array(column_of, np.uint16)


def _largest_effects(classifier: JointClassifier) -> Floats:
    """Return how steeply each column moves the score of a combination at most, of all blocks together."""
    n_combinations, n_columns = len(classifier.kind), len(classifier.intercept)
    together = np.zeros((n_combinations, n_columns), np.float32)
    for (of_block, shares), link in zip(classifier.weighted_parts, classifier.links, strict=True):
        together[np.arange(n_combinations), of_block] += shares * np.float32(link.slope)
    largest: Floats = together.max(0)
    return largest


def _encode(target: str, values: Sequence[Any], whole: npt.NDArray[np.bool_]) -> tuple[list[Any], Codes]:
    """Return sorted classes as plain Python values, and the class of each row."""
    kinds = sorted({type(np.asarray(value).item()).__name__ for value in values if value is not None})
    if len(kinds) > 1:
        raise ValueError(
            f"target {target!r} must have labels of one kind, got {' and '.join(kinds)}; convert the column"
        )
    known = np.array([value is not None for value in values])
    found, place = np.unique(np.asarray([value for value in values if value is not None]), return_inverse=True)
    code = np.full(len(known), -1)
    code[known] = place.ravel()
    # A label that stands in no combination, as no row has it whose labels are all known, is no class.
    used = np.unique(code[whole])
    renumbered = np.full(len(found) + 1, -1)  # the last one serves -1
    renumbered[used] = np.arange(len(used))
    return found[used].tolist(), renumbered[code]


def _calibrate(
    classifier: JointClassifier, ways: Sequence[Floats], codes: Mapping[str, Codes], block_codes: Sequence[Codes]
) -> JointClassifier:
    """Choose links, and fit shares, from those that there are, and temperatures, to scores held out in several ways."""
    held_out = np.concatenate(ways)
    codes = {target: np.tile(code, len(ways)) for target, code in codes.items()}
    right = {
        target: classifier.combinations[:, place] == codes[target][:, None]
        for place, target in enumerate(classifier.classes)
    }

    links = []
    for of_block, columns in zip(block_codes, classifier.columns_of.values(), strict=True):
        code = np.tile(of_block, len(ways))
        rows = np.flatnonzero(code >= 0)
        rows = rows[:: max(1, len(rows) // _ROWS_FOR_LINKS)]
        links.append(likeliest_link(held_out[rows][:, columns], code[rows, None] == np.arange(len(columns))))
    classifier = replace(classifier, links=tuple(links))
    said = {link: link(held_out) for link in set(links)}
    parts = [said[link][:, columns] for link, columns in zip(links, classifier.parts, strict=True)]
    # All targets at once; each row counts once for each.
    weights = fit_weights(parts, list(right.values()), classifier.shares, classifier.kind, classifier.n_kinds)
    shares, constants, _ = weights
    weighed = replace(classifier, shares=shares, constants=constants)
    if len(classifier.classes) == 1:
        return weighed
    joint = softmax(weighed.combination_scores(held_out))
    for place, (target, code) in enumerate(codes.items()):

        def surprise(temperature: float, place: int = place, target: str = target, code: Codes = code) -> float:
            temperatures = weighed.temperatures.copy()
            temperatures[place] = temperature
            probability = replace(weighed.outcomes, temperatures=temperatures).probabilities(joint)[target]
            return float(-np.log(probability[np.arange(len(code)), code]).mean())

        found = scipy.optimize.minimize_scalar(surprise, bounds=(0.1, 5), method="bounded", options={"xatol": 0.005})
        weighed.temperatures[place] = found.x
    for block, columns in weighed.columns_of.items():
        if len(block) == 1:
            own = weighed.link_of[block](held_out[:, columns])
            target = block[0]
            fitted = fit_weights([own], [codes[target][:, None] == np.arange(len(columns))], [4.0])[0]
            weighed.alone[target] = float(fitted[0, 0])
    return weighed
