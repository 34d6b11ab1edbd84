"""Failures that are accepted: the file that says so, and what becomes of them in a real run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_models import Embedded, export_toy
from verification_reports import check, plain, several

import mtt
from mtt.__main__ import main
from mtt.errors import UserError, VerificationFailed
from mtt.export import run as export
from mtt.verify import run as stage
from mtt.verify import waivers
from mtt.verify.report import Report
from mtt.verify.settings import Settings

ONLY = ["LOAD", "PARITY"]


def entry(**changes: Any) -> dict[str, Any]:
    """A waiver, as people write it."""
    row = {"check": "PARITY/energy", "message": "differs", "reason": "of another seed"}
    return {key: value for key, value in {**row, **changes}.items() if value is not None}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"waivers": list(rows)}, sort_keys=False))
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # No line breaks in the middle of what is looked for, however long a random number is.
    monkeypatch.setenv("COLUMNS", "1000")
    return tmp_path


@pytest.fixture(scope="module")
def real_program() -> Path:
    try:
        return stage.program()
    except UserError as error:
        pytest.skip(str(error))


# ---- the file ----


def test_everything_that_is_wrong_is_said_with_its_place(real_program: Path) -> None:
    Path("a.yaml").write_text(
        "waivers:\n"
        "  - check: PARTY/energy\n"
        "    message: differs\n"
        "    reason: x\n"
        "  - check: LOAD/operators\n"
        "    mesage: differs\n"
        "    reason: ''\n"
        "    engine: lamps\n"
        "    worst: -1\n"
    )
    with pytest.raises(UserError) as caught:
        waivers.load(Path("a.yaml"))
    text = str(caught.value)
    for said in (
        "a.yaml:2:12: error: waivers[0].check: there is no check 'PARTY/energy'; did you mean "
        "'PARITY/energy'?",
        "a.yaml:5:12: error: waivers[1].check: what cannot be loaded safely cannot be waived",
        "a.yaml:6:5: error: waivers[1].mesage: unknown option; did you mean 'message'?",
        "a.yaml:7:13: error: waivers[1].reason: must say something: an empty text is refused",
        "a.yaml:8:13: error: waivers[1].engine: there is no engine 'lamps'; did you mean 'lammps'?",
        "a.yaml:9:12: error: waivers[1].worst: must be at least 0, found -1",
        "waivers[1].message: is required",
    ):
        assert said in text
    for family in ("LOAD", "LOAD/file"):
        with pytest.raises(UserError, match="cannot be waived"):
            waivers.load(written(Path("b.yaml"), entry(check=family)))
    with pytest.raises(UserError, match="file of waivers not found"):
        waivers.load(Path("nowhere.yaml"))
    Path("c.yaml").write_text("waivers: !!python/object/apply:os.system [touch ran]\n")
    with pytest.raises(UserError, match="YAML tag"):
        waivers.load(Path("c.yaml"))
    assert not Path("ran").exists()


def test_the_program_gets_them_as_json(
    real_program: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = folder / "seen.json"
    program = folder / "mtt-verify"
    # The last of the arguments is the file.
    program.write_text(f'#!/bin/sh\nfor word; do last=$word; done\ncp "$last" {seen}\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setenv("MTT_VERIFY", str(program))
    row = entry(system="slab", engine="lammps:ranks=several", worst=1, check="GEO")
    path = written(Path("known.yaml"), row)
    mtt.verify("model.pt", waivers=path)
    assert json.loads(seen.read_text()) == {"waivers": [{**row, "worst": 1.0}]}
    seen.unlink()
    mtt.verify("model.pt")
    assert not seen.exists()


def test_which_file_is_used(folder: Path) -> None:
    model = Path("models/model.pt")
    assert Settings().waivers(model) is None
    model.parent.mkdir()
    beside = written(model.parent / "mtt-verify.yaml", entry())
    assert Settings().waivers(model) == beside
    # A copy, or a download, has no folder of the user's.
    assert Settings().waivers(None) is None
    assert Settings(waivers=False).waivers(model) is None
    assert Settings(waivers="other.yaml").waivers(model) == Path("other.yaml")
    assert Settings(waivers="other.yaml").waivers(None) == Path("other.yaml")
    assert Settings() != Settings(waivers=False)


# ---- the file that a report is the beginning of ----


def test_what_fails_can_be_written_for_people_to_fill_in(real_program: Path) -> None:
    path = Path("known.yaml")
    assert waivers.write(path, several()) == 2
    text = path.read_text()
    assert text.startswith("# Failures of `mtt verify` that are known")
    assert yaml.safe_load(text) == {
        "waivers": [
            {"check": "DD/energy", "message": "domains differ", "worst": 6.0, "reason": ""},
            {
                "check": "GEO/cells",
                "system": "slabs (pbc TTF)",
                "message": "fails for slabs (pbc TTF), other cells pass",
                "worst": 1.0,
                "reason": "",
            },
        ]
    }
    with pytest.raises(UserError, match="must say something"):
        waivers.load(path)
    path.write_text(text.replace("reason: ''", "reason: known since May"))
    assert len(waivers.load(path).waivers) == 2
    with pytest.raises(UserError, match="are not overwritten"):
        waivers.write(path, several())
    assert "known since May" in path.read_text()


def test_messages_are_written_without_what_differs_from_run_to_run() -> None:
    text = "water: 0.12345 of 1e-5 allowed; energies of several domains differ by -3.2e+05 eV (x)"
    report = plain(check("DD", "energy", status="fail", message=text, failing=["water"]))
    assert waivers.write(Path("a.yaml"), report) == 1
    (row,) = yaml.safe_load(Path("a.yaml").read_text())["waivers"]
    assert row["message"] == "energies of several domains differ by"
    assert row["message"] in text
    assert row["system"] == "water"
    long = plain(check("DD", "energy", status="fail", message="word " * 100))
    waivers.write(Path("b.yaml"), long)
    (row,) = yaml.safe_load(Path("b.yaml").read_text())["waivers"]
    assert len(row["message"]) <= 120 and row["message"].endswith("word")


def test_what_cannot_be_waived_is_not_written() -> None:
    report = plain(check("LOAD", "operators", status="fail"))
    assert waivers.write(Path("a.yaml"), report) == 0
    assert not Path("a.yaml").exists()


# ---- real runs ----


@pytest.fixture(scope="module")
def wrong(real_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose golden pack is of another one."""
    path = tmp_path_factory.mktemp("wrong") / "model.pt"
    return export_toy(path, "pair", reference_model=Embedded)


