"""Whether data sets can be learned together: same targets, same units."""

from collections.abc import Mapping, Sequence
from typing import Final

from mtt.errors import UserError
from mtt.options.schema.datasets import DatasetOptions
from mtt.options.schema.differences import differences

# What is told first of several differences.
_ORDER: Final = ("target", "quantity", "per", "length_unit", "unit")


def check_same_units(sets: Mapping[str, Sequence[DatasetOptions]]) -> None:
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


def _check_pair(first_name: str, first: DatasetOptions, name: str, entry: DatasetOptions) -> None:
    here, there = f"{name} ({entry.systems.read_from})", f"{first_name} ({first.systems.read_from})"
    differing = sorted(differences(entry, first), key=lambda each: _ORDER.index(each.kind))
    if not differing:
        return
    kind, target = differing[0].kind, differing[0].target
    if kind == "target":
        raise UserError(
            f"the targets differ: {', '.join(sorted(entry.targets))} here,"
            f" {', '.join(sorted(first.targets))} in {there}",
            where=here,
            hint="give the targets the same names",
        )
    if kind in ("quantity", "per"):
        ours, theirs = (each.targets[str(target)] for each in (entry, first))
        raise UserError(
            f"'{target}' is {ours.quantity or 'a value'} per {ours.per} here and"
            f" {theirs.quantity or 'a value'} per {theirs.per} in {there}",
            where=here,
            hint="give different targets different names",
        )
    subject = "lengths are" if target is None else f"'{target}' is"
    raise UserError(
        f"mixed units: {subject} in {differing[0].value} here and in {differing[0].expected} in"
        f" {there}",
        where=here,
        hint="convert one of the files: mtt computes in the units of the data",
    )
