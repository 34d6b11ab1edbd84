"""Errors by config_type, element and size, the worst structures, and what rotations change."""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mtt.data.structure import Reference, Structure
from mtt.data.target import GRADIENTS, Target
from mtt.errors import UserError, VerificationFailed
from mtt.evaluation import error_groups
from mtt.evaluation.analysis import group_table, place
from mtt.evaluation.error_groups import errors, groups, histograms, worst
from mtt.evaluation.panels import parity_panels
from mtt.evaluation.rotations import rotational_error
from mtt.report.parity import Parity, rmse

ENERGY = Target("energy", gradients=GRADIENTS)


def structures() -> list[Structure]:
    made: list[Structure] = []
    for number, (types, name) in enumerate(
        [([1, 1], "bulk"), ([1, 8, 8], None), ([8], "<script>"), ([1, 1, 8, 8], "bulk")]
    ):
        random = np.random.default_rng(number)
        n = len(types)
        own = Reference(np.array([-5.0 * n]), random.normal(size=(n, 3)))
        cell, pbc = np.zeros((3, 3)), np.zeros(3, bool)
        positions = random.normal(size=(n, 3))
        source = f"/data/a.xyz#{number}"
        known = {"energy": own}
        made.append(
            Structure(
                np.array(types, np.int32),
                positions,
                cell,
                pbc,
                known,
                source,
                config_type=name or "",
            )
        )
    return made


def predictions(of: list[Structure]) -> list[dict[str, Reference]]:
    """Energies are too high by the index, forces on oxygen by 0.5 in one component."""
    made = []
    for number, structure in enumerate(of):
        own = structure.references["energy"]
        assert own.forces is not None
        forces = own.forces.copy()
        forces[structure.types == 8, 0] += 0.5
        made.append({"energy": Reference(own.values + number, forces)})
    return made


