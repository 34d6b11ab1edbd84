"""Names and units of metrics, and a CSV file that survives being cut off."""

from pathlib import Path

import pytest

from mtt.data.target import GRADIENTS, Target
from mtt.errors import UserError
from mtt.report.metrics import MetricsCsv, quantities, read_rows, readable, units

ENERGY = Target("energy", gradients=GRADIENTS)
SEVERAL = [
    ENERGY,
    Target("energy/pbe", unit="Hartree", gradients=("positions",)),
    Target("mtt::charges", quantity="charge", unit="e", per="atom"),
    Target("mtt::gap", quantity="", unit=""),
]


def test_names_and_units_of_one_energy() -> None:
    expected = {
        "energy_rmse": "kcal/mol",
        "energy_mae": "kcal/mol",
        "energy_rmse_per_atom": "kcal/mol/atom",
        "energy_mae_per_atom": "kcal/mol/atom",
        "forces_rmse": "kcal/mol/bohr",
        "forces_mae": "kcal/mol/bohr",
        "stress_rmse": "kcal/mol/bohr^3",
        "stress_mae": "kcal/mol/bohr^3",
    }
    for name in ("energy", "energy/pbe", "mtt::u0"):
        target = Target(name, unit="kcal/mol", gradients=GRADIENTS)
        assert units([target], "bohr") == expected
        labels = [quantity.label for quantity in quantities([target])]
        assert labels == ["energy", "energy per atom", "forces", "stress"]
    assert units([ENERGY], "Angstrom")["forces_rmse"] == "eV/A"
    # Checkpoints of old versions keep the spelling of their options.
    old = Target("energy", unit="ev", gradients=GRADIENTS)
    assert units([old], "Bohr")["forces_rmse"] == "eV/bohr"
    assert units([ENERGY], "A")["stress_mae"] == "eV/A^3"


def test_names_and_units_of_several_targets() -> None:
    assert {q.metric("rmse"): (q.label, q.unit) for q in quantities(SEVERAL)} == {
        "energy_rmse": ("energy", "eV"),
        "energy_rmse_per_atom": ("energy per atom", "eV/atom"),
        "energy_forces_rmse": ("energy forces", "eV/A"),
        "energy_stress_rmse": ("energy stress", "eV/A^3"),
        "energy/pbe_rmse": ("energy/pbe", "Hartree"),
        "energy/pbe_rmse_per_atom": ("energy/pbe per atom", "Hartree/atom"),
        "energy/pbe_forces_rmse": ("energy/pbe forces", "Hartree/A"),
        "mtt::charges_rmse": ("mtt::charges", "e"),
        "mtt::gap_rmse": ("mtt::gap", ""),
        "mtt::gap_rmse_per_atom": ("mtt::gap per atom", "1/atom"),
    }
    totals = [q.label for q in quantities(SEVERAL) if q.is_total]
    assert totals == ["energy", "energy/pbe", "mtt::gap"]
    assert len(units(SEVERAL, "A")) == 20
    # What is no energy has its own name even alone.
    assert units(SEVERAL[2:3], "A") == {"mtt::charges_rmse": "e", "mtt::charges_mae": "e"}


def test_readable_values() -> None:
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
