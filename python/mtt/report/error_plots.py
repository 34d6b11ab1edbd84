"""Pictures of errors: predictions against references, the residuals, and how often each size occurs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mtt.report.metrics import readable
from mtt.report.parity import Parity, rmse
from mtt.report.plots import TRAIN, VALIDATION, finish, pretty

_QUIET = "#9a9a9a"
_MOST_BINS = 41
# Errors so many times the usual one are few: only a logarithmic axis shows them beside the others.
_FAR = 5.0


def error_plots(panels: Sequence[Parity], title: str = "") -> Figure:
    """Draw a row for each panel: predicted against reference, residuals, and their histogram.

    Residuals have an axis of their own: on the diagonal of values that span hundreds of electronvolts,
    no error is visible.
    """
    rows = max(len(panels), 1)
    figure = Figure(figsize=(12.6, 3.9 * rows + 0.4 * bool(title)), layout="constrained")
    for number, panel in enumerate(panels):
        for column, draw in enumerate((_parity, _residuals, _histogram), start=1):
            axes = figure.add_subplot(rows, 3, 3 * number + column)
            draw(axes, panel)
            finish(axes)
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _parity(axes: Axes, panel: Parity) -> None:
    reference, predicted = panel.shown(panel.reference), panel.shown(panel.predicted)
    both = np.concatenate([reference, predicted])
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(1e-6, 1e-3 * abs(high))
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=_QUIET, lw=1, zorder=1)
    _points(axes, reference, predicted)
    axes.set_title(f"{panel.title}: {len(reference)} values", fontsize=10)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_box_aspect(1)
    axes.set_xlabel(_label("reference", panel))
    axes.set_ylabel(_label("predicted", panel))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))


def _residuals(axes: Axes, panel: Parity) -> None:
    factor, unit = panel.scaled
    errors = factor * panel.errors
    typical = rmse(errors)
    axes.axhline(0.0, color=_QUIET, lw=1, zorder=1)
    for level in (-typical, typical):
        axes.axhline(level, color=VALIDATION, lw=1, ls="--", zorder=3)
    _points(axes, panel.shown(panel.reference), errors)
    limit = 1.1 * float(np.abs(errors).max(initial=0.0)) or 1.0
    axes.set_ylim(-limit, limit)
    text = pretty(readable(rmse(panel.errors), panel.unit))
    axes.set_title(f"RMSE {text} (dashed)", fontsize=10)
    axes.set_xlabel(_label("reference", panel))
    axes.set_ylabel(f"predicted - reference{_over(unit)}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))


def _histogram(axes: Axes, panel: Parity) -> None:
    factor, unit = panel.scaled
    errors = factor * panel.errors
    largest, typical = float(np.abs(errors).max(initial=0.0)), rmse(errors)
    limit = largest or 1.0
    bins = min(_MOST_BINS, 2 * int(np.sqrt(len(errors))) + 3)
    axes.hist(errors, bins=bins, range=(-limit, limit), color=TRAIN, alpha=0.85)
    axes.axvline(0.0, color=_QUIET, lw=1)
    for level in (-typical, typical):
        axes.axvline(level, color=VALIDATION, lw=1, ls="--")
    if largest > _FAR * typical:
        axes.set_yscale("log")
    mae = float(np.mean(np.abs(panel.errors))) if len(errors) else 0.0
    text = pretty(readable(mae, panel.unit, like=rmse(panel.errors)))
    axes.set_title(f"MAE {text}", fontsize=10)
    axes.set_xlabel(f"predicted - reference{_over(unit)}")
    axes.set_ylabel("number of values")


def _points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    many = len(x) > 2000
    axes.scatter(
        x,
        y,
        s=5 if many else 14,
        alpha=0.25 if many else 0.6,
        color=TRAIN,
        linewidths=0,
        rasterized=many,
        zorder=2,
    )


def _label(name: str, panel: Parity) -> str:
    return f"{name}{f' - {panel.offset_name}' if panel.offset_name else ''}{_over(panel.unit)}"


def _over(unit: str) -> str:
    return f" / {pretty(unit)}" if unit else ""
