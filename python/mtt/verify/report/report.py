"""What ``mtt-verify`` found, as typed objects made from its JSON (schema 3, and 1 and 2 of older files).

Nothing here computes a verdict: the program gives it, and Python only reads it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtt.canonical import parse_json
from mtt.report.wording import safe
from mtt.tokens import redacted_json
from mtt.verify.report.verdicts import (
    HARMLESS,
    Finding,
    Verdict,
    Waiver,
    finding_of,
    number_or_none,
    texts,
    verdict_of,
    waiver_of,
)

SCHEMAS = (1, 2, 3)
# Fails for a model without an energy, for all that run MD.
_NO_ENERGY = "SCHEMA/energy output"
_ROTATION = "SYM/rotation"
STATUSES = ("pass", "fail", "skip", "waived")


class NoReport(ValueError):
    """The text is no report; the message says where it stops being one."""


@dataclass(frozen=True)
class Point:
    """One point of a plot: of PARITY, reference and what the file gave."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Check:
    """One result. ``measured``, ``tolerance`` and ``margin`` are None where there is no number."""

    family: str
    name: str
    status: str
    measured: float | None = None
    tolerance: float | None = None
    unit: str = ""
    margin: float | None = None
    message: str = ""
    systems: tuple[str, ...] = ()
    seconds: float = 0.0
    description: str = ""
    tolerance_source: str = ""
    series: tuple[Point, ...] = ()
    target: str = ""
    severity: str = ""
    matters: tuple[str, ...] = ()
    unless: str = ""
    failing: tuple[str, ...] = ()
    details: str = ""
    expected_for: tuple[str, ...] = ()
    waived_because: str = ""

    @property
    def word(self) -> str:
        """Return the status for people: ``skipped`` is what whoever ran the checks left out.

        Files call that ``waived`` as well, like a failure that a waiver expects.
        """
        left_out = self.status == "waived" and not (self.expected_for or self.waived_because)
        return "skipped" if left_out else self.status

    @property
    def column(self) -> str:
        """Return the column of tables that counts it, one of :data:`STATUSES`."""
        return "skip" if self.word == "skipped" else self.status

    @property
    def full_name(self) -> str:
        """``FAMILY/name``, as ``--only`` and ``--skip`` take it."""
        return f"{self.family}/{self.name}"

    @property
    def name_and_target(self) -> str:
        """The name, with the target if the model has several: ``forces of energy/pbe``."""
        return f"{self.name} of {self.target}" if self.target else self.name

    @property
    def label(self) -> str:
        """``FAMILY/name`` with the target if the model has several."""
        return f"{self.family}/{self.name_and_target}"

    @property
    def used(self) -> float | None:
        """Measured over tolerance: above 1 is a failure. None if nothing was measured."""
        if self.measured is None or not self.tolerance:
            return None
        return self.measured / self.tolerance

    @property
    def numbers(self) -> str:
        """``1.2e-05 of 0.001 eV allowed``, or nothing."""
        if self.measured is None or self.tolerance is None:
            return ""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.measured:.3g} of {self.tolerance:.3g}{unit} allowed"

    @property
    def sentence(self) -> str:
        """Name, message and numbers in one line."""
        numbers = f" ({self.numbers})" if self.numbers else ""
        return f"{self.label}: {self.message or self.status}{numbers}"


