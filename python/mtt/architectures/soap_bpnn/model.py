"""SOAP and networks for each atomic type: values that keep every symmetry exactly.

Sources: Bartok, Kondor and Csanyi, "On representing chemical environments", Phys. Rev. B 87, 184115
(2013), for the power spectrum; Behler and Parrinello, "Generalized neural-network representation of
high-dimensional potential-energy surfaces", Phys. Rev. Lett. 98, 146401 (2007), for networks of types.

The neighbors j of atom i, of types z, make the density

    c_znlm = sum_j R_n(r_ij) Y_lm(r_ij / |r_ij|),

to which the atom itself may add a constant at l = 0. Learned mixtures c_klm of the (z, n) give the power
spectrum p_kk'l = sum_m c_klm c_k'lm / sqrt(2 l + 1), which no rotation changes, and networks make all
invariants of it. What turns is a sum of c_klm over k with invariants as coefficients, which turns as
spherical harmonics do. All of it is made of plain operations of torch, which engines differentiate.
"""

import math
from collections.abc import Sequence
from typing import Dict, List, Optional

import torch

from mtt.architectures.conditioning import Conditioning
from mtt.architectures.ewald import long_range_parts
from mtt.architectures.interface import features_of
from mtt.architectures.kernels import LayerNorm, silu
from mtt.architectures.local_sums import Local
from mtt.architectures.radial import cutoff_polynomial, radial_functions
from mtt.architectures.soap_bpnn.hypers import ModelHypers
from mtt.data.graph import Graph
from mtt.data.target import Target

# What the components -2 ... 2 of a tensor of degree 2 add to a symmetric matrix, rows one after the other;
# all but the one in the middle times the root of 3, which no float32 holds.
_MATRICES = (
    (0.0, 0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.5, 0.0),
    (-0.5, 0.0, 0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 1.0),
    (0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0),
    (0.5, 0.0, 0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0),
)


def harmonics_factors(max_degree: int) -> List[float]:
    """Return the norms of real spherical harmonics, by degree and then order 0 ... degree."""
    factors = []
    for degree in range(max_degree + 1):
        for m in range(degree + 1):
            ratio = math.factorial(degree - m) / math.factorial(degree + m)
            norm = math.sqrt((2 * degree + 1) / (4.0 * math.pi) * ratio)
            factors.append(norm * (math.sqrt(2.0) if m > 0 else 1.0))
    return factors


