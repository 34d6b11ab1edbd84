"""Make ethanol.xyz: ethanol at 500 K, energies and forces of GFN2-xTB.

Run ``python make_data.py`` in this folder, with the packages ``ase`` and ``tblite`` installed.
The same versions on the same kind of machine give the same bytes; README.md names them.
"""

from __future__ import annotations

import os

# xTB sums in another order with more threads, which would change the last digits.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import multiprocessing
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
from ase.optimize import BFGS
from tblite.ase import TBLite

SEED = 20260501
TEMPERATURE = 500.0  # kelvin
TIMESTEP = 0.5  # fs
FRICTION = 0.01  # 1/fs
EQUILIBRATION = 4000  # steps (2 ps), thrown away
STRIDE = 50  # steps (25 fs) between kept frames
FRAMES = 100  # kept frames in each trajectory
TRAJECTORIES = 8
DECIMALS = 8

# Atoms of the O-H torsion (C-C-O-H) in ASE's ethanol, and where each trajectory starts: the
# three minima of that torsion, so that no conformer depends on one rare transition.
TORSION = (0, 1, 2, 3)
STARTS = (180.0, 60.0, 300.0, 180.0, 60.0, 300.0, 180.0, 60.0)


def calculator() -> TBLite:
    """Make a fresh GFN2-xTB calculator, converged more tightly than the default."""
    return TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0)


def start(torsion: float, rng: np.random.Generator) -> Atoms:
    """Relaxed ethanol near a C-C-O-H torsion (degrees), with velocities at 500 K."""
    atoms = molecule("CH3CH2OH")
    atoms.set_dihedral(*TORSION, torsion)
    atoms.calc = calculator()
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=rng)
    Stationary(atoms)
    ZeroRotation(atoms)
    return atoms


def label(positions: np.ndarray, symbols: list[str]) -> tuple[np.ndarray, float, np.ndarray]:
    """Round the positions as they are written, then compute energy (eV) and forces (eV/angstrom).

    The order matters: energy and forces belong to the numbers in the file, not to the unrounded
    ones. A fresh calculator keeps a label independent of the frames before it.
    """
    rounded = np.round(positions, DECIMALS)
    atoms = Atoms(symbols, rounded, calculator=calculator())
    return rounded, float(atoms.get_potential_energy()), np.asarray(atoms.get_forces())


def frame_text(
    symbols: list[str], positions: np.ndarray, energy: float, forces: np.ndarray, trajectory: int
) -> str:
    """One frame as extended XYZ."""
    lines = [
        str(len(symbols)),
        "Properties=species:S:1:pos:R:3:forces:R:3 "
        f'energy={energy:.10f} trajectory={trajectory} pbc="F F F"',
    ]
    for symbol, x, f in zip(symbols, positions, forces, strict=True):
        numbers = " ".join(f"{value:.{DECIMALS}f}" for value in (*x, *f))
        lines.append(f"{symbol} {numbers}")
    return "\n".join(lines) + "\n"


def trajectory(index: int) -> list[str]:
    """Run one trajectory and return its frames as text, in the order of time."""
    rng = np.random.default_rng([SEED, index])
    atoms = start(STARTS[index], rng)
    dynamics = Langevin(
        atoms,
        timestep=TIMESTEP * units.fs,
        temperature_K=TEMPERATURE,
        friction=FRICTION / units.fs,
        rng=rng,
        fixcm=False,  # holding the centre of mass would bias so small a molecule
    )
    dynamics.run(EQUILIBRATION)
    symbols = list(atoms.get_chemical_symbols())
    frames = []
    for _ in range(FRAMES):
        dynamics.run(STRIDE)
        # The molecule drifts; its place in space is no information.
        centred = atoms.get_positions() - atoms.get_center_of_mass()
        frames.append(frame_text(symbols, *label(centred, symbols), index))
    return frames


def main() -> None:
    """Run all trajectories and write them one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("ethanol.xyz"))
    parser.add_argument("--processes", type=int, default=1, help="does not change the result")
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        frames = pool.map(trajectory, range(TRAJECTORIES), chunksize=1)
    arguments.output.write_text("".join(text for part in frames for text in part))


if __name__ == "__main__":
    main()
