"""Data sets that are learned or evaluated together: the same targets, brought to the same units."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from mtt.data.structure import Reference, Structure
from mtt.errors import UserError
from mtt.units import ENERGY_UNITS, LENGTH_UNITS, fits, same_unit, spelling

if TYPE_CHECKING:
    from mtt.options.schema.datasets import DatasetOptions

# What is told first of several differences.
_ORDER: Final = (
    *("target", "quantity", "per", "type", "irreps", "properties", "length_unit", "unit"),
)


class Units(NamedTuple):
    """The unit of lengths, and that of each target by its name; gradients have those made of them."""

    length: str
    targets: Mapping[str, str]

    @classmethod
    def of(cls, entry: "DatasetOptions") -> Self:
        """Return the units of a data set as its options state them."""
        targets = {name: target.unit for name, target in entry.targets.items()}
        return cls(entry.systems.length_unit, targets)

    def fits(self, other: "Units") -> bool:
        """Return whether numbers in these units are those in the other, of targets of both."""
        units = [(unit, other.targets.get(name, "")) for name, unit in self.targets.items()]
        pairs = [(self.length, other.length), *units]
        return all(not (a and b) or same_unit(a, b) for a, b in pairs)

    def of_targets(self, names: Iterable[str]) -> "Units":
        """Return the same units without those of other targets."""
        return Units(self.length, {name: self.targets.get(name, "") for name in names})

    def __str__(self) -> str:
        return " and ".join(dict.fromkeys([*filter(None, self.targets.values()), self.length]))


def factor(source: str, destination: str) -> float:
    """Return what turns numbers in one unit into those in another, as engines convert them.

    An empty unit is one that nobody states, and stays as it is.
    """
    if not (source and destination) or same_unit(source, destination):
        return 1.0
    import metatomic.torch

    # The one unit of stress that metatomic has no name for.
    tenth = 0.1 if source == "kbar" else 1.0
    source = "GPa" if source == "kbar" else source
    return tenth * float(metatomic.torch.unit_conversion_factor(source, destination))


def in_ev(unit: str) -> float | None:
    """Return an energy unit in eV; None if it is none, or not known."""
    return factor(spelling(unit), "eV") if spelling(unit) in ENERGY_UNITS else None


def in_angstrom(unit: str) -> float | None:
    """Return a length unit in angstrom; None if it is none, or not known."""
    return factor(spelling(unit), "angstrom") if spelling(unit) in LENGTH_UNITS else None


def converted(structures: Sequence[Structure], source: Units, to: Units) -> list[Structure]:
    """Return the structures in other units; those in the same units as they are.

    Targets that ``to`` does not have keep their unit.
    """
    if source.fits(to):
        return list(structures)
    length = factor(source.length, to.length)
    factors = {
        name: factor(unit, to.targets.get(name, "")) for name, unit in source.targets.items()
    }
    return [
        replace(
            structure,
            positions=structure.positions * length,
            cell=structure.cell * length,
            references={
                name: _reference(reference, factors[name], length)
                for name, reference in structure.references.items()
            },
        )
        for structure in structures
    ]


def _reference(reference: Reference, value: float, length: float) -> Reference:
    forces, stress = reference.forces, reference.stress
    return Reference(
        reference.values * value,
        None if forces is None else forces * (value / length),
        None if stress is None else stress * (value / length**3),
    )


def check_same_targets(sets: Mapping[str, Sequence["DatasetOptions"]]) -> None:
    """Refuse data sets that cannot be mixed.

    :param sets: entries by the name of the option they come from, ``training_set`` first
    :raises UserError: if two entries differ in the names of their targets, or in quantity or ``per``
        of one of them, or have units that cannot be turned into each other
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
    from mtt.options.schema.differences import differences

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
    if kind in ("type", "irreps", "properties"):
        raise UserError(
            f"the {kind} of '{target}' is {differing[0].value or 'none'} here and"
            f" {differing[0].expected or 'none'} in {there}",
            where=here,
            hint="give different targets different names",
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
    hint = "convert one of the files: mtt converts energies and lengths only"
    if fits(str(differing[0].value), str(differing[0].expected), stated=True):
        hint = f"state '{kind}' to have the data converted"
    raise UserError(
        f"mixed units: {subject} in {differing[0].value} here and in {differing[0].expected} in"
        f" {there}",
        where=here,
        hint=hint,
    )
