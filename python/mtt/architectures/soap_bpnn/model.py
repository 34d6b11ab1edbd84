"""SOAP-BPNN, soap_bpnn@1: raw values of atoms from the power spectrum of their neighborhoods.

Sources: Bartok, Kondor and Csanyi, "On representing chemical environments", Phys. Rev. B 87, 184115 (2013);
Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007). The neighbors of each atom are laid out in a
padded row, so that densities are products of matrices and no tensor has a row for each edge, radial
function and harmonic.
"""

import math
from collections.abc import Sequence
from typing import Dict, List, NamedTuple

import torch

from mtt.architectures.interface import Core
from mtt.architectures.soap_bpnn.expansion import (
    cutoff_function,
    mapped,
    radial_functions,
    solid_harmonics,
)
from mtt.architectures.soap_bpnn.hypers import BpnnHypers, ModelHypers
from mtt.data.graph import Graph
from mtt.data.target import Target

# Features of less variance than this are as good as none: an atom about to lose its last neighbor.
NORM_EPSILON = 1e-3
# The part of the cutoff radius within which distances are told apart best.
NEAR = 0.4


class Rows(NamedTuple):
    """The edges of each atom in a row of M places."""

    vectors: torch.Tensor  # [N, M, 3] zero where there is no edge
    species: torch.Tensor  # [N, M] int64 of the neighbors
    exists: torch.Tensor  # [N, M] one or zero


def rows_of_edges(graph: Graph) -> Rows:
    """Lay the edges, sorted by center, out in rows."""
    n_atoms, n_edges = graph.species.shape[0], graph.centers.shape[0]
    counts = torch.bincount(graph.centers, minlength=n_atoms)
    width = int(counts.max()) if n_edges > 0 else 0
    first = torch.cumsum(counts, 0) - counts
    number = torch.arange(n_edges, device=graph.centers.device)
    place = graph.centers * width + number - first.index_select(0, graph.centers)
    n_places = n_atoms * width
    vectors = graph.vectors.new_zeros((n_places, 3)).index_add(0, place, graph.vectors)
    neighbors = graph.species.index_select(0, graph.neighbors)
    species = graph.species.new_zeros((n_places,)).index_add(0, place, neighbors)
    ones = torch.ones_like(graph.vectors[:, 0].detach())
    exists = ones.new_zeros((n_places,)).index_add(0, place, ones)
    return Rows(
        vectors.reshape(n_atoms, width, 3),
        species.reshape(n_atoms, width),
        exists.reshape(n_atoms, width),
    )


class PowerSpectrum(torch.nn.Module):
    """Invariants [N, features] of the neighborhood of each atom.

    With the density c_qlm of neighbors, q for both type and radial function, these are c_q00 and
    the sums over m of c_qlm c_q'lm / sqrt(2 l + 1) for q <= q'.
    """

    def __init__(self, hypers: ModelHypers, n_species: int) -> None:
        super().__init__()
        soap = hypers.soap
        self.cutoff, self.width = float(soap.cutoff.radius), float(soap.cutoff.width)
        self.near = NEAR * self.cutoff
        self.max_angular, self.max_radial = soap.max_angular, soap.max_radial
        self.n_types = min(n_species, soap.max_types)
        self.mixing = torch.nn.Parameter(torch.eye(n_species))
        if n_species > soap.max_types:
            mixing = torch.randn(n_species, self.n_types) / math.sqrt(self.n_types)
            self.mixing = torch.nn.Parameter(mixing)
        else:
            # Densities of single types are what the networks can mix themselves.
            self.mixing.requires_grad_(False)
        self.n_densities = self.n_types * (soap.max_radial + 1)
        pairs = self.n_densities * (self.n_densities + 1) // 2
        self.size = self.n_densities + pairs * (soap.max_angular + 1)

    def forward(self, graph: Graph) -> torch.Tensor:
        rows = rows_of_edges(graph)
        n_atoms, n_places = rows.exists.shape[0], rows.exists.shape[1]
        squared = (rows.vectors * rows.vectors).sum(dim=-1)
        weights = rows.exists * cutoff_function(squared, self.cutoff, self.width)
        points = mapped(rows.vectors, squared, self.cutoff, self.near)
        harmonics = solid_harmonics(points, self.max_angular)
        lengths = (points * points).sum(dim=-1)
        radial = radial_functions(lengths, self.max_radial, self.max_angular)
        radial = radial * weights[:, :, None, None]
        kinds = self.mixing.index_select(0, rows.species.reshape(n_atoms * n_places))
        kinds = kinds.reshape(n_atoms, n_places, 1, self.n_types, 1)
        # [l, N, densities, M]
        functions = (radial[:, :, :, None, :] * kinds).permute(2, 0, 3, 4, 1)
        functions = functions.reshape(self.max_angular + 1, n_atoms, self.n_densities, n_places)
        upper = torch.triu_indices(self.n_densities, self.n_densities, device=squared.device)
        index = upper[0] * self.n_densities + upper[1]
        features: List[torch.Tensor] = []
        for degree, harmonic in enumerate(harmonics):
            density = torch.bmm(functions[degree], harmonic)
            if degree == 0:
                features.append(density.squeeze(2))
            products = torch.bmm(density, density.transpose(1, 2)) / math.sqrt(2 * degree + 1)
            products = products.reshape(n_atoms, self.n_densities * self.n_densities)
            features.append(products.index_select(1, index))
        return torch.cat(features, dim=1)


