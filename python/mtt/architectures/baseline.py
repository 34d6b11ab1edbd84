"""From raw values of atoms to those of a target: a scale, and a baseline for each atomic type."""

import torch


class Baseline(torch.nn.Module):
    """``scale * raw + composition[type]``, summed in float64 whatever the precision of the model.

    Offsets of -1e5 eV per atom then cost no more than one rounding, at the very end.

    - ``composition`` [n_types, P] float64: the part of an atom of each type, in the target's unit,
      zero for numbers that turn with the structure;
    - ``scale`` [] float64, in the target's unit.

    :param numbers: P, of a row of values
    :param symmetric: make matrices symmetric, which a stress is, and raw values are about
    """

    composition: torch.Tensor
    scale: torch.Tensor

    def __init__(self, n_types: int, numbers: int, symmetric: bool = False) -> None:
        super().__init__()
        self.symmetric = symmetric
        zeros = torch.zeros((n_types, numbers), dtype=torch.float64)
        self.register_buffer("composition", zeros)
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, raw: torch.Tensor, species: torch.Tensor) -> torch.Tensor:
        """Return values [N, P] float64 of raw values [N, P] and indices of types [N]."""
        raw = raw.to(torch.float64)
        if self.symmetric:
            matrices = raw.reshape(raw.shape[0], 3, 3, raw.shape[1] // 9)
            raw = (0.5 * (matrices + matrices.transpose(1, 2))).reshape(raw.shape)
        return raw * self.scale + self.composition.index_select(0, species)
