"""How fast the library is, and how much memory it takes, beside scikit-learn and fastText in one run on BANKING77.

Run: ``python tests/benchmarks/speed.py [--data ../shared/data] [--quick]``

The table is printed and kept in ``results/speed.md`` and ``results/speed.json``. ``--quick`` repeats less, streams
200,000 questions instead of a million, and keeps nothing. A peer that is not installed is skipped, and said so.

Peers:

- scikit-learn: TF-IDF of words and word pairs and of characters within words, into LinearSVC; it is as accurate.
- fastText with word pairs and subwords, at several numbers of epochs; the most accurate on the test rows is timed.

What is compared takes turns (A B A B …), so that other work on the machine slows all alike. Of the repeats the fastest
counts, of single questions the median. Where both sides use one core, processor time is compared as well: other work
hardly moves it. Start-up, memory and the command line are measured in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.svm import LinearSVC

import triage
from triage.features import QuestionVectorizer
from triage.training import TrainingOptions

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("triage", "numpy", "scipy", "scikit-learn", "fasttext-community")
C = 3.0  # of both LinearSVC: the peer's, and triage's own for a single target
FASTTEXT = {"wordNgrams": 2, "minn": 2, "maxn": 5, "dim": 100, "lr": 0.5, "thread": 2, "verbose": 0}
EPOCHS = (25, 50, 100)
N_CORES = 2
MB = 1e6


@dataclass(frozen=True)
class Row:
    """A line of the table: a measure of triage's, beside a peer's where `peer` names one, and what it must reach."""

    name: str
    value: float
    unit: str  # "questions/s" and "%": more is better; "ms", "s" and "MB": less is better
    peer: str = ""
    peer_value: float | None = None
    at_most: float | None = None
    at_least_ratio: float | None = None
    at_most_ratio: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.peer_value is None else self.value / self.peer_value

    @property
    def must(self) -> str:
        limits = [
            (self.at_most, f"≤ {shown(self.at_most, self.unit)}"),
            (self.at_least_ratio, f"≥ {self.at_least_ratio} ×"),
            (self.at_most_ratio, f"≤ {self.at_most_ratio} ×"),
        ]
        return ", ".join(text for limit, text in limits if limit is not None)

    @property
    def holds(self) -> bool | None:
        if not self.must:
            return None
        ratio = math.nan if self.ratio is None else self.ratio
        return (
            (self.at_most is None or self.value <= self.at_most)
            and (self.at_least_ratio is None or ratio >= self.at_least_ratio)
            and (self.at_most_ratio is None or ratio <= self.at_most_ratio)
        )


@dataclass(frozen=True)
class Setting:
    """How much is measured."""

    n_rounds: int  # of batches
    n_copies: int  # of the test questions in a batch
    n_trainings: int
    n_single: int  # single questions
    n_starts: int  # processes
    n_streamed: int  # questions through the command


FULL = Setting(n_rounds=9, n_copies=4, n_trainings=2, n_single=2000, n_starts=5, n_streamed=1_000_000)
QUICK = Setting(n_rounds=5, n_copies=2, n_trainings=1, n_single=600, n_starts=5, n_streamed=200_000)
TURN = 100  # single questions of one side before the other's turn, as it finds its data in the processor's cache


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- measuring ----------------------------------------------------------------------------------------


def seconds(task: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of a task, and those of the processor in this process."""
    start, start_processor = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - start, time.process_time() - start_processor


def take_turns(tasks: Mapping[str, Callable[[], Any]], n_rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the fewest seconds of each task, and of the processor for it, the tasks taking turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(n_rounds):
        for name, task in tasks.items():
            found[name].append(seconds(task))
    fewest = {name: tuple(map(min, zip(*times, strict=True))) for name, times in found.items()}
    return {name: both[0] for name, both in fewest.items()}, {name: both[1] for name, both in fewest.items()}


def environment() -> dict[str, str]:
    """Return the environment of a process that imports the same triage as this one."""
    home = str(Path(triage.__file__).resolve().parents[1])
    path = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def in_python(code: str, *args: str | Path) -> str:
    """Return what a fresh Python prints."""
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout


# Linux counts the memory of the process that starts a command to the command's peak, so a small one starts it here.
LAUNCHER = """
import json, os, subprocess, sys, time
questions, *command = sys.argv[1:]
start = time.perf_counter()
feed = subprocess.Popen(["cat", questions], stdout=subprocess.PIPE)
run = subprocess.Popen(command, stdin=feed.stdout, stdout=subprocess.DEVNULL)
feed.stdout.close()
_, status, usage = os.wait4(run.pid, 0)
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([os.waitstatus_to_exitcode(status), time.perf_counter() - start, peak]))
"""


def run_command(questions: str | Path, *command: str | Path) -> tuple[float, float]:
    """Run a command, `questions` piped to it; return its seconds and its peak memory in MB."""
    code, elapsed, peak = json.loads(in_python(LAUNCHER, questions, *command))
    if code:
        raise RuntimeError(f"{' '.join(map(str, command))!r} ended with exit code {code}")
    return elapsed, peak / MB


# --- the peers ----------------------------------------------------------------------------------------


def sklearn_pipeline() -> Pipeline:
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), min_df=2)
    return make_pipeline(make_union(words, characters), LinearSVC(C=C, random_state=0))


