"""Failures that are known and accepted: ``mtt-verify.yaml``, committed beside the model.

A waiver says which check fails, with which message, and why that is accepted. The check runs all the
same; a failure with another message, of another system or a larger one is a failure.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import AfterValidator, Field

from mtt.errors import UserError
from mtt.files import check_writable, replacing, write_atomic
from mtt.options.reading.load import load_as
from mtt.options.reading.problems import did_you_mean
from mtt.options.schema.base import OptionsModel, invalid
from mtt.verify.program_catalogue import catalogue
from mtt.verify.report import Check, Report

NAME: Final = "mtt-verify.yaml"
_LOAD: Final = "LOAD"
# Parts of messages end at a number, and at a semicolon.
_CHANGING: Final = re.compile(r";|[-+]?\d[\d.]*(?:[eE][-+]?\d+)?")
# Of what was measured: noise and order of the check systems differ from run to run.
_ROOM: Final = 2.0
_SHORTEST: Final = 12
_LONGEST: Final = 120
# What the program adds to a failure that looks like a waiver's, and is another one.
_OTHER: Final = " (a waiver expects another failure)"
_HEADER: Final = """\
# Failures of `mtt verify` that are known and accepted. Say for each why, or remove it:
# a waiver without a reason is refused.
"""


def _filled(text: str) -> str:
    if not text.strip():
        raise invalid("must say something: an empty text is refused")
    return text


def _check(name: str) -> str:
    family = name.partition("/")[0]
    if family == _LOAD:
        raise invalid("what cannot be loaded safely cannot be waived")
    known = list(catalogue().names())
    if name not in known:
        near = did_you_mean(name, known)
        guess = (
            f"; did you mean '{near}'?"
            if near
            else "; docs/reference/verify-checks.md lists all checks"
        )
        raise invalid(f"there is no check '{name}'{guess}")
    return name


def _engine(name: str) -> str:
    if not catalogue().uses_named(name):
        words = sorted({word for use in catalogue().uses for word in (use["id"], use["engine"])})
        near = did_you_mean(name, words)
        guess = f"; did you mean '{near}'?" if near else f"; there are {', '.join(words)}"
        raise invalid(f"there is no engine '{name}'{guess}")
    return name


Filled = Annotated[str, AfterValidator(_filled)]


class Waiver(OptionsModel):
    """A failure that is expected."""

    check: Annotated[str, AfterValidator(_check)]
    """Family, or FAMILY/name."""
    system: Filled | None = None
    """Part of the name of each system that fails, or of the circumstances."""
    engine: Annotated[str, AfterValidator(_engine)] | None = None
    """Engine, or engine and condition, for which it is accepted."""
    message: Filled
    """Part of the message."""
    worst: Annotated[float, Field(strict=False, ge=0)] | None = None
    """Largest number that the check may have measured."""
    reason: Filled
    """Why it is accepted."""


class Waivers(OptionsModel):
    """The content of a file of waivers."""

    waivers: list[Waiver] = Field(default_factory=list)
    """Failures that are expected."""


def load(path: Path) -> Waivers:
    """Return the waivers of a file.

    :raises UserError: it cannot be read, or something in it is wrong; all mistakes with their places
    """
    return load_as(path, Waivers, "file of waivers")


def beside(model: Path) -> Path | None:
    """Return the file of waivers in the folder of a model, if there is one."""
    path = model.parent / NAME
    return path if path.is_file() else None


@contextlib.contextmanager
def as_json(waivers: Waivers) -> Iterator[Path]:
    """The file that the program reads them from."""
    content = {"waivers": [row.model_dump(exclude_none=True) for row in waivers.waivers]}
    with tempfile.TemporaryDirectory(prefix="mtt-") as folder:
        path = Path(folder) / "waivers.json"
        write_atomic(path, json.dumps(content).encode())
        yield path


def check_new(path: Path) -> None:
    """Refuse to write waivers over a file.

    :raises UserError: there is one, or none can be written there
    """
    if path.exists() or path.is_symlink():
        raise UserError(
            "there is such a file already, and waivers that people wrote are not overwritten",
            where=str(path),
            hint="name a new file, and copy from it what you accept",
        )
    check_writable(path)


def write(path: Path, report: Report) -> int:
    """Write every failure that keeps a report from passing; return how many, and write no empty file.

    Reasons are empty, so the file is refused until somebody has said why each is accepted. What
    cannot be waived is left out.

    :raises UserError: as :func:`check_new`
    """
    check_new(path)
    rows = [_row(check) for check in report.counted if check.family != _LOAD]
    # Several targets, or several results of one name, are one line to whoever reads it.
    rows = [row for place, row in enumerate(rows) if row not in rows[:place]]
    if not rows:
        return 0
    text = yaml.safe_dump({"waivers": rows}, sort_keys=False, allow_unicode=True, width=100)
    with replacing(path) as temporary:
        temporary.write_text(_HEADER + text, encoding="utf-8")
    return len(rows)


def _row(check: Check) -> dict[str, Any]:
    row: dict[str, Any] = {"check": check.full_name}
    if check.unless:
        row["system"] = check.unless
    elif len(check.failing) == 1:
        row["system"] = check.failing[0]
    row["message"] = _lasting(check.message)
    if check.measured is not None:
        row["worst"] = float(f"{_ROOM * check.measured:.2g}")
    return {**row, "reason": ""}


def _lasting(message: str) -> str:
    """Return the first words of a message that the next run will say as well.

    Numbers differ from run to run, and so does the order of systems, which come after a semicolon.
    """
    parts = [part.strip(" ,:()") for part in _CHANGING.split(message.partition(_OTHER)[0])]
    lasting = next((part for part in parts if len(part) >= _SHORTEST), max(parts, key=len))
    if len(lasting) > _LONGEST:
        lasting = lasting[:_LONGEST].rpartition(" ")[0] or lasting[:_LONGEST]
    return lasting or message[:_LONGEST]
