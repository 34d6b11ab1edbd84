"""Pictures of errors: predictions against references, the residuals, and how often each size occurs."""

from collections.abc import Sequence
from math import erf, sqrt
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mtt.report.metrics import milli, readable
from mtt.report.parity import Parity, rmse
from mtt.report.plots import TRAIN, VALIDATION, finish, pretty

_QUIET = "#9a9a9a"
_MOST_BINS = 41
# Errors so many times the usual one are few: only a logarithmic axis shows them beside the others.
_FAR = 5.0


class Uncertain(Protocol):
    """Errors of one target beside its uncertainties, both (n,)."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def errors(self) -> NDArray[np.float64]: ...
    @property
    def uncertainties(self) -> NDArray[np.float64]: ...


def error_plots(
    panels: Sequence[Parity], title: str = "", calibrations: Sequence[Uncertain] = ()
) -> Figure:
    """Draw a row for each panel: predicted against reference, residuals, and their histogram.

    Residuals have an axis of their own: on the diagonal of values that span hundreds of electronvolts,
    no error is visible. Below them a row for each target with uncertainties.
    """
    rows = max(len(panels) + len(calibrations), 1)
    figure = Figure(figsize=(12.6, 3.9 * rows + 0.4 * bool(title)), layout="constrained")
    for number, panel in enumerate(panels):
        for column, draw in enumerate((_parity, _residuals, _histogram), start=1):
            axes = figure.add_subplot(rows, 3, 3 * number + column)
            draw(axes, panel)
            finish(axes)
    for number, calibration in enumerate(calibrations, start=len(panels)):
        for column, show in enumerate((_uncertainties, _confidence), start=1):
            axes = figure.add_subplot(rows, 3, 3 * number + column)
            show(axes, calibration)
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


def _uncertainties(axes: Axes, calibration: Uncertain) -> None:
    """Draw the size of errors against uncertainties: two of three points lie below the line."""
    factor, unit = milli(rmse(calibration.errors), calibration.unit)
    errors = factor * np.abs(calibration.errors)
    uncertainties = factor * calibration.uncertainties
    shown = (errors > 0.0) & (uncertainties > 0.0)
    errors, uncertainties = errors[shown], uncertainties[shown]
    _points(axes, uncertainties, errors)
    if len(errors):
        ends = np.array([uncertainties.min() / 1.3, uncertainties.max() * 1.3])
        axes.plot(ends, ends, color=_QUIET, lw=1, label="uncertainty")
        axes.plot(ends, 2.0 * ends, color=VALIDATION, lw=1, ls="--", label="twice")
        axes.set_xscale("log")
        axes.set_yscale("log")
        # Errors of nearly nothing would leave no room for the others.
        axes.set_ylim(bottom=max(errors.min(), 1e-3 * float(np.median(errors))) / 1.3)
        axes.legend(fontsize=8)
    axes.set_title(pretty(calibration.title), fontsize=10)
    axes.set_xlabel(f"uncertainty{_over(unit)}")
    axes.set_ylabel(f"|predicted - reference|{_over(unit)}")


def _confidence(axes: Axes, calibration: Uncertain) -> None:
    """Draw which part of the errors is within a multiple of the uncertainty, and that of normal ones."""
    there = calibration.uncertainties > 0.0
    ratios = np.sort(np.abs(calibration.errors[there]) / calibration.uncertainties[there])
    x = np.linspace(0.0, 4.0, 81)
    axes.plot(x, [erf(value / sqrt(2.0)) for value in x], color=_QUIET, lw=1, label="normal errors")
    parts = np.searchsorted(ratios, x, side="right") / max(len(ratios), 1)
    axes.step(x, parts, color=TRAIN, where="post", label="these")
    axes.set_title("calibration", fontsize=10)
    axes.set_xlabel("multiple of the uncertainty")
    axes.set_ylabel("part of the errors within it")
    axes.set_ylim(0.0, 1.02)
    axes.legend(fontsize=8, loc="lower right")


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
