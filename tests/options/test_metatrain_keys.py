"""The table of metatrain's options: each entry does what it says, through a whole file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtt import architecture_registry
from mtt.options import OptionsError, load_options
from mtt.options.foreign import metatrain_keys as keys
from mtt.options.foreign.fates import NO_DEFAULT, Absent, Fate, Renamed, Reworked, Taken
from mtt.options.schema.datasets import (
    DatasetOptions,
    GradientOptions,
    SystemsOptions,
    TargetOptions,
)
from mtt.options.schema.long_range import LongRangeOptions
from mtt.options.schema.loss_parts import TargetLossOptions
from mtt.options.schema.options import ArchitectureOptions, Options
from mtt.options.schema.training import FineTuneOptions, TrainingHypers

_PET = architecture_registry.get("pet").ModelHypers
_TRAINING = "architecture.training"
# Where the options of a table are, and ours that stand there.
SECTIONS: dict[str, tuple[Mapping[str, Fate], Any]] = {
    "": (keys.TOP, Options),
    "architecture": (keys.ARCHITECTURE, ArchitectureOptions),
    "architecture.model": (keys.MODEL, _PET),
    "architecture.model.long_range": (keys.LONG_RANGE, LongRangeOptions),
    _TRAINING: (keys.TRAINING, TrainingHypers),
    f"{_TRAINING}.finetune": (keys.FINETUNE, FineTuneOptions),
    f"{_TRAINING}.loss.energy": (keys.LOSS, TargetLossOptions),
    "training_set": (keys.DATASET, DatasetOptions),
    "training_set.systems": (keys.SYSTEMS, SystemsOptions),
    "training_set.targets.energy": (keys.TARGET, TargetOptions),
    "training_set.targets.energy.forces": (keys.GRADIENT, GradientOptions),
}
# What asks for something, whatever the option is about.
ASKING = {"asks": "for something"}


def entries(kind: type[Fate]) -> list[tuple[str, str]]:
    """Return section and name of all entries of a kind."""
    return [
        (section, key)
        for section, (table, _) in SECTIONS.items()
        for key, fate in table.items()
        if isinstance(fate, kind)
    ]


def fate_of(section: str, key: str) -> Any:
    return SECTIONS[section][0][key]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.xyz").touch()


def options(section: str = "", changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return options with changes in one section."""
    content: dict[str, Any] = {
        "architecture": {"name": "pet"},
        "training_set": {
            "systems": {"read_from": "a.xyz"},
            "targets": {"energy": {"forces": {"key": "f"}}},
        },
    }
    if section.endswith("finetune"):
        content["architecture"]["training"] = {"finetune": {"read_from": "b.ckpt"}}
    if section.endswith("long_range"):
        content["architecture"]["model"] = {"long_range": {"enable": True}}
    place = content
    for name in filter(None, section.split(".")):
        place = place.setdefault(name, {})
    place.update(changes or {})
    return content


def load(content: Mapping[str, Any]) -> dict[str, Any]:
    Path("options.yaml").write_text(yaml.safe_dump(dict(content), sort_keys=False))
    return load_options("options.yaml").to_dict()


