"""What README.md shows must run."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from triage import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^(?:.*\| )?triage ([\w-]+ .*?)(?: {2,}#.*| > .*)?$", README, re.MULTILINE)


def test_python_blocks_run_in_their_order(monkeypatch, capsys, tmp_path):
    for folder in ("datasets", "models"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    assert len(PYTHON) >= 3
    names = {"__name__": "readme"}
    for number, block in enumerate(PYTHON, 1):
        exec(compile(block, f"README.md, python block {number}", "exec"), names)
        assert capsys.readouterr().out.strip(), f"block {number} shows nothing"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_their_options_are_known(command):
    name, *words = command.split()
    path = [name, words[0]] if name in ("archive", "feedback", "register") else [name]
    shown = CliRunner().invoke(cli.app, [*path, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    for word in words:
        if word.startswith("-") and word != "-":
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", shown), f"{name} has no {word}"


def test_commands_are_found():
    assert len(COMMANDS) >= 6
    assert {command.split()[0] for command in COMMANDS} == {
        "archive",
        "check-data",
        "train",
        "evaluate",
        "feedback",
        "drift",
        "next",
        "compare",
        "predict",
        "similar",
        "register",
        "retrain-check",
    }


def test_files_named_exist():
    for path in re.findall(r"`((?:models|datasets|notebooks|tests)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
