"""Is a table of labelled questions fit to train on: copies, leaks, labels that are wrong, shortcuts, broken text."""

from triage.quality.findings import KINDS, Finding, Quality
from triage.quality.suspects import LEAST_P_WRONG, label_suspects
from triage.quality.table import check

__all__ = ["KINDS", "LEAST_P_WRONG", "Finding", "Quality", "check", "label_suspects"]
