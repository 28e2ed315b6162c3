"""Tests of `triage.training`: tables good and bad, promises, the same bytes twice, recipes."""

from __future__ import annotations

import logging
import re
from datetime import date

import numpy as np
import pandas as pd
import pytest

import triage
from triage import DatasetError, RecipeError
from triage.dataset import Taxonomy, Topic
from triage.features import QuestionVectorizer
from triage.recipe import read_recipe, train_recipe
from triage.training import TrainingOptions, gathering

SECRET = "quảnchuối"  # stands in texts, must never stand in a message
ARCHIVE = [
    {"id": "a1", "question": "Who signs for retail of liquor?", "answer": "The commune.", "topic": "liquor"},
    {"id": "a2", "question": "Where is tax on rent paid?", "answer": "At the tax office.", "topic": "tax"},
]


DAYS = ["2025-08-01", "2026-02-01"]
PERIODS = pd.DataFrame(
    [
        ("M1", "liquor", "Retail of liquor", "local", "commune", "", "2025-07-01", "2025-12-31"),
        ("M1", "liquor", "Retail of liquor", "local", "province", "", "2026-01-01", ""),
        ("M3", "tax", "Tax on income and rent", "other_agency", "", "finance", "", ""),
        ("M9", "land", "A plan of land use", "ministry", "", "", "", ""),
    ],
    columns=["matter_id", "topic", "matter_en", "jurisdiction", "level", "agency", "valid_from", "valid_to"],
)


@pytest.fixture
def desk_questions(questions):
    """Return the sixteen questions with level, agency, matter and day."""
    local, elsewhere = (questions["jurisdiction"] == label for label in ("local", "other_agency"))
    matters = questions["topic"].map({"liquor": "M1", "land": "M2", "tax": "M3"})
    places = {"level": np.where(local, "commune", ""), "agency": np.where(elsewhere, "finance", "")}
    return questions.assign(**places, matter_id=matters, date=DAYS[0])


@pytest.fixture
def table(questions):
    """Return the sixteen questions with one target."""
    return questions[["text", "topic"]]


def faults_of(table, **options):
    """Train on a faulty table and return where its faults are."""
    with pytest.raises(DatasetError, match=r"\d+ faults?") as caught:
        triage.train(table, **options)
    assert SECRET not in str(caught.value)
    return [(fault.row, fault.column) for fault in caught.value.faults]


# --- what can be trained on -------------------------------------------------------------------------


def test_any_column_can_be_a_target(questions):
    renamed = questions.rename(columns={"text": "utterance", "topic": "intent"})
    triager = triage.train(renamed, text="utterance", targets="intent")
    assert triager.targets == ("intent",)
    assert triager.predict_frame(["liquor licence"])["intent"].tolist() == ["liquor"]


def test_one_target_may_come_bare_or_in_a_list(table):
    bare, listed = triage.train(table, targets="topic"), triage.train(table, targets=["topic"])
    assert np.array_equal(bare.predict_proba(table["text"], "topic"), listed.predict_proba(table["text"], "topic"))


def test_two_rows_are_enough():
    table = pd.DataFrame({"text": ["where is my card", "top up failed"], "label": ["card", "top_up"]})
    triager = triage.train(table, targets="label")
    assert triager.predict_frame(table["text"])["label"].tolist() == ["card", "top_up"]
    probability = triager.predict_proba(["card", "", "x"], "label")
    assert probability.sum(1) == pytest.approx(1, abs=1e-5)
    assert (probability > 0).all()


def test_two_rows_with_two_targets_are_enough():
    table = pd.DataFrame({"text": ["my card", "top up"], "label": ["card", "top_up"], "who": ["x", "y"]})
    assert triage.train(table, targets=["label", "who"]).predict_frame(["my card"])["who"].tolist() == ["x"]


