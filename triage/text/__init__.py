"""Everything that reads a question's characters: normal form, folding, masking, sentences, citations."""

from triage.text.normal import Normalizer, Words, fold_codes, fold_text, normalize_text, word_hashes

__all__ = ["Normalizer", "Words", "fold_codes", "fold_text", "normalize_text", "word_hashes"]
