"""Tests of what training makes of re-asks, documents and ages, and of what a bundle keeps of it."""

from __future__ import annotations

import json
import logging
import sqlite3
import warnings
from contextlib import closing
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

import triage
from triage import BundleError, DatasetError, RecipeError
from triage.archive import Archive, Item
from triage.bundle import load_bundle, save_bundle
from triage.card import model_card
from triage.errors import ArchiveError
from triage.recipe import read_recipe, train_recipe
from triage.register import Documents
from triage.reuse import LARGEST_NONE, LARGEST_WEIGHT, SIGNALS, ReuseModel
from triage.training import TrainingOptions
from triage.training.gathering import gather
from triage.training.reuse import draw_unanswered

SECRET = "quảnchuối"  # stands in texts, must never stand in a message
ARCHIVE = [
    ("a1", "Who signs for retail of liquor?", "The commune signs.", "liquor"),
    ("a2", "Where is tax on rent paid?", "At the tax office.", "tax"),
    ("a3", "Who settles a dispute over a boundary?", "The commune, by Nghị định 151/2025/NĐ-CP Điều 5.", "land"),
    ("a4", "Sổ đỏ của hộ gia đình do ai ký?", None, "land"),
]
FITS = [
    ("a1", "", "whose signature for a liquor shop, retail"),
    ("a1", "", "retail of liquor: who signs it"),
    ("a2", "", "rent of a house, where do I pay the tax"),
    ("a2", "", "tax on rent, to whom is it paid"),
    ("a3", "", "a boundary dispute with my neighbour, who settles"),
    ("a3", "", "who settles the dispute over my boundary"),
]
NEAR = [
    ("", "a1", "who signs for a plan of land use by liquor makers"),
    ("", "a2", "is rent of land paid to the commune"),
    ("", "a3", "the boundary of the ministry's tax office"),
]
ASKED = ["retail of liquor, who signs", "who settles a dispute over a boundary", "sổ đỏ hộ gia đình ai ký", "zzz", ""]
DOCUMENTS = pd.DataFrame(
    {
        "document": ["Nghị định 151/2025/NĐ-CP Điều 5"],
        "valid_from": ["2025-07-01"],
        "valid_to": ["2026-01-30"],
        "replaced_by": ["Nghị định 49/2026/NĐ-CP"],
    }
)


def reasks(*rows):
    return pd.DataFrame(rows, columns=["archive_id", "near", "text"])


def answers(**columns):
    return pd.DataFrame(ARCHIVE, columns=["id", "question", "answer", "topic"]).assign(**columns)


def train(questions, *rows, **options):
    options = {"archive": answers(), "language": "vi", **options}
    return triage.train(questions, reasks=reasks(*rows) if rows else None, **options)


@pytest.fixture(scope="module")
def desk():
    """Return a desk that has learnt reuse, and knows documents and an age."""
    questions = pd.DataFrame(
        [(text, "liquor" if "liquor" in text else "tax", place) for text, place in QUESTIONS],
        columns=["text", "topic", "jurisdiction"],
    )
    return train(questions, *FITS * 2, *NEAR, documents=DOCUMENTS, oldest_days=400, promise={"reuse": 0.3})


QUESTIONS = [
    ("Who grants a licence to sell liquor by retail?", "local"),
    ("Does the ministry license liquor distributors?", "ministry"),
    ("May a shop sell liquor near a school?", "local"),
    ("Where do I pay tax on the rent of a house?", "local"),
    ("My tax return is late, is there a fine?", "ministry"),
    ("Is the rent of a shop taxed?", "local"),
]


def faults_of(questions, rows, **options):
    """Train on faulty re-asks and return where the faults are."""
    with pytest.raises(DatasetError, match=r"\d+ faults?") as caught:
        triage.train(questions, archive=answers(), reasks=rows, **options)
    assert SECRET not in str(caught.value)
    return [(fault.row, fault.column) for fault in caught.value.faults]


# --- what re-asks teach -----------------------------------------------------------------------------


def test_reasks_teach_how_sure_it_is_that_an_answer_fits(questions):
    plain, taught = train(questions), train(questions, *FITS, *NEAR, promise={"reuse": 0.3})
    for found in plain.similar(ASKED):
        assert all(one.p_reuse is None for one in found)
    assert (plain.reuse.model, plain.reuse.threshold) == (ReuseModel.unfitted(), None)
    first = taught.similar(ASKED)[0][0]
    assert first.id == "a1"
    assert 0.3 < first.p_reuse <= 1
    measured = taught.metrics["reuse"]
    assert (measured["n"], taught.reuse.threshold.n_held_out) == (9, 9)
    assert measured["n_right"] == round(measured["accuracy"] * 9)
    assert 0 <= measured["ece"] <= 1
    assert set(taught.metrics["held_out"]) == {"topic", "jurisdiction"}


def test_more_near_misses_make_less_sure(questions):
    some, many = (train(questions, *FITS, *NEAR, *[NEAR[0]] * n).similar(ASKED[:1])[0][0] for n in (0, 40))
    assert many.p_reuse < some.p_reuse


def test_order_of_reasks_hardly_matters(questions):
    one, other = (train(questions, *rows).similar(ASKED[:2]) for rows in ([*FITS, *NEAR], [*NEAR[::-1], *FITS[::-1]]))
    for found, again in zip(one, other, strict=True):
        assert [suggestion.id for suggestion in found] == [suggestion.id for suggestion in again]
        assert [suggestion.p_reuse for suggestion in found] == pytest.approx([s.p_reuse for s in again], abs=0.02)


