"""Nothing acknowledged is ever lost: killed writers, full disks, many users of one file, files that are no archive."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from processes import finish, in_child

from triage.archive import Archive, Item
from triage.errors import ArchiveError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, limits and mounts as Linux has them")


def question(name):
    return f"{name} {random.Random(name).getrandbits(200):x}"  # unlike all others


def is_whole(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def is_consistent(store):
    """Say whether items, changes and keys tell the same."""
    current = {}
    for change in store.changes(0):
        current.pop(change.replaced, None)
        if change.kind == "put":
            current[change.sequence] = change.id
    return current == {key: item.id for block in store.blocks() for key, item in block}


def operations(number):
    """Yield what the writer of a round does: an operation and the ids it is done to."""
    dice = random.Random(number)
    for count in itertools.count():
        names = [f"{number}.{count}.{part}" for part in range(dice.choice([1, 1, 40]))]
        yield Archive.add, names
        if count % 3 == 2:
            yield Archive.update, names[:1]
            yield Archive.remove, names[-1:]


def after(number, n_operations):
    """Return the ids and answers there are after so many operations of a round."""
    state = {}
    for act, names in itertools.islice(operations(number), n_operations):
        for name in names:
            if act is Archive.remove:
                del state[name]
            else:
                state[name] = "changed" if act is Archive.update else ""
    return state


@pytest.mark.parametrize("rounds", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_killed_writer_loses_nothing_acknowledged(tmp_path, rounds):
    path = tmp_path / "desk.archive"
    expected = {}
    for number in range(rounds):

        def work(say, number=number):
            with Archive(path) as store:
                for act, names in operations(number):
                    if act is Archive.add:
                        store.add([Item(name, question(name)) for name in names])
                    elif act is Archive.update:
                        store.update(names[0], answer="changed")
                    else:
                        store.remove(names[0])
                    say("done")

        child, stream = in_child(work)
        dice = random.Random(number)
        first = [stream.readline()] if dice.random() < 0.8 else []  # else it may be killed before it has begun
        time.sleep(dice.random() * 0.08)
        os.kill(child, signal.SIGKILL)
        code, lines = finish(child, stream)
        assert code == -signal.SIGKILL
        n_done = len(first + lines)
        with Archive(path) as store:
            present = {item.id: item.answer for item in store}
            # One more may be done and not yet said.
            assert present in (expected | after(number, n_done), expected | after(number, n_done + 1))
            assert is_consistent(store)
            expected = present
        assert is_whole(path)


def test_killed_maker_leaves_an_archive_or_none(tmp_path):
    for number in range(15):
        path = tmp_path / f"{number}.archive"
        child, stream = in_child(lambda say, path=path: Archive(path).close())
        time.sleep(random.Random(number).random() * 0.02)
        os.kill(child, signal.SIGKILL)
        finish(child, stream)
        with Archive(path) as store:
            assert len(store) == 0


def fill(store, start):
    """Add items until it fails; return how many were stored."""
    for number in range(start, 100_000):
        try:
            store.add(Item(f"i{number}", question(number), answer="x" * 2000))
        except ArchiveError as error:
            return number, str(error)
    raise AssertionError("the disk must get full")


def test_full_disk_is_told_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1_000_000))
        with Archive(disk / "desk.archive") as store:
            stored, message = fill(store, 0)
            assert "the disk is full, and nothing of this was stored; free space" in message
            assert len(store) == stored == store.version
            with pytest.raises(ArchiveError, match="disk is full"):
                store.add([Item(f"b{n}", question(f"b{n}"), answer="x" * 9000) for n in range(100)])
            ballast.unlink()
            more, _ = fill(store, stored)
            assert more > stored
            assert [item.id for item in store] == [f"i{number}" for number in range(more)]
        assert is_whole(disk / "desk.archive")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_refused_write_is_told_and_loses_nothing(tmp_path):
    path = tmp_path / "desk.archive"

    def work(say):
        with Archive(path) as store:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            stored, message = fill(store, 0)
            say(stored)
            say(message)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            store.add(Item("after", question("after")))

    code, (stored, message) = finish(*in_child(work))
    assert code == 0
    assert "the disk failed or is full, and nothing of this was stored" in message
    with Archive(path) as store:
        assert [item.id for item in store] == [*(f"i{number}" for number in range(int(stored))), "after"]
    assert is_whole(path)


def test_two_processes_write_without_failing(tmp_path):
    path = tmp_path / "desk.archive"

    def work(name):
        def add(say):
            with Archive(path) as store:
                for number in range(150):
                    store.add(Item(f"{name}{number}", question(f"{name}{number}")))

        return add

    children = [in_child(work(name)) for name in "ab"]
    assert [finish(*child)[0] for child in children] == [0, 0]
    with Archive(path) as store:
        assert {item.id for item in store} == {f"{name}{number}" for name in "ab" for number in range(150)}
        assert store.keys().tolist() == list(range(1, 301))
        assert is_consistent(store)


def test_reader_sees_all_of_a_long_write_or_nothing(tmp_path):
    path = tmp_path / "desk.archive"
    many = [Item(f"m{number}", question(f"m{number}")) for number in range(3000)]
    seen, slowest = set(), 0.0
    with Archive(path) as store, Archive(path) as other:
        store.add(Item("first", "Who signs the licence?"))
        writer = threading.Thread(target=store.add, args=[many])
        writer.start()
        while writer.is_alive():
            start = time.monotonic()
            seen.add((len(other), other.version, len(other.keys())))
            seen.add((len(store), store.version, len(store.keys())))
            slowest = max(slowest, time.monotonic() - start)
        writer.join()
        assert {n for one in seen for n in one} <= {1, 3001}
        assert min(seen) == (1, 1, 1)
        assert slowest < 5
        assert len(other) == 3001


def test_eight_threads_share_an_archive(tmp_path):
    failed = []
    with Archive(tmp_path / "desk.archive") as store:

        def work(name):
            try:
                for number in range(15):
                    id = f"{name}.{number}"
                    store.add(Item(id, question(id)))
                    store.update(id, topic="changed")
                    assert store.get(id).topic == "changed"
                    assert id in {item.id for item in store}
                    if number % 5 == 0:
                        store.remove(id)
                    store.feedback("Who?", f"{name}.{number - number % 5 + 1}", True) if number % 5 == 4 else None
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=[name]) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(store) == 8 * 12
        assert len(store.feedback_rows()) == 8 * 3
        assert is_consistent(store)


def test_forked_process_uses_its_own_connection(tmp_path):
    with Archive(tmp_path / "desk.archive") as store:
        store.add(Item("parent", question("parent")))
        child = in_child(lambda say: say(store.add(Item("child", question("child"))).added[0]))
        assert finish(*child) == (0, ["child"])
        store.add(Item("after", question("after")))
        assert [item.id for item in store] == ["parent", "child", "after"]


def test_unfinished_reading_keeps_nobody_from_writing(tmp_path):
    with Archive(tmp_path / "desk.archive") as store:
        store.add([Item(name, question(name)) for name in "abc"])
        readings = [store.items() for _ in range(3)]
        for reading in readings:
            next(reading)
        store.add(Item("d", question("d")))
        del readings, reading
        assert len(store) == 4


# Files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "desk.archive"
    with Archive(path) as store:
        store.add([Item(f"i{number}", question(number), answer="x" * 900) for number in range(50)])
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be an archive, but is empty; delete it"),
        (b"id,question\n1,Who?\n", "must be an archive, but is another kind of file or damaged"),
        (bytes(range(256)) * 64, "must be an archive, but is another kind of file or damaged"),
        (b"SQLite format 3\0" + bytes(range(256)) * 64, "must be an archive, but is another kind of file or damaged"),
    ],
    ids=["empty", "table", "garbage", "header"],
)
def test_file_that_is_no_archive_is_refused_and_left_alone(tmp_path, content, message):
    path = tmp_path / "desk.archive"
    path.write_bytes(content)
    for create in (True, False):
        with pytest.raises(ArchiveError, match=message):
            Archive(path, create=create)
    assert path.read_bytes() == content
    assert [other.name for other in tmp_path.iterdir()] == ["desk.archive"]


@pytest.mark.parametrize("kept", [1, 99, 4096, 10_000, 0.5, -4097])
def test_truncated_archive_is_refused(tmp_path, whole, kept):
    path = tmp_path / "desk.archive"
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(ArchiveError, match=r"is damaged|or damaged"):
        Archive(path)


def test_damaged_archive_gives_an_archive_error_at_worst(tmp_path, whole):
    path = tmp_path / "desk.archive"
    for number in range(60):
        dice = random.Random(number)
        content = bytearray(whole)
        for _ in range(dice.choice([1, 20, 400])):
            content[dice.randrange(len(content))] = dice.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(ArchiveError), Archive(path) as store:
            store.list(topic="")
            [*store.items()]
            store.duplicates()
            store.changes(0)
            store.add(Item(f"new{number}", question(number)))
            store.feedback_rows()
        for beside in tmp_path.glob("desk.archive-*"):
            beside.unlink()


def test_other_database_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE items (id)")
    with pytest.raises(ArchiveError, match="must be an archive, but is another kind of file"):
        Archive(tmp_path / "other.db")


def test_newer_format_is_refused(tmp_path, whole):
    path = tmp_path / "desk.archive"
    path.write_bytes(whole)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(ArchiveError, match="must be of format 1 at most, got 2; update triage"):
        Archive(path)


def test_folder_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match="must be a file, but is a folder"):
        Archive(tmp_path)


def test_missing_archive_is_made_only_where_asked(tmp_path):
    with pytest.raises(ArchiveError, match="must be an archive that exists"):
        Archive(tmp_path / "desk.archive", create=False)
    with pytest.raises(ArchiveError, match="file and folder must be readable and writable"):
        Archive(tmp_path / "no" / "desk.archive")
    assert list(tmp_path.iterdir()) == []
    Archive(tmp_path / "tên # ?%20 lạ.archive").close()
    assert [path.name for path in tmp_path.iterdir()] == ["tên # ?%20 lạ.archive"]


def test_other_language_is_refused(tmp_path):
    path = tmp_path / "desk.archive"
    with pytest.raises(ValueError, match="language must be None or one of"):
        Archive(path, language="xx")
    Archive(path, language="vi").close()
    assert Archive(path).language == "vi"
    Archive(tmp_path / "plain.archive").close()
    with pytest.raises(ArchiveError, match="must be opened with its language None, got 'vi'"):
        Archive(tmp_path / "plain.archive", language="vi")


def as_nobody(work):
    """Run `work(say)` without root's rights."""

    def lowered(say):
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        work(say)

    return finish(*in_child(lowered))


@pytest.mark.parametrize("read_only", ["file", "folder", "folder without archive"])
def test_what_may_not_be_written_is_told(whole, read_only):
    folder = f"/tmp/archive-{os.getpid()}-{random.getrandbits(40)}"  # pytest's own folders are closed to others
    path = f"{folder}/desk.archive"
    os.mkdir(folder)

    def work(say):
        try:
            with Archive(path) as store:
                say(len(store))
                store.add(Item("new", question("new")))
        except ArchiveError as error:
            say(error)

    try:
        if read_only != "folder without archive":
            with open(path, "wb") as stream:
                stream.write(whole)
            os.chmod(path, 0o444 if read_only == "file" else 0o666)
        os.chmod(folder, 0o777 if read_only == "file" else 0o555)
        code, lines = as_nobody(work)
        assert code == 0
        assert "must be" in lines[-1]
        assert "writable; change their permissions or the user" in lines[-1]
        assert lines[:-1] == (["50"] if read_only == "file" else [])
    finally:
        os.chmod(folder, 0o755)
        shutil.rmtree(folder)
