"""The Python side of verification: it spawns the program, reads its report, and survives its death."""

import importlib.metadata
import json
import subprocess
from pathlib import Path

import pytest
from small_pet import checkpoint_of_pet
from toy_models import export_toy

from mtt.errors import UserError, VerificationFailed
from mtt.stages import verify

REBUILD = (
    "\n  hint: install the versions named first, or build again: "
    "pip install --no-build-isolation --no-deps --force-reinstall . in the source folder"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return export_toy(tmp_path_factory.mktemp("toy") / "toy.pt", "pair")


def program_that(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_report_of_a_sound_model(model, tmp_path, capsys):
    report = verify.run(model, only=["LOAD", "PARITY"], json_path=tmp_path / "report.json")
    assert report["verdict"] == "pass"
    assert {check["family"] for check in report["checks"]} == {"LOAD", "PARITY"}
    assert json.loads((tmp_path / "report.json").read_text()) == report
    shown = capsys.readouterr().out
    assert "pass: an MD engine can use it" in shown
    assert max(len(line) for line in shown.splitlines()) <= 100
    keys = {"family", "name", "status", "measured", "tolerance", "unit", "margin", "message"}
    for check in report["checks"]:
        assert set(check) == keys | {"systems", "seconds"}
    assert len(report["file"]["sha256"]) == 64
    assert report["program"]["torch"].startswith("2.13")


def test_json_on_standard_output_is_only_json(model, capsys):
    verify.run(model, only=["LOAD"], json_path=Path("-"))
    assert json.loads(capsys.readouterr().out)["verdict"] == "pass"


def test_a_checkpoint_is_not_a_model(tmp_path, capsys):
    ckpt = checkpoint_of_pet(tmp_path)
    with pytest.raises(VerificationFailed) as caught:
        verify.run(ckpt)
    assert str(caught.value).startswith(f"{ckpt} failed 1 check: LOAD/")
    assert "do not use this file" in capsys.readouterr().out


def test_unknown_family(model):
    with pytest.raises(UserError) as caught:
        verify.run(model, only=["LOAD", "FDD"])
    assert str(caught.value) == (
        "there is no family of checks called 'FDD'\n"
        "  hint: choose among LOAD, SCHEMA, PARITY, NTH, FD, DD, GEO, SYM"
    )


def test_families_are_those_of_the_program():
    listed = subprocess.run(
        [verify.program(), "--list"], capture_output=True, text=True, check=True
    )
    found = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line.split(" ")[0]}
    assert found == set(verify._FAMILIES)


def test_a_crash_of_the_model_is_a_verdict(model, tmp_path, monkeypatch, capsys):
    script = "echo 'mtt-verify: running' >&2; kill -SEGV $$"
    monkeypatch.setenv("MTT_VERIFY", program_that(tmp_path / "program", script))
    report = verify.verify(model)
    assert report["verdict"] == "fail"
    assert report["checks"][0]["message"] == (
        "the process died of SIGSEGV while it ran the model, as an MD engine would: running"
    )
    with pytest.raises(VerificationFailed, match="failed 1 check: LOAD/survives"):
        verify.run(model)


def test_a_program_without_its_libraries(model, tmp_path, monkeypatch):
    script = "echo 'mtt-verify: error while loading shared libraries: libtorch.so' >&2; exit 127"
    monkeypatch.setenv("MTT_VERIFY", program_that(tmp_path / "program", script))
    with pytest.raises(UserError) as caught:
        verify.verify(model)
    assert str(caught.value) == (
        "mtt-verify could not start: error while loading shared libraries: libtorch.so" + REBUILD
    )


def test_clashing_versions_are_named():
    installed = importlib.metadata.version("torch")
    built = {
        name: importlib.metadata.version(name) for name in ("metatensor-torch", "metatomic-torch")
    }
    verify.check_versions({**built, "torch": "2.13.99"})
    with pytest.raises(UserError) as caught:
        verify.check_versions({**built, "torch": "2.12.0"})
    assert str(caught.value) == (
        f"the compiled parts of mtt were built against torch 2.12.0, but {installed} is installed"
        + REBUILD
    )


def test_the_program_links_no_python():
    linked = subprocess.run(["ldd", verify.program()], capture_output=True, text=True, check=True)
    assert "libtorch_cpu.so" in linked.stdout
    assert "not found" not in linked.stdout
    assert "libpython" not in linked.stdout


def test_module_and_program_agree(model):
    """The pybind11 module runs the same checks in this process."""
    from mtt import _core

    report = json.loads(_core.verify(str(model), only=["PARITY"]))
    other = verify.verify(model, only=["PARITY"])
    names = [(check["name"], check["status"]) for check in other["checks"]]
    assert [(check["name"], check["status"]) for check in report["checks"]] == names
