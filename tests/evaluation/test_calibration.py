"""How uncertainties and ensembles are judged: scores by their definitions, and what they are of."""

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from mtt.data.structure import Reference, Structure
from mtt.data.target import Target
from mtt.evaluation.calibration import Calibration, as_json, calibrations, of_structures
from mtt.evaluation.predict import TargetPrediction

ENERGY = Target("energy")
CHARGES = Target("mtt::q", "charge", "e", "atom")


def structure(n: int, **references: Reference) -> Structure:
    return Structure(
        types=np.ones(n, dtype=np.int32),
        positions=np.arange(3.0 * n).reshape(n, 3),
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
        references=dict(references),
    )


def calibration(errors: object, uncertainties: object, members: object = None) -> Calibration:
    own = np.asarray(errors, dtype=np.float64)
    return Calibration(
        "energy",
        "eV/atom",
        own,
        np.asarray(uncertainties, dtype=np.float64),
        np.arange(len(own)),
        own,
        None if members is None else np.asarray(members, dtype=np.float64),
    )


def test_scores_are_what_they_are_called() -> None:
    random = np.random.default_rng(0)
    errors, deviations = random.normal(size=20), random.uniform(0.1, 2.0, size=20)
    members = errors[:, None] + random.normal(size=(20, 7))
    scores = calibration(errors, deviations, members).scores()
    np.testing.assert_allclose(scores["nll"], -norm.logpdf(errors, scale=deviations))
    # The definition: the squared difference of two distribution functions.
    x = np.linspace(-20.0, 20.0, 200_001)
    step = x[1] - x[0]
    for index in range(20):
        below = norm.cdf(x, scale=deviations[index]) - (x >= -errors[index])
        assert scores["crps"][index] == pytest.approx(np.sum(below**2) * step, abs=1e-3)
        own = (members[index] <= x[:, None]).mean(axis=1) - (x >= 0.0)
        assert scores["empirical_crps"][index] == pytest.approx(np.sum(own**2) * step, abs=1e-3)


def test_errors_of_the_stated_size_are_calibrated() -> None:
    random = np.random.default_rng(1)
    deviations = np.exp(random.normal(size=20_000))
    errors = deviations * random.normal(size=20_000)
    judged = calibration(errors, deviations).to_dict()
    assert judged["ratio"] == pytest.approx(1.0, abs=0.05)
    assert judged["within_1"] == pytest.approx(0.683, abs=0.01)
    assert judged["within_2"] == pytest.approx(0.954, abs=0.01)
    expected = spearmanr(deviations, np.abs(errors)).statistic
    assert judged["rank_correlation"] == pytest.approx(expected)
    groups = judged["by_uncertainty"]
    assert sum(group["values"] for group in groups) == 20_000 and len(groups) == 10
    assert [group["uncertainty"] for group in groups] == sorted(
        group["uncertainty"] for group in groups
    )
    for group in groups:
        assert group["rmse"] == pytest.approx(group["uncertainty"], rel=0.1)
    # Anything else than the truth scores worse, on average.
    for factor in (0.5, 2.0):
        other = calibration(errors, factor * deviations).to_dict()
        assert other["nll"] > judged["nll"] and other["crps"] > judged["crps"]


def test_ties_and_no_uncertainty_at_all_have_figures_that_json_has() -> None:
    none = calibration([0.5, -0.5, 0.0], [0.0, 0.0, 0.0])
    judged = none.to_dict()
    assert (judged["nll"], judged["ratio"], judged["rank_correlation"]) == (None, None, None)
    assert judged["crps"] == pytest.approx(1.0 / 3.0) and judged["by_uncertainty"] == []
    assert none.columns()["nll"] == [None, None, None]
    tied = calibration([0.1, 0.2, 0.2, 0.4], [1.0, 1.0, 2.0, 3.0]).to_dict()
    expected = spearmanr([1.0, 1.0, 2.0, 3.0], [0.1, 0.2, 0.2, 0.4]).statistic
    assert tied["rank_correlation"] == pytest.approx(expected)


def test_values_of_structures_are_judged_per_atom_and_those_of_atoms_as_they_are() -> None:
    """Three structures, one of which has no reference, and one only the charge of one atom."""
    unknown = np.array([[np.nan], [0.5]])
    structures = [
        structure(2, energy=Reference(np.array([4.0]))),
        structure(2),
        structure(2, energy=Reference(np.array([8.0]))),
    ]
    structures[2].references["mtt::q"] = Reference(unknown)
    structures[0].references["mtt::q"] = Reference(np.array([[0.0], [1.0]]))
    predictions = [
        {
            "energy": TargetPrediction(np.array([6.0])),
            "energy_uncertainty": TargetPrediction(np.array([3.0])),
            "energy_ensemble": TargetPrediction(np.array([5.0, 7.0])),
            "mtt::q": TargetPrediction(np.array([[0.25], [0.5]])),
            "mtt::aux::q_ensemble": TargetPrediction(np.array([[0.0, 0.5], [0.5, 0.5]])),
        }
        for _ in structures
    ]
    found = calibrations(structures, predictions, [ENERGY, CHARGES])
    assert [(part.target, part.unit, part.members is None) for part in found] == [
        ("energy", "eV/atom", True),
        ("energy", "eV/atom", False),
        ("mtt::q", "e", False),
    ]
    columns = of_structures(found)
    assert columns["energy"]["index"] == columns["energy"]["ensemble"]["index"] == [0, 2]
    assert columns["energy"]["error"] == columns["energy"]["ensemble"]["error"] == [1.0, -1.0]
    assert columns["energy"]["uncertainty"] == [1.5, 1.5]
    assert columns["energy"]["ensemble"]["uncertainty"] == pytest.approx([0.5**0.5, 0.5**0.5])
    np.testing.assert_array_equal(found[1].members, [[0.5, 1.5], [-1.5, -0.5]])
    assert columns["mtt::q"] == {"ensemble": columns["mtt::q"]["ensemble"]}
    assert columns["mtt::q"]["ensemble"]["index"] == [0, 0, 2]
    assert columns["mtt::q"]["ensemble"]["error"] == [0.25, -0.5, 0.0]
    judged = as_json(found)
    assert judged["energy"]["ensemble"]["members"] == 2 and "members" not in judged["energy"]
