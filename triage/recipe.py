"""A desk's recipe: what ``recipe.toml`` says, and the desk trained as it says."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from triage.dataset import (
    OUT_OF_SCOPE_COLUMN,
    REGISTER_TARGETS,
    SPLITS,
    read_abbreviations,
    read_questions,
    read_table,
)
from triage.encoder import CachedEncoder, Encoder, open_encoder
from triage.errors import RecipeError, TriageError
from triage.text.languages import known_languages
from triage.training import TrainingOptions, out_of_scope_texts, train
from triage.training.options import option_problems
from triage.triager import Triager

#: Parts of the questions that a learning curve is made of.
FRACTIONS = (0.125, 0.25, 0.5, 1.0)

_CURVE = ["target", "n", "n_right", "accuracy", "accuracy_low", "accuracy_high", "coverage", "precision"]
_FILES = (
    "questions",
    "register",
    "archive",
    "reasks",
    "documents",
    "examples",
    "neighbours",
    "oos",
    "taxonomy",
    "abbreviations",
)
_SEVERAL = ("examples", "neighbours")  # may be a list of files
_OPTIONS = {option.name for option in fields(TrainingOptions)} | {"random_state"}
_TABLES: dict[str, set[str] | None] = {
    "desk": {"name", "language", "licence", "intended_use", "data", "limits"},
    "data": {*_FILES, "text", "targets", "split", "train_on", "measure_on", "groups"},
    "training": _OPTIONS,
    "encoder": {"source", "cache"},
    "reuse": {"oldest_days"},
    "promise": None,
}
_TEXT, _TEXTS, _LABELS = "text", "a list of texts", "a list of one text or more"
_PROSE = "text or a list of texts"
_WANTED: dict[str, dict[str, str]] = {
    "desk": {
        **dict.fromkeys(("name", "licence"), _TEXT),
        **dict.fromkeys(("intended_use", "data", "limits"), _PROSE),
    },
    "data": {
        **dict.fromkeys(("text", "split", "groups"), _TEXT),
        **dict.fromkeys(("targets", "train_on"), _LABELS),
        "measure_on": _TEXTS,
    },
    "encoder": {"source": _TEXT, "cache": _TEXT},
}
_TARGETS = ["topic", "jurisdiction"]  # where a recipe names none


@dataclass(frozen=True)
class Recipe:
    """What ``recipe.toml`` says: facts of the desk, its files, options and promises.

    Attributes
    ----------
    path : Path
        The recipe; paths in it are relative to its folder.
    desk, data, training, encoder, reuse, promise : dict
        Its tables.
    """

    path: Path
    desk: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    encoder: dict[str, Any]
    reuse: dict[str, Any]
    promise: dict[str, float]

    def file(self, name: str) -> Path | None:
        """Return the path of the only data file of a kind, None where the recipe names none."""
        paths = self.files(name)
        if len(paths) > 1:
            raise ValueError(f"{name} must be one file, got {len(paths)}; take files or table")
        return paths[0] if paths else None

    def files(self, name: str) -> list[Path]:
        """Return the paths of the data files of one kind."""
        return [self.path.parent / one for one in _as_list(self.data.get(name, []))]

    def to_train_on(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the splits to train on, all rows where a table has no split."""
        column = self.data.get("split")
        if column in frame.columns:
            frame = frame[frame[column].isin(self.data.get("train_on", ["train"]))]
        return frame.reset_index(drop=True)

    def table(self, name: str) -> pd.DataFrame | None:
        """Return the rows to train on of the data files of one kind, None where the recipe names none.

        Parameters
        ----------
        name : str

        Returns
        -------
        DataFrame or None

        Raises
        ------
        RecipeError
            If one of several files lacks a label that another has: nobody would know what it is there.
        """
        paths = self.files(name)
        parts = [read_table(path) for path in paths]
        labels = [self.data.get("groups"), *self.data.get("targets", _TARGETS), *REGISTER_TARGETS.values()]
        problems = [
            f"[data] {name} must have the same labels in each file, and {path} lacks {label!r}"
            for path, part in zip(paths, parts, strict=True)
            for label in labels
            if label not in part.columns and any(label in other.columns for other in parts)
        ]
        if problems:
            raise RecipeError(path=self.path, problems=problems)
        return pd.concat(map(self.to_train_on, parts), ignore_index=True) if parts else None


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    path : str or Path
        A TOML file with tables ``desk``, ``data``, ``training``, ``encoder``, ``reuse`` and
        ``promise``.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        If it is no TOML, names unknown tables or keys or files that are not there, or a value is of another type or
        out of range; all problems are named.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(path=path, problems=[f"must be TOML in UTF-8: {error}"]) from error
    tables = {name: tree[name] if isinstance(tree.get(name), dict) else {} for name in _TABLES}
    problems = [*_unknown(tree), *_misfits(tables, path.parent), *_contradictions(tables)]
    if problems:
        raise RecipeError(path=path, problems=problems)
    return Recipe(path, **tables)


