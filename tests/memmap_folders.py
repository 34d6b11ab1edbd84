"""Writes folders of arrays as metatrain packs them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np

# Values of the structures of small_runs, by the names that their files get.
_OF_ATOMS = {"f": "forces", "q": "charges"}
_OF_STRUCTURES = {"e": "energy", "alpha": "alpha"}


def write_memmap(
    folder: Path, frames: Sequence[ase.Atoms], values: Mapping[str, Any] | None = None
) -> Path:
    """Write structures, with the values of those of ``small_runs`` if there are no others given."""
    folder.mkdir()
    np.save(folder / "ns.npy", len(frames))
    np.save(folder / "na.npy", np.cumsum([0, *map(len, frames)]))
    np.concatenate([atoms.positions for atoms in frames]).astype("<f4").tofile(folder / "x.bin")
    np.concatenate([atoms.numbers for atoms in frames]).astype("<i4").tofile(folder / "a.bin")
    np.array([atoms.cell.array for atoms in frames]).astype("<f4").tofile(folder / "c.bin")
    for name, array in (_values(frames) if values is None else values).items():
        np.asarray(array, dtype="<f4").tofile(folder / f"{name}.bin")
    return folder


def _values(frames: Sequence[ase.Atoms]) -> dict[str, Any]:
    every = [{**atoms.info, **atoms.arrays, **atoms.calc.results} for atoms in frames]
    stress = [
        atoms.get_stress(voigt=False) if "stress" in atoms.calc.results else np.zeros((3, 3))
        for atoms in frames
    ]
    return {
        "s": np.array(stress),
        **{
            name: np.concatenate([own[key].reshape(len(own["numbers"]), -1) for own in every])
            for name, key in _OF_ATOMS.items()
        },
        **{name: np.array([own[key] for own in every]) for name, key in _OF_STRUCTURES.items()},
    }
