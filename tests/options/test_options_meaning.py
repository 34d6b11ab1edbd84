"""What an options file resolves to: defaults, short forms, overrides, YAML's surprises."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from mtt.architectures.pet.hypers import ModelHypers
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.options import (
    DatasetOptions,
    GradientOptions,
    Options,
    TargetOptions,
    load_eval_options,
    load_metadata,
    load_options,
    options_hash,
    parse_slice,
)
from mtt.options.schema.sizes import MAX_PROPERTIES

Load = Callable[..., Options]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads options from their text, in a folder that has a.xyz, b.xyz and c.xyz."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.xyz", "b.xyz", "c.xyz"):
        Path(name).touch()

    def load(text: str, *overrides: str) -> Options:
        Path("options.yaml").write_text(text)
        return load_options("options.yaml", overrides)

    return load


def pet(rest: str) -> str:
    return f"architecture: pet\n{rest}"


def test_the_shortest_file_has_all_defaults(load: Load) -> None:
    options = load("architecture: pet\ntraining_set: a.xyz\n")
    assert (options.seed, options.device, options.base_precision) == (0, "auto", 32)
    assert options.architecture.version == 3
    assert options.architecture.model == ModelHypers()
    assert options.training_set == [DatasetOptions(systems={"read_from": "a.xyz"})]
    target = options.training_set[0].targets["energy"]
    assert (target.key, target.unit, target.forces, target.stress) == ("energy", "eV", None, None)
    assert (options.validation_set.part, options.test_set.part) == (0.1, 0.0)


def test_long_and_short_forms_mean_the_same(load: Load) -> None:
    short = load(
        "architecture: {name: pet, model: , training: {loss: huber}}\n"
        "training_set: {systems: a.xyz, targets: {energy: {forces: on, stress: b.xyz}}}\n"
        "validation_set: '0:5'\n"
        "test_set: b.xyz\n"
    )
    long = load(
        """
version: 2
architecture:
  name: pet
  version: 3
  model: {}
  training:
    loss: {type: huber}
training_set:
  - systems: {read_from: a.xyz}
    targets:
      energy:
        forces: {key: forces}
        stress: {key: stress, read_from: b.xyz}
validation_set: {indices: "0:5"}
test_set:
  datasets:
    - systems: {read_from: b.xyz}
      targets:
        energy:
          forces: {key: forces}
          stress: {key: stress, read_from: b.xyz}
