"""Everything in the state reaches the checkpoint and comes back, and nothing can hide from it."""

from dataclasses import dataclass, field, fields
from types import SimpleNamespace

import pytest
import torch

from mtt.architectures.interface import Core
from mtt.architectures.potential import Potential
from mtt.checkpoint import Best, Position
from mtt.data.target import Target
from mtt.options import TrainingHypers
from mtt.training.optimizer import make_optimizer
from mtt.training.state import HEADER, TENSORS, State


class Small(Core):
    cutoff = interaction_range = 3.0

    def __init__(self):
        super().__init__()
        self.used = torch.nn.Linear(2, 3)
        self.unused = torch.nn.Parameter(torch.ones(2))
        self.register_buffer("counter", torch.zeros((), dtype=torch.int64))


def restore(state, header, tensors):
    """Restore a state from header entries as they are in a header."""
    state.from_checkpoint(SimpleNamespace(**header), tensors)


def new_state(seed=0):
    torch.manual_seed(seed)
    potential = Potential(Small(), [1, 8], [Target("energy"), Target("mtt::u0")], "angstrom")
    return State(potential, make_optimizer(potential.parameters(), TrainingHypers()))


def trained_state():
    state = new_state()
    for _ in range(3):
        state.optimizer.zero_grad()
        state.model.core.used(torch.ones(2)).pow(2).sum().backward()
        state.optimizer.step()
    state.model.core.counter += 5
    state.model.baseline("energy").composition.fill_(-7.5)
    state.best = {"baselines.0.scale": torch.tensor(2.5), "core.used.bias": torch.rand(3)}
    state.train_sums += torch.rand_like(state.train_sums)
    state.position = Position(epoch=2, step=7, batch=3)
    state.history = [{"epoch": 1, "train_loss": 0.5}]
    state.best_epoch = Best(epoch=1, metric="loss", value=0.25)
    return state


def same(first, second):
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    for name, tensor in first[1].items():
        assert torch.equal(tensor, second[1][name]), name
        assert tensor.dtype == second[1][name].dtype, name


def test_round_trip_and_the_next_step():
    state, other = trained_state(), new_state(seed=1)
    saved = state.to_checkpoint()
    saved = saved[0], {name: tensor.clone() for name, tensor in saved[1].items()}
    restore(other, *saved)
    same(other.to_checkpoint(), saved)
    for one in (state, other):
        one.optimizer.zero_grad()
        one.model.core.used(torch.ones(2)).pow(2).sum().backward()
        one.optimizer.step()
    same(other.to_checkpoint(), state.to_checkpoint())
    assert not torch.equal(saved[1]["model/core.used.bias"], state.model.core.used.bias)


def test_names_in_the_checkpoint():
    header, tensors = trained_state().to_checkpoint()
    assert header == {
        "position": Position(epoch=2, step=7, batch=3),
        "history": [{"epoch": 1, "train_loss": 0.5}],
        "best": Best(epoch=1, metric="loss", value=0.25),
        "uncertainties": [],
    }
    assert set(tensors) == {
        "model/baselines.0.composition",
        "model/baselines.0.scale",
        "model/baselines.1.composition",
        "model/baselines.1.scale",
        "model/core.counter",
        "model/core.unused",
        "model/core.used.bias",
        "model/core.used.weight",
        "best/baselines.0.scale",
        "best/core.used.bias",
        "optimizer/step",
        "optimizer/core.used.bias/exp_avg",
        "optimizer/core.used.bias/exp_avg_sq",
        "optimizer/core.used.weight/exp_avg",
        "optimizer/core.used.weight/exp_avg_sq",
        "train_sums",
    }


