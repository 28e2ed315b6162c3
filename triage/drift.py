"""A week's questions beside those a desk was trained on: has something changed, and should the desk be trained again.

Every signal compares the week with the desk's profile: what it saw in its training questions when they were held out.
Both are samples, and each test counts the chance in both. An unchanged week raises an alarm, by any signal, with
probability `ALPHA` at most, were the tests exact: unknown words have a quarter of it, the new topic a tenth, and all
other signals share the rest (Bonferroni). The new topic has no more, because its test is not exact: when a question is
held out, what is nearest to it was trained on, while all of a week's are new at once. (In unchanged weeks of the land
desk, over eight random splits, its statistic lay 0.5 standard deviations above where an exact test has it, of the
industry and trade desk 0.1.)

What the tests assume: that an unchanged week and the held-out questions were drawn alike, one by one. One sender's
batch on one matter is a change by that measure; questions in the same words are counted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from scipy import stats

from triage.dataset import REGISTER_TARGETS, as_text, checks
from triage.errors import DatasetError, Fault, TriageError
from triage.index import best, unit_rows
from triage.profile import Profile
from triage.triager import Triager

#: Probability that an unchanged week raises an alarm, at most.
ALPHA = 0.02
#: A week, or a reference, of fewer questions is not judged: a tenth of it would be a handful.
MIN_QUESTIONS = 50
#: Largest week that is tested; of a larger one so many questions are drawn.
MAX_QUESTIONS = 5000

_OF_TOPIC, _OF_WORDS, _OF_OTHERS = 0.1, 0.25, 0.65  # of the alarms that are allowed
_N_DRAWS = 999  # random weeks that the new topic is tested against
_DRAWS_AT_ONCE = 125
_N_NEAREST = 30  # questions beside each in which a new topic is looked for; 20 to 50 are alike, 5 find fewer
_CLOSENESS = 1.5  # power of cosines: near ones count more; 1 and 2 are nearly as good
_TAIL = 6  # power of ranks: the least sure questions count most; 3 to 6 are alike
_LEAST_WEIGHT = 0.05  # of the surest ones: a desk may be sure of what it does not know
_BLOCK_ROWS = 512
_LEAST_EXPECTED = 2.0  # rarer classes are tested together
_SHOWN = 10  # questions and classes that are named
_MARGIN = 0.05  # by which a mean must be worse than held out, beyond chance
_INTERVAL_P = 0.05  # outside the intervals

_NAMES = ["signal", "target", "reference", "week", "low", "high", "statistic", "p", "level", "alarm"]
_CLASS_NAMES = ["target", "label", "reference", "week"]

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class DriftReport:
    """How a week differs from what a desk was trained on.

    Attributes
    ----------
    verdict : {"retrain", "keep", "too few"}
        ``retrain`` where a signal raised an alarm.
    n_questions : int
        Of the week, without repeats and texts without a word.
    n_left_out : int
        Repeats, texts without a word, and what is beyond `MAX_QUESTIONS`.
    n_reference : int
        Held-out questions that the week is compared with.
    signals : DataFrame
        One row a signal: ``signal``, ``target`` (None for one of the whole question), ``reference``, ``week`` (the
        measure in both), ``low``, ``high`` (interval of the week's measure, 95 %; precision only), ``statistic``,
        ``p``, ``level`` (p at most this is an alarm; NaN where it is only told: precision, and what follows from the
        matter, as level and agency), ``alarm``.
    classes : DataFrame
        One row a class: ``target``, ``label``, ``reference``, ``week`` (share of questions whose best label it is),
        largest difference first within a target.
    examples : list
        Ids, or rows from 1, of questions that look like the new topic, clearest first; empty without that alarm.

    Notes
    -----
    The signals:

    - ``classes``: shares of the best labels, chi-square test of two samples; classes of which fewer than two questions
      are expected are tested together.
    - ``probability``: mean probability of the best label, lower than held out by more than 0.05 (z-test, one-sided).
      The margin is there because held-out questions are known from the inside: what training lacks by chance is
      lacking for all questions of a week alike, which no test of single questions sees.
    - ``unknown words``: share of a question's words, and pairs of neighbouring words, that no held-out question has;
      ``reference`` is that share in as many questions drawn at random (p by permutation).
    - ``out of scope``: more than twice the share held out (exact test of two Poisson rates, one-sided). The factor is
      there for the same reason.
    - ``review``: share of questions whose first target is not assigned, by more than 0.05 higher (z-test, one-sided).
    - ``new topic``: questions of which the desk is unsure, and whose nearest ones are of the same week and unsure as
      well. Each question of week and reference has its thirty nearest ones (cosine of rare words and pairs of words),
      and each link the weight of its cosine, to the power of 1.5, and of both questions' ranks by entropy, to the sixth
      power; ``reference`` and ``week`` are the share of the links of a week's questions that lead into the week (a test
      of two samples by nearest neighbours [2]_, with weights). p is by permutation: as many questions drawn at random
      from both together.
    - ``precision``: what share of assigned labels is right, estimated without labels: the mean calibrated probability
      of the assigned labels, less what it was too high on held-out ones (difference of confidences [1]_). It raises no
      alarm: it assumes that probabilities are as calibrated in the week as held out, and a question on a new topic
      breaks that.

    References
    ----------
    .. [1] Guillory, Shankar, Ebrahimi, Darrell, Schmidt (2021), "Predicting with confidence on unseen distributions",
       ICCV, section 3.
    .. [2] Schilling (1986), "Multivariate two-sample tests based on nearest neighbors", Journal of the American
       Statistical Association 81(395), 799-806.
    """

    verdict: str
    n_questions: int
    n_left_out: int
    n_reference: int
    signals: pd.DataFrame
    classes: pd.DataFrame
    examples: list[Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values: a list of rows for a DataFrame, None for NaN."""
        return {
            name: _records(value) if isinstance(value, pd.DataFrame) else value for name, value in vars(self).items()
        }

    def summary(self) -> str:
        """Return the report in plain words."""
        return "\n".join(_summary_lines(self)) + "\n"


