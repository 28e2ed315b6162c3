"""A desk measured on labelled questions: numbers with intervals, figures, and one page for who signs it off."""

from triage.evaluation.measured import evaluate
from triage.evaluation.result import Evaluation

__all__ = ["Evaluation", "evaluate"]
