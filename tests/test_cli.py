"""The program: answers, tables, errors in one line, exit codes."""

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import triage
from triage import cli
from triage.cli import questions, terminal
from triage.dataset import write_table
from triage.errors import BundleError
from triage.records import Decision, Suggestion, TriageResult
from triage.training.tables import out_of_scope_texts

SECRET = "giấy phép bí mật"
TOPICS = {"licence": ["licence to sell liquor", "liquor licence renewal", "who grants a liquor licence"] * 4}
TOPICS["tax"] = ["tax on rent", "how is land tax paid", "tax return is late"] * 4


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Train and save a small real model."""
    rows = [
        {"text": f"{text} {number}", "topic": topic} for topic in TOPICS for number, text in enumerate(TOPICS[topic])
    ]
    folder = tmp_path_factory.mktemp("models") / "small"
    triage.train(pd.DataFrame(rows), targets=["topic"]).save(folder)
    return folder


def decide(target, label, probability=0.9, reason=None):
    status = "review" if reason else "assigned"
    return Decision(target, label, probability, status, reason, ((label, probability), ("rest", 1 - probability)))


class FakeTaxonomy:
    def name(self, target, label, language=None):
        names = {"t1": {None: "Chợ (mọi loại)", "en": "Markets"}}
        if label not in names:
            raise ValueError("unknown")
        return names[label][language]


class FakeTriager:
    """Answers by what the text holds, so that every branch of a table can be seen."""

    targets = ("topic", "jurisdiction", "level", "agency")
    taxonomy = FakeTaxonomy()

    def predict(self, texts, as_of=None, k=5):
        return [self.result(text, k) for text in texts]

    def result(self, text, k):
        if not text:
            empty = Decision("topic", None, 0.0, "review", "empty", ())
            return TriageResult({"topic": empty}, "review")
        far = "other" in text
        decisions = {
            "topic": decide("topic", "t1", 0.41 if "odd" in text else 0.93, "ambiguous" if "odd" in text else None),
            "jurisdiction": decide("jurisdiction", "other_agency" if far else "local"),
            "level": decide("level", "commune"),
            "agency": decide("agency", "customs" if far else ""),
        }
        route = "review" if "odd" in text else "forward" if far else "answer"
        near = [Suggestion(f"a{i}", "an earlier question", "its answer", 0.8, 0.7, "repealed") for i in range(k)]
        return TriageResult(decisions, route, tuple(near))

    def predict_frame(self, texts, as_of=None, text=None):
        return pd.DataFrame({"topic": ["t1"] * len(texts), "topic_probability": 0.9, "route": "answer"})

    def similar(self, texts, k=5, as_of=None):
        return [self.result(text, k).suggestions for text in texts]


@pytest.fixture
def fake(monkeypatch):
    """Let the program load the fake whatever the model's path is."""
    monkeypatch.setitem(sys.modules, "triage.triager", SimpleNamespace(load=lambda path, encoder=None: FakeTriager()))
    return FakeTriager


def run(*arguments, stdin=None):
    return CliRunner().invoke(cli.app, [*map(str, arguments)], input=stdin)