"""
    )
    assert short == long
    assert options_hash(short) == options_hash(long)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", None),
        ("forces:", None),
        ("forces: off", False),
        ("forces: no", False),
        ("forces: on", GradientOptions(key="forces")),
        ("forces: True", GradientOptions(key="forces")),
        ("forces: {key: F}", GradientOptions(key="F")),
        ("forces: {read_from: b.xyz}", GradientOptions(key="forces", read_from="b.xyz")),
        ("forces: b.xyz", GradientOptions(key="forces", read_from="b.xyz")),
    ],
)
def test_gradients(load: Load, written: str, expected: GradientOptions | bool | None) -> None:
    options = load(pet(f"training_set: {{systems: a.xyz, targets: {{energy: {{{written}}}}}}}"))
    assert options.training_set[0].targets["energy"].forces == expected


@pytest.mark.parametrize(
    ("written", "part", "n_datasets"),
    [
        ("0.25", 0.25, 0),
        ("1e-1", 0.1, 0),
        ("[3, 1]", [3, 1], 0),
        ("10:50", "10:50", 0),
        ("'::5'", "::5", 0),
        ("{fraction: 0.5}", 0.5, 0),
        ("{indices: [0]}", [0], 0),
        ("b.xyz", None, 1),
        ("[b.xyz, c.xyz]", None, 2),
        ("{systems: b.xyz}", None, 1),
        ("{datasets: b.xyz}", None, 1),
    ],
)
def test_validation_sets(load: Load, written: str, part: Any, n_datasets: int) -> None:
    text = "training_set: {systems: a.xyz, targets: {energy: {key: U0, unit: Hartree}}}\n"
    split = load(pet(text + f"validation_set: {written}\n")).validation_set
    assert split.part == part
    for dataset in split.datasets or []:
        # datasets without targets have those of the training set
        target = TargetOptions(quantity="energy", key="U0", unit="Hartree")
        assert dataset.targets == {"energy": target}
    assert len(split.datasets or []) == n_datasets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1_000.5", 1000.5),
        ("2", 2.0),
    ],
)
def test_numbers_that_yaml_1_1_takes_for_text(load: Load, text: str, expected: float) -> None:
    rest = f"architecture: {{name: pet, training: {{learning_rate: {text}}}}}\ntraining_set: a.xyz"
    assert load(rest).architecture.training.learning_rate == expected


def test_merge_keys_and_aliases(load: Load) -> None:
    options = load(
        pet(
            "training_set:\n"
            "  - systems: &s {read_from: a.xyz, indices: '0:2'}\n"
            "  - systems: {<<: *s, read_from: b.xyz}\n"
        )
    )
    second = options.training_set[1].systems
    assert (second.read_from, second.indices) == (Path("b.xyz"), "0:2")


def test_a_baseline_by_symbols_is_that_by_numbers(load: Load) -> None:
    text = "architecture: {{name: pet, training: {{atomic_baseline: {}}}}}\ntraining_set: a.xyz\n"
    by_symbol = load(text.format("{energy: {H: -13.6, 6: -1029}}"))
    by_number = load(text.format("{energy: {1: -13.6, 6: -1029}}"))
    assert options_hash(by_symbol) == options_hash(by_number)


def test_overrides(load: Load) -> None:
    options = load(
        "architecture: {name: pet}\ntraining_set:\n  - a.xyz\n  - {systems: {read_from: b.xyz}}\n",
        "architecture.model.d_pet=64",
        "architecture.training.atomic_baseline={energy: {6: -1000, 1: -13.6}}",
        "training_set[1].systems.read_from=c.xyz",
        "training_set.0=b.xyz",
        "seed=1",
        "seed=2",
        "validation_set='0:7'",
        "training_set[1].targets.energy.description=a = b",
    )
    assert options.architecture.model.d_pet == 64  # type: ignore[attr-defined]
    baseline = options.architecture.training.atomic_baseline
    assert baseline == {"energy": {6: -1000.0, 1: -13.6}}
    paths = [str(dataset.systems.read_from) for dataset in options.training_set]
    assert paths == ["b.xyz", "c.xyz"]
    assert options.seed == 2
    assert options.validation_set.indices == "0:7"
    assert options.training_set[1].targets["energy"].description == "a = b"


def test_an_override_replaces_a_mistake_in_the_file(load: Load) -> None:
    options = load(pet("training_set: a.xyz\nseed: many\n"), "seed=3")
    assert options.seed == 3


def test_options_survive_the_checkpoint(load: Load) -> None:
    options = load(
        "architecture:\n  name: pet\n  training:\n"
        "    atomic_baseline: {energy: {6: -1000}}\n    learning_rate: 3e-4\n"
        "training_set: {systems: a.xyz, targets: {energy: {forces: on, stress: off}}}\n"
        "test_set: b.xyz\n"
    )
    stored = json.loads(json.dumps(options.to_dict(), allow_nan=False))
    again = Options.from_dict(stored)
    assert again == options
    assert type(again) is type(options)
    assert options_hash(again) == options_hash(options)
    # also as an options file
    assert load(yaml.safe_dump(stored)) == options


def test_the_hash_follows_the_meaning(load: Load) -> None:
    first = load(pet("training_set: a.xyz\n"))
    assert options_hash(first) == options_hash(load(pet("seed: 0\ntraining_set: [a.xyz]\n")))
    assert options_hash(first) != options_hash(load(pet("seed: 1\ntraining_set: a.xyz\n")))


def test_stored_options_that_no_longer_fit(load: Load) -> None:
    stored = load(pet("training_set: a.xyz\n")).to_dict()
    stored["architecture"]["model"]["gone"] = 1
    with pytest.raises(UserError) as caught:
        Options.from_dict(stored)
    assert str(caught.value) == (
        "the stored options do not fit this version of mtt: architecture.model.gone: "
        "Extra inputs are not permitted"
    )


def test_options_cannot_be_changed(load: Load) -> None:
    with pytest.raises(ValidationError):
        load(pet("training_set: a.xyz\n")).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ("[1]", "expected a mapping from targets to energies, as in {energy: -5.0}"),
        ("{energy: {Hx: 1}}", "'Hx' is not an atomic type: write the symbol or the atomic number"),
        ("{energy: {H: 1, 1: 2}}", "the baseline of atomic type 1 is given twice"),
        (
            "{H: -13.6}",
            "'H' is an atomic type: name the target first, as in {energy: {H: -13.6}}",
        ),
        ("{8: -5}", "'8' is an atomic type: name the target first, as in {energy: {8: -5}}"),
        ("{energy: {1: x}}", "the baseline of atomic type 1 must be a number"),
        (
            "{energy: x}",
            (
                "the baseline of 'energy' must be a number, a mapping from atomic types to "
                "numbers, as in {H: -13.6, C: -1029.0}, or isolated"
            ),
        ),
    ],
)
def test_wrong_baselines(load: Load, baseline: str, expected: str) -> None:
    text = f"architecture: {{name: pet, training: {{atomic_baseline: {baseline}}}}}\n"
    with pytest.raises(UserError) as caught:
        load(text + "training_set: a.xyz\n")
    first = str(caught.value).splitlines()[0]
    assert first.partition("atomic_baseline: ")[2] == expected


def test_eval_options(load: Load) -> None:
    Path("one.yaml").write_text("systems: a.xyz\ntargets: {energy: {forces: on}}\n")
    Path("two.yaml").write_text("- a.xyz\n- systems: b.xyz\n")
    (one,) = load_eval_options("one.yaml", ["systems=b.xyz"])
    assert one.systems.read_from == Path("b.xyz")
    assert one.targets["energy"].forces == GradientOptions(key="forces")
    assert [str(two.systems.read_from) for two in load_eval_options("two.yaml")] == [
        "a.xyz",
        "b.xyz",
    ]
    Path("wrong.yaml").write_text("- systems: {read_form: a.xyz}\n- nowhere/d.xyz\n")
    with pytest.raises(UserError) as caught:
        load_eval_options("wrong.yaml")
    assert str(caught.value) == (
        "wrong.yaml:1:3: error: [0].systems.read_from: is required\n"
        "  1 | - systems: {read_form: a.xyz}\n"
        "    |   ^\n"
        "wrong.yaml:1:13: error: [0].systems.read_form: unknown option; did you mean "
        "'read_from'?\n"
        "  1 | - systems: {read_form: a.xyz}\n"
        "    |             ^\n"
        "wrong.yaml:2:3: error: [1]: file not found: nowhere/d.xyz (there is no folder nowhere)\n"
        "  2 | - nowhere/d.xyz\n"
        "    |   ^\n"
        "3 errors in wrong.yaml"
    )


def test_metadata(load: Load) -> None:
    Path("metadata.yaml").write_text(
        "name: ethanol\nauthors: [A. Person]\nreferences: {model: ['doi:1']}\n"
        "extra: {level: GFN2-xTB}\n"
    )
    metadata = load_metadata("metadata.yaml")
    assert (metadata.name, metadata.authors) == ("ethanol", ["A. Person"])
    assert metadata.references.model == ["doi:1"]
    assert metadata.extra == {"level": "GFN2-xTB"}
    Path("metadata.yaml").write_text("author: me\nreferences: {model: x}\nextra: {n: 1}\n")
    with pytest.raises(UserError) as caught:
        load_metadata("metadata.yaml")
    assert str(caught.value) == (
        "metadata.yaml:1:1: error: author: unknown option; did you mean 'authors'?\n"
        "  1 | author: me\n"
        "    | ^\n"
        "metadata.yaml:2:21: error: references.model: expected a list, found 'x'\n"
        "  2 | references: {model: x}\n"
        "    |                     ^\n"
        "metadata.yaml:3:12: error: extra.n: expected text, found 1 (put it in quotes if it is "
        "meant as text)\n"
        "  3 | extra: {n: 1}\n"
        "    |            ^\n"
        "3 errors in metadata.yaml"
    )


def test_slices() -> None:
    assert parse_slice("0:50") == slice(0, 50)
    assert parse_slice(" : :-2") == slice(None, None, -2)
    for wrong in ("", "5", "a:b", "1:2:3:4", "1.5:2"):
        with pytest.raises(ValueError, match="expected a slice"):
            parse_slice(wrong)


def test_options_import_nothing_heavy() -> None:
    code = "import sys, mtt.options, mtt.architectures.pet; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"torch", "numpy", "ase", "matplotlib", "rich"} & set(run.stdout.split())


SEVERAL = """
architecture: {name: pet, training: {loss: {type: mae, energy: 2.0, targets: {
  energy/pbe: {type: huber, delta: 0.5, forces: 0.0}, "mtt::charges": {weight: 0.25}}}}}
