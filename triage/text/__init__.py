"""Everything that reads a question's characters: normal form, folding, masking, sentences, citations."""

from triage.text.marks import MarkRestorer
from triage.text.masking import mask_personal_data, personal_data_spans
from triage.text.normal import Normalizer, Words, fold_codes, fold_text, normalize_text, word_hashes
from triage.text.spans import citations, sentences

__all__ = [
    "MarkRestorer",
    "Normalizer",
    "Words",
    "citations",
    "fold_codes",
    "fold_text",
    "mask_personal_data",
    "normalize_text",
    "personal_data_spans",
    "sentences",
    "word_hashes",
]
