"""Masks of targets: what they leave out is as if the data did not have it."""

from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.build import molecule

from mtt.data.read_files import read_structures
from mtt.errors import UserError
from mtt.options import DatasetOptions


def write(path: Path, changes=None) -> ase.Atoms:
    frames = []
    for index in range(2):
        atoms = molecule("H2O")
        atoms.info["dos"] = np.arange(4.0) + index
        atoms.info["known"] = np.array([1, 0, 1, 1])
        atoms.arrays["q"] = np.array([0.1, 0.2, 0.3])
        atoms.arrays["has_q"] = np.array([True, True, False])
        frames.append(atoms)
    if changes:
        changes(frames[1])
    ase.io.write(path, frames)


def read(path: Path, missing: str = "error", room: int = 0):
    targets = {
        "mtt::dos": {"properties": 4, "mask": "known", "missing": missing},
        "mtt::q": {"per": "atom", "mask": "has_q"},
    }
    options = {"systems": {"read_from": path}, "targets": targets}
    return read_structures(DatasetOptions.model_validate(options), rooms={"mtt::dos": room})


def test_what_is_left_out_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "data.xyz")
    for index, structure in enumerate(read(tmp_path / "data.xyz")):
        expected = [index, np.nan, 2.0 + index, 3.0 + index]
        np.testing.assert_array_equal(structure.references["mtt::dos"].values, expected)
        values = structure.references["mtt::q"].values[:, 0]
        np.testing.assert_array_equal(values, [0.1, 0.2, np.nan])


def test_all_left_out_and_no_number_there(tmp_path: Path) -> None:
    def change(atoms: ase.Atoms) -> None:
        atoms.info["dos"][1] = np.nan
        atoms.arrays["has_q"][:] = False

    write(tmp_path / "data.xyz", change)
    _, second = read(tmp_path / "data.xyz")
    assert "mtt::q" not in second.references
    np.testing.assert_array_equal(second.references["mtt::dos"].values, [1, np.nan, 3, 4])


@pytest.mark.parametrize(("missing", "level"), [("error", "WARNING"), ("allow", "INFO")])
@pytest.mark.parametrize("room", [0, 2])
def test_all_left_out_is_told(
    missing: str, level: str, room: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def change(atoms: ase.Atoms) -> None:
        atoms.info["known"][room:] = 0

    caplog.set_level("INFO")
    write(tmp_path / "data.xyz")
    read(tmp_path / "data.xyz", missing, room)
    assert "leaves out" not in caplog.text
    write(tmp_path / "data.xyz", change)
    read(tmp_path / "data.xyz", missing, room)
    (told,) = [one for one in caplog.records if "leaves out" in one.getMessage()]
    assert told.levelname == level
    assert "under the key 'known' leaves out every value in 1 of 2 structures" in told.getMessage()
    assert told.getMessage().endswith("data.xyz#1")


def test_no_value_needs_no_mask(tmp_path: Path) -> None:
    def change(atoms: ase.Atoms) -> None:
        del atoms.info["dos"], atoms.info["known"]

    write(tmp_path / "data.xyz", change)
    assert "mtt::dos" not in read(tmp_path / "data.xyz", "allow")[1].references


def test_a_mask_that_is_mistyped_is_told_the_near_one(tmp_path: Path) -> None:
    write(tmp_path / "data.xyz")
    targets = {"mtt::dos": {"properties": 4, "mask": "knwon"}}
    options = {"systems": {"read_from": tmp_path / "data.xyz"}, "targets": targets}
    with pytest.raises(UserError) as caught:
        read_structures(DatasetOptions.model_validate(options))
    assert "no mask is stored under the key 'knwon'" in str(caught.value)
    assert str(caught.value.hint).startswith("did you mean 'known'? give each structure")


def shorter(atoms: ase.Atoms) -> None:
    atoms.info["known"] = np.array([1, 0, 1])


def another(atoms: ase.Atoms) -> None:
    atoms.info["known"] = np.array([1, 0, 2, 1])


def missing(atoms: ase.Atoms) -> None:
    del atoms.info["known"]


def words(atoms: ase.Atoms) -> None:
    atoms.info["known"] = np.array(["a", "b", "c", "d"])


def values(atoms: ase.Atoms) -> None:
    atoms.info["dos"] = np.arange(5.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            shorter,
            "the mask under the key 'known' has the shape (3,), and the values that it is of",
        ),
        (another, "there is 2 in the mask under the key 'known'"),
        (missing, "no mask is stored under the key 'known'"),
        (words, "the mask under the key 'known' is not made of numbers"),
        (values, "under the key 'dos' has the shape (5,)"),
    ],
)
def test_what_is_wrong_is_named_with_its_frame(change, message: str, tmp_path: Path) -> None:
    write(tmp_path / "data.xyz", change)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "data.xyz")
    assert message in str(caught.value)
    assert str(tmp_path / "data.xyz") in str(caught.value) and "1" in caught.value.where[-3:]
