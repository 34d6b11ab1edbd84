"""Functions of distances that several architectures use."""

import math

import torch


def cutoff_bump(distances: torch.Tensor, cutoff: float, width: float) -> torch.Tensor:
    """Return (1 + tanh(cot(pi x))) / 2: smooth, from 1 at ``cutoff - width`` to 0 at ``cutoff``."""
    x = ((distances - (cutoff - width)) / width).clamp(1e-6, 1.0 - 1e-6)
    return 0.5 * (1.0 + torch.tanh(1.0 / torch.tan(math.pi * x)))


def cutoff_polynomial(distances: torch.Tensor, cutoff: float, width: float) -> torch.Tensor:
    """Return 1 - 10 x^3 + 15 x^4 - 6 x^5, twice differentiable, over the same range."""
    x = ((distances - (cutoff - width)) / width).clamp(0.0, 1.0)
    return 1.0 - x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


def radial_functions(distances: torch.Tensor, number: int, cutoff: float) -> torch.Tensor:
    """Spherical Bessel functions [E, number] of distances [E]: sqrt(2 / cutoff) sin(n pi r / cutoff) / r.

    Source: Gasteiger, Gross and Guennemann, "Directional message passing for molecular graphs", ICLR
    2020, arXiv:2003.03123, with n = 1 ... number.
    """
    orders = torch.arange(1, number + 1, dtype=distances.dtype, device=distances.device)
    angles = distances[:, None] * (math.pi / cutoff) * orders
    return math.sqrt(2.0 / cutoff) * torch.sin(angles) / distances[:, None]
