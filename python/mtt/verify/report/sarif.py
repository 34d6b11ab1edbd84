"""SARIF 2.1.0, which code scanning services read: each check is a rule, each finding a result."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from mtt.printable import printable, printable_json
from mtt.verify.report.report import Check, Report
from mtt.verify.report.verdicts import Finding

# Of findings that count; the others are one step less.
_LEVELS = {"costs": "warning", "cosmetic": "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(reports: Sequence[tuple[str, Report]]) -> bytes:
    """The document for these reports, each with the name to show for its file: one run per file."""
    runs = [_run(shown, report) for shown, report in reports]
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}
    # With escapes only, lone surrogates cannot make the file invalid.
    return (printable_json(json.dumps(document, indent=2)) + "\n").encode("ascii")


def _run(shown: str, report: Report) -> dict[str, Any]:
    uri = quote(shown.replace("\\", "/"), errors="replace")
    # A check appears more than once when it was waived by family and reported by name.
    rules = {check.full_name: check for check in report.checks}
    index = {name: number for number, name in enumerate(rules)}
    driver: dict[str, Any] = {
        "name": "mtt-verify",
        "rules": [_rule(check) for check in rules.values()],
    }
    if report.program.get("version"):
        driver["version"] = report.program["version"]
    artifact: dict[str, Any] = {"location": {"uri": uri}}
    if report.bytes is not None:
        artifact["length"] = report.bytes
    if report.sha256:
        artifact["hashes"] = {"sha-256": report.sha256}
    results = [
        _of_finding(finding, report, uri, index[finding.root]) for finding in report.findings
    ]
    seen = {entry for finding in report.findings for entry in finding.entries}
    results += [
        _of_check(check, uri, index[check.full_name])
        for place, check in enumerate(report.checks)
        if check.status in ("fail", "waived") and place not in seen
    ]
    return {
        "tool": {"driver": driver},
        "artifacts": [artifact],
        "invocations": [{"executionSuccessful": True, "exitCode": report.exit_code}],
        "results": results,
        "properties": {
            "verdict": report.verdict,
            "summary": printable(report.summary),
            "verdicts": {row.use: printable(row.words) for row in report.verdicts},
            "judged": list(report.judged),
            "program": dict(report.program),
            **({"isolation": report.weak_sandbox} if report.weak_sandbox else {}),
            "counts": {
                status: sum(check.status == status for check in report.checks)
                for status in ("pass", "fail", "skip")
            },
        },
    }


def _rule(check: Check) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "id": check.full_name,
        "shortDescription": {"text": check.description or check.full_name},
        "defaultConfiguration": {"level": "error"},
    }
    if check.tolerance_source:
        rule["fullDescription"] = {"text": f"Tolerance: {check.tolerance_source}"}
    return rule


def _of_finding(finding: Finding, report: Report, uri: str, rule: int) -> dict[str, Any]:
    numbers = f" ({report.numbers(finding)})" if report.numbers(finding) else ""
    text = f"{finding.label}: {finding.cause}{numbers}"
    of = " of ".join(filter(None, [finding.root, finding.target]))
    key = f"{of} unless {finding.unless}" if finding.unless else of
    result = _result(finding.root, rule, text, uri, key)
    result["properties"] = {
        "severity": finding.severity,
        "checks": list(finding.checks),
        "uses": list(finding.uses),
        "systems": [printable(system) for system in finding.systems],
        "unless": printable(finding.unless),
    }
    if finding.waived:
        return result | _accepted(finding.reason)
    level = _LEVELS.get(finding.severity, "error" if report.matters(finding) else "warning")
    return result | {"level": level}


def _of_check(check: Check, uri: str, rule: int) -> dict[str, Any]:
    result = _result(check.full_name, rule, check.sentence, uri, check.label)
    return result | ({"level": "error"} if check.status == "fail" else _accepted(check.message))


def _result(name: str, rule: int, text: str, uri: str, key: str) -> dict[str, Any]:
    fingerprint = hashlib.sha256(f"{uri}\n{key}".encode(errors="replace")).hexdigest()
    location = {"artifactLocation": {"uri": uri, "index": 0}, "region": {"startLine": 1}}
    return {
        "ruleId": name,
        "ruleIndex": rule,
        "message": {"text": printable(text)},
        "locations": [{"physicalLocation": location}],
        # A scanning service tells by it whether a finding is the one of last week.
        "partialFingerprints": {"fileAndCheck/v1": fingerprint},
    }


def _accepted(reason: str) -> dict[str, Any]:
    suppression = {"kind": "external", "status": "accepted", "justification": printable(reason)}
    return {"level": "none", "kind": "open", "suppressions": [suppression]}
