"""Several files in one call, and the reports that a call writes, with the real program."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from toy_models import Pair, export_toy

from mtt.__main__ import main
from mtt.errors import UserError
from mtt.verify import run as stage


class Loud(Pair):
    """Forces that are not the derivative of the energy it gives: the baseline grows with each call."""

    energy_unit = "eV"

    def range(self) -> float:
        return 0.5 * self.cutoff


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``good.pt``, and ``bad.pt``, which declares half of its interaction range."""
    try:
        stage.program()
    except UserError as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp("several")
    export_toy(path / "good.pt", "pair")
    export_toy(path / "bad.pt", Loud)
    return path


def test_each_file_gets_a_line_and_the_worst_decides(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    code = main(
        ["verify", "good.pt", "bad.pt", "--only", "LOAD,SCHEMA", "--json", "all.json"]
        + ["--junit", "all.xml", "--sarif", "all.sarif", "--html", "all.html"]
    )
    shown = capsys.readouterr()
    assert code == 3
    first, second = shown.out.splitlines()
    assert first.startswith("pass good.pt: ") and "checks passed" in first
    assert second.startswith("fail bad.pt: ASE") or second.startswith("fail bad.pt: LAMMPS")
    assert ": no: " in second and max(map(len, (first, second))) < 400
    assert shown.err == "error: 1 of 2 files failed: bad.pt\n"
    reports = json.loads(Path("all.json").read_text())
    assert [report["verdict"] for report in reports] == ["pass", "fail"]
    suites = ET.parse("all.xml").getroot().findall("testsuite")
    assert [suite.get("name") for suite in suites] == [
        *("good.pt", "good.pt verdicts", "bad.pt", "bad.pt verdicts"),
    ]
    assert [suite.get("failures") for suite in suites[:3]] == ["0", "0", "1"]
    assert suites[3].get("failures") != "0"
    runs = json.loads(Path("all.sarif").read_text())["runs"]
    assert [len(run["results"]) for run in runs] == [0, 1]
    assert 'href="#report-1"' in Path("all.html").read_text()


def test_what_cannot_be_verified_does_not_keep_others_from_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    header = b'{"__metadata__":{"mtt":"{}"}}'
    Path("slip.pt").write_bytes(len(header).to_bytes(8, "little") + header)
    assert main(["verify", "slip.pt", "good.pt", "--only", "LOAD"]) == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("pass good.pt: ")
    assert shown.err.startswith("error: this is a checkpoint, not an exported model\n")
    assert shown.err.endswith("error: 1 of 2 files could not be verified\n")
    assert main(["verify", "slip.pt", "bad.pt", "--only", "LOAD,SCHEMA"]) == 3


def test_annotations_follow_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    arguments = ["verify", "bad.pt", "--only", "SCHEMA", "--annotations", "github"]
    assert main([*arguments, "--skip", "SCHEMA/devices=no GPU here"]) == 3
    *_, error, notice, verdict = capsys.readouterr().out.splitlines()
    start = "::error file=bad.pt,title="
    assert error.startswith(f"{start}SCHEMA/interaction range::")
    assert verdict.startswith(f"{start}mtt verify::fail: not for ")
    assert notice == (
        "::notice file=bad.pt,title=SCHEMA/devices::skipped: SCHEMA/devices: no GPU here"
    )
