"""The device that training and evaluation compute on."""

import os
import re

import torch

from mtt.errors import UserError

# cuBLAS gives the same bits each time if its workspace has a fixed size. torch looks at this variable
# once, at the first product of matrices on a GPU, and warns if it is not set where kernels are to be
# deterministic.
_CUBLAS, _FIXED = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is cuda where there is one, otherwise the CPU.

    On a GPU, cuBLAS is told to give the same bits each time, unless the environment says otherwise.

    :raises UserError: it is not there, or cannot compute what mtt does
    """
    device = _device(name)
    if device.type == "cuda":
        os.environ.setdefault(_CUBLAS, _FIXED)
    return device


def _device(name: str) -> torch.device:
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
