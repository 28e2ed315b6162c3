"""Results as the library's users see them: frozen, ordered, JSON-ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Words = tuple[tuple[str, float], ...]

#: Why a decision is left to a person.
REASONS = ("low_confidence", "ambiguous", "out_of_scope", "empty", "conflict")


@dataclass(frozen=True)
class Decision:
    """What was decided for one target of one question.

    Attributes
    ----------
    target : str
        Name of the target, such as ``"topic"``.
    label : Any
        Best label, also when a person must look.
    probability : float
        Calibrated probability in [0, 1] that `label` is right.
    status : str
        ``"assigned"`` or ``"review"``.
    reason : str or None
        None when assigned, else one of `REASONS`.
    ranking : tuple of (label, probability)
        All labels, `label` first, the others by probability; kept whatever the status is. A label can be less
        probable than the next when it must fit another target: the agency of a question for other agencies.
    explain : callable
        Gives `words`; called once, when they are first read.
    """

    target: str
    label: Any
    probability: float
    status: str
    reason: str | None
    ranking: tuple[tuple[Any, float], ...]
    explain: Callable[[], Words] = field(default=tuple, repr=False, compare=False)

    @cached_property
    def words(self) -> Words:
        """The asker's own words in their order, with what each adds to the score of the label over its rivals.

        Together with a constant these contributions are the difference of linear scores exactly.
        """
        return self.explain()

    def __getstate__(self) -> dict[str, Any]:
        """Take the words along, not the model that explains them."""
        return {**vars(self), "words": self.words, "explain": tuple}

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as plain JSON values."""
        return {
            "target": self.target,
            "label": self.label,
            "probability": self.probability,
            "status": self.status,
            "reason": self.reason,
            "ranking": [{"label": label, "probability": probability} for label, probability in self.ranking],
            "words": [{"word": word, "contribution": contribution} for word, contribution in self.words],
        }


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An earlier question that may serve again.

    Attributes
    ----------
    id : str
        Identifier in the archive, or of the training question.
    question : str
        Its text.
    answer : str or None
        Its answer; None for a training question.
    similarity : float
        In [0, 1], higher is closer.
    p_reuse : float or None
        Calibrated probability that the answer fits; None when not fitted.
    stale : str or None
        Why the answer is out of date; None when nothing says so.
    matched : tuple of str
        Words that both texts share.
    """

    id: str
    question: str
    answer: str | None
    similarity: float
    p_reuse: float | None = None
    stale: str | None = None
    matched: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the suggestion as plain JSON values."""
        return {
            "id": self.id,
            "question": self.question,
            "answer": self.answer,
            "similarity": self.similarity,
            "p_reuse": self.p_reuse,
            "stale": self.stale,
            "matched": list(self.matched),
        }


@dataclass(frozen=True, slots=True)
class TriageResult:
    """Everything the library says about one question.

    Attributes
    ----------
    decisions : mapping of str to Decision
        One for each target, in the order of training.
    route : str
        ``"reuse"``, ``"answer"``, ``"forward"`` or ``"review"``.
    suggestions : tuple of Suggestion
        Most similar first.
    evidence : mapping
        On what the decisions rest besides the words.
    """

    decisions: Mapping[str, Decision]
    route: str
    suggestions: tuple[Suggestion, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "decisions": {target: decision.to_dict() for target, decision in self.decisions.items()},
            "route": self.route,
            "suggestions": [suggestion.to_dict() for suggestion in self.suggestions],
            "evidence": dict(self.evidence),
        }