class TypedLinear(torch.nn.Module):
    """A linear layer for each atomic type, for atoms in the order of their types."""

    def __init__(self, n_species: int, d_in: int, d_out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(d_in)
        self.weight = torch.nn.Parameter(
            torch.empty(n_species, d_in, d_out).uniform_(-bound, bound)
        )
        self.bias = torch.nn.Parameter(torch.empty(n_species, d_out).uniform_(-bound, bound))

    def forward(self, features: torch.Tensor, counts: List[int]) -> torch.Tensor:
        """Return [N, d_out] of features [N, d_in], of which ``counts`` belong to each type."""
        parts: List[torch.Tensor] = []
        start = 0
        for kind, count in enumerate(counts):
            part = features.narrow(0, start, count)
            parts.append(torch.addmm(self.bias[kind], part, self.weight[kind]))
            start += count
        return torch.cat(parts, dim=0)


class Networks(torch.nn.Module):
    """Hidden layers that all targets share, and one linear layer for each target."""

    def __init__(
        self, hypers: BpnnHypers, n_species: int, d_in: int, targets: Sequence[Target]
    ) -> None:
        super().__init__()
        width = hypers.num_neurons_per_layer
        self.n_species = n_species
        self.norm: torch.nn.Module = torch.nn.Identity()
        if hypers.layernorm:
            # Its scale and shift would double the weights of the first layer.
            self.norm = torch.nn.LayerNorm(d_in, eps=NORM_EPSILON, elementwise_affine=False)
        sizes = [d_in] + [width] * hypers.num_hidden_layers
        self.hidden = torch.nn.ModuleList(
            [TypedLinear(n_species, a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        )
        self.target_names = [target.name for target in targets]
        self.heads = torch.nn.ModuleList(
            [TypedLinear(n_species, width, target.properties) for target in targets]
        )

    def forward(
        self, features: torch.Tensor, species: torch.Tensor, targets: List[str]
    ) -> Dict[str, torch.Tensor]:
        order = torch.argsort(species, stable=True)
        back = torch.argsort(order)
        number = torch.bincount(species, minlength=self.n_species)
        counts = [int(number[kind]) for kind in range(self.n_species)]
        features = self.norm(features.index_select(0, order))
        for layer in self.hidden:
            features = torch.nn.functional.silu(layer(features, counts))
        values: Dict[str, torch.Tensor] = {}
        for index, head in enumerate(self.heads):
            name = self.target_names[index]
            if name in targets:
                values[name] = head(features, counts).index_select(0, back)
        return values


class SoapBpnn(Core):
    """Power spectrum and networks; nothing beyond the cutoff matters."""

    def __init__(self, hypers: ModelHypers, n_species: int, targets: Sequence[Target]) -> None:
        super().__init__()
        self.cutoff = self.interaction_range = float(hypers.soap.cutoff.radius)
        self.spectrum = PowerSpectrum(hypers, n_species)
        self.networks = Networks(hypers.bpnn, n_species, self.spectrum.size, targets)

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return raw values [N, properties] of each of ``targets``; see :class:`Core`."""
        return self.networks(self.spectrum(graph), graph.species, targets)


def build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: Sequence[Target]
) -> SoapBpnn:
    """Make a SOAP-BPNN with weights from the global torch generator, which the caller seeds."""
    return SoapBpnn(hypers, len(atomic_types), targets)
