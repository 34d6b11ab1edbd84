"""Durations as people write them: "10 min", "1h30m", "1d 2h"; and how often to save."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from mtt.options.reading.validate import describe
from mtt.options.schema.base import invalid

_UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
_LONG = {
    "d": "d day days",
    "h": "h hour hours",
    "min": "m min minute minutes",
    "s": "s sec second seconds",
}
_SHORT = {word: unit for unit, words in _LONG.items() for word in words.split()}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)")
_STEPS = re.compile(r"([1-9]\d*) steps?")
_DURATION = "a duration such as '10 min', '11h30m' or '1d 2h'"
_INTERVAL = "steps such as '500 steps', or a duration such as '90 s', '10 min' or '1h30m'"
# Longer ones are mistakes, and would overflow somewhere.
_LONGEST = 10_000 * 86400


def seconds(text: str) -> float:
    """The length of a duration.

    Raises ValueError if the text is none.
    """
    return float(_parse(text, _DURATION))


def steps(text: str) -> int | None:
    """The number of steps in a text such as "500 steps", or None if it is not about steps."""
    match = _STEPS.fullmatch(text.strip())
    return int(match[1]) if match else None


def _parse(text: Any, expected: str) -> Decimal:
    wrong = invalid(f"expected {expected}, found {_shown(text)}")
    if not isinstance(text, str) or not text.strip():
        raise wrong
    total, end, used = Decimal(0), 0, list[str]()
    while end < len(text.rstrip()):
        part = _PART.match(text, end)
        unit = _SHORT.get(part[2]) if part else None
        if part is None or unit is None or unit in used:
            raise wrong
        used.append(unit)
        total += Decimal(part[1]) * _UNITS[unit]
        end = part.end()
    if not 0 < total <= _LONGEST:
        raise invalid(f"must be longer than 0 and at most 10000 days, found '{text}'")
    return total


def _shown(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value} without a unit" if number else describe(value)


def _canonical(length: Decimal) -> str:
    """Each unit at most once, the largest first; only seconds may have a fraction."""
    parts, rest = list[str](), length
    for unit, size in _UNITS.items():
        count = rest if unit == "s" else rest // size
        rest -= count * size
        if count:
            parts.append(f"{count.normalize():f} {unit}")
    return " ".join(parts)


def _check_duration(value: Any) -> str:
    return _canonical(_parse(value, _DURATION))


def _check_interval(value: Any) -> str:
    count = steps(value) if isinstance(value, str) else None
    if count is not None:
        return f"{count} step{'s' if count > 1 else ''}"
    return _canonical(_parse(value, _INTERVAL))


# Stored as text in its canonical form, which is read again as the same.
Duration = Annotated[
    str,
    PlainValidator(_check_duration),
    WithJsonSchema({"type": "string", "format": "mtt-duration"}),
]
SaveInterval = Annotated[
    str,
    PlainValidator(_check_interval),
    WithJsonSchema({"type": "string", "format": "mtt-interval"}),
]