@pytest.mark.parametrize("loss", ["squared_error", "squared_hinge"])
def test_label_with_one_example_is_learnt(questions, loss):
    table = pd.concat(
        [questions, pd.DataFrame([["where is a permit for fishing", "sea", "ministry"]], columns=questions.columns)]
    )
    triager = triage.train(table, targets=["topic", "jurisdiction"], options=TrainingOptions(loss=loss))
    assert "sea" in triager.classes_["topic"]
    assert triager.predict_frame(["permit for fishing"])["topic"].tolist() == ["sea"]
    assert (triager.predict_proba(table["text"], "topic") > 0).all()


@pytest.mark.parametrize(
    ("labels", "kind"),
    [([10, 2, 7], int), ([True, False, True], bool), (["x", "y", "z"], str)],
    ids=["int", "bool", "str"],
)
def test_labels_come_back_as_they_are(table, labels, kind, tmp_path):
    code_of = dict(zip(["liquor", "land", "tax"], labels, strict=True))
    trained = triage.train(table.assign(code=table["topic"].map(code_of)), targets="code")
    for triager in (trained, triage.load(trained.save(tmp_path / "desk"))):
        assert triager.classes_["code"].tolist() == sorted(set(labels))
        (result,) = triager.predict(["liquor licence"])
        assert result.decisions["code"].label == labels[0]
        assert {type(label) for label, _ in result.decisions["code"].ranking} == {kind}
        assert triager.predict_frame(["liquor licence"])["code"].tolist() == [labels[0]]


def test_index_with_duplicates_changes_nothing(questions):
    plain = triage.train(questions)
    repeated = triage.train(questions.set_axis([7] * len(questions)))
    for target in plain.targets:
        assert np.array_equal(
            plain.predict_proba(questions["text"], target), repeated.predict_proba(questions["text"], target)
        )


def test_same_question_with_two_labels_is_no_obstacle(table):
    triager = triage.train(pd.concat([table, table.assign(topic="other")]), targets="topic")
    assert triager.predict_proba(table["text"], "topic").max() < 0.9


def test_same_text_in_all_rows_is_no_obstacle():
    table = pd.DataFrame({"text": ["the same"] * 6, "label": list("ababab")})
    assert triage.train(table, targets="label").predict_proba(["the same"], "label")[0] == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("loss", ["squared_error", "squared_hinge"])
def test_one_group_is_no_obstacle(questions, loss):
    triager = triage.train(questions.assign(author="a"), groups="author", options=TrainingOptions(loss=loss))
    assert set(triager.metrics["held_out"]) == {"topic", "jurisdiction"}


def test_archive_is_suggested_and_teaches(questions):
    triager = triage.train(questions, archive=pd.DataFrame(ARCHIVE))
    (suggestion,) = triager.similar(["retail of liquor"], k=1)[0]
    assert (suggestion.id, suggestion.answer) == ("a1", "The commune.")
    assert not np.array_equal(
        triager.predict_proba(["liquor"], "topic"), triage.train(questions).predict_proba(["liquor"], "topic")
    )


@pytest.mark.parametrize("missing", [None, float("nan"), "", pd.NA], ids=["None", "NaN", "blank", "NA"])
def test_archive_may_lack_labels_and_answers(questions, missing, tmp_path):
    archive = pd.DataFrame([*ARCHIVE, {"id": "a3", "question": "Something else?", "answer": missing, "topic": missing}])
    triager = triage.train(questions, archive=archive)
    assert triager.classes_["topic"].tolist() == ["land", "liquor", "tax"]
    (suggestion,) = triage.load(triager.save(tmp_path / "desk")).similar(["something else"], k=1)[0]
    assert (suggestion.id, suggestion.answer) == ("a3", None)


