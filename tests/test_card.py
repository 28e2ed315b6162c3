"""The model card: it says what the desk knows of itself, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import triage
from triage.card import model_card
from triage.decision import Threshold, fit_threshold
from triage.evaluation import evaluate
from triage.register import Documents
from triage.reuse import ReuseModel


@pytest.fixture
def measured(triager: triage.Triager, questions: pd.DataFrame) -> triage.Triager:
    """Return the small desk with an evaluation among its metrics."""
    frame = pd.concat([questions, pd.DataFrame({"text": ["xyzzy"], "out_of_scope": [True]})])
    return replace(triager, metrics={**triager.metrics, "valid": evaluate(triager, frame).to_metrics()})


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


REUSE = {"n": 40, "n_right": 30, "accuracy": 0.75, "ece": 0.0421, "auroc": 0.8765}
REUSE |= {"n_unanswered": 7, "could_promise": {"0.7": 0.825, "0.75": 0.5}}


def with_reuse(triager: triage.Triager, threshold: Threshold | None, **measured: object) -> triage.Triager:
    """Return a desk that has learnt reuse."""
    reuse = replace(triager.reuse, model=ReuseModel(triager.reuse.model.weights, -7.0), threshold=threshold)
    return replace(triager, reuse=reuse, metrics={**triager.metrics, "reuse": {**REUSE, **measured}})


def section(card: str, title: str = "Reuse of answers") -> str:
    """Return what a section of a card says."""
    (said,) = (part for part in card.split("\n## ") if part.startswith(f"{title}\n"))
    return said


def test_card_says_how_sure_reuse_is_and_what_is_offered(triager: triage.Triager) -> None:
    said = section(model_card(with_reuse(triager, None)))
    assert "- later questions of which it is known: 40\n" in said
    assert "- the first answer fits, per cent: 75.0 [" in said
    assert "- questions that no answer is about: 7\n- ECE of its probability: 0.042\n" in said
    assert "- AUROC of its probability: 0.876\n" in said
    assert "- offered for reuse: none, as nothing was promised\n" in said
    assert "- promises that could be kept (and share offered): 0.7 (82 %), 0.75 (50 %)" in said
    assert "legal documents" not in said
    assert "too old" not in said
    kept = fit_threshold(np.linspace(1, 0.5, 40), [True] * 40, promise=0.7)
    assert f"- offered for reuse: {kept}\n" in section(model_card(with_reuse(triager, kept)))
    assert "promise 0.7: kept at threshold" in str(kept)
    broken = fit_threshold([0.5] * 40, [False] * 40, promise=0.7)
    said = section(model_card(with_reuse(triager, broken, could_promise={}, auroc=None)))
    assert "cannot be kept on 40 held-out questions; no answer is offered for reuse\n" in said
    assert "review" not in said
    assert "(and share offered): none" in said
    assert "AUROC" not in said
    documents = pd.DataFrame({"document": ["Nghị định 1/2025/NĐ-CP"], "valid_from": [""], "valid_to": ["2026-01-30"]})
    learnt = with_reuse(triager, None)
    reuse = replace(learnt.reuse, documents=Documents.read(documents, "vi"), oldest_days=400)
    said = section(model_card(replace(learnt, reuse=reuse)))
    assert said.rstrip().endswith("- legal documents known to end: 1\n- an answer is too old after, days: 400")


def test_card_of_reuse_that_could_not_be_measured(triager: triage.Triager) -> None:
    nothing = {"n": 0, "n_right": 0, "accuracy": None, "ece": None, "auroc": None, "n_unanswered": 0}
    said = section(model_card(with_reuse(triager, fit_threshold([], [], promise=0.9), **nothing, could_promise={})))
    assert "- later questions of which it is known: 0\n" in said
    assert "None" not in said
    assert "nan" not in said


def test_card_of_a_desk_that_learnt_no_reuse_has_no_section_of_it(triager: triage.Triager) -> None:
    assert "reuse" not in triager.metrics
    card = model_card(triager)
    assert "Reuse of answers" not in card
    assert "for reuse" not in card


def test_card_says_that_a_promise_of_reuse_cannot_be_kept(triager: triage.Triager) -> None:
    promised = replace(triager.reuse, threshold=fit_threshold([], [], promise=0.9), oldest_days=400)
    card = model_card(replace(triager, reuse=promised))
    assert "promise 0.9: cannot be kept on 0 held-out questions; no answer is offered for reuse" in card


def test_sections_of_a_card_stand_in_their_order_and_none_is_empty(triager: triage.Triager) -> None:
    parts = model_card(with_reuse(triager, None)).split("\n## ")[1:]
    assert [part.partition("\n")[0] for part in parts] == [
        "Intended use",
        "Data",
        "Measured",
        "Promises",
        "Reuse of answers",
        "Out of scope",
        "What is not known",
        "Limits",
        "How to reproduce",
    ]
    assert all(part.partition("\n")[2].strip() for part in parts)


def test_card_of_a_desk_without_numbers(triager: triage.Triager) -> None:
    card = model_card(replace(triager, metrics={}, description={}))
    assert "Nothing was measured." in card
    assert "gives no legal advice" in card


def test_card_is_the_same_after_load(measured: triage.Triager, tmp_path: Path) -> None:
    for place, desk in enumerate((measured, with_reuse(measured, None))):
        assert model_card(triage.load(desk.save(tmp_path / f"desk{place}"))) == model_card(desk)
    assert json.dumps(measured.metrics)


@pytest.mark.parametrize("desk", ["industry-trade", "land"])
def test_released_card_is_what_its_bundle_says(desk: str) -> None:
    folder = Path(__file__).parent.parent / "models" / desk
    assert (folder / "model_card.md").read_text("utf-8") == model_card(triage.load(folder))


def test_card_says_what_is_not_known(measured: triage.Triager) -> None:
    said = section(model_card(measured), "What is not known")
    assert "On split `valid`:\n\n- 3 of 3 classes of topic have fewer than 20 questions: too small to judge.\n" in said
    assert "- Groups by length that are too small to judge: under 50 characters, 50 to 99.\n" in said
    assert "- How it differs by style, asker, province, month: the questions do not say.\n" in said
    assert "there were none" not in said  # one message is out of scope


def test_card_of_an_older_bundle_says_what_its_rows_say(measured: triage.Triager) -> None:
    values = measured.metrics["valid"]
    old = {name: values[name] for name in values if name not in ("promises", "reasons", "reused", "slice_columns")}
    for name in ("targets", "classes", "slices"):
        new = ("n_classes", "n_classes_too_few", "too_few", "ece_by_chance")
        old[name] = [{key: row[key] for key in row if key not in new} for row in old[name]]
    card = model_card(replace(measured, metrics={**measured.metrics, "valid": old}))
    assert "3 of 3 classes of topic have fewer than 20 questions" in card
    assert "How it differs by" not in card
    assert "by chance" not in card


def test_card_shows_groups_and_the_promise_in_each_jurisdiction(measured: triage.Triager) -> None:
    values = measured.metrics["valid"]
    row = {**values["promises"][1], "target": "topic", "n_assigned": 40, "n_assigned_right": 39}
    row |= {"group": "local", "promise": 0.9, "status": "kept", "too_few": False}
    card = model_card(replace(measured, metrics={"valid": {**values, "promises": [row]}}))
    assert "| topic | local | 40 | 97.5 [87.1, 99.6] | 0.9: kept |" in card
    assert "| length: under 50 characters | 11 (too few) |" in card


def test_metrics_of_a_bundle_hold_no_question(measured: triage.Triager, questions: pd.DataFrame) -> None:
    kept = json.dumps(measured.metrics["valid"], ensure_ascii=False)
    assert not [text for text in questions["text"] if text in kept]
    assert len(kept) < 40_000