training_set:
  systems: a.xyz
  targets:
    energy: {}
    energy/pbe: {key: U, unit: Hartree, forces: {key: F}}
    mtt::u0: {quantity: energy}
    mtt::charges: {quantity: charge, unit: e, per: atom}
    mtt::gap:
validation_set: b.xyz
"""


def test_defaults_of_several_targets(load: Load) -> None:
    options = load(SEVERAL)
    targets = options.training_set[0].targets
    assert list(targets) == ["energy", "energy/pbe", "mtt::u0", "mtt::charges", "mtt::gap"]
    described = {name: (one.quantity, one.key, one.unit, one.per) for name, one in targets.items()}
    assert described == {
        "energy": ("energy", "energy", "eV", "system"),
        "energy/pbe": ("energy", "U", "Hartree", "system"),
        "mtt::u0": ("energy", "u0", "eV", "system"),
        "mtt::charges": ("charge", "charges", "e", "atom"),
        "mtt::gap": ("", "gap", "", "system"),
    }
    # Only one of several energies takes the forces that nobody asked for.
    assert [targets[name].forces for name in ("energy", "mtt::u0")] == [None, False]
    assert targets["energy/pbe"].forces == GradientOptions(key="F")
    assert [targets["energy/pbe"].stress, targets["energy/pbe"].virial] == [False, False]
    assert options.validation_set.datasets is not None
    assert options.validation_set.datasets[0].targets == targets
    assert type(options).from_dict(options.to_dict()) == options


def test_an_energy_alone_takes_the_forces_that_are_there(load: Load) -> None:
    (data,) = load(pet("training_set: {systems: a.xyz, targets: {energy/pbe: }}")).training_set
    target = data.targets["energy/pbe"]
    # As in files written before there could be several.
    assert (target.key, target.unit, target.forces) == ("energy", "eV", None)
    (data,) = load(
        pet("training_set: {systems: a.xyz, targets: {energy/pbe: , 'mtt::x': {per: atom}}}")
    ).training_set
    assert data.targets["energy/pbe"].forces is None


def test_stored_options_of_one_energy_keep_their_meaning(load: Load) -> None:
    options = load(pet("training_set: a.xyz"))
    stored = options.to_dict()
    # As checkpoints have them that were written before there could be several targets.
    del stored["architecture"]["training"]["loss"]["targets"]
    for name in ("per", "type"):
        del stored["training_set"][0]["targets"]["energy"][name]
    assert type(options).from_dict(stored) == options


def test_loss_of_each_target(load: Load) -> None:
    loss = load(SEVERAL).architecture.training.loss
    mean = "mean"
    usual = ("mae", 1.0, 1.0, mean)
    assert loss.of("energy", True) == (("mae", 1.0, 2.0, mean), usual, usual)
    pbe = loss.of("energy/pbe", True)
    assert pbe == tuple(("huber", 0.5, weight, mean) for weight in (2.0, 0.0, 1.0))
    assert loss.of("mtt::charges", False).value == ("mae", 1.0, 0.25, mean)
    assert loss.of("mtt::gap", False).value == usual


def test_a_target_has_as_many_numbers_as_models_take(load: Load) -> None:
    def numbers(words: str) -> Options:
        return load(pet(f"training_set: {{systems: a.xyz, targets: {{mtt::x: {{{words}}}}}}}\n"))

    most = numbers(f"properties: {MAX_PROPERTIES}").training_set[0].targets["mtt::x"]
    assert most.properties == MAX_PROPERTIES
    target = Target("mtt::x", quantity="x", properties=MAX_PROPERTIES)
    assert Target.from_dict(target.to_dict()) == target
    with pytest.raises(UserError, match=f"at most {MAX_PROPERTIES}, found {MAX_PROPERTIES + 1}"):
        numbers(f"properties: {MAX_PROPERTIES + 1}")
    largest = MAX_PROPERTIES // 9
    numbers(f"type: matrix, properties: {largest}")
    for words in ("type: matrix", "type: spherical, irreps: [{o3_lambda: 4}]"):
        with pytest.raises(
            UserError, match="of 9 components each are more numbers than a target may"
        ):
            numbers(f"{words}, properties: {largest + 1}")
