"""How far a value may be off, from the features of atoms that it is a linear map of.

Two kinds of features share everything else: those of the last layer, and the deviations of the members
of an ensemble from their mean. Source of the first: Bigi, Chong, Ceriotti and Grasselli, "A prediction
rigidity formalism for low-cost uncertainties in trained neural networks", Mach. Learn.: Sci. Technol. 5,
045018 (2024): with features F_A of the training structures, the variance of what is predicted for
features F is proportional to F^T (sum_A F_A F_A^T + s I)^-1 F.

Energies of atoms are no observable: energies of systems fix them up to what cancels in the sums, and the
formula says so, with uncertainties of them that are far larger than those of systems, and hardly depend
on the structure. So atoms have a matrix of their own, which takes their errors as independent.
"""

import torch


class Uncertainty(torch.nn.Module):
    """Uncertainty, and ensemble, of one target.

    :param target: the name of the target
    :param rigidity: [R, F] float64: the uncertainty of a system is the length of its product with the
        sum of the features [F] of atoms
    :param atomic: [Q, F] float64: the same for an atom and its features
    :param weights: [K, F] float64: what each member of an ensemble adds to the value, by features
    """

    rigidity: torch.Tensor
    atomic: torch.Tensor
    weights: torch.Tensor

    def __init__(
        self, target: str, rigidity: torch.Tensor, atomic: torch.Tensor, weights: torch.Tensor
    ) -> None:
        super().__init__()
        self.target = target
        # Never among the weights of a checkpoint: it has them beside these.
        self.register_buffer("rigidity", rigidity.to(torch.float64), persistent=False)
        self.register_buffer("atomic", atomic.to(torch.float64), persistent=False)
        self.register_buffer("weights", weights.to(torch.float64), persistent=False)

    @property
    def n_members(self) -> int:
        """Return the number of members, 0 if there is no ensemble."""
        return int(self.weights.shape[0])

    def forward(self, features: torch.Tensor, of_atoms: bool) -> torch.Tensor:
        """Return uncertainties [M, 1] for features [M, F] of atoms, or their sums over systems."""
        matrix = self.atomic if of_atoms else self.rigidity
        product = torch.matmul(features, matrix.t())
        return torch.linalg.vector_norm(product, dim=1, keepdim=True)

    @torch.jit.export
    def members(self, features: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return what each member predicts [M, K], around values [M, 1]."""
        return values + torch.matmul(features, self.weights.t())
