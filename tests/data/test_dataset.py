"""Neighbor lists against brute force, and the refusals."""

import itertools

import numpy as np
import pytest
from ase.build import bulk, molecule

from mtt.data.dataset import Dataset, content_hash, types_of
from mtt.data.neighbors import neighbor_list
from mtt.data.structure import Reference, Structure, fingerprints
from mtt.data.target import POSITIONS, STRAIN, Target
from mtt.errors import UserError

CUTOFF = 4.2
ENERGY = Target("energy")
CHARGES = Target("mtt::charges", quantity="charge", unit="e", per="atom")


def structure(
    types,
    positions,
    cell=None,
    pbc=(False, False, False),
    source="a.xyz#0",
    value=np.nan,
    **gradients,
):
    cell = np.zeros((3, 3)) if cell is None else np.asarray(cell, dtype=np.float64)
    pbc = np.array(pbc)
    return Structure(
        np.array(types, dtype=np.int32),
        np.array(positions, dtype=np.float64).reshape(-1, 3),
        np.where(pbc[:, None], cell, 0.0),
        pbc,
        {"energy": Reference(np.array([value]), **gradients)}
        if gradients or not np.isnan(value)
        else {},
        source,
    )


def triclinic(pbc=(True, True, True)) -> Structure:
    rng = np.random.default_rng(5)
    cell = [[3.1, 0.2, 0.0], [-1.1, 2.9, 0.3], [0.4, 0.8, 3.5]]
    # Far outside of the cell on purpose.
    return structure([1, 6, 8], 9.0 * rng.normal(size=(3, 3)), cell, pbc)


