"""The model card of a desk: what it is for, what it was trained on, how good it is, where it ends.

Sections as Mitchell et al. (2019), "Model Cards for Model Reporting", FAT*, 220-229.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from triage.decision import Threshold
from triage.evaluation.shares import FEWEST
from triage.evaluation.unknown import unknowns
from triage.metrics import share_text
from triage.triager import Triager

INTENDED_USE = (
    "To sort incoming questions for the staff of a desk: a label for each target with its probability, and whether a "
    "person must look. It answers no question, gives no legal advice, and decides nothing about a person's rights."
)
_BY_CHANCE = "In brackets: the ECE that true probabilities would show on as many questions, by chance alone."
LIMITS = (
    "Probabilities and promises hold for questions like those measured here. Measure again on your own questions "
    "before relying on the numbers.",
    "What is in review must be looked at by a person; what is assigned should be sampled.",
)


def model_card(triager: Triager) -> str:
    """Describe a desk in Markdown.

    Parameters
    ----------
    triager : Triager
        Its ``description`` may give ``name``, ``language``, ``licence``, ``intended_use``, ``data``, ``limits``
        (texts or lists of texts) and ``recipe``; its ``metrics`` give the numbers: ``held_out``, and evaluations by
        the name of their split.

    Returns
    -------
    str
        Ends with a newline. The same desk gives the same text.
    """
    about, metrics = triager.description, triager.metrics
    targets = ", ".join(f"{target} ({len(triager.classes_[target])})" for target in triager.targets)
    evaluations = {
        name: values for name, values in sorted(metrics.items()) if isinstance(values, Mapping) and "targets" in values
    }
    facts = {
        "language": about.get("language"),
        "licence": about.get("licence"),
        "targets (and number of classes)": targets,
        "earlier questions to suggest": len(triager.records),
        "competence register": _register(triager),
    }
    data = {
        "questions trained on": metrics.get("n_questions"),
        "further questions trained on, and measured nowhere": metrics.get("n_examples"),
        "SHA-256 of the training table": f"`{triager.fingerprint}`",
    }
    sections = {
        "Intended use": _texts(about.get("intended_use", INTENDED_USE)),
        "Data": [*_texts(about.get("data", ())), _facts(data)],
        "Measured": [*_held_out(triager), *(part for item in evaluations.items() for part in _evaluation(*item))]
        or ["Nothing was measured."],
        "Promises": [_facts({target: str(triager.thresholds[target]) for target in triager.targets})],
        "Reuse of answers": _reuse(triager),
        "Out of scope": [_scope(triager), *(_scope_measured(*item) for item in evaluations.items())],
        "What is not known": [_unknown(*item) for item in evaluations.items()] or ["Nothing was measured."],
        "Limits": ["\n".join(f"- {text}" for text in (*_texts(about.get("limits", ())), *LIMITS))],
        "How to reproduce": [
            f"`triage train {about.get('recipe', 'recipe.toml')}` gives the same bundle, byte for byte."
        ],
    }
    parts = [f"# {about.get('name', 'Desk')}", _facts(facts)]
    for title, texts in sections.items():
        said = list(filter(None, texts))
        parts += [f"## {title}", *said] if said else []
    return "\n\n".join(parts) + "\n"


def _register(triager: Triager) -> str | None:
    # How many matters the register has, and how they are known.
    register = triager.register
    if register is None:
        return None
    facts = f"{len(register.matters)} matters, {len(register) - len(register.matters)} further periods of them"
    if "confidence" not in register.rows:
        return facts
    sourced = int((register.rows["confidence"] == "sourced").sum())
    return f"{facts}; {sourced} of {len(register)} rows sourced, the others from general knowledge"


def _reuse(triager: Triager) -> list[str]:
    # How sure it is that an answer fits, as far as re-asks taught it.
    measured, threshold, documents = triager.metrics.get("reuse"), triager.reuse.threshold, triager.reuse.documents
    if measured is None:
        return [] if threshold is None else [_facts({"offered for reuse": _offered(threshold)})]
    could = ", ".join(f"{share} ({100 * covered:.0f} %)" for share, covered in measured["could_promise"].items())
    facts = {
        "later questions of which it is known": measured["n"],
        "the first answer fits, per cent": share_text(measured["n_right"], measured["n"]),
        "questions that no answer is about": measured["n_unanswered"],
        "ECE of its probability": None if measured["ece"] is None else f"{measured['ece']:.3f}",
        "AUROC of its probability": None if measured["auroc"] is None else f"{measured['auroc']:.3f}",
        "offered for reuse": "none, as nothing was promised" if threshold is None else _offered(threshold),
        "promises that could be kept (and share offered)": could or "none",
        "legal documents known to end": None if documents is None else len(documents.rows),
        "an answer is too old after, days": triager.reuse.oldest_days,
    }
    return [
        "An earlier answer is suggested with the probability that it fits, and offered for reuse from the promised "
        "threshold on while it holds. Measured on later questions by a model that had seen neither the question nor "
        "others about the same answer; a near miss counts where it would be offered. Probability and promise are "
        "measured on questions that no answer is about as well, as many as there are among the training questions.",
        _facts(facts),
    ]


def _offered(threshold: Threshold) -> str:
    return str(threshold).replace("everything goes to review", "no answer is offered for reuse")


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(text) for text in value]


def _facts(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items() if value is not None)


def _table(heads: list[str], rows: Iterable[list[Any]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _held_out(triager: Triager) -> list[str]:
    # What training measured by itself.
    metrics = triager.metrics
    if "held_out" not in metrics:
        return []
    grouped = metrics.get("grouped_by")
    apart = f", nor anything else of the same {grouped}" if grouped else ""
    measured = {target: metrics["held_out"][target] for target in triager.targets}
    rows = [
        [target, values["n"], share_text(round(values["accuracy"] * values["n"]), values["n"]), f"{values['ece']:.3f}"]
        for target, values in measured.items()
    ]
    return [
        f"Training questions, each answered by a model that had not seen it{apart}. Shares in per cent with 95 % "
        "Wilson intervals; ECE is the expected calibration error over 15 bins.",
        _table(["target", "questions", "accuracy", "ECE"], rows),
    ]


def _evaluation(split: str, values: Mapping[str, Any]) -> list[str]:
    # What an evaluation found on a split.
    n, n_decided = values["n_questions"], values["n_decided"]
    rows = [
        [
            row["target"],
            row["n"],
            share_text(row["n_right"], row["n"]),
            f"{row['ece']:.3f}" + (f" ({row['ece_by_chance']:.3f})" if "ece_by_chance" in row else ""),
            f"{row['brier']:.3f}",
            f"{100 * row['coverage']:.1f}",
            share_text(row["n_assigned_right"], row["n_assigned"]),
            f"{row['promise']:g}: {row['promise_status']}" if row["promise_status"] else "",
        ]
        for row in values["targets"]
    ]
    return [
        f"### Split `{split}`, not trained on",
        f"{n} questions: {n_decided} decided, {share_text(values['n_decided_right'], n_decided)} % of them right in "
        f"all targets; {n - n_decided} left to a person.",
        *([_BY_CHANCE] if any("ece_by_chance" in row for row in values["targets"]) else []),
        _table(["target", "questions", "accuracy", "ECE", "Brier", "assigned", "assigned right", "promise"], rows),
        *_slices(values),
        *_promises(values),
    ]


def _slices(values: Mapping[str, Any]) -> list[str]:
    # Accuracy of each target in each group of questions.
    targets = [row["target"] for row in values["targets"]]
    groups: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in values["slices"]:
        groups.setdefault((row["column"], str(row["value"])), {})[row["target"]] = row
    rows = []
    for (column, value), of_target in groups.items():
        n = max(row["n"] for row in of_target.values())
        shares = [
            share_text(of_target[one]["n_right"], of_target[one]["n"]) if one in of_target else "" for one in targets
        ]
        rows.append([f"{column}: {value}", f"{n}{' (too few)' if n < FEWEST else ''}", *shares])
    if not rows:
        return []
    said = f"Accuracy by group; groups of fewer than {FEWEST} questions are too small to judge."
    return [said, _table(["group", "questions", *targets], rows)]


def _promises(values: Mapping[str, Any]) -> list[str]:
    # What became of a promise in each jurisdiction; bundles of older versions do not say.
    rows = [
        [
            row["target"],
            row["group"],
            row["n_assigned"],
            share_text(row["n_assigned_right"], row["n_assigned"]),
            f"{row['promise']:g}: {'too few' if row['too_few'] else row['status']}",
        ]
        for row in values.get("promises", ())
        if row["promise"] is not None and row["group"]
    ]
    if not rows:
        return []
    said = "A promise is made over all questions together. By the jurisdiction that the desk gave:"
    return [said, _table(["target", "jurisdiction", "assigned", "assigned right", "promise"], rows)]


def _unknown(split: str, values: Mapping[str, Any]) -> str:
    said = [*unknowns(values), "How it does on questions of other writers, of other days, or under other rules."]
    return "\n".join([f"On split `{split}`:", "", *(f"- {one}" for one in said)])


def _scope(triager: Triager) -> str:
    learned = "by what examples taught" if triager.scope.learned else "by their scores alone, without examples"
    return f"Messages that belong to no class are told {learned}, and go to review."


def _scope_measured(split: str, values: Mapping[str, Any]) -> str:
    counts = values["out_of_scope"]
    if not counts:
        return ""
    return (
        f"Split `{split}`: of {counts['n']} such messages, {counts['n_recognized']} are recognised and "
        f"{counts['n_review']} left to a person; {counts['n_false']} of {values['n_questions']} questions count "
        "as one."
    )
