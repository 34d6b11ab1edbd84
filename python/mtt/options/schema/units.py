"""Units that metatomic, and so every MD engine that loads an exported model, understands."""

import difflib
from typing import Annotated

from pydantic import AfterValidator

ENERGY_UNITS = ("eV", "meV", "Hartree", "Ry", "kcal/mol", "kJ/mol", "J")
LENGTH_UNITS = ("angstrom", "A", "bohr", "nm", "nanometer")


def _known(unit: str, kind: str, units: tuple[str, ...]) -> str:
    # metatomic does not look at the case of a unit, so neither do we
    if unit.lower() in {known.lower() for known in units}:
        return unit
    close = difflib.get_close_matches(unit, units, n=1)
    if close:
        raise ValueError(f"unknown unit of {kind} '{unit}'; did you mean '{close[0]}'?")
    raise ValueError(f"unknown unit of {kind} '{unit}'; known: {', '.join(units)}")


def check_energy_unit(unit: str) -> str:
    """Return a unit of energy as it is; raises ValueError if it is unknown."""
    return _known(unit, "energy", ENERGY_UNITS)


def check_length_unit(unit: str) -> str:
    """Return a unit of length as it is; raises ValueError if it is unknown."""
    return _known(unit, "length", LENGTH_UNITS)


LengthUnit = Annotated[str, AfterValidator(check_length_unit)]
