"""Names that are no options: what is said of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtt.errors import UserError
from mtt.options import OptionsError, load_eval_options, load_options
from mtt.options.foreign.meanings import OPTIONS, REASONS
from mtt.options.reading.problems import did_you_mean
from mtt.options.reading.validate import named_option
from mtt.options.schema.datasets import (
    DatasetOptions,
    GradientOptions,
    SystemsOptions,
    TargetOptions,
    WeightOptions,
)
from mtt.options.schema.options import options_class

_TRAINING = "architecture.training"


def said(text: str, tmp_path: Path) -> list[str]:
    data = tmp_path / "a.xyz"
    data.touch()
    path = tmp_path / "options.yaml"
    path.write_text(text.replace("a.xyz", str(data)))
    with pytest.raises(OptionsError) as caught:
        load_options(path)
    return ["; ".join(filter(None, (each.message, each.advice))) for each in caught.value.problems]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("lr", "unknown option; did you mean 'learning_rate'?"),
        ("learning-rate", "unknown option; did you mean 'learning_rate'?"),
        ("max_num_epochs", "unknown option; did you mean 'num_epochs'?"),
        ("clip_grad", "unknown option; did you mean 'grad_clip_norm'?"),
        ("r_max", "unknown option here; did you mean architecture.model.cutoff?"),
        ("forces_weight", f"unknown option here; did you mean {_TRAINING}.loss.forces?"),
        ("energy_key", "unknown option here; did you mean training_set.targets.energy.key?"),
        ("seed", "unknown option here; 'seed' stands at the top of the file, in no section"),
        ("d_pet", "unknown option here; did you mean architecture.model.d_pet?"),
        (
            "ema_decay",
            "unknown option: mtt keeps the weights of the best epoch, not a moving average; "
            "leave it out",
        ),
        ("batch_sise", "unknown option; did you mean 'batch_size'?"),
    ],
)
def test_a_name_is_taken_for_what_it_means(word: str, expected: str, tmp_path: Path) -> None:
    text = f"architecture: {{name: pet, training: {{{word}: 1}}}}\ntraining_set: a.xyz\n"
    assert said(text, tmp_path) == [expected]


def test_errors_count_per_atom(tmp_path: Path) -> None:
    text = (
        "architecture: {name: pet, training: {per_structure_targets: [energy]}}\n"
        "training_set: a.xyz\n"
    )
    assert said(text, tmp_path) == [
        "in mtt the errors of a target per system always count per atom, those of a target per atom "
        "as they are; leave it out"
    ]


def test_names_at_the_top(tmp_path: Path) -> None:
    text = "architecture: pet\ntraining_set: a.xyz\ngpu: 1\nmodel: {}\nval_set: 0.1\n"
    assert said(text, tmp_path) == [
        "unknown option; did you mean 'device'?",
        "unknown option here; did you mean architecture.model?",
        "unknown option; did you mean 'validation_set'?",
    ]


def test_what_is_known_is_listed_once(tmp_path: Path) -> None:
    text = (
        "architecture: {name: pet, training: {xyzzy: 1, plugh: 2, frotz: 3}}\n"
        "training_set: a.xyz\nxyzzy: 1\n"
    )
    first, *others, top = said(text, tmp_path)
    assert first.startswith("unknown option; known here: atomic_baseline, batch_size, ")
    assert others == ["unknown option", "unknown option"]
    assert top.startswith("unknown option; known here: architecture, ")


@given(st.sampled_from(["cutoff", "Cutoff", "cut", "d_pet"]), st.booleans())
def test_nothing_is_suggested_that_was_typed(word: str, among: bool) -> None:
    known = ["cutoff", "CUTOFF", "d_pet", "d_head"]
    assert did_you_mean(word, [*known, word] if among else known) != word


@pytest.mark.parametrize("name", sorted(set(OPTIONS.values())))
def test_what_is_meant_is_there(name: str) -> None:
    path, _, last = name.rpartition(".")
    if path.startswith("training_set"):
        models = {"systems": SystemsOptions, "energy": TargetOptions, "weights": WeightOptions}
        models["training_set"] = DatasetOptions
        assert last in models.get(path.rpartition(".")[2] or path, GradientOptions).model_fields
    else:
        assert named_option(options_class("pet"), last) is not None
        model = options_class("pet")
        for part in filter(None, path.split(".")):
            annotation = model.model_fields[part].annotation
            assert isinstance(annotation, type)
            model = annotation
        assert last in model.model_fields


def test_no_name_of_ours_has_a_reason_against_it() -> None:
    known = options_class("pet")
    clash = {word for word in REASONS if named_option(known, word)} - set(OPTIONS)
    assert clash <= {"model", "name"}  # which stand elsewhere, and are looked for there first


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("targets", "training_set.targets"),
        ("systems", "training_set.systems"),
        ("forces", "training_set.targets.energy.forces"),
        ("unit", "training_set.targets.energy.unit"),
    ],
)
def test_options_of_data_at_the_top(word: str, expected: str, tmp_path: Path) -> None:
    text = f"architecture: pet\ntraining_set: a.xyz\n{word}: on\n"
    assert said(text, tmp_path) == [f"unknown option here; did you mean {expected}?"]


def test_in_an_eval_file_there_is_no_training_set(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").touch()
    path = tmp_path / "eval.yaml"
    path.write_text(f"systems: {tmp_path}/a.xyz\nforces: on\n")
    with pytest.raises(OptionsError, match=r"did you mean targets\.energy\.forces\?"):
        load_eval_options(path)


def test_options_of_training_are_told_to_eval(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("architecture: pet\ntraining_set: a.xyz\n")
    with pytest.raises(UserError, match="options of mtt train, not of mtt eval"):
        load_eval_options(path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("learning_rate: '1e-3'", "expected a number, found '1e-3' (leave out the quotes)"),
        ("learning_rate: fast", "expected a number, found 'fast'"),
        ("learning_rate: 10k", "expected a number, found '10k'"),
        (
            "num_epochs: 5 epochs",
            "expected an integer, found '5 epochs' (write 5 alone, without 'epochs')",
        ),
    ],
)
def test_a_number_with_something_around_it(value: str, expected: str, tmp_path: Path) -> None:
    text = f"architecture: {{name: pet, training: {{{value}}}}}\ntraining_set: a.xyz\n"
    assert said(text, tmp_path) == [expected]


def test_percent_is_a_fraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (message,) = said("architecture: pet\ntraining_set: a.xyz\ntest_set: 5 %\n", tmp_path)
    assert message.endswith("for 5 % of the training set write 0.05")


MACE = "model: MACE\nr_max: 5.0\ntrain_file: a.xyz\nenergy_key: energy\nE0s: average\n"
NEQUIP = "root: results\nr_max: 4.0\nn_train: 40\nn_val: 10\nchemical_symbols: [C]\n"
METATRAIN = (
    "architecture: {name: pet, atomic_types: [1], training: {distributed: on, scheduler_factor: 2}}\n"
    "training_set: a.xyz\n"
)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (MACE, "these are options of MACE: mtt convert options {} -o options.yaml"),
        (NEQUIP, "these are options of NequIP, which mtt cannot convert: begin with"),
        (METATRAIN, "to leave out all that mtt does not have: mtt convert options {} -o NEW.yaml"),
        (METATRAIN.replace("pet", "gap"), ""),
        ("architecture: {name: pet, model: {system_conditioning: on}}\ntraining_set: a.xyz\n", ""),
    ],
)
def test_a_file_of_another_program_gets_one_hint(text: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / "a.xyz").touch()
    path = tmp_path / "theirs.yaml"
    path.write_text(text.replace("a.xyz", str(tmp_path / "a.xyz")))
    with pytest.raises(OptionsError) as caught:
        load_options(path)
    last = str(caught.value).splitlines()[-1]
    if advice:
        assert last.startswith("  hint: " + advice.format(path))
    else:
        assert "hint:" not in str(caught.value)
