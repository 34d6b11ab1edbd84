"""Composition and scale: the formulas, degenerate data, and offsets that must change nothing."""

import dataclasses

import numpy as np
import pytest

from mtt.data.structure import Reference, Structure
from mtt.data.target import Target
from mtt.training.baseline import Baseline, fit_baseline, in_training_units, refit_baseline

ENERGY = Target("energy")
CHARGES = Target("mtt::charges", quantity="charge", unit="e", per="atom")


def structure(types, energy, forces=None, stress=None, cell=None):
    n = len(types)
    cell = np.zeros((3, 3)) if cell is None else np.asarray(cell, dtype=float)
    pbc = np.full(3, bool(cell.any()))
    reference = Reference(np.array([energy]), forces, stress)
    positions = np.arange(3.0 * n).reshape(n, 3)
    return Structure(np.array(types, dtype=np.int32), positions, cell, pbc, {"energy": reference})


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
    baseline = fit_baseline(structures, ENERGY, [1, 6, 8])
    assert baseline.composition[:, 0] == pytest.approx([-13.5, -1030.25, -2043.0], abs=0.02)
    counts = [(np.array(one.types)[:, None] == [1, 6, 8]).sum(axis=0) for one in structures]
    energies = np.array([one.references["energy"].values[0] for one in structures])
    expected, *_ = np.linalg.lstsq(np.array(counts, dtype=float), energies, rcond=None)
    assert baseline.composition[:, 0] == pytest.approx(expected, rel=1e-12)
    residual = (energies - counts @ expected) / [len(one) for one in structures]
    assert baseline.scale == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-9)


def test_one_molecule_only_gives_the_shortest_solution():
    structures = [structure([6, 1, 1, 1, 1], energy) for energy in (-33.0, -35.0)]
    baseline = fit_baseline(structures, ENERGY, [1, 6])
    # 4 h + c = -34, and (h, c) parallel to (4, 1).
    assert baseline.composition[:, 0] == pytest.approx([-34.0 * 4 / 17, -34.0 / 17], rel=1e-12)
    assert baseline.scale == pytest.approx(1.0 / 5)


def test_energies_that_composition_explains_leave_the_scale_at_one():
    structures = [structure([1, 1, 8], -2070.123456789) for _ in range(3)]
    assert fit_baseline(structures, ENERGY, [1, 8]).scale == 1.0


def test_scale_can_be_left_at_one():
    structures = water_and_methane([-3.0, -4.0, -3.5, -4.5])
    assert fit_baseline(structures, ENERGY, [1, 6, 8], scale_targets=False).scale == 1.0


def with_forces(size, kinds=(1, 1, 8), energy=-3.0):
    """A structure whose force components have one magnitude."""
    made = structure(list(kinds), energy)
    forces = size * np.array([[1.0, -1.0, 1.0]] * len(kinds))
    reference = dataclasses.replace(made.references["energy"], forces=forces)
    return dataclasses.replace(made, references={"energy": reference})


def test_the_scale_of_an_energy_is_that_of_its_forces_times_one_angstrom():
    structures = [with_forces(3.0), with_forces(4.0), structure([1, 1, 8], -3.5)]
    fitted = fit_baseline(structures, ENERGY, [1, 8], scale_targets="forces")
    assert fitted.scale == pytest.approx(12.5**0.5, rel=1e-12)
    # The same in nanometers: forces are ten times as many units, an angstrom is a tenth of one.
    in_nm = [with_forces(30.0), with_forces(40.0), structure([1, 1, 8], -3.5)]
    same = fit_baseline(in_nm, ENERGY, [1, 8], scale_targets="forces", angstrom=0.1)
    assert same.scale == pytest.approx(fitted.scale, rel=1e-12)
    by_values = fit_baseline(structures, ENERGY, [1, 8], scale_targets=True)
    np.testing.assert_array_equal(fitted.composition, by_values.composition)
    assert by_values.scale < 0.2


def test_forces_that_are_missing_or_far_from_all_others_do_not_count():
    structures = [with_forces(size) for size in (1.0, 1.1, 0.9, 1.2, 0.8)]
    expected = fit_baseline(structures, ENERGY, [1, 8], scale_targets="forces").scale
    gone = with_forces(np.nan)
    partly = with_forces(np.nan)
    partly.references["energy"].forces[0] = 1.0
    spoiled = [*structures, gone, with_forces(1e5)]
    assert fit_baseline(spoiled, ENERGY, [1, 8], scale_targets="forces").scale == expected
    some = fit_baseline([partly], ENERGY, [1, 8], scale_targets="forces")
    assert some.scale == pytest.approx(1.0)


