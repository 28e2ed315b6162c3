"""``triage archive``, command by command."""

from __future__ import annotations

import json
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

import triage
from triage import cli
from triage.archive import Archive, Item
from triage.cli import archive as commands

ITEMS = [
    Item("a1", "Ai cấp giấy phép bán lẻ rượu?", "UBND cấp xã.", topic="liquor", matter_id="M1"),
    Item("a2", "Sổ đỏ của hộ gia đình do cấp nào ký?", topic="land", jurisdiction="local", answered_at="2025-10-01"),
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "desk.archive"
    with Archive(path, language="vi") as store:
        store.add(ITEMS)
    return path


def run(*arguments):
    return CliRunner().invoke(cli.app, ["archive", *map(str, arguments)])


def records(result):
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def stored(path, id):
    with Archive(path, create=False) as store:
        return store.get(id)


def error_of(result, code=1):
    assert (result.exit_code, result.stdout) == (code, "")
    return result.stderr


def test_add_makes_the_archive_and_masks(tmp_path):
    path = tmp_path / "new.archive"
    words = ["--question", "Ai ký?", "--answer", "Gọi 0912.345.678", "--legal-basis", "NĐ 1", "--legal-basis", "NĐ 2"]
    assert records(run("add", path, *words, "--id", "a1", "--language", "vi")) == [{"id": "a1", "status": "added"}]
    assert stored(path, "a1") == Item("a1", "Ai ký?", "Gọi [PHONE]", legal_basis=("NĐ 1", "NĐ 2"))
    assert records(run("add", path, *words, "--id", "a1")) == [{"id": "a1", "status": "unchanged"}]


def test_every_column_has_an_option(tmp_path):
    path = tmp_path / "new.archive"
    cells = {
        "id": "a1",
        "question": "Who?",
        "answer": "She.",
        "topic": "t",
        "jurisdiction": "j",
        "level": "l",
        "agency": "a",
        "matter_id": "m",
        "legal_basis": ("Law 1",),
        "answered_at": "2025-10-01",
        "valid_to": "2025-12-31",
        "superseded_by": "Law 2",
        "source": "Letter 5",
        "who": "Hoa",
    }
    flags = {name: "--" + name.replace("_", "-") for name in cells}
    given = [(flags[name], cell[0] if name == "legal_basis" else cell) for name, cell in cells.items()]
    records(run("add", path, *(part for pair in given for part in pair)))
    assert vars(stored(path, "a1")) == cells
    changed = {**cells, "question": "Who signs?", "legal_basis": (), "valid_to": "", "who": "Mai"}
    rest = [(flags[name], cell or "") for name, cell in changed.items() if name != "id" and cell != cells[name]]
    (record,) = records(run("update", path, "a1", *(part for pair in rest for part in pair)))
    assert record == {**changed, "legal_basis": []}
    assert vars(stored(path, "a1")) == changed


def test_made_up_id_is_told(path):
    (record,) = records(run("add", path, "--question", "Where is tax paid?"))
    assert stored(path, record["id"]).question == "Where is tax paid?"


def test_near_duplicate_is_an_error_unless_it_is_to_be_stored(path):
    words = ["--question", "ai cap giay phep ban le ruou", "--id", "a3"]
    assert "not stored, because it is 100% like item a1; update that, or --near-duplicates store" in error_of(
        run("add", path, *words)
    )
    assert records(run("add", path, *words, "--near-duplicates", "store")) == [{"id": "a3", "status": "added"}]
    assert records(run("duplicates", path)) == [{"id": "a3", "like": "a1", "similarity": 1.0}]
    assert "100%" in run("duplicates", path, "--format", "table").stdout


def test_question_changed_into_nearly_another_is_an_error_unless_it_is_to_be_stored(path):
    words = ["--question", "ai cap giay phep ban le ruou"]
    assert "item 'a2' is not changed, because it would be 100% like item 'a1'" in error_of(
        run("update", path, "a2", *words)
    )
    (changed,) = records(run("update", path, "a2", *words, "--near-duplicates", "store"))
    assert changed["question"] == words[1]


def test_errors_are_told_without_words(path, tmp_path):
    message = error_of(run("add", path, "--question", "Secret words", "--id", "a1"))
    assert "row 1, column 'id': must be new" in message
    assert "Secret" not in message
    assert "must be an ISO date" in error_of(run("update", path, "a1", "--answered-at", "soon"))
    assert "has no item 'a9'; the nearest ids are" in error_of(run("update", path, "a9", "--topic", "x"))
    assert "has no item 'a9'" in error_of(run("remove", path, "a9"))
    assert "--since must be an ISO date" in error_of(run("list", path, "--since", "soon"), 2)
    assert len(stored(path, "a1").question) == 29


@pytest.mark.parametrize("command", [["list"], ["update", "a1"], ["remove", "a1"], ["duplicates"], ["export", "x.csv"]])
def test_only_add_and_import_make_an_archive(tmp_path, command):
    name, *rest = command
    message = error_of(run(name, tmp_path / "none.archive", *rest))
    assert len(message.splitlines()) == 1
    assert "must be an archive that exists" in message
    assert list(tmp_path.iterdir()) == []


def test_remove_takes_the_item_out(path):
    result = run("remove", path, "a1")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "a1 removed" in result.stderr
    assert [record["id"] for record in records(run("list", path))] == ["a2"]


def test_list_filters_and_lays_out(path):
    assert [record["id"] for record in records(run("list", path, "--topic", "land", "--since", "2025-10-01"))] == ["a2"]
    assert records(run("list", path, "--matter-id", "M1"))[0]["answer"] == "UBND cấp xã."
    assert records(run("list", path, "--agency", "x")) == []
    shown = run("list", path, "--format", "table").stdout
    assert "2025-10-01" in shown
    assert "liquor" in shown


def test_list_is_a_table_on_a_terminal(path, monkeypatch):
    shown = []
    monkeypatch.setattr(commands, "show", shown.append)
    monkeypatch.setattr(commands, "_on_terminal", lambda stream: True)
    assert run("list", path).stdout == ""
    assert len(shown) == 1
    assert len(records(run("list", path, "--format", "jsonl"))) == 2


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet", ".xlsx"])
def test_export_and_import_take_everything_over(path, tmp_path, ending):
    table, other = tmp_path / f"out{ending}", tmp_path / "other.archive"
    assert "written" in run("export", path, table).stderr
    result = run("import", other, table, "--language", "vi")
    assert records(result) == []
    assert "2 added, 0 there already" in result.stderr
    assert "0 added, 2 there already" in run("import", other, table).stderr
    assert [stored(other, item.id) for item in ITEMS] == ITEMS


def test_import_tells_near_duplicates(path, tmp_path):
    table = tmp_path / "more.csv"
    table.write_text("id,question\nb1,so do cua ho gia dinh do cap nao ky\nb2,Where is tax paid?\n", "utf-8")
    result = run("import", path, table)
    assert records(result) == [{"id": "b1", "like": "a2", "similarity": 1.0}]
    assert "1 added, 0 there already; 1 near duplicates not stored" in result.stderr
    assert "1 near duplicates stored as well" in run("import", path, table, "--near-duplicates", "store").stderr


def test_import_of_a_faulty_table_stores_nothing(path, tmp_path):
    table = tmp_path / "bad.csv"
    table.write_text("id,question,topik\nb1,Secret?,x\n,,\n", "utf-8")
    message = error_of(run("import", path, table))
    assert "bad.csv: 1 fault" in message
    assert "did you mean 'topic'" in message
    assert "No such file" in error_of(run("import", path, tmp_path / "none.csv"))
    assert len(records(run("list", path))) == 2


def test_long_work_shows_itself_on_a_terminal(path, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_on_terminal", lambda stream: stream is sys.stderr)
    result = run("export", path, tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    assert "written" in result.stderr


# --- predict and similar with an archive ------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Train and save a small real model."""
    texts = {
        "liquor": ["licence to sell liquor", "giấy phép bán rượu"],
        "land": ["sổ đỏ do ai ký", "who signs for land"],
    }
    rows = [(f"{text} {n}", topic) for topic, own in texts.items() for text in own for n in range(3)]
    folder = tmp_path_factory.mktemp("models") / "small"
    triage.train(pd.DataFrame(rows, columns=["text", "topic"]), targets="topic", language="vi").save(folder)
    return folder


def program(*arguments, stdin=None):
    return CliRunner().invoke(cli.app, [*map(str, arguments)], input=stdin)


def test_predict_and_similar_suggest_the_answers_of_the_archive(model, path):
    (predicted,) = records(program("predict", model, "--archive", path, "-k", 1, stdin="ai cấp phép bán lẻ rượu\n"))
    (similar,) = records(program("similar", model, "ai cấp phép bán lẻ rượu", "--archive", path, "-k", 1))
    (one,), (other,) = predicted["suggestions"], similar["suggestions"]
    assert (one["id"], other["id"], other["answer"]) == ("a1", "a1", "UBND cấp xã.")
    assert one["similarity"] == round(other["similarity"], 4)
    (own,) = records(program("similar", model, "ai cấp phép bán lẻ rượu", "-k", 1))
    assert own["suggestions"][0]["id"].isdigit()


def test_index_is_kept_beside_the_archive_and_what_changed_is_found(model, path):
    records(program("similar", model, "rượu", "--archive", path))
    folder = path.with_name(f"{path.name}.index")
    assert sorted(one.name for one in folder.iterdir()) == ["answers", "lock", "made-for.json", "questions"]
    run("update", path, "a1", "--answer", "UBND tỉnh.")
    run("remove", path, "a2")
    (found,) = records(program("similar", model, "ai cấp phép bán lẻ rượu, sổ đỏ", "--archive", path))
    assert [(one["id"], one["answer"]) for one in found["suggestions"]] == [("a1", "UBND tỉnh.")]


def test_tables_show_the_archive_too(model, path, tmp_path):
    shown = program("similar", model, "bán lẻ rượu", "--archive", path, "--format", "table").stdout
    assert "Ai cấp giấy phép bán lẻ rượu?" in shown
    assert program("similar", model, "bán lẻ rượu", "--format", "table").stdout != shown
    (tmp_path / "in.csv").write_text("text\nbán lẻ rượu\n\n", "utf-8")
    result = program("predict", model, tmp_path / "in.csv", "--archive", path, "--output", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    assert pd.read_csv(tmp_path / "out.csv")["suggestion_id"].tolist()[0] == "a1"


def test_stale_answer_of_the_archive_says_so_on_its_day(model, path):
    run("update", path, "a1", "--valid-to", "2025-12-31")
    stale = [
        records(program("similar", model, "bán lẻ rượu", "--archive", path, "-k", 1, "--as-of", day))[0]["suggestions"][
            0
        ]
        for day in ("2025-12-31", "2026-01-01")
    ]
    assert [one["stale"] for one in stale] == [None, "valid until 2025-12-31"]


def test_empty_archive_suggests_nothing(model, tmp_path):
    with Archive(tmp_path / "new.archive"):
        pass
    assert records(program("similar", model, "rượu", "--archive", tmp_path / "new.archive")) == [
        {"line": 1, "suggestions": []}
    ]
    (found,) = records(program("predict", model, "--archive", tmp_path / "new.archive", stdin="rượu\n"))
    assert found["suggestions"] == []


@pytest.mark.parametrize("command", [["similar", "bí mật"], ["predict", "-"]])
def test_archive_that_cannot_be_used_is_one_line_without_words(model, path, tmp_path, command):
    name, *rest = command
    (tmp_path / "no.archive").write_text("bí mật")
    (tmp_path / "desk.archive.index").mkdir()
    (tmp_path / "desk.archive.index" / "thesis.odt").write_text("bí mật")
    for archive, problem in (
        ("none.archive", "must be an archive that exists"),
        ("no.archive", "must be an archive, but is another kind of file"),
        ("desk.archive", "must be a folder of its own for the index of an archive"),
    ):
        message = error_of(program(name, model, *rest, "--archive", tmp_path / archive, stdin="bí mật\n"))
        assert len(message.splitlines()) == 1
        assert problem in message
        assert "bí mật" not in message
    assert not (tmp_path / "none.archive.index").exists()
    assert not (tmp_path / "no.archive.index").exists()
