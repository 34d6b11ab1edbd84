"""What atoms feel of each other at any distance: the potential of charges that are learned.

Features of atoms become charges q, which are spread over Gaussians of width s. The potential of the
others at atom i, in the units of charge over length,

    phi_i = sum_j q_j u(r_ij),      u(r) = erf(r / (sqrt(2) s)) / r,

becomes features again. Near atoms feel little of it: u is flat there. The sum goes over all pairs of a
molecule. In a periodic structure it goes over all images as well, which is a sum over waves (P. P. Ewald,
Ann. Phys. 369, 253 (1921)), without the wave of infinite length: the charges lie in a uniform background
that makes them neutral.

    phi_i = 1 / V sum_(k != 0) w(k) sum_j q_j cos(k (x_i - x_j)) - q_i u(0),
    w(k) = 4 pi / k^2 exp(-s^2 k^2 / 2)

takes all of u that matters, since w falls off fast. It is taken to zero, twice differentiable, where k
reaches 2 pi over the shortest wave, and depends on k alone: the potential is the same in every supercell,
and smooth when the cell changes.

In a slab, periodic along two axes, u is cut off along the third one at a height h, and boxes are 2 h high:
images of the slab along that axis then see nothing of each other, and atoms of one slab all of it
(T. Sohier, M. Calandra and F. Mauri, Phys. Rev. B 96, 075448 (2017)):

    w(k) -> w(k) (1 - exp(-k_p h) cos(k_z h)),      w(0) -> -2 pi h^2,

with k_p the part of k in the plane. What is left out at k = 0 is the potential of the sheet at itself.

In a wire of period L the waves run along it, and u(r) = 2 / sqrt(pi) int_0^b exp(-r^2 t^2) dt, with
b = 1 / (sqrt(2) s), gives what each of them does at the distance p from it:

    phi_i = 2 / L sum_j q_j (I_0(p) + 2 sum_(k > 0) I_k(p) cos(k z)) - q_i u(0),
    I_k(p) = int_0^b exp(-p^2 t^2 - k^2 / (4 t^2)) dt / t,

without the part of I_0 that does not depend on p. The integral is done by a fixed quadrature in log t.
"""

import math
from typing import List

import numpy as np
import torch

from mtt.architectures.radial import cutoff_polynomial
from mtt.data.graph import Graph
from mtt.options.schema.long_range import LongRangeOptions

# Part of the waves, the shortest ones, over which their weight is taken to zero.
_SHELL = 0.2
# In widths of a Gaussian, between a slab and where it is cut off: less than 1e-10 is lost.
_TAIL = 6.5
# Nodes of the integral over log t, and how far below log b it goes: 1e-8 is lost, up to 300 widths away.
_NODES, _DEPTH = 96, 18.0


def falling(exponents: torch.Tensor) -> torch.Tensor:
    """Return exp(x), and 1e-35 for all x below -80, which adds nothing to any sum.

    Far below, vectorized exponentials raise the flag of an overflow, on which some engines end.
    """
    return torch.exp(exponents.clamp(min=-80.0))


