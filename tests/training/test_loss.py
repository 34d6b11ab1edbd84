"""The loss against its formula, and the sums over an epoch against errors of all structures."""

import dataclasses

import numpy as np
import pytest
import torch
from small_runs import make_options

from mtt.architectures.evaluate import evaluate
from mtt.architectures.interface import Core
from mtt.data.batch import collate
from mtt.data.dataset import Dataset, types_of
from mtt.data.read_files import read_datasets
from mtt.data.structure import Reference
from mtt.data.target import GRADIENTS, Target
from mtt.options import LossOptions, TrainingHypers
from mtt.training.baseline import fit_baseline, in_training_units
from mtt.training.loss import Loss, selected_metric

ENERGY = Target("energy", gradients=GRADIENTS)
PBE = Target("energy/pbe", unit="Hartree", gradients=("positions",))
CHARGES = Target("mtt::charges", quantity="charge", unit="e", per="atom")
SEVERAL = [ENERGY, PBE, CHARGES]


class Springs(Core):
    """Raw values of a pair potential, with a weight to train, and other ones for each target."""

    cutoff = interaction_range = 3.0

    def __init__(self):
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, graph, targets):
        lengths = graph.vectors.pow(2).sum(dim=1)
        factors = {"energy": 1.0, "energy/pbe": 0.5, "mtt::charges": -2.0}
        values = {}
        for name in targets:
            pairs = factors[name] * self.strength * (-lengths).exp()
            atoms = torch.zeros_like(graph.species, dtype=pairs.dtype)
            values[name] = atoms.index_add(0, graph.centers, pairs)[:, None]
        return values


@pytest.fixture
def data(tmp_path):
    """Structures in the units of the data and in training units, and the baselines."""
    structures = read_datasets(make_options(tmp_path).training_set)
    random = np.random.default_rng(1)
    for index, structure in enumerate(structures):
        energy = structure.references["energy"]
        # Another energy, with forces for every second structure, and charges for most atoms.
        forces = None if index % 2 else 2.0 * energy.forces
        pbe = Reference(energy.values - 3.0 * len(structure) + random.normal(), forces)
        charges = random.normal(size=(len(structure), 1))
        charges[0] = np.nan
        structure.references["energy/pbe"] = pbe
        if index % 4:
            structure.references["mtt::charges"] = Reference(charges)
    types = types_of(structures)
    baselines = {one.name: fit_baseline(structures, one, types) for one in SEVERAL}
    converted = in_training_units(structures, SEVERAL, types, baselines)
    return (
        Dataset(structures, types, 3.0, SEVERAL),
        Dataset(converted, types, 3.0, SEVERAL),
        baselines,
    )


def with_references(batch, name, **changes):
    own = batch.references[name]._replace(**changes)
    return batch._replace(references={**batch.references, name: own})


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
    own = batch.references["energy"]
    mask = own.forces_mask & (batch.graph.system < 4)
    batch = with_references(batch, "energy", forces_mask=mask, forces=own.forces * mask[:, None])
    own = batch.references["energy"]
    options = LossOptions(type=kind, delta=0.3, energy=2.0, forces=0.5, stress=3.0)
    loss = Loss(options, [ENERGY])
    core = Springs()
    errors = loss.errors(core, batch, training=True)

    positions_free = batch.graph.vectors.clone().requires_grad_()
    raw = core(batch.graph._replace(vectors=positions_free), ["energy"])["energy"][:, 0]
    (gradient,) = torch.autograd.grad(raw.sum(), positions_free)
    n_atoms = batch.n_atoms.double()
    energy = torch.zeros(7, dtype=torch.float64).index_add(0, batch.graph.system, raw) / n_atoms
    forces = torch.zeros_like(own.forces).index_add(0, batch.graph.centers, gradient)
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
    assert own.stress_mask.nonzero().flatten().tolist() == periodic
    expected = (
        2.0 * reference(kind, energy - own.values[:, 0], 0.3)
        + 0.5 * reference(kind, (forces - own.forces)[mask], 0.3)
        + 3.0 * reference(kind, strain - own.stress[periodic], 0.3)
    )
    assert loss(errors, batch).item() == pytest.approx(expected.item(), rel=1e-12)


