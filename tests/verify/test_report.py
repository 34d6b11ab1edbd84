"""The report object and the writers that need no browser: terminal, JUnit, SARIF, annotations."""

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from verification_reports import HOSTILE, check, content, hostile, mixed, plain

from mtt.printable import printable
from mtt.verify import run
from mtt.verify.report import Check, Point, Report, Waiver, github, html, junit, sarif, terminal
from mtt.verify.report.report import NoReport
from mtt.verify.settings import Outputs

FAMILIES = [
    "LOAD",
    "SCHEMA",
    "PARITY",
    "NTH",
    "FD",
    "DD",
    "GEO",
    "SYM",
    "DTYPE",
    "DEVICE",
    "LIMITS",
]


def shown(report: Report, name: str = "model.pt") -> list[str]:
    """The lines on a terminal of 80 columns."""
    out = io.StringIO()
    terminal.print_report(report, name, Console(file=out, width=80))
    return out.getvalue().splitlines()


def test_report_is_typed() -> None:
    report = mixed()
    assert report.checks[0] == Check(
        family="PARITY",
        name="energy",
        status="pass",
        measured=0.5,
        tolerance=1.0,
        unit="eV",
        margin=2.0,
        message="largest difference: energy of water",
        systems=("water",),
        seconds=0.25,
        description="Energies are the same.",
        tolerance_source="the table",
        series=tuple(Point(0.1 * k, 0.1 * k + 0.01 * (-1) ** k, "water") for k in range(5)),
    )
    assert report.waivers == (Waiver("DD", "one rank"),)
    assert (report.exit_code, [one.full_name for one in report.failures]) == (3, ["FD/forces"])
    assert report.failure("m.pt") == "m.pt failed 1 check: FD/forces"
    assert (report.checks[1].used, report.checks[2].used) == (3.0, None)
    assert json.loads(report.text)["checks"][0]["name"] == "energy"


def test_reports_of_schema_1_can_be_read() -> None:
    old = content(check())
    for key in ("level", "engine", "only", "waivers", "isolation", "coverage"):
        del old[key]
    report = Report.of({**old, "schema": 1})
    assert (report.schema, report.level, report.waivers, report.isolation) == (1, "full", (), None)
    assert shown(report)[1] == "float32, torch 2.13.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON: Expecting property name enclosed in double quotes"),
        ("[]", "its schema is None, and this program knows 1 and 2"),
        ('{"schema": 3}', "its schema is 3, and this program knows 1 and 2"),
        ('{"schema": 2}', "a part is missing or of another type: 'file'"),
        ("[" * 100_000, "it is not JSON: it is nested too deeply"),
        ('{"schema": 2, "seconds": NaN}', "it is not JSON: NaN is not JSON"),
    ],
)
def test_what_is_no_report_is_refused(text: str, message: str) -> None:
    with pytest.raises(NoReport) as refused:
        Report.from_json(text)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": "perhaps"}, "the verdict 'perhaps'"),
        ({"checks": [check(status="maybe")]}, "the status 'maybe'"),
        ({"checks": [check(measured="1")]}, "'1' is no number"),
        ({"checks": [check(measured=True)]}, "True is no number"),
        ({"checks": [3]}, "'int' object is not subscriptable"),
        ({"file": []}, "list indices must be integers or slices, not str"),
    ],
)
def test_parts_of_another_type_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NoReport) as refused:
        Report.of(content(check(), **changes))
    assert str(refused.value) == f"a part is missing or of another type: {message}"


def test_numbers_that_are_infinite_count_as_none() -> None:
    text = json.dumps(content(check(measured=12345.0))).replace("12345.0", "1e999")
    assert Report.from_json(text).checks[0].measured is None


def test_passing_model_fits_a_screen() -> None:
    report = plain(*(check(family, f"a rather long name {family}") for family in FAMILIES))
    lines = shown(report)
    assert len(lines) <= 22
    assert max(len(line) for line in lines) <= 80
    assert lines[0] == "verification of model.pt"
    assert lines[-1] == "pass: an MD engine can use it (1.5 s, 268 MB)"


