import numpy as np
import pytest

from mtt.data.grouping import by_atoms, by_number, in_order, pack
from mtt.data.random import generator


def lists(groups):
    return [group.tolist() for group in groups]


def test_groups_of_a_number():
    assert lists(by_number([3, 1, 2, 0, 4], 2)) == [[3, 1], [2, 0], [4]]
    assert by_number([], 2) == []


def test_groups_have_as_many_structures_as_their_atoms_allow():
    n_atoms = np.array([3, 4, 3, 9, 5, 5, 1])
    assert lists(by_atoms(range(7), n_atoms, 10)) == [[0, 1, 2], [3], [4, 5], [6]]
    assert lists(by_atoms([6, 5, 4, 3, 2, 1, 0], n_atoms, 10)) == [[6, 5], [4], [3], [2, 1, 0]]
    # What is larger is alone, wherever it is.
    assert lists(by_atoms(range(7), n_atoms, 8)) == [[0, 1], [2], [3], [4], [5, 6]]
    assert lists(by_atoms(range(7), n_atoms, 2)) == [[0], [1], [2], [3], [4], [5], [6]]
    assert by_atoms([], n_atoms, 2) == []
    assert lists(in_order(n_atoms, 4, None)) == [[0, 1, 2, 3], [4, 5, 6]]
    assert lists(in_order(n_atoms, 4, 10)) == lists(by_atoms(range(7), n_atoms, 10))


@pytest.mark.parametrize(("most", "fewest"), [(40, 0), (40, 30), (25, 25), (200, 0)])
def test_packing_loses_nothing_unseen(most, fewest):
    n_atoms = np.random.default_rng(0).integers(1, 50, size=300)
    packed = pack(n_atoms, most, fewest, generator(5, "packing"))
    sums = [int(n_atoms[group].sum()) for group in packed.groups]
    assert all(fewest <= atoms <= most for atoms in sums)
    every = np.concatenate([*packed.groups, packed.too_large, packed.too_few])
    assert sorted(every.tolist()) == list(range(300))
    assert (n_atoms[packed.too_large] > most).all()
    assert len(packed.too_large) == (n_atoms > most).sum()
    # No group has room for the structure that comes next.
    if fewest == 0:
        firsts = [int(n_atoms[group[0]]) for group in packed.groups[1:]]
        assert all(atoms + first > most for atoms, first in zip(sums, firsts, strict=False))


def test_packing_depends_on_the_generator_alone():
    n_atoms = np.arange(1, 60)
    first, same, other = (
        lists(pack(n_atoms, 80, 0, generator(seed, "packing")).groups) for seed in (1, 1, 2)
    )
    assert first == same != other