def spherical_harmonics(
    directions: torch.Tensor, max_degree: int, factors: List[float]
) -> torch.Tensor:
    """Return real spherical harmonics [E, (L + 1)^2] at unit vectors [E, 3], m = -l ... l of each l.

    Formula: Wikipedia, "Table of spherical harmonics", with associated Legendre functions by their
    recurrence in the degree; without the phase of Condon and Shortley, as metatensor has them.
    """
    x, y, z = directions[:, 0], directions[:, 1], directions[:, 2]
    columns: List[torch.Tensor] = [x] * ((max_degree + 1) * (max_degree + 1))
    # (x + i y)^m holds the sine of the polar angle, so that no angle is ever computed.
    cosine, sine = torch.ones_like(x), torch.zeros_like(x)
    start = 1.0
    for m in range(max_degree + 1):
        if m > 0:
            start = start * (2.0 * m - 1.0)
        before, legendre = torch.zeros_like(x), torch.full_like(x, start)
        for degree in range(m, max_degree + 1):
            if degree > m:
                following = ((2 * degree - 1) * z * legendre - (degree + m - 1) * before) / (
                    degree - m
                )
                before, legendre = legendre, following
            factor = factors[degree * (degree + 1) // 2 + m]
            middle = degree * degree + degree
            columns[middle + m] = factor * legendre * cosine
            if m > 0:
                columns[middle - m] = factor * legendre * sine
        cosine, sine = cosine * x - sine * y, cosine * y + sine * x
    return torch.stack(columns, dim=1)


def first_mixing(n_out: int, n_in: int) -> torch.Tensor:
    """Return untrained mixtures [n_out, n_in]: each input by itself, the others orthogonal.

    If there are fewer mixtures than inputs, all of them are orthogonal: none says what another does.
    """
    if n_out < n_in:
        return torch.nn.init.orthogonal_(torch.empty(n_out, n_in))
    mixing = torch.eye(n_out, n_in)
    if n_out > n_in:
        torch.nn.init.orthogonal_(mixing[n_in:])
    return mixing


class TypeLinear(torch.nn.Module):
    """A linear map of its own for each atomic type."""

    def __init__(self, n_types: int, n_in: int, n_out: int, zero: bool = False) -> None:
        super().__init__()
        bound = 0.0 if zero else 1.0 / math.sqrt(n_in)
        self.weight = torch.nn.Parameter(torch.empty(n_types, n_out, n_in).uniform_(-bound, bound))
        self.bias = torch.nn.Parameter(torch.empty(n_types, n_out).uniform_(-bound, bound))

    def forward(self, features: torch.Tensor, groups: List[torch.Tensor]) -> torch.Tensor:
        """Return [N, n_out] of features [N, n_in].

        :param groups: the indices of the atoms of each type
        """
        result = self.bias.new_zeros((features.shape[0], self.bias.shape[1]))
        for kind, atoms in enumerate(groups):
            rows = features.index_select(0, atoms) @ self.weight[kind].t() + self.bias[kind]
            result = result.index_add(0, atoms, rows)
        return result


class Network(torch.nn.Module):
    """From the power spectrum of an atom to its last features, by hidden layers of its type."""

    def __init__(self, hypers: ModelHypers, n_types: int, n_in: int) -> None:
        super().__init__()
        width = hypers.bpnn.num_neurons_per_layer
        self.normalized = hypers.bpnn.layernorm
        self.norm = LayerNorm(n_in, eps=1e-6)
        sizes = [n_in] + [width] * hypers.bpnn.num_hidden_layers
        self.layers = torch.nn.ModuleList(
            [TypeLinear(n_types, a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        )

    def forward(
        self, features: torch.Tensor, groups: List[torch.Tensor], added: Optional[torch.Tensor]
    ) -> torch.Tensor:
        if self.normalized:
            features = self.norm(features)
        if added is not None:
            features = features + added
        for layer in self.layers:
            features = silu(layer(features, groups))
        return features


class Head(torch.nn.Module):
    """From the last features and the density of atoms to raw values of one target."""

    matrices: torch.Tensor

    def __init__(self, hypers: ModelHypers, n_types: int, target: Target) -> None:
        super().__init__()
        self.kind = target.type
        self.properties = target.properties
        self.channels = hypers.soap.channels
        # One number keeps the type of the list where there are none.
        self.degrees = [degree for degree, _ in target.irreps] or [0]
        plain = {"scalar": 1, "vector": self.channels, "matrix": 1 + 3 * self.channels}
        if target.type == "spherical":
            size = sum(1 if degree == 0 else self.channels for degree in self.degrees)
        else:
            size = plain[target.type]
        zero = not all(target.invariant)
        self.linear = TypeLinear(
            n_types, hypers.bpnn.num_neurons_per_layer, size * target.properties, zero
        )
        self.register_buffer("matrices", torch.tensor(_MATRICES), persistent=False)

    def forward(
        self, features: torch.Tensor, density: torch.Tensor, groups: List[torch.Tensor]
    ) -> torch.Tensor:
        """Return the raw values [N, numbers].

        :param density: [N, K, (L + 1)^2]
        """
        n_atoms = features.shape[0]
        coefficients = self.linear(features, groups)
        size = coefficients.shape[1] // self.properties
        coefficients = coefficients.reshape(n_atoms, size, self.properties)
        if self.kind == "scalar":
            return coefficients.flatten(1)
        if self.kind == "vector":
            return self.turning(coefficients, density, 1)[:, [2, 0, 1]].flatten(1)
        if self.kind == "matrix":
            return self.matrix(coefficients, density).flatten(1)
        blocks: List[torch.Tensor] = []
        start = 0
        for degree in self.degrees:
            size = 1 if degree == 0 else self.channels
            own = coefficients[:, start : start + size]
            start += size
            block = own if degree == 0 else self.turning(own, density, degree)
            blocks.append(block.flatten(1))
        return torch.cat(blocks, dim=1)

    def turning(
        self, coefficients: torch.Tensor, density: torch.Tensor, degree: int
    ) -> torch.Tensor:
        """Return [N, 2 l + 1, P], which turns as spherical harmonics do."""
        part = density[:, :, degree * degree : (degree + 1) * (degree + 1)]
        return torch.matmul(part.transpose(1, 2), coefficients)

    def matrix(self, coefficients: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
        """Return [N, 9, P]: a multiple of the identity, a symmetric and an antisymmetric part."""
        n_atoms, k = coefficients.shape[0], self.channels
        identity = torch.eye(3, dtype=density.dtype, device=density.device).reshape(1, 9, 1)
        symmetric = self.turning(coefficients[:, 1 : 1 + k], density, 2)
        middle, rest = symmetric[:, 2:3], math.sqrt(3.0) * symmetric
        symmetric = torch.cat([rest[:, :2], middle, rest[:, 3:]], dim=1)
        symmetric = torch.matmul(self.matrices.to(density.dtype).t(), symmetric)
        # Two vectors make an axial one, and that an antisymmetric matrix.
        own = coefficients[:, 1 + k :].reshape(n_atoms, 2, k, self.properties)
        first = self.turning(own[:, 0], density, 1)[:, [2, 0, 1]]
        second = self.turning(own[:, 1], density, 1)[:, [2, 0, 1]]
        outer = first[:, :, None] * second[:, None, :]
        antisymmetric = (outer - outer.transpose(1, 2)).reshape(n_atoms, 9, self.properties)
        return coefficients[:, :1] * identity + symmetric + antisymmetric


class SoapBpnn(Local):
    """SOAP power spectrum, networks of atomic types, and a head for each target."""

    has_features = True
    turns_exactly = True
    upper: torch.Tensor

    def __init__(self, hypers: ModelHypers, n_types: int, targets: Sequence[Target]) -> None:
        super().__init__()
        soap = hypers.soap
        self.cutoff = float(soap.cutoff.radius)
        self.sees_positions = hypers.long_range is not None
        # All atoms see each other then: there are no portions.
        self.has_sums = not self.sees_positions
        self.interaction_range = math.inf if self.sees_positions else self.cutoff
        self.width = float(soap.cutoff.width)
        self.n_types = n_types
        self.max_angular, self.max_radial = soap.max_angular, soap.max_radial
        self.factors = harmonics_factors(self.max_angular)
        self.channels = soap.channels
        self.center_weight = float(soap.center_weight)
        mixed = n_types * self.max_radial
        degrees = self.max_angular + 1
        mixing = [first_mixing(soap.channels, mixed) for _ in range(degrees)]
        self.mixing = torch.nn.Parameter(torch.stack(mixing))
        pairs = torch.triu_indices(soap.channels, soap.channels)
        # Rows of the upper triangle of the channels, and the degree of each component.
        self.register_buffer("upper", pairs[0] * soap.channels + pairs[1], persistent=False)
        size = pairs.shape[1] * degrees
        self.network = Network(hypers, n_types, size)
        width = hypers.bpnn.num_neurons_per_layer
        self.long_range = long_range_parts(hypers.long_range, width)
        self.target_names = [target.name for target in targets]
        self.heads = torch.nn.ModuleList([Head(hypers, n_types, target) for target in targets])
        # One or none; last, so that all other weights begin as without it.
        self.conditioning = torch.nn.ModuleList([])
        if hypers.system_conditioning:
            self.max_charge = hypers.max_charge
            self.max_spin_multiplicity = hypers.max_spin_multiplicity
            limits = (self.max_charge, self.max_spin_multiplicity)
            width = hypers.bpnn.num_neurons_per_layer
            self.conditioning.append(Conditioning(*limits, width, size))

    def density(self, graph: Graph) -> torch.Tensor:
        """Return the mixed density of each atom [N, K, (L + 1)^2]."""
        vectors = graph.vectors
        # The tiny constant keeps the gradient of the distance finite for coinciding atoms.
        distances = torch.sqrt((vectors * vectors).sum(dim=1) + 1e-12)
        radial = radial_functions(distances, self.max_radial, self.cutoff)
        radial = radial * cutoff_polynomial(distances, self.cutoff, self.width)[:, None]
        angular = spherical_harmonics(vectors / distances[:, None], self.max_angular, self.factors)
        pairs = radial[:, :, None] * angular[:, None, :]
        n_atoms, components = graph.species.shape[0], angular.shape[1]
        row = graph.centers * self.n_types + graph.species.index_select(0, graph.neighbors)
        density = pairs.new_zeros((n_atoms * self.n_types, self.max_radial, components))
        density = density.index_add(0, row, pairs)
        if self.center_weight > 0.0:
            own = torch.arange(n_atoms, device=row.device) * self.n_types + graph.species
            center = torch.zeros_like(density[:1])
            center[:, :, 0] = self.center_weight
            density = density.index_add(0, own, center.expand(n_atoms, -1, -1))
        density = density.reshape(n_atoms, self.n_types * self.max_radial, components)
        parts: List[torch.Tensor] = []
        for degree in range(self.max_angular + 1):
            part = density[:, :, degree * degree : (degree + 1) * (degree + 1)]
            parts.append(torch.matmul(self.mixing[degree], part))
        return torch.cat(parts, dim=2)

    def power_spectrum(self, density: torch.Tensor) -> torch.Tensor:
        """Return the power spectrum [N, K (K + 1) / 2 (L + 1)] of a density."""
        parts: List[torch.Tensor] = []
        for degree in range(self.max_angular + 1):
            part = density[:, :, degree * degree : (degree + 1) * (degree + 1)]
            square = torch.matmul(part, part.transpose(1, 2)) / math.sqrt(2.0 * degree + 1.0)
            parts.append(square.flatten(1).index_select(1, self.upper))
        return torch.cat(parts, dim=1)

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return raw values [N, numbers] of each of ``targets``; see :class:`Core`."""
        values: Dict[str, torch.Tensor] = {}
        if len(targets) == 0:
            return values
        groups: List[torch.Tensor] = []
        for kind in range(self.n_types):
            groups.append(torch.nonzero(graph.species == kind)[:, 0])
        density = self.density(graph)
        added: Optional[torch.Tensor] = None
        for conditioning in self.conditioning:
            added = conditioning(graph)
        features = self.network(self.power_spectrum(density), groups, added)
        for long_range in self.long_range:
            features = features + long_range(features, graph)
        for index, head in enumerate(self.heads):
            name = self.target_names[index]
            if name in targets:
                values[name] = head(features, density, groups)
            if features_of(name) in targets:
                # Each type has weights of its own for them.
                kinds = torch.arange(self.n_types, device=features.device)
                own = (graph.species[:, None] == kinds).to(features.dtype)
                values[features_of(name)] = (own[:, :, None] * features[:, None, :]).flatten(1)
        return values


def build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: Sequence[Target]
) -> SoapBpnn:
    """Make a model with weights from the global torch generator, which the caller seeds."""
    return SoapBpnn(hypers, len(atomic_types), targets)


def why_not(hypers: ModelHypers, target: Target) -> str | None:
    """Return why models with these hypers cannot have a target; None if they can."""
    highest = hypers.soap.max_angular
    needed = {"scalar": 0, "vector": 1, "matrix": 2}.get(target.type, 0)
    for degree, parity in target.irreps:
        needed = max(needed, degree)
        if parity < 0:
            return "soap_bpnn has no pseudotensors (o3_sigma: -1)"
    if needed > highest:
        return f"it needs max_angular: {needed} at least, and it is {highest}"
    return None
