"""The Point Edge Transformer, pet@3: raw values of atoms from attention among the edges of each atom.

Source: Pozdnyakov and Ceriotti, "Smooth, exact rotational symmetrization for deep learning on point
clouds", NeurIPS 2023, arXiv:2305.19302. Every atom's neighbors become tokens (geometry, neighbor type,
message from that neighbor), a transformer mixes the tokens of one atom, and the output token of the
edge i->j is handed to atom j as its message from i in the next layer.

Edges stay in one flat list [E, d]; only attention itself works on a padded [N, M + 1, d] grid, so the
dense layers never spend time on padding.
"""

import math
from collections.abc import Sequence
from typing import Dict, List, NamedTuple, Tuple

import torch

from mtt.architectures.interface import Core, features_of
from mtt.architectures.pet.hypers import ModelHypers
from mtt.architectures.radial import cutoff_bump, cutoff_polynomial, radial_functions
from mtt.data.graph import Graph
from mtt.data.target import Target

# One constant for both precisions, so that evaluating float32 weights in float64 is the same function.
NORM_EPSILON = 1e-6


class Grid(NamedTuple):
    """Where each token of the flat list sits in the padded [N, M + 1] attention grid.

    The flat list holds N atom tokens, then E edge tokens; slot 0 of each row is the atom's own.
    ``dense`` says that every atom has exactly M neighbors: then no gather is needed at all.
    """

    n_atoms: int
    max_neighbors: int
    dense: bool
    flat_to_grid: torch.Tensor  # [N * (M + 1)] into the flat list; unused slots: the atom
    edge_slot: torch.Tensor  # [E] index into the flattened [N * (M + 1)] grid
    weights: torch.Tensor  # [N, M + 1] cutoff factor of each token as a key; 0 in unused slots


class Inputs(NamedTuple):
    """What every message layer needs besides features: the same in all layers."""

    grid: Grid
    geometry: torch.Tensor  # [E, 4 + R] edge vector, distance, radial functions of it
    neighbor_species: torch.Tensor  # [E] int64
    factors: torch.Tensor  # [E] cutoff factors


def make_grid(graph: Graph, cutoff_factors: torch.Tensor) -> Grid:
    """Lay the edges (sorted by center) of each atom out in a padded row behind the atom's own token."""
    device = graph.centers.device
    n_atoms = graph.species.shape[0]
    n_edges = graph.centers.shape[0]
    counts = torch.bincount(graph.centers, minlength=n_atoms)
    max_neighbors = int(counts.max()) if n_edges > 0 else 0
    first = torch.cumsum(counts, 0) - counts
    edges = torch.arange(n_edges, device=device)
    width = max_neighbors + 1
    edge_slot = graph.centers * width + 1 + edges - first.index_select(0, graph.centers)
    atoms = torch.arange(n_atoms, device=device)
    flat_to_grid = atoms.repeat_interleave(width)
    flat_to_grid[edge_slot] = edges + n_atoms
    dense = n_edges == n_atoms * max_neighbors
    own = torch.ones((n_atoms, 1), dtype=cutoff_factors.dtype, device=device)
    if dense:
        weights = torch.cat([own, cutoff_factors.reshape(n_atoms, max_neighbors)], dim=1)
    else:
        padded = torch.zeros(n_atoms * width, dtype=cutoff_factors.dtype, device=device)
        padded = padded.index_add(0, edge_slot, cutoff_factors).reshape(n_atoms, width)
        weights = torch.cat([own, padded[:, 1:]], dim=1)
    return Grid(n_atoms, max_neighbors, dense, flat_to_grid, edge_slot, weights)