_FORKED: dict[str, Any] = {}


def _score(texts: list[str]) -> None:
    _FORKED["pipeline"].decision_function(texts)


def fasttext_lines(texts: Iterable[str]) -> list[str]:
    return [" ".join(text.lower().split()) for text in texts]  # it reads lines, and does not fold case


@dataclass(frozen=True)
class FastText:
    model: Any
    n_epochs: int
    accuracy: float
    seconds: float


def train_fasttext(train: pd.DataFrame, test: pd.DataFrame) -> list[FastText]:
    """Return a model for each number of epochs; none when not installed."""
    try:
        import fasttext
    except ImportError:
        say("fastText: skipped, it is not installed: pip install fasttext-community")
        return []
    fasttext.FastText.eprint = lambda *_, **__: None
    trained = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.txt")
        lines = zip(train["label"], fasttext_lines(train["text"]), strict=True)
        path.write_text("".join(f"__label__{label} {line}\n" for label, line in lines), "utf-8")
        for n_epochs in EPOCHS:
            start = time.perf_counter()
            model = fasttext.train_supervised(str(path), epoch=n_epochs, **FASTTEXT)
            elapsed = time.perf_counter() - start
            labels = [found[0] for found in model.predict(fasttext_lines(test["text"]))[0]]
            accuracy = float(("__label__" + test["label"] == labels).mean())
            trained.append(FastText(model, n_epochs, accuracy, elapsed))
    return trained


# --- what is measured ---------------------------------------------------------------------------------


def measure_training(train: pd.DataFrame, peer: FastText | None, setting: Setting, table: Path) -> Iterator[Row]:
    options = TrainingOptions()
    vectorizer = QuestionVectorizer(
        char_ngrams=options.char_ngrams,
        word_ngrams=options.word_ngrams,
        pair_window=options.pair_window,
        min_df=options.min_df or 2,
        n_bits=options.n_bits,
    )
    X = vectorizer.fit_transform(train["text"])
    fit, _ = take_turns(
        {
            "triage": partial(triage.train, train, targets="label"),
            "two": partial(triage.train, train, targets="label", options=TrainingOptions(n_jobs=N_CORES)),
            "svm": partial(LinearSVC(C=options.C or C, random_state=0).fit, X, train["label"]),
            "sklearn": partial(sklearn_pipeline().fit, train["text"], train["label"]),
        },
        setting.n_trainings,
    )
    name = "training, calibration included"
    yield Row(name, fit["triage"], "s", "one LinearSVC on the same features", fit["svm"], at_most_ratio=4)
    yield Row(name, fit["triage"], "s", "scikit-learn, features included", fit["sklearn"])
    if peer is not None:
        yield Row(name, fit["triage"], "s", f"fastText, {peer.n_epochs} epochs, 2 threads", peer.seconds)
    yield Row(f"training with n_jobs={N_CORES}", fit["two"], "s", "scikit-learn, features included", fit["sklearn"])
    code = "import sys, triage; triage.train(sys.argv[1], targets='label')"
    yield Row("training: peak memory", run_command(os.devnull, sys.executable, "-c", code, table)[1], "MB")