def test_messages_out_of_scope_come_as_list_frame_or_path(questions, tmp_path):
    messages = [f"buy cheap watches now, offer {number}" for number in range(12)]
    frame = pd.DataFrame({"text": messages})
    frame.to_csv(tmp_path / "oos.csv", index=False)
    texts = ["buy cheap watches", "who grants a licence to sell liquor"]
    scores = [
        triage.train(questions, oos=oos).scope_scores(texts).tolist()
        for oos in (messages, frame, tmp_path / "oos.csv", str(tmp_path / "oos.csv"))
    ]
    assert scores[0] == scores[1] == scores[2] == scores[3]
    assert scores[0][0] > 0 > scores[0][1]
    assert not triage.train(questions, oos=[]).scope.learned


def test_register_brings_its_targets_and_teaches_the_labels_of_the_day(desk_questions):
    triager = triage.train(desk_questions, register=PERIODS)
    assert triager.targets == ("topic", "jurisdiction", "level", "agency", "matter")
    # M1 moved to the province after the last question: its name teaches the commune, and is read by the day.
    levels = [triager.predict(["Retail of liquor"], as_of=day)[0].decisions["level"].label for day in DAYS]
    assert levels == ["commune", "province"]
    assert triager.classifier.classes["level"] == ["", "commune"]
    assert triager.classes_["level"].tolist() == ["", "commune", "province"]
    later = triage.train(desk_questions.assign(date=DAYS[1]), register=PERIODS)
    assert later.classifier.classes["level"] == ["", "commune", "province"]


@pytest.mark.parametrize("columns", [["level", "agency", "matter_id"], ["level"], ["matter_id"], []])
def test_register_brings_just_the_targets_that_the_questions_have(desk_questions, columns):
    triager = triage.train(desk_questions[["text", "topic", "jurisdiction", *columns]], register=PERIODS)
    assert triager.targets == ("topic", "jurisdiction", *(name.removesuffix("_id") for name in columns))
    assert triager.register.valid(DAYS[0])["matter_id"].tolist() == ["M1", "M3", "M9"]
    assert {row["id"] for row in triager.labelled} == ({str(n) for n in range(16)} if "matter_id" in columns else set())


@pytest.mark.parametrize(
    "kind",
    [str, date.fromisoformat, pd.Timestamp, lambda day: pd.Timestamp(f"{day} 08:30")],
    ids=["text", "date", "timestamp", "time"],
)
def test_days_of_questions_may_come_in_several_kinds(desk_questions, kind):
    days = [DAYS[0]] * 15 + [DAYS[1]]
    triager = triage.train(desk_questions.assign(date=list(map(kind, days))), register=PERIODS)
    assert triager.classifier.classes["level"] == ["", "commune", "province"]
    assert [row["date"] for row in triager.labelled] == days


@pytest.mark.parametrize("nothing", ["", None, float("nan"), pd.NaT])
def test_days_of_questions_may_be_missing(desk_questions, nothing):
    triager = triage.train(desk_questions.assign(date=nothing), register=PERIODS)
    assert {row["date"] for row in triager.labelled} == {""}
    some = desk_questions.assign(date=[nothing] * 15 + [DAYS[0]])
    assert triage.train(some, register=PERIODS).classifier.classes["level"] == ["", "commune"]


def test_matter_that_nobody_asked_about_is_no_class_of_the_classifier(desk_questions):
    triager = triage.train(desk_questions, register=PERIODS)
    assert triager.classifier.classes["matter"] == ["M1", "M2", "M3"]
    assert triager.classes_["matter"].tolist() == ["M1", "M2", "M3", "M9"]


def test_examples_are_trained_on_and_neither_measured_nor_suggested(desk_questions):
    examples = pd.DataFrame({"text": ["Where is the zebra crossing?"] * 2, "topic": desk_questions["topic"].iloc[0]})
    plain, taught = (triage.train(desk_questions, register=PERIODS, examples=rows) for rows in (None, examples))
    place = plain.classes_["topic"].tolist().index(examples["topic"].iloc[0])
    shares = [triager.predict_proba(["a zebra crossing"], "topic")[0, place] for triager in (plain, taught)]
    assert shares[0] < shares[1]
    assert taught.metrics["held_out"]["topic"]["n"] == taught.metrics["n_questions"] == len(desk_questions)
    assert taught.metrics["n_examples"] == len(examples)
    assert len(taught.profile) == len(plain.profile)
    assert all(suggestion.question != "Where is the zebra crossing?" for suggestion in taught.similar(["zebra"])[0])


