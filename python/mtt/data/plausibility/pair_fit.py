"""A quick fit of pair potentials to forces: what forces say about energies and stresses.

The energy is a sum over pairs of atoms of ``phi_ab(r) = sum_k c_abk g_k(r)``, with Gaussians g_k times
a cosine cutoff, and c from a least-squares fit to the forces alone. It is no model of anything, but
its energies and stresses belong to its forces, so that those of the data can be compared with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mtt.data.neighbors import neighbor_list
from mtt.data.structure import Structure
from mtt.errors import UserError

_FUNCTIONS: Final = 12
# Enough atoms to tell a sign and a factor; the fit then takes a second or two.
_MOST_ATOMS: Final = 8000
# Of one structure: the derivatives of each of its atoms by all unknowns are in memory at once.
_LARGEST: Final = 2000
_MOST_PAIRS: Final = 400_000
_MOST_UNKNOWNS: Final = 1500


@dataclass(frozen=True)
class PairFit:
    """What the fit gives for the structures it was made of, in units of the data.

    - ``explained``: part of the variance of the forces that it explains, 1 at most;
    - ``structures``: those that it was fitted to, S of them, all with forces;
    - ``energies`` (S,): their energies, without what an isolated atom has;
    - ``strain`` (S, 3, 3): derivatives of these energies by strain.
    """

    explained: float
    structures: list[Structure]
    energies: NDArray[np.float64]
    strain: NDArray[np.float64]


def fit_pairs(structures: Sequence[Structure], target: str, cutoff: float) -> PairFit | None:
    """Fit to the forces of ``target``; None where there are too few, or too many kinds of atoms.

    :param cutoff: range of the pairs, in the length unit of the structures
    """
    sample = _sample(structures, target)
    if len(sample) < 3:
        return None
    types = np.unique(np.concatenate([structure.types for structure in sample]))
    unknowns = len(types) * (len(types) + 1) // 2 * _FUNCTIONS
    n_forces = 3 * sum(len(structure) for structure in sample)
    if unknowns > _MOST_UNKNOWNS or n_forces < 2 * unknowns:
        return None
    matrix, right, squares = np.zeros((unknowns, unknowns)), np.zeros(unknowns), 0.0
    fitted: list[Structure] = []
    energies, strains = [], []
    pairs = 0
    for structure in sample:
        try:
            design = _design(structure, types, cutoff)
        except UserError:
            # Too many pairs within this cutoff, which is not that of the model.
            continue
        forces = structure.references[target].forces
        assert forces is not None
        by_force = design.forces.reshape(-1, unknowns)
        matrix += by_force.T @ by_force
        right += by_force.T @ forces.ravel()
        squares += float((forces * forces).sum())
        fitted.append(structure)
        energies.append(design.energy)
        strains.append(design.strain)
        pairs += design.pairs
        if pairs > _MOST_PAIRS:
            break
    diagonal = float(np.trace(matrix)) / unknowns
    if len(fitted) < 3 or squares == 0.0 or diagonal == 0.0:
        return None
    solution = np.linalg.solve(matrix + 1e-8 * diagonal * np.eye(unknowns), right)
    left = squares - 2.0 * right @ solution + solution @ matrix @ solution
    return PairFit(
        explained=float(1.0 - left / squares),
        structures=fitted,
        energies=np.array([energy @ solution for energy in energies]),
        strain=np.array([strain @ solution for strain in strains]),
    )


def _sample(structures: Sequence[Structure], target: str) -> list[Structure]:
    """Return structures with forces, evenly spaced, of a bounded number of atoms."""
    with_forces = [
        structure
        for structure in structures
        if target in structure.references
        and structure.references[target].forces is not None
        and 1 < len(structure) <= _LARGEST
    ]
    n_atoms = sum(len(structure) for structure in with_forces)
    step = max(1, round(n_atoms / _MOST_ATOMS))
    return with_forces[::step]


@dataclass(frozen=True)
class _Design:
    """Derivatives of everything by the unknowns: (N, 3, U), (U,), (3, 3, U)."""

    forces: NDArray[np.float64]
    energy: NDArray[np.float64]
    strain: NDArray[np.float64]
    pairs: int


def _design(structure: Structure, types: NDArray[np.int32], cutoff: float) -> _Design:
    pairs = neighbor_list(structure, cutoff)
    distances = np.linalg.norm(pairs.vectors, axis=1)
    directions = pairs.vectors / distances[:, None]
    values, slopes = _functions(distances, cutoff)
    kinds = np.searchsorted(types, structure.types)
    first, second = kinds[pairs.centers], kinds[pairs.neighbors]
    low, high = np.minimum(first, second), np.maximum(first, second)
    n_kinds = len(types) * (len(types) + 1) // 2
    kind = high * (high + 1) // 2 + low
    forces = np.zeros((len(structure), n_kinds, 3, _FUNCTIONS))
    np.add.at(forces, (pairs.centers, kind), directions[:, :, None] * slopes[:, None, :])
    energy = np.zeros((n_kinds, _FUNCTIONS))
    np.add.at(energy, kind, 0.5 * values)
    strain = np.zeros((n_kinds, 3, 3, _FUNCTIONS))
    turned = 0.5 * directions[:, :, None] * pairs.vectors[:, None, :]
    np.add.at(strain, kind, turned[:, :, :, None] * slopes[:, None, None, :])
    return _Design(
        forces.transpose(0, 2, 1, 3).reshape(len(structure), 3, -1),
        energy.ravel(),
        strain.transpose(1, 2, 0, 3).reshape(3, 3, -1),
        len(distances),
    )


def _functions(
    distances: NDArray[np.float64], cutoff: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the functions g_k at some distances and their derivatives, both (E, K)."""
    # Closer together at short distances, where potentials are steep.
    centers = cutoff * np.linspace(0.35, 1.0, _FUNCTIONS) ** 1.5
    widths = 1.2 * np.gradient(centers)
    away = (distances[:, None] - centers) / widths
    bells = np.exp(-0.5 * away * away)
    angle = np.pi * distances / cutoff
    damping, slope = 0.5 * (np.cos(angle) + 1.0), -0.5 * np.pi / cutoff * np.sin(angle)
    values = bells * damping[:, None]
    slopes = bells * (slope[:, None] - away / widths * damping[:, None])
    return values, slopes
