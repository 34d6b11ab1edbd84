"""Symbols of the elements, where importing a whole library for them would take too long."""

from collections.abc import Sequence
from typing import Final

_SYMBOLS: Final = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br "
    "Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho "
    "Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es "
    "Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)


# Atomic numbers by symbol.
NUMBERS: Final = {symbol: number for number, symbol in enumerate(_SYMBOLS.split(), start=1)}


def symbol_of(atomic_type: int) -> str:
    """Return the symbol of an atomic type, or the number where it has none."""
    return symbols([atomic_type])[0] or str(atomic_type)


def symbols(atomic_types: Sequence[int]) -> list[str | None]:
    """The symbol of each atomic type, or None where it is no atomic number, as in some models."""
    known = _SYMBOLS.split()
    return [known[number - 1] if 0 < number <= len(known) else None for number in atomic_types]