def measure_batches(
    bundle: Path, pipeline: Pipeline, peer: FastText | None, test: pd.DataFrame, setting: Setting
) -> Iterator[Row]:
    texts = test["text"].tolist() * setting.n_copies
    alone, both = triage.load(bundle, n_jobs=1), triage.load(bundle, n_jobs=N_CORES)
    tasks: dict[str, Callable[[], Any]] = {
        "two": partial(both.predict_proba, texts, "label"),
        "sklearn": partial(pipeline.decision_function, texts),
        "one": partial(alone.predict_proba, texts, "label"),
        "results": partial(alone.predict, texts, k=0),
        "frame": partial(alone.predict_frame, texts),
    }
    if peer is not None:
        tasks["fasttext"] = partial(peer.model.predict, fasttext_lines(texts))
    _FORKED["pipeline"] = pipeline
    with multiprocessing.get_context("fork").Pool(N_CORES) as pool:
        halves = [texts[start::N_CORES] for start in range(N_CORES)]
        tasks["processes"] = partial(pool.map, _score, halves)
        rate, rate_of_processor = (
            {name: len(texts) / fewest for name, fewest in found.items()}
            for found in take_turns(tasks, setting.n_rounds)
        )
    name, name_alone = f"batch, n_jobs={N_CORES}", "batch, n_jobs=1"
    yield Row(name, rate["two"], "questions/s", "scikit-learn", rate["sklearn"], at_least_ratio=4)
    if peer is not None:
        yield Row(name, rate["two"], "questions/s", "fastText", rate["fasttext"], at_least_ratio=1)
    yield Row(name, rate["two"], "questions/s", f"scikit-learn in {N_CORES} processes", rate["processes"])
    yield Row(name_alone, rate["one"], "questions/s", "scikit-learn", rate["sklearn"])
    if peer is not None:
        yield Row(name_alone, rate["one"], "questions/s", "fastText", rate["fasttext"])
    ours = rate_of_processor["one"]
    yield Row(f"{name_alone}, processor time", ours, "questions/s", "scikit-learn", rate_of_processor["sklearn"])
    if peer is not None:
        yield Row(f"{name_alone}, processor time", ours, "questions/s", "fastText", rate_of_processor["fasttext"])
    yield Row("batch of whole results (predict, k=0, n_jobs=1)", rate["results"], "questions/s")
    yield Row("batch as a table (predict_frame, n_jobs=1)", rate["frame"], "questions/s")


def measure_single(
    bundle: Path, pipeline: Pipeline, peer: FastText | None, test: pd.DataFrame, setting: Setting
) -> Iterator[Row]:
    triager = triage.load(bundle)
    tasks: dict[str, Callable[[str], Any]] = {
        "triage": lambda text: triager.predict([text], k=0),
        "sklearn": lambda text: pipeline.decision_function([text]),
    }
    if peer is not None:
        tasks["fasttext"] = lambda text: peer.model.predict(" ".join(text.lower().split()))
    texts = test["text"].tolist()[: setting.n_single]
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for start in range(0, len(texts), TURN):
        for name, task in tasks.items():
            times[name] += [seconds(partial(task, text))[0] for text in texts[start : start + TURN]]
    times["suggest"] = [seconds(partial(triager.predict, [text]))[0] for text in texts[:TURN]]
    median = {name: 1000 * statistics.median(found) for name, found in times.items()}
    name = "one question, decided (median)"
    yield Row(name, median["triage"], "ms", "scikit-learn", median["sklearn"], at_most=0.5, at_most_ratio=0.25)
    if peer is not None:
        yield Row(name, median["triage"], "ms", "fastText", median["fasttext"])
    yield Row("one question with five suggestions (median)", median["suggest"], "ms")


IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
LOAD = """
import sys, time
import triage, triage.triager
start = time.perf_counter()
triage.load(sys.argv[1])
print(time.perf_counter() - start)
"""


def measure_starts(bundle: Path, setting: Setting) -> Iterator[Row]:
    def fewest(code: str, *args: str | Path) -> float:
        return min(float(in_python(code, *args)) for _ in range(setting.n_starts))

    yield Row("import triage", fewest(IMPORT.format("triage")), "s", at_most=0.6)
    yield Row("import triage, and all that load needs", fewest(IMPORT.format("triage.triager")), "s")
    bundles = {"BANKING77": bundle}
    bundles |= {path.parents[1].name: path.parent for path in sorted(ROOT.glob("models/*/bundle/manifest.json"))}
    for name, folder in bundles.items():
        yield Row(f"load after import, {name}", 1000 * fewest(LOAD, folder), "ms", at_most=150)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MB
        yield Row(f"bundle, {name}", size, "MB", at_most=None if folder == bundle else 10)


def measure_stream(bundle: Path, test: pd.DataFrame, setting: Setting, folder: Path) -> Iterator[Row]:
    questions = folder / "questions.txt"
    lines = [" ".join(text.split()) + "\n" for text in test["text"]]
    whole, rest = divmod(setting.n_streamed, len(lines))
    with open(questions, "w", encoding="utf-8") as stream:
        for _ in range(whole):
            stream.writelines(lines)
        stream.writelines(lines[:rest])
    main = "from triage.cli import main; main()"
    for said, options in (("", ()), (" -k 0", ("-k", "0"))):
        name = f"triage predict MODEL -{said} < {setting.n_streamed:,} questions"
        say(f"{name} …")
        elapsed, peak = run_command(questions, sys.executable, "-c", main, "predict", bundle, "-", *options)
        yield Row(f"{name}: peak memory", peak, "MB", at_most=600)
        yield Row(f"{name}: throughput", setting.n_streamed / elapsed, "questions/s")