def test_every_second_example_with_diacritics_is_read_without_too():
    lines = []
    table = pd.DataFrame({"text": ["Đất ở đâu?", "Rượu bán lẻ", "Sổ đỏ", "Thuốc lá"], "topic": list("abab")})
    # One without stands between: it must not matter where in the table the others are.
    texts = ["Nhà ở xã hội", "tien thue dat", "Tiền thuê đất", "Giấy phép", "khong dau", "Mốc giới"]
    examples = pd.DataFrame({"text": texts, "topic": list("ababab")})
    for rows in (None, examples):
        triage.train(table, targets="topic", examples=rows, language="vi", progress=lines.append)
    further = [int(re.search(r"(\d+) further texts", line)[1]) for line in lines if "further texts" in line]
    assert further[1] - further[0] == len(examples) + 2


def test_examples_by_one_writer_are_held_out_together(monkeypatch, desk_questions):
    seen = []

    def grouped(self, by_writer):
        seen.append(list(self.groups))
        return groupings(self, by_writer)

    groupings = gathering.Examples.groupings
    monkeypatch.setattr(gathering.Examples, "groupings", grouped)
    table = desk_questions.assign(author=["an", "binh"] * (len(desk_questions) // 2))
    examples = desk_questions.head(2).assign(text=["What is a zebra?", "Who feeds zebras?"], author="chi")
    triage.train(table, groups="author", examples=examples)
    triage.train(table, groups="author", examples=examples.drop(columns="author"))
    assert [groups[len(table) : len(table) + 2] for groups in seen] == [
        [("author", "chi")] * 2,
        [("row", len(table)), ("row", len(table) + 1)],
    ]


def test_neighbours_teach_what_both_desks_forward_to_the_same_agency(desk_questions):
    rows = [
        ("Where is customs duty paid on a car?", "customs", "other_agency", "", "finance"),
        ("Is customs duty refunded?", "customs", "other_agency", "", "finance"),
        ("Who vaccinates dogs?", "vets", "other_agency", "", "health"),
        ("Who paves customs road?", "roads", "local", "commune", ""),
    ]
    neighbours = pd.DataFrame(rows, columns=["text", "topic", "jurisdiction", "level", "agency"])
    lines = []
    plain = triage.train(desk_questions, register=PERIODS, progress=lines.append)
    taught = triage.train(desk_questions, register=PERIODS, neighbours=neighbours, progress=lines.append)
    alone = triage.train(desk_questions, register=PERIODS, neighbours=neighbours.iloc[2:], progress=lines.append)
    further = [int(re.search(r"(\d+) further texts", line)[1]) for line in lines if "further texts" in line]
    assert [n - further[0] for n in further] == [0, 2, 0]
    question = "is there customs duty on a boat"
    place = taught.classes_["agency"].tolist().index("finance")
    shares = [triager.predict_proba([question], "agency")[0, place] for triager in (plain, taught)]
    assert shares[0] < shares[1]
    for target in plain.targets:
        assert taught.classes_[target].tolist() == plain.classes_[target].tolist()
        same = [triager.predict_proba([question], target) for triager in (plain, alone)]
        assert np.array_equal(*same)
    assert all(suggestion.question != rows[0][0] for suggestion in taught.similar([rows[0][0]])[0])


def test_neighbours_teach_a_desk_without_agencies_nothing(questions):
    neighbours = questions.assign(agency="finance")
    plain, taught = triage.train(questions), triage.train(questions, neighbours=neighbours)
    assert np.array_equal(*(triager.predict_proba(questions["text"], "topic") for triager in (plain, taught)))


# --- what cannot ------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [["jurisdiction"], ["agency"], ["jurisdiction", "agency"]])
def test_neighbours_without_a_column_are_refused(desk_questions, columns):
    neighbours = desk_questions.drop(columns=columns).assign(text=SECRET)
    assert faults_of(desk_questions, register=PERIODS, neighbours=neighbours) == [(None, name) for name in columns]


def test_register_with_faults_is_refused(desk_questions):
    register = PERIODS.assign(valid_to=["soon", "", "", ""], topic=["", "liquor", "tax", "land"])
    assert faults_of(desk_questions, register=register) == [(1, "topic"), (1, "valid_to")]


def test_one_class_is_refused(questions):
    with pytest.raises(ValueError, match="target 'topic' must have at least two classes, got one class"):
        triage.train(questions.assign(topic="land"))


def test_no_rows_are_refused(questions):
    assert faults_of(questions[:0]) == [(None, None)]


def test_no_targets_are_refused(questions):
    with pytest.raises(ValueError, match="targets must name at least one column"):
        triage.train(questions, targets=[])


def test_unknown_columns_are_named_at_once(questions):
    assert faults_of(questions, text="question", targets=["topics", "jurisdiction", "who"]) == [
        (None, "question"),
        (None, "topics"),
        (None, "who"),
    ]


def test_forty_faults_are_one_error(questions):
    table = pd.concat([questions] * 5, ignore_index=True).astype(object)
    table.loc[0:9, "text"] = ["", " ", None, float("nan"), 7, "a\0", "\ud800", f"{SECRET}\0", "x" * 1_000_001, pd.NA]
    table.loc[10:29, "topic"] = [None, "", " land", float("nan"), 1.5] * 4
    table.loc[30:39, "jurisdiction"] = None
    expected = [(row, "text") for row in range(1, 11)] + [(row, "topic") for row in range(11, 31)]
    assert faults_of(table) == expected + [(row, "jurisdiction") for row in range(31, 41)]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, ""], ids=["None", "NaN", "NA", "blank"])
