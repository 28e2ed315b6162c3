"""Readings to a profile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from triage.profile import Profile, word_rows
from triage.text import mask_personal_data
from triage.triager.deciding import Decider
from triage.triager.reading import Reading

_LEAST = 1e-12  # least probability whose logarithm is taken


def observe(decider: Decider, texts: Sequence[str], reading: Reading) -> Profile:
    """Return what a desk sees in texts, labels as they were trained: who is competent on a day is no matter of words.

    Parameters
    ----------
    decider : Decider
    texts : sequence of str, of length n_texts
    reading : Reading
        Of the texts.

    Returns
    -------
    Profile
    """
    mask = partial(mask_personal_data, language=decider.reader.features.language)
    starts, words = word_rows([mask(text) for text in texts], decider.reader.features.words)
    decided = decider.decide(reading, None)
    row = np.arange(len(reading.empty))
    probability = {target: values.astype(np.float64) for target, values in decided.probabilities.items()}
    entropy = [-(p * np.log(np.maximum(p, _LEAST))).sum(1) for p in probability.values()]
    return Profile(
        classes={target: decider.labels[target].tolist() for target in probability},
        best=np.column_stack([decided.best[target] for target in probability]).astype(np.int32),
        probability=np.column_stack([p[row, decided.best[t]] for t, p in probability.items()]).astype(np.float32),
        entropy=np.column_stack(entropy).astype(np.float32),
        assigned=np.column_stack([decided.codes[target] == 0 for target in probability]),
        right=None,
        outside=reading.scope >= decider.reader.scope.threshold,
        starts=starts,
        words=words,
    )
