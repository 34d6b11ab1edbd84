"""Small structures of hydrogen, carbon and oxygen, made and not measured, for tests of models."""

import numpy as np

from mtt.data.structure import Structure

TYPES = [1, 6, 8]


def molecule(seed: int = 0, count: int = 9) -> Structure:
    """Return ``count`` atoms on a jittered grid of 1.4 length units, not periodic."""
    random = np.random.Generator(np.random.Philox(seed))
    side = int(np.ceil(count ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:count]
    return Structure(
        types=np.array([TYPES[i % 3] for i in range(count)], dtype=np.int32),
        positions=1.4 * grid + random.uniform(-0.25, 0.25, (count, 3)),
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
    )


def crystal(pbc: tuple[bool, bool, bool] = (True, True, True)) -> Structure:
    """Return eight atoms in a triclinic cell smaller than most cutoffs."""
    cell = np.array([[3.07, 0.0, 0.0], [0.5, 3.13, 0.0], [-0.4, 0.3, 2.91]])
    fractions = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3) / 2
    periodic = np.array(pbc)
    jitter = 0.2 * np.sin(np.arange(24.0)).reshape(8, 3)
    return Structure(
        types=molecule(1, 8).types,
        positions=fractions @ cell + jitter,
        cell=np.where(periodic[:, None], cell, 0.0),
        pbc=periodic,
    )
