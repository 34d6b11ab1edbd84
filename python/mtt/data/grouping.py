"""Which structures make a batch: a number of them, or as many as have no more atoms than a limit."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtt.data.random import permutation

Indices = NDArray[np.int64]
Groups = list[Indices]


def by_number(order: Sequence[int] | Indices, size: int) -> Groups:
    """Cut ``order`` into groups of ``size`` structures; the last one may be smaller."""
    indices = np.asarray(order, dtype=np.int64)
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def by_atoms(order: Sequence[int] | Indices, n_atoms: Indices, most: int) -> Groups:
    """Cut ``order`` into groups of at most ``most`` atoms, each of as many structures as fit.

    A structure with more atoms is a group of its own.

    :param n_atoms: (S,) int64, of all structures
    """
    indices = np.asarray(order, dtype=np.int64)
    until = np.cumsum(n_atoms[indices])
    groups: Groups = []
    start = 0
    while start < len(indices):
        before = int(until[start - 1]) if start else 0
        stop = max(int(np.searchsorted(until, before + most, side="right")), start + 1)
        groups.append(indices[start:stop])
        start = stop
    return groups


def in_order(n_atoms: Indices, number: int, most: int | None) -> Groups:
    """Cut all structures, in their order, into groups of ``most`` atoms, or of ``number`` if that is None."""
    order = range(len(n_atoms))
    return by_number(order, number) if most is None else by_atoms(order, n_atoms, most)


class Packed(NamedTuple):
    """Training structures divided into batches by their atoms, once for all epochs.

    - ``too_large``: structures with more atoms than a batch may have;
    - ``too_few``: those that are in batches with fewer atoms than one must have.
    """

    groups: Groups
    too_large: Indices
    too_few: Indices


def pack(n_atoms: Indices, most: int, fewest: int, random: np.random.Generator) -> Packed:
    """Divide structures, in a random order, into batches of ``fewest`` to ``most`` atoms.

    :param n_atoms: (S,) int64
    :return: what fits nowhere is left out of the groups
    """
    order = permutation(random, len(n_atoms))
    fits = n_atoms[order] <= most
    groups: Groups = []
    small = [order[:0]]
    for group in by_atoms(order[fits], n_atoms, most):
        (groups if int(n_atoms[group].sum()) >= fewest else small).append(group)
    return Packed(groups, np.sort(order[~fits]), np.sort(np.concatenate(small)))
