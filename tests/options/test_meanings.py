"""Names that are no options: what is said of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtt.options import OptionsError, load_options
from mtt.options.foreign.meanings import OPTIONS, REASONS
from mtt.options.reading.problems import did_you_mean
from mtt.options.reading.validate import named_option
from mtt.options.schema.datasets import (
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
        assert last in models.get(path.rpartition(".")[2], GradientOptions).model_fields
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
