"""Every command that loads a desk can say where its encoder is."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import triage
from triage import cli

REGISTER = pd.DataFrame(
    [
        ("M1", "liquor", "Retail licence for liquor", "local", "commune", "", "2025-07-01", ""),
        ("M2", "tax", "Tax on the rent of houses", "other_agency", "", "tax", "2025-07-01", ""),
    ],
    columns="matter_id topic matter_en jurisdiction level agency valid_from valid_to".split(),
)
COMMANDS = {
    "predict": ["predict", "{desk}", "{week}", "--encoder"],
    "evaluate": ["evaluate", "{desk}", "{week}", "--encoder"],
    "similar": ["similar", "{desk}", "Who sells liquor?", "--encoder"],
    "next": ["next", "{desk}", "{week}", "-n", "2", "--encoder"],
    "drift": ["drift", "{desk}", "{week}", "--encoder"],
    "match": ["register", "match", "{desk}", "Who sells liquor?", "--encoder"],
    "changes": ["register", "changes", "{desk}", "--since", "2025-07-01", "--encoder"],
    "expiring": ["register", "expiring", "{desk}", "--encoder"],
    "retrain-check": ["retrain-check", "{desk}", "--encoder"],
    "compare, the old desk": ["compare", "{desk}", "{plain}", "{week}", "--old-encoder"],
    "compare, the new desk": ["compare", "{plain}", "{desk}", "{week}", "--new-encoder"],
    "feedback": [
        *("feedback", "add", "{log}", "--target", "topic", "--label", "tax", "--question", "Who?"),
        *("--model", "{desk}", "--encoder"),
    ],
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory, word_encoder):
    """Return a desk with an encoder, one without, and a table, by what the commands call them."""
    folder = tmp_path_factory.mktemp("desks")
    matters = {"liquor": ("M1", "local", "commune", ""), "tax": ("M2", "other_agency", "", "tax")}
    rows = [
        (f"Who {verb} the {thing} of number {number}?", topic, *matters[topic])
        for topic, things in {"liquor": ("wine", "beer"), "tax": ("rent", "fine")}.items()
        for thing in things
        for number, verb in enumerate(("grants", "pays", "wants"))
    ]
    table = pd.DataFrame(rows, columns=["text", "topic", "matter_id", "jurisdiction", "level", "agency"])
    table.to_csv(folder / "week.csv", index=False)
    given = {"register": REGISTER, "targets": ["topic", "jurisdiction"]}
    triage.train(table, encoder=word_encoder("words"), **given).save(folder / "desk")
    triage.train(table, **given).save(folder / "plain")
    return {"desk": folder / "desk", "plain": folder / "plain", "week": folder / "week.csv"}


@pytest.fixture
def opened(monkeypatch, word_encoder):
    """Let any place be one of the encoder, and list what was opened."""
    places = []

    def open_encoder(place):
        places.append(place)
        return word_encoder("words")

    monkeypatch.setattr("triage.triager.storing.open_encoder", open_encoder)
    return places


def run(command, paths, tmp_path, *more):
    given = [argument.format(log=tmp_path / "log", **paths) for argument in command]
    return CliRunner().invoke(cli.app, [*given, *more])


@pytest.mark.parametrize("name", COMMANDS)
def test_encoder_is_found_where_the_command_says(name, paths, opened, tmp_path):
    result = run(COMMANDS[name], paths, tmp_path, "words:there")
    assert result.exit_code == 0, result.stderr
    assert opened == ["words:there"]


@pytest.mark.parametrize("name", COMMANDS)
def test_desk_whose_encoder_is_not_named_says_so(name, paths, opened, tmp_path):
    result = run(COMMANDS[name][:-1], paths, tmp_path)
    assert (result.exit_code, result.stdout, opened) == (1, "", [])
    assert "say where it is, as 'onnx:FOLDER'" in result.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["register", "expiring", "{week}", "--encoder", "x"], "--encoder is for a model's folder"),
        (
            ["feedback", "add", "{log}", "--target", "t", "--label", "l", "--question", "q", "--encoder", "x"],
            "--encoder needs --model",
        ),
    ],
)
def test_encoder_of_no_model_is_wrong_usage(command, message, paths, tmp_path):
    result = run(command, paths, tmp_path)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_correction_notes_what_a_desk_with_an_encoder_said(paths, opened, tmp_path):
    result = run(COMMANDS["feedback"], paths, tmp_path, "words:there")
    (said,) = triage.load(paths["desk"], encoder=opened[0]).predict(["Who?"])
    assert json.loads(result.stdout)["old_label"] == said.decisions["topic"].label
