"""By which figure epochs are compared, so that the best one is chosen.

Those of the validation set count, and those of the training set if there is none.
"""

import math
from collections.abc import Mapping, Sequence

from mtt.options.schema.training import TrainingHypers
from mtt.report.metrics import TRAIN, VALIDATION, judged_by
from mtt.training.loss import selected_metric
from mtt.training.state import State


def against_best(state: State, hypers: TrainingHypers) -> tuple[float, float | None]:
    """Return the figure of the newest epoch, and that of the best one so far, of training errors.

    Both anew, as the newest epoch may be the first one that has an error of some quantity.
    """
    values = smoothed_metrics(state.history, hypers)
    best = state.best_epoch.epoch
    return values[-1], values[best - 1] if best else None


def smoothed_metric(history: Sequence[Mapping[str, float]], hypers: TrainingHypers) -> float:
    """Return the figure by which the newest epoch is compared with others."""
    return smoothed_metrics(history[-_window(hypers) :], hypers)[-1]


def smoothed_metrics(history: Sequence[Mapping[str, float]], hypers: TrainingHypers) -> list[float]:
    """Return the figure by which epochs are compared, for each: averaged over it and those before it.

    The geometric mean over ``best_model_smoothing`` times ``num_epochs`` epochs (at least one), or over
    those that there are; the arithmetic mean of scores of an ensemble, which may be negative.
    """
    window, name = _window(hypers), hypers.best_model_metric
    values = [selected_metric(row, name) for row in _compared(history)]
    if window == 1:
        return values  # bit by bit
    if name == "loss" and hypers.uncertainty is not None and hypers.uncertainty.ensemble_loss:
        parts = (values[max(0, end - window) : end] for end in range(1, len(values) + 1))
        return [math.fsum(part) / len(part) for part in parts]
    logarithms = [math.log(max(value, 1e-300)) for value in values]
    ends = range(1, len(values) + 1)
    newest = (logarithms[max(0, end - window) : end] for end in ends)
    return [math.exp(sum(part) / len(part)) for part in newest]


def _window(hypers: TrainingHypers) -> int:
    return max(1, round(hypers.best_model_smoothing * hypers.num_epochs))


def _compared(history: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
    """Return the errors by which the epochs of a history are compared, those of training at last."""
    if judged_by(history) == "validation":
        return [validation_metrics(row) for row in history]
    rows = [_part(row, TRAIN) for row in history]
    # An epoch leaves some structures out, perhaps all that have a quantity: else it would seem to be
    # better or worse by a factor. The nearest epoch before it has the error, or the first one that does.
    known: dict[str, float] = {}
    for row in reversed(rows):
        known |= row
    filled = []
    for row in rows:
        known |= row
        filled.append(dict(known))
    return filled


def validation_metrics(row: Mapping[str, float]) -> dict[str, float]:
    """Return the validation part of a row of the history."""
    return _part(row, VALIDATION)


def _part(row: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)
    }
