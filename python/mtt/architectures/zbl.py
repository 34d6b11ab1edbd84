"""The repulsion of nuclei that come closer than any training data: a fixed part of every energy.

The universal potential of J. F. Ziegler, J. P. Biersack and U. Littmark, "The Stopping and Range of
Ions in Matter", Pergamon (1985), for nuclei Z_i and Z_j at a distance r:

    E(r) = e^2 / (4 pi eps_0) Z_i Z_j / r phi(r / a),      a = 0.46850 A / (Z_i^0.23 + Z_j^0.23)
    phi(x) = 0.18175 e^(-3.19980 x) + 0.50986 e^(-0.94229 x) + 0.28022 e^(-0.40290 x) + 0.02817 e^(-0.20162 x)

A polynomial ``A/3 r^3 + B/4 r^4 + C`` is added that takes E and its first two derivatives to zero where
covalent bonds begin, at the sum of the two covalent radii: LAMMPS' ``pair_style zbl`` with an inner cutoff
of zero, as in metatrain. Pairs whose radii add up to more than the cutoff of the model end there.

Half of each pair belongs to each of its atoms, so every edge gives half of E to its center.
"""

from collections.abc import Mapping, Sequence
from typing import Final, List

import torch

from mtt.architectures.evaluate import Values, edge_derivatives, summed
from mtt.data.dataset import named
from mtt.data.graph import Graph
from mtt.data.same_units import in_angstrom, in_ev
from mtt.data.target import Target
from mtt.errors import UserError

OPTION: Final = "architecture.model.zbl"
# e^2 / (4 pi eps_0), in eV * angstrom.
_COULOMB: Final = 14.399645478425668
_LENGTH, _POWER = 0.46850, 0.23
_WEIGHTS: Final = (0.02817, 0.28022, 0.50986, 0.18175)
_DECAYS: Final = (0.20162, 0.40290, 0.94229, 3.19980)
# In angstrom. Nearer atoms have the energy of this distance: none is infinite, and no force is NaN.
_NEAREST: Final = 1e-3
# Covalent radii of H to Cm in angstrom, by B. Cordero et al., Dalton Trans. 2008, 2832. Here and not
# taken from a library, so that models stay what they are whatever that one changes.
_RADII: Final = (
    "0.31 0.28 1.28 0.96 0.84 0.76 0.71 0.66 0.57 0.58 1.66 1.41 1.21 1.11 1.07 1.05 1.02 1.06 2.03 "
    "1.76 1.70 1.60 1.53 1.39 1.39 1.32 1.26 1.24 1.32 1.22 1.22 1.20 1.19 1.20 1.20 1.16 2.20 1.95 "
    "1.90 1.75 1.64 1.54 1.47 1.46 1.42 1.39 1.45 1.44 1.42 1.39 1.39 1.38 1.39 1.40 2.44 2.15 2.07 "
    "2.04 2.03 2.01 1.99 1.98 1.98 1.96 1.94 1.92 1.92 1.89 1.90 1.87 1.87 1.75 1.70 1.62 1.51 1.44 "
    "1.41 1.36 1.36 1.32 1.45 1.46 1.48 1.40 1.50 1.50 2.60 2.21 2.15 2.06 2.00 1.96 1.90 1.87 1.80 "
    "1.69"
)
COVALENT_RADII: Final = tuple(map(float, _RADII.split()))


