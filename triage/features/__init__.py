"""Texts to features."""

from triage.features.ngrams import BLOCKS
from triage.features.seen import Seen
from triage.features.texts import check_texts, chunks
from triage.features.vectorizer import QuestionVectorizer

__all__ = ["BLOCKS", "QuestionVectorizer", "Seen", "check_texts", "chunks"]
