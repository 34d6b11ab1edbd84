"""Options that say where structures and their targets are read from."""

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Discriminator, Field, NonNegativeFloat, Tag, model_validator

from mtt.options.schema.base import Conflict, Indices, OptionsModel, StoredWhereOn, inconsistent
from mtt.options.schema.data_paths import ExpandedPath
from mtt.options.schema.extra_data import ExtraDataOptions
from mtt.options.schema.sizes import MAX_PROPERTIES
from mtt.unit_expressions import check_quantity, check_unit
from mtt.units import check_energy_unit, check_gradient_unit, check_length_unit

M = TypeVar("M", bound=OptionsModel)

LengthUnit = Annotated[str, AfterValidator(check_length_unit)]
ENERGY = "energy"
GRADIENTS = ("forces", "stress", "virial")
_TARGET_NAME = re.compile(
    r"(energy|non_conservative_(force|stress)|[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)+)"
    r"(/[A-Za-z0-9_.+-]+)?"
)
FORCE, STRESS = "non_conservative_force", "non_conservative_stress"
# What engines demand of the outputs that they know by name, and where files usually have them.
_STANDARD: dict[str, dict[str, str]] = {
    ENERGY: {"quantity": ENERGY, "key": ENERGY, "type": "scalar", "per": "system"},
    FORCE: {"quantity": "force", "key": "forces", "type": "vector", "per": "atom"},
    STRESS: {"quantity": "stress", "key": "stress", "type": "matrix", "per": "system"},
}


class SystemsOptions(OptionsModel):
    """Where structures are read from."""

    read_from: ExpandedPath
    """File with the structures, relative to the folder that mtt is run in; or several files, one
    after the other: a pattern such as `data/*.xyz`, or a folder; of metatrain's folders of arrays
    (`ns.npy`, `na.npy`, `x.bin`), the folder. `~` and `$VARIABLE` have their
    usual meaning."""
    reader: Literal["ase", "deepmd", "dpdata"] | None = None
    """What reads the file: `ase`, `deepmd` for folders of DeePMD-kit (`type.raw`, `set.000`), or
    `dpdata`, which needs the extra `mtt[dpdata]`; null chooses by the file, among all but the last."""
    format: str | None = None
    """Name that ASE or dpdata has for the format of the file, for instance `vasp/outcar`; null lets
    them tell it by the file."""
    length_unit: LengthUnit = "angstrom"
    """Unit of positions and cells in the file."""
    indices: Indices | None = None
    """Structures of the file to use: a list of indices from 0, or a slice such as '0:100'; of
    several files, they count through all of them. null uses all."""


Missing = Literal["error", "allow"]


class GradientOptions(OptionsModel):
    """A gradient of the energy that the data must have."""

    key: str
    """Name of the array in the file; the name of the gradient if not given."""
    read_from: ExpandedPath | None = None
    """Other file to read the gradient from; null reads it from the target's file."""
    unit: str = ""
    """Unit in the file, for instance `Hartree/bohr` of forces, and `GPa`, `kbar` or `eV/A^3` of a
    stress. Left empty, it is made of the target's unit and the length unit."""
    missing: Missing = "error"
    """Whether structures may lack it: `allow` learns it from those that have it."""


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


class IrrepOptions(OptionsModel):
    """Components of a spherical target that turn among themselves."""

    o3_lambda: Annotated[int, Field(ge=0, le=12)]
    """Degree: there are twice as many components as this, and one."""
    o3_sigma: Literal[1, -1] = 1
    """Parity: 1 of tensors, -1 of pseudotensors."""