@dataclass(frozen=True, repr=False)
class Report:
    """Everything that one run of ``mtt-verify`` says. ``text`` is the JSON as the program wrote it."""

    schema: int
    path: str
    verdict: str
    checks: tuple[Check, ...]
    seconds: float = 0.0
    sha256: str | None = None
    bytes: int | None = None
    program: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[tuple[str, str | None], ...] = ()
    model: Mapping[str, Any] | None = None
    golden_pack: bool = False
    level: str = "full"
    engine: str = "all"
    only: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    seed: int | None = None
    judged: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    waivers_file: str | None = None
    allowed_operators: tuple[str, ...] = ()
    isolation: Mapping[str, Any] | None = None
    coverage: Mapping[str, Any] | None = None
    peak_memory_bytes: int | None = None
    text: str = field(default="", repr=False, compare=False)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that ``text`` holds, without secrets of the user's.

        :raises NoReport: it is not JSON, of a schema that is not known, or a part is missing
        """
        try:
            data = parse_json(text, infinite=True)
            # Here, as every form of the report is made of this: a model can read and say a secret.
            harmless = redacted_json(data)
        except ValueError as error:
            raise NoReport(f"it is not JSON: {error}") from error
        if not isinstance(data, dict) or data.get("schema") not in SCHEMAS:
            schema = data.get("schema") if isinstance(data, dict) else None
            raise NoReport(f"its schema is {schema!r}, and this program knows 1, 2 and 3")
        try:
            if harmless != data:
                text = json.dumps(harmless, indent=2) + "\n"
            return _report(harmless, text)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise NoReport(f"a part is missing or of another type: {error}") from error

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Report":
        """The report with this content, and with the text that says so."""
        return cls.from_json(json.dumps(data, indent=2) + "\n")

    def __repr__(self) -> str:
        return f"<verification of {self.path!r}: {self.verdict}, {self.summary}>"

    def _repr_html_(self) -> str:
        """The verdicts, as notebooks show them."""
        rows = "".join(
            f"<tr><td>{safe(row.title)}</td><td>{safe(row.words)}</td></tr>"
            for row in self.verdicts
        )
        return f"<p>{safe(repr(self))}</p><table>{rows}</table>"

    @property
    def passed(self) -> bool:
        """Whether an engine can use the file."""
        return self.verdict == "pass"

    @property
    def exit_code(self) -> int:
        """0 or 3, as ``mtt verify`` ends."""
        return 0 if self.passed else 3

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status == "fail")

    def counts(self, check: Check) -> bool:
        """Return whether the exit code depends on a failure: it matters to a use that is judged."""
        if check.status != "fail" or not self.verdicts:
            return check.status == "fail"
        wanted = set(self.judged) & set(check.matters) - set(check.expected_for)
        return bool(wanted) and check.severity not in HARMLESS

    @property
    def counted(self) -> tuple[Check, ...]:
        """The failures that the exit code depends on."""
        return tuple(check for check in self.checks if self.counts(check))

    def matters(self, finding: Finding) -> bool:
        """Return whether the exit code depends on a finding."""
        return any(self.counts(self.checks[entry]) for entry in finding.entries)

    def numbers(self, finding: Finding) -> str:
        """Return what the check that says most about a finding measured, or nothing."""
        return self.checks[finding.entries[0]].numbers if finding.entries else ""

    def titles(self, *answers: str) -> str:
        """Return the names of the judged uses with these answers: ``ASE, LAMMPS on several ranks``."""
        return self.names(row for row in self.verdicts if row.judged and row.answer in answers)

    def names(self, rows: Iterable[Verdict]) -> str:
        """Return the names of some judged uses; an engine of which all are there without its conditions."""
        chosen = list(rows)
        names: list[str] = []
        for row in chosen:
            same = [one for one in self.verdicts if one.judged and one.engine == row.engine]
            whole = len(same) > 1 and all(one in chosen for one in same)
            names.append(row.title.partition(" on ")[0] if whole else row.title)
        return ", ".join(dict.fromkeys(names))

    @property
    def partial(self) -> bool:
        """Whether less was checked, or more allowed, than somebody who hears of a pass expects."""
        waived = any(waiver.used or not waiver.runs for waiver in self.waivers)
        return bool(self.only or waived or self.allowed_operators)

    @property
    def no_potential(self) -> str | None:
        """Which outputs were checked of a model without an energy to run MD with; None for others."""
        model = self.model or {}
        if model.get("potential", True):
            return None
        names = ", ".join(str(name) for name in model.get("targets", ())) or "nothing"
        return f"not a potential: {names} checked"

    @property
    def summary(self) -> str:
        """Who can use the model, in a line: what the exit code says in words."""
        other = self.no_potential
        if other is None:
            return self._who
        if self.passed:
            return f"{other}; {self._who}"
        failed = {check.full_name for check in self.counted}
        words = [other]
        if _NO_ENERGY in failed:
            words.append("LAMMPS and the like cannot run MD with it")
        if failed != {_NO_ENERGY}:
            words.append(self._who)
        return "; ".join(words)

    @property
    def _who(self) -> str:
        partly = "as far as it was checked, " if self.partial else ""
        if not self.verdicts:
            return f"{partly}an MD engine can use it" if self.passed else "do not use this file"
        if self.passed:
            # With a part of the checks, no engine's calls need to be among them.
            good = self.titles("yes", "untried") if self.only else self.titles("yes")
            untried = "" if self.only else self.titles("untried")
            words = [f"for {good}"] if good else []
            words += [f"untried for {untried}"] if untried else []
            return partly + "; ".join(words)
        phrases = {"not for": "no", "not always for": "unless", "untried for": "untried"}
        words = [
            f"{phrase} {names}"
            for phrase, answer in phrases.items()
            if (names := self.titles(answer))
        ]
        if words and self.titles("yes"):
            words.append(f"good for {self.titles('yes')}")
        return "; ".join(words) or "no check passed"

    @property
    def needless(self) -> tuple[Waiver, ...]:
        """The waivers that nothing needs any more."""
        return tuple(waiver for waiver in self.waivers if waiver.needless)

    @property
    def weak_sandbox(self) -> str | None:
        """What was missing between the model and the user's files, if anything was."""
        notes = (self.isolation or {}).get("notes") or []
        weak = (
            str(note) for note in notes if str(note).startswith(("weak sandbox: ", "no sandbox: "))
        )
        return next(weak, None)

    @property
    def rotation(self) -> str | None:
        """How much rotations change energies and forces; None if that was not measured, or is a failure,
        which the findings have.
        """
        for check in self.checks:
            measured = check.measured is not None and check.status == "pass"
            if check.label == _ROTATION and measured:
                allowed = "only reported: --max-rotation-error makes it a check"
                if check.tolerance is not None:
                    allowed = f"--max-rotation-error allows {check.tolerance:g} {check.unit}"
                return f"{check.message} ({allowed})"
        return None

    def families(self) -> dict[str, list[Check]]:
        """The checks by family, in the order in which they ran."""
        families: dict[str, list[Check]] = {}
        for check in self.checks:
            families.setdefault(check.family, []).append(check)
        return families

    def count(self, column: str) -> int:
        """Number of checks that a column of tables counts."""
        return sum(check.column == column for check in self.checks)

    def failure(self, shown: str | None = None) -> str:
        """One sentence with the file, the checks that failed, and whom that keeps from using it."""
        shown = shown or self.path
        names = list(dict.fromkeys(check.label for check in self.counted))
        count = "1 check" if len(names) == 1 else f"{len(names)} checks"
        without = self.titles("no", "unless")
        whom = f", which matters to {without}" if without else ""
        if names:
            return f"{shown} failed {count}: {', '.join(names)}{whom}"
        if untried := self.titles("untried"):
            return f"{shown}: nothing was tried for {untried}"
        return f"{shown}: no check passed, which proves nothing"