def problems(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(OptionsError) as caught:
        load(content)
    return [(problem.name, problem.message) for problem in caught.value.problems]


def full_name(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


@pytest.mark.parametrize(("section", "key"), entries(Taken))
def test_what_is_taken_is_an_option_of_ours(section: str, key: str) -> None:
    assert key in SECTIONS[section][1].model_fields


@pytest.mark.parametrize(
    ("section", "key"),
    [each for each in entries(Taken) if fate_of(*each).default is not NO_DEFAULT],
)
def test_the_default_of_what_is_taken_is_accepted(section: str, key: str) -> None:
    if (section, key) == (f"{_TRAINING}.finetune", "read_from"):
        return  # without a base there is no fine-tuning
    fate = fate_of(section, key)
    loaded = load(options(section, {key: fate.default}))
    if fate.default in fate.left_out:
        left_out = options(section, {key: fate.default})
        place = left_out
        for name in section.split("."):
            place = place[name]
        del place[key]
        assert loaded == load(left_out)


def _refused() -> Iterator[tuple[str, str, Any, str]]:
    for kind in (Taken, Renamed):
        for section, key in entries(kind):
            for value, reason in fate_of(section, key).refused.items():
                yield section, key, value, reason
                yield section, key, {value: {"rank": 1}}, reason


@pytest.mark.parametrize(("section", "key", "value", "reason"), list(_refused()))
def test_a_value_that_is_not_possible_is_refused_by_name(
    section: str, key: str, value: Any, reason: str
) -> None:
    assert problems(options(section, {key: value})) == [(full_name(section, key), reason)]


@pytest.mark.parametrize(("section", "key"), entries(Absent))
def test_an_option_that_came_to_mtt_has_no_entry_any_more(section: str, key: str) -> None:
    assert key not in SECTIONS[section][1].model_fields


@pytest.mark.parametrize(
    ("section", "key"),
    [each for each in entries(Absent) if fate_of(*each).default is not NO_DEFAULT],
)
def test_a_default_asks_for_nothing(section: str, key: str) -> None:
    changes = {key: fate_of(section, key).default}
    assert load(options(section, changes)) == load(options(section))


@pytest.mark.parametrize(("section", "key"), entries(Absent))
def test_anything_else_is_refused_with_the_reason(section: str, key: str) -> None:
    fate = fate_of(section, key)
    if fate.asks_for_nothing(ASKING):
        assert load(options(section, {key: ASKING})) == load(options(section))
        return
    assert problems(options(section, {key: ASKING})) == [(full_name(section, key), fate.reason)]
    assert fate.reason and fate.advice


@pytest.mark.parametrize(("section", "key"), entries(Renamed))
def test_another_name_means_the_same(section: str, key: str) -> None:
    fate = fate_of(section, key)
    assert fate.ours in SECTIONS[section][1].model_fields
    theirs, ours = next(iter(fate.values.items()), (fate.default, fate.default))
    named = load(options(section, {key: theirs}))
    assert named == load(options(section, {fate.ours: ours}))


def test_a_name_of_two_programs_is_given_once() -> None:
    content = options("training_set.targets.energy", {"per": "system", "per_atom": True})
    assert problems(content) == [
        (
            "training_set.targets.energy.per_atom",
            "contradicts 'per' on line 10, which is the same option",
        )
    ]
    assert load(options("training_set.targets.energy", {"per": "system", "per_atom": False}))


def test_what_is_reworked_is_known() -> None:
    assert set(entries(Reworked)) == {
        ("architecture", "preset"),
        ("architecture.model", "long_range"),
        ("architecture.model.long_range", "enable"),
        (_TRAINING, "loss"),
        (_TRAINING, "finetune"),
        (_TRAINING, "batch_atom_bounds"),
        (_TRAINING, "use_atomic_baseline"),
        ("training_set", "indices"),
        ("training_set", "extra_data"),
        *((f"{_TRAINING}.loss.energy", key) for key in ("gradients", "forces", "stress", "virial")),
        *(
            (f"{_TRAINING}.loss.energy", key)
            for key in ("grad_penalty_weight", "grad_weight", "int_weight", "extra_targets")
        ),
        *(("training_set.targets.energy", key) for key in ("type", "forces", "stress", "virial")),
    }


def test_long_range_is_on_where_metatrain_enables_it() -> None:
    def taken(value: Any) -> Any:
        return load(options("architecture.model", {"long_range": value}))["architecture"]["model"]

    theirs = {
        "use_ewald": True,
        "smearing": 1.1,
        "kspace_resolution": 2.0,
        "interpolation_nodes": 3,
    }
    ours = {"num_charges": 8, "smearing": 1.1, "kspace_resolution": 2.0}
    assert taken({"enable": True, **theirs})["long_range"] == ours
    assert (
        taken({"enable": True})["long_range"]
        == taken(True)["long_range"]
        == taken({})["long_range"]
    )
    off = load(options("architecture.model"))["architecture"]["model"]
    for value in ({"enable": False, **theirs}, False, None):
        assert taken(value) == off
        assert "long_range" not in off
    wrong = options("architecture.model", {"long_range": {"enable": "yes"}})
    assert "architecture.model.long_range.enable" in [name for name, _ in problems(wrong)]


def test_a_preset_is_the_options_that_it_stands_for() -> None:
    def taken(changes: dict[str, Any]) -> dict[str, Any]:
        loaded = load(options("architecture", changes))["architecture"]
        return {"model": loaded["model"], "training": loaded["training"]}

    plain = taken({})
    for preset in (None, "default"):
        assert taken({"preset": preset}) == plain
    sizes = {"cutoff": 3.5, "d_pet": 64, "d_node": 128, "d_feedforward": 128}
    layers = {"num_heads": 4, "num_attention_layers": 1, "num_gnn_layers": 1}
    rates = {"batch_size": 32, "learning_rate": 2e-4}
    fast = taken({"preset": "fast"})
    assert fast == taken({"model": {**sizes, **layers}, "training": rates}) != plain
    large = taken({"preset": "large"})
    assert large["model"]["d_pet"] == 256 and large["training"]["learning_rate"] == 5e-5
    # Only what is trained differs from the defaults of today.
    medium = taken({"preset": "medium"})
    assert medium["model"] == plain["model"]
    # What the file says counts more, whether it stands before or after.
    own = {"model": {"cutoff": 4.0}, "training": None}
    changed = {**fast, "model": {**fast["model"], "cutoff": 4.0}}
    assert taken({"preset": "fast", **own}) == taken({**own, "preset": "fast"}) == changed
    reason = ("architecture.preset", "presets are those of pet: default, fast, medium, large")
    for wrong in ({"preset": "slow"}, {"preset": ["fast"]}, {"preset": 1}):
        assert problems(options("architecture", wrong)) == [reason]
    other = options("architecture", {"name": "soap_bpnn", "preset": "fast"})
    assert problems(other) == [reason]


def test_architectures_of_metatrain_are_not_yet_there() -> None:
    known = architecture_registry.names()
    for name in ("nanopet", "gap", "experimental.mace", "deprecated.nanopet", "experimental.pet"):
        assert name not in known
        assert problems(options("architecture", {"name": name})) == [
            (
                "architecture.name",
                f"not yet in mtt: the architecture '{name}'; known: {', '.join(known)}",
            )
        ]

    assert not keys.is_architecture("pet")
    assert not keys.is_architecture("pett")


def test_another_architecture_may_have_options_of_these_names() -> None:
    """Only the model of pet is that of metatrain."""
    from mtt.options.foreign.translate import translate_options
    from mtt.options.reading.document import parse

    root, _ = parse("architecture: {name: mine, model: {zbl: on}}\n")
    assert root is not None
    assert translate_options(root) == []
    assert root.plain() == {"architecture": {"name": "mine", "model": {"zbl": True}}}