def records(result):
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def program(*arguments, stdin=b"", **options):
    command = [sys.executable, "-c", "from triage.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=120, **options)


def only_error(result, code=1):
    assert result.exit_code == code
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith("triage: error: ")
    return lines


# Lines


@pytest.mark.usefixtures("fake")
def test_predict_reads_standard_input_line_by_line():
    found = records(run("predict", "m", stdin="one\n\nother\n"))
    assert [record["line"] for record in found] == [1, 2, 3]
    assert [record["route"] for record in found] == ["answer", "review", "forward"]
    assert found[1]["decisions"]["topic"]["reason"] == "empty"
    assert len(found[0]["suggestions"]) == 5


@pytest.mark.usefixtures("fake")
def test_predict_of_nothing_prints_nothing():
    assert records(run("predict", "m", "-", stdin="")) == []


@pytest.mark.usefixtures("fake")
def test_predict_names_rows_by_id_or_number(tmp_path):
    with_id, without = tmp_path / "id.csv", tmp_path / "rows.jsonl"
    with_id.write_text("id,q\n007,one\nNA,other\n", "utf-8")
    without.write_text('{"q": "one"}\n{"q": null}\n', "utf-8")
    assert [record["id"] for record in records(run("predict", "m", with_id, "--text", "q"))] == ["007", "NA"]
    found = records(run("predict", "m", without, "--text", "q", "-k", 0))
    assert [(record["row"], record["route"], record["suggestions"]) for record in found] == [
        (1, "answer", []),
        (2, "review", []),
    ]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (["a", None, ""], ["a", None, None]),
        ([1, None, 3], [1, None, 3]),
        ([0.5, float("inf"), None], [0.5, None, None]),
        (pd.to_datetime(["2025-07-01", None, None]), ["2025-07-01 00:00:00", None, None]),
    ],
)
def test_absent_id_is_null(tmp_path, ids, told):
    pd.DataFrame({"id": ids, "text": ["one"] * 3}).to_parquet(tmp_path / "q.parquet")
    result = run("predict", "m", tmp_path / "q.parquet")
    found = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    assert [record["id"] for record in found] == told
    assert "nan" not in run("predict", "m", tmp_path / "q.parquet", "--format", "table").stdout.lower()


@pytest.mark.usefixtures("fake")
def test_rows_are_named_alike_in_all_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "CHUNK_ROWS", 2)
    source = tmp_path / "q.jsonl"
    source.write_text('{"text": "one", "id": 1}\n' + '{"text": "one"}\n' * 4, "utf-8")
    assert [record["id"] for record in records(run("predict", "m", source))] == ["1", None, None, None, None]


@pytest.mark.usefixtures("fake")
def test_gap_in_a_categorical_column_goes_to_review(tmp_path):
    pd.DataFrame({"text": pd.Categorical(["one", None])}).to_parquet(tmp_path / "q.parquet")
    found = records(run("predict", "m", tmp_path / "q.parquet"))
    assert [record["route"] for record in found] == ["answer", "review"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("cell", "kind"), [(["a"], "ndarray"), ({"a": 1}, "dict"), (b"a", "bytes")])
def test_list_or_object_in_the_place_of_a_text_is_a_fault(tmp_path, monkeypatch, cell, kind):
    monkeypatch.setattr(questions, "CHUNK_ROWS", 1)
    pd.DataFrame({"text": [None, cell]}).to_parquet(tmp_path / "q.parquet")
    result = run("predict", "m", tmp_path / "q.parquet")
    assert result.exit_code == 1
    assert f"q.parquet: 1 fault\n  row 2, column 'text': must be text, got {kind}" in result.stderr


@pytest.mark.parametrize("cells", [[1, 20], [1.5, 2.0], [True, False]])
def test_numbers_and_booleans_are_read_as_text(tmp_path, cells):
    pd.DataFrame({"text": cells}).to_parquet(tmp_path / "q.parquet")
    (chunk,) = questions.read(str(tmp_path / "q.parquet"), "text")
    assert chunk.texts == list(map(str, cells))


@pytest.mark.usefixtures("fake")
def test_full_line_is_the_whole_result():
    (found,) = records(run("predict", "m", "--full", "-k", 1, stdin="one"))
    assert found.pop("line") == 1
    assert found == json.loads(json.dumps(FakeTriager().result("one", 1).to_dict()))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("size", [1, 2, 3])
def test_lines_do_not_depend_on_chunks(monkeypatch, size):
    text = "one\nother\n\nodd\nfive"
    whole = run("predict", "m", stdin=text).stdout
    monkeypatch.setattr(questions, "CHUNK_ROWS", size)
    assert run("predict", "m", stdin=text).stdout == whole


def test_chunks_are_bounded_by_characters(monkeypatch):
    monkeypatch.setattr(questions, "CHUNK_CHARS", 10)
    chunks = list(questions.read_lines(io.BytesIO(b"123456\n123456\n1\n12345678901234567\n")))
    assert [chunk.ids for chunk in chunks] == [[1, 2], [3, 4]]


