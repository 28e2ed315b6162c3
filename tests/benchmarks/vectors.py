"""The index of vectors at 10,000, 100,000 and 200,000 items of 384 numbers, beside plain numpy in one run.

Run: ``python tests/benchmarks/vectors.py``

The table is printed and kept in ``results/vectors.md``. It takes a minute and 1 GB of memory. Vectors are drawn with
seed 0 around one of so many centres that ten share one, so that queries have near items, as questions have; nothing is
learnt and nothing chosen. The peer holds float32 rows of length 1, multiplies them with the query and takes the
highest five by `numpy.argpartition`.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from speed import MB, RESULTS, Row, say, surroundings, table

from triage.index import VectorIndex

SIZES = (10_000, 100_000, 200_000)
DIM = 384
K = 5
N_QUERIES = 200
N_ADDED = 30
N_OPENED = 9
TURN = 10  # queries of one side before the other's turn
NEAR = 2e-4  # of a cosine

Vectors = npt.NDArray[np.float32]

NOTES = """# Index of vectors

Made by `tests/benchmarks/vectors.py`: vectors of 384 numbers drawn around centres with seed 0, queries likewise; single
queries with k = 5, the sides taking turns in one process. numpy is a product of float32 rows and a partition, without
what an index does. "As near" is the share of places whose cosine is no more than 0.0002 below that of float32. The load
is that of the whole machine, in cores; it moves absolute numbers, less the ratios.
"""


def draw(n: int, rng: np.random.Generator, centres: Vectors) -> Vectors:
    """Return vectors of length 1, each around a centre."""
    rows = centres[rng.integers(0, len(centres), n)] + rng.normal(0, 0.7, (n, DIM)).astype(np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def brute_force(rows: Vectors, query: Vectors) -> tuple[npt.NDArray[np.intp], Vectors]:
    """Return the highest five."""
    cosine = rows @ query
    found = np.argpartition(cosine, -K)[-K:]
    found = found[np.argsort(-cosine[found])]
    return found, cosine[found]


def timed(task: Callable[[], Any]) -> float:
    """Return milliseconds."""
    start = time.perf_counter()
    task()
    return (time.perf_counter() - start) * 1000


def median_of(task: Callable[[int], Any], n: int) -> float:
    return statistics.median(timed(lambda turn=turn: task(turn)) for turn in range(n))


def measure(n: int, folder: Path) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n // 10, DIM)).astype(np.float32)
    rows, queries = draw(n, rng, centres), draw(N_QUERIES, rng, centres)
    made: list[VectorIndex] = []
    yield Row("build", timed(lambda: made.append(VectorIndex.from_matrix(rows))) / 1000, "s")
    yield Row("save", timed(lambda: made[0].save(folder)) / 1000, "s")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield Row("on disk", size / MB, "MB", "numpy, in memory", rows.nbytes / MB)
    yield Row("open, median", median_of(lambda _: VectorIndex.open(folder), N_OPENED), "ms")
    index = VectorIndex.open(folder)

    ours, peers = [], []
    for first in range(0, N_QUERIES, TURN):
        turn = [queries[row : row + 1] for row in range(first, first + TURN)]
        ours += [timed(lambda query=query: index.query(query, k=K)) for query in turn]
        peers += [timed(lambda query=query: brute_force(rows, query[0])) for query in turn]
    yield Row("query, median", statistics.median(ours), "ms", "numpy", statistics.median(peers))
    yield Row("query, 99th percentile", float(np.quantile(ours, 0.99)), "ms", "numpy", float(np.quantile(peers, 0.99)))
    together = median_of(lambda _: index.query(queries, k=K), 3) / N_QUERIES
    both = median_of(lambda _: np.argpartition(queries @ rows.T, -K, axis=1)[:, -K:], 3) / N_QUERIES
    yield Row(f"a query of {N_QUERIES} at once", together, "ms", "numpy", both)

    expected = [brute_force(rows, query) for query in queries]
    found, similarity = index.query(queries, k=K)
    cosine = np.array([rows[places] @ query for places, query in zip(found, queries, strict=True)])
    highest = np.array([value for _, value in expected])
    yield Row("as near as float32: first", 100 * float((cosine >= highest - NEAR)[:, 0].mean()), "%", "numpy", 100)
    yield Row("as near as float32: first five", 100 * float((cosine >= highest - NEAR).mean()), "%", "numpy", 100)
    yield Row("largest error of a similarity, millionths", 1e6 * float(np.abs(similarity - cosine).max()), "")

    new = draw(N_ADDED, rng, centres)

    def add_and_find(turn: int) -> None:
        index.add(new[turn : turn + 1], [n + turn])
        if index.query(new[turn : turn + 1], k=1)[0].tolist() != [[n + turn]]:
            raise RuntimeError("an item that was added must be found at once")

    yield Row("add an item and find it, median", median_of(add_and_find, N_ADDED), "ms")
    yield Row("remove an item, median", median_of(lambda turn: index.remove([turn]), N_ADDED), "ms")
    yield Row("save what changed", timed(lambda: index.save(folder)) / 1000, "s")


def main() -> None:
    pages = [NOTES]
    for n in SIZES:
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(n, Path(folder) / "index"):
                say(f"  {row.name}: {row.value:.4g} {row.unit}")
                rows.append(row)
        around = {**surroundings(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}
        facts = ", ".join(
            f"{name} {around[name]}" for name in ("machine", "cores", "threads", "load", "python", "numpy")
        )
        pages.append(f"## {n:,} items\n\n{facts}\n\n{table(rows)}\n")
        print(pages[-1], flush=True)
    (RESULTS / "vectors.md").write_text("\n".join(pages), "utf-8")


if __name__ == "__main__":
    main()
