"""Writes data sets as metatrain packs them, by the savers of metatensor and metatomic."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import metatensor.torch as mts
import numpy as np
import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import System, save_buffer


def packed_values(frames: Sequence[ase.Atoms]) -> dict[str, list[TensorMap]]:
    """Return the values of structures of ``small_runs`` by the names that metatrain could give them."""
    every = [{**atoms.info, **atoms.arrays, **atoms.calc.results} for atoms in frames]
    volumes = [atoms.get_volume() if atoms.pbc.all() else np.nan for atoms in frames]
    stresses = [
        atoms.get_stress(voigt=False) if "stress" in atoms.calc.results else np.full((3, 3), np.nan)
        for atoms in frames
    ]
    return {
        "energy": [
            energy_map(own["energy"], own["forces"], stress * volume)
            for own, stress, volume in zip(every, stresses, volumes, strict=True)
        ],
        "pbe": [energy_map(own["pbe"], own["pbe_forces"]) for own in every],
        "mtt::charges": [plain_map(own["charges"][:, None], "atom") for own in every],
        "dipole": [plain_map(own["dipole"][None, :, None]) for own in every],
        "alpha": [plain_map(own["alpha"][None, :, :, None]) for own in every],
        "forces": [plain_map(own["forces"][:, :, None], "atom") for own in every],
        "mtt::shape": [
            spherical_map({(2, 1): own["shape"][:, 1:], (0, 1): own["shape"][:, :1]})
            for own in every
        ],
    }


def write_packed(
    path: Path, frames: Sequence[ase.Atoms], values: Mapping[str, Sequence[TensorMap]] | None = None
) -> Path:
    """Write an archive with a folder for each structure."""
    own = packed_values(frames) if values is None else values
    with zipfile.ZipFile(path, "w") as archive:
        for index, atoms in enumerate(frames):
            archive.writestr(f"{index}/system.mta", save_buffer(_system(atoms)).numpy().tobytes())
            for name, maps in own.items():
                # metatrain writes the file as an array of bytes.
                stream = io.BytesIO()
                np.save(stream, mts.save_buffer(maps[index]).numpy())
                archive.writestr(f"{index}/{name}.mts", stream.getvalue())
        counts = io.BytesIO()
        np.save(counts, np.array([len(atoms) for atoms in frames]))
        archive.writestr("metadata/atom_counts.npy", counts.getvalue())
    return path


def write_values(path: Path, maps: Sequence[TensorMap]) -> Path:
    """Write values of all structures into one file."""
    mts.save(str(path), mts.join(numbered(maps), "samples"))
    return path


def numbered(maps: Sequence[TensorMap]) -> list[TensorMap]:
    """Return the values as those of structures 0, 1 and so on."""
    return [_of_structure(each, index) for index, each in enumerate(maps)]


def energy_map(energy: float, forces: Any, strain: Any = None) -> TensorMap:
    """Return an energy with minus its forces, and its derivative by strain, if there are any."""
    block = TensorBlock(_tensor([[energy]]), _samples(1, "system"), [], _range("energy", 1))
    if forces is None:
        return TensorMap(Labels.single(), [block])
    n = len(forces)
    atoms = torch.stack([torch.zeros(n, dtype=torch.int64), torch.arange(n)], dim=1)
    block.add_gradient(
        "positions",
        TensorBlock(
            -_tensor(forces)[:, :, None],
            Labels(["sample", "atom"], atoms),
            [_range("xyz", 3)],
            _range("energy", 1),
        ),
    )
    if strain is not None:
        block.add_gradient(
            "strain",
            TensorBlock(
                _tensor(strain)[None, :, :, None],
                Labels(["sample"], torch.tensor([[0]])),
                [_range("xyz_1", 3), _range("xyz_2", 3)],
                _range("energy", 1),
            ),
        )
    return TensorMap(Labels.single(), [block])


def plain_map(values: Any, per: str = "system") -> TensorMap:
    """Return rows (samples, 3, ..., properties) that turn as Cartesian tensors."""
    rank = np.ndim(values) - 2
    names = ["xyz"] if rank == 1 else [f"xyz_{axis + 1}" for axis in range(rank)]
    block = TensorBlock(
        _tensor(values),
        _samples(len(values), per),
        [_range(name, 3) for name in names],
        _range("value", np.shape(values)[-1]),
    )
    return TensorMap(Labels.single(), [block])


def spherical_map(blocks: Mapping[tuple[int, int], Any], per: str = "atom") -> TensorMap:
    """Return rows (samples, components) of each degree and parity."""
    made = [
        TensorBlock(
            _tensor(values)[:, :, None],
            _samples(len(values), per),
            [Labels(["o3_mu"], torch.arange(-degree, degree + 1)[:, None])],
            _range("value", 1),
        )
        for (degree, _), values in blocks.items()
    ]
    return TensorMap(Labels(["o3_lambda", "o3_sigma"], torch.tensor([*blocks])), made)


def _system(atoms: ase.Atoms) -> System:
    return System(
        types=torch.tensor(atoms.numbers),
        positions=_tensor(atoms.positions),
        cell=_tensor(atoms.cell.array * atoms.pbc[:, None]),
        pbc=torch.tensor(atoms.pbc),
    )


def _of_structure(values: TensorMap, index: int) -> TensorMap:
    blocks = []
    for block in values.blocks():
        rows = block.samples.values.clone()
        rows[:, 0] = index
        own = TensorBlock(
            block.values, Labels(block.samples.names, rows), block.components, block.properties
        )
        for name, gradient in block.gradients():
            own.add_gradient(name, gradient.copy())
        blocks.append(own)
    return TensorMap(values.keys, blocks)


def _samples(n: int, per: str) -> Labels:
    atoms = torch.stack([torch.zeros(n, dtype=torch.int64), torch.arange(n)], dim=1)
    return Labels(["system", "atom"], atoms) if per == "atom" else Labels(["system"], atoms[:, 1:])


def _range(name: str, n: int) -> Labels:
    return Labels([name], torch.arange(n)[:, None])


def _tensor(values: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float64)
