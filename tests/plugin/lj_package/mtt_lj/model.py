"""The network: a distance and a depth for each pair of atomic types."""

from collections.abc import Sequence
from typing import Dict, List

import torch

from mtt.architectures.interface import Core
from mtt.architectures.radial import cutoff_polynomial
from mtt.data.graph import Graph
from mtt.data.target import Target
from mtt_lj.hypers import ModelHypers


class LennardJones(Core):
    """4 epsilon (s^2 - s) with s = (sigma / r)^6 for each pair, half of it for each of the two atoms.

    The weights are logarithms, relative to where the fit begins: sigma and epsilon stay positive.
    """

    turns_exactly = True
    pairs: torch.Tensor

    def __init__(self, hypers: ModelHypers, n_types: int, targets: Sequence[Target]) -> None:
        super().__init__()
        self.cutoff = self.interaction_range = float(hypers.cutoff)
        self.width = min(float(hypers.width), self.cutoff)
        self.sigma, self.epsilon = float(hypers.sigma), float(hypers.epsilon)
        self.n_types = n_types
        self.target_names = [target.name for target in targets]
        # The number of the pair of types (a, b), which is that of (b, a), at a * n_types + b.
        numbers = torch.zeros(n_types, n_types, dtype=torch.int64)
        first, second = torch.triu_indices(n_types, n_types)
        numbers[first, second] = torch.arange(first.shape[0])
        numbers[second, first] = numbers[first, second]
        self.register_buffer("pairs", numbers.flatten(), persistent=False)
        self.heads = torch.nn.ModuleList(
            [PairParameters(first.shape[0], target.numbers) for target in targets]
        )

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return raw values [N, numbers] of each of ``targets``; see :class:`Core`."""
        squared = (graph.vectors * graph.vectors).sum(dim=1)
        distances = torch.sqrt(squared + 1e-12)
        switch = cutoff_polynomial(distances, self.cutoff, self.width)
        sixth = (squared * squared * squared / self.sigma**6)[:, None]
        types = graph.species.index_select(0, graph.centers) * self.n_types
        types = types + graph.species.index_select(0, graph.neighbors)
        kinds = self.pairs.index_select(0, types)
        values: Dict[str, torch.Tensor] = {}
        for index, head in enumerate(self.heads):
            name = self.target_names[index]
            if name in targets:
                of_edges = 0.5 * self.epsilon * head(sixth, kinds) * switch[:, None]
                atoms = of_edges.new_zeros((graph.species.shape[0], of_edges.shape[1]))
                values[name] = atoms.index_add(0, graph.centers, of_edges)
        return values


class PairParameters(torch.nn.Module):
    """Sigma and epsilon of each pair of types, for each number of one target."""

    def __init__(self, n_pairs: int, numbers: int) -> None:
        super().__init__()
        # Keeps pairs at no distance finite; at the minimum it is a part in 4000 of r^6.
        self.soft = 5e-4
        self.log_sigma = torch.nn.Parameter(torch.zeros(n_pairs, numbers))
        self.log_epsilon = torch.nn.Parameter(torch.zeros(n_pairs, numbers))

    def forward(self, sixth: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """Return the values of edges, relative to the depth where the fit begins.

        :param sixth: [E, 1], the distances to the sixth power, relative to where the fit begins
        :param kinds: [E], the pairs of types
        """
        sigma = torch.exp(6.0 * self.log_sigma).index_select(0, kinds)
        ratio = sigma / (sixth + self.soft * sigma)
        return 4.0 * torch.exp(self.log_epsilon).index_select(0, kinds) * ratio * (ratio - 1.0)
