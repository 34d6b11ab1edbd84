"""Batches: the same numbers whatever the grouping, the rotation and the number of workers."""

import numpy as np
import pytest
import torch

from mtt.data.batch import Batch, batches, collate
from mtt.data.dataset import Dataset
from mtt.data.grouping import by_number
from mtt.data.random import generator, random_rotations
from mtt.data.structure import Reference

from .test_dataset import CASES, CHARGES, ENERGY, structure, triclinic


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    plain = triclinic()
    stress = rng.normal(size=(3, 3))
    full = structure(
        plain.types,
        plain.positions,
        plain.cell,
        plain.pbc,
        value=-3.5,
        forces=rng.normal(size=(3, 3)),
        stress=stress + stress.T,
    )
    full.references["mtt::charges"] = Reference(np.array([[0.5], [np.nan], [-0.5]]))
    structures = [CASES["molecule"], full, CASES["atom"], CASES["bulk"], CASES["slab"]] * 4
    return Dataset(structures, [1, 6, 8, 29], 4.2, [ENERGY, CHARGES])


def test_concatenation(data: Dataset) -> None:
    batch = collate(data, [1, 0, 2, 3], torch.float64)
    graph = batch.graph
    assert graph.n_systems == 4
    assert batch.n_atoms.tolist() == [3, 9, 1, 1]
    assert graph.system.tolist() == [0] * 3 + [1] * 9 + [2, 3]
    assert (graph.centers.diff() >= 0).all()
    assert torch.equal(graph.centers[graph.reverse], graph.neighbors)
    assert torch.equal(graph.vectors[graph.reverse], -graph.vectors)
    assert torch.equal(graph.system[graph.centers], graph.system[graph.neighbors])
    assert graph.centers.dtype == graph.reverse.dtype == graph.species.dtype == torch.int64
    energy, charges = batch.references["energy"], batch.references["mtt::charges"]
    assert energy.values.shape == (4, 1) and energy.values[0] == -3.5
    assert energy.values.isnan()[:, 0].tolist() == [False, True, True, True]
    assert energy.mask[:, 0].tolist() == [True, False, False, False] and not energy.complete
    assert energy.forces_mask.tolist() == [True] * 3 + [False] * 11
    assert energy.stress_mask.tolist() == [True, False, False, False]
    assert not energy.forces[3:].any() and not energy.stress[1:].any()
    np.testing.assert_array_equal(energy.stress[0], data[1].references["energy"].stress)
    # Values of atoms, with one that is not known among those that are.
    assert charges.values.shape == charges.mask.shape == (14, 1)
    assert charges.mask[:, 0].tolist() == [True, False, True] + [False] * 11
    assert charges.values[[0, 2], 0].tolist() == [0.5, -0.5] and not charges.complete
    assert charges.values.dtype == torch.float64
    assert charges.forces is None and charges.stress_mask is None
    assert collate(data, [1], torch.float32).references["energy"].complete
    np.testing.assert_allclose(batch.volumes, [data[1].volume, 0.0, 0.0, data[3].volume])


def test_no_structures_and_no_pairs(data: Dataset) -> None:
    assert collate(data, [2], torch.float32).graph.vectors.shape == (0, 3)
    empty = collate(data, [], torch.float32, rotations=np.zeros((0, 3, 3)))
    assert empty.graph.n_systems == 0
    assert empty.references["energy"].forces.shape == (0, 3)
    assert empty.references["energy"].stress.shape == (0, 3, 3)
    assert empty.references["mtt::charges"].values.shape == (0, 1)


def test_rotation_turns_vectors_forces_and_stress(data: Dataset) -> None:
    matrices = random_rotations(generator(0, "test"), 2, inversion=True)
    plain = collate(data, [1, 0], torch.float64)
    turned = collate(data, [1, 0], torch.float64, rotations=matrices)
    r = torch.from_numpy(matrices)
    for name in ("centers", "neighbors", "reverse", "species"):
        assert torch.equal(getattr(turned.graph, name), getattr(plain.graph, name))
    owner = plain.graph.system[plain.graph.centers]
    expected = torch.einsum("eab,eb->ea", r[owner], plain.graph.vectors)
    torch.testing.assert_close(turned.graph.vectors, expected)
    assert torch.equal(turned.graph.vectors[turned.graph.reverse], -turned.graph.vectors)
    before, after = plain.references["energy"], turned.references["energy"]
    expected = torch.einsum("nab,nb->na", r[plain.graph.system], before.forces)
    torch.testing.assert_close(after.forces, expected)
    torch.testing.assert_close(after.stress[0], r[0] @ before.stress[0] @ r[0].T)
    for name in ("energy", "mtt::charges"):
        np.testing.assert_array_equal(turned.references[name].values, plain.references[name].values)
    with pytest.raises(ValueError, match="rotations have shape"):
        collate(data, [1], torch.float64, rotations=matrices)


def test_rotated_in_float64_and_rounded_once(data: Dataset) -> None:
    matrices = random_rotations(generator(1, "test"), 1)
    fine = collate(data, [1], torch.float64, rotations=matrices)
    coarse = collate(data, [1], torch.float32, rotations=matrices)
    assert torch.equal(coarse.graph.vectors, fine.graph.vectors.float())
    coarse, fine = coarse.references["energy"], fine.references["energy"]
    assert torch.equal(coarse.forces, fine.forces.float())
    assert coarse.values.dtype == torch.float64


def _equal(one: Batch, two: Batch) -> bool:
    pairs = zip(one.tensors(), two.tensors(), strict=True)
    if one.references.keys() != two.references.keys():
        return False
    return all(np.array_equal(a, b, equal_nan=a.is_floating_point()) for a, b in pairs)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(data: Dataset, workers: int) -> None:
    def rotations(number: int, indices: list[int]) -> np.ndarray:
        return random_rotations(generator(0, "rotation", 7, number), len(indices), inversion=True)

    order = list(range(len(data)))[::-1]
    alone = list(batches(data, by_number(order, 3), torch.float32, rotations=rotations))
    helped = list(
        batches(data, by_number(order, 3), torch.float32, rotations=rotations, num_workers=workers)
    )
    assert len(alone) == len(helped) == 7
    assert alone[-1].graph.n_systems == 2
    assert all(_equal(a, b) for a, b in zip(alone, helped, strict=True))
    assert not _equal(alone[0], alone[1])
    # Resuming in the middle of the epoch gives the rest, with the rotations that belong there.
    rest = list(batches(data, by_number(order, 3), torch.float32, rotations=rotations, start=5))
    assert len(rest) == 2 and all(_equal(a, b) for a, b in zip(alone[5:], rest, strict=True))


def test_stopping_early_and_errors_in_workers(data: Dataset) -> None:
    stream = batches(data, by_number(range(20), 2), torch.float32, num_workers=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]

    def broken(number: int, indices: list[int]) -> np.ndarray:
        raise RuntimeError("no rotation")

    with pytest.raises(RuntimeError, match="no rotation"):
        list(batches(data, by_number(range(20), 2), torch.float32, rotations=broken, num_workers=2))
