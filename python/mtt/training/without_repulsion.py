"""What the repulsion of close nuclei leaves for a network to learn."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mtt.architectures.graph_model import GraphModel
from mtt.architectures.zbl import Repulsion
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.graph import Graph
from mtt.data.structure import Reference, Structure

Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
_AT_ONCE = 64


def without_repulsion(
    structures: Sequence[Structure], potential: GraphModel
) -> Sequence[Structure]:
    """Return structures without the repulsion that the model adds to what its network gives.

    It is taken off energies, forces and stress in float64; structures of a model without it are
    returned as they are.
    """
    if len(potential.repulsions) == 0:
        return structures
    (repulsion,) = potential.repulsions
    assert isinstance(repulsion, Repulsion)
    factors = dict(zip(potential.target_names, potential.repulsion_factors, strict=True))
    reduced: list[Structure] = []
    for start in range(0, len(structures), _AT_ONCE):
        chunk = structures[start : start + _AT_ONCE]
        dataset = Dataset(chunk, potential.atomic_types, repulsion.cutoff)
        device = repulsion.pairs.device
        graph = collate(dataset, range(len(chunk)), torch.float64, device).graph
        counts = [len(structure) for structure in chunk]
        for structure, own in zip(chunk, _split(repulsion, graph, counts), strict=True):
            references = {
                name: _reduced(reference, structure, own, factors.get(name, 0.0))
                for name, reference in structure.references.items()
            }
            reduced.append(replace(structure, references=references))
    return reduced


def _split(repulsion: Repulsion, graph: Graph, counts: Sequence[int]) -> Iterator[Parts]:
    """Give energy [1], forces [N, 3] and strain derivatives [3, 3] of each structure, in eV."""
    values = repulsion.values(graph, derivatives=True)
    assert values.systems is not None
    assert values.forces is not None
    assert values.strain is not None
    forces = np.split(values.forces.cpu().numpy(), np.cumsum(counts)[:-1])
    return zip(values.systems.cpu().numpy(), forces, values.strain.cpu().numpy(), strict=True)


def _reduced(
    reference: Reference, structure: Structure, repulsion: Parts, factor: float
) -> Reference:
    """Return a reference without ``factor`` times the repulsion of its structure."""
    if factor == 0.0:
        return reference
    energy, own_forces, strain = repulsion
    forces, stress = reference.forces, reference.stress
    return Reference(
        reference.values - factor * energy,
        None if forces is None else forces - factor * own_forces,
        None if stress is None else stress - factor / structure.volume * strain,
    )
