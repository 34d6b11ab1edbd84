"""Units that metatomic, and so every MD engine that loads an exported model, understands."""

import difflib
from typing import Final

ENERGY_UNITS: Final = ("eV", "meV", "Hartree", "Ry", "kcal/mol", "kJ/mol", "J")
LENGTH_UNITS: Final = ("angstrom", "A", "bohr", "nm", "nanometer")
PRESSURE_UNITS: Final = ("GPa", "kbar", "Pa")
# Other names of a unit, beside spellings that differ in case only.
_SYNONYMS: Final = {"a": "angstrom", "nanometer": "nm"}
# The power of the length below the energy.
_POWERS: Final = {"forces": 1, "stress": 3, "virial": 0}


def spelling(unit: str) -> str:
    """Return the one spelling that stands for all spellings of a unit; another unit as it is."""
    lower = unit.strip().lower()
    lower = _SYNONYMS.get(lower, lower)
    return next((known for known in (*ENERGY_UNITS, *LENGTH_UNITS) if known.lower() == lower), unit)


def same_unit(first: str, second: str) -> bool:
    """Return whether two units are one, however they are spelled."""
    return spelling(first).strip().lower() == spelling(second).strip().lower()


def fits(unit: str, other: str, stated: bool) -> bool:
    """Return whether data in a unit can be had in another: it is the same, or converted.

    :param stated: whether somebody wrote the unit; a default is too little to convert from
    """
    pair = {spelling(unit), spelling(other)}
    convertible = any(pair <= set(units) for units in (ENERGY_UNITS, LENGTH_UNITS))
    return same_unit(unit, other) or (stated and convertible)


def _known(unit: str, kind: str, units: tuple[str, ...]) -> str:
    # metatomic does not look at the case of a unit, so neither do we
    if unit.lower() in {known.lower() for known in units}:
        return spelling(unit)
    close = difflib.get_close_matches(unit, units, n=1)
    if close:
        raise ValueError(f"unknown unit of {kind} '{unit}'; did you mean '{close[0]}'?")
    raise ValueError(f"unknown unit of {kind} '{unit}'; known: {', '.join(units)}")


def check_energy_unit(unit: str) -> str:
    """Return a unit of energy in its usual spelling; raises ValueError if it is unknown."""
    return _known(unit, "energy", ENERGY_UNITS)


def check_length_unit(unit: str) -> str:
    """Return a unit of length in its usual spelling; raises ValueError if it is unknown."""
    return _known(unit, "length", LENGTH_UNITS)


def check_gradient_unit(gradient: str, unit: str, of_engines: bool = False) -> str:
    """Return a unit of forces, stress or virial in its usual spelling, as ``eV/A^3`` or ``GPa``.

    :param of_engines: take only what engines know; data may be in kbar, which none of them does
    :raises ValueError: it is unknown, or one of another quantity
    """
    pressures = tuple(known for known in PRESSURE_UNITS if known != "kbar" or not of_engines)
    pressure = {known.lower(): known for known in pressures}.get(unit.strip().lower())
    if gradient == "stress" and pressure is not None:
        return pressure
    if gradient == "stress" and unit.strip().lower() == "kbar":
        raise ValueError(
            f"engines know no '{unit}': convert the values to GPa (1 kbar = 0.1 GPa), and write GPa"
        )
    power = _POWERS[gradient]
    energy, slash, length = unit.rpartition("/") if power else (unit, "", "")
    suffix = f"^{power}" if power > 1 else ""
    if (power and not slash) or not length.endswith(suffix):
        shape = f"ENERGY/LENGTH{suffix}"
        known = ", ".join((f"{shape}, as in eV/A{suffix}", *pressures * (power > 1)))
        raise ValueError(f"unknown unit of {gradient} '{unit}'; known: {known}")
    energy = check_energy_unit(energy)
    if not power:
        return energy
    length = check_length_unit(length.removesuffix(suffix))
    return f"{energy}/{'A' if length == 'angstrom' else length}{suffix}"
