"""Batches: several structures as the flat tensors that architectures take."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mtt.data.dataset import Dataset, Item
from mtt.data.graph import Graph
from mtt.data.target import Target
from mtt.data.turning import turn

Rotations = Callable[[int, Sequence[int]], NDArray[np.float64]]


class BatchReferences(NamedTuple):
    """Reference values of one target with P numbers in a row, for S structures with N atoms in all.

    - ``values`` float64: [S, P] of a target per system, [N, P] per atom; NaN where there is none;
    - ``mask`` bool, of the same shape: where there are values;
    - ``complete``: whether they are everywhere, known without asking the device.

    Of targets that may have gradients only, otherwise None:

    - ``forces`` [N, 3] in the model's dtype, zero where there are none; ``forces_mask`` [N] bool;
    - ``stress`` [S, 3, 3] in the model's dtype, zero where there is none; ``stress_mask`` [S] bool.
    """

    values: torch.Tensor
    mask: torch.Tensor
    complete: bool
    forces: torch.Tensor | None = None
    forces_mask: torch.Tensor | None = None
    stress: torch.Tensor | None = None
    stress_mask: torch.Tensor | None = None


class Batch(NamedTuple):
    """S structures with N atoms in all.

    - ``graph``: the input of an architecture's core;
    - ``references``: by the name of the target;
    - ``n_atoms`` [S] int64;
    - ``volumes`` [S] float64, in length^3; 0 unless all three axes are periodic;
    - ``weights`` [S] float64: how much structures count in the loss; None if all in the dataset
      count the same.
    """

    graph: Graph
    references: Mapping[str, BatchReferences]
    n_atoms: torch.Tensor
    volumes: torch.Tensor
    weights: torch.Tensor | None = None

    def tensors(self) -> Iterator[torch.Tensor]:
        """Give all tensors of the batch."""
        for part in (self, self.graph, *self.references.values()):
            yield from (entry for entry in part if isinstance(entry, torch.Tensor))


def collate(
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64],
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    rotations: NDArray[np.float64] | torch.Tensor | None = None,
) -> Batch:
    """Return structures put together, in the order of ``indices``.

    :param dtype: of edge vectors, positions, cells, forces and stress, which are rotated in float64 and
        rounded once
    :param rotations: (S, 3, 3), one orthogonal matrix per structure: turns edge vectors, positions,
        cells, forces, stress and the values of targets that turn. Neighbor lists stay as they are.
    """
    items = [dataset[int(index)] for index in indices]
    n_atoms = np.array([len(item.species) for item in items], dtype=np.int64)
    n_edges = np.array([len(item.centers) for item in items], dtype=np.int64)
    matrices = None if rotations is None else np.asarray(rotations, dtype=np.float64)
    if matrices is not None and matrices.shape != (len(items), 3, 3):
        raise ValueError(f"rotations have shape {matrices.shape}, not {(len(items), 3, 3)}")
    system = np.repeat(np.arange(len(items)), n_atoms)
    vectors = _cat([item.vectors for item in items], (0, 3))
    positions = _cat([item.positions for item in items], (0, 3))
    cells = _cat([item.cell for item in items], (0, 3))
    if matrices is not None:
        vectors = _rotate(vectors, matrices[np.repeat(np.arange(len(items)), n_edges)])
        positions = _rotate(positions, matrices[system])
        cells = _rotate(cells, np.repeat(matrices, 3, axis=0))
    first_atom = np.repeat(np.cumsum(n_atoms) - n_atoms, n_edges)
    first_edge = np.repeat(np.cumsum(n_edges) - n_edges, n_edges)

    def tensor(array: NDArray[Any], to: torch.dtype | None = None) -> torch.Tensor:
        return _move(torch.from_numpy(np.ascontiguousarray(array)).to(to), device)

    def references(target: Target) -> BatchReferences:
        values, mask = _values(items, target)
        if matrices is not None:
            values = turn(values, target, matrices if target.per == "system" else matrices[system])
        common = (tensor(values), tensor(mask), bool(mask.all()))
        if not target.is_energy:
            return BatchReferences(*common)
        forces, forces_mask = _forces(items, target.name, n_atoms)
        stress, stress_mask = _stress(items, target.name)
        if matrices is not None:
            forces = _rotate(forces, matrices[system])
            stress = matrices @ stress @ matrices.transpose(0, 2, 1)
        gradients = (tensor(forces, dtype), tensor(forces_mask))
        return BatchReferences(*common, *gradients, tensor(stress, dtype), tensor(stress_mask))

    graph = Graph(
        species=tensor(_cat([item.species for item in items], (0,)), torch.int64),
        system=tensor(system, torch.int64),
        n_systems=len(items),
        centers=tensor(_cat([item.centers for item in items], (0,)) + first_atom, torch.int64),
        neighbors=tensor(_cat([item.neighbors for item in items], (0,)) + first_atom, torch.int64),
        vectors=tensor(vectors, dtype),
        reverse=tensor(_cat([item.reverse for item in items], (0,)) + first_edge, torch.int64),
        positions=tensor(positions, dtype),
        cells=tensor(cells.reshape(-1, 3, 3), dtype),
        states=tensor(np.array([item.state for item in items], dtype=np.int64).reshape(-1, 2)),
    )
    return Batch(
        graph=graph,
        references={target.name: references(target) for target in dataset.targets},
        n_atoms=tensor(n_atoms),
        volumes=tensor(np.array([item.volume for item in items], dtype=np.float64)),
        weights=tensor(np.array([item.weight for item in items])) if dataset.weighted else None,
    )


def batches(
    dataset: Dataset,
    groups: Sequence[NDArray[np.int64]],
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    rotations: Rotations | None = None,
    num_workers: int = 0,
    start: int = 0,
) -> Iterator[Batch]:
    """Yield a batch of each group of structures, in order.

    :param groups: indices, as :mod:`mtt.data.grouping` divides them
    :param rotations: called as ``rotations(number, indices)`` for each batch; must be a pure
        function of its arguments, as those of :func:`mtt.data.random.random_rotations` with a
        fresh generator
    :param num_workers: threads that prepare batches ahead; the batches are bitwise the same for any
        number
    :param start: number of the first batch to make: the way to resume in the middle of an epoch
    """
    numbers = range(start, len(groups))

    def make(number: int) -> Batch:
        chosen = groups[number].tolist()
        matrices = None if rotations is None else rotations(number, chosen)
        return collate(dataset, chosen, dtype, device, matrices)

    if num_workers == 0:
        yield from map(make, numbers)
        return
    with ThreadPoolExecutor(num_workers, thread_name_prefix="mtt-batch") as pool:
        waiting: list[Future[Batch]] = []
        try:
            for number in numbers:
                waiting.append(pool.submit(make, number))
                if len(waiting) > 2 * num_workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            # The consumer may stop early: what has not begun is dropped.
            for future in waiting:
                future.cancel()


def _cat(arrays: list[NDArray[Any]], empty: tuple[int, ...]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(empty, dtype=np.int32)


def _values(items: list[Item], target: Target) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return values and their mask, [S, P] or [N, P]."""
    parts = []
    for item in items:
        rows = len(item.species) if target.per == "atom" else 1
        reference = item.references.get(target.name)
        shape = (rows, target.numbers)
        parts.append(
            np.full(shape, np.nan) if reference is None else reference.values.reshape(shape)
        )
    values = np.concatenate(parts) if parts else np.zeros((0, target.numbers))
    return values, ~np.isnan(values)


def _forces(
    items: list[Item], name: str, n_atoms: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    references = [item.references.get(name) for item in items]
    forces = [None if reference is None else reference.forces for reference in references]
    mask = np.array([own is not None for own in forces], dtype=bool)
    parts = [
        np.zeros((n, 3)) if own is None else own for own, n in zip(forces, n_atoms, strict=True)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 3)), np.repeat(mask, n_atoms)


def _stress(items: list[Item], name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    references = [item.references.get(name) for item in items]
    stress = [None if reference is None else reference.stress for reference in references]
    mask = np.array([own is not None for own in stress], dtype=bool)
    parts = [np.zeros((3, 3)) if own is None else own for own in stress]
    return np.stack(parts) if parts else np.zeros((0, 3, 3)), mask


def _rotate(vectors: NDArray[np.float64], matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    # Written out instead of einsum or BLAS: the order of the sums is then the same on every
    # machine, and the reverse of an edge stays its exact negative.
    rotated: NDArray[np.float64] = matrices[:, :, 0] * vectors[:, 0:1]
    rotated += matrices[:, :, 1] * vectors[:, 1:2]
    rotated += matrices[:, :, 2] * vectors[:, 2:3]
    return rotated


def _move(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
