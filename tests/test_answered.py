"""Tests of the earlier questions of a desk: its own, and those of an archive that goes on changing."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import triage
from triage.archive import Archive, Item
from triage.decision import fit_threshold
from triage.errors import ArchiveError, BundleError
from triage.register import Documents
from triage.reuse import ReuseModel
from triage.triager import Reuse, answered
from triage.triager import following as followed
from triage.triager.answered import Records
from triage.triager.following import Following, record_of

SECRET = "quảnchuối"
CERTAIN = ReuseModel(ReuseModel.unfitted().weights, none=-4.0)
ALWAYS = replace(fit_threshold([0.9, 0.8], [1, 1], promise=None), value=0.0)
ITEMS = [
    Item("a1", "Who grants a licence to sell liquor by retail?", "The commune does.", topic="liquor"),
    Item("a2", "Where do I pay tax on the rent of a house?", "At the tax office.", topic="tax"),
    Item("a3", "Hoà giải tranh chấp đất đai ở xã làm thế nào?", "Nộp đơn ở xã.", topic="land"),
    Item("a4", "Which ministry approves the national plan of land use?", topic="land"),
]
MATTERS = [  # of the small desk with a register
    ("Who grants a licence to sell liquor by retail?", "liquor", "local", "M1"),
    ("May a shop sell liquor near a school?", "liquor", "local", "M1"),
    ("Is a licence needed to sell wine by retail?", "liquor", "local", "M1"),
    ("Who settles a dispute over a boundary of land?", "land", "local", ""),
    ("Hoà giải tranh chấp đất đai ở xã làm thế nào?", "land", "local", ""),
    ("Where do I pay tax on the rent of a house?", "tax", "other_agency", "M3"),
    ("My tax return is late, is there a fine?", "tax", "other_agency", "M3"),
]
ASKED = [
    "licence to sell liquor by retail",
    "thuế: tax on the rent of my house",
    "tranh chấp đất đai ở xã",
    "the national plan of land use",
    "zzz qqq",
    "",
]


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "desk.archive", language="vi") as store:
        store.add(ITEMS)
        yield store


@pytest.fixture(scope="module")
def dated():
    """Return the small desk with a register of three matters, and answers of its own."""
    table = pd.DataFrame(MATTERS, columns=["text", "topic", "jurisdiction", "matter_id"])
    columns = ["matter_id", "topic", "matter_en", "jurisdiction", "level", "agency", "valid_from", "valid_to"]
    rows = [
        ("M1", "liquor", "Retail of liquor", "local", "commune", "", "2025-07-01", ""),
        ("M3", "tax", "Tax on income and rent", "other_agency", "", "finance", "", ""),
    ]
    archive = pd.DataFrame([{**vars(item), "legal_basis": ""} for item in ITEMS])
    return triage.train(table, register=pd.DataFrame(rows, columns=columns), archive=archive, language="vi")


@pytest.fixture(scope="module")
def offering(triager):
    """Return the small desk, sure that whatever it finds first fits."""
    return replace(triager, reuse=Reuse(CERTAIN, ALWAYS))


def ids(triager, texts=ASKED, k=5):
    return [[one.id for one in found] for found in triager.similar(texts, k=k)]


def frames(triager, texts=ASKED):
    return triager.predict_frame(texts).to_dict("list")


def anew(triager, archive):
    """Return what a desk says that reads the archive for the first time, in memory."""
    return triager.with_archive(archive).similar(ASKED)


# --- an archive in the place of the desk's own ------------------------------------------------------


def test_archive_takes_the_place_of_the_own_questions(triager, archive):
    following = triager.with_archive(archive)
    assert {one for found in ids(following, k=99) for one in found} == {"a1", "a2", "a3", "a4"}
    assert [found[0] for found in ids(following)[:4]] == ["a1", "a2", "a3", "a4"]
    assert len(following.following) == 4
    assert all(one.isdigit() for found in ids(triager) for one in found)  # the desk itself is as it was


@pytest.mark.parametrize("kind", [str, Path])
def test_archive_may_be_named_by_its_path(triager, archive, kind):
    assert ids(triager.with_archive(kind(archive.path))) == ids(triager.with_archive(archive))


def test_archive_that_is_not_there_is_refused(triager, tmp_path):
    with pytest.raises(ArchiveError, match="must be an archive that exists"):
        triager.with_archive(tmp_path / "none.archive", index=tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_archive_says_what_a_bundle_of_the_same_answers_says(dated, tmp_path):
    desk = replace(dated, reuse=Reuse(replace(CERTAIN, unanswered=1.5), ALWAYS))
    facts = {"matter_id": "M1", "jurisdiction": "local", "level": "commune", "answered_at": "2025-08-01"}
    rows = [
        *desk.records,
        {"id": "b1", "question": "Who licenses bars?", "answer": "The commune.", "topic": "liquor", **facts},
        {"id": "b2", "question": "Who taxes bars?", "answer": "The province.", **facts, "level": "province"},
        {"id": "b3", "question": "Is rent taxed?", "answer": None, "legal_basis": ["Law 1"], "valid_to": "2025-12-31"},
    ]
    with Archive(tmp_path / "land.archive", language="vi") as store:
        store.add(rows, near_duplicates="store")
        own, following = replace(desk, records=rows), desk.with_archive(store)
        for one, other in zip(own.similar(ASKED, k=90), following.similar(ASKED, k=90), strict=True):
            assert {found.id: found.stale for found in one} == {found.id: found.stale for found in other}
            numbers = [
                {found.id: (found.similarity, found.p_reuse) for found in all_found} for all_found in (one, other)
            ]
            for id, number in numbers[0].items():
                assert numbers[1][id] == pytest.approx(number, abs=1e-5)
        assert own.predict_frame(ASKED)["route"].tolist() == following.predict_frame(ASKED)["route"].tolist()


@pytest.mark.parametrize("stored", [False, True])
def test_empty_archive_suggests_nothing_until_something_is_added(offering, tmp_path, stored):
    with Archive(tmp_path / "new.archive") as store:
        following = offering.with_archive(store, tmp_path / "index" if stored else None)
        assert ids(following) == [[]] * len(ASKED)
        assert [result.suggestions for result in following.predict(ASKED)] == [()] * len(ASKED)
        assert following.predict_frame(ASKED)["suggestion_id"].isna().all()
        assert "reuse" not in frames(following)["route"]
        store.add(ITEMS[0])
        assert ids(following, ASKED[:1]) == [["a1"]]
        store.remove("a1")
        assert ids(following) == [[]] * len(ASKED)


def test_own_questions_are_not_suggested_beside_an_archive_that_was_empty_at_first(triager, tmp_path):
    with Archive(tmp_path / "new.archive") as store:
        assert triager.with_archive(store).similar([triager.records[0]["question"]]) == [[]]


@pytest.mark.parametrize("index", [None, "index"])
def test_desk_with_an_archive_goes_through_pickle_and_follows_on(triager, tmp_path, monkeypatch, index):
    monkeypatch.chdir(tmp_path)
    with Archive("desk.archive") as archive:  # relative paths, which mean others elsewhere
        archive.add(ITEMS)
        desk = triager.with_archive(archive, index)
        before = desk.similar(ASKED)  # what is made at the first question goes along
        state = pickle.dumps(desk)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        again = pickle.loads(state)
        assert again.similar(ASKED) == before
        archive.remove("a1")
        assert again.similar(ASKED) == desk.similar(ASKED) != before
        assert os.listdir() == []


def test_desk_whose_archive_another_process_cannot_reach_says_so(triager, archive, tmp_path):
    state = pickle.dumps(triager.with_archive(archive))
    (tmp_path / "desk.archive").rename(tmp_path / "gone.archive")
    with pytest.raises(ArchiveError, match="must be an archive that exists; check the path"):
        pickle.loads(state)


@pytest.mark.slow
def test_desk_with_an_archive_works_in_other_processes(triager, archive, tmp_path):
    desk = triager.with_archive(archive, tmp_path / "index")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(desk.similar)([text]) for text in ASKED)
    assert [one for (one,) in found] == desk.similar(ASKED)


def test_saved_desk_has_its_own_questions_not_those_of_the_archive(triager, archive, tmp_path):
    saved = triage.load(triager.with_archive(archive).save(tmp_path / "bundle"))
    assert saved.following is None
    assert saved.similar(ASKED) == triager.similar(ASKED)


def test_item_without_an_answer_is_suggested_and_never_reused(offering, archive):
    following = offering.with_archive(archive)
    (result,) = following.predict([ITEMS[3].question])
    assert (result.suggestions[0].id, result.suggestions[0].answer) == ("a4", None)
    assert result.suggestions[0].stale is None
    assert result.suggestions[0].p_reuse > 0.5
    assert result.route != "reuse"
    assert following.predict_frame([ITEMS[3].question])["route"].tolist() == [result.route]
    archive.update("a4", answer="The government.")
    assert following.predict([ITEMS[3].question])[0].route == "reuse"


def test_item_is_found_by_its_answer_too(triager, archive):
    archive.add(Item("b1", "And who then?", "Boundary disputes are settled by a boundary commission."))
    assert ids(triager.with_archive(archive), ["Who settles a dispute over a boundary?"])[0][0] == "b1"


def test_two_answers_on_one_matter_share_the_probability(offering, archive):
    following = offering.with_archive(archive)
    (alone,) = following.similar([ITEMS[0].question], k=1)
    archive.add(replace(ITEMS[0], id="b1", answer="The commune does, by decree."), near_duplicates="store")
    (both,) = following.similar([ITEMS[0].question], k=2)
    assert {one.id for one in both} == {"a1", "b1"}
    assert sum(one.p_reuse for one in both) <= 1 + 1e-5
    assert max(one.p_reuse for one in both) < 0.75 < alone[0].p_reuse


def test_labels_that_an_item_does_not_say_are_not_held_against_it(dated, tmp_path):
    facts = {"matter_id": "M1", "question": "Who licenses bars?", "answer": "We.", "answered_at": "2025-10-01"}
    known = {"jurisdiction": "local", "level": "commune"}
    items = [{"id": "a1", **facts}, {"id": "a2", **facts, **known}, {"id": "a3", **facts, "jurisdiction": "ministry"}]
    with Archive(tmp_path / "land.archive") as store:
        store.add(items, near_duplicates="store")
        (found,) = dated.with_archive(store).similar(["who licenses bars"], as_of="2025-10-01")
    stale = {one.id: one.stale for one in found}
    assert (stale["a1"], stale["a2"]) == (None, None)
    assert stale["a3"].startswith("competence changed from ministry to local/commune")


def test_record_of_an_item_says_what_is_known():
    item = Item("a1", "Who?", topic="tax", legal_basis=("Law 1",), answered_at="2025-10-01")
    assert record_of(item) == {
        "id": "a1",
        "question": "Who?",
        "answer": None,
        "topic": "tax",
        "legal_basis": ("Law 1",),
        "answered_at": "2025-10-01",
    }


def test_answers_on_the_likely_matter_are_found_behind_a_hundred_nearer_by_their_words(dated, tmp_path):
    text = "licence to sell liquor by retail"
    assert dated.match([text], k=1)[0][0].matter == "M1"
    fillers = [Item(f"f{n}", f"licence to sell liquor by retail {n}", f"liquor {n}") for n in range(130)]
    with Archive(tmp_path / "land.archive") as store:
        store.add(fillers, near_duplicates="store")
        store.add(Item("m1", "And if it is a retail of wine?", "So.", matter_id="M1"))
        following = dated.with_archive(store)
        assert "m1" in ids(following, [text], k=200)[0]
        store.update("m1", matter_id="unknown")
        assert "m1" not in ids(following, [text], k=200)[0]


# --- what is offered --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "stale"),
    [
        ({}, None),
        ({"valid_to": "2026-01-30", "answered_at": "2025-01-01"}, "valid until"),
        ({"superseded_by": "a9"}, "superseded by a9"),
        ({"legal_basis": "Nghị định 151/2025/NĐ-CP"}, "cites"),
        ({"answer": "Theo Nghị định 151/2025/NĐ-CP thì có."}, "cites"),
        ({"answer": "Theo Nghị định 151/2025/NĐ-CP.", "legal_basis": "Luật 1"}, "cites"),
        ({"answered_at": "2024-01-01"}, "given "),
    ],
)
def test_stale_answer_is_shown_and_never_reused(triager, archive, cells, stale):
    ended = pd.DataFrame({"document": ["NĐ 151/2025/NĐ-CP"], "valid_from": "", "valid_to": ["2026-01-30"]})
    reuse = Reuse(CERTAIN, ALWAYS, Documents.read(ended, "vi"), oldest_days=400)
    following = replace(triager, reuse=reuse).with_archive(archive)
    archive.update("a1", **cells)
    (result,) = following.predict([ITEMS[0].question], as_of="2026-01-31")
    assert result.suggestions[0].id == "a1"
    assert result.suggestions[0].p_reuse > 0.6
    assert (result.suggestions[0].stale or "").startswith(stale or "")
    assert (result.suggestions[0].stale is None) == (stale is None) == (result.route == "reuse")
    frame = following.predict_frame([ITEMS[0].question], as_of="2026-01-31")
    assert frame[["route", "suggestion_id"]].values.tolist() == [[result.route, "a1"]]


def test_answer_is_stale_from_one_day_to_the_next(offering, archive):
    archive.update("a1", valid_to="2026-01-30")
    following, days = offering.with_archive(archive), ["2026-01-30", "2026-01-31", "2026-01-30"]
    routes = [result.route for result in following.predict([ITEMS[0].question] * 3, as_of=days)]
    assert routes == following.predict_frame([ITEMS[0].question] * 3, as_of=days)["route"].tolist()
    assert [route == "reuse" for route in routes] == [True, False, True]


def test_stale_answer_is_not_passed_over_for_the_next(offering, archive):
    archive.update("a1", valid_to="2026-01-30")
    archive.add(Item("b1", "Who sells liquor?", "Shops."))
    (result,) = offering.with_archive(archive).predict([ITEMS[0].question], as_of="2026-02-01")
    assert (result.suggestions[0].id, result.suggestions[1].stale) == ("a1", None)
    assert result.route != "reuse"


def test_only_what_is_in_scope_is_offered_for_reuse(triager, archive):
    message = "licence to sell liquor by retail"
    outside = replace(triager.scope, threshold=-1e9)
    empty = replace(triager, reuse=Reuse(CERTAIN, ALWAYS))
    following, nothing = empty.with_archive(archive), replace(empty, scope=outside).with_archive(archive)
    archive.add(Item("e1", "?? !!", "Nothing."))
    assert following.predict([message])[0].route == "reuse"
    (found,) = nothing.predict([message])
    assert found.suggestions[0].id == "a1"
    assert (found.route, found.decisions["topic"].reason) == ("review", "out_of_scope")
    assert nothing.predict_frame([message])["route"].tolist() == ["review"]
    for text in ("", "?? !!", "\0", "1"):
        (found,) = following.predict([text])
        assert (found.route, found.decisions["topic"].reason) == ("review", "empty")
        assert following.predict_frame([text])["route"].tolist() == ["review"]


def test_conflict_with_the_register_is_never_offered_for_reuse(dated, monkeypatch):
    desk = replace(dated, reuse=Reuse(CERTAIN, ALWAYS))
    record, day = desk.records[0], "2025-10-01"
    text = record["question"]
    assert desk.predict([text], as_of=day)[0].route == "reuse"
    monkeypatch.setattr(type(desk.reader), "contradicts", lambda self, reading, *_: np.ones(len(reading.empty), bool))
    (result,) = desk.predict([text], as_of=day)
    assert result.suggestions[0].id == record["id"]
    assert (result.route, result.decisions["jurisdiction"].reason) == ("review", "conflict")
    assert desk.predict_frame([text], as_of=day)["route"].tolist() == ["review"]


@pytest.mark.parametrize(
    "reuse",
    [
        Reuse(),
        Reuse(CERTAIN),
        Reuse(CERTAIN, replace(ALWAYS, value=None)),
        Reuse(CERTAIN, replace(ALWAYS, value=1.0)),
        Reuse(threshold=ALWAYS),
    ],
    ids=["nothing", "no_threshold", "promise_not_kept", "threshold_of_one", "no_probability"],
)
def test_desk_that_is_not_sure_enough_offers_nothing(triager, archive, reuse):
    following = replace(triager, reuse=reuse).with_archive(archive)
    results = following.predict(ASKED)
    assert results[0].suggestions[0].id == "a1"
    assert "reuse" not in {result.route for result in results}
    assert [result.route for result in results] == frames(following)["route"]
    assert (results[0].suggestions[0].p_reuse is None) == (reuse.model.none is None)


def test_without_suggestions_nothing_is_offered(offering, archive):
    following = offering.with_archive(archive)
    assert "reuse" in {result.route for result in following.predict(ASKED, k=1)}
    assert "reuse" not in {result.route for result in following.predict(ASKED, k=0)}


@pytest.mark.parametrize("k", [1, 2, 25, 99])
def test_number_of_suggestions_changes_neither_order_nor_numbers_nor_route(offering, archive, k):
    following = offering.with_archive(archive)
    whole, some = (following.predict(ASKED, k=n) for n in (500, k))
    for one, other in zip(whole, some, strict=True):
        assert other.suggestions == one.suggestions[:k]
        assert other.route == one.route


def test_suggestions_fall_in_similarity_and_probability(offering, archive):
    for source in (offering, offering.with_archive(archive)):
        for found in source.similar([*ASKED, *(item.question for item in ITEMS)], k=50):
            for numbers in ([one.similarity for one in found], [one.p_reuse for one in found]):
                assert numbers == sorted(numbers, reverse=True)
                assert all(0 <= number <= 1 for number in numbers)
            assert sum(one.p_reuse for one in found) <= 1 + 1e-5


@pytest.mark.parametrize("days", [-1, 1.5, True, "30", float("nan")], ids=repr)
def test_age_that_is_no_number_of_days_is_refused(days):
    with pytest.raises(ValueError, match=r"oldest_days must be a whole number from 0 on, got"):
        Reuse(oldest_days=days)


def test_bundle_without_answers_has_no_signal_of_answers(triager):
    records = Records(triager.features, triager.records)
    seen = triager.features.read(ASKED)
    ((rows, found),) = records.found(seen, lambda row: [])
    signals = found.signals(seen)
    assert (rows.tolist(), [*signals]) == ([*range(len(ASKED))], ["question"])
    assert signals["question"].shape == (len(ASKED), len(triager.records))
    assert not records.has("topic")


def test_many_texts_are_held_against_the_records_in_parts(dated, monkeypatch):
    whole = dated.similar(ASKED * 3)
    monkeypatch.setattr(answered, "_MOST_PAIRS", 2 * len(dated.records))
    seen = dated.features.read(ASKED * 3)
    parts = [rows.tolist() for rows, _ in dated.suggester.answered.found(seen, lambda row: [])]
    assert parts == [[row, row + 1] for row in range(0, 18, 2)]
    assert dated.similar(ASKED * 3) == whole


# --- an archive that changes ------------------------------------------------------------------------


def test_whatever_changes_is_so_for_the_next_question(triager, archive):
    following = triager.with_archive(archive)
    (before,) = following.similar(ASKED[:1], k=1)[0]
    archive.update("a1", answer="The province does.")
    (after,) = following.similar(ASKED[:1], k=1)[0]
    assert (before.answer, after.answer) == ("The commune does.", "The province does.")
    archive.update("a1", question="Where is the bus?")
    assert following.similar(ASKED[:1], k=1)[0][0].similarity < after.similarity / 2
    assert ids(following, ["where is the bus"])[0][0] == "a1"
    archive.remove("a1")
    assert "a1" not in {one for found in ids(following, k=99) for one in found}
    archive.add(ITEMS[0])
    assert ids(following, ASKED[:1])[0][0] == "a1"
    assert len(following.following) == len(archive) == 4


def test_what_another_process_writes_is_found(triager, archive):
    following = triager.with_archive(archive)
    assert ids(following, ["where is the bus"]) == [[*ids(following, ["where is the bus"])[0]]]
    code = (
        "import sys; from triage.archive import Archive; "
        "Archive(sys.argv[1]).add({'id': 'b1', 'question': 'Where is the bus?', 'answer': 'Late.'})"
    )
    subprocess.run([sys.executable, "-c", code, str(archive.path)], check=True)
    assert ids(following, ["where is the bus"])[0][0] == "b1"


STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([*ASKED[:4], "???", None])), max_size=10)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=STEPS, steps=STEPS, ask=st.booleans())
def test_desk_that_followed_says_what_one_says_that_begins_now(offering, tmp_path_factory, before, steps, ask):
    def change(store, id, question):
        there = any(item.id == id for item in store)
        if question is None:
            if there:
                store.remove(id)
        elif there:
            store.update(id, question=question, near_duplicates="store")
        else:
            store.add(Item(id, question, f"Answer of {id}."), near_duplicates="store")

    folder = tmp_path_factory.mktemp("following")
    with Archive(folder / "a.archive") as store:
        for step in before:
            change(store, *step)
        following = offering.with_archive(store, folder / "index")
        for step in steps:
            change(store, *step)
            if ask:
                following.similar(ASKED[:1])
        expected = anew(offering, store)
        # A replacement has a later key, and later keys lose ties: the same whichever way it came.
        assert following.similar(ASKED) == expected
        del following
        assert offering.with_archive(store, folder / "index").similar(ASKED) == expected


@pytest.mark.parametrize("n_items", [pytest.param(40, marks=pytest.mark.slow), 200])
def test_archive_changes_while_eight_threads_ask(offering, tmp_path, n_items, monkeypatch):
    monkeypatch.setattr(followed, "_CHANGES_TO_MERGE", 30)  # merges run as well
    with Archive(tmp_path / "a.archive") as store:
        words = [f"{place} {item.question}" for place in range(n_items // 4) for item in ITEMS]
        rows = [Item(f"i{place}", text, f"v0 of i{place}", topic="tax") for place, text in enumerate(words)]
        store.add(rows, near_duplicates="store")
        following = offering.with_archive(store, tmp_path / "index")
        done = threading.Event()

        def ask():
            n_asked = 0
            while not done.is_set() or not n_asked:
                for result in following.predict(ASKED, k=3):
                    for one in result.suggestions:
                        assert one.answer.endswith(f"of {one.id}")
                n_asked += 1
            return n_asked

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            with Archive(store.path) as writer:
                for version in range(1, 70):
                    id = f"i{version % 17}"
                    if version % 5 == 0:
                        writer.remove(id)
                        writer.add(
                            Item(id, f"{version} {ITEMS[0].question}", f"v{version} of {id}"), near_duplicates="store"
                        )
                    else:
                        writer.update(id, answer=f"v{version} of {id}")
                    if version % 10 == 0:
                        time.sleep(0.01)
            done.set()
            assert min(future.result() for future in asking) >= 1
        assert following.similar(ASKED) == anew(offering, store)
        following.following._merger.join()
        assert following.similar(ASKED) == anew(offering, store)
        assert following.following._merger is not None


def test_answer_put_on_a_likely_matter_after_the_archive_was_looked_at_is_left_to_the_next_question(
    dated, tmp_path, monkeypatch
):
    text = "licence to sell liquor by retail"
    with Archive(tmp_path / "land.archive") as store:
        store.add(Item("m1", "Who licenses liquor?", "The commune.", matter_id="M1"))
        following = dated.with_archive(store)
        keys_on = Archive.keys_on

        def late(self, *arguments):
            if len(self) < 2:
                store.add(Item("m2", "And the retail of wine?", "The same.", matter_id="M1"))
            return keys_on(self, *arguments)

        monkeypatch.setattr(Archive, "keys_on", late)
        assert ids(following, [text]) == [["m1"]]
        assert sorted(ids(following, [text])[0]) == ["m1", "m2"]


def test_item_that_goes_while_it_is_looked_up_is_left_out(triager, archive, monkeypatch):
    following, of_keys = triager.with_archive(archive), Archive.of_keys

    def late(self, keys):
        if any(item.id == "a1" for item in self):
            self.remove("a1")
        return of_keys(self, keys)

    monkeypatch.setattr(Archive, "of_keys", late)
    assert "a1" not in ids(following, ASKED[:1])[0]


def test_item_that_is_changed_while_it_is_looked_up_is_found_as_it_is_now(triager, archive, monkeypatch):
    following, of_keys, n_changes = triager.with_archive(archive), Archive.of_keys, []

    def late(self, keys):
        if len(n_changes) < 2:
            n_changes.append(self.update("a1", answer=f"Version {len(n_changes)}."))
        return of_keys(self, keys)

    monkeypatch.setattr(Archive, "of_keys", late)
    (found,) = following.similar(ASKED[:1], k=1)[0]
    assert (found.id, found.answer) == ("a1", "Version 1.")


def test_change_while_the_archive_is_opened_is_taken_in_once(triager, archive, monkeypatch):
    keys = Archive.keys

    def late(self):
        monkeypatch.undo()
        self.add(Item("b1", "Where is the bus?", "Late."))
        self.update("a1", answer="Nobody.")
        return keys(self)

    monkeypatch.setattr(Archive, "keys", late)
    following = triager.with_archive(archive)
    assert following.similar(ASKED) == anew(triager, archive)
    assert ids(following, ["where is the bus"])[0][0] == "b1"
    archive.update("b1", answer="Here.")
    assert following.similar(["where is the bus"])[0][0].answer == "Here."


def test_failure_while_following_is_made_good_by_the_next_question(triager, archive, monkeypatch):
    following = triager.with_archive(archive)
    monkeypatch.setattr(followed, "_BLOCK", 1)
    archive.remove("a2")
    archive.add([Item(f"b{place}", f"Where is bus {'xyz'[place] * 20}?") for place in range(3)])
    of_keys, n_calls = Archive.of_keys, []

    def failing(self, keys):
        n_calls.append(len(keys))
        if len(n_calls) == 2:
            raise ArchiveError(path=self.path, problem="the disk failed", remedy="do it again")
        return of_keys(self, keys)

    monkeypatch.setattr(Archive, "of_keys", failing)
    with pytest.raises(ArchiveError, match="the disk failed"):
        following.similar(ASKED)
    assert following.similar(ASKED) == anew(triager, archive)
    assert len(following.following) == len(archive)


def test_archive_that_is_closed_says_so(triager, archive):
    following = triager.with_archive(archive)
    archive.close()
    with pytest.raises(ArchiveError, match="the archive is closed"):
        following.similar(ASKED)


def test_merge_changes_no_answer(offering, archive, tmp_path):
    following = offering.with_archive(archive, tmp_path / "index")
    archive.remove("a2")
    before = following.similar(ASKED)
    following.following.merge()
    assert following.similar(ASKED) == before
    del following
    assert offering.with_archive(archive, tmp_path / "index").similar(ASKED) == before


def test_merge_that_cannot_be_saved_is_logged_and_the_desk_goes_on(offering, archive, tmp_path, monkeypatch, caplog):
    following = offering.with_archive(archive, tmp_path / "index")
    monkeypatch.setattr(followed, "_CHANGES_TO_MERGE", 1)

    def full(self, folder):
        raise BundleError(path=folder, problem="must be writable, got No space left", remedy="check the disk")

    monkeypatch.setattr(followed.QuestionIndex, "save", full)
    with caplog.at_level(logging.WARNING):
        archive.update("a1", answer="Nobody.")
        assert following.similar(ASKED[:1], k=1)[0][0].answer == "Nobody."
        following.following._merger.join()
    assert "No space left" in caplog.text
    archive.update("a1", answer="Somebody.")
    assert following.similar(ASKED[:1], k=1)[0][0].answer == "Somebody."


# --- the folder of the index ------------------------------------------------------------------------


def counting(monkeypatch):
    """Count the texts whose features are made."""
    n_texts, read = [], triage.features.QuestionVectorizer.read

    def counted(self, texts, words=None, vectors=None):
        n_texts.append(len(texts) if words is None else 0)
        return read(self, texts, words, vectors)

    monkeypatch.setattr(triage.features.QuestionVectorizer, "read", counted)
    return n_texts


def test_next_start_makes_only_what_changed(triager, archive, tmp_path, monkeypatch):
    del_me = triager.with_archive(archive, tmp_path / "index")
    del del_me
    archive.update("a1", answer="Nobody.")
    archive.remove("a2")
    n_texts = counting(monkeypatch)
    following = triager.with_archive(archive, str(tmp_path / "index"))
    assert sum(n_texts) == 2
    monkeypatch.undo()
    assert following.similar(ASKED) == anew(triager, archive)
    del following
    n_texts = counting(monkeypatch)
    triager.with_archive(archive, tmp_path / "index")
    assert sum(n_texts) == 0


def test_index_of_other_features_is_made_anew(triager, dated, archive, tmp_path):
    for desk in (triager, dated, triager):
        following = desk.with_archive(archive, tmp_path / "index")
        assert following.similar(ASKED) == anew(desk, archive)
        del following


def test_index_of_another_archive_is_made_anew(triager, archive, tmp_path):
    del_me = triager.with_archive(archive, tmp_path / "index")
    del del_me
    with Archive(tmp_path / "other.archive") as other:
        other.add([replace(item, question=f"Where is the bus {item.id}?") for item in ITEMS], near_duplicates="store")
        following = triager.with_archive(other, tmp_path / "index")
        assert following.similar(["where is the bus"]) == triager.with_archive(other).similar(["where is the bus"])


def test_index_of_an_archive_that_was_replaced_at_its_path_is_made_anew(triager, archive, tmp_path):
    del_me = triager.with_archive(archive, tmp_path / "index")
    del del_me
    archive.close()
    for path in tmp_path.glob("desk.archive*"):
        path.unlink()
    with Archive(archive.path) as other:
        other.add([replace(item, question=f"Where is the bus {item.id}?") for item in ITEMS], near_duplicates="store")
        following = triager.with_archive(other, tmp_path / "index")
        assert following.similar(["where is the bus"]) == triager.with_archive(other).similar(["where is the bus"])


def test_items_added_to_a_restored_copy_are_not_taken_for_those_it_had_lost(triager, archive, tmp_path):
    archive.close()
    copy = archive.path.read_bytes()
    with Archive(archive.path) as store:
        store.add(Item("b1", "Where is the bus?", "Late."))
        del_me = triager.with_archive(store, tmp_path / "index")
        del del_me
    for path in tmp_path.glob("desk.archive-*"):
        path.unlink()
    archive.path.write_bytes(copy)
    with Archive(archive.path) as store:
        store.add(Item("c1", "Who licenses a taxi at the airport?", "The province."))
        following = triager.with_archive(store, tmp_path / "index")
        assert following.similar(["taxi at the airport"]) == triager.with_archive(store).similar(
            ["taxi at the airport"]
        )


@pytest.mark.parametrize("content", ["", "{", '"other"', "[]", "\ud800"])
def test_index_that_does_not_say_what_it_was_made_for_is_made_anew(triager, archive, tmp_path, content):
    del_me = triager.with_archive(archive, tmp_path / "index")
    del del_me
    (tmp_path / "index" / "made-for.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    following = triager.with_archive(archive, tmp_path / "index")
    assert following.similar(ASKED) == anew(triager, archive)


def test_second_that_opens_a_folder_reads_and_writes_nothing(triager, archive, tmp_path):
    first = triager.with_archive(archive, tmp_path / "index")
    files = {path: path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file()}
    archive.add(Item("b1", "Where is the bus?", "Late."))
    second = triager.with_archive(archive, tmp_path / "index")
    archive.remove("a2")
    assert first.similar(ASKED) == second.similar(ASKED) == anew(triager, archive)
    second.following.merge()
    assert {path: path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file()} == files
    del first
    third = triager.with_archive(archive, tmp_path / "index")
    third.following.merge()
    assert {*files} != {path for path in (tmp_path / "index").rglob("*") if path.is_file()}
    assert third.similar(ASKED) == second.similar(ASKED)


def test_second_finds_its_way_while_the_first_saves_again_and_again(triager, archive, tmp_path):
    first = triager.with_archive(archive, tmp_path / "index")
    done = threading.Event()

    def save():
        number = 0
        while not done.is_set():
            archive.update("a1", answer=f"Version {number}.")
            first.following.refresh()
            first.following.merge()
            number += 1

    saving = threading.Thread(target=save)
    saving.start()
    try:
        for _ in range(20):
            assert ids(triager.with_archive(archive, tmp_path / "index"), ASKED[:1])[0][0] == "a1"
    finally:
        done.set()
        saving.join()
    assert triager.with_archive(archive, tmp_path / "index").similar(ASKED) == anew(triager, archive)


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json", "questions/thesis.odt", "answers/segment-1.bak/x"])
def test_folder_of_something_else_is_refused_and_left_as_it_is(triager, archive, tmp_path, name):
    path = tmp_path / "index" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(BundleError, match="must be a folder of its own for the index of an archive, and holds"):
        triager.with_archive(archive, tmp_path / "index")
    assert [one for one in (tmp_path / "index").rglob("*") if one.is_file()] == [path]
    assert path.read_text() == "mine"


def test_folder_of_the_archive_or_a_file_is_refused(triager, archive, tmp_path):
    with pytest.raises(BundleError, match="must be a folder of its own"):
        triager.with_archive(archive, tmp_path)
    with pytest.raises(BundleError, match="must be a folder that can be written, got"):
        triager.with_archive(archive, archive.path)


@pytest.mark.parametrize("part", ["questions", "answers"])
def test_damaged_index_is_refused(triager, archive, tmp_path, part):
    del_me = triager.with_archive(archive, tmp_path / "index")
    del del_me
    manifest = tmp_path / "index" / part / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    with pytest.raises(BundleError, match=f"{part}.*checksum"):
        triager.with_archive(archive, tmp_path / "index")


def test_one_index_behind_the_other_is_brought_up_to_date(triager, archive, tmp_path):
    following = triager.with_archive(archive, tmp_path / "index")
    archive.add(Item("b1", "Where is the bus?", "Late."))
    archive.remove("a2")
    following.following.refresh()
    following.following._indexes["questions"].save(tmp_path / "index" / "questions")  # and then it is killed
    del following
    for _ in range(2):
        following = triager.with_archive(archive, tmp_path / "index")
        assert following.similar(ASKED) == anew(triager, archive)
        del following


KILLED = """
import os, pathlib, signal, shutil, sys
import triage
from triage.archive import Archive, Item