def test_errors_of_groups() -> None:
    of = structures()
    panels = parity_panels(of, predictions(of), [ENERGY], "angstrom")
    found = groups(panels, of)
    assert {name: list(parts) for name, parts in found.items()} == {
        "config_type": ["(none)", "<script>", "bulk"],
        "size": ["1 atom", "2 atoms", "3 atoms", "4 atoms"],
        "element": ["H", "O"],
    }
    bulk = found["config_type"]["bulk"]
    assert bulk["structures"] == 2
    assert bulk["errors"]["energy"]["max"] == pytest.approx(3.0)
    assert bulk["errors"]["energy"]["rmse"] == pytest.approx(np.sqrt(9 / 2))
    assert found["element"]["H"]["errors"]["forces"]["rmse"] == 0.0
    assert found["element"]["O"]["errors"]["forces"]["rmse"] == pytest.approx(0.5 / np.sqrt(3))
    assert set(found["element"]["O"]["errors"]) == {"forces"}
    assert found["element"]["H"]["structures"] == 3
    for division in ("config_type", "size"):
        parts = [part["errors"]["forces"]["values"] for part in found[division].values()]
        assert sum(parts) == errors(panels)["forces"]["values"], division
    json.dumps([found, histograms(panels)], allow_nan=False)
    console = Console(file=io.StringIO(), width=100)
    console.print(group_table("config_type", found["config_type"]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "energy per atom" in shown and "<script>" in shown


def test_sizes_are_about_as_many() -> None:
    names = error_groups._sizes([*range(2, 102), 5000])
    assert list(dict.fromkeys(names)) == [
        "2 to 27 atoms",
        "28 to 52 atoms",
        "53 to 77 atoms",
        "78 to 5000 atoms",
    ]
    assert set(error_groups._sizes([7, 7, 7])) == {"7 atoms"}


def test_the_worst_structures() -> None:
    of = structures()
    del of[1].references["energy"]
    panels = parity_panels(of, predictions([of[0], of[0], of[2], of[3]]), [ENERGY], "angstrom")
    rows = worst(panels, of)["energy_per_atom"]
    assert [(row["index"], row["source"]) for row in rows[:2]] == [
        (2, "/data/a.xyz#2"),
        (3, "/data/a.xyz#3"),
    ]
    assert rows[0]["error"] == pytest.approx(2.0)
    assert {row["index"] for row in rows} == {0, 2, 3}
    assert place(rows[0]) == "a.xyz#2"
    assert place({"source": f"{'long' * 20}.xyz#12"}).endswith("long.xyz#12")


def test_pictures_leave_the_baseline_out() -> None:
    of = structures()
    given = parity_panels(of, predictions(of), [ENERGY], "A", {"energy": {1: -4.0, 8: -6.0}})
    panel = given["energy per atom"]
    assert panel.offset_name == "baseline" and given["forces"].offset is None
    np.testing.assert_allclose(panel.offset, [-4.0, -16 / 3, -6.0, -5.0])
    fitted = parity_panels(of, predictions(of), [ENERGY], "A")["energy per atom"]
    np.testing.assert_allclose(fitted.shown(fitted.reference), 0.0, atol=1e-12)


class Turning:
    """A model whose energy and forces know which way is up, by a part ``eps``."""

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def predict(self, of: Any, targets: Any) -> Any:
        for one in of:
            energy = (one.positions**2).sum() + self.eps * one.positions[:, 2].sum()
            forces = -2 * one.positions - self.eps * np.eye(3)[2]
            yield {target.name: Reference(np.array([energy]), forces) for target in targets}


def test_what_rotations_change() -> None:
    of = structures()
    for eps, bound in ((0.0, 1e-12), (0.01, 0.02)):
        model = Turning(eps)
        error = rotational_error(model, of, list(model.predict(of, [ENERGY])), [ENERGY], "angstrom")
        assert error is not None and (error.structures, error.rotations) == (4, 4)
        energy, forces = error.changes
        assert forces.largest <= bound and (forces.largest > bound / 3 or eps == 0.0)
        assert forces.mev == pytest.approx(1000 * forces.largest)
        assert error.to_dict()["changes"]["forces"]["unit"] == "eV/A"
    assert "rotations change energy by up to" in error.sentence()
    error.check(None, "model.pt")
    error.check(1000.0, "model.pt")
    with pytest.raises(VerificationFailed, match=r"model\.pt: rotations change .* allows 1$"):
        error.check(1.0, "model.pt")


def test_rotations_in_other_units() -> None:
    model, of = Turning(0.01), structures()
    results = list(model.predict(of, [ENERGY]))
    for unit, length, factor in (("Hartree", "bohr", 51422.07), ("meV", "A", 1.0)):
        target = Target("energy", unit=unit)
        error = rotational_error(model, of, results, [target], length)
        assert error is not None
        forces = error.changes[1]
        assert forces.mev == pytest.approx(factor * forces.largest, rel=1e-4)
    error = rotational_error(model, of, results, [Target("energy", unit="parrots")], "A")
    assert error is not None
    with pytest.raises(UserError, match="cannot be compared with --max-rotation-error"):
        error.check(1.0, "model.pt")
    assert rotational_error(model, [], [], [ENERGY], "A") is None


class Moments:
    """A model whose values are moments of the positions, with the axes in an order."""

    def __init__(self, order: tuple[int, ...]) -> None:
        self.order = list(order)

    def predict(self, of: Any, targets: Any) -> Any:
        for one in of:
            yield {target.name: Reference(self.value(one, target)) for target in targets}

    def value(self, one: Structure, target: Target) -> np.ndarray[Any, Any]:
        positions = one.positions[:, self.order]
        if target.type == "vector":
            return positions if target.per == "atom" else positions.sum(axis=0)
        return (positions.T @ positions).reshape(9)


@pytest.mark.parametrize(
    "target",
    [
        Target("mtt::dipole", "dipole", "e*A", type="vector"),
        Target("mtt::force", "force", "eV/A", per="atom", type="vector"),
        Target("mtt::alpha", "", "A^2", type="matrix"),
    ],
)
def test_what_turns_is_compared_as_it_turns(target: Target) -> None:
    of = structures()
    for order, turns in (((0, 1, 2), True), ((1, 0, 2), False)):
        model = Moments(order)
        error = rotational_error(model, of, list(model.predict(of, [target])), [target], "A")
        assert error is not None
        (change,) = error.changes
        assert (change.largest < 1e-12) == turns, change
        # A limit in meV is about energies and forces only.
        error.check(1e-9, "model.pt")


def test_many_groups_take_no_pass_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of structures in the place of names of groups must not take hours."""
    few = structures()
    many = [replace(few[number % 4], config_type=f"mp-{number // 2}") for number in range(400)]
    panels = parity_panels(many, predictions(many), [ENERGY], "angstrom")
    passes = []
    compare = Parity.errors.fget
    assert compare is not None

    def counted(panel: Parity) -> np.ndarray[Any, Any]:
        passes.append(panel.title)
        return compare(panel)

    monkeypatch.setattr(Parity, "errors", property(counted))
    divided = groups(panels, many)
    assert len(passes) <= 3 * len(panels)
    assert len(divided["config_type"]) == 200
    found = divided["config_type"]["mp-77"]
    assert found["structures"] == 2
    chosen = np.array([each.config_type == "mp-77" for each in many])
    for name, panel in panels.items():
        assert panel.structures is not None
        own = panel.errors[chosen[panel.structures]]
        row = found["errors"][name.replace(" ", "_")]
        assert row["values"] == len(own) and row["rmse"] == rmse(own)
