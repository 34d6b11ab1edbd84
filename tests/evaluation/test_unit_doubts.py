"""References in another unit than the options say are doubted aloud."""

import numpy as np
import pytest

from mtt.evaluation.unit_doubts import unit_doubts
from mtt.report.parity import Parity

PREDICTED = np.array([-309.4, -309.1, -308.7, -150.2])


def told(reference: np.ndarray, unit: str = "eV", is_total: bool = True) -> list[str]:
    panel = Parity("energy", unit, reference, PREDICTED, is_total, np.arange(4))
    return list(unit_doubts({"energy": panel}))


@pytest.mark.parametrize(
    ("times", "units"),
    [
        (1 / 27.2114, "Hartree and eV"),
        (27.2114, "eV and Hartree"),
        (1 / 23.0605, "eV and kcal/mol"),
        (1000.0, "meV and eV"),
    ],
)
def test_the_factor_between_two_units_is_told(times: float, units: str) -> None:
    noise = 1 + 0.001 * np.arange(4)
    (line,) = told(PREDICTED * noise * times)
    assert line.startswith("warning: predictions of energy are ")
    assert f"the factor between {units}: check the unit" in line


def test_other_energies_are_not_doubted() -> None:
    assert told(PREDICTED * 1.01) == []
    assert told(PREDICTED - 300.0) == []
    assert told(PREDICTED / np.array([27.2, 27.2, 1.0, 1.0])) == []
    assert told(PREDICTED * 0.0) == []
    assert told(PREDICTED * 27.2, is_total=False) == []
    assert told(PREDICTED * 27.2, unit="e") == []
