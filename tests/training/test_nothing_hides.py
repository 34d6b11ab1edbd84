"""Training changes nothing but the state, so that whatever it changes is in checkpoints.

Everything that can be reached from a run and from the modules of the trainer is compared: before and
after two epochs, without the state; and with the state between a run that was never stopped and one
that was gone on with. A moving average, a sampler or a scheduler kept anywhere is found here, unless
the state says how it is saved.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import logging
import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import make_options

from mtt.training import loop
from mtt.training.loop import Interrupted
from mtt.training.prepare import prepare
from mtt.training.state import Position

MODULES = ("mtt.training", "mtt.data", "mtt.architectures")
# Nothing is looked for behind these; loggers lead to those of all other packages.
ENDS = (types.ModuleType, types.BuiltinFunctionType, logging.Logger)
PLAIN = str | bytes | int | float | complex | bool | None
SEQUENCES = list | tuple | set | frozenset | collections.deque


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object is made of, by name; nothing for plain values."""
    if isinstance(value, dict):
        for index, (key, one) in enumerate(value.items()):
            # An optimizer has weights for keys.
            yield f"[{key!r}]" if isinstance(key, PLAIN) else f"[{index}]", one
    elif isinstance(value, SEQUENCES):
        yield from ((f"[{index}]", one) for index, one in enumerate(value))
    elif isinstance(value, types.FunctionType):
        cells = [cell for cell in value.__closure__ or () if cell != types.CellType()]
        yield from ((f"<cell {n}>", cell.cell_contents) for n, cell in enumerate(cells))
        yield "<defaults>", (value.__defaults__, value.__kwdefaults__)
        yield "<attributes>", vars(value)
    elif isinstance(value, types.MethodType):
        yield from (("<function>", value.__func__), ("<self>", value.__self__))
    elif isinstance(value, functools.partial):
        yield "<partial>", (value.func, value.args, value.keywords)
    elif isinstance(value, type):
        if value.__module__.partition(".")[0] in ("mtt", __name__):
            yield from ((f".{name}", one) for name, one in vars(value).items() if name[:2] != "__")
    elif not isinstance(value, (*ENDS, torch.Tensor, np.ndarray)):
        names = {*getattr(value, "__dict__", {})}
        names |= {slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())}
        yield from (
            (f".{name}", getattr(value, name)) for name in sorted(names) if hasattr(value, name)
        )


def plain(value: Any) -> str:
    """A short text that changes whenever the value does, but for its parts."""
    if isinstance(value, torch.Tensor):
        return plain(value.detach().cpu().numpy())
    if isinstance(value, torch.Generator):
        return plain(value.get_state())
    if isinstance(value, random.Random):
        return plain(np.asarray(value.getstate()[1]))
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, functools._lru_cache_wrapper):
        return f"cache of {value.cache_info().currsize}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()[:16]}"
    if isinstance(value, PLAIN) or type(value).__module__ == "itertools":
        return repr(value)
    if isinstance(value, dict | SEQUENCES):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__qualname__


def snapshot(things: dict[str, Any], left_out: list[Any]) -> dict[str, str]:
    """Every value that can be reached, by the way to it."""
    found: dict[str, str] = {}
    # The objects too: the number of one that is gone may be given to another.
    seen = {id(one): one for one in left_out}
    waiting = list(things.items())
    while waiting:
        way, one = waiting.pop()
        found[way] = plain(one)
        if isinstance(one, (*ENDS, PLAIN)) or id(one) in seen:
            continue
        seen[id(one)] = one
        waiting += [(way + step, part) for step, part in parts(one)]
    return found


def everything(run: Any, with_state: bool) -> dict[str, str]:
    """What can be reached from the run and from the trainer's modules."""
    state = run.state
    things = {f"run.{one.name}": getattr(run, one.name) for one in dataclasses.fields(run)}
    if not with_state:
        del things["run.state"]
    for name in sorted(sys.modules):
        if name.startswith(MODULES):
            held = vars(sys.modules[name])
            things |= {f"{name}.{key}": one for key, one in held.items() if key[:2] != "__"}
    # The state and what it is made of, whatever leads there.
    left_out = [] if with_state else [state, *(part for _, part in parts(state))]
    return snapshot(things, left_out)


class Until:
    """An observer that stops after a number of epochs, and wants nothing else."""

    def __init__(self, epochs: int | None = None) -> None:
        self.epochs, self.done = epochs, 0

    def stop_requested(self) -> bool:
        return self.done == self.epochs

    def step(self, loss: torch.Tensor, n_structures: int) -> None:
        pass

    def epoch(self, row: dict[str, float]) -> None:
        self.done += 1


def differences(first: dict[str, str], second: dict[str, str]) -> list[str]:
    return sorted(way for way in first.keys() | second.keys() if first.get(way) != second.get(way))


def changed_by_two_epochs(run: Any) -> list[str]:
    """What changes outside the state."""
    before = everything(run, with_state=False)
    with pytest.raises(Interrupted):
        loop.train(run.state, run.problem, Until(2))
    return differences(before, everything(run, with_state=False))


