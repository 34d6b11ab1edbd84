"""The device of these tests, and what was trained on it. Run by `make test-gpu`.

They have been run on a CPU only, by `MTT_TEST_DEVICE=cpu make test-gpu`: on a GPU, nothing of this has been
run yet. Expect to mend tests and code at the first run on one (docs/develop/gpu.md).
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from device_runs import options_of, train

from mtt.device import choose_device

# A device by its name in the options, cuda if it is not set. On `cpu` all of it runs without a GPU.
VARIABLE = "MTT_TEST_DEVICE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder takes a GPU: `make test` leaves it out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            # Of kernels: a test looks for these warnings in what the program prints.
            item.add_marker(pytest.mark.filterwarnings("ignore:.*eterministic:UserWarning"))


def why_not(name: str) -> str | None:
    """Why tests cannot run on a device; None if they can."""
    if not name.startswith("cuda") or torch.cuda.is_available():
        return None
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is a build for CPUs; {VARIABLE}=cpu runs the tests there"
    return f"torch {torch.__version__} sees no GPU here; {VARIABLE}=cpu runs the tests on the CPU"


@pytest.fixture(scope="session", autouse=True)
def device() -> torch.device:
    """The device that is tested; skips, with the reason, where it is not there."""
    name = os.environ.get(VARIABLE, "cuda")
    reason = why_not(name)
    if reason is not None:
        pytest.skip(reason)
    return choose_device(name)


@pytest.fixture(scope="session")
def trained(
    device: torch.device, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Path]:
    """Gives ``model.ckpt`` of a kind and a precision, trained once on the device; ``log`` is beside it."""

    @functools.cache
    def make(kind: str, precision: int) -> Path:
        folder = tmp_path_factory.mktemp(f"{kind}_{precision}")
        options_of(folder, kind, precision, device)
        done = train(folder)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "log").write_text(done.stdout + done.stderr)
        return folder / "model.ckpt"

    return make
