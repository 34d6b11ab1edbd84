"""Pictures are written whole, show what they were given, and are the same every time."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mtt.data.target import GRADIENTS, Target
from mtt.report import plots
from mtt.report.metrics import quantities
from mtt.report.plots import Parity, learning_curve, parity

ENERGY = Target("energy", gradients=GRADIENTS)
ROWS = [
    {"epoch": e, "train_loss": 1.0 / e, "validation_loss": 2.0 / e, "train_forces_rmse": 0.1 / e}
    for e in range(1, 6)
]


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    drawn: list[Figure] = []
    save = plots._save
    monkeypatch.setattr(plots, "_save", lambda fig, path: (drawn.append(fig), save(fig, path)))
    return drawn


def test_learning_curve(tmp_path: Path, figure: list[Figure]) -> None:
    path = tmp_path / "curve.png"
    learning_curve([*ROWS, {"epoch": 6, "train_loss": float("nan")}], path, [ENERGY], "A", 3)
    loss, forces = figure[0].axes
    assert (loss.get_ylabel(), forces.get_ylabel()) == ("loss", "forces RMSE / eV/Å")
    assert loss.get_yscale() == "log"
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [row["train_loss"] for row in ROWS])
    np.testing.assert_allclose(loss.lines[1].get_ydata(), [row["validation_loss"] for row in ROWS])
    labels = [line.get_label() for line in loss.lines]
    assert labels == ["train", "validation", "best: 3"]
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    learning_curve(
        [*ROWS, {"epoch": 6, "train_loss": float("nan")}], tmp_path / "b.png", [ENERGY], "A", 3
    )
    assert (tmp_path / "b.png").read_bytes() == path.read_bytes()


def test_curve_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    learning_curve([], tmp_path / "none.png", [ENERGY], "A")
    learning_curve(ROWS[:1], tmp_path / "one.png", [ENERGY], "A")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none.png", "one.png"]


def test_parity(tmp_path: Path, figure: list[Figure]) -> None:
    reference = np.linspace(-3.0, 3.0, 50)
    panels = [
        Parity("forces", "eV/A", reference, reference + 0.25),
        Parity("energy per atom", "eV/atom", np.array([-7.0]), np.array([-7.0])),
    ]
    parity(panels, tmp_path / "parity.png", "model.pt on test.xyz")
    first, second = figure[0].axes
    assert first.get_title() == "forces\nRMSE 250 meV/Å"
    assert first.get_xlabel() == "reference / eV/Å"
    assert second.get_title() == "energy per atom\nRMSE 0 meV/atom"
    points = first.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.column_stack([reference, reference + 0.25]))
    assert first.get_xlim() == first.get_ylim()
    assert first.get_xlim()[0] < -3.0 and first.get_xlim()[1] > 3.25
    assert (tmp_path / "parity.png").stat().st_size > 5000


def test_learning_curve_of_several_targets(tmp_path: Path, figure: list[Figure]) -> None:
    targets = [
        ENERGY,
        Target("energy/pbe", unit="Hartree", gradients=("positions",)),
        Target("mtt::charges", quantity="charge", unit="e", per="atom"),
    ]
    names = [quantity.metric("rmse") for quantity in quantities(targets)]
    rows = [
        {"epoch": e, "train_loss": 1.0 / e, **{f"validation_{name}": 0.1 / e for name in names}}
        for e in range(1, 4)
    ]
    learning_curve(rows, tmp_path / "several.png", targets, "bohr")
    assert [axes.get_ylabel() for axes in figure[0].axes] == [
        "loss",
        "energy RMSE / eV/atom",
        "energy forces RMSE / eV/bohr",
        "energy stress RMSE / eV/bohr³",
        "energy/pbe RMSE / Hartree/atom",
        "energy/pbe forces RMSE / Hartree/bohr",
        "mtt::charges RMSE / e",
    ]
