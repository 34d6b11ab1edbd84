"""Options that change the model, all in one run: what each of them is tested for alone has to hold together."""

import json
from pathlib import Path
from typing import Any

import ase.io
import pytest
import yaml
from kill_process import at_write
from killed_runs import assert_killed_it_has_the_same_bits
from small_runs import leave_undrawn, make_options, write_data

from mtt import checkpoint as checkpoints
from mtt.__main__ import main
from mtt.data.read_files import structure_of
from mtt.evaluation.predict import open_model

MODEL = {
    "long_range": {"num_charges": 2},
    "zbl": True,
    "system_conditioning": True,
    "max_charge": 2,
    "max_spin_multiplicity": 2,
}


def options_of(folder: Path, **training: Any) -> dict[str, Any]:
    """Write data and options into ``folder``: neutral singlets, and cations that are doublets."""
    write_data(folder / "data.xyz")
    frames = ase.io.read(folder / "data.xyz", ":")
    for number, atoms in enumerate(frames):
        state = number // 3 % 2
        atoms.info |= {"total_charge": state, "spin": 1 + state}
        atoms.info["energy"] = atoms.get_potential_energy() + 2.0 * state
        atoms.arrays["own_forces"] = atoms.get_forces()
        atoms.calc = None
    ase.io.write(folder / "data.xyz", frames, format="extxyz")
    make_options(folder, {"uncertainty": "llpr", **training})
    content: dict[str, Any] = yaml.safe_load((folder / "options.yaml").read_text())
    content["architecture"]["model"] |= MODEL
    content["training_set"] = {
        "systems": str(folder / "data.xyz"),
        "targets": {"energy": {"key": "energy", "forces": {"key": "own_forces"}}},
        "extra_data": {
            "charge": {"key": "total_charge"},
            "spin_multiplicity": {"key": "spin"},
        },
    }
    (folder / "options.yaml").write_text(yaml.safe_dump(content))
    return content


def test_the_export_passes_all_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    leave_undrawn(monkeypatch)
    options_of(tmp_path, num_epochs=2)
    # Which verifies the export for ASE, as engines have to know of charge and spin.
    assert main(["train", "options.yaml", "-o", "model.pt"]) == 0
    (path,) = Path("outputs").glob("*/*/verification.json")
    checks = json.loads(path.read_text())["checks"]
    # What other engines cannot do; an overflow of the potential of a wire was among these once.
    failed = {check["name"] for check in checks if check["status"] == "fail"}
    assert failed == {"interaction range", "inputs"}
    passed = {check["name"] for check in checks if check["status"] == "pass"}
    assert {"forces", "virial", "cells", "periodicity", "floating-point exceptions"} <= passed
    header = checkpoints.read_header(Path("model.ckpt"))
    assert [record.method for record in header.uncertainties] == ["llpr"]
    structures = [structure_of(atoms, "data.xyz") for atoms in ase.io.read("data.xyz", ":6")]
    found = []
    for path in ("model.pt", "model.ckpt"):
        opened = open_model(Path(path), "cpu")
        found.append(list(opened.predict(structures, [*opened.targets, *opened.derived.values()])))
    for exported, own in zip(*found, strict=True):
        assert set(exported) == {"energy", "energy_uncertainty"}
        for name, values in exported.items():
            assert values.values == pytest.approx(own[name].values, rel=2e-5, abs=2e-5), name


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    saving = {"checkpoint_interval": 10, "checkpoint_every": "3 steps", "keep_every": None}
    # The weight changes once before the kill, and twice after it.
    loss = {"energy": {1: 2.0, 2: 5.0, 4: 30.0, 7: 1.0}, "forces": 1.0}
    options = options_of(tmp_path, num_epochs=9, log_interval=9, loss=loss, **saving)
    assert_killed_it_has_the_same_bits(tmp_path, options, at_write(4, 0))
