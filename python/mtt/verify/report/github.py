"""Annotations of GitHub: lines on standard output that its runner turns into marks on a file."""

from mtt.printable import printable
from mtt.verify.report.report import Check, Report
from mtt.verify.report.verdicts import Finding

_LONGEST = 4000


def annotations(shown: str, report: Report) -> str:
    """One for each finding: an error, a warning if nobody who is judged minds, a notice if it is accepted.

    After them comes one with the verdict; before them a warning if the sandbox was weak.
    """
    weak = report.weak_sandbox
    lines = [f"::warning file={_property(shown)}::{_escaped(weak)}"] if weak else []
    if report.schema < 3:
        lines += [_of_check("error", shown, check) for check in report.failures]
    else:
        lines += [_of_finding(shown, report, finding) for finding in report.findings]
    accepted = {entry for finding in report.findings for entry in finding.entries}
    lines += [
        _of_check("notice", shown, check)
        for place, check in enumerate(report.checks)
        if check.status == "waived" and place not in accepted
    ]
    for waiver in report.needless:
        text = f"the waiver of {waiver.check} is no longer needed: nothing like it fails"
        lines.append(_line("warning", shown, waiver.check, text))
    if report.verdicts:
        command = "notice" if report.passed else "error"
        lines.append(_line(command, shown, "mtt verify", f"{report.verdict}: {report.summary}"))
    return "".join(f"{line}\n" for line in lines)


def _of_finding(shown: str, report: Report, finding: Finding) -> str:
    numbers = f" ({report.numbers(finding)})" if report.numbers(finding) else ""
    text = f"{finding.severity}: {finding.label}: {finding.cause}{numbers}"
    if finding.waived:
        return _line("notice", shown, finding.root, f"waived: {text}: {finding.reason}")
    command = "error" if report.matters(finding) else "warning"
    return _line(command, shown, finding.root, text)


def _of_check(command: str, shown: str, check: Check) -> str:
    text = check.sentence if check.status == "fail" else f"{check.word}: {check.sentence}"
    return _line(command, shown, check.label, text)


def _line(command: str, shown: str, title: str, text: str) -> str:
    return f"::{command} file={_property(shown)},title={_property(title)}::{_escaped(text)}"


def _escaped(text: str) -> str:
    # A line end would let a model's message be a command of its own; it is an escape here.
    return printable(text, _LONGEST).replace("##[", "##\\x5b").replace("%", "%25")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
