"""Pictures: how the errors fell in training, and what all pictures have in common."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mtt.data.target import Target
from mtt.files import replacing
from mtt.report.metrics import Row, quantities

TRAIN, VALIDATION = "#2a6f97", "#d1603d"
_BEST = "#5c5c5c"
_SETS = ("train", "validation")
_DPI = 150


def learning_curve(
    rows: Sequence[Row],
    targets: Sequence[Target],
    length_unit: str,
    best_epoch: int | None = None,
) -> Figure:
    """Draw loss and errors of training and validation over the epochs.

    :param rows: as written to the metrics file: ``epoch`` and metrics named as in
        :mod:`mtt.report.metrics`; panels are drawn for those that occur
    :param best_epoch: marked by a vertical line
    """
    panels = [
        (name, label)
        for name, label in _curves(targets, length_unit)
        if any(_points(rows, curve)[1] for curve in _names(name))
    ]
    columns = 2 if len(panels) == 4 else min(max(len(panels), 1), 3)
    rows_of_panels = -(-len(panels) // columns) or 1
    size = (4.6 * columns, 3.6 * rows_of_panels)
    figure = Figure(figsize=size, layout="constrained")
    for number, (name, label) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows_of_panels, columns, number)
        for prefix, curve, color in zip(_SETS, _names(name), (TRAIN, VALIDATION), strict=True):
            epochs, values = _points(rows, curve)
            if values:
                marker = "o" if len(values) < 40 else None
                axes.plot(epochs, values, color=color, lw=1.4, marker=marker, ms=3, label=prefix)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=_BEST, lw=1, ls="--", label=f"best: {best_epoch}")
        if not any(_is_signed(rows, curve) for curve in _names(name)):
            _log_scale(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        finish(axes)
    if panels:
        figure.axes[0].legend(frameon=False, fontsize=9)
    return figure


def _curves(targets: Sequence[Target], length_unit: str) -> list[tuple[str, str]]:
    """Return the metrics to draw, each with the label of its axis."""
    curves = [("loss", "loss")]
    for quantity in quantities(targets, length_unit):
        if not quantity.is_total:
            # Its unit says that an energy is per atom.
            label = f"{quantity.label.removesuffix(' per atom')} RMSE"
            unit = pretty(quantity.unit)
            curves.append((quantity.metric("rmse"), f"{label} / {unit}" if unit else label))
    return curves


def _names(metric: str) -> list[str]:
    return [f"{prefix}_{metric}" for prefix in _SETS]


def _is_signed(rows: Sequence[Row], name: str) -> bool:
    """Return whether a metric has negative values, as the logarithm of a likelihood may have."""
    return any(float(row[name]) < 0 for row in rows if name in row)


def _points(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    points = [(float(row["epoch"]), float(row[name])) for row in rows if name in row]
    # A logarithmic axis has no place for zero, and none for NaN.
    signed = _is_signed(rows, name)
    kept = [
        (epoch, value) for epoch, value in points if np.isfinite(value) and (signed or value > 0)
    ]
    return [epoch for epoch, _ in kept], [value for _, value in kept]


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 2:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    elif high / low < 30:
        # Powers of ten alone would leave an axis of about a decade without numbers.
        fine = (1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0)
        steps = (1.0, 2.0, 5.0) if high / low > 5 else fine
        axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def pretty(unit: str) -> str:
    """Return a unit, or a number with it, as it is printed in pictures."""
    if unit.endswith("/A"):
        return f"{unit[:-2]}/Å"
    return unit.replace("/A^3", "/Å³").replace("^3", "³")


def finish(axes: Axes) -> None:
    """Give axes the look of all pictures; what others named is no mathematics in their texts."""
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color="#e6e6e6", lw=0.6)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG; the same data gives the same file."""
    canvas = _laid_out(figure)
    # Without the version of matplotlib in it.
    metadata: dict[str, Any] = {"Software": None}
    with replacing(path) as temporary:
        canvas.print_png(temporary, metadata=metadata)


def svg_of(figure: Figure) -> bytes:
    """Return a picture as SVG, without its date, and with texts as texts."""
    file = io.BytesIO()
    metadata: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    _laid_out(figure)
    with matplotlib.rc_context({"svg.hashsalt": "mtt", "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(file, metadata=metadata)
    return file.getvalue()


def _laid_out(figure: Figure) -> FigureCanvasAgg:
    """Give each panel its place, for good; ``print_figure`` finds it for each file by a second drawing."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_DPI)
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        engine.execute(figure)
        figure.set_layout_engine("none")
    return canvas
