"""Tests of `triage.records`: frozen, compared by value, ready for JSON and pickle."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError

import pytest

from triage.records import REASONS, Decision, Suggestion, TriageResult

WORDS = (("giấy", 0.5), ("phép", -0.25))


def decision(explain=lambda: WORDS, **changes):
    facts = {"target": "topic", "label": "land", "probability": 0.75, "status": "review", "reason": "ambiguous"}
    return Decision(**{**facts, **changes}, ranking=(("land", 0.75), ("tax", 0.25)), explain=explain)


def test_words_are_explained_once_and_only_when_read():
    calls = []
    one = decision(lambda: calls.append(1) or WORDS)
    assert calls == []
    assert (one.words, one.words) == (WORDS, WORDS)
    assert calls == [1]


def test_decision_without_an_explanation_has_no_words():
    assert Decision("topic", "land", 1.0, "assigned", None, (("land", 1.0),)).words == ()


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
def test_copy_takes_the_words_along_and_not_the_model(copied):
    again = copied(decision())
    assert again == decision()
    assert again.words == WORDS
    assert again.explain is tuple
    assert hash(again) == hash(decision())


def test_decisions_are_equal_whatever_explains_them():
    assert decision() == decision(lambda: ())
    assert decision() != decision(probability=0.5)


def test_repr_shows_no_words():
    one = decision()
    assert one.words == WORDS
    assert "giấy" not in repr(one)


@pytest.mark.parametrize(
    ("record", "name"),
    [(decision(), "label"), (Suggestion("1", "q", None, 0.5), "id"), (TriageResult({}, "review"), "route")],
)
def test_records_are_frozen(record, name):
    with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(record, name, "x")


def test_result_is_plain_json():
    result = TriageResult(
        {"topic": decision(), "level": decision(target="level", label=3, reason=None)},
        "review",
        (
            Suggestion("7", "question", "answer", 0.5, matched=("giấy",)),
            Suggestion("8", "q", None, 0.1, 0.9, "expired"),
        ),
        {"as_of": "2025-10-01"},
    )
    plain = result.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain) == ["decisions", "route", "suggestions", "evidence"]
    assert plain["decisions"]["topic"]["words"] == [
        {"word": "giấy", "contribution": 0.5},
        {"word": "phép", "contribution": -0.25},
    ]
    assert plain["decisions"]["topic"]["ranking"][0] == {"label": "land", "probability": 0.75}
    assert plain["suggestions"][0]["matched"] == ["giấy"]
    assert plain["suggestions"][1]["stale"] == "expired"
    assert pickle.loads(pickle.dumps(result)) == result


def test_reasons_are_those_of_the_design():
    assert set(REASONS) == {"low_confidence", "ambiguous", "out_of_scope", "empty", "conflict"}
