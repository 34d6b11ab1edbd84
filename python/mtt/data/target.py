"""What a target is: one description as data, which everything that concerns targets loops over.

Options make it, readers fill it, and it goes through batches, loss, metrics, checkpoint, export,
golden pack and verification. Nothing on that way knows a target by its name.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, Self

POSITIONS: Final = "positions"
STRAIN: Final = "strain"
GRADIENTS: Final = (POSITIONS, STRAIN)
ENERGY: Final = "energy"
# A standard output of metatomic with or without a variant, or a name of somebody's own.
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*(/[A-Za-z0-9_.+-]+)?")
_MAX_PROPERTIES: Final = 65536


@dataclass(frozen=True)
class Target:
    """One quantity that a model predicts.

    - ``name``: the output that engines ask for: ``energy``, ``energy/VARIANT`` or ``OWNER::NAME``;
    - ``quantity``: what it is, for instance ``energy`` or ``charge``;
    - ``unit``: of its values; gradients by positions have this unit over the length unit;
    - ``per``: whether a value belongs to a ``system`` (the sum over its atoms) or to an ``atom``;
    - ``type``: how it turns with the structure; a ``scalar`` does not;
    - ``properties``: numbers for each system or atom;
    - ``gradients``: those that the data have and the model gives, of ``positions`` and ``strain``;
    - ``description``: free text, for instance the level of theory.
    """

    name: str
    quantity: str = ENERGY
    unit: str = "eV"
    per: Literal["system", "atom"] = "system"
    type: Literal["scalar"] = "scalar"
    properties: int = 1
    gradients: tuple[str, ...] = ()
    description: str = ""

    @property
    def is_energy(self) -> bool:
        """Return whether derivatives of the target are forces and stress."""
        return self.quantity == ENERGY and self.per == "system" and self.properties == 1

    def with_all_gradients(self) -> Self:
        """Return the target with every gradient that it can have."""
        return replace(self, gradients=GRADIENTS if self.is_energy else ())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, from which :meth:`from_dict` makes the same target."""
        return {**asdict(self), "gradients": list(self.gradients)}

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
            "type": lambda value: value == "scalar",
            "properties": lambda value: type(value) is int and 0 < value <= _MAX_PROPERTIES,
            "gradients": _are_gradients,
            "description": lambda value: isinstance(value, str),
        }
        for key in [*expected, *plain]:
            if key not in plain or key not in expected or not expected[key](plain[key]):
                raise ValueError(key)
        return cls(**{**plain, "gradients": tuple(plain["gradients"])})


def _are_gradients(value: Any) -> bool:
    known = isinstance(value, list | tuple) and all(kind in GRADIENTS for kind in value)
    return known and len(set(value)) == len(value)
