"""Overrides below options that are written short: what they become, and what to write where that is in doubt."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mtt.errors import UserError
from mtt.options import Options, load_eval_options, load_options

Load = Callable[..., Options]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads options of one line, beside those that every file needs, in a folder that has the files."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.xyz", "b.xyz", "c.xyz", "v.xyz"):
        Path(name).touch()

    def load(line: str, *overrides: str) -> Options:
        lines = {"architecture": "architecture: pet", "training_set": "training_set: a.xyz"}
        lines[line.partition(":")[0]] = line
        Path("options.yaml").write_text("\n".join(lines.values()) + "\n")
        return load_options("options.yaml", overrides)

    return load


LOSS = "architecture.training.loss"
ENERGY = "training_set.targets.energy"


@pytest.mark.parametrize(
    ("short", "overrides", "full"),
    [
        (
            "validation_set: v.xyz",
            ["validation_set.systems.length_unit=nm"],
            "validation_set: {systems: {read_from: v.xyz, length_unit: nm}}",
        ),
        (
            "test_set: v.xyz",
            ["test_set.0.systems.length_unit=nm"],
            "test_set: {systems: {read_from: v.xyz, length_unit: nm}}",
        ),
        (
            "validation_set: {systems: v.xyz}",
            ["validation_set.datasets.0.systems.length_unit=nm"],
            "validation_set: {systems: {read_from: v.xyz, length_unit: nm}}",
        ),
        (
            "validation_set: [v.xyz, b.xyz]",
            ["validation_set[1].systems.length_unit=nm"],
            "validation_set: [v.xyz, {systems: {read_from: b.xyz, length_unit: nm}}]",
        ),
        (
            "validation_set: {datasets: v.xyz}",
            ["validation_set.datasets[0].systems.length_unit=nm"],
            "validation_set: {systems: {read_from: v.xyz, length_unit: nm}}",
        ),
        ("validation_set: 0.1", ["validation_set.fraction=0.3"], "validation_set: 0.3"),
        ("validation_set: [1, 2]", ["validation_set.1=4"], "validation_set: [1, 4]"),
        ("validation_set: [1, 2]", ["validation_set.indices=[5]"], "validation_set: [5]"),
        (
            "training_set: a.xyz",
            ["training_set[0].systems.length_unit=nm"],
            "training_set: {systems: {read_from: a.xyz, length_unit: nm}}",
        ),
        (
            "training_set: [a.xyz, b.xyz]",
            ["training_set.1.systems.length_unit=nm"],
            "training_set: [a.xyz, {systems: {read_from: b.xyz, length_unit: nm}}]",
        ),
        (
            "training_set: {systems: a.xyz, weights: on, targets: {energy: b.xyz, mtt::q: c.xyz}}",
            [
                f"{ENERGY}.unit=kcal/mol",
                "training_set.targets.mtt::q.per=atom",
                "training_set.weights.key=w",
            ],
            "training_set: {systems: a.xyz, weights: {key: w}, targets: {energy: {read_from: b.xyz,"
            " unit: kcal/mol}, mtt::q: {read_from: c.xyz, per: atom}}}",
        ),
        (
            "training_set: {systems: a.xyz, targets: {energy: {forces: b.xyz, stress: on}}}",
            [f"{ENERGY}.forces.key=F", f"{ENERGY}.stress.key=S"],
            "training_set: {systems: a.xyz, targets: {energy: {forces: {read_from: b.xyz, key: F},"
            " stress: {key: S}}}}",
        ),
        (
            "architecture: {name: pet, training: {loss: {forces: 0.5, stress: {1: 0.1, 9: 1.0}}}}",
            [f"{LOSS}.forces.type=huber", f"{LOSS}.stress.9=2.0"],
            "architecture: {name: pet, training: {loss: {forces: {weight: 0.5, type: huber},"
            " stress: {1: 0.1, 9: 2.0}}}}",
        ),
        (
            "architecture: {name: pet, model: {long_range: on}, training: {loss: {stress: {1: 0.1}}}}",
            [f"{LOSS}.stress.type=mae", "architecture.model.long_range.num_charges=2"],
            "architecture: {name: pet, model: {long_range: {num_charges: 2}}, training:"
            " {loss: {stress: {weight: {1: 0.1}, type: mae}}}}",
        ),
    ],
)
def test_an_override_below_a_short_form_means_what_the_full_one_says(
    load: Load, short: str, overrides: list[str], full: str
) -> None:
    assert load(short, *overrides) == load(full) != load(short)


@pytest.mark.parametrize(
    ("short", "override", "said"),
    [
        (
            "validation_set: 0.1",
            "validation_set.systems.length_unit=nm",
            "write validation_set=PATH before",
        ),
        (
            "validation_set: '0:5'",
            "validation_set.systems.length_unit=nm",
            "is '0:5', a part of the training set",
        ),
        (
            "validation_set: [1, 2]",
            "validation_set.targets.energy.key=E",
            "is a list of 2 indices, a part of",
        ),
        (
            "validation_set: v.xyz",
            "validation_set.fraction=0.2",
            "give exactly one of fraction, indices and",
        ),
        (
            "validation_set: [v.xyz, b.xyz]",
            "validation_set.systems.format=x",
            "as in validation_set.0.systems",
        ),
        (
            "test_set: v.xyz",
            "test_set.1.systems.format=x",
            "is a list of 1, which has no entry '1'",
        ),
        (
            "training_set: {systems: a.xyz, targets: {energy: {forces: off}}}",
            f"{ENERGY}.forces.key=F",
            f"is off, which has no option 'key'; write {ENERGY}.forces=on before this",
        ),
        (
            "architecture: {name: pet, training: {uncertainty: off}}",
            "architecture.training.uncertainty.num_ensemble_members=4",
            "write architecture.training.uncertainty={} before this",
        ),
    ],
)
def test_what_an_override_cannot_mean_is_told_with_what_to_write(
    load: Load, short: str, override: str, said: str
) -> None:
    with pytest.raises(UserError) as raised:
        load(short, override)
    assert said in str(raised.value)
    before = re.search(r"write (\S+) before this", said)
    if before is not None:
        load(short, before[1].replace("PATH", "v.xyz"), override)


def test_overrides_of_what_to_evaluate_reach_below_paths_in_a_list(load: Load) -> None:
    Path("eval.yaml").write_text("- a.xyz\n- systems: b.xyz\n")
    first, second = load_eval_options(
        "eval.yaml", ["0.systems.length_unit=nm", "1.systems.length_unit=nm"]
    )
    assert (first.systems.length_unit, second.systems.length_unit) == ("nm", "nm")
    assert (first.systems.read_from.name, second.systems.read_from.name) == ("a.xyz", "b.xyz")
