"""The option `long_range` of architectures whose atoms can feel each other at any distance."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, PositiveFloat

from mtt.options.schema.base import OptionsModel
from mtt.options.schema.repulsion import WithRepulsion


class LongRangeOptions(OptionsModel):
    """Learned charges whose electrostatic potential each atom feels, at any distance."""

    num_charges: Annotated[int, Field(gt=0, le=4096)] = 8
    """Charges of each atom, each with a potential of its own."""
    smearing: PositiveFloat = 1.4
    """Width of the Gaussian that each charge is spread over, in the length unit of the data. Charges
    closer than this hardly see it: the rest of the model describes them."""
    kspace_resolution: PositiveFloat = 1.33
    """Shortest wave, in the length unit of the data, of the sum over waves in periodic structures:
    the time that it takes grows as the inverse cube of this. About the smearing, or less: a larger
    one changes the potential."""


LongRange = Annotated[
    LongRangeOptions | None,
    Field(
        description="Give each atom learned charges, and let it feel the potential of those of all "
        "other atoms, at any distance: for ionic and polar matter, and molecules apart from each "
        "other. The cost grows as the square of the number of atoms, and engines must run the model "
        "on one rank."
    ),
]


class WithLongRange(WithRepulsion):
    """Options of a model that have `long_range`, and `zbl`."""

    later: ClassVar[Mapping[str, str]] = {**WithRepulsion.later, "long_range": "long_range"}
