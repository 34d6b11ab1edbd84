"""Reading files: what is found where, and the whole message of every mistake."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtt.data import frames as data_frames
from mtt.data.ase_targets import describe_targets
from mtt.data.read_files import read_datasets, read_structures
from mtt.data.reader import Selection
from mtt.data.same_units import check_same_targets
from mtt.data.structure import content_hash
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.options import DatasetOptions, GradientOptions, SystemsOptions, TargetOptions

from . import ase_files as frames


def options(path: Path, indices: Any = None, length_unit: str = "angstrom", **target: Any):
    systems = SystemsOptions(read_from=path, indices=indices, length_unit=length_unit)
    return DatasetOptions(systems=systems, targets={"energy": TargetOptions(**target)})


def message(options_: DatasetOptions) -> str:
    with pytest.raises(UserError) as caught:
        read_structures(options_)
    return str(caught.value)


def test_values_that_ase_moved_into_a_calculator(tmp_path: Path) -> None:
    originals = frames.copper()
    path = frames.write(tmp_path / "cu.xyz", originals)
    structures = read_structures(options(path))
    assert [one.source for one in structures] == [f"{path}#{i}" for i in range(3)]
    for structure, atoms in zip(structures, originals, strict=True):
        target = structure.references["energy"]
        assert target.values == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(target.forces, atoms.get_forces(), atol=1e-7)
        np.testing.assert_allclose(target.stress, atoms.get_stress(voigt=False), atol=1e-7)
        np.testing.assert_array_equal(structure.types, [29] * 4)
        np.testing.assert_allclose(structure.cell, atoms.cell.array, atol=1e-7)
        assert structure.volume == pytest.approx(atoms.get_volume())
        assert structure.types.dtype == np.int32 and structure.positions.dtype == np.float64


def test_own_keys_and_no_periodicity(tmp_path: Path) -> None:
    path = frames.write(tmp_path / "mol.xyz", frames.molecules())
    water, ethanol = read_structures(options(path, key="U", forces=GradientOptions(key="F")))
    assert water.references["energy"].values == -10.5
    assert water.references["energy"].stress is None
    np.testing.assert_allclose(ethanol.references["energy"].forces[1], [0.3, 0.4, 0.5])
    assert not water.pbc.any() and not water.cell.any() and water.volume == 0.0


def test_the_group_of_a_structure_is_kept_beside_what_is_learned(tmp_path: Path) -> None:
    atoms = frames.copper(3)
    grouped = [a.copy() for a in atoms]
    for copy, own in zip(grouped, atoms, strict=True):
        copy.calc = own.calc
    grouped[0].info["config_type"], grouped[1].info["config_type"] = "bulk amorphous", 7
    structures = read_structures(options(frames.write(tmp_path / "cu.xyz", grouped)))
    assert [one.config_type for one in structures] == ["bulk amorphous", "7", ""]
    plain = read_structures(options(frames.write(tmp_path / "plain.xyz", atoms)))
    assert content_hash(structures) == content_hash(plain)


def test_rows_of_non_periodic_axes_are_zero(tmp_path: Path) -> None:
    atoms = frames.copper(1)[0]
    atoms.pbc = (True, False, True)
    (structure,) = read_structures(options(frames.write(tmp_path / "slab.xyz", [atoms])))
    assert structure.cell[0].any() and structure.cell[2].any() and not structure.cell[1].any()
    assert structure.volume == 0.0
    # Without three periods there is no volume to refer a stress to.
    assert structure.references["energy"].stress is None


@pytest.mark.parametrize("form", ["matrix", "nine", "voigt"])
@pytest.mark.parametrize("quantity", ["stress", "virial"])
def test_stress_and_virial_in_all_forms(tmp_path: Path, form: str, quantity: str) -> None:
    atoms = frames.copper(1)[0]
    stress = atoms.get_stress(voigt=False)
    value = stress if quantity == "stress" else -stress * atoms.get_volume()
    voigt = value[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.info["mine"] = {"matrix": value, "nine": value.ravel(), "voigt": voigt}[form]
    path = frames.write(tmp_path / "cu.xyz", [atoms])
    (structure,) = read_structures(options(path, **{quantity: GradientOptions(key="mine")}))
    np.testing.assert_allclose(structure.references["energy"].stress, stress, atol=1e-7)


def test_virial_is_used_where_nothing_is_asked_for_and_no_stress_is_there(tmp_path: Path) -> None:
    atoms = frames.copper(1)[0]
    stress = atoms.get_stress(voigt=False)
    atoms.info["virial"] = -stress * atoms.get_volume()
    del atoms.calc.results["stress"]
    path = frames.write(tmp_path / "cu.xyz", [atoms])
    (structure,) = read_structures(options(path))
    np.testing.assert_allclose(structure.references["energy"].stress, stress, atol=1e-7)
    (structure,) = read_structures(options(path, stress=False))
    assert structure.references["energy"].stress is None
    (structure,) = read_structures(options(path, forces=False))
    assert structure.references["energy"].forces is None


def test_other_files_for_values(tmp_path: Path) -> None:
    path = frames.write(tmp_path / "cu.xyz", frames.copper())
    others = frames.copper(seed=1)
    other = frames.write(tmp_path / "other.xyz", others)
    gradient = GradientOptions(key="forces", read_from=path)
    structures = read_structures(options(path, [2, 0], read_from=other, forces=gradient))
    own = read_structures(options(path, [2, 0]))
    for structure, mine, index in zip(structures, own, (2, 0), strict=True):
        assert structure.source == f"{path}#{index}"
        expected = others[index].get_potential_energy()
        assert structure.references["energy"].values == pytest.approx(expected, abs=1e-7)
        np.testing.assert_array_equal(
            structure.references["energy"].forces, mine.references["energy"].forces
        )
    short = frames.write(tmp_path / "short.xyz", frames.copper(2))
    assert message(options(path, read_from=short)) == (
        f"the file has 2 structures, but {path} has 3\n"
        f"  where: {short}\n"
        "  hint: values for the same structures must be in the same order"
    )


@pytest.mark.parametrize(
    ("indices", "chosen"), [("0:2", [0, 1]), ("::2", [0, 2]), ("-1:", [2]), ([2, 1], [2, 1])]
)
def test_indices(tmp_path: Path, indices: Any, chosen: list[int]) -> None:
    path = frames.write(tmp_path / "cu.xyz", frames.copper())
    structures = read_structures(options(path, indices))
    assert [one.source for one in structures] == [f"{path}#{i}" for i in chosen]
    assert len(read_datasets([options(path), options(path, indices)])) == 3 + len(chosen)


def test_gradients_that_some_structures_lack(tmp_path: Path, caplog: Any) -> None:
    some = frames.copper()
    del some[1].calc.results["forces"]
    path = frames.write(tmp_path / "cu.xyz", some)
    with caplog.at_level(logging.INFO, "mtt"):
        structures = read_structures(options(path))
    assert [one.references["energy"].forces is None for one in structures] == [False, True, False]
    assert caplog.messages == [
        f"{path}: forces found in 2 of 3 structures; the others go without: {path}#1",
        f"{path}: stress found in all 3 structures and used",
    ]
    assert message(options(path, forces=GradientOptions(key="forces"))) == (
        "forces were asked for, but 1 of 3 structures lacks the key 'forces'\n"
        f"  where: {path}#1 (counted from 0)\n"
        "  hint: other structures of the file have it: add it here, or remove the structure;"
        " 'forces: {key: forces, missing: allow}' learns from those that have it"
    )


def test_forces_asked_for_but_absent(tmp_path: Path) -> None:
    path = frames.write(tmp_path / "mol.xyz", frames.molecules())
    assert message(options(path, key="U", forces=GradientOptions(key="forces"))) == (
        "forces were asked for, but all 2 structures lack the key 'forces'\n"
        f"  where: {path}#0 to #1 (counted from 0)\n"
        "  hint: keys in the file that could be forces: 'F'; or leave 'forces' out of the options"
    )


def test_stress_asked_for_but_nothing_is_periodic(tmp_path: Path) -> None:
    some = frames.molecules()
    for atoms in some:
        atoms.info["S"] = np.eye(3)
    path = frames.write(tmp_path / "mol.xyz", some)
    assert message(options(path, key="U", stress=GradientOptions(key="S"))) == (
        "stress was asked for, but no structure is periodic along all three axes\n"
        f"  where: {path}\n"
        "  hint: leave 'stress' out of the options"
    )


def test_missing_target_key(tmp_path: Path) -> None:
    some = frames.copper()
    for atoms in some:
        atoms.info["dft_energy"] = 1.0
    path = frames.write(tmp_path / "cu.xyz", some)
    assert message(options(path, key="dft_enrgy")) == (
        "no energy is stored under the key 'dft_enrgy'\n"
        f"  where: {path}\n"
        "  hint: did you mean 'dft_energy'? keys in the file that could be an energy: 'dft_energy',"
        " 'energy'"
    )
    del some[2].info["dft_energy"]
    frames.write(path, some)
    assert message(options(path, key="dft_energy")) == (
        "no energy is stored under the key 'dft_energy' in 1 of 3 structures\n"
        f"  where: {path}#2 (counted from 0)\n"
        "  hint: other structures of the file have it: add it here, or remove the structure;"
        " 'missing: allow' learns it from the others"
    )


def test_missing_reference_is_allowed_in_evaluation(tmp_path: Path) -> None:
    some = frames.copper()
    some[0].calc = None
    del some[1].calc.results["energy"]
    path = frames.write(tmp_path / "cu.xyz", some)
    structures = read_structures(options(path), require_targets=False)
    assert structures[0].references == {}
    assert np.isnan(structures[1].references["energy"].values)
    assert structures[1].references["energy"].forces is not None
    assert not np.isnan(structures[2].references["energy"].values)
    # A key that was written down must be there, evaluation or not.
    with pytest.raises(UserError, match="under the key 'Q'"):
        read_structures(options(path, key="Q"), require_targets=False)


def test_files_that_are_no_structures(tmp_path: Path) -> None:
    missing = tmp_path / "missing.xyz"
    assert message(options(missing)) == (
        f"there is no such file\n  where: {missing}\n"
        "  hint: paths are relative to the folder that mtt is run in"
    )
    assert message(options(tmp_path)) == (
        f"the folder has no files of structures (.xyz, .extxyz, .traj, .db): {tmp_path}\n"
        f"  where: {tmp_path}"
    )
    empty = tmp_path / "empty.xyz"
    empty.touch()
    assert message(options(empty)) == (
        f"the file is empty: it holds no structures\n  where: {empty}"
    )
    junk = tmp_path / "junk.xyz"
    junk.write_text("hello\n")
    assert message(options(junk)) == (
        "the file cannot be read as a file of structures: the number of atoms of a structure is to be"
        f" here, and here is 'hello'\n  where: {junk}#0, line 1\n"
        "  hint: mend this line, or use a format that ASE reads, for example extended XYZ (.xyz)"
    )
    assert message(options(frames.write(tmp_path / "cu.xyz", frames.copper()), "3:")) == (
        f"the slice '3:' selects none of the 3 structures\n  where: {tmp_path / 'cu.xyz'}, indices"
    )


def line(lattice: str = "", energy: str = "1.0", symbol: str = "Cu", more: str = "") -> str:
    lattice = f'Lattice="{lattice}" ' if lattice else ""
    return (
        f"1\n{lattice}Properties=species:S:1:pos:R:3 energy={energy} {more}\n{symbol} 0.0 0.0 0.0\n"
    )


CELL = "3 0 0 0 3 0 0 0 3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            line(symbol="X"),
            "atom 0 has the atomic type 0 (symbol 'X'), which is no element\n  where: {}#0\n"
            "  hint: name the element in the file",
        ),
        (
            line(energy="nan"),
            "there is nan in the energy under the key 'energy'\n  where: {}#0\n"
            "  hint: remove this structure or compute it again",
        ),
        (
            line() + line(energy="inf"),
            "there is inf in the energy under the key 'energy'\n  where: {}#1\n"
            "  hint: remove this structure or compute it again",
        ),
        (
            line(energy="high"),
            "the energy under the key 'energy' is not made of numbers: 'high'\n  where: {}#0",
        ),
        (
            line(energy='"1 2"'),
            "the energy under the key 'energy' has the shape (2,); one number is needed\n"
            "  where: {}#0",
        ),
        (
            line(CELL, more='virial="1 2 3 4 5 6 7 8 9"'),
            "the virial under the key 'virial' is not symmetric: [[1.0, 4.0, 7.0],"
            " [2.0, 5.0, 8.0], [3.0, 6.0, 9.0]]\n  where: {}#0\n"
            "  hint: check the order of its components",
        ),
        (
            line("3 0 0 0 3 0 0 0 0"),
            "the cell does not span the periodic axes abc: it has the rows [3.0, 0.0, 0.0],"
            " [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]\n  where: {}#0\n"
            '  hint: write the cell (Lattice="...") into the file, or pbc="F F F" for a molecule',
        ),
        (line().replace("0.0 0.0", "0.0 nan"), "the positions or the cell are not finite numbers"),
        (
            "0\nProperties=species:S:1:pos:R:3 energy=1.0\n",
            "the structure has no atoms\n  where: {}#0\n  hint: remove it from the file",
        ),
    ],
)
def test_unusable_structures(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    found = message(options(path))
    assert found.startswith(expected) if "finite" in expected else found == expected.format(path)


def test_forces_of_another_shape(tmp_path: Path) -> None:
    atoms = frames.molecules()[0]
    atoms.arrays["q"] = np.zeros(3)
    path = frames.write(tmp_path / "mol.xyz", [atoms])
    assert message(options(path, key="U", forces=GradientOptions(key="q"))) == (
        "the forces under the key 'q' have the shape (3,); (3, 3) is needed for 3 atoms\n"
        f"  where: {path}#0"
    )


def test_stress_of_another_shape(tmp_path: Path) -> None:
    path = tmp_path / "cu.xyz"
    path.write_text(line(CELL, more='S="1 2 3"'))
    assert message(options(path, stress=GradientOptions(key="S"))) == (
        "the stress under the key 'S' has the shape (3,); (3, 3), (9,) or (6,) in Voigt order"
        f" (xx, yy, zz, yz, xz, xy) is needed\n  where: {path}#0"
    )


def scalar(path: Path, unit: str) -> DatasetOptions:
    targets = {"mtt::x": TargetOptions(unit=unit)}
    return DatasetOptions(systems=SystemsOptions(read_from=path), targets=targets)


def test_mixed_units(tmp_path: Path) -> None:
    train, other = tmp_path / "a.xyz", tmp_path / "b.xyz"
    same = options(other, length_unit="A", unit="EV")
    check_same_targets({"training_set": [options(train), same], "validation_set": [options(other)]})
    with pytest.raises(UserError) as caught:
        check_same_targets(
            {"training_set": [options(train, unit="kcal/mol")], "test_set": [options(other)]}
        )
    assert str(caught.value) == (
        f"mixed units: 'energy' is in eV here and in kcal/mol in training_set ({train})\n"
        f"  where: test_set ({other})\n"
        "  hint: state 'unit' to have the data converted"
    )
    with pytest.raises(UserError, match="mixed units: 'mtt::x' is in Debye here and in e in"):
        check_same_targets({"training_set": [scalar(train, "e"), scalar(other, "Debye")]})
    stated = options(other, length_unit="bohr", unit="kcal/mol")
    check_same_targets({"training_set": [options(train)], "test_set": [stated]})
    named = DatasetOptions(
        systems=SystemsOptions(read_from=other), targets={"energy/b": TargetOptions()}
    )
    with pytest.raises(UserError, match="the targets differ: energy/b here, energy in"):
        check_same_targets({"training_set": [options(train)], "validation_set": [named]})


def several(path: Path, **changes: Any) -> DatasetOptions:
    """Two energies, an energy under a name of its own, and charges, all in one file."""
    targets: dict[str, dict[str, Any]] = {
        "energy": {},
        "energy/pbe": {"key": "U", "unit": "Hartree", "forces": GradientOptions(key="F")},
        "mtt::u0": {"quantity": "energy"},
        "mtt::charges": {"quantity": "charge", "unit": "e", "per": "atom"},
    }
    for name, values in changes.items():
        targets[f"mtt::{name}"] = values
    return DatasetOptions(
        systems=SystemsOptions(read_from=path),
        targets={name: TargetOptions(**values) for name, values in targets.items()},
    )


def several_frames() -> list[Any]:
    some = frames.copper()
    for number, atoms in enumerate(some):
        atoms.info |= {"U": -7.0 - number, "u0": 0.5 * number}
        atoms.arrays["F"] = np.full((4, 3), 0.25)
        atoms.arrays["charges"] = np.array([0.5, -0.5, 0.25, -0.25]) + number
    return some


def test_several_targets(tmp_path: Path) -> None:
    chosen = several(frames.write(tmp_path / "cu.xyz", several_frames()))
    structures = read_structures(chosen)
    references = structures[1].references
    assert list(references) == ["energy", "energy/pbe", "mtt::u0", "mtt::charges"]
    assert references["energy/pbe"].values.tolist() == [-8.0]
    np.testing.assert_array_equal(references["energy/pbe"].forces, np.full((4, 3), 0.25))
    assert references["energy"].values.shape == (1,) and references["energy"].stress is not None
    assert not np.array_equal(references["energy"].forces, references["energy/pbe"].forces)
    # Forces and stress of the file belong to `energy`, and to nothing that did not ask for them.
    assert references["energy/pbe"].stress is None and references["mtt::u0"].forces is None
    assert references["mtt::u0"].values.tolist() == [0.5]
    assert references["mtt::charges"].values.tolist() == [[1.5], [0.5], [1.25], [0.75]]
    assert references["mtt::charges"].values.dtype == np.float64
    described = describe_targets(chosen.targets, structures)
    assert described == [
        Target("energy", gradients=("positions", "strain")),
        Target("energy/pbe", unit="Hartree", gradients=("positions",)),
        Target("mtt::charges", quantity="charge", unit="e", per="atom"),
        Target("mtt::u0"),
    ]
    # Whatever the order in the options, which checkpoints do not keep.
    turned = dict(reversed(chosen.targets.items()))
    assert describe_targets(turned, structures) == described
    assert describe_targets(chosen.targets, [])[0].gradients == ()


def test_values_of_atoms_as_a_column_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = several_frames()
    flat = read_structures(several(frames.write(tmp_path / "cu.xyz", some)))
    for atoms in some:
        atoms.arrays["charges"] = atoms.arrays["charges"].reshape(-1, 1)
    # Extended XYZ cannot tell a column from a flat array; other formats can.
    monkeypatch.setattr(data_frames, "read_frames", lambda path, form: some)
    column = read_structures(several(tmp_path / "cu.xyz"))
    for one, other in zip(flat, column, strict=True):
        first, second = one.references["mtt::charges"], other.references["mtt::charges"]
        np.testing.assert_array_equal(first.values, second.values)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        (
            "charge",
            {"quantity": "charge", "per": "atom"},
            "no charge of atoms is stored under the key 'charge'\n  where: {}\n"
            "  hint: did you mean 'charges'? keys in the file that could be a charge of atoms:"
            " 'charges'",
        ),
        (
            "q",
            {"quantity": "charge", "per": "atom", "key": "F"},
            "the charge of atoms under the key 'F' have the shape (4, 3); (4,) is needed for 4"
            " atoms\n  where: {}#0\n"
            "  hint: for a value of the whole structure, leave out 'per: atom'",
        ),
        (
            "q",
            {"quantity": "charge", "per": "atom", "key": "gap"},
            "the charge of atoms under the key 'gap' have the shape (); (4,) is needed for 4"
            " atoms\n  where: {}#0\n"
            "  hint: for a value of the whole structure, leave out 'per: atom'",
        ),
        (
            "q",
            {"quantity": "charge", "key": "F"},
            "the charge under the key 'F' has the shape (4, 3); one number is needed\n"
            "  where: {}#0",
        ),
    ],
)
def test_wrong_values_of_other_targets(
    tmp_path: Path, name: str, values: dict[str, Any], expected: str
) -> None:
    some = several_frames()
    for atoms in some:
        atoms.info["gap"] = 3.5
    path = frames.write(tmp_path / "cu.xyz", some)
    chosen = several(path, **{name: values})
    assert message(chosen) == expected.format(path)


def test_charges_that_are_missing_or_no_numbers(tmp_path: Path) -> None:
    some = several_frames()
    some[1].arrays["charges"][2] = np.nan
    path = frames.write(tmp_path / "cu.xyz", some)
    assert message(several(path)) == (
        "there is nan in the charge of atoms under the key 'charges'\n"
        f"  where: {path}#1\n  hint: remove this structure or compute it again"
    )
    del some[1].arrays["charges"]
    frames.write(path, some)
    assert message(several(path)) == (
        "no charge of atoms is stored under the key 'charges' in 1 of 3 structures\n"
        f"  where: {path}#1 (counted from 0)\n"
        "  hint: other structures of the file have it: add it here, or remove the structure;"
        " 'missing: allow' learns it from the others"
    )
    structures = read_structures(several(path), require_targets=False)
    assert ["mtt::charges" in one.references for one in structures] == [True, False, True]


def test_targets_that_mean_something_else_are_not_mixed(tmp_path: Path) -> None:
    one = several(tmp_path / "a.xyz", x={"quantity": "charge", "per": "atom"})
    for other in ({"quantity": "spin", "per": "atom"}, {"quantity": "charge"}):
        with pytest.raises(UserError) as caught:
            check_same_targets(
                {"training_set": [one], "test_set": [several(Path("b.xyz"), x=other)]}
            )
        assert caught.value.what == (
            f"'mtt::x' is {other['quantity']} per {other.get('per', 'system')} here and charge per"
            f" atom in training_set ({tmp_path / 'a.xyz'})"
        )


def test_a_reader_is_a_sequence_that_knows_its_types_and_hash(tmp_path: Path) -> None:
    both = [options(frames.write(tmp_path / "cu.xyz", frames.copper()))]
    both.append(options(frames.write(tmp_path / "mol.xyz", frames.molecules()), key="U"))
    reader = read_datasets(both)
    assert len(reader) == 5 and reader.types == [1, 6, 8, 29]
    assert [len(one) for one in reader] == [4, 4, 4, 3, 9]
    part = Selection(reader, [4, 0])
    assert len(part) == 2 and part.types == [1, 6, 8, 29] and part[0] is reader[4]
    assert part[-1] is reader[0] and reader[3:].types == [1, 6, 8]
    with pytest.raises(IndexError):
        part[2]
    assert reader.fingerprints()[0] == content_hash(list(reader))
    assert part.fingerprints()[0] == content_hash([reader[4], reader[0]])
