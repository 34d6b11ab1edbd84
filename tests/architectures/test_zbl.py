"""The repulsion of close nuclei: known numbers, derivatives, units, and what it is not added to."""

import math
from dataclasses import replace
from typing import Any

import ase.data
import numpy as np
import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.evaluate import Values
from mtt.architectures.potential import Potential
from mtt.architectures.zbl import COVALENT_RADII, Repulsion
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.graph import Graph
from mtt.data.structure import Structure
from mtt.data.target import GRADIENTS, Target
from mtt.errors import UserError

TYPES = [1, 8, 14, 79]
ENERGY = Target("energy", gradients=GRADIENTS)
SMALL_PET = {"d_pet": 8, "d_node": 8, "d_head": 4, "d_feedforward": 8, "num_heads": 1}
SMALL_SOAP: dict[str, Any] = {"soap": {"cutoff": {"radius": 3.5}, "channels": 4}}


def screened(first: int, second: int, r: float) -> float:
    """The formula of LAMMPS' pair_style zbl, without its switch, in eV and angstrom."""
    x = r * (first**0.23 + second**0.23) / 0.46850
    phi = 0.18175 * math.exp(-3.19980 * x) + 0.50986 * math.exp(-0.94229 * x)
    phi += 0.28022 * math.exp(-0.40290 * x) + 0.02817 * math.exp(-0.20162 * x)
    return 14.399645 * first * second / r * phi


def pair_energy(first: int, second: int, r: float) -> float:
    """The formula with its switch, whose derivatives are taken by differences."""
    end = float(ase.data.covalent_radii[first] + ase.data.covalent_radii[second])
    if r >= end:
        return 0.0
    h = 1e-4
    below, at, above = (screened(first, second, end + step) for step in (-h, 0.0, h))
    slope, bend = (above - below) / (2 * h), (above - 2 * at + below) / h**2
    a = (-3 * slope + end * bend) / end**2
    b = (2 * slope - end * bend) / end**3
    c = -at + end * slope / 2 - end**2 * bend / 12
    return screened(first, second, r) + a / 3 * r**3 + b / 4 * r**4 + c


def dimer(first: int, second: int, r: float) -> Structure:
    positions = np.array([[0.0, 0.0, 0.0], [0.36 * r, 0.48 * r, 0.8 * r]])
    return Structure(
        np.array([first, second], np.int32), positions, np.zeros((3, 3)), np.zeros(3, bool)
    )


def graph_of(structure: Structure, cutoff: float, dtype: torch.dtype = torch.float64) -> Graph:
    return collate(Dataset([structure], TYPES, cutoff), [0], dtype).graph


def repulsion(
    structure: Structure,
    target: Target = ENERGY,
    length_unit: str = "angstrom",
    cutoff: float = 5.0,
) -> Values:
    """Energy, forces and strain derivatives of a structure in the unit of a target."""
    module = Repulsion(TYPES, [target], length_unit, cutoff)
    own = module.values(graph_of(structure, cutoff), derivatives=True)
    return Values(*(module.factors[0] * part for part in own[:4]))


def test_the_radii_are_those_of_the_publication() -> None:
    assert list(COVALENT_RADII) == pytest.approx(ase.data.covalent_radii[1:97])


@pytest.mark.parametrize("r", [0.05, 0.3, 0.6, 0.9, 1.5, 2.4])
@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 8), (14, 8), (79, 14)])
def test_energies_are_those_of_the_formula(first: int, second: int, r: float) -> None:
    values = repulsion(dimer(first, second, r))
    expected = pair_energy(first, second, r)
    assert float(values.systems) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    # Half of it belongs to each atom.
    torch.testing.assert_close(values.atoms[0], values.atoms[1])
    torch.testing.assert_close(values.atoms.sum(dim=0), values.systems[0])


@pytest.mark.parametrize("r", [0.2, 0.5, 1.0, 1.9])
def test_forces_and_strain_are_derivatives(r: float) -> None:
    structure = dimer(79, 8, r)
    values = repulsion(structure)
    assert values.forces is not None and values.strain is not None
    step = 1e-5

    def energy(positions: np.ndarray) -> float:
        return float(repulsion(replace(structure, positions=positions)).systems)

    for atom in range(2):
        for axis in range(3):
            shift = np.zeros((2, 3))
            shift[atom, axis] = step
            slope = energy(structure.positions + shift) - energy(structure.positions - shift)
            expected = -slope / (2 * step)
            assert float(values.forces[atom, axis]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for a in range(3):
        for b in range(3):
            strain = np.zeros((3, 3))
            strain[a, b] = step
            slope = energy(structure.positions @ (np.eye(3) + strain))
            slope -= energy(structure.positions @ (np.eye(3) - strain))
            expected = slope / (2 * step)
            assert float(values.strain[0, a, b]) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_it_ends_smoothly() -> None:
    """Energy, force and the slope of the force go to zero together."""
    end = COVALENT_RADII[13] + COVALENT_RADII[7]
    for distance in (1e-2, 1e-3):
        values = repulsion(dimer(14, 8, end - distance))
        assert values.forces is not None
        assert abs(float(values.systems)) < 200 * distance**3
        assert float(values.forces.abs().max()) < 200 * distance**2
    assert float(repulsion(dimer(14, 8, end + 1e-9)).systems) == 0.0
    # A model that sees less far ends there, as smoothly.
    values = repulsion(dimer(14, 8, 1.4999), cutoff=1.5)
    assert 0.0 <= float(values.systems) < 1e-8
    assert float(repulsion(dimer(14, 8, 0.5), cutoff=1.5).systems) > 250.0


def test_atoms_on_top_of_each_other_have_finite_forces() -> None:
    for dtype in (torch.float32, torch.float64):
        vectors = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1e-5, 0, 0], [-1e-5, 0, 0]])
        graph = Graph(
            species=torch.tensor([0, 3, 3]),
            system=torch.tensor([0, 0, 0]),
            n_systems=1,
            centers=torch.tensor([0, 1, 1, 2]),
            neighbors=torch.tensor([1, 0, 2, 1]),
            vectors=vectors.to(dtype),
            reverse=torch.tensor([1, 0, 3, 2]),
            positions=torch.zeros((3, 3), dtype=dtype),
            cells=torch.zeros((1, 3, 3), dtype=dtype),
        )
        values = Repulsion(TYPES, [ENERGY], "angstrom", 5.0).values(graph, derivatives=True)
        for part in values[:4]:
            assert part is not None and part.isfinite().all()
        assert float(values.systems) > 1e6


