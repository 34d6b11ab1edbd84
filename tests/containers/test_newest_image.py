"""The newest image trains every architecture as it is now, mace with mace-torch and its latest options too.

What PET does there is in test_running.py.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from container_users import (
    IMAGES,
    NEWEST,
    USER,
    apptainer,
    assert_same_weights,
    checkpoints,
    run,
    train_until,
)
from small_runs import write_data

from mtt import checkpoint
from mtt.files import sha256_of

MACE = {
    "r_max": 3.0,
    "num_radial_basis": 3,
    "max_ell": 1,
    "hidden_irreps": "2x0e + 2x1o",
    "MLP_irreps": "2x0e",
    "radial_MLP": [4],
    "correlation": 2,
    "zbl": True,
}
SOAP = {
    "soap": {"cutoff": {"radius": 3.0}, "max_angular": 2, "max_radial": 2, "channels": 3},
    "bpnn": {"num_hidden_layers": 1, "num_neurons_per_layer": 4},
    "long_range": {"num_charges": 2},
}
EPOCHS = 6
TRAINING = {
    "batch_size": 2,
    "num_epochs": EPOCHS,
    "checkpoint_interval": 1,
    "keep_last": EPOCHS,
}


@pytest.fixture
def mtt_inside(tools: Path, images: Path) -> Callable[..., list[str]]:
    """The command line of mtt in the newest image."""
    sif = images / f"{IMAGES[NEWEST].stem}.sif"
    return lambda *words: apptainer(tools, sif, words)


def ask_for(folder: Path, name: str, model: dict[str, Any]) -> None:
    """Write options and data of a small run into the user's folder."""
    write_data(folder / "data.xyz")
    architecture = {"name": name, "model": model, "training": TRAINING}
    options = {"seed": 3, "device": "cpu", "architecture": architecture}
    options |= {"training_set": "data.xyz", "validation_set": 0.25}
    (folder / "options.yaml").write_text(yaml.safe_dump(options))
    for path in (folder, *folder.iterdir()):
        os.chown(path, USER, USER)


def test_mace_is_trained_killed_and_continued(
    mtt_inside: Callable[..., list[str]], folder: Path
) -> None:
    """With the repulsion that an earlier image does not know; it ends as a run that nobody killed."""
    ask_for(folder, "mace", MACE)
    train = mtt_inside("train", "options.yaml")
    train_until(train, folder, 1, signal.SIGKILL)
    done = run([*train, "-c", "auto"], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming from outputs/" in done.stdout
    header = checkpoint.read_header(folder / "model.ckpt")
    assert str(header.architecture) == "mace@1" and header.architecture.hypers["zbl"] is True
    assert (header.position.epoch, header.image_digest) == (EPOCHS, IMAGES[NEWEST].digest)
    assert (folder / "model.pt").stat().st_uid == USER  # which is there once all checks have passed

    whole = folder / "whole"
    whole.mkdir()
    ask_for(whole, "mace", MACE)
    train_until(train, whole, EPOCHS, signal.SIGTERM)
    assert_same_weights(*checkpoints(whole, EPOCHS), *checkpoints(folder, EPOCHS)[-1:])


def test_soap_bpnn_is_trained_and_exported(
    mtt_inside: Callable[..., list[str]], folder: Path
) -> None:
    """In its version of now, with options of now, and the export is the same the second time."""
    ask_for(folder, "soap_bpnn", SOAP)
    done = run(mtt_inside("train", "options.yaml"), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    header = checkpoint.read_header(folder / "model.ckpt")
    assert str(header.architecture) == "soap_bpnn@2"
    assert header.architecture.hypers["long_range"]["num_charges"] == 2
    again = run(mtt_inside("export", "model.ckpt", "-o", "again.pt"), folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert sha256_of(folder / "again.pt") == sha256_of(folder / "model.pt")
