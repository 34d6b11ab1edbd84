"""Pictures of data: histograms."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtt.report.plots import TRAIN, finish, pretty

_BINS = 60


def histograms(arrays: Mapping[str, NDArray[np.float64]], title: str = "") -> Figure:
    """Draw a histogram of each array, with logarithmic counts so that single outliers are seen.

    :param arrays: by the label of their axis
    """
    columns = min(max(len(arrays), 1), 3)
    rows = -(-len(arrays) // columns) or 1
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    for number, (label, values) in enumerate(arrays.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        low, high = float(values.min()), float(values.max())
        if high - low <= 1e-9 * max(abs(low), abs(high), 1e-30):
            low, high = low - 0.5, high + 0.5
        axes.hist(values, bins=_BINS, range=(low, high), color=TRAIN)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.6)
        axes.set_xlabel(pretty(label))
        axes.set_ylabel("number")
        finish(axes)
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)
    return figure
