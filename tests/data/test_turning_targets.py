"""Values with components: the shapes that files have them in, and what options say of them."""

from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest

from mtt.data.ase_targets import describe_targets
from mtt.data.read_files import read_structures
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.options import DatasetOptions, OptionsError, load_options

MATRIX = np.array([[1.0, 4.0, 5.0], [2.0, 6.0, 7.0], [3.0, 8.0, 9.0]])
SYMMETRIC = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
VOIGT = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


def dataset(path: Path, name: str, **target: Any) -> DatasetOptions:
    return DatasetOptions.model_validate(
        {"systems": {"read_from": str(path)}, "targets": {name: target}}
    )


def frame(periodic: bool = True, **values: Any) -> ase.Atoms:
    atoms = ase.Atoms("CuAu", positions=[[0, 0, 0], [1.8, 1.8, 0]], cell=[4, 4, 4], pbc=periodic)
    for key, value in values.items():
        per_atom = isinstance(value, np.ndarray) and value.ndim == 2 and len(value) == 2
        (atoms.arrays if per_atom else atoms.info)[key] = value
    return atoms


def values(tmp_path: Path, atoms: ase.Atoms, name: str, **target: Any) -> np.ndarray[Any, Any]:
    path = tmp_path / "data.xyz"
    ase.io.write(path, atoms, format="extxyz")
    (structure,) = read_structures(dataset(path, name, **target))
    return structure.references[name].values


def test_vectors_and_matrices_of_structures(tmp_path: Path) -> None:
    vector = np.array([1.0, 2.0, 3.0])
    atoms = frame(dipole=vector, alpha=MATRIX, voigt=VOIGT)
    given = values(tmp_path, atoms, "mtt::dipole", type="vector")
    np.testing.assert_array_equal(given, vector)
    # The format has matrices columns first, which ASE knows.
    given = values(tmp_path, atoms, "mtt::alpha", type="matrix")
    np.testing.assert_array_equal(given, MATRIX.reshape(9))
    given = values(tmp_path, atoms, "mtt::alpha", type="matrix", key="voigt")
    np.testing.assert_array_equal(given.reshape(3, 3), SYMMETRIC)


def test_values_of_atoms_with_components(tmp_path: Path) -> None:
    born = np.arange(18.0).reshape(2, 9)
    given = values(tmp_path, frame(born=born), "mtt::born", type="matrix", per="atom")
    np.testing.assert_array_equal(given, born)
    irreps = [{"o3_lambda": 0}, {"o3_lambda": 1}]
    shape = np.arange(8.0).reshape(2, 4)
    given = values(
        tmp_path, frame(shape=shape), "mtt::shape", type="spherical", irreps=irreps, per="atom"
    )
    np.testing.assert_array_equal(given, shape)


def test_several_properties(tmp_path: Path) -> None:
    dos = np.arange(5.0)
    given = values(tmp_path, frame(dos=dos), "mtt::dos", properties=5)
    np.testing.assert_array_equal(given, dos)


def test_forces_and_stress_as_targets_of_their_own(tmp_path: Path) -> None:
    forces = np.arange(6.0).reshape(2, 3)
    atoms = frame(forces=forces, stress=VOIGT)
    np.testing.assert_array_equal(values(tmp_path, atoms, "non_conservative_force"), forces)
    stress = values(tmp_path, atoms, "non_conservative_stress")
    np.testing.assert_array_equal(stress.reshape(3, 3), SYMMETRIC)
    described = describe_targets(dataset(tmp_path, "non_conservative_stress/pbe").targets, [])
    name = "non_conservative_stress/pbe"
    assert described == [Target(name, "stress", "eV/A^3", "system", "matrix")]
    assert described[0].per_volume and described[0].numbers == 9


def test_a_structure_without_volume_has_no_stress(tmp_path: Path) -> None:
    path = tmp_path / "data.xyz"
    ase.io.write(path, [frame(True, stress=VOIGT), frame(False, stress=VOIGT)], format="extxyz")
    crystal, molecule = read_structures(dataset(path, "non_conservative_stress"))
    assert "non_conservative_stress" in crystal.references
    assert "non_conservative_stress" not in molecule.references


