"""Errors of predictions in training units, the loss made of them, and sums of both over an epoch.

With e, f and s of :mod:`mtt.training.baseline`, the loss of a batch is

    w_energy mean_i l(e_i - e_i*) + w_forces mean_k l(f_k - f_k*) + w_stress mean_m l(s_m - s_m*)

with means over structures, force components and strain components that have references, and l(d) =
d^2 (mse), |d| (mae) or the Huber function d^2/2 for |d| < delta, else delta (|d| - delta/2).
"""

import math
from typing import NamedTuple

import torch

from mtt.architectures.gradients import energy_forces_strain
from mtt.data.batch import Batch
from mtt.options.schema.training import LossOptions

QUANTITIES = ("energy", "energy_per_atom", "forces", "stress")
# Rows of the table of sums; the strain row counts the loss, the stress row what people read.
_ROWS = (*QUANTITIES, "strain")
_COLUMNS = ("squares", "absolutes", "loss", "count")
TABLE_SHAPE = (len(_ROWS), len(_COLUMNS))


class Errors(NamedTuple):
    """Predicted minus reference values in training units, zero where there is no reference.

    ``energy`` [S] per atom, ``forces`` [N, 3] or None, ``strain`` [S, 3, 3] per atom or None.
    """

    energy: torch.Tensor
    forces: torch.Tensor | None
    strain: torch.Tensor | None


class Loss:
    """The loss, and with it which derivatives are needed at all."""

    def __init__(self, options: LossOptions, forces: bool, stress: bool) -> None:
        """
        :param forces: whether any structure has reference forces, likewise ``stress``
        """
        self.type, self.delta = options.type, options.delta
        self.weights = {
            "energy_per_atom": options.energy,
            "forces": options.forces if forces else 0.0,
            "strain": options.stress if stress else 0.0,
        }
        self.forces, self.stress = forces, stress

    def errors(self, core: torch.nn.Module, batch: Batch, training: bool) -> Errors:
        """Predict ``batch``, whose targets are in training units, and subtract the references.

        In training, quantities of weight zero are still predicted: they are reported.
        """
        derivatives = self.forces or self.stress
        energy, forces, strain = energy_forces_strain(
            core, batch.graph, create_graph=training, forces=derivatives
        )
        n_atoms = batch.n_atoms.to(energy.dtype)
        strain_error = None
        if self.stress:
            strain_error = strain / n_atoms[:, None, None] - batch.stress
            strain_error = strain_error * batch.stress_mask[:, None, None]
        return Errors(
            energy=energy / n_atoms - batch.energy.to(energy.dtype),
            forces=(forces - batch.forces) * batch.forces_mask[:, None] if self.forces else None,
            strain=strain_error,
        )

    def __call__(self, errors: Errors, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""
        total = self.weights["energy_per_atom"] * self.elementwise(errors.energy).mean()
        if errors.forces is not None and self.weights["forces"] > 0.0:
            count = (3 * batch.forces_mask.sum()).clamp(min=1)
            mean = self.elementwise(errors.forces).sum() / count
            total = total + self.weights["forces"] * mean
        if errors.strain is not None and self.weights["strain"] > 0.0:
            count = (9 * batch.stress_mask.sum()).clamp(min=1)
            mean = self.elementwise(errors.strain).sum() / count
            total = total + self.weights["strain"] * mean
        return total

    def elementwise(self, difference: torch.Tensor) -> torch.Tensor:
        """l(difference) of each element."""
        if self.type == "mse":
            return difference * difference
        magnitude = difference.abs()
        if self.type == "mae":
            return magnitude
        linear = self.delta * (magnitude - 0.5 * self.delta)
        return torch.where(magnitude < self.delta, 0.5 * difference * difference, linear)

    @torch.no_grad()
    def add(self, table: torch.Tensor, errors: Errors, batch: Batch) -> None:
        """Add the errors of a batch to a table of sums (``TABLE_SHAPE``, float64), in place.

        The table is all that is kept of an epoch, and stays on its device: nothing waits for it.
        """
        n_atoms = batch.n_atoms.to(torch.float64)
        energy = errors.energy.detach().to(torch.float64)
        count = torch.full_like(n_atoms[:1].sum(), energy.shape[0])
        rows = [self._sums(energy * n_atoms, count), self._sums(energy, count)]
        zero = torch.zeros(len(_COLUMNS), dtype=torch.float64, device=table.device)
        if errors.forces is not None:
            rows.append(self._sums(errors.forces, 3 * batch.forces_mask.sum()))
        else:
            rows.append(zero)
        if errors.strain is not None:
            count = 9 * batch.stress_mask.sum()
            per_volume = n_atoms / batch.volumes.clamp(min=1e-300) * batch.stress_mask
            strain = errors.strain.detach().to(torch.float64)
            rows += [
                self._sums(strain * per_volume[:, None, None], count),
                self._sums(strain, count),
            ]
        else:
            rows += [zero, zero]
        table += torch.stack(rows)

    def _sums(self, difference: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        difference = difference.detach().to(torch.float64)
        squares = (difference * difference).sum()
        absolutes = difference.abs().sum()
        known = {"mse": squares, "mae": absolutes}
        loss = known[self.type] if self.type in known else self.elementwise(difference).sum()
        return torch.stack([squares, absolutes, loss, count.to(torch.float64)])

    def metrics(self, table: torch.Tensor, scale: float) -> dict[str, float]:
        """Loss, RMSEs and MAEs from a table of sums, named as in :mod:`mtt.report.metrics`.

        :param scale: turns training units into those of the data
        """
        sums = {
            name: dict(zip(_COLUMNS, row, strict=True))
            for name, row in zip(_ROWS, table.tolist(), strict=True)
        }
        loss = 0.0
        for name, weight in self.weights.items():
            if weight > 0.0 and sums[name]["count"] > 0:
                loss += weight * sums[name]["loss"] / sums[name]["count"]
        metrics = {"loss": loss}
        for name in QUANTITIES:
            count = sums[name]["count"]
            if count > 0:
                quantity, suffix = name.split("_")[0], "_per_atom" * name.endswith("_per_atom")
                rmse = scale * math.sqrt(sums[name]["squares"] / count)
                metrics[f"{quantity}_rmse{suffix}"] = rmse
                metrics[f"{quantity}_mae{suffix}"] = scale * sums[name]["absolutes"] / count
        return metrics


def selected_metric(metrics: dict[str, float], name: str) -> float:
    """The number that the best epoch has least of.

    ``loss``, or the product of the RMSEs (``rmse_prod``) or MAEs (``mae_prod``) of energy per atom,
    forces and stress, as far as there are references.
    """
    if name == "loss":
        return metrics["loss"]
    kind = name.removesuffix("_prod")
    keys = (f"energy_{kind}_per_atom", f"forces_{kind}", f"stress_{kind}")
    return math.prod(metrics[key] for key in keys if key in metrics)