def test_a_sum_is_a_mean_times_the_number_of_what_is_known(data):
    _, converted, _ = data
    batch = collate(converted, range(7), torch.float64)
    targets = [ENERGY, CHARGES]
    charges = batch.references["mtt::charges"].mask
    periodic = int(batch.references["energy"].stress_mask.sum())
    assert 0 < charges.sum() < charges.numel() and periodic == 2
    counts = {
        "energy": 7,
        "forces": 3 * int(batch.n_atoms.sum()),
        "stress": 9 * periodic,
        "charges": int(charges.sum()),
    }
    weights = {"energy": 2.0, "forces": 0.5, "stress": 3.0, "charges": 1.5}

    def of(weights, *summed):
        part = {
            name: {"weight": weights.get(name, 0.0), "reduction": "sum" if name in summed else None}
            for name in counts
        }
        gradients = {
            name: {**part[name], "reduction": part[name]["reduction"] or "mean"}
            for name in ("forces", "stress")
        }
        own = {"energy": part["energy"] | gradients, "mtt::charges": part["charges"]}
        usual = "sum" if "all" in summed else "mean"
        if usual == "sum":
            own["energy"] |= {name: part[name] for name in gradients}
        loss = Loss(LossOptions.model_validate({"targets": own, "reduction": usual}), targets)
        errors = loss.errors(Springs(), batch, training=False)
        table = loss.new_table()
        loss.add(table, errors, batch)
        value = loss(errors, batch).item()
        over_an_epoch = loss.metrics(table, {"energy": 1.0, "mtt::charges": 1.0})["loss"]
        assert over_an_epoch == pytest.approx(value, rel=1e-12)
        return value

    shares = {name: of({name: weight}) for name, weight in weights.items()}
    assert of(weights) == pytest.approx(sum(shares.values()), rel=1e-12)
    for name, count in counts.items():
        expected = of(weights) + (count - 1) * shares[name]
        assert of(weights, name) == pytest.approx(expected, rel=1e-12), name
    expected = sum(counts[name] * shares[name] for name in counts)
    assert of(weights, "all") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_weights_of_structures_multiply_what_they_add_to_the_loss(data, kind):
    _, converted, _ = data
    targets = [ENERGY, CHARGES]
    loss = Loss(LossOptions(type=kind, delta=0.3, forces=0.5, stress=3.0), targets)
    batch = collate(converted, range(7), torch.float64)
    assert batch.weights is None
    errors = loss.errors(Springs(), batch, training=False)
    whole = loss(errors, batch).item()

    def of(weights):
        tensor = torch.tensor(weights, dtype=torch.float64)
        return loss(errors, batch._replace(weights=tensor)).item()

    # Each structure alone adds its part, whatever the others weigh.
    parts = [of([float(index == own) for index in range(7)]) for own in range(7)]
    assert min(parts) > 0.0
    assert sum(parts) == pytest.approx(whole, rel=1e-12)
    weights = [0.0, 1.0, 2.5, 0.1, 1.0, 4.0, 0.0]
    expected = np.dot(weights, parts)
    assert of(weights) == pytest.approx(expected, rel=1e-12)

    # The same over an epoch; what people read knows no weights.
    scales = {target.name: 1.0 for target in targets}
    metrics = []
    for one in (batch, batch._replace(weights=torch.tensor(weights, dtype=torch.float64))):
        table = loss.new_table()
        loss.add(table, errors, one)
        metrics.append(loss.metrics(table, scales))
    assert metrics[0].pop("loss") == pytest.approx(whole, rel=1e-12)
    assert metrics[1].pop("loss") == pytest.approx(expected, rel=1e-12)
    assert metrics[0] == metrics[1]


