"""What to label next: unsure, unlike each other, not known; on the desk of sixteen questions and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import triage
from triage import cli
from triage.errors import DatasetError, TriageError
from triage.selection import FACTS, nearly_same_as, pick_rows, select, why
from triage.training import TrainingOptions

LAND = Path(__file__).parent.parent / "datasets" / "land"
NEW = [
    "Who grants a licence to sell liquor by retail, please?",
    "May a shop sell land by retail?",
    "Hòa giải giấy phép bán lẻ rượu nộp thuế ở đâu?",
    "Quantum chromodynamics xylophone zeppelin",
    "Where is the boundary of a ministry?",
]


@pytest.fixture(scope="module")
def model(triager, tmp_path_factory):
    return triager.save(tmp_path_factory.mktemp("model") / "desk")


def run(*arguments, **options):
    return CliRunner().invoke(cli.app, [str(one) for one in arguments], **options)


def test_picks_are_ranked_and_keep_the_index(triager):
    frame = pd.DataFrame({"id": list("abcde"), "text": NEW}, index=[10, 20, 30, 40, 50])
    picks = select(triager, frame, 3)
    assert picks["rank"].tolist() == [1, 2, 3]
    assert list(picks.columns) == ["rank", "id", "why", *FACTS]
    assert frame.loc[picks.index, "id"].tolist() == picks["id"].tolist()


def test_picks_without_ids_are_named_by_row_from_one(triager):
    picks = select(triager, NEW, 5)
    assert picks["row"].tolist() == [place + 1 for place in picks.index]


def test_probability_and_margin_are_those_of_the_least_sure_target(triager):
    picks = select(triager, NEW, 5)
    for place, pick in picks.iterrows():
        margins = {}
        for target in ("topic", "jurisdiction"):
            ranking = triager.predict([NEW[place]])[0].decisions[target].ranking
            margins[target] = ranking[0][1] - ranking[1][1]
            if target == pick["target"]:
                assert (pick["label"], pick["second"]) == (ranking[0][0], ranking[1][0])
                assert pick["probability"] == pytest.approx(ranking[0][1], abs=1e-6)
        assert pick["target"] == min(margins, key=margins.get)
        assert pick["margin"] == pytest.approx(min(margins.values()), abs=1e-6)


def test_what_is_unlike_anything_learnt_says_so(triager, questions):
    picks = select(triager, [NEW[3], questions["text"][2]], 2)
    assert picks["unlike"].loc[[0, 1]].tolist() == [True, False]
    assert picks["why"][0].startswith("unlike anything learnt; ")
    assert picks.index.tolist() == [0, 1]


def test_of_two_alike_the_less_sure_is_picked(triager):
    pair = ["Who grants a licence to sell liquor by retail?", "Who settles a licence to sell land by retail?"]
    margins = [np.diff(np.sort(triager.predict_proba([one], "topic")[0])[-2:])[0] for one in pair]
    assert margins[0] > margins[1]
    assert select(triager, pair, 1, targets=["topic"]).index.tolist() == [1]


def test_nearly_the_same_question_counts_once(triager):
    texts = [NEW[1], NEW[1].upper() + "!!", NEW[4], NEW[1]]
    assert sorted(select(triager, texts, 4).index.tolist()) in ([0, 2], [1, 2], [2, 3])


@pytest.mark.parametrize("as_table", [True, False])
def test_known_questions_are_not_picked_whatever_case_and_marks(triager, as_table):
    known = ["hoa giai giay phep ban le ruou nop thue o dau", NEW[0].upper()]
    picks = select(triager, NEW, 5, known=pd.DataFrame({"text": known}) if as_table else known)
    assert sorted(picks.index.tolist()) == [1, 3, 4]


def test_only_wanted_targets_count(triager):
    assert set(select(triager, NEW, 5, targets=["jurisdiction"])["target"]) == {"jurisdiction"}


def test_texts_without_a_word_are_never_picked(triager):
    picks = select(triager, pd.DataFrame({"text": ["", None, "!?", "12 3", NEW[1]]}), 5)
    assert picks.index.tolist() == [4]


def test_each_text_is_encoded_once(questions, word_encoder):
    encoder = word_encoder()
    desk = triage.train(questions, language="vi", encoder=encoder)
    encoder.asked.clear()
    assert len(select(desk, NEW, 3)) == 3
    assert len(encoder.asked) == len(set(encoder.asked)) == len(NEW)


@pytest.mark.parametrize("texts", [[], ["", "?"]])
def test_nothing_to_pick_is_an_empty_table(triager, texts):
    picks = select(triager, texts, 5)
    assert list(picks.columns) == ["rank", "row", "why", *FACTS]
    assert picks.empty


def test_same_seed_gives_the_same_picks_in_any_order_of_rows(triager):
    frame = pd.DataFrame({"text": NEW})
    picks = select(triager, frame, 3)
    pd.testing.assert_frame_equal(picks, select(triager, frame, 3))
    turned = select(triager, frame[::-1], 3, random_state=5)
    assert turned.index.tolist() == picks.index.tolist()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=40), max_size=12), n=st.integers(1, 15))
def test_any_texts_give_distinct_picks(triager, texts, n):
    picks = select(triager, texts, n)
    assert len(picks) <= min(n, len(texts))
    assert picks.index.is_unique
    assert picks["rank"].tolist() == list(range(1, len(picks) + 1))
    assert picks["margin"].between(0, 1).all()
    assert not any(one and one in said for said in picks["why"] for one in texts if len(one) > 8)


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"n": 0}, ValueError, "n must be at least 1, got 0"),
        ({"texts": "one"}, TypeError, "texts must be"),
        ({"texts": [1]}, TypeError, "must be"),
        ({"texts": pd.DataFrame({"question": ["a"]})}, DatasetError, "column 'text': must be there"),
        ({"known": pd.DataFrame({"question": ["a"]})}, DatasetError, "column 'text': must be there"),
        (
            {"targets": ["colour"]},
            TriageError,
            r"targets must be among .*\['topic', 'jurisdiction'\]; got \['colour'\]",
        ),
        ({"as_of": "soon"}, ValueError, "as_of must be a date"),
    ],
)
def test_wrong_use_says_what_must_hold(triager, changed, kind, message):
    with pytest.raises(kind, match=message):
        select(triager, **{"texts": NEW, **changed})


def test_rows_are_picked_by_unsureness_times_what_is_left_of_their_variance():
    X = sp.csr_matrix(np.array([[1.0, 0, 0], [0.8, 0.6, 0], [0, 0, 1]]))
    # After row 0, the noise 1/16 leaves row 1 the variance 1 - 0.8² / (1 + 1/16) = 0.398 of 1, times 0.99² is 0.390.
    assert pick_rows(X, [0, 0.01, 0.3], 3).tolist() == [0, 2, 1]  # 0.390 < 0.7²
    assert pick_rows(X, [0, 0.01, 0.4], 3).tolist() == [0, 1, 2]  # 0.390 > 0.6²


def test_a_row_of_which_all_is_sure_is_not_picked():
    assert pick_rows(sp.eye(3, format="csr"), [1, 0.5, 1], 3).tolist() == [1]


def test_rows_that_are_nearly_the_same_as_a_pick_are_passed_over():
    texts = ["who signs it", "Who signs it?", "where is tax paid"]
    assert pick_rows(sp.eye(3, format="csr"), [0.1, 0.2, 0.3], 3, nearly_same_as(texts)).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ((False, "tax", "land", 0.2), "topic: unsure between tax and land"),
        ((False, "tax", "", 0.2), "topic: unsure between tax and none"),
        ((False, "tax", "land", 0.8), "topic: rather tax; unlike the picks above"),
        ((True, "tax", "land", 0.8), "unlike anything learnt; topic nearest to tax"),
    ],
)
def test_reason_is_plain(facts, said):
    pick = dict(zip(("unlike", "label", "second", "margin"), facts, strict=True))
    assert why({"target": "topic", **pick}) == said


def test_reason_uses_the_names_of_labels():
    pick = {"unlike": False, "target": "topic", "label": "t", "second": "l", "margin": 0.2}
    assert why(pick, lambda _, label: {"t": "Tax", "l": "Land"}[label]) == "topic: unsure between Tax and Land"


# The command


def test_next_writes_json_lines_into_a_pipe(model, tmp_path):
    file = tmp_path / "new.csv"
    pd.DataFrame({"id": list("abcde"), "text": NEW}).to_csv(file, index=False)
    done = run("next", model, file, "-n", 2)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert [row["rank"] for row in rows] == [1, 2]
    assert list(rows[0]) == ["rank", "id", "question", "why", *FACTS]
    assert all(NEW["abcde".index(row["id"])] == row["question"] for row in rows)
    assert "2 of 5 questions picked" in done.stderr


def test_next_reads_lines_and_shows_a_table(model):
    done = run("next", model, "-", "--format", "table", input="\n".join(NEW))
    assert done.exit_code == 0
    assert "unlike anything" in done.stdout
    assert "zeppelin" in done.stdout


def test_next_leaves_out_what_is_known(model, tmp_path):
    known = tmp_path / "known.csv"
    pd.DataFrame({"text": NEW[1:]}).to_csv(known, index=False)
    done = run("next", model, "-", "--known", known, input="\n".join(NEW))
    assert [json.loads(line)["line"] for line in done.stdout.splitlines()] == [1]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--target", "colour"], 2, "must be one of topic, jurisdiction"),
        (["-n", "0"], 2, "equal to 1"),
        (["--as-of", "soon"], 2, "must be an ISO date"),
        (["--known", "absent.csv"], 1, "absent.csv"),
        (["--known", LAND / "questions.csv", "--text", "question"], 1, "questions.csv: 1 fault"),
    ],
)
def test_next_refuses_wrong_options(model, options, code, message):
    done = run("next", model, "-", *options, input=NEW[0])
    assert done.exit_code == code
    assert message in done.stderr


# The simulation, small; see tests/benchmarks/selection.py


@pytest.mark.slow
def test_picked_labels_teach_more_than_a_quarter_more_random_ones():
    rows = pd.read_csv(LAND / "questions.csv", dtype=str, keep_default_na=False)
    test = rows[rows["split"] == "test"]

    def learn(labelled):
        options = TrainingOptions(loss="squared_error", unmarked_copies=False, n_bits=15)
        return triage.train(labelled, targets=["topic"], language="vi", options=options)

    def accuracy(desk):
        return float(np.mean(desk.predict_proba(test["text"], "topic").argmax(1) == codes(desk)))

    def codes(desk):
        return pd.Index(desk.classes_["topic"]).get_indexer(test["topic"])

    gains = []
    for seed in range(3):
        pool = rows[rows["split"] != "test"].sample(frac=1, random_state=seed).reset_index(drop=True)
        labelled = pool.iloc[:100]
        while len(labelled) < 400:
            rest = pool.drop(labelled.index)
            labelled = pool.loc[[*labelled.index, *select(learn(labelled), rest, 50).index]]
        gains.append(accuracy(learn(labelled)) - accuracy(learn(pool.iloc[:500])))
    assert np.mean(gains) > 0
