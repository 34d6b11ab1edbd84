"""The golden pack: check systems that travel inside an export with what the eager float64 model gave.

Anyone can verify the file years later, on another libtorch, without the checkpoint. The references come
through the trainer's path (numpy neighbor lists, gradients of edge vectors), not through the metatomic
interface that is exported, so that a mistake in either one shows.
"""

import copy
import json
from collections.abc import Sequence

import numpy as np
import safetensors.torch
import torch

from mtt.architectures.gradients import energy_forces_strain
from mtt.architectures.potential import Potential
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.random import generator
from mtt.data.structure import Structure

FORMAT = 1
Named = tuple[str, Structure]


def check_systems(samples: Sequence[Structure], atomic_types: Sequence[int]) -> list[Named]:
    """Up to four of the training structures, then made-up ones for every kind of geometry.

    :param samples: small structures of the training set; they set the distances of the others
    :param atomic_types: every type appears in an isolated atom, and in the others by turns
    """
    spacing = typical_spacing(samples)
    named: list[Named] = [(f"training-{i}", sample) for i, sample in enumerate(samples)]
    named += [(f"atom-{t}", _structure([t], np.zeros((1, 3)))) for t in list(atomic_types)[:8]]
    random = generator(0, "golden")

    def lattice(repeats: tuple[int, int, int], rattle: float) -> np.ndarray:
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in repeats), indexing="ij"), axis=-1)
        points = grid.reshape(-1, 3) * spacing
        return points + random.uniform(-rattle, rattle, points.shape) * spacing

    def types(count: int) -> list[int]:
        return [int(atomic_types[i % len(atomic_types)]) for i in range(count)]

    cube = spacing * np.eye(3)
    skewed = cube @ np.array([[1.0, 0.0, 0.0], [0.25, 1.05, 0.0], [-0.2, 0.15, 0.95]])
    named.append(("cluster", _structure(types(12), lattice((3, 2, 2), 0.12))))
    named.append(("cubic", _structure(types(8), lattice((2, 2, 2), 0.1), 2 * cube)))
    points = lattice((3, 2, 2), 0.1)
    sheared = points / spacing @ skewed
    named.append(("triclinic", _structure(types(12), sheared, np.diag([3, 2, 2]) @ skewed)))
    named.append(("small-cell", _structure(types(1), np.zeros((1, 3)), skewed)))
    named.append(("slab", _structure(types(8), lattice((2, 2, 2), 0.1), 2 * cube, (1, 1, 0))))
    named.append(("wire", _structure(types(4), lattice((1, 2, 2), 0.1), cube, (1, 0, 0))))
    return named


def typical_spacing(samples: Sequence[Structure]) -> float:
    """Lattice constant of a simple cubic lattice about as dense as the samples, in their length unit.

    The cube root of the volume per atom for crystals; 1.4 times the largest distance of an atom to its
    nearest neighbor for molecules, whose bonds are much shorter than a liquid's lattice. The median
    over the samples, and 2.0 when none has two atoms.
    """
    spacings: list[float] = []
    for sample in samples:
        if sample.pbc.all():
            spacings.append(float(np.cbrt(sample.volume / len(sample))))
        elif len(sample) > 1:
            delta = sample.positions[:, None] - sample.positions[None, :]
            distance = np.sqrt((delta**2).sum(axis=-1))
            np.fill_diagonal(distance, np.inf)
            spacings.append(1.4 * float(distance.min(axis=1).max()))
    return float(np.median(spacings)) if spacings else 2.0


def _structure(
    types: Sequence[int],
    positions: np.ndarray,
    cell: np.ndarray | None = None,
    periodic: tuple[int, int, int] = (1, 1, 1),
) -> Structure:
    pbc = np.array(periodic, dtype=bool) if cell is not None else np.zeros(3, dtype=bool)
    rows = np.where(pbc[:, None], cell, 0.0) if cell is not None else np.zeros((3, 3))
    return Structure(
        types=np.array(types, dtype=np.int32), positions=np.array(positions), cell=rows, pbc=pbc
    )


def golden_pack(potential: Potential, systems: Sequence[Named]) -> bytes:
    """Safetensors bytes with systems and float64 references; layout in docs/reference/golden-pack.md."""
    reference = copy.deepcopy(potential).set_precision(torch.float64).eval()
    structures = [structure for _, structure in systems]
    dataset = Dataset(
        structures, reference.atomic_types, reference.cutoff, target_name=reference.target_name
    )
    tensors: dict[str, torch.Tensor] = {}
    for i, structure in enumerate(structures):
        graph = collate(dataset, [i], torch.float64).graph
        with torch.no_grad():
            energies = reference.atomic_energies(graph)
        _, forces, strain = energy_forces_strain(reference.core, graph, create_graph=False)
        tensors |= structure_tensors(str(i), structure)
        tensors[f"{i}/energies"] = energies
        tensors[f"{i}/energy"] = energies.sum().reshape(1)
        tensors[f"{i}/forces"] = (forces * reference.scale).contiguous()
        tensors[f"{i}/virial"] = (-strain[0] * reference.scale).contiguous()
    header = {
        "format": FORMAT,
        "dtype": "float64",
        "energy_unit": reference.energy_unit,
        "length_unit": reference.length_unit,
        "output": reference.target_name,
        "systems": [name for name, _ in systems],
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    return safetensors.torch.save(tensors, metadata={"mtt": text})


def structure_tensors(prefix: str, structure: Structure) -> dict[str, torch.Tensor]:
    """``PREFIX/{types,positions,cell,pbc}`` of one structure, as checkpoints and golden packs hold it."""
    return {
        f"{prefix}/types": torch.tensor(structure.types, dtype=torch.int32),
        f"{prefix}/positions": torch.tensor(structure.positions, dtype=torch.float64),
        f"{prefix}/cell": torch.tensor(structure.cell, dtype=torch.float64),
        f"{prefix}/pbc": torch.tensor(structure.pbc, dtype=torch.uint8),
    }


def structure_from_tensors(prefix: str, tensors: dict[str, torch.Tensor]) -> Structure:
    """Inverse of :func:`structure_tensors`."""
    return Structure(
        types=tensors[f"{prefix}/types"].numpy().astype(np.int32),
        positions=tensors[f"{prefix}/positions"].numpy(),
        cell=tensors[f"{prefix}/cell"].numpy(),
        pbc=tensors[f"{prefix}/pbc"].numpy().astype(bool),
    )
