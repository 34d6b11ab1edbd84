"""Each kind of slip in real data gives its sentence, and sound data gives none."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from mtt.data.ase_targets import describe_targets
from mtt.data.neighbors import neighbor_list
from mtt.data.plausibility import closeness, doubts
from mtt.data.plausibility.closeness import pair_name, too_close
from mtt.data.plausibility.components import check_values, components
from mtt.data.plausibility.energies import all_electron_energy
from mtt.data.plausibility.pair_fit import fit_pairs
from mtt.data.plausibility.robust import robust_residuals
from mtt.data.plausibility.sets import Sets
from mtt.data.read_files import read_structures, structure_of
from mtt.data.structure import Reference, Structure
from mtt.data.target import Target
from mtt.options.schema.datasets import DatasetOptions

REPOSITORY = Path(__file__).parents[2]
ETHANOL = REPOSITORY / "docs/examples/ethanol/ethanol.xyz"
ALLOY = REPOSITORY / "docs/examples/alloy/alloy.xyz"
SAME_COMPOSITION = "are arbitrary: all structures have the same composition"


def told(
    structures: list[Structure],
    unit: str = "eV",
    length_unit: str = "angstrom",
    cutoff: float = 4.5,
    fixed: Mapping[str, object] | None = None,
    **other_sets: list[Structure],
) -> list[str]:
    options = DatasetOptions.model_validate(
        {"systems": {"read_from": str(ALLOY)}, "targets": {"energy": {"unit": unit}}}
    )
    targets = describe_targets(options.targets, structures)
    sets = {"training_set": structures, **other_sets}
    return list(doubts(sets, targets, length_unit, cutoff, fixed or {}))


def read(path: Path, energy: Mapping[str, Any], indices: str | None = None) -> list[Structure]:
    systems = {"read_from": str(path), "indices": indices}
    return read_structures(
        DatasetOptions.model_validate({"systems": systems, "targets": {"energy": dict(energy)}})
    )


@pytest.fixture(scope="module")
def alloy() -> list[Structure]:
    return read(ALLOY, {"forces": {"key": "forces"}, "stress": {"key": "stress"}}, "0:60")


@pytest.fixture(scope="module")
def ethanol() -> list[Structure]:
    return read(ETHANOL, {"forces": {"key": "forces"}}, "0:60")


def changed(structures: list[Structure], **change: Callable[[Any], Any]) -> list[Structure]:
    """Return structures whose references, or positions, went through functions."""
    result = []
    for structure in structures:
        own = structure.references["energy"]
        parts = {
            name: function(getattr(own, name))
            for name, function in change.items()
            if name in ("values", "forces", "stress")
        }
        references = {"energy": replace(own, **parts)}
        factor = change.get("positions", lambda x: x)
        result.append(
            replace(
                structure,
                references=references,
                positions=factor(structure.positions),
                cell=factor(structure.cell),
            )
        )
    return result


def test_sound_data_give_no_doubt(alloy: list[Structure], ethanol: list[Structure]) -> None:
    assert told(alloy) == []
    assert told(ethanol, fixed={"energy": -5.0}) == []
    (only,) = told(ethanol)
    assert SAME_COMPOSITION in only and "1 (H), 6 (C), 8 (O)" in only


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"forces": lambda x: -x}, "forces of 'energy' have the wrong sign"),
        ({"forces": lambda x: 0 * x}, "all forces of 'energy' are zero"),
        ({"values": lambda x: 27.2114 * x}, "times what the forces suggest: are both in eV?"),
        ({"stress": lambda x: 1602.1766 * x}, "that is kbar: say `stress: {unit: kbar}`"),
        ({"stress": lambda x: 160.21766 * x}, "that is GPa: say `stress: {unit: GPa}`"),
        ({"stress": lambda x: -x}, "the stress of 'energy' has the wrong sign"),
        ({"stress": lambda x: 0 * x}, "all stresses of 'energy' are zero"),
        (
            {
                "stress": lambda x: (
                    x[np.ix_([2, 0, 1], [2, 0, 1])] * (1 - np.eye(3)) + np.diag(np.diag(x))
                )
            },
            "seem to be in another order",
        ),
        ({"positions": lambda x: 0.1 * x}, "is `length_unit: nm` meant?"),
        ({"positions": lambda x: x / 0.529177}, "is `length_unit: bohr` meant?"),
    ],
)
def test_slips_in_all_structures(
    alloy: list[Structure], change: dict[str, Callable[[Any], Any]], sentence: str
) -> None:
    lines = told(changed(alloy, **change))
    assert any(sentence in line for line in lines), lines
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize("name", ["alloy", "ethanol"])
def test_atoms_that_are_too_close_in_one_structure(
    name: str, request: pytest.FixtureRequest
) -> None:
    structures = list(request.getfixturevalue(name))
    atom = structures[7].positions[0]
    # Through the edges of the cell, where there is one.
    there = atom + [0.05, 0.0, 0.0] + structures[7].cell.sum(axis=0)
    positions = structures[7].positions.copy()
    positions[1] = there
    structures[7] = replace(structures[7], positions=positions)
    lines = [line for line in told(structures) if "too close" in line]
    pair = pair_name((int(structures[7].types[0]), int(structures[7].types[1])))
    assert lines == [
        f"1 structure of training_set has two atoms that are too close, as {pair} at 0.05 angstrom: "
        f"{structures[7].source}"
    ]
    (close,) = too_close(structures, 1.0)
    pairs = neighbor_list(structures[7], 1.0)
    shortest = np.linalg.norm(pairs.vectors, axis=1).min()
    assert (close.row, close.distance) == (7, pytest.approx(shortest))


def test_too_close_atoms_of_large_structures(alloy: list[Structure]) -> None:
    atoms = bulk("Cu", cubic=True) * (3, 3, 3)
    atoms.positions[50] = atoms.positions[51] + [0.0, 0.0, 0.3]
    (close,) = too_close([*alloy, structure_of(atoms, "x")], 1.0)
    assert (close.row, close.pair) == (len(alloy), "Cu-Cu")
    assert close.distance == pytest.approx(0.3)


def test_too_close_atoms_in_a_set_of_one_structure(ethanol: list[Structure]) -> None:
    positions = ethanol[50].positions.copy()
    positions[7] = positions[8] + [0.1, 0.0, 0.0]
    spoilt = replace(ethanol[50], positions=positions)
    lines = told(ethanol[:50], fixed={"energy": -5.0}, validation_set=[spoilt])
    assert lines == [
        "1 structure of validation_set has two atoms that are too close, as H-H at 0.1 angstrom: "
        f"{spoilt.source}"
    ]


@pytest.mark.parametrize("size", [4, 12])
def test_a_sample_of_a_large_set_is_looked_at_for_close_atoms(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []
    original = closeness.too_close

    def counted(structures: Any, angstrom: float, rows: Any = None) -> Any:
        looked_at.append(len(structures) if rows is None else len(rows))
        return original(structures, angstrom, rows)

    monkeypatch.setattr(closeness, "too_close", counted)
    atoms = bulk("Cu", cubic=True) * (size, size, size)
    good = structure_of(atoms, "good")
    atoms.positions[1] = atoms.positions[0] + [0.0, 0.0, 0.3]
    # Every tenth has two atoms that are too close.
    structures = [structure_of(atoms, "bad"), *[good] * 9] * (80 if size == 4 else 3)
    sets = {"training_set": structures, "validation_set": structures[:10]}
    monkeypatch.setattr(closeness, "_MOST_WORK", 0.5 * len(atoms) * (len(structures) + 10))
    lines = list(closeness.check_closeness(Sets(sets, [], "angstrom", 5.0)))
    assert looked_at == [len(structures) // 2, 5]
    assert f"of {len(structures) // 2} looked at in training_set" in lines[0]
    monkeypatch.undo()
    all_of_them = np.full(17_280_000 // 1728, 1728.0)
    assert 100 < len(closeness._sample(all_of_them, closeness._MOST_WORK)) <= 115


def of_target(target: Target, values: list[np.ndarray], types: list[int]) -> list[Structure]:
    return [
        Structure(
            np.array(types, np.int32),
            np.eye(len(types), 3),
            np.zeros((3, 3)),
            np.zeros(3, bool),
            {target.name: Reference(own)},
            f"made#{number}",
        )
        for number, own in enumerate(values)
    ]


def doubted(target: Target, structures: list[Structure]) -> list[str]:
    return list(check_values(Sets({"training_set": structures}, [target], "angstrom", 5.0)))


def test_charges_are_compared_with_those_of_the_same_element() -> None:
    random = np.random.default_rng(0)
    target = Target("mtt::q", quantity="charge", unit="e", per="atom")
    # Of two oxygens for each silicon half of all values are nearly equal.
    usual = np.array([3.2, -1.6, -1.6, -1.6, -1.6, 3.2])
    values = [usual + 0.02 * random.normal(size=6) for _ in range(100)]
    types = [14, 8, 8, 8, 8, 14]
    assert doubted(target, of_target(target, values, types)) == []
    values[7][0] = -1.6
    (line,) = doubted(target, of_target(target, values, types))
    assert line.startswith(
        "1 structure of training_set has values of 'mtt::q' far from all others, as -1.6 e, where "
        "those of Si are 3.2 +- 0.02"
    )
    assert line.endswith(": made#7")


def test_a_second_population_is_no_outlier() -> None:
    random = np.random.default_rng(0)
    target = Target("mtt::gap", quantity="gap", unit="eV")
    sizes = np.where(np.arange(100) < 70, 1e-4, 1.0)
    values = [np.array([size * random.uniform(0.5, 1.5)]) for size in sizes]
    assert doubted(target, of_target(target, values, [14])) == []
    (line,) = doubted(target, of_target(target, values[:71], [14]))
    assert "1 structure of" in line and line.endswith(": made#70")


def test_rows_of_many_numbers_that_are_not_known_are_missing() -> None:
    target = Target("mtt::dos", quantity="dos", unit="1/eV", properties=40)
    values = [np.full((1, 40), np.nan if row < 3 else float(row)) for row in range(10)]
    (part,) = components(of_target(target, values, [14]), target)
    assert (part.known, part.missing) == (7, 3)
    assert part.least == pytest.approx(3.0 * 40**0.5)


def test_a_virial_under_the_name_of_a_stress(alloy: list[Structure]) -> None:
    virials = [
        replace(
            s,
            references={
                "energy": replace(
                    s.references["energy"], stress=-s.volume * s.references["energy"].stress
                )
            },
        )
        for s in alloy
    ]
    text = " ".join(told(virials))
    assert "that is a virial, an energy: ask for it with `virial: {key: ...}`" in text
    assert "wrong sign" in text


def test_units_of_total_energies() -> None:
    structures = read(ETHANOL, {"forces": {"key": "forces"}}, "0:20")
    total = float(all_electron_energy(structures[0].types).sum())

    def total_energies(factor: float) -> list[Structure]:
        shift = structures[0].references["energy"].values[0]
        return changed(structures, values=lambda x: factor * (total + x - shift))

    def lines(factor: float, unit: str) -> list[str]:
        return [line for line in told(total_energies(factor), unit) if "all electrons" in line]

    assert lines(1.0, "eV") == []
    assert "in Hartree, and the options say eV" in lines(1 / 27.2114, "eV")[0]
    assert "in kcal/mol, and the options say eV" in lines(23.0605, "eV")[0]
    assert "in eV, and the options say Hartree" in lines(1.0, "hartree")[0]
    assert lines(1 / 27.2114, "hartree") == [] and lines(23.0605, "kcal/mol") == []
    # Exact: -0.5 hartree for H; Hartree-Fock limits of C and Ar are -37.69 and -526.82 hartree.
    energies = all_electron_energy(np.array([1, 6, 18], dtype=np.int32)) / 27.211386
    assert energies == pytest.approx([-0.5, -37.69, -526.82], rel=0.01)


def test_one_value_far_from_all_others(alloy: list[Structure]) -> None:
    spoilt = [*alloy[:30], *changed(alloy[30:31], values=lambda x: x + 1e5), *alloy[31:]]
    (line,) = told(spoilt)
    assert "the energy of 1 structure of training_set is off by up to 2.5e+04 eV per atom" in line
    assert "alloy.xyz#30" in line
    (line,) = told(alloy[:30], validation_set=spoilt[30:])
    assert "of validation_set is off" in line
    # Real tails stay: a value five times as far as the farthest is not an error.
    wide = [*alloy[:30], *changed(alloy[30:31], values=lambda x: x + 3.0), *alloy[31:]]
    assert told(wide) == []


def test_forces_far_beyond_the_others(alloy: list[Structure]) -> None:
    spoilt = [*alloy[:30], *changed(alloy[30:31], forces=lambda x: x + 500.0), *alloy[31:]]
    assert any(
        "1 structure of training_set has forces of up to 50" in line for line in told(spoilt)
    )


def test_energies_and_forces_in_ev_that_are_said_to_be_in_mev(ethanol: list[Structure]) -> None:
    thousandth = {"values": lambda x: 1e-3 * x, "forces": lambda x: 1e-3 * x}
    lines = told(changed(ethanol, **thousandth), fixed={"energy": -5.0})
    assert any("0.0008 eV/angstrom, less than in most data" in line for line in lines), lines


def test_copies_within_and_across_sets(alloy: list[Structure]) -> None:
    again = [*alloy[:20], alloy[3], *changed(alloy[4:5], values=lambda x: x + 0.1)]
    (line,) = told(again)
    assert "2 structures of training_set are copies of another of the same set" in line
    assert line.endswith("alloy.xyz#3 and " + alloy[4].source + ", 1 of them with other values")
    lines = told(alloy[:30], validation_set=alloy[28:40], test_set=alloy[29:30])
    assert [line.partition(" of validation_set")[0] for line in lines[:1]] == ["2 of 12 structures"]
    assert lines[1].startswith("1 of 1 structure of test_set is in the training set too")


def test_a_cutoff_that_sees_far(ethanol: list[Structure]) -> None:
    fixed = {"energy": 0.0}
    assert told(ethanol, cutoff=40.0, fixed=fixed)[0].startswith(
        "the cutoff of 40 angstrom is long: an atom has 8 neighbors on average"
    )
    assert not any("is long" in line for line in told(ethanol, cutoff=10.0, fixed=fixed))


def test_cutoffs_that_see_little(alloy: list[Structure], ethanol: list[Structure]) -> None:
    assert told(ethanol, cutoff=2.0, fixed={"energy": 0.0})[0].startswith(
        "the cutoff of 2 angstrom is short"
    )
    assert "no atom has a neighbor within the cutoff of 1.5 angstrom" in told(alloy, cutoff=1.5)[0]
    bohr = changed(ethanol, positions=lambda x: x / 0.529177)
    lines = told(bohr, length_unit="bohr", cutoff=4.5, fixed={"energy": 0.0})
    assert any("the cutoff of 2.38 angstrom (4.5 bohr) is short" in line for line in lines)


def test_structures_without_any_pair_are_counted(ethanol: list[Structure]) -> None:
    far = replace(ethanol[0], positions=30.0 * ethanol[0].positions)
    lines = told([*ethanol, far], fixed={"energy": 0.0})
    assert any("1 structure of 61 looked at has no pair of atoms within" in line for line in lines)


def test_stress_of_a_slab_in_a_box(tmp_path: Path) -> None:
    slabs = []
    for seed in range(8):
        slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
        slab.pbc = True
        slab.rattle(0.05, seed=seed)
        slabs.append(labelled(slab))
    lines = told(slabs, fixed={"energy": 0.0})
    assert any(
        "8 structures with a stress have more than 6 angstrom of vacuum" in line for line in lines
    )


def labelled(atoms: ase.Atoms) -> Structure:
    atoms.calc = EMT()
    reference = Reference(
        np.array([atoms.get_potential_energy()]),
        atoms.get_forces(),
        atoms.get_stress(voigt=False) if atoms.pbc.all() else None,
    )
    return Structure(
        atoms.numbers.astype(np.int32),
        atoms.positions.copy(),
        atoms.cell.array.copy(),
        np.array(atoms.pbc),
        {"energy": reference},
        "made",
    )


def test_an_energy_beside_a_free_energy_and_a_stress_beside_a_virial(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = []
    for seed in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        own = labelled(atoms).references["energy"]
        assert own.stress is not None and own.forces is not None
        copy = atoms.copy()
        copy.info |= {
            "energy": own.values[0],
            "free_energy": own.values[0] - 0.1 * seed,
            "stress": own.stress,
            "virial": own.stress * atoms.get_volume(),
        }
        copy.arrays["forces"] = own.forces
        rows.append(copy)
    path = tmp_path / "a.xyz"
    ase.io.write(path, rows, format="extxyz")

    def said(**energy: Any) -> str:
        caplog.clear()
        read(path, energy)
        return caplog.text

    text = said()
    assert "5 of 6 structures have an `energy` and another `free_energy` (up to 0.5 apart)" in text
    assert "6 of 6 structures have a `stress` and a `virial` that contradict each other" in text
    assert "the sign of one of them is reversed" in text
    quiet = said(key="free_energy", stress=False, virial={"key": "virial"})
    assert "free_energy" not in quiet and "contradict" not in quiet


def test_cutoffs_of_the_checks_refuse_nothing() -> None:
    """They are not that of the model, which may be shorter, or longer."""
    long = [
        Structure(
            np.array([1, 1], np.int32),
            np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2000.0 + number]]),
            np.zeros((3, 3)),
            np.zeros(3, bool),
            {"energy": Reference(np.array([-30.0 - number]), np.zeros((2, 3)))},
            f"long.xyz#{number}",
        )
        for number in range(5)
    ]
    assert any("no atom has a neighbor" in text for text in told(long, cutoff=5.0))
    cell = bulk("Cu", cubic=True) * (2, 2, 2)
    crowded = [
        Structure(
            cell.numbers.astype(np.int32),
            0.1 * cell.positions,
            0.1 * cell.cell.array,
            np.ones(3, bool),
            {"energy": Reference(np.array([-30.0 - number]), np.ones((32, 3)))},
            f"crowded.xyz#{number}",
        )
        for number in range(5)
    ]
    assert any("unusually close together" in text for text in told(crowded, cutoff=1.0))


def test_the_quick_fit_takes_no_structure_that_fills_the_memory(alloy: list[Structure]) -> None:
    """A large one comes first; its derivatives by the unknowns would take gigabytes."""
    large = Structure(
        np.full(2001, 29, np.int32),
        np.zeros((2001, 3)),
        np.zeros((3, 3)),
        np.zeros(3, bool),
        {"energy": Reference(np.array([-1.0]), np.ones((2001, 3)))},
        "large.xyz#0",
    )
    with_large = fit_pairs([large, *alloy], "energy", 5.0)
    without = fit_pairs(alloy, "energy", 5.0)
    assert with_large is not None and without is not None
    assert with_large.explained == without.explained


@pytest.mark.parametrize("size", [0.0, 5e-324, 1e-310, 1e-260, 1e150])
def test_energies_of_any_size_have_residuals(size: float) -> None:
    values = size * np.random.default_rng(0).normal(size=30)
    design = np.tile([[1.0, 2.0]], (30, 1))
    assert np.isfinite(robust_residuals(design, values)).all()
