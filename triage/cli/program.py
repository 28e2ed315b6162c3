"""The program ``triage``.

Its commands are train, predict, evaluate, compare, next, similar, archive, register, retrain-check, drift, feedback,
and check-data.

Heavy imports stay inside the commands, so that help and usage errors come at once. Answers go to standard output,
everything else to standard error; an error is one line and never a question's words.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triage.cli import archive, drift, feedback, quality, register, selection
from triage.cli.desk import ArchiveOption, EncoderOption, ModelArgument, encoder_option, load_desk
from triage.cli.questions import Chunk, read, rows_of_split, told_by_file, watch
from triage.cli.tables import namer, result_table, suggestion_table
from triage.cli.terminal import (
    AsOfOption,
    FormatOption,
    KOption,
    LanguageOption,
    Lines,
    TextOption,
    day_option,
    emit,
    guard,
    names_option,
    note,
    safe,
    show,
    write,
)
from triage.errors import TriageError
from triage.records import TriageResult

if TYPE_CHECKING:
    import pandas as pd

    from triage.triager import Triager

_MATTER = ("matter_id", "names", "probability", "agrees", "legal_basis", "confidence", "valid_from", "valid_to")
RANKED = 3  # labels of a ranking that are written without --full

_PRINTED = {"full": "--full", "format": "--format", "k": "-k", "language": "--language"}  # options of printed answers

WORSE = 3  # exit code of a comparison that the new desk loses

app = typer.Typer(
    name="triage",
    help="Triage of questions: topic, jurisdiction, and answered questions to reuse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Report(StrEnum):
    """Format of an evaluation."""

    TABLE = "table"
    JSON = "json"


LabelledArgument = Annotated[Path, typer.Argument(help="Table of questions with their labels.", show_default=False)]
SplitOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Take only the rows whose column 'split' has this value.")
]

app.add_typer(archive.app, name="archive")
app.add_typer(feedback.app, name="feedback")
app.add_typer(register.app, name="register")
app.command("drift", epilog=drift.EPILOG)(drift.drift)
app.command("next")(selection.next_)
app.command("retrain-check")(register.retrain_check)
app.command("check-data")(quality.check_data)


def main() -> None:
    """Run the program.

    The exit code is 0 done, 1 an error, 2 wrong usage, 3 a worse desk (compare), one to train again (drift) or a
    finding that must not be (check-data --fail-on), 130 interrupted, 141 reader gone.
    """
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


def _show_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        print(f"triage {importlib.metadata.version('triage')}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml, or the folder it is in.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the bundle; by default 'bundle' beside the recipe.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
) -> None:
    """Train the desk of a RECIPE, and write its bundle and model card."""
    with guard():
        path = recipe / "recipe.toml" if recipe.is_dir() else recipe
        folder = output or path.parent / "bundle"
        if folder.exists() and not overwrite:
            raise TriageError(f"{folder}: must not exist yet; give --overwrite or another --output")
        from triage.card import model_card
        from triage.recipe import train_and_measure

        start = time.monotonic()
        triager = train_and_measure(path, progress=note)
        triager.save(folder, overwrite=overwrite)
        if output is None:
            (path.parent / "model_card.md").write_text(model_card(triager), encoding="utf-8")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        note(f"{folder}: {size / 1e6:.1f} MB, {time.monotonic() - start:.0f} s")


@app.command()
def predict(
    context: typer.Context,
    model: ModelArgument,
    file: Annotated[
        str, typer.Argument(help="CSV, TSV, JSONL, Parquet or XLSX; .txt or - (standard input): a question a line.")
    ] = "-",
    text: TextOption = "text",
    as_of: AsOfOption = None,
    format: FormatOption = Lines.JSONL,
    k: KOption = 5,
    archive: ArchiveOption = None,
    encoder: EncoderOption = None,
    full: Annotated[bool, typer.Option("--full", help="Whole rankings, the words that decided, and answers.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write one table by its ending (.csv, .tsv, .jsonl, .parquet, .xlsx), input columns first."),
    ] = None,
    language: LanguageOption = None,
) -> None:
    """Triage the questions of FILE with MODEL: one JSON object a question, in constant memory."""
    with guard():
        day = day_option(as_of)
        if output is not None:
            check_output(output)
            note_unused(context)

        triager = load_desk(model, encoder, archive)
        language = names_option(language, triager)
        chunks = watch(read(file, text))
        if output is not None:
            write_table(triager, chunks, output, text=text, as_of=day)
            return
        for chunk in chunks:
            if format is Lines.TABLE:
                results = triager.predict(chunk.texts, as_of=day, k=min(k, 1))
                show(result_table(triager, chunk, results, language))
            else:
                results = triager.predict(chunk.texts, as_of=day, k=k)
                keys = zip(chunk.ids, results, strict=True)
                emit({chunk.key: key, **record(result, full)} for key, result in keys)


@app.command()
def evaluate(
    model: ModelArgument,
    file: LabelledArgument,
    text: TextOption = "text",
    split: SplitOption = None,
    format: Annotated[Report, typer.Option("--format", help="A table for people, or JSON.")] = Report.TABLE,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report as one page too; it holds questions, masked."),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Questions that MODEL was trained on, not those of --split: near duplicates are found among them, and "
            "for the report labels that look wrong.",
        ),
    ] = None,
    learning_curve: Annotated[
        Path | None,
        typer.Option(
            metavar="RECIPE", help="Train this recipe on growing parts of its questions, for the report; takes minutes."
        ),
    ] = None,
    encoder: EncoderOption = None,
) -> None:
    """Measure MODEL on the labelled questions of FILE."""
    with guard():
        if learning_curve is not None and html is None:
            raise typer.BadParameter("--learning-curve is drawn in the report; give --html as well")
        from triage.dataset import read_table
        from triage.evaluation import report, write_report
        from triage.evaluation.display import check_installed

        if html is not None:
            check_folder(html)
            check_installed()
        triager = load_desk(model, encoder)
        frame = rows_of_split(read_table(file), split, str(file))
        trained = None if train is None else read_table(train)
        if trained is not None and split is not None and "split" in trained:
            trained = trained[trained["split"].astype(str) != split]
        with told_by_file(frame, file):
            result = triager.evaluate(frame, text=text, train=trained)
        if html is not None:
            curve = None
            if learning_curve is not None:
                from triage import recipe

                path = learning_curve / "recipe.toml" if learning_curve.is_dir() else learning_curve
                curve = recipe.learning_curve(path, frame, text=text, progress=note)
            page = report(
                result,
                title=str(triager.description.get("name", model.name)),
                about=f"{file.name}, split {split}" if split else file.name,
                name=namer(triager, None),
                learning_curve=curve,
                suspects=None if trained is None else _suspects(triager, trained, text),
            )
            write_report(html, page)
            note(f"{html}: {html.stat().st_size / 1e6:.1f} MB; it holds questions, personal data in them masked")
        if format is Report.JSON:
            emit([result.to_dict()])
        else:
            write((result.summary().rstrip("\n") + "\n").encode("utf-8", "backslashreplace"))


def _suspects(triager: Triager, trained: pd.DataFrame, text: str) -> pd.DataFrame | None:
    """Return the labels of a table that look wrong to models that have not seen them; None where all are alike."""
    from triage.dataset import REGISTER_TARGETS
    from triage.quality import label_suspects

    judged = [target for target in triager.targets if target in trained and target not in REGISTER_TARGETS]
    judged = [target for target in judged if len(trained[target].unique()) > 1]
    if not judged:
        return None
    note("looking for labels that look wrong")
    groups = triager.metrics.get("grouped_by")
    return label_suspects(
        trained,
        judged,
        text=text,
        groups=groups if groups in trained else None,
        taxonomy=triager.taxonomy,
        language=triager.features.language,
        abbreviations=triager.features.abbreviations,
    )


@app.command(
    epilog="Exit code 0: NEW is not significantly worse in any target (McNemar's exact test). 3: it is in one or more. "
    "1 is an error and 2 wrong usage, as everywhere."
)
def compare(
    old: Annotated[Path, typer.Argument(help="Folder of the model at work.", show_default=False)],
    new: Annotated[Path, typer.Argument(help="Folder of the model that may take its place.", show_default=False)],
    file: LabelledArgument,
    text: TextOption = "text",
    split: SplitOption = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Compare only this target; may be given again. All by default."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="DATE", help="Day on which both decide; by default each question's own 'date', or today."
        ),
    ] = None,
    format: Annotated[Report, typer.Option("--format", help="A text for people, or JSON.")] = Report.TABLE,
    changed: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the questions that are decided otherwise, without their words, as a table."
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(metavar="P", help="Largest p of a significant difference.")] = 0.05,
    old_encoder: Annotated[str | None, encoder_option("--old-encoder", "OLD")] = None,
    new_encoder: Annotated[str | None, encoder_option("--new-encoder", "NEW")] = None,
) -> None:
    """Compare models OLD and NEW on the labelled questions of FILE, which neither was trained on."""
    with guard():
        day = day_option(as_of)
        if not 0 < alpha < 1:
            raise typer.BadParameter(f"--alpha must be above 0 and below 1, got {alpha:g}")
        if changed is not None:
            check_output(changed, "--changed")
        from triage.comparison import compare as compare_desks
        from triage.dataset import read_table, write_table

        desks = load_desk(old, old_encoder), load_desk(new, new_encoder)
        known = [name for name in desks[0].targets if name in desks[1].targets]
        for name in target or ():
            if name not in known:
                raise typer.BadParameter(
                    f"--target must be one of {', '.join(known) or 'none in common'}, got {name!r}"
                )
        frame = read_table(file)
        if not {"id", "row"} & {*frame.columns}:
            frame.insert(0, "row", range(1, len(frame) + 1))  # of the file, not of the split
        frame = rows_of_split(frame, split, str(file))
        with told_by_file(frame, file):
            result = compare_desks(*desks, frame, text=text, as_of=day, targets=target)
        worse = result.worse(alpha)
        if changed is not None:
            write_table(result.changed, changed)
            note(f"{changed}: {len(result.changed):,} rows")
        if format is Report.JSON:
            emit([{"alpha": alpha, "worse": worse, **result.to_dict()}])
        else:
            lines = map(safe, result.summary(alpha).rstrip("\n").split("\n"))
            write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
    if worse:
        raise typer.Exit(WORSE)


@app.command()
def similar(
    model: ModelArgument,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Questions.", show_default=False)],
    k: Annotated[int, typer.Option("-k", min=1, help="Largest number of suggestions a question.")] = 5,
    as_of: AsOfOption = None,
    archive: ArchiveOption = None,
    encoder: EncoderOption = None,
    format: FormatOption = Lines.JSONL,
) -> None:
    """Find the questions nearest to each TEXT among those that MODEL, or an archive, knows."""
    with guard():
        found = load_desk(model, encoder, archive).similar(texts, k=k, as_of=day_option(as_of))
        if format is Lines.TABLE:
            for text, suggestions in zip(texts, found, strict=True):
                show(suggestion_table(text, suggestions))
        else:
            for number, suggestions in enumerate(found, 1):
                emit([{"line": number, "suggestions": [suggestion.to_dict() for suggestion in suggestions]}])


# Answers out


def record(result: TriageResult, full: bool) -> dict[str, Any]:
    """Return what a line of JSON says about a question."""
    if full:
        return result.to_dict()
    return {
        "route": result.route,
        "decisions": {
            target: {
                "label": decision.label,
                "probability": round(float(decision.probability), 4),
                "status": decision.status,
                "reason": decision.reason,
                "ranking": [[label, round(float(p), 4)] for label, p in decision.ranking[:RANKED]],
            }
            for target, decision in result.decisions.items()
        },
        "suggestions": [
            {
                "id": suggestion.id,
                "question": suggestion.question,
                "similarity": round(float(suggestion.similarity), 4),
                "p_reuse": None if suggestion.p_reuse is None else round(float(suggestion.p_reuse), 4),
                "stale": suggestion.stale,
            }
            for suggestion in result.suggestions
        ],
        **_evidence(result),
    }


def _evidence(result: TriageResult) -> dict[str, Any]:
    """Return the day and the matter with its legal basis, where a register says so."""
    if "matter" not in result.evidence:
        return {}
    matter = result.evidence["matter"]
    kept = None if matter is None else {name: matter[name] for name in _MATTER if name in matter}
    rest = {name: result.evidence[name] for name in ("conflict", "forward_to") if result.evidence.get(name)}
    return {"evidence": {"as_of": result.evidence["as_of"], "matter": kept, **rest}}


def write_table(triager: Triager, chunks: Iterable[Chunk], output: Path, *, text: str, as_of: str | None) -> None:
    """Write input columns and predictions side by side; an input column of the same name becomes NAME_given.

    Where that is a column as well, ``_given`` is added until the name is free.
    """
    import pandas as pd

    from triage.dataset import write_table

    parts = []
    for chunk in chunks:
        given = chunk.frame if chunk.frame is not None else pd.DataFrame({"line": chunk.ids, text: chunk.texts})
        given = given.reset_index(drop=True)
        found = triager.predict_frame(chunk.texts, as_of=as_of).reset_index(drop=True)
        parts.append((given, found))
    names = _free_names(
        {str(name) for given, _ in parts for name in given}, {str(name) for _, found in parts for name in found}
    )
    frames = [pd.concat([given.rename(columns=names), found], axis=1) for given, found in parts]
    write_table(pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), output)
    note(f"{output}: {sum(map(len, frames)):,} rows")


def _free_names(given: set[str], found: set[str]) -> dict[str, str]:
    """Return new names for the input columns that predictions are named like."""
    names: dict[str, str] = {}
    for column in sorted(given & found):
        name = f"{column}_given"
        while name in given or name in found or name in names.values():
            name += "_given"
        names[column] = name
    return names


def check_output(output: Path, option: str = "--output") -> None:
    """Find out before the work whether the table can be written after it."""
    from triage.dataset.files import ending_problem

    problem = ending_problem(output)
    if problem:
        raise typer.BadParameter(f"{option} {problem}")
    check_folder(output)


def note_unused(context: typer.Context) -> None:
    """Say which of the given options have no effect: a table holds nothing of how answers are printed."""
    sources = {option: context.get_parameter_source(name) for name, option in _PRINTED.items()}
    given = [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        note(f"{', '.join(given)}: without effect, as the table of --output has columns of its own")


def check_folder(output: Path) -> None:
    """Find out before the work whether there is a folder for what is written after it."""
    if not output.parent.is_dir():
        raise TriageError(f"{output.parent}: must be a folder that exists")
