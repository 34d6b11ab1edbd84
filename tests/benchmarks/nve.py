"""Energy conservation of an exported model: NVE of one molecule or crystal through ASE.

    python tests/benchmarks/nve.py model.pt docs/examples/ethanol/ethanol.xyz --picoseconds 20

Prints the drift of the total energy (slope of a line fitted to it), its fluctuation, and the longest
bond that ever formed, relative to the start: a bound molecule keeps it small.
"""

import argparse
import time

import ase.io
import numpy as np
from ase import units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from metatomic_ase import MetatomicCalculator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("structures")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    args = parser.parse_args()
    atoms = ase.io.read(args.structures, 0)
    atoms.calc = MetatomicCalculator(args.model, device="cpu", uncertainty_threshold=None)
    MaxwellBoltzmannDistribution(
        atoms, temperature_K=args.temperature, rng=np.random.default_rng(0)
    )
    Stationary(atoms)
    ZeroRotation(atoms)
    bonds = _bonds(atoms)
    start = _lengths(atoms, bonds)
    dynamics = VelocityVerlet(atoms, args.timestep * units.fs)
    energies: list[float] = []
    stretch: list[float] = []

    def record() -> None:
        energies.append(atoms.get_total_energy())
        stretch.append(float((_lengths(atoms, bonds) / start).max()))

    dynamics.attach(record, interval=20)
    begin = time.perf_counter()
    steps = round(args.picoseconds * 1000 / args.timestep)
    dynamics.run(steps)
    seconds = time.perf_counter() - begin
    times = np.arange(len(energies)) * 20 * args.timestep / 1000
    total = np.array(energies)
    slope = np.polyfit(times, total, 1)[0]
    per_atom = 1e3 / len(atoms)
    fluctuation = np.std(total - np.polyval(np.polyfit(times, total, 1), times))
    print(f"{steps} steps of {args.timestep} fs, {seconds / steps * 1e3:.2f} ms per step")
    print(f"drift {slope * per_atom:+.5f} meV/atom/ps")
    print(f"fluctuation {fluctuation * per_atom:.4f} meV/atom")
    print(f"longest stretch of a bond {max(stretch):.3f} of its starting length")
    print(f"final temperature {atoms.get_temperature():.0f} K")


def _bonds(atoms: ase.Atoms) -> np.ndarray:
    """Pairs closer than 1.15 times the sum of covalent radii at the start."""
    from ase.neighborlist import natural_cutoffs, neighbor_list

    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.15))
    return np.stack([first, second], axis=1)[first < second]


def _lengths(atoms: ase.Atoms, bonds: np.ndarray) -> np.ndarray:
    return np.array([atoms.get_distance(i, j, mic=any(atoms.pbc)) for i, j in bonds])


if __name__ == "__main__":
    main()
