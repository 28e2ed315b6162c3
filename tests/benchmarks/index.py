"""The index of questions at 10,000, 100,000 and a million items, beside bm25s in one run.

Run: ``python tests/benchmarks/index.py [--data ../shared/data] [--only "10 k"]``

The table is printed and kept in ``results/index.md`` and ``results/index.json``, a section a size. A million items take
some eight minutes, 4 GB of disk and 6 GB of memory, most of it bm25s'. Without bm25s or the data nothing is measured.

Items are the desks' questions, answered questions and re-asks of other splits than ``test``, names of procedures and
the public sets as they stand, and so many recombinations of them as are missing: half of one, half of another, a word
swapped, a province or a number put in. Queries are the re-asks of split ``test``, and items without diacritics, with
typing errors, or with a fifth of the words left out and the halves turned round.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from quality import read_lines
from speed import MB, N_CORES, RESULTS, ROOT, Row, in_python, say, surroundings, table

from triage.features import QuestionVectorizer
from triage.index import QuestionIndex, unit_rows
from triage.index.rows import leave_out

SIZES = {"10 k": 10_000, "100 k": 100_000, "1 M": 1_000_000}
DESKS = ("industry-trade", "land")
PUBLIC = ("banking77", "clinc150", "hwu64")
SHARE_PUBLIC = 0.25  # of the recombined
K = 5
N_PERTURBED = 100  # queries of each kind
N_ADDED = 30
TURN = 50  # queries of one side before the other's turn
BLOCK_ROWS = 20_000  # as many as stay a segment until the merge
NEAR = 5e-4


# --- items and queries --------------------------------------------------------------------------------


def base_texts(data: Path) -> tuple[list[str], list[str], list[str]]:
    """Return Vietnamese texts, English texts, and names of provinces."""
    vietnamese, provinces = [], set()
    for desk in DESKS:
        questions = pd.read_csv(data / "desks" / desk / "questions.csv", dtype=str, keep_default_na=False)
        reasks = read_lines(data / "desks" / desk / "reasks.jsonl")
        vietnamese += questions.loc[questions["split"] != "test", "text"].tolist()
        vietnamese += read_lines(data / "desks" / desk / "archive.jsonl")["question"].tolist()
        vietnamese += reasks.loc[reasks["split"] != "test", "text"].tolist()
        provinces |= set(questions["province"]) - {""}
    vietnamese += read_lines(data / "vi" / "procedures.train.jsonl")["text"].tolist()
    english = [text for name in PUBLIC for text in read_lines(data / "bench" / name / "train.jsonl")["text"]]
    english += read_lines(data / "bench" / "stackfaq" / "queries.jsonl")["text"].tolist()
    return vietnamese, english, sorted(provinces)


def halves(texts: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """Cut texts in two, at a mark near the middle if there is one."""
    cut = []
    for text in texts:
        words = text.split()
        if len(words) > 3:
            middle = len(words) // 2
            at = min(range(1, len(words)), key=lambda i: abs(i - middle) - 2 * (words[i - 1][-1] in ",.?;:"))
            cut.append((words[:at], words[at:]))
    return cut


def corpus(data: Path, n: int) -> list[str]:
    """Return so many distinct texts, in an order of their own."""
    vietnamese, english, provinces = base_texts(data)
    pools, names, rng = (halves(vietnamese), halves(english)), [name.split() for name in provinces], random.Random(0)
    whole = vietnamese + english
    rng.shuffle(whole)
    found = dict.fromkeys(" ".join(text.split()) for text in whole[: n // 2])
    while len(found) < n:
        pool = pools[rng.random() < SHARE_PUBLIC]
        words = rng.choice(pool)[0] + rng.choice(pool)[1]
        kind = rng.random()
        at = rng.randrange(len(words))
        if kind < 0.4:
            words = words[:at] + rng.choice(names) + words[at:]
        if kind < 0.3 or kind > 0.8:
            words = [*words[:at], rng.choice(rng.choice(pool)[0]), *words[at + 1 :]]
        if 0.2 < kind < 0.5:
            words = [*words, str(rng.randrange(3000))]
        found[" ".join(words)] = None
    texts = list(found)
    rng.shuffle(texts)
    return texts


def without_marks(text: str, rng: random.Random) -> str:
    marks = unicodedata.normalize("NFD", text)
    return "".join(code for code in marks if not unicodedata.combining(code)).replace("đ", "d").replace("Đ", "D")


def with_typos(text: str, rng: random.Random) -> str:
    codes = list(text)
    for _ in range(max(1, len(codes) // 25)):
        at, kind = rng.randrange(max(len(codes) - 1, 1)), rng.randrange(3)
        if kind == 0:
            codes[at : at + 2] = codes[at : at + 2][::-1]
        elif kind == 1:
            codes[at : at + 1] = []
        else:
            codes.insert(at, rng.choice("aeiouhnt"))
    return "".join(codes)


def reworded(text: str, rng: random.Random) -> str:
    words = [word for word in text.split() if rng.random() > 0.2] or text.split()
    middle = len(words) // 2
    return " ".join(words[middle:] + words[:middle])


PERTURBED: dict[str, Callable[[str, random.Random], str]] = {
    "without diacritics": without_marks,
    "typing errors": with_typos,
    "reworded": reworded,
}


def queries(data: Path, texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.str_]]:
    """Return the queries, in turns of each kind, and their kinds."""
    rng = random.Random(1)
    found = []
    for desk in DESKS:
        reasks = read_lines(data / "desks" / desk / "reasks.jsonl")
        found += [("re-asks", text) for text in reasks.loc[reasks["split"] == "test", "text"]]
    for kind, change in PERTURBED.items():
        found += [(kind, change(text, rng)) for text in rng.sample(list(texts), N_PERTURBED)]
    rng.shuffle(found)
    return [text for _, text in found], np.array([kind for kind, _ in found])


# --- building and the truth ---------------------------------------------------------------------------

_SHARED: dict[str, Any] = {}  # what the processes inherit


def _matrix(start: int) -> sp.csr_matrix:
    return _SHARED["vectorizer"].transform(_SHARED["texts"][start : start + BLOCK_ROWS])


def _nearest(start: int) -> npt.NDArray[np.float32]:
    """Return the K highest exact cosines of each query in a block."""
    rows = unit_rows(leave_out(_matrix(start), _SHARED["left_out"]))
    similarity = (rows @ _SHARED["turned"]).toarray().T
    return -np.partition(-similarity, K - 1, axis=1)[:, :K]


def build(folder: Path, n: int) -> float:
    """Build an index in a folder, the texts read in processes; return the seconds."""
    start = time.perf_counter()
    index = None
    with multiprocessing.get_context("fork").Pool(N_CORES) as pool:
        for number, X in enumerate(pool.imap(_matrix, range(0, n, BLOCK_ROWS))):
            keys = np.arange(number * BLOCK_ROWS, number * BLOCK_ROWS + X.shape[0])
            if index is None:
                index = QuestionIndex.from_matrix(X, keys)
            else:
                index.add(X, keys)
            index.save(folder)
    assert index is not None
    index.merge()
    index.save(folder)
    return time.perf_counter() - start


def exact_cosines(Q: sp.csr_matrix, n: int, left_out: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the K highest cosines of each query, by the rows of all texts as they are."""
    _SHARED.update(left_out=left_out, turned=unit_rows(Q).T.tocsr())
    best = np.zeros((Q.shape[0], 0), np.float32)
    with multiprocessing.get_context("fork").Pool(N_CORES) as pool:
        for found in pool.imap(_nearest, range(0, n, BLOCK_ROWS)):
            best = -np.sort(-np.hstack((best, found)), axis=1)[:, :K]
    return best


