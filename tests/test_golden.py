"""A bundle of every format still opens, and still gives the answers it gave when it was made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import triage
from triage.bundle import FORMAT, load_bundle
from triage.classifier import Link

DATA = Path(__file__).parent / "data"
FORMATS = {"1": 1, "2": 2, "2-apart": 2, "3": 3, "4": 4, "5": 5, "6": 6}  # of each golden bundle
MAX_BYTES = 300_000


@pytest.fixture(scope="module", params=FORMATS)
def folder(request):
    return DATA / f"golden-bundle-{request.param}"


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def days(expected):
    """Return what is expected on each day; format 1 knows no days."""
    return expected.get("days", {None: expected})


@pytest.fixture(scope="module")
def golden(folder):
    return triage.load(folder)


@pytest.mark.parametrize("name", FORMATS)
def test_bundle_is_of_its_format_and_small(name):
    path = DATA / f"golden-bundle-{name}"
    _, manifest = load_bundle(path)
    assert manifest["format"] == FORMATS[name]
    assert FORMAT in FORMATS.values()
    assert sum(file.stat().st_size for file in path.rglob("*")) < MAX_BYTES


def test_formats_hold_what_they_brought():
    assert not list(DATA.glob("golden-bundle-1/bundle/*.npy.z"))
    assert list(DATA.glob("golden-bundle-2/bundle/*.npy.z"))
    assert triage.load(DATA / "golden-bundle-1").register is None
    assert triage.load(DATA / "golden-bundle-2").register is not None
    learnt = [triage.load(DATA / f"golden-bundle-{name}").reader.learnt for name in FORMATS]
    assert [one.n_kinds for one in learnt] == [1, 1, 2, 8, 8, 8, 8]
    deciding = ("jurisdiction", "level", "agency")
    assert [deciding in one.blocks for one in learnt] == [False, False, False, False, True, True, True]
    assert [one.n_scores - len(one.intercept) for one in learnt] == [0, 0, 0, 0, 0, 2, 2]
    assert [len({*one.links}) > 1 for one in learnt] == [False, False, False, False, False, False, True]


def test_labels_are_those_expected(golden, expected):
    assert {target: labels.tolist() for target, labels in golden.classes_.items()} == expected["labels"]


@pytest.mark.parametrize("target", ["topic", "jurisdiction", "level", "agency", "matter"])
def test_probabilities_are_those_expected(golden, expected, days, target):
    for day, known in days.items():
        found = golden.predict_proba(expected["texts"], target, as_of=day)
        assert found == pytest.approx(np.array(known["probabilities"][target]), abs=1e-6)


def test_decisions_are_those_expected(golden, expected, days):
    for day, of_day in days.items():
        results = golden.predict(expected["texts"], as_of=day)
        for result, known in zip(results, of_day["decisions"], strict=True):
            assert result.route == known["route"]
            # Which comes first is the release's to say, not the bundle's.
            assert bool(result.suggestions) == (known["suggestion"] is not None)
            for target, decision in result.decisions.items():
                assert (decision.label, decision.reason) == (known["labels"][target], known["reasons"][target])
            words = result.decisions["topic"].words
            assert [word for word, _ in words] == [word for word, _ in known["words"]]
            assert [share for _, share in words] == pytest.approx([share for _, share in known["words"]], abs=1e-4)
            for name, value in (known.get("evidence", {}).get("matter") or {}).items():
                found = result.evidence["matter"][name]
                assert found == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value)
    assert golden.scope_scores(expected["texts"]) == pytest.approx(expected["out_of_scope"], abs=1e-5)


def test_saved_again_it_gives_the_same_answers(golden, expected, tmp_path):
    again = triage.load(golden.save(tmp_path / "again"))
    for one, other in zip(golden.predict(expected["texts"]), again.predict(expected["texts"]), strict=True):
        assert one.to_dict() == other.to_dict()


def test_newest_format_saved_again_is_the_same_bundle(tmp_path):
    path = DATA / f"golden-bundle-{FORMAT}"
    for file in triage.load(path).save(tmp_path / "again").iterdir():
        if file.name != "manifest.json" and not file.name.endswith(".z"):  # versions of libraries, and of zlib
            assert file.read_bytes() == (path / "bundle" / file.name).read_bytes(), file.name


@pytest.mark.parametrize(("link", "smaller"), [((3, 0), 1), ((3, 0.6), 1), ((3, 0.9), 0.584), ((6, 0.9), 0.709)])
def test_names_of_new_matters_say_less_where_what_a_matter_is_not_costs_less(link, smaller):
    triager = triage.load(DATA / f"golden-bundle-{FORMAT}")
    classifier = triager.classifier
    links = tuple(Link(*link) if block == ("matter",) else Link(9, 9) for block in classifier.blocks)
    reader = replace(triager, classifier=replace(classifier, links=links)).reader
    assert reader._names.share == pytest.approx(1.5 * smaller * reader.learnt.share_of("matter"), rel=1e-3)