def test_right_answer_is_looked_up_for_its_own_question_wherever_it_stands(questions):
    """Near misses between re-asks that fit, and answers in another order, must not shift who fits whom."""
    mixed = [NEAR[0], FITS[0], FITS[2], NEAR[1], FITS[4], FITS[1], NEAR[2], FITS[3], FITS[5]]
    turned = train(questions, *mixed, archive=answers().iloc[::-1].reset_index(drop=True))
    straight = train(questions, *FITS, *NEAR)
    assert turned.metrics["reuse"]["n_right"] == straight.metrics["reuse"]["n_right"] >= 5


def test_reasks_that_fit_are_trained_on(questions):
    word = "zubrowka"
    rows = [("a1", "", f"{word} {number}") for number in range(6)]
    plain, taught = (train(questions, *given, *FITS[2:4]) for given in ([], rows))
    place = taught.classes_["topic"].tolist().index("liquor")
    shares = [triager.predict_proba([word], "topic")[0, place] for triager in (plain, taught)]
    assert shares[0] < shares[1]


@pytest.mark.parametrize("options", [{}, {"targets": "topic"}, {"options": TrainingOptions(loss="squared_hinge")}])
@pytest.mark.parametrize("rows", [FITS, NEAR, [FITS[0], FITS[2]], [FITS[0], NEAR[1]], [*FITS, ("a4", "", "sổ đỏ")]])
def test_few_or_one_sided_reasks_are_no_obstacle(questions, rows, options):
    triager, promised = (train(questions, *rows, **options, **more) for more in ({}, {"promise": {"reuse": 0.3}}))
    measured, n_fits = triager.metrics["reuse"], sum(bool(row[0]) for row in rows)
    assert triager.reuse.threshold is None
    assert promised.metrics["reuse"] == measured
    assert measured["n_unanswered"] == 0  # without matters none is known to be
    assert promised.reuse.threshold.n_held_out == measured["n"]
    assert n_fits <= measured["n"] <= len(rows)
    assert measured["n_right"] <= n_fits
    for result in triager.predict(ASKED):
        assert result.route != "reuse"
        assert all(0 <= one.p_reuse <= 1 for one in result.suggestions)
        assert sum(one.p_reuse for one in result.suggestions) <= 1 + 1e-5
    json.dumps(triager.metrics["reuse"], allow_nan=False)


@pytest.mark.parametrize("rows", [FITS[:1], FITS[:2], NEAR[:1], [FITS[0], NEAR[0]]])
def test_reasks_of_one_answer_teach_no_probability_and_offer_nothing(questions, rows):
    teaches_nothing(train(questions, *rows), None)
    teaches_nothing(train(questions, *rows, promise={"reuse": 0.9}), 0.9)


def teaches_nothing(triager, promise):
    """Say that a desk has learnt nothing of reuse, and offers nothing, whatever was promised."""
    threshold = triager.reuse.threshold
    assert (threshold is None) == (promise is None)
    if threshold is not None:
        assert (threshold.promise, threshold.value, threshold.n_held_out) == (promise, None, 0)
    assert triager.reuse.model == ReuseModel.unfitted()
    assert "reuse" not in triager.metrics
    assert "reuse" not in {result.route for result in triager.predict(ASKED)}
    assert "reuse" not in set(triager.predict_frame(ASKED)["route"])
    assert {one.p_reuse for found in triager.similar(ASKED) for one in found} == {None}


def test_item_without_any_label_is_not_trained_on_as_one_without_a_matter():
    columns = {"topic": "topic", "level": "level", "matter": "matter_id"}
    frame = pd.DataFrame({"text": ["who signs"], "topic": ["liquor"], "level": [""], "matter_id": [""]})
    items = [Item("a1", "Who signs for liquor?"), Item("a2", "Where is tax paid?", topic="tax")]
    archive = pd.DataFrame(map(vars, items))
    asked = pd.DataFrame({"text": ["liquor, who signs"] * 2, "archive_id": ["a1", "a1"]})
    none = [None] * 3
    gathered = gather(
        frame, "text", columns, None, None, archive, asked, None, None, None, TrainingOptions(name_classes=False), None
    )
    labels = list(zip(*gathered.labels.values(), strict=True))
    assert [list(row) for row in labels] == [["liquor", "", ""], none, ["tax", "", ""], none, none]
    assert len(set(gathered.groups)) == 4  # the same words twice are held out together


def test_messages_show_no_words_of_cells_that_stand_in_the_wrong_column(questions):
    words = f"my name is {SECRET} " * 5
    with pytest.raises(DatasetError, match="must be the id of an answered question of the archive") as caught:
        train(questions, (words, "", "who signs"))
    assert SECRET not in str(caught.value)
    with pytest.raises(DatasetError, match="must be there; the columns are") as caught:
        train(questions, archive=pd.DataFrame({"question": ["Who signs?"], words: [1]}))
    assert str(caught.value).count(SECRET) <= 2  # each once, cut
    assert words not in str(caught.value)


def test_promise_of_reuse_without_an_archive_says_what_it_needs(questions):
    with pytest.raises(ValueError, match="needs archive= and reasks="):
        triage.train(questions, promise={"reuse": 0.9})


