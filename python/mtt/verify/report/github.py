"""Annotations of GitHub: lines on standard output that its runner turns into marks on a file."""

from mtt.printable import printable
from mtt.verify.report.report import Check, Report

_LONGEST = 4000


def annotations(shown: str, report: Report) -> str:
    """An error for each failed check, a notice for each waiver, a warning if the sandbox was weak."""
    weak = report.weak_sandbox
    lines = [f"::warning file={_property(shown)}::{_escaped(weak)}"] if weak else []
    lines += [_line("error", shown, check) for check in report.failures]
    lines += [_line("notice", shown, check) for check in report.checks if check.status == "waived"]
    return "".join(f"{line}\n" for line in lines)


def _line(command: str, shown: str, check: Check) -> str:
    text = check.sentence if check.status == "fail" else f"waived: {check.sentence}"
    return f"::{command} file={_property(shown)},title={_property(check.label)}::{_escaped(text)}"


def _escaped(text: str) -> str:
    # A line end would let a model's message be a command of its own; it is an escape here.
    return printable(text, _LONGEST).replace("##[", "##\\x5b").replace("%", "%25")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
