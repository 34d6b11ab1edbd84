"""Systems that an exported model is checked with: some that were trained on, some of every geometry."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from mtt.data.neighbors import even_pairs
from mtt.data.random import generator
from mtt.data.structure import Structure

Named = tuple[str, Structure]

# Models need memory for each neighbor, some for each pair of them: a long cutoff sees an emptier
# lattice rather than one that does not fit.
_MOST_NEIGHBORS: Final = 200
_MOST_PAIRS: Final = 200_000


def check_systems(
    samples: Sequence[Structure], atomic_types: Sequence[int], cutoff: float
) -> list[Named]:
    """Return the training structures, then made-up ones for every kind of geometry, all with a name.

    :param samples: small structures of the training set; they set the distances of the others.
        Those with more pairs than a check needs are left out.
    :param atomic_types: every type appears in an isolated atom, and in the others by turns
    :param cutoff: of the model's neighbor lists
    """
    volume = 4.0 / 3.0 * np.pi * cutoff**3
    spacing = max(typical_spacing(samples), float(np.cbrt(volume / _MOST_NEIGHBORS)))
    named: list[Named] = [
        (f"training-{i}", sample)
        for i, sample in enumerate(samples)
        if even_pairs(sample, cutoff) <= _MOST_PAIRS
    ]
    named += [(f"atom-{t}", _structure([t], np.zeros((1, 3)))) for t in list(atomic_types)[:8]]
    random = generator(0, "golden")

    def lattice(repeats: tuple[int, int, int], rattle: float) -> np.ndarray:
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in repeats), indexing="ij"), axis=-1)
        points = grid.reshape(-1, 3) * spacing
        return points + random.uniform(-rattle, rattle, points.shape) * spacing

    def types(count: int) -> list[int]:
        return [int(atomic_types[i % len(atomic_types)]) for i in range(count)]

    cube = spacing * np.eye(3)
    skewed = cube @ np.array([[1.0, 0.0, 0.0], [0.25, 1.05, 0.0], [-0.2, 0.15, 0.95]])
    named.append(("cluster", _structure(types(12), lattice((3, 2, 2), 0.12))))
    named.append(("cubic", _structure(types(8), lattice((2, 2, 2), 0.1), 2 * cube)))
    points = lattice((3, 2, 2), 0.1)
    sheared = points / spacing @ skewed
    named.append(("triclinic", _structure(types(12), sheared, np.diag([3, 2, 2]) @ skewed)))
    named.append(("small-cell", _structure(types(1), np.zeros((1, 3)), skewed)))
    named.append(("slab", _structure(types(8), lattice((2, 2, 2), 0.1), 2 * cube, (1, 1, 0))))
    named.append(("wire", _structure(types(4), lattice((1, 2, 2), 0.1), cube, (1, 0, 0))))
    return named


def typical_spacing(samples: Sequence[Structure]) -> float:
    """Return the lattice constant of a cubic lattice as dense as the samples, in their length unit.

    The cube root of the volume per atom for crystals; 1.4 times the largest distance of an atom to its
    nearest neighbor for molecules, whose bonds are much shorter than a liquid's lattice. The median
    over the samples, and 2.0 when none has two atoms.
    """
    spacings: list[float] = []
    for sample in samples:
        if sample.pbc.all():
            spacings.append(float(np.cbrt(sample.volume / len(sample))))
        elif len(sample) > 1:
            delta = sample.positions[:, None] - sample.positions[None, :]
            distance = np.sqrt((delta**2).sum(axis=-1))
            np.fill_diagonal(distance, np.inf)
            spacings.append(1.4 * float(distance.min(axis=1).max()))
    return float(np.median(spacings)) if spacings else 2.0


def _structure(
    types: Sequence[int],
    positions: np.ndarray,
    cell: np.ndarray | None = None,
    periodic: tuple[int, int, int] = (1, 1, 1),
) -> Structure:
    pbc = np.array(periodic, dtype=bool) if cell is not None else np.zeros(3, dtype=bool)
    rows = np.where(pbc[:, None], cell, 0.0) if cell is not None else np.zeros((3, 3))
    return Structure(
        types=np.array(types, dtype=np.int32), positions=np.array(positions), cell=rows, pbc=pbc
    )
