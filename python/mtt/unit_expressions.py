"""Expressions of units, as metatomic and so every engine reads them: `e*A`, `kJ/mol/nm^2`, `(eV*u)^(1/2)`.

Metatomic takes half a second to import, and says what is wrong only when a model is exported.
"""

import difflib
import math
import re
from typing import Final, NamedTuple, NoReturn

Dimension = tuple[float, float, float, float, float]
_NONE: Final[Dimension] = (0.0, 0.0, 0.0, 0.0, 0.0)
# Powers of length, time, mass, charge and temperature.
_LENGTH: Final[Dimension] = (1.0, 0.0, 0.0, 0.0, 0.0)
_TIME: Final[Dimension] = (0.0, 1.0, 0.0, 0.0, 0.0)
_MASS: Final[Dimension] = (0.0, 0.0, 1.0, 0.0, 0.0)
_CHARGE: Final[Dimension] = (0.0, 0.0, 0.0, 1.0, 0.0)
_ENERGY: Final[Dimension] = (2.0, -2.0, 1.0, 0.0, 0.0)
_PRESSURE: Final[Dimension] = (-1.0, -2.0, 1.0, 0.0, 0.0)
_EV: Final = 1.602176634e-19
# In SI units. Each row is one unit under all its names; the first one is shown.
_UNITS: Final[tuple[tuple[tuple[str, ...], float, Dimension], ...]] = (
    (("A", "angstrom"), 1e-10, _LENGTH),
    (("bohr",), 5.2917721054482e-11, _LENGTH),
    (("nm", "nanometer"), 1e-9, _LENGTH),
    (("um", "µm", "micrometer"), 1e-6, _LENGTH),
    (("mm", "millimeter"), 1e-3, _LENGTH),
    (("cm", "centimeter"), 1e-2, _LENGTH),
    (("m", "meter"), 1.0, _LENGTH),
    (("eV", "electronvolt"), _EV, _ENERGY),
    (("meV",), 1e-3 * _EV, _ENERGY),
    (("Hartree",), 4.359744722206048e-18, _ENERGY),
    (("Ry", "rydberg"), 2.179872361103024e-18, _ENERGY),
    (("kcal",), 4184.0, _ENERGY),
    (("kJ",), 1e3, _ENERGY),
    (("J", "joule"), 1.0, _ENERGY),
    (("mol",), 6.02214076e23, _NONE),
    (("e",), _EV, _CHARGE),
    (("C", "coulomb"), 1.0, _CHARGE),
    (("Debye", "D"), 3.33564095198152e-30, (1.0, 0.0, 0.0, 1.0, 0.0)),
    (("u", "dalton"), 1.6605390689252e-27, _MASS),
    (("g", "gram"), 1e-3, _MASS),
    (("kg", "kilogram"), 1.0, _MASS),
    (("m_e", "electron_mass"), 9.109383713928e-31, _MASS),
    (("fs", "femtosecond"), 1e-15, _TIME),
    (("ps", "picosecond"), 1e-12, _TIME),
    (("ns", "nanosecond"), 1e-9, _TIME),
    (("us", "µs", "microsecond"), 1e-6, _TIME),
    (("ms", "millisecond"), 1e-3, _TIME),
    (("s", "second"), 1.0, _TIME),
    (("K", "kelvin"), 1.0, (0.0, 0.0, 0.0, 0.0, 1.0)),
    (("GPa",), 1e9, _PRESSURE),
    (("MPa",), 1e6, _PRESSURE),
    (("kPa",), 1e3, _PRESSURE),
    (("Pa", "pascal"), 1.0, _PRESSURE),
    (("bar",), 1e5, _PRESSURE),
    (("atm",), 101325.0, _PRESSURE),
    (("hbar",), 1.0545718176462e-34, (2.0, -1.0, 1.0, 0.0, 0.0)),
)
NAMES: Final = tuple(name for names, _, _ in _UNITS for name in names)
_SHOWN: Final = ", ".join(names[0] for names, _, _ in _UNITS)
# What people write for what has another name, or none, there.
_MEANT: Final = {
    "å": "A",
    "ångström": "A",
    "μm": "um",
    "pm": "1e-3*nm",
    "ha": "Hartree",
    "mha": "1e-3*Hartree",
    "kev": "1e3*eV",
    "cal": "1e-3*kcal",
    "cm-1": "1/cm",
    "v": "eV/e",
    "volt": "eV/e",
    "n": "J/m",
    "newton": "J/m",
    "amu": "u",
    "kbar": "0.1*GPa",
}
# What is counted, as in states/eV.
_COUNTED: Final = ("state", "atom", "electron", "molecule", "structure", "count", "particle")
_ELECTRONS: Final = re.compile(r"\belectrons?\b", re.IGNORECASE)
# Of what quantities are made, in any of the units that their values can be in.
_QUANTITIES: Final[dict[str, tuple[str, ...]]] = {
    "length": ("A",),
    "position": ("A",),
    "displacement": ("A",),
    "volume": ("A^3",),
    "time": ("fs",),
    "mass": ("u",),
    "temperature": ("K",),
    "velocity": ("A/fs",),
    "momentum": ("u*A/fs",),
    "virial": ("eV",),
    "force": ("eV/A",),
    "pressure": ("eV/A^3",),
    "stress": ("eV/A^3",),
    "hessian": ("eV/A^2",),
    "heat_flux": ("eV*A/fs", "eV/(A^2*fs)"),
    "charge": ("e",),
    "dipole": ("e*A",),
    "dipole_moment": ("e*A",),
    "quadrupole": ("e*A^2",),
    "quadrupole_moment": ("e*A^2",),
    # As a volume, in the units of Gauss.
    "polarizability": ("A^3", "e^2*A^2/eV"),
}
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII)
_SMALLEST: Final = 1e-300
_LARGEST: Final = 1e300
_LONGEST: Final = 200
_ALIKE: Final = 1e-9


