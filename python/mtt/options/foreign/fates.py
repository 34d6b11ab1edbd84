"""What can become of an option of another program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class _Any:
    """Equal to every value."""

    def __eq__(self, other: object) -> bool:
        return True

    # As Python says it of what has no hash; the type of object's has no such value.
    __hash__ = None  # type: ignore[assignment]


# Of `Absent`: whatever the value is, it asks for nothing.
ANYTHING: Final = _Any()
LEAVE_IT_OUT: Final = "leave it out"
# The other program has no default for it.
NO_DEFAULT: Final = object()


@dataclass(frozen=True)
class Taken:
    """An option of the same name and meaning here.

    - ``default``: that of the other program;
    - ``left_out``: values that are the same as leaving it out;
    - ``values``: what values that differ are called here;
    - ``refused``: values that are not possible here, or keys of a mapping in its place, and why.
    """

    default: Any = NO_DEFAULT
    left_out: tuple[Any, ...] = ()
    values: Mapping[Any, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Renamed:
    """An option of the same meaning under another name.

    - ``ours``: the name here, dotted from the section that both are in;
    - ``values``: what values that differ are called here.
    """

    ours: str
    default: Any = NO_DEFAULT
    values: Mapping[Any, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Absent:
    """An option that there is none of here.

    - ``nothing``: values that ask for nothing that mtt does not do anyway, or what tells so;
    - ``reason``: why there is none; ``advice``: what to do;
    - ``default``: that of the other program, one of ``nothing``.
    """

    nothing: tuple[Any, ...] | Callable[[Any], bool]
    reason: str
    advice: str = LEAVE_IT_OUT
    default: Any = NO_DEFAULT

    def asks_for_nothing(self, value: Any) -> bool:
        """Return whether leaving the option out changes nothing."""
        if callable(self.nothing):
            return self.nothing(value)
        return any(same(value, each) for each in self.nothing)


@dataclass(frozen=True)
class Reworked:
    """An option whose value is written in another way here; a function of its own does that."""

    default: Any = NO_DEFAULT


Fate = Taken | Renamed | Absent | Reworked


def same(value: Any, other: Any) -> bool:
    """Return whether two values of YAML are the same; 0 is not ``off``."""
    if other is ANYTHING:
        return True
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)
