"""Training changes nothing but the state, so that whatever it changes is in checkpoints.

Everything that can be reached from a run and from the modules of the trainer is compared before and
after two epochs. A moving average, a sampler or a scheduler kept anywhere else is found here.
"""

import dataclasses
import hashlib
import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from golden.golden_runs import Silent
from small_runs import make_options

from mtt.training import loop
from mtt.training.prepare import prepare

# What code is made of; nobody keeps weights in it. Loggers lead to those of all other packages.
CODE = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    type,
    logging.Logger,
)


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object is made of, by name; nothing for plain values."""
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", one) for key, one in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{index}]", one) for index, one in enumerate(value))
    elif not isinstance(value, (*CODE, torch.Tensor, np.ndarray)):
        names = {*getattr(value, "__dict__", {})}
        names |= {slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())}
        yield from (
            (f".{name}", getattr(value, name)) for name in sorted(names) if hasattr(value, name)
        )


def plain(value: Any) -> str:
    """A short text that changes whenever the value does."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()[:16]}"
    if isinstance(value, str | bytes | int | float | complex | bool | None):
        return repr(value)
    if isinstance(value, dict | list | tuple | set | frozenset):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__qualname__


def snapshot(value: Any, name: str, left_out: set[int]) -> dict[str, str]:
    """Every value that can be reached, by the way to it."""
    found: dict[str, str] = {}
    seen = set(left_out)
    waiting = [(name, value)]
    while waiting:
        way, one = waiting.pop()
        found[way] = plain(one)
        if isinstance(one, CODE) or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [(way + step, part) for step, part in parts(one)]
    return found


def everything(run: Any) -> dict[str, str]:
    """The run without its state, and what the trainer's modules hold."""
    state = run.state
    # The state itself and what it is made of, through whatever else leads there.
    left_out = {id(state), id(state.model), id(state.optimizer)}
    left_out |= {id(part) for _, part in parts(state)}
    found = {}
    for field in dataclasses.fields(run):
        if field.name != "state":
            found |= snapshot(getattr(run, field.name), f"run.{field.name}", left_out)
    for name, module in sorted(sys.modules.items()):
        if name.startswith("mtt.training") or name.startswith("mtt.data"):
            for key, value in vars(module).items():
                if not key.startswith("__") and not isinstance(value, CODE):
                    found |= snapshot(value, f"{name}.{key}", left_out)
    return found


def changes(run: Any) -> list[str]:
    """What two epochs change outside the state."""
    before = everything(run)
    loop.train(run.state, run.problem, Silent())
    after = everything(run)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


@pytest.fixture
def run(tmp_path):
    options = make_options(tmp_path, {"num_epochs": 2})
    return prepare(options, None, tmp_path / "model.pt", lambda _: None)


def test_training_changes_nothing_but_the_state(run):
    found = everything(run)
    assert len(found) > 1000, "the walk does not get far"
    assert found["run.problem.train._items[0][3]"].startswith("float64")
    assert changes(run) == []


def forgotten_in_problem(monkeypatch, run):
    average = {"weight": torch.zeros(1)}
    object.__setattr__(run.problem, "average", average)
    return lambda: average["weight"].add_(1.0)


def forgotten_in_a_dataset(monkeypatch, run):
    run.problem.train.seen = 0

    def count():
        run.problem.train.seen += 1

    return count


def forgotten_in_a_module(monkeypatch, run):
    monkeypatch.setattr(loop, "_recent", [], raising=False)
    return lambda: loop._recent.append(1)


@pytest.mark.parametrize(
    "forgotten", [forgotten_in_problem, forgotten_in_a_dataset, forgotten_in_a_module]
)
def test_new_state_elsewhere_is_found(run, monkeypatch, forgotten):
    """In the way in which a moving average, a sampler or a scheduler would be added carelessly."""
    advance = forgotten(monkeypatch, run)
    original = loop.seed_step

    def each_step(problem, step):
        advance()
        original(problem, step)

    monkeypatch.setattr(loop, "seed_step", each_step)
    assert changes(run) != []
