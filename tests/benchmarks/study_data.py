"""Make data sets for studies: water clusters, a molecular crystal, a surface, dipoles of ethanol.

    python tests/benchmarks/study_data.py FOLDER [NAME ...]

With the packages ``ase`` and ``tblite``. Each file has 160 structures with energy, forces and, where
all axes are periodic, stress; ``dipoles`` has the 800 of docs/examples/ethanol with ``total_dipole`` in
e*A and nothing else. The same versions on the same kind of machine give the same bytes. All files are
made if none is named.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # xTB sums in another order with more threads

import sys
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import add_adsorbate, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from tblite.ase import TBLite

STRUCTURES = 160
ETHANOL = Path(__file__).parents[2] / "docs/examples/ethanol/ethanol.xyz"


def sampled(
    atoms: Atoms, temperature: float, stride: int, frames: int, random: np.random.Generator
) -> list[Atoms]:
    """Return frames of Langevin dynamics, after a fifth of its length that is thrown away."""
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=random)
    dynamics = Langevin(
        atoms, 1.0 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=random
    )
    dynamics.run(stride * frames // 5)
    kept = []
    for _ in range(frames):
        dynamics.run(stride)
        kept.append(frozen(atoms))
    return kept


def frozen(atoms: Atoms) -> Atoms:
    """Return a copy with what its calculator says."""
    copy = atoms.copy()
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(apply_constraint=False),
    }
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress()
    copy.set_constraint()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def water_clusters() -> list[Atoms]:
    """2 to 6 molecules, GFN2-xTB, 250 K, from random places on a grid of 3 angstrom."""
    random = np.random.default_rng(20261128)
    frames = []
    for trajectory in range(16):
        cells = random.permutation(8)[: 2 + trajectory % 5]
        cluster = Atoms()
        for cell in cells:
            water = molecule("H2O")
            water.euler_rotate(*random.uniform(0, 360, 3))
            water.positions += 3.0 * np.array([cell // 4, cell // 2 % 2, cell % 2])
            cluster += water
        cluster.calc = TBLite(method="GFN2-xTB", verbosity=0)
        frames += sampled(cluster, 250.0, 25, STRUCTURES // 16, random)
    return frames


def molecular_crystal() -> list[Atoms]:
    """Dry ice: 4 molecules of CO2 in Pa-3, GFN1-xTB, strained, molecules shifted and bent."""
    random = np.random.default_rng(20261129)
    corners = 0.5 * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    axes = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
    frames = []
    for _ in range(STRUCTURES):
        width = 5.6 * random.uniform(0.94, 1.06)
        positions, symbols = [], ""
        for corner, axis in zip(corners, axes, strict=True):
            center = width * corner + random.normal(scale=0.08, size=3)
            turned = axis + random.normal(scale=0.08, size=3)
            turned *= 1.17 / np.linalg.norm(turned)
            positions += [center, center + turned, center - turned]
            symbols += "COO"
        crystal = Atoms(symbols, positions, cell=np.eye(3) * width, pbc=True)
        strain = random.uniform(-0.02, 0.02, (3, 3))
        crystal.set_cell(crystal.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        crystal.positions += random.normal(scale=0.03, size=crystal.positions.shape)
        crystal.calc = TBLite(method="GFN1-xTB", verbosity=0)
        frames.append(frozen(crystal))
    return frames


def surface() -> list[Atoms]:
    """Pt (111) with Cu and O above it, EMT, 600 K; the lowest layer is fixed."""
    random = np.random.default_rng(20261130)
    frames = []
    for trajectory in range(8):
        slab = fcc111("Pt", (2, 2, 3), vacuum=8.0)
        slab.pbc = (True, True, False)
        for number, place in enumerate(("fcc", "hcp", "ontop")[: 1 + trajectory % 3]):
            add_adsorbate(
                slab,
                ("Cu", "O")[(trajectory + number) % 2],
                1.8,
                place,
                offset=(number % 2, number // 2),
            )
        slab.set_constraint(FixAtoms(mask=slab.get_tags() == 3))
        slab.calc = EMT()
        frames += sampled(slab, 600.0, 20, STRUCTURES // 8, random)
    return frames


def dipoles() -> list[Atoms]:
    """The structures of the ethanol example with dipoles of the method that labeled them."""
    frames = []
    for atoms in ase.io.read(ETHANOL, ":"):
        # A fresh calculator keeps a label independent of the frames before it.
        atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0)
        copy = Atoms(atoms.symbols, atoms.positions)
        # Not "dipole": ASE takes a property of that name for a result of a calculator.
        copy.info["total_dipole"] = atoms.get_dipole_moment()
        frames.append(copy)
    return frames


SETS: dict[str, Callable[[], list[Atoms]]] = {
    "water": water_clusters,
    "dry_ice": molecular_crystal,
    "surface": surface,
    "dipoles": dipoles,
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or SETS:
        ase.io.write(folder / f"{name}.xyz", SETS[name](), format="extxyz")
        print(folder / f"{name}.xyz", flush=True)
