"""A model without an energy: no engine can run MD with it, and it is exported all the same."""

import json
from pathlib import Path

import pytest
from small_runs import TARGETS, make_options, write_data

from mtt.__main__ import main
from mtt.errors import UserError
from mtt.options import load_options
from mtt.training import run as stage


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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mtt::dipole", TARGETS["mtt::dipole"], "'mtt::dipole' turns with the structure"),
        ("mtt::dos", {"key": "dipole", "properties": 3}, "'mtt::dos' has 3 numbers"),
    ],
)
def test_a_baseline_of_what_has_none(
    name: str, options: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(Path("data.xyz"), several=True)
    training_set = {"systems": "data.xyz", "targets": {name: options}}
    make_options(Path(), {"atomic_baseline": {name: "isolated"}}, training_set=training_set)
    with pytest.raises(UserError) as caught:
        stage.run(load_options(Path("options.yaml")))
    assert str(caught.value).startswith(message)
    assert "architecture.training.atomic_baseline" in str(caught.value)
    assert not Path("model.ckpt").exists()
