"""The first lines of a log: where a run computes, with what, and in which job of a queueing system."""

import os
import platform
from collections.abc import Iterator
from typing import Final

import torch

from mtt.checkpoint import package_versions
from mtt.device import choose_device
from mtt.training.runs import conditions

# What people look a job up by.
_SLURM: Final = {
    "SLURM_JOB_ID": "job",
    "SLURM_ARRAY_JOB_ID": "array job",
    "SLURM_ARRAY_TASK_ID": "array task",
    "SLURM_JOB_PARTITION": "partition",
    "SLURM_JOB_NODELIST": "nodes",
}


def lines(device: str, architecture: str) -> Iterator[str]:
    """Yield host and device; versions; the SLURM job, if there is one.

    :param device: as in the options; so is the name of the architecture
    :raises UserError: the device is not there
    """
    here = conditions.here(choose_device(device), architecture)
    yield (
        f"host {platform.node() or 'unknown'}, process {os.getpid()}; {here['device']}; "
        f"{here['processor']}, {here['instructions']}"
    )
    versions = package_versions(architecture)
    cuda = f", CUDA {torch.version.cuda}" if here["device"] != "cpu" else ""
    yield ", ".join(f"{name} {version}" for name, version in versions.items()) + cuda
    job = [f"{name} {os.environ[key]}" for key, name in _SLURM.items() if os.environ.get(key)]
    if job:
        yield f"SLURM {', '.join(job)}"
