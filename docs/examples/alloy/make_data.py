"""Make alloy.xyz: strained and rattled Cu-Au cells with energy, forces and stress of ASE's EMT.

Run ``python make_data.py`` in this folder, with the package ``ase`` installed. The same versions
on the same kind of machine give the same bytes; README.md names them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

SEED = 20260502
STRUCTURES = 200
DECIMALS = 8
LATTICE = {"Cu": 3.61, "Au": 4.08}  # angstrom; between them by Vegard's rule
RATTLE = (0.01, 0.15)  # angstrom, standard deviation of the displacements
STRAIN = 0.05  # largest element of the symmetric strain
SHEAR = 0.12  # largest element of the shear that makes every fourth cell triclinic

# Repeats of the four-atom cube, or of the one-atom rhombohedral cell, with the number of atoms.
CUBES = {(1, 1, 1): 4, (2, 1, 1): 8, (2, 2, 1): 16, (2, 2, 2): 32}
PRIMITIVES = {(2, 2, 1): 4, (2, 2, 2): 8, (3, 2, 2): 12, (3, 3, 3): 27}


def structure(rng: np.random.Generator, index: int) -> Atoms:
    """Draw a random Cu-Au alloy of 4 to 32 atoms: strained, now and then sheared, rattled."""
    cubic = index % 2 == 0
    shapes = list(CUBES if cubic else PRIMITIVES)
    repeat = shapes[int(rng.integers(len(shapes)))]
    gold = float(rng.uniform())
    lattice = (1.0 - gold) * LATTICE["Cu"] + gold * LATTICE["Au"]
    atoms = bulk("Cu", "fcc", a=lattice, cubic=cubic).repeat(repeat)
    atoms.symbols = np.where(rng.uniform(size=len(atoms)) < gold, "Au", "Cu")

    noise = rng.uniform(-STRAIN, STRAIN, size=(3, 3))
    deformation = np.eye(3) + 0.5 * (noise + noise.T)
    if index % 4 == 3:
        deformation = deformation @ (np.eye(3) + np.triu(rng.uniform(-SHEAR, SHEAR, (3, 3)), 1))
    atoms.set_cell(np.asarray(atoms.cell) @ deformation, scale_atoms=True)
    atoms.positions += rng.normal(scale=rng.uniform(*RATTLE), size=atoms.positions.shape)

    # What is computed must be what is written, so both are rounded first.
    atoms.set_cell(np.round(np.asarray(atoms.cell), DECIMALS))
    atoms.positions = np.round(atoms.positions, DECIMALS)
    return atoms


def text(values: np.ndarray) -> str:
    """Format the numbers of an array in row order."""
    return " ".join(f"{value:.{DECIMALS}f}" for value in np.ravel(values))


def frame_text(atoms: Atoms) -> str:
    """Compute energy (eV), forces (eV/angstrom), stress (eV/angstrom^3): one extended XYZ frame."""
    atoms.calc = EMT()
    energy = float(atoms.get_potential_energy())
    forces = np.asarray(atoms.get_forces())
    # Two more digits than forces: a volume of 500 angstrom^3 multiplies the rounding again.
    stress = " ".join(f"{v:.10f}" for v in np.ravel(atoms.get_stress(voigt=False)))
    lines = [
        str(len(atoms)),
        f'Lattice="{text(np.asarray(atoms.cell))}" Properties=species:S:1:pos:R:3:forces:R:3 '
        f'energy={energy:.10f} stress="{stress}" pbc="T T T"',
    ]
    for symbol, x, f in zip(atoms.get_chemical_symbols(), atoms.positions, forces, strict=True):
        lines.append(f"{symbol} {text(x)} {text(f)}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all structures; each has its own seed, so one can be changed alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("alloy.xyz"))
    arguments = parser.parse_args()
    frames = []
    for index in range(STRUCTURES):
        frames.append(frame_text(structure(np.random.default_rng([SEED, index]), index)))
    arguments.output.write_text("".join(frames))


if __name__ == "__main__":
    main()
