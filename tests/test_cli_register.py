"""``triage register`` and ``triage retrain-check``, on a desk trained here."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import triage
from triage import cli
from triage.archive import Archive
from triage.register import Documents

QUESTIONS = [
    ("who grants a licence to sell liquor by retail", "liquor", "local", "commune", "", "M1"),
    ("licence of a shop that sells liquor", "liquor", "local", "commune", "", "M1"),
    ("liquor licence expired, who renews it", "liquor", "local", "commune", "", "M1"),
    ("permit to dig gravel from the river", "minerals", "other_agency", "", "environment", "M2"),
    ("gravel permit for a quarry", "minerals", "other_agency", "", "environment", "M2"),
    ("who allows digging of gravel", "minerals", "other_agency", "", "environment", "M2"),
    ("national plan of mines", "minerals", "ministry", "", "", ""),
    ("liquor law is unclear, please explain", "liquor", "ministry", "", "", ""),
]
COLUMNS = ["text", "topic", "jurisdiction", "level", "agency", "matter_id"]
REGISTER = [
    ("M1", "liquor", "Retail licence for liquor", "local", "commune", "", "Decree 1", "2025-07-01", "2025-12-31"),
    ("M1", "liquor", "Retail licence for liquor", "local", "province", "", "Decree 2", "2026-01-01", ""),
    ("M2", "minerals", "Gravel permit", "other_agency", "", "environment", "Law 1", "2025-07-01", "2026-06-30"),
]
REGISTER_COLUMNS = "matter_id topic matter_en jurisdiction level agency legal_basis valid_from valid_to".split()


@pytest.fixture(scope="module")
def register(tmp_path_factory):
    path = tmp_path_factory.mktemp("register") / "register.csv"
    pd.DataFrame(REGISTER, columns=REGISTER_COLUMNS).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def model(register, tmp_path_factory):
    questions = pd.DataFrame(QUESTIONS, columns=COLUMNS).assign(date="2025-08-01")
    questions.insert(0, "id", [f"q{number}" for number in range(len(questions))])
    archive = pd.DataFrame(
        [
            ("a1", "Where do I get a liquor licence?", "At the commune.", "M1", "local", "commune", "2025-08-02", ""),
            ("a2", "Where is gravel allowed?", "Nowhere.", "M2", "other_agency", "", "2025-08-02", "2025-09-30"),
        ],
        columns="id question answer matter_id jurisdiction level answered_at valid_to".split(),
    )
    desk = triage.train(questions, register=register, archive=archive)
    return desk.save(tmp_path_factory.mktemp("model") / "desk")


@pytest.fixture(scope="module")
def without_register(tmp_path_factory):
    questions = pd.DataFrame(QUESTIONS, columns=COLUMNS)
    return triage.train(questions, targets="topic").save(tmp_path_factory.mktemp("model") / "plain")


def run(*arguments, stdin=None):
    return CliRunner().invoke(cli.app, [*map(str, arguments)], input=stdin)


def records(result):
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_good_register_is_said_to_be_good(register):
    result = run("register", "check", register)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "2 matters, 1 further periods of them; no faults" in result.stderr


def test_every_fault_of_a_register_is_told(tmp_path):
    rows = pd.DataFrame(REGISTER, columns=REGISTER_COLUMNS)
    rows.loc[1, "valid_from"], rows.loc[2, "topic"], rows.loc[2, "valid_to"] = "2025-10-01", "", "soon"
    rows.to_csv(tmp_path / "bad.csv", index=False)
    result = run("register", "check", tmp_path / "bad.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 3
    rows.loc[2, "valid_to"] = ""
    rows.to_csv(tmp_path / "bad.csv", index=False)
    assert "must not overlap with row 1" in run("register", "check", tmp_path / "bad.csv").stderr


def test_labels_are_held_against_a_taxonomy(register, tmp_path):
    names = [{"id": name, "name_en": name} for name in ("liquor", "local", "commune", "environment")]
    tree = {"language": "en", "topics": names[:1], "agencies": names[3:]}
    tree["jurisdictions"] = [{**names[1], "levels": names[2:3]}, {"id": "other_agency", "name_en": "others"}]
    (tmp_path / "taxonomy.json").write_text(json.dumps(tree), "utf-8")
    result = run("register", "check", register, "--taxonomy", tmp_path / "taxonomy.json")
    assert result.exit_code == 1
    assert "row 2, column 'level': must be one of 'commune', got 'province'" in result.stderr
    assert "row 3, column 'topic': must be one of 'liquor', got 'minerals'" in result.stderr


@pytest.mark.parametrize("source", ["register", "model"])
def test_changes_are_those_of_a_table_or_a_model(source, request):
    path = request.getfixturevalue(source)
    (moved, ended) = records(run("register", "changes", path, "--since", "2025-10-01", "--until", "2026-12-31"))
    assert (moved["date"], moved["change"], moved["from"], moved["to"]) == (
        "2026-01-01",
        "moved",
        "local/commune",
        "local/province",
    )
    assert (ended["date"], ended["change"], ended["to"]) == ("2026-07-01", "ended", "")
    shown = run("register", "changes", path, "--since", "2025-10-01", "--format", "table").stdout
    assert "Retail licence for liquor" in shown


def test_expiring_rows_say_whether_another_follows(register):
    found = records(run("register", "expiring", register, "--as-of", "2025-12-01", "--within-days", "300"))
    assert [(row["matter_id"], row["valid_to"], row["followed"]) for row in found] == [
        ("M1", "2025-12-31", True),
        ("M2", "2026-06-30", False),
    ]


def test_match_follows_the_day(model):
    for day, level in (("2025-08-01", "commune"), ("2026-08-01", "province")):
        (found,) = records(run("register", "match", model, "retail licence for liquor", "--as-of", day, "-k", 1))
        best = found["matches"][0]
        assert (best["matter"], best["row"]["level"]) == ("M1", level)
    lines = records(run("register", "match", model, "-", stdin="gravel permit\n\nliquor licence\n"))
    assert [(line["line"], line["matches"][0]["matter"]) for line in lines if line["line"] != 2] == [
        (1, "M2"),
        (3, "M1"),
    ]
    assert "Retail licence" in run("register", "match", model, "liquor licence", "--format", "table").stdout


def test_labels_and_answers_that_a_change_put_out_of_date_are_listed(model):
    result = run("retrain-check", model, "--as-of", "2026-02-01")
    found = [(row["kind"], row["id"], row["reason"], row["now"]) for row in records(result)]
    assert found == [
        ("question", "q0", "changed", "local/province"),
        ("question", "q1", "changed", "local/province"),
        ("question", "q2", "changed", "local/province"),
        ("answer", "a1", "changed", "local/province"),
        ("answer", "a2", "expired", "other_agency/environment"),
    ]
    assert "3 of 6 questions (50 %) are out of date" in result.stderr
    assert "2 of 2 answers (100 %) are out of date" in result.stderr
    assert records(run("retrain-check", model, "--as-of", "2025-08-15")) == []
    assert "q0" in run("retrain-check", model, "--as-of", "2026-02-01", "--format", "table").stdout


def test_answers_are_held_against_the_documents_and_the_age_of_the_model(register, tmp_path):
    decree = "Nghị định 151/2025/NĐ-CP Điều 5"
    rows = [
        ("a1", "Where do I get a liquor licence?", "At the commune.", "M1", "2025-08-02"),
        ("a2", "Where is gravel allowed?", f"Nowhere, see {decree}.", "M2", "2025-08-02"),
        ("a3", "Who plans mines?", f"The ministry, by {decree}.", "", "2026-01-20"),
        ("a4", "Is gravel a mineral?", "It is.", "", "2025-08-02"),
        ("a5", "Is sand a mineral?", "It is.", "", ""),
        ("a6", "Is liquor a mineral?", None, "", "2025-08-02"),
    ]
    archive = pd.DataFrame(rows, columns="id question answer matter_id answered_at".split())
    archive["level"], archive["jurisdiction"] = ["commune", *[None] * 5], ["local", *[None] * 5]
    questions = pd.DataFrame(QUESTIONS, columns=COLUMNS).assign(date="2025-08-01", answer=f"By {decree}.")
    ended = pd.DataFrame({"document": [decree], "valid_from": [""], "valid_to": ["2026-01-30"]})
    desk = triage.train(
        questions, register=register, archive=archive, documents=Documents.read(ended, "vi"), oldest_days=150
    )
    model = desk.save(tmp_path / "desk")

    def found(day):
        lines = records(run("retrain-check", model, "--as-of", day))
        return {row["id"]: row["reason"] for row in lines if row["kind"] == "answer"}, len(lines)

    assert found("2025-12-30") == ({}, 0)
    assert found("2025-12-31")[0] == {"a1": "old", "a2": "old", "a4": "old"}
    answers, n_found = found("2026-01-31")
    assert answers == {"a1": "changed", "a2": "document", "a3": "document", "a4": "old"}
    assert n_found == 4 + 3  # questions cite nothing and have no age: three of a matter that moved
    result = run("retrain-check", model, "--as-of", "2026-01-31")
    assert "4 of 5 answers (80 %) are out of date" in result.stderr
    assert "3 of 6 questions (50 %) are out of date" in result.stderr
    assert "document" in run("retrain-check", model, "--as-of", "2026-01-31", "--format", "table").stdout


def test_answers_of_an_archive_are_checked_in_the_place_of_the_models_own(model, tmp_path):
    cells = {"matter_id": "M1", "jurisdiction": "local", "level": "commune", "answered_at": "2025-08-02"}
    with Archive(tmp_path / "desk.archive") as archive:
        archive.add(
            [
                {"id": "b1", "question": "Who renews a liquor licence?", "answer": "The commune.", **cells},
                {"id": "b2", "question": "Is there a form for it?", "answer": "Yes.", "answered_at": "2025-08-02"},
                {"id": "b3", "question": "How much does all that cost?", **cells},
            ]
        )
    result = run("retrain-check", model, "--archive", tmp_path / "desk.archive", "--as-of", "2026-02-01")
    assert [(row["id"], row["reason"]) for row in records(result) if row["kind"] == "answer"] == [("b1", "changed")]
    assert "1 of 2 answers (50 %) are out of date" in result.stderr
    assert "3 of 6 questions" in result.stderr


def test_archive_without_answers_has_nothing_out_of_date(model, tmp_path):
    Archive(tmp_path / "desk.archive").close()
    result = run("retrain-check", model, "--archive", tmp_path / "desk.archive", "--as-of", "2025-08-15")
    assert records(result) == []
    assert "0 of 0 answers are out of date" in result.stderr


def test_another_register_may_be_asked(model, register, tmp_path):
    rows = pd.read_csv(register, dtype=str, keep_default_na=False)
    rows.loc[rows["matter_id"] == "M2", ["jurisdiction", "agency", "valid_to"]] = ["ministry", "", ""]
    rows.to_csv(tmp_path / "new.csv", index=False)
    found = records(run("retrain-check", model, "--as-of", "2025-08-15", "--register", tmp_path / "new.csv"))
    assert [row["id"] for row in found if row["kind"] == "question"] == ["q3", "q4", "q5"]
    assert {row["reason"] for row in found} == {"contradicts"}


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["register", "changes", "{register}", "--since", "soon"], 2, "--since must be an ISO date"),
        (
            ["register", "changes", "{register}", "--since", "2026-02-01", "--until", "2026-01-01"],
            2,
            "--until must not",
        ),
        (["register", "expiring", "{register}", "--within-days", "-1"], 2, "--within-days"),
        (["register", "expiring", "none.csv"], 1, "none.csv"),
        (["register", "match", "{plain}", "text"], 1, "must have a register and questions with a matter_id"),
        (["register", "changes", "{plain}", "--since", "2026-02-01"], 1, "must have a register"),
        (["retrain-check", "{plain}"], 1, "must have a register, and was trained without"),
        (["retrain-check", "{model}", "--as-of", "2026"], 2, "--as-of must be an ISO date"),
        (["retrain-check", "{model}", "--archive", "none.archive"], 1, "none.archive: must be an archive that exists"),
    ],
)
def test_wrong_use_is_one_clear_error(arguments, code, match, register, model, without_register):
    paths = {"register": register, "model": model, "plain": without_register}
    result = run(*[argument.format(**paths) for argument in arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert match in " ".join(result.stderr.replace("│", " ").split())


def test_prediction_says_the_matter_and_its_legal_basis(model):
    (found,) = records(run("predict", model, "--as-of", "2026-02-01", stdin="who grants a retail licence for liquor\n"))
    assert found["evidence"]["as_of"] == "2026-02-01"
    assert found["evidence"]["matter"]["legal_basis"] == "Decree 2"
    assert "Decree 2" in run("predict", model, "--format", "table", stdin="retail licence for liquor\n").stdout
