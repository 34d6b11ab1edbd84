"""What all parts of the contract are about."""

from collections.abc import Sequence
from typing import ClassVar

from mtt.architectures.potential import Potential
from mtt.data.graph import Graph
from mtt.data.structure import Structure
from mtt.data.target import Target


class Subject:
    """The architecture that is held to the contract, as its subclass supplies it."""

    targets: ClassVar[Sequence[Target]]

    def potential(self) -> Potential:
        """Return a potential with fresh weights."""
        raise NotImplementedError

    def graph(self, structures: list[Structure]) -> Graph:
        """Return the structures as a graph."""
        raise NotImplementedError
