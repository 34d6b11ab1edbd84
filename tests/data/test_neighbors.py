"""Atoms in one place are found without a neighbor list, across cells and in all kinds of periodicity."""

import itertools

import numpy as np
import pytest
from ase.build import bulk

from mtt.data.neighbors import check_apart
from mtt.data.read_files import structure_of
from mtt.data.structure import Structure
from mtt.errors import UserError

PERIODICITY = list(itertools.product((False, True), repeat=3))
CELL = np.array([[7.0, 0.0, 0.0], [2.0, 6.0, 0.0], [-1.0, 1.5, 5.0]])


def structure(pbc: tuple[bool, ...], seed: int = 0, n: int = 40) -> Structure:
    positions = np.random.default_rng(seed).uniform(-9.0, 9.0, (n, 3))
    cell = CELL * np.array(pbc)[:, None]
    return Structure(np.ones(n, np.int32), positions, cell, np.array(pbc), source="a.xyz#7")


@pytest.mark.parametrize("pbc", PERIODICITY)
def test_atoms_in_one_place_are_found(pbc: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        own = structure(pbc, seed)
        check_apart(own)
        first, second = sorted(rng.choice(len(own), 2, replace=False).tolist())
        there = own.positions[first] + rng.integers(-3, 4, 3) @ own.cell
        own.positions[second] = there + rng.uniform(-5e-6, 5e-6, 3)
        with pytest.raises(UserError, match=f"^atoms {first} and {second} coincide") as caught:
            check_apart(own)
        assert caught.value.where == "a.xyz#7"
        own.positions[second] = there + [0.0, 2e-5, 0.0]
        check_apart(own)


def test_crystals_and_points() -> None:
    check_apart(structure_of(bulk("NaCl", "rocksalt", 5.6, cubic=True) * (6, 6, 6), ""))
    check_apart(structure((True, True, True), n=1))
    point = structure((False, False, False), n=5000)
    point.positions[:] = 1.0
    with pytest.raises(UserError, match="coincide"):
        check_apart(point)
