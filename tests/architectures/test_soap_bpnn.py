"""soap_bpnn keeps the architecture contract, and every symmetry exactly."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.contract import ArchitectureContract
from mtt.architectures.contract.structures import TYPES, molecule
from mtt.architectures.soap_bpnn.model import (
    first_mixing,
    harmonics_factors,
    spherical_harmonics,
)
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


class TestWithCenter(ArchitectureContract):
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = {**SMALL, "soap": {**SMALL["soap"], "center_weight": 1.0}}


class TestTurningTargets(ArchitectureContract):
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = SMALL
    targets = TURNING


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


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_an_atom_adds_its_weight_to_its_own_density(weight: float) -> None:
    architecture = architecture_registry.get("soap_bpnn")
    soap = {"channels": 4, "max_radial": 2, "max_angular": 2, "center_weight": weight}
    core = architecture.build_core(
        architecture.ModelHypers(soap=soap), TYPES[:2], [Target("energy")]
    )
    structure = replace(
        molecule(0, 1), types=np.array(TYPES[1:2], dtype=np.int32), positions=np.zeros((1, 3))
    )
    graph = collate(Dataset([structure], TYPES[:2], core.cutoff), [0], torch.float64).graph
    with torch.no_grad():
        density = core.to(torch.float64).density(graph)[0].numpy()
    # Four inputs in four channels: both radial functions of both types, of which it has the second.
    np.testing.assert_allclose(density[:, 0], [0.0, 0.0, weight, weight], atol=1e-15)
    assert not density[:, 1:].any()


def test_an_atom_that_loses_its_last_neighbor_does_so_smoothly() -> None:
    """Its features go to zero, and a normalization of them must not divide by that."""
    architecture = architecture_registry.get("soap_bpnn")
    core = architecture.build_core(architecture.ModelHypers(), TYPES, [Target("energy")])
    core = core.to(torch.float64)

    def energy(distance: float) -> torch.Tensor:
        positions = np.array([[0.0, 0, 0], [distance, 0, 0]])
        types = np.array(TYPES[:2], dtype=np.int32)
        structure = replace(molecule(0, 2), types=types, positions=positions)
        graph = collate(Dataset([structure], TYPES, 5.5), [0], torch.float64).graph
        with torch.no_grad():
            values: torch.Tensor = core(graph, ["energy"])["energy"].sum()
        return values

    alone = energy(5.4)
    assert energy(4.0) != alone, "there is nothing to lose"
    left = [float((energy(5.0 - 0.5 * part) - alone).abs()) for part in (0.2, 0.1, 0.05, 0.025)]
    # The switch falls as the cube of what is left, and the spectrum has its square.
    for before, after in pairwise(left):
        assert after < before / 8 or after < 1e-14


def test_first_mixtures_are_the_inputs_and_then_orthogonal() -> None:
    for n_out in (7, 10):
        mixing = first_mixing(n_out, 7)
        assert torch.equal(mixing[:7], torch.eye(7))
        rest = mixing[7:]
        torch.testing.assert_close(rest @ rest.T, torch.eye(n_out - 7))
    few = first_mixing(4, 7)
    torch.testing.assert_close(few @ few.T, torch.eye(4))


def test_models_of_version_1_keep_the_weight_that_it_had() -> None:
    soap = architecture_registry.get("soap_bpnn")
    stored = soap.ModelHypers().model_dump()
    del stored["soap"]["center_weight"]
    upgraded = soap.upgrades[1].hypers(stored)
    assert upgraded["soap"] == {**stored["soap"], "center_weight": 1.0}
    assert "center_weight" not in stored["soap"]
    assert {**upgraded, "soap": stored["soap"]} == stored
    assert soap.why_not_upgraded(1, stored) is None


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