def test_stress_of_molecules_only(tmp_path: Path) -> None:
    path = tmp_path / "data.xyz"
    ase.io.write(path, [frame(False, stress=VOIGT)] * 2, format="extxyz")
    with pytest.raises(UserError) as caught:
        read_structures(dataset(path, "non_conservative_stress"))
    assert "a stress was asked for, but no structure is periodic" in str(caught.value)
    allowed = dataset(path, "non_conservative_stress", missing="allow")
    assert not any(one.references for one in read_structures(allowed))


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        (
            {"type": "vector"},
            np.arange(4.0),
            "the value under the key 'x' has the shape (4,); (3,) or (3, 1) is needed\n"
            "  where: {}#0\n  hint: 'type' and 'properties' say what the numbers are",
        ),
        (
            {"type": "matrix"},
            np.arange(5.0),
            "the value under the key 'x' has the shape (5,); (9,) or (3, 3) or (6,) in Voigt order"
            " (xx, yy, zz, yz, xz, xy) is needed\n  where: {}#0\n"
            "  hint: 'type' and 'properties' say what the numbers are",
        ),
        (
            {"properties": 3},
            np.arange(4.0),
            "the value under the key 'x' has the shape (4,); (3,) is needed\n"
            "  where: {}#0\n  hint: 'type' and 'properties' say what the numbers are",
        ),
        (
            {"type": "vector", "per": "atom"},
            np.arange(4.0).reshape(2, 2),
            "the value of atoms under the key 'x' have the shape (2, 2);"
            " (2, 3) or (2, 3, 1) is needed for 2 atoms\n"
            "  where: {}#0\n  hint: for a value of the whole structure, leave out 'per: atom'",
        ),
        (
            {"type": "vector"},
            np.array([1.0, np.nan, 2.0]),
            "there is nan in the value under the key 'x'\n"
            "  where: {}#0\n  hint: remove this structure or compute it again",
        ),
        (
            {"type": "vector", "key": "y"},
            np.arange(3.0),
            "no value is stored under the key 'y'\n  where: {}\n"
            "  hint: keys in the file that could be a value: 'x'",
        ),
    ],
)
def test_unusable_values(
    target: dict[str, Any], given: np.ndarray[Any, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.xyz"
    ase.io.write(path, frame(x=given), format="extxyz")
    with pytest.raises(UserError) as caught:
        read_structures(dataset(path, "mtt::x", **target))
    assert str(caught.value) == message.format(path)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("mtt::x", "{type: spherical}", "a spherical target needs irreps, as in [{o3_lambda: 2}]"),
        (
            "mtt::x",
            "{type: vector, irreps: [{o3_lambda: 1}]}",
            "irreps are of spherical targets: a vector has none",
        ),
        ("mtt::x", "{quantity: energy, type: vector}", "an energy is one number"),
        ("mtt::x", "{type: vector, forces: on}", "only energies have forces"),
        ("energy", "{type: vector}", "'energy' has the type scalar for every engine"),
        (
            "non_conservative_force",
            "{per: system}",
            "'non_conservative_force' has the per atom for every engine",
        ),
        ("non_conservative_force", "{unit: eV}", "unknown unit of forces 'eV'"),
        ("non_conservative_stress", "{properties: 2}", "is one matrix for every engine"),
        ("mtt::x", "{type: {cartesian: {rank: 3}}}", "Cartesian tensors of a rank above 2"),
        (
            "mtt::x",
            "{type: {spherical: {irreps: [{o3_lambda: 1}], product: coupled}}}",
            "products of spherical targets",
        ),
        (
            "mtt::x",
            "{type: {spherical: {irreps: {1: [{o3_lambda: 1}]}}}}",
            "other irreps for each atomic type",
        ),
        ("mtt::x", "{type: {spherical: {irreps: [{o3_lambda: 13}]}}}", "o3_lambda"),
        ("mtt::x", "{type: tensor}", "tensor"),
    ],
)
def test_what_contradicts_itself(name: str, target: str, message: str, tmp_path: Path) -> None:
    data = tmp_path / "data.xyz"
    ase.io.write(data, frame(x=np.arange(3.0)), format="extxyz")
    path = tmp_path / "options.yaml"
    text = f"training_set:\n  systems: {data}\n  targets:\n    {name}: {target}\n"
    path.write_text(f"architecture: {{name: pet}}\n{text}validation_set: 0.1\n")
    with pytest.raises(OptionsError) as caught:
        load_options(path)
    assert message in str(caught.value)
    # At the line of the target.
    assert f"{path}:5" in str(caught.value)


def test_types_as_metatrain_writes_them(tmp_path: Path) -> None:
    data = tmp_path / "data.xyz"
    ase.io.write(data, frame(x=np.arange(3.0)), format="extxyz")
    path = tmp_path / "options.yaml"
    path.write_text(
        f"""
architecture: {{name: pet}}
training_set:
  systems: {data}
  targets:
    non_conservative_forces: {{type: {{cartesian: {{rank: 1}}}}, per_atom: true, key: x}}
    mtt::alpha: {{type: {{cartesian: {{rank: 2}}}}}}
    mtt::s: {{type: {{spherical: {{irreps: [{{o3_lambda: 2, o3_sigma: -1}}]}}}}}}
    mtt::dos: {{type: scalar, num_subtargets: 7}}
validation_set: 0.1
"""
    )
    described = {
        target.name: target
        for target in describe_targets(load_options(path).training_set[0].targets, [])
    }
    force = described["non_conservative_force"]
    assert (force.type, force.per, force.quantity, force.unit) == (
        "vector",
        "atom",
        "force",
        "eV/A",
    )
    assert described["mtt::alpha"].type == "matrix"
    assert described["mtt::s"].irreps == ((2, -1),)
    assert described["mtt::dos"].properties == 7