SERVE = """
import json, re, sys, time
import scipy.sparse as sp
from triage.index import QuestionIndex
start = time.perf_counter()
index = QuestionIndex.open(sys.argv[1])
opened = time.perf_counter() - start
Q = sp.load_npz(sys.argv[2])
for row in range(Q.shape[0]):
    index.query(Q[row], k=5)
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])  # what is mapped included
print(json.dumps([opened, 1024 * peak]))
"""


# --- what is measured ---------------------------------------------------------------------------------


def peer(texts: Sequence[str]) -> tuple[Any, Any, float]:
    """Return the module bm25s, its index of the texts and the seconds."""
    import bm25s

    start = time.perf_counter()
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(list(texts), stopwords=None, show_progress=False), show_progress=False)
    return bm25s, retriever, time.perf_counter() - start


def latencies(tasks: dict[str, list[Callable[[], Any]]]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the milliseconds of single calls, the sides taking turns; the first turn of each is not counted."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    n = len(next(iter(tasks.values())))
    for start in [0, *range(0, n, TURN)]:
        for name, calls in tasks.items():
            times = []
            for call in calls[start : start + TURN]:
                begin = time.perf_counter()
                call()
                times.append(1000 * (time.perf_counter() - begin))
            found[name] += times
    return {name: np.array(times[TURN:]) for name, times in found.items()}


def measure(data: Path, n: int) -> Iterator[Row]:
    large = n == SIZES["1 M"]
    texts = corpus(data, n)
    vietnamese, english, _ = base_texts(data)
    vectorizer = QuestionVectorizer(language="vi").fit(vietnamese + english)
    asked, kinds = queries(data, texts)
    rows = [vectorizer.transform([text]) for text in asked]
    Q = sp.vstack(rows, "csr")
    _SHARED.update(vectorizer=vectorizer, texts=texts)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made, "index")
        say("building …")
        elapsed = build(folder, n)
        say("bm25s …")
        bm25s, retriever, of_peer = peer(texts)
        yield Row("build from texts", elapsed, "s", "bm25s", of_peer, at_most=120 if large else None)
        size = sum(file.stat().st_size for file in folder.rglob("*.npy")) / MB
        yield Row("on disk", size, "MB")
        sp.save_npz(Path(made, "queries.npz"), Q)
        opened, peak = json.loads(in_python(SERVE, folder, Path(made, "queries.npz")))
        yield Row("open", 1000 * opened, "ms", at_most=1000)
        yield Row("peak memory of a process that opens and is asked", peak / MB, "MB", at_most=2000)
        say("queries …")
        index = QuestionIndex.open(folder)
        tokens = [bm25s.tokenize([text], stopwords=None, return_ids=False, show_progress=False) for text in asked]
        options = {"k": K, "show_progress": False, "n_threads": 0}
        times = latencies(
            {
                "triage": [lambda X=X: index.query(X, k=K) for X in rows],
                "peer": [lambda token=token: retriever.retrieve(token, **options) for token in tokens],
            }
        )
        median = float(np.median(times["peer"]))
        yield Row(
            "query, median",
            float(np.median(times["triage"])),
            "ms",
            "bm25s",
            median,
            at_most_ratio=1 if large else None,
        )
        p99 = float(np.percentile(times["triage"], 99))
        yield Row("query, 99th percentile", p99, "ms", "bm25s, median", median, at_most_ratio=4 if large else None)
        yield Row("query, 99th percentile", p99, "ms", "bm25s", float(np.percentile(times["peer"], 99)))
        added = []
        for number, X in enumerate(rows[:N_ADDED]):
            begin = time.perf_counter()
            index.add(X, [n + number])
            _, similarity = index.query(X, k=1)
            added.append(1000 * (time.perf_counter() - begin))
            if similarity[0, 0] < index.cosines(X, [n + number])[0]:
                raise RuntimeError("an item that was added must be found")
        yield Row("add an item and find it, median", statistics.median(added), "ms", at_most=20)
        yield Row("add an item and find it, longest", max(added), "ms")
        index = QuestionIndex.open(folder)  # without the items that were added
        say("the truth …")
        truth = exact_cosines(Q, n, index._state.left_out)
        found = np.vstack([index.query(X, k=K)[1] for X in rows])
        # An item counts when it is as near as the exact one of its rank: equals may stand for each other.
        right = found >= truth - NEAR
        for kind in ["all", *sorted(set(kinds))]:
            own = right if kind == "all" else right[kinds == kind]
            at_least = {"at_least_ratio": 0.98} if kind == "all" else {}
            name = f"{kind} ({len(own)}), as near as exact cosine"
            yield Row(f"{name}: first", 100 * float(own[:, 0].mean()), "%", "exact cosine", 100, **at_least)
            at_least = {"at_least_ratio": 0.95} if kind == "all" else {}
            yield Row(f"{name}: first five", 100 * float(own.mean()), "%", "exact cosine", 100, **at_least)