class TargetOptions(StoredWhereOn):
    """One quantity to learn."""

    later: ClassVar[Mapping[str, str]] = {"mask": "mask"}

    quantity: str = ""
    """What the target is: `energy`, which may have forces and stress, or a name of your own such as
    `charge`. Left empty, it is what the name of the target says: `energy` of `energy` and
    `energy/VARIANT`, `force` and `stress` of `non_conservative_force` and
    `non_conservative_stress`, and `energy` of any other that is to have forces or a stress."""
    read_from: ExpandedPath | None = None
    """File with the values, also a `.mts` file of metatensor; null reads them from the structures'
    file."""
    key: str = ""
    """Name of the value in the file. Left empty, it is `energy`, `forces` or `stress` for targets
    that are called `energy`, `non_conservative_force` or `non_conservative_stress`, with a variant
    or not, and `NAME` for those called `OWNER::NAME`."""
    unit: str = ""
    """Unit of the values in the file. Left empty, it is `eV` for energies, and `eV/A` and `eV/A^3`
    for non-conservative forces and stress; other quantities then have none. Names that engines know,
    such as `A`, `eV`, `e`, `Debye`, `u`, `fs`, may stand with `*`, `/` and `^`, as in `e*A^2`; what is
    counted, as in states per eV, has none: `1/eV`. A unit must be one of the `quantity`, where that
    is one that has a dimension, such as `charge`, `dipole`, `polarizability` or `pressure`. Data in
    another unit than that of the model, which the first training set or the base of a fine-tuning
    decides, are converted."""
    missing: Missing = "error"
    """Whether structures may lack the value: `allow` learns it from those that have it."""
    mask: str = ""
    """Name of numbers of the same shape in the same file that say which values are known: 1 where one
    is, 0 where it is missing. Left empty, all are known."""
    per: Literal["system", "atom"] = "system"
    """Whether a structure has one value, which is the sum of what its atoms contribute, or each
    atom has one. Energies are per system, and non-conservative forces per atom."""
    type: Literal["scalar", "vector", "matrix", "spherical"] = "scalar"
    """How the target turns with the structure: a `scalar` does not; a `vector` has the components x,
    y, z, as a dipole; a `matrix` has those of two such axes, as a polarizability; `spherical` has
    those of real spherical harmonics, which `irreps` lists."""
    irreps: list[IrrepOptions] | None = None
    """Blocks of a spherical target: `[{o3_lambda: 0}, {o3_lambda: 2}]`."""
    properties: Annotated[int, Field(ge=1, le=MAX_PROPERTIES)] = 1
    """Number of quantities of this type that the file has for each structure or atom, for instance
    the points of a density of states."""
    forces: Gradient = None
    """`on` or `{key: ..., unit: ..., missing: ...}`: the data must have forces. `off`: do not use them.
    null: use them if the data has them; of several energies, only the one called `energy` then
    looks for them. For energies only."""
    stress: Gradient = None
    """The same for the stress (energy/length^3, ASE's sign)."""
    virial: Gradient = None
    """The same for the virial (energy, minus the derivative by strain); not with stress."""
    description: str = ""
    """Free text kept with the model, for instance the level of theory."""

    @property
    def is_energy(self) -> bool:
        """Return whether the target may have forces and stress."""
        return self.quantity == ENERGY

    @model_validator(mode="after")
    def _irreps_of_spherical(self) -> Self:
        if (self.type == "spherical") != bool(self.irreps):
            message = (
                "a spherical target needs irreps, as in [{o3_lambda: 2}]"
                if self.type == "spherical"
                else f"irreps are of spherical targets: a {self.type} has none"
            )
            raise inconsistent([Conflict(("irreps",), message, (("type",), ("irreps",)))])
        return self

    @model_validator(mode="after")
    def _stress_or_virial(self) -> Self:
        if self.stress and self.virial:
            message = "stress and virial are the same quantity: ask for only one of them"
            raise inconsistent([Conflict(("virial",), message, (("stress",), ("virial",)))])
        return self


def _complete(targets: dict[str, TargetOptions]) -> dict[str, TargetOptions]:
    """Return the targets with the defaults that depend on their names; refuse what cannot be."""
    if not targets:
        raise ValueError("at least one target is needed")
    conflicts = list(_wrong_names(targets))
    if conflicts:
        raise inconsistent(conflicts)
    named = {name: _with_defaults(name, target) for name, target in targets.items()}
    energies = [name for name, target in named.items() if target.is_energy]
    if len(energies) > 1:
        # The same forces for two energies would be wrong for one of them.
        named |= {name: _closed(named[name]) for name in energies if name != ENERGY}
    conflicts = [*itertools.chain(*(_wrong_target(name, target) for name, target in named.items()))]
    conflicts = conflicts or list(_read_twice(named))
    if conflicts:
        raise inconsistent(conflicts)
    return named


def _wrong_names(targets: Mapping[str, TargetOptions]) -> Iterator[Conflict]:
    for name in targets:
        if not _TARGET_NAME.fullmatch(name):
            message = (
                f"a target is called 'energy', 'energy/VARIANT' or 'OWNER::NAME', not '{name}'"
            )
            if _TARGET_NAME.fullmatch(f"mtt::{name}"):
                message += f"; write 'mtt::{name}'"
            yield Conflict((name,), message, ((name,),))
        for suffix in ("_forces", "_stress"):
            if f"{name}{suffix}" in targets:
                other = f"{name}{suffix}"
                message = f"'{other}' would be mistaken for a gradient of '{name}': rename it"
                yield Conflict((other,), message, ((other,),))


