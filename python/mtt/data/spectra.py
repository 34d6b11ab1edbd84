"""Spectra that are known up to a shift along their grid: how far each fits a prediction best.

A row has P points, predicted or of the data. The first E points of the data are room: they count for
nothing, and the other P - E may be moved by any number of points s from -E to 0. With the errors
d_i(s) = p_i - y_{i-s} where y is known, the shift of a row is the one that makes

    D(s) = sum_known d_i(s)^2 + sum_{i < E + s} p_i^2

least: what is predicted before the spectrum begins counts as an error, since there is nothing.

Spectra that may begin anywhere have no room. They are compared with the prediction between P zeros on
either side, and begin at one of its first 2 P + 1 points: :func:`between_zeros` makes rows of which the
formula above says that, with 3 P points and 2 P of them as room. So does the shift-agnostic error of
metatrain (``ShiftAgnosticMSE`` in its ``utils/loss.py``, version 2026.4), without gradient and integral.
"""

from typing import NamedTuple

import torch

# Of sums that are made by Fourier transforms, beside all squares.
_ROUNDING = 1e-12


class Aligned(NamedTuple):
    """Spectra of the data moved to where predictions fit them best, all [R, P].

    - ``values``: zero where nothing is known; ``known`` bool: where something is;
    - ``before`` bool: the points before the spectrum begins.
    """

    values: torch.Tensor
    known: torch.Tensor
    before: torch.Tensor


@torch.no_grad()
def aligned(
    predicted: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    extra_points: int,
    between_zeros: bool = False,
) -> Aligned:
    """Move spectra to where they fit best; of several that fit the same, the first.

    :param predicted: [R, P]
    :param values: [R, P]; what they are where ``mask`` is False does not matter
    :param mask: [R, P] bool, where values are known
    :param extra_points: E, from 0 to P - 1
    :param between_zeros: whether rows are those of :func:`between_zeros`. Many places fit the same there,
        but for the rounding of the sums, where a spectrum lies among zeros.
    """
    n_points = predicted.shape[1]
    dtype, device = torch.float64, predicted.device
    known = mask[:, extra_points:]
    window = torch.where(known, values[:, extra_points:].to(dtype), 0.0)
    points = predicted.detach().to(dtype)
    squares = points * points
    # Sums over products with every shift at once; no sum runs over the end, as P points hold all.
    products = _correlation(points, window) * -2.0 + _correlation(squares, known.to(dtype))
    before = running_sums(squares[:, :extra_points])
    before = torch.nn.functional.pad(before, (1, 0))
    sizes = products[:, : extra_points + 1] + before
    if between_zeros:
        scale = (window * window).sum(dim=1, keepdim=True) + squares.sum(dim=1, keepdim=True)
        least = sizes.amin(dim=1, keepdim=True) + _ROUNDING * scale
        starts = (sizes <= least).to(torch.int8).argmax(dim=1, keepdim=True)
    else:
        starts = sizes.argmin(dim=1, keepdim=True)
    source = torch.arange(n_points, device=device) - starts
    inside = (source >= 0) & (source < known.shape[1])
    source = source.clamp(0, known.shape[1] - 1)
    here = known.gather(1, source) & inside
    return Aligned(
        torch.where(here, window.gather(1, source), 0.0),
        here,
        torch.arange(n_points, device=device) < starts,
    )


def between_zeros(
    predicted: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return predictions, values and mask [R, 3 P] of spectra [R, P] that may begin anywhere."""
    n_points = predicted.shape[1]
    before = (2 * n_points, 0)
    return (
        torch.nn.functional.pad(predicted, (n_points, n_points)),
        torch.nn.functional.pad(values, before),
        torch.nn.functional.pad(mask, before),
    )


def _correlation(points: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Return sum_j window_j points_{s+j} for each s, [R, P]; those beyond P - L mean nothing."""
    n_points = points.shape[1]
    spectrum = torch.fft.rfft(points, n_points) * torch.fft.rfft(window, n_points).conj()
    return torch.fft.irfft(spectrum, n_points)


def running_sums(values: torch.Tensor, block: int = 64) -> torch.Tensor:
    """Return the sums over each row up to every point, [R, P], as products of matrices.

    On a GPU, those of ``torch.cumsum`` have other bits each time.
    """
    rows, n_points = values.shape
    n_blocks = -(-n_points // block)
    padded = torch.nn.functional.pad(values, (0, n_blocks * block - n_points))
    parts = padded.reshape(rows, n_blocks, block)
    upto = torch.ones(block, block, dtype=values.dtype, device=values.device).triu()
    earlier = torch.ones(n_blocks, n_blocks, dtype=values.dtype, device=values.device).triu(1)
    sums = parts @ upto + (parts.sum(dim=2) @ earlier)[:, :, None]
    return sums.reshape(rows, -1)[:, :n_points]
