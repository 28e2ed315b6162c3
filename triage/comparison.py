"""Two desks compared on the same labelled questions: is the new one better, and where is it not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.dataset import REGISTER_TARGETS, checks, read_labelled
from triage.errors import DatasetError, Fault, TriageError
from triage.metrics import mcnemar_p, paired_difference_interval
from triage.register import BODY
from triage.triager import Triager

#: With fewer pairs that differ than this, the exact test cannot reach 0.05 whatever their direction.
MIN_DISCORDANT = 6

_DESKS = ("old", "new")
_SHOWN = 5  # labels or routes that a line of the summary names
_PAIR = ("n", "n_right_old", "n_right_new", "gained", "lost", "p", "difference", "difference_low", "difference_high")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changed from an old desk to a new one. Shares are in [0, 1], differences are new minus old.

    A *pair* is the columns ``n`` (questions), ``n_right_old``, ``n_right_new``, ``gained`` (new right, old wrong),
    ``lost`` (the reverse), ``p`` (`triage.metrics.mcnemar_p`, exact and two-sided), ``difference`` (of the shares
    right) with ``difference_low`` and ``difference_high`` (`triage.metrics.paired_difference_interval`, 95 %).

    Attributes
    ----------
    n_questions : int
        Questions with a label for one of the compared targets; messages out of scope are not among them.
    n_unlabelled : int
        Rows without any such label.
    targets : DataFrame
        One row a compared target: ``target``; a pair; ``n_unseen_old``, ``n_unseen_new`` (labels that the desk does not
        have, counted as wrong); ``n_assigned_old``, ``n_assigned_new``; ``n_assigned_wrong_old``,
        ``n_assigned_wrong_new`` and ``p_assigned_wrong`` (exact McNemar p of these two).
    classes : DataFrame
        One row a target and wanted label where a desk was right and the other wrong: ``target``, ``label``, a pair,
        and ``small``: so few such questions, below `MIN_DISCORDANT`, that no verdict is possible.
    moves : DataFrame
        How many questions went from which outcome to which: ``target``, ``old``, ``new``, ``n``; an outcome is
        ``assigned right``, ``assigned wrong`` (the costliest) or ``review``.
    routes : DataFrame
        How many questions went from which route to which: ``old``, ``new``, ``n``.
    decided : dict of str to int
        ``n_old``, ``n_new`` (questions that no person must look at), ``n_wrong_old``, ``n_wrong_new`` (of these,
        wrong in a compared target).
    body : dict or None
        A pair of being right in jurisdiction, level and agency at once; None where these are not all compared.
    out_of_scope : dict or None
        A pair of messages out of scope, right when left to a person; None without such messages.
    absent : tuple of str
        Targets of both desks that the table has no column or no label for.
    unshared : DataFrame
        One row a target or label that only one desk has: ``target``, ``label`` (None for a target), ``desk``.
    changed : DataFrame
        One row a question and target with another label or status: ``id`` (or ``row``, from 1), ``target``,
        ``wanted``, ``old_label``, ``old_probability``, ``old_status``, ``new_label``, ``new_probability``,
        ``new_status``, ``verdict``: ``better`` (now right), ``worse`` (now wrong), ``other`` (as right or wrong as
        before). No text of a question.
    """

    n_questions: int
    n_unlabelled: int
    targets: pd.DataFrame
    classes: pd.DataFrame
    moves: pd.DataFrame
    routes: pd.DataFrame
    decided: dict[str, int]
    body: dict[str, Any] | None
    out_of_scope: dict[str, Any] | None
    absent: tuple[str, ...]
    unshared: pd.DataFrame
    changed: pd.DataFrame

    def worse(self, alpha: float = 0.05) -> list[str]:
        """Name the targets in which the new desk is significantly worse: more lost than gained, and p at most alpha.

        It is the labels that are tested, whatever their status; see ``p_assigned_wrong`` for what is assigned. Each
        target is tested by itself, without correction for their number: rather an alarm too many.

        Parameters
        ----------
        alpha : float, default=0.05
            Level of the test, in (0, 1).

        Returns
        -------
        list of str
            In the order of `targets`.
        """
        return [row["target"] for row in _records(self.targets) if _verdict(row, alpha) == "worse"]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values: a list of rows for a DataFrame, None for NaN."""
        plain = {**vars(self), "absent": list(self.absent)}
        return {name: _records(value) if isinstance(value, pd.DataFrame) else value for name, value in plain.items()}

    def summary(self, alpha: float = 0.05) -> str:
        """Return the comparison for people; a difference is significant when its p is at most `alpha`."""
        return "\n".join(_summary_lines(self, alpha)) + "\n"


def compare(
    old: Triager,
    new: Triager,
    frame: pd.DataFrame,
    *,
    text: str = "text",
    as_of: Any = None,
    targets: Sequence[str] | None = None,
) -> Comparison:
    """Compare two desks on the same labelled questions, question by question.

    Parameters
    ----------
    old, new : Triager
        The desk at work, and the one that may take its place.
    frame : DataFrame
        One row a question that neither desk was trained on, labelled as for `triage.evaluation.evaluate`: ``matter``
        stands in ``matter_id``; an empty cell is a label where one of the desks has an empty class, and else unknown;
        ``out_of_scope`` true, or the label ``oos`` where no desk has such a class, marks messages of no class.
    text : str, default="text"
        Column of the questions.
    as_of : date, ISO text, or a sequence of them, optional
        Day on which both desks decide. By default a desk with a register decides each question as of its own day where
        the frame has a column ``date``, and else today.
    targets : sequence of str, optional
        Compare only these; by default all that both desks have.

    Returns
    -------
    Comparison
        All results.

    Raises
    ------
    TriageError
        If the desks have no target in common, or not those of `targets`.
    DatasetError
        If the frame has no rows, no column `text`, or no label for a target in common, or a cell of ``out_of_scope``
        or ``date`` is not usable.
    TypeError
        If `frame` is no DataFrame.

    Notes
    -----
    A label is right or wrong whatever its status; whether it was assigned is counted apart. Questions must be
    independent: the re-asks of one question count once each and make p too small.

    Examples
    --------
    >>> import triage
    >>> table = pd.DataFrame({"text": ["pay tax", "sell beer", "late tax", "beer shop"], "topic": ["t", "b"] * 2})
    >>> desk = triage.train(table, targets=["topic"], random_state=0)
    >>> compare(desk, desk, table).worse()
    []
    """
    checks.must_be_frame(frame)
    frame = frame.reset_index(drop=True)
    shared = _shared(old, new, targets)
    columns = {target: REGISTER_TARGETS.get(target, target) for target in shared}
    present = {target: column for target, column in columns.items() if column in frame}
    classes = {target: [_labels(desk, target) for desk in (old, new)] for target in shared}
    names = f"{list(columns.values())}; the columns are {checks.column_names(frame.columns)}"
    labelled = read_labelled(
        frame,
        text,
        present,
        {target: {*labels[0], *labels[1]} for target, labels in classes.items()},
        dated=as_of is None and "date" in frame and any(desk.register is not None for desk in (old, new)),
        absent=None if present else f"must have a column for a target of both desks, {names}",
    )
    wanted, known, outside, inside = labelled.labels, labelled.known, labelled.outside, labelled.inside
    if not inside.any():
        problem = f"must have a label in one of {list(present.values())}"
        raise DatasetError(source="DataFrame", faults=[Fault(None, None, problem)])

    texts, days = labelled.texts, labelled.days if labelled.days is not None else as_of
    found = [desk.predict_frame(texts, as_of=days) for desk in (old, new)]
    right = [predicted[list(present)].astype(str) == wanted for predicted in found]
    decided = [inside & (predicted["route"] != "review") for predicted in found]
    wrong = [(~one & known).any(axis=1) for one in right]
    numbers = _numbers(frame, text)

    measured = [target for target in present if known[target].any()]
    rows, by_class, moves, changed = [], [], [], []
    for target in measured:
        sides = [_side(*pair, target)[known[target]] for pair in zip(found, right, strict=True)]
        labels = wanted[target][known[target]]
        unseen = [int((~labels.isin(names)).sum()) for names in classes[target]]
        rows.append({"target": target, **_target(sides, unseen)})
        by_class += [{"target": target, **row} for row in _by_class(sides, labels)]
        moves.append(_crossed(sides[0]["outcome"], sides[1]["outcome"]).assign(target=target))
        changed.append(_changed(sides, numbers, labels, target))
    routed = inside if {*BODY}.issubset(measured) else None
    bodies = [one.filter(list(BODY)).all(axis=1) for one in right]
    return Comparison(
        n_questions=int(inside.sum()),
        n_unlabelled=int((~inside & ~outside).sum()),
        targets=pd.DataFrame(rows),
        classes=pd.DataFrame(by_class, columns=["target", "label", *_PAIR, "small"]),
        moves=pd.concat(moves, ignore_index=True)[["target", *_DESKS, "n"]],
        routes=_crossed(*(predicted["route"][inside] for predicted in found)),
        decided={
            **{f"n_{name}": int(one.sum()) for name, one in zip(_DESKS, decided, strict=True)},
            **{f"n_wrong_{name}": int((decided[i] & wrong[i]).sum()) for i, name in enumerate(_DESKS)},
        },
        body=None if routed is None else _pair(*(one[routed] for one in bodies)),
        out_of_scope=_pair(*((one["route"] == "review")[outside] for one in found)) if outside.any() else None,
        absent=tuple(target for target in shared if target not in measured),
        unshared=_unshared(old, new, shared),
        changed=pd.concat(changed, ignore_index=True),
    )


# The table


def _shared(old: Triager, new: Triager, targets: Sequence[str] | None) -> list[str]:
    # The targets to compare, in the old desk's order.
    shared = [target for target in old.targets if target in new.targets]
    if not shared:
        raise TriageError(
            f"the desks must have a target in common, got {list(old.targets)} (old) and {list(new.targets)} (new)"
        )
    unknown = [target for target in targets or () if target not in shared]
    if unknown:
        raise TriageError(f"targets must be among those of both desks, {shared}; got {unknown}")
    return [target for target in shared if target in targets] if targets else shared


def _labels(desk: Triager, target: str) -> list[str]:
    return [str(label) for label in desk.classes_[target].tolist()]


def _numbers(frame: pd.DataFrame, text: str) -> pd.Series[Any]:
    # What names a question to people: its id, or the number of its row.
    for name in ("id", "row"):
        if name in frame and name != text:
            return frame[name]
    return pd.Series(range(1, len(frame) + 1), frame.index, name="row")


# The two sides


def _side(predicted: pd.DataFrame, right: pd.DataFrame, target: str) -> pd.DataFrame:
    # What one desk said of each question in one target.
    side = pd.DataFrame({"label": predicted[target].astype(str), "right": right[target]})
    side["probability"] = predicted[f"{target}_probability"].clip(0, 1)
    side["status"] = predicted[f"{target}_status"]
    assigned = np.where(side["right"], "assigned right", "assigned wrong")
    return side.assign(outcome=np.where(side["status"] == "assigned", assigned, "review"))


def _pair(old: npt.ArrayLike, new: npt.ArrayLike) -> dict[str, Any]:
    # Counts of questions that each desk got right, with test and interval; in the order of _PAIR.
    before, after = np.asarray(old, bool), np.asarray(new, bool)
    both, gained, lost = (int(one.sum()) for one in (before & after, after & ~before, before & ~after))
    n = len(before)
    low, high = paired_difference_interval(both, gained, lost, n - both - gained - lost)
    difference = (gained - lost) / n if n else 0.0
    values = (n, both + lost, both + gained, gained, lost, mcnemar_p(gained, lost), difference, low, high)
    return dict(zip(_PAIR, values, strict=True))


def _target(sides: Sequence[pd.DataFrame], unseen: Sequence[int]) -> dict[str, Any]:
    # The row of one target.
    wrong = [side["outcome"] == "assigned wrong" for side in sides]
    costly = _pair(*wrong)
    assigned = [int((side["status"] == "assigned").sum()) for side in sides]
    return {
        **_pair(*(side["right"] for side in sides)),
        **{f"n_unseen_{name}": n for name, n in zip(_DESKS, unseen, strict=True)},
        **{f"n_assigned_{name}": n for name, n in zip(_DESKS, assigned, strict=True)},
        **{f"n_assigned_wrong_{name}": costly[f"n_right_{name}"] for name in _DESKS},
        "p_assigned_wrong": costly["p"],
    }


def _by_class(sides: Sequence[pd.DataFrame], wanted: pd.Series[str]) -> Iterator[dict[str, Any]]:
    # A row for each wanted label with a question that one desk alone got right.
    old, new = (side["right"] for side in sides)
    for label in sorted(set(wanted[old != new])):
        pair = _pair(old[wanted == label], new[wanted == label])
        yield {"label": label, **pair, "small": pair["gained"] + pair["lost"] < MIN_DISCORDANT}


def _crossed(old: pd.Series[str], new: pd.Series[str]) -> pd.DataFrame:
    # How many went from where to where.
    return pd.DataFrame({"old": old, "new": new}).groupby(["old", "new"]).size().reset_index(name="n")


def _changed(
    sides: Sequence[pd.DataFrame], numbers: pd.Series[Any], wanted: pd.Series[str], target: str
) -> pd.DataFrame:
    # The questions of one target with another label or status.
    old, new = sides
    table = pd.DataFrame({str(numbers.name): numbers[wanted.index], "target": target, "wanted": wanted})
    for name, side in zip(_DESKS, sides, strict=True):
        table = table.join(side[["label", "probability", "status"]].add_prefix(f"{name}_"))
    table["verdict"] = np.select(
        [new["right"] & ~old["right"], old["right"] & ~new["right"]], ["better", "worse"], "other"
    )
    return table[(old["label"] != new["label"]) | (old["status"] != new["status"])]


def _unshared(old: Triager, new: Triager, shared: Sequence[str]) -> pd.DataFrame:
    # Targets, and labels of the compared ones, that only one desk has.
    rows: list[dict[str, Any]] = []
    for name, desk, other in (("old", old, new), ("new", new, old)):
        rows += [
            {"target": target, "label": None, "desk": name} for target in desk.targets if target not in other.targets
        ]
        for target in shared:
            known = {*_labels(other, target)}
            own = (label for label in _labels(desk, target) if label not in known)
            rows += [{"target": target, "label": label, "desk": name} for label in own]
    return pd.DataFrame(rows, columns=["target", "label", "desk"])


# For people


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    # Rows of a table; None for what is no number.
    names = list(map(str, frame.columns))
    return [dict(zip(names, row, strict=True)) for row in frame.astype(object).where(frame.notna(), None).to_numpy()]


def _verdict(pair: dict[str, Any], alpha: float) -> str:
    if pair["p"] > alpha or pair["gained"] == pair["lost"]:
        return "no significant difference"
    return "better" if pair["gained"] > pair["lost"] else "worse"


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _pair_text(pair: dict[str, Any], alpha: float) -> str:
    points = "{difference:+.1f} [{difference_low:+.1f}, {difference_high:+.1f}] points".format(
        **{name: 100 * value for name, value in pair.items() if name.startswith("difference")}
    )
    counts = "right {n_right_old} -> {n_right_new} of {n}, {gained} gained, {lost} lost".format(**pair)
    return f"{counts}, {points}, {_p_text(pair['p'])}: {_verdict(pair, alpha)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _summary_lines(result: Comparison, alpha: float) -> Iterator[str]:
    # Plain words: the verdict first, then target by target, then routes and what could not be compared.
    worse = result.worse(alpha)
    where = f"significantly worse in {', '.join(worse)}" if worse else "not significantly worse in any target"
    yield f"the new desk is {where} (exact McNemar test, each target by itself, p at most {alpha:g})"
    yield f"{result.n_questions} questions, old desk -> new desk; {result.n_unlabelled} without a label"
    for row in _records(result.targets):
        yield f"\n{row['target']}: {_pair_text(row, alpha)}"
        yield from _target_lines(result, row)
    yield ""
    if result.body:
        yield f"{', '.join(BODY)} together: {_pair_text(result.body, alpha)}"
    yield "decided without a person: {n_old} -> {n_new}; of these wrong: {n_wrong_old} -> {n_wrong_new}".format(
        **result.decided
    )
    routes = result.routes[result.routes["old"] != result.routes["new"]].sort_values(
        "n", ascending=False, kind="stable"
    )
    if len(routes):
        yield f"other route: {_listed(['{old} -> {new} {n}'.format(**row) for row in _records(routes)])}"
    if result.out_of_scope:
        pair = result.out_of_scope
        yield (
            f"{pair['n']} messages out of scope, left to a person: {pair['n_right_old']} -> {pair['n_right_new']} "
            f"({_p_text(pair['p'])})"
        )
    yield from _unshared_lines(result)
    yield "points are of the share right, with 95 % intervals"


def _target_lines(result: Comparison, row: dict[str, Any]) -> Iterator[str]:
    # Status, classes and unknown labels of one target.
    target, n = row["target"], row["n"]
    coverage = " -> ".join(f"{100 * row[f'n_assigned_{name}'] / n:.1f} %" for name in _DESKS)
    yield (
        f"  assigned {coverage}; wrongly assigned, which costs more than a review: {row['n_assigned_wrong_old']} -> "
        f"{row['n_assigned_wrong_new']} ({_p_text(row['p_assigned_wrong'])})"
    )
    moves = result.moves[(result.moves["target"] == target) & (result.moves["old"] != result.moves["new"])]
    moved = _records(moves.sort_values("n", ascending=False, kind="stable"))
    if moved:
        yield f"  moved: {', '.join('{old} -> {new} {n}'.format(**one) for one in moved)}"
    classes = result.classes[result.classes["target"] == target]
    order = (classes["lost"] - classes["gained"]).sort_values(ascending=False, kind="stable").index
    told = [
        f"{one['label'] or '(none)'} {one['gained']} gained, {one['lost']} lost of {one['n']} "
        f"({'too few to tell' if one['small'] else _p_text(one['p'])})"
        for one in _records(classes.loc[order])
    ]
    if told:
        yield f"  by class, worst first: {'; '.join(told[:_SHOWN])}" + (
            f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        )
    for name in _DESKS:
        n_unseen = row[f"n_unseen_{name}"]
        if n_unseen:
            yield f"  {n_unseen} questions with a label that the {name} desk does not know, counted as wrong"


def _unshared_lines(result: Comparison) -> Iterator[str]:
    # What could not be compared, or not fairly.
    if result.absent:
        yield f"not compared, for the table has no label of it: {', '.join(result.absent)}"
    for name in _DESKS:
        rows = result.unshared[result.unshared["desk"] == name]
        whole = rows["label"].isna()
        if whole.any():
            yield f"only the {name} desk has the target {_listed(rows['target'][whole].tolist())}"
        for target, labels in rows[~whole].groupby("target", sort=False)["label"]:
            yield f"{target}: only the {name} desk has the class {_listed([label or '(none)' for label in labels])}"
