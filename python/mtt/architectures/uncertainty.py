"""How far a value may be off, from the features of atoms that it is a linear map of.

Two kinds of features share everything else: those of the last layer, and the deviations of the members
of an ensemble from their mean. Source of the first: Bigi, Chong, Ceriotti and Grasselli, "A prediction
rigidity formalism for low-cost uncertainties in trained neural networks", Mach. Learn.: Sci. Technol. 5,
045018 (2024): with features F_A of the training structures, the variance of what is predicted for
features F is proportional to F^T (sum_A F_A F_A^T + s I)^-1 F.
"""

import torch


class Uncertainty(torch.nn.Module):
    """Uncertainty, and ensemble, of one target.

    :param target: the name of the target
    :param rigidity: [R, F] float64: the uncertainty is the length of its product with features [F]
    :param weights: [K, F] float64: what each member of an ensemble adds to the value, by features
    """

    rigidity: torch.Tensor
    weights: torch.Tensor

    def __init__(self, target: str, rigidity: torch.Tensor, weights: torch.Tensor) -> None:
        super().__init__()
        self.target = target
        # Never among the weights of a checkpoint: it has them beside these.
        self.register_buffer("rigidity", rigidity.to(torch.float64), persistent=False)
        self.register_buffer("weights", weights.to(torch.float64), persistent=False)

    @property
    def n_members(self) -> int:
        """Return the number of members, 0 if there is no ensemble."""
        return int(self.weights.shape[0])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return uncertainties [M, 1] for features [M, F] of atoms, or their sums over systems."""
        product = torch.matmul(features, self.rigidity.t())
        return torch.linalg.vector_norm(product, dim=1, keepdim=True)

    @torch.jit.export
    def members(self, features: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return what each member predicts [M, K], around values [M, 1]."""
        return values + torch.matmul(features, self.weights.t())