def _unknown(tree: dict[str, Any]) -> Iterator[str]:
    """Say which tables and keys of a recipe are none."""
    for name, table in tree.items():
        if name not in _TABLES:
            yield f"unknown table [{name}]; known are {sorted(_TABLES)}"
        elif not isinstance(table, dict):
            yield f"{name} must be a table [{name}], got {table!r}"
        else:
            known = _TABLES[name] or table
            yield from (
                f"[{name}] has an unknown key {key!r}; known are {sorted(known)}" for key in table if key not in known
            )


def _misfits(tables: dict[str, dict[str, Any]], folder: Path) -> Iterator[str]:
    """Say which values are of another type, out of range, or files that are not there."""
    for name, wanted in _WANTED.items():
        for key, kind in wanted.items():
            if key in tables[name] and not _is(tables[name][key], kind):
                yield f"[{name}] {key} must be {kind}, got {tables[name][key]!r}"
    language = tables["desk"].get("language")
    if language is not None and language not in known_languages():
        yield f"[desk] language must be one of {', '.join(known_languages())}, got {language!r}"
    yield from _absent(tables["data"], folder)
    training = {key: value for key, value in tables["training"].items() if key in _OPTIONS}
    yield from (f"[training] {problem}" for problem in option_problems(training))
    oldest = tables["reuse"].get("oldest_days", 0)
    if not isinstance(oldest, int) or isinstance(oldest, bool) or oldest < 0:
        yield f"[reuse] oldest_days must be a whole number, at least 0, got {oldest!r}"
    for target, share in tables["promise"].items():
        if not isinstance(share, int | float) or not 0 < share < 1:  # true and false are 1 and 0
            yield f"[promise] {target} must be a number above 0 and below 1, got {share!r}"


def _absent(data: dict[str, Any], folder: Path) -> Iterator[str]:
    """Say which files are not there."""
    if "questions" not in data:
        yield "[data] must name the file of questions"
    for name in _FILES:
        if name not in data:
            continue
        for one in _as_list(data[name]) if name in _SEVERAL else [data[name]]:
            if not (isinstance(one, str) and (folder / one).is_file()):
                yield f"[data] {name} must be a file beside the recipe, got {one!r}, which is not there"


