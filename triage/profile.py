"""What a desk sees in many questions: row by row, without their words, so that later ones can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from triage.text import Words, fold_codes, word_hashes

#: Rows of a profile at most; more are drawn from. A few thousand compare any week, and a bundle stays small.
MAX_ROWS = 2000

_CHUNK_TEXTS = 1024
_STEP = np.uint64(0x9E3779B97F4A7C15)  # an odd number with well mixed bits (2**64 divided by the golden ratio)
_ARRAYS = ("best", "probability", "entropy", "assigned", "outside", "starts", "words")

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Profile:
    """What a desk sees in some questions.

    Attributes
    ----------
    classes : dict of str to list
        Labels of each target.
    best : int32 array of shape (n_rows, n_targets)
        Class of the best label.
    probability, entropy : float32 arrays of shape (n_rows, n_targets)
        Of the best label; of all labels, in nats.
    assigned : bool array of shape (n_rows, n_targets)
        Whether it was assigned; else it went to review.
    right : bool array of shape (n_rows, n_targets), or None
        Whether the best label was right, where that is known.
    outside : bool array of shape (n_rows,)
        Messages taken for out of scope.
    starts : int32 array of shape (n_rows + 1,)
    words : uint32 array
        Row ``i`` has the words and pairs of neighbouring words ``words[starts[i]:starts[i + 1]]``: hashes, ascending.
    """

    classes: dict[str, list[Any]]
    best: npt.NDArray[np.int32]
    probability: Floats
    entropy: Floats
    assigned: Bools
    right: Bools | None
    outside: Bools
    starts: npt.NDArray[np.int32]
    words: Hashes

    def __len__(self) -> int:
        return len(self.best)

    def of(self, rows: npt.NDArray[np.intp]) -> Profile:
        """Return the profile of some of the rows."""
        sizes = np.diff(self.starts)[rows]
        starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
        places = np.arange(starts[-1]) - np.repeat(starts[:-1] - self.starts[rows], sizes)
        return replace(
            self,
            best=self.best[rows],
            probability=self.probability[rows],
            entropy=self.entropy[rows],
            assigned=self.assigned[rows],
            right=None if self.right is None else self.right[rows],
            outside=self.outside[rows],
            starts=starts,
            words=self.words[places],
        )

    def sample(self, random_state: int, n_rows: int = MAX_ROWS) -> Profile:
        """Return the profile of rows drawn at random, in their order; itself where there are no more than `n_rows`."""
        if len(self) <= n_rows:
            return self
        drawn = np.random.default_rng(random_state).choice(len(self), n_rows, replace=False)
        return self.of(np.sort(drawn))

    def to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return labels as JSON values, and all else as arrays."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        classes = [[target, labels] for target, labels in self.classes.items()]  # in their order
        return {"classes": classes}, arrays if self.right is None else {**arrays, "right": self.right}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the profile from what `to_state` gave.

        Parameters
        ----------
        settings : mapping
        arrays : mapping of str to array

        Returns
        -------
        Profile

        Raises
        ------
        ValueError
            If the parts do not fit each other.
        """
        profile = cls(dict(settings["classes"]), right=arrays.get("right"), **{n: arrays[n] for n in _ARRAYS})
        shape = (len(profile.best), len(profile.classes))
        table = [(profile.best, "i"), (profile.probability, "f"), (profile.entropy, "f"), (profile.assigned, "b")]
        table += [] if profile.right is None else [(profile.right, "b")]
        sizes = [len(labels) for labels in profile.classes.values()]
        fits = (
            all(array.shape == shape and array.dtype.kind == kind for array, kind in table),
            profile.outside.shape == shape[:1] and profile.outside.dtype.kind == "b",
            profile.starts.shape == (shape[0] + 1,) and profile.starts.dtype.kind == "i",
            profile.words.shape == (len(profile.words),) and profile.words.dtype == np.uint32,
            all(np.isfinite(array).all() for array in (profile.probability, profile.entropy)),
        )
        if not all(fits):
            raise ValueError(f"part {list(fits).index(False)} of the profile does not fit")
        starts = profile.starts
        if starts[0] != 0 or starts[-1] != len(profile.words) or (np.diff(starts) < 0).any():
            raise ValueError("the words of the profile do not fit its rows")
        if ((profile.best < 0) | (profile.best >= sizes)).any():
            raise ValueError("a label of the profile does not fit")
        return profile


def concatenated(profiles: Sequence[Profile]) -> Profile:
    """Return the rows of profiles, one or more, of one desk as one; whether labels are right is not kept."""
    first = profiles[0]
    sizes = np.concatenate([np.diff(one.starts) for one in profiles])
    names = ("best", "probability", "entropy", "assigned", "outside", "words")
    rows: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in profiles]) for name in names}
    starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return replace(first, right=None, starts=starts, **rows)


def word_rows(texts: Sequence[str], words_of: Callable[[Sequence[str]], Words]) -> tuple[npt.NDArray[np.int32], Hashes]:
    """Return the words of texts, and pairs of neighbouring ones, as hashes, without repeats.

    Parameters
    ----------
    texts : sequence of str, of length n_texts
        Personal data masked, for the hash of a number can be guessed.
    words_of : callable
        Normalises texts and splits them into words, as `triage.features.QuestionVectorizer.words` does.

    Returns
    -------
    starts : int32 array of shape (n_texts + 1,)
    words : uint32 array
        See `Profile`.
    """
    rows: list[Hashes] = []
    for start in range(0, len(texts), _CHUNK_TEXTS):
        words = words_of(texts[start : start + _CHUNK_TEXTS])
        hashes = word_hashes(fold_codes(words.codes), words)
        bounds = np.searchsorted(words.rows, np.arange(words.n_rows + 1))
        for first, last in pairwise(bounds.tolist()):
            one = hashes[first:last]
            rows.append(_narrow(np.concatenate((one, one[:-1] * _STEP + one[1:]))))
    starts = np.concatenate(([0], np.cumsum([len(one) for one in rows]))).astype(np.int32)
    return starts, np.concatenate(rows) if rows else np.zeros(0, np.uint32)


def _narrow(hashes: npt.NDArray[np.uint64]) -> Hashes:
    return np.unique((hashes ^ hashes >> np.uint64(32)).astype(np.uint32))