def test_question_about_a_matter_without_an_answer_is_offered_none_where_one_on_its_topic_is_near(tmp_path):
    words = ["shop", "bar", "market", "hotel", "school", "street", "ship", "farm"]
    rows = [(f"Who signs for retail of liquor in a {word}?", "M1") for word in words]
    rows += [(f"Who signs for import of liquor by {word}?", "M2") for word in words]
    rows += [(f"Where is tax on rent of a {word} paid?", "M3") for word in words]
    table = pd.DataFrame(rows, columns=["text", "matter_id"]).assign(topic="liquor", jurisdiction="local")
    table.loc[16:, ["topic", "jurisdiction"]] = ["tax", "ministry"]
    register = pd.DataFrame(
        [("M1", "liquor", "Retail", "local"), ("M2", "liquor", "Import", "local"), ("M3", "tax", "Rent", "ministry")],
        columns=["matter_id", "topic", "matter_en", "jurisdiction"],
    ).assign(level="", agency="", valid_from="", valid_to="")
    register.loc[:1, "level"] = "commune"
    table["level"] = ["commune"] * 16 + [""] * 8
    archive = answers().iloc[:2].assign(matter_id=["M1", "M3"])
    asked = [("a1", "", f"liquor by retail in my {word}, who signs") for word in words]
    asked += [("a2", "", f"rent of my {word}, where is the tax paid") for word in words]
    desk = triage.train(table, register=register, archive=archive, reasks=reasks(*asked))
    assert desk.metrics["reuse"]["n_unanswered"] == 8
    assert desk.reuse.model.unanswered > 0
    loaded = triage.load(desk.save(tmp_path / "desk"))
    assert loaded.reuse.model == desk.reuse.model
    (fits,), (none,) = loaded.similar(["retail of liquor: who signs?", "import of liquor: who signs?"], k=1)
    assert (fits.id, none.id) == ("a1", "a1")
    assert none.p_reuse < 0.5 < fits.p_reuse
    # An answer whose matter is not known may be on it, the more so the nearer its question is.
    untagged = replace(loaded, records=[{**record, "matter_id": ""} for record in loaded.records])
    (fits,), (none,) = untagged.similar(["who signs for retail of liquor", "import of liquor: who signs?"], k=1)
    assert none.p_reuse < fits.p_reuse
    assert fits.p_reuse > 0.9


def test_near_misses_that_are_not_found_teach_nothing(questions, monkeypatch):
    monkeypatch.setattr("triage.training.reuse.MOST_POSSIBLE", 1)  # as in an archive of many answers that are nearer
    lost = [("", "a1", "boundary dispute, who settles"), ("", "a2", "retail of liquor, who signs")]
    teaches_nothing(train(questions, *lost), None)
    teaches_nothing(train(questions, *lost, promise={"reuse": 0.9}), 0.9)
    teaches_nothing(train(questions, FITS[0], lost[1], promise={"reuse": 0.9}), 0.9)
    one, other = (train(questions, *FITS, *rows) for rows in ([], lost))
    assert one.metrics["reuse"]["n"] == other.metrics["reuse"]["n"] == len(FITS)
    assert other.reuse.model.weights == pytest.approx(one.reuse.model.weights, abs=1e-3)
    assert other.reuse.model.none == pytest.approx(one.reuse.model.none, abs=1e-2)


def test_near_miss_says_nothing_of_other_answers_and_counts_where_it_comes_first(questions):
    def taught(*rows):
        measured = train(questions, *FITS, *rows, promise={"reuse": 0.3}).metrics["reuse"]
        return measured["n"] - len(FITS), measured["n_right"]

    n_right = taught()[1]
    assert n_right >= 5
    assert taught(*NEAR) == (3, n_right)  # each comes first, and does not fit
    elsewhere = [("", "a1", "boundary dispute, who settles"), ("", "a2", "retail of liquor, who signs")]
    assert taught(*elsewhere) == (0, n_right)  # the first is another, which may fit or not
    assert taught(*NEAR, *elsewhere) == (3, n_right)
    assert taught(*[("", "", text) for _, _, text in (*NEAR, *elsewhere)]) == (5, n_right)  # none fits: none is right


def test_near_miss_of_another_answer_takes_nothing_from_the_first_and_none_fits_does(questions):
    text = "boundary dispute, who settles"

    def sure(*rows):
        found = train(questions, *FITS, *NEAR, *rows).similar([text], k=len(ARCHIVE))[0]
        # Where it is named itself often enough, nothing is left that speaks for it, and it need not be the first.
        assert found[0].id == "a3" or ("", "a3", text) in rows
        return {one.id: one.p_reuse for one in found}["a3"]

    plain, named, other, nothing = (
        sure(*[("", near, text)] * n) for near, n in (("", 0), ("a3", 40), ("a1", 40), ("", 40))
    )
    assert named < plain
    assert nothing < plain
    assert other > plain - 0.01


