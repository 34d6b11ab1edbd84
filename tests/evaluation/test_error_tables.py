"""What is written about predictions of several targets: frames, names, errors, the table."""

import io
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from rich.console import Console

from mtt.data.ase_frames import find
from mtt.data.structure import Reference, Structure
from mtt.data.target import GRADIENTS, Target
from mtt.evaluation.analysis import error_table
from mtt.evaluation.error_groups import errors
from mtt.evaluation.panels import parity_panels
from mtt.evaluation.results import write_xyz, xyz_names

ENERGY = Target("energy", gradients=GRADIENTS)
PBE = Target("energy/pbe", unit="Hartree", gradients=("positions",))
U0 = Target("mtt::u0")
CHARGES = Target("mtt::charges", quantity="charge", unit="e", per="atom")
SEVERAL = [ENERGY, PBE, U0, CHARGES]


def structure(n: int, references: dict[str, Reference]) -> Structure:
    cell, pbc = 9.0 * np.eye(3), np.array([True] * 3)
    positions = np.arange(3.0 * n).reshape(n, 3) / 7
    return Structure(np.full(n, 29, dtype=np.int32), positions, cell, pbc, references)


def prediction(n: int, shift: float = 0.0) -> dict[str, Reference]:
    random = np.random.default_rng(n)
    forces, stress = random.normal(size=(n, 3)), np.diag(random.normal(size=3))
    return {
        "energy": Reference(np.array([n + shift]), forces + shift, stress + shift),
        "energy/pbe": Reference(np.array([n - 1 / 3 + shift]), 2 * forces + shift, stress),
        "mtt::u0": Reference(np.array([0.5 * n + shift]), forces, stress),
        "mtt::charges": Reference(random.normal(size=(n, 1)) + shift),
    }


@pytest.fixture
def pairs() -> tuple[list[Structure], list[dict[str, Reference]]]:
    """Three structures, with fewer and fewer references, and predictions that are 0.25 too high."""
    predictions = [prediction(n, 0.25) for n in (1, 2, 3)]
    references = [prediction(n) for n in (1, 2, 3)]
    references[1]["energy"] = Reference(np.array([np.nan]), references[1]["energy"].forces)
    references[1]["mtt::charges"].values[1] = np.nan
    del references[1]["energy/pbe"], references[1]["mtt::u0"]
    references[2] = {"energy": references[2]["energy"]}
    structures = [structure(n, own) for n, own in zip((1, 2, 3), references, strict=True)]
    return structures, predictions


def test_errors_of_what_has_references(pairs) -> None:
    panels = parity_panels(*pairs, SEVERAL, "angstrom")
    found = errors(panels)
    assert {name: (row["unit"], row["values"]) for name, row in found.items()} == {
        "energy": ("eV", 2),
        "energy_per_atom": ("eV/atom", 2),
        "energy_forces": ("eV/A", 18),
        "energy_stress": ("eV/A^3", 18),
        "energy/pbe": ("Hartree", 1),
        "energy/pbe_per_atom": ("Hartree/atom", 1),
        "energy/pbe_forces": ("Hartree/A", 3),
        "energy/pbe_stress": ("Hartree/A^3", 9),
        "mtt::u0": ("eV", 1),
        "mtt::u0_per_atom": ("eV/atom", 1),
        "mtt::u0_forces": ("eV/A", 3),
        "mtt::u0_stress": ("eV/A^3", 9),
        "mtt::charges": ("e", 2),
    }
    for name in ("energy", "energy_forces", "energy/pbe", "mtt::charges"):
        assert found[name]["rmse"] == pytest.approx(0.25) == found[name]["mae"], name
    assert found["energy_per_atom"]["mae"] == pytest.approx((0.25 + 0.25 / 3) / 2)
    assert found["mtt::u0_forces"]["rmse"] == 0.0
    json.dumps(found, allow_nan=False)
    assert [panel.title for panel in panels.values() if panel.is_total] == [
        "energy",
        "energy/pbe",
        "mtt::u0",
    ]
    console = Console(file=io.StringIO(), width=100)
    console.print(error_table(found, "title"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("energy per atom", "energy/pbe forces", "mtt::charges", "250 meV/A^3", "0.25 e"):
        assert text in shown, text


def test_one_energy_keeps_its_names(pairs) -> None:
    structures, predictions = pairs
    for target in (ENERGY, PBE, U0):
        names = list(errors(parity_panels(structures, predictions, [target], "A")))
        assert names == ["energy", "energy_per_atom", "forces", "stress"]
    assert list(parity_panels(structures, predictions, [CHARGES], "A")) == ["mtt::charges"]


def test_frames_come_back_as_training_data(pairs, tmp_path: Path) -> None:
    structures, predictions = pairs
    write_xyz(tmp_path / "p.xyz", structures, predictions, SEVERAL)
    frames = ase.io.read(tmp_path / "p.xyz", ":")
    for atoms, own, predicted in zip(frames, structures, predictions, strict=True):
        np.testing.assert_array_equal(atoms.positions, own.positions)
        assert atoms.calc.results["energy"] == predicted["energy"].values[0]
        np.testing.assert_array_equal(atoms.calc.results["forces"], predicted["energy"].forces)
        assert atoms.info["energy/pbe"] == predicted["energy/pbe"].values[0]
        np.testing.assert_array_equal(atoms.arrays["forces/pbe"], predicted["energy/pbe"].forces)
        assert atoms.info["u0"] == predicted["mtt::u0"].values[0]
        np.testing.assert_array_equal(
            find(atoms, "charges"), predicted["mtt::charges"].values[:, 0]
        )
        for target in SEVERAL:
            name = "reference_" + xyz_names(SEVERAL)[target.name, "values"]
            reference = own.references.get(target.name)
            known = reference is not None and not np.isnan(reference.values).all()
            assert (find(atoms, name) is not None) == known, name
    assert np.isnan(frames[1].arrays["reference_charges"]).tolist() == [False, True]


def test_names_in_files() -> None:
    names = xyz_names([PBE, U0, Target("b::u0"), Target("mtt::gap/pbe", quantity="gap")])
    assert names["energy/pbe", "values"] == "energy/pbe"
    assert names["energy/pbe", "stress"] == "stress/pbe"
    assert (names["mtt::u0", "values"], names["b::u0", "values"]) == ("mtt_u0", "b_u0")
    assert names["b::u0", "forces"] == "b_u0_forces"
    assert names["mtt::gap/pbe", "values"] == "gap/pbe"
