"""Options of SOAP and networks for each atomic type, version 2."""

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from mtt.options.schema.base import Conflict, OptionsModel, inconsistent
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

Size = Annotated[int, Field(gt=0, le=4096)]


class CutoffOptions(OptionsModel):
    """Where the surroundings of an atom end."""

    radius: PositiveFloat = 5.0
    """Radius, in the length unit of the data, within which atoms are neighbors."""
    width: PositiveFloat = 0.5
    """Width of the shell below the radius in which the weight of a neighbor falls to zero, twice
    differentiable."""

    @model_validator(mode="after")
    def _shell_fits(self) -> Self:
        if self.width > self.radius:
            message = f"width ({self.width:g}) must not be larger than radius ({self.radius:g})"
            raise inconsistent([Conflict(("width",), message, (("width",), ("radius",)))])
        return self


class SoapOptions(OptionsModel):
    """The description of the surroundings of an atom."""

    cutoff: CutoffOptions = Field(default_factory=CutoffOptions)
    """Where they end."""
    max_angular: Annotated[int, Field(ge=0, le=12)] = 6
    """Highest degree of the spherical harmonics that describe directions."""
    max_radial: Annotated[int, Field(gt=0, le=100)] = 7
    """Number of radial functions that describe distances."""
    channels: Size = 24
    """Learned mixtures of radial functions and types of neighbors that the power spectrum is made
    of; its size grows as the square of this number."""
    center_weight: NonNegativeFloat = 0.0
    """What each atom adds to its own density, in every radial function; soap_bpnn@1 had 1. The
    normalization of the power spectrum leaves the less of the neighbors the larger it is."""


class BpnnOptions(OptionsModel):
    """The networks that turn the power spectrum into values; each atomic type has its own."""

    num_hidden_layers: Annotated[int, Field(gt=0, le=20)] = 2
    """Hidden layers."""
    num_neurons_per_layer: Size = 32
    """Width of the hidden layers."""
    layernorm: bool = True
    """Whether the power spectrum of each atom is normalized first."""


class ModelHypers(WithConditioning):
    """Shape and size of a SOAP-BPNN model."""

    soap: SoapOptions = Field(default_factory=SoapOptions)
    """How the surroundings of an atom are described."""
    bpnn: BpnnOptions = Field(default_factory=BpnnOptions)
    """The networks that turn it into values."""
    zbl: Repulsion = False
    long_range: LongRange = None
    system_conditioning: SystemConditioning = False
    max_charge: MaxCharge = 10
    max_spin_multiplicity: MaxSpinMultiplicity = 10