def test_desk_of_which_nothing_can_be_measured_is_kept_all_the_same(questions, tmp_path):
    rows = [("", "a1", "boundary dispute, who settles"), ("", "a2", "retail of liquor, who signs")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        triager = train(questions, *rows, promise={"reuse": 0.9})
    measured = triager.metrics["reuse"]
    assert (measured["n"], measured["n_right"], measured["could_promise"]) == (0, 0, {})
    assert {measured[name] for name in ("accuracy", "ece", "auroc")} == {None}
    assert triager.reuse.threshold.value is None
    loaded = triage.load(triager.save(tmp_path / "bundle"))
    assert loaded.metrics == triager.metrics
    assert "- later questions of which it is known: 0\n" in model_card(loaded)


def test_two_answers_on_one_matter_are_told_by_their_words(questions):
    export = {"id": "b1", "question": "Who signs for export of liquor?", "answer": "The ministry signs."}
    twice = pd.concat([answers(), pd.DataFrame([export | {"topic": "liquor"}])], ignore_index=True)
    rows = [*FITS, ("b1", "", "export of liquor, whose signature"), ("b1", "", "who signs the export of my liquor")]
    triager = train(questions, *rows, archive=twice)
    for text, first in ((ARCHIVE[0][1], "a1"), (export["question"], "b1")):
        (found,) = triager.similar([text], k=2)
        assert found[0].id == first
        assert {one.id for one in found} == {"a1", "b1"}
        assert found[1].p_reuse < found[0].p_reuse <= 1 - found[1].p_reuse + 1e-5


def test_number_ids_beside_gaps_are_whole(questions):
    numbered = answers(id=[1, 2, 3, 4])
    rows = reasks(*FITS, *NEAR).replace({"a1": "1", "a2": "2", "a3": "3"})
    floats = rows.assign(**{name: pd.to_numeric(rows[name]) for name in ("archive_id", "near")})
    assert floats["archive_id"].dtype == float
    one, other = (triage.train(questions, archive=numbered, reasks=table) for table in (rows, floats))
    assert one.reuse == other.reuse
    assert one.metrics["reuse"]["n_right"] > 0


def test_reasks_without_near_misses_need_no_column_for_them(questions):
    whole = reasks(*FITS)
    assert triage.train(questions, archive=answers(), reasks=whole.drop(columns="near")).reuse == (
        triage.train(questions, archive=answers(), reasks=whole).reuse
    )


def test_personal_data_of_reasks_is_nowhere_in_the_bundle(questions, tmp_path):
    triager = train(questions, *FITS, *NEAR, ("a1", "", f"call 0912 345 678, {SECRET}"))
    folder = triager.save(tmp_path / "bundle")
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"0912 345" not in stored  # fewer digits may stand in a checksum
    assert SECRET.encode() not in stored


# --- what is promised -------------------------------------------------------------------------------


def test_promise_of_reuse_that_is_kept_routes_and_one_that_is_not_does_not(questions):
    kept, broken = (train(questions, *FITS * 2, *NEAR, promise={"reuse": share}) for share in (0.3, 0.99))
    assert kept.reuse.threshold.promise == 0.3
    assert kept.reuse.threshold.lower_bound >= 0.3
    assert kept.predict(ASKED)[0].route == "reuse"
    assert broken.reuse.threshold.value is None
    assert "reuse" not in set(broken.predict_frame(ASKED)["route"])
    assert kept.similar(ASKED) == broken.similar(ASKED)
    assert kept.thresholds == broken.thresholds


def test_without_a_promise_nothing_is_ever_offered(questions, tmp_path):
    plain, promised = (train(questions, *FITS * 4, **more) for more in ({}, {"promise": {"reuse": 0.7}}))
    assert plain.reuse.threshold is None
    assert plain.reuse.model == promised.reuse.model
    assert plain.metrics["reuse"] == promised.metrics["reuse"]
    assert plain.similar(ASKED) == promised.similar(ASKED)
    assert promised.predict(ASKED)[0].route == "reuse"
    sure = ReuseModel(plain.reuse.model.weights, -LARGEST_NONE)  # that one fits, as ever it can be
    for triager in (plain, replace(plain, reuse=replace(plain.reuse, model=sure))):
        for one in (triager, triage.load(triager.save(tmp_path / f"{triager.reuse.model.none}"))):
            assert "reuse" not in {result.route for result in one.predict(ASKED)}
            assert "reuse" not in set(one.predict_frame(ASKED)["route"])
    assert triager.similar(ASKED)[0][0].p_reuse > 0.8


def test_promises_that_could_be_kept_are_told_with_the_share_offered(questions):
    rows = [*FITS * 4, *NEAR]
    could = train(questions, *rows).metrics["reuse"]["could_promise"]
    promises = ("0.7", "0.75", "0.8", "0.85", "0.9", "0.95")
    thresholds = {share: train(questions, *rows, promise={"reuse": float(share)}).reuse.threshold for share in promises}
    assert could == {share: fitted.coverage for share, fitted in thresholds.items() if fitted.value is not None}
    assert 0 < len(could) < len(promises)
    assert all(0 < share <= 1 for share in could.values())
    assert train(questions, *FITS, *NEAR).metrics["reuse"]["could_promise"] == {}  # too few to promise anything


def test_threshold_of_reuse_decides_on_the_probability_that_is_shown(questions):
    triager = train(questions, *FITS, *NEAR, promise={"reuse": 0.3})
    (first,) = triager.similar(ASKED[:1], k=1)[0]
    for value, route in ((first.p_reuse, True), (float(np.nextafter(first.p_reuse, 1)), False)):
        at = replace(triager, reuse=replace(triager.reuse, threshold=replace(triager.reuse.threshold, value=value)))
        assert (at.predict(ASKED[:1])[0].route == "reuse") == route
        assert (at.predict_frame(ASKED[:1])["route"][0] == "reuse") == route


def test_promise_of_reuse_without_an_archive_is_refused(questions):
    with pytest.raises(ValueError, match=r"one of \['topic', 'jurisdiction'\], got \['reuse'\]"):
        train(questions, archive=None, promise={"reuse": 0.9})


@pytest.mark.parametrize("kind", ["table", "archive"])
def test_promise_of_reuse_without_reasks_is_allowed_and_offers_nothing(questions, request, tmp_path, kind):
    archive = answers() if kind == "table" else request.getfixturevalue("archive")
    triager = train(questions, archive=archive, promise={"reuse": 0.9})
    plain = train(questions, archive=archive)
    teaches_nothing(triager, 0.9)
    teaches_nothing(plain, None)
    loaded = triage.load(triager.save(tmp_path / "bundle"))
    teaches_nothing(loaded, 0.9)
    assert loaded.reuse == triager.reuse
    assert triager.thresholds == plain.thresholds
    assert triager.similar(ASKED) == plain.similar(ASKED) == loaded.similar(ASKED)


@pytest.mark.parametrize("rows", [[*FITS, *NEAR], FITS[:1], []], ids=len)
@pytest.mark.parametrize("promise", [0, 1, -0.5, 1.5])
def test_promise_of_reuse_that_is_no_share_is_refused(questions, promise, rows):
    with pytest.raises(ValueError, match=r"promise of \'reuse\' must be in \(0, 1\), got"):
        train(questions, *rows, promise={"reuse": promise})


def test_target_called_reuse_is_refused(questions):
    with pytest.raises(ValueError, match="a target must not be called 'reuse', as a column of predictions is; rename"):
        triage.train(questions.rename(columns={"topic": "reuse"}), targets=["reuse"])


# --- faulty re-asks ---------------------------------------------------------------------------------


def test_reasks_without_an_archive_are_refused(questions):
    with pytest.raises(ValueError, match="re-asks need the archive that they ask again, got none; pass archive="):
        triage.train(questions, reasks=reasks(*FITS))


def test_unknown_ids_of_both_columns_are_named_in_one_error(questions):
    rows = reasks(("a9", "", SECRET), ("a1", "a8", "fine"), ("", "a7", "so"), ("a1", "", "good"), ("b1", "b2", "no"))
    assert faults_of(questions, rows) == [
        (1, "archive_id"),
        (2, "near"),
        (3, "near"),
        (5, "archive_id"),
        (5, "near"),
    ]


@pytest.mark.parametrize("column", ["archive_id", "text"])
def test_reasks_without_a_column_are_refused(questions, column):
    assert faults_of(questions, reasks(*FITS).drop(columns=column)) == [(None, column)]


def test_reasks_that_are_no_text_are_refused(questions):
    rows = reasks(("a1", "", None), ("a1", "", f"{SECRET}\0"), ("a1", "", " "))
    assert faults_of(questions, rows) == [(1, "text"), (2, "text"), (3, "text")]


def test_empty_table_of_reasks_is_refused(questions):
    assert faults_of(questions, reasks()) == [(None, None)]


# --- feedback ---------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "desk.archive", language="vi") as store:
        store.add([Item(id, question, answer or "", topic=topic) for id, question, answer, topic in ARCHIVE])
        yield store


def tell(archive, *rows):
    for fits, near, text in rows:
        archive.feedback(text, fits or near, bool(fits), who="Hoa")


def test_feedback_in_an_archive_is_learnt_by_the_next_training(questions, archive):
    before = train(questions, archive=archive)
    assert before.reuse.model.none is None
    tell(archive, *FITS, *NEAR)
    after = train(questions, archive=archive)
    told = train(questions, *FITS, *NEAR, archive=answers(answer=[answer or "" for _, _, answer, _ in ARCHIVE]))
    assert after.reuse.model.weights == pytest.approx(told.reuse.model.weights, abs=1e-3)
    assert after.reuse.model.none == pytest.approx(told.reuse.model.none, abs=1e-2)
    assert after.metrics["reuse"]["n"] == 9
    tell(archive, *[NEAR[0]] * 30)
    assert train(questions, archive=archive).similar(ASKED[:1])[0][0].p_reuse < after.similar(ASKED[:1])[0][0].p_reuse


def test_feedback_is_learnt_beside_reasks_whatever_their_column_of_texts_is_called(questions, archive):
    tell(archive, *NEAR)
    both = train(questions, *FITS, archive=archive)
    assert both.metrics["reuse"]["n"] == 9
    renamed = triage.train(
        questions.rename(columns={"text": "words"}),
        text="words",
        archive=archive,
        reasks=reasks(*FITS).rename(columns={"text": "words"}),
        language="vi",
    )
    assert renamed.reuse == both.reuse


def test_feedback_on_answers_that_are_gone_is_left_out(questions, archive):
    tell(archive, *FITS, *NEAR)
    archive.remove("a3")
    assert train(questions, archive=archive).metrics["reuse"]["n"] == 6
    archive.remove("a2")
    teaches_nothing(train(questions, archive=archive, promise={"reuse": 0.9}), 0.9)  # of one answer only
    archive.remove("a1")
    teaches_nothing(train(questions, archive=archive, promise={"reuse": 0.9}), 0.9)


def test_feedback_allows_a_promise_of_reuse(questions, archive):
    tell(archive, *FITS, *NEAR)
    assert train(questions, archive=archive, promise={"reuse": 0.3}).reuse.threshold.promise == 0.3


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "path"])
def test_archive_may_be_named_by_its_path_and_its_feedback_is_learnt(questions, archive, kind):
    tell(archive, *FITS, *NEAR)
    named = train(questions, archive=kind(archive.path), promise={"reuse": 0.3})
    given = train(questions, archive=archive, promise={"reuse": 0.3})
    assert named.metrics["reuse"]["n"] == 9
    assert named.reuse == given.reuse
    assert named.metrics == given.metrics
    assert named.records == given.records
    assert named.similar(ASKED) == given.similar(ASKED)
    archive.add(Item("a5", "Is it still open?", "It is."))  # nothing holds it
    archive.close()
    assert len(train(questions, archive=kind(archive.path)).records) == 5


