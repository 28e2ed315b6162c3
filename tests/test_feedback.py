"""The log of corrections: nothing acknowledged is lost, nothing changed goes unseen, and rows that train."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import finish, in_child
from typer.testing import CliRunner

import triage
from triage import cli
from triage.errors import DatasetError, FeedbackError
from triage.feedback import Correction, FeedbackLog, Head

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="forks, limits and mounts as Linux has them")
DAY = datetime(2025, 10, 1, 8, tzinfo=UTC)


def filled(path, n=5):
    log = FeedbackLog(path, language="vi")
    for number in range(n):
        log.append(f"Who signs {number}?", "topic", "land", who="An", old_label="tax", old_probability=0.5, at=DAY)
    return log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "desk.feedback"


# What is stored


def test_correction_comes_back_as_it_was_given(path):
    log = FeedbackLog(path)
    given_ = log.append(
        "Ai ký?", "topic", "land", who="An", old_label="tax", old_probability=0.25, question_id="q1", at=DAY
    )
    assert given_ == Correction(1, "Ai ký?", "q1", "topic", "tax", 0.25, "land", "An", "2025-10-01T08:00:00.000000Z")
    assert [*FeedbackLog(path)] == [given_]
    assert len(log) == 1


@pytest.mark.parametrize("label", ["", "land", 7, 0, True, False])
def test_labels_keep_their_kind(path, label):
    FeedbackLog(path).append("Who?", "level", label, old_label=label)
    (found,) = FeedbackLog(path)
    assert (found.new_label, type(found.new_label)) == (label, type(label))
    assert type(found.old_label) is type(label)


def test_personal_data_is_masked_before_it_is_stored(path):
    log = FeedbackLog(path, language="vi")
    log.append("Gọi tôi 0912.345.678", "topic", "land", who="an@xa.gov.vn")
    content = path.read_bytes()
    assert b"0912" not in content
    assert b"an@xa" not in content
    assert [(one.question, one.who) for one in log] == [("Gọi tôi [PHONE]", "[EMAIL]")]


@given(
    question=st.text(min_size=1, max_size=40).filter(str.strip),
    who=st.text(max_size=10),
    label=st.one_of(st.integers(), st.booleans(), st.just("land")),
    probability=st.one_of(st.none(), st.floats(0, 1)),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_stored_or_refused_as_a_whole(tmp_path_factory, question, who, label, probability):
    log = FeedbackLog(tmp_path_factory.mktemp("log") / "desk.feedback")
    try:
        stored = log.append(question, "topic", label, who=who, old_probability=probability)
    except DatasetError:
        assert len(log) == 0
    else:
        assert [*log] == [stored]
        assert log.verify().n_corrections == 1


def test_every_wrong_argument_is_named_at_once_and_nothing_is_stored(path):
    log = FeedbackLog(path)
    with pytest.raises(DatasetError, match="feedback: 6 faults") as caught:
        log.append(" ", "topic", None, old_probability=2, old_label=1.5, who=3, at="today")
    assert {fault.column for fault in caught.value.faults} == {
        "question", "new_label", "old_probability", "old_label", "who", "at"
    }  # fmt: skip
    with pytest.raises(DatasetError, match="column 'old_probability': must be a number in"):
        log.append("Who?", "topic", "land", old_probability=float("nan"))
    assert len(log) == 0


def test_it_is_another_thing_than_an_archives_feedback(tmp_path):
    from triage.archive import Archive

    with Archive(tmp_path / "desk.archive") as archive:
        archive.add({"id": "a", "question": "Who signs?", "answer": "The commune."})
        archive.feedback("Who signs?", "a", True)
    with pytest.raises(FeedbackError, match="must be a log of feedback, but line 1 is something else or damaged"):
        FeedbackLog(tmp_path / "desk.archive")


# Rows to train on


def test_last_correction_of_a_question_and_target_counts(path):
    log = FeedbackLog(path)
    log.append("Who signs?", "topic", "tax", question_id="q1", who="An", at=DAY)
    log.append("Who pays?", "topic", "tax", at=DAY)
    log.append("Who signs?", "matter", "LD-1", question_id="q1", who="Bình", at=DAY)
    log.append("Who signs it?", "topic", "land", question_id="q1", who="Chi", at=datetime(2025, 11, 2, tzinfo=UTC))
    rows = log.export()
    assert list(rows.columns) == ["id", "text", "date", "topic", "matter_id", "author"]
    assert rows.iloc[0].tolist() == ["q1", "Who signs it?", "2025-11-02", "land", "LD-1", "Chi"]
    assert rows.iloc[1].tolist() == [None, "Who pays?", "2025-10-01", "tax", None, ""]
    complete = log.export(["topic", "matter"])
    assert complete["id"].tolist() == ["q1"]
    assert FeedbackLog(path.with_name("other")).export(["topic"]).empty


def test_exported_rows_train_a_desk_beside_its_table(path, questions):
    log = FeedbackLog(path)
    for number, word in enumerate(["beehive", "apiary", "honey"]):
        text = f"Who inspects my {word} of bees, number {number}?"
        log.append(text, "topic", "bees", who="An")
        log.append(text, "jurisdiction", "local", who="An")
    log.append("Only half is known of this one", "topic", "land")
    table = pd.concat([questions, log.export(["topic", "jurisdiction"])], ignore_index=True)
    assert len(table) == len(questions) + 3
    desk = triage.train(table)
    assert "bees" in desk.classes_["topic"]
    assert desk.predict_frame(["my honey of bees, who inspects my beehive?"])["topic"].tolist() == ["bees"]
    half = triage.train(questions, examples=log.export()[["text", "topic", "jurisdiction"]].iloc[3:])
    assert "bees" not in half.classes_["topic"]


# What was changed shows


def test_head_noted_elsewhere_shows_what_was_taken_away_or_written_anew(path, tmp_path):
    log = filled(path)
    noted = Head.parse(str(log.verify()))
    log.append("Who?", "topic", "land")
    assert log.verify(noted).n_corrections == 6  # it may grow
    shorter = filled(tmp_path / "shorter", 4)
    for name in ("shorter", "shorter.head"):
        shutil.copy(tmp_path / name, tmp_path / name.replace("shorter", "desk.feedback"))
    assert log.verify().n_corrections == shorter.verify().n_corrections == 4  # whole by itself
    with pytest.raises(FeedbackError, match="must go on to line 6, as noted, but ends after line 5"):
        log.verify(noted)
    filled(tmp_path / "anew", 0)
    anew = FeedbackLog(tmp_path / "anew")
    for _ in range(5):
        anew.append("Forged?", "topic", "tax", at=DAY)
    with pytest.raises(FeedbackError, match="line 6 or one before it was changed since its head was noted"):
        anew.verify(noted)


def rewritten(path, change):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: [*x[:2], x[2].replace(b"land", b"sand"), *x[3:]], "line 3 was changed or moved"),
        (lambda x: [*x[:5], x[5].replace(b"land", b"sand")], "line 6 was changed"),
        (lambda x: [x[0].replace(b"vi", b"xx"), *x[1:]], "line 1 was changed or moved"),
        (lambda x: [*x[:2], *x[3:]], "line 3 is missing"),
        (lambda x: x[1:], "line 1 is missing"),
        (lambda x: [x[0], *x[2:]], "line 2 is missing"),
        (lambda x: [*x[:3], x[2], *x[3:]], "line 3 was put in or moved"),
        (lambda x: [*x, x[5]], "line 6 was put in or moved"),
        (lambda x: [*x[:2], x[3], x[2], *x[4:]], "line 4 was changed or moved"),
        (lambda x: [*x[:4], x[5], x[4]], "line 6 was put in or moved"),
        (lambda x: x[:-1], "must go on to line 6, but ends after line 5"),
        (lambda x: x[:1], "must go on to line 6, but ends after line 1"),
        (lambda x: [], "must go on to line 6, but ends after line 0"),
        (lambda x: [*x[:5], x[5][:-1]], "must go on to line 6, but ends after line 5"),
        (lambda x: [*x[:2], x[2][:-1] + b" \n", *x[3:]], "line 3 was changed or moved"),
    ],
)
def test_tampered_line_is_named(path, change, message):
    log = filled(path)
    before = path.read_bytes()
    rewritten(path, change)
    assert path.read_bytes() != before
    with pytest.raises(FeedbackError, match=message):
        log.verify()
    with pytest.raises(FeedbackError, match=message):
        log.export()


def test_no_single_byte_can_be_changed_unseen(path):
    log = filled(path, 1)
    head = path.with_name(f"{path.name}.head")
    whole = log.verify()
    for file in (path, head):
        content = file.read_bytes()
        for place in range(len(content)):
            for new in {content[place] ^ 1, 10} - {content[place]}:
                file.write_bytes(content[:place] + bytes([new]) + content[place + 1 :])
                with pytest.raises(FeedbackError):
                    log.verify()
        file.write_bytes(content)
    assert log.verify() == whole


@pytest.mark.parametrize("target", ["id", "text", "date", "author"])
def test_target_called_like_an_exported_column_is_refused(path, target):
    log = FeedbackLog(path)
    with pytest.raises(DatasetError, match="must be none of id, text, date, author"):
        log.append("Who signs?", target, "x")
    assert len(log.export()) == 0


def test_labels_of_numpy_are_stored_as_plain_ones(path):
    stored = FeedbackLog(path).append("Who signs?", "level", np.int64(1), old_label=np.bool_(True))
    assert (stored.new_label, stored.old_label) == (1, True)
    assert FeedbackLog(path).export()["level"].tolist() == [1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a log of three corrections, and its bytes."""
    log = filled(tmp_path_factory.mktemp("whole") / "desk.feedback", 3)
    return log, log.path.read_bytes()


