"""The report of ``mtt-verify`` for people: a table that fits a screen, and the failures in words."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from rich.table import Table

from .console import SteadyConsole

_STYLE = {"pass": "green", "fail": "bold red", "skip": "yellow"}


class Progress:
    """A line on standard error that names the running check, on terminals only."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._status: Status | None = console.status("verifying") if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, check: str) -> None:
        """Name the check that has started."""
        if self._status is not None:
            self._status.update(f"verifying: {check}")


def print_report(report: dict[str, Any], shown: str, console: Console | None = None) -> None:
    """One line per family when all is well; every failed or skipped check with its message."""
    console = console or SteadyConsole()
    table = Table(title=f"verification of {shown}", title_justify="left")
    for heading in ("family", "passed", "failed", "skipped", "tightest check", "used", "s"):
        numeric = heading in ("passed", "failed", "skipped", "used", "s")
        table.add_column(heading, justify="right" if numeric else "left")
    families: dict[str, list[dict[str, Any]]] = {}
    for check in report["checks"]:
        families.setdefault(check["family"], []).append(check)
    for family, checks in families.items():
        count = {status: sum(c["status"] == status for c in checks) for status in _STYLE}
        name, used = _tightest(checks)
        style = _STYLE["fail"] if count["fail"] else None
        cells = [family, *(str(count[status] or "") for status in _STYLE), name, used]
        table.add_row(*cells, f"{sum(c['seconds'] for c in checks):.1f}", style=style)
    console.print(table)
    for status, sentence in _sentences(report["checks"]):
        console.print(f"{status} ", style=_STYLE[status], end="")
        console.print(sentence, markup=False, highlight=False)
    verdict = "an MD engine can use it" if report["verdict"] == "pass" else "do not use this file"
    style = _STYLE[report["verdict"]]
    console.print(f"{report['verdict']}: {verdict} ({report['seconds']:.1f} s)", style=style)


def failure(report: dict[str, Any], shown: str) -> str:
    """The message of a failed verification: the file and the names of the checks."""
    failed = [f"{c['family']}/{c['name']}" for c in report["checks"] if c["status"] == "fail"]
    count = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
    return f"{shown} failed {count}: {', '.join(failed)}"


def _tightest(checks: list[dict[str, Any]]) -> tuple[str, str]:
    """The check that came closest to its tolerance, and how much of it it used."""
    ratios = [
        (check["measured"] / check["tolerance"], check["name"])
        for check in checks
        if check["measured"] is not None and check["tolerance"]
    ]
    if not ratios:
        return "", ""
    ratio, name = max(ratios)
    return name, f"{100 * ratio:.2g} %"


def _sentences(checks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Status and text of all that did not pass; checks skipped for one reason share a line."""
    sentences = [("fail", _sentence(check)) for check in checks if check["status"] == "fail"]
    reasons: dict[str, list[str]] = {}
    for check in checks:
        if check["status"] == "skip":
            reasons.setdefault(check["message"], []).append(f"{check['family']}/{check['name']}")
    for reason, names in reasons.items():
        shown = names[0] if len(names) == 1 else f"{len(names)} checks"
        sentences.append(("skip", f"{shown}: {reason}"))
    return sentences


def _sentence(check: dict[str, Any]) -> str:
    numbers = ""
    if check["measured"] is not None and check["tolerance"] is not None:
        unit = f" {check['unit']}" if check["unit"] else ""
        numbers = f" ({check['measured']:.3g} of {check['tolerance']:.3g}{unit} allowed)"
    return f"{check['family']}/{check['name']}: {check['message']}{numbers}"
