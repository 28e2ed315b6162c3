"""The report: one page that stands alone, shows all that was measured, and holds nothing hostile."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import triage
from triage import cli
from triage.evaluation import Evaluation, report, write_report
from triage.evaluation.curves import reuse_curve
from triage.evaluation.html import clean, element, escape, interval, table

HOSTILE = "<script>alert(1)</script>\x00\ud800\u202eevil\x1b[31m & \"quotes\" 'more' ]]> <!-- "
SECRET = "0912 345 678"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Reader(HTMLParser):
    """Collects tags and attributes, and minds that every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="session")
def measured(desk_triager: triage.Triager) -> Evaluation:
    """Return the small land desk measured on questions it never saw, some hostile, with a leak and messages."""
    folder = Path(__file__).parent.parent / "datasets" / "land"
    table = pd.read_csv(folder / "questions.csv", dtype=str, keep_default_na=False)
    questions = table[table["split"] == "test"].iloc[::3].reset_index(drop=True).astype(object)
    questions.loc[0, "text"] = f"Ai cấp sổ đỏ {HOSTILE} gọi {SECRET}"
    questions.loc[1, "text"] = ""
    questions.loc[2, "style"] = "<b>bold</b>"
    train = table[table["split"] == "train"]
    questions.loc[3, "text"] = train["text"].iloc[0] + "?"
    messages = pd.DataFrame({"text": ["xyzzy plugh", "chào cả nhà"], "out_of_scope": ["true", "true"]})
    return desk_triager.evaluate(pd.concat([questions, messages], ignore_index=True), train=train)


@pytest.fixture(scope="session")
def page(measured: Evaluation) -> str:
    """Return its report, with everything that may be in one."""
    curve = measured.targets[["target", "n", "accuracy", "accuracy_low", "accuracy_high"]]
    curves = pd.concat([curve.assign(n_train=n) for n in (100, 200)])
    suspects = pd.DataFrame([[1, f"{HOSTILE} {SECRET}", "a", 0.9]], columns=["row", "text", "label", "p"], dtype=object)
    offered = {"by": "archive_id", "n": 3, "n_first_right": 2, "n_offered": 2, "n_offered_right": 2}
    offered |= {"threshold": 0.6, "promise": 0.8, "promise_status": "cannot say"}
    measured = replace(measured, reuse=reuse_curve([0.9, 0.7, 0.2], [True, True, False]), reused=offered)
    listed = dict(learning_curve=curves, suspects=suspects, language="vi")
    return report(measured, title=f"Desk {HOSTILE}", about="test", **listed)  # type: ignore[arg-type]


