"""The device that training and evaluation compute on."""

import re

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
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
        raise UserError(
            f"there is no device {name!r}", hint="the devices are auto, cpu, cuda and cuda:N"
        )
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"the device '{name}' was asked for, and torch sees {torch.cuda.device_count()} here",
            hint="they count from 0, as in device: cuda:0",
        )
    return device
