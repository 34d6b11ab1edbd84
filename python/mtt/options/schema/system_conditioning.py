"""The options of architectures whose values can depend on the charge and spin of a structure."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from mtt.options.schema.long_range import WithLongRange

SystemConditioning = Annotated[
    bool,
    Field(
        description="Make all values depend on the total charge and the spin multiplicity of the "
        "structure, which `extra_data` of the data sets names. A neutral singlet is what a structure "
        "is of which nothing else is said."
    ),
]
MaxCharge = Annotated[
    int,
    Field(
        ge=0,
        le=1000,
        description="With system_conditioning: charges are whole numbers from minus this to this.",
    ),
]
MaxSpinMultiplicity = Annotated[
    int,
    Field(
        ge=1,
        le=1000,
        description="With system_conditioning: spin multiplicities 2 S + 1 are from 1 to this.",
    ),
]


class WithConditioning(WithLongRange):
    """Options of a model that have `system_conditioning`, and all that came before."""

    later: ClassVar[Mapping[str, str]] = {
        **WithLongRange.later,
        "system_conditioning": "system_conditioning",
        "max_charge": "system_conditioning",
        "max_spin_multiplicity": "system_conditioning",
    }
