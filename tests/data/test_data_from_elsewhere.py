"""Data that others made: other units, missing labels, weights, many files, DeePMD-kit, dpdata."""

import logging
import re
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import pytest

from mtt.data.frames import listed
from mtt.data.read_files import read_datasets, read_structures
from mtt.data.same_units import Units
from mtt.data.structure import Structure, content_hash
from mtt.errors import UserError
from mtt.options import DatasetOptions
from mtt.options.schema.data_paths import data_files, why_unusable

from . import ase_files as frames


def data(systems: Any, weights: Any = None, **target: Any) -> DatasetOptions:
    """Return options as a file gives them after its short forms are written out."""
    for gradient in ("forces", "stress", "virial"):
        if isinstance(target.get(gradient), dict):
            target[gradient] = {"key": gradient, **target[gradient]}
    systems = systems if isinstance(systems, dict) else {"read_from": str(systems)}
    content = {"systems": systems, "weights": weights, "targets": {"energy": target}}
    return DatasetOptions.model_validate(content)


def message(*arguments: Any, **target: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_structures(data(*arguments, **target))
    return str(caught.value)


def same(one: Structure, other: Structure) -> None:
    a, b = one.references["energy"], other.references["energy"]
    for first, second in (
        (one.positions, other.positions),
        (one.cell, other.cell),
        (a.values, b.values),
        (a.forces, b.forces),
        (a.stress, b.stress),
    ):
        assert first is not None and second is not None
        # Files have eight decimals, and factors of ase.units are those of another year.
        np.testing.assert_allclose(first, second, rtol=1e-7, atol=1e-6)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return frames.write(tmp_path / "plain.xyz", frames.copper())


# ---- units ----


def in_atomic_units(path: Path) -> Path:
    """Write the copper cells in Hartree and bohr, with the stress in kbar."""
    some = frames.copper()
    for atoms in some:
        results = atoms.calc.results
        results["energy"] /= ase.units.Hartree
        results["forces"] = results["forces"] / (ase.units.Hartree / ase.units.Bohr)
        atoms.info["S"] = results.pop("stress") / (0.1 * ase.units.GPa)
        atoms.set_cell(atoms.cell.array / ase.units.Bohr)
        atoms.positions /= ase.units.Bohr
    return frames.write(path, some)


def test_data_in_other_units_become_those_of_the_first_set(plain: Path, tmp_path: Path) -> None:
    path = in_atomic_units(tmp_path / "au.xyz")
    systems = {"read_from": str(path), "length_unit": "Bohr"}
    other = data(systems, unit="hartree", stress={"key": "S", "unit": "kbar"})
    both = list(read_datasets([data(plain), other]))
    for one, converted in zip(both[:3], both[3:], strict=True):
        same(one, converted)
    back = list(read_datasets([other, data(plain, unit="eV")]))
    for one, converted in zip(back[:3], back[3:], strict=True):
        same(one, converted)
    assert content_hash(both[:3]) == content_hash(read_structures(data(plain)))


@pytest.mark.parametrize(
    ("gradient", "unit", "factor"),
    [
        ("stress", "GPa", 1 / ase.units.GPa),
        ("stress", "Hartree/Bohr^3", ase.units.Bohr**3 / ase.units.Hartree),
        ("virial", "kcal/mol", ase.units.mol / ase.units.kcal),
        ("forces", "Ry/bohr", ase.units.Bohr / ase.units.Ry),
    ],
)
def test_a_gradient_may_have_a_unit_of_its_own(
    plain: Path, tmp_path: Path, gradient: str, unit: str, factor: float
) -> None:
    some = frames.copper()
    for atoms in some:
        if gradient == "forces":
            atoms.arrays["mine"] = atoms.get_forces() * factor
        else:
            stress = atoms.get_stress(voigt=False)
            value = stress if gradient == "stress" else -stress * atoms.get_volume()
            atoms.info["mine"] = value * factor
    path = frames.write(tmp_path / "own.xyz", some)
    read = read_structures(data(path, **{gradient: {"key": "mine", "unit": unit}}))
    for one, other in zip(read, read_structures(data(plain)), strict=True):
        same(one, other)


def test_units_have_one_spelling() -> None:
    options = data({"read_from": "a.xyz", "length_unit": "A"}, unit="ev", stress={"unit": "gpa"})
    assert str(Units.of(options)) == "eV and angstrom"
    stress = options.targets["energy"].stress
    assert stress and stress.unit == "GPa"


# ---- labels that are missing ----


def test_labels_may_be_missing_where_somebody_says_so(tmp_path: Path, caplog: Any) -> None:
    some = frames.copper(5)
    for atoms in some[1:4]:
        atoms.info["S"] = atoms.get_stress(voigt=False)
        atoms.info["E"] = atoms.get_potential_energy()
    path = frames.write(tmp_path / "cu.xyz", some)
    stress = {"key": "S", "missing": "allow"}
    with caplog.at_level(logging.INFO, "mtt"):
        structures = read_structures(data(path, key="E", missing="allow", stress=stress))
    references = [structure.references["energy"] for structure in structures]
    assert [r.stress is None for r in references] == [True, False, False, False, True]
    assert [bool(np.isnan(r.values).all()) for r in references] == [True, *[False] * 3, True]
    assert f"{path}: no reference energy in 2 of 5 structures: {path}#0, #4" in caplog.messages
    assert (
        f"{path}: stress found in 3 of 5 structures; the others go without: {path}#0, #4"
        in caplog.messages
    )
    assert message(path, stress={"key": "S"}) == (
        "stress was asked for, but 2 of 5 structures lack the key 'S'\n"
        f"  where: {path}#0, #4 (counted from 0)\n"
        "  hint: other structures of the file have it: add it here, or remove the structure;"
        " 'stress: {key: S, missing: allow}' learns from those that have it"
    )
    # A name that is nowhere is a slip of the pen.
    assert "all 5 structures lack the key 'Z'" in message(
        path, stress={"key": "Z", "missing": "allow"}
    )
    assert "no energy is stored under the key 'Z'" in message(path, key="Z", missing="allow")
    allowed = data(path, key="Z", missing="allow", stress={"key": "Z", "missing": "allow"})
    assert all(
        np.isnan(structure.references["energy"].values).all()
        for structure in read_structures(allowed, require_targets=False)
    )


def test_structures_are_listed_in_short() -> None:
    sources = [f"a.xyz#{n}" for n in (0, 3, 4, 5, 9)] + ["b#c.xyz#1"]
    assert listed(sources) == "a.xyz#0, #3 to #5, #9, b#c.xyz#1"
    assert listed(f"a.xyz#{n}" for n in range(0, 40, 2)).endswith("#22 and 8 more")


# ---- weights ----


def weighted(path: Path) -> Path:
    some = frames.copper(4)
    for atoms, group, weight in zip(
        some, ("bulk", "slab", "", "slab"), (2, None, 0.5, 3), strict=True
    ):
        if group:
            atoms.info["config_type"] = group
        if weight is not None:
            atoms.info["config_weight"] = weight
    return frames.write(path, some)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, [1, 1, 1, 1]),
        ({}, [2, 1, 0.5, 3]),
        ({"config_type": {"slab": 0.1}}, [2, 0.1, 0.5, 3 * 0.1]),
        ({"config_type": {"slab": 2.0, "Default": 0.0}}, [0, 2, 0, 6]),
    ],
)
def test_weights_of_structures(tmp_path: Path, weights: Any, expected: list[float]) -> None:
    path = weighted(tmp_path / "w.xyz")
    structures = read_structures(data(path, weights))
    assert [structure.weight for structure in structures] == expected
    unweighted = content_hash(read_structures(data(path)))
    assert (content_hash(structures) == unweighted) is (weights is None)


