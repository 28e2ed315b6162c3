"""Tables checked before they are trained on: wrong labels, copies, leaks, broken text, shortcuts; hostile tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from triage import cli
from triage.classifier import fit_joint
from triage.dataset import Taxonomy, Topic, read_abbreviations, read_table, write_table
from triage.errors import DatasetError
from triage.quality import KINDS, check, label_suspects, suspects
from triage.quality.cells import is_mojibake
from triage.quality.copies import copies_of

LAND = Path(__file__).parent.parent / "datasets" / "land"
SECRET = "quảnchuối"  # stands in texts, must never stand in an answer
DRINKS = ["sell beer", "sell wine by retail", "beer shop near school", "wine import", "close a beer bar", "wine cellar"]
TAXES = ["pay tax late", "income tax rate", "refund of tax", "tax office address", "tax on rent", "file a tax return"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["check-data", *arguments])


def table(n: int = 40) -> pd.DataFrame:
    """Return `n` different questions on drinks and as many on taxes, in turns, each with three words of its own."""
    letters = np.random.default_rng(0).integers(97, 123, (2 * n, 3, 7))
    own = [" ".join("".join(map(chr, word)) for word in words) for words in letters.tolist()]
    stems = [text for pair in zip(DRINKS, TAXES, strict=True) for text in pair]
    rows = [(f"{stems[row % 12]} {own[row]}", ("drink", "tax")[row % 2]) for row in range(2 * n)]
    return pd.DataFrame(rows, columns=["text", "label"], dtype=object)


def kinds(frame: pd.DataFrame, **options: Any) -> dict[str, list[list[int]]]:
    """Return the rows of each finding by kind."""
    found = check(frame, "label", **options).findings
    return {kind: of["rows"].tolist() for kind, of in found.groupby("kind", sort=False)}


# Wrong labels


def test_flipped_labels_are_found_and_rightly_put() -> None:
    frame = table()
    frame.loc[[4, 21, 50], "label"] = ["tax", "drink", "tax"]
    found = label_suspects(frame, "label")
    assert set(found["row"]) == {5, 22, 51}
    assert found.set_index("row")["likelier"].to_dict() == {5: "drink", 22: "tax", 51: "drink"}
    assert (found["p_likelier"] > found["p_label"]).all()
    assert found["rank"].tolist() == [1, 2, 3]
    assert (found["p_wrong"].diff().dropna() <= 0).all()


def test_a_table_without_wrong_labels_has_no_suspects() -> None:
    assert label_suspects(table(), "label").empty


def test_suspects_are_the_same_again_and_in_any_order_of_rows() -> None:
    frame = table().assign(id=[f"q{row}" for row in range(80)])
    frame.loc[[4, 21], "label"] = ["tax", "drink"]
    found = label_suspects(frame, "label")
    pd.testing.assert_frame_equal(found, label_suspects(frame, "label"))
    turned = label_suspects(frame.iloc[::-1].reset_index(drop=True), "label")
    assert set(turned["id"]) == set(found["id"]) == {"q4", "q21"}


def test_a_question_teaches_the_less_the_less_its_label_can_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second training gives flipped labels, and copies of their questions, little weight, and other texts all."""
    given: list[Any] = []

    def spy(*arguments: Any, **options: Any) -> Any:
        given.append(options["sample_weight"])
        return fit_joint(*arguments, **options)

    monkeypatch.setattr(suspects, "fit_joint", spy)
    frame = table()
    frame["text"] = [text.replace("e", "é") for text in frame["text"]]  # so that there are copies without marks
    flipped = [4, 21, 50]
    frame.loc[flipped, "label"] = ["tax", "drink", "tax"]
    label_suspects(frame, "label")
    first, second = given
    assert first is None
    own, copies, names = second[:80], second[80:160], second[160:]
    assert np.array_equal(own, copies)
    assert own[flipped].max() < 0.5 < np.delete(own, flipped).min()
    assert len(names) == 2
    assert (names == 1).all()