def _with_defaults(name: str, target: TargetOptions) -> TargetOptions:
    stem = name.partition("/")[0]
    standard = _STANDARD.get(stem, {})
    quantity = target.quantity or standard.get("quantity", "")
    one_number = target.type == "scalar" and target.properties == 1 and target.per == "system"
    has_gradients = any(getattr(target, name) for name in GRADIENTS)
    if one_number and has_gradients and not quantity and not standard:
        # Nothing else has them.
        quantity = ENERGY
    units = {ENERGY: "eV", **({"force": "eV/A", "stress": "eV/A^3"} if standard else {})}
    defaults: dict[str, Any] = {
        "quantity": quantity,
        "key": target.key or standard.get("key") or stem.rpartition("::")[2],
        "unit": target.unit or units.get(quantity, ""),
    }
    for field in ("type", "per"):
        if field not in target.model_fields_set and field in standard:
            defaults[field] = standard[field]
    # Wrong units stay as they are here: another check names them.
    with contextlib.suppress(ValueError):
        defaults["unit"] = check_energy_unit(defaults["unit"])
    for gradient in GRADIENTS:
        own = getattr(target, gradient)
        if own and own.unit:
            with contextlib.suppress(ValueError):
                unit = check_gradient_unit(gradient, own.unit)
                defaults[gradient] = _replaced(own, {"unit": unit})
    return _replaced(target, defaults)


def _closed(target: TargetOptions) -> TargetOptions:
    """Return an energy that looks for no gradient that nobody asked for."""
    asked = {name: getattr(target, name) for name in GRADIENTS}
    return _replaced(target, {name: value or False for name, value in asked.items()})


def _replaced(target: M, values: Mapping[str, Any]) -> M:
    """Return a copy with other values, which remembers which of them the user wrote."""
    copy = target.model_copy()
    copy.__dict__.update(values)
    return copy


def _wrong_target(name: str, target: TargetOptions) -> Iterator[Conflict]:
    def conflict(key: str, message: str) -> Conflict:
        return Conflict((name, key), message, ((name, key), (name, "quantity"), (name, "per")))

    yield from _wrong_standard(name, target)
    components = _components(target)
    if components * target.properties > MAX_PROPERTIES:
        message = (
            f"{target.properties} properties of {components} components each are more numbers than "
            f"a target may have: at most {MAX_PROPERTIES}"
        )
        yield conflict("properties", message)
    if target.is_energy:
        try:
            check_energy_unit(target.unit)
        except ValueError as error:
            yield conflict("unit", str(error))
        if target.per == "atom":
            message = "an energy is per system: give another quantity, or per: system"
            yield conflict("per", message)
        yield from _wrong_gradient_units(name, target)
        return
    if name.partition("/")[0] == ENERGY:
        message = f"'{name}' is an energy for every engine: give it a name such as mtt::NAME"
        yield conflict("quantity", message)
    for gradient in GRADIENTS:
        if getattr(target, gradient):
            message = f"only energies have {gradient}: leave it out, or give quantity: energy"
            yield conflict(gradient, message)
    if name.partition("/")[0] not in _STANDARD:
        try:
            check_quantity(target.quantity, target.unit)
        except ValueError as error:
            yield Conflict((name, "unit"), str(error), ((name, "unit"), (name, "quantity")))


def _components(target: TargetOptions) -> int:
    if target.irreps is not None:
        return sum(2 * block.o3_lambda + 1 for block in target.irreps)
    return {"vector": 3, "matrix": 9}.get(target.type, 1)


