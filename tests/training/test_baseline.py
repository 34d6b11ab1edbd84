"""Composition and scale: the formulas, degenerate data, and offsets that must change nothing."""

import numpy as np
import pytest

from mtt.data.structure import Structure, Target
from mtt.training.baseline import fit_baseline, in_training_units


def structure(types, energy, forces=None, stress=None, cell=None):
    n = len(types)
    cell = np.zeros((3, 3)) if cell is None else np.asarray(cell, dtype=float)
    pbc = np.full(3, bool(cell.any()))
    target = Target(energy, forces, stress)
    positions = np.arange(3.0 * n).reshape(n, 3)
    return Structure(np.array(types, dtype=np.int32), positions, cell, pbc, {"energy": target})


def water_and_methane(energies):
    kinds = [[1, 1, 8], [6, 1, 1, 1, 1]]
    return [structure(kinds[i % 2], energy) for i, energy in enumerate(energies)]


def test_composition_is_recovered_and_scale_is_the_rms_per_atom():
    composition = {1: -13.5, 6: -1030.25, 8: -2043.0}
    noise = 0.01 * np.random.default_rng(0).normal(size=6)
    kinds = [[1, 1, 8], [6, 1, 1, 1, 1], [6, 8, 8]]
    structures = [
        structure(kinds[i % 3], sum(composition[t] for t in kinds[i % 3]) + noise[i])
        for i in range(6)
    ]
    baseline = fit_baseline(structures, "energy", [1, 6, 8])
    assert baseline.composition == pytest.approx([-13.5, -1030.25, -2043.0], abs=0.02)
    counts = [(np.array(one.types)[:, None] == [1, 6, 8]).sum(axis=0) for one in structures]
    energies = np.array([one.targets["energy"].value for one in structures])
    expected, *_ = np.linalg.lstsq(np.array(counts, dtype=float), energies, rcond=None)
    assert baseline.composition == pytest.approx(expected, rel=1e-12)
    residual = (energies - counts @ expected) / [len(one) for one in structures]
    assert baseline.scale == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-9)


def test_one_molecule_only_gives_the_shortest_solution():
    structures = [structure([6, 1, 1, 1, 1], energy) for energy in (-33.0, -35.0)]
    baseline = fit_baseline(structures, "energy", [1, 6])
    # 4 h + c = -34, and (h, c) parallel to (4, 1).
    assert baseline.composition == pytest.approx([-34.0 * 4 / 17, -34.0 / 17], rel=1e-12)
    assert baseline.scale == pytest.approx(1.0 / 5)


def test_energies_that_composition_explains_leave_the_scale_at_one():
    structures = [structure([1, 1, 8], -2070.123456789) for _ in range(3)]
    assert fit_baseline(structures, "energy", [1, 8]).scale == 1.0


def test_scale_can_be_left_at_one():
    structures = water_and_methane([-3.0, -4.0, -3.5, -4.5])
    assert fit_baseline(structures, "energy", [1, 6, 8], scale_targets=False).scale == 1.0


def test_fixed_baselines_are_kept_and_the_others_fitted_around_them():
    structures = water_and_methane([-10.0, -20.0, -10.5, -20.5])
    everything = fit_baseline(structures, "energy", [1, 6, 8], fixed=-2.0)
    assert everything.composition.tolist() == [-2.0, -2.0, -2.0]
    some = fit_baseline(structures, "energy", [1, 6, 8], fixed={1: -0.5})
    assert some.composition == pytest.approx([-0.5, -18.25, -9.25])
    listed = fit_baseline(structures, "energy", [1, 6, 8], fixed={1: -0.5, 6: -1, 8: -3, 79: 4})
    assert listed.composition.tolist() == [-0.5, -1.0, -3.0]


def test_huge_offsets_change_nothing_that_is_trained_on():
    random = np.random.default_rng(1)
    # Multiples of 2^-20 eV, so that adding the offset is exact: what differs is our own doing.
    energies = np.round(random.normal(size=40) * 2**20) / 2**20

    def residuals(offset):
        structures = water_and_methane(energies)
        structures = [
            structure(one.types.tolist(), one.targets["energy"].value + offset * len(one))
            for one in structures
        ]
        baseline = fit_baseline(structures, "energy", [1, 6, 8])
        converted = in_training_units(structures, "energy", [1, 6, 8], baseline)
        return np.array([one.targets["energy"].value for one in converted])

    plain, shifted = residuals(0.0), residuals(-1e5)
    assert np.abs(shifted - plain).max() < 1e-10 * np.abs(plain).max()
    # In float32 a single energy of -5e5 eV would already be rounded to multiples of 1/32 eV.
    assert np.abs(plain).max() < 10


def test_training_units():
    cell = 2.0 * np.eye(3)
    forces, stress = np.arange(6.0).reshape(2, 3), np.diag([1.0, 2.0, 3.0])
    structures = [structure([29, 29], -5.0, forces, stress, cell), structure([29], -1.0)]
    baseline = fit_baseline(structures, "energy", [29], fixed=-2.0)
    assert baseline.scale == pytest.approx(np.sqrt((0.5**2 + 1.0) / 2))
    first, second = in_training_units(structures, "energy", [29], baseline)
    target = first.targets["energy"]
    assert target.value == pytest.approx(-0.5 / baseline.scale)
    assert target.forces == pytest.approx(forces / baseline.scale)
    # Volume 8, two atoms: dE/dstrain per atom.
    assert target.stress == pytest.approx(stress * 8 / 2 / baseline.scale)
    assert second.targets["energy"].forces is None
    assert second.targets["energy"].stress is None
    assert structures[0].targets["energy"].value == -5.0
