"""A desk measured on labelled questions: numbers with intervals, figures, and one page for who signs it off."""

from triage.evaluation.display import (
    ConfusionDisplay,
    LearningCurveDisplay,
    PromiseDisplay,
    ReliabilityDisplay,
    ReuseDisplay,
    RiskCoverageDisplay,
)
from triage.evaluation.measured import evaluate
from triage.evaluation.page import report, write_report
from triage.evaluation.result import Evaluation

__all__ = [
    "ConfusionDisplay",
    "Evaluation",
    "LearningCurveDisplay",
    "PromiseDisplay",
    "ReliabilityDisplay",
    "ReuseDisplay",
    "RiskCoverageDisplay",
    "evaluate",
    "report",
    "write_report",
]