@pytest.mark.parametrize(("unit", "factor"), [("kcal/mol", 23.060548), ("Hartree", 0.03674932)])
def test_units_are_those_of_the_model(unit: str, factor: float) -> None:
    structure = dimer(14, 8, 0.7)
    expected = repulsion(structure)
    other = repulsion(structure, replace(ENERGY, unit=unit))
    assert float(other.systems) == pytest.approx(factor * float(expected.systems), rel=1e-6)
    in_nm = replace(structure, positions=0.1 * structure.positions)
    short = repulsion(in_nm, length_unit="nm", cutoff=0.5)
    assert float(short.systems) == pytest.approx(float(expected.systems), rel=1e-12)
    assert short.forces is not None and expected.forces is not None
    torch.testing.assert_close(0.1 * short.forces, expected.forces)


@pytest.mark.parametrize(
    ("types", "targets", "length_unit", "reason"),
    [
        ([1, 119], [ENERGY], "angstrom", "there is no covalent radius of atomic type 119"),
        ([1, 97], [ENERGY], "angstrom", "there is no covalent radius of atomic type 97 (Bk)"),
        ([1], [Target("mtt::q", "charge", "e")], "angstrom", "no target of the model is an energy"),
        ([1], [replace(ENERGY, unit="")], "angstrom", "the unit of 'energy', '', is not known"),
        ([1], [ENERGY], "", "the length unit '' is not known"),
    ],
)
def test_what_it_cannot_be_added_to(
    types: list[int], targets: list[Target], length_unit: str, reason: str
) -> None:
    with pytest.raises(UserError) as caught:
        Repulsion(types, targets, length_unit, 5.0)
    assert reason in caught.value.what
    assert caught.value.where == "architecture.model.zbl"
    assert caught.value.hint


@pytest.mark.parametrize(("name", "hypers"), [("pet", SMALL_PET), ("soap_bpnn", SMALL_SOAP)])
def test_a_model_has_it_beside_its_network(name: str, hypers: dict[str, Any]) -> None:
    """A scale never touches it, only energies have it, and each in its own unit."""
    architecture = architecture_registry.get(name)
    targets = [ENERGY, Target("mtt::u0", unit="kcal/mol"), Target("mtt::q", "charge", "e", "atom")]
    core: Any = architecture.build_core(architecture.ModelHypers(**hypers), TYPES, targets)
    plain = Potential(core, TYPES, targets, "angstrom").set_precision(torch.float64).eval()
    with_zbl = Potential(core, TYPES, targets, "angstrom", zbl=True).eval()
    for potential in (plain, with_zbl):
        for target in targets:
            potential.baseline(target.name).scale.fill_(17.0)
    structure = dimer(79, 79, 0.3)
    graph = graph_of(structure, core.cutoff)
    before, after = plain.evaluate(graph), with_zbl.evaluate(graph)
    atoms = with_zbl.atomic_values(graph, [target.name for target in targets])
    for target in targets:
        torch.testing.assert_close(atoms[target.name], after[target.name].atoms)
        if not target.is_energy:
            assert torch.equal(before[target.name].atoms, after[target.name].atoms)
            continue
        own = repulsion(structure, target)
        assert float(own.systems) > 10_000.0
        parts = [values[:4] for values in (before[target.name], after[target.name], own)]
        for part, total, added in zip(*parts, strict=True):
            torch.testing.assert_close(total, part + added)
    assert plain.state_dict().keys() == with_zbl.state_dict().keys()


def test_an_engine_gets_it_too() -> None:
    """The compiled model gives the same numbers; a real run puts it through every check."""
    architecture = architecture_registry.get("pet")
    core: Any = architecture.build_core(architecture.ModelHypers(**SMALL_PET), TYPES, [ENERGY])
    potential = Potential(core, TYPES, [ENERGY], "angstrom", zbl=True).eval()
    scripted = torch.jit.script(potential)
    graph = graph_of(dimer(79, 8, 0.8), core.cutoff, torch.float32)
    eager = potential.atomic_values(graph, ["energy"])["energy"]
    torch.testing.assert_close(scripted.atomic_values(graph, ["energy"])["energy"], eager)
    assert float(eager.detach().sum()) > 100.0
