"""The spaCy component ``triage``: fills ``doc.cats`` and ``doc._.triage``.

spaCy imports this module whenever it lists its components, so it stays cheap: the model is read when the first
text comes, in each process that needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import srsly  # type: ignore[import-untyped]
from spacy.language import Language
from spacy.tokens import Doc

from triage.records import Decision, Suggestion, TriageResult

if TYPE_CHECKING:
    from triage.triager import Triager

_TAG = "__triage_result__"  # of a result among the values that spaCy writes
_ErrorHandler: TypeAlias = "Callable[[str, Any, list[Doc], Exception], Any]"


@Language.factory(
    "triage",
    default_config={"model": None, "as_of": None, "k": 5, "encoder": None},
    assigns=["doc.cats", "doc._.triage"],
)
def make_triage(
    nlp: Language, name: str, model: str | None, as_of: str | None, k: int, encoder: str | None
) -> TriageComponent:
    """Make the component for ``nlp.add_pipe("triage", config={"model": "models/land"})``.

    Parameters
    ----------
    nlp : Language
        The pipeline; any language will do, the component reads the text alone.
    name : str
        Name of the component in the pipeline.
    model : str or None
        Folder of the model, as for :func:`triage.load`. May come later from :meth:`TriageComponent.from_disk`.
    as_of : str or None
        ISO date on which competences must hold, None for today's.
    k : int
        Largest number of suggestions a text.
    encoder : str or None
        Where the encoder is that the model was trained with, as for :func:`triage.load`. One of an installed package
        is found without.

    Returns
    -------
    TriageComponent
    """
    _register()
    return TriageComponent(name, model, as_of=as_of, k=k, encoder=encoder)


class TriageComponent:
    """Triage of the documents of a pipeline.

    ``doc.cats`` gets a probability for every label under the key ``target=label``, and ``doc._.triage`` gives the
    :class:`~triage.records.TriageResult`. Both survive ``Doc.to_bytes`` and ``DocBin(store_user_data=True)``.

    Parameters
    ----------
    name : str
        Name in the pipeline.
    model : str or Path or None
        Folder of the model.
    as_of : str, optional
        ISO date on which competences must hold.
    k : int, default 5
        Largest number of suggestions a text.
    encoder : str, optional
        Where the encoder is that the model was trained with.
    """

    def __init__(
        self,
        name: str,
        model: str | Path | None,
        *,
        as_of: str | None = None,
        k: int = 5,
        encoder: str | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.as_of = as_of
        self.k = k
        self.encoder = encoder
        self._triager: Triager | None = None
        self._error_handler: _ErrorHandler = _raise

    def __call__(self, doc: Doc) -> Doc:
        """Triage one document; errors go to the error handler, and the document is returned either way."""
        try:
            self._fill([doc])
        except Exception as error:
            self._error_handler(self.name, self, [doc], error)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Triage documents in batches.

        Parameters
        ----------
        stream : iterable of Doc
            May be endless.
        batch_size : int, default 128
            Documents triaged at once.

        Yields
        ------
        Doc
            In the same order. A batch that fails goes to the error handler; if that does not raise, the batch is
            left out, as with spaCy's own components.
        """
        stream = iter(stream)
        while docs := list(islice(stream, batch_size)):
            try:
                self._fill(docs)
            except Exception as error:
                self._error_handler(self.name, self, docs, error)
            else:
                yield from docs

    def set_error_handler(self, error_handler: _ErrorHandler) -> None:
        """Set the function that gets the component's name, the component, the documents and the error."""
        self._error_handler = error_handler

    def get_error_handler(self) -> _ErrorHandler:
        """Return the error handler; unless set, it raises."""
        return self._error_handler

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Return the paths of the model and of its encoder; both stay where they are."""
        model = None if self.model is None else str(self.model)
        return json.dumps({"model": model, "encoder": self.encoder}).encode()

    def from_bytes(self, content: bytes, *, exclude: Iterable[str] = ()) -> TriageComponent:
        """Take the paths of the model and of its encoder, unless the pipeline's configuration names a model."""
        if self.model is None:
            stored = json.loads(content)
            self.model = stored["model"]
            self.encoder = self.encoder or stored.get("encoder")  # pipelines of before encoders have none
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write the paths of the model and of its encoder into a folder; both stay where they are."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cfg").write_bytes(self.to_bytes())

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> TriageComponent:
        """Take the paths of the model and of its encoder from a folder, as `from_bytes` does."""
        return self.from_bytes((Path(path) / "cfg").read_bytes())

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model behind: another process reads it itself."""
        return {**self.__dict__, "_triager": None}

    def _fill(self, docs: list[Doc]) -> None:
        results = self._load().predict([doc.text for doc in docs], as_of=self.as_of, k=self.k)
        for doc, result in zip(docs, results, strict=True):
            doc._.triage = result
            cats = {
                f"{target}={label}": float(probability)
                for target, decision in result.decisions.items()
                for label, probability in decision.ranking
            }
            doc.cats = {**doc.cats, **cats}

    def _load(self) -> Triager:
        if self._triager is None:
            if self.model is None:
                raise ValueError(
                    f"component {self.name!r} must have a model, got None; "
                    'add it with nlp.add_pipe("triage", config={"model": "models/…"})'
                )
            from triage.triager import load

            _register()
            self._triager = load(self.model, encoder=self.encoder)
        return self._triager


def _register() -> None:
    # Declare ``doc._.triage``, and teach spaCy to write it and to send it to other processes.
    if not Doc.has_extension("triage"):
        Doc.set_extension("triage", default=None)
    srsly.msgpack_encoders("triage", func=_encode)
    srsly.msgpack_decoders("triage", func=_decode)


def _encode(value: Any, chain: Callable[[Any], Any] | None = None) -> Any:
    if isinstance(value, TriageResult):
        return {_TAG: value.to_dict()}
    return value if chain is None else chain(value)


def _decode(value: Any, chain: Callable[[Any], Any] | None = None) -> Any:
    if isinstance(value, dict) and _TAG in value:
        return _result(value[_TAG])
    return value if chain is None else chain(value)


def _result(stored: Mapping[str, Any]) -> TriageResult:
    # Build a result from TriageResult.to_dict.
    suggestions = [Suggestion(**{**entry, "matched": tuple(entry["matched"])}) for entry in stored["suggestions"]]
    return TriageResult(
        decisions={target: _decision(decision) for target, decision in stored["decisions"].items()},
        route=stored["route"],
        suggestions=tuple(suggestions),
        evidence=stored["evidence"],
    )


def _decision(stored: Mapping[str, Any]) -> Decision:
    ranking = tuple((entry["label"], entry["probability"]) for entry in stored["ranking"])
    words = tuple((entry["word"], entry["contribution"]) for entry in stored["words"])
    facts = {name: stored[name] for name in ("target", "label", "probability", "status", "reason")}
    return Decision(**facts, ranking=ranking, explain=lambda: words)


def _raise(name: str, component: Any, docs: list[Doc], error: Exception) -> None:
    raise error
