"""The model card: it says what the desk knows of itself, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import triage
from triage.card import model_card
from triage.evaluation import evaluate


@pytest.fixture
def measured(triager: triage.Triager, questions: pd.DataFrame) -> triage.Triager:
    """Return the small desk with an evaluation among its metrics."""
    frame = pd.concat([questions, pd.DataFrame({"text": ["xyzzy"], "out_of_scope": [True]})])
    return replace(triager, metrics={**triager.metrics, "valid": evaluate(triager, frame).to_dict()})


def test_card_takes_its_numbers_from_the_metrics(measured: triage.Triager) -> None:
    card = model_card(measured)
    (row,) = (row for row in measured.metrics["valid"]["targets"] if row["target"] == "topic")
    assert f"| topic | 16 | {100 * row['accuracy']:.1f} [" in card
    assert "### Split `valid`, not trained on\n\n16 questions: " in card
    assert f"- topic: {measured.thresholds['topic']}\n" in card
    assert f"`{measured.fingerprint}`" in card
    assert "Split `valid`: of 1 such messages, " in card
    assert "nan" not in card.split()


def test_card_says_what_the_recipe_says(triager: triage.Triager) -> None:
    about = {
        "name": "Land desk",
        "licence": "Apache-2.0",
        "intended_use": "Sort letters.",
        "data": ["Synthetic questions written for this project.", "Not real letters."],
        "limits": "Not legal advice.",
        "recipe": "recipe.toml",
    }
    card = model_card(replace(triager, description=about))
    assert card.startswith("# Land desk\n\n- licence: Apache-2.0\n")
    assert "## Intended use\n\nSort letters.\n" in card
    assert (
        "## Data\n\nSynthetic questions written for this project.\n\nNot real letters.\n\n- questions trained on: 16"
        in card
    )
    assert "## Limits\n\n- Not legal advice.\n- Probabilities and promises hold" in card
    assert "`triage train recipe.toml`" in card


def test_card_of_a_desk_without_numbers(triager: triage.Triager) -> None:
    card = model_card(replace(triager, metrics={}, description={}))
    assert "Nothing was measured." in card
    assert "gives no legal advice" in card


def test_card_is_the_same_after_load(measured: triage.Triager, tmp_path: Path) -> None:
    assert model_card(triage.load(measured.save(tmp_path / "desk"))) == model_card(measured)
    assert json.dumps(measured.metrics)
