"""Triage of questions: topic, jurisdiction, and answered questions to reuse.

Names below are imported when they are first used, so ``import triage`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triage.classifier import LabelClassifier
    from triage.errors import BundleError, DatasetError, DependencyError, RecipeError, TriageError
    from triage.features import QuestionVectorizer
    from triage.feedback import Correction, FeedbackLog
    from triage.records import Decision, Match, Suggestion, TriageResult
    from triage.register import Register
    from triage.service import predict
    from triage.training import train
    from triage.triager import Triager, load

    __version__: str

__all__ = [
    "BundleError",
    "Correction",
    "DatasetError",
    "Decision",
    "DependencyError",
    "FeedbackLog",
    "LabelClassifier",
    "Match",
    "QuestionVectorizer",
    "RecipeError",
    "Register",
    "Suggestion",
    "TriageError",
    "TriageResult",
    "Triager",
    "__version__",
    "load",
    "predict",
    "train",
]

_HOMES = {
    "BundleError": "triage.errors",
    "Correction": "triage.feedback",
    "DatasetError": "triage.errors",
    "Decision": "triage.records",
    "DependencyError": "triage.errors",
    "FeedbackLog": "triage.feedback",
    "LabelClassifier": "triage.classifier",
    "Match": "triage.records",
    "QuestionVectorizer": "triage.features",
    "RecipeError": "triage.errors",
    "Register": "triage.register",
    "Suggestion": "triage.records",
    "TriageError": "triage.errors",
    "TriageResult": "triage.records",
    "Triager": "triage.triager",
    "load": "triage.triager",
    "predict": "triage.service",
    "train": "triage.training",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use and keep it."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("triage")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'triage' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*globals(), *__all__})
