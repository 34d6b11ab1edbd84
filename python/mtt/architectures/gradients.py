"""Energy, forces and strain derivative of a core in one backward pass over its edge vectors.

Every core sees positions and cell only through the edge vectors r_ij = x_j - x_i + S @ cell, so with
g_ij = dE/dr_ij the chain rule gives dE/dx_i = sum_j (g_ji - g_ij) and, for a strain r -> r @ (1 + eps),
dE/deps = sum_ij outer(r_ij, g_ij): no second derivative path through positions is needed.
"""

from typing import Tuple

import torch

from mtt.data.graph import Graph


def energy_forces_strain(
    core: torch.nn.Module, graph: Graph, create_graph: bool, forces: bool = True
) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Raw (unscaled) energies and their derivatives.

    :param create_graph: keep the graph of the derivatives, to train on them
    :param forces: ``False`` skips the backward pass and returns zeros for both derivatives
    :return: energy [S], forces [N, 3] = -dE/dx, strain gradient [S, 3, 3] = dE/deps (the virial is
        minus this, the stress this over the volume), all in the dtype of ``graph.vectors``
    """
    n_atoms = graph.species.shape[0]
    vectors = graph.vectors.detach()
    if forces:
        vectors.requires_grad_(True)
        graph = graph._replace(vectors=vectors)
    per_atom = core(graph)
    energy = per_atom.new_zeros(graph.n_systems).index_add(0, graph.system, per_atom)
    zeros = vectors.new_zeros
    if not forces:
        return energy, zeros((n_atoms, 3)), zeros((graph.n_systems, 3, 3))
    if vectors.shape[0] == 0:
        gradient = torch.zeros_like(vectors)
    else:
        (gradient,) = torch.autograd.grad(per_atom.sum(), vectors, create_graph=create_graph)
    force = zeros((n_atoms, 3)).index_add(0, graph.centers, gradient)
    force = force.index_add(0, graph.neighbors, -gradient)
    outer = vectors.detach()[:, :, None] * gradient[:, None, :]
    pair_system = graph.system.index_select(0, graph.centers)
    strain = zeros((graph.n_systems, 3, 3)).index_add(0, pair_system, outer)
    return energy, force, strain
