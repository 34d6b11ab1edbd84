"""The loop: what an epoch is made of, that workers do not matter, and that nothing leaks."""

import dataclasses
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
import torch
from problems import make_run
from small_runs import TARGETS, add_targets, make_options, write_data

from mtt.architectures import kernels
from mtt.architectures.interface import Core
from mtt.data.random import generator, random_rotations
from mtt.errors import UserError
from mtt.options.schema.training import TrainingHypers
from mtt.training import best_epoch, loop
from mtt.training.loop import Interrupted, epoch_groups, epoch_rotations
from mtt.training.optimizer import make_optimizer


class Silent:
    """An observer that keeps what it is told, and stops after ``steps`` steps."""

    def __init__(self, steps=None):
        self.steps, self.rows, self.losses = steps, [], []

    def stop_requested(self):
        return self.steps is not None and len(self.losses) >= self.steps

    def step(self, loss, n_structures):
        self.losses.append(float(loss))

    def epoch(self, row):
        self.rows.append(row)


@pytest.fixture
def options(tmp_path):
    return make_options(tmp_path)


def tensors_after(run, observer=None):
    loop.train(run.state, run.problem, observer or Silent())
    return {name: one.clone() for name, one in run.state.to_checkpoint()[1].items()}


def test_an_epoch_has_every_structure_once_in_a_new_order(options, tmp_path):
    problem = make_run(options).problem
    assert len(problem.train) == 9 and problem.steps_per_epoch == 4 and problem.num_steps == 12
    orders = [np.concatenate(epoch_groups(problem, epoch)) for epoch in range(3)]
    assert all(len(order) == 8 and len(set(order)) == 8 for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert np.concatenate(epoch_groups(problem, 1)).tolist() == orders[1].tolist()
    other = dataclasses.replace(problem, seed=4)
    assert np.concatenate(epoch_groups(other, 1)).tolist() != orders[1].tolist()


def test_a_batch_is_never_larger_than_the_training_set(tmp_path):
    problem = make_run(make_options(tmp_path, {"batch_size": 50})).problem
    assert problem.batch_size == 9 and problem.steps_per_epoch == 1


def test_rotations_belong_to_structures_and_change_with_the_epoch(options, tmp_path):
    problem = make_run(options).problem
    table = random_rotations(generator(options.seed, "rotation", 5), 9, inversion=True)
    found = epoch_rotations(problem, 5)(3, [7, 2])
    assert np.array_equal(found, table[[7, 2]])
    assert not np.array_equal(epoch_rotations(problem, 6)(3, [7, 2]), found)
    signs = np.linalg.det(random_rotations(generator(0, "x"), 100, inversion=True))
    assert 30 < (signs < 0).sum() < 70


def test_augmentation_can_be_switched_off(tmp_path):
    problem = make_run(make_options(tmp_path, {"rotational_augmentation": False})).problem
    assert epoch_rotations(problem, 0) is None


def test_rows_of_the_history(options, tmp_path):
    run = make_run(options)
    observer = Silent()
    tensors_after(run, observer)
    assert run.state.history == observer.rows
    assert [row["epoch"] for row in observer.rows] == [1, 2, 3]
    assert [row["step"] for row in observer.rows] == [4, 8, 12]
    quantities = ("energy_rmse", "energy_mae", "energy_rmse_per_atom", "energy_mae_per_atom")
    quantities += ("forces_rmse", "forces_mae", "stress_rmse", "stress_mae", "loss")
    expected = {f"{part}_{name}" for part in ("train", "validation") for name in quantities}
    assert set(observer.rows[0]) == {"epoch", "step", "learning_rate", *expected}
    assert observer.rows[2]["train_loss"] < observer.rows[0]["train_loss"]


def test_the_best_epoch_is_the_one_with_the_lowest_metric(options, tmp_path, monkeypatch):
    values = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(best_epoch, "selected_metric", lambda metrics, name: next(values))
    run = make_run(options)
    weights = []

    class Watching(Silent):
        def epoch(self, row):
            weights.append({k: v.clone() for k, v in run.state.model.state_dict().items()})

    tensors_after(run, Watching())
    assert vars(run.state.best_epoch) == {"epoch": 2, "metric": "rmse_prod", "value": 1.0}
    for name, tensor in run.state.best.items():
        assert torch.equal(tensor, weights[1][name])
    assert any(not torch.equal(weights[2][name], run.state.best[name]) for name in weights[2])


def test_workers_do_not_change_a_bit(tmp_path):
    first = tensors_after(make_run(make_options(tmp_path)))
    for workers in (1, 4):
        options = make_options(tmp_path, {"num_workers": workers})
        other = tensors_after(make_run(options))
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_the_seed_changes_weights_and_order(tmp_path):
    first = tensors_after(make_run(make_options(tmp_path)))
    split = {"validation_set": "0:3"}
    other = tensors_after(make_run(make_options(tmp_path, seed=4, **split)))
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_global_generators_are_left_alone(options, tmp_path):
    torch.manual_seed(11)
    np.random.seed(11)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    tensors_after(make_run(options))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], legacy)
    assert not torch.are_deterministic_algorithms_enabled()


