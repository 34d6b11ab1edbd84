"""From old versions to the installed ones: step by step, in memory and to a file, or not at all."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from golden.golden_runs import Silent
from small_runs import make_options

from mtt import architecture_registry, checkpoint
from mtt.architecture_registry import Upgrade
from mtt.checkpoint import UpgradedFrom, upgrade, upgrade_steps
from mtt.errors import UserError
from mtt.inspect.describe import describe
from mtt.options import Options, load_options
from mtt.options import stored as upgrades
from mtt.options.schema.options import hash_of_options, options_hash
from mtt.training import loop
from mtt.training.prepare import prepare

OLD = Path(__file__).parents[1] / "golden" / "checkpoints" / "format-1_pet-1_options-1" / "0.ckpt"


@pytest.fixture
def current(tmp_path):
    """A finished run: options and checkpoint of the newest versions."""
    options = make_options(tmp_path)
    run = prepare(options, None, tmp_path / "model.pt", lambda _: None)
    loop.train(run.state, run.problem, Silent())
    run.save(tmp_path / "model.ckpt")
    return options, tmp_path / "model.ckpt"


def message(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


def energies(path):
    potential = checkpoint.load_potential(*checkpoint.read(path))
    return {name: one.double().sum().item() for name, one in potential.state_dict().items()}


def test_an_old_format_to_a_file(tmp_path):
    new = tmp_path / "new.ckpt"
    said = upgrade.run(OLD, new)
    assert said == f"wrote {new}: format 1 -> 3, pet 1 -> 3, options 1 -> 2"
    header, old = checkpoint.read_header(new), checkpoint.read_header(OLD)
    versions = {"format": 1, "pet": 1, "options": 1}
    assert header.upgraded_from == UpgradedFrom(old.content_hash, versions)
    assert header.history == old.history and header.split == old.split
    assert describe(new)["content"]["fits"] and describe(OLD)["content"]["fits"]


def test_a_current_file_is_copied(current, tmp_path):
    options, path = current
    new = tmp_path / "new.ckpt"
    assert upgrade.run(path, new) == f"{path} is of the newest versions already; copied to {new}"
    assert new.read_bytes() == path.read_bytes()


def test_the_input_is_never_replaced(current):
    _, path = current
    before = path.read_bytes()
    assert message(upgrade.run, path, path) == (
        f"the output would replace {path}, which is read\n"
        f"  where: {path}\n  hint: give the output another name"
    )
    assert path.read_bytes() == before


def version_five(monkeypatch, **changes):
    """PET as it might be two versions from now, where one weight and one option got other names."""

    def rename(old, new):
        return lambda weights: {name.replace(old, new): one for name, one in weights.items()}

    def hypers(old):
        return {("temperature" if key == "attention_temperature" else key): old[key] for key in old}

    pet = architecture_registry.get("pet")
    steps = {3: Upgrade(hypers, rename("readout.node", "heads.node")), 4: Upgrade()}
    future = dataclasses.replace(pet, version=5, upgrades={**steps, **changes.pop("steps", {})})
    monkeypatch.setattr(
        architecture_registry, "get", lambda name: dataclasses.replace(future, **changes)
    )


def test_steps_of_an_architecture_are_taken_one_by_one(current, monkeypatch):
    _, path = current
    header, tensors = checkpoint.read(path)
    version_five(monkeypatch)
    after, upgraded = upgrade_steps.to_installed(header, tensors)
    assert after.architecture.version == 5
    assert after.architecture.hypers["temperature"] == 1.0
    assert "attention_temperature" not in after.architecture.hypers
    assert after.options["architecture"]["version"] == 5
    assert after.options["architecture"]["model"] == after.architecture.hypers
    assert after.options_hash == hash_of_options(after.options) != header.options_hash
    renamed = {name.replace("core.readout.node", "core.heads.node"): name for name in tensors}
    assert upgraded.keys() == renamed.keys()
    for name, before in renamed.items():
        assert torch.equal(upgraded[name], tensors[before])
    for group in ("model/", "best/", "optimizer/"):
        assert any(name.startswith(f"{group}core.heads.node") for name in upgraded), group
    assert header.architecture.version == 3, "what was given has been changed"


def test_a_version_without_an_exact_upgrade_names_its_image(current, monkeypatch):
    _, path = current
    pet = architecture_registry.get("pet")
    future = dataclasses.replace(pet, version=5, upgrades={4: Upgrade()})
    monkeypatch.setattr(architecture_registry, "get", lambda name: future)
    assert message(checkpoint.read, path) == (
        "the checkpoint needs version 3 of the architecture 'pet', but version 5 is installed\n"
        f"  where: {path}\n"
        "  hint: its predictions would change in an upgrade: use "
        "the image of pet@3"
    )


def as_named_by_pet_2(tensors):
    """Give the heads of the only target the names that they had."""
    return {
        re.sub(r"core\.readout\.(node|edge)\.0\.", r"core.\1_head.", name): tensor
        for name, tensor in tensors.items()
    }


def test_a_run_of_pet_1_goes_on_with_the_model_that_it_has(tmp_path):
    """Options that leave num_radial out mean another model now than they did then."""
    make_options(tmp_path)
    without = load_options(tmp_path / "options.yaml", ["architecture.model.num_radial=0"])
    run = prepare(without, None, tmp_path / "model.pt", lambda _: None)
    loop.train(run.state, run.problem, Silent())
    path = tmp_path / "old.ckpt"
    run.save(path)
    header, tensors = checkpoint.read(path)
    for model in (header.architecture.hypers, header.options["architecture"]["model"]):
        del model["num_radial"]
    header.options["architecture"]["version"] = 1
    header = dataclasses.replace(
        header, architecture=dataclasses.replace(header.architecture, version=1)
    )
    checkpoint.write(path, header, as_named_by_pet_2(tensors))

    same = load_options(tmp_path / "options.yaml")
    said = message(prepare, same, path, tmp_path / "model.pt", lambda _: None)
    assert "\n    architecture.model.num_radial: 0 in the checkpoint, now 8\n" in said
    gone_on = prepare(without, path, tmp_path / "model.pt", lambda _: None)
    assert gone_on.finished and gone_on.header.architecture.version == 3
    for name, one in gone_on.state.to_checkpoint()[1].items():
        assert torch.equal(one, tensors[name]), name


def test_an_upgrade_that_forgets_a_weight_is_noticed(current, monkeypatch):
    _, path = current
    pet = architecture_registry.get("pet")
    name = next(name for name in checkpoint.read(path)[1] if name.startswith("model/core."))
    short = name.removeprefix("model/core.")

    def forget(weights):
        return {key: one for key, one in weights.items() if key != short}

    monkeypatch.setattr(
        architecture_registry,
        "get",
        lambda _: dataclasses.replace(pet, version=4, upgrades={3: Upgrade(weights=forget)}),
    )
    assert message(checkpoint.read, path) == (
        f"the checkpoint is damaged: its tensor '{name}' is missing\n"
        f"  where: {path}\n  hint: copy it again, or use another checkpoint of the run"
    )


def test_old_options_are_brought_to_the_newest_version(current, monkeypatch):
    options, path = current

    def rename(stored):
        training = dict(stored["architecture"]["training"])
        training["clip"] = training.pop("grad_clip_norm")
        return {**stored, "architecture": {**stored["architecture"], "training": training}}

    monkeypatch.setattr(upgrades, "UPGRADES", {2: rename, 3: dict})
    monkeypatch.setattr(upgrades, "OPTIONS_VERSION", 4)
    header, _ = checkpoint.read(path)
    assert header.options["version"] == 4
    assert header.options["architecture"]["training"]["clip"] == 1.0
    assert header.options_hash == hash_of_options(header.options)


def test_options_of_this_version_stay_as_they_are(current):
    options, path = current
    header, _ = checkpoint.read(path)
    assert Options.from_dict(header.options) == options
    assert header.options_hash == options_hash(options)
    assert upgrades.upgrade_options({"version": 99, "a": 1}) == {"version": 99, "a": 1}
    for wrong in ({}, {"version": 0}, {"version": True}, {"version": "1"}):
        assert upgrades.upgrade_options(wrong) == wrong


def test_the_command(tmp_path):
    command = [sys.executable, "-m", "mtt", "upgrade", str(OLD), "-o", str(tmp_path / "new.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (
        done.stdout == f"wrote {tmp_path}/new.ckpt: format 1 -> 3, pet 1 -> 3, options 1 -> 2\n"
        and done.stderr == ""
    )
    assert energies(tmp_path / "new.ckpt") == energies(OLD)
    command[-1] = str(tmp_path / "new.pt")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "must have a name that ends in .ckpt" in done.stderr
