"""The neighbor graph: all that an architecture sees of structures."""

from typing import NamedTuple, Optional

import torch


class Graph(NamedTuple):
    """One batch of structures as flat tensors.

    With N atoms and E directed edges in ``n_systems`` structures:

    - ``species`` [N] int64: index of each atom's type in the sorted list of atomic types;
    - ``system`` [N] int64: which structure each atom belongs to;
    - ``centers`` [E] int64, sorted ascending, and ``neighbors`` [E] int64;
    - ``vectors`` [E, 3] in the model's dtype and length unit: ``x_j - x_i + S @ cell``;
    - ``reverse`` [E] int64: index of the edge from j to i with shift -S; -1 where the neighbor
      list does not hold it (at the rim of an MD engine's ghost region);
    - ``positions`` [N, 3], of any periodic image, and ``cells`` [S, 3, 3], lattice vectors as rows, zero
      along axes that are not periodic, both as ``vectors``: for cores that see more than neighbors.
    - ``states`` [n_systems, 2] int64: total charge and spin multiplicity of each structure, for
      architectures that depend on them; None stands for neutral singlets.
    """

    species: torch.Tensor
    system: torch.Tensor
    n_systems: int
    centers: torch.Tensor
    neighbors: torch.Tensor
    vectors: torch.Tensor
    reverse: torch.Tensor
    positions: torch.Tensor
    cells: torch.Tensor
    states: Optional[torch.Tensor] = None  # noqa: UP045 - TorchScript
