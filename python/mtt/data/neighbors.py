"""Full neighbor lists in float64, in an order that depends on nothing but the structure."""

from typing import NamedTuple

import numpy as np
import vesin
from numpy.typing import NDArray

from mtt.data.structure import Structure
from mtt.errors import UserError

MAX_PAIRS = 1_000_000
# Below this distance two atoms are the same atom written twice, whatever the length unit.
_COINCIDING = 1e-5
# Cutoffs along a structure: beyond, the search takes long, or its numbers of boxes do not fit.
MAX_BOXES = 5_000
_BOXES = 100_000
MAX_CUTOFF = 1000.0


class Neighbors(NamedTuple):
    """The E directed pairs of one structure, sorted by (center, neighbor, shift).

    - ``centers``, ``neighbors`` (E,) int32;
    - ``vectors`` (E, 3) float64: ``x_j - x_i + S @ cell``, none longer than the cutoff;
    - ``shifts`` (E, 3) int32: S;
    - ``reverse`` (E,) int32: index of the pair from j to i with shift -S, always there.
    """

    centers: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    vectors: NDArray[np.float64]
    shifts: NDArray[np.int32]
    reverse: NDArray[np.int32]


def neighbor_list(structure: Structure, cutoff: float, max_pairs: int = MAX_PAIRS) -> Neighbors:
    """All pairs with r <= ``cutoff`` (in the structure's length unit), both i->j and j->i.

    :raises UserError: if two atoms coincide, or if there are more than ``max_pairs`` pairs, which
        nearly always means a cell or a cutoff in another unit
    """
    radius = _checked_radius(structure, cutoff, max_pairs)
    # vesin gets a hair more than the cutoff, so that whether it means < or <= never matters.
    finder = vesin.NeighborList(cutoff=radius * (1 + 1e-9), full_list=True, n_threads=1)
    i, j, shifts = finder.compute(structure.positions, structure.cell, structure.pbc, "ijS")
    i, j = i.astype(np.int64), j.astype(np.int64)
    vectors = structure.positions[j] - structure.positions[i]
    # Summed axis by axis: then the vector of the reverse pair is exactly the negative.
    for axis in range(3):
        vectors += shifts[:, axis : axis + 1] * structure.cell[axis]
    distances = np.sqrt((vectors * vectors).sum(axis=1))
    _check_distances(structure, i, j, distances)
    keep = distances <= cutoff
    i, j, shifts, vectors = i[keep], j[keep], shifts[keep], vectors[keep]
    if len(i) > max_pairs:
        raise _too_many(structure, cutoff, f"{len(i)}", max_pairs)
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], j, i))
    i, j, shifts, vectors = i[order], j[order], shifts[order], vectors[order]
    return Neighbors(
        i.astype(np.int32),
        j.astype(np.int32),
        np.ascontiguousarray(vectors),
        shifts.astype(np.int32),
        _reverse(i, j, shifts),
    )


def check_apart(structure: Structure) -> None:
    """Refuse two atoms in one place, in far less time than a neighbor list takes.

    :raises UserError: two atoms coincide
    """
    inverse = np.linalg.pinv(structure.cell)
    fractions = structure.positions @ inverse
    # Smooth numbers of a place, which atoms in the same place share, images of each other as well.
    weights = np.array([1.0, 0.77, 0.59])
    keys = (structure.positions - fractions @ structure.cell) @ weights
    angles = 2.0 * np.pi * fractions + np.array([0.3, 1.1, 2.3])
    keys += np.cos(angles[:, structure.pbc]) @ weights[structure.pbc]
    # How much they may change over the distance of atoms that coincide.
    change = _COINCIDING * 2.0 * np.pi * (1.0 + np.linalg.norm(inverse, axis=0)).sum()
    order = np.argsort(keys)
    for apart in range(1, len(structure)):
        near = np.flatnonzero(keys[order[apart:]] - keys[order[:-apart]] <= change)
        if not len(near):
            return
        i, j = order[near], order[near + apart]
        away = fractions[j] - fractions[i]
        shifts = -np.round(away) * structure.pbc
        vectors = structure.positions[j] - structure.positions[i] + shifts @ structure.cell
        _check_distances(structure, i, j, np.linalg.norm(vectors, axis=1))


def _reverse(
    i: NDArray[np.int64], j: NDArray[np.int64], shifts: NDArray[np.int32]
) -> NDArray[np.int32]:
    # The pairs are sorted by (i, j, S). Sorting the reversed pairs (j, i, -S) by the same key
    # lines the two lists up, since a full list holds the reverse of each of its pairs.
    order = np.lexsort((-shifts[:, 2], -shifts[:, 1], -shifts[:, 0], i, j))
    matches = (j[order] == i) & (i[order] == j) & (shifts[order] == -shifts).all(axis=1)
    if not matches.all():
        raise AssertionError("the neighbor list lacks the reverse of some of its pairs")
    reverse = np.empty(len(i), dtype=np.int32)
    reverse[order] = np.arange(len(i), dtype=np.int32)
    return reverse