bundle, path, index, steps = sys.argv[1:]
triager = triage.load(bundle)
asked = ["licence to sell liquor by retail", "where is the bus", "tax on rent"]
other = triage.load(bundle + "2")


def child(run):
    pid = os.fork()
    if pid == 0:
        try:
            run()
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def killed_at(place, desk):
    def dying(call):
        def wrapped(*arguments, **options):
            nonlocal place
            place -= 1
            if place < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return wrapped

    os.fsync, shutil.rmtree = dying(os.fsync), dying(shutil.rmtree)
    for name in ("rename", "replace", "write_text", "unlink", "mkdir"):
        setattr(pathlib.Path, name, dying(getattr(pathlib.Path, name)))
    with Archive(path) as archive:
        desk.with_archive(archive, index).following.merge()


def same(desk):
    with Archive(path) as archive:
        plain = desk.with_archive(archive).similar(asked)
        assert desk.with_archive(archive, index).similar(asked) == plain
        assert any(plain)


for start, step in eval(steps):
    n_killed = 0
    for place in range(start, 400, step):
        desk = (triager, other)[place % 2]  # each makes anew what the other left
        with Archive(path) as archive:
            archive.add(Item(f"k{start}-{place}", f"Where is the bus of {'abcdefghij'[place % 10] * 9}?", "Late."),
                        near_duplicates="store")
        status = child(lambda: killed_at(place, desk))
        if os.WIFSIGNALED(status):
            n_killed += 1
            for one in (desk, triager) if place % 4 else (other,):
                assert child(lambda: same(one)) == 0, (place, one)
        else:
            assert status == 0, place
            break
    print(n_killed, place)
