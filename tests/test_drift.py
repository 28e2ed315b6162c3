"""A week beside what training saw: what is told, what raises an alarm, and how often it does for nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import triage
from triage import cli, drift
from triage.bundle import load_bundle, save_bundle
from triage.dataset import read_abbreviations
from triage.drift import MIN_QUESTIONS, compare_profiles
from triage.errors import BundleError, DatasetError, TriageError
from triage.profile import Profile

LAND = Path(__file__).parent.parent / "datasets" / "land"


@pytest.fixture(scope="module")
def asked():
    """Questions of the land desk that nobody trained on."""
    table = pd.read_csv(LAND / "questions.csv", dtype=str, keep_default_na=False)
    return table[table["split"] == "test"].reset_index(drop=True)


@pytest.fixture(scope="module")
def week(asked):
    return asked[["id", "text"]].sample(120, random_state=0)


@pytest.fixture(scope="module")
def profile(desk_triager):
    return desk_triager.profile


def drawn(profile, n, seed=0):
    return profile.of(np.random.default_rng(seed).choice(len(profile), n, replace=False))


def halves(profile):
    """Cut a profile in two at random."""
    order = np.random.default_rng(3).permutation(len(profile))
    return profile.of(np.sort(order[: len(order) * 2 // 3])), profile.of(np.sort(order[len(order) * 2 // 3 :]))


def alarms(report):
    return set(report.signals["signal"][report.signals["alarm"].astype(bool)])


# The profile


def test_profile_says_what_training_measured(desk_triager, desk_table, profile):
    assert len(profile) == len(desk_table)
    held_out = desk_triager.metrics["held_out"]
    for place, target in enumerate(desk_triager.targets):
        # Matters that only the register knows may take a question or two.
        assert abs(int(profile.right[:, place].sum()) - held_out[target]["n_right"]) <= 4
    assert list(profile.classes) == list(desk_triager.targets)


def test_profile_of_questions_does_not_depend_on_how_many_are_read(desk_triager, week):
    together = desk_triager.observe(week["text"])
    alone = desk_triager.observe(week["text"].iloc[[7]])
    seventh = together.of(np.array([7]))
    assert seventh.words.tolist() == alone.words.tolist()
    assert seventh.best.tolist() == alone.best.tolist()
    assert np.allclose(seventh.entropy, alone.entropy, atol=1e-5)


def test_profile_holds_no_personal_data(desk_triager):
    one, other = (desk_triager.observe([f"Gọi tôi số {phone}"]) for phone in ("0912345678", "0987654321"))
    assert one.words.tolist() == other.words.tolist()


def test_profile_comes_back_from_a_bundle(desk_triager, profile, tmp_path):
    again = triage.load(desk_triager.save(tmp_path / "desk")).profile
    assert list(again.classes.items()) == list(profile.classes.items())
    for name in ("best", "probability", "entropy", "assigned", "right", "outside", "starts", "words"):
        assert np.array_equal(getattr(again, name), getattr(profile, name))


def test_rows_of_a_profile_are_drawn_with_their_words(profile):
    few = profile.sample(0, 20)
    assert len(few) == 20
    rows = [row for row in range(len(profile)) if profile.entropy[row, 0] in few.entropy[:, 0]]
    assert rows == sorted(rows)
    place = rows.index(next(row for row in rows))
    row = rows[place]
    assert few.words[: few.starts[1]].tolist() == profile.words[profile.starts[row] : profile.starts[row + 1]].tolist()
    assert profile.sample(0) is profile


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: {**a, "best": a["best"] + 10_000}, "a label of the profile does not fit"),
        (lambda a: {**a, "starts": a["starts"] + 1}, "the words of the profile do not fit its rows"),
        (lambda a: {**a, "words": a["words"][:-1]}, "the words of the profile do not fit its rows"),
        (lambda a: {**a, "words": a["words"].astype(np.int64)}, "part 3 of the profile does not fit"),
        (lambda a: {**a, "entropy": a["entropy"][:-1]}, "part 0 of the profile does not fit"),
        (lambda a: {**a, "right": a["right"][:, :1]}, "part 0 of the profile does not fit"),
        (lambda a: {**a, "outside": a["outside"][:-1]}, "part 1 of the profile does not fit"),
        (lambda a: {**a, "starts": a["starts"][:-1]}, "part 2 of the profile does not fit"),
        (lambda a: {**a, "probability": a["probability"] * np.nan}, "part 4 of the profile does not fit"),
    ],
)
def test_false_profile_is_refused(profile, damage, message):
    settings, arrays = profile.to_state()
    assert len(Profile.from_state(settings, arrays)) == len(profile)
    with pytest.raises(ValueError, match=message):
        Profile.from_state(settings, damage(arrays))


def test_bundle_without_a_part_of_its_profile_is_refused(desk_triager, tmp_path):
    contents, _ = load_bundle(desk_triager.save(tmp_path / "desk"))
    arrays = {name: array for name, array in contents.arrays.items() if name != "profile.words"}
    save_bundle(tmp_path / "false", replace(contents, arrays=arrays))
    with pytest.raises(BundleError, match="the parts of a bundle must fit each other"):
        triage.load(tmp_path / "false")


def test_old_bundle_loads_and_asks_for_a_reference(desk_triager, asked, week, tmp_path):
    contents, _ = load_bundle(desk_triager.save(tmp_path / "desk"))
    arrays = {name: array for name, array in contents.arrays.items() if not name.startswith("profile.")}
    settings = {name: value for name, value in contents.settings.items() if name != "profile"}
    save_bundle(tmp_path / "old", replace(contents, arrays=arrays, settings=settings))
    old = triage.load(tmp_path / "old")
    with pytest.raises(TriageError, match="must have a profile of its training; train it again, or give a reference"):
        drift.drift(old, week)
    rest = asked[~asked["id"].isin(week["id"])]
    report = drift.drift(old, week, reference=rest)
    assert (report.verdict, report.n_reference) == ("keep", len(rest))
    with pytest.raises(DatasetError, match=f"reference: 1 fault\n  must have {MIN_QUESTIONS} questions or more, got 9"):
        drift.drift(old, week, reference=rest.head(9))


# Signals


def test_unchanged_week_is_kept_and_told_in_words(desk_triager, week):
    report = drift.drift(desk_triager, week)
    assert report.verdict == "keep"
    assert report.examples == []
    assert report.summary().startswith("no need to train the desk again: nothing changed that chance does not explain")
    assert f"{report.n_questions} questions" in report.summary()
    names = report.signals["signal"].tolist()
    assert names[:2] == ["new topic", "unknown words"]
    for target in desk_triager.targets:
        for name in ("classes", "probability", "precision"):
            assert ((report.signals["signal"] == name) & (report.signals["target"] == target)).sum() == 1
    assert json.loads(json.dumps(report.to_dict()))["verdict"] == "keep"


def test_same_week_gives_the_same_report(desk_triager, week):
    assert drift.drift(desk_triager, week).to_dict() == drift.drift(desk_triager, week).to_dict()


def test_levels_of_all_alarms_add_up_to_the_false_alarms_that_are_allowed(desk_triager, week):
    report = drift.drift(desk_triager, week)
    assert report.signals["level"].sum() == pytest.approx(drift.ALPHA)
    told = report.signals[report.signals["level"].isna()]
    assert set(told["signal"][told["target"].isin(["topic", "jurisdiction"])]) == {"precision"}
    assert len(told) == 2 + 3 * 3  # what follows from the matter is not tested
    assert not told["alarm"].any()


def test_precision_without_labels_is_near_the_true_one(desk_triager, asked):
    report = drift.drift(desk_triager, asked)
    found = desk_triager.predict_frame(asked["text"])
    for row in report.signals[report.signals["signal"] == "precision"].itertuples():
        if row.target in ("topic", "jurisdiction"):
            assigned = found[f"{row.target}_status"] == "assigned"
            true = (found[row.target] == asked[row.target])[assigned].mean()
            assert row.low - 0.02 <= true <= row.high + 0.02
            assert row.low < row.week < row.high


def test_questions_on_something_else_raise_an_alarm_and_are_shown(desk_triager, week):
    other = [
        f"Ong mật {word} nuôi trong trại có phải kiểm dịch không, mật ong {word} xuất khẩu cần giấy gì, số {number}?"
        for number in range(8)
        for word in ("rừng", "nội", "ngoại")
    ]
    frame = pd.concat([week, pd.DataFrame({"id": [f"bee{n}" for n in range(len(other))], "text": other})])
    report = drift.drift(desk_triager, frame)
    assert report.verdict == "retrain"
    assert "new topic" in alarms(report)
    assert len(report.examples) >= 5
    assert all(str(one).startswith("bee") for one in report.examples[:5])
    assert "some questions look like a new topic; label them first" in report.summary()
    assert "Ong mật" not in report.summary()
    unnamed = drift.drift(desk_triager, frame.drop(columns="id"))
    assert set(unnamed.examples) <= set(range(1, len(frame) + 1))


def test_shift_of_classes_raises_that_alarm(profile):
    before, now = halves(profile)
    topic = now.best[:, 0]
    common = np.flatnonzero(topic < 7)
    rest = np.flatnonzero(topic >= 7)
    shifted = now.of(np.concatenate([common, rest[: len(rest) // 8]]))
    assert "classes" in alarms(compare_profiles(before, shifted))
    report = compare_profiles(before, shifted)
    first = report.classes[report.classes["target"] == "topic"]
    distance = (first["week"] - first["reference"]).abs()
    assert distance.is_monotonic_decreasing
    assert first["week"].sum() == pytest.approx(1)


def test_less_sure_desk_raises_that_alarm_and_a_surer_one_none(profile):
    before, now = halves(profile)
    doubtful = replace(now, probability=now.probability * 0.7)
    assert "probability" in alarms(compare_profiles(before, doubtful))
    surer = replace(now, probability=np.ones_like(now.probability))
    assert "probability" not in alarms(compare_profiles(before, surer))


def test_more_messages_out_of_scope_and_in_review_raise_their_alarms(profile):
    before, now = halves(profile)
    outside = replace(now, outside=np.arange(len(now)) % 4 == 0)
    assert alarms(compare_profiles(before, outside)) >= {"out of scope"}
    review = replace(now, assigned=np.zeros_like(now.assigned))
    report = compare_profiles(before, review)
    assert "review" in alarms(report)
    assert "precision of topic: nothing is assigned" in report.summary()


def test_small_week_is_not_judged(desk_triager, week):
    report = drift.drift(desk_triager, week.head(MIN_QUESTIONS - 1))
    assert (report.verdict, len(report.signals)) == ("too few", 0)
    assert (
        report.summary()
        == f"too few questions to say: 49 questions, {report.n_reference} to compare with; 50 are needed\n"
    )
    repeated = pd.concat([week.head(MIN_QUESTIONS - 1)] * 3)
    assert drift.drift(desk_triager, repeated).verdict == "too few"


def test_repeats_and_texts_without_a_word_are_left_out(desk_triager, week):
    more = pd.concat([week, week.head(9), pd.DataFrame({"id": ["a", "b"], "text": ["", "?!"]})])
    report = drift.drift(desk_triager, more)
    assert report.n_left_out == len(more) - report.n_questions
    assert report.n_questions <= len(week)
    assert "left out" in report.summary()
    alone = drift.drift(desk_triager, week)
    assert report.signals["p"].tolist()[:2] == alone.signals["p"].tolist()[:2]


def test_largest_week_is_drawn_from(desk_triager, week, monkeypatch):
    monkeypatch.setattr(drift, "MAX_QUESTIONS", 60)
    report = drift.drift(desk_triager, week)
    assert report.n_questions == 60
    assert report.n_left_out == len(week) - 60


def test_desk_with_one_target_and_no_register_is_compared(questions):
    table = pd.concat([questions] * 6, ignore_index=True)
    table["text"] = [f"{text} {'abcdef'[place // len(questions)] * 3}" for place, text in enumerate(table["text"])]
    desk = triage.train(table, targets="topic")
    report = drift.drift(desk, table)
    assert set(report.signals["target"].dropna()) == {"topic"}
    assert report.verdict in ("keep", "retrain")


def test_register_that_names_new_labels_is_no_drift(desk_triager, week):
    with_more = pd.read_csv(LAND / "register.csv", dtype=str, keep_default_na=False)
    new = with_more.iloc[[0]].assign(matter_id="LD-999", matter_vi="Nuôi ong lấy mật trên đất rừng")
    desk = desk_triager.with_register(pd.concat([with_more, new]))
    assert drift.drift(desk, week).verdict == "keep"


def test_path_in_the_place_of_a_table_is_refused(desk_triager, week):
    with pytest.raises(TypeError, match="the table must be a DataFrame, got str; read a file with"):
        drift.drift(desk_triager, "week.csv")
    with pytest.raises(TypeError, match="the table must be a DataFrame, got str; read a file with"):
        drift.drift(desk_triager, week, reference="last-year.csv")


def test_faulty_tables_are_refused(desk_triager, week):
    with pytest.raises(DatasetError, match="week: 1 fault\n  column 'question': must exist; the columns are"):
        drift.drift(desk_triager, week, text="question")
    with pytest.raises(DatasetError, match="week: 1 fault\n  must have a row or more"):
        drift.drift(desk_triager, week.head(0))


# The command line


def run(*words):
    return CliRunner().invoke(cli.app, ["drift", *map(str, words)])


def test_command_line_says_it_and_sets_the_exit_code(desk_triager, week, tmp_path):
    desk_triager.save(tmp_path / "desk")
    week.to_csv(tmp_path / "week.csv", index=False)
    kept = run(tmp_path / "desk", tmp_path / "week.csv")
    assert kept.exit_code == 0, kept.stderr
    assert json.loads(kept.stdout)["verdict"] == "keep"
    shown = run(tmp_path / "desk", tmp_path / "week.csv", "--format", "table")
    assert shown.stdout.startswith("no need to train the desk again")
    week.assign(text=[f"xyzzy plugh {number} frotz" for number in range(len(week))]).to_csv(
        tmp_path / "other.csv", index=False
    )
    other = run(tmp_path / "desk", tmp_path / "other.csv")
    assert other.exit_code == 3, other.stderr
    assert json.loads(other.stdout)["verdict"] == "retrain"
    referred = run(tmp_path / "desk", tmp_path / "week.csv", "--reference", tmp_path / "week.csv")
    assert referred.exit_code == 0, referred.stderr
    absent = run(tmp_path / "desk", tmp_path / "week.csv", "--text", "question")
    assert absent.exit_code == 1
    assert "column 'question': must exist" in absent.stderr


# How often


@pytest.mark.slow
def test_unchanged_weeks_raise_few_alarms_and_a_new_topic_is_found(asked):
    table = pd.read_csv(LAND / "questions.csv", dtype=str, keep_default_na=False)
    table = table[table["split"] != "test"]
    register = pd.read_csv(LAND / "register.csv", dtype=str, keep_default_na=False)

    def n_alarms(topic):
        desk = triage.train(
            table[table["topic"] != topic].reset_index(drop=True),
            register=register[register["topic"] != topic],
            language="vi",
            abbreviations=read_abbreviations(LAND / "abbreviations.csv"),
        )
        pool, is_new = desk.observe(asked["text"]), (asked["topic"] == topic).to_numpy()
        rng, found = np.random.default_rng(5), 0
        for _ in range(20):
            week = rng.choice(np.flatnonzero(~is_new), 200 - 20 * (topic is not None), replace=False)
            if topic is not None:
                week = np.concatenate([week, rng.choice(np.flatnonzero(is_new), 20, replace=False)])
            found += compare_profiles(desk.profile, pool.of(week)).verdict == "retrain"
        return found

    assert n_alarms(None) <= 2
    assert n_alarms("land_use_planning") >= 16
