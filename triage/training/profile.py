"""What training saw in its questions when they were held out, kept to be compared with later ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from triage.features import Seen
from triage.triager import Triager
from triage.triager.profiling import observe
from triage.triager.reading import Reading

_SEED = 0  # of the rows that are kept


def with_profile(
    triager: Triager,
    texts: Sequence[str],
    held_out: tuple[Seen, npt.NDArray[Any]],
    scope_statistics: npt.NDArray[Any],
    truth: Mapping[str, Sequence[Any]],
) -> Triager:
    """Return the desk with the profile of its held-out questions.

    Parameters
    ----------
    triager : Triager
    texts : sequence of str, of length n_texts
        The table's.
    held_out : tuple of Seen and float array of n_texts rows
        Their features, and their scores as if they had not been trained on.
    scope_statistics : float array of shape (n_texts, n_statistics)
        What the scope detector looks at, held out as well.
    truth : mapping of str to sequence, of length n_texts
        Labels of each target.

    Returns
    -------
    Triager
    """
    seen, scores = held_out
    outcome_scores = triager.reader.outcome_scores(seen.ngrams, scores)
    scope = triager.scope.score(scope_statistics)
    profile = observe(triager.decider, texts, Reading(seen, scores, outcome_scores, scope, np.zeros(len(texts), bool)))
    right = [
        np.array(labels, object)[profile.best[:, place]] == np.array(truth[target], object)
        for place, (target, labels) in enumerate(profile.classes.items())
    ]
    profile = replace(profile, right=np.column_stack(right).astype(bool))
    return replace(triager, profile=profile.sample(_SEED))
