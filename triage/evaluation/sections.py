"""Sections of the page: each says how to read what it shows, and is None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from triage.evaluation.breakdown import REVIEW
from triage.evaluation.display import (
    ConfusionDisplay,
    LearningCurveDisplay,
    PromiseDisplay,
    ReliabilityDisplay,
    ReuseDisplay,
    RiskCoverageDisplay,
)
from triage.evaluation.examples import shown_text
from triage.evaluation.html import Markup, element, figure, interval, percent, table
from triage.evaluation.leak import LEAK_SLICE
from triage.evaluation.result import Evaluation
from triage.evaluation.shares import FEWEST, rows_of
from triage.evaluation.unknown import unknowns
from triage.metrics import proportion_interval

Namer = Callable[[str, str], str]

_MOST_DRAWN = 26  # classes of a confusion that is drawn
_MOST_ROWS = 40  # of a table
_MOST_SHOWN = 8  # errors of a target
_MOST_PAIRS = 15  # confusions listed

_NONE = "(none)"
_TOO_FEW = f"rows set faintly have fewer than {FEWEST} questions: too small to judge"
_WHY = {
    "low_confidence": ("not sure enough", "No label is probable enough to be assigned."),
    "ambiguous": ("two labels near each other", "The second label is a rival of the first."),
    "out_of_scope": ("no question for this desk", "The message looks like nothing that the desk was taught."),
    "empty": ("no text", "There is no word of two letters."),
    "conflict": ("register and wording disagree", "The competence register says another body than the wording."),
}
_STATUS = {"kept": "kept", "not kept": "not kept", "cannot say": "these questions cannot say"}
_SLICE_NAMES = {
    "style": "Writing",
    "asker": "Who asks",
    "province": "Province",
    "length": "Length",
    "month": "Month",
    LEAK_SLICE: "Near duplicate in training",
}


@dataclass(frozen=True)
class Page:
    """What the sections are made of."""

    result: Evaluation
    name: Namer
    language: str | None
    learning_curve: pd.DataFrame | None
    suspects: pd.DataFrame | None

    def of(self, frame: pd.DataFrame, target: str) -> pd.DataFrame:
        """Return the rows of a table that are of a target."""
        return frame[frame["target"] == target].drop(columns="target") if len(frame) else frame

    def named(self, target: str) -> Callable[[str], str]:
        """Return what names the labels of a target."""
        return lambda label: self.name(target, label) if label else _NONE

    @property
    def targets(self) -> list[dict[str, Any]]:
        """The targets, as rows."""
        return rows_of(self.result.targets)


def headline(page: Page) -> Markup | None:
    """Say in plain words what the desk does with a hundred questions."""
    result = page.result
    n, decided, right = result.n_questions, result.n_decided, result.n_decided_right
    if not n:
        return None
    cards = [
        (decided, n, "questions", "are decided", "No person must look at them"),
        (right, decided, "decided", "are right", "In every label that is known of them"),
        (n - decided, n, "questions", "go to a person", "It is not safe to decide them"),
    ]
    shown = [
        element(
            "div",
            element("p", _of_hundred(part, whole), element("small", f" of 100 {of}"), class_="figure-number"),
            element("p", element("strong", what), class_="figure-what"),
            element("p", f"{why}. 95\N{NO-BREAK SPACE}% interval: {_range(part, whole)}.", class_="note"),
            class_="card",
        )
        for part, whole, of, what, why in cards
    ]
    wrong = decided - right
    bar = (
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" '
        'aria-label="Shares of all questions">'
        f'<rect class="good" x="0" width="{100 * right / n:.2f}" height="6"/>'
        f'<rect class="bad" x="{100 * right / n:.2f}" width="{100 * wrong / n:.2f}" height="6"/>'
        f'<rect class="rest" x="{100 * decided / n:.2f}" width="{100 * (n - decided) / n:.2f}" height="6"/></svg>'
    )
    legend = element(
        "p",
        element("span", f"decided and right {right:,}", class_="key good"),
        element("span", f"decided and wrong in a label {wrong:,}", class_="key bad"),
        element("span", f"left to a person {n - decided:,}", class_="key rest"),
        class_="legend",
    )
    routes = ", ".join(f"{count:,} {route}" for route, count in result.routes.items())
    facts = [f"Of 100 questions, {_of_hundred(decided, n)} are decided; of 100 decided, "]
    facts += [f"{_of_hundred(right, decided)} are right in every label that is known of them, and "]
    facts += [f"{_of_hundred(n - decided, n)} of 100 go to a person. Measured on {n:,} questions"]
    facts += [f"; {result.n_unlabelled:,} rows without a label are left out." if result.n_unlabelled else "."]
    facts += [f" Routes: {routes}."]
    return Markup(element("div", *shown, class_="cards") + bar + legend + element("p", "".join(facts)))


def labels(page: Page) -> Markup | None:
    """Say how good each target is."""
    if not page.targets:
        return None
    heads = [
        "target",
        "questions",
        "right, %",
        "assigned, %",
        "right of assigned, %",
        "macro F1",
        "ECE",
        "ECE by chance",
        "Brier",
    ]
    rows = [
        [
            row["target"],
            f"{row['n']:,}",
            interval(row["n_right"], row["n"]),
            percent(row["coverage"]),
            interval(row["n_assigned_right"], row["n_assigned"]),
            _number(row["macro_f1"]),
            _number(row["ece"]),
            _number(row["ece_by_chance"]),
            _number(row["brier"]),
        ]
        for row in page.targets
    ]
    result = page.result
    said = (
        "“Right” counts the best label whether it was assigned or not; “right of assigned” is what reaches people "
        "without a check. Small ranges are 95 % Wilson intervals, drawn on a line from 0 to 100."
    )
    unseen = [f"{row['n_unseen']:,} of {row['target']}" for row in page.targets if row["n_unseen"]]
    notes = [said]
    if result.n_route:
        low, high = proportion_interval(result.n_route_right, result.n_route)
        share = 100 * result.n_route_right / result.n_route
        notes.append(
            f"Right in jurisdiction, level and agency at once, decided or not: {share:.1f} % "
            f"({100 * low:.0f}–{100 * high:.0f}) of {result.n_route:,}."
        )
    if unseen:
        notes.append(f"Labels that training never saw count as wrong: {', '.join(unseen)}.")
    return Markup(table(heads, rows) + _notes(notes))


def promises(page: Page) -> Markup | None:
    """Check the promises again."""
    promised = [row for row in page.targets if row["promise"] is not None]
    if not promised:
        return element("p", "Nothing was promised of this desk's labels.") if page.targets else None
    parts = [
        element(
            "p",
            "A promise says which share of the assigned labels is right, over all questions together. It is kept when "
            "these questions prove it with the confidence it was given, not kept when they refute it; in between they "
            "cannot say, and more questions would be needed.",
        )
    ]
    figures = []
    for row in promised:
        target, groups = row["target"], page.of(page.result.promises, row["target"])
        status = _STATUS[row["promise_status"]]
        said = (
            f"{target}: {100 * row['promise']:.3g} % promised, {row['n_assigned_right']:,} of {row['n_assigned']:,} "
            "assigned are right."
        )
        kind = {"kept": "good", "not kept": "bad"}.get(row["promise_status"], "rest")
        parts.append(element("p", element("span", status, class_=f"status {kind}"), f" {said}"))
        if len(groups) > 1 and row["n_assigned"]:
            caption = f"{target}: the dashed line is the promise, made over all questions together."
            figures.append(
                figure(
                    PromiseDisplay(groups, page.named("jurisdiction")), caption, label=f"Promise of {target} by group"
                )
            )
    if figures:
        said = (
            "Share right of the assigned with 95 % intervals, over all and by the jurisdiction that the desk gave. "
            f"Grey: fewer than {FEWEST} assigned, too small to judge."
        )
        parts += [element("p", said, class_="note"), element("div", *figures, class_="figures")]
    return Markup("".join(parts))


def probabilities(page: Page) -> Markup | None:
    """Draw the reliability of each target."""
    figures = []
    for row in page.targets:
        bins = page.of(page.result.reliability, row["target"])
        caption = f"{row['target']}: {row['n']:,} questions."
        display = ReliabilityDisplay(bins, row["ece"], row["brier"], row["ece_by_chance"])
        figures.append(figure(display, caption, label=f"Reliability of {row['target']}"))
    if not figures:
        return None
    said = (
        "Of the questions whose best label was given 80 %, 80 % should be right: points on the dashed line. Below it "
        "the desk is too sure, above too modest. A larger point stands for more questions; bars are 95 % intervals. "
        "ECE is the mean distance from the line; by chance, that of true probabilities on so few questions, which no "
        "desk can be asked to stay below. Brier is the mean squared error of all probabilities (0 to 2)."
    )
    return Markup(element("p", said) + element("div", *figures, class_="figures"))


def review(page: Page) -> Markup | None:
    """Draw what other thresholds would give, and say why questions go to a person."""
    figures = []
    for row in page.targets:
        wrong = row["n_assigned"] - row["n_assigned_right"]
        at = (row["coverage"], wrong / row["n_assigned"]) if row["n_assigned"] else None
        spread = proportion_interval(wrong, row["n_assigned"]) if row["n_assigned"] else None
        curve = page.of(page.result.risk_coverage, row["target"])
        display = RiskCoverageDisplay(curve, row["promise"], at, spread)
        status = f" Promise re-checked: {_STATUS[row['promise_status']]}." if row["promise_status"] else ""
        threshold = "" if row["threshold"] is None else f" Threshold {row['threshold']:.2f}."
        figures.append(
            figure(display, f"{row['target']}.{threshold}{status}", label=f"Risk and coverage of {row['target']}")
        )
    if not figures:
        return None
    said = (
        "To the right more is assigned, upwards more of it is wrong. The dark point is where the desk stands; it may "
        "lie off the curve, as other rules than the threshold send questions to a person too. The band is the 95 % "
        "interval."
    )
    parts: list[Markup] = []
    for target, own in page.result.reasons.groupby("target", sort=False) if len(page.result.reasons) else ():
        rows = [[_why(row["reason"]), f"{row['n']:,}", interval(row["n_right"], row["n"])] for row in rows_of(own)]
        content = table(["reason", "in review", "best label right, %"], rows)
        parts.append(_folded(f"{target}: why {own['n'].sum():,} go to a person", content, opened=not parts))
    return Markup(element("p", said) + element("div", *figures, class_="figures") + "".join(parts))


def confusions(page: Page) -> Markup | None:
    """Draw what was taken for what."""
    parts: list[Markup] = []
    for row in page.targets:
        target, name = row["target"], page.named(row["target"])
        counts = page.of(page.result.confusion, target)
        display = ConfusionDisplay(counts, name)
        if 1 < len(display.labels) <= _MOST_DRAWN:
            caption = f"{target}. Rows: the right label. Columns: the one assigned, last those left to a person."
            parts.append(figure(display, caption, label=f"Confusion of {target}"))
        off = counts[(counts["label"] != counts["said"]) & (counts["said"] != REVIEW)]
        pairs = rows_of(off.sort_values("n", ascending=False, kind="stable").head(_MOST_PAIRS))
        if pairs and len(display.labels) > _MOST_DRAWN:
            lines = [[name(one["label"]), name(one["said"]), f"{one['n']:,}"] for one in pairs]
            listed = table(["right label", "assigned", "questions"], lines, text_columns=2)
            parts.append(_folded(f"{target}: the commonest confusions", listed, opened=not parts))
    return Markup("".join(parts)) if parts else None


def classes(page: Page) -> Markup | None:
    """List the classes of each target, the hardest first."""
    parts: list[Markup] = []
    heads = ["label", "questions", "found (recall), %", "right if said (precision), %", "F1"]
    for row in page.targets:
        own = page.of(page.result.classes, row["target"])
        few, n = int(own["too_few"].sum()), len(own)
        listed = own.sort_values(["too_few", "recall"], kind="stable").head(_MOST_ROWS)
        name = page.named(row["target"])
        lines = [
            [
                name(one["label"]),
                f"{one['n']:,}",
                interval(one["n_right"], one["n"]),
                interval(one["n_right"], one["n_predicted"]),
                _number(one["f1"]),
            ]
            for one in rows_of(listed)
        ]
        small = {tuple(line) for line, one in zip(map(tuple, lines), rows_of(listed), strict=True) if one["too_few"]}
        content = table(heads, lines, faint=lambda line, small=small: tuple(line) in small)
        if n > len(lines):
            content = Markup(content + _notes([f"{n - len(lines):,} further classes are in the JSON."]))
        said = f"{row['target']}: {n:,} classes" + (f", {few:,} too small to judge" if few else "")
        parts.append(_folded(said, content, opened=not parts))
    return Markup(_notes([f"The hardest first; {_TOO_FEW}."]) + "".join(parts)) if parts else None


def slices(page: Page) -> Markup | None:
    """Show whether some questions fare worse than others."""
    frame = page.result.slices
    if frame.empty:
        return None
    parts = []
    targets = [row["target"] for row in page.targets]
    for column in frame["column"].unique():
        own = frame[frame["column"] == column]
        cells = {(row["target"], row["value"]): row for row in rows_of(own)}
        values = own.groupby("value", sort=False)["n"].max()
        if column == "province":
            values = values.sort_values(ascending=False, kind="stable")
        lines, small = [], set()
        for value, n in values.head(_MOST_ROWS).items():
            found = [cells.get((target, value)) for target in targets]
            shares = [Markup("–") if one is None else interval(one["n_right"], one["n"]) for one in found]
            lines.append([value, f"{n:,}", *shares])
            if n < FEWEST:
                small.add(value)
        heads = [_SLICE_NAMES.get(column, column), "questions", *(f"{target} right, %" for target in targets)]
        content = table(heads, lines, faint=lambda line, small=small: line[0] in small)
        said = f"{_SLICE_NAMES.get(column, column)}: {len(values):,} groups"
        said += f", {len(small):,} too small to judge" if small else ""
        parts.append(_folded(said, content, opened=len(lines) <= 8))
    note = f"Share of best labels that are right, assigned or not; {_TOO_FEW}."
    return Markup(_notes([f"{note} With this many groups some differ by chance."]) + "".join(parts))


def reuse(page: Page) -> Markup | None:
    """Say whether answers that are offered fit."""
    curve, facts = page.result.reuse, page.result.reused
    if curve is None or facts is None:
        return None
    fits = (
        "its item is the one that column archive_id names"
        if facts["by"] == "archive_id"
        else "it is on the question's matter, which is an upper bound: an answer on the matter may still miss the point"
    )
    n, offered, right = facts["n"], facts["n_offered"], facts["n_offered_right"]
    said = [
        f"An answer counts as one that fits when {fits}. Of {n:,} questions of which that is known, the first answer "
        f"fits {facts['n_first_right']:,}; {offered:,} were offered it for reuse"
        + (f", and {right:,} of these fit ({_range(right, offered)} of 100)." if offered else ".")
    ]
    if facts["promise_status"]:
        said.append(f"{100 * facts['promise']:.3g} % was promised: {_STATUS[facts['promise_status']]}.")
    display = ReuseDisplay(curve, facts["promise"], facts["threshold"])
    caption = (
        "To the right more questions are offered their first answer, as the probability from which on it is offered "
        "falls. The dark point is the desk's own threshold; the band is the 95 % interval."
    )
    return Markup("".join(element("p", one) for one in said) + figure(display, caption, label="Answers offered"))


def scope(page: Page) -> Markup | None:
    """Say how messages out of scope fared."""
    counts = page.result.out_of_scope
    if counts is None:
        return None
    rows = [
        ["recognised as out of scope", f"{counts['n_recognized']:,}", interval(counts["n_recognized"], counts["n"])],
        ["left to a person, for any reason", f"{counts['n_review']:,}", interval(counts["n_review"], counts["n"])],
    ]
    n = page.result.n_questions
    if n:
        rows.append(["questions taken for such, wrongly", f"{counts['n_false']:,}", interval(counts["n_false"], n)])
    said = (
        f"{counts['n']:,} messages belong to no class. None of them should be decided; one that is neither recognised "
        "nor left to a person is answered as if it were a question."
    )
    return Markup(element("p", said) + table(["", "messages", "share, %"], rows))


def errors(page: Page) -> Markup | None:
    """Show the costliest errors."""
    frame = page.result.errors
    if frame.empty:
        return None
    parts: list[Markup] = []
    for target, own in frame.groupby("target", sort=False):
        shown = [_question(page, row) for row in rows_of(own.head(_MOST_SHOWN))]
        said = f"{target}: the {len(shown)} surest errors" if len(shown) > 1 else f"{target}: the surest error"
        parts.append(_folded(said, Markup("".join(shown)), opened=not parts))
    said = (
        "Assigned, wrong, and sure: nobody would have looked. Words are what spoke most for the label, with what each "
        "added to its score. Some of these labels may be wrong in the table rather than in the desk. Personal data is "
        "masked; names are not."
    )
    return Markup(element("p", said) + "".join(parts))


def examples(page: Page) -> Markup | None:
    """Show questions of every reason for a review."""
    frame = page.result.examples
    if frame.empty:
        return None
    parts = []
    for reason, own in frame.groupby("reason", sort=False):
        short, long = _WHY.get(str(reason), (str(reason), ""))
        parts += [element("h3", short[:1].upper() + short[1:])] + ([element("p", long)] if long else [])
        parts += [_question(page, row) for row in rows_of(own)]
    return Markup("".join(parts))


def learning(page: Page) -> Markup | None:
    """Say whether more data would help."""
    curve = page.learning_curve
    if curve is None or curve.empty:
        return None
    caption = (
        "Accuracy of desks trained as the recipe says on parts of its questions, on these questions; bands are 95 % "
        "intervals of the first two targets. A curve that still rises at its end says that more questions would help."
    )
    said = []
    for target, own in curve.groupby("target", sort=False):
        rows = rows_of(own.sort_values("n_train"))
        if len(rows) > 1:
            gain = 100 * (rows[-1]["accuracy"] - rows[-2]["accuracy"])
            said.append(
                f"{target}: {gain:+.1f} points from {rows[-2]['n_train']:,} to {rows[-1]['n_train']:,} questions."
            )
    drawn = figure(LearningCurveDisplay(curve), caption, label="Learning curve")
    return Markup(drawn + element("ul", *(element("li", one) for one in said)))


def leaks(page: Page) -> Markup | None:
    """Say what training had seen nearly the same."""
    frame = page.result.leaks
    if frame is None:
        return None
    own = page.result.slices
    n = int(own[(own["column"] == LEAK_SLICE) & (own["value"] == "yes")]["n"].max()) if _has_leak(own) else len(frame)
    if frame.empty:
        return element("p", "No question is nearly the same as one that was trained on.")
    said = (
        f"{n:,} questions are nearly the same as one that was trained on: at least 60 % of their runs of four letters. "
        "What is measured on them flatters; the section on slices shows the others by themselves."
    )
    rows = [[row["text"], row["like_text"], _place(row), f"{100 * row['similarity']:.0f}"] for row in rows_of(frame)]
    return Markup(element("p", said) + table(["question", "in training", "where", "alike, %"], rows, text_columns=3))


def suspects(page: Page) -> Markup | None:
    """List labels that may be wrong in the table."""
    frame = page.suspects
    if frame is None:
        return None
    if frame.empty:
        return element("p", "No label is suspected to be wrong.")
    shown = frame.head(_MOST_ROWS)
    numeric = [pd.api.types.is_numeric_dtype(shown[column]) for column in shown]
    order = [column for column, is_number in sorted(zip(shown.columns, numeric, strict=True), key=lambda pair: pair[1])]
    rows = [[_cell(page, cell) for cell in row.values()] for row in rows_of(shown[order])]
    said = (
        f"{len(frame):,} labels that a desk which had not seen them would give otherwise, the most suspicious first. "
        "Look at them before training again."
    )
    heads = list(map(str, order))
    return Markup(element("p", said) + table(heads, rows, text_columns=numeric.count(False)))


def unknown(page: Page) -> Markup | None:
    """Say what these questions cannot tell."""
    result = page.result
    said = unknowns({**result.to_dict(), "slice_columns": [*result.slices.get("column", ())]})
    if result.reuse is None:
        said.append("Whether answers that are offered fit: the questions do not say which answer is right.")
    if result.leaks is None:
        said.append("Whether training had seen nearly the same questions: no training table was given.")
    said.append("How it does on questions of other writers, of other days, or under other rules than these.")
    return element("ul", *(element("li", one) for one in said))


def _question(page: Page, row: dict[str, Any]) -> Markup:
    """Return one question with what was said of it."""
    name = page.named(row["target"])
    place = f"row {row['row']:,}" if row.get("id") in (None, "") else str(row["id"])
    wanted = "belongs to no class" if row["wanted"] is None else f"right: {name(row['wanted'])}"
    right = row["wanted"] == row["label"]
    verdict = f"would say {name(row['label'])}" if row.get("reason") else f"said {name(row['label'])}"
    facts = element(
        "p",
        element("span", f"{verdict}, {_sure(row['probability'])}", class_="right" if right else "said"),
        element("span", wanted, class_="wanted"),
        element("span", f"{row['target']}, {place}", class_="where"),
        class_="facts",
    )
    words = [element("span", word, Markup("&nbsp;"), element("small", f"{value:+.1f}")) for word, value in row["words"]]
    told = [element("p", *_between(words, " "), class_="words")] if words else []
    return element("article", element("blockquote", row["text"] or "(no text)"), facts, *told, class_="question")


def _between(parts: list[Markup], gap: str) -> Iterable[Any]:
    for part in parts:
        yield part
        yield gap


def _cell(page: Page, cell: Any) -> Any:
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return shown_text(cell, page.language) if isinstance(cell, str) else "–" if cell is None else cell


def _folded(title: str, content: Any, *, opened: bool) -> Markup:
    return element("details", element("summary", title), content, **({"open": ""} if opened else {}))


def _has_leak(frame: pd.DataFrame) -> bool:
    return len(frame) > 0 and bool(((frame["column"] == LEAK_SLICE) & (frame["value"] == "yes")).any())


def _notes(texts: list[str]) -> Markup:
    return Markup("".join(element("p", text, class_="note") for text in texts))


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def _of_hundred(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}" if whole else "–"


def _range(part: int, whole: int) -> str:
    low, high = proportion_interval(part, whole)
    return f"{100 * low:.0f}–{100 * high:.0f}"


def _place(row: dict[str, Any]) -> Markup:
    one = row["id"] or f"row {row['row']:,}"
    other = row["like_id"] or f"row {row['like_row']:,}"
    return Markup(element("span", one, class_="place") + " " + element("span", other, class_="place"))


def _sure(probability: float) -> str:
    return "over 99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


def _why(reason: str) -> str:
    return _WHY.get(reason, (reason, ""))[0]
