"""From raw values of atoms to those of a target: a scale, and a baseline for each atomic type."""

import torch


class Baseline(torch.nn.Module):
    """``scale * raw + composition[type]``, summed in float64 whatever the precision of the model.

    Offsets of -1e5 eV per atom then cost no more than one rounding, at the very end.

    - ``composition`` [n_types, P] float64: the part of an atom of each type, in the target's unit;
    - ``scale`` [] float64, in the target's unit.
    """

    composition: torch.Tensor
    scale: torch.Tensor

    def __init__(self, n_types: int, properties: int) -> None:
        super().__init__()
        zeros = torch.zeros((n_types, properties), dtype=torch.float64)
        self.register_buffer("composition", zeros)
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, raw: torch.Tensor, species: torch.Tensor) -> torch.Tensor:
        """Return values [N, P] float64 of raw values [N, P] and indices of types [N]."""
        return raw.to(torch.float64) * self.scale + self.composition.index_select(0, species)