def measure(data: Path, setting: Setting) -> Iterator[Row]:
    source = data / "bench" / "banking77"
    train, test = (pd.read_json(source / f"{part}.jsonl", lines=True) for part in ("train", "test"))
    say("training each once …")
    triager = triage.train(train, targets="label")
    pipeline = sklearn_pipeline().fit(train["text"], train["label"])
    trained = train_fasttext(train, test)
    accuracy = 100 * float((triager.predict_frame(test)["label"] == test["label"]).mean())
    yield Row("accuracy", accuracy, "%", "scikit-learn", 100 * float(pipeline.score(test["text"], test["label"])))
    for one in trained:
        yield Row("accuracy", accuracy, "%", f"fastText, {one.n_epochs} epochs", 100 * one.accuracy)
    peer = max(trained, key=lambda one: one.accuracy, default=None)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        bundle = triager.save(folder / "bundle")
        say("batches …")
        yield from measure_batches(bundle, pipeline, peer, test, setting)
        say("single questions …")
        yield from measure_single(bundle, pipeline, peer, test, setting)
        say("start-up …")
        yield from measure_starts(bundle, setting)
        say("training …")
        yield from measure_training(train, peer, setting, source / "train.jsonl")
        yield from measure_stream(bundle, test, setting, folder)


# --- the table ----------------------------------------------------------------------------------------


def shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit in ("questions/s", "%", "MB"):
        return f"{value:,.0f} {unit}" if unit == "questions/s" or value >= 100 else f"{value:.1f} {unit}"
    return f"{value:.3g} {unit}"


def table(rows: Sequence[Row]) -> str:
    lines = ["| on | triage | peer | peer's | ratio | must | must holds |", "|---|---:|---|---:|---:|---:|---|"]
    for row in rows:
        cells = [
            row.name,
            shown(row.value, row.unit),
            row.peer,
            shown(row.peer_value, row.unit),
            "" if row.ratio is None else f"{row.ratio:.2f} ×",
            row.must,
            {None: "", True: "yes", False: "**no**"}[row.holds],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


NOTES = """# Speed

Made by `tests/benchmarks/speed.py` on BANKING77 (10,003 questions to train on, 3,080 to test, 77 classes). Peers were
measured in the same run, taking turns with triage; the ratio is triage's measure by the peer's. More is better for
%, questions/s; less for ms, s, MB. Other work on the machine moves the absolute numbers; compare the ratios. "Processor
time" counts only what the process itself used of one core. The load is that of the whole machine, in cores.

scikit-learn: TF-IDF of words and word pairs (sublinear) and of 2–5 characters within words, LinearSVC(C=3); a batch is
one call of `decision_function`. fastText: word pairs, subwords of 2–5, 100 dimensions, learning rate 0.5, the number
of epochs that is most accurate on the test rows; a batch is one call of `predict` on a list. triage's batch is
`predict_proba`, calibrated. Memory is the peak of the command's process. The two shipped desks' loading and size were
measured again by themselves when their bundles changed, the last time beside the bundles of before, which took 167 and
166 ms on the machine of that day (industry-trade, land) and 117 and 109 on this one: it is the machine that differs.
"""


def surroundings() -> dict[str, Any]:
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[2], 1),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def keep(rows: Sequence[Row], around: Mapping[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    kept = [{**asdict(row), "ratio": row.ratio, "must": row.must, "holds": row.holds} for row in rows]
    found = {"surroundings": around, "rows": kept}
    (RESULTS / "speed.json").write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8")
    versions = ", ".join(f"{name} {value}" for name, value in around.items() if value is not None)
    (RESULTS / "speed.md").write_text(f"{NOTES}\n{versions}\n\n{table(rows)}\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the public sets")
    parser.add_argument("--quick", action="store_true", help="repeat less, stream less, keep nothing")
    chosen = parser.parse_args()
    if not (chosen.data / "bench" / "banking77").is_dir():
        sys.exit("speed: there is no folder bench/banking77 in the data; name it by --data")
    start = time.monotonic()
    rows = []
    for row in measure(chosen.data, QUICK if chosen.quick else FULL):
        say(
            "  "
            + " | ".join(
                filter(None, [row.name, shown(row.value, row.unit), row.peer, shown(row.peer_value, row.unit)])
            )
        )
        rows.append(row)
    print(table(rows))
    if not chosen.quick:
        keep(rows, surroundings())
    say(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
