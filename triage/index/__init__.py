"""Nearest questions by the features that the classifier reads; one item or a million, in memory or mapped from disk.

``rows`` prepares a matrix, ``exact`` and ``bounded`` search one segment of items, ``parts`` joins them, ``question``
keeps and changes them, ``folder`` writes and reads them.
"""

from triage.index.question import QuestionIndex
from triage.index.rows import best, common_features, leave_out, unit_rows

__all__ = ["QuestionIndex", "best", "common_features", "leave_out", "unit_rows"]
