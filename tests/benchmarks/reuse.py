"""Answered questions found again: re-asks of both desks, beside words alone.

Run: ``python tests/benchmarks/reuse.py [--only NAME] [--validation]``

The table is printed and kept in ``results/reuse.md`` and ``results/reuse.json``, a section a desk. The desk is trained
on split ``train`` of questions and re-asks, as its recipe says; re-asks of split ``test`` are asked, each on its own
day. ``--validation`` asks those of split ``valid``, and keeps nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from quality import ROOT, Row, read_lines, run_desks, train_desk

import triage
from triage.recipe import read_recipe

STYLES = ("clean", "no_diacritics", "typos", "abbrev")
# Recall at 1 and 5 and mean reciprocal rank of the better of bm25s (folded) and TF-IDF cosine (three channels).
BASELINE = {"industry-trade": (0.551, 0.783, 0.654), "land": (0.620, 0.845, 0.723)}
OVER = (0.11, 0.08)
AIM = (0.18, 0.14)


def ranks(triager: triage.Triager, asked: pd.DataFrame) -> np.ndarray:
    """Return the place of the right answer for each re-ask, 0 for the first."""
    found = triager.similar(asked["text"].tolist(), k=len(triager.records), as_of=asked["date"].tolist())
    places = []
    for suggestions, right in zip(found, asked["archive_id"], strict=True):
        ids = [suggestion.id for suggestion in suggestions]
        places.append(ids.index(right) if right in ids else len(triager.records))
    return np.array(places)


def measure(name: str, validation: bool) -> Iterator[Row]:
    recipe = read_recipe(ROOT / "models" / name / "recipe.toml")
    questions = pd.read_csv(recipe.file("questions"), dtype=str, keep_default_na=False)
    split = "valid" if validation else "test"
    with tempfile.TemporaryDirectory() as folder:
        triager = train_desk(name, questions[questions["split"] == "train"], Path(folder))
    path = recipe.file("examples")
    assert path is not None
    asked = read_lines(path)
    asked = asked[(asked["split"] == split) & asked["archive_id"].notna()].reset_index(drop=True)
    by_words = replace(triager, records=[{**record, "matter_id": "unknown to all"} for record in triager.records])
    place, of_words = ranks(triager, asked), ranks(by_words, asked)
    said = f"{name}, re-asks of split {split} ({len(asked)})"
    baseline = BASELINE[name]
    for number, k in enumerate((1, 5)):
        must, aim = baseline[number] + OVER[number], baseline[number] + AIM[number]
        yield Row(f"{said}: recall@{k}", float((place < k).mean()), baseline[number], must, aim)
        yield Row(f"{said}: recall@{k}, by the features alone", float((of_words < k).mean()))
    yield Row(f"{said}: MRR", float((1 / (1 + place)).mean()), baseline[2])
    shares = pd.Series(place < 1).groupby(asked["style"]).mean()
    counts = asked["style"].value_counts()
    for style in STYLES:
        if style in shares:
            yield Row(f"{said}: recall@1, {style} ({counts[style]})", float(shares[style]))


NOTES = """# Reuse

Made by `tests/benchmarks/reuse.py`; shares in per cent. The baseline is the better of bm25s and TF-IDF cosine on the
same re-asks, as measured beside the data. How the matter is weighed was chosen on the re-asks of split `valid`.
"""


if __name__ == "__main__":
    run_desks("reuse", __doc__, NOTES, measure)
