"""Raw values of a core and their derivatives, for one target or several.

Most cores see positions and cell only through the edge vectors r_ij = x_j - x_i + S @ cell, so with
g_ij = dE/dr_ij the chain rule gives dE/dx_i = sum_j (g_ji - g_ij) and, for a strain r -> r @ (1 + eps),
dE/deps = sum_ij outer(r_ij, g_ij): one backward pass over the edge vectors for each target, and no
second derivative path through positions. What a core sees of positions x_i and lattice vectors a_k beside
them adds its own dE/dx_i, and outer(x_i, dE/dx_i) and outer(a_k, dE/da_k) to dE/deps.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch

from mtt.architectures.interface import Core, features_of
from mtt.data.graph import Graph
from mtt.data.target import Target


class Values(NamedTuple):
    """Values of one target with P numbers in a row, for S structures with N atoms in all.

    - ``atoms`` [N, P]: the part of each atom;
    - ``systems`` [S, P]: their sums over each structure; None for a target per atom;
    - ``forces`` [N, 3] = -dE/dx and ``strain`` [S, 3, 3] = dE/deps (the virial is minus this, the
      stress this over the volume); None where no derivatives are asked for;
    - ``features`` [S, F], or [N, F] of a target per atom: what values are linear in; None where they are
      not asked for.
    """

    atoms: torch.Tensor
    systems: torch.Tensor | None = None
    forces: torch.Tensor | None = None
    strain: torch.Tensor | None = None
    features: torch.Tensor | None = None


def evaluate(
    core: Core,
    graph: Graph,
    targets: Sequence[Target],
    derivatives: Collection[str] | None = None,
    create_graph: bool = False,
    features: Collection[str] = (),
) -> dict[str, Values]:
    """Return the raw values of each target, in the dtype of ``graph.vectors``.

    :param derivatives: names of the targets to give forces and strain of; all energies if None
    :param create_graph: keep the graph of the derivatives, to train on them
    :param features: names of the targets to give the features of as well
    """
    if derivatives is None:
        derivatives = [target.name for target in targets if target.is_energy]
    if derivatives:
        graph = graph._replace(vectors=graph.vectors.detach().requires_grad_(True))
        if core.sees_positions:
            graph = graph._replace(
                positions=graph.positions.detach().requires_grad_(True),
                cells=graph.cells.detach().requires_grad_(True),
            )
    raw = core(graph, [*(target.name for target in targets), *map(features_of, features)])
    values: dict[str, Values] = {}
    # Each backward pass but the last must leave the graph for the next one.
    last = [target.name for target in targets if target.name in derivatives][-1:]
    for target in targets:
        atoms = raw[target.name]
        systems, own = None, raw.get(features_of(target.name))
        if target.per == "system":
            systems = summed(atoms, graph)
            own = None if own is None else summed(own, graph)
        forces = strain = None
        if target.name in derivatives:
            retain = create_graph or last != [target.name]
            forces, strain = edge_derivatives(atoms, graph, create_graph, retain)
        values[target.name] = Values(atoms, systems, forces, strain, own)
    return values


def summed(rows: torch.Tensor, graph: Graph) -> torch.Tensor:
    """Return the sums [S, P] over the atoms of each structure of what atoms have, [N, P]."""
    zeros = rows.new_zeros((graph.n_systems, rows.shape[1]))
    return zeros.index_add(0, graph.system, rows)


def edge_derivatives(
    atoms: torch.Tensor, graph: Graph, create_graph: bool, retain_graph: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return forces [N, 3] and strain derivatives [S, 3, 3] of the sum of ``atoms``."""
    vectors = graph.vectors
    by_position = by_cell = None
    if graph.positions.requires_grad and atoms.requires_grad:
        leaves = [vectors, graph.positions, graph.cells]
        # Molecules have no cells, lone atoms no vectors.
        gradient, by_position, by_cell = torch.autograd.grad(
            atoms.sum(),
            leaves,
            create_graph=create_graph,
            retain_graph=retain_graph,
            allow_unused=True,
            materialize_grads=True,
        )
    elif vectors.shape[0] == 0:
        gradient = torch.zeros_like(vectors)
    else:
        (gradient,) = torch.autograd.grad(
            atoms.sum(), vectors, create_graph=create_graph, retain_graph=retain_graph
        )
    forces = vectors.new_zeros((graph.species.shape[0], 3))
    forces = forces.index_add(0, graph.centers, gradient)
    forces = forces.index_add(0, graph.neighbors, -gradient)
    outer = vectors.detach()[:, :, None] * gradient[:, None, :]
    pair_system = graph.system.index_select(0, graph.centers)
    strain = vectors.new_zeros((graph.n_systems, 3, 3)).index_add(0, pair_system, outer)
    if by_position is not None and by_cell is not None:
        forces = forces - by_position
        outer = graph.positions.detach()[:, :, None] * by_position[:, None, :]
        strain = strain.index_add(0, graph.system, outer)
        strain = strain + graph.cells.detach().transpose(1, 2) @ by_cell
    return forces, strain