def test_batches_have_the_weights_of_their_structures(data):
    _, converted, _ = data
    structures = [
        dataclasses.replace(structure, weight=0.5 + (index % 2))
        for index, structure in enumerate(converted.structures)
    ]
    dataset = Dataset(structures, converted.atomic_types, 3.0, SEVERAL)
    batch = collate(dataset, [3, 0], torch.float64)
    assert batch.weights.tolist() == [1.5, 0.5]


def test_training_reaches_the_weights_through_the_forces(data):
    _, converted, _ = data
    batch = collate(converted, range(3), torch.float64)
    core = Springs()
    loss = Loss(LossOptions(energy=0.0, forces=1.0, stress=0.0), [ENERGY])

    def value():
        return loss(loss.errors(core, batch, training=True), batch)

    value().backward()
    slope = core.strength.grad.item()
    core.strength.data += 1e-6
    high = value().item()
    core.strength.data -= 2e-6
    low = value().item()
    assert slope == pytest.approx((high - low) / 2e-6, rel=1e-6)


def expected_metrics(data, core):
    """RMSE and MAE of each target, from the structures one by one."""
    physical, converted, baselines = data
    types = np.array(physical.atomic_types)
    differences = {}

    def add(name, predicted, known):
        difference = (np.asarray(predicted) - known)[~np.isnan(known)]
        differences.setdefault(name, []).append(difference.ravel())

    for index in range(len(physical)):
        batch = collate(converted, [index], torch.float64)
        values = evaluate(core, batch.graph, SEVERAL)
        structure = physical.structures[index]
        kinds = np.searchsorted(types, structure.types)
        for target in SEVERAL:
            own, baseline = structure.references.get(target.name), baselines[target.name]
            if own is None:
                continue
            scale, raw = baseline.scale, values[target.name]
            atoms = raw.atoms.detach().numpy() * scale + baseline.composition[kinds]
            if target.per == "atom":
                add((target.name, "", ""), atoms, own.values)
                continue
            add((target.name, "", ""), atoms.sum(axis=0), own.values)
            add((target.name, "", "_per_atom"), atoms.mean(axis=0), own.values / len(structure))
            if own.forces is not None:
                forces = raw.forces.detach().numpy() * scale
                add((target.name, "_forces", ""), forces, own.forces)
            if own.stress is not None:
                stress = raw.strain.detach().numpy()[0] * scale / structure.volume
                add((target.name, "_stress", ""), stress, own.stress)
    metrics = {}
    for (name, quantity, suffix), parts in differences.items():
        values = np.concatenate(parts)
        metrics[f"{name}{quantity}_rmse{suffix}"] = np.sqrt(np.mean(values**2))
        metrics[f"{name}{quantity}_mae{suffix}"] = np.mean(np.abs(values))
    return metrics


def test_sums_over_batches_give_the_errors_of_all_structures(data):
    _, converted, baselines = data
    options = LossOptions(
        type="mae",
        stress=0.1,
        targets={
            "energy/pbe": {"type": "huber", "delta": 0.2, "weight": 3.0, "forces": 0.7},
            "mtt::charges": {"type": "mse", "weight": 0.3},
        },
    )
    loss = Loss(options, SEVERAL)
    core = Springs()
    table = loss.new_table()
    for indices in (range(0, 5), range(5, 12)):
        batch = collate(converted, indices, torch.float64)
        loss.add(table, loss.errors(core, batch, training=False), batch)
    scales = {name: baseline.scale for name, baseline in baselines.items()}
    metrics = loss.metrics(table, scales)
    expected = expected_metrics(data, core)
    assert set(metrics) == {"loss", *expected}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    everything = collate(converted, range(12), torch.float64)
    errors = loss.errors(core, everything, training=False)
    total = loss(errors, everything)
    assert metrics["loss"] == pytest.approx(total.item(), rel=1e-12)
    # The loss is the sum of the losses of its targets.
    alone = []
    for target in SEVERAL:
        single = Loss(options, [target])
        alone.append(single(single.errors(core, everything, training=False), everything).item())
    assert total.item() == pytest.approx(sum(alone), rel=1e-12)
    # A charge that is not known has no error, and counts for nothing.
    charges = everything.references["mtt::charges"]
    assert not errors[2].values[~charges.mask].any()
    mean = (errors[2].values ** 2).sum() / charges.mask.sum()
    assert alone[2] == pytest.approx(0.3 * mean.item(), rel=1e-12)
    assert 0 < charges.mask.sum() < charges.mask.numel()


