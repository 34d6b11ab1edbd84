"""What the loop trains, made of options and data without the rest of a run."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.cores import new_core
from mtt.architectures.potential import Potential
from mtt.data.dataset import Dataset, types_of
from mtt.options import Options
from mtt.training.baseline import Baseline, fit_baseline, in_training_units
from mtt.training.loop import Interrupted, Problem, train
from mtt.training.optimizer import make_optimizer
from mtt.training.run_data import read_run_data
from mtt.training.state import State


class Run(NamedTuple):
    state: State
    problem: Problem


def make_run(options: Options) -> Run:
    """Build model, datasets and state; weights depend on the seed of the options alone."""
    data, hypers = read_run_data(options), options.architecture.training
    types = types_of(data.train)
    dtype = {32: torch.float32, 64: torch.float64}[options.base_precision]
    architecture = architecture_registry.get(options.architecture.name)
    core = new_core(architecture, options.architecture.model, types, data.targets, options.seeds)
    length_unit = options.training_set[0].systems.length_unit
    potential = Potential(core, types, data.targets, length_unit).set_precision(dtype)
    baselines: dict[str, Baseline] = {}
    for target in data.targets:
        baseline = fit_baseline(data.train, target, types, scale_targets=hypers.scale_targets)
        potential.baseline(target.name).composition.copy_(torch.from_numpy(baseline.composition))
        potential.baseline(target.name).scale.fill_(baseline.scale)
        baselines[target.name] = baseline
    datasets = [
        Dataset(
            in_training_units(structures, data.targets, types, baselines),
            types,
            potential.cutoff,
            data.targets,
        )
        for structures in (data.train, data.validation)
    ]
    problem = Problem(*datasets, hypers, options.seeds[0], dtype, torch.device("cpu"))
    return Run(State(potential, make_optimizer(potential.parameters(), hypers)), problem)


def train_for(
    run: Any,
    stop_after: int | None = None,
    finished: Callable[[State, Problem], None] = lambda state, problem: None,
) -> dict[str, torch.Tensor]:
    """Train to the end, or for some steps, and return the tensors of a checkpoint.

    :param run: its ``state`` and its ``problem``
    :param finished: as of :func:`mtt.training.loop.train`
    """
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1

    observer: Any = SimpleNamespace(
        step=step, epoch=lambda row: None, stop_requested=lambda: steps == stop_after
    )
    if stop_after is None:
        train(run.state, run.problem, observer, finished)
    else:
        with pytest.raises(Interrupted):
            train(run.state, run.problem, observer, finished)
    tensors: dict[str, torch.Tensor] = run.state.to_checkpoint()[1]
    return tensors
