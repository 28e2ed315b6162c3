"""Figures of an evaluation, in scikit-learn's habit: ``from_predictions``, ``plot(ax=None)``, ``ax_``, ``figure_``.

The only module that needs matplotlib; it is imported when a figure is drawn.
"""

from __future__ import annotations

import io
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from triage.errors import DependencyError
from triage.evaluation.breakdown import REVIEW, confusion_of
from triage.evaluation.curves import reuse_curve, risk_curve
from triage.evaluation.shares import FEWEST, with_share
from triage.metrics import N_BINS, chance_calibration_error, expected_calibration_error, reliability

Namer = Callable[[str], str]


@dataclass(frozen=True)
class Palette:
    """Colours of a figure: of text, of what is secondary, of lines behind, of the data, and of what warns."""

    ink: str = "#1c2430"
    muted: str = "#667080"
    grid: str = "#dde1e7"
    accent: str = "#2f6690"
    warn: str = "#b3541e"
    paper: str = "#ffffff"


PALETTE = Palette()


@dataclass
class Display(ABC):
    """What all figures share."""

    ax_: Any = field(default=None, init=False, repr=False)
    figure_: Any = field(default=None, init=False, repr=False)

    def plot(self, ax: Any = None, *, palette: Palette = PALETTE) -> Any:
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        palette : Palette, optional
            Its colours.

        Returns
        -------
        self
            With ``ax_`` and ``figure_``.

        Raises
        ------
        DependencyError
            If matplotlib is not installed.
        """
        if ax is None:
            with _needed():
                from matplotlib import pyplot
            ax = pyplot.subplots(figsize=self._size(), layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        _dress(self.ax_, palette)
        self._draw(self.ax_, palette)
        return self

    def _size(self) -> tuple[float, float]:
        """Return width and height of the figure in inches."""
        return 4.6, 3.6

    @abstractmethod
    def _draw(self, ax: Any, palette: Palette) -> None:
        """Draw on axes that are dressed already."""


@dataclass
class ReliabilityDisplay(Display):
    """Whether probabilities mean what they say: the share right against the probability given.

    Parameters
    ----------
    bins : DataFrame
        Columns of `triage.metrics.reliability`.
    ece : float
        Expected calibration error.
    brier : float, optional
        Brier score.
    ece_by_chance : float, optional
        What true probabilities would show on as many questions.
    """

    bins: pd.DataFrame
    ece: float
    brier: float | None = None
    ece_by_chance: float | None = None

    @classmethod
    def from_predictions(
        cls,
        right: npt.ArrayLike,
        probability: npt.ArrayLike,
        *,
        n_bins: int = N_BINS,
        ax: Any = None,
    ) -> ReliabilityDisplay:
        """Draw the diagram of best labels.

        Parameters
        ----------
        right : array-like of bool of shape (n_questions,)
            Whether the best label is right.
        probability : array-like of shape (n_questions,)
            Its probability.
        n_bins : int, default=15
        ax : matplotlib Axes, optional

        Returns
        -------
        ReliabilityDisplay
        """
        bins = pd.DataFrame(reliability(probability, right, n_bins))
        ece, by_chance = (
            expected_calibration_error(probability, right, n_bins),
            chance_calibration_error(probability, n_bins),
        )
        return cls(bins, ece, ece_by_chance=by_chance).plot(ax)  # type: ignore[no-any-return]

    def _draw(self, ax: Any, palette: Palette) -> None:
        filled = self.bins[self.bins["n"] > 0]
        ax.plot([0, 1], [0, 1], color=palette.muted, linewidth=1, linestyle=(0, (4, 3)))
        rows = [
            with_share({"n": int(n), "n_right": round(n * accuracy)}, "share", "n_right", "n")
            for n, accuracy in zip(filled["n"], filled["accuracy"], strict=True)
        ]
        spread = [[abs(row["share"] - row[f"share_{end}"]) for row in rows] for end in ("low", "high")]
        ax.errorbar(filled["probability"], filled["accuracy"], spread, fmt="none", ecolor=palette.accent, linewidth=1)
        sizes = 8 + 120 * filled["n"] / max(filled["n"].max(), 1) if len(filled) else []
        ax.scatter(filled["probability"], filled["accuracy"], s=sizes, color=palette.accent, linewidth=0, zorder=3)
        scores = [f"ECE {self.ece:.3f}"]
        scores += [] if self.ece_by_chance is None else [f"({self.ece_by_chance:.3f} by chance)"]
        scores += [] if self.brier is None else [f"Brier {self.brier:.3f}"]
        ax.text(0.03, 0.96, "\n".join(scores), transform=ax.transAxes, va="top", color=palette.ink)
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="probability given", ylabel="share right")
        _percent(ax, "both")


@dataclass
class RiskCoverageDisplay(Display):
    """What more review would buy: the share of errors among the assigned, against the share assigned.

    Parameters
    ----------
    curve : DataFrame
        As `triage.evaluation.curves.risk_curve` gives it.
    promise : float, optional
        Share of the assigned that shall be right.
    at : tuple of float, optional
        Coverage and risk where the desk stands.
    at_interval : tuple of float, optional
        Interval of that risk.
    """

    curve: pd.DataFrame
    promise: float | None = None
    at: tuple[float, float] | None = None
    at_interval: tuple[float, float] | None = None

    @classmethod
    def from_predictions(
        cls,
        right: npt.ArrayLike,
        probability: npt.ArrayLike,
        *,
        promise: float | None = None,
        threshold: float | None = None,
        ax: Any = None,
    ) -> RiskCoverageDisplay:
        """Draw the curve of best labels.

        Parameters
        ----------
        right : array-like of bool of shape (n_questions,)
        probability : array-like of shape (n_questions,)
        promise : float, optional
            Share of the assigned that shall be right.
        threshold : float, optional
            From which probability on the desk assigns.
        ax : matplotlib Axes, optional

        Returns
        -------
        RiskCoverageDisplay
        """
        at = interval = None
        if threshold is not None:
            good, sure = np.asarray(right, bool), np.asarray(probability) >= threshold
            counts = {"n": int(sure.sum()), "n_wrong": int((sure & ~good).sum())}
            row = with_share(counts, "risk", "n_wrong", "n")
            if row["n"]:
                at, interval = (row["n"] / len(good), row["risk"]), (row["risk_low"], row["risk_high"])
        return cls(risk_curve(probability, right), promise, at, interval).plot(ax)  # type: ignore[no-any-return]

    def _draw(self, ax: Any, palette: Palette) -> None:
        judged = self.curve[self.curve["n_assigned"] >= FEWEST]  # chance reigns before
        curve = judged if len(judged) else self.curve
        ax.fill_between(
            curve["coverage"], curve["risk_low"], curve["risk_high"], color=palette.accent, alpha=0.16, linewidth=0
        )
        ax.plot(curve["coverage"], curve["risk"], color=palette.accent, linewidth=1.8)
        top = float(curve["risk"].max()) if len(curve) else 0.0
        if self.promise is not None:
            ax.axhline(1 - self.promise, color=palette.warn, linewidth=1, linestyle=(0, (4, 3)))
            said = f"promise: at most {100 * (1 - self.promise):.3g} % wrong"
            ax.text(0.3, 0.96, said, transform=ax.transAxes, color=palette.warn, va="top")
            top = max(top, 1.6 * (1 - self.promise))
        if self.at is not None:
            if self.at_interval is not None:
                ax.plot([self.at[0]] * 2, self.at_interval, color=palette.ink, linewidth=1)
            ax.plot(*self.at, "o", color=palette.ink, markersize=6)
        ax.set(xlim=(0, 1.02), ylim=(0, min(1.0, 1.25 * top + 0.01)), xlabel="share assigned")
        ax.set_ylabel("share of these wrong")
        _percent(ax, "both")


@dataclass
class ConfusionDisplay(Display):
    """What each label was taken for, with a column of what was left to a person.

    Parameters
    ----------
    counts : DataFrame
        As `triage.evaluation.breakdown.confusion_of` gives it.
    name : callable, optional
        Names a label for people.
    """

    counts: pd.DataFrame
    name: Namer = str

    @classmethod
    def from_predictions(
        cls,
        truth: Sequence[Any],
        best: Sequence[Any],
        assigned: npt.ArrayLike | None = None,
        *,
        name: Namer = str,
        ax: Any = None,
    ) -> ConfusionDisplay:
        """Draw the matrix.

        Parameters
        ----------
        truth, best : sequence of label of length n_questions
        assigned : array-like of bool of shape (n_questions,), optional
            What is not is in review; all by default.
        name : callable, optional
            Names a label for people.
        ax : matplotlib Axes, optional

        Returns
        -------
        ConfusionDisplay
        """
        sure = np.ones(len(truth), bool) if assigned is None else np.asarray(assigned, bool)
        answers = pd.DataFrame({"truth": list(map(str, truth)), "best": list(map(str, best)), "assigned": sure})
        return cls(confusion_of(answers), name).plot(ax)  # type: ignore[no-any-return]

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the rows."""
        return sorted({*self.counts["label"], *self.counts["said"]} - {REVIEW})

    def _size(self) -> tuple[float, float]:
        n = len(self.labels)
        return 2.6 + 0.42 * (n + 1), 1.9 + 0.34 * n

    def _draw(self, ax: Any, palette: Palette) -> None:
        from matplotlib.patches import Rectangle

        labels = self.labels
        columns = [*labels, REVIEW]
        wanted = self.counts.groupby("label")["n"].sum()
        for label, said, n in zip(self.counts["label"], self.counts["said"], self.counts["n"], strict=True):
            row, column = labels.index(label), columns.index(said)
            gap = 0.3 if said == REVIEW else 0.0
            share = n / wanted[label]
            color = palette.muted if said == REVIEW else palette.accent if said == label else palette.warn
            alpha = 0.1 + 0.55 * share
            ax.add_patch(
                Rectangle((column - 0.48 + gap, row - 0.46), 0.96, 0.92, color=color, alpha=alpha, linewidth=0)
            )
            ax.text(column + gap, row, f"{n}", ha="center", va="center", color=palette.ink, fontsize=8)
        names = [_short(self.name(label)) for label in labels]
        ax.set_yticks(range(len(labels)), names)
        ax.set_xticks(
            [*range(len(labels)), len(labels) + 0.3],
            [*names, "review"],
            rotation=45,
            ha="right",
            rotation_mode="anchor",
        )
        ax.set(xlim=(-0.6, len(columns)), ylim=(len(labels) - 0.4, -0.6))
        ax.set(xlabel="assigned", ylabel="right label")
        ax.grid(visible=False)
        for side in ax.spines.values():
            side.set_visible(False)
        ax.tick_params(length=0, labelsize=8)


