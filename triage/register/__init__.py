"""The competence register: which body decides a matter on a day, and what that makes of a classifier's outcomes."""

from triage.register.aging import outdated, staleness
from triage.register.competence import Competence, DatedOutcomes, NameScores
from triage.register.table import ROUTE, Register, body_of, to_day

__all__ = [
    "ROUTE",
    "Competence",
    "DatedOutcomes",
    "NameScores",
    "Register",
    "body_of",
    "outdated",
    "staleness",
    "to_day",
]