def lost_by_going_on(make: Callable[[], Any]) -> list[str]:
    """What is not the same at the end if a run was stopped after two of its three epochs."""
    run = make()
    with pytest.raises(Interrupted):
        loop.train(run.state, run.problem, Until(2))
    entries, tensors = run.state.to_checkpoint()
    tensors = {name: one.clone() for name, one in tensors.items()}
    loop.train(run.state, run.problem, Until())
    expected = everything(run, with_state=True)
    again = make()
    again.state.from_checkpoint(dataclasses.replace(again.header, **entries), tensors)
    loop.train(again.state, again.problem, Until())
    return differences(expected, everything(again, with_state=True))


@pytest.fixture
def make(tmp_path):
    options = make_options(tmp_path, {"num_epochs": 3})
    return lambda: prepare(options, None, tmp_path / "model.pt", lambda _: None)


def test_training_changes_nothing_but_the_state(make):
    run = make()
    found = everything(run, with_state=False)
    assert found["run.problem.train._items[0][3]"].startswith("float64")
    assert "run.state.model" not in found and "mtt.training.loop._CACHE_BYTES" in found
    assert changed_by_two_epochs(run) == []


def test_going_on_loses_nothing(make):
    assert lost_by_going_on(make) == []


# ---- what somebody could add, and forget to save ----


def each_step(monkeypatch, advance):
    """Call ``advance`` at each step of all runs."""
    original = loop.seed_step

    def seed_step(problem, step):
        advance()
        original(problem, step)

    monkeypatch.setattr(loop, "seed_step", seed_step)


class Scheduler:
    """Counts for itself, as torch's do."""

    instances = 0

    def __init__(self) -> None:
        self.count, self.average = 0, torch.zeros(2)

    def step(self) -> None:
        self.count += 1


def average(run, monkeypatch):
    """A moving average beside the model."""
    run.problem.average = Scheduler().average
    return lambda: run.problem.average.mul_(0.9).add_(1.0)


def scheduler(run, monkeypatch):
    """A scheduler that only a bound method knows."""
    run.problem.advance = Scheduler().step
    return run.problem.advance


def closure(run, monkeypatch):
    """A count that only a function knows."""
    count = 0

    def advance():
        nonlocal count
        count += 1

    run.problem.train.advance = functools.partial(advance)
    return advance


def sampler(run, monkeypatch):
    """A sampler with a generator of its own, of numpy, torch or Python."""
    kinds = [np.random.default_rng(0), torch.Generator(), random.Random(0)]
    run.problem.train.order = kinds
    return lambda: (kinds[0].random(), torch.rand(1, generator=kinds[1]), kinds[2].random())


def iterator(run, monkeypatch):
    run.problem.train.number = itertools.count()
    return lambda: next(run.problem.train.number)


def recent(run, monkeypatch):
    run.header.options["recent"] = collections.deque([0.0], maxlen=1)
    kept = run.header.options["recent"]
    return lambda: kept.append(kept[0] + 1.0)


def in_a_module(run, monkeypatch):
    monkeypatch.setattr(loop, "_recent", [], raising=False)
    return lambda: loop._recent.append(1)


def in_a_class(run, monkeypatch):
    monkeypatch.setattr(Position, "best_steps", 0, raising=False)

    def advance():
        Position.best_steps += 1

    return advance


def in_a_function(run, monkeypatch):
    monkeypatch.setattr(loop._finish_epoch, "calls", 0, raising=False)

    def advance():
        loop._finish_epoch.calls += 1

    return advance


@pytest.mark.parametrize(
    "forgotten",
    [
        average,
        scheduler,
        closure,
        sampler,
        iterator,
        recent,
        in_a_module,
        in_a_class,
        in_a_function,
    ],
)
def test_state_that_is_kept_elsewhere_is_found(make, monkeypatch, forgotten):
    run = make()
    each_step(monkeypatch, forgotten(run, monkeypatch))
    assert changed_by_two_epochs(run) != []


def in_the_model(run):
    """Counted by the model itself, and not in its state dict."""
    core = run.state.model.core
    core.calls = 0

    def count(*_):
        core.calls += 1

    core.register_forward_pre_hook(count)


def in_the_optimizer(run):
    """In a group of weights, where torch's schedulers keep things."""
    (group,) = run.state.optimizer.param_groups
    group["decayed"] = 1.0

    def decay(*_):
        group["decayed"] *= 0.5

    run.state.optimizer.register_step_post_hook(decay)


@pytest.mark.parametrize(
    ("forgotten", "found"),
    [
        (in_the_model, "run.state.model._modules['core'].calls"),
        (in_the_optimizer, "run.state.optimizer.param_groups[0]['decayed']"),
    ],
)
def test_state_that_a_checkpoint_does_not_have_is_found(make, forgotten, found):
    def made():
        run = make()
        forgotten(run)
        return run

    assert found in lost_by_going_on(made)
