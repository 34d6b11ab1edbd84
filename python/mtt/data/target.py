"""What a target is: one description as data, which everything that concerns targets loops over.

Options make it, readers fill it, and it goes through batches, loss, metrics, checkpoint, export,
golden pack and verification. Nothing on that way knows a target by its name.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, Self

from mtt.options.schema.sizes import MAX_PROPERTIES

POSITIONS: Final = "positions"
STRAIN: Final = "strain"
GRADIENTS: Final = (POSITIONS, STRAIN)
ENERGY: Final = "energy"
FORCE: Final = "force"
STRESS: Final = "stress"
# What engines take for forces and stress without asking for derivatives of an energy.
NON_CONSERVATIVE: Final = {
    "non_conservative_force": FORCE,
    "non_conservative_stress": STRESS,
}
TYPES: Final = ("scalar", "vector", "matrix", "spherical")
LARGEST_DEGREE: Final = 12
# A standard output of metatomic with or without a variant, or a name of somebody's own.
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*(/[A-Za-z0-9_.+-]+)?")


@dataclass(frozen=True)
class Target:
    """One quantity that a model predicts.

    - ``name``: the output that engines ask for: ``energy``, ``energy/VARIANT`` or ``OWNER::NAME``;
    - ``quantity``: what it is, for instance ``energy`` or ``charge``;
    - ``unit``: of its values; gradients by positions have this unit over the length unit;
    - ``per``: whether a value belongs to a ``system`` (the sum over its atoms) or to an ``atom``;
    - ``type``: how it turns with the structure: a ``scalar`` does not, a ``vector`` has the
      components x, y, z, a ``matrix`` those of two such axes, row first, and ``spherical`` those of
      real spherical harmonics;
    - ``irreps``: of a spherical target, (degree, parity) of each block, where parity is 1 for
      tensors and -1 for pseudotensors; components are in the order -degree ... degree;
    - ``properties``: quantities of this type for each system or atom;
    - ``gradients``: those that the data have and the model gives, of ``positions`` and ``strain``;
    - ``description``: free text, for instance the level of theory;
    - ``shift``: points by which the values of a structure may be moved along their grid before they are
      compared, see :mod:`mtt.data.spectra`; 0 if they may not, twice ``properties`` if they may begin
      anywhere.
    """

    name: str
    quantity: str = ENERGY
    unit: str = "eV"
    per: Literal["system", "atom"] = "system"
    type: Literal["scalar", "vector", "matrix", "spherical"] = "scalar"
    properties: int = 1
    gradients: tuple[str, ...] = ()
    description: str = ""
    irreps: tuple[tuple[int, int], ...] = ()
    shift: int = 0

    @property
    def is_energy(self) -> bool:
        """Return whether derivatives of the target are forces and stress."""
        scalar = self.type == "scalar" and self.properties == 1
        return self.quantity == ENERGY and self.per == "system" and scalar

    def may_be_shifted(self, points: int) -> bool:
        """Return whether values can be a spectrum that is moved by up to so many points."""
        fits = points < self.properties or points == 2 * self.properties
        return self.type == "scalar" and self.per == "system" and fits

    @property
    def room(self) -> int:
        """Return how many of the first values are room for a shift, and count for nothing."""
        return self.shift if self.shift < self.properties else 0

    @property
    def per_volume(self) -> bool:
        """Return whether values are what atoms add up to over the volume, as of a stress.

        They are symmetric, and structures without a volume have none.
        """
        return self.quantity == STRESS and self.per == "system" and self.type == "matrix"

    @property
    def components(self) -> tuple[int, ...]:
        """Return the number of components of each block."""
        plain = {"scalar": 1, "vector": 3, "matrix": 9}
        if self.type == "spherical":
            return tuple(2 * degree + 1 for degree, _ in self.irreps)
        return (plain[self.type],)

    @property
    def numbers(self) -> int:
        """Return how many numbers a row of values has.

        Blocks come one after the other; in each of them the properties of the first component are
        first.
        """
        return sum(self.components) * self.properties

    @property
    def invariant(self) -> tuple[bool, ...]:
        """Return for each number of a row whether no rotation changes it: it may have a baseline."""
        if self.type == "spherical":
            blocks = [irrep == (0, 1) for irrep in self.irreps]
        else:
            blocks = [self.type == "scalar"]
        return tuple(
            same
            for same, components in zip(blocks, self.components, strict=True)
            for _ in range(components * self.properties)
        )

    def with_all_gradients(self) -> Self:
        """Return the target with every gradient that it can have."""
        return replace(self, gradients=GRADIENTS if self.is_energy else ())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, from which :meth:`from_dict` makes the same target."""
        plain = {**asdict(self), "gradients": list(self.gradients)}
        irreps = [list(irrep) for irrep in plain.pop("irreps")]
        if not plain["shift"]:
            # As files had it before there was one.
            del plain["shift"]
        return {**plain, "irreps": irreps} if self.type == "spherical" else plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Make a target from plain JSON.

        :raises ValueError: naming the first entry that is missing, unknown or not proper
        """
        expected: dict[str, Any] = {
            "name": lambda value: isinstance(value, str) and NAME.fullmatch(value),
            "quantity": lambda value: isinstance(value, str),
            "unit": lambda value: isinstance(value, str),
            "per": lambda value: value in ("system", "atom"),
            "type": lambda value: value in TYPES,
            "properties": lambda value: type(value) is int and 0 < value <= MAX_PROPERTIES,
            "gradients": _are_gradients,
            "description": lambda value: isinstance(value, str),
        }
        if plain.get("type") == "spherical":
            expected["irreps"] = _are_irreps
        if "shift" in plain:
            expected["shift"] = lambda value: type(value) is int and 0 < value <= 2 * MAX_PROPERTIES
        for key in [*expected, *plain]:
            if key not in plain or key not in expected or not expected[key](plain[key]):
                raise ValueError(key)
        irreps = tuple((degree, parity) for degree, parity in plain.get("irreps", ()))
        target = cls(**{**plain, "gradients": tuple(plain["gradients"]), "irreps": irreps})
        if target.numbers > MAX_PROPERTIES:
            raise ValueError("properties")
        if target.gradients and not target.is_energy:
            raise ValueError("gradients")
        if target.shift and not target.may_be_shifted(target.shift):
            raise ValueError("shift")
        return target


def _are_irreps(value: Any) -> bool:
    return isinstance(value, list | tuple) and 0 < len(value) <= 100 and all(map(_is_irrep, value))


def _is_irrep(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return (
        pair and type(value[0]) is int and 0 <= value[0] <= LARGEST_DEGREE and value[1] in (1, -1)
    )


def _are_gradients(value: Any) -> bool:
    known = isinstance(value, list | tuple) and all(kind in GRADIENTS for kind in value)
    return known and len(set(value)) == len(value)
