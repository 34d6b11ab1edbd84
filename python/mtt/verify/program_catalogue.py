"""What ``mtt-verify`` says about itself: engines, families, levels, checks and options.

The build writes it into the package as ``catalogue.json``, from ``mtt-verify --catalogue``. The command
line reads it at every start, so it imports little: dataclasses alone take 10 ms.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mtt.compiled import installed_file


class Option(NamedTuple):
    """An option of the program; one with a ``keyword`` belongs to ``mtt verify`` too.

    ``type`` says what a value is: switch, choice, checks, waivers, names, uses, folder, input, output,
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
    uses: list[dict[str, Any]]
    severities: list[str]
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

    def uses_named(self, word: str) -> list[str]:
        """Return the ids of the uses that a word of ``--for`` stands for; none if it is no such word.

        A word is an id, an engine, or ``all``; ``lammps:ranks=4`` is LAMMPS on several ranks.
        """
        engine, key, count = word.partition(":ranks=")
        if key and re.fullmatch(r"[1-9][0-9]*", count) and count != "1":
            word = f"{engine}{key}several"
        return [use["id"] for use in self.uses if word in ("all", use["id"], use["engine"])]

    def judged(self, words: Iterable[str] | None) -> list[str]:
        """Return the ids of the uses that the exit code judges, in the order of the table."""
        if not words:
            return [use["id"] for use in self.uses if use["runs_md"]]
        chosen = {use for word in words for use in self.uses_named(word)}
        return [use["id"] for use in self.uses if use["id"] in chosen]


@functools.cache
def catalogue() -> Catalogue:
    """Return the catalogue of the installed program."""
    path = installed_file("verify", "catalogue.json")
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return Catalogue(
        engines=content.get("engines", []),
        uses=content.get("uses", []),
        severities=content.get("severities", []),
        families=content.get("families", []),
        levels=content.get("levels", []),
        statuses=content.get("statuses", []),
        checks=content.get("checks", []),
        options=[Option(**option) for option in content.get("options", [])],
    )
