"""Random numbers as a pure function of (seed, purpose, counters), without any global state.

A resumed run asks for the same numbers by the same arguments, so nothing about randomness needs to
be in a checkpoint. Only the raw 64-bit output of Philox is used for permutations and rotations,
because numpy keeps that fixed between releases, while it does not promise it for ``Generator``
methods.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A generator that depends on nothing but the arguments.

    :param seed: the seed of the run
    :param purpose: what the numbers are for, for example ``"split"``
    :param counters: for example epoch and batch
    """
    text = "\0".join(["mtt random 1", str(int(seed)), purpose, *(str(int(c)) for c in counters)])
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype="<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=words[:2]))


def permutation(gen: np.random.Generator, n: int) -> NDArray[np.int64]:
    """A random order of 0..n-1, (n,) int64, the same with every release of numpy."""
    keys = np.asarray(gen.bit_generator.random_raw(n), dtype=np.uint64)
    return np.argsort(keys, kind="stable").astype(np.int64)


def _uniform(gen: np.random.Generator, n: int) -> NDArray[np.float64]:
    raw = np.asarray(gen.bit_generator.random_raw(n), dtype=np.uint64)
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def random_rotation(gen: np.random.Generator) -> NDArray[np.float64]:
    """One proper rotation (3, 3) float64, uniform over SO(3)."""
    rotation: NDArray[np.float64] = random_rotations(gen, 1)[0]
    return rotation


def random_rotations(
    gen: np.random.Generator, n: int, inversion: bool = False
) -> NDArray[np.float64]:
    """``n`` rotations (n, 3, 3) float64, uniform over SO(3), or over O(3) with ``inversion``.

    Rotations are drawn as unit quaternions (Shoemake, Graphics Gems III, 1992).
    """
    u = _uniform(gen, 4 * n).reshape(n, 4)
    small, large = np.sqrt(1.0 - u[:, 0]), np.sqrt(u[:, 0])
    first, second = 2.0 * np.pi * u[:, 1], 2.0 * np.pi * u[:, 2]
    x, y = small * np.sin(first), small * np.cos(first)
    z, w = large * np.sin(second), large * np.cos(second)
    norm = np.sqrt(x * x + y * y + z * z + w * w)
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    matrices = np.empty((n, 3, 3))
    matrices[:, 0, 0] = 1.0 - 2.0 * (y * y + z * z)
    matrices[:, 0, 1] = 2.0 * (x * y - z * w)
    matrices[:, 0, 2] = 2.0 * (x * z + y * w)
    matrices[:, 1, 0] = 2.0 * (x * y + z * w)
    matrices[:, 1, 1] = 1.0 - 2.0 * (x * x + z * z)
    matrices[:, 1, 2] = 2.0 * (y * z - x * w)
    matrices[:, 2, 0] = 2.0 * (x * z - y * w)
    matrices[:, 2, 1] = 2.0 * (y * z + x * w)
    matrices[:, 2, 2] = 1.0 - 2.0 * (x * x + y * y)
    if inversion:
        # Drawn always from the fourth number, so that asking for inversions keeps the rotations.
        matrices[u[:, 3] < 0.5] *= -1.0
    return matrices
