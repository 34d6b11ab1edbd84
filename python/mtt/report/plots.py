"""Pictures (PNG): how the errors fell in training, and predictions against references."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from mtt.data.target import Target
from mtt.files import replacing
from mtt.report.metrics import Row, quantities, readable

TRAIN, VALIDATION = "#2a6f97", "#d1603d"
_BEST = "#5c5c5c"


@dataclass(frozen=True)
class Parity:
    """One panel of a parity plot: what is compared, in which unit; both arrays (n,).

    ``is_total``: whether pictures leave it to the panel of the same values per atom.
    """

    title: str
    unit: str
    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]
    is_total: bool = False


def learning_curve(
    rows: Sequence[Row],
    path: Path,
    targets: Sequence[Target],
    length_unit: str,
    best_epoch: int | None = None,
) -> None:
    """Draw loss and errors of training and validation over the epochs.

    :param rows: as written to the metrics file: ``epoch`` and metrics named as in
        :mod:`mtt.report.metrics`; panels are drawn for those that occur
    :param best_epoch: marked by a vertical line
    """
    panels = [
        (name, label)
        for name, label in _curves(targets, length_unit)
        if any(_points(rows, f"{prefix}_{name}")[1] for prefix in ("train", "validation"))
    ]
    columns = 2 if len(panels) == 4 else min(max(len(panels), 1), 3)
    rows_of_panels = -(-len(panels) // columns) or 1
    size = (4.6 * columns, 3.6 * rows_of_panels)
    figure = Figure(figsize=size, layout="constrained")
    for number, (name, label) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows_of_panels, columns, number)
        for prefix, color in (("train", TRAIN), ("validation", VALIDATION)):
            epochs, values = _points(rows, f"{prefix}_{name}")
            if values:
                marker = "o" if len(values) < 40 else None
                axes.plot(epochs, values, color=color, lw=1.4, marker=marker, ms=3, label=prefix)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=_BEST, lw=1, ls="--", label=f"best: {best_epoch}")
        _log_scale(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        _finish(axes)
    if panels:
        figure.axes[0].legend(frameon=False, fontsize=9)
    _save(figure, path)


def _curves(targets: Sequence[Target], length_unit: str) -> list[tuple[str, str]]:
    """Return the metrics to draw, each with the label of its axis."""
    curves = [("loss", "loss")]
    for quantity in quantities(targets, length_unit):
        if not quantity.is_total:
            # Its unit says that an energy is per atom.
            label = f"{quantity.label.removesuffix(' per atom')} RMSE"
            unit = _pretty(quantity.unit)
            curves.append((quantity.metric("rmse"), f"{label} / {unit}" if unit else label))
    return curves


def parity(panels: Sequence[Parity], path: Path, title: str = "") -> None:
    """Draw predicted against reference values, one panel each, with the RMSE in its title."""
    columns = min(max(len(panels), 1), 4)
    rows = -(-len(panels) // columns) or 1
    figure = Figure(figsize=(4.2 * columns, 4.9 * rows), layout="constrained")
    for number, panel in enumerate(panels, start=1):
        _parity_panel(figure.add_subplot(rows, columns, number), panel)
    if title:
        figure.suptitle(title, fontsize=11)
    _save(figure, path)


def _parity_panel(axes: Axes, panel: Parity) -> None:
    reference, predicted = panel.reference, panel.predicted
    # Energies have large offsets: their differences are what the axes must show.
    both = np.concatenate([reference, predicted])
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(1e-6, 1e-3 * abs(high))
    limits = (low - margin, high + margin)
    many = len(reference) > 2000
    axes.plot(limits, limits, color="#9a9a9a", lw=1, zorder=1)
    axes.scatter(
        reference,
        predicted,
        s=5 if many else 14,
        alpha=0.25 if many else 0.6,
        color=TRAIN,
        linewidths=0,
        rasterized=True,
        zorder=2,
    )
    rmse = float(np.sqrt(np.mean((predicted - reference) ** 2))) if len(reference) else 0.0
    unit = _pretty(panel.unit)
    axes.set_title(f"{panel.title}\nRMSE {_pretty(readable(rmse, panel.unit))}", fontsize=10)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_box_aspect(1)
    over = f" / {unit}" if unit else ""
    axes.set_xlabel(f"reference{over}")
    axes.set_ylabel(f"predicted{over}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))
    _finish(axes)


def _points(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    points = [(float(row["epoch"]), float(row[name])) for row in rows if name in row]
    # A logarithmic axis has no place for zero, and none for NaN.
    kept = [(epoch, value) for epoch, value in points if np.isfinite(value) and value > 0]
    return [epoch for epoch, _ in kept], [value for _, value in kept]


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 30:
        # Powers of ten alone would leave an axis of about a decade without numbers.
        fine = (1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0)
        steps = (1.0, 2.0, 5.0) if high / low > 5 else fine
        axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _pretty(unit: str) -> str:
    if unit.endswith("/A"):
        return f"{unit[:-2]}/Å"
    return unit.replace("/A^3", "/Å³").replace("^3", "³")


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color="#e6e6e6", lw=0.6)
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    canvas = FigureCanvasAgg(figure)
    # Without the version of matplotlib in it, the same data gives the same file.
    metadata: dict[str, Any] = {"Software": None}
    with replacing(path) as temporary:
        canvas.print_figure(temporary, format="png", dpi=150, metadata=metadata)
