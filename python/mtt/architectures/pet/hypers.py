"""Options of the Point Edge Transformer, version 3."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from mtt.options.schema.base import Conflict, inconsistent, invalid
from mtt.options.schema.long_range import LongRange
from mtt.options.schema.repulsion import Repulsion
from mtt.options.schema.system_conditioning import (
    MaxCharge,
    MaxSpinMultiplicity,
    SystemConditioning,
    WithConditioning,
)
from mtt.options.schema.training import TrainingHypers

__all__ = ["ModelHypers", "TrainingHypers"]


# Far more than is useful, and little enough that a mistake, or a file made to harm, ends at once.
Size = Annotated[int, Field(gt=0, le=65536)]
Layers = Annotated[int, Field(gt=0, le=100)]


class ModelHypers(WithConditioning):
    """Shape and size of a PET model."""

    cutoff: PositiveFloat = 4.5
    """Radius, in the length unit of the data, within which atoms are neighbors. A smaller one is
    faster; a larger one sees more of the surroundings."""
    cutoff_function: Literal["Bump", "Polynomial"] = "Bump"
    """Function that takes the weight of a neighbor to zero at the cutoff: infinitely smooth (Bump), or
    twice differentiable and less steep (Polynomial)."""
    cutoff_width: PositiveFloat = 0.5
    """Width of the shell below the cutoff in which that function falls from one to zero."""
    num_radial: Annotated[int, Field(ge=0, le=1000)] = 8
    """Radial functions of its length that describe an edge, beside its vector and the length itself."""
    d_pet: Size = 128
    """Size of the feature vector of each edge; a multiple of num_heads."""
    d_head: Size = 128
    """Width of the output networks that turn features into energies."""
    d_node: Size = 256
    """Size of the feature vector of each atom."""
    d_feedforward: Size = 256
    """Width of the hidden layer of the feed-forward network in each transformer block."""
    num_heads: Size = 8
    """Attention heads per attention layer."""
    num_attention_layers: Layers = 2
    """Attention layers within each message-passing layer."""
    num_gnn_layers: Layers = 2
    """Message-passing layers. The interaction range is this number times the cutoff."""
    normalization: Literal["RMSNorm", "LayerNorm"] = "RMSNorm"
    """Normalization within the transformer blocks."""
    activation: Literal["SwiGLU", "SiLU"] = "SwiGLU"
    """Activation of the feed-forward networks."""
    attention_temperature: PositiveFloat = 1.0
    """Divides the attention scores: above one spreads attention, below one sharpens it."""
    transformer_type: Literal["PreLN", "PostLN"] = "PreLN"
    """Whether normalization comes before (PreLN) or after (PostLN) attention."""
    featurizer_type: Literal["feedforward", "residual"] = "feedforward"
    """Energies from the features after the last message-passing layer (feedforward), or summed
    over what every layer contributes (residual)."""
    zbl: Repulsion = False
    long_range: LongRange = None
    system_conditioning: SystemConditioning = False
    max_charge: MaxCharge = 10
    max_spin_multiplicity: MaxSpinMultiplicity = 10

    @field_validator("cutoff_function", mode="before")
    @classmethod
    def _no_kinks(cls, value: object) -> object:
        if value == "Cosine":
            raise invalid(
                "Cosine is of pet@1 only, as its second derivative jumps and forces have kinks: use "
                "Bump or Polynomial, or train pet@1 in its image with version: 1"
            )
        return value

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        conflicts: list[Conflict] = []
        if self.d_pet % self.num_heads != 0:
            message = f"d_pet ({self.d_pet}) must be a multiple of num_heads ({self.num_heads})"
            conflicts.append(self._conflict(message, "d_pet", "num_heads"))
        if self.cutoff_width >= self.cutoff:
            message = f"cutoff_width ({self.cutoff_width:g}) must be smaller than cutoff ({self.cutoff:g})"
            conflicts.append(self._conflict(message, "cutoff_width", "cutoff"))
        if conflicts:
            raise inconsistent(conflicts)
        return self

    def _conflict(self, message: str, *names: str) -> Conflict:
        """A conflict between options, shown at the first of them that was given."""
        shown = next((name for name in names if name in self.model_fields_set), names[0])
        return Conflict((shown,), message, tuple((name,) for name in names))
