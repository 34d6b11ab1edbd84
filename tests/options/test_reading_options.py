"""Whole messages for everything that can be wrong with an options file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mtt.errors import UserError
from mtt.options import load_options

EMPTY = (
    "options.yaml: error: the file is empty: it has no options; the shortest are the two lines"
    " 'architecture: pet' and 'training_set: data.xyz'"
)
Write = Callable[[str], Path]

MINIMAL = "architecture: pet\ntraining_set: ethanol.xyz\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes options.yaml in a folder that has ethanol.xyz, and goes there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ethanol.xyz").write_text("")
    (tmp_path / "empty").mkdir()

    def write(text: str) -> Path:
        Path("options.yaml").write_text(text, encoding="utf-8")
        return Path("options.yaml")

    return write


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_options(path, overrides)
    return caught.value.report()


def test_unknown_option(write: Write) -> None:
    path = write(
        "architecture:\n  name: pet\n  model:\n    d_pet: 64\n    cutof: 4.0\n"
        "training_set: ethanol.xyz\n"
    )
    assert message(path) == (
        "options.yaml:5:5: error: architecture.model.cutof: unknown option; did you mean "
        "'cutoff'?\n"
        "  5 |     cutof: 4.0\n"
        "    |     ^"
    )


def test_all_errors_at_once_in_the_order_of_lines(write: Write, tmp_path: Path) -> None:
    path = write(
        """\
seed: -1
device: gpu
architecture:
  name: pet
  model:
    cutof: 4.0
    d_pet: 100
    activation: swiglu
    batch_size: 3
  training:
    batch_size: "4"
    learning_rate: fast
    num_epochs: 1e3
    loss: hubber
seed: 4
training_set:
  systems:
    read_from: ethanl.xyz
    length_unit: angstroms
  targets:
    energy:
      key: no
      unit: Ev
      forcs: on
test_set: nowhere/test.xyz
base_precision: 16
colour: blue
"""
    )
    assert message(path) == (
        """\
options.yaml:1:7: error: seed: must be at least 0, found -1
  1 | seed: -1
    |       ^
options.yaml:2:9: error: device: 'gpu' is 'cuda' or 'mps' here, or 'auto' for whichever there is
  2 | device: gpu
    |         ^
options.yaml:6:5: error: architecture.model.cutof: unknown option; did you mean 'cutoff'?
  6 |     cutof: 4.0
    |     ^
options.yaml:7:12: error: architecture.model.d_pet: d_pet (100) must be a multiple of num_heads (8)
  7 |     d_pet: 100
    |            ^
options.yaml:8:17: error: architecture.model.activation: expected 'SwiGLU' or 'SiLU', found 'swiglu'; did you mean 'SwiGLU'?
  8 |     activation: swiglu
    |                 ^
options.yaml:9:5: error: architecture.model.batch_size: unknown option here; did you mean architecture.training.batch_size?
  9 |     batch_size: 3
    |     ^
options.yaml:11:17: error: architecture.training.batch_size: expected an integer, found '4' (leave out the quotes)
  11 |     batch_size: "4"
     |                 ^
options.yaml:12:20: error: architecture.training.learning_rate: expected a number, found 'fast'
  12 |     learning_rate: fast
     |                    ^
options.yaml:13:17: error: architecture.training.num_epochs: expected an integer, found 1000.0
  13 |     num_epochs: 1e3
     |                 ^
options.yaml:14:11: error: architecture.training.loss: expected 'mse', 'mae' or 'huber', found 'hubber'; did you mean 'huber'?
  14 |     loss: hubber
     |           ^
options.yaml:15:1: error: seed: given twice; first on line 1
  15 | seed: 4
     | ^
options.yaml:18:16: error: training_set.systems.read_from: file not found: ethanl.xyz; did you mean 'ethanol.xyz'?
  18 |     read_from: ethanl.xyz
     |                ^
options.yaml:19:18: error: training_set.systems.length_unit: unknown unit of length 'angstroms'; did you mean 'angstrom'?
  19 |     length_unit: angstroms
     |                  ^
options.yaml:22:12: error: training_set.targets.energy.key: expected text, found off (false) (put it in quotes if it is meant as text)
  22 |       key: no
     |            ^
