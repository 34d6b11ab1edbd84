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
    _check_density(structure, cutoff, max_pairs)
    # vesin gets a hair more than the cutoff, so that whether it means < or <= never matters.
    finder = vesin.NeighborList(cutoff=cutoff * (1 + 1e-9), full_list=True, n_threads=1)
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


def _check_density(structure: Structure, cutoff: float, max_pairs: int) -> None:
    # Before the search, since a nonsensical cell would fill the memory first.
    if structure.volume > 0.0:
        density = len(structure) / structure.volume
        estimate = len(structure) * density * 4.0 / 3.0 * np.pi * cutoff**3
        if estimate > 2 * max_pairs:
            raise _too_many(structure, cutoff, f"about {estimate:.1e}", max_pairs)


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
