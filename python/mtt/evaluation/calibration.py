"""Are uncertainties as large as errors are? Those of values that have references, structure by structure.

Both what a model gives as its uncertainty and the spread of an ensemble, which is the standard deviation of
its members around their mean, are judged. Scores are those of the normal distribution around the
prediction, and of the members themselves (:mod:`mtt.evaluation.scores` has formulas and sources).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mtt.data.derived_targets import ENSEMBLE, ensemble_of, uncertainty_of
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.evaluation.results import Predictions, spread_of
from mtt.evaluation.scores import empirical_crps, gaussian_crps, gaussian_nll
from mtt.printable import printable
from mtt.report.metrics import readable

# Of fewer values a spread says nothing.
_LEAST: Final = 2
# Groups of values with similar uncertainties, and how many values each has at least.
_MOST_GROUPS: Final = 10
_LEAST_IN_GROUP: Final = 5


@dataclass(frozen=True)
class Calibration:
    """Errors of one target beside its uncertainties, both (n,), per atom for values of structures.

    - ``structures`` (n,): which structure each value is of, by its index;
    - ``values`` (n,): the predictions, also per atom;
    - ``members`` (n, K): errors of the members of the ensemble that the uncertainties are the spread of;
      None where they are what the model gives as its uncertainty.
    """

    target: str
    unit: str
    errors: NDArray[np.float64]
    uncertainties: NDArray[np.float64]
    structures: NDArray[np.int64]
    values: NDArray[np.float64]
    members: NDArray[np.float64] | None = None

    @property
    def title(self) -> str:
        """Return what it is, for people."""
        name = printable(self.target, 60)
        return (
            f"uncertainty of {name}" if self.members is None else f"ensemble of {name}, its spread"
        )

    @property
    def ratio(self) -> float:
        """Return the root mean square of errors over that of uncertainties: 1 where they fit."""
        variance = float(np.mean(self.uncertainties**2))
        return (
            float(np.sqrt(np.mean(self.errors**2) / variance)) if variance > 0.0 else float("inf")
        )

    @property
    def rmse(self) -> float:
        """Return the root mean square of the errors."""
        return float(np.sqrt(np.mean(self.errors**2)))

    def within(self, multiple: float) -> float:
        """Return which part of the errors is at most so many times its uncertainty."""
        return float(np.mean(np.abs(self.errors) <= multiple * self.uncertainties))

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Return the scores of each value (n,), smaller for better ones.

        ``nll`` has the logarithm of the unit in it, and is infinite without any uncertainty; ``crps`` is
        in the unit, and ``empirical_crps`` that of members.
        """
        errors, deviations = torch.tensor(self.errors), torch.tensor(self.uncertainties)
        exact = deviations == 0.0
        some = torch.where(exact, torch.ones_like(deviations), deviations)
        nll = gaussian_nll(errors, some.square()) + 0.5 * math.log(2.0 * math.pi)
        crps = torch.where(exact, errors.abs(), gaussian_crps(errors, some))
        found = {"nll": torch.where(exact, torch.inf, nll).numpy(), "crps": crps.numpy()}
        if self.members is not None:
            found["empirical_crps"] = empirical_crps(torch.tensor(self.members))[:, 0].numpy()
        return found

    def rank_correlation(self) -> float | None:
        """Return Spearman's, of uncertainties and sizes of errors; None where one of them never differs."""
        ranks = [_ranks(part) for part in (self.uncertainties, np.abs(self.errors))]
        if any(np.ptp(part) == 0.0 for part in ranks):
            return None
        return float(np.corrcoef(ranks[0], ranks[1])[0, 1])

    def by_uncertainty(self) -> list[dict[str, float]]:
        """Return root mean squares of uncertainties and errors of groups, those of small ones first."""
        n = min(_MOST_GROUPS, len(self.errors) // _LEAST_IN_GROUP)
        if n < 2:
            return []
        order = np.argsort(self.uncertainties, kind="stable")
        return [
            {
                "values": len(part),
                "uncertainty": float(np.sqrt(np.mean(self.uncertainties[part] ** 2))),
                "rmse": float(np.sqrt(np.mean(self.errors[part] ** 2))),
            }
            for part in np.array_split(order, n)
        ]

    def means(self) -> dict[str, float | None]:
        """Return the mean of each score; None where it is infinite."""
        means = {name: float(np.mean(values)) for name, values in self.scores().items()}
        return {name: mean if np.isfinite(mean) else None for name, mean in means.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        ratio = self.ratio
        members = {} if self.members is None else {"members": self.members.shape[1]}
        return {
            "unit": self.unit,
            "values": len(self.errors),
            **members,
            "ratio": ratio if np.isfinite(ratio) else None,
            "within_1": self.within(1.0),
            "within_2": self.within(2.0),
            "mean_uncertainty": float(np.mean(self.uncertainties)),
            "rmse": self.rmse,
            **self.means(),
            "rank_correlation": self.rank_correlation(),
            "by_uncertainty": self.by_uncertainty(),
        }

    def columns(self) -> dict[str, list[Any]]:
        """Return value, uncertainty, error and scores of each value, in columns of plain JSON."""
        scores = {
            name: [value if np.isfinite(value) else None for value in values.tolist()]
            for name, values in self.scores().items()
        }
        return {
            "index": self.structures.tolist(),
            "value": self.values.tolist(),
            "uncertainty": self.uncertainties.tolist(),
            "error": self.errors.tolist(),
            **scores,
        }

    def sentence(self) -> str:
        """Return one line for people."""
        mean = readable(float(np.mean(self.uncertainties)), self.unit)
        return (
            f"{self.title}: {mean} on average; errors are "
            f"{self.ratio:.2f} times as large (root mean squares), {100 * self.within(1.0):.0f} % within it "
            f"and {100 * self.within(2.0):.0f} % within twice it (normal errors: 1, 68 % and 95 %)"
        )


def calibrations(
    structures: Sequence[Structure], predictions: Predictions, targets: Sequence[Target]
) -> list[Calibration]:
    """Return one for the uncertainty, and one for the ensemble, of each target that has references."""
    return [
        calibration
        for target in targets
        for ensemble in (False, True)
        for calibration in _calibration(structures, predictions, target, ensemble)
    ]


def as_json(calibrations: Sequence[Calibration]) -> dict[str, Any]:
    """Return plain JSON by target, where what is of an ensemble is under ``ensemble``."""
    return _by_target(calibrations, Calibration.to_dict)


def of_structures(calibrations: Sequence[Calibration]) -> dict[str, Any]:
    """Return the same for single structures, or atoms."""
    return _by_target(calibrations, Calibration.columns)


def _by_target(
    calibrations: Sequence[Calibration], content: Callable[[Calibration], dict[str, Any]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in calibrations:
        own = found.setdefault(part.target, {})
        (own if part.members is None else own.setdefault(ENSEMBLE, {})).update(content(part))
    return found


def _calibration(
    structures: Sequence[Structure], predictions: Predictions, target: Target, ensemble: bool
) -> Iterator[Calibration]:
    name = (ensemble_of(target, 1) if ensemble else uncertainty_of(target)).name
    parts = [
        _rows(index, structure, prediction[target.name].values, prediction[name].values, target)
        for index, (structure, prediction) in enumerate(zip(structures, predictions, strict=True))
        if name in prediction and target.name in structure.references
    ]
    if not parts:
        return
    indices, values, references, given = (np.concatenate(each) for each in zip(*parts, strict=True))
    known = ~np.isnan(references)
    if known.sum() < _LEAST:
        return
    indices, values, references, given = (
        each[known] for each in (indices, values, references, given)
    )
    unit = f"{target.unit}/atom" if target.per == "system" else target.unit
    members = given - references[:, None] if ensemble else None
    if ensemble:
        values = given.mean(axis=1)
    yield Calibration(
        target.name,
        unit.lstrip("/"),
        values - references,
        spread_of(given) if ensemble else given[:, 0],
        indices,
        values,
        members,
    )


def _rows(
    index: int,
    structure: Structure,
    predicted: NDArray[np.float64],
    given: NDArray[np.float64],
    target: Target,
) -> tuple[NDArray[Any], ...]:
    """Return index, value, reference (n,) and uncertainty or members (n, K), per atom for systems."""
    divisor = len(structure) if target.per == "system" else 1
    n = len(predicted) if target.per == "atom" else 1
    references = structure.references[target.name].values.reshape(-1)
    return (
        np.full(n, index),
        predicted.reshape(-1) / divisor,
        references / divisor,
        given.reshape(n, -1) / divisor,
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the place of each value in their order, that of equal ones in the middle."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = last - 0.5 * (counts + 1)
    ranks: NDArray[np.float64] = middle[places.reshape(-1)]
    return ranks