def test_global_generators_have_no_influence(options, tmp_path):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        results.append(tensors_after(make_run(options)))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


class Dropping(Core):
    """A core that draws random numbers while training."""

    def __init__(self, core):
        super().__init__()
        self.core, self.cutoff = core, core.cutoff
        self.interaction_range = core.interaction_range

    def forward(self, graph, targets):
        values = self.core(graph, targets)
        return {
            name: torch.nn.functional.dropout(value, 0.5, self.training)
            for name, value in values.items()
        }


def test_a_model_with_dropout_resumes_bitwise(options, tmp_path):
    def with_dropout():
        run = make_run(options)
        run.state.model.core = Dropping(run.state.model.core)
        run.state.optimizer = make_optimizer(run.state.model.parameters(), run.problem.hypers)
        return run

    expected = tensors_after(with_dropout())
    stopped = with_dropout()
    with pytest.raises(Interrupted):
        loop.train(stopped.state, stopped.problem, Silent(steps=6))
    resumed = with_dropout()
    header, tensors = stopped.state.to_checkpoint()
    resumed.state.from_checkpoint(SimpleNamespace(**header), tensors)
    found = tensors_after(resumed)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_validation_batches_that_do_not_fit_in_memory_are_made_again(
    options, tmp_path, monkeypatch
):
    expected = tensors_after(make_run(options))
    monkeypatch.setattr(loop, "_CACHE_BYTES", 0)
    run = make_run(options)
    kept = loop.ValidationBatches(run.problem)
    assert len(list(kept)) == len(list(kept)) == 2
    found = tensors_after(run)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_training_that_diverges_says_so(tmp_path):
    run = make_run(make_options(tmp_path))
    with torch.no_grad():
        next(run.state.model.core.parameters()).fill_(float("nan"))
    with pytest.raises(UserError) as caught:
        loop.train(run.state, run.problem, Silent())
    assert str(caught.value) == (
        "training has diverged: train_loss is no longer a finite number\n"
        "  where: epoch 1\n"
        "  hint: lower architecture.training.learning_rate, or look for structures with extreme "
        "energies or forces; checkpoints of earlier epochs are whole"
    )


def rows_of(*values):
    return [{"epoch": 1.0, "train_loss": 9.0, "validation_loss": value} for value in values]


@pytest.mark.parametrize(
    ("smoothing", "epochs", "values", "expected"),
    [
        (0.0, 100, [8.0, 2.0], 2.0),
        (0.05, 20, [8.0, 2.0], 2.0),
        (0.05, 40, [8.0, 2.0], 4.0),
        (0.03, 100, [5.0, 8.0, 2.0, 4.0], 4.0),
        (1.0, 100, [8.0], 8.0),
        (0.5, 4, [8.0, 0.0], 8.0**0.5 * 1e-150),
    ],
)
def test_epochs_are_compared_by_a_mean_over_the_newest(smoothing, epochs, values, expected):
    hypers = TrainingHypers(
        best_model_metric="loss", best_model_smoothing=smoothing, num_epochs=epochs
    )
    rows = rows_of(*values)
    assert best_epoch.smoothed_metric(rows, hypers) == pytest.approx(expected, rel=1e-12)
    each = [best_epoch.smoothed_metric(rows[:end], hypers) for end in range(1, len(rows) + 1)]
    assert best_epoch.smoothed_metrics(rows, hypers) == each


