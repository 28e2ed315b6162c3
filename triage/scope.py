"""Messages that belong to no class: told from questions by the best score, and by how much of the text is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

Floats = npt.NDArray[np.floating[Any]]

#: Share of held-out questions that may be taken for out of scope. Chosen on CLINC150's validation rows,
#: where it gives a precision near the 82 % asked for; more questions lost than that cost a desk too much.
LOST_QUESTIONS = 0.03
_LEAST_EXAMPLES = 10  # fewer examples of out-of-scope messages teach nothing


@dataclass(frozen=True)
class ScopeDetector:
    """Tells messages out of scope from questions.

    Attributes
    ----------
    weights : tuple of float
        Weight of each statistic; the sum is higher for messages out of scope.
    threshold : float
        From here on a message is out of scope.
    learned : bool
        Whether `weights` come from examples of such messages.
    """

    weights: tuple[float, ...]
    threshold: float
    learned: bool

    def score(self, statistics: Floats) -> Floats:
        """Return how far out of scope each message is.

        Parameters
        ----------
        statistics : float array of shape (n_messages, n_statistics)

        Returns
        -------
        float array of shape (n_messages,)
            Higher is further out.
        """
        # Column by column: a matrix product would round a row by the number of rows beside it.
        score = np.zeros(len(statistics))
        for weight, column in zip(self.weights, statistics.T, strict=True):
            score += weight * column
        return score

    def to_state(self) -> dict[str, Any]:
        """Return the detector as JSON values."""
        return {"weights": list(self.weights), "threshold": self.threshold, "learned": self.learned}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the detector from what `to_state` gave."""
        return cls(tuple(state["weights"]), state["threshold"], state["learned"])


def scope_statistics(combination_scores: Floats, known_shares: Floats) -> Floats:
    """Return what the detector looks at.

    Parameters
    ----------
    combination_scores : float array of shape (n_messages, n_combinations)
        Weighed linear scores.
    known_shares : float array of shape (n_messages, 3)
        Share of characters, words and pairs that the features know.

    Returns
    -------
    float64 array of shape (n_messages, 4)
        Best score, then the known shares.
    """
    statistics = np.empty((len(combination_scores), 1 + known_shares.shape[1]))
    statistics[:, 0] = combination_scores.max(1)
    statistics[:, 1:] = known_shares
    return statistics


def fit_scope(inside: Floats, outside: Floats | None = None) -> ScopeDetector:
    """Fit a detector on held-out statistics.

    Parameters
    ----------
    inside : float array of shape (n_questions, n_statistics)
        Statistics of questions by models that had not seen them.
    outside : float array of shape (n_messages, n_statistics) or None
        The same of messages out of scope. Without them, or with fewer than ten, the best score decides alone.

    Returns
    -------
    ScopeDetector
        Its threshold takes 3 % of `inside` for out of scope.
    """
    weights = np.zeros(inside.shape[1])
    learned = outside is not None and len(outside) >= _LEAST_EXAMPLES
    if outside is not None and learned:
        both = np.vstack([inside, outside])
        spread = np.maximum(both.std(0), 1e-9)
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit(both / spread, np.arange(len(both)) >= len(inside))
        weights = model.coef_[0] / spread
    else:
        weights[0] = -1
    threshold = np.quantile(inside @ weights, 1 - LOST_QUESTIONS)
    return ScopeDetector(tuple(weights.tolist()), float(threshold), learned)
