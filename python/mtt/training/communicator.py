"""The processes that train one model together: today there is one, and nobody else to talk to.

Whoever adds more must reduce, besides gradients, the counts of references that a loss is divided by, and
the sums of training errors before a checkpoint in the middle of an epoch.
"""

from typing import Protocol, TypeVar

import torch

T = TypeVar("T")


class Communicator(Protocol):
    """What the processes of a run tell each other; each method is called by all of them at once."""

    @property
    def rank(self) -> int:
        """Return the number of this process, from 0; rank 0 writes files and messages."""
        ...

    @property
    def size(self) -> int:
        """Return how many processes there are."""
        ...

    def reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all processes, the same bits in each of them."""
        ...

    def broadcast(self, value: T) -> T:
        """Return the value that rank 0 has."""
        ...

    def barrier(self) -> None:
        """Return once all processes are here."""
        ...


class Alone:
    """The only process of a run."""

    rank = 0
    size = 1

    def reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor itself."""
        return tensor

    def broadcast(self, value: T) -> T:
        """Return the value itself."""
        return value

    def barrier(self) -> None:
        """Return at once."""
