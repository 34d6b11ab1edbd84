"""Check systems stay small for any cutoff, and are what they were for usual ones."""

import numpy as np
import pytest

from mtt.data.neighbors import neighbor_list
from mtt.data.structure import Structure
from mtt.export.check_systems import check_systems


def crystal(n: int, width: float) -> Structure:
    random = np.random.default_rng(0)
    positions = random.uniform(0, width, (n, 3))
    return Structure(np.full(n, 29, np.int32), positions, width * np.eye(3), np.ones(3, bool))


@pytest.mark.parametrize("cutoff", [8.0, 12.0, 40.0, 100.0])
def test_no_system_has_more_pairs_than_memory_is_good_for(cutoff: float) -> None:
    systems = check_systems([crystal(4, 3.6), crystal(100, 11.0)], [29], cutoff)
    numbers = {name: len(neighbor_list(structure, cutoff).centers) for name, structure in systems}
    assert max(numbers.values()) < 300_000
    made = {name: n for name, n in numbers.items() if not name.startswith("training")}
    assert max(made.values()) < 12 * 300
    # The lattices are still seen by the model.
    assert all(n > 0 for name, n in made.items() if not name.startswith("atom"))


def test_usual_cutoffs_change_nothing() -> None:
    for cutoff in (3.0, 4.5, 6.0):
        systems = dict(check_systems([crystal(4, 3.6)], [29], cutoff))
        assert np.diag(systems["cubic"].cell) == pytest.approx(2 * np.full(3, 3.6 / 4 ** (1 / 3)))
        assert "training-0" in systems


def test_a_large_molecule_stays_as_it_does_not_fill_space() -> None:
    line = np.zeros((600, 3))
    line[:, 0] = 1.5 * np.arange(600)
    molecule = Structure(np.full(600, 6, np.int32), line, np.zeros((3, 3)), np.zeros(3, bool))
    assert "training-0" in dict(check_systems([molecule], [6], 4.5))