class _Unit(NamedTuple):
    factor: float
    dimension: Dimension


def _lower(name: str) -> str:
    # Of other letters, metatomic looks at the case.
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


_BY_NAME: Final = {
    _lower(name): _Unit(factor, dimension) for names, factor, dimension in _UNITS for name in names
}


def check_unit(unit: str) -> Dimension:
    """Return the powers of length, time, mass, charge and temperature of a unit.

    No text stands for no unit, and has none of them.

    :raises ValueError: no engine could read it
    """
    return _read(unit).dimension


def check_quantity(quantity: str, unit: str) -> None:
    """Refuse a unit that is not one of its quantity; names that nobody has agreed on have any.

    :raises ValueError: no engine could read the unit, or it is one of something else
    """
    name = quantity.strip().lower().replace(" ", "_")
    name = name if name in _QUANTITIES else name.removesuffix("s")
    known = _QUANTITIES.get(name, ())
    counted = _ELECTRONS.search(unit)
    if counted and any(check_unit(one)[_CHARGE.index(1.0)] for one in known):
        raise ValueError(
            f"unknown unit '{counted[0]}' of the quantity {quantity}; did you mean 'e'?"
        )
    dimension = check_unit(unit)
    if unit.strip() and known and not any(_alike(dimension, check_unit(one)) for one in known):
        raise ValueError(
            f"'{unit}' is no unit of the quantity {quantity}, such as {' or '.join(known)} is: "
            "write another unit, or give the quantity a name of your own"
        )


def is_unit(unit: str) -> bool:
    """Return whether engines can read a unit; no text stands for no unit."""
    try:
        check_unit(unit)
    except ValueError:
        return False
    return True


def _alike(one: Dimension, other: Dimension) -> bool:
    return all(abs(a - b) < _ALIKE for a, b in zip(one, other, strict=True))