def test_the_restored_state_shares_nothing_with_what_it_came_from():
    header, tensors = trained_state().to_checkpoint()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    state = new_state()
    restore(state, header, tensors)
    state.history.append({"epoch": 2})
    state.position.epoch = 9
    state.best["baselines.0.scale"] += 1
    state.model.core.used(torch.ones(2)).pow(2).sum().backward()
    state.optimizer.step()
    assert header["history"] == [{"epoch": 1, "train_loss": 0.5}]
    assert header["position"].epoch == 2
    for name, tensor in tensors.items():
        assert torch.equal(tensor, kept[name]), name


def test_an_optimizer_that_has_not_stepped_yet():
    state, other = new_state(), trained_state()
    other.optimizer = make_optimizer(other.model.parameters(), TrainingHypers())
    restore(other, *state.to_checkpoint())
    same(other.to_checkpoint(), state.to_checkpoint())
    assert other.best == {}


def test_parameters_with_steps_of_their_own_keep_them():
    state = trained_state()
    for parameter in (state.model.core.used.bias,):
        state.optimizer.state[parameter]["step"] += 4
    header, tensors = state.to_checkpoint()
    assert "optimizer/step" not in tensors
    other = new_state(seed=1)
    restore(other, header, tensors)
    same(other.to_checkpoint(), (header, tensors))


def test_sums_have_a_table_for_each_target():
    assert new_state().train_sums.shape == (2, 5, 4)
    assert new_state().train_sums.dtype == torch.float64


def test_every_field_says_how_it_is_saved_and_nothing_else_can_be_set():
    for one in fields(State):
        assert (TENSORS in one.metadata) != (HEADER in one.metadata), one.name
    with pytest.raises(AttributeError):
        new_state().average_weights = {}


def test_a_new_field_is_saved_without_further_code():
    @dataclass(slots=True)
    class Extended(State):
        average: dict = field(metadata={TENSORS: "ema"}, default_factory=dict)
        sampler: dict = field(metadata={HEADER: "sampler"}, default_factory=dict)

    def build():
        state = new_state()
        return Extended(state.model, state.optimizer)

    state, other = build(), build()
    state.average, state.sampler = {"weight": torch.rand(3)}, {"kind": "by size", "seen": [1, 2]}
    restore(other, *state.to_checkpoint())
    assert torch.equal(other.average["weight"], state.average["weight"])
    assert other.sampler == {"kind": "by size", "seen": [1, 2]}


def test_a_new_field_that_does_not_say_how_it_is_saved_fails_at_once():
    @dataclass(slots=True)
    class Forgetful(State):
        average: float = 0.0

    state = new_state()
    with pytest.raises(KeyError):
        Forgetful(state.model, state.optimizer).to_checkpoint()


def refused(change):
    """What is said of a checkpoint whose tensors were changed."""
    header, tensors = trained_state().to_checkpoint()
    tensors = dict(tensors)
    change(tensors)
    with pytest.raises((KeyError, RuntimeError)) as caught:
        restore(new_state(), header, tensors)
    return str(caught.value)


def test_state_that_nobody_knows_is_refused():
    def add(name):
        return lambda tensors: tensors.update({name: torch.ones(2)})

    assert refused(add("ema/weight")) == "\"nothing here knows the tensor 'ema/weight'\""
    name = "core.used.bias/momentum_buffer"
    expected = f"\"no weight has the optimizer state '{name}'\""
    assert refused(add(f"optimizer/{name}")) == expected
    assert "Unexpected key" in refused(add("model/core.more"))
    header, tensors = trained_state().to_checkpoint()
    fixed = {"check/0/types": torch.ones(1), "data/training_set": torch.ones(1)}
    restore(new_state(), header, {**tensors, **fixed})


def test_state_of_other_shapes_is_refused():
    def cut(name):
        return lambda tensors: tensors.update({name: tensors[name][..., :1]})

    name = "core.used.bias/exp_avg"
    assert refused(cut(f"optimizer/{name}")) == f"'{name}' has the shape [1]"
    assert refused(cut("train_sums")).startswith("'train_sums' has the shape [")
    assert "size mismatch" in refused(cut("model/core.used.weight"))
