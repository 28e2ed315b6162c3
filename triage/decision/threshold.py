"""A promise to a threshold.

A promise ("at least 95 % of the assigned labels are right") becomes a threshold by Learn then Test [1]_: candidate
thresholds stand in an order that no outcome has touched, each is tested with an exact tail at the full level, and the
first that fails ends the walk. What is tested is what people will count: of a fifth as many assigned labels again, and
of a hundred at least, the promised share is right.

References
----------
.. [1] Angelopoulos, Bates, Candès, Jordan, Lei (2025), "Learn then Test: Calibrating predictive algorithms to achieve
   risk control", Annals of Applied Statistics 19(2), 1641-1662, sections 2 and 3 (fixed sequence testing);
   arXiv:2110.01052.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.metrics import checked_outcomes

#: Threshold of a target without a promise. Above one half the best label is more likely right than wrong, and no
#: other label can be as probable; with calibrated probabilities this is the Bayes rule when a wrong assignment costs
#: as much as a right one saves (Chow 1970, "On optimum recognition error and reject tradeoff", IEEE Trans. Inform.
#: Theory 16(1), 41-46, with rejection cost 1/2).
DEFAULT_THRESHOLD = 0.5

_STEP = 1.02  # ratio of neighbouring candidate counts; 1.02 gave the highest coverage of 1.02 to 1.25, see the tests
_AGAIN, _LEAST_AGAIN = 0.2, 100  # a promise is checked on more questions: a share of those it was made on, and at least
_WRONG_AT_START = 1.3  # 1 finds no threshold for the desks' promises of reuse up to twice as often; 2 stops sooner

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which probability on a label is assigned, and on what evidence.

    Attributes
    ----------
    promise : float or None
        Share of assigned labels that shall be right, in (0, 1); None when nothing was promised.
    confidence : float
        Confidence of the promise and of `lower_bound`, in (0, 1).
    value : float or None
        A label is assigned when its probability is at least this, in [0, 1]; None when the promise cannot be kept
        and everything goes to review.
    n_held_out : int
        Held-out questions looked at.
    n_assigned : int
        Of these, assigned at `value`.
    n_right : int
        Of these, right.
    coverage : float
        ``n_assigned / n_held_out``, in [0, 1]; 0 without questions.
    lower_bound : float
        Clopper-Pearson lower bound of the share right at `value`, in [0, 1], above the promise. It holds for one
        threshold chosen beforehand; after the search only the promise itself is guaranteed.

    Raises
    ------
    ValueError
        If a number is outside its range or the counts contradict each other.
    """

    promise: float | None
    confidence: float
    value: float | None
    n_held_out: int
    n_assigned: int
    n_right: int
    coverage: float
    lower_bound: float

    def __post_init__(self) -> None:
        if self.promise is not None:
            check_share("promise", self.promise)
        check_share("confidence", self.confidence)
        for name in ("value", "coverage", "lower_bound"):
            number = getattr(self, name)
            if number is not None and not 0 <= number <= 1:
                raise ValueError(f"{name} of a threshold must be in [0, 1], got {number}")
        if not 0 <= self.n_right <= self.n_assigned <= self.n_held_out:
            raise ValueError(
                "counts of a threshold must be 0 <= n_right <= n_assigned <= n_held_out, "
                f"got {self.n_right}, {self.n_assigned}, {self.n_held_out}"
            )

    def __str__(self) -> str:
        if self.value is None:
            return (
                f"promise {self.promise:g}: cannot be kept on {self.n_held_out} held-out questions; "
                "everything goes to review"
            )
        held_out = (
            f"{math.floor(100 * self.coverage + 0.5)} % of {self.n_held_out} held-out questions assigned, "
            f"{self.n_right} of {self.n_assigned} right"
        )
        confident = f"with {100 * self.confidence:g} % confidence"
        if self.promise is None:
            bound = f"at least {_percent_down(self.lower_bound)} % right {confident}"
            return f"no promise: threshold {_round_down(self.value)}; {held_out}; {bound}"
        bound = f"at least {100 * self.promise:g} % right {confident}"
        return f"promise {self.promise:g}: kept at threshold {_round_down(self.value)}; {held_out}; {bound}"

    def to_dict(self) -> dict[str, Any]:
        """Return the threshold as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Threshold:
        """Return the threshold that `to_dict` wrote.

        Parameters
        ----------
        values : mapping
            One value for each attribute, nothing else.

        Returns
        -------
        Threshold
            Equal to the one written.

        Raises
        ------
        ValueError
            If an attribute is missing, unknown, no number, or outside its range.
        """
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ValueError(f"a threshold must have the values {sorted(known)}, got {sorted(map(str, values))}")
        for name, value in values.items():
            is_count, may_be_none = name.startswith("n_"), name in ("promise", "value")
            if value is None and may_be_none:
                continue
            if isinstance(value, bool) or not isinstance(value, int if is_count else (int, float)):
                raise ValueError(f"{name} of a threshold must be {'an integer' if is_count else 'a number'}")
        return cls(**values)


def precision_lower_bound(n_right: int, n_assigned: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided lower bound of a share.

    Parameters
    ----------
    n_right : int
        Successes, in [0, `n_assigned`].
    n_assigned : int
        Trials; with 0 the bound is 0.
    confidence : float, default=0.95
        In (0, 1).

    Returns
    -------
    float
        In [0, 1]; the true share is at least this with probability `confidence` or more.

    Raises
    ------
    ValueError
        If the counts contradict each other or `confidence` is not in (0, 1).

    References
    ----------
    Clopper, Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26(4), 404-413; as a quantile of the beta distribution, Brown, Cai, DasGupta (2001), "Interval
    estimation for a binomial proportion", Statistical Science 16(2), section 4.2.1.

    Examples
    --------
    >>> round(precision_lower_bound(59, 59), 4)  # the least count that proves 0.95: 0.95 ** 59 < 0.05
    0.9505
    """
    check_share("confidence", confidence)
    if not 0 <= n_right <= n_assigned:
        raise ValueError(f"counts must be 0 <= n_right <= n_assigned, got {n_right} and {n_assigned}")
    from scipy.special import betaincinv  # imported late: only training needs it

    return float(betaincinv(n_right, n_assigned - n_right + 1, 1 - confidence)) if n_right else 0.0


