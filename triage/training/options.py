"""Options of training, and what they make of features and classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from triage.classifier import JointOptions
from triage.encoder import Encoder
from triage.features import QuestionVectorizer

_MANY_TEXTS = 3000  # from so many on, features of a single text are left out
_C = {"squared_error": 8.0, "squared_hinge": 3.0}
# By whether there are several targets; chosen on valid and held-out rows.
_LANDMARKS, _ENCODER_WEIGHT = {False: 1024, True: 2048}, {False: 1.5, True: 0.7}


@dataclass(frozen=True)
class TrainingOptions:
    """Options of training. What they do was chosen on validation data; see ``tests/benchmarks``.

    Attributes
    ----------
    loss : str or None
        ``"squared_error"`` or ``"squared_hinge"``; None takes the first with several targets, the second with one.
    C : float or None
        Inverse strength of regularisation; None takes 8 with squared error and 3 with squared hinge.
    n_folds : int
        Folds of held-out scores (squared hinge only).
    max_weights : int
        Weights kept.
    char_ngrams, word_ngrams, pair_window, min_df, n_bits
        See `triage.features.QuestionVectorizer`; ``min_df`` None takes 2, or 1 below 3000 texts.
    encoder_landmarks, encoder_weight
        See `triage.features.QuestionVectorizer`; None takes 2048 landmarks and a weight of 0.7 with several targets,
        1024 and 1.5 with one.
    unmarked_copies : bool or None
        Whether each text with diacritics is trained on once more without; None where a fifth of the texts have some.
    name_classes : bool
        Whether the names of classes are trained on as texts: the taxonomy's topics with their typical matters, or
        the labels of a single target, read as words.
    n_jobs : int or None
        Trainings at once (joblib).
    """

    loss: str | None = None
    C: float | None = None
    n_folds: int = 3
    max_weights: int = 4_000_000
    char_ngrams: tuple[int, int] = (2, 5)
    word_ngrams: int = 2
    pair_window: int = 3
    min_df: int | None = None
    n_bits: int = 16
    encoder_landmarks: int | None = None
    encoder_weight: float | None = None
    unmarked_copies: bool | None = None
    name_classes: bool = True
    n_jobs: int | None = None

    def vectorizer(
        self,
        n_texts: int,
        language: str | None,
        abbreviations: Mapping[str, str] | None,
        encoder: Encoder | None = None,
        *,
        several: bool = False,
    ) -> QuestionVectorizer:
        """Return features to be fitted to `n_texts`; `several`: for more than one target."""
        return QuestionVectorizer(
            language=language,
            abbreviations=dict(abbreviations or {}),
            char_ngrams=self.char_ngrams,
            word_ngrams=self.word_ngrams,
            pair_window=self.pair_window,
            min_df=self.min_df or (2 if n_texts >= _MANY_TEXTS else 1),
            n_bits=self.n_bits,
            encoder=encoder,
            encoder_landmarks=_LANDMARKS[several] if self.encoder_landmarks is None else self.encoder_landmarks,
            encoder_weight=_ENCODER_WEIGHT[several] if self.encoder_weight is None else self.encoder_weight,
        )

    def joint(self, loss: str, random_state: int) -> JointOptions:
        """Return the options of the classifier; `loss` where none is set."""
        loss = self.loss or loss
        return JointOptions(
            loss=loss,
            C=self.C or _C.get(loss, 1.0),  # an unknown loss is refused by `fit_joint`
            n_folds=self.n_folds,
            max_weights=self.max_weights,
            n_jobs=self.n_jobs,
            random_state=random_state,
        )
