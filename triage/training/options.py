"""Options of training, and what they make of features and classifier."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from triage.classifier import LOSSES, JointOptions
from triage.encoder import Encoder
from triage.features import QuestionVectorizer

_MANY_TEXTS = 3000  # from so many on, features of a single text are left out
_C = {"squared_error": 8.0, "squared_hinge": 3.0}
# By whether there are several targets; chosen on valid and held-out rows.
_LANDMARKS, _ENCODER_WEIGHT = {False: 1024, True: 2048}, {False: 1.5, True: 0.7}

# What features and classifier refuse as well, but only once the texts are read.
_WHOLE: dict[str, tuple[int, float]] = {
    "n_folds": (2, math.inf),
    "max_weights": (1, math.inf),
    "word_ngrams": (1, 5),
    "pair_window": (0, 20),
    "min_df": (1, 1_000_000),
    "n_bits": (8, 24),
    "encoder_landmarks": (0, 10_000),
    "random_state": (0, 2**32 - 1),
}
_CHAR_NGRAMS, _WEIGHTS = (2, 12), (1e-3, 1e3)


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
        Whether each question with diacritics, and every third of further examples with some, is trained on once more
        without; None where a fifth of the texts have some.
    name_classes : bool
        Whether the names of classes are trained on as texts: the taxonomy's topics with their typical matters, or
        the labels of a single target, read as words.
    n_jobs : int or None
        Trainings at once (joblib).

    Raises
    ------
    ValueError
        If an option is of another type or out of range; all are named.
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

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None or name not in _MAY_BE_NONE}
        problems = option_problems(given)
        if problems:
            raise ValueError("; ".join(problems))

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
            min_df=(2 if n_texts >= _MANY_TEXTS else 1) if self.min_df is None else self.min_df,
            n_bits=self.n_bits,
            encoder=encoder,
            encoder_landmarks=_LANDMARKS[several] if self.encoder_landmarks is None else self.encoder_landmarks,
            encoder_weight=_ENCODER_WEIGHT[several] if self.encoder_weight is None else self.encoder_weight,
        )

    def joint(self, loss: str, random_state: int) -> JointOptions:
        """Return the options of the classifier; `loss` where none is set."""
        loss = loss if self.loss is None else self.loss
        return JointOptions(
            loss=loss,
            C=_C[loss] if self.C is None else self.C,
            n_folds=self.n_folds,
            max_weights=self.max_weights,
            n_jobs=self.n_jobs,
            random_state=random_state,
        )


_MAY_BE_NONE = {option.name for option in fields(TrainingOptions) if option.default is None}


def option_problems(options: Mapping[str, Any]) -> list[str]:
    """Say what options of training, and ``random_state``, must be and are not.

    Parameters
    ----------
    options : mapping of str to object
        By their names, all of them known.

    Returns
    -------
    list of str
        One problem for each option that is of another type or out of range.
    """
    checked = ((name, value, *_wanted(name, value)) for name, value in options.items())
    return [f"{name} must be {wanted}, got {value!r}" for name, value, wanted, right in checked if not right]


def _wanted(name: str, value: Any) -> tuple[str, bool]:
    """Return what an option must be, and whether it is."""
    if name in _WHOLE:
        least, most = _WHOLE[name]
        wanted = f"a whole number, at least {least}" if math.isinf(most) else f"a whole number in [{least}, {most}]"
        return wanted, _is_whole(value) and least <= value <= most
    if name == "n_jobs":
        return "a whole number other than 0", _is_whole(value) and value != 0
    if name == "char_ngrams":
        shortest, longest = _CHAR_NGRAMS
        right = isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_whole, value))
        right = right and shortest <= value[0] <= value[1] <= longest
        return f"two whole numbers, ascending, in [{shortest}, {longest}]", right
    if name == "C":
        return "a finite number above 0", _is_number(value) and 0 < value <= sys.float_info.max
    if name == "encoder_weight":
        low, high = _WEIGHTS
        return f"a number in [{low:g}, {high:g}]", _is_number(value) and low <= value <= high
    if name == "loss":
        return f"one of {', '.join(LOSSES)}", isinstance(value, str) and value in LOSSES
    return "true or false", isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
