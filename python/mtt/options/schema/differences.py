"""What two data sets must agree on, to be learned or evaluated together."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Literal, NamedTuple

from mtt.options.schema.base import Location
from mtt.options.schema.datasets import DatasetOptions

_FIELDS: tuple[Literal["quantity", "unit", "per"], ...] = ("quantity", "unit", "per")


class Difference(NamedTuple):
    """One thing in which a data set differs from the first one.

    - ``location``: below the data set;
    - ``value`` and ``expected``: None for a target that only the other one has;
    - ``target``: whose field differs, if it is one of a target.
    """

    kind: Literal["target", "quantity", "per", "length_unit", "unit"]
    location: Location
    value: str | None
    expected: str | None
    target: str | None = None


def differences(data: DatasetOptions, first: DatasetOptions) -> Iterator[Difference]:
    """Return units, names of targets, and their quantities in which two data sets differ."""
    units = data.systems.length_unit, first.systems.length_unit
    if canonical(units[0]) != canonical(units[1]):
        yield Difference("length_unit", ("systems", "length_unit"), *units)
    more = [name for name in data.targets if name not in first.targets]
    missing = [name for name in first.targets if name not in data.targets]
    for name, other in zip_longest(more, missing):
        place = ("targets",) if name is None else ("targets", name)
        yield Difference("target", place, name, other)
    for name in [name for name in data.targets if name in first.targets]:
        for field in _FIELDS:
            value, expected = (getattr(each.targets[name], field) for each in (data, first))
            # "Energy" is not the quantity whose derivatives are forces.
            same = canonical if field == "unit" else str
            if same(value) != same(expected):
                yield Difference(field, ("targets", name, field), value, expected, name)


def canonical(unit: str) -> str:
    """Return the one spelling that stands for all spellings of a unit."""
    lower = unit.strip().lower()
    return {"a": "angstrom", "nanometer": "nm"}.get(lower, lower)
