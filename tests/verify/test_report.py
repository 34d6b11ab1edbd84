"""The report object and the writers that need no browser: terminal, JUnit, SARIF, annotations."""

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from verification_reports import (
    HOSTILE,
    check,
    content,
    hostile,
    mixed,
    of_schema_2,
    plain,
    several,
)

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


FINDING = {"cause": "x", "severity": "stops", "checks": ["PARITY/energy"], "entries": [0]}
VERDICT = {"use": "ase", "engine": "ase", "title": "ASE", "answer": "yes"}


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
    assert report.checks[1].severity == "wrong numbers"
    assert report.waivers == (Waiver("DD", "one rank"),)
    assert (report.exit_code, [one.full_name for one in report.failures]) == (3, ["FD/forces"])
    assert report.failure("m.pt") == (
        "m.pt failed 1 check: FD/forces, which matters to ASE, LAMMPS"
    )
    assert (report.checks[1].used, report.checks[2].used) == (3.0, None)
    assert json.loads(report.text)["checks"][0]["name"] == "energy"


def test_reports_of_older_schemas_can_be_read() -> None:
    bad = check("FD", "forces", status="fail", measured=3.0, message="forces are wrong")
    report = Report.of(of_schema_2(check(), bad))
    assert (report.schema, report.verdicts, report.findings, report.judged) == (2, (), (), ())
    assert report.counted == report.failures
    lines = shown(report)
    assert "fail FD/forces: forces are wrong (3 of 1 eV allowed)" in lines
    assert lines[-1] == "fail: do not use this file (1.5 s, 268 MB)"
    assert report.failure("m.pt") == "m.pt failed 1 check: FD/forces"
    assert github.annotations("m.pt", report) == (
        "::error file=m.pt,title=FD/forces::FD/forces: forces are wrong (3 of 1 eV allowed)\n"
    )
    (run,) = json.loads(sarif.sarif([("m.pt", report)]))["runs"]
    assert [one["level"] for one in run["results"]] == ["error"]
    root = ET.fromstring(junit.junit([("m.pt", report)]))
    assert (len(root), root.get("failures")) == (1, "1")
    assert b"forces are wrong" in html.page([("m.pt", report)])
    old = of_schema_2(check())
    assert shown(Report.of(old))[-1] == "pass: an MD engine can use it (1.5 s, 268 MB)"
    for key in ("level", "engine", "only", "waivers", "isolation", "coverage"):
        del old[key]
    report = Report.of({**old, "schema": 1})
    assert (report.schema, report.level, report.waivers, report.isolation) == (1, "full", (), None)
    assert shown(report)[1] == "float32, torch 2.13.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON: Expecting property name enclosed in double quotes"),
        ("[]", "its schema is None, and this program knows 1, 2 and 3"),
        ('{"schema": 4}', "its schema is 4, and this program knows 1, 2 and 3"),
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
        ({"findings": [{**FINDING, "severity": "bad"}]}, "the severity 'bad'"),
        ({"findings": [{**FINDING, "checks": []}]}, "a finding without checks"),
        (
            {"findings": [{**FINDING, "checks": ["FD/forces"]}]},
            "a finding of FD/forces that names other checks",
        ),
        ({"findings": [{**FINDING, "entries": [1]}]}, "a place beyond the end of a list"),
        ({"findings": [{**FINDING, "entries": [True]}]}, "a place beyond the end of a list"),
        ({"verdicts": [{**VERDICT, "answer": "maybe"}]}, "the answer 'maybe'"),
        ({"verdicts": [{**VERDICT, "findings": [0]}]}, "a place beyond the end of a list"),
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
    assert len(lines) <= 26
    assert max(len(line) for line in lines) <= 80
    assert lines[0] == "verification of model.pt"
    assert lines[-1] == "pass: for ASE, LAMMPS (1.5 s, 268 MB)"


