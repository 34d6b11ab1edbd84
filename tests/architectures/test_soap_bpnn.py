"""soap_bpnn@1 keeps the architecture contract, is invariant exactly, and has finite derivatives."""

import dataclasses
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.contract import ENERGY, ArchitectureContract
from mtt.architectures.contract.structures import crystal, molecule
from mtt.architectures.evaluate import Values, evaluate
from mtt.architectures.soap_bpnn.expansion import cutoff_function, radial_functions, solid_harmonics
from mtt.data.random import generator, random_rotations
from mtt.data.structure import Structure
from mtt.data.target import Target

SMALL: dict[str, Any] = {
    "soap": {"max_angular": 3, "max_radial": 2, "cutoff": {"radius": 3.5}},
    "bpnn": {"num_neurons_per_layer": 8},
}


class TestSmall(ArchitectureContract):
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = SMALL


class TestMixedTypes(ArchitectureContract):
    """More atomic types than densities."""

    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = {
        "soap": {**SMALL["soap"], "max_types": 2, "max_angular": 0},
        "bpnn": {"num_neurons_per_layer": 8, "num_hidden_layers": 1, "layernorm": False},
    }


class TestDefaults(ArchitectureContract):
    architecture = "soap_bpnn"
    targets = (
        ENERGY,
        Target("mtt::levels", quantity="levels", unit="", properties=5),
        Target("mtt::parts", quantity="parts", unit="", per="atom", properties=3),
    )

    def raw(self, structures: list[Structure]) -> dict[str, Values]:
        core = self.potential().core
        return evaluate(core, self.graph(structures), self.targets)

    @pytest.mark.parametrize("structure", [molecule(), crystal()], ids=["molecule", "crystal"])
    def test_values_are_invariant_and_forces_turn(self, structure: Structure) -> None:
        before = self.raw([structure])
        forces = before["energy"].forces
        assert forces is not None and float(forces.abs().max()) > 1e-3
        for rotation in random_rotations(generator(0, "test"), 6, inversion=True):
            turned = dataclasses.replace(
                structure,
                positions=structure.positions @ rotation.T,
                cell=structure.cell @ rotation.T,
            )
            after = self.raw([turned])
            for name, values in before.items():
                difference = (after[name].atoms - values.atoms).detach().abs().max()
                assert float(difference) < 1e-10, name
            expected = forces @ torch.from_numpy(rotation).T
            torch.testing.assert_close(after["energy"].forces, expected, rtol=0.0, atol=1e-10)

    def test_coinciding_atoms_have_finite_derivatives(self) -> None:
        """Of vectors that are zero, which an engine may send; data with them are refused."""
        core, graph = self.potential().core, self.graph([molecule()])
        graph.vectors[0] = 0.0
        values = evaluate(core, graph, self.targets, create_graph=True)
        forces = values["energy"].forces
        assert forces is not None and bool(torch.isfinite(forces).all())
        (forces * forces).sum().backward()
        for weight in core.parameters():
            assert weight.grad is None or bool(torch.isfinite(weight.grad).all())


def test_harmonics_are_orthonormal_and_turn_among_themselves() -> None:
    """By a quadrature of the sphere, exact for the degrees here, up to the largest that is useful."""
    highest = 8
    cosines, weights = np.polynomial.legendre.leggauss(highest + 1)
    angles = 2 * np.pi * np.arange(2 * highest + 1) / (2 * highest + 1)
    z = np.repeat(cosines, len(angles))
    sines = np.sqrt(1 - z * z)
    turns = np.tile(angles, len(cosines))
    points = torch.from_numpy(np.stack([sines * np.cos(turns), sines * np.sin(turns), z], axis=1))
    weight = torch.from_numpy(np.repeat(weights, len(angles)) * 2 * np.pi / len(angles))
    values = torch.cat(solid_harmonics(points, highest), dim=1)
    overlap = values.T @ (weight[:, None] * values)
    torch.testing.assert_close(overlap, torch.eye((highest + 1) ** 2, dtype=torch.float64))
    doubled = solid_harmonics(2.0 * points, highest)
    for degree, row in enumerate(solid_harmonics(points, highest)):
        torch.testing.assert_close(doubled[degree], 2.0**degree * row)
        # The addition theorem
        sums = (row * row).sum(dim=1)
        expected = torch.full_like(sums, (2 * degree + 1) / (4 * np.pi))
        torch.testing.assert_close(sums, expected)


def test_radial_functions_are_orthonormal() -> None:
    roots, weights = np.polynomial.legendre.leggauss(40)
    r, weight = torch.from_numpy((roots + 1) / 2), torch.from_numpy(weights / 2)
    functions = radial_functions(r * r, 8, 6)
    for degree in range(7):
        rows = functions[:, degree] * r[:, None] ** degree
        overlap = rows.T @ ((weight * r * r)[:, None] * rows)
        torch.testing.assert_close(overlap, torch.eye(9, dtype=torch.float64))


def test_the_cutoff_function_has_two_continuous_derivatives() -> None:
    for edge in (4.5, 5.0):
        rows = []
        for side in (-1e-8, 1e-8):
            r = torch.tensor(edge + side, dtype=torch.float64, requires_grad=True)
            value = cutoff_function(r * r, 5.0, 0.5)
            (first,) = torch.autograd.grad(value, r, create_graph=True)
            (second,) = torch.autograd.grad(first, r)
            rows.append([float(number.detach()) for number in (value, first, second)])
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-3)


def test_hypers_that_do_not_fit() -> None:
    hypers = architecture_registry.get("soap_bpnn").ModelHypers
    with pytest.raises(ValueError, match="width"):
        hypers(soap={"cutoff": {"radius": 0.4}})


def test_targets_that_turn_are_refused() -> None:
    architecture = architecture_registry.get("soap_bpnn")
    assert architecture.refuses_target(Target("energy")) is None

    turning: Any = SimpleNamespace(name="mtt::dipole", type="vector")
    assert architecture.refuses_target(turning) == (
        "its features are invariant, so that it predicts scalars only, not type vector"
    )
