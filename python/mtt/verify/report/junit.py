"""JUnit XML, which most CI services read: per file a suite of its checks and one of its verdicts.

What fails there fails the run: a failure that matters to nobody who is judged counts as skipped.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from mtt.printable import printable_lines
from mtt.verify.report.report import Check, Report


def junit(reports: Sequence[tuple[str, Report]]) -> bytes:
    """The document for these reports, each with the name to show for its file."""
    root = ET.Element("testsuites", name="mtt verify")
    for shown, report in reports:
        root.append(_suite(shown, report))
        if report.verdicts:
            root.append(_verdicts(shown, report))
    for key in ("tests", "failures", "skipped"):
        root.set(key, str(sum(int(suite.get(key, 0)) for suite in root)))
    root.set("errors", "0")
    root.set("time", f"{sum(report.seconds for _, report in reports):.3f}")
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _suite(shown: str, report: Report) -> ET.Element:
    suite = ET.Element("testsuite", name=_clean(shown))
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report):
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    for check in report.checks:
        suite.append(_case(shown, report, check))
    return _counted(suite, report.seconds)


def _verdicts(shown: str, report: Report) -> ET.Element:
    """Return the suite with a case for each use; one that is not judged cannot fail."""
    suite = ET.Element("testsuite", name=_clean(f"{shown} verdicts"))
    for row in report.verdicts:
        case = ET.SubElement(
            suite, "testcase", classname=_clean(f"{shown}.verdicts"), name=_clean(row.title)
        )
        untried = row.answer == "untried" and bool(report.only)
        if row.answer == "yes":
            if row.reason:
                ET.SubElement(case, "system-out").text = _clean(row.reason)
        elif row.judged and not untried:
            failure = ET.SubElement(case, "failure", message=_clean(row.words), type=row.answer)
            lines = [report.findings[place].cause for place in row.findings]
            failure.text = _clean("\n".join([row.words, *lines]))
        else:
            reason = row.words if untried else f"not judged: {row.words}"
            ET.SubElement(case, "skipped", message=_clean(reason))
    return _counted(suite, 0.0)


def _counted(suite: ET.Element, seconds: float) -> ET.Element:
    """Return the suite with the numbers that readers look at before its cases."""
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for key, tag in (("failures", "failure"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("errors", "0")
    suite.set("time", f"{seconds:.3f}")
    return suite


def _properties(report: Report) -> list[tuple[str, str]]:
    properties = [("verdict", report.verdict), ("level", report.level)]
    if report.verdicts:
        properties.append(("for", ", ".join(report.judged)))
        properties += [(f"verdict.{row.use}", row.words) for row in report.verdicts]
    else:
        properties.append(("engine", report.engine))
    if report.sha256:
        properties.append(("sha256", report.sha256))
    if report.weak_sandbox:
        properties.append(("isolation", report.weak_sandbox))
    properties += [(f"program.{key}", value) for key, value in report.program.items()]
    properties += [(f"waiver.{waiver.check}", waiver.reason) for waiver in report.waivers]
    properties += [(f"needless.{waiver.check}", waiver.reason) for waiver in report.needless]
    properties += [("allowed_operator", name) for name in report.allowed_operators]
    return [(_clean(name), value) for name, value in properties]


def _case(shown: str, report: Report, check: Check) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=_clean(f"{shown}.{check.family}"),
        name=_clean(check.name_and_target),
        time=f"{check.seconds:.3f}",
    )
    if report.counts(check):
        failure = ET.SubElement(
            case, "failure", message=_clean(check.message), type=check.severity or check.family
        )
        failure.text = _clean(_body(check))
    elif check.status != "pass":
        words = {"fail": f"not judged: {check.severity}: "}
        words |= {word: f"{word}: " for word in ("skipped", "waived")}
        because = f": {check.waived_because}" if check.waived_because else ""
        reason = f"{words.get(check.word, '')}{check.message}{because}"
        ET.SubElement(case, "skipped", message=_clean(reason))
    elif check.numbers:
        ET.SubElement(case, "system-out").text = _clean(check.numbers)
    return case


def _body(check: Check) -> str:
    lines = [check.sentence]
    if check.unless:
        lines.append(f"only if {check.unless}")
    if check.failing:
        lines.append("systems that fail: " + ", ".join(check.failing))
    if check.systems:
        lines.append("systems: " + ", ".join(check.systems))
    if check.matters:
        lines.append("matters to: " + ", ".join(check.matters))
    if check.description:
        lines.append("what it checks: " + check.description)
    if check.tolerance_source:
        lines.append("tolerance: " + check.tolerance_source)
    if check.details:
        lines.append(check.details)
    return "\n".join(lines)


def _clean(text: str) -> str:
    """The text, with what XML cannot hold or nobody sees as an escape; it may have several lines."""
    return printable_lines(text)
