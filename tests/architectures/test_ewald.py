"""The option `long_range`: potentials of learned charges, against what is known of charges."""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from test_pet import SMALL

from mtt.architectures.contract import ArchitectureContract
from mtt.architectures.contract.assertions import assert_equal
from mtt.architectures.contract.structures import crystal, molecule
from mtt.architectures.evaluate import edge_derivatives
from mtt.architectures.ewald import LongRange
from mtt.data.graph import Graph
from mtt.data.structure import Structure
from mtt.options.schema.long_range import LongRangeOptions

NOTHING = np.zeros((3, 3))
# Of rock salt: four ions of each kind in a cube.
SIDE = 5.64
_FIRST = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
SALT = SIDE * np.concatenate([_FIRST, _FIRST + [0.5, 0, 0]])
IONS = [1.0] * 4 + [-1.0] * 4


def long_range(**options: Any) -> LongRange:
    return LongRange(LongRangeOptions(**options), 4).double()


def graph_of(
    *parts: tuple[ArrayLike, ArrayLike], dtype: torch.dtype = torch.float64, leaf: bool = False
) -> Graph:
    """Structures of (positions, cell) without any neighbors."""
    none = torch.zeros(0, dtype=torch.int64)
    counts = torch.tensor([len(np.asarray(positions)) for positions, _ in parts])
    system = torch.arange(len(parts)).repeat_interleave(counts)
    positions = torch.cat([torch.tensor(np.array(each), dtype=dtype) for each, _ in parts])
    cells = torch.stack([torch.tensor(np.array(cell), dtype=dtype) for _, cell in parts])
    if leaf:
        positions.requires_grad_()
        cells.requires_grad_()
    no_vectors = torch.zeros((0, 3), dtype=dtype, requires_grad=leaf)
    return Graph(
        torch.zeros_like(system), system, len(parts), none, none, no_vectors, none, positions, cells
    )


def potentials(part: LongRange, charges: ArrayLike, *structures: Any, **kind: Any) -> np.ndarray:
    """The potential of each atom, of one charge."""
    graph = graph_of(*structures, **kind)
    column = torch.tensor(np.array(charges), dtype=graph.positions.dtype)[:, None]
    return part.potentials(column, graph)[:, 0].detach().numpy()


def test_two_charges() -> None:
    for distance in (0.01, 1.0, 3.0, 30.0):
        pair = [[0.3, -0.2, 0.1], [0.3, -0.2, 0.1 + distance]]
        expected = math.erf(distance / math.sqrt(2.0) / 1.4) / distance
        got = potentials(long_range(), [2.0, -1.0], (pair, NOTHING))
        assert got == pytest.approx([-expected, 2.0 * expected], rel=1e-9)


def test_madelung_constant_of_rock_salt() -> None:
    # Gaussians far narrower than the distance of ions are points.
    part = long_range(smearing=0.4, kspace_resolution=0.35)
    got = potentials(part, IONS, (SALT, SIDE * np.eye(3)))
    np.testing.assert_allclose(got * SIDE / 2, -1.747564594633 * np.array(IONS), rtol=3e-9)


def test_a_slab_is_as_one_with_much_vacuum() -> None:
    for axis in range(3):
        order = np.roll(np.arange(3), axis)
        slab, high = np.diag([SIDE, SIDE, 0.0]), np.diag([SIDE, SIDE, 120.0])
        turned = SALT[:, order]
        got = potentials(long_range(), IONS, (turned, slab[np.ix_(order, order)]))
        expected = potentials(long_range(), IONS, (turned, high[np.ix_(order, order)]))
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_a_wire_is_as_many_of_its_cells() -> None:
    for axis in range(3):
        period = SIDE * np.eye(3)[axis]
        got = potentials(long_range(), IONS, (SALT, np.diag(period)))
        errors = []
        for many in (40, 80):
            images = np.concatenate(
                [SALT + n * period for n in (0, *range(-many, 0), *range(1, many + 1))]
            )
            sums = potentials(long_range(), np.tile(IONS, 2 * many + 1), (images, NOTHING))
            errors.append(np.abs(sums[:8] - got).max())
        assert errors[1] < errors[0] / 3.5 < 1e-4


def test_charges_far_from_a_wire() -> None:
    """The potential of a charged line falls by 2 / L times the logarithm of the distance."""
    cell = np.diag([2.0, 0.0, 0.0])
    for far in (10.0, 100.0, 300.0):
        near = potentials(long_range(), [1.0, 0.0], ([[0, 0, 0], [0, 0, far]], cell))[1]
        twice = potentials(long_range(), [1.0, 0.0], ([[0, 0, 0], [0, 2.0 * far, 0]], cell))[1]
        assert twice - near == pytest.approx(-math.log(2.0), rel=1e-6)


def test_two_charged_sheets_attract_as_in_a_capacitor() -> None:
    """Far sheets with charges +-1 in an area A: the potential rises by 4 pi / A times the distance."""
    cell = np.diag([3.0, 2.0, 0.0])
    for height in (12.0, 40.0):
        got = potentials(long_range(), [1.0, -1.0], ([[0, 0, 0], [0, 0, height]], cell))
        near = potentials(long_range(), [1.0, -1.0], ([[0, 0, 0], [0, 0, height - 3.0]], cell))
        rise = (got[0] - got[1]) - (near[0] - near[1])
        assert rise == pytest.approx(4.0 * math.pi / 6.0 * 3.0, rel=1e-5)


def test_molecules_are_as_in_a_large_box() -> None:
    """Up to what images of a neutral cluster without dipole do: the error falls with the volume."""
    alone = potentials(long_range(), IONS, (SALT - SALT.mean(0), NOTHING))
    errors = []
    for side in (20.0, 40.0):
        boxed = potentials(long_range(), IONS, (SALT - SALT.mean(0), side * np.eye(3)))
        errors.append(np.abs(boxed - alone).max())
    assert errors[1] < errors[0] / 7.5 < 1e-2