@dataclass
class PromiseDisplay(Display):
    """Whether a promise holds, over all and for each group: the share right of the assigned, with its interval.

    Parameters
    ----------
    groups : DataFrame
        As `triage.evaluation.breakdown.by_promise` gives it.
    name : callable, optional
        Names a group for people; the empty one is all of them.
    """

    groups: pd.DataFrame
    name: Namer = str

    def _size(self) -> tuple[float, float]:
        return 4.6, 1.1 + 0.42 * len(self.groups)

    def _draw(self, ax: Any, palette: Palette) -> None:
        rows = self.groups[self.groups["n_assigned"] > 0].reset_index(drop=True)
        for place, row in rows.iterrows():
            color = palette.muted if row["too_few"] else palette.accent
            ax.plot([row["precision_low"], row["precision_high"]], [place, place], color=color, linewidth=1.6)
            ax.plot(row["precision"], place, "o", color=color, markersize=6)
        promise = rows["promise"].iloc[0] if len(rows) else None
        if promise is not None and not math.isnan(promise):
            ax.axvline(promise, color=palette.warn, linewidth=1, linestyle=(0, (4, 3)))
        named = [_short(self.name(group)) if group else "all" for group in rows["group"]]
        ax.set_yticks(range(len(rows)), named)
        low = float(rows["precision_low"].min()) if len(rows) else 0.0
        ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(max(0.0, low - 0.05), 1.01), xlabel="share right of the assigned")
        ax.grid(visible=False, axis="y")
        ax.locator_params(axis="x", nbins=5)  # labels of more run into each other
        _percent(ax, "x")