def fit_threshold(
    probability: npt.ArrayLike, correct: npt.ArrayLike, *, promise: float | None, confidence: float = 0.95
) -> Threshold:
    """Find the loosest threshold that keeps a promise for more questions.

    Parameters
    ----------
    probability : array-like of shape (n_questions,)
        Probability of the best label of each held-out question, in [0, 1].
    correct : array-like of shape (n_questions,)
        Whether that label is right; booleans or 0 and 1.
    promise : float or None
        Share of assigned labels that shall be right, in (0, 1). None measures `DEFAULT_THRESHOLD` and tests nothing.
    confidence : float, default=0.95
        Probability with which the promise shall hold, in (0, 1).

    Returns
    -------
    Threshold
        With ``value`` None when no candidate passes.

    Raises
    ------
    ValueError
        If the arrays are not one-dimensional and of one length, a probability is not in [0, 1], `correct` holds
        anything but 0 and 1, or `promise` or `confidence` is not in (0, 1).

    Notes
    -----
    Candidate *m* assigns the *m* surest questions and all that tie with the last of them. The counts *m* grow by 2 %
    from the least count that could prove a share, the smallest with ``promise ** m <= 1 - confidence``. Each is held
    against a second sample of ``s`` assigned questions: about ``m / 5``, and no fewer than 100, as few say little; the
    promise allows a whole number of them to be wrong, ``b - 1``. Say ``a`` of the ``m`` labels are wrong, and ``b`` of
    the ``s``, so that the promise is broken. If both were drawn from one source, these ``a + b`` would lie among the
    ``m + s`` by chance, and so few as ``a`` with the first by the tail of a hypergeometric distribution: the candidate
    passes where that is at most ``1 - confidence`` (an exact prediction bound, [3]_). It is stricter than the
    Clopper-Pearson bound of the share itself: where that is just reached, a promise of 0.95 was found broken in 8 of 50
    left-out fifths of a table of 1,700 questions. The walk starts at the candidate with the highest chance to pass,
    were some more labels wrong than the probabilities say (a start that is too loose fails at once, and ends it),
    goes on to looser ones, and ends before the first that does not pass.

    Why one level is enough for many tests: counts, start and order depend on `promise` and the probabilities, never
    on `correct`. Given the probabilities they are fixed, so the procedure errs only if the first true hypothesis
    in the walk is rejected, at most ``1 - confidence`` of the time [1]_ [2]_. The hypergeometric tail needs no equal
    chances: only that the assigned questions of both samples could have changed places. It is exact for one candidate;
    for the walk, see the simulation of ``tests/test_decision.py``. Bad calibration costs coverage, never the
    guarantee. Questions from other authors, dates or places than the held-out ones are outside it.

    Cost: one sort, and O(log n) tests.

    References
    ----------
    .. [1] Bauer (1991), "Multiple testing in clinical trials", Statistics in Medicine 10(6), 871-890 (tests in an
       order fixed beforehand).
    .. [2] Angelopoulos et al. (2025), see the head of this module, section 3 (fixed sequence testing).
    .. [3] Thatcher (1964), "Relationships between Bayesian and confidence limits for predictions", Journal of the
       Royal Statistical Society B 26(2), 176-192, section 5.

    Examples
    --------
    >>> probability = np.linspace(1, 0.5, 200)
    >>> print(fit_threshold(probability, probability > 0.6, promise=0.9))
    promise 0.9: kept at threshold 0.58; 84 % of 200 held-out questions assigned, 160 of 168 right; at least 90 % \
right with 95 % confidence
    >>> print(fit_threshold(probability, probability > 0.6, promise=0.99))
    promise 0.99: cannot be kept on 200 held-out questions; everything goes to review
    """
    if promise is not None:
        check_share("promise", promise)
    check_share("confidence", confidence)
    p, right = checked_outcomes(probability, correct)
    order = np.argsort(-p, kind="stable")
    p, n_right = p[order], np.cumsum(right[order], dtype=np.int_)
    if promise is None:
        value: float | None = DEFAULT_THRESHOLD
        n_assigned = int(np.count_nonzero(p >= DEFAULT_THRESHOLD))
    else:
        n_assigned = _walk(p, n_right, promise, confidence)
        value = float(p[n_assigned - 1]) if n_assigned else None
    n_right_assigned = int(n_right[n_assigned - 1]) if n_assigned else 0
    return Threshold(
        promise=promise,
        confidence=confidence,
        value=value,
        n_held_out=len(p),
        n_assigned=n_assigned,
        n_right=n_right_assigned,
        coverage=n_assigned / len(p) if len(p) else 0.0,
        lower_bound=precision_lower_bound(n_right_assigned, n_assigned, confidence),
    )


