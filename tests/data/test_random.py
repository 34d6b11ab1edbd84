"""Random numbers depend on their arguments and on nothing else."""

import numpy as np

from mtt.data.random import generator, permutation, random_rotation, random_rotations


def test_the_same_arguments_give_the_same_numbers() -> None:
    first = permutation(generator(1, "batches", 3), 50)
    np.random.default_rng().random(10)
    assert np.array_equal(first, permutation(generator(1, "batches", 3), 50))
    assert sorted(first) == list(range(50))
    for other in (generator(2, "batches", 3), generator(1, "split", 3), generator(1, "batches", 4)):
        assert not np.array_equal(first, permutation(other, 50))
    # (1, 23) and (12, 3) must not run together.
    one, two = permutation(generator(0, "x", 1, 23), 50), permutation(generator(0, "x", 12, 3), 50)
    assert not np.array_equal(one, two)


PERMUTATION = [7, 0, 6, 3, 2, 4, 5, 8, 9, 1]
ROW = [0.9939115139276564, -0.07008972224060388, 0.08501372429360426]


def test_numbers_stay_what_they_were() -> None:
    assert permutation(generator(0, "split"), 10).tolist() == PERMUTATION
    np.testing.assert_allclose(random_rotation(generator(0, "rotation"))[0], ROW, atol=1e-12)


def test_rotations_are_uniform() -> None:
    matrices = random_rotations(generator(0, "rotation"), 4000)
    identity = matrices @ matrices.transpose(0, 2, 1)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, atol=1e-14)
    # Over SO(3) every entry has mean 0 and variance 1/3.
    assert np.abs(matrices.mean(axis=0)).max() < 0.04
    assert np.abs((matrices**2).mean(axis=0) - 1 / 3).max() < 0.02
    inverted = random_rotations(generator(0, "rotation"), 4000, inversion=True)
    signs = np.linalg.det(inverted)
    assert abs(signs.mean()) < 0.05
    np.testing.assert_array_equal(inverted * np.sign(signs)[:, None, None], matrices)
