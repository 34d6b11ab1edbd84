"""Training runs that take a fraction of a second: few structures, energies by EMT, a tiny PET."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mtt.data.turning import spherical_harmonics
from mtt.options import Options, load_options

if TYPE_CHECKING:
    from pytest import MonkeyPatch

# Options of the targets that `add_targets` adds.
SCALARS: dict[str, Any] = {
    "energy": {},
    "energy/pbe": {"key": "pbe", "forces": {"key": "pbe_forces"}},
    "mtt::u0": {"quantity": "energy", "unit": "eV"},
    "mtt::charges": {"quantity": "charge", "unit": "e", "per": "atom"},
}
TARGETS: dict[str, Any] = {
    **SCALARS,
    "mtt::dipole": {"quantity": "dipole", "unit": "e*A", "type": "vector"},
    "mtt::alpha": {"type": "matrix"},
    "mtt::shape": {
        "per": "atom",
        "type": "spherical",
        "irreps": [{"o3_lambda": 0}, {"o3_lambda": 2, "o3_sigma": 1}],
    },
    "non_conservative_force": {},
}
SOAP_BPNN: dict[str, Any] = {
    "name": "soap_bpnn",
    "model": {
        "soap": {"cutoff": {"radius": 3.0}, "max_angular": 2, "max_radial": 2, "channels": 3},
        "bpnn": {"num_neurons_per_layer": 4},
    },
}


def write_data(path: Path, n: int = 12, seed: int = 0, several: bool = False) -> None:
    """Write ``n`` structures with energy and forces; every third is periodic and has a stress too.

    :param several: add the targets of :func:`add_targets`
    """
    random = np.random.default_rng(seed)
    frames = []
    for index in range(n):
        atoms = [molecule("H2O"), molecule("CH3OH"), bulk("Cu", cubic=True)][index % 3]
        atoms.positions += random.normal(scale=0.05, size=atoms.positions.shape)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if atoms.pbc.any():
            results["stress"] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    if several:
        add_targets(frames)
    ase.io.write(path, frames, format="extxyz")


def add_targets(frames: list[Atoms], seed: int = 7) -> None:
    """Give frames a second energy with forces, a third one, charges that sum to zero, and moments.

    The keys are ``pbe``, ``pbe_forces``, ``u0``, ``charges``, and ``dipole``, ``alpha`` and ``shape``,
    which turn with the frame.
    """
    random = np.random.default_rng(seed)
    for atoms in frames:
        energy, forces = atoms.calc.results["energy"], atoms.calc.results["forces"]
        atoms.info["pbe"] = 0.5 * energy - 2.0 * len(atoms)
        atoms.arrays["pbe_forces"] = 0.5 * forces
        atoms.info["u0"] = energy + random.normal()
        charges = 0.1 * atoms.numbers + 0.01 * random.normal(size=len(atoms))
        atoms.arrays["charges"] = charges - charges.mean()
        arms = atoms.positions - atoms.positions.mean(axis=0)
        atoms.info["dipole"] = atoms.arrays["charges"] @ arms
        atoms.info["alpha"] = np.einsum("i,ia,ib->ab", 0.1 * atoms.numbers, arms, arms)
        lengths = np.linalg.norm(arms, axis=1)[:, None]
        harmonics = spherical_harmonics(2, arms / np.maximum(lengths, 1e-3))
        atoms.arrays["shape"] = np.concatenate([lengths, lengths * harmonics], axis=1)


def make_options(
    folder: Path,
    training: Mapping[str, Any] | None = None,
    several: bool = False,
    **changes: Any,
) -> Options:
    """Return options of a small run on ``folder/data.xyz``, through a file, as a user gives them.

    :param training: changes to ``architecture.training``
    :param several: train all of ``TARGETS`` instead of an energy alone
    :param changes: changes at the top level
    """
    if not (folder / "data.xyz").exists():
        write_data(folder / "data.xyz", several=several)
    # By the number of atoms, the number of structures is a contradiction.
    size = {} if (training or {}).get("max_atoms_per_batch") else {"batch_size": 2}
    content: dict[str, Any] = {
        "seed": 3,
        "device": "cpu",
        "architecture": {
            "name": "pet",
            "model": {
                "cutoff": 3.0,
                "d_pet": 4,
                "d_node": 4,
                "d_head": 4,
                "d_feedforward": 4,
                "num_heads": 1,
                "num_attention_layers": 1,
            },
            "training": {
                "num_epochs": 3,
                **size,
                "learning_rate": 1e-2,
                "checkpoint_interval": 1,
                **(training or {}),
            },
        },
        "training_set": (
            {"systems": str(folder / "data.xyz"), "targets": TARGETS}
            if several
            else str(folder / "data.xyz")
        ),
        "validation_set": 0.25,
        **changes,
    }
    path = folder / "options.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_options(path)


def verify_one_family(patch: "MonkeyPatch") -> None:
    """Have exports verified in LOAD only: all families take longest, and have tests of their own."""
    verify_by(patch, only=["LOAD"])


def verify_quickly(patch: "MonkeyPatch") -> None:
    """Have exports verified in all families, at the level at which each takes seconds."""
    verify_by(patch, level="quick")


def verify_by(patch: "MonkeyPatch", **wanted: Any) -> None:
    """Have exports verified by these settings, whatever the program asks for."""
    from mtt.verify import run as verification
    from mtt.verify.settings import Settings

    real = verification.run

    def run(path: Path, *, settings: Settings, **others: Any) -> object:
        return real(path, settings=Settings(**wanted), **others)

    patch.setattr(verification, "run", run)


def leave_undrawn(patch: "MonkeyPatch") -> None:
    """Have no picture drawn: that takes longer than so short a run, and has tests of its own."""
    from mtt.evaluation import run as evaluation
    from mtt.report import plots
    from mtt.training import run_report

    for module in (plots, evaluation):
        patch.setattr(module, "save", lambda figure, path: None)
    patch.setattr(run_report, "svg_of", lambda figure: b"")