class Repulsion(torch.nn.Module):
    """The ZBL energy of each atom, TorchScript-able, in float64 whatever the precision of the model.

    :param atomic_types: sorted atomic types of the model
    :param targets: of the model; ``factors`` has for each of them one eV in its unit, 0 if it is no energy
    :param length_unit: of positions
    :param cutoff: of the neighbor lists that the model gets, in this unit
    :raises UserError: no target is an energy, a unit is not known, an atomic type has no covalent radius
    """

    pairs: torch.Tensor
    shape: torch.Tensor

    def __init__(
        self,
        atomic_types: Sequence[int],
        targets: Sequence[Target],
        length_unit: str,
        cutoff: float,
    ) -> None:
        super().__init__()
        angstrom = in_angstrom(length_unit)
        if angstrom is None:
            raise _refused(f"the length unit '{length_unit}' is not known", "state length_unit")
        unknown = [kind for kind in atomic_types if not 0 < kind <= len(COVALENT_RADII)]
        if unknown:
            raise _refused(
                f"there is no covalent radius of atomic type {', '.join(map(named, unknown))}",
                "leave zbl out: it is for the elements from H to Cm",
            )
        self.factors: List[float] = [_factor(target) for target in targets]
        if not any(self.factors):
            raise _refused("no target of the model is an energy per system", "leave zbl out")
        self.angstrom = angstrom
        self.least_square = _NEAREST * _NEAREST
        self.n_types = len(atomic_types)
        numbers = torch.tensor(list(atomic_types), dtype=torch.float64)
        radii = [COVALENT_RADII[kind - 1] for kind in atomic_types]
        radius = torch.tensor(radii, dtype=torch.float64)
        reach = (radius[:, None] + radius).clamp(max=cutoff * angstrom)
        # In the length unit: no pair reaches farther.
        self.cutoff = min(cutoff, 2.0 * max(radii) / angstrom)
        charges = _COULOMB * numbers[:, None] * numbers
        powers = numbers**_POWER
        rates = (powers[:, None] + powers) / _LENGTH
        shape = torch.tensor([_WEIGHTS, _DECAYS], dtype=torch.float64)
        pairs = torch.stack([reach, charges, rates, *_switch(reach, charges, rates, shape)])
        # All follows from the atomic types, so it has no place in a checkpoint.
        self.register_buffer("pairs", pairs.reshape(6, -1), persistent=False)
        self.register_buffer("shape", shape, persistent=False)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Return the energy of each atom in eV, [N, 1] float64."""
        squares = (graph.vectors.to(torch.float64) * self.angstrom).square().sum(dim=1)
        first = graph.species.index_select(0, graph.centers)
        pair = first * self.n_types + graph.species.index_select(0, graph.neighbors)
        reach = self.pairs[0].index_select(0, pair)
        near = torch.nonzero(squares < reach * reach).reshape(-1)
        table = self.pairs.index_select(1, pair.index_select(0, near))
        r = squares.index_select(0, near).clamp(min=self.least_square).sqrt()
        decays = torch.exp(-self.shape[1][:, None] * (table[2] * r))
        screening = (self.shape[0][:, None] * decays).sum(dim=0)
        energies = table[1] / r * screening + r * r * r * (table[3] + table[4] * r) + table[5]
        atoms = energies.new_zeros(graph.species.shape[0])
        atoms = atoms.index_add(0, graph.centers.index_select(0, near), 0.5 * energies)
        return atoms.reshape(-1, 1)

    def added_to(
        self, values: Mapping[str, Values], names: Sequence[str], graph: Graph, derivatives: bool
    ) -> dict[str, Values]:
        """Return those of ``values`` that are energies, with their repulsion.

        :param names: of all targets of the model, in its order
        :param derivatives: whether values have forces and strain derivatives
        """
        repulsion = self.values(graph, derivatives)
        return {
            name: Values(
                values[name].atoms + factor * repulsion.atoms,
                *(
                    None if own is None or part is None else own + factor * part
                    for own, part in zip(values[name][1:], repulsion[1:], strict=True)
                ),
            )
            for name, factor in zip(names, self.factors, strict=True)
            if factor and name in values
        }

    def values(self, graph: Graph, derivatives: bool) -> Values:
        """Return energies, forces and strain derivatives in eV, float64.

        :param derivatives: whether to give forces and strain derivatives
        """
        vectors = graph.vectors.detach().to(torch.float64).requires_grad_(derivatives)
        graph = graph._replace(vectors=vectors)
        atoms = self.forward(graph)
        forces = strain = None
        if derivatives:
            forces, strain = edge_derivatives(atoms, graph, create_graph=False, retain_graph=False)
        atoms = atoms.detach()
        return Values(atoms, summed(atoms, graph), forces, strain)


def _switch(
    reach: torch.Tensor, charges: torch.Tensor, rates: torch.Tensor, shape: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return A/3, B/4 and C of the polynomial that ends the energy at ``reach``."""
    decays = shape[1][:, None, None] * rates
    terms = shape[0][:, None, None] * torch.exp(-decays * reach)
    phi, slope, bend = terms.sum(0), -(decays * terms).sum(0), (decays**2 * terms).sum(0)
    energy = charges / reach * phi
    first = charges / reach * (slope - phi / reach)
    second = charges / reach * (bend - 2.0 * slope / reach + 2.0 * phi / reach**2)
    cubic = (-3.0 * first + reach * second) / reach**2
    quartic = (2.0 * first - reach * second) / reach**3
    constant = -energy + reach * first / 2.0 - reach**2 * second / 12.0
    return cubic / 3.0, quartic / 4.0, constant


def _factor(target: Target) -> float:
    """Return one eV in the unit of an energy, 0 for other targets."""
    if not target.is_energy:
        return 0.0
    unit = in_ev(target.unit)
    if unit is None:
        what = f"the unit of '{target.name}', '{target.unit}', is not known"
        raise _refused(what, "state the unit of the target, such as eV")
    return 1.0 / unit


def _refused(reason: str, hint: str) -> UserError:
    return UserError(f"the ZBL repulsion cannot be added: {reason}", where=OPTION, hint=hint)