def test_a_lucky_epoch_is_not_chosen(options, tmp_path, monkeypatch):
    """One dip among worse ones, then steady progress: only the mean over two epochs sees it."""
    losses = [8.0, 1.0, 8.0, 4.0, 1.5, 1.5]
    monkeypatch.setattr(
        best_epoch, "validation_metrics", lambda row: {"loss": losses[int(row["epoch"]) - 1]}
    )
    best = []
    for smoothing in (0.0, 0.34):
        training = {"num_epochs": 6, "best_model_metric": "loss", "best_model_smoothing": smoothing}
        run = make_run(make_options(tmp_path, training))
        tensors_after(run)
        best.append((run.state.best_epoch.epoch, run.state.best_epoch.value))
    assert best == [(2, 1.0), (6, pytest.approx(1.5))]


def test_gradients_are_clipped(tmp_path, monkeypatch):
    norms = []
    original = torch.nn.utils.clip_grad_norm_

    def spy(parameters, limit):
        found = original(parameters, limit)
        norms.append((limit, sum(p.grad.pow(2).sum() for p in parameters).sqrt().item()))
        return found

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    tensors_after(make_run(make_options(tmp_path, {"grad_clip_norm": 0.25})))
    assert len(norms) == 12
    assert all(limit == 0.25 and norm <= 0.25 * (1 + 1e-4) for limit, norm in norms)


@pytest.fixture
def several(tmp_path):
    """Options of a run with three energies and charges, from one file."""
    write_data(tmp_path / "data.xyz")
    frames = ase.io.read(tmp_path / "data.xyz", ":")
    add_targets(frames)
    path = tmp_path / "several.xyz"
    ase.io.write(path, frames, format="extxyz")
    data = {"systems": str(path), "targets": TARGETS}
    return make_options(tmp_path, training_set=data)


OF_ATOMS = ("mtt::charges", "mtt::shape", "non_conservative_force")


def test_several_targets_are_learned_together(several, tmp_path):
    data = several.training_set[0].model_dump(mode="json")
    run = make_run(make_options(tmp_path, {"num_epochs": 16}, training_set=data))
    observer = Silent()
    tensors_after(run, observer)
    first, last = observer.rows[0], observer.rows[-1]
    energy = ("{}_rmse", "{}_mae", "{}_rmse_per_atom", "{}_mae_per_atom")
    names = [
        name.format(target)
        for target in TARGETS
        for name in energy[: 2 if target in OF_ATOMS else 4]
    ]
    for target, quantity in (("energy", "forces"), ("energy", "stress"), ("energy/pbe", "forces")):
        names += [f"{target}_{quantity}_rmse", f"{target}_{quantity}_mae"]
    expected = {f"{part}_{name}" for part in ("train", "validation") for name in [*names, "loss"]}
    assert set(first) == {"epoch", "step", "learning_rate", *expected}
    # Forces are most of the loss of energies that have them.
    for name in ("energy_forces", "energy/pbe_forces", "mtt::u0", "mtt::charges"):
        assert last[f"train_{name}_rmse"] < 0.85 * first[f"train_{name}_rmse"], name
    scales = [float(run.state.model.baseline(name).scale) for name in TARGETS]
    assert len(set(scales)) == len(scales)


def test_several_targets_resume_bitwise(several):
    expected = tensors_after(make_run(several))
    stopped = make_run(several)
    with pytest.raises(Interrupted):
        loop.train(stopped.state, stopped.problem, Silent(steps=6))
    resumed = make_run(several)
    header, tensors = stopped.state.to_checkpoint()
    resumed.state.from_checkpoint(SimpleNamespace(**header), tensors)
    tensors = tensors_after(resumed)
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_weights_that_change_change_the_epochs_from_there_and_resume_bitwise(tmp_path):
    def options(**loss):
        return make_options(tmp_path, {"num_epochs": 4, "loss": loss})

    plain, changing, resumed = Silent(), Silent(), Silent()
    tensors_after(make_run(options(energy=2.0)), plain)
    schedule = {"energy": {1: 2.0, 3: 30.0}, "forces": {"weight": {1: 1.0, 4: 0.1}}}
    expected = tensors_after(make_run(options(**schedule)), changing)
    steps = len(plain.losses) // 4
    assert changing.losses[: 2 * steps] == plain.losses[: 2 * steps]
    assert changing.rows[:2] == plain.rows[:2]
    assert changing.losses[2 * steps] > plain.losses[2 * steps]  # the weights are still the same
    # In the middle of the second epoch, of the third, and at the end of the third.
    for stop in (steps + 1, 2 * steps + 1, 3 * steps):
        stopped, resumed = make_run(options(**schedule)), make_run(options(**schedule))
        with pytest.raises(Interrupted):
            loop.train(stopped.state, stopped.problem, Silent(steps=stop))
        header, tensors = stopped.state.to_checkpoint()
        resumed.state.from_checkpoint(SimpleNamespace(**header), tensors)
        tensors = tensors_after(resumed)
        assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_weights_that_change_are_told_when_they_do(tmp_path):
    schedule = {"energy": {1: 2.0, 3: 30.0}, "forces": {"weight": {1: 1.0, 9: 0.1}}}
    problem = make_run(make_options(tmp_path, {"num_epochs": 4, "loss": schedule})).problem
    said = []
    for epoch in range(1, 6):
        loop.tell_weights(problem, epoch, said.append)
    loop.tell_weights(problem, 4, said.append, resumed=True)
    shown = "weights of the loss from epoch {}: energy {}, energy forces 1, energy stress 1"
    assert said == [shown.format(*each) for each in ((1, 2), (3, 30), (4, 30))]
    loop.tell_weights(make_run(make_options(tmp_path)).problem, 1, said.append, resumed=True)
    assert len(said) == 3


