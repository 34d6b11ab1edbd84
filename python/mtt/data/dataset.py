"""Structures with their neighbor lists, built once, in the shape that batches are cut from."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtt.data.neighbors import MAX_PAIRS, neighbor_list
from mtt.data.reader import InMemory, Reader
from mtt.data.structure import Reference, Structure, content_hash
from mtt.data.target import POSITIONS, STRAIN, Target
from mtt.elements import symbols
from mtt.errors import UserError

__all__ = ["Dataset", "Item", "content_hash", "types_of"]


class Item(NamedTuple):
    """One structure of N atoms and E pairs, ready to be put in a batch.

    ``species`` (N,) int32 are indices into the sorted atomic types; pairs as in
    :class:`mtt.data.neighbors.Neighbors`; ``references`` by the name of the target, without those
    that have none; ``volume`` is 0 unless all three axes are periodic; ``weight`` is that of the
    structure in the loss; ``positions`` (N, 3) and ``cell`` (3, 3) are as in the structure, but near the
    origin; ``state`` is charge and spin multiplicity.
    """

    species: NDArray[np.int32]
    centers: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    vectors: NDArray[np.float64]
    reverse: NDArray[np.int32]
    references: Mapping[str, Reference]
    volume: float
    weight: float
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    state: tuple[int, int]


class Dataset:
    """Structures, their neighbor lists and the references of some targets.

    :param structures: what a reader gives
    :param atomic_types: the types that the model knows
    :param cutoff: radius of the neighbor lists, in the structures' length unit
    :param targets: which references to keep; structures may lack them
    :param progress: called as ``progress(done, total)`` after each structure
    :param max_pairs: most neighbor pairs to accept in one structure
    :raises UserError: unknown atomic type, coinciding atoms, too many neighbors
    """

    def __init__(
        self,
        structures: Sequence[Structure],
        atomic_types: Sequence[int],
        cutoff: float,
        targets: Sequence[Target] = (),
        progress: Callable[[int, int], None] | None = None,
        max_pairs: int = MAX_PAIRS,
    ) -> None:
        self.structures = structures
        self.atomic_types = sorted(int(atomic_type) for atomic_type in atomic_types)
        self.cutoff = float(cutoff)
        self.targets = tuple(targets)
        self._items: list[Item] = []
        for done, structure in enumerate(structures, start=1):
            self._items.append(self._item(structure, max_pairs))
            if progress is not None:
                progress(done, len(structures))
        # Whether any structure counts more or less than others in the loss.
        self.weighted = any(item.weight != 1.0 for item in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        return self._items[index]

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Return the number of atoms of each structure, (S,)."""
        return np.array([len(item.species) for item in self._items], dtype=np.int64)

    def gradients(self, name: str) -> set[str]:
        """Return the gradients of a target (:data:`mtt.data.target.GRADIENTS`) of any structure."""
        kinds: set[str] = set()
        for item in self._items:
            reference = item.references.get(name)
            if reference is not None:
                kinds |= {POSITIONS} if reference.forces is not None else set()
                kinds |= {STRAIN} if reference.stress is not None else set()
        return kinds

    def _item(self, structure: Structure, max_pairs: int) -> Item:
        species = _species(structure, np.asarray(self.atomic_types, dtype=np.int32))
        pairs = neighbor_list(structure, self.cutoff, max_pairs)
        names = [target.name for target in self.targets]
        return Item(
            species,
            pairs.centers,
            pairs.neighbors,
            pairs.vectors,
            pairs.reverse,
            {name: structure.references[name] for name in names if name in structure.references},
            structure.volume,
            structure.weight,
            _near_origin(structure),
            structure.cell,
            structure.state,
        )


def types_of(structures: Sequence[Structure]) -> list[int]:
    """Return the atomic types that occur, sorted."""
    return (structures if isinstance(structures, Reader) else InMemory(structures)).types


def _near_origin(structure: Structure) -> NDArray[np.float64]:
    """Return positions that are small, so that float32 holds them well: those of other images, if any."""
    if not len(structure):
        return structure.positions
    if structure.volume > 0.0:
        fractions = structure.positions @ np.linalg.inv(structure.cell)
        near: NDArray[np.float64] = structure.positions - np.floor(fractions) @ structure.cell
        return near
    return structure.positions - structure.positions[0]


def _species(structure: Structure, atomic_types: NDArray[np.int32]) -> NDArray[np.int32]:
    index = np.searchsorted(atomic_types, structure.types)
    clipped = np.minimum(index, len(atomic_types) - 1)
    unknown = atomic_types[clipped] != structure.types
    if unknown.any():
        raise unknown_type(structure, int(np.flatnonzero(unknown)[0]), atomic_types.tolist())
    return index.astype(np.int32)


def unknown_type(structure: Structure, atom: int, atomic_types: Sequence[int]) -> UserError:
    """Return the error for an atom whose type the model does not know."""
    return UserError(
        f"atom {atom} has the atomic type {named(int(structure.types[atom]))},"
        " which the model does not know",
        where=structure.source or None,
        hint=f"the model knows {', '.join(named(atomic_type) for atomic_type in atomic_types)}",
    )


def named(atomic_type: int) -> str:
    """Return an atomic type with its symbol, if it has one: ``29 (Cu)``."""
    (symbol,) = symbols([atomic_type])
    return str(atomic_type) if symbol is None else f"{atomic_type} ({symbol})"