def test_weights_that_cannot_be(tmp_path: Path, plain: Path, caplog: Any) -> None:
    path = weighted(tmp_path / "w.xyz")
    assert message(path, {"config_type": {"slob": 2.0}}) == (
        "no structure has the config_type 'slob', which 'weights' names\n"
        f"  where: {path}\n  hint: those in the data: 'bulk', 'slab'"
    )
    assert message(plain, {}).startswith(
        "weights were asked for, but no structure has the key 'config_weight'"
    )
    some = frames.copper()
    some[1].info["config_weight"] = -1.0
    frames.write(path, some)
    assert f"is no number from 0 on: -1.0\n  where: {path}#1" in message(path, {})
    with caplog.at_level(logging.INFO, "mtt"):
        read_structures(data(path))
    assert "1 structures have a config_weight, which is not used" in caplog.text


# ---- many files ----


def test_patterns_and_folders_stand_for_files_in_order(tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "many"
    (folder / "deeper").mkdir(parents=True)
    (folder / "notes.txt").write_text("no structures")
    for name, n, seed in (("b.xyz", 1, 1), ("a.xyz", 2, 2), ("deeper/c.xyz", 1, 3)):
        frames.write(folder / name, frames.copper(n, seed))
    monkeypatch.setenv("DATA", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = [f"{folder}/a.xyz#0", f"{folder}/a.xyz#1", f"{folder}/b.xyz#0"]
    for written in (folder, "~/many", "$DATA", "${DATA}/*.xyz", "~/man?/[ab].xyz"):
        assert [s.source for s in read_structures(data(written))] == expected
    deep = read_structures(data({"read_from": f"{folder}/**/*.xyz", "indices": "2:4"}))
    assert [s.source for s in deep] == [f"{folder}/b.xyz#0", f"{folder}/deeper/c.xyz#0"]
    with_deeper = [*expected, f"{folder}/deeper/c.xyz#0"]
    for every in ("**/*.xyz", "**/[abc].xyz", "**"):
        (folder / "notes.txt").unlink(missing_ok=True)
        assert [s.source for s in read_structures(data(folder / every))] == with_deeper
    # A file whose name looks like a pattern is itself.
    odd = frames.write(tmp_path / "a[1].xyz", frames.copper(1))
    assert [s.source for s in read_structures(data(odd))] == [f"{odd}#0"]


def test_links_make_no_structure_come_twice(tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "many"
    (folder / "deeper").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for path in (folder / "a.xyz", folder / "deeper" / "b.xyz", tmp_path / "elsewhere" / "c.xyz"):
        frames.write(path, frames.copper(1))
    # A link upwards, without an end; two to the same folder somewhere else.
    (folder / "deeper" / "up").symlink_to(folder)
    for name in ("other", "same"):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    expected = ["a.xyz", "deeper/b.xyz", "other/c.xyz"]
    for pattern in ("**/*.xyz", "**", "**/**/*.xyz"):
        assert data_files(folder / pattern) == [folder / name for name in expected]
    monkeypatch.chdir(folder)
    assert data_files(Path("**/*.xyz")) == [Path(name) for name in expected]
    assert data_files(Path("**/b.xyz")) == [Path("deeper/b.xyz")]


def test_folders_of_deepmd_fit_a_pattern(tmp_path: Path) -> None:
    deepmd(tmp_path / "water")
    (tmp_path / "water.xyz").unlink()
    assert data_files(tmp_path / "**") == [tmp_path / "water"] + sorted(
        file for file in (tmp_path / "water").rglob("*") if file.is_file()
    )
    assert data_files(tmp_path / "**" / "wat*") == [tmp_path / "water"]


# ---- files that are broken, or none ----


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text[:-40], "the row has 5 of 7 columns"),
        (lambda text: text.replace("Cu ", "Cu x", 1), "is no number"),
        (lambda text: "\n".join(text.split("\n")[:-3]) + "\n", "is to have 4 atoms, and the file"),
    ],
)
def test_a_broken_file_is_told_with_frame_and_line(plain: Path, damage: Any, expected: str) -> None:
    whole = plain.read_text()
    path = plain.with_name("broken.xyz")
    path.write_text(damage(whole))
    text = message(path)
    assert expected in text
    frame, line = (0, 3) if "no number" in expected else (2, 18)
    line = 17 if "is to have" in expected else line
    assert f"where: {path}#{frame}, line {line}\n" in text