def test_what_is_left_out_is_skipped_and_what_is_expected_is_waived() -> None:
    """Files call both ``waived``."""
    left_out = check("DD", "energy", status="waived", measured=None, tolerance=None, message="no")
    expected = check("GEO", "cells", status="waived", message="slabs", waived_because="no slabs")
    skipped = check("FD", "virial", status="skip", measured=None, message="no cell")
    report = plain(check(), left_out, expected, skipped)
    assert [one.word for one in report.checks] == ["pass", "skipped", "waived", "skip"]
    assert [report.count(column) for column in ("pass", "fail", "skip", "waived")] == [1, 0, 2, 1]
    lines = [line.rstrip() for line in shown(report)]
    assert "skipped DD/energy: no" in lines and "skip FD/virial: no cell" in lines
    (head,) = [line for line in lines if line.lstrip().startswith("family")]
    assert head.split()[:5] == ["family", "pass", "fail", "skip", "waived"]
    assert "waived" not in "".join(shown(plain(check(), left_out, skipped)))
    line = io.StringIO()
    terminal.print_line(report, "m.pt", Console(file=line, width=200))
    assert "1 checks passed, 1 skipped, 1 waived" in line.getvalue()
    cases = ET.fromstring(junit.junit([("m.pt", report)])).iter("skipped")
    said = [case.get("message") for case in cases]
    assert "skipped: no" in said and "waived: slabs: no slabs" in said and "no cell" in said
    counts = json.loads(sarif.sarif([("m.pt", report)]))["runs"][0]["properties"]["counts"]
    assert counts == {"pass": 1, "fail": 0, "skip": 1}


def test_what_did_not_pass_is_said_in_words() -> None:
    lines = [line.rstrip() for line in shown(mixed())]
    assert "wrong numbers FD/forces: forces are wrong (3 of 1 eV allowed)" in lines
    assert lines.index("skip FD/virial: no cell") < lines.index("skipped DD/energy: one rank")
    assert lines[-5:] == [
        " *   ASE                       no: something is wrong",
        " *   LAMMPS on one rank        no: something is wrong",
        " *   LAMMPS on several ranks   no: something is wrong",
        "     PLUMED                    no: something is wrong",
        "fail: not for ASE, LAMMPS (1.5 s, 268 MB)",
    ]
    assert lines[1] == "float32, torch 2.13.0, level full"


def test_each_engine_has_its_verdict() -> None:
    report = several()
    lines = [line.rstrip() for line in shown(report)]
    findings = lines.index("wrong numbers DD/energy: domains differ (3 of 1 eV allowed)")
    assert lines[findings : findings + 9] == [
        "wrong numbers DD/energy: domains differ (3 of 1 eV allowed)",
        "stops GEO/cells: fails for slabs (pbc TTF), other cells pass (0.5 of 1 eV",
        "allowed)",
        "wrong numbers GEO/empty system: needs atoms (0.5 of 1 eV allowed) (not judged)",
        "costs LIMITS/time per call: slower (0.5 of 1 eV allowed) (not judged)",
        "waived GEO/periodicity: slabs are wrong: no slabs here",
        "with the waivers of mtt-verify.yaml",
        "warning the waiver of SYM/rotation is no longer needed: nothing like it fails",
        "",
    ]
    assert lines[-6:] == [
        " *   ASE                       yes, unless slabs (pbc TTF)",
        " *   LAMMPS on one rank        yes",
        " *   LAMMPS on several ranks   no: something is wrong",
        "     PLUMED                    no: something is wrong",
        "fail: not for LAMMPS on several ranks; not always for ASE; good for LAMMPS on",
        "one rank (1.5 s, 268 MB)",
    ]
    assert "Traceback" not in "\n".join(lines)
    # What nobody judges, costs or is expected does not count.
    assert [one.label for one in report.counted] == ["DD/energy", "GEO/cells"]
    assert report.failure("m.pt") == (
        "m.pt failed 2 checks: DD/energy, GEO/cells, which matters to ASE, LAMMPS on several ranks"
    )


def test_a_line_for_one_of_many_names_the_verdicts() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    terminal.print_line(several(), "a.pt", console)
    terminal.print_line(plain(), "b.pt", console)
    assert out.getvalue().splitlines() == [
        "fail a.pt: ASE: yes, unless slabs (pbc TTF); LAMMPS on several ranks: no: something is wrong"
        " (1.5 s)",
        "pass b.pt: for ASE, LAMMPS; 1 checks passed (1.5 s)",
    ]


