"""Matrices to calibrated probabilities: linear scores of labels and of their combinations, read jointly."""

from triage.classifier.calibration import Link, fit_weights, softmax
from triage.classifier.fitting import JointOptions, fit_joint
from triage.classifier.joint import JointClassifier
from triage.classifier.label import LabelClassifier
from triage.classifier.outcomes import Outcomes
from triage.classifier.scores import LOSSES, Fitted, fit_scores, fit_squared_error, fit_squared_hinge, gram_matrix

__all__ = [
    "LOSSES",
    "Fitted",
    "JointClassifier",
    "JointOptions",
    "LabelClassifier",
    "Link",
    "Outcomes",
    "fit_joint",
    "fit_scores",
    "fit_squared_error",
    "fit_squared_hinge",
    "fit_weights",
    "gram_matrix",
    "softmax",
]