def test_archive_named_by_its_path_stays_as_it_is(questions, archive):
    tell(archive, *FITS, *NEAR)
    before = (archive.version, [*archive], archive.feedback_rows().to_dict("records"))
    train(questions, archive=archive.path)
    assert (archive.version, [*archive], archive.feedback_rows().to_dict("records")) == before


def test_database_that_is_no_archive_is_refused(questions, tmp_path, monkeypatch):
    monkeypatch.setattr("triage.training.desk.fit_joint", lambda *_, **__: pytest.fail("it was trained"))
    with closing(sqlite3.connect(tmp_path / "other.archive")) as connection:
        connection.execute("CREATE TABLE items (id TEXT)")
    with pytest.raises(ArchiveError, match="must be an archive, but is another kind of file"):
        train(questions, archive=tmp_path / "other.archive")
    with pytest.raises(DatasetError, match="must end in"):
        train(questions, archive=tmp_path / "none.archive")
    assert not (tmp_path / "none.archive").exists()


def test_personal_data_of_feedback_is_nowhere_in_the_bundle(questions, archive, tmp_path):
    tell(archive, *FITS, *NEAR, ("a1", "", f"call 0912 345 678, {SECRET}"))
    folder = train(questions, archive=archive).save(tmp_path / "bundle")
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"0912 345" not in stored  # fewer digits may stand in a checksum
    assert b"0912345" not in stored
    assert SECRET.encode() not in stored
    texts = b"".join(path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".jsonl"))
    assert b"Hoa" not in texts


