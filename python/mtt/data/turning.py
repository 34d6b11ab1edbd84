"""How values of targets turn with the structure: augmentation and measurements of equivariance."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mtt.data.target import Target


def turn(
    values: NDArray[np.float64], target: Target, matrices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return values (R, numbers) of structures that are turned, x' = M x, one matrix for each row.

    :param matrices: (R, 3, 3), orthogonal; reflections count, as parities say
    """
    if all(target.invariant):
        return values
    parts: list[NDArray[np.float64]] = []
    start = 0
    for block, components in enumerate(target.components):
        end = start + components * target.properties
        part = values[:, start:end].reshape(len(values), components, target.properties)
        turned: NDArray[np.float64]
        if target.type == "spherical" and target.irreps[block] == (0, 1):
            turned = part  # bit by bit
        elif target.type == "vector":
            turned = _product(matrices, part)
        elif target.type == "matrix":
            # Both axes: M v M^T, with the properties last.
            rows = part.reshape(len(part), 3, 3 * target.properties)
            half = _product(matrices, rows).reshape(len(part), 3, 3, target.properties)
            swapped = half.transpose(0, 2, 1, 3).reshape(len(part), 3, -1)
            full = _product(matrices, swapped).reshape(len(part), 3, 3, target.properties)
            turned = full.transpose(0, 2, 1, 3)
        else:
            turned = _product(spherical(matrices, *target.irreps[block]), part)
        parts.append(turned.reshape(len(values), end - start))
        start = end
    return np.concatenate(parts, axis=1)


def _product(matrices: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the product (R, n, K) of matrices (R, n, n) and columns (R, n, K).

    Written out instead of einsum or BLAS: the order of the sums is then the same on every machine.
    """
    result: NDArray[np.float64] = matrices[:, :, 0, None] * vectors[:, 0, None, :]
    for index in range(1, matrices.shape[2]):
        result += matrices[:, :, index, None] * vectors[:, index, None, :]
    return result


def spherical(matrices: NDArray[np.float64], degree: int, parity: int) -> NDArray[np.float64]:
    """Return the matrices (R, 2l+1, 2l+1) by which real spherical harmonics of degree l turn.

    They solve Y(M x) = D Y(x) for more directions x than there are components, which has one solution.
    Pseudotensors (``parity`` -1) change their sign with the determinant as well.
    """
    directions, inverse = _directions(degree)
    # (R, K, 3), then (R, 2l+1, K) of the turned directions.
    turned = _product(matrices, np.broadcast_to(directions.T, (len(matrices), *directions.T.shape)))
    harmonics = spherical_harmonics(degree, turned.transpose(0, 2, 1)).transpose(0, 2, 1)
    product = _times(harmonics, inverse)
    if parity < 0:
        product = product * np.sign(np.linalg.det(matrices))[:, None, None]
    return product


def _times(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the product (R, n, m) of (R, n, K) and (K, m), summed in a fixed order."""
    result: NDArray[np.float64] = left[:, :, 0, None] * right[0]
    for index in range(1, len(right)):
        result += left[:, :, index, None] * right[index]
    return result


@cache
def _directions(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return directions (K, 3) spread over the sphere, and the inverse (K, 2l+1) of harmonics there."""
    number = 4 * degree + 4
    index = np.arange(number) + 0.5
    z = 1.0 - 2.0 * index / number
    angle = math.pi * (1.0 + math.sqrt(5.0)) * index
    radius = np.sqrt(1.0 - z * z)
    directions = np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
    harmonics = spherical_harmonics(degree, directions)
    # Y(M x_k) = D Y(x_k) for all k: D = Y(M x)^T pinv(Y(x)^T).
    inverse: NDArray[np.float64] = np.asarray(np.linalg.pinv(harmonics.T), dtype=np.float64)
    return directions, inverse


def spherical_harmonics(degree: int, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return real spherical harmonics (..., 2l+1), m = -l ... l, at unit vectors (..., 3).

    Without the phase of Condon and Shortley, so that those of degree 1 are y, z, x times a constant.
    Formula: Wikipedia, "Table of spherical harmonics" and "Associated Legendre polynomials", with
    associated Legendre functions by their recurrence in the degree.
    """
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    # (x + i y)^m holds the sine of the polar angle, so that no angle is ever computed.
    cosine, sine = np.ones_like(x), np.zeros_like(x)
    columns: dict[int, NDArray[np.float64]] = {}
    for m in range(degree + 1):
        before, legendre = np.zeros_like(x), np.full_like(x, float(math.prod(range(1, 2 * m, 2))))
        for n in range(m + 1, degree + 1):
            new = ((2 * n - 1) * z * legendre - (n + m - 1) * before) / (n - m)
            before, legendre = legendre, new
        factor = math.sqrt(
            (2 * degree + 1)
            / (4.0 * math.pi)
            * math.factorial(degree - m)
            / math.factorial(degree + m)
        )
        if m > 0:
            columns[-m] = math.sqrt(2.0) * factor * legendre * sine
            columns[m] = math.sqrt(2.0) * factor * legendre * cosine
        else:
            columns[0] = factor * legendre
        cosine, sine = cosine * x - sine * y, cosine * y + sine * x
    return np.stack([columns[m] for m in range(-degree, degree + 1)], axis=-1)
