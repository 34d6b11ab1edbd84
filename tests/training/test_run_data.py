"""The data of a run: targets with what the data have of them, recorded splits, changes."""

import ase.io
import numpy as np
import pytest
from small_runs import TARGETS, add_targets, make_options, write_data

from mtt.data.reader import Reader
from mtt.errors import UserError
from mtt.training.run_data import RecordedData, check_same, read_run_data


@pytest.fixture
def frames(tmp_path):
    write_data(tmp_path / "data.xyz")
    made = ase.io.read(tmp_path / "data.xyz", ":")
    add_targets(made)
    return made


def options_of(tmp_path, frames):
    path = tmp_path / "several.xyz"
    ase.io.write(path, frames, format="extxyz")
    return make_options(tmp_path, training_set={"systems": str(path), "targets": TARGETS})


def recorded(data, **changes):
    parts = {
        "split": data.split,
        "data_hash": data.data_hash,
        "data_size": data.sizes,
        "fingerprints": data.fingerprints,
    }
    return RecordedData(**{**parts, **changes})


def test_targets_are_described_by_options_and_data(tmp_path, frames):
    data = read_run_data(options_of(tmp_path, frames))
    described = {one.name: (one.quantity, one.unit, one.per, one.gradients) for one in data.targets}
    assert list(described) == sorted(TARGETS) != list(TARGETS)
    assert described == {
        "energy": ("energy", "eV", "system", ("positions", "strain")),
        "energy/pbe": ("energy", "eV", "system", ("positions",)),
        "mtt::u0": ("energy", "eV", "system", ()),
        "mtt::charges": ("charge", "e", "atom", ()),
        "mtt::dipole": ("dipole", "e*A", "system", ()),
        "mtt::alpha": ("", "", "system", ()),
        "mtt::shape": ("", "", "atom", ()),
        "non_conservative_force": ("force", "eV/A", "atom", ()),
    }
    assert all(isinstance(part, Reader) for part in (data.train, data.validation, data.test))
    assert (len(data.train), len(data.validation), len(data.test)) == (9, 3, 0)
    assert data.train[0].source.endswith(f"#{data.split['train'][0]}")


def test_a_recorded_split_is_kept_and_the_data_are_compared(tmp_path, frames):
    options = options_of(tmp_path, frames)
    data = read_run_data(options)
    split = {"train": [3, 1], "validation": [0], "test": [2]}
    again = read_run_data(options, recorded(data, split=split))
    assert again.split == split
    assert [one.source.rpartition("#")[2] for one in again.train] == ["3", "1"]
    check_same(options, recorded(data, split={}))
    assert read_run_data(options, recorded(data, fingerprints={}, data_size={})).split == data.split


def test_a_charge_that_has_changed_is_seen(tmp_path, frames):
    data = read_run_data(options_of(tmp_path, frames))
    charges = np.array(frames[5].arrays["charges"])
    charges[0] += 1e-6
    frames[5].arrays["charges"] = charges
    options = options_of(tmp_path, frames)
    for call in (check_same, read_run_data):
        with pytest.raises(UserError) as caught:
            call(options, recorded(data))
        assert caught.value.what == (
            "the data of training_set have changed since the checkpoint was written: 1 of its 12 "
            f"structures has other targets, {tmp_path / 'several.xyz'}#5"
        )