def test_missing_label_is_refused(questions, missing):
    table = questions.astype(object)
    table.loc[3, "topic"] = missing
    assert faults_of(table) == [(4, "topic")]


def test_promise_for_no_target_is_refused(questions):
    with pytest.raises(ValueError, match=r"one of \['topic', 'jurisdiction'\], got \['level'\]"):
        triage.train(questions, promise={"level": 0.9})


@pytest.mark.parametrize("promise", [0, 1, 1.5, -0.2, 95, True, "0.9", float("nan")])
def test_promise_that_is_no_share_is_refused(questions, promise):
    with pytest.raises(ValueError, match=re.escape(f"promise of 'topic' must be in (0, 1), got {promise}")):
        triage.train(questions, promise={"topic": promise})


def test_promise_without_a_target_is_refused(questions):
    with pytest.raises(TypeError, match=r"promise must be a mapping such as \{'topic': 0.95\}, got float"):
        triage.train(questions, targets="topic", promise=0.95)


@pytest.mark.parametrize(
    ("names", "clash"),
    [
        ({"topic": "route"}, "route"),
        ({"topic": "suggestion_id"}, "suggestion_id"),
        ({"topic": "jurisdiction_status"}, "jurisdiction_status"),
    ],
)
def test_target_called_like_a_column_of_predictions_is_refused(questions, names, clash):
    table = questions.rename(columns=names)
    with pytest.raises(ValueError, match=f"a target must not be called '{clash}', as a column of predictions is"):
        triage.train(table, targets=[*names.values(), "jurisdiction"])