def to_grid(tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Return flat tokens [N + E, d] on the grid [N, M + 1, d]."""
    d = tokens.shape[1]
    width = grid.max_neighbors + 1
    if grid.dense:
        own = tokens[: grid.n_atoms].reshape(grid.n_atoms, 1, d)
        edges = tokens[grid.n_atoms :].reshape(grid.n_atoms, grid.max_neighbors, d)
        return torch.cat([own, edges], dim=1)
    return tokens.index_select(0, grid.flat_to_grid).reshape(grid.n_atoms, width, d)


def from_grid(values: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Return values [N, M + 1, d] of the grid as a flat list [N + E, d]."""
    d = values.shape[2]
    if grid.dense:
        return torch.cat([values[:, 0], values[:, 1:].reshape(-1, d)], dim=0)
    edges = values.reshape(-1, d).index_select(0, grid.edge_slot)
    return torch.cat([values[:, 0], edges], dim=0)


class Attention(torch.nn.Module):
    """Multi-head attention among the tokens of each atom, keys weighted by their cutoff factors."""

    def __init__(self, d_model: int, num_heads: int, temperature: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = d_model // num_heads
        self.scale = 1.0 / (math.sqrt(self.head_dim) * temperature)
        self.qkv = torch.nn.Linear(d_model, 3 * d_model)
        self.out = torch.nn.Linear(d_model, d_model)

    def forward(self, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
        d_model = self.num_heads * self.head_dim
        width = grid.max_neighbors + 1
        qkv = to_grid(self.qkv(tokens), grid)
        qkv = qkv.reshape(grid.n_atoms, width, 3, self.num_heads, self.head_dim)
        qkv = qkv.permute(2, 0, 3, 1, 4)
        scores = torch.matmul(qkv[0] * self.scale, qkv[1].transpose(-2, -1))
        # Cutoff factors multiply the exponentials: a neighbor at the cutoff has exactly no influence,
        # which log(factor + epsilon) inside a softmax would only approach.
        scores = scores - scores.detach().amax(dim=-1, keepdim=True)
        attention = torch.exp(scores) * grid.weights[:, None, None, :]
        attention = attention / attention.sum(dim=-1, keepdim=True)
        mixed = torch.matmul(attention, qkv[2]).transpose(1, 2)
        return self.out(from_grid(mixed.reshape(grid.n_atoms, width, d_model), grid))


class FeedForward(torch.nn.Module):
    """Two-layer perceptron, gated (SwiGLU) or plain (SiLU)."""

    def __init__(self, d_model: int, d_hidden: int, activation: str) -> None:
        super().__init__()
        self.gated = activation == "SwiGLU"
        self.w_in = torch.nn.Linear(d_model, 2 * d_hidden if self.gated else d_hidden)
        self.w_out = torch.nn.Linear(d_hidden, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.w_in(x)
        if self.gated:
            value, gate = x.chunk(2, dim=-1)
            return self.w_out(value * torch.sigmoid(gate))
        return self.w_out(torch.nn.functional.silu(x))


def make_norm(kind: str, size: int) -> torch.nn.Module:
    if kind == "LayerNorm":
        return torch.nn.LayerNorm(size, eps=NORM_EPSILON)
    return torch.nn.RMSNorm(size, eps=NORM_EPSILON)


class TransformerLayer(torch.nn.Module):
    """Attention over atom and edge tokens, then a perceptron for each; wide atom features ride along."""

    def __init__(self, hypers: ModelHypers) -> None:
        super().__init__()
        d, d_node = hypers.d_pet, hypers.d_node
        self.pre_norm = hypers.transformer_type == "PreLN"
        self.contract = torch.nn.Linear(d_node, d)
        self.attention = Attention(d, hypers.num_heads, hypers.attention_temperature)
        self.expand = torch.nn.Linear(d, d_node)
        self.norm_attention = make_norm(hypers.normalization, d)
        self.norm_edges = make_norm(hypers.normalization, d)
        self.norm_nodes = make_norm(hypers.normalization, d_node)
        self.edge_mlp = FeedForward(d, hypers.d_feedforward, hypers.activation)
        self.node_mlp = FeedForward(d_node, 2 * d_node, hypers.activation)

    def forward(
        self, nodes: torch.Tensor, edges: torch.Tensor, grid: Grid
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        n_atoms = grid.n_atoms
        tokens = torch.cat([self.contract(nodes), edges], dim=0)
        if self.pre_norm:
            mixed = self.attention(self.norm_attention(tokens), grid)
            nodes = nodes + self.expand(mixed[:n_atoms])
            edges = edges + mixed[n_atoms:]
            edges = edges + self.edge_mlp(self.norm_edges(edges))
        else:
            tokens = self.norm_attention(tokens + self.attention(tokens, grid))
            tokens = self.norm_edges(tokens + self.edge_mlp(tokens))
            nodes = nodes + self.expand(tokens[:n_atoms])
            edges = tokens[n_atoms:]
        nodes = nodes + self.node_mlp(self.norm_nodes(nodes))
        return nodes, edges


class MessageLayer(torch.nn.Module):
    """One round: tokens from geometry, neighbor type and incoming message; then a transformer."""

    def __init__(self, hypers: ModelHypers, n_species: int, first: bool) -> None:
        super().__init__()
        d = hypers.d_pet
        self.first = first
        self.geometry = torch.nn.Linear(4 + hypers.num_radial, d)
        # The first layer has no messages yet: there the neighbor's type is the message.
        self.neighbor_type = torch.nn.Embedding(n_species, d)
        self.merge = torch.nn.Linear((2 if first else 3) * d, d)
        self.merge_out = torch.nn.Linear(d, d)
        self.layers = torch.nn.ModuleList(
            [TransformerLayer(hypers) for _ in range(hypers.num_attention_layers)]
        )

    def forward(
        self,
        nodes: torch.Tensor,
        messages: torch.Tensor,
        inputs: Inputs,
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        # merge(cat[geometry(x), type, message]) with the matrix products regrouped: the weights of the
        # first two blocks are contracted once per call instead of once per edge.
        blocks = self.merge.weight.split(self.merge.out_features, dim=1)
        weight = blocks[0] @ self.geometry.weight
        bias = self.merge.bias + blocks[0] @ self.geometry.bias
        types = self.neighbor_type.weight @ blocks[1].t() + bias
        merged = inputs.geometry @ weight.t()
        merged = merged + types.index_select(0, inputs.neighbor_species)
        if not self.first:
            merged = merged + messages @ blocks[2].t()
        edges = self.merge_out(torch.nn.functional.silu(merged))
        for layer in self.layers:
            nodes, edges = layer(nodes, edges, inputs.grid)
        return nodes, edges


class Combine(torch.nn.Module):
    """Mixes the output of edge i->j with that of j->i into the next layer's message (feedforward PET)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(2 * d, eps=NORM_EPSILON)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(2 * d, 2 * d), torch.nn.SiLU(), torch.nn.Linear(2 * d, d)
        )

    def forward(self, edges: torch.Tensor, reversed_edges: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.norm(torch.cat([edges, reversed_edges], dim=1)))


def reverse_edges(edges: torch.Tensor, reverse: torch.Tensor) -> torch.Tensor:
    """Return row j->i of ``edges`` [E, d] for each row i->j; zero where the list lacks that edge."""
    there = (reverse >= 0).to(edges.dtype)
    return edges.index_select(0, reverse.clamp(min=0)) * there[:, None]


class Head(torch.nn.Sequential):
    """The network from features to raw values of one target."""

    def __init__(self, d_in: int, d_head: int, target: Target) -> None:
        super().__init__(
            torch.nn.Linear(d_in, d_head),
            torch.nn.SiLU(),
            torch.nn.Linear(d_head, d_head),
            torch.nn.SiLU(),
            torch.nn.Linear(d_head, target.numbers),
        )
        if not all(target.invariant):
            # A constant vector turns with no structure: training starts from none at all.
            for parameter in self[-1].parameters():
                torch.nn.init.zeros_(parameter)

    @torch.jit.export
    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the last layer makes values of."""
        return self[3](self[2](self[1](self[0](x))))


class Readout(torch.nn.Module):
    """Heads of all targets on the features of one layer: raw values of atoms, edges added in."""

    def __init__(self, hypers: ModelHypers, targets: Sequence[Target]) -> None:
        super().__init__()
        self.target_names = [target.name for target in targets]
        self.node = torch.nn.ModuleList(
            [Head(hypers.d_node, hypers.d_head, target) for target in targets]
        )
        self.edge = torch.nn.ModuleList(
            [Head(hypers.d_pet, hypers.d_head, target) for target in targets]
        )

    def forward(
        self,
        nodes: torch.Tensor,
        edges: torch.Tensor,
        inputs: Inputs,
        centers: torch.Tensor,
        targets: List[str],
    ) -> Dict[str, torch.Tensor]:
        """Return raw values [N, numbers] of each of ``targets``, or features [N, 2 d_head]."""
        values: Dict[str, torch.Tensor] = {}
        for index, (node_head, edge_head) in enumerate(zip(self.node, self.edge)):  # noqa: B905 - TorchScript
            name = self.target_names[index]
            if name in targets:
                of_edges = edge_head(edges) * inputs.factors[:, None]
                values[name] = node_head(nodes).index_add(0, centers, of_edges)
            if features_of(name) in targets:
                # mypy takes what a ModuleList holds for tensors, where it is more than called.
                hidden = edge_head.hidden(edges) * inputs.factors[:, None]  # type: ignore[operator]
                own = node_head.hidden(nodes)  # type: ignore[operator]
                summed = torch.zeros_like(own).index_add(0, centers, hidden)
                values[features_of(name)] = torch.cat([own, summed], dim=1)
        return values


class PET(Core):
    """Base of both featurizers; a core maps a :class:`Graph` to raw values of atoms.

    ``interaction_range`` is ``num_gnn_layers * cutoff``: each layer sees one cutoff further, and the
    last one hands no messages on, so nothing beyond that distance can matter.
    """

    has_features = True

    def __init__(self, hypers: ModelHypers) -> None:
        super().__init__()
        self.cutoff = float(hypers.cutoff)
        self.cutoff_width = float(hypers.cutoff_width)
        self.bump = hypers.cutoff_function == "Bump"
        self.interaction_range = hypers.num_gnn_layers * self.cutoff
        self.num_radial = hypers.num_radial

    def prepare(self, graph: Graph) -> Inputs:
        vectors = graph.vectors
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
        neighbor_species = graph.species.index_select(0, graph.neighbors)
        return Inputs(make_grid(graph, factors), geometry, neighbor_species, factors)


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

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return raw values [N, numbers] of each of ``targets``; see :class:`Core`."""
        inputs = self.prepare(graph)
        nodes = self.node_types(graph.species)
        messages = self.first_layer.neighbor_type(inputs.neighbor_species)
        nodes, edges = self.first_layer(nodes, messages, inputs)
        for combine, layer in zip(self.combine, self.later_layers, strict=True):
            messages = messages + edges + combine(edges, reverse_edges(edges, graph.reverse))
            nodes, edges = layer(nodes, messages, inputs)
        return self.readout(nodes, messages + edges, inputs, graph.centers, targets)


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

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return raw values [N, numbers] of each of ``targets``; see :class:`Core`."""
        inputs = self.prepare(graph)
        values: Dict[str, torch.Tensor] = {}
        messages = self.edge_types(inputs.neighbor_species)
        for node_types, layer, readout in zip(
            self.node_types, self.layers, self.readouts, strict=True
        ):
            nodes, edges = layer(node_types(graph.species), messages, inputs)
            parts = readout(nodes, edges, inputs, graph.centers, targets)
            for name in targets:
                part = parts[name]
                if name not in values:
                    values[name] = part
                elif name.startswith("features/"):
                    values[name] = torch.cat([values[name], part], dim=1)
                else:
                    values[name] = values[name] + part
            messages = 0.5 * (messages + reverse_edges(edges, graph.reverse))
        return values


def build_core(hypers: ModelHypers, atomic_types: Sequence[int], targets: Sequence[Target]) -> PET:
    """Make a PET with weights from the global torch generator, which the caller seeds."""
    if hypers.featurizer_type == "residual":
        return ResidualPET(hypers, len(atomic_types), targets)
    return FeedforwardPET(hypers, len(atomic_types), targets)