def test_what_did_not_pass_is_said_in_words() -> None:
    lines = shown(mixed())
    assert lines[-4:] == [
        "fail FD/forces: forces are wrong (3 of 1 eV allowed)",
        "skip FD/virial: no cell",
        "waived DD/energy: one rank",
        "fail: do not use this file (1.5 s, 268 MB)",
    ]
    assert lines[1] == "float32, torch 2.13.0, level full"


def test_checks_that_share_a_reason_share_a_line() -> None:
    skips = [
        check(family, name, status="skip", message="no model")
        for family in ("FD", "DD")
        for name in "ab"
    ]
    assert "skip 4 checks of DD, FD: no model" in shown(plain(check(), *skips))


def test_a_partial_pass_does_not_promise_too_much() -> None:
    assert shown(plain(only=["LOAD"]))[-1] == (
        "pass: as far as it was checked, an MD engine can use it (1.5 s, 268 MB)"
    )


def test_terminal_obeys_no_model() -> None:
    text = "\n".join(shown(hostile(), HOSTILE))
    assert "\x1b" not in text and "\x00" not in text and "\u202e" not in text
    assert "::error" not in [line[:7] for line in text.splitlines()]
    text.encode()


def test_junit() -> None:
    root = ET.fromstring(junit.junit([("model.pt", mixed()), ("other.pt", plain())]))
    assert {k: root.get(k) for k in ("tests", "failures", "skipped", "errors", "time")} == {
        "tests": "6",
        "failures": "1",
        "skipped": "2",
        "errors": "0",
        "time": "3.000",
    }
    suite = root.find("testsuite")
    assert suite is not None and suite.get("name") == "model.pt"
    cases = {case.get("name", ""): case for case in suite.findall("testcase")}
    failure = cases["forces"].find("failure")
    assert failure is not None and failure.get("message") == "forces are wrong"
    assert failure.text == (
        "FD/forces: forces are wrong (3 of 1 eV allowed)\nsystems: water\n"
        "what it checks: Energies are the same.\ntolerance: the table"
    )
    assert cases["forces"].get("classname") == "model.pt.FD"
    reasons = {
        name: found.get("message")
        for name, case in cases.items()
        for found in suite.iter("skipped")
        if found in list(case) and name != ""
    }
    assert reasons == {"virial": "no cell", "energy": "waived: one rank"}
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert properties["sha256"] == "ab" * 32
    assert properties["program.torch"] == "2.13.0"
    assert properties["waiver.DD"] == "one rank"


def test_junit_of_a_hostile_model_is_xml_and_keeps_what_it_said() -> None:
    root = ET.fromstring(junit.junit([(HOSTILE, hostile())]))
    failure = next(root.iter("failure"))
    assert "<script>" in failure.get("message", "")
    assert "\\x1b[2J\\x00\\ud800" in failure.get("message", "")


def test_sarif() -> None:
    (run,) = json.loads(sarif.sarif([("a b/model.pt", mixed())]))["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["PARITY/energy", "FD/forces", "FD/virial", "DD/energy", "LIMITS/time"]
    failure, waived = run["results"]
    assert failure["ruleId"] == rules[failure["ruleIndex"]] == "FD/forces"
    assert failure["level"] == "error"
    assert failure["message"]["text"] == "FD/forces: forces are wrong (3 of 1 eV allowed)"
    place = failure["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a%20b/model.pt", "index": 0}
    assert run["artifacts"] == [
        {
            "location": {"uri": "a%20b/model.pt"},
            "length": 12345,
            "hashes": {"sha-256": "ab" * 32},
        }
    ]
    assert waived["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "one rank"}
    ]
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 3}]
    again = json.loads(sarif.sarif([("a b/model.pt", mixed())]))["runs"][0]
    assert again["results"][0]["partialFingerprints"] == failure["partialFingerprints"]


def test_sarif_of_a_hostile_model_is_ascii_json() -> None:
    text = sarif.sarif([(HOSTILE, hostile())]).decode("ascii")
    (run,) = json.loads(text)["runs"]
    assert run["results"][0]["message"]["text"].startswith("PARITY/" + printable(HOSTILE))
    assert "<" not in run["artifacts"][0]["location"]["uri"]


