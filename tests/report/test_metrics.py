"""Errors against numpy, names and units, and a CSV file that survives being cut off."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.structure import Structure, Target
from mtt.errors import UserError
from mtt.report.metrics import Metrics, MetricsCsv, read_rows, readable, unit_of


def _dataset() -> Dataset:
    rng = np.random.default_rng(0)
    structures = []
    for n in (1, 2, 5, 3):
        forces = None if n == 2 else rng.normal(size=(n, 3))
        stress = np.eye(3) * n if n in (5, 3) else None
        target = {} if n == 1 else {"energy": Target(rng.normal(), forces, stress)}
        cell, pbc = 20.0 * np.eye(3), np.array([True] * 3)
        positions = 1.7 * np.arange(3 * n).reshape(n, 3)
        structures.append(Structure(np.ones(n, np.int32), positions, cell, pbc, target))
    return Dataset(structures, [1], 1.0, "energy")


def test_errors_are_those_of_numpy_and_missing_references_do_not_count() -> None:
    data = _dataset()
    metrics = Metrics()
    for indices in ([0, 1], [2, 3]):
        batch = collate(data, indices, torch.float64)
        n, s = batch.forces.shape[0], len(indices)
        metrics.update(batch, torch.ones(s), torch.full((n, 3), 0.5), torch.zeros(s, 3, 3))
    energy = 1.0 - np.array([data[i].energy for i in (1, 2, 3)])
    per_atom = energy / np.array([2, 5, 3])
    forces = 0.5 - np.concatenate([data[2].forces, data[3].forces]).ravel()
    stress = np.concatenate([5 * np.eye(3).ravel(), 3 * np.eye(3).ravel()])
    expected = {}
    for name, values in (("energy", energy), ("forces", forces), ("stress", stress)):
        expected[f"{name}_rmse"] = np.sqrt(np.mean(values**2))
        expected[f"{name}_mae"] = np.mean(np.abs(values))
    expected["energy_rmse_per_atom"] = np.sqrt(np.mean(per_atom**2))
    expected["energy_mae_per_atom"] = np.mean(np.abs(per_atom))
    assert metrics.result() == pytest.approx(expected, rel=1e-14)


def test_nothing_known_gives_no_metrics() -> None:
    metrics = Metrics()
    assert metrics.result() == {}
    metrics.update(collate(_dataset(), [0], torch.float32), torch.ones(1), torch.zeros(1, 3))
    assert metrics.result() == {}


def test_units_and_readable_values() -> None:
    assert unit_of("validation_energy_rmse_per_atom", "eV", "angstrom") == "eV/atom"
    assert unit_of("energy_mae", "eV", "angstrom") == "eV"
    assert unit_of("train_forces_rmse", "kcal/mol", "bohr") == "kcal/mol/bohr"
    assert unit_of("stress_rmse", "eV", "A") == "eV/A^3"
    assert unit_of("train_loss", "eV", "A") == ""
    assert readable(0.0123456, "eV/A") == "12.35 meV/A"
    assert readable(12.5, "eV/A") == "12.5 eV/A"
    assert readable(0.0123456, "kcal/mol") == "0.01235 kcal/mol"
    assert readable(1e-7, "") == "1.000e-07"
    assert readable(0.0, "eV") == "0 meV"
    assert readable(0.5, "eV", like=2.0) == "0.5 eV"


def test_csv_keeps_every_bit_and_grows_columns(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = MetricsCsv(path)
    assert path.read_text() == ""
    third = 1.0 / 3.0
    table.write({"epoch": 1, "train_loss": third})
    table.write({"epoch": 2, "train_loss": 1e-300})
    table.write({"epoch": 3, "train_loss": 2.0, "validation_loss": third})
    text = path.read_text()
    assert text.splitlines()[0] == "epoch,train_loss,validation_loss"
    assert text.splitlines()[1] == f"1,{third!r},"
    assert read_rows(path) == [
        {"epoch": 1.0, "train_loss": third},
        {"epoch": 2.0, "train_loss": 1e-300},
        {"epoch": 3.0, "train_loss": 2.0, "validation_loss": third},
    ]
    # A resume from epoch 1: what came after is gone, and the rest is as if it had never been.
    resumed = MetricsCsv(path, [{"epoch": 1, "train_loss": third}])
    assert [row["epoch"] for row in read_rows(path)] == [1.0]
    resumed.write({"epoch": 2, "train_loss": 1e-300})
    resumed.write({"epoch": 3, "train_loss": 2.0, "validation_loss": third})
    assert path.read_text() == text
    with path.open("a") as file:
        file.write("4,0.12")
    assert len(read_rows(path)) == 3


def test_csv_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "no" / "metrics.csv"
    with pytest.raises(UserError) as caught:
        MetricsCsv(path)
    assert str(caught.value) == (
        f"the folder '{path.parent}' does not exist\n  where: {path}\n  hint: create it first"
    )


@pytest.mark.parametrize("grows", [False, True], ids=["row", "column"])
def test_csv_is_whole_again_once_the_disk_has_space(small_disk: Path, grows: bool) -> None:
    path, filler = small_disk / "metrics.csv", small_disk / "filler"
    table = MetricsCsv(path)
    rows: list[dict[str, float]] = [
        {"epoch": epoch, "train_loss": epoch / 3} for epoch in range(1, 400)
    ]
    table.write(rows[0])
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(1024))
    if grows:
        rows[1]["validation_loss"] = 0.5
    refused = 0
    for row in rows[1:-1]:
        try:
            table.write(row)
        except UserError as error:
            assert error.what == "the disk is full"
            refused += 1
    # The page of the first row had space for more; then not even half a line is taken for a row.
    assert refused > 100 and len(read_rows(path)) + refused == len(rows) - 1
    filler.unlink()
    table.write(rows[-1])
    assert read_rows(path) == rows
