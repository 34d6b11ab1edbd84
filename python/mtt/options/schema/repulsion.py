"""The option `zbl` of architectures whose energies can have the repulsion of close nuclei in them."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mtt.options.schema.base import OptionsModel

Repulsion = Annotated[
    bool,
    Field(
        description="Add the universal repulsion of nuclei by Ziegler, Biersack and Littmark (ZBL) to "
        "all energies, below the sum of the covalent radii of each pair of atoms: for cascades, high "
        "pressure or bad starts, where atoms come closer than in any training data. Part of training: "
        "the network learns what it leaves."
    ),
]


class WithRepulsion(OptionsModel):
    """Options of a model that have `zbl`; it is stored where it is on.

    What is stored of models without it is then what it was before there was the option.
    """

    later: ClassVar[tuple[str, ...]] = ("zbl",)

    @model_serializer(mode="wrap")
    def _stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        return {name: value for name, value in plain.items() if name not in self.later or value}
