"""What the loop trains, made of options and data without the rest of a run."""

from typing import NamedTuple

import numpy as np
import torch

from mtt import plugins
from mtt.architectures.potential import Potential
from mtt.data.dataset import Dataset, types_of
from mtt.options import Options
from mtt.training.baseline import Baseline, fit_baseline, in_training_units
from mtt.training.loop import Problem
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        architecture = plugins.get(options.architecture.name)
        core = architecture.build_core(options.architecture.model, types, data.targets)
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
    problem = Problem(*datasets, hypers, options.seed, dtype, torch.device("cpu"))
    return Run(State(potential, make_optimizer(potential.parameters(), hypers)), problem)


def add_targets(frames: list, seed: int = 7) -> None:
    """Give frames a second energy with forces, a third one, and charges that sum to zero.

    The keys are ``pbe``, ``pbe_forces``, ``u0`` and ``charges``.
    """
    random = np.random.default_rng(seed)
    for atoms in frames:
        energy, forces = atoms.calc.results["energy"], atoms.calc.results["forces"]
        atoms.info["pbe"] = 0.5 * energy - 2.0 * len(atoms)
        atoms.arrays["pbe_forces"] = 0.5 * forces
        atoms.info["u0"] = energy + random.normal()
        charges = 0.1 * atoms.numbers + 0.01 * random.normal(size=len(atoms))
        atoms.arrays["charges"] = charges - charges.mean()


TARGETS = {
    "energy": {},
    "energy/pbe": {"key": "pbe", "forces": {"key": "pbe_forces"}},
    "mtt::u0": {"quantity": "energy", "unit": "eV"},
    "mtt::charges": {"quantity": "charge", "unit": "e", "per": "atom"},
}
