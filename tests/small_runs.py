"""Training runs that take a fraction of a second: few structures, energies by EMT, a tiny PET."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mtt.options import Options, load_options


def write_data(path: Path, n: int = 12, seed: int = 0) -> None:
    """``n`` structures with energy and forces; every third is periodic and has a stress too."""
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
    ase.io.write(path, frames, format="extxyz")


def make_options(
    folder: Path,
    training: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Options:
    """Options of a small run on ``folder/data.xyz``, through a file, as a user would give them.

    :param training: changes to ``architecture.training``
    :param changes: changes at the top level
    """
    if not (folder / "data.xyz").exists():
        write_data(folder / "data.xyz")
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
                "batch_size": 2,
                "learning_rate": 1e-2,
                "checkpoint_interval": 1,
                **(training or {}),
            },
        },
        "training_set": str(folder / "data.xyz"),
        "validation_set": 0.25,
        **changes,
    }
    path = folder / "options.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_options(path)