def test_whole_numbers_that_pandas_reads_as_floats_are_labels(questions, tmp_path):
    kinds = pd.factorize(questions["topic"])[0] + 1
    gap = pd.DataFrame({"text": ["?"], "topic": [None]})  # what makes pandas read whole numbers as floats
    table = pd.concat([questions.assign(topic=kinds)[["text", "topic"]], gap]).astype({"topic": float}).iloc[:-1]
    desk = triage.train(table, targets="topic")
    loaded = triage.load(desk.save(tmp_path / "bundle"))
    assert {type(label) for label in loaded.predict_frame(table)["topic"]} == {int}
    assert loaded.evaluate(table).targets["n_unseen"].tolist() == [0]


def test_groups_that_are_no_column_are_refused(questions):
    with pytest.raises(ValueError, match="groups must name a column of the table, got 'author'; columns are"):
        triage.train(questions, groups="author")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"loss": "log"}, "loss must be one of"),
        ({"C": -1.0}, "C must be a finite number above 0, got -1.0"),
        ({"C": 0}, "C must be a finite number above 0, got 0"),
        ({"C": float("inf")}, "C must be a finite number above 0, got inf"),
        ({"C": 10**400}, "C must be a finite number above 0, got 10"),
        ({"C": "8"}, "C must be a finite number above 0, got '8'"),
        ({"min_df": 0}, r"min_df must be a whole number in \[1, 1000000\], got 0"),
        ({"n_folds": 1}, "n_folds must be a whole number, at least 2, got 1"),
        ({"n_folds": None}, "n_folds must be a whole number, at least 2, got None"),
        ({"n_bits": 3}, r"n_bits must be a whole number in \[8, 24\], got 3"),
        ({"n_bits": True}, r"n_bits must be a whole number in \[8, 24\], got True"),
        ({"char_ngrams": (5, 2)}, r"char_ngrams must be two whole numbers, ascending, in \[2, 12\], got \(5, 2\)"),
        ({"max_weights": 0}, "max_weights must be a whole number, at least 1, got 0"),
        ({"n_jobs": 0}, "n_jobs must be a whole number other than 0, got 0"),
        ({"name_classes": None}, "name_classes must be true or false, got None"),
        ({"C": 0, "loss": ""}, "loss must be one of squared_error, squared_hinge, got ''; C must be"),
    ],
)
def test_option_out_of_range_is_refused_before_any_table_is_read(options, match):
    with pytest.raises(ValueError, match=match):
        TrainingOptions(**options)


FEATURE_BOUNDS = {
    "word_ngrams": (1, 5),
    "pair_window": (0, 20),
    "min_df": (1, 1_000_000),
    "n_bits": (8, 24),
    "encoder_landmarks": (0, 10_000),
    "encoder_weight": (1e-3, 1e3),
}


@pytest.mark.parametrize("name", FEATURE_BOUNDS)
def test_options_of_features_have_the_bounds_of_the_features(name):
    for bound, step in zip(FEATURE_BOUNDS[name], (-1, 1), strict=True):
        options = TrainingOptions(**{name: bound})
        options.vectorizer(9, None, None).fit(["a word"])
        with pytest.raises(ValueError, match=f"{name} must be"):
            TrainingOptions(**{name: bound + step})
        with pytest.raises(ValueError, match=f"{name} must be in"):
            QuestionVectorizer(**{name: bound + step}).fit(["a word"])


@pytest.mark.parametrize("column", ["id", "question", "answer"])
def test_archive_without_a_column_is_refused(questions, column):
    assert faults_of(questions, archive=pd.DataFrame(ARCHIVE).drop(columns=column)) == [(None, column)]


def test_archive_with_faults_is_refused(questions):
    archive = pd.DataFrame(ARCHIVE).astype(object)
    archive["question"] = [None, f"{SECRET}\0"]
    assert faults_of(questions, archive=archive) == [(1, "question"), (2, "question")]


def test_messages_without_the_column_are_refused(questions):
    assert faults_of(questions, oos=pd.DataFrame({"message": [SECRET]})) == [(None, "text")]