def _read(unit: str) -> _Unit:
    if len(unit) > _LONGEST:
        raise ValueError(f"a unit of {len(unit)} characters: at most {_LONGEST} are read")
    text = "".join(letter for letter in unit if letter not in " \t\n\r\f\v")
    if not text:
        return _Unit(1.0, _NONE)
    if "**" in text:
        raise ValueError(f"unknown unit '{unit}': write powers with ^, as in A^2")
    reader = _Reader(unit, re.findall(r"[*/^()]|[^*/^()]+", text))
    value = reader.product()
    if reader.tokens:
        reader.wrong()
    if not _SMALLEST < value.factor < _LARGEST:
        raise ValueError(f"the unit '{unit}' is too large or too small for a number")
    return value


class _Reader:
    """What is left of an expression, read from the left; powers bind first."""

    def __init__(self, unit: str, tokens: list[str]) -> None:
        self.unit = unit
        self.tokens = tokens

    def wrong(self) -> NoReturn:
        raise ValueError(
            f"'{self.unit}' is no expression of units: write names or numbers with *, /, ^ and "
            "parentheses between them, as in kJ/mol/nm^2"
        )

    def product(self) -> _Unit:
        value = self.power()
        while self.tokens and self.tokens[0] in "*/":
            sign = 1.0 if self.tokens.pop(0) == "*" else -1.0
            other = self.power()
            if sign < 0.0 and other.factor == 0.0:
                self.too_large()
            factor = value.factor * other.factor if sign > 0.0 else value.factor / other.factor
            pairs = zip(value.dimension, other.dimension, strict=True)
            value = self.made(factor, [a + sign * b for a, b in pairs])
        return value

    def power(self) -> _Unit:
        value = self.atom()
        while self.tokens and self.tokens[0] == "^":
            self.tokens.pop(0)
            exponent = self.atom()
            if not _alike(exponent.dimension, _NONE):
                raise ValueError(f"a power in the unit '{self.unit}' is no number")
            if value.factor <= 0.0:
                self.too_large()
            try:
                factor = value.factor**exponent.factor
            except OverflowError:
                self.too_large()
            value = self.made(factor, [a * exponent.factor for a in value.dimension])
        return value

    def made(self, factor: float, dimension: list[float]) -> _Unit:
        if not math.isfinite(factor):
            self.too_large()
        length, time, mass, charge, temperature = dimension
        return _Unit(factor, (length, time, mass, charge, temperature))

    def too_large(self) -> NoReturn:
        raise ValueError(f"the unit '{self.unit}' is too large or too small for a number")

    def atom(self) -> _Unit:
        if not self.tokens or self.tokens[0] in "*/^)":
            self.wrong()
        token = self.tokens.pop(0)
        if token == "(":
            value = self.product()
            if not self.tokens or self.tokens.pop(0) != ")":
                self.wrong()
            return value
        lower = _lower(token)
        if lower in _BY_NAME:
            return _BY_NAME[lower]
        if _NUMBER.fullmatch(lower):
            number = float(lower)
            if number and not _SMALLEST < abs(number) < _LARGEST:
                self.too_large()
            return _Unit(number, _NONE)
        if token not in self.unit:
            raise ValueError(
                f"unknown unit '{self.unit}': write * or / between units, as in kJ*mol^-1"
            )
        raise ValueError(f"unknown unit {self.named(token)}; {_advice(token)}")

    def named(self, token: str) -> str:
        return f"'{token}'" if token == self.unit.strip() else f"'{token}' in '{self.unit}'"


def _advice(name: str) -> str:
    if name.lower().removesuffix("s") in _COUNTED:
        return f"a number of {name} has no unit: write 1, as in 1/eV, or leave the unit out"
    meant = _MEANT.get(name.lower())
    if meant is None and len(name) > 3:
        near = difflib.get_close_matches(name.lower(), [known.lower() for known in NAMES], n=1)
        meant = next((known for known in NAMES if near and known.lower() == near[0]), None)
    if meant is not None:
        return f"did you mean '{meant}'?"
    return (
        f"leave the unit out, or write it with those that engines know, as in 1/eV or e*A: {_SHOWN}"
    )
