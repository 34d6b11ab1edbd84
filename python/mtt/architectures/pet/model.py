"""The Point Edge Transformer, pet@3: raw values of atoms from attention among the edges of each atom.

Source: Pozdnyakov and Ceriotti, "Smooth, exact rotational symmetrization for deep learning on point
clouds", NeurIPS 2023, arXiv:2305.19302. Every atom's neighbors become tokens (geometry, neighbor type,
message from that neighbor), a transformer mixes the tokens of one atom, and the output token of the
edge i->j is handed to atom j as its message from i in the next layer.

Edges stay in one flat list [E, d]; only attention itself works on a padded [M + 1, N, d] grid, so the
dense layers never spend time on padding.
"""

import math
from collections.abc import Sequence
from typing import Dict, List, Optional, Tuple

import torch

from mtt.architectures import kernels
from mtt.architectures.conditioning import Conditioning
from mtt.architectures.ewald import long_range_parts
from mtt.architectures.pet.hypers import ModelHypers
from mtt.architectures.pet.layers import (
    Combine,
    Grid,
    Inputs,
    MessageLayer,
    Readout,
    conditioned,
    dense_grid,
    flat_grid,
    make_rows,
    padded_grid,
    reverse_edges,
)
from mtt.architectures.pet.sums import Steps
from mtt.architectures.radial import cutoff_bump, cutoff_polynomial, radial_functions
from mtt.data.graph import Graph
from mtt.data.target import Target


