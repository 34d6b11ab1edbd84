"""Charge and spin multiplicity as exported models read them."""

from typing import Dict, List

import torch
from metatomic.torch import ModelOutput, System

from mtt.architectures.conditioning import States


class SystemStates(States):
    """Reads charge and spin multiplicity of metatomic's systems, as engines give them.

    A system without one of them is taken for neutral, or a singlet.
    """

    @torch.jit.export
    def requested_inputs(self) -> Dict[str, ModelOutput]:
        """Return what engines are to give with each system; metatomic collects it from all modules."""
        return {
            "charge": ModelOutput(unit="e", sample_kind="system"),
            "spin_multiplicity": ModelOutput(unit="", sample_kind="system"),
        }

    def forward(self, systems: List[System]) -> torch.Tensor:
        """Return charges and multiplicities [S, 2] int64.

        :raises ValueError: a number that is no integer, or that the model is not trained with
        """
        device = systems[0].positions.device
        rows: List[torch.Tensor] = []
        for system in systems:
            names = system.known_data()
            row = torch.tensor([0.0, 1.0], dtype=torch.float64, device=device)
            if "charge" in names:
                row[0] = system.get_data("charge").block().values.to(torch.float64).sum()
            if "spin_multiplicity" in names:
                row[1] = system.get_data("spin_multiplicity").block().values.to(torch.float64).sum()
            rows.append(row)
        # One transfer from the device for all checks.
        states = torch.stack(rows).to("cpu")
        self.check(states[:, 0], "charge", self.charges.to("cpu"), -self.max_charge)
        self.check(states[:, 1], "spin multiplicity", self.spin_multiplicities.to("cpu"), 1)
        return states.to(torch.int64).to(device)
