"""What two data sets must agree on, to be learned or evaluated together."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Literal, NamedTuple, get_args

from mtt.options.schema.base import Location
from mtt.options.schema.datasets import DatasetOptions, TargetOptions
from mtt.units import fits

Field = Literal["quantity", "unit", "per", "type", "irreps", "properties"]
_FIELDS: tuple[Field, ...] = get_args(Field)


class Difference(NamedTuple):
    """One thing in which a data set differs from the first one.

    - ``location``: below the data set;
    - ``value`` and ``expected``: None for a target that only the other one has;
    - ``target``: whose field differs, if it is one of a target.
    """

    kind: Literal["target", "length_unit"] | Field
    location: Location
    value: str | None
    expected: str | None
    target: str | None = None


def differences(data: DatasetOptions, first: DatasetOptions) -> Iterator[Difference]:
    """Return names of targets, and their quantities and units, in which two data sets differ.

    Units that are stated, and can be turned into those of the first one, do not count.
    """
    units = data.systems.length_unit, first.systems.length_unit
    if not fits(*units, stated="length_unit" in data.systems.model_fields_set):
        yield Difference("length_unit", ("systems", "length_unit"), *units)
    more = [name for name in data.targets if name not in first.targets]
    missing = [name for name in first.targets if name not in data.targets]
    for name, other in zip_longest(more, missing):
        place = ("targets",) if name is None else ("targets", name)
        yield Difference("target", place, name, other)
    for name in [name for name in data.targets if name in first.targets]:
        for field in _FIELDS:
            value, expected = (_field(each.targets[name], field) for each in (data, first))
            # "Energy" is not the quantity whose derivatives are forces.
            if field == "unit":
                same = fits(value, expected, "unit" in data.targets[name].model_fields_set)
            else:
                same = value == expected
            if not same:
                yield Difference(field, ("targets", name, field), value, expected, name)


def _field(target: TargetOptions, field: Field) -> str:
    value = getattr(target, field)
    if field == "irreps":
        blocks = value or []
        return ", ".join(f"({irrep.o3_lambda}, {irrep.o3_sigma})" for irrep in blocks)
    return str(value)
