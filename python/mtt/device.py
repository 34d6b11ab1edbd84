"""The device that training and evaluation compute on."""

import torch

from mtt.errors import UserError


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is cuda where there is one, otherwise the CPU.

    :raises UserError: it is not there, or cannot compute what mtt does
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"the device '{name}' was asked for, but torch sees no CUDA device here",
            hint="use device: auto or device: cpu",
        )
    if name == "mps":
        raise UserError(
            "the device 'mps' cannot be used: it has no float64, which energies are summed in",
            hint="use device: cpu",
        )
    return torch.device(name)
