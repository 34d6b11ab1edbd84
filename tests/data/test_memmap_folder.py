"""Folders of arrays as metatrain packs them."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from memmap_folders import write_memmap
from small_runs import write_data

from mtt.data.frames import read_all
from mtt.data.memmap_folder import read_memmap
from mtt.data.read_files import read_structures
from mtt.errors import UserError
from mtt.inspect import data_reading
from mtt.options import DatasetOptions
from mtt.options.schema.data_paths import data_files

TARGETS = {
    "energy": {"key": "e", "forces": {"key": "f"}, "stress": {"key": "s", "missing": "allow"}},
    "mtt::alpha": {"key": "alpha", "type": "matrix"},
    "mtt::charges": {"key": "q", "per": "atom"},
    "non_conservative_force": {"key": "f"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_data(tmp_path / "data.xyz", several=True)
    return write_memmap(tmp_path / "packed", ase.io.read(tmp_path / "data.xyz", ":"))


def options(path: Path, targets: Any = None) -> DatasetOptions:
    content = {"systems": {"read_from": str(path)}, "targets": targets or TARGETS}
    return DatasetOptions.model_validate(content)


def test_what_is_read_is_what_the_files_of_structures_have(folder: Path) -> None:
    packed = read_structures(options(folder))
    theirs = {"e": "energy", "f": "forces", "s": "stress", "q": "charges", "alpha": "alpha"}

    def ours(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: ours(entry) for key, entry in value.items()}
        return theirs.get(value, value)

    plain = read_structures(options(folder.parent / "data.xyz", ours(TARGETS)))
    assert len(packed) == len(plain) == 12
    for one, other in zip(packed, plain, strict=True):
        assert one.types.tolist() == other.types.tolist() and one.pbc.tolist() == other.pbc.tolist()
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-6)
        np.testing.assert_allclose(one.cell, other.cell, atol=1e-6)
        assert one.references.keys() == other.references.keys() == TARGETS.keys()
        for name, reference in one.references.items():
            expected = other.references[name]
            np.testing.assert_allclose(reference.values, expected.values, rtol=1e-6, atol=1e-6)
            if expected.forces is not None:
                np.testing.assert_allclose(reference.forces, expected.forces, atol=1e-5)
            if expected.stress is not None:
                np.testing.assert_allclose(reference.stress, expected.stress, atol=1e-6)


def test_values_are_of_structures_or_atoms_as_the_targets_say(tmp_path: Path) -> None:
    """Nine numbers of a structure are three of each atom, where it has three."""
    frames = [ase.Atoms("OH2", positions=np.eye(3) + index) for index in range(2)]
    folder = write_memmap(tmp_path / "packed", frames, {"s": np.arange(18.0), "q": np.arange(2.0)})
    (system,) = {atoms.info["s"].shape for atoms in read_memmap(folder, {"s": "system"})}
    (atom,) = {atoms.arrays["s"].shape for atoms in read_memmap(folder, {"s": "atom"})}
    assert (system, atom) == ((9,), (3, 3))
    assert [atoms.info["q"] for atoms in read_memmap(folder, {"q": "system"})] == [0.0, 1.0]
    # What nothing tells is not guessed.
    first = read_memmap(folder)[0]
    assert first.info == {"q": 0.0} and set(first.arrays) == {"numbers", "positions"}
    assert not first.pbc.any()


def test_it_is_a_folder_among_others(folder: Path, caplog: Any) -> None:
    assert data_files(folder) == [folder]
    assert folder in data_files(folder.parent)
    assert len(read_all(folder)) == 12
    caplog.set_level(logging.INFO)
    (shown,) = data_reading.read(folder, {})
    assert shown.frames == 12 and "alpha" in shown.keys


def damaged(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return damage


def pickled(folder: Path) -> None:
    np.save(folder / "na.npy", np.array([{}], dtype=object))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            damaged("x.bin", lambda raw: raw[:-1]),
            "the file has 623 bytes; 52 rows of 3 numbers take 624",
        ),
        (damaged("a.bin", lambda raw: raw + raw), "rows of 1 numbers take"),
        (damaged("a.bin", lambda raw: b"\xff" * len(raw)), "the atomic number -1"),
        (damaged("c.bin", lambda raw: raw[:-36]), "12 rows of 9 numbers take 432"),
        (damaged("e.bin", lambda raw: raw[:-3]), "12 rows of 1 numbers take 48"),
        (damaged("e.bin", lambda raw: b""), "12 rows of 1 numbers take 48"),
        (damaged("na.npy", lambda raw: raw[:-8]), "the file states an array"),
        (lambda folder: (folder / "x.bin").unlink(), "there is no x.bin"),
        (lambda folder: (folder / "e.bin").unlink(), "no energy is stored under the key 'e'"),
        (pickled, "the array holds object, and one of numbers is needed"),
        (lambda folder: np.save(folder / "ns.npy", 11), "ns.npy holds 11 structures"),
        (lambda folder: np.save(folder / "na.npy", np.arange(13) // 2), "begin with 0 and rise"),
        (lambda folder: np.save(folder / "na.npy", np.arange(13.0)), "of float64"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, damage: Callable[[Path], Any], expected: str) -> None:
    damage(folder)
    with pytest.raises(UserError) as caught:
        read_structures(options(folder))
    assert expected in str(caught.value)
