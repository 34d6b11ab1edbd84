"""What ``mtt-verify`` says about itself: engines, families, levels, checks and options.

The build writes it into the package as ``catalogue.json``, from ``mtt-verify --catalogue``. The command
line reads it at every start, so it imports little: dataclasses alone take 10 ms.
"""

import functools
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Option(NamedTuple):
    """An option of the program; one with a ``keyword`` belongs to ``mtt verify`` too.

    ``type`` says what a value is: switch, choice, checks, waivers, names, folder, input, output,
    count (a whole number above zero) or quantity (a number that is not negative).
    """

    flag: str
    type: str
    help: str
    metavar: str | None
    choices: list[str] | None
    default: str | None
    group: str | None
    keyword: str | None
    excludes: str | None


class Catalogue(NamedTuple):
    """The content of the file; a copy of mtt that was not built has an empty one."""

    engines: list[dict[str, str]]
    families: list[dict[str, str]]
    levels: list[str]
    statuses: list[str]
    checks: list[dict[str, Any]]
    options: list[Option]

    def keywords(self) -> dict[str, Option]:
        """Return the options that ``mtt verify`` and ``mtt.verify()`` hand to the program."""
        return {option.keyword: option for option in self.options if option.keyword}

    def names(self) -> Iterator[str]:
        """Yield what ``--only`` and ``--skip`` take: families, FAMILY/check and FAMILY/result."""
        for family in self.families:
            yield family["name"]
        for check in self.checks:
            for name in (check["name"], *check["results"]):
                yield f"{check['family']}/{name}"


@functools.cache
def catalogue() -> Catalogue:
    """Return the catalogue of the installed program."""
    path = installed_file("verify", "catalogue.json")
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return Catalogue(
        engines=content.get("engines", []),
        families=content.get("families", []),
        levels=content.get("levels", []),
        statuses=content.get("statuses", []),
        checks=content.get("checks", []),
        options=[Option(**option) for option in content.get("options", [])],
    )


def installed_file(*parts: str) -> Path:
    """Return the path of a built file; editable installations keep these in site-packages."""
    # Not by an import of mtt: that package imports this one.
    package = importlib.util.find_spec("mtt")
    assert package is not None
    paths = [Path(root, *parts) for root in package.submodule_search_locations or []]
    return next((path for path in paths if path.exists()), paths[-1])
