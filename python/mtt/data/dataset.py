"""Structures with their neighbor lists, built once, in the shape that batches are cut from."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtt.data.elements import symbols
from mtt.data.neighbors import MAX_PAIRS, neighbor_list
from mtt.data.structure import Structure, content_hash
from mtt.errors import UserError

__all__ = ["Dataset", "Item", "content_hash", "types_of"]


class Item(NamedTuple):
    """One structure of N atoms and E pairs, ready to be put in a batch.

    ``species`` (N,) int32 are indices into the sorted atomic types; pairs as in
    :class:`mtt.data.neighbors.Neighbors`; ``energy`` is NaN, ``forces`` and ``stress`` are None
    where there is no reference; ``volume`` is 0 unless all three axes are periodic.
    """

    species: NDArray[np.int32]
    centers: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    vectors: NDArray[np.float64]
    reverse: NDArray[np.int32]
    energy: float
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None
    volume: float


class Dataset:
    """Structures, their neighbor lists and the references of one target.

    :param structures: what the readers gave
    :param atomic_types: the types that the model knows
    :param cutoff: radius of the neighbor lists, in the structures' length unit
    :param target_name: which target to keep; structures may lack it
    :param progress: called as ``progress(done, total)`` after each structure
    :param max_pairs: most neighbor pairs to accept in one structure
    :raises UserError: unknown atomic type, coinciding atoms, too many neighbors
    """

    def __init__(
        self,
        structures: Sequence[Structure],
        atomic_types: Sequence[int],
        cutoff: float,
        target_name: str,
        progress: Callable[[int, int], None] | None = None,
        max_pairs: int = MAX_PAIRS,
    ) -> None:
        self.structures = list(structures)
        self.atomic_types = sorted(int(atomic_type) for atomic_type in atomic_types)
        self.cutoff = float(cutoff)
        self.target_name = target_name
        self._items: list[Item] = []
        for done, structure in enumerate(self.structures, start=1):
            self._items.append(self._item(structure, max_pairs))
            if progress is not None:
                progress(done, len(self.structures))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        return self._items[index]

    @property
    def has_forces(self) -> bool:
        """Whether any structure has reference forces."""
        return any(item.forces is not None for item in self._items)

    @property
    def has_stress(self) -> bool:
        """Whether any structure has a reference stress."""
        return any(item.stress is not None for item in self._items)

    def _item(self, structure: Structure, max_pairs: int) -> Item:
        species = _species(structure, np.asarray(self.atomic_types, dtype=np.int32))
        pairs = neighbor_list(structure, self.cutoff, max_pairs)
        target = structure.targets.get(self.target_name)
        return Item(
            species,
            pairs.centers,
            pairs.neighbors,
            pairs.vectors,
            pairs.reverse,
            float("nan") if target is None else target.value,
            None if target is None else target.forces,
            None if target is None else target.stress,
            structure.volume,
        )


def types_of(structures: Sequence[Structure]) -> list[int]:
    """The atomic types that occur, sorted."""
    if not structures:
        return []
    found = np.unique(np.concatenate([structure.types for structure in structures]))
    return [int(atomic_type) for atomic_type in found]


def _species(structure: Structure, atomic_types: NDArray[np.int32]) -> NDArray[np.int32]:
    index = np.searchsorted(atomic_types, structure.types)
    clipped = np.minimum(index, len(atomic_types) - 1)
    unknown = atomic_types[clipped] != structure.types
    if unknown.any():
        raise unknown_type(structure, int(np.flatnonzero(unknown)[0]), atomic_types.tolist())
    return index.astype(np.int32)


def unknown_type(structure: Structure, atom: int, atomic_types: Sequence[int]) -> UserError:
    """The error for an atom whose type the model does not know."""
    return UserError(
        f"atom {atom} has the atomic type {named(int(structure.types[atom]))},"
        " which the model does not know",
        where=structure.source or None,
        hint=f"the model knows {', '.join(named(atomic_type) for atomic_type in atomic_types)}",
    )


def named(atomic_type: int) -> str:
    """An atomic type with its symbol, if it has one: ``29 (Cu)``."""
    (symbol,) = symbols([atomic_type])
    return str(atomic_type) if symbol is None else f"{atomic_type} ({symbol})"