def test_further_questions_teach_and_are_not_judged() -> None:
    frame = table(3)
    frame.loc[4, "label"] = "tax"
    further = table(60).iloc[10:].assign(label=lambda rows: ["tax", *rows["label"][1:]])
    assert set(label_suspects(frame, "label", examples=further)["row"]) == {5}
    assert 5 not in set(label_suspects(frame, "label")["row"])


def test_a_check_hands_further_questions_on() -> None:
    frame = table(12)
    with pytest.raises(DatasetError, match="24 faults"):
        check(frame, "label", examples=frame.assign(text=""))


def test_suspects_say_nothing_of_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    frame = table()
    frame["text"] += f" {SECRET}"
    frame.loc[4, "label"] = "tax"
    assert SECRET not in label_suspects(frame, "label").to_json(force_ascii=False)


def test_suspects_need_columns_and_two_classes() -> None:
    with pytest.raises(DatasetError, match="column 'wrong'"):
        label_suspects(table(), "wrong")
    with pytest.raises(DatasetError, match="column 'who'"):
        label_suspects(table(), "label", groups="who")
    with pytest.raises(ValueError, match="at least two classes"):
        label_suspects(table().assign(label="same"), "label")


@pytest.mark.slow
def test_most_flips_of_a_desk_are_found_without_being_told_how_many() -> None:
    frame = read_table(LAND / "questions.csv")
    frame = frame[frame["split"] == "train"].reset_index(drop=True)[["text", "topic", "jurisdiction", "author", "date"]]
    rng, flipped = np.random.default_rng(0), {}
    for target in ("topic", "jurisdiction"):
        classes = np.unique(frame[target])
        rows = rng.choice(len(frame), round(0.1 * len(frame)), replace=False)
        flipped[target] = set((rows + 1).tolist())
        frame.loc[rows, target] = [rng.choice(classes[classes != label]) for label in frame.loc[rows, target]]
    found = label_suspects(
        frame,
        groups="author",
        register=LAND / "register.csv",
        archive=LAND / "archive.jsonl",
        taxonomy=LAND / "taxonomy.json",
        language="vi",
        abbreviations=read_abbreviations(LAND / "abbreviations.csv"),
    )
    for target, rows in flipped.items():
        listed = set(found["row"][found["target"] == target])
        assert len(listed & rows) >= 0.7 * len(rows), target
        assert len(listed & rows) >= 0.6 * len(listed), target


# Copies


def test_copies_with_other_labels_in_other_splits_or_by_others_are_told_apart() -> None:
    frame = table().assign(split="train", who="a")
    copied = frame.loc[[0, 2, 4, 6]].assign(
        text=[frame["text"][0].upper(), frame["text"][2] + "!", frame["text"][4], frame["text"][6]],
        label=["tax", "drink", "drink", "drink"],
        split=["train", "test", "train", "train"],
        who=["a", "a", "b", "a"],
    )
    found = kinds(pd.concat([frame, copied], ignore_index=True), split="split", groups="who")
    assert [1, 81] in found["contradiction"]
    assert [3, 82] in found["leak"]
    assert [5, 83] in found["shared"]
    assert [7, 84] in found["duplicate"]


def test_a_text_with_typing_errors_is_a_copy_and_another_question_is_none() -> None:
    texts = [
        "Who grants a licence to sell liquor by retail in this commune?",
        "Who grants a license to sell liquor by retail in this comune?",
        "Where is the tax on the rent of a house paid?",
    ]
    (copies,) = copies_of(texts)
    assert copies.rows.tolist() == [0, 1]
    assert not copies.exact
    assert copies_of(["a b c d"] * 3)[0].exact


def test_texts_without_a_letter_are_no_copies() -> None:
    assert copies_of(["", "?!", " ", "—"]) == []


def test_many_copies_are_one_finding() -> None:
    frame = pd.DataFrame({"text": ["the same question again"] * 1200, "label": ["a", "b"] * 600})
    assert [len(rows) for rows in kinds(frame)["contradiction"]] == [1200]