def test_logs_hold_no_question(questions, archive, caplog):
    tell(archive, ("a1", "", f"who signs {SECRET}"), ("a2", "", f"rent {SECRET}"))
    lines = []
    with caplog.at_level(logging.DEBUG):
        train(questions, ("a1", "", f"liquor {SECRET}"), archive=archive, progress=lines.append)
        train(questions, archive=archive)
    assert "learning reuse from 3 re-asks" in lines
    assert SECRET not in "".join([*lines, caplog.text])


# --- documents and ages -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["frame", "path", "documents"])
def test_answers_go_stale_with_a_document(questions, tmp_path, kind):
    DOCUMENTS.to_csv(tmp_path / "documents.csv", index=False)
    sources = {"frame": DOCUMENTS, "path": tmp_path / "documents.csv", "documents": Documents.read(DOCUMENTS, "vi")}
    triager = train(questions, documents=sources[kind])
    stale = {one.id: one.stale for one in triager.similar([ASKED[1]], as_of="2026-01-31")[0]}
    assert stale["a3"].endswith("replaced by Nghị định 49/2026/NĐ-CP from 2026-01-31")
    assert {one.stale for one in triager.similar([ASKED[1]], as_of="2026-01-30")[0]} == {None}
    assert stale["a1"] is None


@pytest.mark.parametrize(
    ("basis", "stale"),
    [
        ("Nghị định 151/2025/NĐ-CP Điều 5", True),
        ("Luật Đất đai 2024; Nghị định 151/2025/NĐ-CP Điều 5 khoản 1", True),
        (["NĐ 151/2025 Đ5 k1"], True),
        (["Luật Đất đai 2024"], True),  # what the answer cites counts as well
        ("Nghị định 151/2025/NĐ-CP", True),
        ("", True),  # what the answer cites counts
        ([], True),
        (None, True),
    ],
    ids=repr,
)
def test_legal_basis_of_an_answer_counts_and_what_it_cites(questions, basis, stale, tmp_path):
    archive = answers().assign(legal_basis=[None, None, basis, None])
    triager = train(questions, archive=archive, documents=DOCUMENTS)
    for one in (triager, triage.load(triager.save(tmp_path / "bundle"))):
        found = {found.id: found.stale for found in one.similar([ASKED[1]], as_of="2026-02-01")[0]}
        assert (found["a3"] is not None) == stale


def test_documents_with_faults_are_refused_before_the_training(questions, monkeypatch):
    monkeypatch.setattr("triage.training.desk.fit_joint", lambda *_, **__: pytest.fail("it was trained"))
    with pytest.raises(DatasetError, match="row 1, column 'valid_to'"):
        train(questions, documents=DOCUMENTS.assign(valid_to="soon"))


def test_answer_goes_stale_with_its_age(questions):
    triager = train(questions, archive=answers(answered_at=["2025-01-01", "", None, date(2025, 1, 2)]), oldest_days=30)
    found = [
        {one.id: one.stale for one in triager.similar(["who signs rent dispute sổ"], as_of=day)[0]}
        for day in ("2025-01-31", "2025-02-01")
    ]
    assert set(found[0].values()) == {None}
    assert found[1]["a1"] == "given on 2025-01-01, more than 30 days before"
    assert (found[1]["a2"], found[1]["a3"]) == (None, None)
    assert found[1]["a4"] is None  # no answer that could be old


@pytest.mark.parametrize("days", [-1, 0.5, "30", True], ids=repr)
def test_age_that_is_no_number_of_days_is_refused_before_the_training(questions, days, monkeypatch):
    monkeypatch.setattr("triage.training.desk.fit_joint", lambda *_, **__: pytest.fail("it was trained"))
    with pytest.raises(ValueError, match="oldest_days must be a whole number from 0 on, got"):
        train(questions, oldest_days=days)


# --- recipes ----------------------------------------------------------------------------------------


