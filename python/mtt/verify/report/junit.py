"""JUnit XML, which most CI services read: one suite per file, one test case per check."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from mtt.printable import printable_lines
from mtt.verify.report.report import Check, Report


def junit(reports: Sequence[tuple[str, Report]]) -> bytes:
    """The document for these reports, each with the name to show for its file."""
    root = ET.Element("testsuites", name="mtt verify")
    for shown, report in reports:
        root.append(_suite(shown, report))
    for key, status in (("tests", None), ("failures", "fail"), ("skipped", "skip")):
        root.set(key, str(sum(_count(report, status) for _, report in reports)))
    root.set("errors", "0")
    root.set("time", f"{sum(report.seconds for _, report in reports):.3f}")
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _count(report: Report, status: str | None) -> int:
    if status is None:
        return len(report.checks)
    # To JUnit a waiver is a test that was skipped.
    return report.count(status) + (report.count("waived") if status == "skip" else 0)


def _suite(shown: str, report: Report) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=_clean(shown),
        tests=str(len(report.checks)),
        failures=str(_count(report, "fail")),
        skipped=str(_count(report, "skip")),
        errors="0",
        time=f"{report.seconds:.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report):
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    for check in report.checks:
        suite.append(_case(shown, check))
    return suite


def _properties(report: Report) -> list[tuple[str, str]]:
    properties = [("verdict", report.verdict), ("level", report.level), ("engine", report.engine)]
    if report.sha256:
        properties.append(("sha256", report.sha256))
    if report.weak_sandbox:
        properties.append(("isolation", report.weak_sandbox))
    properties += [(f"program.{key}", value) for key, value in report.program.items()]
    properties += [(f"waiver.{waiver.check}", waiver.reason) for waiver in report.waivers]
    properties += [("allowed_operator", name) for name in report.allowed_operators]
    return [(_clean(name), value) for name, value in properties]


def _case(shown: str, check: Check) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=_clean(f"{shown}.{check.family}"),
        name=_clean(check.name_and_target),
        time=f"{check.seconds:.3f}",
    )
    if check.status == "fail":
        failure = ET.SubElement(case, "failure", message=_clean(check.message), type=check.family)
        failure.text = _clean(_body(check))
    elif check.status != "pass":
        reason = check.message if check.status == "skip" else f"waived: {check.message}"
        ET.SubElement(case, "skipped", message=_clean(reason))
    elif check.numbers:
        ET.SubElement(case, "system-out").text = _clean(check.numbers)
    return case


def _body(check: Check) -> str:
    lines = [check.sentence]
    if check.systems:
        lines.append("systems: " + ", ".join(check.systems))
    if check.description:
        lines.append("what it checks: " + check.description)
    if check.tolerance_source:
        lines.append("tolerance: " + check.tolerance_source)
    return "\n".join(lines)


def _clean(text: str) -> str:
    """The text, with what XML cannot hold or nobody sees as an escape; it may have several lines."""
    return printable_lines(text)