def _wrong_standard(name: str, target: TargetOptions) -> Iterator[Conflict]:
    """What contradicts the meaning that engines give to the name of an output."""
    standard = _STANDARD.get(name.partition("/")[0])
    if standard is None:
        if target.quantity == ENERGY and (target.type != "scalar" or target.properties > 1):
            message = "an energy is one number: give another quantity"
            yield Conflict((name, "quantity"), message, ((name, "quantity"), (name, "type")))
        return
    own = name.partition("/")[0]
    for field in ("type", "per", *(("quantity",) if own != ENERGY else ())):
        if getattr(target, field) != standard[field] and not (own == ENERGY and field == "per"):
            message = f"'{name}' has the {field} {standard[field]} for every engine"
            yield Conflict((name, field), message, ((name, field),))
    if target.properties > 1:
        message = f"'{name}' is one {standard['type']} for every engine: give properties a name"
        yield Conflict((name, "properties"), message, ((name, "properties"),))
    if own != ENERGY:
        kind = "forces" if own == FORCE else "stress"
        try:
            check_gradient_unit(kind, target.unit, of_engines=True)
            check_unit(target.unit)
        except ValueError as error:
            yield Conflict((name, "unit"), str(error), ((name, "unit"),))


def _wrong_gradient_units(name: str, target: TargetOptions) -> Iterator[Conflict]:
    for gradient in GRADIENTS:
        own = getattr(target, gradient)
        try:
            if own and own.unit:
                check_gradient_unit(gradient, own.unit)
        except ValueError as error:
            place = (name, gradient, "unit")
            yield Conflict(place, str(error), (place,))


def _read_twice(targets: Mapping[str, TargetOptions]) -> Iterator[Conflict]:
    """Values that two targets would read from one place, for example by a default key."""
    for (first, target), (second, other) in itertools.combinations(targets.items(), 2):
        for part in ("values", *GRADIENTS):
            place = _place(target, part)
            if place is not None and place == _place(other, part):
                key = "key" if part == "values" else part
                message = (
                    f"'{first}' and '{second}' both read '{place[1]}' of the same file: "
                    "give one of them another key"
                )
                yield Conflict((second, key), message, ((first,), (second,)))


def _place(target: TargetOptions, part: str) -> tuple[Any, str] | None:
    """Return the file (None for that of the structures) and the key of what a target reads."""
    if part == "values":
        return target.read_from, target.key
    gradient = getattr(target, part)
    if not gradient:
        return None
    return gradient.read_from or target.read_from, gradient.key


class WeightOptions(OptionsModel):
    """How much single structures count in the loss; weights of both kinds are multiplied."""

    key: str = "config_weight"
    """Name of the number in the file that is the weight of a structure; structures without it have
    the weight 1."""
    config_type: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weights by the `config_type` of structures, as in `{bulk: 2.0, IsolatedAtom: 0.1}`; `Default`
    stands for all others, whose weight is 1 if it is not given."""


class DatasetOptions(StoredWhereOn):
    """Structures with targets."""

    later: ClassVar[Mapping[str, str]] = {"extra_data": "extra_data"}

    systems: SystemsOptions
    """The structures."""
    weights: WeightOptions | None = None
    """How much single structures count in the loss: `on` reads `config_weight` from the file,
    `{config_type: {...}}` gives weights by groups. null: all count the same."""
    targets: Annotated[dict[str, TargetOptions], AfterValidator(_complete)] = Field(
        default_factory=lambda: {"energy": TargetOptions()},
        json_schema_extra={"default": {"energy": {}}},
    )
    """What is known of the structures, by the names of the targets: `energy`, `energy/VARIANT`, or
    `OWNER::NAME` for what engines have no name for, as in `mtt::charges`."""
    extra_data: ExtraDataOptions | None = None
    """Charge and spin of the structures, for a model with `system_conditioning`, as in
    `{charge: {key: total_charge}, spin_multiplicity: {key: spin}}`. Validation and test set that do
    not have it have that of the first training set."""


class SplitOptions(OptionsModel):
    """A validation or test set; exactly one of the three is given."""

    fraction: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """Part of the training set that is taken out at random for this set."""
    indices: Indices | None = None
    """Structures of the training set that are taken out for this set."""
    datasets: Annotated[list[DatasetOptions], Field(min_length=1)] | None = None
    """Data of its own."""

    @property
    def part(self) -> float | list[int] | str | None:
        """Return what to take out of the training set; None when the set has data of its own."""
        return self.fraction if self.fraction is not None else self.indices

    def is_empty(self) -> bool:
        """Return whether the set was asked to have no structures at all (a fraction of 0)."""
        return self.fraction == 0.0

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(part is not None for part in (self.fraction, self.indices, self.datasets)) != 1:
            message = "give exactly one of fraction, indices and datasets"
            involved = (("fraction",), ("indices",), ("datasets",))
            raise inconsistent([Conflict((), message, involved)])
        return self
