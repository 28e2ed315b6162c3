"""Corrections by officers, in a log that only grows and shows when a line of it was changed.

What officers say of an answer that was suggested for reuse is another thing: `triage.archive.Archive.feedback`.
"""

from triage.feedback.corrections import Correction
from triage.feedback.file import Head
from triage.feedback.log import FeedbackLog

__all__ = ["Correction", "FeedbackLog", "Head"]