def test_annotations() -> None:
    assert github.annotations("a,b:c.pt", mixed()) == (
        "::error file=a%2Cb%3Ac.pt,title=FD/forces::"
        "FD/forces: forces are wrong (3 of 1 eV allowed)\n"
        "::notice file=a%2Cb%3Ac.pt,title=DD/energy::waived: DD/energy: one rank\n"
    )
    assert github.annotations("m.pt", plain()) == ""


def test_a_message_cannot_be_an_annotation_of_its_own() -> None:
    lines = github.annotations("m.pt", hostile()).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(("::error file=m.pt,", "::notice file=m.pt,")) for line in lines)


def test_every_form_names_the_target_of_a_model_with_several() -> None:
    targets = ("energy", "energy/pbe")
    checks = [
        check(name="forces", target=target, status="fail", message="wrong") for target in targets
    ]
    report = Report.of(content(*checks))
    shown = io.StringIO()
    terminal.print_report(report, "model.pt", Console(file=shown, width=80))
    forms = {
        "terminal": shown.getvalue(),
        "junit": junit.junit([("model.pt", report)]).decode(),
        "sarif": sarif.sarif([("model.pt", report)]).decode(),
        "github": github.annotations("model.pt", report),
        "html": html.page([("model.pt", report)]).decode(),
        "failure": report.failure("model.pt"),
    }
    for form, text in forms.items():
        for target in targets:
            assert f"forces of {target}" in text, form
    # The name of the check, which --only takes, is the same for all targets.
    assert {one.full_name for one in report.checks} == {"PARITY/forces"}
    (run,) = json.loads(forms["sarif"])["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["PARITY/forces"]
    prints = {one["partialFingerprints"]["fileAndCheck/v1"] for one in run["results"]}
    assert len(prints) == 2


def test_every_form_says_that_the_sandbox_was_weak() -> None:
    weak = "weak sandbox: no Landlock here"
    isolation = {**content()["isolation"], "notes": ["of no account", weak]}
    report = Report.of(content(check(), isolation=isolation))
    assert report.weak_sandbox == weak
    assert weak in shown(report)
    root = ET.fromstring(junit.junit([("model.pt", report)]))
    values = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert values["isolation"] == weak
    [run] = json.loads(sarif.sarif([("model.pt", report)]))["runs"]
    assert run["properties"]["isolation"] == weak
    assert github.annotations("a,b.pt", report) == f"::warning file=a%2Cb.pt::{weak}\n"
    assert weak in html.page([("model.pt", report)]).decode()


def test_a_full_sandbox_needs_no_word() -> None:
    assert plain().weak_sandbox is None
    assert github.annotations("model.pt", plain()) == ""


def test_no_form_of_a_report_has_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that reads the token of whoever verifies it, and puts it wherever it can say something."""
    secret = 'quiet"\\-secret-of-mine'
    monkeypatch.setenv("HF_TOKEN", secret)
    text = f"read {secret} and hf_{'x' * 30}"
    one = check(status="fail", message=text, systems=[text], target=text, description=text)
    one |= {"series": [{"x": 1.0, "y": 2.0, "label": text}], "unit": text}
    data = content(one, check(name="b", status="skip", message=text), program={"torch": text})
    data["model"] = {**data["model"], "name": text}
    report = Report.of(data)
    names = {kind: tmp_path / f"r.{kind}" for kind in ("json", "junit", "sarif", "html")}
    run._write([(text, report)], Outputs(**names, annotations="github"))
    run._write([(text, report)], Outputs(json=Path("-")))
    terminal.print_line(report, "model.pt")
    forms = [path.read_text() for path in names.values()] + [capsys.readouterr().out]
    assert len(forms) == 5
    for form in forms:
        assert "[token]" in form
        assert "secret-of-mine" not in form and "xxxx" not in form
    assert (
        json.loads(names["json"].read_text())["checks"][0]["message"] == "read [token] and [token]"
    )
    assert "secret-of-mine" not in report.failure()


def test_a_report_without_secrets_stays_as_the_program_wrote_it() -> None:
    text = json.dumps(content(check()))
    assert Report.from_json(text).text == text
