"""Predicted values beside reference values, with what each of them belongs to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtt.report.metrics import milli


@dataclass(frozen=True)
class Parity:
    """What is compared of one quantity, in which unit; all arrays are (n,).

    - ``is_total``: whether pictures leave it to the panel of the same values per atom;
    - ``structures``: the index of the structure that each value belongs to;
    - ``types``: the atomic type of the atom that each value belongs to; None for those of structures;
    - ``offset``: what pictures subtract from both values, as ``offset_name`` says; None for nothing.
    """

    title: str
    unit: str
    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]
    is_total: bool = False
    structures: NDArray[np.int64] | None = None
    types: NDArray[np.int32] | None = None
    offset: NDArray[np.float64] | None = None
    offset_name: str = ""

    @property
    def errors(self) -> NDArray[np.float64]:
        """Return predicted minus reference values."""
        return self.predicted - self.reference

    @property
    def scaled(self) -> tuple[float, str]:
        """Return the factor and the unit in which errors of this size are read well."""
        return milli(rmse(self.errors), self.unit)

    def shown(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values without their offset."""
        return values if self.offset is None else values - self.offset


def rmse(errors: NDArray[np.float64]) -> float:
    """Return the root of the mean square; 0 of nothing."""
    return float(np.sqrt(np.mean(errors * errors))) if len(errors) else 0.0
