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
        A callable that gives it is called once, when it is first read.
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

    def __post_init__(self) -> None:
        if callable(self.ranking):
            vars(self)["_rank"] = vars(self).pop("ranking")

    def __getattr__(self, name: str) -> Any:
        """Make the ranking when it is first read: of hundreds of labels most are never looked at."""
        state = vars(self)
        rank = state.get("_rank") if name == "ranking" else None
        if rank is not None:
            state["ranking"] = rank()
            state.pop("_rank", None)
        if name not in state:  # another thread may have been first
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return state[name]

    @cached_property
    def words(self) -> Words:
        """The asker's own words in their order, with what each adds to the score of the label over its rivals.

        Together with a constant these contributions are the difference of linear scores exactly; with an encoder, of
        that part which is how the question is spelt: what it means belongs to no single word. Of a text of more than
        a thousand words the thousand are told that add or take most.
        """
        return self.explain()

    def __getstate__(self) -> dict[str, Any]:
        """Take words and ranking along, not what makes them."""
        state = {**vars(self), "ranking": self.ranking, "words": self.words, "explain": tuple}
        state.pop("_rank", None)
        return state

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
class Match:
    """A matter of the competence register that a question may be about.

    Attributes
    ----------
    matter : str or None
        Id; None for a question that is about none of the register's matters.
    probability : float
        Calibrated, in [0, 1].
    row : mapping or None
        What the register says of it on the day: names by language, jurisdiction, level, agency, legal basis, source,
        confidence, validity. None when no row is valid then, and for no matter.
    """

    matter: str | None
    probability: float
    row: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the match as plain JSON values."""
        row = None if self.row is None else dict(self.row)
        return {"matter": self.matter, "probability": self.probability, "row": row}


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
        On what the decisions rest besides the words: ``out_of_scope_score`` (from 0 on out of scope) and ``as_of``
        where there is a day; with a register and matters also ``matter`` (the most probable one: ``probability``,
        ``agrees`` with the decided labels, and its row on the day), ``matters`` (the likeliest, ranked), ``conflict``
        (None, or what register and classifier say each) and ``forward_to`` (None, or the agency with its names).
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
