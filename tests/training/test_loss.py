"""The loss against its formula, and the sums over an epoch against the metrics of reports."""

import numpy as np
import pytest
import torch
from small_runs import make_options

from mtt.data.batch import collate
from mtt.data.dataset import Dataset, types_of
from mtt.data.readers import read_datasets
from mtt.options import LossOptions
from mtt.report.metrics import Metrics
from mtt.training.baseline import fit_baseline, in_training_units
from mtt.training.loss import TABLE_SHAPE, Loss, selected_metric


class Springs(torch.nn.Module):
    """Raw energies of a pair potential, with a weight to train."""

    cutoff = interaction_range = 3.0

    def __init__(self):
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, graph):
        lengths = graph.vectors.pow(2).sum(dim=1)
        pairs = self.strength * (-lengths).exp()
        return torch.zeros_like(graph.species, dtype=pairs.dtype).index_add(0, graph.centers, pairs)


@pytest.fixture
def data(tmp_path):
    structures = read_datasets(make_options(tmp_path).training_set)
    types = types_of(structures)
    baseline = fit_baseline(structures, "energy", types)
    converted = in_training_units(structures, "energy", types, baseline)
    return (
        Dataset(structures, types, 3.0, "energy"),
        Dataset(converted, types, 3.0, "energy"),
        baseline,
    )


def reference(kind, difference, delta):
    if kind == "huber":
        both = torch.nn.functional.huber_loss(
            difference, torch.zeros_like(difference), reduction="none", delta=delta
        )
        return both.mean()
    return (difference**2).mean() if kind == "mse" else difference.abs().mean()


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_loss_is_the_weighted_sum_of_means_over_what_is_known(data, kind):
    _, converted, _ = data
    batch = collate(converted, range(7), torch.float64)
    # Only the first structures keep their forces.
    mask = batch.forces_mask & (batch.graph.system < 4)
    batch = batch._replace(forces_mask=mask, forces=batch.forces * mask[:, None])
    options = LossOptions(type=kind, delta=0.3, energy=2.0, forces=0.5, stress=3.0)
    loss = Loss(options, forces=True, stress=True)
    core = Springs()
    errors = loss.errors(core, batch, training=True)

    positions_free = batch.graph.vectors.clone().requires_grad_()
    raw = core(batch.graph._replace(vectors=positions_free))
    (gradient,) = torch.autograd.grad(raw.sum(), positions_free)
    n_atoms = batch.n_atoms.double()
    energy = torch.zeros(7, dtype=torch.float64).index_add(0, batch.graph.system, raw) / n_atoms
    forces = torch.zeros_like(batch.forces).index_add(0, batch.graph.centers, gradient)
    forces = forces.index_add(0, batch.graph.neighbors, -gradient)
    periodic = [2, 5]
    strain = torch.stack(
        [
            (
                positions_free[batch.graph.system[batch.graph.centers] == index].T
                @ gradient[batch.graph.system[batch.graph.centers] == index]
            )
            / n_atoms[index]
            for index in periodic
        ]
    )
    assert batch.stress_mask.nonzero().flatten().tolist() == periodic
    expected = (
        2.0 * reference(kind, energy - batch.energy, 0.3)
        + 0.5 * reference(kind, (forces - batch.forces)[mask], 0.3)
        + 3.0 * reference(kind, strain - batch.stress[periodic], 0.3)
    )
    assert loss(errors, batch).item() == pytest.approx(expected.item(), rel=1e-12)


def test_training_reaches_the_weights_through_the_forces(data):
    _, converted, _ = data
    batch = collate(converted, range(3), torch.float64)
    core = Springs()
    loss = Loss(LossOptions(energy=0.0, forces=1.0, stress=0.0), forces=True, stress=True)

    def value():
        return loss(loss.errors(core, batch, training=True), batch)

    value().backward()
    slope = core.strength.grad.item()
    core.strength.data += 1e-6
    high = value().item()
    core.strength.data -= 2e-6
    low = value().item()
    assert slope == pytest.approx((high - low) / 2e-6, rel=1e-6)


def test_sums_over_batches_give_the_metrics_of_reports(data):
    physical, converted, baseline = data
    loss = Loss(LossOptions(type="mae", stress=0.1), forces=True, stress=True)
    core = Springs()
    table = torch.zeros(TABLE_SHAPE, dtype=torch.float64)
    metrics = Metrics()
    composition = torch.from_numpy(baseline.composition)
    for indices in (range(0, 5), range(5, 12)):
        batch = collate(converted, indices, torch.float64)
        errors = loss.errors(core, batch, training=False)
        loss.add(table, errors, batch)
        n_atoms, scale = batch.n_atoms, baseline.scale
        offset = torch.zeros(len(n_atoms), dtype=torch.float64)
        offset = offset.index_add(0, batch.graph.system, composition[batch.graph.species])
        volumes = batch.volumes.clamp(min=1.0)
        strain = (errors.strain + batch.stress) * (n_atoms / volumes)[:, None, None]
        metrics.update(
            collate(physical, indices, torch.float64),
            (errors.energy + batch.energy) * n_atoms * scale + offset,
            (errors.forces + batch.forces) * scale,
            strain * scale,
        )
    found = loss.metrics(table, baseline.scale)
    expected = metrics.result()
    assert set(found) == {"loss", *expected}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    whole = collate(converted, range(12), torch.float64)
    total = loss(loss.errors(core, whole, training=False), whole)
    assert found["loss"] == pytest.approx(total.item(), rel=1e-12)


def test_quantities_without_references_are_left_out(data):
    _, converted, _ = data
    batch = collate(converted, range(3), torch.float64)
    loss = Loss(LossOptions(), forces=False, stress=False)
    errors = loss.errors(Springs(), batch, training=False)
    assert errors.forces is None and errors.strain is None
    table = torch.zeros(TABLE_SHAPE, dtype=torch.float64)
    loss.add(table, errors, batch)
    assert set(loss.metrics(table, 1.0)) == {
        "loss",
        "energy_rmse",
        "energy_mae",
        "energy_rmse_per_atom",
        "energy_mae_per_atom",
    }


def test_a_batch_without_any_reference_forces_is_no_nan(data):
    _, converted, _ = data
    batch = collate(converted, range(2), torch.float64)
    none = torch.zeros_like(batch.forces_mask)
    batch = batch._replace(forces_mask=none, forces=torch.zeros_like(batch.forces))
    loss = Loss(LossOptions(), forces=True, stress=True)
    errors = loss.errors(Springs(), batch, training=True)
    expected = (errors.energy**2).mean()
    assert loss(errors, batch).item() == pytest.approx(expected.item())


def test_selected_metric():
    metrics = {
        "loss": 7.0,
        "energy_rmse": 100.0,
        "energy_rmse_per_atom": 2.0,
        "forces_rmse": 3.0,
        "stress_rmse": 5.0,
        "energy_mae_per_atom": 1.5,
        "forces_mae": 2.5,
    }
    assert selected_metric(metrics, "loss") == 7.0
    assert selected_metric(metrics, "rmse_prod") == 30.0
    assert selected_metric(metrics, "mae_prod") == np.prod([1.5, 2.5])