def _walk(p: Floats, n_right: Integers, promise: float, confidence: float) -> int:
    # Number of questions assigned at the loosest threshold that passes, 0 when none does; p is sorted, highest first.
    counts = _candidate_counts(p, promise, confidence)
    if not len(counts):
        return 0
    needed = counts - _most_wrong(counts, promise, confidence)
    start = _most_promising(counts, np.cumsum(1 - p)[counts - 1] / counts, needed)
    passed = (n_right[counts - 1] >= needed)[start:]
    n_passed = len(passed) if passed.all() else int(passed.argmin())
    return int(counts[start + n_passed - 1]) if n_passed else 0


def _most_wrong(counts: Integers, promise: float, confidence: float) -> Integers:
    # Most labels that may be wrong of each count for the promise to be kept again; -1 where none may.
    from scipy.stats import hypergeom  # imported late: half a second that only training needs

    again = np.maximum(_AGAIN * counts, _LEAST_AGAIN)
    allowed = np.maximum(np.rint(again * (1 - promise)), 1)  # whole, or luck with remainders would decide
    again = np.ceil(allowed / (1 - promise) - 1e-9)
    passes, fails = np.full(len(counts), -1), np.ceil((1 - promise) * counts).astype(int) + 1
    while (fails - passes > 1).any():
        tried = (passes + fails) // 2
        held = hypergeom.cdf(tried, counts + again, tried + allowed + 1, counts) <= 1 - confidence
        passes, fails = np.where(held, tried, passes), np.where(held, fails, tried)
    return passes


def _candidate_counts(p: Floats, promise: float, confidence: float) -> Integers:
    # Counts to test, ascending, each with all that tie with its last question; p is sorted, highest first.
    count = math.ceil(math.log1p(-confidence) / math.log(promise))
    counts = [len(p)] if count <= len(p) else []
    while count < len(p):
        counts.append(count)
        count = max(count + 1, round(count * _STEP))
    with_ties = np.searchsorted(-p, -p[np.array(counts, int) - 1], side="right")
    return np.unique(with_ties).astype(int)


def _most_promising(counts: Integers, expected_wrong: Floats, needed: Integers) -> int:
    # Place of the count that would pass most often if a multiple of that share were wrong; the first of equals.
    from scipy.stats import binom

    right = np.maximum(1 - _WRONG_AT_START * expected_wrong, 0)
    return int(np.argmax(binom.sf(needed - 1, counts, right)))


def check_share(name: str, share: Any) -> None:
    """Refuse what is no share strictly between nothing and all, with a ValueError."""
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1:
        raise ValueError(f"{name} must be in (0, 1), got {share}")


def _round_down(value: float) -> str:
    # Two decimals, never more than the value.
    return f"{math.floor(100 * value + 1e-9) / 100:.2f}"


def _percent_down(share: float) -> str:
    # Per cent with one decimal, never more than the share.
    return f"{math.floor(1000 * share + 1e-9) / 10:.1f}"
