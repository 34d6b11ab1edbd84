"""Runs on the device that is tested: small, of several kinds."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from small_runs import TARGETS, make_options, write_data

from mtt.options import Options

# Larger than in other tests: with a few numbers, a GPU adds up in one order only.
_PET = {
    "cutoff": 4.5,
    "d_pet": 32,
    "d_node": 48,
    "d_head": 32,
    "d_feedforward": 32,
    "num_heads": 4,
}
_SOAP = {"soap": {"max_angular": 3, "channels": 8}, "bpnn": {"num_neurons_per_layer": 16}}
_ALL = {"zbl": True, "long_range": {"num_charges": 2}}
# By the names that tests give them: architecture, options of the model and of the training.
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "pet": ("pet", _PET, {}),
    "soap_bpnn": ("soap_bpnn", _SOAP, {}),
    # Repulsion, long range, uncertainties, all kinds of targets; not charge and spin of systems.
    "everything": (
        "pet",
        {**_PET, **_ALL},
        {"uncertainty": {"num_ensemble_members": 4}},
    ),
}

# Ends itself by a signal in a step, if one is named. Pictures and export have tests of their own.
PROGRAM = """
import os, sys
from mtt.__main__ import main
from mtt.training import loop, run as train
train._pictures = train._export = lambda *_: None
number, at = int(sys.argv.pop(1)), int(sys.argv.pop(1))
seed_step = loop.seed_step
def struck(problem, step):
    if number and step == at:
        os.kill(os.getpid(), number)
    seed_step(problem, step)
loop.seed_step = struck
sys.exit(main())
"""


def options_of(
    folder: Path, kind: str, precision: int, device: torch.device, **training: Any
) -> Options:
    """Options of two epochs of eight steps, with their data, written into a folder."""
    name, model, own = KINDS[kind]
    several = kind == "everything"
    path = folder / "data.xyz"
    if not path.exists():
        write_data(path, n=30, several=several)
    data: Any = str(path)
    if several:
        data = {"systems": data, "targets": TARGETS}
    return make_options(
        folder,
        device=str(device),
        base_precision=precision,
        architecture={
            "name": name,
            "model": model,
            "training": {
                "num_epochs": 2,
                "batch_size": 3,
                "checkpoint_interval": 1,
                "checkpoint_every": "3 steps",
                **own,
                **training,
            },
        },
        training_set=data,
        validation_set=0.2,
    )


def train(
    folder: Path, *words: str, struck_by: int = 0, in_step: int = 0
) -> "subprocess.CompletedProcess[str]":
    """Run ``mtt train options.yaml`` in a folder, in a process of its own.

    :param struck_by: the signal that the process sends itself in a step, counted from 0
    """
    program = [sys.executable, "-c", PROGRAM, str(int(struck_by)), str(in_step)]
    return subprocess.run(
        [*program, "train", "options.yaml", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