@dataclass
class ReuseDisplay(Display):
    """Whether answers that are offered fit: the share that fits, against the share of questions offered one.

    Parameters
    ----------
    curve : DataFrame
        As `triage.evaluation.curves.reuse_curve` gives it.
    promise : float, optional
        Share of the offered that shall fit.
    threshold : float, optional
        From which probability on the desk offers.
    """

    curve: pd.DataFrame
    promise: float | None = None
    threshold: float | None = None

    @classmethod
    def from_predictions(
        cls,
        fits: npt.ArrayLike,
        p_reuse: npt.ArrayLike,
        *,
        promise: float | None = None,
        threshold: float | None = None,
        ax: Any = None,
    ) -> ReuseDisplay:
        """Draw the curve of first answers.

        Parameters
        ----------
        fits : array-like of bool of shape (n_questions,)
        p_reuse : array-like of shape (n_questions,)
        promise, threshold : float, optional
        ax : matplotlib Axes, optional

        Returns
        -------
        ReuseDisplay
        """
        return cls(reuse_curve(p_reuse, fits), promise, threshold).plot(ax)  # type: ignore[no-any-return]

    def _draw(self, ax: Any, palette: Palette) -> None:
        curve = self.curve
        ax.fill_between(
            curve["coverage"],
            curve["precision_low"],
            curve["precision_high"],
            color=palette.accent,
            alpha=0.16,
            linewidth=0,
        )
        ax.plot(curve["coverage"], curve["precision"], color=palette.accent, linewidth=1.8)
        if self.promise is not None:
            ax.axhline(self.promise, color=palette.warn, linewidth=1, linestyle=(0, (4, 3)))
            said = f"promise: at least {100 * self.promise:.3g} % fit"
            ax.text(0.03, 0.04, said, transform=ax.transAxes, color=palette.warn)
        offered = curve[curve["threshold"] >= self.threshold] if self.threshold is not None else curve.iloc[:0]
        if len(offered):
            last = offered.iloc[-1]
            ax.plot(last["coverage"], last["precision"], "o", color=palette.ink, markersize=6)
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="share of questions offered an answer")
        ax.set_ylabel("share of these that fit")
        _percent(ax, "both")


