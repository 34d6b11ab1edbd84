"""The options of architectures whose values can depend on the charge and spin of a structure."""

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

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
_NAMES = ("system_conditioning", "max_charge", "max_spin_multiplicity")


class WithConditioning(WithLongRange):
    """Options of a model that have `system_conditioning`, and all that came before, stored where on.

    What is stored of models without it is then what it was before there was the option.
    """

    @model_serializer(mode="wrap")
    def _stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        left_out = () if plain["system_conditioning"] else _NAMES
        return {
            name: value
            for name, value in plain.items()
            if name not in left_out and (name not in self.later or value)
        }
