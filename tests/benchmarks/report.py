"""The evaluation report of twenty thousand questions: how long it takes, and how large the page is.

Run: ``python tests/benchmarks/report.py``

The table is printed and kept in ``results/report.md`` and ``results/report.json``. The questions of a desk are taken
over and over until there are enough, each copy with one letter dropped or doubled (seed 0), so that no two are read
alike; columns and labels stay. All of them are measured by the released bundle, which has seen most: the numbers on the
page mean nothing here, its making does. Near duplicates are sought among the desk's own questions, so that every
question has one: the worst case.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import triage
from triage.evaluation import report

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
DESK = "industry-trade"  # most questions, most classes
N_QUESTIONS = 20_000
GOAL_S = 60


def edited(text: str, rng: np.random.Generator) -> str:
    place = int(rng.integers(len(text) or 1))
    return text[:place] + text[place + 1 :] if rng.random() < 0.5 else text[: place + 1] + text[place:]


def tiled(table: pd.DataFrame, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = table.iloc[np.arange(n) % len(table)].reset_index(drop=True)
    return frame.assign(text=[edited(text, rng) for text in frame["text"]], id=[f"q{row}" for row in range(n)])


class Clock:
    """Seconds on the wall and on the processor since the last step."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.last = time.perf_counter(), time.process_time()

    def step(self, name: str) -> None:
        now = time.perf_counter(), time.process_time()
        wall, processor = (after - before for after, before in zip(now, self.last, strict=True))
        self.rows.append({"step": name, "wall_s": round(wall, 1), "processor_s": round(processor, 1)})
        print(f"{name}: {wall:.1f} s on the wall, {processor:.1f} s of the processor", flush=True)
        self.last = time.perf_counter(), time.process_time()


def main() -> None:
    table = pd.read_csv(ROOT / "datasets" / DESK / "questions.csv", dtype=str, keep_default_na=False)
    frame = tiled(table, N_QUESTIONS)
    load = os.getloadavg()[0]
    clock = Clock()
    desk = triage.load(ROOT / "models" / DESK)
    clock.step("the bundle is loaded")
    result = desk.evaluate(frame)
    clock.step("20,000 questions are measured")
    page = report(result, title=DESK)
    clock.step("the page is made")
    needed = {key: round(sum(row[key] for row in clock.rows), 1) for key in ("wall_s", "processor_s")}
    desk.evaluate(frame, train=table)
    clock.step("measured again, with near duplicates among 4,630 questions")
    facts = {"n_questions": len(frame), "page_kb": round(len(page.encode()) / 1e3), "other_load": round(load, 1)}
    (RESULTS / "report.json").write_text(json.dumps({**facts, **needed, "steps": clock.rows}, indent=2) + "\n", "utf-8")
    (RESULTS / "report.md").write_text(written(clock.rows, needed, facts), "utf-8")


def written(rows: list[dict[str, Any]], needed: dict[str, float], facts: dict[str, Any]) -> str:
    lines = [
        "# The report of twenty thousand questions",
        "",
        f"`python tests/benchmarks/report.py`: questions of desk {DESK}, tiled to {facts['n_questions']:,} with one "
        f"letter changed in each (seed 0), measured by the released bundle. The page has {facts['page_kb']} kB. Goal: "
        f"at most {GOAL_S} s on two cores for the first three steps. {facts['other_load']:g} other programs ran on the "
        "machine's two cores on average before the start; seconds of the processor count this one alone.",
        "",
        "| step | wall, s | processor, s |",
        "|---|---:|---:|",
        *(f"| {row['step']} | {row['wall_s']:.1f} | {row['processor_s']:.1f} |" for row in rows[:3]),
        f"| **the report** | {needed['wall_s']:.1f} | {needed['processor_s']:.1f} |",
        *(f"| {row['step']} | {row['wall_s']:.1f} | {row['processor_s']:.1f} |" for row in rows[3:]),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
