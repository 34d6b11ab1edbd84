"""What spectra that are known up to a shift add to the loss beside their errors."""

from collections.abc import Callable

import torch

from mtt.data.spectra import Aligned, running_sums
from mtt.options.schema.loss_parts import ShiftOptions


def beside_errors(
    predicted: torch.Tensor,
    difference: torch.Tensor,
    spectra: Aligned,
    shift: ShiftOptions,
    function: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return the sums over points of each structure, [S], that :mod:`mtt.training.loss` has the formula of.

    :param predicted: [S, P]
    :param difference: [S, P], errors where values are known, else zero
    :param spectra: the values, moved to where they fit best
    :param function: of the errors
    """
    total = function(torch.where(spectra.before, predicted, 0.0)).sum(dim=1)
    if shift.gradient_weight > 0.0:
        # A structure without any value says nothing of what is flat.
        unknown = ~spectra.known & ~spectra.before & spectra.known.any(dim=1, keepdim=True)
        slopes = torch.where(unknown[:, 1:], predicted.diff(dim=1), 0.0) / shift.spacing
        total = total + shift.gradient_weight * (slopes * slopes).sum(dim=1)
    if shift.integral_weight > 0.0:
        integrals = shift.spacing * running_sums(difference)
        integrals = torch.where(spectra.known, integrals, 0.0)
        total = total + shift.integral_weight * (integrals * integrals).sum(dim=1)
    return total
