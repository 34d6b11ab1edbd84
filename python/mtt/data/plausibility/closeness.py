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
# In atoms of a list of pairs, what all sets may take, a second or so; a pair of a small structure takes
# this part of that.
_MOST_WORK: Final = 200_000.0
_WORK_OF_A_PAIR: Final = 0.07


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


def too_close(
    structures: Sequence[Structure], angstrom: float, rows: Sequence[int] | None = None
) -> list[Close]:
    """Return the structures with a pair that is too close, the worst first.

    Structures that have no list of pairs are left out. Of an atom and its own images only
    structures of more than 64 atoms are asked.

    :param angstrom: the length unit of the structures in angstrom
    :param rows: those to look at; all by default
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for row in range(len(structures)) if rows is None else rows:
        groups[len(structures[row])].append(row)
    found: list[Close] = []
    for size, own in groups.items():
        if size > _FEW_ATOMS:
            found += filter(None, (_of_one(row, structures[row], angstrom) for row in own))
        elif size > 1:
            step = max(1, _AT_ONCE // size**2)
            for first in range(0, len(own), step):
                found += _of_many(own[first : first + step], structures, angstrom)
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
    for k in np.flatnonzero(ratios[np.arange(len(own)), worst] < TOO_CLOSE).tolist():
        pair = int(worst[k])
        kinds = int(types[k, i[pair]]), int(types[k, j[pair]])
        yield Close(rows[k], kinds, float(ratios[k, pair]), float(distances[k, pair]))


def _work(structures: Sequence[Structure]) -> NDArray[np.float64]:
    """Return about how long each structure takes, as atoms of a list of pairs."""
    sizes = np.array([len(structure) for structure in structures], dtype=np.float64)
    return np.where(sizes > _FEW_ATOMS, sizes, 1.0 + _WORK_OF_A_PAIR * sizes * (sizes - 1.0) / 2.0)


def _sample(work: NDArray[np.float64], most: float) -> list[int]:
    """Return the rows of structures that together take no longer than ``most``, of all parts of a set."""
    if work.sum() <= most:
        return list(range(len(work)))
    order = np.random.default_rng(0).permutation(np.flatnonzero(work <= most))
    chosen: list[int] = np.sort(order[np.cumsum(work[order]) <= most]).tolist()
    return chosen


def check_closeness(sets: Sets) -> Iterator[str]:
    """Tell of single structures with atoms that are too close, set by set; of a sample of large sets."""
    work = {name: _work(structures) for name, structures in sets.by_name.items()}
    part = min(1.0, _MOST_WORK / sum(float(own.sum()) for own in work.values()))
    for name, structures in sets.by_name.items():
        looked_at = _sample(work[name], part * float(work[name].sum()))
        close = too_close(structures, sets.angstrom, looked_at)
        # Of all of them, the unit of lengths is told, if there are enough to judge it by.
        if not close or (len(looked_at) >= 5 and 2 * len(close) > len(looked_at)):
            continue
        rows = np.array([each.row for each in close])
        worst = close[0]
        of = name
        if len(looked_at) < len(structures):
            of = f"{len(looked_at)} looked at in {name}"
        yield (
            f"{plural(len(close), 'structure')} of {of} {'has' if len(close) == 1 else 'have'} two "
            f"atoms that are too close, as {worst.pair} at {worst.distance:.3g} angstrom: "
            f"{places(structures, rows)}"
        )