@pytest.fixture
def model(wrong: Path, folder: Path) -> Path:
    return Path(shutil.copy(wrong, folder / "model.pt"))


def filled(path: Path) -> None:
    path.write_text(path.read_text().replace("reason: ''", "reason: of another seed"))


def test_an_expected_failure_passes_and_is_told(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", "model.pt", "--only", "LOAD,PARITY"]
    assert main([*arguments, "--write-waivers", "mtt-verify.yaml"]) == 3
    assert "say for each why it is accepted" in capsys.readouterr().err
    # Nobody has said why.
    assert main(arguments) == 2
    filled(Path("mtt-verify.yaml"))
    assert main([*arguments, "--html", "a.html", "--json", "a.json"]) == 0
    shown = capsys.readouterr().out
    assert "with the waivers of mtt-verify.yaml" in shown
    assert "\nwaived PARITY/" in shown and "of another seed" in shown
    assert "of another seed" in Path("a.html").read_text()
    report = Report.from_json(Path("a.json").read_text())
    assert report.waivers_file == "mtt-verify.yaml"
    assert all(waiver.used for waiver in report.waivers) and not report.needless
    assert main([*arguments, "--no-waivers"]) == 3
    assert main([*arguments, "--write-waivers", "mtt-verify.yaml"]) == 2
    assert "are not overwritten" in capsys.readouterr().err
    assert main([*arguments, "--write-waivers", "new.yaml"]) == 0
    assert not Path("new.yaml").exists()


def test_another_failure_shows(model: Path) -> None:
    report = mtt.verify(model, only=ONLY)
    rows = [
        {"check": failed.full_name, "message": failed.message[:10], "reason": "x"}
        for failed in report.failures
    ]
    path = Path("known.yaml")
    assert mtt.verify(model, only=ONLY, waivers=written(path, *rows)).passed
    # Another message, a smaller number, another system, and an engine that is not judged.
    for change in (
        {"message": "something else"},
        {"worst": 1e-12},
        {"system": "a lake"},
        {"engine": "plumed"},
    ):
        changed = [{**rows[0], **change}, *rows[1:]]
        report = mtt.verify(model, only=ONLY, waivers=written(path, *changed))
        assert not report.passed, change
        assert [failed.full_name for failed in report.counted] == [rows[0]["check"]], change


def test_a_waiver_that_nothing_needs_is_told(
    real_program: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_toy(Path("model.pt"), "pair")
    written(Path("mtt-verify.yaml"), entry())
    assert main(["verify", "model.pt", "--only", "LOAD,PARITY"]) == 0
    shown = capsys.readouterr().out
    assert "warning the waiver of PARITY/energy is no longer needed: nothing like it fails" in shown
    report = mtt.verify("model.pt", only=ONLY)
    assert [waiver.check for waiver in report.needless] == ["PARITY/energy"]


def test_several_files_each_have_their_own(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "model.pt", "--only", "LOAD,PARITY", "--write-waivers", "w.yaml"]) == 3
    filled(Path("w.yaml"))
    for name in ("known", "unknown"):
        Path(name).mkdir()
        shutil.copy("model.pt", f"{name}/model.pt")
    shutil.move("w.yaml", "known/mtt-verify.yaml")
    capsys.readouterr()
    files = ["known/model.pt", "unknown/model.pt"]
    assert main(["verify", *files, "--only", "LOAD,PARITY"]) == 3
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("pass known/model.pt") and second.startswith("fail unknown/model.pt")
    assert main(["verify", *files, "--write-waivers", "new.yaml"]) == 2
    assert main(["verify", "model.pt", "--waivers", "known/mtt-verify.yaml", "--no-waivers"]) == 2


def test_waivers_that_nobody_signed_are_not_used(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(Path("mtt-verify.yaml"), entry(message="e"))
    assert main(["sign", "--new-key", "lab"]) == 0
    assert main(["sign", "model.pt", "--key", "lab.key"]) == 0
    capsys.readouterr()
    arguments = ["verify", "model.pt", "--only", "LOAD,PARITY", "--require-signature", "lab.pub"]
    assert main(arguments) == 3
    shown = capsys.readouterr()
    assert "mtt-verify.yaml is not used, as nobody has signed it" in shown.err
    assert "waived" not in shown.out


def test_an_export_is_checked_with_those_beside_its_output(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(VerificationFailed):
        export.verified(model, Path("out/new.pt"), "quick")
    Path("out").mkdir()
    assert (
        main(["verify", "model.pt", "--only", "LOAD,SCHEMA,PARITY", "--write-waivers", "w.yaml"])
        == 3
    )
    filled(Path("w.yaml"))
    shutil.move("w.yaml", "out/mtt-verify.yaml")
    report = export.verified(model, Path("out/new.pt"), "quick")
    assert report is not None and report.passed