def test_one_energy_has_the_names_that_it_always_had(data):
    _, converted, baselines = data
    batch = collate(converted, range(12), torch.float64)
    for target in (ENERGY, PBE):
        loss = Loss(LossOptions(), [target])
        table = loss.new_table()
        loss.add(table, loss.errors(Springs(), batch, training=False), batch)
        names = set(loss.metrics(table, {target.name: baselines[target.name].scale}))
        quantities = ("energy_rmse", "energy_mae", "energy_rmse_per_atom", "energy_mae_per_atom")
        quantities += ("forces_rmse", "forces_mae", "loss")
        stress = ("stress_rmse", "stress_mae") if target is ENERGY else ()
        assert names == {*quantities, *stress}


def test_quantities_without_references_are_left_out(data):
    _, converted, _ = data
    batch = collate(converted, range(3), torch.float64)
    loss = Loss(LossOptions(), [Target("energy")])
    assert loss.derivatives == []
    (errors,) = loss.errors(Springs(), batch, training=False)
    assert errors.forces is None and errors.strain is None
    table = loss.new_table()
    loss.add(table, [errors], batch)
    assert set(loss.metrics(table, {"energy": 1.0})) == {
        "loss",
        "energy_rmse",
        "energy_mae",
        "energy_rmse_per_atom",
        "energy_mae_per_atom",
    }


def test_a_batch_without_any_reference_is_no_nan(data):
    _, converted, _ = data
    batch = collate(converted, [0], torch.float64)
    own = batch.references["energy"]
    batch = with_references(
        batch,
        "energy",
        forces_mask=torch.zeros_like(own.forces_mask),
        forces=torch.zeros_like(own.forces),
    )
    assert "mtt::charges" not in converted[0].references
    loss = Loss(LossOptions(), [ENERGY, CHARGES])
    core = Springs()
    errors = loss.errors(core, batch, training=True)
    total = loss(errors, batch)
    assert total.item() == pytest.approx((errors[0].values ** 2).mean().item())
    total.backward()
    assert torch.isfinite(core.strength.grad)


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
    several = {"mtt::q_rmse": 7.0, **{f"energy/b_{k}": v for k, v in metrics.items()}}
    assert selected_metric(several, "rmse_prod") == 7.0 * 30.0
    assert selected_metric({"energy_rmse": 4.0, "mtt::q_mae": 7.0}, "mae_prod") == 7.0


def test_an_error_of_zero_does_not_hide_the_others():
    better, worse = (
        {"energy_rmse": 9.0, "energy_rmse_per_atom": value, "forces_rmse": 0.0}
        for value in (0.1, 0.2)
    )
    assert 0.0 < selected_metric(better, "rmse_prod") < selected_metric(worse, "rmse_prod")