def drift(
    triager: Triager, frame: pd.DataFrame, *, text: str = "text", reference: pd.DataFrame | None = None
) -> DriftReport:
    """Compare a week's questions with those a desk was trained on.

    Parameters
    ----------
    triager : Triager
    frame : DataFrame
        The week: one row a question, no labels. A column ``id`` names the examples.
    text : str, default="text"
        Column of the questions, here and in `reference`.
    reference : DataFrame, optional
        Questions of a time when all was well, which the desk was not trained on, to compare with in the place of its
        profile. A desk of an old bundle has none.

    Returns
    -------
    DriftReport

    Raises
    ------
    DatasetError
        If a table has no column `text` or no row, or the reference has fewer than `MIN_QUESTIONS` questions.
    TriageError
        If the desk has no profile and there is no reference.
    TypeError
        If a table is no DataFrame.

    Examples
    --------
    >>> import triage
    >>> table = pd.DataFrame({"text": ["pay tax", "sell beer", "late tax", "beer shop"], "topic": ["t", "b"] * 2})
    >>> desk = triage.train(table, targets="topic")
    >>> drift(desk, table.head(2)).verdict
    'too few'
    """
    held_out = triager.profile if reference is None else triager.observe(_texts(reference, text, "reference"))
    if held_out is None:
        raise TriageError("the desk must have a profile of its training; train it again, or give a reference table")
    if reference is not None and len(held_out) < MIN_QUESTIONS:
        problem = f"must have {MIN_QUESTIONS} questions or more, got {len(held_out)}"
        raise DatasetError(source="reference", faults=[Fault(None, None, problem)])
    week = triager.observe(_texts(frame, text, "week"))
    return compare_profiles(held_out, week, frame["id"].tolist() if "id" in frame.columns else None)


