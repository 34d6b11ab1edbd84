"""Old checkpoints predict for ever what they predicted, and nothing that is saved changes unseen."""

import json
import shutil
import typing
from importlib.util import find_spec
from pathlib import Path

import golden_runs as golden
import numpy as np
import pytest
from golden_cases import (
    BY_ATOMS,
    FINE_TUNE,
    LATER,
    LATER_TRAINING,
    MACE_MODELS,
    MODELS,
    STATES,
    TRAINING,
    cases,
)

from mtt import architecture_registry, checkpoint
from mtt.checkpoint import upgrade
from mtt.checkpoint.formats import STEPS
from mtt.checkpoint.header import FORMAT_VERSION, OPTIONAL
from mtt.errors import UserError
from mtt.options.schema.base import OPTIONS_VERSION
from mtt.options.schema.training import TrainingHypers

FOLDERS = sorted(path for path in golden.FOLDER.iterdir() if path.is_dir())
CURRENT = {
    name: golden.FOLDER
    / f"format-{FORMAT_VERSION}_{name}-{architecture_registry.get(name).version}_options-{OPTIONS_VERSION}"
    for name in (*MODELS, "mace")
}
ALL = [path for folder in FOLDERS for path in sorted(folder.glob("*.ckpt"))]
# The others are asked in their images, by tests/containers.
FILES = [path for path in ALL if golden.lives_here(path)]
needs_mace = pytest.mark.skipif(
    find_spec("mace") is None, reason="mace-torch is not installed: pip install 'mtt[mace]'"
)
MADE_HERE = [*MODELS, pytest.param("mace", marks=needs_mace)]


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def assert_predicts(path: Path, expected: dict, structures: list) -> None:
    """The stored numbers, to 1e-12 of the largest one of their kind."""
    found = golden.predict(path, structures)
    assert found.keys() == expected.keys()
    for weights, old in expected.items():
        for before, after in zip(old, found[weights], strict=True):
            for quantity, value in before.items():
                scale = max(1.0, float(np.abs(value).max()))
                np.testing.assert_allclose(
                    after[quantity],
                    value,
                    rtol=0,
                    atol=1e-12 * scale,
                    err_msg=f"{weights} {quantity}",
                )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_predictions_stay(path, tmp_path):
    if not golden.can_be_asked(path):
        pytest.skip("mace-torch is not installed: its image is asked, by tests/containers")
    stored = json.loads((path.parent / "predictions.json").read_text())
    structures = golden.from_json(stored["systems"])
    assert_predicts(path, stored["predictions"][path.stem], structures)
    upgrade.run(path, tmp_path / "new.ckpt")
    assert_predicts(tmp_path / "new.ckpt", stored["predictions"][path.stem], structures)
    before, after = checkpoint.read_header(path), checkpoint.read_header(tmp_path / "new.ckpt")
    assert after.format_version == FORMAT_VERSION
    changed = {"format_version", "content_hash", "upgraded_from"}
    if (
        before.architecture.version != after.architecture.version
        or path.parent not in CURRENT.values()
    ):
        changed |= {"architecture", "options", "options_hash"}
    differ = {name for name in vars(before) if getattr(before, name) != getattr(after, name)}
    assert differ <= changed


def test_what_has_no_exact_way_up_is_told_its_image():
    gone = [path for path in ALL if path not in FILES]
    assert len(gone) == 10
    for path in gone:
        with pytest.raises(UserError) as caught:
            checkpoint.read(path)
        assert caught.value.what.startswith("the checkpoint needs version 1 of the architecture")
        assert "the cutoff function Cosine" in (caught.value.hint or "")
        assert "the image of pet@1" in (caught.value.hint or "")


def test_a_wrong_prediction_is_seen():
    stored = json.loads((FILES[0].parent / "predictions.json").read_text())
    expected = stored["predictions"][FILES[0].stem]
    expected["last"][1]["forces"][0][0] += 1e-10
    with pytest.raises(AssertionError, match="last forces"):
        assert_predicts(FILES[0], expected, golden.from_json(stored["systems"]))


