"""Small structures for the tests of data: an EMT alloy with stress, and two molecules."""

from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator


def copper(n: int = 3, seed: int = 0) -> list[ase.Atoms]:
    """``n`` rattled periodic copper cells of 4 atoms with EMT energies, forces and stresses."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), True)
        atoms.positions += 0.05 * rng.normal(size=(4, 3))
        atoms.calc = EMT()
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def molecules() -> list[ase.Atoms]:
    """Water and ethanol with made-up energies under ``U`` and forces under ``F``."""
    frames = []
    for number, name in enumerate(("H2O", "CH3CH2OH")):
        atoms = molecule(name)
        atoms.info["U"] = -10.5 - number
        atoms.arrays["F"] = 0.1 * np.arange(3.0 * len(atoms)).reshape(-1, 3)
        frames.append(atoms)
    return frames


def write(path: Path, frames: list[ase.Atoms]) -> Path:
    ase.io.write(path, frames, format="extxyz")
    return path