@pytest.mark.parametrize(
    ("damage", "what", "where", "hint"),
    [
        (
            lambda text: text.replace("Cu ", "Cx ", 1),
            "'Cx' is no element",
            "#0, line 3",
            "mend this line",
        ),
        (
            lambda text: "5" + text[1:],
            "the row has 1 of 7 columns: '4'",
            "#0, line 7",
            "line 1 says 5 atoms, and another structure begins after 4: write the right number there",
        ),
        (
            lambda text: "3" + text[1:],
            "the number of atoms of a structure is to be here",
            "#1, line 6",
            "look at the number of atoms of the frame above",
        ),
        (
            lambda text: re.sub(r"(?m)^(Cu +-?\d+)\.", r"\1,", text, count=1),
            "is no number",
            "#0, line 3",
            "write decimal points, not commas",
        ),
        (
            lambda text: re.sub(r'stress="[^"]*"', 'stress="1 2 3 4 5 6"', text),
            "'stress' has 6 numbers, and 9 are needed: xx xy xz yx yy yz zx zy zz",
            "#0, line 2",
            "in Voigt's order (xx yy zz yz xz xy) it needs another name",
        ),
    ],
)
def test_a_broken_file_comes_with_what_to_write(
    plain: Path, damage: Any, what: str, where: str, hint: str
) -> None:
    path = plain.with_name("broken.xyz")
    path.write_text(damage(plain.read_text()))
    text = message(path)
    assert what in text
    assert f"where: {path}{where}\n" in text
    assert hint in text.partition("hint: ")[2]