def test_slow_writer_is_answered_at_once():
    reader, writer = os.pipe()
    with open(reader, "rb") as stream, open(writer, "wb", buffering=0) as out:
        chunks = questions.read_lines(stream)
        out.write(b"one\n")
        assert next(chunks).texts == ["one"]
        out.write(b"two\n")
        assert next(chunks).texts == ["two"]


def test_lines_that_arrived_together_are_one_chunk():
    reader, writer = os.pipe()
    with open(reader, "rb") as stream, open(writer, "wb", buffering=0) as out:
        chunks = questions.read_lines(stream)
        out.write(b"one\r\n\n" * 40 + b"ha")
        assert next(chunks).texts == ["one", ""] * 40
        out.write(b"lf\nlast")
        out.close()
        (chunk,) = chunks
        assert (chunk.ids, chunk.texts) == ([81, 82], ["half", "last"])


def test_long_line_is_read_whole(monkeypatch):
    monkeypatch.setattr(questions, "_READ_BYTES", 3)
    (chunk,) = questions.read_lines(io.BytesIO(b"12345678\n\n1\n23"))
    assert chunk.texts == ["12345678", "", "1", "23"]


def test_emit_escapes_what_utf8_cannot_hold(capsysbinary):
    terminal.emit([{"id": "\ud800", "text": "chợ\x1b"}])
    assert json.loads(capsysbinary.readouterr().out) == {"id": "\ud800", "text": "chợ\x1b"}


# Tables


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "MODEL", "FILE"],
        ["evaluate", "MODEL", "FILE"],
        ["compare", "MODEL", "MODEL", "FILE"],
        ["drift", "MODEL", "FILE", "--reference", "FILE"],
        ["check-data", "FILE"],
        "feedback add LOG --file FILE --id 1 --target topic --label tax --who An".split(),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_shows_the_first_question_of_a_file_without_header(model, tmp_path, arguments):
    source = tmp_path / "nohead.csv"
    source.write_text("Tôi là An số 0912345678,tax\n", "utf-8")
    places = {"MODEL": model, "FILE": source, "LOG": tmp_path / "log.jsonl"}
    lines = only_error(run(*(places.get(word, word) for word in arguments)))
    assert "['tax'" in "".join(lines) or "(23 characters), 'tax'" in "".join(lines)
    assert "the first line must hold the column names" in "".join(lines)
    assert "An số" not in "".join(lines)
    assert "0912" not in "".join(lines)


def test_no_call_shows_the_first_question_of_a_table_without_header(model):
    frame = pd.DataFrame(columns=["Tôi là An số 0912345678", "tax"])
    for call in (triage.load(model).predict_frame, lambda table: out_of_scope_texts(table, "text")):
        with pytest.raises(ValueError, match=r"got \[\(23 characters\), 'tax'\] \(the first line must hold"):
            call(frame)


@pytest.mark.usefixtures("fake")
def test_table_tells_an_officer_what_to_do():
    shown = run("predict", "m", "--format", "table", stdin="one\nother\nodd\n\n").stdout
    assert max(map(len, shown.splitlines())) <= 100
    for words in ("Chợ", "commune", "customs", "93%", "forward", "a person must", "(?)", "no text"):
        assert words in shown
    assert "mọi loại" not in shown  # the explanation in a name's brackets
    assert "70%" in shown
    assert "out of" in shown


@pytest.mark.usefixtures("fake")
def test_table_shows_no_control_characters():
    shown = run("predict", "m", "--format", "table", stdin="one \x1b]0;title\x07 \u202e[bold]x[/bold]\x9b2J").stdout
    assert not set(shown) & {"\x1b", "\x07", "\u202e", "\x9b"}
    assert "[bold]x[/bold]" in shown


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "xlsx"])
def test_output_keeps_input_columns(tmp_path, ending):
    source, output = tmp_path / "in.csv", tmp_path / f"out.{ending}"
    source.write_text("id,text,topic\n1,one,mine\n2,two,mine\n", "utf-8")
    result = run("predict", "m", source, "--output", output)
    assert result.exit_code == 0, result.stderr
    frame = triage.dataset.read_table(output)
    assert list(frame.columns) == ["id", "text", "topic_given", "topic", "topic_probability", "route"]
    assert list(frame["topic_given"]) == ["mine", "mine"]


