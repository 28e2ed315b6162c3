"""What a desk must offer to be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt
import pandas as pd

from triage.decision import Threshold
from triage.records import TriageResult


class Desk(Protocol):
    """What is measured; a `Triager` is one."""

    @property
    def targets(self) -> Sequence[str]:
        """Names of the targets."""

    @property
    def classes_(self) -> Mapping[str, npt.NDArray[Any]]:
        """Labels of each target."""

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """Of each target."""

    @property
    def register(self) -> Any:
        """Who decides a matter; None without."""

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        """Earlier questions to suggest, with ``id`` and what is known of them."""

    @property
    def reuse(self) -> Any:
        """When an answer is offered; its ``threshold`` is None where nothing was learnt."""

    def predict_with_proba(self, texts: Any, as_of: Any = None) -> tuple[pd.DataFrame, dict[str, npt.NDArray[Any]]]:
        """Triage questions into a table, and give the probabilities of every target."""

    def predict(self, texts: Sequence[str], as_of: Any = None, k: int = 5) -> list[TriageResult]:
        """Triage questions."""