def test_a_weight_of_zero_leaves_a_target_out(several, tmp_path):
    """The head of a target without weight stays as it is, those of the others learn."""
    weights = {name: {"weight": 0, "forces": 0, "stress": 0} for name in ("energy", "energy/pbe")}
    others = set(TARGETS) - {"energy", "energy/pbe", "mtt::u0"}
    weights |= {name: {"weight": 0} for name in others}
    training = {"loss": {"targets": weights}}
    data = several.training_set[0].model_dump(mode="json")
    options = make_options(tmp_path, training, training_set=data)
    run = make_run(options)
    before = {name: one.clone() for name, one in run.state.model.state_dict().items()}
    tensors_after(run)
    after = run.state.model.state_dict()
    # Heads are named by the place of their target.
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    heads = [name for name in before if "readout" in name]
    learned = {name for name in heads if name in changed}
    assert learned and len(learned) == len(heads) / len(TARGETS)


class Pair:
    """A communicator whose sums of errors, but not their counts, are four times those of here."""

    rank, size = 1, 2

    def __init__(self, stop_after=None):
        self.asked, self.stop_after = 0, stop_after

    def reduce(self, tensor):
        return tensor * torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=tensor.dtype)

    def broadcast(self, value):
        # What rank 0 says, whatever this process thinks.
        self.asked += 1
        return self.asked == self.stop_after

    def barrier(self):
        pass


def test_the_loop_speaks_to_the_other_processes(options):
    expected = Silent()
    tensors_after(make_run(options), expected)
    run, observer, pair = make_run(options), Silent(), Pair()
    run.problem.communicator = pair
    tensors_after(run, observer)
    for row, other in zip(observer.rows, expected.rows, strict=True):
        for name, value in row.items():
            factor = 2.0 if "rmse" in name else 4.0 if "mae" in name or "loss" in name else 1.0
            assert value == pytest.approx(factor * other[name], rel=1e-12), name
    # Once for each step, validation batch and epoch.
    assert pair.asked == 3 * (4 + 2 + 1)


def test_rank_0_decides_when_to_stop(options):
    run = make_run(options)
    run.problem.communicator = Pair(stop_after=2)
    observer = Silent(steps=1)
    with pytest.raises(Interrupted):
        loop.train(run.state, run.problem, observer)
    assert len(observer.losses) == 2


def test_training_without_kernels_says_why_and_is_the_same_within_rounding(
    options, tmp_path, monkeypatch
):
    said, results = [], []
    for lost in (False, True):
        kernels.missing.cache_clear()
        if lost:
            monkeypatch.setattr(kernels, "installed_file", lambda *parts: tmp_path / parts[-1])
        run = make_run(options)
        loop.tell_missing_kernels(run.state, run.problem, said.append)
        assert len(said) == lost
        results.append(tensors_after(run, Silent()))
    kernels.missing.cache_clear()
    assert "libmtt_training.so" in said[0]
    changed = 0
    for name, with_kernels in results[0].items():
        torch.testing.assert_close(with_kernels, results[1][name], rtol=1e-2, atol=1e-3)
        changed += not torch.equal(with_kernels, results[1][name])
    assert changed  # the kernels were there at all