def compare_profiles(held_out: Profile, week: Profile, ids: Sequence[Any] | None = None) -> DriftReport:
    """Compare what a desk sees in a week with what it saw in held-out questions.

    Parameters
    ----------
    held_out : Profile
    week : Profile
        Of the same desk.
    ids : sequence of length n_questions, optional
        What names the questions of the week; their rows from 1 by default.

    Returns
    -------
    DriftReport
    """
    names = range(1, len(week) + 1) if ids is None else ids
    held_out = held_out.of(_distinct(held_out))
    kept = _distinct(week)
    if len(kept) > MAX_QUESTIONS:
        kept = np.sort(np.random.default_rng(0).choice(kept, MAX_QUESTIONS, replace=False))
    n_left_out, week = len(week) - len(kept), week.of(kept)
    if min(len(week), len(held_out)) < MIN_QUESTIONS:
        none = pd.DataFrame(columns=_NAMES), pd.DataFrame(columns=_CLASS_NAMES)
        return DriftReport("too few", len(week), n_left_out, len(held_out), *none, examples=[])
    topic, unknown, places = _by_words(held_out, week)
    rows = [topic, unknown, *_signals(held_out, week)]
    tested = [row for row in rows if row["p"] is not None and row["target"] not in REGISTER_TARGETS]
    for row in rows:
        share = _OF_TOPIC if row is topic else _OF_WORDS if row is unknown else _OF_OTHERS / (len(tested) - 2)
        level = ALPHA * share
        row["level"] = level if row in tested else None
        row["alarm"] = row in tested and row["p"] <= level
    return DriftReport(
        verdict="retrain" if any(row["alarm"] for row in rows) else "keep",
        n_questions=len(week),
        n_left_out=n_left_out,
        n_reference=len(held_out),
        signals=pd.DataFrame(rows, columns=_NAMES),
        classes=pd.DataFrame(_classes(held_out, week), columns=_CLASS_NAMES),
        examples=[names[kept[place]] for place in places] if topic["alarm"] else [],
    )


def _texts(frame: pd.DataFrame, text: str, source: str) -> list[str]:
    checks.must_be_frame(frame)
    if text not in frame.columns:
        problem = f"must exist; the columns are {checks.column_names(frame.columns)}"
        raise DatasetError(source=source, faults=[Fault(None, text, problem)])
    if frame.empty:
        raise DatasetError(source=source, faults=[Fault(None, None, "must have a row or more")])
    return as_text(frame[text]).tolist()


def _distinct(profile: Profile) -> npt.NDArray[np.intp]:
    """Return the rows that have words, the first of those that have the same."""
    starts, words = profile.starts.tolist(), profile.words
    first: dict[bytes, int] = {}
    for row in range(len(profile)):
        if starts[row + 1] > starts[row]:
            first.setdefault(words[starts[row] : starts[row + 1]].tobytes(), row)
    return np.array(list(first.values()), np.intp)


# Signals


def _signals(held_out: Profile, week: Profile) -> Iterator[dict[str, Any]]:
    """Yield the signals that look at one thing each."""
    for place, target in enumerate(week.classes):
        yield _class_shares(held_out, week, place, target)
    for place, target in enumerate(week.classes):
        before, now = held_out.probability[:, place], week.probability[:, place]
        yield _signal("probability", target, before.mean(), now.mean(), *_higher(-before, -now))
    outside = held_out.outside, week.outside
    yield _signal("out of scope", None, outside[0].mean(), outside[1].mean(), *_more_than_twice(*outside))
    review = ~held_out.assigned[:, 0], ~week.assigned[:, 0]
    yield _signal("review", None, review[0].mean(), review[1].mean(), *_higher(*review))
    for place, target in enumerate(week.classes):
        yield _precision(held_out, week, place, target)


def _signal(name: str, target: str | None, before: float, now: float, statistic: float, p: float) -> dict[str, Any]:
    values = {"reference": float(before), "week": float(now), "statistic": float(statistic), "p": float(p)}
    return {"signal": name, "target": target, **values}


