"""Figures of an evaluation: what they show, alone and into axes that are given."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from triage.errors import DependencyError
from triage.evaluation import (
    ConfusionDisplay,
    LearningCurveDisplay,
    PromiseDisplay,
    ReliabilityDisplay,
    ReuseDisplay,
    RiskCoverageDisplay,
)
from triage.evaluation.display import PALETTE, check_installed, figure_of, svg_of
from triage.metrics import expected_calibration_error

RNG = np.random.default_rng(0)
PROBABILITY = RNG.random(200)
RIGHT = RNG.random(200) < PROBABILITY
GROUPS = pd.DataFrame(
    {
        "group": ["", "local"],
        "n_assigned": [40, 12],
        "precision": [0.95, 0.9],
        "precision_low": [0.83, 0.6],
        "precision_high": [0.99, 0.98],
        "promise": [0.9, 0.9],
        "too_few": [False, True],
    }
)
CURVE = pd.DataFrame(
    {
        "target": ["topic", "topic", "level"],
        "n_train": [10, 20, 20],
        "accuracy": [0.5, 0.7, 0.6],
        "accuracy_low": [0.4, 0.6, 0.5],
        "accuracy_high": [0.6, 0.8, 0.7],
    }
)


@pytest.fixture(autouse=True)
def drawing_board() -> Iterator[None]:
    """Draw without a screen, and close what was drawn."""
    mpl.use("agg")
    yield
    plt.close("all")


def displays() -> list[Any]:
    return [
        ReliabilityDisplay.from_predictions(RIGHT, PROBABILITY),
        RiskCoverageDisplay.from_predictions(RIGHT, PROBABILITY, promise=0.9, threshold=0.8),
        ConfusionDisplay.from_predictions(["a", "b"], ["a", "a"], [True, False]),
        ReuseDisplay.from_predictions(RIGHT, PROBABILITY, promise=0.8, threshold=0.7),
        PromiseDisplay(GROUPS).plot(),
        LearningCurveDisplay(CURVE).plot(),
    ]


def words(display: Any) -> list[str]:
    return [text.get_text() for text in display.ax_.texts]


def test_each_display_has_axes_and_a_figure_of_its_own() -> None:
    drawn = displays()
    assert all(display.ax_.figure is display.figure_ for display in drawn)
    assert len({id(display.figure_) for display in drawn}) == len(drawn)


def test_display_draws_into_axes_that_are_given() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    one = ReliabilityDisplay.from_predictions(RIGHT, PROBABILITY, ax=left)
    other = RiskCoverageDisplay.from_predictions(RIGHT, PROBABILITY, ax=right)
    assert (one.ax_, other.ax_) == (left, right)
    assert one.figure_ is other.figure_ is figure


def test_reliability_shows_its_scores_and_one_point_a_filled_bin() -> None:
    display = ReliabilityDisplay.from_predictions(RIGHT, PROBABILITY, n_bins=5)
    assert display.ece == expected_calibration_error(PROBABILITY, RIGHT, 5)
    assert words(display) == [f"ECE {display.ece:.3f}\n({display.ece_by_chance:.3f} by chance)"]
    (points,) = (one for one in display.ax_.collections if hasattr(one, "get_sizes") and len(one.get_sizes()) == 5)
    assert points.get_offsets()[:, 1].tolist() == pytest.approx(display.bins["accuracy"].tolist())


def test_risk_is_marked_where_the_desk_stands() -> None:
    display = RiskCoverageDisplay.from_predictions(RIGHT, PROBABILITY, promise=0.9, threshold=0.8)
    sure = PROBABILITY >= 0.8
    assert display.at == (pytest.approx(sure.mean()), pytest.approx((~RIGHT[sure]).mean()))
    assert display.at_interval is not None
    assert display.at_interval[0] < display.at[1] < display.at_interval[1]
    assert words(display) == ["promise: at most 10 % wrong"]


def test_risk_of_a_threshold_that_nothing_reaches_is_not_marked() -> None:
    assert RiskCoverageDisplay.from_predictions(RIGHT, PROBABILITY, threshold=1.0).at is None


def test_confusion_has_a_column_of_what_is_in_review() -> None:
    display = ConfusionDisplay.from_predictions(
        ["a", "a", "b", "b"], ["a", "b", "b", "b"], [True, False, True, True], name=str.upper
    )
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["A", "B"]
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["A", "B", "review"]
    assert sorted(words(display)) == ["1", "1", "2"]


def test_labels_are_no_mathematics() -> None:
    display = ConfusionDisplay.from_predictions(["$\\frac$", "x" * 99], ["$\\frac$", "x" * 99])
    figure = figure_of(display, PALETTE)
    assert "$\\frac$" in svg_of(figure, "a")
    assert "x" * 29 not in svg_of(figure, "a")


def test_promise_shows_groups_that_have_something_assigned() -> None:
    empty = pd.concat([GROUPS, GROUPS.tail(1).assign(group="ministry", n_assigned=0)])
    display = PromiseDisplay(empty, str.upper).plot()
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["all", "LOCAL"]


def test_figures_are_the_same_each_time_and_have_no_date() -> None:
    for display in displays():
        one, other = (svg_of(figure_of(display, PALETTE), "salt") for _ in range(2))
        assert one == other
        assert "dc:date" not in one
        assert "<text" in one  # not outlines


def test_figure_of_nothing_is_drawn() -> None:
    nothing: Any = [np.zeros(0, bool), np.zeros(0)]
    for kind in (ReliabilityDisplay, RiskCoverageDisplay, ReuseDisplay):
        assert kind.from_predictions(*nothing).ax_ is not None
    assert LearningCurveDisplay(CURVE.iloc[:0]).plot().ax_ is not None


def test_missing_matplotlib_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyError, match=r"'matplotlib'; install it with: pip install 'triage\[plots\]'"):
        check_installed()
    with pytest.raises(DependencyError, match=r"a figure needs the package 'matplotlib'"):
        ReliabilityDisplay.from_predictions(RIGHT, PROBABILITY)


def test_evaluation_loads_no_matplotlib() -> None:
    code = "import sys, triage.evaluation, triage.evaluation.page; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
