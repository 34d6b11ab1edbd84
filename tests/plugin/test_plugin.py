"""A package with an architecture of its own, installed by pip, through the commands as users give them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from command import mtt, run_mtt

from mtt import architecture_registry
from mtt import checkpoint as checkpoints
from mtt.architectures.contract import ArchitectureContract

PACKAGE = Path(__file__).parent / "lj_package"
OPTIONS = """\
architecture:
  name: lj
  model: {sigma: 3.2}
  training: {num_epochs: 2, batch_size: 3, learning_rate: 0.01}
training_set: argon.xyz
validation_set: 0.25
device: cpu
"""


def write_argon(path: Path, count: int = 12) -> None:
    """Write crystals of argon, displaced and strained, with Lennard-Jones energies, forces and stress."""
    random = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        atoms = bulk("Ar", "fcc", 5.3, cubic=True)
        atoms.set_cell(atoms.cell * (1 + 0.02 * random.normal()), scale_atoms=True)
        atoms.positions += random.normal(scale=0.15, size=atoms.positions.shape)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=6.0, ro=5.0, smooth=True)
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    ase.io.write(path, frames)


def install(source: Path, folder: Path) -> None:
    """Install a package as pip does, from no index and without its dependencies."""
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", *options, "--target", folder, source],
        check=True,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package, as building it leaves files there."""
    return Path(shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "lj"))


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of the modules of a process that has the package."""
    folder = tmp_path_factory.mktemp("site")
    install(source, folder)
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="module")
def run(installed: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a training was interrupted, and resumed to its end."""
    folder = tmp_path_factory.mktemp("run")
    write_argon(folder / "argon.xyz")
    (folder / "options.yaml").write_text(OPTIONS)
    short = ("-r", "architecture.training.max_time=1 s")
    begun = run_mtt(folder, "train", "options.yaml", *short, PYTHONPATH=installed)
    assert begun.returncode == 143 and "resume with" in begun.stderr, begun.stderr
    resumed = mtt(folder, "train", "options.yaml", "-c", "auto", PYTHONPATH=installed)
    assert "resuming from" in resumed and "mtt-lj 1.2" in resumed
    return folder


def test_the_package_certifies_itself(source: Path, installed: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        command,
        cwd=source,
        env={**os.environ, "PYTHONPATH": installed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    promises = [name for name in dir(ArchitectureContract) if name.startswith("test_")]
    assert f"{len(promises)} passed" in done.stdout


def test_a_trained_model_is_verified_and_exported_again(run: Path, installed: str) -> None:
    header = checkpoints.read_header(run / "model.ckpt")
    assert (str(header.architecture), header.plugin) == ("lj@1", "mtt-lj")
    assert header.packages["mtt-lj"] == "1.2"
    assert header.conditions[-1].values["mtt-lj"] == "1.2"
    assert header.position.epoch == 2
    again = ("export", "model.ckpt", "-o", "again.pt", "--verify")
    assert "pass: for ASE" in mtt(run, *again, PYTHONPATH=installed)
    # In a process of its own, which found the package as well.
    assert (run / "again.pt").read_bytes() == (run / "model.pt").read_bytes()


def test_a_model_needs_no_plugin(run: Path) -> None:
    (run / "eval.yaml").write_text("systems: argon.xyz\n")
    said = mtt(run, "eval", "model.pt", "eval.yaml", "-o", "predictions.xyz")
    assert "energy per atom" in said
    assert len(ase.io.read(run / "predictions.xyz", ":")) == 12
    for file in ("model.pt", "model.ckpt"):
        described = " ".join(mtt(run, "show", file).split())
        assert "architecture lj, version 1" in described
        assert "sigma=3.2" in described and "mtt-lj 1.2" in described


@pytest.mark.parametrize(
    "command",
    [
        ("export", "model.ckpt", "-o", "none.pt"),
        ("upgrade", "model.ckpt", "-o", "none.ckpt"),
    ],
)
def test_a_checkpoint_names_the_package_that_is_missing(run: Path, command: tuple[str]) -> None:
    done = run_mtt(run, *command)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the checkpoint is of the architecture 'lj', which is not installed\n"
        "  where: model.ckpt\n"
        "  hint: install mtt-lj 1.2, which provides it; known here: "
        f"{', '.join(architecture_registry.names())}\n"
    )
    assert not list(run.glob("none.*"))


def test_a_checkpoint_of_a_later_version_names_the_package(
    run: Path, source: Path, tmp_path: Path
) -> None:
    """Its version 1 was written with 1.2; another release has version 2 only, without a way up."""
    later = Path(shutil.copytree(source, tmp_path / "later"))
    module = later / "mtt_lj" / "__init__.py"
    module.write_text(module.read_text().replace("version=1,", "version=2,"))
    project = later / "pyproject.toml"
    project.write_text(project.read_text().replace('version = "1.2"', 'version = "2.0"'))
    shutil.rmtree(later / "build", ignore_errors=True)
    install(later, tmp_path / "site")
    refused = run_mtt(
        run, "export", "model.ckpt", "-o", "none.pt", PYTHONPATH=str(tmp_path / "site")
    )
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: the checkpoint needs version 1 of the architecture 'lj', but version 2 is installed\n"
        "  where: model.ckpt\n"
        "  hint: its predictions would change in an upgrade: use mtt-lj 1.2, with which it was written\n"
    )


def test_errors_of_options_have_their_places(tmp_path: Path, installed: str) -> None:
    write_argon(tmp_path / "argon.xyz", 2)
    text = OPTIONS.replace("{sigma: 3.2}", "{sgima: 3.2, cutoff: -1}")
    (tmp_path / "options.yaml").write_text(text.replace("num_epochs", "num_epoch"))
    done = run_mtt(tmp_path, "train", "options.yaml", PYTHONPATH=installed)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("options.yaml")]
    option = "error: architecture"
    assert errors == [
        f"options.yaml:3:11: {option}.model.sgima: unknown option; did you mean 'sigma'?",
        f"options.yaml:3:31: {option}.model.cutoff: must be larger than 0, found -1",
        f"options.yaml:4:14: {option}.training.num_epoch: unknown option; did you mean 'num_epochs'?",
    ]


def test_a_target_that_the_package_refuses(tmp_path: Path, installed: str) -> None:
    write_argon(tmp_path / "argon.xyz", 4)
    targets = "{energy: {}, non_conservative_force: {key: forces}}"
    data = f"training_set: {{systems: argon.xyz, targets: {targets}}}\n"
    (tmp_path / "options.yaml").write_text(OPTIONS.replace("training_set: argon.xyz\n", data))
    done = run_mtt(tmp_path, "train", "options.yaml", PYTHONPATH=installed)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: lj cannot learn 'non_conservative_force': a sum over pairs has no direction\n"
    )


def test_options_of_an_architecture_that_is_not_installed(run: Path) -> None:
    done = run_mtt(run, "train", "options.yaml", "-o", "none.pt")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "options.yaml:2:9: error: architecture.name: unknown architecture 'lj'; known: "
    )
