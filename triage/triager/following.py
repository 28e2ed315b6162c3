"""The answered questions of an archive that goes on growing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from triage.archive import Archive, Item
from triage.errors import ArchiveError, BundleError
from triage.features import QuestionVectorizer, Seen
from triage.index import QuestionIndex, VectorIndex
from triage.index.folder import writing
from triage.triager.answered import Floats, Found, Likely, Rows, codes_of, with_answers

logger = logging.getLogger(__name__)

Index = QuestionIndex | VectorIndex

_MOST_BY_TEXT, _MOST_BY_MATTER = 100, 50  # of an archive's answers that one text is held against
_CHANGES_TO_MERGE = 20_000
_BLOCK = 20_000  # items indexed at once
_MADE_FOR, _LOCK = "made-for.json", "lock"

#: Indexes, each in a folder of its own, and the signal that each gives.
PARTS = {
    "questions": "question",
    "answers": "answer",
    "question-meanings": "meaning",
    "answer-meanings": "answer_meaning",
}
BY_MEANING = ("question-meanings", "answer-meanings")  # of vectors, with an encoder
_KIND: dict[str, type[Index]] = {part: VectorIndex if part in BY_MEANING else QuestionIndex for part in PARTS}
_IN_PART = re.compile(r"\.?(manifest\.json|(segment|state)-[\d-]+)")  # what an index writes
_LOOKS = 3  # once more at most, where items changed while they were looked up
_READS, _WAIT_S = 20, 0.1  # of a folder that another process keeps up to date


@dataclass(frozen=True, eq=False)
class _SomeFound:
    """Items of an archive that were found for one text."""

    records: Sequence[Mapping[str, Any]]
    of_text: dict[str, Floats]

    def signals(self, seen: Seen) -> dict[str, Floats]:
        return dict(self.of_text)

    def codes(self, column: str, labels: Sequence[Any]) -> Rows:
        return codes_of(self.records, column, labels)


@dataclass(frozen=True, eq=False)
class _Indexes:
    """What a query sees from its beginning to its end: all indexes at one version of the archive."""

    version: int
    indexes: dict[str, Index]

    def near(self, seen: Seen) -> npt.NDArray[np.int64]:
        """Return keys of the items nearest to each text by question and by answer, (n_texts, n_found)."""
        found = [index.query(side_of(part, seen), k=_MOST_BY_TEXT)[0] for part, index in self.indexes.items()]
        return np.hstack(found)

    def signals(self, seen: Seen, keys: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """Return how near one text is to some items, (1, n_items) each."""
        return {PARTS[part]: index.cosines(side_of(part, seen), keys)[None] for part, index in self.indexes.items()}


def side_of(part: str, seen: Seen) -> Any:
    """Return the side of texts that an index is of: their n-grams, or their vectors."""
    return seen.vectors if part in BY_MEANING else seen.ngrams


class Following:
    """The answered questions of an archive, as it is at each moment.

    Whatever is written to the archive, by whichever process, is found by the next query. An index of many items is
    merged in the background.

    Parameters
    ----------
    features : QuestionVectorizer
    archive : Archive
    folder : path or None
        Where the index is kept, so that the next start need not make it anew; None keeps it in memory. The first
        process to open it keeps it up to date; others read what they find there, and write nothing.
    """

    def __init__(self, features: QuestionVectorizer, archive: Archive, folder: Path | None) -> None:
        self._features, self._archive, self._folder = features, archive, folder
        self._refreshing = threading.Lock()
        self._hold: IO[bytes] | None = None if folder is None else _hold(folder)
        self._process = os.getpid()  # a fork has the lock's file as well, and must not write
        self._version = archive.version
        self._indexes = self._open()
        self._n_changes = 0
        self._merger: threading.Thread | None = None
        self._show()

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open archive and index itself."""
        folder = None if self._folder is None else self._folder.absolute()
        return Following, (self._features, self._archive, folder)

    def __len__(self) -> int:
        return len(self._now.indexes["questions"])

    def has(self, column: str) -> bool:
        """Say whether any of them may have a label; an archive may get one at any moment."""
        return True

    def found(self, seen: Seen, likely: Likely) -> Iterator[tuple[Rows, Found]]:
        """Return for each text the items near it by their words, and those on its likeliest matters."""
        self.refresh()
        indexes = self._now
        near = indexes.near(seen)
        for row in range(len(seen)):
            matters, own = likely(row), seen[row : row + 1]
            found, n_gone = self._some(indexes, own, near[row], matters)
            for _ in range(_LOOKS):
                if not n_gone:
                    break
                self.refresh()  # what is gone may have been changed: then it is there under another key
                now = self._now
                found, n_gone = self._some(now, own, now.near(own)[0], matters)
            yield np.array([row]), found

    def _some(
        self, indexes: _Indexes, own: Seen, near: npt.NDArray[np.int64], matters: Sequence[str]
    ) -> tuple[_SomeFound, int]:
        """Return what is found for one text, and how much of it went while it was looked up."""
        on_matter = self._archive.keys_on(matters, _MOST_BY_MATTER)
        on_matter = on_matter[on_matter <= indexes.version]  # the archive may be ahead of what is seen
        keys = np.unique(np.concatenate((near, on_matter)))
        items = self._archive.of_keys(keys)
        there = np.array([item is not None for item in items], bool)
        records = [record_of(item) for item in items if item is not None]
        has_answer = np.array([record["answer"] is not None for record in records], bool)
        found = _SomeFound(records, with_answers(indexes.signals(own, keys[there]), has_answer))
        return found, int(np.count_nonzero(~there))

    # --- following the archive ------------------------------------------------------------------

    def refresh(self) -> None:
        """Take in what changed in the archive; queries go on meanwhile."""
        for _ in range(_LOOKS):
            if self._archive.version == self._now.version:
                return
            with self._refreshing:
                if self._take_in():
                    return

    def _take_in(self) -> bool:
        """Take in what changed; say whether all that was put was still there."""
        if self._archive.version < self._version:
            problem = f"must go on from change {self._version}, which the desk has seen, got {self._archive.version}"
            remedy = "an older copy was put in its place: call with_archive again, or start anew"
            raise ArchiveError(path=self._archive.path, problem=problem, remedy=remedy)
        changes = self._archive.changes(self._version)
        if not changes:  # another thread was first
            return True
        gone = np.array(sorted(change.replaced for change in changes if change.replaced is not None), np.int64)
        put = np.array([change.sequence for change in changes if change.kind == "put"], np.int64)
        if len(gone):
            self._remove(gone)
        new = self._unknown(put)
        n_added = self._add(new)
        self._version = changes[-1].sequence
        self._show()
        self._n_changes += len(changes)
        if self._n_changes >= _CHANGES_TO_MERGE and not (self._merger and self._merger.is_alive()):
            self._n_changes = 0
            self._merger = threading.Thread(target=self._merge_quietly, name="triage-merge", daemon=True)
            self._merger.start()
        return n_added == len(new)

    def merge(self) -> None:
        """Make one segment of each index, and save them; queries go on meanwhile."""
        if self._folder is not None and not self._keeps:  # a copy has no folder, where a merge of many would write
            with self._refreshing:
                self._indexes = {part: copy(index) for part, index in self._indexes.items()}
        for index in self._indexes.values():
            index.merge()
        self._save()
        with self._refreshing:
            self._show()

    def _show(self) -> None:
        """Let queries see all indexes as they are now; what one of them began with does not change under it."""
        self._now = _Indexes(self._version, {part: copy(index) for part, index in self._indexes.items()})

    def _merge_quietly(self) -> None:
        try:
            self.merge()
        except (ArchiveError, BundleError) as error:  # the index serves on as it is
            logger.warning("%s", error)

    def _open(self) -> dict[str, Index]:
        """Return all indexes as saved, with what changed since; made anew where there are none for these features."""
        if self._folder is not None and self._is_ours(self._folder):
            self._indexes = self._read(self._folder)
            current = known = self._archive.keys()
            for index in self._indexes.values():  # who was killed between two has left one that is behind the other
                known = np.intersect1d(known, index.keys)
            for index in self._indexes.values():
                index.remove(np.setdiff1d(index.keys, known))
            new = np.setdiff1d(current, known)
        else:
            nothing = self._features.read([])
            self._indexes = {part: _KIND[part].from_matrix(side_of(part, nothing)) for part in self._parts}
            new = self._archive.keys()
        for start in range(0, len(new), _BLOCK):
            self._add(new[start : start + _BLOCK])
            self._save()  # what is saved is mapped, so that no more than a block is in memory
        if len(new) >= _CHANGES_TO_MERGE:
            self.merge()
        return self._indexes

    def _read(self, folder: Path) -> dict[str, Index]:
        for _ in range(_READS if self._hold is None else 1):
            try:
                return {part: _KIND[part].open(folder / part) for part in self._parts}
            except BundleError as error:  # who keeps it may be putting new files in the place of these
                problem = error
                time.sleep(_WAIT_S)
        raise problem

    def _unknown(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the keys that are not in the indexes: some may be, of changes made while these were opened."""
        questions = self._indexes["questions"]
        if questions.last_key is None or not len(keys) or keys[0] > questions.last_key:
            return keys
        return np.setdiff1d(keys, questions.keys)

    def _add(self, keys: npt.NDArray[np.int64]) -> int:
        """Add the items of these keys, and return how many there were."""
        n_added = 0
        for start in range(0, len(keys), _BLOCK):
            block = keys[start : start + _BLOCK].tolist()
            items = self._archive.of_keys(block)
            there = {key: item for key, item in zip(block, items, strict=True) if item is not None}
            questions, answers = (
                self._features.read([getattr(item, field) for item in there.values()])
                for field in ("question", "answer")
            )
            for part, index in self._indexes.items():
                index.add(side_of(part, questions if part.startswith("question") else answers), [*there])
            n_added += len(there)
        return n_added

    def _remove(self, keys: npt.NDArray[np.int64]) -> None:
        there = np.intersect1d(keys, self._indexes["questions"].keys)
        for index in self._indexes.values():
            index.remove(there)

    # --- on disk --------------------------------------------------------------------------------

    @cached_property
    def _fingerprint(self) -> str:
        """What tells these features and this archive from others."""
        options, arrays = self._features.to_state()
        digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values()))
        if "encoder" in options:
            digest.update(json.dumps(options["encoder"], sort_keys=True).encode())
        return f"{self._archive.identity or self._archive.path.resolve()} {digest.hexdigest()}"

    @cached_property
    def _parts(self) -> list[str]:
        """Names of the indexes that these features make."""
        return [part for part in PARTS if part not in BY_MEANING or self._features.encoder is not None]

    @property
    def _keeps(self) -> bool:
        """Whether this process keeps the folder up to date."""
        return self._hold is not None and self._process == os.getpid()

    def _is_ours(self, folder: Path) -> bool:
        try:
            made_for = json.loads((folder / _MADE_FOR).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return False
        if not isinstance(made_for, dict) or made_for.get("for") != self._fingerprint:
            return False
        # An archive that was put back from a copy gives the numbers of what it lost to other items.
        version = made_for.get("version")
        return isinstance(version, int) and self._archive.time_of(version) == made_for.get("at")

    def _save(self) -> None:
        if self._folder is None or not self._keeps:
            return
        with writing(self._folder):
            if not self._is_ours(self._folder):
                (self._folder / _MADE_FOR).unlink(missing_ok=True)  # first: a kill must not leave it beside other parts
                for part in PARTS:
                    shutil.rmtree(self._folder / part, ignore_errors=True)
            for part, index in self._indexes.items():
                index.save(self._folder / part)
            # Items may have come since the version that is seen: the last that was saved tells archives apart.
            version = max(self._version, *(index.last_key or 0 for index in self._indexes.values()))
            made_for = {"for": self._fingerprint, "version": version, "at": self._archive.time_of(version)}
            (self._folder / _MADE_FOR).write_text(json.dumps(made_for), "utf-8")


def _hold(folder: Path) -> IO[bytes] | None:
    """Take the folder for this process, as long as the file that is returned is open; None where another has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = [path.name for path in folder.iterdir() if path.name not in (*PARTS, _MADE_FOR, _LOCK)]
        for part in filter(Path.is_dir, (folder / name for name in PARTS)):
            strange += [f"{part.name}/{path.name}" for path in part.iterdir() if not _IN_PART.fullmatch(path.name)]
        if strange:
            problem = f"must be a folder of its own for the index of an archive, and holds {sorted(strange)[0]!r}"
            raise BundleError(path=folder, problem=problem, remedy="name another folder")
        file = open(folder / _LOCK, "ab")
    except OSError as error:
        problem = f"must be a folder that can be written, got {error.strerror or error}"
        raise BundleError(path=folder, problem=problem, remedy="name another folder, or check its rights") from error
    try:
        import fcntl
    except ImportError:  # no such locks: whoever starts the processes must see to it that only one writes
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def record_of(item: Item) -> dict[str, Any]:
    """Return an item as a bundle's records are, without what is not known of it."""
    return {**{name: cell for name, cell in vars(item).items() if cell}, "answer": item.answer or None}
