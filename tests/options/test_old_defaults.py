"""Files that state an older version of the options mean what they meant."""

from pathlib import Path

import pytest

from mtt import architecture_registry
from mtt.options import Options, load_options
from mtt.options.schema.base import OPTIONS_VERSION
from mtt.options.schema.training import TrainingHypers
from mtt.options.stored import OLD_DEFAULTS, UPGRADES, defaults_of, upgrade_options

# Written out by hand: what version 1 did with a file that says nothing of these.
FIRST = {"learning_rate": 1e-4, "scale_targets": True, "best_model_smoothing": 0.0}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.xyz").touch()


def loaded(version: str, training: str = "{}") -> Options:
    text = f"{version}\narchitecture: {{name: pet, training: {training}}}\ntraining_set: a.xyz\n"
    Path("options.yaml").write_text(text)
    return load_options(Path("options.yaml"))


def test_the_defaults_are_those_of_the_version_that_the_file_states() -> None:
    old, new = loaded("version: 1"), loaded("")
    assert new == loaded("version: 2")
    assert old.version == new.version == OPTIONS_VERSION
    before = old.architecture.training.model_dump()
    after = new.architecture.training.model_dump()
    assert {name for name in before if before[name] != after[name]} == set(FIRST)
    assert {name: before[name] for name in FIRST} == FIRST
    Path("options.yaml").write_text("version: 1\narchitecture: pet\ntraining_set: a.xyz\n")
    assert load_options(Path("options.yaml")) == old


def test_what_an_old_file_states_stays() -> None:
    training = loaded("version: 1", "{learning_rate: 0.5}").architecture.training
    assert (training.learning_rate, training.best_model_smoothing) == (0.5, 0.0)


def test_every_version_has_a_step_and_its_defaults_are_options() -> None:
    assert set(UPGRADES) == set(range(1, OPTIONS_VERSION))
    for defaults in OLD_DEFAULTS.values():
        assert set(defaults) <= set(TrainingHypers.model_fields)
    assert defaults_of(1) == FIRST
    assert defaults_of(OPTIONS_VERSION) == {}


def test_stored_options_keep_their_meaning() -> None:
    stored = loaded("version: 1").to_dict()
    stored["version"] = 1
    del stored["architecture"]["training"]["best_model_smoothing"]
    assert Options.from_dict(upgrade_options(stored)) == loaded("version: 1")
    for strange in ({"architecture": 3}, {"architecture": {"training": 3}}, {}):
        assert upgrade_options({**strange, "version": 1}) == {**strange, "version": OPTIONS_VERSION}


def test_an_architecture_keeps_a_default_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from mtt.options.schema import options as schema

    class Own(TrainingHypers):
        """With another learning rate."""

        learning_rate: float = 0.7

    pet = architecture_registry.get("pet")
    own = architecture_registry.Architecture(**{**vars(pet), "TrainingHypers": Own})
    monkeypatch.setattr(architecture_registry, "get", lambda name: own)
    schema.options_class.cache_clear()
    try:
        training = loaded("version: 1").architecture.training
    finally:
        schema.options_class.cache_clear()
    assert (training.learning_rate, training.best_model_smoothing) == (0.7, 0.0)


def test_a_base_is_not_forgotten_by_default() -> None:
    for version in ("", "version: 1"):
        assert loaded(version, "{fine_tune: on}").architecture.training.learning_rate == 1e-4
    training = loaded("", "{fine_tune: on, learning_rate: 0.3}").architecture.training
    assert training.learning_rate == 0.3
    assert loaded("", "{fine_tune: off}").architecture.training.learning_rate == 1e-3
