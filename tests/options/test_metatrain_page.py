"""The page on the options of metatrain: it has each of them, and what it says of each comes true."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtt.options import OptionsError, load_options
from mtt.options.foreign.fates import NO_DEFAULT, Absent, Reworked
from mtt.options.foreign.metatrain_page import (
    NAME,
    NO_EFFECT,
    REFUSED,
    REFUSED_VALUES,
    SECTIONS,
    TAKEN,
    TRANSLATED,
    Section,
)

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reference" / NAME).read_text("utf-8")
CHECKPOINT = TESTS / "golden" / "checkpoints" / "format-3_pet-3_options-2" / "0.ckpt"
# Every option of metatrain 2026.4.1, as its types of options have them.
OF_METATRAIN = {
    "Top level": "architecture base_precision device final_eval print_stats seed test_set training_set"
    " validation_set wandb",
    "architecture": "atomic_types model name training",
    "architecture.model of pet": "activation adaptive_cutoff_method attention_temperature cutoff"
    " cutoff_function cutoff_width cutoff_width_adaptive d_feedforward d_head d_node d_pet"
    " featurizer_type long_range max_charge max_spin_multiplicity normalization num_attention_layers"
    " num_gnn_layers num_heads num_neighbors_adaptive system_conditioning transformer_type zbl",
    "architecture.model of soap_bpnn": "add_lambda_basis bpnn heads legacy long_range soap zbl",
    "architecture.model.soap of soap_bpnn": "cutoff max_angular max_radial",
    "architecture.model.soap.cutoff": "radius width",
    "architecture.model.bpnn of soap_bpnn": "layernorm num_hidden_layers num_neurons_per_layer",
    "long_range": "enable interpolation_nodes kspace_resolution smearing use_ewald",
    "architecture.training": "atomic_baseline batch_size best_model_metric checkpoint_interval"
    " distributed distributed_port finetune fixed_scaling_weights grad_clip_norm learning_rate"
    " log_interval log_mae log_separate_blocks loss max_atoms_per_batch min_atoms_per_batch num_epochs"
    " num_workers per_structure_targets scale_targets warmup_fraction weight_decay",
    "finetune": "config inherit_heads method read_from",
    "loss of a target": "delta forces gradients reduction stress type virial weight",
    "Data set": "extra_data indices systems targets",
    "systems": "length_unit read_from reader",
    "Target": "description forces key num_subtargets per_atom quantity read_from reader sample_kind"
    " stress type unit virial",
    "forces, stress and virial": "key read_from reader",
    "architecture.model of llpr": "num_ensemble_members",
    "architecture.training of llpr": "batch_size best_model_metric calibration_method"
    " checkpoint_interval distributed distributed_port grad_clip_norm learning_rate log_interval"
    " log_mae log_separate_blocks loss max_atoms_per_batch min_atoms_per_batch model_checkpoint"
    " num_epochs num_workers per_structure_targets regularizer train_all_parameters warmup_fraction"
    " weight_decay",
}
# Values for options whose default is none, or whose value is a section of its own.
SECTION_VALUES: dict[str, Any] = {
    "architecture": {"name": "pet"},
    "training_set": {"systems": "a.xyz", "targets": {"energy": {}}},
    "validation_set": 0.1,
    "seed": 7,
    "use_atomic_baseline": False,
    "name": "pet",
    "model": {},
    "training": {},
    "soap": {},
    "bpnn": {},
    "cutoff": {},
    "systems": "a.xyz",
    "targets": {"energy": {}},
    "indices": [0, 1],
    "extra_data": {"charge": {"key": "q", "unit": "e"}, "spin_multiplicity": {}},
    "gradients": {"positions": {"weight": 2.0}},
    "forces": {"weight": 2.0},
    "stress": {"weight": 2.0},
    "virial": {"weight": 2.0},
    "finetune": {"read_from": "b.ckpt"},
    "model_checkpoint": "b.ckpt",
    "read_from": "a.xyz",
}


def rows() -> list[tuple[Section, str, str]]:
    """Return section, option and what is done with it, as the page has them."""
    titles = {section.title: section for section in SECTIONS}
    section, found = None, []
    for line in PAGE.splitlines():
        if line.startswith("## "):
            section = titles.get(line[3:])
        row = re.match(r"\| `(\w+)` \|.*?(?<!\\)\| (\w[^|]*?) \|", line)
        if row and section is not None:
            found.append((section, row[1], row[2]))
    return found


ROWS = rows()
IDS = [f"{section.title}: {name}" for section, name, _ in ROWS]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.xyz").touch()
    shutil.copy(CHECKPOINT, "b.ckpt")


def load(section: Section, name: str, value: Any) -> Any:
    """Read an options file with one option of a section; return what is wrong with it."""
    content: dict[str, Any] = {
        "architecture": {"name": section.architecture},
        "training_set": {
            "systems": {"read_from": "a.xyz"},
            "targets": {"energy": {}},
        },
    }
    if section.architecture == "llpr":
        content["architecture"]["training"] = {"model_checkpoint": "b.ckpt"}
        if name != "num_ensemble_members":
            content["architecture"]["model"] = {"num_ensemble_members": {"energy": 4}}
            content["architecture"]["training"]["num_epochs"] = 2
    if section.title == "finetune":
        content["architecture"]["training"] = {"finetune": {"read_from": "b.ckpt"}}
    if section.title == "long_range":
        content["architecture"]["model"] = {"long_range": {"enable": True}}
    place = content
    for part in filter(None, section.path.replace("TARGET", "energy").split(".")):
        place = place.setdefault(part, {})
    if name == "extra_data":
        content["architecture"]["model"] = {"system_conditioning": True}
    if section.title == "loss of a target" and name == "virial":
        content["training_set"]["targets"]["energy"] = {"virial": True}
    place[name] = value
    Path("options.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        load_options("options.yaml")
    except OptionsError as error:
        return {problem.name: problem.message for problem in error.problems}
    return {}


def full_name(section: Section, name: str) -> str:
    return f"{section.path}.{name}".strip(".").replace("TARGET", "energy")


def test_the_page_has_every_option() -> None:
    listed: dict[str, set[str]] = {}
    for section, name, _ in ROWS:
        listed.setdefault(section.title, set()).add(name)
    for title, names in OF_METATRAIN.items():
        assert set(names.split()) <= listed[title], title
    assert set(listed) == set(OF_METATRAIN)
    assert len(ROWS) == sum(len(section.table) for section in SECTIONS)


@pytest.mark.parametrize(("section", "name", "word"), ROWS, ids=IDS)
def test_what_the_page_says_comes_true(section: Section, name: str, word: str) -> None:
    fate = section.table[name]
    if word == NO_EFFECT:
        assert load(section, name, {"asks": "for something"}) == {}
    elif word == REFUSED:
        assert list(load(section, name, {"asks": "for something"})) == [full_name(section, name)]
        assert isinstance(fate, Absent)
        for asks_nothing in () if callable(fate.nothing) else fate.nothing:
            assert load(section, name, asks_nothing) == {}
    else:
        assert word in (TAKEN, TRANSLATED) or word.startswith("alias of `")
        value = SECTION_VALUES.get(name)
        if fate.default is not NO_DEFAULT and not (isinstance(fate, Reworked) and value):
            value = fate.default
        if section.title in ("Target", "forces, stress and virial") and name == "key":
            value = "energy"
        if section.title == "Target" and isinstance(fate, Reworked) and name != "type":
            value = name != "stress"  # which excludes the virial
        if (section.title, name) == ("architecture.model of pet", "cutoff"):
            value = 4.5
        if (section.title, name) == ("finetune", "read_from"):
            value = "b.ckpt"
        assert load(section, name, value) == {}


@pytest.mark.parametrize("option", REFUSED_VALUES)
def test_a_value_that_the_page_refuses(option: str) -> None:
    path, _, name = option.rpartition(".")
    (section,) = [
        each
        for each in SECTIONS
        if each.path == path and each.architecture == "pet" and name in each.table
    ]
    value = REFUSED_VALUES[option].value
    assert list(load(section, name, value)) == [option]
    assert f"`{value}` is refused" in PAGE