def write_recipe(folder, questions, more):
    questions.to_csv(folder / "questions.csv", index=False)
    answers().to_json(folder / "archive.jsonl", orient="records", lines=True)
    reasks(*FITS, *NEAR).assign(split=["train"] * 8 + ["test"]).to_csv(folder / "reasks.csv", index=False)
    DOCUMENTS.to_csv(folder / "documents.csv", index=False)
    (folder / "recipe.toml").write_text(
        '[desk]\nname = "Small"\nlanguage = "vi"\n[data]\nquestions = "questions.csv"\narchive = "archive.jsonl"\n'
        f'reasks = "reasks.csv"\ndocuments = "documents.csv"\n{more}',
        "utf-8",
    )
    return folder / "recipe.toml"


def test_recipe_gives_training_what_it_says_of_reuse(questions, tmp_path):
    path = write_recipe(tmp_path, questions, "[reuse]\noldest_days = 400\n[promise]\nreuse = 0.3\n")
    triager = train_recipe(path)
    assert triager.metrics["reuse"]["n"] == 9
    assert triager.reuse.threshold.promise == 0.3
    assert triager.reuse.oldest_days == 400
    assert triager.reuse.documents.problem(["NĐ 151/2025 Đ5"], "2026-02-01") is not None


def test_recipe_may_name_an_archive_whose_feedback_is_learnt(questions, archive, tmp_path):
    tell(archive, *FITS, *NEAR)
    path = write_recipe(tmp_path, questions, "[promise]\nreuse = 0.3\n")
    text = path.read_text("utf-8").replace('"archive.jsonl"', f'"{archive.path.name}"')
    path.write_text(text.replace('reasks = "reasks.csv"\n', ""), "utf-8")
    triager = train_recipe(path)
    assert [record["id"] for record in triager.records] == [id for id, *_ in ARCHIVE]
    assert triager.metrics["reuse"]["n"] == 9
    assert triager.reuse.threshold.promise == 0.3
    path.write_text(text, "utf-8")
    assert train_recipe(path).metrics["reuse"]["n"] == 18  # both are learnt


def test_recipe_learns_from_the_reasks_of_its_splits_only(questions, tmp_path):
    path = write_recipe(tmp_path, questions.assign(split="train"), 'split = "split"\ntrain_on = ["train"]\n')
    assert train_recipe(path).metrics["reuse"]["n"] == 8


def test_recipe_with_problems_of_reuse_names_all_of_them(questions, tmp_path):
    path = write_recipe(tmp_path, questions, '[reuse]\noldest_days = "old"\nage = 3\n')
    for name in ("reasks.csv", "documents.csv"):
        (tmp_path / name).unlink()
    with pytest.raises(RecipeError, match="not a usable recipe") as caught:
        read_recipe(path)
    found = "\n".join(caught.value.problems)
    for part in ("'reasks.csv', which is not there", "'documents.csv', which is", "oldest_days must be", "key 'age'"):
        assert part in found
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("value", ["true", "1.5", "[1]"])
def test_recipe_with_an_age_of_another_type_is_refused(questions, tmp_path, value):
    with pytest.raises(RecipeError, match=r"\[reuse\] oldest_days must be a whole number, at least 0"):
        read_recipe(write_recipe(tmp_path, questions, f"[reuse]\noldest_days = {value}\n"))


# --- bundles ----------------------------------------------------------------------------------------


def test_saved_desk_gives_the_same_suggestions_probabilities_and_routes(desk, tmp_path):
    loaded = triage.load(desk.save(tmp_path / "bundle"))
    assert loaded.reuse.model == desk.reuse.model
    assert loaded.reuse.threshold == desk.reuse.threshold
    for day in ("2025-12-01", "2026-02-01", "2030-01-01"):
        one, other = (triager.predict(ASKED, as_of=day) for triager in (desk, loaded))
        assert [result.to_dict() for result in one] == [result.to_dict() for result in other]
        pd.testing.assert_frame_equal(*(t.predict_frame(ASKED, as_of=day) for t in (desk, loaded)))
    assert "reuse" in set(loaded.predict_frame(ASKED, as_of="2025-12-01")["route"])
    assert {one.stale is None for found in loaded.similar(ASKED, as_of="2026-02-01") for one in found} == {True, False}
    assert (loaded.save(tmp_path / "again") / "manifest.json").read_bytes() == (
        tmp_path / "bundle" / "manifest.json"
    ).read_bytes()


def test_desk_without_reuse_stores_nothing_of_it(triager, tmp_path):
    contents, _ = load_bundle(triager.save(tmp_path / "bundle"))
    assert "reuse" not in contents.settings
    assert "documents" not in contents.tables


@pytest.mark.parametrize(
    "options",
    [{"documents": DOCUMENTS}, {"documents": DOCUMENTS[:0]}, {"oldest_days": 0}, {}],
    ids=["documents", "no_documents", "age", "none"],
)
def test_part_of_what_is_known_of_reuse_comes_back(questions, tmp_path, options):
    triager = train(questions, **options)
    loaded = triage.load(triager.save(tmp_path / "bundle"))
    assert replace(loaded.reuse, documents=None) == replace(triager.reuse, documents=None)
    assert (loaded.reuse.documents is None) == (triager.reuse.documents is None)
    assert loaded.similar(ASKED, as_of="2026-02-01") == triager.similar(ASKED, as_of="2026-02-01")


OF_OLD = ("question", "answer", "matter", "topic")  # signals of bundles of before there were encoders


