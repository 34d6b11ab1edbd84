"""Options that say where structures and their targets are read from."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from mtt.options.schema.base import Conflict, FilePath, Indices, OptionsModel, inconsistent
from mtt.options.schema.units import EnergyUnit, LengthUnit

_TARGET_NAME = re.compile(r"^energy(/[A-Za-z0-9_.+-]+)?$")


class SystemsOptions(OptionsModel):
    """Where structures are read from. A path alone is short for `{read_from: PATH}`."""

    read_from: FilePath
    """File with the structures, relative to the folder that mtt is run in."""
    reader: Literal["ase"] | None = None
    """Library that reads the file; null chooses by the file's format."""
    length_unit: LengthUnit = "angstrom"
    """Unit of positions and cells in the file."""
    indices: Indices | None = None
    """Structures of the file to use: a list of indices from 0, or a slice such as '0:100'; null
    uses all."""


class GradientOptions(OptionsModel):
    """A gradient of the energy that the data must have. `on` alone uses the default key, a path
    alone is short for `{read_from: PATH}`."""

    key: str
    """Name of the array in the file; the name of the gradient if not given."""
    read_from: FilePath | None = None
    """Other file to read the gradient from; null reads it from the target's file."""


def _gradient_kind(value: Any) -> str:
    if value is None:
        return "<auto>"
    return "<off>" if value is False else "<on>"


# A union with a discriminator gives one error for one mistake, not one per member.
Gradient = Annotated[
    Annotated[GradientOptions, Tag("<on>")]
    | Annotated[Literal[False], Tag("<off>")]
    | Annotated[None, Tag("<auto>")],
    Discriminator(_gradient_kind),
]


class TargetOptions(OptionsModel):
    """One quantity to learn. A path alone is short for `{read_from: PATH}`."""

    quantity: Literal["energy"] = "energy"
    """What the target is."""
    read_from: FilePath | None = None
    """File with the values; null reads them from the structures' file."""
    key: str = "energy"
    """Name of the value in the file."""
    unit: EnergyUnit = "eV"
    """Unit of the values in the file."""
    forces: Gradient = None
    """`on` or `{key: ..., read_from: ...}`: the data must have forces. `off`: do not use them.
    null: use them if the data has them."""
    stress: Gradient = None
    """The same for the stress (energy/length^3, ASE's sign)."""
    virial: Gradient = None
    """The same for the virial (energy, minus the derivative by strain); not with stress."""
    description: str = ""
    """Free text kept with the model, for instance the level of theory."""

    @model_validator(mode="after")
    def _stress_or_virial(self) -> Self:
        if self.stress and self.virial:
            message = "stress and virial are the same quantity: ask for only one of them"
            raise inconsistent([Conflict(("virial",), message, (("stress",), ("virial",)))])
        return self


def _one_energy(targets: dict[str, TargetOptions]) -> dict[str, TargetOptions]:
    for name in targets:
        if not _TARGET_NAME.match(name):
            raise ValueError(f"targets must be called 'energy' or 'energy/VARIANT', not '{name}'")
    if len(targets) != 1:
        raise ValueError(f"exactly one target is needed, found {len(targets)}")
    return targets


class DatasetOptions(OptionsModel):
    """Structures with targets. A path alone is short for `{systems: PATH}`."""

    systems: SystemsOptions
    """The structures."""
    targets: Annotated[dict[str, TargetOptions], AfterValidator(_one_energy)] = Field(
        default_factory=lambda: {"energy": TargetOptions()},
        json_schema_extra={"default": {"energy": {}}},
    )
    """What is known of the structures: one target called `energy` or `energy/VARIANT`."""


class SplitOptions(OptionsModel):
    """A validation or test set; exactly one of the three is given.

    Short forms: a number is the fraction, text such as '0:50' or a list of integers the
    indices, a path, a dataset or a list of datasets the datasets.
    """

    fraction: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """Part of the training set that is taken out at random for this set."""
    indices: Indices | None = None
    """Structures of the training set that are taken out for this set."""
    datasets: Annotated[list[DatasetOptions], Field(min_length=1)] | None = None
    """Data of its own."""

    @property
    def part(self) -> float | list[int] | str | None:
        """What to take out of the training set; None when the set has data of its own."""
        return self.fraction if self.fraction is not None else self.indices

    def is_empty(self) -> bool:
        """Whether the set was asked to have no structures at all (a fraction of 0)."""
        return self.fraction == 0.0

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(one is not None for one in (self.fraction, self.indices, self.datasets)) != 1:
            message = "give exactly one of fraction, indices and datasets"
            involved = (("fraction",), ("indices",), ("datasets",))
            raise inconsistent([Conflict((), message, involved)])
        return self