def tightest(checks: Sequence[Check]) -> Check | None:
    """The check that came closest to its tolerance."""
    measured = [check for check in checks if check.used is not None]
    return max(measured, key=lambda check: check.used or 0.0, default=None)


def _report(data: dict[str, Any], text: str) -> Report:
    file = data["file"]
    checks = tuple(_check(entry) for entry in data["checks"])
    findings = tuple(finding_of(entry, len(checks)) for entry in data.get("findings", []))
    for finding in findings:
        named = [checks[entry].full_name for entry in finding.entries]
        if list(finding.checks) != named:
            raise ValueError(f"a finding of {', '.join(finding.checks)} that names other checks")
    if data["verdict"] not in ("pass", "fail"):
        raise ValueError(f"the verdict {data['verdict']!r}")
    return Report(
        schema=data["schema"],
        path=str(file["path"]),
        sha256=file.get("sha256"),
        bytes=file.get("bytes"),
        extensions=tuple(
            (str(entry["name"]), entry.get("sha256")) for entry in file.get("extensions", [])
        ),
        verdict=data["verdict"],
        checks=checks,
        seconds=number_or_none(data.get("seconds")) or 0.0,
        program={key: str(value) for key, value in data.get("program", {}).items()},
        model=data.get("model"),
        golden_pack=bool(data.get("golden_pack", False)),
        level=str(data.get("level", "full")),
        engine=str(data.get("engine", "all")),
        only=tuple(str(entry) for entry in data.get("only", [])),
        judged=texts(data.get("for")),
        verdicts=tuple(verdict_of(entry, len(findings)) for entry in data.get("verdicts", [])),
        findings=findings,
        waivers=tuple(waiver_of(entry) for entry in data.get("waivers", [])),
        waivers_file=data.get("waivers_file"),
        seed=data.get("seed"),
        allowed_operators=tuple(str(name) for name in data.get("allowed_operators", [])),
        isolation=data.get("isolation"),
        coverage=data.get("coverage"),
        peak_memory_bytes=data.get("peak_memory_bytes"),
        text=text,
    )


def _check(data: dict[str, Any]) -> Check:
    if data["status"] not in STATUSES:
        raise ValueError(f"the status {data['status']!r}")
    points = [
        (
            number_or_none(entry.get("x")),
            number_or_none(entry.get("y")),
            str(entry.get("label", "")),
        )
        for entry in data.get("series") or []
    ]
    return Check(
        family=str(data["family"]),
        name=str(data["name"]),
        status=data["status"],
        measured=number_or_none(data.get("measured")),
        tolerance=number_or_none(data.get("tolerance")),
        unit=str(data.get("unit", "")),
        margin=number_or_none(data.get("margin")),
        message=str(data.get("message", "")),
        systems=tuple(str(entry) for entry in data.get("systems", [])),
        seconds=number_or_none(data.get("seconds")) or 0.0,
        target=str(data.get("target", "")),
        severity=str(data.get("severity", "")),
        matters=texts(data.get("matters")),
        unless=str(data.get("unless", "")),
        failing=texts(data.get("failing")),
        details=str(data.get("details", "")),
        expected_for=texts(data.get("expected_for")),
        waived_because=str(data.get("waived_because", "")),
        description=str(data.get("description", "")),
        tolerance_source=str(data.get("tolerance_source", "")),
        series=tuple(Point(x, y, name) for x, y, name in points if x is not None and y is not None),
    )