def test_bundle_of_before_encoders_knows_nothing_of_meaning(contents, desk, monkeypatch):
    reuse = contents.settings["reuse"]
    weights = {name: reuse["weights"][name] for name in OF_OLD}
    settings = {**contents.settings, "reuse": {**reuse, "weights": weights}}
    monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _: (replace(contents, settings=settings), {}))
    loaded = triage.load("a bundle")
    assert loaded.similar(ASKED) == desk.similar(ASKED)
    unfitted = ReuseModel.unfitted().weights
    assert loaded.reuse.model.weights == {
        **weights,
        **{name: unfitted[name] for name in unfitted if name not in weights},
    }


@pytest.fixture(scope="module")
def contents(desk, tmp_path_factory):
    return load_bundle(desk.save(tmp_path_factory.mktemp("bundles") / "desk"))[0]


@pytest.mark.parametrize(
    "damage",
    [
        *({"none": value} for value in (float("nan"), float("inf"), 1e300, LARGEST_NONE + 1, "x", None, [])),
        *(
            {"weights": {**dict.fromkeys(SIGNALS, 1.0), "topic": value}}
            for value in (-0.1, float("nan"), 1e300, "x", None)
        ),
        {"weights": {**dict.fromkeys(SIGNALS, 1.0), "question": LARGEST_WEIGHT + 1}},
        {"weights": {"question": 2.0}},
        *({"weights": {name: 1.0 for name in OF_OLD if name != missing}} for missing in OF_OLD),
        {"weights": {**dict.fromkeys(SIGNALS, 1.0), "meaning": -0.1}},
        {"weights": []},
        *({"unanswered": value} for value in (-0.1, float("nan"), LARGEST_WEIGHT + 1, "x", None)),
        *({"threshold": value} for value in ({}, [], None, "x")),
        *({"oldest_days": value} for value in (-1, 1.5, "30", True, [])),
        {"documents_language": None},
        {"documents_language": "xx"},
        {"documents_language": 7},
    ],
    ids=repr,
)
def test_damaged_settings_of_reuse_are_refused(contents, damage, monkeypatch):
    settings = {**contents.settings, "reuse": {**contents.settings["reuse"], **damage}}
    monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _: (replace(contents, settings=settings), {}))
    with pytest.raises(BundleError, match="must fit each other"):
        triage.load("a bundle")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "x"], ids=repr)
def test_damaged_threshold_of_reuse_is_refused(contents, value, monkeypatch):
    threshold = {**contents.settings["reuse"]["threshold"], "value": value}
    settings = {**contents.settings, "reuse": {**contents.settings["reuse"], "threshold": threshold}}
    monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _: (replace(contents, settings=settings), {}))
    with pytest.raises(BundleError, match="must fit each other"):
        triage.load("a bundle")


@pytest.mark.parametrize(
    "rows",
    [..., [{}], [{"document": "Nghị định 1/2025/NĐ-CP", "valid_from": SECRET}], [{"document": 7}]],
    ids=["missing", "no_cells", "no_day", "no_text"],
)
def test_damaged_documents_are_refused(contents, tmp_path, rows):
    tables = {**contents.tables, "documents": rows}
    if rows is ...:
        del tables["documents"]
    with pytest.raises(BundleError, match="must fit each other") as caught:
        triage.load(save_bundle(tmp_path / "desk", replace(contents, tables=tables)))
    assert SECRET not in str(caught.value)


def test_document_of_a_bundle_that_cites_none_says_nothing(contents, tmp_path):
    rows = [{"document": "Điều 5", "valid_to": "2025-01-01"}, {"document": SECRET}]
    tables = {**contents.tables, "documents": rows}
    triager = triage.load(save_bundle(tmp_path / "desk", replace(contents, tables=tables)))
    assert len(triager.reuse.documents.rows) == 2
    assert triager.reuse.documents.problem(["Điều 5", SECRET, "NĐ 151/2025 Đ5 k1"], "2026-02-01") is None


@pytest.mark.parametrize(("n_fits", "expected"), [(0, 0), (3, 1), (6, 2), (30, 4)])
def test_questions_without_an_answer_are_drawn_in_their_share_of_the_table(n_fits, expected):
    archive = pd.DataFrame({"matter_id": ["M1", "M2"]})
    matters = ["M1"] * 6 + ["M2"] * 6 + ["M3"] * 3 + [""]
    drawn = draw_unanswered(matters, archive, n_fits, 0)
    assert len(drawn) == expected
    assert drawn == sorted(set(drawn))
    assert {matters[row] for row in drawn} <= {"M3", ""}
    assert drawn == draw_unanswered(matters, archive, n_fits, 0)


def test_no_question_is_drawn_where_nothing_says_which_are_answered():
    matters = ["M1", "", "M7", None]
    assert draw_unanswered(matters, pd.DataFrame({"matter_id": ["M1"] * 9 + [""]}), 9, 0) == [1, 2]
    assert draw_unanswered(matters, pd.DataFrame({"matter_id": ["M1"] * 8 + [""]}), 9, 0) == []  # it may be on M7
    assert draw_unanswered(matters, pd.DataFrame({"matter_id": ["M8"]}), 9, 0) != []
    assert draw_unanswered(matters[:3], pd.DataFrame({"matter_id": ["M8"]}), 9, 0) == []  # called otherwise, it seems
    assert draw_unanswered(matters, pd.DataFrame({"id": ["a"]}), 9, 0) == []
    assert draw_unanswered([], None, 9, 0) == []
