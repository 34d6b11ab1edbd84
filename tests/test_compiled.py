"""Compiled parts and libraries that do not fit, and the versions that mtt is made for."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from command import run_mtt

from mtt import compiled
from mtt.errors import UserError

ROOT = Path(__file__).parents[1]
BUILT = {"torch": "2.13.0", "metatensor-torch": "0.10.8", "metatomic-torch": "0.1.19"}


@pytest.fixture
def other_torch(tmp_path: Path) -> str:
    """A folder for PYTHONPATH in which pip seems to have installed torch 2.3.0."""
    record = tmp_path / "other" / "torch-2.3.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.3.0\n")
    return str(record.parent)


def test_training_with_another_torch_ends_with_one_sentence(
    tmp_path: Path, other_torch: str
) -> None:
    """At once: not after days, when the exported model is to be verified."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "options.yaml").write_text("architecture: pet\ntraining_set: none.xyz\n")
    done = run_mtt(folder, "train", "options.yaml", PYTHONPATH=other_torch)
    built = json.loads(compiled.installed_file("_build_info.json").read_text())["torch"]
    assert (done.returncode, done.stdout) == (2, "")
    message, hint = done.stderr.splitlines()
    assert message == (
        f"error: the compiled parts of mtt were built against torch {built}, but 2.3.0 is installed"
    )
    assert hint.startswith("  hint: install the versions named first, or build again: pip install")
    assert [path.name for path in folder.iterdir()] == ["options.yaml"]


@pytest.mark.parametrize(
    "module",
    ["mtt.training.run", "mtt.export.torchscript", "mtt.evaluation.run", "mtt.architectures.pet"],
)
def test_whatever_computes_is_checked_at_its_import(module: str, other_torch: str) -> None:
    code = f"import {module}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": other_torch},
        capture_output=True,
        text=True,
    )
    assert "mtt.errors.UserError: the compiled parts of mtt were built against" in done.stderr


def test_what_needs_no_torch_works_with_any(tmp_path: Path, other_torch: str) -> None:
    assert run_mtt(tmp_path, "--version", PYTHONPATH=other_torch).returncode == 0


def test_a_program_that_is_named_counts_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tmp_path / "_build_info.json"
    built.write_text(json.dumps({**BUILT, "torch": "2.3.0"}))
    monkeypatch.setattr(compiled, "installed_file", lambda name: built)
    monkeypatch.delenv(compiled.PROGRAM, raising=False)
    with pytest.raises(UserError, match="torch 2[.]3[.]0"):
        compiled.check_installed()
    monkeypatch.setenv(compiled.PROGRAM, "/bin/true")
    compiled.check_installed()


def test_versions_that_do_not_fit_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "2.12.1+cpu", "metatensor-torch": "0.10.9", "metatomic-torch": "0.2.0"}
    monkeypatch.setattr(importlib.metadata, "version", installed.__getitem__)
    with pytest.raises(UserError) as error:
        compiled.check_versions(BUILT)
    assert str(error.value) == (
        "the compiled parts of mtt were built against torch 2.13.0, but 2.12.1+cpu is installed;"
        " metatomic-torch 0.1.19, but 0.2.0 is installed\n"
        "  hint: install the versions named first, or build again: pip install"
        " --no-build-isolation --no-deps --force-reinstall . in the source folder"
    )


def test_versions_that_fit_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "2.13.4+cu130", "metatensor-torch": "0.10.9", "metatomic-torch": "0.1.20"}
    monkeypatch.setattr(importlib.metadata, "version", installed.__getitem__)
    compiled.check_versions(BUILT)


def test_package_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"torch 2\.13\.0 is not installed any more"):
        compiled.check_versions(BUILT)


def supported() -> dict[str, list[str]]:
    """Return the table of docs/how-to/install.md: versions of torch and of Python."""
    page = (ROOT / "docs" / "how-to" / "install.md").read_text()
    rows = re.findall(r"^\| (torch|Python) \| ([\d., ]+) \|", page, re.MULTILINE)
    return {name: versions.split(", ") for name, versions in rows}


def minor(version: str) -> int:
    """Return the second number of a version."""
    return int(version.split(".")[1])


def test_requirements_are_the_versions_of_the_table() -> None:
    table = supported()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = f"torch>={table['torch'][0]},<2.{minor(table['torch'][-1]) + 1}"
    assert needed in project["project"]["dependencies"]
    assert needed in project["build-system"]["requires"]
    assert project["project"]["requires-python"] == f">={table['Python'][0]}"
    for versions in table.values():
        numbers = [minor(version) for version in versions]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_metatomic_has_libraries_for_each_torch_of_the_table() -> None:
    for package in ("metatensor-torch", "metatomic-torch"):
        files = importlib.metadata.files(package) or []
        libraries = {re.sub(r".*/torch-([\d.]+)/lib/lib\w+\.so$", r"\1", str(one)) for one in files}
        assert set(supported()["torch"]) <= libraries


def test_a_wheel_asks_for_the_torch_that_it_was_built_for() -> None:
    built = json.loads(compiled.installed_file("_build_info.json").read_text())["torch"]
    needs = importlib.metadata.requires("mtt") or []
    assert f"torch==2.{minor(built)}.*" in needs


@pytest.mark.parametrize("lock", ["locked.txt", "docs.txt", "wheel.txt"])
def test_locks_hold_for_each_python_of_the_table(lock: str) -> None:
    pythons = supported()["Python"]
    header, _, *lines = (ROOT / "requirements" / lock).read_text().splitlines()
    assert f"Python {pythons[0]} to {pythons[-1]}, Linux x86-64" in header
    for python in pythons:
        names = [line.partition("==")[0] for line in lines if holds_for(line, python)]
        assert len(names) == len(set(names))
        # What is asked for by name has a version for each Python.
        direct = (ROOT / "requirements" / source_of(lock)).read_text().splitlines()
        asked = {line.partition("==")[0].replace("_", "-") for line in direct if line[:1].isalpha()}
        assert asked - {"torch"} <= set(names)


def holds_for(line: str, python: str) -> bool:
    """Return whether a line of a lock is for this Python: it may name others."""
    marker = line.partition(" --hash")[0].partition(" ; ")[2]
    return not marker or f"python_version == '{python}'" in marker.split(" or ")


def source_of(lock: str) -> str:
    """Return the name of the file that a lock is made from."""
    return "direct.txt" if lock == "locked.txt" else f"{lock.removesuffix('.txt')}-direct.txt"


def test_makefile_refuses_only_pythons_that_are_too_old(tmp_path: Path) -> None:
    """A copy of the file, elsewhere: nothing is made here."""
    makefile = tmp_path / "Makefile"
    makefile.write_text((ROOT / "Makefile").read_text())
    old = tmp_path / "old-python"
    old.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10, 14); $2"\n'
    )
    old.chmod(0o755)
    command = ["make", "-C", str(tmp_path), ".venv/stamps/venv"]
    done = subprocess.run([*command, f"PYTHON={old}"], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"mtt needs Python 3.11 or newer, and {old} is older" in done.stdout
    assert not (tmp_path / ".venv").exists()
    done = subprocess.run(
        [*command, "-n", f"PYTHON={sys.executable}"], capture_output=True, text=True
    )
    assert f"{sys.executable} -m venv .venv" in done.stdout