def _higher(before: npt.NDArray[Any], now: npt.NDArray[Any]) -> tuple[float, float]:
    """Return statistic and p of the test that the week's mean is higher by more than the margin (Welch, normal)."""
    differs = float(now.mean()) - float(before.mean()) - _MARGIN
    spread = (float(now.var()) / len(now) + float(before.var()) / len(before)) ** 0.5
    statistic = differs / max(spread, 1e-9)
    return statistic, float(stats.norm.sf(statistic))


def _more_than_twice(before: npt.NDArray[np.bool_], now: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return statistic and p of the test that the week has more than twice the share (given the sum of both)."""
    n_before, n_now = int(before.sum()), int(now.sum())
    return n_now, float(stats.binom.sf(n_now - 1, n_before + n_now, 2 * len(now) / (2 * len(now) + len(before))))


def _class_shares(held_out: Profile, week: Profile, place: int, target: str) -> dict[str, Any]:
    """Test whether the best labels have other shares; what is told is the distance of the shares."""
    counts = _counts(held_out, week, target)
    n = counts.sum(1, keepdims=True)
    distance = float(np.abs(counts[0] / n[0] - counts[1] / n[1]).sum() / 2)
    rare = counts.sum(0) * n[1] / n.sum() < _LEAST_EXPECTED
    cells = np.column_stack((counts[:, ~rare], counts[:, rare].sum(1)))
    cells = cells[:, cells.sum(0) > 0]
    if cells.shape[1] < 2:
        return _signal("classes", target, 0.0, distance, 0.0, 1.0)
    found = stats.chi2_contingency(cells, correction=False)
    return _signal("classes", target, 0.0, distance, found.statistic, found.pvalue)


def _counts(held_out: Profile, week: Profile, target: str) -> Floats:
    """Return how often each label is the best one, (2, n_classes); by label, as a register may have added some."""
    labels = week.classes[target]
    code = {label: place for place, label in enumerate(labels)}
    place_before, place_now = list(held_out.classes).index(target), list(week.classes).index(target)
    before = [code[held_out.classes[target][one]] for one in held_out.best[:, place_before].tolist()]
    now = week.best[:, place_now]
    return np.stack([np.bincount(one, minlength=len(labels)) for one in (before, now)]).astype(float)


def _precision(held_out: Profile, week: Profile, place: int, target: str) -> dict[str, Any]:
    """Estimate what share of the assigned labels is right; NaN where none is assigned."""
    row: dict[str, Any] = {"signal": "precision", "target": target, "p": None}
    was, now = held_out.assigned[:, place], week.assigned[:, place]
    sure = week.probability[now, place].astype(float)
    if not len(sure):
        return row
    variance = float((sure * (1 - sure)).sum()) / len(sure) ** 2
    estimate = float(sure.mean())
    if held_out.right is not None and was.any():
        wrong_by = held_out.right[was, place] - held_out.probability[was, place].astype(float)
        estimate += float(wrong_by.mean())
        variance += float(wrong_by.var()) / len(wrong_by)
        row["reference"] = float(held_out.right[was, place].mean())
    margin = float(stats.norm.isf(_INTERVAL_P / 2)) * variance**0.5
    low, high = max(0.0, estimate - margin), min(1.0, estimate + margin)
    return {**row, "week": min(1.0, max(0.0, estimate)), "low": low, "high": high, "statistic": float(now.sum())}


def _classes(held_out: Profile, week: Profile) -> Iterator[dict[str, Any]]:
    """Yield the shares of each class, largest difference first within a target."""
    for target, labels in week.classes.items():
        before, now = (count / count.sum() for count in _counts(held_out, week, target))
        for place in np.argsort(-np.abs(now - before), kind="stable").tolist():
            row = {"target": target, "label": labels[place]}
            yield {**row, "reference": float(before[place]), "week": float(now[place])}


# Words and a new topic


def _by_words(held_out: Profile, week: Profile) -> tuple[dict[str, Any], dict[str, Any], list[int]]:
    """Test for a new topic and for unknown words, by permutation.

    Returns
    -------
    topic, unknown : dict
        The signals.
    places : list of int
        Rows of the week that look like the topic, clearest first.
    """
    m, n = len(held_out), len(week)
    rank = stats.rankdata(np.concatenate((held_out.entropy[:, 0], week.entropy[:, 0]))) / (m + n)
    words = _word_matrix(held_out, week)
    links = _links(words, (_LEAST_WEIGHT + (1 - _LEAST_WEIGHT) * rank**_TAIL).astype(np.float32))
    n_links = np.asarray(links.sum(1)).ravel()
    n_texts = np.asarray(words.sum(1)).ravel()
    share = 1 / np.maximum(np.asarray(words.sum(0)).ravel(), 1)  # of a question that one of its words is
    alone = (share * np.asarray(words[n_texts == 1].sum(0)).ravel()).astype(np.float32)  # in no other question
    rare = words[(n_texts > 1) & (n_texts <= n)]  # others cannot be the week's alone
    in_share = (rare @ sp.diags(share)).tocsr().astype(np.float32)
    n_rare = np.asarray(rare.sum(1)).reshape(-1, 1)
    measured: list[Floats] = []
    for drawn in _weeks(m, n):
        within = links @ drawn  # of each question's links, those into the week
        if not measured:
            by_row = within[:, 0] - n_links * n / (m + n)
        inside = (drawn * within).sum(0) / np.maximum(n_links @ drawn, np.finfo(np.float32).tiny)
        new = (alone @ drawn + np.where(rare @ drawn == n_rare, in_share @ drawn, 0).sum(0)) / n
        measured.append(np.stack((inside, new)))
    inside, new = np.concatenate(measured, axis=1)
    order = np.argsort(-by_row[m:], kind="stable").tolist()
    places = [place for place in order if by_row[m + place] > 0]
    topic, unknown = (
        _signal(name, None, of[1:].mean(), of[0], of[0], float((of >= of[0]).mean()))
        for name, of in (("new topic", inside), ("unknown words", new))
    )
    return topic, unknown, places[:_SHOWN]


def _links(words: sp.csr_matrix, weight: Floats) -> sp.csr_matrix:
    """Return the links between each question and those nearest to it by their words, (n_questions, n_questions)."""
    # A link weighs by its cosine, times the weights of both; half where only one is among the other's nearest.
    n_texts = np.asarray(words.sum(1)).ravel()
    n = words.shape[1]
    shared = words[n_texts > 1].T.tocsr().astype(np.float32)
    rows = unit_rows(shared @ sp.diags(np.log(n / n_texts[n_texts > 1]).astype(np.float32)))
    turned = rows.T.tocsr()
    k = min(_N_NEAREST, n - 1)
    nearest: list[npt.NDArray[Any]] = []
    cosine: list[npt.NDArray[Any]] = []
    for start in range(0, n, _BLOCK_ROWS):
        block = (rows[start : start + _BLOCK_ROWS] @ turned).toarray()
        own = np.arange(len(block))
        block[own, start + own] = -1  # none is its own neighbour
        place, value = best(block, k)
        nearest.append(place)
        cosine.append(value)
    values = np.maximum(np.concatenate(cosine).ravel(), 0) ** _CLOSENESS
    links = sp.csr_matrix((values, (np.repeat(np.arange(n), k), np.concatenate(nearest).ravel())), shape=(n, n))
    weighed: sp.csr_matrix = (sp.diags(weight) @ ((links + links.T) / 2) @ sp.diags(weight)).tocsr()
    return weighed


def _weeks(m: int, n: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield weeks as columns of zeros and ones over all questions: the week itself, then weeks drawn from all."""
    rng = np.random.default_rng(0)
    for start in range(0, _N_DRAWS + 1, _DRAWS_AT_ONCE):
        drawn = np.zeros((m + n, min(_DRAWS_AT_ONCE, _N_DRAWS + 1 - start)), np.float32)
        for place in range(drawn.shape[1]):
            chosen = rng.choice(m + n, n, replace=False) if start + place else np.arange(m, m + n)
            drawn[chosen, place] = 1
        yield drawn


def _word_matrix(held_out: Profile, week: Profile) -> sp.csr_matrix:
    """Return which questions have which words, (n_words, n_questions), the week's last."""
    words = np.concatenate((held_out.words, week.words))
    sizes = np.concatenate((np.diff(held_out.starts), np.diff(week.starts)))
    distinct, code = np.unique(words, return_inverse=True)
    cells = np.ones(len(words), np.float32), (code, np.repeat(np.arange(len(sizes)), sizes))
    return sp.csr_matrix(cells, shape=(len(distinct), len(sizes)))


# For people


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    names = list(map(str, frame.columns))
    return [dict(zip(names, row, strict=True)) for row in frame.astype(object).where(frame.notna(), None).to_numpy()]


def _summary_lines(report: DriftReport) -> Iterator[str]:
    counted = f"{report.n_questions} questions"
    left_out = f" ({report.n_left_out} repeated, without words or beyond the most that are tested: left out)"
    counted += left_out if report.n_left_out else ""
    if report.verdict == "too few":
        yield f"too few questions to say: {counted}, {report.n_reference} to compare with; {MIN_QUESTIONS} are needed"
        return
    rows = _records(report.signals)
    alarms = [row for row in rows if row["alarm"]]
    if alarms:
        yield "train the desk again: " + "; ".join(dict.fromkeys(_alarm_text(row) for row in alarms))
    else:
        yield "no need to train the desk again: nothing changed that chance does not explain"
    yield f"{counted}, compared with {report.n_reference} that the desk was trained on, as it saw them when held out"
    yield f"an unchanged week raises an alarm in {100 * ALPHA:g} of 100 weeks at most\n"
    for row in rows:
        yield _signal_text(row)
    for row in rows:
        if row["alarm"] and row["signal"] == "classes":
            moved = [one for one in _records(report.classes) if one["target"] == row["target"]][:_SHOWN]
            shares = (
                f"{one['label'] or '(none)'} {_share(one['reference'])} -> {_share(one['week'])}" for one in moved
            )
            yield f"{row['target']}: {', '.join(shares)}"
    if report.examples:
        yield f"questions that look like the new topic: {', '.join(map(str, report.examples))}"


def _alarm_text(row: dict[str, Any]) -> str:
    target = row["target"]
    return {
        "new topic": "some questions look like a new topic; label them first",
        "classes": f"the shares of {target} have shifted",
        "probability": f"the desk is less sure of {target}",
        "unknown words": "more words are new to it",
        "out of scope": "more messages are out of scope",
        "review": "more questions go to a person",
    }[row["signal"]]


def _signal_text(row: dict[str, Any]) -> str:
    name = row["signal"] + (f" of {row['target']}" if row["target"] is not None else "")
    if row["signal"] == "precision":
        if row["week"] is None:
            return f"{name}: nothing is assigned"
        was = "" if row["reference"] is None else f"held out {_share(row['reference'])}, "
        now = f"{_share(row['week'])} [{_share(row['low'])}, {_share(row['high'])}]"
        return f"{name}: {was}now about {now}, estimated without labels"
    p = "p < 0.001" if row["p"] < 0.001 else f"p = {row['p']:.3f}"
    alarm = "only told" if row["level"] is None else "ALARM" if row["alarm"] else "no alarm"
    if row["signal"] == "classes":
        return f"{name}: {_share(row['week'])} of questions moved ({p}): {alarm}"
    label = f"{name} (unsure questions beside each other)" if row["signal"] == "new topic" else name
    return f"{label}: {_share(row['reference'])} -> {_share(row['week'])} ({p}): {alarm}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