def test_each_part_has_its_own_function_and_weight(data):
    """Against losses of one function for all, with all weights but one at zero."""
    _, converted, _ = data
    batch = collate(converted, range(7), torch.float64)

    def loss_of(options):
        loss = Loss(options, [ENERGY])
        errors = loss.errors(Springs(), batch, training=True)
        table = loss.new_table()
        loss.add(table, errors, batch)
        value = float(loss(errors, batch).detach())
        assert loss.metrics(table, {"energy": 1.0})["loss"] == pytest.approx(value, rel=1e-12)
        return value

    parts = [("mae", 0.3, 2.0), ("huber", 0.02, 5.0), ("mse", 1.0, 0.5)]
    alone = [
        loss_of(
            LossOptions(
                type=kind,
                delta=delta,
                **{name: weight if name == own else 0.0 for name in ("energy", "forces", "stress")},
            )
        )
        for own, (kind, delta, weight) in zip(("energy", "forces", "stress"), parts, strict=True)
    ]
    (own, forces, stress) = [
        dict(zip(("type", "delta", "weight"), part, strict=True)) for part in parts
    ]
    assert min(alone) > 0.0
    mixed = LossOptions(targets={"energy": {**own, "forces": forces, "stress": stress}})
    assert loss_of(mixed) == pytest.approx(sum(alone), rel=1e-12)
    for_all = LossOptions(type="mae", delta=0.3, energy=2.0, forces=forces, stress=stress)
    assert loss_of(for_all) == loss_of(mixed)


def test_what_is_said_most_closely_of_a_part_counts():
    usual = {"type": "mae", "delta": 0.5, "forces": {"type": "huber", "weight": 3.0}}
    options = LossOptions(**usual, targets={"energy": {"stress": {"delta": 0.1}, "forces": "mse"}})
    own = options.of("energy", is_energy=True)
    mean = "mean"
    assert own == (("mae", 0.5, 1.0, mean), ("mse", 0.5, 3.0, mean), ("mae", 0.1, 1.0, mean))
    assert options.of("energy/pbe", is_energy=True).forces == ("huber", 0.5, 3.0, mean)


def test_weights_follow_the_epochs_and_are_stored_as_they_always_were():
    schedule = {"1": 4.0, 10: 2.0, 3: 0.0}
    options = LossOptions(energy=schedule, targets={"energy": {"forces": {1: 1.0, 7: 5.0}}})
    assert options.first_epochs == [1, 3, 7, 10]
    assert LossOptions().first_epochs == [1]
    weights = [
        tuple(Loss(options, [ENERGY], epoch).terms[0].weights.values())
        for epoch in (1, 2, 3, 6, 7, 9, 10, 500)
    ]
    energies, forces, _ = zip(*weights, strict=True)
    assert energies == (4.0, 4.0, 0.0, 0.0, 0.0, 0.0, 2.0, 2.0)
    assert forces == (1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0)
    stored = options.model_dump(mode="json")
    assert stored["energy"] == {"1": 4.0, "3": 0.0, "10": 2.0}
    assert LossOptions(**stored) == options
    old = {
        "type": "huber",
        "delta": 0.3,
        "energy": 2.0,
        "forces": 0.5,
        "stress": 1.0,
        "targets": {
            "energy": dict(type=None, delta=None, weight=1.0, forces=0.0, stress=None)  # noqa: C408
        },
    }
    assert LossOptions(**old).model_dump(mode="json") == old


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({0: 1.0, 5: 2.0}, "'0' is no epoch"),
        ({2: 1.0}, "the weight of epoch 1 is missing"),
        ({1: -1.0}, "the weight from epoch 1 on must be a finite number, zero or above"),
        ({1: 1.0, "1": 2.0}, "epoch 1 is given twice"),
        ({1: "much"}, "the weight from epoch 1 on must be a number"),
        (float("nan"), "a weight must be a finite number"),
        (True, "a weight must be a number"),
    ],
)
def test_a_weight_that_is_none_is_refused(weight, message):
    with pytest.raises(ValueError, match=message):
        LossOptions(energy=weight)
    with pytest.raises(ValueError, match=message):
        LossOptions(forces={"weight": weight})


def test_losses_of_different_weights_choose_no_best_epoch():
    loss = {"forces": {1: 1.0, 2: 5.0}}
    with pytest.raises(ValueError, match="losses of different weights do not compare"):
        TrainingHypers(loss=loss, best_model_metric="loss")
    TrainingHypers(loss=loss, best_model_metric="mae_prod")