def test_failures_that_matter_to_nobody_who_is_judged_pass() -> None:
    report = plain(check(), check("GEO", "x", status="fail", matters=["plumed"]))
    assert report.passed and report.failures and not report.counted
    root = ET.fromstring(junit.junit([("m.pt", report)]))
    assert root.get("failures") == "0"
    (run,) = json.loads(sarif.sarif([("m.pt", report)]))["runs"]
    assert [one["level"] for one in run["results"]] == ["warning"]
    assert github.annotations("m.pt", report).startswith("::warning file=m.pt,title=GEO/x::")


def test_what_was_not_tried_is_no_pass() -> None:
    untried = {**VERDICT, "answer": "untried", "reason": "no units", "judged": True}
    report = Report.of(content(check(), verdicts=[untried], verdict="fail", **{"for": ["ase"]}))
    assert report.failure("m.pt") == "m.pt: nothing was tried for ASE"
    assert shown(report)[-1] == "fail: untried for ASE (1.5 s, 268 MB)"
    root = ET.fromstring(junit.junit([("m.pt", report)]))
    assert [failure.get("message") for failure in root.iter("failure")] == ["untried: no units"]
    # Whoever chose the checks does not want to hear that others did not run.
    some = content(check(), verdicts=[untried], only=["PARITY"], **{"for": ["ase"]})
    root = ET.fromstring(junit.junit([("m.pt", Report.of(some))]))
    assert [skipped.get("message") for skipped in root.iter("skipped")] == ["untried: no units"]
    assert shown(Report.of(some))[-1] == "pass: as far as it was checked, for ASE (1.5 s, 268 MB)"
    # An engine that was left out is not among those it passed for.
    left = {"check": "ENGINE/ase", "reason": "no ASE here", "runs": False}
    out = content(check(), verdicts=[untried], waivers=[left], **{"for": ["ase"]})
    last = shown(Report.of(out))[-1]
    assert last == "pass: as far as it was checked, untried for ASE (1.5 s, 268 MB)"


def test_checks_that_share_a_reason_share_a_line() -> None:
    skips = [
        check(family, name, status="skip", message="no model")
        for family in ("FD", "DD")
        for name in "ab"
    ]
    assert "skip 4 checks of DD, FD: no model" in shown(plain(check(), *skips))


def test_a_partial_pass_does_not_promise_too_much() -> None:
    assert shown(plain(only=["LOAD"]))[-1] == (
        "pass: as far as it was checked, for ASE, LAMMPS (1.5 s, 268 MB)"
    )


def test_terminal_obeys_no_model() -> None:
    text = "\n".join(shown(hostile(), HOSTILE))
    assert "\x1b" not in text and "\x00" not in text and "\u202e" not in text
    assert "::error" not in [line[:7] for line in text.splitlines()]
    text.encode()


def test_junit() -> None:
    root = ET.fromstring(junit.junit([("model.pt", several()), ("other.pt", plain())]))
    assert {k: root.get(k) for k in ("tests", "failures", "skipped", "errors", "time")} == {
        "tests": "15",
        "failures": "4",
        "skipped": "4",
        "errors": "0",
        "time": "3.000",
    }
    names = ["model.pt", "model.pt verdicts", "other.pt", "other.pt verdicts"]
    assert [suite.get("name") for suite in root] == names
    cases = {case.get("name", ""): case for case in root[0].findall("testcase")}
    failure = cases["cells"].find("failure")
    assert failure is not None
    assert failure.get("message") == "fails for slabs (pbc TTF), other cells pass"
    assert failure.get("type") == "stops"
    assert failure.text == (
        "GEO/cells: fails for slabs (pbc TTF), other cells pass (0.5 of 1 eV allowed)\n"
        "only if slabs (pbc TTF)\nsystems that fail: slab\nsystems: water\nmatters to: ase\n"
        "what it checks: Energies are the same.\ntolerance: the table\n"
        "Traceback of TorchScript\n  serialized code, line 3"
    )
    assert cases["cells"].get("classname") == "model.pt.GEO"
    reasons = {
        name: skipped.get("message")
        for name, case in cases.items()
        if (skipped := case.find("skipped")) is not None
    }
    assert reasons == {
        "empty system": "not judged: wrong numbers: needs atoms",
        "time per call": "not judged: costs: slower",
        "periodicity": "waived: slabs are wrong: no slabs here",
    }
    rows = {
        case.get("name"): [(part.tag, part.get("message")) for part in case]
        for case in root[1].findall("testcase")
    }
    assert rows == {
        "ASE": [("failure", "yes, unless slabs (pbc TTF)")],
        "LAMMPS on one rank": [],
        "LAMMPS on several ranks": [("failure", "no: something is wrong")],
        "PLUMED": [("skipped", "not judged: no: something is wrong")],
    }
    properties = {one.get("name"): one.get("value") for one in root[0].iter("property")}
    assert properties["sha256"] == "ab" * 32
    assert properties["program.torch"] == "2.13.0"
    assert properties["waiver.DTYPE"] == "no GPU"
    assert properties["needless.SYM/rotation"] == "by construction"
    assert properties["verdict.lammps:ranks=several"] == "no: something is wrong"
    assert properties["for"] == "ase, lammps:ranks=1, lammps:ranks=several"