@given(data=st.data())
@settings(max_examples=200)
def test_no_stretch_of_the_log_can_be_replaced_unseen(whole, data):
    log, content = whole
    path = log.path
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, len(content)))
    new = data.draw(st.binary(max_size=8))
    changed = content[:start] + new + content[end:]
    path.write_bytes(changed)
    torn = changed.startswith(content) and b"\n" not in changed[len(content) :]
    if changed == content or torn:
        assert log.verify().n_corrections == 3
    else:
        with pytest.raises(FeedbackError, match=r"desk\.feedback: "):
            log.verify()


def test_appending_to_a_tampered_log_destroys_nothing(path):
    log = filled(path)
    rewritten(path, lambda x: [*x[:2], x[2].replace(b"Who", b"Whoever"), *x[3:]])
    path.write_bytes(path.read_bytes()[:-1])  # longer than it was, and its last line torn
    before = path.read_bytes()
    with pytest.raises(FeedbackError, match="line"):
        log.append("Who?", "topic", "land")
    assert path.read_bytes() == before


def test_forged_chain_of_what_is_no_correction_is_refused(path):
    import hashlib

    log = filled(path, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    forged = json.dumps({"previous": hashlib.sha256(lines[0]).hexdigest(), "sequence": 1}, separators=(",", ":")) + "\n"
    path.write_bytes(lines[0] + forged.encode())
    head = {
        "n_bytes": len(lines[0] + forged.encode()),
        "n_corrections": 1,
        "sha256": hashlib.sha256(forged.encode()).hexdigest(),
    }
    path.with_name(f"{path.name}.head").write_text(json.dumps(head, separators=(",", ":")) + "\n")
    with pytest.raises(FeedbackError, match="line 2 is no correction, though chained like one"):
        log.verify()


# Files


@pytest.mark.parametrize(
    "content", [b"id,text\n1,Who?\n", b"{}\n", b'{"kind":"other"}\n', bytes(range(256)) * 9, b"\n", b"[1]\n", b"x"]
)
def test_file_that_is_no_log_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    for create in (True, False):
        with pytest.raises(FeedbackError, match="must be a log of feedback, but line 1 is something else or damaged"):
            FeedbackLog(path, create=create)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_newer_format_and_other_language_are_refused(path):
    FeedbackLog(path)
    with pytest.raises(FeedbackError, match="must be opened with its language None, got 'vi'; leave it out"):
        FeedbackLog(path, language="vi")
    assert filled(path.with_name("other"), 0).language == FeedbackLog(path.with_name("other")).language == "vi"
    with pytest.raises(ValueError, match="language must be None or one of"):
        FeedbackLog(path.with_name("third"), language="xx")
    newer = path.with_name("newer")
    newer.write_bytes(b'{"format":2,"kind":"triage feedback","language":null}\n')
    with pytest.raises(FeedbackError, match="must be of format 1 at most, got 2; update triage"):
        FeedbackLog(newer)


def test_log_without_its_head_and_head_without_its_log_are_told(path):
    log = filled(path)
    head = path.with_name(f"{path.name}.head")
    content = head.read_bytes()
    head.unlink()
    for use in (log.verify, lambda: FeedbackLog(path), lambda: log.append("Who?", "topic", "land")):
        with pytest.raises(FeedbackError, match=r"must have its head desk\.feedback\.head beside it"):
            use()
    head.write_bytes(content)
    path.unlink()
    with pytest.raises(FeedbackError, match="must be there with 5 corrections, as its head says"):
        FeedbackLog(path)
    head.write_bytes(b"{}\n")
    with pytest.raises(FeedbackError, match=r"its head desk\.feedback\.head was changed or is damaged"):
        FeedbackLog(path)


def test_missing_log_is_made_only_where_asked(path, tmp_path):
    with pytest.raises(FeedbackError, match="must be a log that exists"):
        FeedbackLog(path, create=False)
    with pytest.raises(FeedbackError, match="must be a file, but is a folder"):
        FeedbackLog(tmp_path)
    with pytest.raises(FeedbackError, match="log and folder must be usable, but: No such file"):
        FeedbackLog(tmp_path / "no" / "log")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("kept", [0, 1, 30, -1])
def test_log_whose_maker_was_killed_is_made_again(path, kept):
    filled(path, 0)
    path.with_name(f"{path.name}.head").unlink()
    path.write_bytes(path.read_bytes()[:kept] if kept >= 0 else path.read_bytes())
    FeedbackLog(path, language="vi").append("Who?", "topic", "land")
    assert FeedbackLog(path).verify().n_corrections == 1


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_torn_last_line_is_cut_as_it_was_never_acknowledged(path, tmp_path, kept):
    log = filled(path, 3)
    noted = log.verify()
    content, head = path.read_bytes(), path.with_name(f"{path.name}.head").read_bytes()
    log.append("Who else?", "topic", "land")
    line = path.read_bytes()[len(content) :]
    path.write_bytes(content + line[: int(kept * len(line))])
    path.with_name(f"{path.name}.head").write_bytes(head)
    assert log.verify() == noted  # a reader changes nothing
    assert path.read_bytes() == content + line[: int(kept * len(line))]
    log.append("Who then?", "topic", "land")
    assert [one.question for one in log][3:] == ["Who then?"]


def test_whole_line_that_was_not_acknowledged_is_taken_in_by_the_next_writer(path):
    log = filled(path, 3)
    head = path.with_name(f"{path.name}.head").read_bytes()
    log.append("Who else?", "topic", "land")
    path.with_name(f"{path.name}.head").write_bytes(head)
    assert log.verify().n_corrections == 3
    log.append("Who then?", "topic", "land")
    assert [one.question for one in log][3:] == ["Who else?", "Who then?"]


# Many users, and none that finishes


@on_linux
@pytest.mark.parametrize("rounds", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_writer_loses_nothing_acknowledged(path, rounds):
    expected = []
    for number in range(rounds):

        def work(say, number=number):
            log = FeedbackLog(path)
            for count in range(10_000):
                log.append(f"Who signs {number}.{count}?", "topic", "land")
                say(f"Who signs {number}.{count}?")

        child, stream = in_child(work)
        dice = random.Random(number)
        first = [stream.readline().strip()] if dice.random() < 0.8 else []  # else before it has begun
        time.sleep(dice.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        code, lines = finish(child, stream)
        assert code == -signal.SIGKILL
        expected += first + lines
        FeedbackLog(path).append("after", "topic", "land")
        found = [one.question for one in FeedbackLog(path)]
        assert found[: len(expected)] == expected
        assert len(found) - len(expected) in (1, 2)  # one more may be whole and not yet said
        assert found[-1] == "after"
        expected = found


def fill(log):
    for _ in range(10_000):
        log.append("Who? " * 200, "topic", "land")


@on_linux
def test_full_disk_is_told_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        log = FeedbackLog(disk / "log")
        with pytest.raises(FeedbackError, match="No space left on device; nothing of this was stored"):
            fill(log)
        stored = len(log)
        assert stored > 10
        assert log.verify().n_corrections == stored
        subprocess.run(["mount", "-o", "remount,size=200k", disk], check=True)
        log.append("after", "topic", "land")
        assert [one.question for one in log][stored:] == ["after"]
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@on_linux
def test_refused_write_is_told_and_can_be_done_again(path):
    def work(say):
        log = FeedbackLog(path)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
        try:
            for number in range(1000):
                log.append("Who? " * 50, "topic", "land")
                say(number)
        except FeedbackError as error:
            say(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        log.append("after", "topic", "land")

    code, lines = finish(*in_child(work))
    assert code == 0
    assert "File too large; nothing of this was stored" in lines[-1]
    found = [one.question for one in FeedbackLog(path)]
    assert len(found) == len(lines)
    assert found[-1] == "after"


@on_linux
def test_two_processes_and_a_reader_wait_for_each_other(path):
    def writer(name):
        def work(say):
            log = FeedbackLog(path)
            for number in range(60):
                log.append(f"{name}{number}", "topic", "land")

        return work

    children = [in_child(writer(name)) for name in "ab"]
    seen = [len([*FeedbackLog(path)]) for _ in range(20)]
    assert [finish(*child)[0] for child in children] == [0, 0]
    assert seen == sorted(seen)
    found = [one.question for one in FeedbackLog(path)]
    assert [one for one in found if one[0] == "a"] == [f"a{number}" for number in range(60)]
    assert sorted(found) == sorted(f"{name}{number}" for name in "ab" for number in range(60))


def test_eight_threads_share_a_log(path):
    log, failed = FeedbackLog(path), []

    def work(name):
        try:
            for number in range(10):
                log.append(f"{name}.{number}", "topic", "land")
                log.verify()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=[name]) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {one.question for one in log} == {f"{name}.{number}" for name in range(8) for number in range(10)}
    assert [one.sequence for one in log] == list(range(1, 81))


@on_linux
def test_log_that_may_only_be_read_is_read(path):
    filled(path)
    os.chmod(path, 0o444)
    folder = f"/tmp/feedback-{os.getpid()}-{random.getrandbits(40)}"  # pytest's own folders are closed to others
    shutil.copytree(path.parent, folder)
    os.chmod(folder, 0o555)

    def work(say):
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        log = FeedbackLog(f"{folder}/{path.name}")
        say(log.verify().n_corrections)
        try:
            log.append("Who?", "topic", "land")
        except FeedbackError as error:
            say(error)

    try:
        code, lines = finish(*in_child(work))
        assert (code, lines[0]) == (0, "5")
        assert "log and folder must be usable, but: Permission denied" in lines[1]
    finally:
        os.chmod(folder, 0o755)
        shutil.rmtree(folder)


# The command line


def run(*words):
    return CliRunner().invoke(cli.app, ["feedback", *map(str, words)])


def test_command_line_adds_lists_verifies_and_exports(path, tmp_path, triager):
    triager.save(tmp_path / "model")
    pd.DataFrame({"id": ["q1", "q2"], "text": ["Who settles a dispute over land?", "x"]}).to_csv(
        tmp_path / "questions.csv", index=False
    )
    words = ("--file", tmp_path / "questions.csv", "--id", "q1", "--target", "topic", "--label", "land", "--who", "An")
    added = run("add", path, *words, "--model", tmp_path / "model", "--confirm-rest")
    assert added.exit_code == 0, added.stderr
    first, second = map(json.loads, added.stdout.splitlines())
    assert (first["question"], first["question_id"], first["who"]) == ("Who settles a dispute over land?", "q1", "An")
    assert first["old_label"] in triager.classes_["topic"]
    assert 0 <= first["old_probability"] <= 1
    assert (second["target"], second["new_label"]) == ("jurisdiction", second["old_label"])
    assert run("add", path, "--question", "Who?", "--target", "topic", "--label", "tax").exit_code == 0
    assert len(run("list", path).stdout.splitlines()) == 3
    assert len(run("list", path, "--target", "topic").stdout.splitlines()) == 2
    assert "settles" in run("list", path, "--format", "table").stdout
    head = json.loads(run("verify", path).stdout)["head"]
    assert json.loads(run("verify", path, "--head", head).stdout)["corrections"] == 3
    out = tmp_path / "rows.csv"
    assert run("export", path, out, "--target", "topic", "--target", "jurisdiction").exit_code == 0
    assert pd.read_csv(out)["id"].tolist() == ["q1"]
    rewritten(path, lambda lines: [*lines[:2], lines[2].replace(b"An", b"Al"), *lines[3:]])
    broken = run("verify", path)
    assert broken.exit_code == 1
    assert "line 3 was changed or moved" in broken.stderr
    assert "settles" not in broken.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give the question by --question, or by --file and --id"),
        (["--file", "f.csv"], "--file needs --id"),
        (["--question", "Who?", "--confirm-rest"], "--confirm-rest needs --model"),
    ],
)
def test_command_line_refuses_half_a_question(path, words, message):
    refused = run("add", path, "--target", "topic", "--label", "land", *words)
    assert refused.exit_code == 2
    assert message in " ".join(refused.stderr.replace("│", " ").split())
    assert not path.exists()


def test_command_line_refuses_a_head_that_is_none(path):
    filled(path)
    refused = run("verify", path, "--head", "5:abc")
    assert refused.exit_code == 2
    assert "64 hexadecimal digits" in " ".join(refused.stderr.replace("│", " ").split())