@dataclass
class LearningCurveDisplay(Display):
    """Whether more questions would help: accuracy against the number trained on.

    Parameters
    ----------
    curve : DataFrame
        As `triage.recipe.learning_curve` gives it.
    name : callable, optional
        Names a target for people.
    """

    curve: pd.DataFrame
    name: Namer = str

    def _size(self) -> tuple[float, float]:
        return 5.8, 3.6

    def _draw(self, ax: Any, palette: Palette) -> None:
        styles = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2))]
        colors = [palette.accent, palette.warn, palette.ink, palette.muted]
        for place, (target, rows) in enumerate(self.curve.groupby("target", sort=False)):
            color = colors[place % len(colors)]
            ax.plot(
                rows["n_train"],
                rows["accuracy"],
                "o",
                linestyle=styles[place % len(styles)],
                color=color,
                markersize=4,
                linewidth=1.6,
                label=_short(self.name(str(target))),
            )
            if place < 2:
                ax.fill_between(
                    rows["n_train"], rows["accuracy_low"], rows["accuracy_high"], color=color, alpha=0.12, linewidth=0
                )
        ax.set(xlabel="questions trained on", ylabel="accuracy", xlim=(0, None))
        _percent(ax, "y")
        if len(self.curve):
            ax.legend(frameon=False, labelcolor=palette.ink, loc="upper left", bbox_to_anchor=(1, 1))


def _dress(ax: Any, palette: Palette) -> None:
    """Give axes a calm look: no frame, light lines behind, colours of the palette."""
    ax.set_facecolor("none")
    ax.figure.set_facecolor("none" if palette.paper == "none" else palette.paper)
    for side, line in ax.spines.items():
        line.set_visible(side in ("left", "bottom"))
        line.set_color(palette.grid)
    ax.grid(visible=True, color=palette.grid, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(colors=palette.muted, labelcolor=palette.ink, length=0, labelsize=9, pad=5)
    ax.xaxis.label.set_color(palette.muted)
    ax.yaxis.label.set_color(palette.muted)


def _percent(ax: Any, axis: str) -> None:
    """Write an axis in per cent."""
    from matplotlib.ticker import FuncFormatter

    for one in {"x": [ax.xaxis], "y": [ax.yaxis], "both": [ax.xaxis, ax.yaxis]}[axis]:
        one.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g} %"))


def _short(label: str) -> str:
    """Shorten a label to what fits beside a figure."""
    label = label if len(label) <= 28 else label[:27].rstrip() + "…"
    return label.replace("$", r"\$")  # no mathematics


def figure_of(display: Display, palette: Palette) -> Any:
    """Draw a display into a figure of its own, outside pyplot.

    Parameters
    ----------
    display : Display
    palette : Palette

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    """
    with _needed():
        from matplotlib.figure import Figure
    figure = Figure(figsize=display._size(), layout="constrained")
    display.plot(figure.subplots(), palette=palette)
    return figure


def svg_of(figure: Any, salt: str) -> str:
    """Return a figure as SVG with its text as text; the same figure and salt give the same bytes.

    Parameters
    ----------
    figure : matplotlib Figure
    salt : str
        What the names of its parts are made from; another for each figure of a page.

    Returns
    -------
    str
    """
    from matplotlib import rc_context

    page = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's own fonts may have it
        figure.savefig(page, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return page.getvalue()


def check_installed() -> None:
    """Find out before the work whether figures can be drawn after it; a DependencyError says how to get matplotlib."""
    with _needed():
        import matplotlib.figure  # noqa: F401


@contextmanager
def _needed() -> Iterator[None]:
    """Say how to get matplotlib where it is not installed."""
    try:
        yield
    except ImportError as error:
        raise DependencyError(package="matplotlib", extra="plots", purpose="a figure") from error
