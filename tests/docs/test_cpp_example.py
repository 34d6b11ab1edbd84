"""The program of docs/examples/cpp, compiled, on models with uncertainties that ``mtt train`` has made."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import yaml
from ase import Atoms
from each_architecture import PET
from several_targets import export, potential_of
from small_runs import leave_undrawn, verify_one_family
from uncertainty import displaced

from mtt.__main__ import main
from mtt.data.target import Target

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llpr": (1, {"uncertainty": {"method": "llpr", "num_ensemble_members": 64}}),
    "ensemble": ([1, 2, 3], {}),
}


@pytest.fixture(scope="module")
def predict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built as docs/how-to/cpp.md says."""
    build = tmp_path_factory.mktemp("build")
    cmake = Path(sys.executable).parent / "cmake"
    python = f"-DPython_EXECUTABLE={sys.executable}"
    for words in (["-S", EXAMPLES / "cpp", "-B", build, python], ["--build", build]):
        done = subprocess.run([cmake, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "predict"


def train(folder: Path, way: str, ethanol: list[Atoms]) -> Path:
    """Return the model file of a run on the first 64 ethanols."""
    for name, frames in (("train", ethanol[:50]), ("validate", ethanol[50:64])):
        ase.io.write(folder / f"{name}.xyz", frames, format="extxyz")
    targets = {"energy": {"key": "energy", "unit": "eV", "forces": True}}
    seed, uncertainty = RUNS[way]
    training = {
        **{"num_epochs": 10, "batch_size": 5, "learning_rate": 0.005, "loss": {"energy": 10.0}},
        **{"scale_targets": False, "log_interval": 10, **uncertainty},
    }
    options = {
        **{"seed": seed, "device": "cpu"},
        "architecture": {"name": "pet", "model": PET, "training": training},
        "training_set": {"systems": "train.xyz", "targets": targets},
        "validation_set": {"systems": "validate.xyz", "targets": targets},
        "test_set": 0.0,
    }
    (folder / "options.yaml").write_text(yaml.safe_dump(options))
    assert main(["train", "options.yaml", "-o", "model.pt"]) == 0
    return folder / "model.pt"


def said_by(program: Path, model: Path, atoms: Atoms) -> tuple[dict[str, float], np.ndarray]:
    """Return the quantities that the program prints (eV), and the forces (eV/angstrom)."""
    ase.io.write("molecule.xyz", atoms, format="xyz", fmt="%.12f")
    done = subprocess.run(
        [program, model, "molecule.xyz"], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    forces = [[float(word) for word in line[3:6]] for line in lines if line[0] == "force"]
    return {line[0]: float(line[-2]) for line in lines if line[0] != "force"}, np.array(forces)


@pytest.mark.parametrize("way", RUNS)
def test_the_program_reads_uncertainties_which_are_larger_far_from_the_data(
    way: str, predict: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verify_one_family(monkeypatch)
    leave_undrawn(monkeypatch)
    ethanol = ase.io.read(EXAMPLES / "ethanol/ethanol.xyz", ":740:10")
    model = train(tmp_path, way, ethanol)
    means = {}
    for size in (0.0, 0.25):
        ase.io.write("asked.xyz", displaced(ethanol[64:], size), format="extxyz")
        asked = {"systems": "asked.xyz", "targets": {"energy": {}}}
        Path("eval.yaml").write_text(yaml.safe_dump(asked))
        assert main(["eval", "model.ckpt", "eval.yaml", "-o", "predictions.xyz"]) == 0
        expected = ase.io.read("predictions.xyz", ":")
        means[size] = np.mean([atoms.info["energy_uncertainty"] for atoms in expected])
        for atoms in expected[:2]:
            answer, forces = said_by(predict, model, atoms)
            assert answer["energy"] == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
            assert answer["uncertainty"] == pytest.approx(
                atoms.info["energy_uncertainty"], rel=1e-3
            )
            assert answer["spread"] == pytest.approx(atoms.info["energy_spread"], rel=1e-2)
            assert forces == pytest.approx(atoms.get_forces(), abs=1e-4 * abs(forces).max())
    assert 0 < 3 * means[0.0] < means[0.25]


H = "H 0 0 0"
BAD = {
    "": "'' is no number",
    "two\n\n": "'two' is no number",
    "0\n\n": "bad.xyz has other than the atoms that its first line promises",
    "-1\n\n": "bad.xyz has other than the atoms that its first line promises",
    f"2\n\n{H}\n": "bad.xyz has other than the atoms that its first line promises",
    f"2\n\n{H}\nH 0.7 0": "'' is no number",
    f"1\n\n{H}D0\n": "'0D0' is no number",
    "1\n\nH 0 0 1,5\n": "'1,5' is no number",
    "1\n\nH 0 0 nan\n": "'nan' is no number",
    f'1\nLattice="3 0 0 0 3 0 0 0 3"\n{H}\n': "bad.xyz is periodic; this program takes molecules",
    "1\n\nUuo 0 0 0\n": "add the element 'Uuo' to the table of predict.cpp",
    "1\n\nAr 0 0 0\n": "model.pt knows no Ar",
}


def test_the_program_says_what_it_cannot_do(
    predict: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained / "model.pt", tmp_path)
    charges = Target("mtt::charges", quantity="charge", unit="e", per="atom")
    export(tmp_path / "charges.pt", potential_of([charges]))

    def refused(*words: str) -> tuple[int, str]:
        done = subprocess.run([predict, *words], capture_output=True, text=True, check=False)
        assert done.stdout == ""
        return done.returncode, done.stderr

    assert refused() == (2, "usage: predict model.pt molecule.xyz\n")
    assert refused("model.pt", "no.xyz") == (1, "predict: no.xyz cannot be read\n")
    for content, said in BAD.items():
        Path("bad.xyz").write_text(content)
        assert refused("model.pt", "bad.xyz") == (1, f"predict: {said}\n"), content
    Path("good.xyz").write_text(f"1\r\n\r\n{H}\r\n")
    assert refused("charges.pt", "good.xyz") == (1, "predict: charges.pt has no output 'energy'\n")
    code, said = refused("good.xyz", "good.xyz")
    assert code == 1 and "not a ZIP archive" in said and said.count("\n") == 1
    assert subprocess.run([predict, "model.pt", "good.xyz"], check=False).returncode == 0