def test_without_forces_the_values_give_the_scale():
    for plain in (
        water_and_methane([-3.0, -4.0, -3.5, -4.5]),
        [with_forces(0.0, energy=-3.0), with_forces(0.0, energy=-4.0)],
    ):
        by_values = fit_baseline(plain, ENERGY, [1, 6, 8], scale_targets=True)
        by_forces = fit_baseline(plain, ENERGY, [1, 6, 8], scale_targets="forces")
        assert by_forces.scale == by_values.scale != 1.0


def test_fixed_baselines_are_kept_and_the_others_fitted_around_them():
    structures = water_and_methane([-10.0, -20.0, -10.5, -20.5])
    everything = fit_baseline(structures, ENERGY, [1, 6, 8], fixed=-2.0)
    assert everything.composition[:, 0].tolist() == [-2.0, -2.0, -2.0]
    some = fit_baseline(structures, ENERGY, [1, 6, 8], fixed={1: -0.5})
    assert some.composition[:, 0] == pytest.approx([-0.5, -18.25, -9.25])
    listed = fit_baseline(structures, ENERGY, [1, 6, 8], fixed={1: -0.5, 6: -1, 8: -3, 79: 4})
    assert listed.composition[:, 0].tolist() == [-0.5, -1.0, -3.0]


def test_huge_offsets_change_nothing_that_is_trained_on():
    random = np.random.default_rng(1)
    # Multiples of 2^-20 eV, so that adding the offset is exact: what differs is our own doing.
    energies = np.round(random.normal(size=40) * 2**20) / 2**20

    def residuals(offset):
        structures = water_and_methane(energies)
        structures = [
            structure(one.types.tolist(), one.references["energy"].values[0] + offset * len(one))
            for one in structures
        ]
        baseline = fit_baseline(structures, ENERGY, [1, 6, 8])
        converted = in_training_units(structures, [ENERGY], [1, 6, 8], {"energy": baseline})
        return np.array([one.references["energy"].values[0] for one in converted])

    plain, shifted = residuals(0.0), residuals(-1e5)
    assert np.abs(shifted - plain).max() < 1e-10 * np.abs(plain).max()
    # In float32 a single energy of -5e5 eV would already be rounded to multiples of 1/32 eV.
    assert np.abs(plain).max() < 10


def test_training_units():
    cell = 2.0 * np.eye(3)
    forces, stress = np.arange(6.0).reshape(2, 3), np.diag([1.0, 2.0, 3.0])
    structures = [structure([29, 29], -5.0, forces, stress, cell), structure([29], -1.0)]
    baseline = fit_baseline(structures, ENERGY, [29], fixed=-2.0)
    assert baseline.scale == pytest.approx(np.sqrt((0.5**2 + 1.0) / 2))
    first, second = in_training_units(structures, [ENERGY], [29], {"energy": baseline})
    target = first.references["energy"]
    assert target.values[0] == pytest.approx(-0.5 / baseline.scale)
    assert target.forces == pytest.approx(forces / baseline.scale)
    # Volume 8, two atoms: dE/dstrain per atom.
    assert target.stress == pytest.approx(stress * 8 / 2 / baseline.scale)
    assert second.references["energy"].forces is None
    assert second.references["energy"].stress is None
    assert structures[0].references["energy"].values[0] == -5.0


def charged(types, charges):
    one = structure(types, -1.0)
    one.references["mtt::charges"] = Reference(np.array(charges, dtype=float).reshape(-1, 1))
    return one


def test_values_of_atoms_have_the_mean_of_each_type_and_one_scale():
    structures = [charged([1, 1, 8], [0.5, 0.3, -0.8]), charged([8, 1], [-0.6, 0.7])]
    baseline = fit_baseline(structures, CHARGES, [1, 6, 8])
    assert baseline.composition.shape == (3, 1) and baseline.composition.dtype == np.float64
    assert baseline.composition[:, 0] == pytest.approx([0.5, 0.0, -0.7], rel=1e-14)
    residuals = np.array([0.0, -0.2, -0.1, 0.1, 0.2])
    assert baseline.scale == pytest.approx(np.sqrt(np.mean(residuals**2)), rel=1e-14)
    first, second = in_training_units(structures, [CHARGES], [1, 6, 8], {"mtt::charges": baseline})
    values = [one.references["mtt::charges"].values for one in (first, second)]
    assert [one.shape for one in values] == [(3, 1), (2, 1)]
    # Not over the number of atoms: each atom has its own.
    assert np.concatenate(values)[:, 0] == pytest.approx(residuals / baseline.scale, abs=1e-13)
    # References of targets that nobody trains on are left behind.
    assert set(first.references) == {"mtt::charges"}
    assert structures[0].references["mtt::charges"].values[0, 0] == 0.5


