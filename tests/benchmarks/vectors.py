"""The index of vectors at 10,000, 100,000 and 200,000 items of 384 numbers, beside plain numpy in one run; and at
300,000, where it has a graph, beside the same index without.

Run: ``python tests/benchmarks/vectors.py``

The table is printed and kept in ``results/vectors.md``. It takes six minutes and 2 GB of memory. Vectors are drawn
with seed 0 around one of so many centres that ten share one, so that queries have near items, as questions have;
nothing is learnt and nothing chosen. The peer holds float32 rows of length 1, multiplies them with the query and takes
the highest five by `numpy.argpartition`.
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

from triage.index import VectorIndex, vectors

SIZES = (10_000, 100_000, 200_000)
N_WITH_GRAPH = 300_000
DIM = 384
K = 5
N_QUERIES = 200
N_ADDED = 30
N_OPENED = 9
TURN = 10  # queries of one side before the other's turn
MANY = 100  # as many as an archive is asked for
NEAR = 2e-4  # of a cosine

Vectors = npt.NDArray[np.float32]

NOTES = """# Index of vectors

Made by `tests/benchmarks/vectors.py`: vectors of 384 numbers drawn around centres with seed 0, queries likewise; single
queries with k = 5, the sides taking turns in one process. numpy is a product of float32 rows and a partition, without
what an index does. "As near" is the share of places whose cosine is no more than 0.0002 below that of float32. With
300,000 items the index has a graph of usearch; "whole" is the same index without, which compares all. "Found" is the
share of its items that the graph finds too. The load is that of the whole machine, in cores; it moves absolute numbers,
less the ratios, and not the time of one processor.
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

    yield from measure_changes(index, n, folder, draw(N_ADDED, rng, centres))


def measure_changes(index: VectorIndex, n: int, folder: Path, new: Vectors) -> Iterator[Row]:
    def add_and_find(turn: int) -> None:
        index.add(new[turn : turn + 1], [n + turn])
        if index.query(new[turn : turn + 1], k=1)[0].tolist() != [[n + turn]]:
            raise RuntimeError("an item that was added must be found at once")

    yield Row("add an item and find it, median", median_of(add_and_find, N_ADDED), "ms")
    yield Row("remove an item, median", median_of(lambda turn: index.remove([turn]), N_ADDED), "ms")
    yield Row("save what changed", timed(lambda: index.save(folder)) / 1000, "s")


def made(rows: Vectors, folder: Path, most_exact: int) -> tuple[VectorIndex, float, float, float]:
    """Return a saved index without a graph of up to so many items; s to build it, of one processor, and MB."""
    vectors.MOST_EXACT = most_exact
    start = time.process_time()
    index: list[VectorIndex] = []
    wall = timed(lambda: index.append(VectorIndex.from_matrix(rows))) / 1000
    processor = time.process_time() - start
    index[0].save(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return VectorIndex.open(folder), wall, processor, size / MB


def answer(index: VectorIndex, query: Vectors, k: int) -> tuple[float, list[int], list[float]]:
    """Return milliseconds, keys and similarities."""
    start = time.perf_counter()
    keys, similarity = index.query(query, k=k)
    return (time.perf_counter() - start) * 1000, keys[0].tolist(), similarity[0].tolist()


def measure_graph(n: int, folder: Path) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n // 10, DIM)).astype(np.float32)
    rows, queries = draw(n, rng, centres), draw(N_QUERIES, rng, centres)
    whole, *of_whole = made(rows, folder / "whole", n)
    index, *of_graph = made(rows, folder / "graph", n - 1)
    for name, ours, peer in zip(("build", "build, of one processor"), of_graph, of_whole, strict=False):
        yield Row(name, ours, "s", "whole", peer)
    yield Row("on disk", of_graph[2], "MB", "whole", of_whole[2])
    opened = [median_of(lambda _, name=name: VectorIndex.open(folder / name), N_OPENED) for name in ("graph", "whole")]
    yield Row("open, median", opened[0], "ms", "whole", opened[1])

    for k, n_queries in ((K, N_QUERIES), (MANY, N_QUERIES // 2)):
        ours, peers = [], []
        for first in range(0, n_queries, TURN):
            turn = [queries[row : row + 1] for row in range(first, first + TURN)]
            ours += [answer(index, query, k) for query in turn]
            peers += [answer(whole, query, k) for query in turn]
        times = [[ms for ms, *_ in side] for side in (ours, peers)]
        middle, late = ([float(np.quantile(side, part)) for side in times] for part in (0.5, 0.99))
        yield Row(f"query, k = {k}, median", middle[0], "ms", "whole", middle[1])
        yield Row(f"query, k = {k}, 99th percentile", late[0], "ms", "whole", late[1])
        found = [len({*one} & {*other}) / k for (_, one, _), (_, other, _) in zip(ours, peers, strict=True)]
        yield Row(f"found of the first {k}", 100 * statistics.mean(found), "%", "whole", 100)
        for query, (_, keys, similarity) in zip(queries, ours, strict=False):
            if whole.cosines(query, keys).tolist() != similarity:
                raise RuntimeError("a similarity must be that of the index without a graph")
    together = [median_of(lambda _, one=one: one.query(queries, k=K), 3) / N_QUERIES for one in (index, whole)]
    yield Row(f"a query of {N_QUERIES} at once", together[0], "ms", "whole", together[1])
    yield from measure_changes(index, n, folder / "graph", draw(N_ADDED, rng, centres))


def main() -> None:
    pages = [NOTES]
    for n in (*SIZES, N_WITH_GRAPH):
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            for row in (measure_graph if n == N_WITH_GRAPH else measure)(n, Path(folder) / "index"):
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
