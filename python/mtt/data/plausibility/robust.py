"""Which values stand far from all others, and a least-squares fit that such values do not spoil."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

# In robust standard deviations. Tails of real data, far from equilibrium, reach 20 or 30.
FAR: Final = 100.0
_ROUNDS: Final = 50


def far_from_others(residuals: NDArray[np.float64], far: float = FAR) -> NDArray[np.bool_]:
    """Return which of the residuals (n,) are further from their median than ``far`` deviations.

    The deviation is 1.4826 times the median distance from the median, as of a normal distribution
    (P. J. Rousseeuw and C. Croux, J. Am. Stat. Assoc. 88, 1273 (1993)). Where half of the residuals
    are all but equal there is no such deviation, and none is far.
    """
    if len(residuals) < 5:
        return np.zeros(len(residuals), dtype=bool)
    away = np.abs(residuals - np.median(residuals))
    deviation = 1.4826 * float(np.median(away))
    size = float(np.abs(residuals).max())
    if deviation <= 1e-9 * size:
        return np.zeros(len(residuals), dtype=bool)
    return np.asarray(away > far * deviation)


def robust_residuals(
    design: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what a fit of least absolute deviations leaves of ``values`` (n,).

    By iteratively reweighted least squares (E. J. Schlossmacher, J. Am. Stat. Assoc. 68, 857 (1973)).

    :param design: (n, p) float64
    """
    # Its inverse, and that of what is far smaller, must be numbers.
    scale = max(float(np.abs(values).max(initial=0.0)), 1e-250)
    weights = np.ones(len(values))
    residuals = values
    for _ in range(_ROUNDS):
        roots = np.sqrt(weights)
        solution, *_ = np.linalg.lstsq(design * roots[:, None], values * roots, rcond=None)
        before, residuals = residuals, values - design @ solution
        if np.abs(residuals - before).max(initial=0.0) <= 1e-12 * scale:
            break
        floor = max(1e-12 * scale, 1e-3 * float(np.median(np.abs(residuals))))
        weights = 1.0 / np.maximum(np.abs(residuals), floor)
    return residuals
