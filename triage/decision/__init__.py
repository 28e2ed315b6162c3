"""Probabilities to decisions.

``threshold`` makes a promise a threshold, ``review`` says what is assigned, what is left to a person and why.
"""

from triage.decision.review import FORWARD, REASON_OF_CODE, review_reasons, route_of
from triage.decision.threshold import DEFAULT_THRESHOLD, Threshold, check_share, fit_threshold, precision_lower_bound

__all__ = [
    "DEFAULT_THRESHOLD",
    "FORWARD",
    "REASON_OF_CODE",
    "Threshold",
    "check_share",
    "fit_threshold",
    "precision_lower_bound",
    "review_reasons",
    "route_of",
]
