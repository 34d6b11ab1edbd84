"""How values turn with the structure."""

import numpy as np
import pytest

from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.random import generator, random_rotations
from mtt.data.structure import Reference, Structure
from mtt.data.target import Target
from mtt.data.turning import spherical, spherical_harmonics, turn

MATRICES = random_rotations(generator(0, "turning"), 8, inversion=True)
DIRECTIONS = MATRICES[:, 0]


def test_there_are_rotations_and_reflections() -> None:
    assert set(np.sign(np.linalg.det(MATRICES))) == {-1.0, 1.0}


@pytest.mark.parametrize("degree", range(13))
def test_spherical_harmonics_turn_by_the_matrices(degree: int) -> None:
    turning = spherical(MATRICES, degree, 1)
    identity = np.broadcast_to(np.eye(2 * degree + 1), turning.shape)
    np.testing.assert_allclose(turning @ turning.transpose(0, 2, 1), identity, atol=1e-12)
    turned = np.einsum("rij,rj->ri", MATRICES, DIRECTIONS)
    harmonics = np.einsum("rmn,rn->rm", turning, spherical_harmonics(degree, DIRECTIONS))
    np.testing.assert_allclose(spherical_harmonics(degree, turned), harmonics, atol=1e-12)
    product = spherical(np.einsum("rij,rjk->rik", MATRICES, MATRICES[::-1]), degree, 1)
    np.testing.assert_allclose(turning @ turning[::-1], product, atol=1e-11)
    signs = np.sign(np.linalg.det(MATRICES))[:, None, None]
    np.testing.assert_allclose(spherical(MATRICES, degree, -1), signs * turning)


def test_harmonics_are_orthonormal_and_in_the_order_of_metatensor() -> None:
    # Gauss and Legendre in z, evenly spaced angles: exact for products of degrees up to 5.
    z, weights = np.polynomial.legendre.leggauss(12)
    angles = 2 * np.pi * np.arange(24) / 24
    radius = np.sqrt(1 - z * z)[:, None]
    x, y = radius * np.cos(angles), radius * np.sin(angles)
    directions = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1).reshape(-1, 3)
    weights = np.repeat(weights, 24) * 2 * np.pi / 24
    rows = np.concatenate([spherical_harmonics(degree, directions) for degree in range(6)], axis=1)
    np.testing.assert_allclose((rows * weights[:, None]).T @ rows, np.eye(36), atol=1e-12)
    first = spherical_harmonics(1, DIRECTIONS)
    np.testing.assert_allclose(first, np.sqrt(0.75 / np.pi) * DIRECTIONS[:, [1, 2, 0]], atol=1e-14)


def test_vectors_and_matrices_with_several_properties() -> None:
    numbers = np.random.default_rng(0).normal(size=(8, 18))
    vector = Target("mtt::v", "", type="vector", properties=2)
    turned = turn(numbers[:, :6], vector, MATRICES).reshape(8, 3, 2)
    expected = np.einsum("rij,rjp->rip", MATRICES, numbers[:, :6].reshape(8, 3, 2))
    np.testing.assert_allclose(turned, expected, atol=1e-13)
    matrix = Target("mtt::m", "", type="matrix", properties=2)
    turned = turn(numbers, matrix, MATRICES).reshape(8, 3, 3, 2)
    of_matrix = numbers.reshape(8, 3, 3, 2)
    expected = np.einsum("rij,rkl,rjlp->rikp", MATRICES, MATRICES, of_matrix)
    np.testing.assert_allclose(turned, expected, atol=1e-13)


def test_blocks_of_a_spherical_target_turn_each_by_itself() -> None:
    target = Target("mtt::s", "", type="spherical", properties=2, irreps=((0, 1), (2, -1), (1, 1)))
    numbers = np.random.default_rng(0).normal(size=(8, target.numbers))
    turned = turn(numbers, target, MATRICES)
    assert target.numbers == 18 and target.invariant == (True,) * 2 + (False,) * 16
    np.testing.assert_array_equal(turned[:, :2], numbers[:, :2])
    for start, irrep in ((2, (2, -1)), (12, (1, 1))):
        size = 2 * irrep[0] + 1
        before = numbers[:, start : start + 2 * size].reshape(8, size, 2)
        expected = spherical(MATRICES, *irrep) @ before
        np.testing.assert_allclose(
            turned[:, start : start + 2 * size].reshape(8, size, 2), expected, atol=1e-13
        )


def test_what_does_not_turn_stays_bit_by_bit() -> None:
    target = Target("mtt::dos", "", properties=3)
    numbers = np.random.default_rng(0).normal(size=(8, 3))
    assert turn(numbers, target, MATRICES) is numbers


def test_a_turned_batch_has_turned_values() -> None:
    """A dipole of point charges follows the edges that it is made of."""
    rng = np.random.default_rng(3)
    charges = np.array([0.5, -0.3, -0.2])
    structures = []
    for _ in range(2):
        positions = rng.normal(size=(3, 3))
        references = {
            "mtt::dipole": Reference(charges @ (positions - positions[0])),
            "mtt::arms": Reference(positions - positions[0]),
        }
        types = np.array([8, 1, 1], dtype=np.int32)
        nothing = np.zeros((3, 3)), np.zeros(3, dtype=bool)
        structures.append(Structure(types, positions, *nothing, references))
    targets = (
        Target("mtt::dipole", "", type="vector"),
        Target("mtt::arms", "", per="atom", type="vector"),
    )
    batch = collate(
        Dataset(structures, [1, 8], 10.0, targets), [0, 1], None, rotations=MATRICES[:2]
    )
    graph, arms = batch.graph, batch.references["mtt::arms"].values.numpy()
    for system in range(2):
        dipole = np.zeros(3)
        for center, neighbor, vector in zip(
            graph.centers.tolist(), graph.neighbors.tolist(), graph.vectors.numpy(), strict=True
        ):
            if center == 3 * system:
                dipole += charges[neighbor - 3 * system] * vector
                np.testing.assert_allclose(arms[neighbor], vector, atol=1e-12)
        values = batch.references["mtt::dipole"].values[system].numpy()
        np.testing.assert_allclose(values, dipole, atol=1e-12)
