"""Are uncertainties as large as errors are? Those of values that have references, structure by structure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtt.data.derived_targets import uncertainty_of
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.evaluation.results import Predictions
from mtt.printable import printable
from mtt.report.metrics import readable

# Of fewer values a spread says nothing.
_LEAST: Final = 2


@dataclass(frozen=True)
class Calibration:
    """Errors of one target beside its uncertainties, both (n,), per atom for values of structures."""

    target: str
    unit: str
    errors: NDArray[np.float64]
    uncertainties: NDArray[np.float64]

    @property
    def ratio(self) -> float:
        """Return the root mean square of errors over that of uncertainties: 1 where they fit."""
        variance = float(np.mean(self.uncertainties**2))
        return (
            float(np.sqrt(np.mean(self.errors**2) / variance)) if variance > 0.0 else float("inf")
        )

    def within(self, multiple: float) -> float:
        """Return which part of the errors is at most so many times its uncertainty."""
        return float(np.mean(np.abs(self.errors) <= multiple * self.uncertainties))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        ratio = self.ratio
        return {
            "unit": self.unit,
            "values": len(self.errors),
            "ratio": ratio if np.isfinite(ratio) else None,
            "within_1": self.within(1.0),
            "within_2": self.within(2.0),
            "mean_uncertainty": float(np.mean(self.uncertainties)),
            "rmse": float(np.sqrt(np.mean(self.errors**2))),
        }

    def sentence(self) -> str:
        """Return one line for people."""
        mean = readable(float(np.mean(self.uncertainties)), self.unit)
        return (
            f"uncertainty of {printable(self.target, 60)}: {mean} on average; errors are "
            f"{self.ratio:.2f} times as large (root mean squares), {100 * self.within(1.0):.0f} % within it "
            f"and {100 * self.within(2.0):.0f} % within twice it (normal errors: 1, 68 % and 95 %)"
        )


def calibrations(
    structures: Sequence[Structure], predictions: Predictions, targets: Sequence[Target]
) -> list[Calibration]:
    """Return one for each target whose uncertainty is among the predictions, and that has references."""
    found = []
    for target in targets:
        name = uncertainty_of(target).name
        pairs = [
            _pair(structure, prediction[target.name].values, prediction[name].values, target)
            for structure, prediction in zip(structures, predictions, strict=True)
            if name in prediction and target.name in structure.references
        ]
        if pairs:
            errors, uncertainties = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
            known = ~np.isnan(errors)
            if known.sum() >= _LEAST:
                unit = f"{target.unit}/atom" if target.per == "system" else target.unit
                found.append(
                    Calibration(target.name, unit.lstrip("/"), errors[known], uncertainties[known])
                )
    return found


def _pair(
    structure: Structure,
    predicted: NDArray[np.float64],
    uncertainty: NDArray[np.float64],
    target: Target,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    divisor = len(structure) if target.per == "system" else 1
    errors = predicted - structure.references[target.name].values
    return errors.reshape(-1) / divisor, uncertainty.reshape(-1) / divisor
