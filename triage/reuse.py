"""How sure it is that an earlier answer fits a question: a choice among the answers found, and none of them.

What speaks for an answer are its *signals*, each a number in [0, 1]: how near question and answer are to the text by
their words, and how probable it is that the text is about the answer's matter and topic. The score of an answer is the
sum of their logarithms, each by its weight; the softmax over the answers found, and one more outcome for none of them,
is the probability that this answer is the one that fits (a conditional logit, McFadden 1974, "Conditional logit
analysis of qualitative choice behavior", in Frontiers in Econometrics, 105-142). What speaks for none of them is how
probable it is that the text is about no matter that an earlier question was on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]

#: What speaks for an answer, and what is added to it before its logarithm is taken: no signal alone rules out.
#: A short answer may share no word with its own question, so the answer's floor is higher.
SIGNALS = {
    "question": 0.02,
    "answer": 0.1,
    "matter": 1e-4,
    "topic": 1e-3,
    "meaning": 0.1,
    "answer_meaning": 0.1,
}
BY_TEXT = ("question", "answer", "meaning", "answer_meaning")  # signals of a text beside a text

# Weights of the signals before anything is learnt, and the strength of the belief in their proportions, chosen on the
# re-asks of splits train and valid of both desks, the questions about an answer held out together. Freely fitted
# weights trust the matter more (0.6 to 0.9): likelier, and the right answer comes first for one in a hundred fewer. How
# sharp the weights are together is left to the re-asks, once they are more than a few.
_BEFORE = {"question": 2.0, "answer": 0.8, "matter": 0.4, "topic": 0.2, "meaning": 2.0, "answer_meaning": 1.0}
_BELIEF = 60.0
_SIZE_BELIEF = 5.0  # in the size of all weights together: a few odd questions must not make them nothing
_NONE_BEFORE, _NONE_BELIEF = -7.5, 0.5  # score of none of them, and the belief in that
_UNANSWERED_BEFORE, _UNANSWERED_BELIEF = 1.0, 5.0  # weight of what speaks for none of them; 0 to 5 are alike
_UNANSWERED_FLOOR = 0.02  # 0.005 to 0.1 are alike
LARGEST_WEIGHT, LARGEST_NONE = 20.0, 40.0  # that are fitted
_LEAST_WEIGHT = {"question": 0.4}  # whatever re-asks say, the nearer question stays before the others

#: Of more answers than this only the best can be the one that fits, in training as in use.
#: Few, so that an archive may grow by what has nothing to do with a question, and its probabilities stay.
MOST_POSSIBLE = 10

_N_FOLDS = 5


@dataclass(frozen=True)
class ReuseModel:
    """What makes an answer fit.

    Attributes
    ----------
    weights : dict of str to float
        Weight of each signal, at least 0.
    none : float or None
        Score of the outcome that no answer fits; None when no re-asks were there to learn from: then answers are
        ranked, and no probability is known.
    unanswered : float
        Weight, in the score of that outcome, of the logarithm of how probable it is that no earlier question was on
        the matter of a question.
    """

    weights: Mapping[str, float]
    none: float | None = None
    unanswered: float = 0.0

    @classmethod
    def unfitted(cls) -> Self:
        """Return the weights that hold for any desk before anything is learnt."""
        return cls(dict(_BEFORE))

    def similarity(self, signals: Mapping[str, Floats]) -> Floats:
        """Return how near each answer is to each question by all signals.

        Parameters
        ----------
        signals : mapping of str to float array of shape (n_questions, n_answers)
            Some of `SIGNALS`, in [0, 1].

        Returns
        -------
        float32 array of shape (n_questions, n_answers)
            Weighted geometric mean of the signals, each shifted by its floor; in [0, 1]. With one signal it is that
            signal, but for the floor.
        """
        whole = np.float32(sum(self.weights[name] for name in signals))
        mean: Floats = np.exp(self._scores(signals) / (whole if whole > 0 else np.float32(1)))
        return mean

    def probability(self, signals: Mapping[str, Floats], unanswered: Floats | None = None) -> Floats | None:
        """Return the probability that each answer is the one that fits.

        Parameters
        ----------
        signals : mapping of str to float array of shape (n_questions, n_answers)
        unanswered : float array of shape (n_questions,), optional
            How probable it is that no earlier question was on the matter of a question, in [0, 1]; 1 by default.

        Returns
        -------
        float32 array of shape (n_questions, n_answers), or None
            In [0, 1]; what a row lacks to 1 is the probability that none of them fits. Of more than `MOST_POSSIBLE`
            answers the best share it, and all others have 0. None when nothing was learnt.

        Examples
        --------
        >>> model = ReuseModel({"question": 2.0}, none=-3.0)
        >>> model.probability({"question": np.array([[1.0, 0.2, 0.0]])}).round(2)
        array([[0.91, 0.04, 0.  ]], dtype=float32)
        """
        if self.none is None:
            return None
        none = np.full((len(next(iter(signals.values()))), 1), self.none, np.float32)
        if unanswered is not None:
            none += np.float32(self.unanswered) * _logarithm(unanswered, _UNANSWERED_FLOOR)[:, None]
        return _choice(self._scores(signals), none)

    def _scores(self, signals: Mapping[str, Floats]) -> Floats:
        shape = next(iter(signals.values())).shape
        scores = np.zeros(shape, np.float32)
        for name, logarithm in _logarithms(signals).items():
            scores += np.float32(self.weights[name]) * logarithm
        return scores


def _logarithms(signals: Mapping[str, Floats]) -> dict[str, Floats]:
    return {name: _logarithm(signal, SIGNALS[name]) for name, signal in signals.items()}


def _logarithm(signal: Floats, floor: float) -> Floats:
    logarithm: Floats = np.log((signal + np.float32(floor)) / (1 + np.float32(floor)))
    return logarithm


def _choice(scores: Floats, none: Floats) -> Floats:
    """Return the softmax over each row's highest scores and that of none, (n_rows, 1), without the latter's column."""
    n_left = scores.shape[1] - MOST_POSSIBLE
    if n_left > 0:
        least = np.partition(scores, n_left, axis=1)[:, n_left, None]
        above, equal = scores > least, scores == least
        n_equal = MOST_POSSIBLE - above.sum(1, keepdims=True)  # of these the first
        scores = np.where(above | (equal & (equal.cumsum(1) <= n_equal)), scores, np.float32(-np.inf))
    whole = np.logaddexp(scipy.special.logsumexp(scores, axis=1, keepdims=True), none)
    chosen: Floats = np.exp(scores - whole)
    return chosen


def fit_reuse(
    signals: Mapping[str, Floats],
    right: Integers,
    groups: Integers,
    *,
    ruled_out: Integers | None = None,
    unanswered: Floats | None = None,
    random_state: int = 0,
) -> tuple[ReuseModel, Floats]:
    """Learn what makes an answer fit from questions of which it is known.

    Parameters
    ----------
    signals : mapping of str to float array of shape (n_questions, n_answers)
        Of questions that the desk was not trained on, or as if it had not been.
    right : int array of shape (n_questions,)
        Place of the answer that fits; -1 where none is known to.
    groups : int array of shape (n_questions,)
        Questions of one group are held out together: those about one answer.
    ruled_out : int array of shape (n_questions,), optional
        Where no answer is known to fit, the place of the one that is known not to: all others may. With -1, the
        default, none of them fits.
    unanswered : float array of shape (n_questions,), optional
        How probable it is that no earlier question was on the matter of a question, in [0, 1].
    random_state : int, default=0
        Draws the folds.

    Returns
    -------
    model : ReuseModel
    held_out : float32 array of shape (n_questions, n_answers)
        Probabilities by models that had not seen the question's group.

    Raises
    ------
    ValueError
        If there are no questions of at least two groups.

    Examples
    --------
    >>> signals = {"question": np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.2], [0.2, 0.1]] * 5)}
    >>> right, groups = np.array([0, 1, -1, -1] * 5), np.arange(20)
    >>> model, held_out = fit_reuse(signals, right, groups)
    >>> (held_out.argmax(axis=1) == right)[right >= 0].all(), held_out[right >= 0].max() > held_out[right < 0].max()
    (np.True_, np.True_)
    """
    names = list(signals)
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(f"reuse must be learnt from questions about at least two answers, got {n_groups}")
    stack = np.stack(list(_logarithms(signals).values()), -1).astype(np.float32)
    possible = _possible(stack.shape[1], right, np.full(len(right), -1) if ruled_out is None else ruled_out)
    # What the score of none is made of: itself, and what speaks for it.
    of_none = np.ones((len(right), 1), np.float32)
    if unanswered is not None:
        of_none = np.column_stack((of_none, _logarithm(unanswered.astype(np.float32), _UNANSWERED_FLOOR)))
    fold_of = np.random.default_rng(random_state).permutation(n_groups)[np.unique(groups, return_inverse=True)[1]]
    held_out = np.zeros(stack.shape[:2], np.float32)
    n_folds = min(_N_FOLDS, n_groups)
    for fold in range(n_folds):
        out = fold_of % n_folds == fold
        weights, none = _fit(stack[~out], of_none[~out], possible[~out], names)
        held_out[out] = _choice(
            stack[out] @ weights.astype(np.float32), of_none[out] @ none[:, None].astype(np.float32)
        )
    weights, none = _fit(stack, of_none, possible, names)
    model = ReuseModel({**_BEFORE, **dict(zip(names, weights.tolist(), strict=True))}, *none.tolist())
    return model, held_out


def _possible(n_answers: int, right: Integers, ruled_out: Integers) -> npt.NDArray[np.bool_]:
    """Return which outcomes may be the right one, the last of which is that no answer fits."""
    possible = np.zeros((len(right), n_answers + 1), bool)
    row = np.arange(len(right))
    possible[row, np.where(right >= 0, right, n_answers)] = True
    partly = row[(right < 0) & (ruled_out >= 0)]
    possible[partly] = True
    possible[partly, ruled_out[partly]] = False
    return possible


def _fit(
    stack: Floats, of_none: Floats, possible: npt.NDArray[np.bool_], names: list[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the weights, and those of the score of none, that make likeliest what may be, drawn to those before."""
    before = np.array([_BEFORE[name] for name in names])
    n_none = of_none.shape[1]
    none_before = np.array([_NONE_BEFORE, _UNANSWERED_BEFORE][:n_none])
    belief = np.append(np.full(len(names), _BELIEF), [_NONE_BELIEF, _UNANSWERED_BELIEF][:n_none])

    def loss(numbers: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights, none = np.split(numbers, [len(names)])
        scores = stack @ weights.astype(np.float32)
        scores = np.hstack((scores, of_none @ none[:, None].astype(np.float32)))
        probability = scipy.special.softmax(scores, axis=1)
        hit = np.where(possible, probability, 0)
        total = np.maximum(hit.sum(1, keepdims=True), 1e-12)
        pull = (probability - hit / total).astype(np.float64)
        # Away from the proportions, whatever the size; from the size; and for none from what it was before.
        size = weights @ before / (before @ before)
        away = np.append(weights - size * before, none - none_before)
        gradient = np.append(np.einsum("ij,ijk->k", pull[:, :-1], stack), pull[:, -1] @ of_none) + 2 * belief * away
        gradient[: len(names)] += 2 * _SIZE_BELIEF * (size - 1) * before / (before @ before)
        surprise = -float(np.log(total, dtype=np.float64).sum())
        unlikely = float((belief * away**2).sum() + _SIZE_BELIEF * (size - 1) ** 2)
        return (surprise + unlikely) / len(stack), gradient / len(stack)

    bounds = [(_LEAST_WEIGHT.get(name, 0.0), LARGEST_WEIGHT) for name in names]
    bounds += [(-LARGEST_NONE, LARGEST_NONE), (0.0, LARGEST_WEIGHT)][:n_none]
    start = np.append(before, none_before)
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[: len(names)], found.x[len(names) :]