def test_junit_of_a_hostile_model_is_xml_and_keeps_what_it_said() -> None:
    root = ET.fromstring(junit.junit([(HOSTILE, hostile())]))
    failure = next(root.iter("failure"))
    assert "<script>" in failure.get("message", "")
    assert "\\x1b[2J\\x00\\ud800" in failure.get("message", "")


def test_sarif() -> None:
    (run,) = json.loads(sarif.sarif([("a b/model.pt", several())]))["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == [
        "PARITY/energy",
        "DD/energy",
        "GEO/empty system",
        "GEO/cells",
        "LIMITS/time per call",
        "GEO/periodicity",
    ]
    levels = [(one["ruleId"], one["level"]) for one in run["results"]]
    assert levels == [
        ("DD/energy", "error"),
        ("GEO/empty system", "warning"),
        ("GEO/cells", "error"),
        ("LIMITS/time per call", "warning"),
        ("GEO/periodicity", "none"),
    ]
    failure, *_, waived = run["results"]
    assert failure["ruleId"] == rules[failure["ruleIndex"]]
    assert failure["message"]["text"] == "DD/energy: domains differ (3 of 1 eV allowed)"
    assert failure["properties"]["uses"] == ["lammps:ranks=several"]
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
        {"kind": "external", "status": "accepted", "justification": "no slabs here"}
    ]
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 3}]
    assert run["properties"]["verdicts"]["ase"] == "yes, unless slabs (pbc TTF)"
    again = json.loads(sarif.sarif([("a b/model.pt", several())]))["runs"][0]
    assert again["results"][0]["partialFingerprints"] == failure["partialFingerprints"]
    (run,) = json.loads(sarif.sarif([("model.pt", mixed())]))["runs"]
    # A check that was left out is a result as well.
    assert [one["ruleId"] for one in run["results"]] == ["FD/forces", "DD/energy"]


def test_sarif_of_a_hostile_model_is_ascii_json() -> None:
    text = sarif.sarif([(HOSTILE, hostile())]).decode("ascii")
    (run,) = json.loads(text)["runs"]
    assert run["results"][0]["message"]["text"].startswith("PARITY/" + printable(HOSTILE))
    assert "<" not in run["artifacts"][0]["location"]["uri"]


def test_annotations() -> None:
    start = "file=a%2Cb%3Ac.pt,title="
    assert github.annotations("a,b:c.pt", mixed()) == (
        f"::error {start}FD/forces::wrong numbers: FD/forces: forces are wrong (3 of 1 eV allowed)\n"
        f"::notice {start}DD/energy::skipped: DD/energy: one rank\n"
        f"::error {start}mtt verify::fail: not for ASE, LAMMPS\n"
    )
    assert github.annotations("m.pt", plain()) == (
        "::notice file=m.pt,title=mtt verify::pass: for ASE, LAMMPS\n"
    )
    lines = github.annotations("m.pt", several()).splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        *("::error", "::warning", "::error", "::warning", "::notice", "::warning", "::error"),
    ]


def test_a_message_cannot_be_an_annotation_of_its_own() -> None:
    lines = github.annotations("m.pt", hostile()).splitlines()
    assert len(lines) == 3
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
    first = github.annotations("a,b.pt", report).splitlines()[0]
    assert first == f"::warning file=a%2Cb.pt::{weak}"
    assert weak in html.page([("model.pt", report)]).decode()


def test_a_full_sandbox_needs_no_word() -> None:
    assert plain().weak_sandbox is None
    assert "sandbox" not in github.annotations("model.pt", plain())


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