CASES = {
    "molecule": structure(molecule("CH3CH2OH").numbers, molecule("CH3CH2OH").positions),
    "atom": structure([1], [0.0, 0.0, 0.0]),
    "apart": structure([1, 1], [[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]),
    "bulk": structure([29], [0.0, 0.0, 0.0], bulk("Cu").cell.array, (True, True, True)),
    "triclinic": triclinic(),
    "slab": triclinic((True, True, False)),
    "wire": triclinic((False, True, False)),
}


def brute_force(one: Structure, cutoff: float) -> set[tuple[int, ...]]:
    wide = [range(-12, 13) if periodic else (0,) for periodic in one.pbc]
    shifts = np.array(list(itertools.product(*wide)))
    found = set()
    for i, j in itertools.product(range(len(one)), repeat=2):
        vectors = one.positions[j] - one.positions[i] + shifts @ one.cell
        for shift in shifts[np.linalg.norm(vectors, axis=1) <= cutoff]:
            if i != j or shift.any():
                found.add((i, j, *shift.tolist()))
    return found


@pytest.mark.parametrize("name", CASES)
def test_neighbor_list_is_brute_force(name: str) -> None:
    one = CASES[name]
    pairs = neighbor_list(one, CUTOFF)
    rows = np.column_stack([pairs.centers, pairs.neighbors, pairs.shifts]).tolist()
    assert rows == sorted(rows)
    assert {tuple(row) for row in rows} == brute_force(one, CUTOFF)
    expected = one.positions[pairs.neighbors] - one.positions[pairs.centers]
    np.testing.assert_allclose(pairs.vectors, expected + pairs.shifts @ one.cell, atol=1e-12)
    np.testing.assert_array_equal(pairs.centers[pairs.reverse], pairs.neighbors)
    np.testing.assert_array_equal(pairs.shifts[pairs.reverse], -pairs.shifts)
    # Not only nearly: gradients of both directions must cancel.
    np.testing.assert_array_equal(pairs.vectors[pairs.reverse], -pairs.vectors)


def test_the_cutoff_belongs_to_the_list() -> None:
    two = structure([1, 1], [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    assert len(neighbor_list(two, 2.0).centers) == 2
    assert len(neighbor_list(two, np.nextafter(2.0, 0.0)).centers) == 0


def test_coinciding_atoms() -> None:
    two = structure([1, 8, 1], [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    with pytest.raises(UserError) as caught:
        neighbor_list(two, CUTOFF)
    assert str(caught.value) == (
        "atoms 0 and 2 coincide (distance 0.0e+00; atoms count from 0)\n"
        "  where: a.xyz#0\n  hint: remove the structure or the doubled atom"
    )


def test_too_many_neighbors() -> None:
    # A cell in nanometers, read as if it were in angstrom.
    tiny = structure([29], [0.0, 0.0, 0.0], 0.01 * np.eye(3), (True, True, True))
    with pytest.raises(UserError) as caught:
        neighbor_list(tiny, CUTOFF)
    assert str(caught.value) == (
        "about 3.1e+08 neighbor pairs within the cutoff of 4.2 in one structure of 1 atoms;"
        " at most 1000000 are accepted\n  where: a.xyz#0\n"
        "  hint: check that the cell, the positions and the cutoff are in the same length unit"
    )
    # Nine atoms that all see each other.
    with pytest.raises(UserError, match=r"^72 neighbor pairs within the cutoff of 10 in one"):
        neighbor_list(CASES["molecule"], 10.0, max_pairs=71)
    assert len(neighbor_list(CASES["molecule"], 10.0, max_pairs=72).centers) == 72


def test_dataset_and_its_types() -> None:
    seen = []
    structures = [CASES["molecule"], CASES["bulk"]]
    data = Dataset(
        structures, [29, 8, 1, 6], CUTOFF, [ENERGY], progress=lambda *two: seen.append(two)
    )
    assert seen == [(1, 2), (2, 2)]
    assert types_of(structures) == [1, 6, 8, 29] == data.atomic_types
    assert [data.atomic_types[s] for s in data[0].species] == CASES["molecule"].types.tolist()
    assert data[0].references == {} and data[1].volume > 11.0
    assert data.gradients("energy") == set()
    known = structure([1], [0.0, 0.0, 0.0], forces=np.zeros((1, 3)))
    assert Dataset([known], [1], CUTOFF, [ENERGY]).gradients("energy") == {POSITIONS}
    known = structure([1], [0.0, 0.0, 0.0], stress=np.zeros((3, 3)))
    assert Dataset([known], [1], CUTOFF, [ENERGY]).gradients("energy") == {STRAIN}
    # What is not asked for is not kept.
    assert Dataset([known], [1], CUTOFF, [CHARGES])[0].references == {}


@pytest.mark.parametrize("known", [[1, 6], [6, 8, 29], [29]])
def test_unknown_type(known: list[int]) -> None:
    one = CASES["triclinic"]
    atom = next(i for i, t in enumerate(one.types) if t not in known)
    names = {1: "1 (H)", 6: "6 (C)", 8: "8 (O)", 29: "29 (Cu)"}
    with pytest.raises(UserError) as caught:
        Dataset([one], known, CUTOFF, [ENERGY])
    assert str(caught.value) == (
        f"atom {atom} has the atomic type {names[int(one.types[atom])]}, which the model does not"
        f" know\n  where: a.xyz#0\n  hint: the model knows {', '.join(names[t] for t in known)}"
    )


def test_content_hash_sees_everything_but_the_source() -> None:
    def make(**changes):
        values = {"types": [1, 8], "positions": np.eye(2, 3), "value": 1.0}
        charges = changes.pop("charges", None)
        made = structure(**{**values, **changes})
        if charges is not None:
            made.references["mtt::charges"] = Reference(np.array(charges))
        return made

    reference = content_hash([make()])
    assert content_hash([make(source="b.xyz#7")]) == reference
    forces = np.zeros((2, 3))
    others = [
        [make(types=[1, 7])],
        [make(positions=np.eye(2, 3) + 1e-15)],
        [make(cell=np.eye(3), pbc=(True, True, True))],
        [make(cell=2 * np.eye(3), pbc=(True, True, True))],
        [make(pbc=(True, False, False))],
        [make(value=np.nextafter(1.0, 2.0))],
        [make(forces=forces)],
        [make(stress=forces[:1].repeat(3, 0))],
        [make(charges=[[0.5], [-0.5]])],
        [make(charges=[[0.5, -0.5]])],
        [make(charges=[0.5, -0.5])],
        [make(), make()],
        [],
    ]
    hashes = {content_hash(one) for one in others}
    assert len(hashes) == len(others) and reference not in hashes


def test_fingerprints_of_energies_are_those_of_the_first_format() -> None:
    """Checkpoints have had these numbers in them since there was one energy only."""
    structures = [
        structure(
            [29, 8],
            np.arange(6.0) / 7,
            np.diag([3.0, 4.0, 5.0]),
            (True, True, True),
            value=-3.5,
            forces=np.arange(6.0).reshape(2, 3) / 3,
            stress=np.arange(9.0).reshape(3, 3) / 11,
        ),
        structure([1], [0.0, 0.0, 0.0], value=1.25),
        structure([6], [0.0, 0.5, 0.0]),
    ]
    structures[1].references["energy/pbe"] = Reference(np.array([np.nan]), np.ones((1, 3)))
    content, rows = fingerprints(structures)
    assert content == "65837b9654baaecac2baa3b5ab48263d1a6bec940cc15ae948737ebd6e19a7a9"
    assert rows.tolist() == [
        [-9017174158001647808, 4913694452893237054],
        [-5597640404119826898, -6789418213076356769],
        [6112223507920198924, 8794265229978523055],
    ]
