"""Neighbor densities in spherical harmonics and radial functions, by torch operations alone.

Everything is a polynomial of mapped edge vectors times a cutoff function of the squared distance. There
is no square root of a distance and no division by one, so all derivatives exist for coinciding atoms, too.
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


class SolidHarmonics(torch.nn.Module):
    """Real solid harmonics r^l Y_lm of vectors [..., 3]: a tensor [..., 2 l + 1] for each l.

    With (x + i y)^m = A_m + i B_m they are N_lm Q_lm(z, r^2) times A_m for m >= 0 and B_|m| for m < 0.
    By the recurrence of associated Legendre functions, Q_mm = (2 m - 1)!! and
    (l - m) Q_lm = (2 l - 1) z Q_(l-1)m - (l + m - 1) r^2 Q_(l-2)m. The norm is that of the unit sphere.
    """

    # Numbers, not buffers: those of a model in 32 bits would stay rounded when it runs in 64 bits.
    first: List[List[float]]
    second: List[List[float]]
    norms: List[List[float]]

    def __init__(self, max_angular: int) -> None:
        super().__init__()
        self.max_angular = max_angular
        self.first, self.second, self.norms = [], [], []
        for degree in range(max_angular + 1):
            orders = range(degree + 1)
            self.first.append([(2 * degree - 1) / (degree - m) for m in orders[:-1]])
            self.second.append([(degree + m - 1) / (degree - m) for m in orders[:-2]])
            self.norms.append([_norm(degree, m) for m in orders])
        self.diagonal = [float(math.prod(range(2 * m - 1, 0, -2))) for m in range(max_angular + 1)]

    def forward(self, vectors: torch.Tensor) -> List[torch.Tensor]:
        dtype, device = vectors.dtype, vectors.device
        x, y, z = vectors[..., 0:1], vectors[..., 1:2], vectors[..., 2:3]
        squared = (vectors * vectors).sum(dim=-1, keepdim=True)
        one = torch.ones_like(x)
        # Columns m = 0 ... l, and m = 1 ... l
        cosines, sines = one, torch.zeros_like(vectors[..., :0])
        a, b = one, torch.zeros_like(x)
        before, last = one, one
        harmonics = [one * self.norms[0][0]]
        for degree in range(1, self.max_angular + 1):
            a, b = x * a - y * b, x * b + y * a
            cosines, sines = torch.cat([cosines, a], dim=-1), torch.cat([sines, b], dim=-1)
            row = z * last * torch.tensor(self.first[degree], dtype=dtype, device=device)
            if degree > 1:
                second = torch.tensor(self.second[degree], dtype=dtype, device=device)
                row = torch.cat(
                    [row[..., : degree - 1] - squared * before * second, row[..., degree - 1 :]],
                    dim=-1,
                )
            before, last = last, torch.cat([row, one * self.diagonal[degree]], dim=-1)
            scaled = last * torch.tensor(self.norms[degree], dtype=dtype, device=device)
            harmonics.append(torch.cat([scaled[..., 1:] * sines, scaled * cosines], dim=-1))
        return harmonics


def _norm(degree: int, order: int) -> float:
    ratio = math.factorial(degree - order) / math.factorial(degree + order)
    return math.sqrt((1 if order == 0 else 2) * (2 * degree + 1) / (4 * math.pi) * ratio)


class Radial(torch.nn.Module):
    """Radial parts of the Zernike polynomials of the unit ball, without r^l, from r^2 [...].

    With r^l they are sqrt(4 n + 2 l + 3) r^l P_n(2 r^2 - 1), with the Jacobi polynomials P_n of parameters
    0 and l + 1/2: orthonormal within the ball for each l. A tensor [..., n] for each l.

    Source: Canterakis, "3D Zernike moments and Zernike affine invariants for 3D image analysis and
    recognition", SCIA 1999.
    """

    norms: List[List[float]]
    # P_(n+1) = (slope x + shift) P_n - back P_(n-1), a row for each n, a column for each l
    slopes: List[List[float]]
    shifts: List[List[float]]
    backs: List[List[float]]

    def __init__(self, max_radial: int, max_angular: int) -> None:
        super().__init__()
        self.max_radial = max_radial
        self.size = max_angular + 1
        self.norms, self.slopes, self.shifts, self.backs = [], [], [], []
        for n in range(max_radial + 1):
            betas = [degree + 0.5 for degree in range(self.size)]
            self.norms.append([math.sqrt(4 * n + 2 * b + 2) for b in betas])
            steps = [_jacobi_step(n, b) for b in betas]
            self.slopes.append([step[0] for step in steps])
            self.shifts.append([step[1] for step in steps])
            self.backs.append([step[2] for step in steps])

    def forward(self, squared: torch.Tensor) -> torch.Tensor:
        """Return the functions [..., l, n]."""
        dtype, device = squared.dtype, squared.device
        x = (2.0 * squared - 1.0).unsqueeze(-1)
        last = torch.ones_like(x).repeat_interleave(self.size, dim=-1)
        before = torch.zeros_like(last)
        rows: List[torch.Tensor] = []
        for n in range(self.max_radial + 1):
            rows.append(last * torch.tensor(self.norms[n], dtype=dtype, device=device))
            slope = torch.tensor(self.slopes[n], dtype=dtype, device=device)
            shift = torch.tensor(self.shifts[n], dtype=dtype, device=device)
            back = torch.tensor(self.backs[n], dtype=dtype, device=device)
            last, before = (x * slope + shift) * last - back * before, last
        return torch.stack(rows, dim=-1)


def _jacobi_step(n: int, beta: float) -> tuple[float, float, float]:
    """Return slope, shift and back of the step from P_n to P_(n+1), with the first parameter 0."""
    if n == 0:
        return (beta + 2) / 2, -beta / 2, 0.0
    total = 2 * n + beta
    below = 2 * (n + 1) * (n + beta + 1) * total
    slope = (total + 1) * (total + 2) * total / below
    return slope, -(total + 1) * beta * beta / below, 2 * n * (n + beta) * (total + 2) / below
