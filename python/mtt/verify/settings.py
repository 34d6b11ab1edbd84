"""What a verification is asked for, and where its report goes."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtt.errors import UserError
from mtt.options.reading.problems import did_you_mean
from mtt.verify.program_catalogue import Option, catalogue

_ALL_CHECKS = "docs/reference/verify-checks.md, in the documentation, lists all checks"
_RECORD = "--record"
_WAIVERS = "waivers"


class Settings:
    """Options of the program, by keyword; those that are None are left to the program.

    Keywords, types and choices are those of the catalogue, as ``docs/reference/verify-checks.md``
    lists them. ``only`` is a list of ``FAMILY`` or ``FAMILY/name``; ``skip`` too, or a mapping
    from these to the reason, which the report records. ``engines`` are words of ``--for``.
    ``waivers`` is a file of failures that are accepted; without it, the one beside the model is
    used, and with ``False`` none.

    :raises TypeError: there is no such keyword
    :raises UserError: a value that the option does not take
    """

    def __init__(self, **options: Any) -> None:
        known = catalogue().keywords()
        if not known and any(value is not None for value in options.values()):
            # Without its options a verification would ask for less than it was told to.
            raise UserError(
                "the options of mtt-verify are not known: this copy of mtt was not built",
                hint="run 'pip install .' in the source folder",
            )
        for keyword in options:
            if known and keyword not in known:
                raise TypeError(f"mtt.verify() has no option '{keyword}'")
        self._arguments: list[str] = []
        for keyword, option in known.items():
            value = options.get(keyword)
            if value is not None and keyword != _WAIVERS:
                self._arguments += _words(option, value)
        engines = options.get("engines") or ()
        self.engines = [engines] if isinstance(engines, str) else list(engines)
        waivers = options.get(_WAIVERS)
        self._waivers: Path | bool | None = waivers if isinstance(waivers, bool) else None
        if isinstance(waivers, str | os.PathLike):
            self._waivers = Path(waivers)
        against = options.get("against")
        self.against = None if against is None else Path(against)
        record = options.get("record")
        self.record = None if record is None else Path(record)

    def arguments(self, record: Path | None = None) -> list[str]:
        """Return the arguments for the program.

        :param record: file to write the record to in the place of ``record``, which may be a link or
            a device that the program would replace
        """
        arguments = list(self._arguments)
        if record is not None and _RECORD in arguments:
            arguments[arguments.index(_RECORD) + 1] = os.fspath(record)
        return arguments

    def waivers(self, model: Path | None) -> Path | None:
        """Return the file of waivers to use, if there is one.

        :param model: whose neighbor counts if none was named; None for a model that has no folder of
            the user's
        """
        if isinstance(self._waivers, Path):
            return self._waivers
        if self._waivers is False or model is None:
            return None
        from mtt.verify.waivers import beside

        return beside(model)

    def __eq__(self, other: object) -> bool:
        """Return whether the program would be asked for the same."""
        if not isinstance(other, Settings):
            return False
        return (self._waivers, self._arguments) == (other._waivers, other._arguments)

    def __repr__(self) -> str:
        """Return the arguments in words."""
        return f"Settings({' '.join(self._arguments)})"


@dataclass(frozen=True)
class Outputs:
    """Files to write the report to, besides the table on the terminal; ``json`` may be ``-``."""

    json: Path | None = None
    junit: Path | None = None
    sarif: Path | None = None
    html: Path | None = None
    annotations: str | None = None

    def paths(self) -> list[Path]:
        """Return the files that will be written."""
        named = (self.json, self.junit, self.sarif, self.html)
        return [path for path in named if path is not None and path != Path("-")]


def _words(option: Option, value: Any) -> list[str]:
    """Return flag and value as the program takes them; nothing for what holds anyway."""
    if option.type == "switch":
        return [] if value else [option.flag]
    text = _text(option, value)
    return [] if text in ("", option.default) else [option.flag, text]


def _text(option: Option, value: Any) -> str:
    match option.type:
        case "choice":
            choices = option.choices or []
            if value not in choices:
                raise UserError(
                    f"there is no {option.keyword} called '{value}'",
                    hint=f"choose among {', '.join(choices)}",
                )
        case "checks":
            return ",".join(_known(value))
        case "waivers":
            reasons = value if isinstance(value, Mapping) else _reasons(value)
            _known(reasons)
            return ",".join(f"{name}={why}" if why else name for name, why in reasons.items())
        case "names":
            return ",".join([value] if isinstance(value, str) else value)
        case "uses":
            return ",".join(_engines([value] if isinstance(value, str) else value))
        case "count":
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{option.keyword} is a whole number above zero, not {value!r}")
        case "quantity":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value >= 0):
                raise UserError(f"{option.keyword} is a number that is not negative, not {value!r}")
        case _:
            return os.fspath(value)
    return str(value)


def _engines(words: Iterable[str]) -> list[str]:
    """Return words of ``--for``, once each is known to mean something."""
    words = list(words)
    for word in words:
        if not catalogue().uses_named(word):
            ids = [use["id"] for use in catalogue().uses]
            names = [*dict.fromkeys(use["engine"] for use in catalogue().uses), *ids, "all"]
            raise UserError(
                f"there is no engine called '{word}'",
                hint=f"{_guess(word, names)}choose among {', '.join(ids)}; an engine's name means "
                "all its rows",
            )
    return words


def _guess(word: str, names: Iterable[str]) -> str:
    near = did_you_mean(word, names)
    return f"did you mean '{near}'? " if near else ""


def _reasons(words: Sequence[str]) -> dict[str, str]:
    return {name: reason for name, _, reason in (word.partition("=") for word in words)}


def _known(names: Iterable[str]) -> list[str]:
    """Return the names of families and checks, once each is known to exist."""
    known = set(catalogue().names())
    for name in names:
        if name in known:
            continue
        family = name.partition("/")[0]
        what = f"check '{name}'" if family in known else f"family '{family}'"
        families = [row["name"] for row in catalogue().families]
        raise UserError(
            f"there is no {what}",
            hint=f"{_guess(name, [*known])}families are {', '.join(families[:-1])} and "
            f"{families[-1]}; {_ALL_CHECKS}",
        )
    return list(names)