# Text and labels


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("", "empty", "no text"),
        (None, "empty", "no text"),
        (7, "empty", "no text but int"),
        ("?!", "empty", "no letter"),
        ("lost \ufffd letter", "encoding", "replacement"),
        ("half \ud800", "encoding", "surrogate"),
        ("bell \x07", "encoding", "control"),
        ("hoà giải".encode().decode("cp1252"), "encoding", "Windows-1252"),
        ("e\u0301 decomposed", "encoding", "NFD"),
        ("long " * 600, "long", "3,000 characters"),
    ],
)
def test_a_broken_text_is_found(text: Any, kind: str, said: str) -> None:
    frame = table()
    frame.loc[1, "text"] = "é composed"
    frame.loc[0, "text"] = text
    found = check(frame, "label").findings
    (message,) = found["message"][(found["kind"] == kind) & (found["rows"].map(lambda rows: rows == [1]))]
    assert said in message


@given(st.text())
def test_whatever_was_read_wrongly_is_mojibake(text: str) -> None:
    try:
        wrong = text.encode().decode("cp1252")
    except UnicodeError:
        return
    assert is_mojibake(wrong) == (not text.isascii())


@pytest.mark.parametrize("text", ["Hoà giải tranh chấp đất đai", "«CAFÉ»", "naïve Größe", "Ổ Ẵ Ừ", "“É» ”", "5 °C", ""])
def test_good_text_is_no_mojibake(text: str) -> None:
    assert not is_mojibake(text)


def test_good_words_after_it_do_not_hide_mojibake() -> None:
    assert is_mojibake("giải ở xã".encode().decode("cp1252", "replace") + " – Trân trọng")


def test_faults_of_labels_are_found() -> None:
    frame = table()
    frame.loc[[0, 2, 4], "label"] = ["Drink ", "", "rare"]
    found = kinds(frame)
    assert found["label_spelling"] == [[1]]
    assert found["unlabelled"] == [[3]]
    assert [5] in found["small_class"]


def test_labels_that_the_taxonomy_does_not_name_are_found() -> None:
    frame = read_table(LAND / "questions.csv").head(30)
    frame.loc[3, "topic"] = "no_topic"
    found = check(frame, "topic", taxonomy=LAND / "taxonomy.json").findings
    (rows,) = found["rows"][found["kind"] == "unknown_label"]
    assert rows == [4]


@pytest.mark.parametrize(("spoken", "language"), [("vi", "vi"), ("en", None)])
def test_language_of_the_taxonomy_is_taken_if_there_is_data_of_it(
    monkeypatch: pytest.MonkeyPatch, spoken: str, language: str | None
) -> None:
    asked = []

    def spy(texts: Any, language: str | None) -> Any:
        asked.append(language)
        return copies_of(texts, language)

    monkeypatch.setattr("triage.quality.table.copies_of", spy)
    topics = tuple(Topic(name, {spoken: name}, "", ()) for name in ("drink", "tax"))
    check(table(2), "label", taxonomy=Taxonomy(spoken, topics, {}, {}, {}))
    assert asked == [language]


def test_labels_that_contradict_the_register_on_their_day_are_found() -> None:
    frame = pd.DataFrame(
        {
            "text": ["first certificate?", "who signs it?", "which of them?", "unknown matter?"],
            "topic": ["land_certificates"] * 4,
            "jurisdiction": ["local", "ministry", "local", "local"],
            "level": ["commune", "", "province", "commune"],
            "matter_id": ["LD-001", "LD-001", "LD-001", "LD-none"],
            "date": ["2025-12-01", "2025-12-01", "2025-12-01", ""],
        }
    )
    found = check(frame, register=LAND / "register.csv", language="vi").findings
    told = found[found["kind"] == "register"].set_index("column")["rows"]
    assert told["jurisdiction"] == [2]
    assert sorted(rows for of in told[["level"]] for rows in of) == [2, 3]
    assert told["matter_id"] == [4]


# Shortcuts


def test_a_signature_is_a_shortcut_and_the_words_of_a_class_are_none() -> None:
    frame = table(80)
    signed = frame["label"].eq("tax") & (np.arange(160) % 4 != 1)
    frame.loc[signed, "text"] += " regards office 17"
    found = check(frame, "label").findings
    messages = found["message"][found["kind"] == "shortcut"].tolist()
    (message,) = [message for message in messages if "“regards”" in message]
    assert "“17”" in message
    assert "holds a number, ends the text" in message
    assert re.search(r"read rightly 100%, without the words \d+%", message)
    assert not any("“tax”" in message for message in messages)  # the name of the class


