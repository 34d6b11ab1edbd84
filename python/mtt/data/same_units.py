"""Whether data sets can be learned together: same targets, same units."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mtt.errors import UserError

if TYPE_CHECKING:
    from mtt.options.schema.datasets import DatasetOptions


def check_same_units(sets: Mapping[str, Sequence["DatasetOptions"]]) -> None:
    """Refuse data sets that cannot be mixed.

    :param sets: entries by the name of the option they come from, ``training_set`` first
    :raises UserError: if two entries differ in the length unit, in the names of their targets, or
        in quantity, unit or ``per`` of one of them
    """
    first: tuple[str, DatasetOptions] | None = None
    for name, entries in sets.items():
        for entry in entries:
            if first is None:
                first = (name, entry)
            else:
                _check_pair(*first, name, entry)


def _check_pair(
    first_name: str, first: "DatasetOptions", name: str, entry: "DatasetOptions"
) -> None:
    here, there = f"{name} ({entry.systems.read_from})", f"{first_name} ({first.systems.read_from})"
    if set(entry.targets) != set(first.targets):
        raise UserError(
            f"the targets differ: {', '.join(sorted(entry.targets))} here,"
            f" {', '.join(sorted(first.targets))} in {there}",
            where=here,
            hint="give the targets the same names",
        )
    units = [("lengths are", entry.systems.length_unit, first.systems.length_unit)]
    for name in entry.targets:
        ours, theirs = entry.targets[name], first.targets[name]
        if (ours.quantity, ours.per) != (theirs.quantity, theirs.per):
            raise UserError(
                f"'{name}' is {ours.quantity or 'a value'} per {ours.per} here and"
                f" {theirs.quantity or 'a value'} per {theirs.per} in {there}",
                where=here,
                hint="give different targets different names",
            )
        units.append((f"'{name}' is", ours.unit, theirs.unit))
    for what, unit, other in units:
        if canonical(unit) != canonical(other):
            raise UserError(
                f"mixed units: {what} in {unit} here and in {other} in {there}",
                where=here,
                hint="convert one of the files: mtt computes in the units of the data",
            )


def canonical(unit: str) -> str:
    """Return the one spelling that stands for all spellings of a unit."""
    lower = unit.strip().lower()
    return {"a": "angstrom", "nanometer": "nm"}.get(lower, lower)
