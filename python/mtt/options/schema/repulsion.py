"""The option `zbl` of architectures whose energies can have the repulsion of close nuclei in them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from mtt.options.schema.base import StoredWhereOn

Repulsion = Annotated[
    bool,
    Field(
        description="Add the universal repulsion of nuclei by Ziegler, Biersack and Littmark (ZBL) to "
        "all energies, below the sum of the covalent radii of each pair of atoms: for cascades, high "
        "pressure or bad starts, where atoms come closer than in any training data. Part of training: "
        "the network learns what it leaves."
    ),
]


class WithRepulsion(StoredWhereOn):
    """Options of a model that have `zbl`."""

    later: ClassVar[Mapping[str, str]] = {"zbl": "zbl"}
