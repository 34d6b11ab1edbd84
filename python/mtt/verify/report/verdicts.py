"""Verdicts, findings and waivers of a report, as typed objects made from their JSON."""

import math
from dataclasses import dataclass
from typing import Any

ANSWERS = ("yes", "unless", "no", "untried")
# Of a failure, worst first; the last two keep nobody from using the model.
SEVERITIES = ("wrong numbers", "stops", "refuses", "costs", "cosmetic")
HARMLESS = SEVERITIES[3:]


@dataclass(frozen=True)
class Waiver:
    """A check that somebody decided not to run, or (``runs``) a failure that is expected, and why.

    ``message``, ``system`` and ``worst`` say which failure; ``engines`` are the ids of the uses that it
    is accepted for, all if there are none. ``tried`` says whether such a check has run, ``used``
    whether there was such a failure.
    """

    check: str
    reason: str
    runs: bool = False
    message: str = ""
    system: str = ""
    engines: tuple[str, ...] = ()
    worst: float | None = None
    used: bool = False
    tried: bool = False

    @property
    def needless(self) -> bool:
        """Whether nothing fails that it is about."""
        return self.runs and self.tried and not self.used


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with the checks that saw it; ``checks[0]`` says most about it.

    ``cause`` is a line, ``brief`` a few words. ``uses`` are the ids of those that it matters to,
    ``unless`` the circumstances under which alone it shows, ``entries`` the places of its checks in
    the report.
    """

    cause: str
    brief: str
    severity: str
    checks: tuple[str, ...]
    entries: tuple[int, ...]
    uses: tuple[str, ...] = ()
    target: str = ""
    unless: str = ""
    systems: tuple[str, ...] = ()
    waived: bool = False
    reason: str = ""

    @property
    def root(self) -> str:
        """``FAMILY/name`` of the check that says most about it."""
        return self.checks[0]

    @property
    def label(self) -> str:
        """The root with its target, and how many more checks saw it: ``DD/energy and 2 more``."""
        target = f" of {self.target}" if self.target else ""
        more = len(self.checks) - 1
        return f"{self.root}{target}" + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class Verdict:
    """What one engine, under one condition, can expect of the model.

    ``answer`` is one of :data:`ANSWERS`, ``reason`` a few words; ``judged`` if the exit code depends
    on it; ``findings`` are their places in the report.
    """

    use: str
    engine: str
    title: str
    answer: str
    reason: str = ""
    judged: bool = False
    findings: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """Answer and reason: ``no: domains do not add up``."""
        if self.answer == "unless":
            return f"yes, unless {self.reason}"
        return f"{self.answer}: {self.reason}" if self.reason else self.answer


def waiver_of(data: dict[str, Any]) -> Waiver:
    """Return a waiver from its JSON."""
    return Waiver(
        check=str(data["check"]),
        reason=str(data["reason"]),
        runs=bool(data.get("runs", False)),
        message=str(data.get("message", "")),
        system=str(data.get("system", "")),
        engines=texts(data.get("engines")),
        worst=number_or_none(data.get("worst")),
        used=bool(data.get("used", False)),
        tried=bool(data.get("tried", False)),
    )


def finding_of(data: dict[str, Any], checks: int) -> Finding:
    """Return a finding from its JSON, with places below ``checks``."""
    if data["severity"] not in SEVERITIES:
        raise ValueError(f"the severity {data['severity']!r}")
    if not data["checks"]:
        raise ValueError("a finding without checks")
    return Finding(
        cause=str(data["cause"]),
        brief=str(data.get("brief", "")),
        severity=data["severity"],
        checks=texts(data["checks"]),
        entries=places(data.get("entries"), checks),
        uses=texts(data.get("uses")),
        target=str(data.get("target", "")),
        unless=str(data.get("unless", "")),
        systems=texts(data.get("systems")),
        waived=bool(data.get("waived", False)),
        reason=str(data.get("reason", "")),
    )


def verdict_of(data: dict[str, Any], findings: int) -> Verdict:
    """Return a verdict from its JSON, with places below ``findings``."""
    if data["answer"] not in ANSWERS:
        raise ValueError(f"the answer {data['answer']!r}")
    return Verdict(
        use=str(data["use"]),
        engine=str(data["engine"]),
        title=str(data["title"]),
        answer=data["answer"],
        reason=str(data.get("reason", "")),
        judged=bool(data.get("judged", False)),
        findings=places(data.get("findings"), findings),
    )


def texts(values: Any) -> tuple[str, ...]:
    """Return texts."""
    return tuple(str(value) for value in values or [])


def places(values: Any, count: int) -> tuple[int, ...]:
    """Return indices into a list of this length."""
    indices = tuple(values or [])
    if not all(type(place) is int and 0 <= place < count for place in indices):
        raise ValueError("a place beyond the end of a list")
    return indices


def number_or_none(value: Any) -> float | None:
    """Return a finite number, or None.

    :raises TypeError: it is something else
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    # 1e999 is JSON, and infinite.
    return float(value) if math.isfinite(value) else None