@pytest.mark.usefixtures("fake")
def test_similar_prints_suggestions():
    found = records(run("similar", "m", "one", "two", "-k", 2))
    assert [(record["line"], len(record["suggestions"])) for record in found] == [(1, 2), (2, 2)]
    assert "80%" in run("similar", "m", "one", "--format", "table").stdout


# Errors


@pytest.mark.usefixtures("fake")
def test_missing_file_is_one_line():
    assert only_error(run("predict", "m", "nowhere.txt")) == ["triage: error: nowhere.txt: No such file or directory"]
    assert len(only_error(run("predict", "m", "nowhere.csv"))) == 1


@pytest.mark.usefixtures("fake")
def test_faults_of_a_table_are_all_told_without_its_words(tmp_path):
    source = tmp_path / "bad.csv"
    source.write_text(f"id,text\n1,{SECRET},{SECRET}\n2,{SECRET},x\n", "utf-8")
    lines = only_error(run("predict", "m", source))
    assert lines[0].endswith("2 faults")
    assert ["row 1" in lines[1], "row 2" in lines[2], len(lines)] == [True, True, 3]
    assert SECRET not in "".join(lines)


@pytest.mark.usefixtures("fake")
def test_many_faults_are_counted(tmp_path):
    source = tmp_path / "bad.csv"
    source.write_text("id,text\n" + "1,a,b\n" * 70, "utf-8")
    lines = only_error(run("predict", "m", source))
    assert lines[0].endswith("70 faults")
    assert lines[-1] == "  and 20 more"


@pytest.mark.usefixtures("fake")
def test_missing_column_lists_the_columns(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("question\none\n", "utf-8")
    assert "'question'" in only_error(run("predict", "m", source))[1]


def test_error_of_a_model_is_one_line(monkeypatch):
    def load(path, encoder=None):
        raise BundleError(path=path, problem="is\ndamaged", remedy="restore\x1b it")

    monkeypatch.setitem(sys.modules, "triage.triager", SimpleNamespace(load=load))
    assert only_error(run("predict", "m", stdin="one")) == ["triage: error: m: is damaged; restore  it"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    "arguments",
    [
        ("predict",),
        ("predict", "m", "--as-of", "soon"),
        ("predict", "m", "-k", "-1"),
        ("predict", "m", "--format", "xml"),
        ("predict", "m", "--output", "x.pdf"),
        ("similar", "m"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments):
    result = run(*arguments, stdin="")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_train_refuses_an_existing_bundle_before_the_work(tmp_path):
    (tmp_path / "bundle").mkdir()
    (line,) = only_error(run("train", tmp_path / "recipe.toml"))
    assert "--overwrite" in line


def test_keyboard_interrupt_is_exit_code_130(monkeypatch):
    def load(path, encoder=None):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "triage.triager", SimpleNamespace(load=load))
    assert run("predict", "m", stdin="one").exit_code == 130


@pytest.mark.parametrize(
    ("targets", "header"),
    [
        (("label",), "label"),
        (("topic",), "topic"),
        (("intent", "level"), "intent, level"),
        (("jurisdiction", "level"), "who decides"),
        (("topic", "jurisdiction", "level", "agency", "matter"), "topic, and who decides"),
    ],
)
def test_table_names_the_targets_of_the_desk(fake, monkeypatch, targets, header):
    monkeypatch.setattr(fake, "targets", targets)
    top = run("predict", "m", "--format", "table", stdin="one\n").stdout.splitlines()[1]
    assert header in [cell.strip() for cell in top.split("┃")]


# The program as users start it


def test_version_and_help_are_light():
    done = program("--version")
    assert done.stdout.decode().split() == ["triage", triage.__version__]
    code = "import sys\nfrom triage import cli\nprint(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pandas", "sklearn", "spacy", "scipy"} & set(loaded)


def test_program_predicts_from_standard_input(model):
    done = program("predict", model, "-", stdin=b"liquor licence\n\nland tax\r\n\xff\xfe\n")
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["line"] for record in found] == [1, 2, 3, 4]
    assert [found[0]["decisions"]["topic"]["label"], found[2]["decisions"]["topic"]["label"]] == ["licence", "tax"]
    assert found[1]["decisions"]["topic"]["reason"] == "empty"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_every_line_gets_an_answer_whatever_it_holds(model, monkeypatch, content):
    triager = triage.load(model)
    monkeypatch.setitem(sys.modules, "triage.triager", SimpleNamespace(load=lambda path, encoder=None: triager))
    found = records(run("predict", "m", "--full", stdin=content))
    assert [record["line"] for record in found] == list(range(1, len(io.BytesIO(content).readlines()) + 1))
    assert run("predict", "m", "--format", "table", stdin=content).exit_code == 0


