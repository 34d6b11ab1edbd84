"""A model without an energy: no engine can run MD with it, and it is exported all the same."""

import json
from pathlib import Path

import pytest
from small_runs import TARGETS, make_options, write_data

from mtt.__main__ import main


def test_dipoles_alone_are_trained_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(Path("data.xyz"), several=True)
    targets = {"mtt::dipole": TARGETS["mtt::dipole"]}
    make_options(Path(), training_set={"systems": "data.xyz", "targets": targets})
    assert main(["train", "options.yaml"]) == 0
    assert Path("model.pt").exists()
    (report,) = Path("outputs").glob("*/*/verification.json")
    verdict = json.loads(report.read_text())
    assert (verdict["verdict"], verdict["for"]) == ("pass", ["lammps:compute"])
    capsys.readouterr()
    # Whoever asks for an engine that runs MD is told that it cannot.
    assert main(["verify", "model.pt", "--for", "lammps", "--only", "SCHEMA"]) == 3
    assert "the model has no output 'energy'" in " ".join(capsys.readouterr().out.split())
