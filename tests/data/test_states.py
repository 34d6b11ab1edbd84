"""Charge and spin multiplicity from files to batches; without them, everything is what it was."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
import torch

from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.read_files import read_structures
from mtt.data.states import check_states, state_of_atoms
from mtt.data.structure import Structure, content_hash, fingerprints
from mtt.data.structure_tensors import structure_from_tensors, structure_tensors
from mtt.errors import UserError
from mtt.options.schema.datasets import DatasetOptions

BOTH = {"charge": {"key": "total_charge"}, "spin_multiplicity": {"key": "spin"}}


def write(path: Path, states: list[dict[str, Any]]) -> DatasetOptions:
    frames = []
    for number, state in enumerate(states):
        atoms = ase.Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.7 + 0.1 * number]])
        atoms.info |= {"energy": -1.0, **state}
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return options(path, BOTH)


def options(path: Path, extra_data: Any) -> DatasetOptions:
    return DatasetOptions.model_validate(
        {"systems": {"read_from": path}, "targets": {"energy": {}}, "extra_data": extra_data}
    )


def test_numbers_reach_the_batch(tmp_path: Path) -> None:
    states = [{"total_charge": 1, "spin": 2}, {"total_charge": -2, "spin": 1}]
    read = read_structures(write(tmp_path / "a.xyz", states))
    assert [structure.state for structure in read] == [(1, 2), (-2, 1)]
    batch = collate(Dataset(read, [1], 2.0), [1, 0], torch.float32)
    assert batch.graph.states is not None
    assert batch.graph.states.tolist() == [[-2, 1], [1, 2]]
    assert batch.graph.states.dtype == torch.int64
    assert collate(Dataset([], [1], 2.0), [], torch.float32).graph.states.shape == (0, 2)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    write(path, [{"total_charge": 1, "spin": 2}])
    assert [one.state for one in read_structures(options(path, None))] == [(0, 1)]
    only = options(path, {"charge": {"key": "total_charge"}})
    assert [one.state for one in read_structures(only)] == [(1, 1)]


def test_frames_without_the_number_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    asked = write(path, [{"total_charge": 1, "spin": 2}, {"total_charge": 0}])
    with pytest.raises(UserError) as error:
        read_structures(asked)
    assert error.value.what == (
        "no spin multiplicity is stored under the key 'spin' in 1 of 2 structures"
    )
    assert error.value.where == f"{path}#1 (counted from 0)"
    assert error.value.hint is not None
    assert error.value.hint.endswith("'missing: allow' takes 1 (singlet) there")


def test_frames_may_lack_it_if_that_is_meant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.xyz"
    write(path, [{"total_charge": 1}, {}])
    asked = options(path, {"charge": {"key": "total_charge", "missing": "allow"}})
    with caplog.at_level(logging.INFO):
        assert [one.state for one in read_structures(asked)] == [(1, 1), (0, 1)]
    assert f"no total charge in 1 of 2 structures: {path}#1" in caplog.text


def test_a_key_that_nothing_has_is_an_error_even_so(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    write(path, [{"total_charge": 1}])
    with pytest.raises(
        UserError, match="no total charge is stored under the key 'charge'"
    ) as error:
        read_structures(options(path, {"charge": {"missing": "allow"}}))
    assert error.value.hint is not None and "'total_charge'" in error.value.hint


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"total_charge": 0.5, "spin": 1}, "the total charge under the key 'total_charge' is 0.5"),
        ({"total_charge": 0, "spin": 0}, "the spin multiplicity under the key 'spin' is 0.0"),
        ({"total_charge": 0, "spin": 1.5}, "the spin multiplicity under the key 'spin' is 1.5"),
        ({"total_charge": "one", "spin": 1}, "is not made of numbers"),
        (
            {"total_charge": [1, 2, 3], "spin": 1},
            r"is \[1.0, 2.0, 3.0\]; it must be a whole number",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    tmp_path: Path, state: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.xyz"
    with pytest.raises(UserError, match=message) as error:
        read_structures(write(path, [{"total_charge": 0, "spin": 1}, state]))
    assert error.value.where == f"{path}#1"


def structure(**state: int) -> Structure:
    return Structure(
        np.array([1], np.int32), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool), **state
    )


def test_hashes_of_neutral_singlets_are_what_they_were() -> None:
    # Computed before structures had a charge.
    assert content_hash([structure()]) == (
        "9af310c4263a44311776f5ef41b812900e2488bc5ebc0c810d8e11708a5bf6e7"
    )
    assert content_hash([structure(charge=0, spin_multiplicity=1)]) == content_hash([structure()])


def test_structures_that_differ_in_charge_are_others() -> None:
    states = [(0, 1), (1, 1), (-1, 1), (0, 2), (1, 2)]
    made = [structure(charge=charge, spin_multiplicity=spin) for charge, spin in states]
    assert len({content_hash([one]) for one in made}) == len(states)
    _, rows = fingerprints(made)
    # A geometry in another state is no copy of it.
    assert len(set(rows[:, 0].tolist())) == len(states) and len(set(rows[:, 1].tolist())) == 1


def test_tensors_hold_them_where_they_are_not_the_default() -> None:
    assert "0/state" not in structure_tensors("0", structure())
    for one in (structure(), structure(charge=-3, spin_multiplicity=4)):
        assert structure_from_tensors("0", structure_tensors("0", one)).state == one.state


def test_atoms_say_it_as_metatomics_calculator_reads_it() -> None:
    atoms = ase.Atoms("H")
    assert state_of_atoms(atoms, "here") == {}
    atoms.info |= {"charge": 1, "spin": 2}
    assert state_of_atoms(atoms, "here") == {"charge": 1, "spin_multiplicity": 2}
    atoms.info["spin_multiplicity"] = 4.0
    assert state_of_atoms(atoms, "here") == {"charge": 1, "spin_multiplicity": 4}
    atoms.info["charge"] = 0.1
    with pytest.raises(UserError, match="the total charge under the key 'charge' is 0.1"):
        state_of_atoms(atoms, "here")


def test_states_that_a_model_does_not_know_are_refused() -> None:
    one = replace(structure(charge=2, spin_multiplicity=3), source="a.xyz#4")
    check_states([one], ([0, 2], [1, 3]))
    with pytest.raises(
        UserError, match="the charge 2, which the model is not trained with"
    ) as error:
        check_states([structure(), one], ([0, 1], [1, 3]))
    assert (error.value.where, error.value.hint) == ("a.xyz#4", "it is trained with 0, 1")
    with pytest.raises(UserError, match="the spin multiplicity 3, which"):
        check_states([one], ([0, 2], [1]))
    check_states([structure()], None)
    with pytest.raises(UserError, match="the model depends on neither"):
        check_states([one], None)
