"""Models that depend on the total charge and the spin multiplicity of a structure.

:class:`Conditioning` is the part of a network that does, :class:`States` what the model knows of them. A
neutral singlet, charge 0 and multiplicity 1, is what every structure is of which nothing else is said: to
it, a network with conditioning is bit for bit the network without.
"""

from collections.abc import Iterable
from typing import List

import torch

from mtt.data.graph import Graph


class Conditioning(torch.nn.Module):
    """Features of atoms that say in which charge and spin state their structure is.

    Both are looked up in tables, and a small network mixes them; what it gives for a neutral singlet is
    taken off. The last layer begins with zeros, so that training begins with the network without
    conditioning, and the branch opens as fast as the data ask for it.

    :param max_charge: charges are from minus this to this
    :param max_spin_multiplicity: multiplicities are from 1 to this
    :param width: of the tables and the hidden layer
    :param n_out: number of features
    """

    def __init__(self, max_charge: int, max_spin_multiplicity: int, width: int, n_out: int) -> None:
        super().__init__()
        self.max_charge = max_charge
        self.charge = torch.nn.Embedding(2 * max_charge + 1, width)
        self.spin_multiplicity = torch.nn.Embedding(max_spin_multiplicity, width)
        self.hidden = torch.nn.Linear(2 * width, width)
        self.out = torch.nn.Linear(width, n_out, bias=False)
        torch.nn.init.zeros_(self.out.weight)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Return the features [N, n_out] to add to those of the atoms; zero of neutral singlets."""
        weight = self.out.weight
        states = graph.states
        if states is None:
            return weight.new_zeros((graph.system.shape[0], weight.shape[0]))
        # The neutral singlet is the last row, so that both sides of the difference are made alike.
        singlet = torch.tensor([[0, 1]], dtype=torch.int64, device=states.device)
        states = torch.cat([states, singlet])
        charges, spins = states[:, 0], states[:, 1]
        rows = torch.cat(
            [self.charge(charges + self.max_charge), self.spin_multiplicity(spins - 1)], dim=1
        )
        hidden = torch.nn.functional.silu(self.hidden(rows))
        # Rounding depends on the row, and zero must be zero.
        other = ((charges != 0) | (spins != 1)).to(hidden.dtype)
        difference = (hidden - hidden[-1:]) * other[:, None]
        return self.out(difference).index_select(0, graph.system)


class States(torch.nn.Module):
    """What charges and spin multiplicities the model has been trained with.

    ``charges`` and ``spin_multiplicities`` say it, counted from the lowest. The neutral singlet is always
    among them, as it is what engines without these inputs calculate.
    """

    charges: torch.Tensor
    spin_multiplicities: torch.Tensor

    def __init__(self, max_charge: int, max_spin_multiplicity: int) -> None:
        super().__init__()
        self.max_charge = max_charge
        self.max_spin_multiplicity = max_spin_multiplicity
        # Not bool, which some formats of weights do not know.
        self.register_buffer("charges", torch.zeros(2 * max_charge + 1, dtype=torch.uint8))
        self.register_buffer(
            "spin_multiplicities", torch.zeros(max_spin_multiplicity, dtype=torch.uint8)
        )
        self.learn([(0, 1)])

    @torch.jit.unused
    def learn(self, states: Iterable[tuple[int, int]]) -> None:
        """Note that the model is trained with these pairs of charge and multiplicity."""
        for charge, spin_multiplicity in states:
            self.charges[charge + self.max_charge] = 1
            self.spin_multiplicities[spin_multiplicity - 1] = 1

    @torch.jit.unused
    def fits(self, state: tuple[int, int]) -> bool:
        """Return whether there are weights for this charge and multiplicity."""
        charge, spin_multiplicity = state
        return (
            abs(charge) <= self.max_charge and 1 <= spin_multiplicity <= self.max_spin_multiplicity
        )

    @torch.jit.unused
    def known(self) -> tuple[list[int], list[int]]:
        """Return the charges and the multiplicities that the model is trained with, sorted."""
        charges = torch.nonzero(self.charges)[:, 0] - self.max_charge
        return charges.tolist(), (torch.nonzero(self.spin_multiplicities)[:, 0] + 1).tolist()

    def check(self, values: torch.Tensor, what: str, known: torch.Tensor, lowest: int) -> None:
        """Refuse values that are not among the known ones, which are counted from the lowest."""
        for index in range(values.shape[0]):
            value = float(values[index])
            place = -1
            # Whatever comes in single precision: integers are exact there.
            if value == float(torch.floor(values[index])) and abs(value) < 1e6:
                place = int(value) - lowest
            if place < 0 or place >= known.shape[0] or int(known[max(place, 0)]) == 0:
                trained: List[int] = []
                for number in range(known.shape[0]):
                    if int(known[number]) == 1:
                        trained.append(number + lowest)
                raise ValueError(
                    f"the {what} {value} of system {index} is none that the model is trained with: "
                    f"{trained}"
                )
