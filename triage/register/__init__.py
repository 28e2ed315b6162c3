"""The competence register: which body decides a matter on a day, and what that makes of a classifier's outcomes."""

from triage.register.aging import outdated, staleness
from triage.register.competence import Competence, DatedOutcomes, NameScores
from triage.register.documents import Documents
from triage.register.table import BODY, Register, body_of, to_day

__all__ = [
    "BODY",
    "Competence",
    "DatedOutcomes",
    "Documents",
    "NameScores",
    "Register",
    "body_of",
    "outdated",
    "staleness",
    "to_day",
]
