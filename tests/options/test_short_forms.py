"""Short forms of options: the reading, the reference and the JSON schema say the same."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtt.options import load_options
from mtt.options.reference import render
from mtt.options.schema.short_forms import SHORT_FORMS, described

PAIRS: list[tuple[str, Any, Any]] = [
    ("architecture", "pet", {"name": "pet"}),
    ("architecture.model", None, {}),
    ("architecture.training", None, {}),
    ("architecture.training.loss", "huber", {"type": "huber"}),
    ("architecture.training.fine_tune", True, {}),
    ("architecture.training.fine_tune", False, None),
    ("architecture.training.fine_tune", "a.xyz", {"read_from": "a.xyz"}),
    ("training_set", "a.xyz", [{"systems": {"read_from": "a.xyz"}}]),
    ("training_set.systems", "a.xyz", {"read_from": "a.xyz"}),
    ("training_set.targets.energy", "a.xyz", {"read_from": "a.xyz"}),
    ("training_set.targets.energy", None, {}),
    ("training_set.targets.energy.forces", True, {"key": "forces"}),
    ("training_set.targets.energy.forces", "a.xyz", {"key": "forces", "read_from": "a.xyz"}),
    ("test_set", 0.25, {"fraction": 0.25}),
    ("test_set", "0:5", {"indices": "0:5"}),
    ("test_set", [1, 2], {"indices": [1, 2]}),
    ("test_set", "a.xyz", {"datasets": [{"systems": {"read_from": "a.xyz"}}]}),
    ("test_set", None, {"fraction": 0.0}),
]


@pytest.mark.parametrize(("key", "short", "full"), PAIRS)
def test_short_and_full_are_the_same(
    key: str, short: Any, full: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.xyz").touch()
    read = []
    for value in (short, full):
        options: dict[str, Any] = {
            "architecture": {"name": "pet"},
            "training_set": {"systems": {"read_from": "a.xyz"}},
        }
        *above, last = key.split(".")
        section = options
        for name in above:
            section = section.setdefault(name, {})
        section[last] = value
        Path("options.yaml").write_text(yaml.safe_dump(options))
        read.append(load_options("options.yaml").to_dict())
    assert read[0] == read[1]


def test_every_short_form_is_described_and_accepted_by_editors() -> None:
    files = render()
    models = json.loads(files["options-pet.schema.json"])["$defs"]
    page = files["options.md"]
    for name, forms in SHORT_FORMS.items():
        assert models[name]["description"].endswith(described(forms))
        assert described(forms) in page


def test_a_short_form_has_the_type_of_what_it_stands_for() -> None:
    schema = json.loads(render()["options-pet.schema.json"])
    training = schema["$defs"]["TrainingHypers"]["properties"]
    assert [member.get("enum") for member in training["loss"]["anyOf"]] == [
        None,
        ["mse", "mae", "huber"],
    ]
    number = schema["properties"]["test_set"]["anyOf"][-1]
    assert number == {"type": "number", "minimum": 0.0, "exclusiveMaximum": 1.0}