@pytest.mark.parametrize("oos", [[SECRET, None], pd.DataFrame({"text": [SECRET, None]})], ids=["list", "frame"])
def test_messages_that_are_no_text_are_refused(questions, oos):
    with pytest.raises(TypeError, match=r"got 1 of 2 .* \(position 1\)") as caught:
        triage.train(questions, oos=oos)
    assert SECRET not in str(caught.value)


def test_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        triage.train(tmp_path / "nothing.csv")


# --- promises ---------------------------------------------------------------------------------------


def test_promise_that_cannot_be_kept_sends_everything_to_review(questions):
    triager = triage.train(questions, promise={"topic": 0.999})
    assert triager.thresholds["topic"].value is None
    assert "cannot be kept on 16 held-out questions" in str(triager.thresholds["topic"])
    frame = triager.predict_frame(questions["text"])
    assert set(frame["topic_status"]) == {"review"}
    assert set(frame["route"]) == {"review"}
    assert frame["topic"].tolist() == questions["topic"].tolist()  # the best label stands there all the same


def test_promise_that_can_be_kept_is_kept():
    pairs = [("card", "where is my card"), ("top_up", "top up of my account failed")]
    table = pd.DataFrame(
        [(f"{text} {number}", label) for label, text in pairs for number in range(60)], columns=["text", "label"]
    )
    triager = triage.train(table, targets="label", promise={"label": 0.95})
    threshold = triager.thresholds["label"]
    assert threshold.value is not None
    assert threshold.lower_bound >= 0.95
    assert threshold.n_held_out == 120
    assert (triager.predict_frame(table["text"])["label_status"] == "assigned").mean() > 0.5


# --- language ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spoken", "language"), [("vi", "vi"), ("en", None)])
def test_language_of_the_taxonomy_is_taken_if_there_is_data_of_it(questions, spoken, language):
    topics = tuple(Topic(name, {spoken: name}, "", ()) for name in ("liquor", "land", "tax"))
    triager = triage.train(questions, targets="topic", taxonomy=Taxonomy(spoken, topics, {}, {}, {}))
    assert triager.features.language == language


# --- the same again ---------------------------------------------------------------------------------


def test_training_twice_gives_the_same_bytes(questions, tmp_path):
    options = {
        "archive": pd.DataFrame(ARCHIVE),
        "oos": [f"spam {number}" for number in range(12)],
        "promise": {"topic": 0.6},
        "language": "vi",
        "random_state": 3,
    }
    first, second = (triage.train(questions, **options).save(tmp_path / name) for name in ("first", "second"))
    names = sorted(file.name for file in first.iterdir())
    assert names == sorted(file.name for file in second.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize("loss", ["squared_error", "squared_hinge"])
def test_order_of_rows_hardly_matters(questions, loss):
    options = TrainingOptions(loss=loss)
    triagers = [triage.train(table, options=options) for table in (questions, questions.sample(frac=1, random_state=1))]
    first, second = (triager.predict_frame(questions["text"]) for triager in triagers)
    assert first["topic"].tolist() == second["topic"].tolist()
    tolerance = 1e-3 if loss == "squared_error" else 0.2  # folds of the hinge follow the order
    probabilities = [triager.predict_proba(questions["text"], "topic") for triager in triagers]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=tolerance)


def test_fingerprint_is_of_the_data(questions):
    def fingerprint(table, **options):
        return triage.train(table, **options).fingerprint

    plain = fingerprint(questions)
    assert re.fullmatch("[0-9a-f]{64}", plain)
    assert fingerprint(questions.set_axis(range(5, 21))) == plain
    assert fingerprint(questions.assign(remark="x")) == plain
    assert fingerprint(questions.assign(text=["x", *questions["text"][1:]])) != plain
    assert fingerprint(questions.assign(topic=["tax", *questions["topic"][1:]])) != plain
    assert fingerprint(questions[::-1]) != plain
    assert fingerprint(questions, targets=["topic"]) != plain


