"""Pictures are written whole, show what they were given, and are the same every time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from mtt.data.target import GRADIENTS, Target
from mtt.report.error_plots import error_plots
from mtt.report.metrics import quantities
from mtt.report.parity import Parity
from mtt.report.plots import learning_curve, save, svg_of

ENERGY = Target("energy", gradients=GRADIENTS)
ROWS = [
    {"epoch": e, "train_loss": 1.0 / e, "validation_loss": 2.0 / e, "train_forces_rmse": 0.1 / e}
    for e in range(1, 6)
]


def test_learning_curve(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    rows = [*ROWS, {"epoch": 6, "train_loss": float("nan")}]
    figure = learning_curve(rows, [ENERGY], "A", 3)
    loss, forces = figure.axes
    assert (loss.get_ylabel(), forces.get_ylabel()) == ("loss", "forces RMSE / eV/Å")
    assert loss.get_yscale() == "log"
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [row["train_loss"] for row in ROWS])
    np.testing.assert_allclose(loss.lines[1].get_ydata(), [row["validation_loss"] for row in ROWS])
    labels = [line.get_label() for line in loss.lines]
    assert labels == ["train", "validation", "best: 3"]
    save(figure, path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    usual = learning_curve(rows, [ENERGY], "A", 3)
    FigureCanvasAgg(usual).print_figure(tmp_path / "usual.png", dpi=150)
    assert np.array_equal(imread(tmp_path / "usual.png"), imread(path))
    again = learning_curve(rows, [ENERGY], "A", 3)
    save(again, tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == path.read_bytes()
    assert svg_of(again) == svg_of(learning_curve(rows, [ENERGY], "A", 3))


def test_curve_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    save(learning_curve([], [ENERGY], "A"), tmp_path / "none.png")
    save(learning_curve(ROWS[:1], [ENERGY], "A"), tmp_path / "one.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none.png", "one.png"]


def test_errors_are_seen_beside_large_energies(tmp_path: Path) -> None:
    """88 meV/atom look perfect on a diagonal from -2500 to -1600 eV/atom, and not as residuals."""
    total = np.linspace(-2500.0, -1600.0, 50)
    noise = 0.088 * np.tile([1.0, -1.0], 25)
    panel = Parity("energy per atom", "eV/atom", total, total + noise, offset=total - 0.1)
    diagonal, residuals, histogram = error_plots([panel], "model.pt on $x$.xyz").axes
    points = diagonal.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.column_stack([np.full(50, 0.1), 0.1 + noise]))
    np.testing.assert_allclose(residuals.collections[0].get_offsets()[:, 1], 1000 * noise)
    assert residuals.get_ylabel() == "predicted - reference / meV/atom"
    assert residuals.get_title() == "RMSE 88 meV/atom (dashed)"
    assert residuals.get_ylim()[1] == pytest.approx(1.1 * 88)
    assert sum(bar.get_height() for bar in histogram.patches) == 50
    save(diagonal.figure, tmp_path / "parity.png")
    assert (tmp_path / "parity.png").stat().st_size > 5000


def test_parity() -> None:
    reference = np.linspace(-3.0, 3.0, 50)
    panels = [
        Parity("forces", "eV/A", reference, reference + 0.25),
        Parity("mtt::$\\frac", "e", np.array([-7.0]), np.array([-7.0])),
    ]
    figure = error_plots(panels)
    first, _, _, second, *_ = figure.axes
    assert (first.get_title(), second.get_title()) == (
        "forces: 50 values",
        "mtt::$\\frac: 1 values",
    )
    assert first.get_xlabel() == "reference / eV/Å"
    points = first.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.column_stack([reference, reference + 0.25]))
    assert first.get_xlim() == first.get_ylim()
    assert first.get_xlim()[0] < -3.0 and first.get_xlim()[1] > 3.25
    assert b"mtt::$\\frac: 1 values" in svg_of(figure)


def test_a_home_that_cannot_be_written_makes_no_noise(tmp_path: Path) -> None:
    code = (
        "from mtt.report.plots import save, learning_curve; import sys; from pathlib import Path; "
    )
    code += "save(learning_curve([], [], 'A'), Path(sys.argv[1]))"
    # Not even root can make a folder there.
    environment = {"PATH": os.environ["PATH"], "HOME": "/dev/null/home"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_learning_curve_of_several_targets() -> None:
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
    figure = learning_curve(rows, targets, "bohr")
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss",
        "energy RMSE / eV/atom",
        "energy forces RMSE / eV/bohr",
        "energy stress RMSE / eV/bohr³",
        "energy/pbe RMSE / Hartree/atom",
        "energy/pbe forces RMSE / Hartree/bohr",
        "mtt::charges RMSE / e",
    ]


def test_a_loss_below_zero_is_drawn_on_an_even_axis() -> None:
    rows = [
        {"epoch": epoch, "train_loss": 1.0 - epoch, "validation_loss": 2.0} for epoch in (1, 2, 3)
    ]
    (axes,) = learning_curve(rows, [], "angstrom").axes
    assert axes.get_yscale() == "linear"
    assert list(axes.lines[0].get_ydata()) == [0.0, -1.0, -2.0]
    positive = [{**row, "train_loss": 1.0} for row in rows]
    assert learning_curve(positive, [], "angstrom").axes[0].get_yscale() == "log"
