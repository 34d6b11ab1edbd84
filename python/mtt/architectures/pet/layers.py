"""The layers of the Point Edge Transformer, on tokens in a flat list: atoms first, then edges."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Tuple

import torch

from mtt.architectures.interface import features_of
from mtt.architectures.kernels import LayerNorm, Linear, RMSNorm, SiLU, glu, is_scripting, silu
from mtt.architectures.pet.hypers import ModelHypers
from mtt.data.graph import Graph
from mtt.data.target import Target

# One constant for both precisions, so that evaluating float32 weights in float64 is the same function.
NORM_EPSILON = 1e-6


class Grid(NamedTuple):
    """Where each token of the flat list sits in the padded [M + 1, N] attention grid.

    The flat list holds N atom tokens, then E edge tokens; row 0 of the grid holds the atoms' own.
    ``dense`` says that the flat list is the grid, row after row: then nothing is moved at all.
    """

    n_atoms: int
    width: int  # M + 1
    dense: bool
    to_grid: torch.Tensor  # [(M + 1) * N] into the flat list; unused slots: the atom's own
    from_grid: torch.Tensor  # [N + E] into the flattened grid
    weights: torch.Tensor  # [M + 1, N] cutoff factor of each token as a key; 0 in unused slots
    # Of :func:`flat_grid` alone, [N] int64: where the edges of each atom begin, and how many there are.
    first: Optional[torch.Tensor] = None
    counts: Optional[torch.Tensor] = None


class Inputs(NamedTuple):
    """What every message layer needs besides features: the same in all layers."""

    grid: Grid
    geometry: torch.Tensor  # [E, 4 + R] edge vector, distance, radial functions of it
    species: torch.Tensor  # [N] int64
    neighbor_species: torch.Tensor  # [E] int64
    factors: torch.Tensor  # [E] cutoff factors
    centers: torch.Tensor  # [E] int64
    added: Optional[torch.Tensor] = None  # [N, d_node] what charge and spin add to nodes


def conditioned(nodes: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    """Return features of atoms [N, d_node] that know of the charge and spin of their structure."""
    added = inputs.added
    return nodes if added is None else nodes + added


def dense_grid(factors: torch.Tensor, n_atoms: int) -> Grid:
    """Return the grid of edges that all atoms have the same number of, in the order of its rows."""
    own = torch.ones(n_atoms, dtype=factors.dtype, device=factors.device)
    width = 1 + factors.shape[0] // max(1, n_atoms)
    weights = torch.cat([own, factors]).reshape(width, n_atoms)
    nowhere = torch.empty(0, dtype=torch.int64, device=factors.device)
    return Grid(n_atoms, width, True, nowhere, nowhere, weights)


def flat_grid(centers: torch.Tensor, counts: torch.Tensor, factors: torch.Tensor) -> Grid:
    """Return what the attention of :mod:`mtt.architectures.kernels` needs of edges sorted by center.

    It has no slots: ``weights`` are the cutoff factors [E].
    """
    width = int(counts.max()) + 1 if counts.shape[0] > 0 else 1
    first = torch.cumsum(counts, 0) - counts
    return Grid(counts.shape[0], width, False, centers, centers, factors, first, counts)


def padded_grid(centers: torch.Tensor, counts: torch.Tensor, factors: torch.Tensor) -> Grid:
    """Return the grid of edges that are sorted by center, as many of each atom as ``counts`` says."""
    n_atoms = counts.shape[0]
    n_edges = centers.shape[0]
    width = int(counts.max()) + 1 if n_atoms > 0 else 1
    atoms = torch.arange(n_atoms, device=centers.device)
    edges = torch.arange(n_edges, device=centers.device)
    first = torch.cumsum(counts, 0) - counts
    slot = (1 + edges - first.index_select(0, centers)) * n_atoms + centers
    to_grid = atoms.repeat(width)
    to_grid[slot] = edges + n_atoms
    own = torch.ones(n_atoms, dtype=factors.dtype, device=factors.device)
    weights = torch.zeros(width * n_atoms, dtype=factors.dtype, device=factors.device)
    from_grid = torch.cat([atoms, slot])
    weights = weights.index_add(0, from_grid, torch.cat([own, factors])).reshape(width, n_atoms)
    return Grid(n_atoms, width, False, to_grid, from_grid, weights)


def make_rows(graph: Graph) -> Tuple[Graph, torch.Tensor, bool]:
    """Bring the edges into the order of the grid's rows if all atoms have the same number of them.

    Returns the graph, the number of edges of each atom [N] and whether they all have the same.
    """
    n_atoms = graph.species.shape[0]
    n_edges = graph.centers.shape[0]
    counts = torch.bincount(graph.centers, minlength=n_atoms)
    if n_edges == 0 or n_edges % n_atoms != 0 or int(counts.max()) * n_atoms != n_edges:
        return graph, counts, n_edges == 0
    edges = torch.arange(n_edges, device=counts.device)
    order = edges.reshape(n_atoms, -1).t().reshape(-1)
    place = edges.reshape(-1, n_atoms).t().reshape(-1)
    reverse = graph.reverse.index_select(0, order)
    there = place.index_select(0, reverse.clamp(min=0))
    rows = Graph(
        species=graph.species,
        system=graph.system,
        n_systems=graph.n_systems,
        centers=graph.centers.index_select(0, order),
        neighbors=graph.neighbors.index_select(0, order),
        vectors=graph.vectors.index_select(0, order),
        reverse=torch.where(reverse >= 0, there, reverse),
        positions=graph.positions,
        cells=graph.cells,
        states=graph.states,
    )
    return rows, counts, True


class Attention(torch.nn.Module):
    """Multi-head attention among the tokens of each atom, keys weighted by their cutoff factors."""

    def __init__(self, d_model: int, num_heads: int, temperature: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = d_model // num_heads
        self.scale = 1.0 / (math.sqrt(self.head_dim) * temperature)
        self.qkv = Linear(d_model, 3 * d_model)
        self.out = Linear(d_model, d_model)

    def by_head(self, rows: torch.Tensor) -> torch.Tensor:
        """Reorder rows of the projection from (query, key, value) to heads, with the scale in it.

        Query, key and value of the heads of all atoms are then matrices within one product: nothing
        is copied to multiply them.
        """
        d_model = self.num_heads * self.head_dim
        queries, others = rows.split([d_model, 2 * d_model])
        rows = torch.cat([queries * self.scale, others])
        return rows.reshape(3, self.num_heads, self.head_dim, -1).transpose(0, 1)

    def forward(self, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
        if not is_scripting():  # noqa: SIM102 - TorchScript
            if grid.first is not None:
                mixed = torch.ops.mtt_training.attention(
                    self.qkv(tokens),
                    grid.weights,
                    grid.first,
                    grid.counts,
                    grid.width,
                    self.num_heads,
                    self.scale,
                )
                return self.out(mixed)
        d_model = self.num_heads * self.head_dim
        weight = self.by_head(self.qkv.weight).reshape(3 * d_model, d_model)
        bias = self.by_head(self.qkv.bias).reshape(3 * d_model)
        qkv = torch.nn.functional.linear(tokens, weight, bias)
        if not grid.dense:
            qkv = qkv.index_select(0, grid.to_grid)
        n_matrices = grid.n_atoms * self.num_heads
        qkv = qkv.reshape(grid.width, n_matrices, 3, self.head_dim)
        # Each [N * heads, M + 1, head_dim].
        queries, keys, values = qkv.transpose(0, 1).unbind(2)
        scores = torch.softmax(torch.bmm(queries, keys.transpose(1, 2)), dim=-1)
        # Cutoff factors multiply the exponentials: a neighbor at the cutoff has exactly no influence,
        # which log(factor + epsilon) inside a softmax would only approach. Carried out on the values,
        # which are fewer than the scores; the last column adds up what there is of each.
        weights = grid.weights.t()[:, None, :].expand(-1, self.num_heads, -1)
        weights = weights.reshape(n_matrices, grid.width, 1)
        mixed = torch.bmm(scores, torch.cat([values * weights, weights], dim=2))
        mixed, total = mixed.split([self.head_dim, 1], dim=2)
        mixed = (mixed / total).transpose(0, 1).reshape(-1, d_model)
        if not grid.dense:
            mixed = mixed.index_select(0, grid.from_grid)
        return self.out(mixed)


class FeedForward(torch.nn.Module):
    """Two-layer perceptron, gated (SwiGLU) or plain (SiLU)."""

    def __init__(self, d_model: int, d_hidden: int, activation: str) -> None:
        super().__init__()
        self.gated = activation == "SwiGLU"
        self.w_in = Linear(d_model, 2 * d_hidden if self.gated else d_hidden)
        self.w_out = Linear(d_hidden, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.w_in(x)
        if self.gated:
            return self.w_out(glu(x))
        return self.w_out(silu(x))


def make_norm(kind: str, size: int) -> torch.nn.Module:
    if kind == "LayerNorm":
        return LayerNorm(size, eps=NORM_EPSILON)
    return RMSNorm(size, eps=NORM_EPSILON)


class TransformerLayer(torch.nn.Module):
    """Attention over atom and edge tokens, then a perceptron for each; wide atom features ride along."""

    def __init__(self, hypers: ModelHypers) -> None:
        super().__init__()
        d, d_node = hypers.d_pet, hypers.d_node
        self.pre_norm = hypers.transformer_type == "PreLN"
        self.contract = Linear(d_node, d)
        self.attention = Attention(d, hypers.num_heads, hypers.attention_temperature)
        self.expand = Linear(d, d_node)
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
            of_nodes, of_edges = mixed.split([n_atoms, edges.shape[0]])
            nodes = nodes + self.expand(of_nodes)
            edges = edges + of_edges
            edges = edges + self.edge_mlp(self.norm_edges(edges))
        else:
            tokens = self.norm_attention(tokens + self.attention(tokens, grid))
            tokens = self.norm_edges(tokens + self.edge_mlp(tokens))
            of_nodes, edges = tokens.split([n_atoms, edges.shape[0]])
            nodes = nodes + self.expand(of_nodes)
        nodes = nodes + self.node_mlp(self.norm_nodes(nodes))
        return nodes, edges


if TYPE_CHECKING:
    LayerInterface = TransformerLayer
else:

    @torch.jit.interface
    class LayerInterface(torch.nn.Module):
        """What TorchScript is to know of the layers: those of a model share code, optimized once."""

        def forward(  # noqa: D102
            self, nodes: torch.Tensor, edges: torch.Tensor, grid: Grid
        ) -> Tuple[torch.Tensor, torch.Tensor]:
            pass


class MessageLayer(torch.nn.Module):
    """One round: tokens from geometry, neighbor type and incoming message; then a transformer."""

    def __init__(self, hypers: ModelHypers, n_species: int, first: bool) -> None:
        super().__init__()
        d = hypers.d_pet
        self.first = first
        self.geometry = Linear(4 + hypers.num_radial, d)
        # The first layer has no messages yet: there the neighbor's type is the message.
        self.neighbor_type = torch.nn.Embedding(n_species, d)
        self.merge = Linear((2 if first else 3) * d, d)
        self.merge_out = Linear(d, d)
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
        edges = self.merge_out(silu(merged))
        for index in range(len(self.layers)):
            # A ModuleList holds modules, for mypy.
            layer: LayerInterface = self.layers[index]  # type: ignore[assignment]
            nodes, edges = layer.forward(nodes, edges, inputs.grid)
        return nodes, edges


class Combine(torch.nn.Module):
    """Mixes the output of edge i->j with that of j->i into the next layer's message (feedforward PET)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm = LayerNorm(2 * d, eps=NORM_EPSILON)
        self.mlp = torch.nn.Sequential(Linear(2 * d, 2 * d), SiLU(), Linear(2 * d, d))

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
            Linear(d_in, d_head),
            SiLU(),
            Linear(d_head, d_head),
            SiLU(),
            Linear(d_head, target.numbers),
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
        targets: List[str],
    ) -> Dict[str, torch.Tensor]:
        """Return raw values [N, numbers] of each of ``targets``, or features [N, 2 d_head]."""
        values: Dict[str, torch.Tensor] = {}
        for index, (node_head, edge_head) in enumerate(zip(self.node, self.edge)):  # noqa: B905 - TorchScript
            name = self.target_names[index]
            if name in targets:
                of_edges = edge_head(edges) * inputs.factors[:, None]
                values[name] = node_head(nodes).index_add(0, inputs.centers, of_edges)
            if features_of(name) in targets:
                # mypy takes what a ModuleList holds for tensors, where it is more than called.
                hidden = edge_head.hidden(edges) * inputs.factors[:, None]  # type: ignore[operator]
                own = node_head.hidden(nodes)  # type: ignore[operator]
                summed = torch.zeros_like(own).index_add(0, inputs.centers, hidden)
                values[features_of(name)] = torch.cat([own, summed], dim=1)
        return values
