"""Compiled operators for training on CPUs, with two derivatives each; the same functions as torch's.

A loss of forces differentiates a gradient. torch makes a dozen small operations of each derivative of a
normalization or an attention; these operators make one. They are used within :func:`kernels` only: what is
evaluated, exported and verified consists of torch's own operators.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import torch

from mtt.compiled import installed_file

# Outside of the functions below: TorchScript takes the words "type: ignore" at their beginning for types.
is_scripting = torch.jit.is_scripting  # type: ignore[attr-defined]
_in_use: contextvars.ContextVar[bool] = contextvars.ContextVar("kernels in use", default=False)


@functools.cache
def missing() -> str | None:
    """Load the operators, once, and return why they cannot be loaded, or None if they can."""
    try:
        torch.ops.load_library(str(installed_file("lib", "libmtt_training.so")))
    except (OSError, RuntimeError) as error:
        return str(error)
    return None


@contextlib.contextmanager
def kernels(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Use the operators, if they are there, in networks of this device and dtype; not in other threads."""
    usable = device.type == "cpu" and dtype in (torch.float32, torch.float64) and missing() is None
    token = _in_use.set(usable)
    try:
        yield
    finally:
        _in_use.reset(token)


@contextlib.contextmanager
def pooled_memory(device: torch.device) -> Iterator[None]:
    """Keep the memory of freed tensors for the next ones, in huge pages, for all of the process.

    Tensors on CPUs, on Linux, and only if there are compiled operators; elsewhere it does nothing.
    """
    if device.type != "cpu" or missing() is not None:
        yield
        return
    torch.ops.mtt_training.use_pool(True)
    try:
        yield
    finally:
        torch.ops.mtt_training.use_pool(False)


def why_not(core: torch.nn.Module, device: torch.device) -> str | None:
    """Return why a network that has operators on this device is trained without them, or None."""
    has_some = any(isinstance(module, SiLU | RMSNorm | LayerNorm) for module in core.modules())
    return missing() if has_some and device.type == "cpu" else None


def in_use() -> bool:
    """Return whether networks are to call the operators."""
    return _in_use.get()


def silu(x: torch.Tensor) -> torch.Tensor:
    """Return x sigmoid(x)."""
    if not is_scripting():  # noqa: SIM102 - TorchScript
        if in_use():
            return torch.ops.mtt_training.silu(x)
    return torch.nn.functional.silu(x)


def glu(x: torch.Tensor) -> torch.Tensor:
    """Return a sigmoid(b) of the halves (a, b) of the last dimension."""
    if not is_scripting():  # noqa: SIM102 - TorchScript
        if in_use():
            return torch.ops.mtt_training.glu(x)
    return torch.nn.functional.glu(x)


class SiLU(torch.nn.Module):
    """:func:`silu` as a module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return silu(x)


class Linear(torch.nn.Linear):
    """x w^T + b, with a bias."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not is_scripting():  # noqa: SIM102 - TorchScript
            if in_use():
                return torch.ops.mtt_training.linear(x, self.weight, self.bias)
        return torch.nn.functional.linear(x, self.weight, self.bias)


class RMSNorm(torch.nn.RMSNorm):
    """Divides rows by the root of their mean square."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not is_scripting():  # noqa: SIM102 - TorchScript
            if in_use():
                return torch.ops.mtt_training.rms_norm(x, self.weight, self.eps)
        return torch.nn.functional.rms_norm(x, self.normalized_shape, self.weight, self.eps)


class LayerNorm(torch.nn.LayerNorm):
    """Subtracts the mean of rows and divides them by their standard deviation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not is_scripting():  # noqa: SIM102 - TorchScript
            if in_use():
                return torch.ops.mtt_training.layer_norm(x, self.weight, self.bias, self.eps)
        return torch.nn.functional.layer_norm(
            x, self.normalized_shape, self.weight, self.bias, self.eps
        )
