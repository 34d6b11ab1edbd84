"""Atoms closer together than atoms are: what a look at data and a training run both tell."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from mtt.data.neighbors import neighbor_list
from mtt.data.plausibility.sets import Sets, places
from mtt.data.structure import Structure
from mtt.elements import symbols
from mtt.errors import UserError
from mtt.printable import plural

# Atoms closer than this part of the sum of their covalent radii are rarely meant.
TOO_CLOSE: Final = 0.6
# Of larger structures there are lists of pairs.
_FEW_ATOMS: Final = 64
_AT_ONCE: Final = 500_000


class Close(NamedTuple):
    """The closest pair of a structure: its row, the types of both atoms, and distances.

    - ``ratio``: over the sum of the covalent radii;
    - ``distance``: in angstrom.
    """

    row: int
    types: tuple[int, int]
    ratio: float
    distance: float

    @property
    def pair(self) -> str:
        """Return the names of the two elements, as ``H-O``."""
        return pair_name(self.types)


def pair_name(types: tuple[int, int]) -> str:
    """Return two atomic types as ``H-O``, the lighter one first."""
    ordered = sorted(types)
    named = [symbol or str(kind) for kind, symbol in zip(ordered, symbols(ordered), strict=True)]
    return "-".join(named)


def radii_of(types: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return covalent radii in angstrom; of unknown types, that of the heaviest known one."""
    radii: NDArray[np.float64] = covalent_radii[np.minimum(types, len(covalent_radii) - 1)]
    return radii


def too_close(structures: Sequence[Structure], angstrom: float) -> list[Close]:
    """Return the structures with a pair that is too close, the worst first.

    Structures that have no list of pairs are left out. Of an atom and its own images only
    structures of more than 64 atoms are asked.

    :param angstrom: the length unit of the structures in angstrom
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for row, structure in enumerate(structures):
        groups[len(structure)].append(row)
    found: list[Close] = []
    for size, rows in groups.items():
        if size > _FEW_ATOMS:
            found += filter(None, (_of_one(row, structures[row], angstrom) for row in rows))
        elif size > 1:
            step = max(1, _AT_ONCE // size**2)
            for first in range(0, len(rows), step):
                found += _of_many(rows[first : first + step], structures, angstrom)
    return sorted(found, key=lambda close: close.ratio)


def _of_one(row: int, structure: Structure, angstrom: float) -> Close | None:
    radii = radii_of(structure.types) / angstrom
    try:
        pairs = neighbor_list(structure, 2.0 * TOO_CLOSE * float(radii.max()))
    except UserError:
        return None
    if not len(pairs.centers):
        return None
    distances = np.linalg.norm(pairs.vectors, axis=1)
    ratios = distances / (radii[pairs.centers] + radii[pairs.neighbors])
    worst = int(ratios.argmin())
    types = structure.types[pairs.centers[worst]], structure.types[pairs.neighbors[worst]]
    close = Close(
        row,
        (int(types[0]), int(types[1])),
        float(ratios[worst]),
        float(distances[worst]) * angstrom,
    )
    return close if close.ratio < TOO_CLOSE else None


def _of_many(
    rows: Sequence[int], structures: Sequence[Structure], angstrom: float
) -> Iterator[Close]:
    """Yield those of structures of the same size, by the nearest images of all pairs of atoms."""
    own = [structures[row] for row in rows]
    i, j = np.triu_indices(len(own[0]), 1)
    positions = np.array([structure.positions for structure in own])
    vectors = positions[:, j] - positions[:, i]
    periodic = np.array([structure.pbc.any() for structure in own])
    if periodic.any():
        cells = np.array([structure.cell for structure in own])[periodic]
        shifts = np.round(vectors[periodic] @ np.linalg.pinv(cells))
        vectors[periodic] -= shifts @ cells
    distances = np.sqrt((vectors * vectors).sum(axis=2)) * angstrom
    types = np.array([structure.types for structure in own])
    radii = radii_of(types)
    ratios = distances / (radii[:, i] + radii[:, j])
    worst = ratios.argmin(axis=1)
    for k in np.flatnonzero(ratios.min(axis=1) < TOO_CLOSE).tolist():
        pair = int(worst[k])
        kinds = int(types[k, i[pair]]), int(types[k, j[pair]])
        yield Close(rows[k], kinds, float(ratios[k, pair]), float(distances[k, pair]))


def check_closeness(sets: Sets) -> Iterator[str]:
    """Tell of single structures with atoms that are too close, set by set."""
    for name, structures in sets.by_name.items():
        close = too_close(structures, sets.angstrom)
        # Of all of them, the unit of lengths is told.
        if not close or 2 * len(close) > len(structures):
            continue
        rows = np.array([each.row for each in close])
        worst = close[0]
        yield (
            f"{plural(len(close), 'structure')} of {name} {'has' if len(close) == 1 else 'have'} two "
            f"atoms that are too close, as {worst.pair} at {worst.distance:.3g} angstrom: "
            f"{places(structures, rows)}"
        )