def test_a_checkpoint_is_no_data(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes((64).to_bytes(8, "little") + b'{"__metadata__":{"mtt":"' + b"x" * 50)
    text = message(path)
    assert "this is a checkpoint of mtt, not a file of structures" in text
    assert "hint: name the file that has the structures" in text


@pytest.mark.parametrize("name", ["data.xyz", "data.traj"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<!doctype html>\n<html><body>Sign in</body></html>\n", "this is a web page (HTML)"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a pointer of git LFS"),
        ("architecture:\n  name: pet\n", "this is a file of options (YAML)"),
    ],
)
def test_what_is_no_data_is_named(tmp_path: Path, name: str, content: str, expected: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert expected in message(path)
    assert "not a file of structures" in message(path)


# ---- DeePMD-kit ----


def deepmd(folder: Path, n: int = 3) -> list[Structure]:
    """Write copper cells as DeePMD-kit has them in two sets; return them as ASE has them."""
    some = frames.copper(n)
    folder.mkdir()
    (folder / "type.raw").write_text("1\n" * 4)
    (folder / "type_map.raw").write_text("O\nCu\n")
    for index, part in enumerate((some[:-1], some[-1:])):
        path = folder / f"set.{index:03}"
        path.mkdir()
        arrays = {
            "coord": [a.positions.ravel() for a in part],
            "box": [a.cell.array.ravel() for a in part],
            "energy": [a.get_potential_energy() for a in part],
            "force": [a.get_forces().ravel() for a in part],
            "virial": [(-a.get_stress(voigt=False) * a.get_volume()).ravel() for a in part],
            "charges": [0.1 * np.arange(4) for a in part],
        }
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", np.array(array))
    return read_structures(data(frames.write(folder.with_suffix(".xyz"), some)))


def test_folders_of_deepmd(tmp_path: Path) -> None:
    folder = tmp_path / "water"
    expected = deepmd(folder)
    structures = read_structures(data(folder))
    for one, other in zip(structures, expected, strict=True):
        same(one, other)
        np.testing.assert_array_equal(one.types, [29] * 4)
    # Of a folder with several of them, too, and by a pattern.
    assert len(read_structures(data(tmp_path / "*ter"))) == 3
    content = {"systems": {"read_from": str(folder)}, "targets": {"mtt::charges": {"per": "atom"}}}
    charges = read_structures(DatasetOptions.model_validate(content))
    assert charges[1].references["mtt::charges"].values.ravel().tolist() == [0.0, 0.1, 0.2, 0.1 * 3]
    (folder / "nopbc").write_text("")
    assert not read_structures(data(folder))[0].pbc.any()


def test_types_that_change_from_frame_to_frame(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    deepmd(folder)
    for path, n in ((folder / "set.000", 2), (folder / "set.001", 1)):
        np.save(path / "real_atom_types.npy", np.array([[0, 1, 1, 1]] * n))
    assert read_structures(data(folder))[2].types.tolist() == [8, 29, 29, 29]


def cut(folder: Path) -> None:
    path = folder / "set.000" / "coord.npy"
    path.write_bytes(path.read_bytes()[:-8])


def pickled(folder: Path) -> None:
    np.save(folder / "set.000" / "energy.npy", np.array([{}, {}], dtype=object))


def pointer(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n"
    (folder / "set.000" / "force.npy").write_text(text)


def huge(folder: Path) -> None:
    """State a size that no machine has, in a file of a few bytes."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1000000000000), }\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (folder / "set.000" / "virial.npy").write_bytes(content)


def test_what_is_wrong_with_a_folder_of_deepmd(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    deepmd(folder)
    text = why_unusable(folder / "set.000")
    assert (
        text == f"{folder}/set.000 is one set of a folder of DeePMD-kit: give the folder, {folder}"
    )
    (folder / "type.raw").unlink()
    assert why_unusable(folder) == (
        f"the folder of DeePMD-kit has no type.raw, with the types of its atoms: {folder}"
    )


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (cut, "the file states an array of the shape (2, 12), which takes 320 bytes, and has 312"),
        (pickled, "the array holds object, and one of numbers is needed"),
        (pointer, "this is a pointer of git LFS"),
        (huge, "the file states an array of the shape (2, 1000000000000), which takes"),
        (
            lambda folder: (folder / "type.raw").write_text("1\n" * 3),
            "each structure has 9 numbers",
        ),
        (lambda folder: (folder / "type.raw").write_text("2\n" * 4), "an atom has the type 2"),
        (lambda folder: (folder / "type.raw").write_text("Cu\n"), "whole numbers, one a line"),
        (lambda folder: (folder / "type_map.raw").write_text("Xq\n"), "'Xq' is no element"),
        (lambda folder: (folder / "type_map.raw").unlink(), "there is no type_map.raw"),
        (lambda folder: (folder / "set.001" / "box.npy").unlink(), "there is no box.npy"),
        (
            lambda folder: np.save(folder / "set.001" / "energy.npy", np.zeros(2)),
            "the array has the shape (2,), and coord.npy (1, 12)",
        ),
    ],
)
def test_folders_of_deepmd_that_are_broken(tmp_path: Path, damage: Any, expected: str) -> None:
    folder = tmp_path / "water"
    deepmd(folder)
    damage(folder)
    assert expected in message(folder)


def save(name: str, array: Any) -> Any:
    return lambda folder: np.save(folder / "set.000" / f"{name}.npy", np.array(array))


def header(shape: str) -> Any:
    """State a shape in a file that has nothing after its header."""

    def damage(folder: Path) -> None:
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        (folder / "set.000" / "coord.npy").write_bytes(content)

    return damage


def unreadable(folder: Path) -> None:
    """Leave a link to itself, which nobody can read, root neither."""
    path = folder / "set.000" / "energy.npy"
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (save("numbers", np.ones((2, 4))), "a value cannot be called 'numbers'"),
        (save("positions", np.ones((2, 12))), "a value cannot be called 'positions'"),
        (save("real_atom_types", [[0, np.nan, 1, 1]] * 2), "an atom has the type nan"),
        (save("real_atom_types", [[0, 0.5, 1, 1]] * 2), "an atom has the type 0.5"),
        (save("real_atom_types", [[0, -1, 1, 1]] * 2), "an atom has the type -1"),
        (save("real_atom_types", [[0, 1e300, 1, 1]] * 2), "an atom has the type 1e+300"),
        (save("real_atom_types", [0, 1]), "the array has the shape (2,)"),
        (save("real_atom_types", np.ones((1, 4))), "the array has the shape (1, 4)"),
        (save("real_atom_types", np.ones((2, 2, 2))), "the array has the shape (2, 2, 2)"),
        (header("(0, 12)"), "the array has the shape (0, 12): there is nothing in it"),
        (header("(-1, 0)"), "the array has the shape (-1, 0): there is nothing in it"),
        (header("(False, 12)"), "the array has the shape (False, 12): there is nothing in it"),
        (unreadable, "energy.npy"),
    ],
)
def test_arrays_of_deepmd_that_cannot_be(tmp_path: Path, damage: Any, expected: str) -> None:
    folder = tmp_path / "water"
    deepmd(folder)
    damage(folder)
    assert expected in message(folder)


# ---- dpdata ----


def test_what_dpdata_reads(tmp_path: Path) -> None:
    pytest.importorskip("dpdata")
    folder = tmp_path / "water"
    expected = deepmd(folder)
    systems = {"read_from": str(folder), "reader": "dpdata", "format": "deepmd/npy"}
    for one, other in zip(read_structures(data(systems)), expected, strict=True):
        same(one, other)
    assert "dpdata gives eV and angstrom" in message({**systems, "length_unit": "bohr"})
    assert "dpdata gives eV and angstrom" in message(systems, unit="Hartree")
    junk = tmp_path / "OUTCAR"
    junk.write_text("nothing\n")
    assert "dpdata cannot read the file" in message({"read_from": str(junk), "reader": "dpdata"})


def test_dpdata_that_is_not_installed(plain: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dpdata", None)
    assert message({"read_from": str(plain), "reader": "dpdata"}) == (
        "the file is to be read by dpdata, which is not installed\n"
        f"  where: {plain}\n  hint: pip install 'mtt[dpdata]'"
    )