class PET(Steps):
    """Base of both featurizers; a core maps a :class:`Graph` to raw values of atoms.

    ``interaction_range`` is ``num_gnn_layers * cutoff``: each layer sees one cutoff further, and the
    last one hands no messages on, so nothing beyond that distance can matter.
    """

    has_features = True

    def __init__(self, hypers: ModelHypers) -> None:
        super().__init__(hypers.num_gnn_layers)
        self.cutoff = float(hypers.cutoff)
        self.cutoff_width = float(hypers.cutoff_width)
        self.bump = hypers.cutoff_function == "Bump"
        self.interaction_range = hypers.num_gnn_layers * self.cutoff
        # One or none, and after the last layer.
        self.long_range = long_range_parts(hypers.long_range, hypers.d_node)
        if hypers.long_range is not None:
            self.interaction_range, self.sees_positions = math.inf, True
            # All atoms see each other: there are no parts to take one by one.
            self.has_sums = False
        self.num_radial = hypers.num_radial
        # One or none: what charge and spin of a structure add to the features of its atoms.
        self.conditioning = torch.nn.ModuleList([])
        if hypers.system_conditioning:
            self.max_charge = hypers.max_charge
            self.max_spin_multiplicity = hypers.max_spin_multiplicity

    def condition(self, hypers: ModelHypers) -> None:
        """Add the network of charge and spin, last, so that all other weights begin as without it."""
        if hypers.system_conditioning:
            limits = (self.max_charge, self.max_spin_multiplicity)
            self.conditioning.append(Conditioning(*limits, hypers.d_pet, hypers.d_node))

    def conditions(self, graph: Graph) -> Optional[torch.Tensor]:
        """See :class:`Steps`."""
        added: Optional[torch.Tensor] = None
        for conditioning in self.conditioning:
            added = conditioning(graph)
        return added

    def describe(self, vectors: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return vector, distance and radial functions of each edge [E, 4 + R], cutoff factors [E]."""
        # The tiny constant keeps the gradient of the distance finite for coinciding atoms.
        distances = torch.sqrt((vectors * vectors).sum(dim=1) + 1e-12)
        if self.bump:
            factors = cutoff_bump(distances, self.cutoff, self.cutoff_width)
        else:
            factors = cutoff_polynomial(distances, self.cutoff, self.cutoff_width)
        geometry = torch.cat([vectors, distances[:, None]], dim=1)
        if self.num_radial > 0:
            radial = radial_functions(distances, self.num_radial, self.cutoff)
            geometry = torch.cat([geometry, radial], dim=1)
        return geometry, factors

    def lay_out(self, graph: Graph) -> Tuple[Graph, torch.Tensor, torch.Tensor, Grid]:
        """Return the graph as attention wants it, with what :meth:`describe` says of it, and the grid."""
        if not kernels.is_scripting():  # noqa: SIM102 - TorchScript
            if kernels.in_use():
                counts = torch.bincount(graph.centers, minlength=graph.species.shape[0])
                geometry, factors = self.describe(graph.vectors)
                return graph, geometry, factors, flat_grid(graph.centers, counts, factors)
        rows, counts, dense = make_rows(graph)
        geometry, factors = self.describe(rows.vectors)
        grid = (
            dense_grid(factors, counts.shape[0])
            if dense
            else padded_grid(rows.centers, counts, factors)
        )
        return rows, geometry, factors, grid

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return raw values [N, numbers] of each of ``targets``; see :class:`Core`."""
        rows, geometry, factors, grid = self.lay_out(graph)
        neighbor_species = rows.species.index_select(0, rows.neighbors)
        added = self.conditions(rows)
        inputs = Inputs(
            grid, geometry, rows.species, neighbor_species, factors, rows.centers, added
        )
        nodes, messages = self.start(inputs.species, neighbor_species)
        values: Dict[str, torch.Tensor] = {}
        for number in range(self.n_layers):
            nodes, edges = self.layer(number, nodes, messages, inputs)
            if number + 1 == self.n_layers:
                for long_range in self.long_range:
                    nodes = nodes + long_range(nodes, graph)
            if self.is_read(number):
                parts = self.read(number, nodes, messages, edges, inputs, targets)
                for name in targets:
                    part = parts[name]
                    if name not in values:
                        values[name] = part
                    elif name.startswith("features/"):
                        values[name] = torch.cat([values[name], part], dim=1)
                    else:
                        values[name] = values[name] + part
            if number + 1 < self.n_layers:
                reversed_edges = reverse_edges(edges, rows.reverse)
                messages = self.hand_on(number, messages, edges, reversed_edges)
        return values


class FeedforwardPET(PET):
    """Features flow through all layers; only those of the last one are read out."""

    def __init__(self, hypers: ModelHypers, n_species: int, targets: Sequence[Target]) -> None:
        super().__init__(hypers)
        d, d_node = hypers.d_pet, hypers.d_node
        later = range(1, hypers.num_gnn_layers)
        self.node_types = torch.nn.Embedding(n_species, d_node)
        self.first_layer = MessageLayer(hypers, n_species, first=True)
        self.later_layers = torch.nn.ModuleList(
            [MessageLayer(hypers, n_species, first=False) for _ in later]
        )
        self.combine = torch.nn.ModuleList([Combine(d) for _ in later])
        self.readout = Readout(hypers, targets)
        self.condition(hypers)

    def start(
        self, species: torch.Tensor, neighbor_species: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """See :class:`Steps`: messages are at first the types of neighbors."""
        return self.node_types(species), self.first_layer.neighbor_type(neighbor_species)

    def layer(
        self, number: int, nodes: torch.Tensor, messages: torch.Tensor, inputs: Inputs
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """See :class:`Steps`."""
        if number == 0:
            return self.first_layer(conditioned(nodes, inputs), messages, inputs)
        edges = messages
        # TorchScript takes a module out of a list only by a number in the code.
        for index, layer in enumerate(self.later_layers):
            if index + 1 == number:
                nodes, edges = layer(nodes, messages, inputs)
        return nodes, edges

    def hand_on(
        self,
        number: int,
        messages: torch.Tensor,
        edges: torch.Tensor,
        reversed_edges: torch.Tensor,
    ) -> torch.Tensor:
        """See :class:`Steps`: messages are added up."""
        messages = messages + edges
        for index, combine in enumerate(self.combine):
            if index == number:
                messages = messages + combine(edges, reversed_edges)
        return messages

    def is_read(self, number: int) -> bool:
        """See :class:`Steps`."""
        return number + 1 == self.n_layers

    def read(
        self,
        number: int,
        nodes: torch.Tensor,
        messages: torch.Tensor,
        edges: torch.Tensor,
        inputs: Inputs,
        targets: List[str],
    ) -> Dict[str, torch.Tensor]:
        """See :class:`Steps`."""
        return self.readout(nodes, messages + edges, inputs, targets)


class ResidualPET(PET):
    """The paper's form: each layer starts from fresh atom features and is read out; messages average."""

    def __init__(self, hypers: ModelHypers, n_species: int, targets: Sequence[Target]) -> None:
        super().__init__(hypers)
        d, d_node = hypers.d_pet, hypers.d_node
        layers = range(hypers.num_gnn_layers)
        self.edge_types = torch.nn.Embedding(n_species, d)
        self.node_types = torch.nn.ModuleList(
            [torch.nn.Embedding(n_species, d_node) for _ in layers]
        )
        self.layers = torch.nn.ModuleList(
            [MessageLayer(hypers, n_species, first=i == 0) for i in layers]
        )
        self.readouts = torch.nn.ModuleList([Readout(hypers, targets) for _ in layers])
        self.condition(hypers)

    def start(
        self, species: torch.Tensor, neighbor_species: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """See :class:`Steps`: each layer has features of atoms of its own, so none enter."""
        messages = self.edge_types(neighbor_species)
        return messages.new_zeros((species.shape[0], 1)), messages

    def layer(
        self, number: int, nodes: torch.Tensor, messages: torch.Tensor, inputs: Inputs
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """See :class:`Steps`."""
        edges = messages
        for index, (node_types, layer) in enumerate(zip(self.node_types, self.layers)):  # noqa: B905 - TorchScript
            if index == number:
                fresh = conditioned(node_types(inputs.species), inputs)
                nodes, edges = layer(fresh, messages, inputs)
        return nodes, edges

    def hand_on(
        self,
        number: int,
        messages: torch.Tensor,
        edges: torch.Tensor,
        reversed_edges: torch.Tensor,
    ) -> torch.Tensor:
        """See :class:`Steps`."""
        return 0.5 * (messages + reversed_edges)

    def is_read(self, number: int) -> bool:
        """See :class:`Steps`."""
        return True

    def read(
        self,
        number: int,
        nodes: torch.Tensor,
        messages: torch.Tensor,
        edges: torch.Tensor,
        inputs: Inputs,
        targets: List[str],
    ) -> Dict[str, torch.Tensor]:
        """See :class:`Steps`."""
        values: Dict[str, torch.Tensor] = {}
        for index, readout in enumerate(self.readouts):
            if index == number:
                values = readout(nodes, edges, inputs, targets)
        return values


def build_core(hypers: ModelHypers, atomic_types: Sequence[int], targets: Sequence[Target]) -> PET:
    """Make a PET with weights from the global torch generator, which the caller seeds."""
    if hypers.featurizer_type == "residual":
        return ResidualPET(hypers, len(atomic_types), targets)
    return FeedforwardPET(hypers, len(atomic_types), targets)