def test_larger_cells_have_the_same_potentials() -> None:
    random = np.random.default_rng(3)
    structure, charges = crystal(), random.normal(size=8)
    for periodic in (3, 2, 1):
        cell = structure.cell * (np.arange(3) < periodic)[:, None]
        shifts = [
            np.array(n) for n in np.ndindex(*[2 if axis < periodic else 1 for axis in range(3)])
        ]
        many = np.concatenate([structure.positions + shift @ cell for shift in shifts])
        expected = potentials(long_range(), charges, (structure.positions, cell))
        got = potentials(long_range(), np.tile(charges, len(shifts)), (many, 2.0 * cell))
        np.testing.assert_allclose(got, np.tile(expected, len(shifts)), atol=1e-11)
        # Other vectors of the same lattice, and other images.
        skewed = cell.copy()
        skewed[1] += 3.0 * cell[0] * bool(periodic > 1)
        moved = structure.positions + random.integers(-3, 4, (8, 3)) @ cell
        got = potentials(long_range(), charges, (moved, skewed))
        np.testing.assert_allclose(got, expected, atol=1e-11)


def test_forces_and_strain_by_differences() -> None:
    part, random = long_range(), np.random.default_rng(5)
    charges = torch.tensor(random.normal(size=(8, 1)))
    structure = crystal()

    def energy(graph: Graph) -> torch.Tensor:
        return (charges * part.potentials(charges, graph)) / 2

    for periodic in (0, 1, 2, 3):
        cell = structure.cell * (np.arange(3) < periodic)[:, None]
        whole = graph_of((structure.positions, cell), leaf=True)
        forces, strain = edge_derivatives(energy(whole), whole, False, False)
        for a, b in ((0, 0), (1, 2), (2, 1), (2, 2)):
            ends, moves = [], []
            for step in (-1e-4, 1e-4):
                deformed = np.eye(3)
                deformed[a, b] += step
                ends.append(
                    float(energy(graph_of((structure.positions @ deformed, cell @ deformed))).sum())
                )
                moved = structure.positions.copy()
                moved[a, b] += step
                moves.append(float(energy(graph_of((moved, cell))).sum()))
            assert float(strain[0, a, b]) == pytest.approx((ends[1] - ends[0]) / 2e-4, abs=1e-7)
            assert float(forces[a, b]) == pytest.approx((moves[0] - moves[1]) / 2e-4, abs=1e-7)


def test_no_jump_where_the_number_of_waves_changes() -> None:
    """A coarse sum, in which one more wave would be seen: the second differences stay what they are."""
    part = long_range(smearing=0.8, kspace_resolution=2.2)
    sides = np.linspace(5.0, 9.0, 401)
    fractions = np.random.default_rng(2).uniform(size=(8, 3))
    numbers = {len(part.waves(torch.full((3,), side, dtype=torch.float64))) for side in sides}
    assert len(numbers) > 1
    energies = [
        IONS @ potentials(part, IONS, (side * fractions, side * np.eye(3))) for side in sides
    ]
    bends = np.diff(energies, 2)
    # Half the step: a quarter of the second differences, which a jump of the energy would not be.
    assert np.abs(np.diff(energies[::2], 2)).max() > 3.5 * np.abs(bends).max()


def test_a_batch_and_an_empty_structure_change_nothing() -> None:
    part, structure = long_range(num_charges=3), crystal()
    parts = [
        (structure.positions, structure.cell),
        (np.zeros((0, 3)), NOTHING),
        (molecule().positions, NOTHING),
    ]
    features = torch.randn((17, 4), dtype=torch.float64)
    together = part(features, graph_of(*parts))
    apart = [part(features[:8], graph_of(parts[0])), part(features[8:], graph_of(parts[2]))]
    assert_equal({"": together}, {"": torch.cat(apart)})


def test_both_precisions_agree() -> None:
    structure = crystal()
    for periodic in range(4):
        cell = structure.cell * (np.arange(3) < periodic)[:, None]
        inputs = (structure.positions, cell)
        fine = potentials(long_range(), IONS, inputs)
        coarse = potentials(long_range().float(), IONS, inputs, dtype=torch.float32)
        np.testing.assert_allclose(coarse, fine, atol=2e-6)


class _LongRangeContract(ArchitectureContract):
    def test_distant_atoms_matter(self) -> None:
        """Two molecules farther apart than any neighbors are not the sum of both."""

        def energy(*distances: float) -> float:
            parts = [molecule().positions + [distance, 0, 0] for distance in distances]
            types = np.tile(molecule().types, len(parts))
            structure: Structure = dataclasses.replace(
                molecule(), types=types, positions=np.concatenate(parts)
            )
            return float(self.atoms([structure])["energy"].sum())

        changes = [abs(energy(0.0, far) - 2.0 * energy(0.0)) for far in (20.0, 40.0)]
        assert changes[0] > changes[1] > 1e-8


class TestPet(_LongRangeContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = SMALL | {"long_range": {}}


class TestResidualPet(_LongRangeContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = SMALL | {
        "featurizer_type": "residual",
        "long_range": {"num_charges": 1, "smearing": 1.0, "kspace_resolution": 1.5},
    }


class TestSoapBpnn(_LongRangeContract):
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = {
        "soap": {"cutoff": {"radius": 3.5}, "max_angular": 2, "max_radial": 3, "channels": 4},
        "bpnn": {"num_neurons_per_layer": 8},
        "long_range": {"num_charges": 2},
    }
