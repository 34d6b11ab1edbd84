"""Errors of predictions in training units, the loss made of them, and sums of both over an epoch.

With the training units of :mod:`mtt.training.baseline`, the loss of a batch is the sum over targets
of

    w_value mean_i l(e_i - e_i*) + w_forces mean_k l(f_k - f_k*) + w_stress mean_m l(s_m - s_m*)

with means over values (per atom, for values of systems), force components and strain components that
have references (or sums, with ``reduction: sum``), and l(d) = d^2 (mse), |d| (mae) or the Huber
function d^2/2 for |d| < delta, else delta (|d| - delta/2). Each of the three has its own l and its own
weight, which may change from one epoch to another. Where structures have weights, each l is multiplied
by that of its structure; the numbers that are divided by stay. RMSEs and MAEs know no weights of
structures.

Spectra that are known up to a shift are compared where they fit best (:mod:`mtt.data.spectra`), with
errors d_i there. With h the spacing of the grid, the sum over values of a structure is then

    sum_known l(d_i) + sum_before l(p_i) + w_gradient sum_unknown ((p_i - p_{i-1}) / h)^2
    + w_integral sum_known (h sum_{k <= i} d_k)^2

where *before* are the points before the spectrum begins, and *unknown* all others without a value. Those
that may begin anywhere are compared between zeros. This is the shift-agnostic loss of metatrain but for
three things: the sum is divided by the number of known values and not of structures, slopes are those
between two points and not five, and integrals are of the errors at known points.

Where an ensemble of last layers is trained, l of a value is a score of what its members predict
(:mod:`mtt.evaluation.scores`), whose mean is the value.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from mtt.architectures.evaluate import Values, evaluate
from mtt.architectures.interface import Core
from mtt.data.batch import Batch, BatchReferences
from mtt.data.spectra import aligned, between_zeros
from mtt.data.target import POSITIONS, STRAIN, Target
from mtt.evaluation.scores import score
from mtt.options.schema.loss_parts import (
    ANYWHERE,
    FIRST_EPOCH,
    LossOptions,
    LossType,
    PartLoss,
    weight_at,
)
from mtt.options.schema.training import EnsembleLoss
from mtt.report.metrics import FORCES, PER_ATOM, STRESS, VALUE, quantities
from mtt.training.shifted import beside_errors

# Rows of a target's table of sums; the strain row counts the loss, the stress row what people read.
_STRAIN = "strain"
_ROWS = (VALUE, PER_ATOM, FORCES, STRESS, _STRAIN)
_COLUMNS = ("squares", "absolutes", "loss", "count")
_LEAST_ERROR = 1e-12
TABLE_SHAPE = (len(_ROWS), len(_COLUMNS))


class Errors(NamedTuple):
    """Predicted minus reference values of one target in training units, zero without reference.

    ``values`` [S, P] per atom of a target per system, [N, P] of a target per atom; ``forces`` [N, 3]
    or None; ``strain`` [S, 3, 3] per atom or None. ``members`` [S, K] or [N, K]: what members of an
    ensemble give beside the value, with a mean of zero, or None. ``beside`` [S] or None: what each
    structure adds to the loss of values beside the function of ``values``.
    """

    values: torch.Tensor
    forces: torch.Tensor | None
    strain: torch.Tensor | None
    members: torch.Tensor | None = None
    beside: torch.Tensor | None = None


class LastLayers(NamedTuple):
    """Ensembles of last layers that are trained, and how.

    - ``weights``: [K, F] of each target that has one: what members add to its raw values, by features;
    - ``loss``: the score of what members predict;
    - ``alone``: whether nothing else is trained, so that gradients and other targets do not count.
    """

    weights: Mapping[str, torch.Tensor]
    loss: EnsembleLoss
    alone: bool


class _Weights(NamedTuple):
    """Weights of the structures of a batch, and the same for each of their atoms."""

    systems: torch.Tensor
    atoms: torch.Tensor

    def like(self, errors: torch.Tensor) -> torch.Tensor:
        """Return a factor to errors with one row for each structure, or for each atom."""
        # Where both numbers are the same, each structure is one atom.
        rows = self.systems if len(errors) == len(self.systems) else self.atoms
        return rows.to(errors.dtype).reshape(-1, *[1] * (errors.dim() - 1))


def _of_structures(batch: Batch) -> _Weights | None:
    if batch.weights is None:
        return None
    return _Weights(batch.weights, batch.weights[batch.graph.system])


class TargetTerm:
    """What one target adds to the loss."""

    def __init__(
        self,
        target: Target,
        options: LossOptions,
        epoch: int = FIRST_EPOCH,
        ensemble: LastLayers | None = None,
    ) -> None:
        """
        :param target: its gradients are those that have references anywhere
        :param epoch: counted from 1; its weights are taken
        :param ensemble: of last layers, of any targets
        """
        self.target = target
        self.ensemble = ensemble
        self.last_layers = None if ensemble is None else ensemble.weights.get(target.name)
        own = options.of(target.name, target.is_energy)
        self.shift = options.shift_of(target.name)
        self.target_points = options.extra_points(target.name, target.properties)
        self.forces, self.stress = POSITIONS in target.gradients, STRAIN in target.gradients
        self.value_row = PER_ATOM if target.per == "system" else VALUE
        self.parts = {self.value_row: own.value, FORCES: own.forces, _STRAIN: own.stress}
        self.weights = {
            self.value_row: weight_at(own.value.weight, epoch),
            FORCES: weight_at(own.forces.weight, epoch) if self.forces else 0.0,
            _STRAIN: weight_at(own.stress.weight, epoch) if self.stress else 0.0,
        }
        if ensemble is not None and ensemble.alone:
            kept = {self.value_row} if self.last_layers is not None else set()
            self.weights = {
                part: weight if part in kept else 0.0 for part, weight in self.weights.items()
            }

    def errors(self, values: Values, batch: Batch) -> Errors:
        """Subtract the references of ``batch``, which are in training units."""
        references = batch.references[self.target.name]
        n_atoms = batch.n_atoms.to(values.atoms.dtype)
        predicted = values.atoms if values.systems is None else values.systems / n_atoms[:, None]
        if self.ensemble is not None and self.ensemble.alone:
            # Gradients have taken its graph, and nothing in it is trained.
            predicted = predicted.detach()
        beside = None
        if self.shift is not None:
            points = self.target_points
            rows = (predicted, references.values, references.mask)
            anywhere = self.shift.extra_points == ANYWHERE
            if anywhere:
                rows = between_zeros(*rows)
            predicted = rows[0]
            spectra = aligned(*rows, points, anywhere)
            difference = torch.where(
                spectra.known, predicted - spectra.values.to(predicted.dtype), 0.0
            )
            beside = beside_errors(predicted, difference, spectra, self.shift, self._of_values)
        else:
            difference = predicted - references.values.to(predicted.dtype)
        if self.shift is None and not references.complete:
            difference = torch.where(references.mask, difference, torch.zeros_like(difference))
        forces = strain = None
        if self.forces:
            assert values.forces is not None
            assert references.forces is not None and references.forces_mask is not None
            forces = (values.forces - references.forces) * references.forces_mask[:, None]
        if self.stress:
            assert values.strain is not None
            assert references.stress is not None and references.stress_mask is not None
            strain = values.strain / n_atoms[:, None, None] - references.stress
            strain = strain * references.stress_mask[:, None, None]
        return Errors(difference, forces, strain, self._members(values, n_atoms), beside)

    def _of_values(self, difference: torch.Tensor) -> torch.Tensor:
        part = self.parts[self.value_row]
        return self.elementwise(difference, part.type, part.delta)

    def _count(self, references: BatchReferences) -> torch.Tensor:
        """Return how many values are known, of those that can count."""
        return references.mask[:, self.target.room :].sum()

    def _members(self, values: Values, n_atoms: torch.Tensor) -> torch.Tensor | None:
        if self.last_layers is None or self.ensemble is None:
            return None
        assert values.features is not None
        features = values.features.detach() if self.ensemble.alone else values.features
        if values.systems is not None:
            features = features / n_atoms[:, None]
        around = self.last_layers - self.last_layers.mean(dim=0)
        return features @ around.t()

    def __call__(self, errors: Errors, batch: Batch) -> torch.Tensor:
        """Return the loss of one batch, a scalar."""
        references = batch.references[self.target.name]
        weights = _of_structures(batch)
        total = self.weights[self.value_row] * self._of_all_values(errors, references, weights)
        if errors.forces is not None and self.weights[FORCES] > 0.0:
            assert references.forces_mask is not None
            count = (3 * references.forces_mask.sum()).clamp(min=1)
            terms = self._terms(errors.forces, weights, self.parts[FORCES])
            total = total + self.weights[FORCES] * self._reduced(FORCES, terms.sum(), count)
        if errors.strain is not None and self.weights[_STRAIN] > 0.0:
            assert references.stress_mask is not None
            count = (9 * references.stress_mask.sum()).clamp(min=1)
            terms = self._terms(errors.strain, weights, self.parts[_STRAIN])
            total = total + self.weights[_STRAIN] * self._reduced(_STRAIN, terms.sum(), count)
        return total

    def _reduced(self, part: str, total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        """Return the mean, or the sum, of a part that adds up to ``total``."""
        return total if self.parts[part].reduction == "sum" else total / count

    def _of_all_values(
        self, errors: Errors, references: BatchReferences, weights: "_Weights | None"
    ) -> torch.Tensor:
        values = self._terms_of_values(errors, references, weights)
        mean = self.parts[self.value_row].reduction == "mean"
        if mean and references.complete and self.shift is None:
            return values.mean()
        total = values.sum()
        if errors.beside is not None:
            total = total + self._sum_beside(errors.beside, weights)
        return self._reduced(self.value_row, total, self._count(references).clamp(min=1))

    def _sum_beside(self, beside: torch.Tensor, weights: "_Weights | None") -> torch.Tensor:
        return (beside if weights is None else beside * weights.like(beside)).sum()

    def _terms_of_values(
        self, errors: Errors, references: BatchReferences, weights: "_Weights | None"
    ) -> torch.Tensor:
        if errors.members is None or self.ensemble is None:
            return self._terms(errors.values, weights, self.parts[self.value_row])
        terms = score(self.ensemble.loss, errors.values, errors.members)
        if not references.complete:
            terms = torch.where(references.mask, terms, torch.zeros_like(terms))
        return terms if weights is None else terms * weights.like(terms)

    def _terms(
        self, difference: torch.Tensor, weights: "_Weights | None", part: PartLoss
    ) -> torch.Tensor:
        terms = self.elementwise(difference, part.type, part.delta)
        return terms if weights is None else terms * weights.like(difference)

    def elementwise(
        self, difference: torch.Tensor, function: LossType, delta: float
    ) -> torch.Tensor:
        """Return l(difference) of each element."""
        if function == "mse":
            return difference * difference
        magnitude = difference.abs()
        if function == "mae":
            return magnitude
        linear = delta * (magnitude - 0.5 * delta)
        return torch.where(magnitude < delta, 0.5 * difference * difference, linear)

    def rows(self, errors: Errors, batch: Batch) -> list[torch.Tensor]:
        """Return the sums over a batch, one row [4] float64 for each of ``_ROWS``."""
        references = batch.references[self.target.name]
        n_atoms = batch.n_atoms.to(torch.float64)
        values = errors.values.detach().to(torch.float64)
        # Made on the device: nothing is copied there, and nothing waits for it.
        count = torch.full_like(n_atoms[:1].sum(), values.numel())
        if self.shift is not None or not references.complete:
            count = self._count(references)
        zero = torch.zeros(len(_COLUMNS), dtype=torch.float64, device=n_atoms.device)
        rows = dict.fromkeys(_ROWS, zero)
        weights = _of_structures(batch)
        rows[self.value_row] = self._sums(values, count, self.parts[self.value_row], weights)
        if errors.beside is not None:
            beside = errors.beside.detach().to(torch.float64)
            rows[self.value_row][_COLUMNS.index("loss")] += self._sum_beside(beside, weights)
        if errors.members is not None:
            members = errors.members.detach().to(torch.float64)
            scored = self._terms_of_values(Errors(values, None, None, members), references, weights)
            rows[self.value_row][_COLUMNS.index("loss")] = scored.sum()
        if self.value_row == PER_ATOM:
            amounts = n_atoms
            if self.target.per_volume:
                amounts = n_atoms / batch.volumes.clamp(min=1e-300)
            rows[VALUE] = self._sums(values * amounts[:, None], count, self.parts[self.value_row])
        if errors.forces is not None:
            assert references.forces_mask is not None
            rows[FORCES] = self._sums(
                errors.forces, 3 * references.forces_mask.sum(), self.parts[FORCES], weights
            )
        if errors.strain is not None:
            assert references.stress_mask is not None
            count = 9 * references.stress_mask.sum()
            per_volume = n_atoms / batch.volumes.clamp(min=1e-300) * references.stress_mask
            strain = errors.strain.detach().to(torch.float64)
            rows[STRESS] = self._sums(
                strain * per_volume[:, None, None], count, self.parts[_STRAIN]
            )
            rows[_STRAIN] = self._sums(strain, count, self.parts[_STRAIN], weights)
        return [rows[name] for name in _ROWS]

    def _sums(
        self,
        difference: torch.Tensor,
        count: torch.Tensor,
        part: PartLoss,
        weights: "_Weights | None" = None,
    ) -> torch.Tensor:
        difference = difference.detach().to(torch.float64)
        squares = (difference * difference).sum()
        absolutes = difference.abs().sum()
        known = {"mse": squares, "mae": absolutes}
        if weights is None and part.type in known:
            loss = known[part.type]
        else:
            loss = self._terms(difference, weights, part).sum()
        return torch.stack([squares, absolutes, loss, count.to(torch.float64)])

    def loss_of(self, sums: Mapping[str, Mapping[str, float]]) -> float:
        """Return the loss over an epoch."""
        loss = 0.0
        for name, weight in self.weights.items():
            if weight > 0.0 and sums[name]["count"] > 0:
                count = 1.0 if self.parts[name].reduction == "sum" else sums[name]["count"]
                loss += weight * sums[name]["loss"] / count
        return loss


class Loss:
    """The loss of several targets, and with it which derivatives are needed at all."""

    def __init__(
        self,
        options: LossOptions,
        targets: Sequence[Target],
        epoch: int = FIRST_EPOCH,
        ensemble: LastLayers | None = None,
    ) -> None:
        """
        :param targets: each with the gradients that any structure has references for
        :param epoch: counted from 1; its weights are taken
        :param ensemble: of last layers that are trained, if there is one
        """
        self.targets = tuple(targets)
        self.ensemble = ensemble
        self.terms = [TargetTerm(target, options, epoch, ensemble) for target in targets]
        self.derivatives = [target.name for target in targets if target.gradients]
        self.quantities = quantities(targets)

    def weights(self) -> str:
        """Return the weights of all quantities that the data have, for people."""
        words = {_STRAIN: f" {STRESS}", FORCES: f" {FORCES}"}
        shown = [
            (f"{term.target.name}{words.get(part, '')}", weight)
            for term in self.terms
            for part, weight in term.weights.items()
            if part not in words or (term.forces if part == FORCES else term.stress)
        ]
        return ", ".join(f"{name} {weight:g}" for name, weight in shown)

    def errors(self, core: Core, batch: Batch, training: bool) -> list[Errors]:
        """Predict ``batch``, whose references are in training units, and subtract them.

        Quantities of weight zero are predicted as well, because they are reported.
        """
        features = () if self.ensemble is None else list(self.ensemble.weights)
        graph = training and not (self.ensemble is not None and self.ensemble.alone)
        values = evaluate(core, batch.graph, self.targets, self.derivatives, graph, features)
        return [term.errors(values[term.target.name], batch) for term in self.terms]

    def __call__(self, errors: Sequence[Errors], batch: Batch) -> torch.Tensor:
        """Return the loss of one batch, a scalar."""
        losses = [term(own, batch) for term, own in zip(self.terms, errors, strict=True)]
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        return total

    def new_table(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return an empty table of sums, [targets, 5, 4] float64."""
        return new_table(len(self.targets), device)

    @torch.no_grad()
    def add(self, table: torch.Tensor, errors: Sequence[Errors], batch: Batch) -> None:
        """Add the errors of a batch to a table of sums, in place.

        The table is all that is kept of an epoch, and stays on its device: nothing waits for it.
        """
        rows = [
            row
            for term, own in zip(self.terms, errors, strict=True)
            for row in term.rows(own, batch)
        ]
        table += torch.stack(rows).reshape(table.shape)

    def metrics(self, table: torch.Tensor, scales: Mapping[str, float]) -> dict[str, float]:
        """Return loss, RMSEs and MAEs from a table of sums, named as in :mod:`mtt.report.metrics`.

        :param scales: turn training units into those of the data, by the name of the target
        """
        sums = {
            term.target.name: {
                name: dict(zip(_COLUMNS, row, strict=True))
                for name, row in zip(_ROWS, rows, strict=True)
            }
            for term, rows in zip(self.terms, table.tolist(), strict=True)
        }
        metrics = {"loss": sum(term.loss_of(sums[term.target.name]) for term in self.terms)}
        for quantity in self.quantities:
            own, scale = sums[quantity.target][quantity.part], scales[quantity.target]
            if own["count"] > 0:
                metrics[quantity.metric("rmse")] = scale * math.sqrt(own["squares"] / own["count"])
                metrics[quantity.metric("mae")] = scale * own["absolutes"] / own["count"]
        return metrics


def new_table(n_targets: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return an empty table of sums of that many targets, [targets, 5, 4] float64."""
    return torch.zeros((n_targets, *TABLE_SHAPE), dtype=torch.float64, device=device)


def selected_metric(metrics: Mapping[str, float], name: str) -> float:
    """Return the number that the best epoch has least of.

    ``loss``, or the product of the RMSEs (``rmse_prod``) or MAEs (``mae_prod``) of values, forces
    and stress of all targets, as far as there are references. Values of systems count per atom. An
    error of zero, as of forces that are all zero, counts as a tiny one: it must not hide the others.
    """
    if name == "loss":
        return metrics["loss"]
    kind = name.removesuffix("_prod")
    # In the order of their names, so that metrics read back from a checkpoint give the same bits.
    chosen = [
        metric
        for metric in sorted(metrics)
        if metric.endswith((f"_{kind}", f"_{kind}_per_atom"))
        and f"{metric}_per_atom" not in metrics
    ]
    return math.prod(max(metrics[metric], _LEAST_ERROR) for metric in chosen)
