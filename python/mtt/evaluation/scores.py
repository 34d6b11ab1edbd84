"""Scores of what an ensemble predicts, smallest for members that are as far apart as they are wrong.

All are proper: on average over what can happen nothing scores better than the true distribution. With
the error e of the mean, the standard deviation s of the members, and e_k the error of member k of K:

- ``gaussian_nll``: ln s + e^2 / (2 s^2), the negative logarithm of a normal density but for ln(2 pi) / 2:
  Nix and Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994;
- ``gaussian_crps``: s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)) with z = e / s, the continuous ranked
  probability score of a normal distribution: Gneiting, Raftery, Westveld and Goldman, Mon. Weather Rev.
  133, 1098 (2005);
- ``empirical_crps``: sum_k |e_k| / K - sum_kl |e_k - e_l| / (2 K^2), that of the members themselves:
  Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359 (2007), eq. 21.
"""

import math

import torch

from mtt.options.schema.training import EnsembleLoss

# Squares of standard deviations in training units: members that agree have a finite score.
_LEAST_VARIANCE = 1e-12


def score(kind: EnsembleLoss, errors: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
    """Return the score of each value [M, 1], smaller for better ones.

    :param errors: [M, 1], of the mean of the members
    :param members: [M, K], what they predict beside their mean
    """
    if kind == "empirical_crps":
        return empirical_crps(errors + members)
    variance = members.square().sum(dim=1, keepdim=True) / (members.shape[1] - 1)
    variance = variance.clamp(min=_LEAST_VARIANCE)
    if kind == "gaussian_nll":
        return gaussian_nll(errors, variance)
    return gaussian_crps(errors, variance.sqrt())


def gaussian_nll(errors: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Return the negative logarithm of a normal density, but for ln(2 pi) / 2."""
    return 0.5 * (variance.log() + errors.square() / variance)


def gaussian_crps(errors: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Return the continuous ranked probability score of a normal distribution, in the unit of errors."""
    z = errors / deviation
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
    # 2 Phi(z) - 1
    between = torch.erf(z / math.sqrt(2.0))
    return deviation * (z * between + 2.0 * density - 1.0 / math.sqrt(math.pi))


def empirical_crps(errors: torch.Tensor) -> torch.Tensor:
    """Return the score [M, 1] of errors [M, K] of members; pairs add up by the order of the members."""
    number = errors.shape[1]
    ordered = errors.sort(dim=1).values
    # Of the k-th smallest, k - 1 are below and K - k above.
    places = torch.arange(1 - number, number, 2, dtype=errors.dtype, device=errors.device)
    between = (ordered * places).sum(dim=1, keepdim=True) / number**2
    return errors.abs().mean(dim=1, keepdim=True) - between
