"""Texts to features."""

from triage.features.ngrams import BLOCKS
from triage.features.texts import check_texts, chunks
from triage.features.vectorizer import QuestionVectorizer

__all__ = ["BLOCKS", "QuestionVectorizer", "check_texts", "chunks"]
