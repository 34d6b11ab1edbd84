"""A model that ends its process while one check runs: that check fails, and the next ones run."""

# ruff: noqa: UP006, UP035  (TorchScript wants the names of typing)

import json
import subprocess
from pathlib import Path
from typing import List

import pytest
import torch
from hostile_models import failures
from metatomic.torch import System
from toy_models import ToyModel, export_toy

from mtt.verify import run as verify

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


class Trap(ToyModel):
    """The one integer division that processors refuse."""

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        if len(system) == 1:
            values = values + float((-9223372036854775807 - 1) // -len(system))
        return values.to(system.positions.dtype)


class Endless(ToyModel):
    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        while len(system) == 1 and bool(values.sum() < 1e300):
            values = values + 0.0
        return values.to(system.positions.dtype)


class Hungry(ToyModel):
    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        kept: List[torch.Tensor] = []
        while len(system) == 1 and len(kept) < 100:
            kept.append(torch.ones(4000000, dtype=torch.float64))
        return values.to(system.positions.dtype)


class Greedy(ToyModel):
    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        if len(system) == 1:
            values = values + torch.zeros(13000000000, dtype=torch.float64).sum()
        return values.to(system.positions.dtype)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Trap, (), "the model crashes its process (SIGFPE"),
        (Endless, ("--time-limit", "4"), "the model takes more than 4 s for this check"),
        (Hungry, ("--memory-limit", "700"), "the model takes more memory than the limit of 700 MB"),
        (Greedy, ("--memory-limit", "700"), "(the memory limit is 700 MB)"),
    ],
)
def test_a_check_that_ends_the_process_fails_and_the_next_ones_run(
    tmp_path: Path, kind: type[ToyModel], options: tuple[str, ...], message: str
) -> None:
    path = export_toy(tmp_path / "model.pt", kind, reference_model="pair")
    command = [str(verify.program()), str(path), "--only", "GEO,SYM", "--json", "-", "--quiet"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    report = json.loads(done.stdout)
    assert done.returncode == 3
    failed = failures(report)
    assert any(message in text for text in failed.values()), failed
    assert "pass" in {c["status"] for c in report["checks"] if c["family"] == "SYM"}
