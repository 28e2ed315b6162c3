"""Options of the program that a command cannot take: refused in one line before the work, or named."""

from types import SimpleNamespace

import pytest
from test_cli import FakeTriager, run

from triage.dataset import Taxonomy, Topic, read_table

TAXONOMY = Taxonomy(
    language="vi",
    topics=(Topic("t1", {"vi": "Cho", "en": "Markets"}, "", ()),),
    jurisdictions={"local": {"vi": "tinh", "fr": "local"}},
    levels={},
    agencies={},
)


@pytest.fixture
def desk(monkeypatch):
    """Let the program load a desk with names in three languages, which answers nothing."""

    def predict(*args, **options):
        raise AssertionError("must be refused before anything is predicted")

    desk = SimpleNamespace(targets=("topic",), taxonomy=TAXONOMY, predict=predict, predict_frame=predict)
    for module in ("program", "selection"):
        monkeypatch.setattr(f"triage.cli.{module}.load_desk", lambda *args: desk)
    return desk


def usage_error(result):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,text,topic,topic_given\n1,one,mine,theirs\n", "utf-8")
    return path


# --- languages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "feedback add NEW --target topic --label tax --question one",
        "archive add NEW --question one",
        "archive import NEW SOURCE",
        "check-data SOURCE",
    ],
)
def test_language_without_data_is_wrong_usage_and_nothing_is_made(source, tmp_path, command):
    new = tmp_path / "new"
    words = [{"NEW": new, "SOURCE": source}.get(word, word) for word in command.split()]
    assert "--language must be one of vi, got 'zz'" in usage_error(run(*words, "--language", "zz"))
    assert not new.exists()


@pytest.mark.parametrize("command", ["predict", "next"])
def test_language_without_names_of_the_desk_is_wrong_usage(desk, source, command):
    said = usage_error(run(command, "m", source, "--language", "zz"))
    assert "--language must be one of en, fr, vi, got 'zz'" in said


@pytest.mark.parametrize("command", ["predict", "next"])
def test_any_language_will_do_for_a_desk_without_names(desk, source, command):
    desk.taxonomy = None
    assert "--language" not in run(command, "m", source, "--language", "zz").output


def test_language_of_some_names_is_taken(desk, source):
    desk.predict = FakeTriager().predict
    shown = run("predict", "m", source, "--format", "table", "--language", "fr")
    assert shown.exit_code == 0, shown.stderr


# --- seeds ------------------------------------------------------------------------------------------


def test_next_refuses_a_seed_below_zero(desk, source):
    assert "'--random-state'" in usage_error(run("next", "m", source, "--random-state", -1))


# --- output -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.gz", "out.xlsx.gz", "out.parquet.gz", "out", "x.pdf", ".csv", ".csv.gz"])
def test_output_that_cannot_be_written_is_refused_before_the_work(desk, source, tmp_path, name):
    said = usage_error(run("predict", "m", source, "--output", tmp_path / name))
    assert "--output must end in one of .csv, .tsv, .jsonl, .ndjson, .parquet, .xlsx, text also with .gz" in said


@pytest.mark.parametrize("name", ["out.CSV", "out.csv.gz", "out.ndjson.gz", "a.b.xlsx"])
def test_output_that_can_be_written_is(desk, source, tmp_path, name):
    desk.predict_frame = FakeTriager().predict_frame
    result = run("predict", "m", source, "--output", tmp_path / name)
    assert result.exit_code == 0, result.stderr
    assert list(read_table(tmp_path / name)["id"]) == ["1"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--full"], "--full"),
        (["--format", "jsonl"], "--format"),
        (["-k", "5"], "-k"),
        (["-k", "1", "--full"], "--full, -k"),
        (["--language", "vi"], "--language"),
    ],
)
def test_options_of_printed_answers_are_named_as_without_effect_on_output(desk, source, tmp_path, options, named):
    desk.predict_frame = FakeTriager().predict_frame
    result = run("predict", "m", source, "--output", tmp_path / "out.csv", *options)
    assert result.exit_code == 0, result.stderr
    assert f"{named}: without effect" in result.stderr
    assert (tmp_path / "out.csv").exists()


def test_input_columns_that_are_named_like_predictions_get_a_free_name(desk, source, tmp_path):
    desk.predict_frame = FakeTriager().predict_frame
    result = run("predict", "m", source, "--output", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    (row,) = read_table(tmp_path / "out.csv").to_dict("records")
    assert {name: row[name] for name in ("topic", "topic_given", "topic_given_given")} == {
        "topic": "t1",
        "topic_given": "theirs",
        "topic_given_given": "mine",
    }


def test_input_columns_have_one_name_in_all_chunks(desk, tmp_path, monkeypatch):
    monkeypatch.setattr("triage.cli.questions.CHUNK_ROWS", 1)
    desk.predict_frame = FakeTriager().predict_frame
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a", "topic": "x"}\n{"text": "b", "topic": "y", "topic_given": "z"}\n', "utf-8")
    result = run("predict", "m", source, "--output", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    assert list(read_table(tmp_path / "out.csv")["topic_given_given"]) == ["x", "y"]
