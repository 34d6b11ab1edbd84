"""Time per local atom on domains with ghost atoms, as on the ranks of LAMMPS, and the sum of the domains.

    python tests/benchmarks/domains.py BOX.xyz model.pt [other.pt ...]

The periodic, orthorhombic box is cut into eight domains; the ghosts of each lie within the interaction
range. Energies and forces must add up to those of the whole box. Use files of trusted origin: they run
without a sandbox.
"""

import itertools
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase.io import read
from metatensor.torch import Labels
from metatomic.torch import ModelEvaluationOptions, ModelOutput, System, load_atomistic_model

from mtt.architectures.metatomic_systems import add_neighbor_list
from mtt.data.structure import Structure


def call(model: Any, structure: Structure, n_local: int) -> tuple[float, np.ndarray, float]:
    """Return energy and forces of the first atoms, and the processor time of the third call."""
    positions = torch.tensor(structure.positions, dtype=torch.float32, requires_grad=True)
    system = System(
        types=torch.tensor(structure.types, dtype=torch.int32),
        positions=positions,
        cell=torch.tensor(structure.cell, dtype=torch.float32),
        pbc=torch.tensor(structure.pbc),
    )
    for request in model.requested_neighbor_lists():
        add_neighbor_list(system, structure, request)
    rows = torch.tensor([[0, i] for i in range(n_local)], dtype=torch.int32)
    options = ModelEvaluationOptions(
        length_unit="angstrom",
        outputs={"energy": ModelOutput(unit="eV", sample_kind="system")},
        selected_atoms=Labels(["system", "atom"], rows),
    )
    for _ in range(3):
        positions.grad = None
        start = time.process_time()
        energy = model([system], options, check_consistency=False)["energy"].block(0).values.sum()
        energy.backward(retain_graph=True)
        spent = time.process_time() - start
    assert positions.grad is not None
    return float(energy.detach()), -positions.grad.double().numpy(), spent


def domain(box: Any, lower: np.ndarray, upper: np.ndarray, reach: float) -> tuple[np.ndarray, ...]:
    """Return atoms of the box and their positions: local ones first, then ghosts; and how many are local."""
    lengths = box.cell.lengths()
    inside = np.all((box.positions >= lower) & (box.positions < upper), axis=1)
    atoms = [np.flatnonzero(inside)]
    positions = [box.positions[inside]]
    images = -(-reach // lengths.min())
    steps = np.arange(-images, images + 1)
    for shift in itertools.product(steps, repeat=3):
        at = box.positions + np.array(shift) * lengths
        away = np.linalg.norm(np.maximum(np.maximum(lower - at, at - upper), 0.0), axis=1)
        near = (away < reach) & ~(inside & (not any(shift)))
        atoms.append(np.flatnonzero(near))
        positions.append(at[near])
    return np.concatenate(atoms), np.concatenate(positions), np.array(inside.sum())


def main(box_file: str, models: Sequence[str]) -> None:
    torch.set_num_threads(1)
    box: Any = read(box_file)
    box.wrap()
    cell = np.array(box.cell)
    whole = Structure(
        types=box.numbers, positions=box.positions, cell=cell, pbc=np.array([True] * 3)
    )
    for path in models:
        model: Any = load_atomistic_model(path)
        reach = model.capabilities().interaction_range
        energy, forces, spent = call(model, whole, len(box))
        sum_energy, sum_forces, sum_spent, n_all = 0.0, np.zeros_like(forces), 0.0, 0
        half = box.cell.lengths() / 2
        for corner in itertools.product((0, 1), repeat=3):
            lower = np.array(corner) * half
            atoms, positions, n_local = domain(box, lower, lower + half, reach)
            part = Structure(
                types=box.numbers[atoms],
                positions=positions,
                cell=np.zeros((3, 3)),
                pbc=np.array([False] * 3),
            )
            one, on_atoms, seconds = call(model, part, int(n_local))
            sum_energy, sum_spent, n_all = sum_energy + one, sum_spent + seconds, n_all + len(atoms)
            np.add.at(sum_forces, atoms, on_atoms)
        print(
            f"{path}: {len(box)} atoms, with ghosts {n_all}; processor time for a local atom: whole "
            f"{1e3 * spent / len(box):.2f} ms, on 8 domains {1e3 * sum_spent / len(box):.2f} ms; "
            f"difference of energy {abs(sum_energy - energy):.2g} eV, of forces "
            f"{np.abs(sum_forces - forces).max():.2g} eV/angstrom of {np.abs(forces).max():.2g}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