def _contradictions(tables: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Say what a recipe's tables lack or have beyond each other."""
    data, promise = tables["data"], tables["promise"]
    if tables["encoder"] and "source" not in tables["encoder"]:
        yield "[encoder] must name its source"
    if "archive" not in data:
        if "reuse" in promise:
            yield "[promise] reuse needs an archive of answers; name it in [data]"
        if "reasks" in data:
            yield "[data] reasks needs the archive of answers that are asked again; name it too"
    for key in ("train_on", "measure_on"):
        unknown = {*data[key]} - {*SPLITS} if "split" in data and _is(data.get(key), _TEXTS) else ()
        if unknown:
            yield f"[data] {key} must name splits, of {', '.join(SPLITS)}, got {sorted(unknown)}"
    targets = data.get("targets", _TARGETS)
    if _is(targets, _LABELS):
        known = [*targets, *(REGISTER_TARGETS if "register" in data else ()), "reuse"]
        yield from (f"[promise] must be for {known}, got {target!r}" for target in promise if target not in known)


def _as_list(value: Any) -> list[Any]:
    """Return a list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def _is(value: Any, kind: str) -> bool:
    """Return whether a value is of a kind."""
    if isinstance(value, list):
        return kind != _TEXT and all(isinstance(one, str) for one in value) and (bool(value) or kind != _LABELS)
    return isinstance(value, str) and kind in (_TEXT, _PROSE)


def train_recipe(path: str | Path, *, progress: Callable[[str], None] | None = None) -> Triager:
    """Train a desk as its recipe says.

    Parameters
    ----------
    path : str or Path
        ``recipe.toml``. With ``split``, ``train_on`` and ``measure_on`` it trains on some splits of the questions
        and leaves others for `train_and_measure`.
    progress : callable, optional
        Called with a line a step.

    Returns
    -------
    Triager

    Raises
    ------
    RecipeError
        If the recipe is not usable.
    DatasetError
        If a table has faults.
    """
    recipe = read_recipe(path)
    return _trained(recipe, recipe.to_train_on(_questions(recipe)), progress)


def _questions(recipe: Recipe) -> pd.DataFrame:
    """Return the questions of all splits."""
    data = recipe.data
    return read_questions(
        recipe.path.parent / data["questions"],
        text=data.get("text", "text"),
        targets=data.get("targets", _TARGETS),
        split=data.get("split"),
    )


def _trained(recipe: Recipe, chosen: pd.DataFrame, progress: Callable[[str], None] | None) -> Triager:
    """Train a desk on some questions, and on all else that its recipe names."""
    data, text = recipe.data, recipe.data.get("text", "text")
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in recipe.training.items()
    }
    random_state: int = options.pop("random_state", 0)
    abbreviations = recipe.file("abbreviations")
    try:
        return train(
            chosen,
            text=text,
            targets=data.get("targets", _TARGETS),
            register=recipe.file("register"),
            archive=recipe.file("archive"),
            oos=_chosen_messages(recipe, text),
            promise=recipe.promise,
            random_state=random_state,
            groups=data.get("groups"),
            reasks=recipe.table("reasks"),
            documents=recipe.file("documents"),
            oldest_days=recipe.reuse.get("oldest_days"),
            examples=recipe.table("examples"),
            neighbours=recipe.table("neighbours"),
            taxonomy=recipe.file("taxonomy"),
            language=recipe.desk.get("language"),
            abbreviations=None if abbreviations is None else read_abbreviations(abbreviations),
            options=TrainingOptions(**options),
            encoder=_encoder(recipe),
            description={**recipe.desk, "recipe": recipe.path.name},
            progress=progress,
        )
    except TriageError:
        raise
    except ValueError as error:  # what only the tables show, such as a target with one class
        raise RecipeError(path=recipe.path, problems=[str(error)]) from error


def _encoder(recipe: Recipe) -> Encoder | None:
    """Open the encoder that the recipe names, with its vectors kept on disk where it says so."""
    if "source" not in recipe.encoder:
        return None
    folder = recipe.path.parent
    encoder = open_encoder(recipe.encoder["source"], folder)
    return CachedEncoder(encoder, folder / recipe.encoder["cache"]) if "cache" in recipe.encoder else encoder


def train_and_measure(path: str | Path, *, progress: Callable[[str], None] | None = None) -> Triager:
    """Train a desk as its recipe says, and measure it on the splits that the recipe names in ``measure_on``.

    Parameters
    ----------
    path : str or Path
        ``recipe.toml``.
    progress : callable, optional
        Called with a line a step.

    Returns
    -------
    Triager
        Its ``metrics`` hold `Evaluation.to_metrics` of these splits, with their messages out of scope, by their names.

    Raises
    ------
    RecipeError
        If the recipe is not usable, or measures on what it trains on.
    DatasetError
        If a table has faults.
    """
    recipe = read_recipe(path)
    splits, column = recipe.data.get("measure_on"), recipe.data.get("split")
    if splits and (column is None or {*splits} & {*recipe.data.get("train_on", ["train"])}):
        raise RecipeError(path=path, problems=["[data] measure_on needs split, and other splits than train_on"])
    questions = _questions(recipe)
    if splits and not questions[column].isin(splits).any():
        raise RecipeError(path=path, problems=[f"[data] measure_on must name a split with questions, got {splits}"])
    triager = _trained(recipe, recipe.to_train_on(questions), progress)
    if not splits:
        return triager
    text = recipe.data.get("text", "text")
    parts = [questions[questions[column].isin(splits)]]
    messages = recipe.file("oos")
    if messages is not None:
        rows = read_table(messages)
        rows = rows[rows[column].isin(splits)] if column in rows else rows.iloc[:0]  # all others were trained on
        parts.append(rows[[text]].assign(**{OUT_OF_SCOPE_COLUMN: True}))
    result = triager.evaluate(pd.concat(parts, ignore_index=True), text=text)
    return replace(triager, metrics={**triager.metrics, "+".join(splits): result.to_metrics()})


def learning_curve(
    path: str | Path,
    frame: pd.DataFrame,
    *,
    text: str = "text",
    fractions: Sequence[float] = FRACTIONS,
    random_state: int = 0,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train a desk on growing parts of its questions and measure each, to see whether more data would help.

    Parameters
    ----------
    path : str or Path
        ``recipe.toml``. All else that it names (archive, re-asks, messages) is used in full each time.
    frame : DataFrame
        Labelled questions that the recipe does not train on, as for `triage.evaluation.evaluate`.
    text : str, default="text"
        Column of the questions of `frame`.
    fractions : sequence of float
        Parts of the questions, in (0, 1]; each holds the smaller ones.
    random_state : int, default=0
        Which questions come first.
    progress : callable, optional
        Called with a line a step.

    Returns
    -------
    DataFrame
        One row a fraction and target: ``fraction``, ``n_train``, ``target``, then ``n``, ``n_right``, ``accuracy``
        with ``accuracy_low`` and ``accuracy_high``, ``coverage``, ``precision``.

    Raises
    ------
    ValueError
        If a fraction is not in (0, 1].
    RecipeError
        If the recipe is not usable.
    DatasetError
        If a table has faults, or a part is too small to train on.
    """
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions must be in (0, 1], got {list(fractions)}")
    recipe = read_recipe(path)
    questions = recipe.to_train_on(_questions(recipe))
    order = np.random.default_rng(random_state).permutation(len(questions))
    parts = []
    for fraction in sorted(fractions):
        n_train = max(1, round(fraction * len(questions)))
        if progress is not None:
            progress(f"learning curve: {n_train:,} of {len(questions):,} questions")
        part = questions.iloc[np.sort(order[:n_train])].reset_index(drop=True)
        targets = _trained(recipe, part, None).evaluate(frame, text=text).targets
        parts.append(targets[_CURVE].assign(fraction=fraction, n_train=n_train))
    curve = pd.concat(parts, ignore_index=True)
    return curve[["fraction", "n_train", *_CURVE]]


def _chosen_messages(recipe: Recipe, text: str) -> list[str] | None:
    path = recipe.file("oos")
    return None if path is None else out_of_scope_texts(recipe.to_train_on(read_table(path)), text)
