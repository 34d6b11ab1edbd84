"""`mtt convert options`: files of metatrain and of MACE become files that mtt takes."""

from pathlib import Path

import pytest

from mtt.__main__ import main
from mtt.options import load_options
from mtt.options.foreign.fates import Absent, Renamed, Reworked
from mtt.options.foreign.mace_arguments import ARGUMENTS, KEYS, LOSSES, SPELLINGS, WITH_STRESS

OUTPUT = Path("options.yaml")
METATRAIN = """\
seed: 42
device: cuda
wandb: {project: mine}
architecture:
  name: pet
  atomic_types: [1, 6, 8]
  model:
    cutoff: 5.0
    cutoff_function: Cosine
    zbl: true
    cutof_width: 0.3
  training:
    distributed: true
    batch_size: 8
    fixed_composition_weights: {energy: {1: -0.5}}
    loss:
      energy: {type: mse, forces: {type: huber, weight: 10.0, delta: 0.1}}
    finetune: {method: full, read_from: base.ckpt}
training_set:
  systems: {read_from: a.xyz, reader: ase, length_unit: angstrom}
  targets:
    energy: {unit: kcal/mol, per_atom: false, num_subtargets: 1, forces: on}
  extra_data: {mask: {key: q}}
validation_set: 0.1
"""
LEFT_OUT = """\
wandb (line 3): mtt does not report to Weights & Biases: metrics.csv in the folder of the run has the \
figures of every epoch
architecture.atomic_types (line 6): mtt takes the atomic types from the training set
architecture.model.cutoff_function (line 9): Cosine is of pet@1 only, as its second derivative jumps \
and forces have kinks: use Bump or Polynomial, or train pet@1 in its image with version: 1
architecture.model.cutof_width (line 11): unknown option; did you mean 'cutoff_width'?
architecture.training.distributed (line 13): not yet in mtt: training on several devices
architecture.training.fixed_composition_weights (line 15): cannot be given with fine_tune: the \
energies per atom are those of the base, or fitted to what it leaves (fine_tune.baseline)
training_set.extra_data.mask (line 23): nothing in mtt uses 'mask'; it knows charge and spin_multiplicity, and NAME_mask of a target NAME
"""
CONVERTED = """\
seed: 42
device: cuda
architecture:
  name: pet
  model:
    cutoff: 5.0
    zbl: true
  training:
    batch_size: 8
    loss:
      targets:
        energy:
          type: mse
          forces:
            type: huber
            delta: 0.1
            weight: 10.0
    fine_tune:
      read_from: base.ckpt
    learning_rate: 0.0001
    scale_targets: true
    best_model_metric: mae_prod
training_set:
  systems:
    read_from: a.xyz
    reader: ase
    length_unit: angstrom
  targets:
    energy:
      unit: kcal/mol
      per: system
      properties: 1
      forces: true
validation_set: 0.1
"""
ADDED = (
    "architecture.training.learning_rate: 0.0001",
    "architecture.training.scale_targets: true",
    "architecture.training.best_model_metric: mae_prod",
)
SCRIPT = """\
#!/bin/bash
#SBATCH --ntasks=1
mace_run_train \\
    --name="mine" --model=MACE \\
    --train_file=a.xyz --valid_fraction 0.05 --test_file="b.xyz" \\
    --E0s='{1:-13.6, 8:-2041.8}' --config_type_weights='{"Default":1.0}' \\
    --energy_key=energy --forces_key=forces --forces_weight=10 --r_max=6.0 --lr=0.01 \\
    --default_dtype=float64 --device=cpu --max_num_epochs=5 --batch_size=4 --seed 3 \\
    --swa --stage_two_lr=1e-4 --ema --amsgrad --frobnicate=1
"""
FROM_MACE = """\
seed: 3
device: cpu
base_precision: 64
architecture:
  name: pet
  model:
    cutoff: 6.0
  training:
    loss:
      forces: 10
    num_epochs: 5
    batch_size: 4
    atomic_baseline:
      energy:
        1: -13.6
        8: -2041.8
training_set:
  systems:
    read_from: a.xyz
    length_unit: angstrom
  targets:
    energy:
      key: energy
      unit: eV
      forces:
        key: forces
        missing: allow
validation_set: 0.05
test_set: b.xyz
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def convert(text: str, name: str = "theirs.yaml") -> int:
    Path(name).write_text(text)
    return main(["convert", "options", name, "-o", str(OUTPUT)])


def converted() -> tuple[str, str]:
    """Return the comments of the file that was written, and its options."""
    lines = OUTPUT.read_text().splitlines(keepends=True)
    comments = [line for line in lines if line.startswith("#")]
    return "".join(comments), "".join(lines[len(comments) :])


def test_options_of_metatrain(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(METATRAIN) == 0
    said = capsys.readouterr().out
    assert said == (
        "".join(f"left out: {line}\n" for line in LEFT_OUT.splitlines())
        + "".join(f"added, as metatrain does so unasked: {line}\n" for line in ADDED)
        + "wrote options.yaml\n"
    )
    comments, options = converted()
    assert comments == (
        "# Options of mtt, converted from those of metatrain in theirs.yaml.\n# Left out:\n"
        + "".join(f"#   {line}\n" for line in LEFT_OUT.splitlines())
        + "# Added, because metatrain does so unasked:\n"
        + "".join(f"#   {line}\n" for line in ADDED)
    )
    assert options == CONVERTED
    Path("a.xyz").touch()
    assert load_options(OUTPUT).architecture.training.loss.targets["energy"].forces.weight == 10.0


def test_a_file_that_mtt_takes_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = "architecture: pet\ntraining_set: a.xyz\nvalidation_set: 0.1\n"
    assert convert(text) == 0
    assert "left out" not in capsys.readouterr().out
    Path("a.xyz").touch()
    assert load_options(OUTPUT).architecture.training.best_model_metric == "mae_prod"


def test_a_command_of_mace(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(SCRIPT, "run.sh") == 0
    comments, options = converted()
    assert options == FROM_MACE
    said = capsys.readouterr().out
    for name in ("name", "model", "lr", "swa", "swa_lr", "ema", "amsgrad", "frobnicate"):
        assert f"left out: {name}: " in said and f"#   {name}: " in comments
    for name in ("a.xyz", "b.xyz"):
        Path(name).touch()
    assert load_options(OUTPUT).architecture.training.atomic_baseline == {
        "energy": {1: -13.6, 8: -2041.8}
    }


def test_a_file_of_arguments_of_mace(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("train_file: a.xyz\nvalid_file: b.xyz\nE0s: average\nloss: stress\n") == 0
    for name in ("a.xyz", "b.xyz"):
        Path(name).touch()
    options = load_options(OUTPUT)
    energy = options.training_set[0].targets["energy"]
    assert (energy.key, energy.unit) == ("REF_energy", "eV")
    assert energy.forces and energy.forces.key == "REF_forces"
    assert energy.stress and energy.stress.key == "REF_stress"
    assert (energy.forces.missing, energy.stress.missing) == ("allow", "allow")
    assert options.validation_set.datasets is not None
    assert options.architecture.training.atomic_baseline == {}
    assert "E0s" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("E0s: '{1:-13.6, 8:-2041.8}'", {"energy": {1: -13.6, 8: -2041.8}}),
        ("E0s: e0s.json", {"energy": {1: -13.5}}),
        ("E0s: average", {}),
        ("E0s: estimated", {}),
        ("", {"energy": "isolated"}),
    ],
)
def test_energies_of_atoms(written: str, taken: object, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e0s.json").write_text('{"1": -13.5}')
    assert convert(f"train_file: a.xyz\n{written}\n") == 0
    Path("a.xyz").touch()
    assert load_options(OUTPUT).architecture.training.atomic_baseline == taken
    assert ("left out: E0s: not 'estimated'" in capsys.readouterr().out) == ("estim" in written)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_of_mace(loss: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(f"train_file: a.xyz\nloss: {loss}\n") == 0
    Path("a.xyz").touch()
    taken = load_options(OUTPUT).architecture.training.loss
    assert taken.type == (LOSSES[loss] or "mse")
    assert (taken.energy == 0.0) == (loss == "forces_only")
    assert ("left out: loss: " in capsys.readouterr().out) == (LOSSES[loss] is None)


def test_each_argument_of_mace_has_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    """It is taken, or named with the reason; and what renamed ones are called is there."""
    assert {*KEYS, *SPELLINGS.values(), *WITH_STRESS.values()} <= set(ARGUMENTS)
    for name, fate in ARGUMENTS.items():
        if not isinstance(fate, Absent):
            assert isinstance(fate, Renamed | Reworked)
            continue
        OUTPUT.unlink(missing_ok=True)
        assert convert(f"train_file: a.xyz\n{name}: 1\n") == 0
        assert f"left out: {name}: {fate.reason}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "option", "expected"),
    [
        ("seed", "7", "seed", 7),
        ("device", "cuda", "device", "cuda"),
        ("default_dtype", "float32", "base_precision", 32),
        ("r_max", "5.5", "architecture.model.cutoff", 5.5),
        ("pair_repulsion", "True", "architecture.model.zbl", True),
        ("batch_size", "3", "architecture.training.batch_size", 3),
        ("max_num_epochs", "9", "architecture.training.num_epochs", 9),
        ("num_workers", "2", "architecture.training.num_workers", 2),
        ("energy_weight", "2.0", "architecture.training.loss.energy", 2.0),
        ("forces_weight", "3.0", "architecture.training.loss.forces.weight", 3.0),
        ("virials_weight", "4.0", "architecture.training.loss.stress.weight", 4.0),
        ("valid_fraction", "0.2", "validation_set.fraction", 0.2),
    ],
)
def test_an_argument_that_is_taken(name: str, value: str, option: str, expected: object) -> None:
    assert convert(f"mace_run_train --train_file a.xyz --{name} {value}\n", "run.sh") == 0
    Path("a.xyz").touch()
    found: object = load_options(OUTPUT)
    for part in option.split("."):
        found = getattr(found, part)
    assert found == expected


def test_weights_by_config_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert('train_file: a.xyz\nconfig_type_weights: \'{"bulk": 2.0, "Default": 1}\'\n') == 0
    assert "config_type_weights" not in capsys.readouterr().out
    Path("a.xyz").touch()
    weights = load_options(OUTPUT).training_set[0].weights
    assert weights is not None and weights.config_type == {"bulk": 2.0, "Default": 1.0}
    OUTPUT.unlink()
    assert convert("train_file: a.xyz\nconfig_type_weights: much\n") == 0
    assert "left out: config_type_weights: no weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "3\nProperties=species:S:1:pos:R:3\nH 0 0 0\n",
            "error: neither options of metatrain nor arguments of MACE\n  where: theirs.yaml\n",
        ),
        ("mace_run_train --r_max=5\n", "error: there is no training set: the argument train_file"),
        (
            "architecture: {name: gap}\ntraining_set: a.xyz\n",
            "theirs.yaml:1:22: error: architecture.name: not yet in mtt: the architecture 'gap'",
        ),
        ("architecture: pet\n", "theirs.yaml: error: training_set: is required\n"),
        (
            "architecture: pet\ntraining_set: {systems: a.xyz, targets: {energy: {unit: kcal}}}\n",
            "theirs.yaml:2:57: error: training_set.targets.energy.unit: unknown unit of energy 'kcal'",
        ),
        ("seed: [1\n", "error: neither options of metatrain nor arguments of MACE"),
    ],
)
def test_what_cannot_be_converted_writes_nothing(
    text: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(text) == 2
    assert capsys.readouterr().err.startswith(expected)
    assert not OUTPUT.exists()


def test_indices_that_cannot_be_read_are_not_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Without them, every structure would be trained on."""
    Path("chosen.txt").write_text("first\n")
    text = METATRAIN.replace("  extra_data", "  indices: chosen.txt\n  extra_data")
    assert convert(text) == 2
    assert "the file must list indices, one integer a line: chosen.txt" in capsys.readouterr().err
    assert not OUTPUT.exists()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("E0s: !!python/object/apply:os.system [date]", "E0s: the YAML tag"),
        ("r_max: 5.0\nr_max: 6.0", "r_max: given twice"),
    ],
)
def test_what_yaml_cannot_be_read_as_does_not_go_missing(
    line: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(f"train_file: a.xyz\n{line}\n") == 2
    assert expected in capsys.readouterr().err
    assert not OUTPUT.exists()


def test_a_command_that_is_a_mapping_in_yaml_as_well() -> None:
    assert convert("mace_run_train --train_file=a.xyz --E0s='{1: -13.6}'\n") == 0
    assert "atomic_baseline:\n      energy:\n        1: -13.6\n" in converted()[1]


def test_energies_of_atoms_in_a_file_nested_too_deeply(capsys: pytest.CaptureFixture[str]) -> None:
    Path("deep.json").write_text("[" * 100_000)
    assert convert("train_file: a.xyz\nE0s: deep.json\n") == 0
    assert "left out: E0s: not 'deep.json'" in capsys.readouterr().out


def test_a_large_file_is_no_command() -> None:
    assert convert(f"mace_run_train --train_file=a.xyz --r_max='{'x' * 2**19}'") == 2


def test_a_file_that_is_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    OUTPUT.write_text("mine")
    assert convert(METATRAIN) == 2
    assert OUTPUT.read_text() == "mine"
    assert "there is a file of that name already" in capsys.readouterr().err


def test_names_from_a_file_cannot_leave_the_comments() -> None:
    assert convert(METATRAIN + '"a\\nseed: 7": 1\n') == 0
    comments, options = converted()
    assert options == CONVERTED
    assert "\\nseed: 7" in comments


def test_options_of_nequip_are_not_taken_for_those_of_mace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("n.yaml").write_text("r_max: 4.0\nbatch_size: 5\nn_train: 40\nn_val: 10\nroot: results\n")
    assert main(["convert", "options", "n.yaml", "-o", str(OUTPUT)]) == 2
    assert "options of NequIP cannot be converted" in capsys.readouterr().err
    assert not OUTPUT.exists()
