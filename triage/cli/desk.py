"""A desk on the command line: what names it and its parts that lie elsewhere, and how it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from triage.triager import Triager


def encoder_option(name: str, model: str) -> Any:
    """Return the option that says where the encoder of a model is."""
    help = f"Where the encoder is that {model} was trained with, as onnx:FOLDER; a package is found without."
    return typer.Option(name, metavar="SPEC", help=help, show_default=False)


ModelArgument = Annotated[Path, typer.Argument(help="Folder of a model, such as models/land.", show_default=False)]
EncoderOption = Annotated[str | None, encoder_option("--encoder", "MODEL")]
ArchiveOption = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        metavar="FILE",
        help="Suggest the answers of this archive, not those MODEL was trained with; its index is kept in FILE.index.",
    ),
]


def load_desk(model: Path, encoder: str | None = None, archive: Path | None = None) -> Triager:
    """Load a desk, with the answers of an archive in the place of its own if one is given."""
    from triage.triager import load

    triager = load(model, encoder=encoder)
    return triager if archive is None else triager.with_archive(archive, index=f"{archive}.index")
