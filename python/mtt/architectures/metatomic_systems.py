"""Our structures as metatomic systems with their neighbor lists, for Python-side evaluation."""

import numpy as np
import torch
from metatensor.torch import Labels, TensorBlock
from metatomic.torch import NeighborListOptions, System, register_autograd_neighbors

from mtt.architectures.potential import Potential
from mtt.data.neighbors import neighbor_list
from mtt.data.structure import Structure

PAIR_NAMES = ["first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"]


def system_with_neighbors(structure: Structure, potential: Potential, dtype: torch.dtype) -> System:
    """Return a system whose positions require gradients, with the lists that ``potential`` requests."""
    system = System(
        types=torch.tensor(structure.types, dtype=torch.int32),
        positions=torch.tensor(structure.positions, dtype=dtype).requires_grad_(True),
        cell=torch.tensor(structure.cell, dtype=dtype),
        pbc=torch.tensor(structure.pbc),
    )
    for options in potential.requested_neighbor_lists():
        add_neighbor_list(system, structure, options)
    return system


def add_neighbor_list(system: System, structure: Structure, options: NeighborListOptions) -> None:
    """Attach the list that ``options`` asks for, connected to the positions and cell of ``system``."""
    pairs = neighbor_list(structure, options.cutoff)
    keep: slice | np.ndarray = slice(None)
    if not options.full_list:
        # Of each pair and its reverse, the one listed first.
        keep = pairs.reverse > np.arange(len(pairs.reverse))
    indices = torch.stack(
        [torch.tensor(pairs.centers[keep]), torch.tensor(pairs.neighbors[keep])], dim=1
    )
    samples = torch.cat([indices, torch.tensor(pairs.shifts[keep])], dim=1).to(torch.int32)
    dtype = system.positions.dtype
    block = TensorBlock(
        values=torch.tensor(pairs.vectors[keep], dtype=dtype).reshape(-1, 3, 1),
        samples=Labels(PAIR_NAMES, samples),
        components=[Labels(["xyz"], torch.arange(3, dtype=torch.int32).reshape(-1, 1))],
        properties=Labels(["distance"], torch.zeros((1, 1), dtype=torch.int32)),
    )
    block = block.to(device=system.device)
    register_autograd_neighbors(system, block, check_consistency=True)
    system.add_neighbor_list(options, block)
