"""Nearest questions by the features that the classifier reads; one item or a million, in memory or mapped from disk.

``rows`` prepares a matrix, ``exact`` and ``bounded`` search one segment of items, ``parts`` joins them, ``changing``
keeps and changes them, ``folder`` writes and reads them; ``question`` and ``vectors`` are the index of sparse and of
dense rows, of which ``graph`` finds near ones among many.
"""

from triage.index.question import QuestionIndex
from triage.index.rows import best, common_features, leave_out, unit_rows
from triage.index.vectors import VectorIndex

__all__ = ["QuestionIndex", "VectorIndex", "best", "common_features", "leave_out", "unit_rows"]
