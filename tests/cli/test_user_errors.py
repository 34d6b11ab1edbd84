"""Mistakes that users make, through the whole program: every word shown, and nothing touched.

Tested elsewhere in the same way, and not again here: files that are missing and names of commands
and outputs (``test_commands.py``), and Ctrl-C during a real training, with the message that says how
to go on (``tests/training/test_train.py``).
"""

import errno
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from small_runs import make_options

from mtt import checkpoint as checkpoints
from mtt.__main__ import main

Fails = Callable[..., str]


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a folder, with the time and the content of each file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    } | {f"{path.relative_to(folder)}/": (0, b"") for path in folder.rglob("*") if path.is_dir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder after a run of one epoch and an export; what it showed is not looked at here."""
    from mtt.training import run as train

    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("_learning_curve", "_final_errors", "_export"):
            patch.setattr(train, name, lambda *_: None)
        make_options(Path(), {"num_epochs": 1})
        assert main(["train", "options.yaml"]) == 0
        with warnings.catch_warnings(action="ignore"):  # the one about --no-verify
            assert main(["export", "model.ckpt", "--no-verify"]) == 0
    shutil.rmtree(folder / "outputs")
    yield folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: data, options, checkpoint and model of a small run."""
    here = tmp_path / "here"
    shutil.copytree(finished, here)
    (here / "eval.yaml").write_text("systems: data.xyz\n")
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that must end with 2 and change nothing; what it says."""

    def run(*arguments: str) -> str:
        before = tree(folder)
        capsys.readouterr()
        assert main(arguments) == 2
        assert tree(folder) == before
        return capsys.readouterr().err

    return run


# ---- options ----


def test_not_yaml(fails: Fails) -> None:
    Path("options.yaml").write_text("architecture: [pet\ntraining_set: data.xyz\n")
    assert fails("train", "options.yaml") == (
        "options.yaml:1:15: error: not YAML: the '[' is not closed: add ']'\n"
        "  1 | architecture: [pet\n"
        "    |               ^\n"
    )


def test_data_given_as_options(fails: Fails) -> None:
    assert fails("train", "data.xyz") == (
        "error: this is a file of structures (extended XYZ), not an options file\n"
        "  where: data.xyz\n"
        "  hint: write options that name it, in a file of their own; the shortest are the two lines"
        " 'architecture: pet' and 'training_set: data.xyz'\n"
    )


def test_unknown_key_and_wrong_type_at_once(fails: Fails) -> None:
    Path("options.yaml").write_text(
        "architecture:\n  name: pet\n  model: {cutof: 3.0}\ntraining_set: data.xyz\nseed: one\n"
    )
    assert fails("train", "options.yaml") == (
        "options.yaml:3:11: error: architecture.model.cutof: unknown option; did you mean 'cutoff'?\n"
        "  3 |   model: {cutof: 3.0}\n"
        "    |           ^\n"
        "options.yaml:5:7: error: seed: expected an integer, found 'one'\n"
        "  5 | seed: one\n"
        "    |       ^\n"
        "2 errors in options.yaml\n"
    )


def test_units_that_differ_between_data_sets(fails: Fails) -> None:
    Path("options.yaml").write_text(
        "architecture: pet\n"
        "training_set:\n"
        "  - systems: data.xyz\n"
        "    targets: {energy: {}, mtt::q: {key: energy, unit: e}}\n"
        "  - systems: data.xyz\n"
        "    targets: {energy: {}, mtt::q: {key: energy, unit: C}}\n"
    )
    assert "targets.mtt::q.unit: unit 'C' differs from 'e' of the first" in fails(
        "train", "options.yaml"
    )


def test_units_that_differ_between_data_and_model(fails: Fails) -> None:
    override = "targets={energy: {unit: GPa}}"
    assert "unknown unit of energy 'GPa'" in fails(
        "eval", "model.ckpt", "eval.yaml", "-r", override
    )


# ---- data ----


def with_targets(targets: str) -> None:
    options = yaml.safe_load(Path("options.yaml").read_text())
    options["training_set"] = {
        "systems": "data.xyz",
        "targets": {"energy": yaml.safe_load(targets)},
    }
    Path("options.yaml").write_text(yaml.safe_dump(options))


def test_target_that_the_data_lacks(fails: Fails) -> None:
    with_targets("{key: dft_energy}")
    assert fails("train", "options.yaml") == (
        "error: no energy is stored under the key 'dft_energy'\n"
        "  where: data.xyz\n"
        "  hint: did you mean 'energy'? keys in the file that could be an energy: 'energy'\n"
    )


def test_forces_that_the_data_lacks(fails: Fails) -> None:
    with_targets("{forces: {key: dft_forces}}")
    assert fails("train", "options.yaml") == (
        "error: forces were asked for, but all 12 structures lack the key 'dft_forces'\n"
        "  where: data.xyz#0 to #11 (counted from 0)\n"
        "  hint: did you mean 'forces'? keys in the file that could be forces: 'forces'; "
        "or leave 'forces' out of the options\n"
    )


def test_forces_that_one_structure_lacks(fails: Fails) -> None:
    with Path("data.xyz").open("a") as file:
        file.write("1\nProperties=species:S:1:pos:R:3 energy=1.0\nH 0 0 0\n")
    with_targets("{forces: on}")
    assert fails("train", "options.yaml") == (
        "error: forces were asked for, but 1 of 13 structures lacks the key 'forces'\n"
        "  where: data.xyz#12 (counted from 0)\n"
        "  hint: other structures of the file have it: add it here, or remove the structure; "
        "'forces: {key: forces, missing: allow}' learns from those that have it\n"
    )


def test_data_without_structures(fails: Fails) -> None:
    Path("data.xyz").write_text("")
    assert fails("train", "options.yaml") == (
        "error: the file is empty: it holds no structures\n  where: data.xyz\n"
    )


def test_data_that_are_cut_off(fails: Fails) -> None:
    lines = Path("data.xyz").read_text().splitlines(keepends=True)
    Path("data.xyz").write_text("".join(lines[:3]))
    assert fails("train", "options.yaml") == (
        "error: the structure is to have 3 atoms, and the file ends after 1\n"
        "  where: data.xyz#0, line 4\n"
        "  hint: the file is cut off, or the number of atoms in its first line is wrong\n"
    )


def test_a_fraction_that_leaves_a_set_empty(fails: Fails) -> None:
    assert fails("train", "options.yaml", "-r", "validation_set=0.01") == (
        "error: the fraction 0.01 of 12 structures leaves the set empty\n"
        "  where: validation_set\n"
        "  hint: use at least 0.083, or add structures\n"
    )


def test_atoms_that_the_model_does_not_know(fails: Fails) -> None:
    Path("other.xyz").write_text("1\nProperties=species:S:1:pos:R:3 energy=1.0\nXe 0 0 0\n")
    expected = (
        "error: atom 0 has the atomic type 54 (Xe), which the model does not know\n"
        "  where: other.xyz#0\n"
        "  hint: the model knows 1 (H), 6 (C), 8 (O), 29 (Cu)\n"
    )
    override = ("-r", "systems=other.xyz")
    assert fails("eval", "model.ckpt", "eval.yaml", *override) == expected
    assert fails("eval", "model.pt", "eval.yaml", *override) == expected
    assert fails("train", "options.yaml", "-r", "validation_set=other.xyz").startswith(
        "error: validation_set has atomic types that the model is not trained on: 54 (Xe)\n"
        "  where: other.xyz#0 is the first of them\n"
    )


# ---- checkpoints and models ----


def test_a_model_where_a_checkpoint_is_needed(fails: Fails) -> None:
    assert fails("export", "model.pt", "-o", "new.pt") == (
        "error: this is an exported model already\n"
        "  where: model.pt\n"
        "  hint: export a checkpoint, or add metadata to the model with -m FILE -o NEW.pt\n"
    )
    expected = (
        "error: this is an exported model (.pt), not a checkpoint of mtt\n"
        "  where: model.pt\n"
        "  hint: give the model.ckpt that it was exported from\n"
    )
    assert fails("train", "options.yaml", "-c", "model.pt") == expected


def test_a_checkpoint_of_metatrain_where_ours_is_needed(fails: Fails) -> None:
    torch.save({"architecture_name": "pet", "model_ckpt_version": 11}, "theirs.ckpt")
    expected = (
        "error: this is a pickled checkpoint of metatrain (architecture pet, version 11); it is not "
        "loaded, because loading a pickle runs whatever code is in it\n"
        "  where: theirs.ckpt\n"
        "  hint: export it with metatrain and check the result with 'mtt verify', or train anew from "
        "the data with the same options\n"
    )
    assert fails("export", "theirs.ckpt") == expected
    assert fails("verify", "theirs.ckpt") == expected


def test_a_checkpoint_where_a_model_is_needed(fails: Fails) -> None:
    assert fails("verify", "model.ckpt") == (
        "error: this is a checkpoint, not an exported model\n"
        "  where: model.ckpt\n"
        "  hint: export it first: mtt export model.ckpt\n"
    )


def test_training_asks_for_the_verifier_first(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTT_VERIFY", "nowhere")
    assert "nowhere" in fails("train", "options.yaml", "-o", "other.pt")


def test_a_truncated_checkpoint(fails: Fails) -> None:
    path = Path("model.ckpt")
    path.write_bytes(path.read_bytes()[:-100])
    expected = (
        "error: the checkpoint is truncated: 100 bytes are missing at its end\n"
        "  where: model.ckpt\n"
        "  hint: copy it again, or use another checkpoint of the run\n"
    )
    assert fails("export", "model.ckpt", "-o", "new.pt") == expected
    assert fails("train", "options.yaml", "-c", "model.ckpt") == expected
    assert fails("eval", "model.ckpt", "eval.yaml") == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"name": "painn"},
            "error: the checkpoint is of the architecture 'painn', which is not installed\n"
            "  where: model.ckpt\n"
            "  hint: install the package that provides it; known here: composition, mace, pet, soap_bpnn\n",
        ),
        (
            {"version": 99},
            "error: the checkpoint needs version 99 of the architecture 'pet', "
            "but version 3 is installed\n"
            "  where: model.ckpt\n"
            "  hint: update mtt: use the image of pet@99\n",
        ),
    ],
    ids=["name", "version"],
)
def test_a_checkpoint_of_another_architecture(
    fails: Fails, change: dict[str, object], expected: str
) -> None:
    header, tensors = checkpoints.read(Path("model.ckpt"))
    header = replace(header, architecture=replace(header.architecture, **change))
    checkpoints.write(Path("model.ckpt"), header, tensors)
    assert fails("export", "model.ckpt", "-o", "new.pt") == expected
    assert fails("eval", "model.ckpt", "eval.yaml") == expected
    assert fails("train", "options.yaml", "-c", "model.ckpt") == expected


def test_a_checkpoint_of_another_model(fails: Fails) -> None:
    override = ("-r", "architecture.model.d_pet=8")
    assert fails("train", "options.yaml", "-c", "model.ckpt", *override) == (
        "error: the options differ from those that the checkpoint was trained with:\n"
        "    architecture.model.d_pet: 4 in the checkpoint, now 8\n"
        "  where: model.ckpt\n"
        "  hint: undo these changes to resume (num_epochs may be made larger), train anew without "
        "--continue, or fine-tune the checkpoint on purpose by naming it in "
        "architecture.training.fine_tune.read_from\n"
    )


def test_a_verifier_that_is_not_there(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gone/mtt-verify", "data.xyz"):
        monkeypatch.setenv("MTT_VERIFY", name)
        assert fails("verify", "model.pt") == (
            "error: the environment variable MTT_VERIFY does not name a program\n"
            f"  where: {name}\n"
            "  hint: unset it to use the mtt-verify that is installed\n"
        )


# ---- outputs ----


@pytest.mark.parametrize(
    "command",
    [
        ("eval", "model.ckpt", "eval.yaml", "-o", "{}"),
        ("verify", "model.pt", "--json", "{}"),
        ("export", "model.pt", "-o", "{}"),
    ],
    ids=lambda command: command[0],
)
def test_outputs_that_would_replace_what_is_read(
    fails: Fails, folder: Path, command: tuple[str, ...]
) -> None:
    files = {"eval": ["model.ckpt", "eval.yaml", "data.xyz"]}.get(command[0], ["model.pt"])
    if command[0] == "export":  # the content of a checkpoint, under an unusual name
        Path("model.ckpt").rename("model.pt")
    for name in files:
        for given in (name, str(folder / name)):
            assert fails(*(word.format(given) for word in command)) == (
                f"error: the output would replace {name}, which is read\n"
                f"  where: {given}\n"
                "  hint: give the output another name\n"
            )


def test_a_data_file_that_the_errors_would_replace(fails: Fails) -> None:
    Path("data.xyz").rename("data.json")
    Path("eval.yaml").write_text("systems: {read_from: data.json}\n")
    assert fails("eval", "model.ckpt", "eval.yaml", "-o", "data.xyz") == (
        "error: the output would replace data.json, which is read\n"
        "  where: data.json\n"
        "  hint: give the output another name\n"
    )


def test_a_folder_of_somebody_else(folder: Path) -> None:
    """By another user, who may read everything, as the interpreter may be in a private folder."""
    command = [sys.executable, "-m", "mtt"]
    if os.getuid() == 0:
        other = shutil.which("setpriv")
        if other is None:
            pytest.skip("there is no setpriv here")
        may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        command = [other, "--reuid=65534", "--regid=65534", "--clear-groups", *may_read, *command]
        if subprocess.run([*command[:-3], "true"], capture_output=True, check=False).returncode:
            pytest.skip("another user cannot be had here")
    folder.chmod(0o555)
    before = tree(folder)
    try:
        for arguments, where in (
            ("train options.yaml", "model.pt"),
            ("export model.ckpt -o new.pt", "new.pt"),
            ("eval model.ckpt eval.yaml", "predictions.xyz"),
            ("verify model.pt --json report.json", "report.json"),
        ):
            done = subprocess.run(
                [*command, *arguments.split()], capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stdout, done.stderr) == (
                2,
                "",
                f"error: the file cannot be written: Permission denied\n  where: {where}\n",
            )
    finally:
        folder.chmod(0o755)
    assert tree(folder) == before


def fill(disk: Path) -> None:
    """Take all the room that is left."""
    file = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(file, bytes(4096)):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(file)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("export model.ckpt --no-verify -o", "model.pt"),
        ("eval model.ckpt eval.yaml -o", "predictions.xyz"),
    ],
    ids=["export", "eval"],
)
def test_a_full_disk(fails: Fails, small_disk: Path, arguments: str, name: str) -> None:
    output = small_disk / name
    output.write_bytes(b"precious")
    fill(small_disk)
    with warnings.catch_warnings(action="ignore"):
        shown = fails(*arguments.split(), str(output))
    assert shown == (
        "error: the disk is full\n"
        f"  where: {output}\n"
        "  hint: free some space; nothing that was there has been overwritten\n"
    )
    assert output.read_bytes() == b"precious"
    assert sorted(path.name for path in small_disk.iterdir()) == sorted(["filler", name])


def test_a_reader_that_goes_away_does_not_cost_the_run(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mtt", "eval", "model.ckpt", "eval.yaml"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("predictions.xyz").exists()
