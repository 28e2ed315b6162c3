"""Tables in: read, checked, and every fault reported at once.

Text formats (CSV, TSV, JSON Lines) are read as text: a cell ``NA`` stays text, an id ``007`` keeps its zeros.
A faulty table raises one :class:`~triage.errors.DatasetError` that names every fault by row and column; a
message never repeats what a cell of text says.
"""

from triage.dataset.checks import MAX_TEXT_CHARS
from triage.dataset.days import day_of, utc_of
from triage.dataset.files import Source, iter_rows, iter_texts, name_of, read_table, write_table
from triage.dataset.labelled import OUT_OF_SCOPE_COLUMN, Labelled, as_text, read_labelled
from triage.dataset.questions import SPLITS, fingerprint, read_questions
from triage.dataset.register import REGISTER_TARGETS, name_columns, read_register_table
from triage.dataset.taxonomy import (
    Taxonomy,
    Topic,
    read_abbreviations,
    read_taxonomy,
)

__all__ = [
    "MAX_TEXT_CHARS",
    "OUT_OF_SCOPE_COLUMN",
    "REGISTER_TARGETS",
    "SPLITS",
    "Labelled",
    "Source",
    "Taxonomy",
    "Topic",
    "as_text",
    "day_of",
    "fingerprint",
    "iter_rows",
    "iter_texts",
    "name_columns",
    "name_of",
    "read_abbreviations",
    "read_labelled",
    "read_questions",
    "read_register_table",
    "read_table",
    "read_taxonomy",
    "utc_of",
    "write_table",
]
