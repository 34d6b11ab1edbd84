"""Values as the TensorMaps that engines read, and the labels of their rows."""

from typing import List, Optional

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap

from mtt.data.target import Target


def selection_indices(
    counts: List[int], selected_atoms: Optional[Labels], device: torch.device
) -> torch.Tensor:
    """Return the indices, in the list of all atoms, of those in ``selected_atoms``, ascending."""
    n_atoms = 0
    offsets: List[int] = []
    for count in counts:
        offsets.append(n_atoms)
        n_atoms += count
    if selected_atoms is None:
        return torch.arange(n_atoms, device=device)
    selected = selected_atoms.values.to(device=device, dtype=torch.int64)
    offset = torch.tensor(offsets, device=device, dtype=torch.int64)
    flat = offset.index_select(0, selected[:, 0]) + selected[:, 1]
    return flat.sort()[0]


def atom_labels(counts: List[int], kept: torch.Tensor, system_index: torch.Tensor) -> Labels:
    """Return the labels (system, atom) of atoms ``kept``, indices in the list of all atoms."""
    offsets: List[int] = []
    n_atoms = 0
    for count in counts:
        offsets.append(n_atoms)
        n_atoms += count
    offset = torch.tensor(offsets, device=kept.device, dtype=torch.int64)
    atom = kept - offset.index_select(0, system_index)
    values = torch.stack([system_index, atom], dim=1).to(torch.int32)
    return Labels(["system", "atom"], values)


def property_name(target: Target) -> str:
    """Return the name of a target's property in metatensor: engines expect ``energy`` of energies."""
    if target.is_energy:
        return "energy"
    return target.name.partition("/")[0].rpartition("::")[2]


def tensor_map(
    values: torch.Tensor,
    samples: Labels,
    name: str,
    kind: str,
    irreps: List[List[int]],
    properties: int,
) -> TensorMap:
    """Return rows of values [samples, numbers] as a TensorMap, blocks as metatensor's readers know them.

    :param kind: type of the target
    :param irreps: degree and parity of each block of a spherical target
    """
    device = values.device
    labels = Labels([name], _range(0, properties, device))
    if kind == "spherical":
        blocks: List[TensorBlock] = []
        keys: List[List[int]] = []
        start = 0
        for irrep in irreps:
            degree, parity = irrep[0], irrep[1]
            size = 2 * degree + 1
            rows = values[:, start : start + size * properties]
            start += size * properties
            axis = Labels(["o3_mu"], _range(-degree, degree + 1, device))
            shaped = rows.reshape(-1, size, properties)
            blocks.append(TensorBlock(shaped, samples, [axis], labels))
            keys.append([degree, parity])
        names = ["o3_lambda", "o3_sigma"]
        return TensorMap(
            Labels(names, torch.tensor(keys, dtype=torch.int32, device=device)), blocks
        )
    axes: List[Labels] = []
    shape = [values.shape[0]]
    if kind == "vector":
        axes.append(Labels(["xyz"], _range(0, 3, device)))
        shape.append(3)
    elif kind == "matrix":
        axes.append(Labels(["xyz_1"], _range(0, 3, device)))
        axes.append(Labels(["xyz_2"], _range(0, 3, device)))
        shape += [3, 3]
    shape.append(properties)
    block = TensorBlock(values.reshape(shape), samples, axes, labels)
    return TensorMap(Labels(["_"], _range(0, 1, device)), [block])


def _range(start: int, end: int, device: torch.device) -> torch.Tensor:
    """Return the integers from ``start`` to ``end - 1`` as a column of labels."""
    return torch.arange(start, end, dtype=torch.int32, device=device).reshape(-1, 1)
