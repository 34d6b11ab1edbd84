"""Neighbor densities in spherical harmonics and radial functions, by torch operations alone.

Everything is a polynomial of mapped edge vectors times a cutoff function of the squared distance. There
is no square root of a distance and no division by one, so all derivatives exist for coinciding atoms, too.

Constants are computed in the precision of the vectors each time: as buffers they would stay rounded when a
model in 32 bits runs in 64 bits, and as lists of numbers TorchScript rounds them to 32 bits always.
"""

import math
from typing import List

import torch


def cutoff_function(squared: torch.Tensor, cutoff: float, width: float) -> torch.Tensor:
    """Return 1 - 10 x^3 + 15 x^4 - 6 x^5: from 1 at ``cutoff - width`` to 0, twice differentiable.

    :param squared: squared distances, in which x is linear
    """
    inner = (cutoff - width) * (cutoff - width)
    x = ((squared - inner) / (cutoff * cutoff - inner)).clamp(0.0, 1.0)
    return 1.0 - x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


def mapped(
    vectors: torch.Tensor, squared: torch.Tensor, cutoff: float, near: float
) -> torch.Tensor:
    """Return vectors [..., 3] mapped to the unit ball, with more of its radius for near distances.

    A length r becomes r sqrt((c^2 + a^2) / (r^2 + a^2)) / c, with the cutoff c and ``near`` a.
    """
    shift = near * near
    factor = torch.sqrt((cutoff * cutoff + shift) / (squared + shift)) / cutoff
    return vectors * factor.unsqueeze(-1)


def solid_harmonics(vectors: torch.Tensor, max_angular: int) -> List[torch.Tensor]:
    """Return real solid harmonics r^l Y_lm of vectors [..., 3]: a tensor [..., 2 l + 1] for each l.

    With (x + i y)^m = A_m + i B_m they are Q_lm(z, r^2) times A_m for m >= 0 and B_|m| for m < 0, in the
    order of B_1 ... B_l, A_0 ... A_l. By the recurrence of normalized associated Legendre functions,
    Q_lm = F_lm (z Q_(l-1)m - r^2 Q_(l-2)m / F_(l-1)m) with F_lm = sqrt((4 l^2 - 1) / (l^2 - m^2)).
    """
    x, y, z = vectors[..., 0:1], vectors[..., 1:2], vectors[..., 2:3]
    squared = (vectors * vectors).sum(dim=-1, keepdim=True)
    one = torch.ones_like(x)
    # Columns m = 0 ... l, and m = 1 ... l
    cosines, sines = one, torch.zeros_like(vectors[..., :0])
    a, b = one, torch.zeros_like(x)
    diagonal = math.sqrt(0.25 / math.pi)
    before, last = one, one * diagonal
    harmonics = [last]
    for degree in range(1, max_angular + 1):
        a, b = x * a - y * b, x * b + y * a
        cosines, sines = torch.cat([cosines, a], dim=-1), torch.cat([sines, b], dim=-1)
        square, below = float(degree * degree), float((degree - 1) * (degree - 1))
        orders = torch.arange(degree, dtype=vectors.dtype, device=vectors.device)
        row = z * last
        if degree > 1:
            short = orders[: degree - 1]
            factors = torch.sqrt((below - short * short) / (4.0 * below - 1.0))
            ahead = row[..., : degree - 1] - squared * before * factors
            row = torch.cat([ahead, row[..., degree - 1 :]], dim=-1)
        row = row * torch.sqrt((4.0 * square - 1.0) / (square - orders * orders))
        # The first step is by sqrt(2) larger, which holds for all m > 0 then.
        diagonal *= math.sqrt((2.0 * degree + 1.0) / (1.0 if degree == 1 else 2.0 * degree))
        before, last = last, torch.cat([row, one * diagonal], dim=-1)
        harmonics.append(torch.cat([last[..., 1:] * sines, last * cosines], dim=-1))
    return harmonics


def radial_functions(squared: torch.Tensor, max_radial: int, max_angular: int) -> torch.Tensor:
    """Return radial parts [..., l, n] of the Zernike polynomials of the unit ball, without r^l.

    With r^l they are sqrt(4 n + 2 l + 3) r^l P_n(2 r^2 - 1), with the Jacobi polynomials P_n of parameters
    0 and l + 1/2: orthonormal within the ball for each l.

    Source: Canterakis, "3D Zernike moments and Zernike affine invariants for 3D image analysis and
    recognition", SCIA 1999.

    :param squared: squared lengths r^2 [...]
    """
    degrees = torch.arange(max_angular + 1, dtype=squared.dtype, device=squared.device)
    beta = degrees + 0.5
    x = (2.0 * squared - 1.0).unsqueeze(-1)
    last = torch.ones_like(x).repeat_interleave(max_angular + 1, dim=-1)
    before = torch.zeros_like(last)
    rows: List[torch.Tensor] = []
    for number in range(max_radial + 1):
        n = float(number)
        rows.append(last * torch.sqrt(4.0 * n + 2.0 * degrees + 3.0))
        total = 2.0 * n + beta
        if number == 0:
            last, before = 0.5 * ((beta + 2.0) * x - beta), last
        else:
            below = 2.0 * (n + 1.0) * (n + beta + 1.0) * total
            slope = (total + 1.0) * (total + 2.0) * total / below
            shift = (total + 1.0) * beta * beta / below
            back = 2.0 * n * (n + beta) * (total + 2.0) / below
            last, before = (x * slope - shift) * last - back * before, last
    return torch.stack(rows, dim=-1)