def test_a_word_by_one_writer_only_is_a_shortcut() -> None:
    frame = table(80).assign(who=["a", "b"] * 80)
    frame.loc[::4, "who"] = "c"
    frame.loc[frame["who"] == "c", "text"] = "please " + frame["text"] + " thank you kindly"
    found = check(frame, "label", groups="who").findings
    assert any("please" in message for message in found["message"][found["kind"] == "shortcut"])


def test_a_table_in_order_has_no_findings() -> None:
    quality = check(table(), "label")
    assert quality.counts() == {}
    assert quality.n_judged == 80


# Hostile tables

CELLS = st.one_of(st.none(), st.text(max_size=12), st.integers(), st.floats(), st.booleans(), st.just("\ud800\0"))


@settings(max_examples=60)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=30))
def test_no_cell_stops_the_check(rows: list[tuple[Any, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=["text", "label", "split", "who"], dtype=object)
    quality = check(frame, "label", split="split", groups="who")
    json.dumps(quality.to_dict())
    assert set(quality.counts()) <= set(KINDS)
    assert quality.summary().startswith(f"{len(frame)} rows")
    for found in quality.findings["rows"]:
        assert found == sorted(found)
        assert set(found) <= set(range(1, len(frame) + 1))


def test_a_table_without_rows_or_columns_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least one row"):
        check(table().iloc[:0], "label")
    with pytest.raises(DatasetError, match="column 'split'"):
        check(table(), "label", split="split")


# The command


def test_command_writes_json_lines_with_ids_and_no_text(tmp_path: Path) -> None:
    frame = table().assign(id=[f"q{row}" for row in range(80)])
    frame.loc[3, "text"] = f"{SECRET} \x07"
    frame.loc[4, "label"] = "tax"
    write_table(frame, tmp_path / "q.csv")
    result = run(str(tmp_path / "q.csv"), "--target", "label")
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    by_kind = {line["kind"]: line for line in lines}
    assert by_kind["encoding"]["ids"] == ["q3"]
    assert by_kind["suspect"]["ids"] == ["q4"]
    assert by_kind["suspect"]["likelier"] == "drink"
    assert 0 < by_kind["suspect"]["p_wrong"] < 1
    assert SECRET not in result.stdout + result.stderr


def test_command_shows_a_table_a_kind_and_fails_only_when_asked(tmp_path: Path) -> None:
    frame = table()
    frame.loc[0, "label"] = "rare"
    write_table(frame, tmp_path / "q.csv")
    arguments = [str(tmp_path / "q.csv"), "--target", "label", "--format", "table"]
    result = run(*arguments, "--fail-on", "leak")
    assert result.exit_code == 0
    assert "small_class" in result.stdout
    result = run(*arguments, "--fail-on", "small_class")
    assert result.exit_code == 3
    assert "found what must not be: small_class" in result.stderr


def test_command_takes_splits_groups_and_register_of_a_recipe(tmp_path: Path) -> None:
    frame = table().assign(part="train", who="a")
    frame = pd.concat([frame, frame.iloc[[0]].assign(part="test", who="b")], ignore_index=True)
    write_table(frame, tmp_path / "q.csv")
    (tmp_path / "recipe.toml").write_text(
        '[data]\nquestions = "q.csv"\ntargets = ["label"]\nsplit = "part"\ngroups = "who"\n', "utf-8"
    )
    result = run(str(tmp_path))
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"leak", "shared"} <= {line["kind"] for line in lines if line["rows"] == [1, 81]}


def test_every_kind_can_be_failed_on() -> None:
    from triage.cli.quality import Kind

    assert [kind.value for kind in Kind] == list(KINDS)


def test_command_words_what_is_not_there(tmp_path: Path) -> None:
    write_table(table(), tmp_path / "q.csv")
    result = run(str(tmp_path / "q.csv"))
    assert result.exit_code == 1
    assert "column 'topic'" in result.stderr
