"""What an architecture supplies: a core that maps the neighbor graph to raw values of atoms."""

from typing import Dict, List

import torch

from mtt.data.graph import Graph


def features_of(target: str) -> str:
    """Return the name by which a core is asked for the features of a target."""
    return "features/" + target


class Core(torch.nn.Module):
    """Base of every architecture's network, TorchScript-able.

    ``forward(graph, targets)`` gives the raw values of each atom, [N, numbers] in the dtype of
    ``graph.vectors``, for each of the named targets: without baseline and scale, which
    :class:`mtt.architectures.potential.Potential` adds. It must see positions and cells through
    ``graph.vectors`` only, and need not compute what is not named.

    - ``cutoff``: radius of the neighbor list it needs, in the model's length unit;
    - ``interaction_range``: beyond this distance nothing may influence the values of an atom;
    - ``has_features``: for each scalar target NAME it gives :func:`features_of` NAME too when that is
      named, [N, features]: what it makes raw values of by a linear map, from which uncertainties are.
    """

    cutoff: float
    interaction_range: float
    has_features: bool = False

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return the raw values [N, numbers] of each of ``targets``, as its description orders them."""
        raise NotImplementedError
