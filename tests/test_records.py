"""Tests of `triage.records`: frozen, compared by value, ready for JSON and pickle."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from triage.records import REASONS, Decision, Match, Suggestion, TriageResult

WORDS = (("giấy", 0.5), ("phép", -0.25))
RANKING = (("land", 0.75), ("tax", 0.25))


def decision(explain=lambda: WORDS, ranking=RANKING, **changes):
    facts = {"target": "topic", "label": "land", "probability": 0.75, "status": "review", "reason": "ambiguous"}
    return Decision(**{**facts, **changes}, ranking=ranking, explain=explain)


def test_words_are_explained_once_and_only_when_read():
    calls = []
    one = decision(lambda: calls.append(1) or WORDS)
    assert calls == []
    assert (one.words, one.words) == (WORDS, WORDS)
    assert calls == [1]


def test_decision_without_an_explanation_has_no_words():
    assert Decision("topic", "land", 1.0, "assigned", None, (("land", 1.0),)).words == ()


def test_ranking_is_made_once_and_only_when_read():
    calls = []
    one = decision(ranking=lambda: calls.append(1) or RANKING)
    assert (one.label, one.probability, calls) == ("land", 0.75, [])
    assert (one.ranking, one.ranking) == (RANKING, RANKING)
    assert calls == [1]
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'ranking'"):
        one.ranking = ()


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
def test_ranking_made_late_is_a_ranking_like_any_other(copied):
    late = decision(ranking=lambda: RANKING)
    assert copied(late) == late == decision()
    assert hash(late) == hash(decision())
    assert repr(decision(ranking=lambda: RANKING)) == repr(decision())
    assert decision(ranking=lambda: RANKING).to_dict() == decision().to_dict()
    assert replace(decision(ranking=lambda: RANKING), label="tax").ranking == RANKING
    assert "_rank" not in vars(copied(decision(ranking=lambda: RANKING)))


def test_decision_has_no_other_attributes():
    for one in (decision(), decision(ranking=lambda: RANKING)):
        with pytest.raises(AttributeError, match="'Decision' object has no attribute 'colour'"):
            one.colour  # noqa: B018


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
    [
        (decision(), "label"),
        (Suggestion("1", "q", None, 0.5), "id"),
        (TriageResult({}, "review"), "route"),
        (Match("M1", 0.5), "matter"),
    ],
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


def test_match_is_plain_json():
    row = {"matter_id": "M1", "names": {"en": "Retail of liquor"}, "valid_to": None}
    match = Match("M1", 0.5, row)
    assert json.loads(json.dumps(match.to_dict())) == {"matter": "M1", "probability": 0.5, "row": row}
    assert Match(None, 0.25).to_dict() == {"matter": None, "probability": 0.25, "row": None}
    match.to_dict()["row"]["valid_to"] = "x"
    assert match.row["valid_to"] is None


def test_reasons_are_those_of_the_design():
    assert set(REASONS) == {"low_confidence", "ambiguous", "out_of_scope", "empty", "conflict"}