"""


@pytest.mark.parametrize(
    "steps", [[(1, 8)], pytest.param([(start, 3) for start in range(3)], marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_index_survives_a_kill_at_any_moment_of_its_writing(steps, triager, archive, tmp_path):
    bundle = triager.save(tmp_path / "bundle")
    rows = pd.DataFrame({"text": [*ASKED[:4], "where is the bus"], "topic": ["a", "b", "a", "b", "b"]})
    triage.train(rows, targets="topic").save(tmp_path / "bundle2")
    archive.close()
    command = [sys.executable, "-c", KILLED, bundle, archive.path, tmp_path / "index", steps]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    n_killed = [int(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(n_killed) == len(steps)
    assert min(n_killed) >= 5


def test_index_holds_no_words_and_no_errors_or_logs_do(triager, archive, tmp_path, caplog):
    archive.add(Item("b1", f"Who is {SECRET}?", f"Call {SECRET} 0912 345 678."))
    with caplog.at_level(logging.DEBUG):
        following = triager.with_archive(archive, tmp_path / "index")
        (found,) = following.similar([f"who is {SECRET}"], k=1)[0]
        following.following.merge()
    assert found.answer == f"Call {SECRET} [PHONE]."
    stored = b"".join(path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file())
    assert SECRET.encode() not in stored
    assert b"0912 345 678" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in caplog.text + repr(following)


def test_what_the_folder_holds(triager, archive, tmp_path):
    del_me = triager.with_archive(archive, tmp_path / "index")
    assert {path.name for path in (tmp_path / "index").iterdir()} == {"questions", "answers", "made-for.json", "lock"}
    assert isinstance(del_me.following, Following)


def test_item_that_came_while_an_index_was_made_is_not_taken_for_that_of_a_restored_copy(
    triager, archive, tmp_path, monkeypatch
):
    path, copy = archive.path, tmp_path / "copy"
    archive.close()
    shutil.copy(path, copy)
    with Archive(path) as store:
        keys = store.keys

        def late():
            store.add(Item("b1", "Who counts the fish in the lake?", "Nobody."))
            return keys()

        monkeypatch.setattr(store, "keys", late)
        triager.with_archive(store, index=tmp_path / "index")
    gc.collect()  # with it goes the lock
    shutil.copy(copy, path)
    with Archive(path) as store:
        store.add(Item("c1", "Where are bicycles repaired?", "In the shop."))
        text = "Where are bicycles repaired?"
        assert triager.with_archive(store, index=tmp_path / "index").similar([text]) == triager.with_archive(
            store
        ).similar([text])


def names_in(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_merge_of_many_writes_nothing_in_the_folder_of_another(triager, archive, tmp_path, monkeypatch):
    monkeypatch.setattr("triage.index.exact.MOST_ROWS", 2)  # more are written to the folder by a merge
    first = triager.with_archive(archive, index=tmp_path / "index")
    second = triager.with_archive(archive, index=tmp_path / "index")
    before = names_in(tmp_path / "index")
    second.following.merge()
    assert names_in(tmp_path / "index") == before
    assert ids(second) == ids(first)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no such call")
def test_fork_writes_nothing_in_the_folder_of_its_parent(triager, archive, tmp_path, monkeypatch):
    desk = triager.with_archive(archive, index=tmp_path / "index")
    before = names_in(tmp_path / "index")
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in a fork, which would leave the tests running twice
    desk.following.merge()
    assert names_in(tmp_path / "index") == before
