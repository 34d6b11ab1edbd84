"""soap_bpnn@1 keeps the architecture contract, and every symmetry exactly."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.contract import ArchitectureContract
from mtt.architectures.contract.structures import TYPES, crystal, molecule
from mtt.architectures.soap_bpnn.model import harmonics_factors, spherical_harmonics
from mtt.data import turning
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.random import generator, random_rotations
from mtt.data.target import GRADIENTS, Target

SMALL: dict[str, Any] = {
    "soap": {
        "cutoff": {"radius": 3.5, "width": 1.0},
        "max_angular": 4,
        "max_radial": 4,
        "channels": 5,
    },
    "bpnn": {"num_neurons_per_layer": 8},
}
TURNING = (
    Target("energy", gradients=GRADIENTS),
    Target("mtt::charges", "charge", "e", "atom"),
    Target("mtt::dipole", "dipole", "e*A", type="vector"),
    Target("mtt::alpha", "", "", "atom", "matrix", properties=2),
    Target("mtt::shape", "", "", type="spherical", irreps=((0, 1), (3, 1), (1, 1))),
)


class TestDefaults(ArchitectureContract):
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = {"soap": {"cutoff": {"radius": 3.5}, "channels": 4}}


class TestWithoutNorm(ArchitectureContract):
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = SMALL | {"bpnn": {"layernorm": False}}


class TestTurningTargets(ArchitectureContract):
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = SMALL
    targets = TURNING


def test_values_turn_exactly() -> None:
    contract = TestTurningTargets()
    potential = contract.potential()
    matrices = random_rotations(generator(0, "soap"), 6, inversion=True)
    for structure in (molecule(), crystal(), crystal((True, False, False))):
        before = potential.evaluate(contract.graph([structure]))
        for matrix in matrices:
            turned = replace(
                structure, positions=structure.positions @ matrix.T, cell=structure.cell @ matrix.T
            )
            after = potential.evaluate(contract.graph([turned]))
            for target in TURNING:
                rows = before[target.name].atoms.numpy()
                expected = turning.turn(rows, target, np.broadcast_to(matrix, (len(rows), 3, 3)))
                difference = np.abs(after[target.name].atoms.numpy() - expected).max()
                size = np.abs(
                    rows - potential.baseline(target.name).composition.numpy().mean()
                ).max()
                assert difference < 1e-10 * max(1.0, size), target.name
                spread = np.ptp(rows[:, -1])
                assert spread > 1e-6, "there is nothing to turn"


def test_harmonics_are_those_of_augmentation() -> None:
    directions = random_rotations(generator(1, "soap"), 20)[:, 0]
    ours = spherical_harmonics(torch.from_numpy(directions), 8, harmonics_factors(8)).numpy()
    start = 0
    for degree in range(9):
        expected = turning.spherical_harmonics(degree, directions)
        np.testing.assert_allclose(ours[:, start : start + 2 * degree + 1], expected, atol=1e-13)
        start += 2 * degree + 1


def test_power_spectrum_of_two_neighbors() -> None:
    """The angle between two neighbors is in the spectrum as a Legendre polynomial."""
    architecture = architecture_registry.get("soap_bpnn")
    hypers = architecture.ModelHypers(soap={"channels": 1, "max_radial": 1, "max_angular": 3})
    core = architecture.build_core(hypers, [1], [Target("energy")]).to(torch.float64)
    with torch.no_grad():
        core.mixing.fill_(1.0)
    for angle in (0.3, 1.2, 2.9):
        positions = np.array([[0, 0, 0], [2.0, 0, 0], [2 * np.cos(angle), 2 * np.sin(angle), 0]])
        structure = replace(
            molecule(0, 3), types=np.array([1, 1, 1], dtype=np.int32), positions=positions
        )
        graph = collate(Dataset([structure], [1], core.cutoff), [0], torch.float64).graph
        with torch.no_grad():
            spectrum = core.power_spectrum(core.density(graph))[0].numpy()
        radial = np.sqrt(2 / 5.0) * np.sin(np.pi * 2 / 5.0) / 2
        for degree in range(1, 4):
            legendre = np.polynomial.legendre.Legendre.basis(degree)(np.cos(angle))
            # Both neighbors alone, and twice the pair of them.
            expected = radial**2 * (2 * degree + 1) / (4 * np.pi) * (2 + 2 * legendre)
            assert spectrum[degree] == pytest.approx(expected / np.sqrt(2 * degree + 1), rel=1e-9)


@pytest.mark.parametrize(
    ("target", "soap", "reason"),
    [
        ({"type": "spherical", "irreps": ((1, -1),)}, {}, "pseudotensors"),
        ({"type": "matrix"}, {"max_angular": 1}, "max_angular: 2 at least, and it is 1"),
        ({"type": "spherical", "irreps": ((5, 1),)}, {"max_angular": 4}, "max_angular: 5"),
    ],
)
def test_targets_that_it_cannot_have(target: Any, soap: Any, reason: str) -> None:
    architecture = architecture_registry.get("soap_bpnn")
    hypers = architecture.ModelHypers(soap=soap)
    assert reason in str(architecture.refuses(hypers, Target("mtt::x", "", **target)))
    assert architecture.refuses(hypers, Target("energy")) is None
    assert TYPES
