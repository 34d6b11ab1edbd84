"""Options of SOAP-BPNN, version 1."""

from typing import Annotated, Self

from pydantic import Field, PositiveFloat, model_validator

from mtt.options.schema import training
from mtt.options.schema.base import Conflict, OptionsModel, inconsistent

__all__ = ["ModelHypers", "TrainingHypers"]


class CutoffHypers(OptionsModel):
    """Where the neighborhood of an atom ends."""

    radius: PositiveFloat = 5.0
    """Radius, in the length unit of the data, within which atoms are neighbors."""
    width: PositiveFloat = 0.5
    """Width of the shell below the radius in which the weight of a neighbor falls from one to zero."""

    @model_validator(mode="after")
    def _shell_fits(self) -> Self:
        if self.width >= self.radius:
            message = f"width ({self.width:g}) must be smaller than radius ({self.radius:g})"
            shown = "width" if "width" in self.model_fields_set else "radius"
            raise inconsistent([Conflict((shown,), message, (("width",), ("radius",)))])
        return self


class SoapHypers(OptionsModel):
    """The power spectrum that describes the neighborhood of an atom."""

    max_angular: Annotated[int, Field(ge=0, le=20)] = 6
    """Highest degree of the spherical harmonics; more tell directions apart better, and cost more."""
    max_radial: Annotated[int, Field(ge=0, le=50)] = 7
    """Highest number of a radial function, counted from 0."""
    max_types: Annotated[int, Field(gt=0, le=100)] = 4
    """Neighbor densities: one for each atomic type, or, with more types than this, so many trained
    mixtures of the types."""
    cutoff: CutoffHypers = CutoffHypers()
    """Where the neighborhood ends."""


class BpnnHypers(OptionsModel):
    """The networks, one for each atomic type."""

    num_hidden_layers: Annotated[int, Field(gt=0, le=100)] = 2
    """Hidden layers of each network."""
    num_neurons_per_layer: Annotated[int, Field(gt=0, le=65536)] = 32
    """Width of the hidden layers."""
    layernorm: bool = True
    """Bring the features of each atom to zero mean and unit variance before the first layer."""


class ModelHypers(OptionsModel):
    """Shape and size of a SOAP-BPNN model."""

    soap: SoapHypers = SoapHypers()
    """The power spectrum."""
    bpnn: BpnnHypers = BpnnHypers()
    """The networks."""


class TrainingHypers(training.TrainingHypers):
    """How a SOAP-BPNN model is trained: as other models, without rotations."""

    rotational_augmentation: bool = False
    """Rotate every structure at random each time it is trained on; the model is invariant anyway."""
