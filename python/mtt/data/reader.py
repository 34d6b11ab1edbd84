"""Where structures come from: what every way to read them offers.

Splits, baselines and datasets ask for nothing else, so that data need not be in memory: a packed
data set is another subclass of :class:`Reader`.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from mtt.data.structure import Structure, fingerprints


class Reader(Sequence[Structure]):
    """Structures by their index, with what identifies them.

    A subclass gives ``__len__`` and ``structure``; it may answer ``fingerprints`` and ``types``
    from what it keeps, without reading every structure again.
    """

    @abstractmethod
    def structure(self, index: int) -> Structure:
        """Return structure ``index``, 0 <= index < len(self)."""

    @overload
    def __getitem__(self, index: int) -> Structure: ...
    @overload
    def __getitem__(self, index: slice) -> "Selection": ...

    def __getitem__(self, index: int | slice) -> "Structure | Selection":
        """Return one structure, or a :class:`Selection` of a slice; raises IndexError."""
        if isinstance(index, slice):
            return Selection(self, range(len(self))[index])
        return self.structure(range(len(self))[index])

    def __iter__(self) -> Iterator[Structure]:
        for index in range(len(self)):
            yield self.structure(index)

    def fingerprints(self) -> tuple[str, NDArray[np.int64]]:
        """Return the content hash and the rows of :func:`mtt.data.structure.fingerprints`."""
        return fingerprints(self)

    @property
    def types(self) -> list[int]:
        """Return the atomic types that occur, sorted."""
        types: set[int] = set()
        for structure in self:
            types.update(np.unique(structure.types).tolist())
        return sorted(types)


class InMemory(Reader):
    """Structures that have been read already, in a list."""

    def __init__(self, structures: Sequence[Structure]) -> None:
        self._structures = list(structures)

    def __len__(self) -> int:
        return len(self._structures)

    def structure(self, index: int) -> Structure:
        """Return structure ``index``."""
        return self._structures[index]


class Selection(Reader):
    """Some structures of another reader, in the order of ``indices``."""

    def __init__(self, reader: Reader, indices: Sequence[int] | NDArray[np.int64]) -> None:
        self._reader = reader
        self._indices = [int(index) for index in indices]

    def __len__(self) -> int:
        return len(self._indices)

    def structure(self, index: int) -> Structure:
        """Return structure ``index`` of the selection."""
        return self._reader[self._indices[index]]
