"""Real engines, called the way their users call them, all returning the same three numbers."""

import importlib
import sys
import types
import warnings
from pathlib import Path
from typing import NamedTuple

import ase
import ase.io
import numpy as np
import pytest
import torch

from mtt.data.read_files import structure_of
from mtt.evaluation.predict import open_model


class Answer(NamedTuple):
    """energy in eV, forces (N, 3) in eV/angstrom, virial (3, 3) in eV, None where there is none."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray | None


def run_checkpoint(path: Path, systems: list[ase.Atoms]) -> list[Answer]:
    """What mtt predicts of the energy from a checkpoint: the eager model that never was exported."""
    structures = [structure_of(atoms, f"structure {k}") for k, atoms in enumerate(systems)]
    answers = []
    predictions = open_model(path, "cpu").predict(structures)
    for structure, prediction in zip(structures, predictions, strict=True):
        energy = prediction["energy"]
        virial = None if energy.stress is None else -structure.volume * energy.stress
        answers.append(Answer(float(energy.values[0]), energy.forces, virial))
    return answers


def farthest(found: Answer, expected: Answer) -> float:
    """Largest difference: of the energy, the largest force and the largest component of the virial."""
    assert found.forces.shape == expected.forces.shape
    pairs = [(found.energy, expected.energy), (found.forces, expected.forces)]
    if found.virial is not None and expected.virial is not None:
        pairs.append((found.virial, expected.virial))
    # Below, differences are of a thousandth of an eV, or of an eV/angstrom.
    sizes = [max(float(np.abs(values).max()), 1e-3) for _, values in pairs]
    differences = [np.abs(np.subtract(*pair)).max() for pair in pairs]
    # Unlike that of Python, this maximum is NaN where one of them is.
    return float(np.max(np.divide(differences, sizes)))


def run_ase(path: Path, systems: list[ase.Atoms]) -> list[Answer]:
    """ASE through the calculator of metatomic-ase."""
    metatomic_ase = pytest.importorskip("metatomic_ase")
    calculator = metatomic_ase.MetatomicCalculator(str(path), device="cpu", check_consistency=True)
    answers = []
    for atoms in systems:
        atoms = atoms.copy()
        atoms.calc = calculator
        virial = None
        with warnings.catch_warnings():
            # The calculator divides by the volume, also where there is none.
            warnings.filterwarnings("ignore", message="invalid value encountered")
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        if atoms.pbc.all():
            virial = -atoms.get_volume() * atoms.get_stress(voigt=False)
        answers.append(Answer(energy, forces, virial))
    return answers


def run_ipi(path: Path, systems: list[ase.Atoms]) -> list[Answer]:
    """The class behind ``i-pi-py_driver -m metatomic``."""
    driver_module = pytest.importorskip("ipi.pes.metatomic")
    from ipi.utils.units import unit_to_internal, unit_to_user

    answers = []
    for index, atoms in enumerate(systems):
        template = path.parent / f"template-{path.stem}-{index}.xyz"
        ase.io.write(template, atoms)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            driver = driver_module.MetatomicDriver(template=str(template), model=str(path))
            cell = unit_to_internal("length", "angstrom", np.asarray(atoms.cell).T)
            positions = unit_to_internal("length", "angstrom", atoms.positions)
            energy, forces, virial, _ = driver(cell, positions)
        answers.append(
            Answer(
                float(np.squeeze(unit_to_user("energy", "electronvolt", energy))),
                unit_to_user("force", "ev/ang", forces).reshape(-1, 3),
                unit_to_user("energy", "electronvolt", virial).reshape(3, 3),
            )
        )
    return answers


def run_torch_sim(path: Path, systems: list[ase.Atoms]) -> list[Answer]:
    """torch-sim's own metatomic model, all systems in one batch; they must be periodic."""
    pytest.importorskip("torch_sim", reason="torch-sim is not installed here")
    _stand_in_for_metatrain()
    with warnings.catch_warnings():
        # Its release for this Python calls interfaces that metatomic and vesin are retiring.
        warnings.simplefilter("ignore")
        import torch_sim
        from torch_sim.models.metatomic import MetatomicModel

        model = MetatomicModel(str(path), device="cpu")
        state = torch_sim.io.atoms_to_state(systems, torch.device("cpu"), torch.float64)
        results = model(state)
    counts = np.cumsum([len(atoms) for atoms in systems])[:-1]
    forces = np.split(results["forces"].numpy(), counts)
    # Unlike the others, torch-sim leaves the antisymmetric part of models that break rotations.
    stresses = 0.5 * (results["stress"] + results["stress"].mT).detach().numpy()
    return [
        Answer(float(results["energy"][k]), forces[k], -atoms.get_volume() * stresses[k])
        for k, atoms in enumerate(systems)
    ]


def _stand_in_for_metatrain() -> None:
    # torch-sim imports metatrain's loader of checkpoints next to the loader of exported models,
    # which is the only one needed here. Where metatrain is missing, an empty name will do.
    try:
        importlib.import_module("metatrain.utils.io")
    except ImportError:
        for name in ("metatrain", "metatrain.utils", "metatrain.utils.io"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["metatrain.utils.io"].load_model = None  # type: ignore[attr-defined]
