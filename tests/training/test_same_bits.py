"""The same command gives the same bits, in any process and with any number of data workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import make_options

from mtt import checkpoint

# Whatever another library seeds or hashes is not the same in the two processes.
SCRIPT = """
import random, sys
import numpy, torch
from mtt.__main__ import main
from mtt.training import run as train
train._pictures = train._export = lambda *_: None  # tests of their own
seed, *numbers = sys.argv[1:]
random.seed(seed), numpy.random.seed(int(seed)), torch.manual_seed(int(seed))
for number in numbers:
    workers = f"architecture.training.num_workers={number}"
    code = main(["train", "options.yaml", "-r", workers, "-o", f"{seed}_{number}.pt"])
    assert code == 0
"""


def train_with_workers(folder: Path, seed: int, *numbers: int) -> None:
    command = [sys.executable, "-c", SCRIPT, str(seed), *map(str, numbers)]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two processes: one trains without workers, one without and with 1 and 4."""
    folder = tmp_path_factory.mktemp("bits")
    make_options(folder, {"num_epochs": 2, "batch_size": 3}, test_set="0:2")
    train_with_workers(folder, 1, 0)
    train_with_workers(folder, 2, 0, 1, 4)
    return folder


def test_same_command_twice_same_file(folder):
    assert (folder / "1_0.ckpt").read_bytes() == (folder / "2_0.ckpt").read_bytes()


@pytest.mark.parametrize("number", [1, 4])
def test_workers_do_not_change_bits(folder, number):
    (header, tensors), (header_0, tensors_0) = (
        checkpoint.read(folder / f"2_{one}.ckpt") for one in (number, 0)
    )
    assert tensors.keys() == tensors_0.keys()
    for name, tensor in tensors.items():
        assert tensor.numpy().tobytes() == tensors_0[name].numpy().tobytes(), name
    assert len(header.history) == 2 and len(tensors) > 100
    # What the options say of it is all that differs.
    different = {key for key in vars(header) if getattr(header, key) != getattr(header_0, key)}
    assert different == {"content_hash", "options", "options_hash"}
    assert header.options["architecture"]["training"].pop("num_workers") == number
    assert header_0.options["architecture"]["training"].pop("num_workers") == 0
    assert header.options == header_0.options