def test_metrics_are_measured_on_rows_held_out(questions):
    shuffled = questions.assign(topic=np.random.default_rng(0).permutation(questions["topic"]))
    triager = triage.train(shuffled, targets="topic")
    assert triager.metrics["n_questions"] == 16
    in_sample = (triager.predict_frame(shuffled["text"])["topic"] == shuffled["topic"]).mean()
    assert in_sample - triager.metrics["held_out"]["topic"]["accuracy"] > 0.3  # nothing to learn, and it says so


def test_logs_and_progress_hold_no_question(questions, caplog):
    lines = []
    table = questions.assign(text=questions["text"] + f" {SECRET}")
    with caplog.at_level(logging.DEBUG):
        triage.train(table)
        triage.train(table, progress=lines.append)
    assert lines[0] == "16 questions, 16 further texts to train on; targets topic, jurisdiction"
    assert len(caplog.records) >= 3
    assert SECRET not in "".join([*lines, caplog.text])


# --- recipes ----------------------------------------------------------------------------------------


def write_recipe(folder, recipe):
    (folder / "recipe.toml").write_text(recipe, "utf-8")
    return folder / "recipe.toml"


def test_recipe_trains_on_its_splits_and_knows_no_other_label(questions, tmp_path):
    table = questions.assign(split="train")
    table.loc[14:, ["topic", "split"]] = ["only_tested", "test"]
    table.to_csv(tmp_path / "questions.csv", index=False)
    path = write_recipe(
        tmp_path,
        '[desk]\nname = "Small"\nlanguage = "vi"\n[data]\nquestions = "questions.csv"\ntargets = ["topic"]\n'
        'split = "split"\ntrain_on = ["train"]\n[training]\nchar_ngrams = [2, 4]\n[promise]\ntopic = 0.9\n',
    )
    triager = train_recipe(path)
    assert triager.metrics["n_questions"] == 14
    assert "only_tested" not in triager.classes_["topic"]
    assert triager.features.language == "vi"
    assert triager.features.char_ngrams == (2, 4)
    assert triager.thresholds["topic"].promise == 0.9
    assert triager.description["name"] == "Small"


def test_recipe_with_problems_names_all_of_them(tmp_path):
    path = write_recipe(tmp_path, '[data]\nregister = "r.csv"\ntext = "t"\ncolour = 1\n[training]\nsize = 3\n[extra]\n')
    with pytest.raises(RecipeError, match="not a usable recipe") as caught:
        read_recipe(path)
    found = "\n".join(caught.value.problems)
    for part in ("[extra]", "'colour'", "'size'", "must name the file of questions", "'r.csv', which is not there"):
        assert part in found
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize("recipe", ["[data", "data = 3\n", "\ud800".encode("utf-8", "surrogatepass")])
def test_recipe_that_is_none_is_refused(tmp_path, recipe):
    (tmp_path / "recipe.toml").write_bytes(recipe if isinstance(recipe, bytes) else recipe.encode())
    with pytest.raises(RecipeError, match=r"must be (TOML in UTF-8|a table)"):
        read_recipe(tmp_path / "recipe.toml")


def test_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"recipe\.toml"):
        read_recipe(tmp_path / "recipe.toml")


def test_personal_data_is_masked_in_what_is_kept(tmp_path):
    table = pd.DataFrame(
        {"text": ["my card is lost, call 0912 345 678", "card gone", "top up failed, me@example.org", "no top up"]}
    ).assign(label=["card", "card", "top_up", "top_up"])
    triager = triage.train(table, targets="label", language="vi")
    triager.save(tmp_path / "bundle")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "bundle").iterdir())
    assert b"0912 345" not in stored  # fewer digits may stand in a checksum
    assert b"example.org" not in stored
    assert triager.records[0]["question"] == "my card is lost, call [PHONE]"