def sections(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_page_has_every_section_and_a_link_to_each(page: str) -> None:
    assert sections(page) == [
        "In plain words",
        "Labels",
        "Promises",
        "Probabilities",
        "Risk and review",
        "Confusions",
        "Classes",
        "Slices",
        "Reuse of answers",
        "Out of scope",
        "Costliest errors",
        "What a person must look at",
        "Would more data help?",
        "Seen in training",
        "Suspected labels",
        "What is not known",
    ]
    tags = Reader(page).tags
    ids = [attributes["id"] for tag, attributes in tags if tag == "section"]
    assert [attributes["href"] for tag, attributes in tags if tag == "a"] == [f"#{one}" for one in ids]


def test_page_opens_with_plain_words(page: str, measured: Evaluation) -> None:
    words = "".join(Reader(page).text)
    n, decided, right = measured.n_questions, measured.n_decided, measured.n_decided_right
    assert (
        f"Of 100 questions, {100 * decided / n:.0f} are decided; of 100 decided, {100 * right / decided:.0f}" in words
    )
    assert f"{100 * (n - decided) / n:.0f} of 100 go to a person. Measured on {n:,} questions" in words


def test_page_stands_alone_under_a_strict_policy(page: str) -> None:
    reader = Reader(page)
    assert not reader.open
    assert {tag for tag, _ in reader.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
    } == set()
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "action")], tag
        assert all(not (value or "").startswith(("http", "//", "data:")) for value in attributes.values()), tag
    assert "url(" not in page.replace("url(#", "")
    assert "@import" not in page
    (policy,) = (one["content"] for tag, one in reader.tags if one.get("http-equiv") == "Content-Security-Policy")
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_hostile_texts_and_personal_data_stay_out(page: str, tmp_path: Path) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page  # shown, as text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e\ud800-\udfff]", page)
    assert SECRET not in page
    assert "[PHONE]" in page
    assert "<b>bold" not in page
    write_report(tmp_path / "report.html", page)
    assert (tmp_path / "report.html").read_text("utf-8") == page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_figures_take_the_colours_of_the_page_and_are_named(page: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    names = re.findall(r'<svg role="img" aria-label="(.*?)"', "".join(figures))
    assert len(names) == len(set(names)) == len(figures) > 10
    assert not re.search(r"#[0-9a-f]{6}", "".join(figures))
    assert all("<figcaption>" in one and "var(--ink)" in one for one in figures)


def test_ids_of_figures_mean_one_thing(page: str) -> None:
    meant: dict[str, str] = {}
    for name, content in re.findall(r'<clipPath id="(.*?)">(.*?)</clipPath>', page, re.DOTALL):
        assert meant.setdefault(name, content) == content
    assert set(re.findall(r"url\(#(.*?)\)", page)) <= set(meant)


def test_every_table_scrolls_by_itself(page: str) -> None:
    assert page.count("<table>") == len(re.findall(r'<div class="scroll"[^>]*><table>', page)) > 10


def test_page_is_the_same_each_time(measured: Evaluation) -> None:
    assert report(measured) == report(measured)


def test_labels_are_named_by_the_desk(measured: Evaluation) -> None:
    named = report(measured, name=lambda target, label: f"{target}~{label}")
    assert "topic~land_certificates" in named
    assert "jurisdiction~local" in named


def test_page_of_messages_alone_shows_what_there_is(triager: triage.Triager) -> None:
    result = triager.evaluate(pd.DataFrame({"text": ["hello", ""], "out_of_scope": [True, True]}))
    assert sections(report(result))[:1] == ["Out of scope"]
    assert sections(report(result))[-1] == "What is not known"


def test_page_of_one_question_says_that_it_is_too_few(triager: triage.Triager) -> None:
    shown = report(triager.evaluate(pd.DataFrame({"text": ["liquor licence"], "topic": ["liquor"]})))
    assert "1 of 1 classes of topic have fewer than 20 questions: too small to judge." in shown
    assert "nan" not in "".join(Reader(shown).text).split()


def test_what_is_absent_is_said(measured: Evaluation) -> None:
    page = report(replace(measured, leaks=None, reuse=None, reused=None, out_of_scope=None))
    for said in ("no training table was given", "do not say which answer is right", "there were none"):
        assert said in page
    assert not {"Seen in training", "Reuse of answers", "Out of scope"} & {*sections(page)}


def test_empty_suspects_and_no_leaks_are_good_news(measured: Evaluation) -> None:
    page = report(replace(measured, leaks=measured.leaks.iloc[:0]), suspects=pd.DataFrame())  # type: ignore[union-attr]
    assert "No label is suspected to be wrong." in page
    assert "No question is nearly the same as one that was trained on." in page


def test_nothing_is_left_beside_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(tmp_path / "report.html", "page")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@given(st.text() | st.text(st.sampled_from("<>&\"'\x00\ud800\u202e\ufdd0\x1b\x85ab ")))
def test_any_text_is_one_text_in_html(text: str) -> None:
    for made in (element("p", text), element("p", "x", title=text), table([text], [[text]])):
        reader = Reader(made)
        assert not reader.open
        assert {tag for tag, _ in reader.tags} <= {"p", "div", "table", "thead", "tbody", "tr", "th", "td"}
        made.encode("utf-8")
    assert "".join(Reader(element("p", text)).text) == clean(text)
    assert escape(escape(text)) == escape(text)


def test_interval_is_shown_in_numbers_and_as_a_mark() -> None:
    shown = interval(3, 4)
    assert "".join(Reader(shown).text) == "75.0 30–95"
    assert 'cx="75.0"' in shown
    assert interval(0, 0) == "–"


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def model(triager: triage.Triager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of the small desk."""
    return triager.save(tmp_path_factory.mktemp("desk") / "bundle")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return labelled questions of two splits."""
    rows = ["text,topic,split", "liquor licence,liquor,test", "tax on rent,tax,test", "liquor licence!,liquor,train"]
    (tmp_path / "questions.csv").write_text("\n".join(rows), "utf-8")
    return tmp_path / "questions.csv"


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])


def test_program_writes_the_page_beside_its_answer(model: Path, source: Path) -> None:
    page = source.with_name("report.html")
    done = run(model, source, "--split", "test", "--html", page, "--train", source, "--format", "json")
    assert done.exit_code == 0, done.output
    assert '"n_questions": 2' in done.stdout
    assert "questions.csv, split test" in page.read_text("utf-8")
    assert "1 questions are nearly the same" in page.read_text("utf-8")
    assert "holds questions" in done.stderr


def test_program_wants_a_page_for_a_learning_curve(model: Path, source: Path) -> None:
    done = run(model, source, "--learning-curve", source)
    assert done.exit_code == 2
    assert "give --html as well" in " ".join(done.stderr.split())


def test_program_finds_out_first_whether_the_page_can_be_written(source: Path) -> None:
    done = run("no-model", source, "--html", source.parent / "nowhere" / "report.html")
    assert done.exit_code == 1
    assert "must be a folder that exists" in done.stderr
