"""Which structures train, which validate, which test: disjoint, and the same for the same seed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtt.data.random import generator, permutation
from mtt.errors import UserError

logger = logging.getLogger(__name__)

Indices = Sequence[int] | NDArray[np.int64] | str
Part = float | Indices | None


@dataclass(frozen=True)
class Split:
    """Sorted, disjoint int64 indices into the structures of ``training_set``."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split(n: int, validation: Part, test: Part, seed: int) -> Split:
    """Divide ``n`` structures. Depends on ``n``, the two requests and ``seed``, on nothing else.

    :param n: number of structures that were read for ``training_set``
    :param validation: a fraction of ``n`` in [0, 1), explicit indices (a list counted from 0, or a
        slice such as "0:50"), or None when validation structures come from another file and take
        none of these
    :param test: the same for the test set
    :param seed: the seed of the run
    :raises UserError: for indices out of range, repeated or in both sets, for fractions out of
        range, and where a set that was asked for, or the training set, would be empty
    """
    parts = {"validation_set": validation, "test_set": test}
    taken = {name: _indices(name, part, n) for name, part in parts.items()}
    _check_overlap(taken["validation_set"], taken["test_set"])
    claimed = np.zeros(n, dtype=bool)
    for indices in taken.values():
        claimed[indices] = True
    order = permutation(generator(seed, "split"), n)
    free = order[~claimed[order]]
    for name, part in parts.items():
        if isinstance(part, float | int):
            count = _count(name, float(part), n)
            taken[name], free = np.sort(free[:count]), free[count:]
    if len(free) == 0:
        used = sum(len(indices) for indices in taken.values())
        raise UserError(
            f"no structures are left to train on: validation and test sets take {used} of {n}",
            where="training_set",
            hint="use smaller fractions or fewer indices, or add structures",
        )
    return Split(np.sort(free), taken["validation_set"], taken["test_set"])


def resolve_indices(indices: Indices | None, n: int, where: str) -> NDArray[np.int64]:
    """Indices or a slice as int64 positions among ``n``, in the order given; None is all.

    A slice that goes beyond the end takes what is there, and a warning says so.

    :raises UserError: if a position is out of range or repeated, or if the slice is empty
    """
    if indices is None:
        return np.arange(n, dtype=np.int64)
    if isinstance(indices, str):
        numbers = [int(part) if part.strip() else None for part in indices.split(":")]
        if any(number is not None and abs(number) > n for number in numbers[:2]):
            # No error: runs of older versions have such slices, and must resume.
            logger.warning(
                "%s: the slice '%s' goes beyond the end: there are %d structures", where, indices, n
            )
        positions = np.arange(n, dtype=np.int64)[slice(*numbers)]
        if len(positions) == 0:
            raise UserError(
                f"the slice '{indices}' selects none of the {n} structures", where=where
            )
        return positions
    positions = np.asarray(indices, dtype=np.int64)
    if len(positions) == 0:
        raise UserError("the list of indices is empty", where=where, hint="give at least one index")
    outside = positions[(positions < 0) | (positions >= n)]
    if len(outside) > 0:
        raise UserError(
            f"index {outside[0]} is out of range: there are {n} structures",
            where=where,
            hint=f"indices count from 0, so use 0 to {n - 1}",
        )
    values, counts = np.unique(positions, return_counts=True)
    if (counts > 1).any():
        raise UserError(f"index {values[counts > 1][0]} is given more than once", where=where)
    return positions


def _indices(name: str, part: Part, n: int) -> NDArray[np.int64]:
    if part is None or isinstance(part, float | int):
        return np.zeros(0, dtype=np.int64)
    return np.sort(resolve_indices(part, n, name))


def _check_overlap(validation: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    common = np.intersect1d(validation, test)
    if len(common) > 0:
        raise UserError(
            f"index {common[0]} is in both the validation and the test set"
            + (f" ({len(common)} indices are)" if len(common) > 1 else ""),
            where="validation_set and test_set",
            hint="a structure can be in one set only",
        )


def _count(name: str, fraction: float, n: int) -> int:
    if not 0.0 <= fraction < 1.0:
        raise UserError(
            f"the fraction {fraction:g} is not between 0 and 1", where=name, hint="for example 0.1"
        )
    count = int(np.floor(fraction * n + 0.5))
    if fraction > 0.0 and count == 0:
        raise UserError(
            f"the fraction {fraction:g} of {n} structure{'s' * (n != 1)} leaves the set empty",
            where=name,
            hint=f"use at least {1.0 / n:.2g}, or add structures"
            if n > 1
            else f"add structures, or name a file of its own for {name}",
        )
    return count