class LongRange(torch.nn.Module):
    """Features of atoms from the potential of the charges of all others, TorchScript-able.

    :param size: number of features of an atom, in and out
    """

    nodes: torch.Tensor

    def __init__(self, options: LongRangeOptions, size: int) -> None:
        super().__init__()
        self.smearing = float(options.smearing)
        self.largest = 2.0 * math.pi / float(options.kspace_resolution)
        # u(0)
        self.itself = math.sqrt(2.0 / math.pi) / self.smearing
        self.shell = _SHELL * self.largest
        self.tail = _TAIL * self.smearing
        places, parts = np.polynomial.legendre.leggauss(_NODES)
        rates = np.exp(-_DEPTH * (1.0 + places)) / (2.0 * self.smearing**2)
        # t^2 and its weights in the integral over log t.
        nodes = torch.tensor(np.stack([rates, 0.5 * _DEPTH * parts]), dtype=torch.float64)
        self.register_buffer("nodes", nodes, persistent=False)
        self.charges = torch.nn.Linear(size, options.num_charges)
        self.out = torch.nn.Sequential(
            torch.nn.Linear(options.num_charges, size),
            torch.nn.SiLU(),
            torch.nn.Linear(size, size),
        )

    def forward(self, features: torch.Tensor, graph: Graph) -> torch.Tensor:
        """Return what features [N, size] get added."""
        return self.out(self.potentials(self.charges(features), graph))

    def potentials(self, charges: torch.Tensor, graph: Graph) -> torch.Tensor:
        """Return the potential [N, Q] of charges [N, Q] at each atom."""
        cells = graph.cells.detach().to(torch.device("cpu"), torch.float64)
        counts = torch.bincount(graph.system, minlength=graph.n_systems).cpu()
        parts: List[torch.Tensor] = [charges[:0]]
        start = 0
        for index in range(graph.n_systems):
            count = int(counts[index])
            own = charges[start : start + count]
            positions = graph.positions[start : start + count]
            start += count
            if count == 0:
                continue
            lengths = torch.sqrt((cells[index] * cells[index]).sum(dim=1))
            periodic = torch.nonzero(lengths)[:, 0]
            if periodic.shape[0] == 0:
                parts.append(self.of_pairs(own, positions))
            elif periodic.shape[0] == 3:
                cell = graph.cells[index]
                parts.append(self.of_waves(own, positions, cell, self.waves(lengths), 0.0))
            elif periodic.shape[0] == 2:
                first, second = int(periodic[0]), int(periodic[1])
                a, b = graph.cells[index][first], graph.cells[index][second]
                normal = torch.linalg.cross(a, b)
                normal = normal / torch.sqrt((normal * normal).sum())
                along = (positions @ normal).detach()
                height = float(along.max() - along.min()) + self.tail
                lengths = torch.stack(
                    [lengths[first], lengths[second], torch.full_like(lengths[0], 2.0 * height)]
                )
                cell = torch.stack([a, b, 2.0 * height * normal])
                parts.append(self.of_waves(own, positions, cell, self.waves(lengths), height))
            else:
                parts.append(self.of_wire(own, positions, graph.cells[index][int(periodic[0])]))
        return torch.cat(parts)

    def of_pairs(self, charges: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return the potential [N, Q] in a molecule: a sum over all pairs."""
        separations = positions[:, None, :] - positions[None, :, :]
        own = torch.eye(positions.shape[0], dtype=positions.dtype, device=positions.device)
        # The tiny constant keeps derivatives finite for coinciding atoms.
        distances = torch.sqrt((separations * separations).sum(dim=2) + own + 1e-12)
        rises = torch.erf(distances * (math.sqrt(0.5) / self.smearing))
        return (rises / distances * (1.0 - own)) @ charges

    def of_wire(
        self, charges: torch.Tensor, positions: torch.Tensor, axis: torch.Tensor
    ) -> torch.Tensor:
        """Return the potential [N, Q] in a structure that is periodic along one axis [3]."""
        length = torch.sqrt((axis * axis).sum())
        direction = axis / length
        separations = positions[:, None, :] - positions[None, :, :]
        along = separations @ direction
        across = separations - along[:, :, None] * direction
        squares = (across * across).sum(dim=2)
        count = int(torch.floor(length.detach() * self.largest / (2.0 * math.pi)))
        numbers = torch.arange(1, count + 1, dtype=axis.dtype, device=axis.device)
        waves = 2.0 * math.pi / length * numbers
        ends = 2.0 * cutoff_polynomial(waves, self.largest, self.shell)
        rates, weights = self.nodes[0], self.nodes[1]
        gaussians = falling(-squares[:, :, None] * rates)
        spectra = weights[:, None] * falling(-waves * waves / (4.0 * rates[:, None]))
        parts = (gaussians @ spectra) * torch.cos(along[:, :, None] * waves)
        sums = (gaussians - 1.0) @ weights + parts @ ends
        return 2.0 / length * (sums @ charges) - self.itself * charges

    def waves(self, lengths: torch.Tensor) -> torch.Tensor:
        """Return whole numbers [K, 3] that make, with reciprocal vectors, half of the waves and more.

        :param lengths: [3] float64, of the lattice vectors
        """
        extents = torch.floor(lengths * (self.largest / (2.0 * math.pi))).to(torch.int64)
        first, second, third = int(extents[0]), int(extents[1]), int(extents[2])
        many, several = 2 * second + 1, 2 * third + 1
        number = torch.arange((2 * first + 1) * many * several)
        rows = torch.div(number, several, rounding_mode="floor")
        numbers = torch.stack(
            [
                torch.div(rows, many, rounding_mode="floor") - first,
                torch.remainder(rows, many) - second,
                torch.remainder(number, several) - third,
            ],
            dim=1,
        )
        # Each wave of the other half is one of these backwards.
        return numbers[numbers.shape[0] // 2 + 1 :]

    def of_waves(
        self,
        charges: torch.Tensor,
        positions: torch.Tensor,
        cell: torch.Tensor,
        numbers: torch.Tensor,
        height: float,
    ) -> torch.Tensor:
        """Return the potential [N, Q] in a periodic structure.

        :param numbers: see :meth:`waves`
        :param height: where the potential of a slab is cut off, half the last axis; 0 if there is none
        """
        crosses = torch.stack(
            [
                torch.linalg.cross(cell[1], cell[2]),
                torch.linalg.cross(cell[2], cell[0]),
                torch.linalg.cross(cell[0], cell[1]),
            ]
        )
        volume = (cell[0] * crosses[0]).sum()
        reciprocal = crosses / volume
        numbers = numbers.to(cell.device)
        chosen = numbers.to(cell.dtype) @ reciprocal.detach() * (2.0 * math.pi)
        inside = (chosen * chosen).sum(dim=1) < self.largest * self.largest
        numbers = numbers.index_select(0, torch.nonzero(inside)[:, 0]).to(cell.dtype)
        waves = 2.0 * math.pi * (numbers @ reciprocal)
        squares = (waves * waves).sum(dim=1)
        weights = falling(-0.5 * self.smearing * self.smearing * squares) / squares
        end = cutoff_polynomial(torch.sqrt(squares), self.largest, self.shell)
        # Twice, as only one of k and -k is there.
        weights = 8.0 * math.pi / volume.abs() * weights * end
        fractions = positions @ reciprocal.t()
        # Small numbers, so that float32 holds the phases well.
        fractions = fractions - torch.floor(fractions).detach()
        phases = 2.0 * math.pi * (fractions @ numbers.t())
        cosines, sines = torch.cos(phases), torch.sin(phases)
        background = charges.new_zeros(charges.shape[1])
        if height > 0.0:
            flat = 2.0 * math.pi * (numbers[:, :2] @ reciprocal[:2])
            flat_squares = (flat * flat).sum(dim=1)
            upright = (flat_squares == 0.0).to(cell.dtype)
            decay = falling(-height * torch.sqrt(flat_squares + upright))
            decay = decay * (1.0 - upright) + upright
            signs = 1.0 - 2.0 * torch.remainder(numbers[:, 2], 2.0)
            weights = weights * (1.0 - decay * signs)
            background = -2.0 * math.pi * height * height / volume.abs() * charges.sum(dim=0)
        sums = cosines @ (weights[:, None] * (cosines.t() @ charges))
        sums = sums + sines @ (weights[:, None] * (sines.t() @ charges))
        return sums + background - self.itself * charges


def long_range_parts(options: LongRangeOptions | None, size: int) -> torch.nn.ModuleList:
    """Return the part of a core that makes atoms feel each other at any distance; an empty list if off."""
    return torch.nn.ModuleList([] if options is None else [LongRange(options, size)])