# --- the table ----------------------------------------------------------------------------------------


def keep(name: str, rows: Sequence[Row], elapsed: float) -> None:
    """Write a section's rows beside those measured before."""
    path = RESULTS / "index.json"
    kept = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    listed = [{**asdict(row), "ratio": row.ratio, "must": row.must, "holds": row.holds} for row in rows]
    kept[name] = {
        "seconds": round(elapsed),
        "surroundings": {**surroundings(), "bm25s": version("bm25s")},
        "rows": listed,
    }
    kept = {size: kept[size] for size in SIZES if size in kept}
    path.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", "utf-8")
    parts = [NOTES]
    for size, entry in kept.items():
        own = [Row(**{field: row[field] for field in Row.__dataclass_fields__}) for row in entry["rows"]]
        around = ", ".join(f"{key} {value}" for key, value in entry["surroundings"].items() if value is not None)
        parts.append(f"## {size} items\n\n{around}\n\n{table(own)}\n")
    (RESULTS / "index.md").write_text("\n".join(parts), "utf-8")


NOTES = """# Index

Made by `tests/benchmarks/index.py`. Items and queries: see there. Features are those of `QuestionVectorizer` with its
own settings and Vietnamese. bm25s has its own settings, no stop words, and no numba; its queries are tokenised
beforehand, as triage's are vectorised. Latencies are of single queries with k = 5, the sides taking turns in one
process and thread. Up to 20,000 items the index is exact, above it reads a bounded number of postings: "as near as
exact cosine" is the share of places whose similarity is no more than 0.0005 below that of the exact one. Building reads
texts in two processes. The load is that of the whole machine, in cores; it moves absolute numbers, less the ratios.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the public sets")
    parser.add_argument("--only", choices=list(SIZES), action="append", help="measure this size; may be repeated")
    parser.add_argument("--validation", action="store_true", help="keep nothing")
    chosen = parser.parse_args()
    for needed in ("desks", "vi", "bench"):
        if not (chosen.data / needed).is_dir():
            sys.exit(f"index: skipped, there is no folder {needed} in the data; name it by --data")
    try:
        import bm25s  # noqa: F401
    except ImportError:
        sys.exit("index: skipped, bm25s is not installed: pip install 'triage[bench]'")
    for name in chosen.only or SIZES:
        start = time.perf_counter()
        rows = []
        for row in measure(chosen.data, SIZES[name]):
            say(
                f"  {row.name}: {row.value:.4g} {row.unit}"
                + (f" ({row.peer} {row.peer_value:.4g})" if row.peer else "")
            )
            rows.append(row)
        elapsed = time.perf_counter() - start
        print(f"\n{name}: {elapsed:.0f} s, load {os.getloadavg()[0]:.1f}\n\n{table(rows)}", flush=True)
        if not chosen.validation:
            keep(name, rows, elapsed)


if __name__ == "__main__":
    main()