@pytest.mark.parametrize("name", MADE_HERE)
def test_what_is_saved_is_what_this_version_promises(name, tmp_path):
    """A checkpoint of today has exactly the keys and tensors of the golden one of its versions."""
    made, current = tmp_path / "made", CURRENT[name]
    made.mkdir()
    new = [golden.make(made, number, case, tmp_path) for number, case in enumerate(cases(name))]
    current.mkdir(exist_ok=True)
    missing = [path for path in new if not (current / path.name).exists()]
    for path in missing:
        shutil.copy(path, current)
    if missing:
        golden.write_predictions(current, golden.systems(tmp_path))
        pytest.fail(
            f"there were no golden checkpoints of these versions: {len(missing)} are written to "
            f"{current}, commit them"
        )
    changes = []
    for path in new:
        then, now = golden.structure_of(current / path.name), golden.structure_of(path)
        changes += [
            f"{path.name}: {key} is {now.get(key, 'gone')}, was {then.get(key, 'not there')}"
            for key in sorted(then.keys() | now.keys())
            if then.get(key) != now.get(key) and not (key in OPTIONAL and key not in then)
        ]
    assert not changes, (
        "what checkpoints hold has changed, but no version number: raise FORMAT_VERSION (or the "
        "architecture's or OPTIONS_VERSION), add the upgrade of one step, and run this test again, "
        "which writes the golden files of the new version:\n" + "\n".join(changes)
    )


def test_every_version_has_golden_files_and_a_way_up():
    formats = {int(folder.name.split("_")[0].removeprefix("format-")) for folder in FOLDERS}
    assert formats == set(range(1, FORMAT_VERSION + 1))
    assert set(STEPS) == set(range(1, FORMAT_VERSION))
    for folder in FOLDERS:
        stored = json.loads((folder / "predictions.json").read_text())["predictions"]
        assert set(stored) == {path.stem for path in folder.glob("*.ckpt")} != set()


def fields_of(hypers, prefix=""):
    """Every option of a model by its dotted name."""
    for name, field in hypers.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from fields_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


@pytest.mark.parametrize("name", MODELS)
def test_cases_switch_every_option_of_a_model_on_somewhere(name):
    fields = dict(fields_of(architecture_registry.get(name).ModelHypers))
    later = {**LATER[name], **STATES} if name in LATER else {}
    values = {**MODELS[name], **{key: [value] for key, value in later.items()}}
    assert set(values) == set(fields), f"give a new option of {name} values in golden_cases.py"
    for option, field in fields.items():
        if typing.get_origin(field.annotation) is typing.Literal:
            assert set(values[option]) == set(typing.get_args(field.annotation)), option
        assert any(value != field.default for value in values[option]), option


def test_cases_of_mace_differ_in_every_option():
    first, other = MACE_MODELS
    model = architecture_registry.get("mace").ModelHypers
    # What came later is in a case of its own.
    fields = set(model.model_fields) - set(model.later)
    assert set(first) == set(other) == fields
    assert any(set(case["model"]) > fields for case in cases("mace"))
    assert [name for name in fields if first[name] == other[name]] == []


def test_cases_switch_every_option_of_the_trainer_on_somewhere():
    known = {*TRAINING, *LATER_TRAINING, *BY_ATOMS, "weight_decay", "fine_tune"}
    assert known == set(TrainingHypers.model_fields), "give a new option values in golden_cases.py"
    default = TrainingHypers()
    for name, values in TRAINING.items():
        made = [getattr(TrainingHypers.model_validate({name: value}), name) for value in values]
        assert any(value != getattr(default, name) for value in made), name


@pytest.mark.parametrize("name", MODELS)
def test_cases_cover_every_pair(name):
    rows = [
        {
            **flat(case["model"]),
            "bits": case["base_precision"],
            "decay": case["training"]["weight_decay"],
        }
        for case in cases(name)
    ]
    factors = {**MODELS[name], "bits": [32, 64], "decay": [None, 0.1]}
    for one in factors:
        for other in factors:
            if one < other:
                met = {(row[one], row[other]) for row in rows}
                assert len(met) == len(factors[one]) * len(factors[other]), (one, other)


def flat(sections, prefix=""):
    """Options in sections by their dotted names."""
    options = {}
    for name, value in sections.items():
        inner = isinstance(value, dict)
        options |= flat(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return options


def test_cases_of_pet_have_every_value_of_the_trainer():
    for name, values in {**TRAINING, "fine_tune": FINE_TUNE}.items():
        seen = [case["training"].get(name) for case in cases()]
        assert all(value in seen for value in values), name