def test_program_writes_utf8_in_any_locale(model):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = program("predict", model, "--format", "table", stdin="chợ đêm\n".encode(), env=environment)
    assert done.returncode == 0, done.stderr.decode()
    assert "chợ đêm" in done.stdout.decode()


def test_program_stops_quietly_when_its_reader_does(model):
    command = [sys.executable, "-c", "from triage.cli import main; main()", "predict", str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        try:
            running.stdin.write(b"liquor licence\n" * 20_000)
            running.stdin.close()
        except BrokenPipeError:
            pass
        assert running.stderr.read() == b""
    assert running.returncode == 141


def test_program_evaluates_and_prints_json(model, tmp_path):
    source = tmp_path / "test.csv"
    source.write_text("text,topic,split\nliquor licence,licence,test\nland tax,tax,train\n", "utf-8")
    done = program("evaluate", model, source, "--split", "test", "--format", "json")
    assert done.returncode == 0, done.stderr.decode()
    assert isinstance(json.loads(done.stdout), dict)
    table = program("evaluate", model, source)
    assert table.returncode == 0, table.stderr.decode()
    assert "topic" in table.stdout.decode()
    assert "column 'split'" in table.stderr.decode()


def test_evaluate_of_an_unknown_split_is_wrong_usage(model, tmp_path):
    source = tmp_path / "test.csv"
    source.write_text("text,topic,split\nliquor licence,licence,test\n", "utf-8")
    done = program("evaluate", model, source, "--split", "valid")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    with pytest.raises(typer.BadParameter, match=r"^--split must be one of \['test'\] in t.csv, got 'valid'$"):
        questions.rows_of_split(pd.DataFrame({"split": ["test"]}), "valid", "t.csv")


def test_split_of_a_table_without_one_names_option_and_columns():
    message = r"^--split needs a column 'split' in t.csv, got \['text'\]; leave the option out$"
    with pytest.raises(typer.BadParameter, match=message):
        questions.rows_of_split(pd.DataFrame({"text": ["a"]}), "test", "t.csv")


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_faults_of_a_split_are_told_by_the_rows_of_the_file(model, tmp_path, command):
    source = tmp_path / "q.csv"
    source.write_text("text,topic,out_of_scope,split\nbeer,licence,,train\nrent,tax,,test\nrent,tax,x,test\n", "utf-8")
    models = [model] * (1 + (command == "compare"))
    lines = only_error(run(command, *models, source, "--split", "test"))
    assert lines[0] == f"triage: error: {source}: 1 fault"
    assert lines[1] == "  row 3, column 'out_of_scope': must be true or false"


def test_boolean_labels_are_measured_alike_in_every_format(tmp_path):
    rows = [
        {"text": f"{text} {i}", "urgent": topic == "tax"} for topic in TOPICS for i, text in enumerate(TOPICS[topic])
    ]
    triage.train(pd.DataFrame(rows), targets=["urgent"]).save(tmp_path / "desk")
    found = []
    for kind in ("csv", "jsonl", "parquet"):
        write_table(pd.DataFrame(rows), tmp_path / f"q.{kind}")
        found += records(run("evaluate", tmp_path / "desk", tmp_path / f"q.{kind}", "--format", "json"))
    assert found[0] == found[1] == found[2]
    assert found[0]["targets"][0]["accuracy"] == 1


def test_program_refuses_a_folder_that_is_no_model(tmp_path):
    done = program("predict", tmp_path, stdin=b"one\n")
    assert done.returncode == 1
    assert done.stderr.startswith(b"triage: error: ")
    assert b"Traceback" not in done.stderr