options.yaml:24:7: error: training_set.targets.energy.forcs: unknown option; did you mean 'forces'?
  24 |       forcs: on
     |       ^
options.yaml:25:11: error: test_set: file not found: nowhere/test.xyz (there is no folder nowhere)
  25 | test_set: nowhere/test.xyz
     |           ^
options.yaml:26:17: error: base_precision: expected 32 or 64, found 16
  26 | base_precision: 16
     |                 ^
options.yaml:27:1: error: colour: unknown option; known here: architecture, base_precision, device, seed, test_set, training_set, validation_set, version
  27 | colour: blue
     | ^
18 errors in options.yaml"""
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EMPTY),
        ("# nothing\n", EMPTY),
        (
            "- a\n",
            (
                "options.yaml:1:1: error: expected a mapping of options at the top, found a list\n"
                "  1 | - a\n    | ^"
            ),
        ),
        (
            "\nethanol\n",
            (
                "options.yaml:2:1: error: expected a mapping of options at the top, found text\n"
                "  2 | ethanol\n    | ^"
            ),
        ),
        (
            "seed: [1, 2\ndevice: cpu\n",
            (
                "options.yaml:1:7: error: not YAML: the '[' is not closed: add ']'\n"
                "  1 | seed: [1, 2\n    |       ^"
            ),
        ),
        (
            "architecture:\n\tname: pet\n",
            (
                "options.yaml:2:1: error: not YAML: a tab cannot be used to indent; use spaces\n"
                "  2 | \tname: pet\n    | ^"
            ),
        ),
        (
            "seed: \x07\n",
            (
                "options.yaml:1:7: error: not YAML: the character U+0007 is not allowed\n"
                "  1 | seed: \ufffd\n    |       ^"
            ),
        ),
        (
            "seed: *one\n",
            (
                "options.yaml:1:7: error: not YAML: found undefined alias 'one'\n"
                "  1 | seed: *one\n    |       ^"
            ),
        ),
        (
            MINIMAL + "test_set: &a [*a]\n",
            (
                "options.yaml:3:11: error: test_set[0]: an alias refers to itself\n"
                "  3 | test_set: &a [*a]\n    |           ^"
            ),
        ),
        (
            MINIMAL + "seed: !!python/object:os.system 1\n",
            (
                "options.yaml:3:7: error: seed: the YAML tag "
                "'tag:yaml.org,2002:python/object:os.system' is not supported\n"
                "  3 | seed: !!python/object:os.system 1\n    |       ^"
            ),
        ),
    ],
)
def test_text_that_is_no_options(write: Write, text: str, expected: str) -> None:
    assert message(write(text)) == expected


def test_required_options_are_named_together(write: Write) -> None:
    assert message(write("seed: 1\n")) == (
        "options.yaml: error: architecture: is required\n"
        "options.yaml: error: training_set: is required\n"
        "2 errors in options.yaml"
    )


def test_a_required_option_of_a_section_is_shown_at_the_section(write: Write) -> None:
    path = write("architecture:\n  name: pet\ntraining_set:\n  targets:\n    energy:\n")
    assert message(path) == (
        "options.yaml:3:1: error: training_set.systems: is required\n  3 | training_set:\n    | ^"
    )


def test_an_option_that_an_old_version_had(write: Write) -> None:
    path = write(
        "architecture: {name: pet, model: {cutoff_function: Cosine}}\ntraining_set: a.xyz\n"
    )
    assert message(path).startswith(
        "options.yaml:1:52: error: architecture.model.cutoff_function: Cosine is of pet@1 only, as its "
        "second derivative jumps and forces have kinks: use Bump or Polynomial, or train pet@1 in its "
        "image with version: 1\n"
    )


def test_a_version_that_is_not_installed(write: Write) -> None:
    path = write("architecture: {name: pet, version: 4}\ntraining_set: ethanol.xyz\n")
    assert message(path) == (
        "options.yaml:1:36: error: architecture.version: version 4 of 'pet' is not installed; "
        "version 3 is\n"
        "  1 | architecture: {name: pet, version: 4}\n"
        "    |                                    ^"
    )


def test_unknown_architecture_hides_no_other_error(write: Write) -> None:
    path = write(
        "architecture:\n  name: pett\n  model: {x: 1}\ntraining_set: ethanol.xyz\nsed: 1\n"
    )
    assert message(path) == (
        "options.yaml:2:9: error: architecture.name: unknown architecture 'pett'; did you mean "
        "'pet'?\n"
        "  2 |   name: pett\n"
        "    |         ^\n"
        "options.yaml:5:1: error: sed: unknown option; did you mean 'seed'?\n"
        "  5 | sed: 1\n"
        "    | ^\n"
        "2 errors in options.yaml"
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("version: 3", "version: this mtt reads options files up to version 2, found 3"),
        ("seed: 1.0", "seed: expected an integer, found 1.0"),
        ("seed: yes", "seed: expected an integer, found on (true)"),
        ("seed:", "seed: expected an integer, found nothing"),
        ("validation_set: 1.2", "validation_set: must be smaller than 1, found 1.2"),
        ("validation_set: on", "validation_set: expected a number, found on (true)"),
        ("validation_set: [1, 1]", "validation_set: index 1 is given twice"),
        ("validation_set: [-1]", "validation_set: indices start at 0, found -1"),
        ("validation_set: [0.5]", "validation_set: expected a list of integers, found 0.5 in it"),
        ("validation_set: []", "validation_set: must not be empty"),
        (
            "validation_set: '0:9:0'",
            "validation_set: the step of the slice '0:9:0' must not be zero",
        ),
        ("test_set: ethanol", "test_set: file not found: ethanol; did you mean 'ethanol.xyz'?"),
        (
            "test_set: 'a/*.xyz'",
            "test_set: no file fits the pattern: a/*.xyz (there is no folder a)",
        ),
        ("test_set: 10", "test_set: must be smaller than 1, found 10; for 10 % write 0.1"),
        (
            "test_set: empty",
            "test_set: the folder has no files of structures (.xyz, .extxyz, .traj, .db): empty",
        ),
        (
            "test_set: $NOWHERE/a.xyz",
            "test_set: the environment variable NOWHERE is not set: $NOWHERE/a.xyz",
        ),
        (
            "test_set: {indices: '5', fraction: 0.5}",
            "test_set.indices: expected a slice such as '0:50' or '::10', found '5'",
        ),
        (
            "test_set: {indices: [5], fraction: 0.5}",
            "test_set: give exactly one of fraction, indices and datasets",
        ),
        (
            "test_set: 0.95",
            (
                "validation_set.fraction: together with test_set this takes 1.05 of the training "
                "set: none is left"
            ),
        ),
    ],
)
def test_one_wrong_value(write: Write, lines: str, expected: str) -> None:
    shown = message(write(MINIMAL + lines + "\n")).splitlines()[0]
    assert shown.partition("error: ")[2] == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("energy: {forces: 3}", "energy.forces: expected a mapping of options, found 3"),
        (
            "energy: {forces: {kez: f}}",
            "energy.forces.kez: unknown option; did you mean 'key'?",
        ),
        (
            "energy: {stress: on, virial: on}",
            "energy.virial: stress and virial are the same quantity: ask for only one of them",
        ),
        (
            "energy: {stress: {unit: bar}}",
            "energy.stress.unit: unknown unit of stress 'bar'; known: ENERGY/LENGTH^3, as in eV/A^3,"
            " GPa, kbar, Pa",
        ),
        (
            "energy: {forces: {unit: Hartre/bohr}}",
            "energy.forces.unit: unknown unit of energy 'Hartre'; did you mean 'Hartree'?",
        ),
        (
            "energy: {virial: {unit: GPa}}",
            "energy.virial.unit: unknown unit of energy 'GPa'; known: eV, meV, Hartree, Ry, kcal/mol,"
            " kJ/mol, J",
        ),
        (
            "energy: {unit: kcal}",
            "energy.unit: unknown unit of energy 'kcal'; did you mean 'kcal/mol'?",
        ),
        (
            "energy: {quantity: dipole}",
            "energy.quantity: 'energy' is an energy for every engine: give it a name such as mtt::NAME",
        ),
        (
            "mtt::u0: {quantity: energy, unit: kcal}",
            "mtt::u0.unit: unknown unit of energy 'kcal'; did you mean 'kcal/mol'?",
        ),
        (
            "mtt::dos: {properties: 8, unit: states/eV}",
            "mtt::dos.unit: unknown unit 'states' in 'states/eV'; a number of states has no unit: write"
            " 1, as in 1/eV, or leave the unit out",
        ),
        (
            "mtt::q: {quantity: charge, unit: angstrom}",
            "mtt::q.unit: 'angstrom' is no unit of the quantity charge, such as e is: write another"
            " unit, or give the quantity a name of your own",
        ),
        (
            "non_conservative_stress: {unit: kbar}",
            "non_conservative_stress.unit: engines know no 'kbar': convert the values to GPa (1 kbar ="
            " 0.1 GPa), and write GPa",
        ),
        (
            "non_conservative_stress: {unit: 0.1*GPa}",
            "non_conservative_stress.unit: unknown unit of stress '0.1*GPa'; known: ENERGY/LENGTH^3,"
            " as in eV/A^3, GPa, Pa",
        ),
        (
            "energy: {per: atom}",
            "energy.per: an energy is per system: give another quantity, or per: system",
        ),
        (
            "energy: {per: atoms}",
            "energy.per: expected 'system' or 'atom', found 'atoms'; did you mean 'atom'?",
        ),
        (
            "mtt::charges: {per: atom, forces: on}",
            (
                "mtt::charges.forces: only energies have forces: leave it out, or give quantity: "
                "energy"
            ),
        ),
        (
            "mtt::charges: {virial: on, per: atom}",
            (
                "mtt::charges.virial: only energies have virial: leave it out, or give quantity: "
                "energy"
            ),
        ),
        ("energy: {read_from: U.txt}", "energy.read_from: file not found: U.txt (looked in HERE)"),
        ("energy: 3", "energy: expected a mapping of options, found 3"),
        (
            "U0: {key: U0}",
            "U0: a target is called 'energy', 'energy/VARIANT' or 'OWNER::NAME', not 'U0'; write "
            "'mtt::U0'",
        ),
        (
            "'mtt::': {key: U0}",
            "mtt::: a target is called 'energy', 'energy/VARIANT' or 'OWNER::NAME', not 'mtt::'",
        ),
        ("", ": at least one target is needed"),
        (
            "energy: {}, energy/b: {}",
            (
                "energy/b.key: 'energy' and 'energy/b' both read 'energy' of the same file: "
                "give one of them another key"
            ),
        ),
        (
            "energy: {forces: on}, energy/b: {key: b, forces: on}",
            (
                "energy/b.forces: 'energy' and 'energy/b' both read 'forces' of the same file: "
                "give one of them another key"
            ),
        ),
        (
            "mtt::u: {quantity: energy}, mtt::u_forces: {per: atom}",
            "mtt::u_forces: 'mtt::u_forces' would be mistaken for a gradient of 'mtt::u': rename it",
        ),
    ],
)
def test_one_wrong_target(write: Write, tmp_path: Path, target: str, expected: str) -> None:
    path = write(
        f"architecture: pet\ntraining_set:\n  systems: ethanol.xyz\n  targets: {{{target}}}\n"
    )
    shown = message(path).splitlines()[0].partition("error: training_set.targets")[2]
    assert shown.removeprefix(".") == expected.replace("HERE", str(tmp_path.resolve()))


def test_a_required_value_that_is_wrong_is_not_also_missing(write: Write) -> None:
    path = write("architecture: pet\ntraining_set:\n  systems: {read_from: 3}\n")
    assert message(path) == (
        "options.yaml:3:24: error: training_set.systems.read_from: expected a path, found 3\n"
        "  3 |   systems: {read_from: 3}\n"
        "    |                        ^"
    )


def test_a_mapping_that_should_be_a_value_is_shown_at_its_name(write: Write) -> None:
    assert message(write(MINIMAL + "device:\n  name: cpu\n")) == (
        "options.yaml:3:1: error: device: expected text, found a mapping\n  3 | device:\n    | ^"
    )


def test_an_override_below_a_short_form_writes_it_out(write: Write) -> None:
    path = write("architecture: pet\ntraining_set: {systems: ethanol.xyz, targets: {energy: {}}}\n")
    options = load_options(
        path,
        [
            "training_set.systems.length_unit=nm",
            "architecture.training.loss=mae",
            "architecture.training.loss.delta=2.0",
        ],
    )
    (data,) = options.training_set
    assert (data.systems.read_from.name, data.systems.length_unit) == ("ethanol.xyz", "nm")
    loss = options.architecture.training.loss
    assert (options.architecture.name, loss.type, loss.delta) == ("pet", "mae", 2.0)
    alone = write("architecture: pet\ntraining_set: ethanol.xyz\n")
    (data,) = load_options(alone, ["training_set.systems.length_unit=nm"]).training_set
    assert (data.systems.read_from.name, data.systems.length_unit) == ("ethanol.xyz", "nm")
    said = message(alone, "training_set.systems.read_from=b.xyz")
    assert "training_set.systems.read_from: file not found: b.xyz" in said
    # A text that is short for nothing is not written over.
    with pytest.raises(UserError, match="write it as a mapping first"):
        load_options(write(MINIMAL + "device: cpu\n"), ["device.name=cpu"])


def test_an_unknown_option_hides_no_conflict_beside_it(write: Write) -> None:
    assert message(
        write(MINIMAL + "validation_set: {colour: 1, fraction: 0.9}\ntest_set: 0.1\n")
    ) == (
        "options.yaml:3:18: error: validation_set.colour: unknown option; known here: datasets, "
        "fraction, indices\n"
        "  3 | validation_set: {colour: 1, fraction: 0.9}\n"
        "    |                  ^\n"
        "options.yaml:3:39: error: validation_set.fraction: together with test_set this takes 1 of "
        "the training set: none is left\n"
        "  3 | validation_set: {colour: 1, fraction: 0.9}\n"
        "    |                                       ^\n"
        "2 errors in options.yaml"
    )


def test_mixed_units(write: Write) -> None:
    path = write(
        "architecture: pet\n"
        "training_set:\n"
        "  - systems: {read_from: ethanol.xyz, length_unit: bohr}\n"
        "    targets:\n"
        "      energy: {unit: Hartree}\n"
        "  - {systems: {read_from: ethanol.xyz, length_unit: A}, targets: {energy: {unit: ev}}}\n"
        "  - ethanol.xyz\n"
        "test_set:\n"
        "  systems: {read_from: ethanol.xyz, length_unit: A}\n"
        "  targets: {energy/other: }\n"
    )
    assert message(path) == (
        "options.yaml:7:5: error: training_set[2].length_unit: length unit 'angstrom' "
        "differs from 'bohr' of the first training set; state it to have the data converted\n"
        "  7 |   - ethanol.xyz\n"
        "    |     ^\n"
        "options.yaml:7:5: error: training_set[2].targets.energy.unit: unit 'eV' differs "
        "from 'Hartree' of the first training set; state it to have the data converted\n"
        "  7 |   - ethanol.xyz\n"
        "    |     ^\n"
        "options.yaml:10:13: error: test_set.targets.energy/other: target 'energy/other' differs "
        "from 'energy' of the first training set\n"
        "  10 |   targets: {energy/other: }\n"
        "     |             ^\n"
        "3 errors in options.yaml"
    )


def test_data_sets_of_one_run_have_the_same_targets(write: Write) -> None:
    path = write(
        "architecture:\n"
        "  name: pet\n"
        "  training:\n"
        "    loss: {targets: {energy/x: {weight: 1}, 'mtt::q': {forces: 1}}}\n"
        "training_set:\n"
        "  systems: ethanol.xyz\n"
        "  targets: {energy: , 'mtt::q': {per: atom, quantity: charge, unit: e}}\n"
        "validation_set:\n"
        "  systems: ethanol.xyz\n"
        "  targets: {energy: , 'mtt::q': {unit: C}, 'mtt::more': }\n"
        "test_set:\n"
        "  systems: ethanol.xyz\n"
        "  targets: {energy: }\n"
    )
    lines = [line for line in message(path).splitlines() if ": error: " in line]
    assert sorted(line.partition(": error: ")[2] for line in lines) == sorted(
        [
            (
                "architecture.training.loss.targets.energy/x: there is no target 'energy/x'; the data "
                "sets have 'energy', 'mtt::q'"
            ),
            "architecture.training.loss.targets.mtt::q.forces: 'mtt::q' is no energy and has no forces",
            (
                "validation_set.targets.mtt::q.quantity: quantity '' differs from 'charge' of the first "
                "training set"
            ),
            (
                "validation_set.targets.mtt::q.per: per 'system' differs from 'atom' of the first training "
                "set"
            ),
            "validation_set.targets.mtt::q.unit: unit 'C' differs from 'e' of the first training set",
            "validation_set.targets.mtt::more: the first training set has no target 'mtt::more'",
            "test_set.targets: the target 'mtt::q' of the first training set is missing",
        ]
    )


def test_files_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    write(MINIMAL)
    here = tmp_path.resolve()
    assert message(Path("options.yml")) == (
        "error: options file not found: options.yml; did you mean 'options.yaml'?"
    )
    assert message(Path("nothing")) == f"error: options file not found: nothing (looked in {here})"
    assert message(Path("a/b.yaml")) == (
        "error: options file not found: a/b.yaml (there is no folder a)"
    )
    assert message(tmp_path) == f"error: the options file is a folder: {tmp_path}"
    Path("model.ckpt").write_bytes(b"seed: 1\n\xff\xfe")
    assert message(Path("model.ckpt")) == (
        "error: not a text file in UTF-8: model.ckpt\n"
        "  where: line 2, byte 8\n"
        "  hint: the options file is written in YAML; is this a data set or a model?"
    )
    with Path("data.xyz").open("wb") as stream:
        stream.truncate(33 * 2**20)
    assert message(Path("data.xyz")).startswith("error: this is a file of zeros")
    Path("data.xyz").write_text("# notes\n" * 2**21)
    assert message(Path("data.xyz")) == (
        "error: too large to be the options file: data.xyz\n  hint: is it a data set or a model?"
    )


def test_overrides_are_named_by_their_text(write: Write) -> None:
    path = write(MINIMAL)
    overrides = [
        "architecture.model.cutof=4",
        "architecture.training.batch_size=many",
        "seed",
        "architecture.name.x=b.xyz",
        "device=[",
        "validation_set=0.2",
    ]
    assert message(path, *overrides[2:]) == (
        "-r seed: error: an override is written KEY=VALUE, as in "
        "architecture.training.batch_size=4\n"
        "-r architecture.name.x=b.xyz: error: architecture.name: is 'pet', which has no option "
        "'x'; write it as a mapping first\n"
        "-r device=[: error: not YAML: while parsing a flow node, expected the node "
        "content, but found '<stream end>'\n"
        "3 errors in options.yaml"
    )
    path = write("architecture:\n  name: pet\ntraining_set: ethanol.xyz\n")
    assert message(path, *overrides[:2]) == (
        "-r architecture.model.cutof=4: error: architecture.model.cutof: unknown option; did you "
        "mean 'cutoff'?\n"
        "-r architecture.training.batch_size=many: error: architecture.training.batch_size: "
        "expected an integer, found 'many'\n"
        "2 errors in options.yaml"
    )


def test_a_long_line_is_shown_around_the_mistake(write: Write) -> None:
    indices = ", ".join(str(index) for index in range(100))
    shown = message(write(MINIMAL + f"test_set: {{indices: [{indices}], fractio: 1}}\n"))
    head, source, caret = shown.splitlines()
    assert head.endswith("error: test_set.fractio: unknown option; did you mean 'fraction'?")
    assert len(source) < 120
    assert source[caret.index("^") :].startswith("fractio: 1")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text(
        st.sampled_from("ab:-{}[]&*!|>'\"%@`#,?\n\t 01.<~") | st.characters(codec="utf-8"),
        max_size=60,
    )
)
@example("\0")
def test_any_text_gives_a_user_error(write: Write, text: str) -> None:
    """Located mistakes, or what other kind of file this is: zeros are one."""
    with pytest.raises(UserError):
        load_options(write(text))
