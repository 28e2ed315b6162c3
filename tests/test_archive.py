"""The archive: items in and out, near duplicates, following its changes, feedback."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triage.archive import COLUMNS, Added, Archive, Change, Item, NearDuplicate
from triage.archive.duplicates import THRESHOLD, bands_of, similarities
from triage.dataset import read_table
from triage.errors import ArchiveError, DatasetError

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "data" / "golden-archive-1"
DESKS = ("industry-trade", "land")

LIQUOR = Item("a1", "Ai cấp giấy phép bán lẻ rượu?", "UBND cấp xã.", topic="liquor", matter_id="M1")
LAND = Item("a2", "Sổ đỏ của hộ gia đình do cấp nào ký?", topic="land", answered_at="2025-10-01")
TAX = Item("a3", "Where do I pay tax on the rent of a house?", legal_basis=("Law 1", "Decree 2"))


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "desk.archive", language="vi") as store:
        yield store


@pytest.fixture
def filled(archive):
    archive.add([LIQUOR, LAND, TAX])
    return archive


# Items


def test_added_items_are_got_again(archive, tmp_path):
    assert archive.add([LIQUOR, {"id": "a3", **{key: vars(TAX)[key] for key in ("question", "legal_basis")}}]) == Added(
        ("a1", "a3"), (), ()
    )
    assert archive.get("a1") == LIQUOR
    with Archive(tmp_path / "desk.archive") as other:
        assert [*other] == [LIQUOR, TAX]
        assert len(other) == 2
        assert other.language == "vi"


def test_one_item_is_added_without_a_list(archive):
    assert archive.add(LIQUOR).added == ("a1",)
    assert archive.add({"id": "a2", "question": "Who signs?"}).added == ("a2",)
    assert archive.add([]) == Added((), (), ())


def test_adding_again_changes_nothing(filled):
    assert filled.add([LIQUOR, TAX]) == Added((), ("a1", "a3"), ())
    assert filled.version == 3


def test_equal_rows_count_once(archive):
    assert archive.add([LIQUOR, LIQUOR]).added == ("a1",)
    assert len(archive) == 1


def test_same_id_with_other_content_is_a_fault_that_names_update(filled):
    with pytest.raises(DatasetError, match=r"row 2, column 'id': must be new, but .*change that by update"):
        filled.add([Item("new", "Is this stored?"), Item("a1", "Is this?")])
    assert len(filled) == 3


def test_cells_are_cleaned(archive):
    archive.add(
        {
            "id": 7,
            "question": " Who signs? ",
            "answer": "  ",
            "topic": None,
            "legal_basis": "NĐ 1;NĐ 2 ; ",
            "answered_at": date(2025, 10, 1),
            "valid_to": pd.Timestamp("2025-12-31"),
            "superseded_by": 2026,
            "level": float("nan"),
        }
    )
    assert archive.get("7") == Item(
        "7",
        " Who signs? ",
        legal_basis=("NĐ 1", "NĐ 2"),
        answered_at="2025-10-01",
        valid_to="2025-12-31",
        superseded_by="2026",
    )


def test_personal_data_is_masked_before_anything_is_written(archive, tmp_path):
    secret = "0912.345.678"
    row = {"id": "a1", "question": f"Gọi {secret} nhé?", "answer": f"Gọi {secret}", "source": secret, "who": secret}
    archive.add(row)
    archive.update("a1", answer=f"Hay gọi {secret}")
    archive.feedback(f"Tôi là {secret}", "a1", True, who=f"anh {secret}")
    assert archive.add(row | {"answer": f"Hay gọi {secret}"}).unchanged == ("a1",)
    archive.close()
    with Archive(tmp_path / "desk.archive") as store:
        assert store.get("a1").question == "Gọi [PHONE] nhé?"
        assert store.feedback_rows()[["text", "who"]].values.tolist() == [["Tôi là [PHONE]", "anh [PHONE]"]]
    assert all(secret.encode() not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"id": None}, "column 'id': must not be missing"),
        ({"id": " a"}, "column 'id': must have no white space around it"),
        ({"id": "a\0"}, "column 'id': must have no white space around it, no NUL"),
        ({"id": ["a"]}, "column 'id': must be text, a whole number or a boolean, got list"),
        ({"question": None}, "column 'question': must not be missing"),
        ({"question": " \n"}, "column 'question': must not be blank"),
        ({"question": 5}, "column 'question': must be text, got int"),
        ({"question": "\ud800"}, "column 'question': must not hold NUL characters or lone surrogates"),
        ({"question": "x" * 1_000_001}, "column 'question': must have at most 1,000,000 characters"),
        ({"question": f"{'x' * 999_994} a@b.c"}, "column 'question': must have at most 1,000,000 characters"),
        ({"answer": "\0"}, "column 'answer': must not hold NUL characters"),
        ({"answer": ["x"]}, "column 'answer': must be text, got list"),
        ({"topic": "land "}, "column 'topic': must have no white space"),
        ({"level": 1.5}, "column 'level': must be text, a whole number"),
        ({"legal_basis": 5}, "column 'legal_basis': must be a list of texts, or text parted by ';', got int"),
        ({"legal_basis": ["Law", None]}, "column 'legal_basis': must be a list of texts"),
        ({"legal_basis": ["\ud800"]}, "column 'legal_basis': must not hold NUL"),
        ({"answered_at": "1.10.2025"}, "column 'answered_at': must be an ISO date"),
        ({"valid_to": "2025-02-30"}, "column 'valid_to': must be an ISO date"),
        ({"answered_at": "2025-10-02", "valid_to": "2025-10-01"}, "column 'valid_to': must not be before answered_at"),
        ({"who": 1.5}, "column 'who': must be text, got float"),
        ({"topik": "x"}, r"column 'topik': is no column of an item; .*did you mean 'topic'"),
    ],
)
def test_faulty_cell_is_named_and_nothing_stored(archive, cells, message):
    with pytest.raises(DatasetError, match=rf"^items: 1 fault\n  row 2, {message}"):
        archive.add([LIQUOR, {"id": "b", "question": "Secret words?"} | cells])
    assert (len(archive), archive.version) == (0, 0)


def test_all_faults_are_named_at_once_without_words(archive):
    rows = [
        {"id": "a", "question": ""},
        {"question": "Secret"},
        {"id": "b", "question": "x"},
        {"id": "b", "question": "y"},
    ]
    with pytest.raises(DatasetError, match="items: 3 faults") as caught:
        archive.add(rows)
    assert [(fault.row, fault.column) for fault in caught.value.faults] == [(1, "question"), (2, "id"), (4, "id")]
    assert "row 3 has the same with other content" in str(caught.value)
    assert "Secret" not in str(caught.value)


@pytest.mark.parametrize(("items", "kind"), [("text", "str"), ([LIQUOR, 5], "int")])
def test_what_is_no_item_is_refused(archive, items, kind):
    with pytest.raises(TypeError, match=f"an item must be an Item or a mapping, got {kind}"):
        archive.add(items)


def test_unknown_way_with_near_duplicates_is_refused(archive):
    with pytest.raises(ValueError, match="near_duplicates must be 'report' or 'store', got 'drop'"):
        archive.add(LIQUOR, near_duplicates="drop")


def test_update_changes_what_is_given(filled):
    changed = filled.update("a1", answer="UBND cấp tỉnh.", legal_basis=["NĐ 1"])
    assert changed == filled.get("a1")
    assert (changed.answer, changed.legal_basis, changed.topic) == ("UBND cấp tỉnh.", ("NĐ 1",), "liquor")
    assert filled.update("a1", topic="").topic == ""


def test_update_without_change_makes_no_version(filled):
    filled.update("a1", answer=LIQUOR.answer)
    filled.update("a1")
    assert filled.version == 3


def test_update_refuses_faults(filled):
    with pytest.raises(ValueError, match="an id must stay the same"):
        filled.update("a1", id="a9")
    with pytest.raises(DatasetError, match=r"item 'a1': 1 fault\n.*'anser'.*did you mean 'answer'"):
        filled.update("a1", anser="x")
    with pytest.raises(DatasetError, match="must not be before answered_at"):
        filled.update("a2", valid_to="2025-09-30")
    assert filled.version == 3


@pytest.mark.parametrize("act", [Archive.get, Archive.update, Archive.remove])
def test_unknown_id_is_refused_and_the_nearest_told(filled, act):
    with pytest.raises(ArchiveError, match=r"has no item 'a11'; the nearest ids are a1, a"):
        act(filled, "a11")
    with pytest.raises(ValueError, match="an id must be text without NUL"):
        act(filled, "\ud800")


def test_unknown_id_of_an_empty_archive(archive):
    with pytest.raises(ArchiveError, match="has no item 'a'; the nearest ids are none"):
        archive.get("a")


def test_removed_item_is_gone_and_may_come_back(filled):
    filled.remove("a1")
    assert [item.id for item in filled] == ["a2", "a3"]
    assert filled.add(LIQUOR).added == ("a1",)
    assert filled.keys().tolist() == [2, 3, 5]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, ["a1", "a2", "a3"]),
        ({"topic": "land"}, ["a2"]),
        ({"topic": ""}, ["a3"]),
        ({"matter_id": "M1", "topic": "liquor"}, ["a1"]),
        ({"matter_id": "M1", "topic": "land"}, []),
        ({"since": "2025-10-01"}, ["a2"]),
        ({"since": date(2025, 10, 2)}, []),
        ({"jurisdiction": "", "level": "", "agency": ""}, ["a1", "a2", "a3"]),
    ],
)
def test_list_passes_every_filter(filled, filters, ids):
    assert [item.id for item in filled.list(**filters)] == ids


def test_list_since_no_day_is_refused(filled):
    with pytest.raises(ValueError, match="since must be an ISO date"):
        filled.list(since="soon")


def test_closed_archive_says_so(filled):
    filled.close()
    filled.close()
    with pytest.raises(ArchiveError, match="the archive is closed; open it again"):
        len(filled)


# Near duplicates


def test_near_duplicate_is_reported_and_not_stored(filled):
    copy = Item("b1", "ai cap giay phep ban le ruou")
    assert filled.add(copy) == Added((), (), (NearDuplicate("b1", "a1", 1.0),))
    assert len(filled) == 3


def test_near_duplicate_is_stored_where_asked(filled):
    copy = Item("b1", "Ai cấp giấy phép bán lẻ rượuu?")
    done = filled.add(copy, near_duplicates="store")
    assert done.added == ("b1",)
    (near,) = done.near_duplicates
    assert (near.id, near.like) == ("b1", "a1")
    assert filled.duplicates() == [near]
    assert filled.duplicates(threshold=1) == []


def test_question_changed_into_nearly_another_is_refused_and_the_other_named(filled):
    problem = "item 'a2' is not changed, because it would be 100% like item 'a1'; change that, or let near duplicates"
    with pytest.raises(ArchiveError, match=problem) as caught:
        filled.update("a2", question="ai cap giay phep ban le ruou", answer="New.")
    assert "giay phep" not in str(caught.value)
    assert (filled.get("a2"), filled.version) == (LAND, 3)
    filled.add(Item("b1", LIQUOR.question), near_duplicates="store")
    with pytest.raises(ArchiveError, match="like item 'a1' and 1 more;"):
        filled.update("a2", question="ai cap giay phep ban le ruou")


def test_question_changed_into_nearly_another_is_stored_where_asked(filled):
    filled.update("a2", question="ai cap giay phep ban le ruou", near_duplicates="store")
    assert filled.duplicates() == [NearDuplicate("a2", "a1", 1.0)]
    with pytest.raises(ValueError, match="near_duplicates must be 'report' or 'store', got 'drop'"):
        filled.update("a2", near_duplicates="drop")


def test_of_very_many_alike_each_is_paired_with_the_first(archive):
    table = pd.DataFrame({"id": [f"f{n:03}" for n in range(120)], "question": LIQUOR.question, "answer": "Yes."})
    archive.import_table(table, near_duplicates="store")
    found = archive.duplicates()
    assert {near.id for near in found} == set(table["id"][1:])
    assert {near.like for near in found} == set(table["id"][:50])
    assert len(found) == 50 * 49 // 2 + 70 * 50


def test_near_duplicate_of_before_may_be_changed_and_go_on_as_one(filled):
    filled.add(Item("b1", "ai cap giay phep ban le ruou"), near_duplicates="store")
    assert filled.update("b1", question="Ai cấp giấy phép bán lẻ rượu??", topic="liquor").topic == "liquor"
    with pytest.raises(ArchiveError, match="item 'b1' is not changed, because it would be 100% like item 'a2'"):
        filled.update("b1", question=LAND.question)


def test_question_changed_a_little_is_no_near_duplicate_of_itself(filled):
    assert filled.update("a1", question="Ai cấp giấy phép bán lẻ rượu ạ?").question.endswith("ạ?")


def test_near_duplicates_inside_a_batch_are_found(archive):
    done = archive.add([LIQUOR, LAND, Item("b1", LIQUOR.question.upper()), Item("b2", "ai cap giay phep ban le ruou")])
    assert done.added == ("a1", "a2")
    assert [(near.id, near.like) for near in done.near_duplicates] == [("b1", "a1"), ("b2", "a1")]


def test_item_like_one_that_was_not_stored_is_held_against_stored_ones_only(archive):
    words = [f"word{number}" for number in range(40)]
    steps = [" ".join([*(f"other{n}" for n in range(cut)), *words[cut:]]) for cut in (0, 6, 12)]
    one, two, three = [similarities(steps, [a], [b])[0] >= THRESHOLD for a, b in ((0, 1), (1, 2), (0, 2))]
    assert (one, two, three) == (True, True, False)
    done = archive.add([Item(f"s{number}", text) for number, text in enumerate(steps)])
    assert done.added == ("s0", "s2")


def test_removed_or_changed_question_is_no_near_duplicate_any_more(filled):
    filled.remove("a1")
    filled.update("a2", question="Thu hồi đất làm cao tốc do ai quyết định?")
    copies = [Item("b1", LIQUOR.question), Item("b2", LAND.question)]
    assert filled.add(copies).added == ("b1", "b2")


def test_bands_of_items_that_are_gone_do_no_harm(filled, tmp_path):
    with closing(sqlite3.connect(tmp_path / "desk.archive")) as connection, connection:
        connection.execute("INSERT INTO bands SELECT band, 99 FROM bands WHERE key = 1")
        connection.execute("INSERT INTO bands VALUES (1, 98), (1, 99)")
    assert filled.duplicates() == []
    assert filled.add(Item("b1", LIQUOR.question)).near_duplicates == (NearDuplicate("b1", "a1", 1.0),)
    for id in ("a1", "a2", "a3"):
        filled.remove(id)
    assert filled.duplicates() == []


def test_many_copies_are_told_in_linear_time(archive):
    copies = [Item(f"c{number}", f"{LIQUOR.question}{'!' * (number % 9)}") for number in range(2000)]
    assert len(archive.add(copies).near_duplicates) == 1999


def test_questions_without_words_are_no_near_duplicates(archive):
    assert archive.add([Item("a", "???"), Item("b", "!!!"), Item("c", "x"), Item("d", "X?")]).near_duplicates == ()


@pytest.mark.parametrize("threshold", [0.59, 1.01, float("nan")])
def test_threshold_out_of_range_is_refused(archive, threshold):
    with pytest.raises(ValueError, match=r"threshold must be in \[0.6, 1\], got"):
        archive.duplicates(threshold)


@pytest.mark.parametrize("desk", DESKS)
def test_reasks_are_no_near_duplicates_and_copies_are(archive, desk):
    items = archive.import_table(ROOT / "datasets" / desk / "archive.jsonl")
    assert items.near_duplicates == ()
    reasks = read_table(ROOT / "datasets" / desk / "reasks.jsonl")["text"]
    assert archive.add([Item(f"r{number}", text) for number, text in enumerate(reasks)]).near_duplicates == ()
    stored = archive.list()
    rng = np.random.default_rng(0)
    copies = []
    for number, item in enumerate(stored[: len(items.added)]):
        letters = [*item.question.replace("tôi", "chúng em")]
        for place in rng.choice(len(letters), 3, replace=False):
            letters[place] = rng.choice([*"aeiounhtg"])
        copies.append(Item(f"c{number}", f"{''.join(letters)} (UBND xã Bình Minh)"))
    found = {near.id: near.like for near in archive.add(copies).near_duplicates}
    right = [found.get(f"c{number}") == item.id for number, item in enumerate(stored[: len(copies)])]
    assert np.mean(right) > 0.93


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8), st.integers(0, 7))
def test_bands_do_not_depend_on_the_batch(texts, place):
    place %= len(texts)
    bands = bands_of(texts)
    assert bands.shape == (len(texts), 16)
    assert (bands[place] == bands_of([texts[place]])[0]).all()
    assert ((bands >= 0) & (bands < 2**48)).all()


@given(st.lists(st.text(alphabet="aăb đ", max_size=12), min_size=2, max_size=2))
def test_similarity_is_the_jaccard_index(texts):
    def shingles(text):
        folded = " ".join(["", *text.replace("ă", "a").replace("đ", "d").split(), ""])
        return {folded[start : start + 4] for start in range(len(folded) - 3)} if folded.strip() else set()

    one, other = map(shingles, texts)
    expected = len(one & other) / len(one | other) if one | other else 0.0
    assert similarities(texts, [0], [1])[0] == pytest.approx(expected)


# Following


def test_changes_tell_everything_in_order(filled):
    assert Archive.version.fget(filled) == 3
    filled.update("a2", topic="")
    filled.remove("a1")
    assert filled.changes(3) == [Change(4, "a2", "put", 2), Change(5, "a1", "remove", 1)]
    assert filled.changes(filled.version) == []
    assert filled.keys().tolist() == [3, 4]


@pytest.mark.parametrize("since", [-1, 4])
def test_changes_since_a_version_that_never_was_are_refused(filled, since):
    with pytest.raises(ValueError, match=rf"since must be in \[0, 3\] \(the version\), got {since}"):
        filled.changes(since)


def test_items_of_keys_keep_the_order_and_leave_gaps(filled):
    filled.update("a2", topic="")
    assert filled.of_keys([3, 2, 1, 3]) == [TAX, None, LIQUOR, TAX]
    assert filled.of_keys(np.array([4])) == [filled.get("a2")]
    assert filled.of_keys([]) == []


def test_blocks_are_in_key_order(filled):
    filled.update("a1", topic="")
    blocks = [[(key, item.id) for key, item in block] for block in filled.blocks(2)]
    assert blocks == [[(2, "a2"), (3, "a3")], [(4, "a1")]]
    with pytest.raises(ValueError, match="n_rows must be at least 1, got 0"):
        next(filled.blocks(0))


def test_reading_goes_on_as_it_began(filled):
    items = filled.blocks(1)
    next(items)
    filled.remove("a3")
    filled.add(Item("a4", "Who settles a dispute over land?"))
    assert [item.id for block in items for _, item in block] == ["a2", "a3"]
    assert [item.id for item in filled] == ["a1", "a2", "a4"]


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["one", "two", None])), max_size=8))
def test_follower_of_the_changes_has_what_the_archive_has(tmp_path_factory, steps):
    with Archive(tmp_path_factory.mktemp("follow") / "a.archive") as store:
        known: dict[str, Item] = {}
        mirror: dict[int, str] = {}
        for id, topic in steps:
            if topic is None:
                if id in known:
                    store.remove(id)
                    del known[id]
            elif id in known:
                known[id] = store.update(id, topic=topic)
            else:
                known[id] = Item(id, f"question of {id * 9}", topic=topic)
                store.add(known[id])
        for change in store.changes(0):
            mirror.pop(change.replaced, None)
            if change.kind == "put":
                mirror[change.sequence] = change.id
        assert store.keys().tolist() == sorted(mirror)
        assert {item.id: item for item in store} == known
        assert {item.id for item in store.of_keys([*mirror])} == {*mirror.values()}


# Feedback


def test_feedback_has_the_columns_of_reasks(filled):
    filled.feedback("Ai cho bán rượu?", "a1", True, who="Hoa", at=datetime(2025, 10, 1, 23, tzinfo=UTC))
    filled.feedback("Đất của ai?", "a1", np.False_, at=datetime(2025, 10, 2))
    filled.remove("a1")
    assert filled.feedback_rows().to_dict("records") == [
        {"text": "Ai cho bán rượu?", "archive_id": "a1", "near": "", "date": "2025-10-01", "who": "Hoa"},
        {"text": "Đất của ai?", "archive_id": "", "near": "a1", "date": "2025-10-02", "who": ""},
    ]


def test_no_feedback_is_a_table_with_columns(archive):
    frame = archive.feedback_rows()
    assert (len(frame), list(frame)) == (0, ["text", "archive_id", "near", "date", "who"])


def test_feedback_on_an_unknown_item_is_refused(filled):
    with pytest.raises(ArchiveError, match="has no item 'a4'"):
        filled.feedback("Ai?", "a4", True)


def test_faulty_feedback_is_refused(filled):
    with pytest.raises(DatasetError, match="feedback: 4 faults") as caught:
        filled.feedback(" ", "a1", "yes", who="\0", at="today")
    assert [fault.column for fault in caught.value.faults] == ["question", "accepted", "who", "at"]
    assert len(filled.feedback_rows()) == 0


# Tables


@pytest.mark.parametrize("ending", [".csv", ".tsv.gz", ".jsonl", ".parquet", ".xlsx"])
def test_import_export_import_changes_nothing(archive, tmp_path, ending):
    archive.import_table(ROOT / "datasets" / "land" / "archive.jsonl")
    version, items = archive.version, archive.list()
    archive.export(tmp_path / f"out{ending}")
    assert archive.import_table(tmp_path / f"out{ending}").unchanged == tuple(item.id for item in items)
    assert archive.version == version
    with Archive(tmp_path / "other.archive", language="vi") as other:
        other.import_table(tmp_path / f"out{ending}")
        assert other.list() == items


def texts(*, blacklist="", **options):
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0" + blacklist)
    return st.text(letters, **options)


def items(blacklist=""):
    text, label = texts(blacklist=blacklist, max_size=30), texts(blacklist=blacklist, max_size=8).map(str.strip)
    filled_text = text.filter(str.strip)
    day = st.dates().map(str)
    return st.fixed_dictionaries(
        {
            "id": label.filter(bool),
            "question": st.one_of(filled_text, st.sampled_from(["=1+1", "+A1", "-1", "@x", "NA", "1", "'x", "nan"])),
            "answer": text,
            "topic": label,
            "jurisdiction": label,
            "matter_id": label,
            "legal_basis": st.lists(text, max_size=3),
            "answered_at": st.one_of(st.just(""), day),
            "superseded_by": text,
            "source": text,
            "who": text,
        }
    )


NOT_IN_XLSX = "".join(map(chr, [*range(32), 0xFFFE, 0xFFFF])) + "_"


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet", ".xlsx"])
def test_any_table_comes_back_as_it_went(tmp_path_factory, ending, data):
    one = items(NOT_IN_XLSX if ending == ".xlsx" else "")
    rows = data.draw(st.lists(one, min_size=1, max_size=5, unique_by=lambda row: row["id"]))
    folder = tmp_path_factory.mktemp("round")
    with Archive(folder / "one.archive") as store, Archive(folder / "two.archive") as other:
        store.add(rows, near_duplicates="store")
        store.export(folder / f"out{ending}")
        assert store.import_table(folder / f"out{ending}").unchanged == tuple(row["id"] for row in rows)
        other.import_table(folder / f"out{ending}", near_duplicates="store")
        assert other.list() == store.list()


def test_basis_is_a_list_in_json_lines_and_text_in_flat_tables(filled, tmp_path):
    filled.export(tmp_path / "out.jsonl")
    filled.export(tmp_path / "out.csv")
    last = json.loads((tmp_path / "out.jsonl").read_text("utf-8").splitlines()[-1])
    assert (list(last), last["legal_basis"]) == (list(COLUMNS), ["Law 1", "Decree 2"])
    assert read_table(tmp_path / "out.csv")["legal_basis"].tolist() == ["", "", "Law 1; Decree 2"]


def test_exported_sheet_holds_no_formula(archive, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    archive.add(
        [Item(f"a{sign}", f"{sign}1+1 is what?", answer=f"{sign}2") for sign in "=+-@"], near_duplicates="store"
    )
    archive.export(tmp_path / "out.xlsx")
    rows = openpyxl.load_workbook(tmp_path / "out.xlsx").worksheets[0].iter_rows()
    assert {cell.data_type for row in rows for cell in row if cell.value} == {"s"}


def test_unknown_and_absent_columns_of_a_table_are_named(archive):
    with pytest.raises(DatasetError, match="DataFrame: 2 faults") as caught:
        archive.import_table(pd.DataFrame({"id": ["a"], "text": ["Secret?"]}))
    assert "column 'text': is no column of an item; those are 'id', 'question'" in str(caught.value)
    assert "column 'question': must be there; the columns are 'id', 'text'" in str(caught.value)


def test_every_fault_of_a_table_is_named_by_row(archive, tmp_path):
    (tmp_path / "bad.csv").write_text("id,question,answered_at\na,Who?,\nb,,soon\n", "utf-8")
    with pytest.raises(DatasetError, match=r"bad.csv: 2 faults\n  row 2, column 'question'.*\n  row 2, column 'answ"):
        archive.import_table(tmp_path / "bad.csv")


def test_failed_export_leaves_the_old_file(archive, tmp_path):
    archive.add(Item("a1", "Bell \a?"))
    (tmp_path / "out.xlsx").write_text("old")
    with pytest.raises(DatasetError, match="row 1, column 'question'"):
        archive.export(tmp_path / "out.xlsx")
    assert (tmp_path / "out.xlsx").read_text() == "old"


# Format 1


def test_golden_archive_opens_and_goes_on(tmp_path):
    expected = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
    path = shutil.copy(GOLDEN / "desk.archive", tmp_path)
    with Archive(path) as store:
        assert store.language == "vi"
        found = [
            [key, vars(item) | {"legal_basis": [*item.legal_basis]}] for block in store.blocks() for key, item in block
        ]
        assert found == expected["items"]
        assert [list(vars(change).values()) for change in store.changes(0)] == expected["changes"]
        assert store.feedback_rows().to_dict("records") == expected["feedback"]
        assert [[near.id, near.like] for near in store.duplicates()] == expected["duplicates"]
        for question, like in expected["copies"]:
            assert [near.like for near in store.add(Item("new", question)).near_duplicates] == [like]
        store.update(expected["items"][0][1]["id"], answer="Changed.")
        assert store.version == expected["changes"][-1][0] + 1


def test_keys_on_matters_are_the_latest_of_each_matter_in_turn(archive):
    for place in range(6):
        archive.add({"id": f"a{place}", "question": f"{place} {'xyzuvw'[place] * 20}", "matter_id": f"M{place % 2}"})
    assert archive.keys_on(["M1", "M0"], 2).tolist() == [6, 4, 5, 3]
    archive.remove("a5")
    assert archive.keys_on(["M1"], 9).tolist() == [4, 2]
    assert archive.keys_on(["unknown", ""], 9).tolist() == []
    assert archive.keys_on([], 9).dtype == np.int64