def _checked_radius(structure: Structure, cutoff: float, max_pairs: int) -> float:
    """Return a radius to search within: the cutoff, or more where vesin would divide by zero.

    Estimates the number of pairs before the search, since a nonsensical structure would fill the memory
    first.
    """
    if not 0.0 < cutoff < MAX_CUTOFF:
        raise UserError(
            f"neighbors cannot be found within a cutoff of {cutoff:g}",
            hint=f"a cutoff is above 0 and below {MAX_CUTOFF:g}, in the unit of lengths",
        )
    if len(structure) == 0:
        return cutoff
    spread = np.ptp(structure.positions, axis=0).max()
    longest = max(float(spread), float(np.abs(structure.cell).max()))
    if not longest / cutoff < MAX_BOXES:
        raise UserError(
            f"the structure is {longest:.1e} long, and a cutoff of {cutoff:g} too small for it",
            where=structure.source or None,
            hint="check that no atom is far away, and the unit of lengths",
        )
    if (estimate := _pairs(structure, cutoff, max_pairs)) > 2 * max_pairs:
        raise _too_many(structure, cutoff, f"about {estimate:.1e}", max_pairs)
    radius = _safe_radius(structure, cutoff)
    if radius > cutoff and _pairs(structure, radius, max_pairs) > 10 * max_pairs:
        raise UserError(
            f"atoms are up to {spread:.3g} apart, with many others close together in between",
            where=structure.source or None,
            hint="remove the atoms that are far away, or split the structure",
        )
    return radius


def _pairs(structure: Structure, cutoff: float, max_pairs: int) -> float:
    """Return about how many pairs there are; without images, only numbers above the limit matter."""
    estimate = even_pairs(structure, cutoff)
    if len(structure) ** 2 > 2 * max_pairs:
        estimate = max(estimate, _crowded(structure, cutoff))
    return estimate


def _safe_radius(structure: Structure, cutoff: float) -> float:
    """Return the cutoff, or what is a bit larger and does not end the process.

    vesin divides space into boxes as wide as the radius. Of more than 100,000 it makes fewer, by one
    factor for all three axes, and none at all along an axis that has only a few: so it divides by zero.
    """
    extent = np.ptp(structure.positions, axis=0) + cutoff
    if structure.pbc.any():
        heights = 1.0 / np.linalg.norm(np.linalg.pinv(structure.cell[structure.pbc]), axis=0)
        extent = np.maximum(extent, np.abs(structure.cell).max(axis=0))
        extent[structure.pbc] = heights
    radius = cutoff
    while True:
        boxes = np.maximum(extent / radius, 1.0)
        total = float(boxes.prod())
        if total <= _BOXES / 2 or boxes.min() * (_BOXES / total) ** (1 / 3) >= 2:
            return radius
        radius *= 1.2


def even_pairs(structure: Structure, cutoff: float) -> float:
    """Return about how many pairs there are if the atoms fill the cell evenly, with its images.

    Zero without images: then there are no more than the square of the number of atoms.
    """
    if not structure.pbc.any():
        return 0.0
    rows = structure.cell[structure.pbc]
    # Directions without images: those that the rows leave out, as far as atoms and cutoff reach.
    others = np.linalg.svd(rows)[2][len(rows) :]
    reach = np.ptp(structure.positions @ others.T, axis=0) + 2 * cutoff
    area = np.sqrt(max(float(np.linalg.det(rows @ rows.T)), 0.0))
    volume = float(area * np.prod(reach))
    sphere = 4.0 / 3.0 * np.pi * cutoff**3
    return len(structure) ** 2 * sphere / max(volume, 1e-300)


def _crowded(structure: Structure, cutoff: float) -> float:
    """Return a number of pairs that there are at least: within boxes no wider than the cutoff."""
    boxes = np.floor(structure.positions * (np.sqrt(3.0) / cutoff)).astype(np.int64)
    counts = np.unique(boxes, axis=0, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1.0)).sum())


def _too_many(structure: Structure, cutoff: float, count: str, max_pairs: int) -> UserError:
    return UserError(
        f"{count} neighbor pairs within the cutoff of {cutoff:g} in one structure of"
        f" {len(structure)} atoms; at most {max_pairs} are accepted",
        where=structure.source or None,
        hint="check that the cell, the positions and the cutoff are in the same length unit",
    )


def _check_distances(
    structure: Structure,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    distances: NDArray[np.float64],
) -> None:
    if len(distances) == 0 or distances.min() > _COINCIDING:
        return
    pair = int(distances.argmin())
    first, second = sorted((int(i[pair]), int(j[pair])))
    what = (
        f"atoms {first} and {second} coincide"
        if first != second
        else f"atom {first} coincides with its own periodic image"
    )
    raise UserError(
        f"{what} (distance {distances[pair]:.1e}; atoms count from 0)",
        where=structure.source or None,
        hint="remove the structure or the doubled atom",
    )