def test_fixed_values_of_atoms():
    structures = [charged([1, 1, 8], [0.5, 0.3, -0.8])]
    baseline = fit_baseline(structures, CHARGES, [1, 8], fixed={8: -1.0})
    assert baseline.composition[:, 0].tolist() == [0.4, -1.0]
    unscaled = fit_baseline(structures, CHARGES, [1, 8], fixed=0.0, scale_targets=False)
    assert unscaled.composition.tolist() == [[0.0], [0.0]] and unscaled.scale == 1.0


def test_values_that_are_missing_take_no_part():
    structures = [
        charged([1, 1, 8], [0.5, np.nan, -0.8]),
        charged([1, 8], [0.7, -0.6]),
        structure([1, 8], np.nan),
        structure([1, 8], -2.0),
    ]
    baseline = fit_baseline(structures, CHARGES, [1, 8])
    assert baseline.composition[:, 0] == pytest.approx([0.6, -0.7])
    energies = fit_baseline(structures, ENERGY, [1, 8])
    alone = fit_baseline([structures[index] for index in (0, 1, 3)], ENERGY, [1, 8])
    assert np.array_equal(energies.composition, alone.composition)
    assert energies.scale == alone.scale
    converted = in_training_units(
        structures, [ENERGY, CHARGES], [1, 8], {"energy": energies, "mtt::charges": baseline}
    )
    assert [set(one.references) for one in converted][2:] == [{"energy"}, {"energy"}]
    assert np.isnan(converted[0].references["mtt::charges"].values[1, 0])
    assert np.isfinite(converted[0].references["mtt::charges"].values[[0, 2], 0]).all()
    nothing = fit_baseline(structures[2:3], CHARGES, [1, 8])
    assert nothing.composition.tolist() == [[0.0], [0.0]] and nothing.scale == 1.0


def test_several_properties_are_fitted_one_by_one():
    random = np.random.default_rng(3)
    target = Target("mtt::pair", quantity="", unit="", properties=2)
    structures = water_and_methane([-3.0, -4.0, -3.5, -4.5])
    for one in structures:
        one.references["mtt::pair"] = Reference(random.normal(size=2))
    both = fit_baseline(structures, target, [1, 6, 8])
    for column in (0, 1):
        for one in structures:
            value = one.references["mtt::pair"].values[column : column + 1]
            one.references["energy"] = Reference(value)
        single = fit_baseline(structures, ENERGY, [1, 6, 8])
        assert np.array_equal(both.composition[:, column], single.composition[:, 0])
    baselines = {"mtt::pair": both}
    converted = in_training_units(structures, [target], [1, 6, 8], baselines)
    values = np.stack([one.references["mtt::pair"].values for one in converted])
    assert values.shape == (4, 2) and np.mean(values**2) == pytest.approx(1.0)


@pytest.mark.parametrize("room", [0.0, 5.0, np.nan])
def test_the_room_of_spectra_counts_for_nothing(room):
    target = Target("mtt::dos", quantity="", unit="", properties=4, shift=2)
    structures = water_and_methane([1.0] * 4)
    for one in structures:
        values = np.array([room, room, 3.0 * len(one), np.nan])
        one.references["mtt::dos"] = Reference(values)
    assert fit_baseline(structures, target, [1, 6, 8], 0.0).scale == pytest.approx(3.0)
    assert np.array_equal(structures[0].references["mtt::dos"].values[:2], [room] * 2, True)


def test_refit_of_values_of_atoms_and_of_systems():
    structures = [charged([1, 1, 8], [0.5, 0.3, -0.8]), charged([8, 1], [-0.6, 0.7])]
    before = Baseline(np.array([[0.1], [9.0], [0.2]]), 3.0)
    predicted = [np.full((3, 1), 0.1), np.full((2, 1), 0.1)]
    after = refit_baseline(before, structures, CHARGES, [1, 6, 8], predicted)
    # Carbon does not occur, so that nothing is known of it.
    assert after.composition[:, 0] == pytest.approx([0.1 + 0.4, 9.0, 0.2 - 0.8])
    assert after.scale == 3.0 and before.composition[0, 0] == 0.1
    molecules = water_and_methane([-10.0, -20.0, -10.0, -20.0])
    old = fit_baseline(molecules, ENERGY, [1, 6, 8])
    shifted = [np.array([-10.5]), np.array([-20.0])] * 2
    new = refit_baseline(old, molecules, ENERGY, [1, 6, 8], shifted)
    change = (new.composition - old.composition)[:, 0]
    assert [2 * change[0] + change[2], 4 * change[0] + change[1]] == pytest.approx([0.5, 0.0])
