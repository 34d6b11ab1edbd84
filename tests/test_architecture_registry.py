"""Architectures by name, built in and from other packages."""

from importlib.metadata import EntryPoint

import pytest

from mtt import architecture_registry
from mtt.architecture_registry import Architecture
from mtt.architectures.pet import architecture as pet
from mtt.errors import UserError
from mtt.options.schema.options import options_class

plugin = Architecture("mynet", 3, pet.ModelHypers, pet.TrainingHypers, pet.build_core)
misnamed = Architecture("other", 1, pet.ModelHypers, pet.TrainingHypers, pet.build_core)


def register(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    points = [
        EntryPoint(name, target, architecture_registry.ENTRY_POINT_GROUP)
        for name, target in targets.items()
    ]
    monkeypatch.setattr(architecture_registry, "entry_points", lambda group: points)


def message(name: str) -> str:
    with pytest.raises(UserError) as caught:
        architecture_registry.get(name)
    return str(caught.value)


def test_built_in() -> None:
    found = architecture_registry.get("pet")
    assert (found.name, found.version) == ("pet", 3)
    assert found.references["architecture"] == ["https://arxiv.org/abs/2305.19302"]


def test_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, mynet="nowhere:architecture")
    assert architecture_registry.names() == ["composition", "mace", "mynet", "pet", "soap_bpnn"]
    assert message("pett") == "unknown architecture 'pett'; did you mean 'pet'?"
    assert (
        message("xyz")
        == "unknown architecture 'xyz'; known: composition, mace, mynet, pet, soap_bpnn"
    )


def test_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, mynet=f"{__name__}:plugin")
    assert architecture_registry.get("mynet") is plugin
    options = options_class("mynet")
    options_class.cache_clear()
    assert options.model_fields["architecture"].annotation.model_fields["version"].default == 3


def test_built_in_names_win(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, pet="nowhere:architecture")
    assert architecture_registry.get("pet") is pet
    assert architecture_registry.names() == ["composition", "mace", "pet", "soap_bpnn"]


def test_a_broken_plugin_is_an_error_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, mynet="no_such_module:architecture", other=f"{__name__}:plugin")
    assert architecture_registry.get("pet") is pet
    assert message("mynet") == (
        "the plug-in of architecture 'mynet' could not be loaded: ModuleNotFoundError: "
        "No module named 'no_such_module'\n"
        "  where: unknown package, entry point no_such_module:architecture\n"
        "  hint: repair, update or uninstall that package"
    )


@pytest.mark.parametrize(("target", "given"), [("misnamed", "'other'"), ("message", "function")])
def test_a_plugin_that_is_something_else(
    monkeypatch: pytest.MonkeyPatch, target: str, given: str
) -> None:
    register(monkeypatch, mynet=f"{__name__}:{target}")
    assert message("mynet") == (
        "the plug-in of architecture 'mynet' must give an mtt Architecture of that name, not "
        f"{given}\n"
        f"  where: unknown package, entry point {__name__}:{target}\n"
        "  hint: report this to the authors of that package"
    )


def test_two_packages_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("mynet", target, architecture_registry.ENTRY_POINT_GROUP)
        for target in ("a:x", "b:x")
    ]
    monkeypatch.setattr(architecture_registry, "entry_points", lambda group: points)
    assert message("mynet") == (
        "the architecture 'mynet' is registered by more than one package\n"
        "  where: unknown package\n"
        "  hint: uninstall all of them but one"
    )
