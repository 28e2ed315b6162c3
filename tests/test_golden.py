"""A bundle of format 1 still opens, and still gives the answers it gave when it was made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import triage
from triage.bundle import load_bundle

GOLDEN = Path(__file__).parent / "data" / "golden-bundle-1"
MAX_BYTES = 300_000


@pytest.fixture(scope="module")
def expected():
    return json.loads((GOLDEN / "expected.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def golden():
    return triage.load(GOLDEN)


def test_bundle_is_of_format_1_and_small():
    _, manifest = load_bundle(GOLDEN)
    assert manifest["format"] == 1
    assert sum(file.stat().st_size for file in GOLDEN.rglob("*")) < MAX_BYTES


def test_labels_are_those_expected(golden, expected):
    assert {target: labels.tolist() for target, labels in golden.classes_.items()} == expected["labels"]


@pytest.mark.parametrize("target", ["topic", "jurisdiction", "level", "agency", "matter"])
def test_probabilities_are_those_expected(golden, expected, target):
    found = golden.predict_proba(expected["texts"], target)
    assert found == pytest.approx(np.array(expected["probabilities"][target]), abs=1e-6)


def test_decisions_are_those_expected(golden, expected):
    results = golden.predict(expected["texts"])
    for result, known in zip(results, expected["decisions"], strict=True):
        assert result.route == known["route"]
        assert (result.suggestions[0].id if result.suggestions else None) == known["suggestion"]
        for target, decision in result.decisions.items():
            assert (decision.label, decision.reason) == (known["labels"][target], known["reasons"][target])
        words = result.decisions["topic"].words
        assert [word for word, _ in words] == [word for word, _ in known["words"]]
        assert [share for _, share in words] == pytest.approx([share for _, share in known["words"]], abs=1e-4)
    assert golden.scope_scores(expected["texts"]) == pytest.approx(expected["out_of_scope"], abs=1e-5)


def test_saved_again_it_is_the_same_bundle(golden, tmp_path):
    for file in golden.save(tmp_path / "again").iterdir():
        if file.name != "manifest.json":  # names the versions it was saved with
            assert file.read_bytes() == (GOLDEN / "bundle" / file.name).read_bytes(), file.name
