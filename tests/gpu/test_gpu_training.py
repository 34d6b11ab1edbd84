"""Training on a device: the numbers of the CPU, the same bits each time, and after a break.

On a GPU, nothing of this has been run yet. bfloat16 is not built: models are of 32 or 64 bits.
"""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from device_runs import KINDS, options_of, train

from mtt import checkpoint
from mtt.architectures.kernels import kernels
from mtt.data.batch import collate
from mtt.errors import UserError
from mtt.training.loop import reproducible
from mtt.training.prepare import prepare

Trained = Callable[[str, int], Path]
PRECISIONS = [32, 64]


def assert_same_tensors(one: Path, other: Path) -> None:
    """Compare bit by bit; where they differ, say by how much, which is the bound that is to be stated."""
    (_, expected), (_, found) = checkpoint.read(one), checkpoint.read(other)
    assert found.keys() == expected.keys()
    differing = {
        name: float((found[name].double() - tensor.double()).abs().max())
        for name, tensor in expected.items()
        if found[name].numpy().tobytes() != tensor.numpy().tobytes()
    }
    largest = max(differing.items(), key=lambda item: item[1], default=None)
    assert not differing, f"{len(differing)} of {len(found)} tensors differ, most: {largest}"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_two_epochs(kind: str, precision: int, trained: Trained, device: torch.device) -> None:
    header, tensors = checkpoint.read(trained(kind, precision))
    assert [row["epoch"] for row in header.history] == [1, 2]
    assert header.conditions[0].values["device"].startswith(device.type)
    weights = [tensor for name, tensor in tensors.items() if name.startswith("model/core.")]
    assert {tensor.dtype for tensor in weights if tensor.is_floating_point()} == {
        getattr(torch, f"float{precision}")
    }
    assert all(bool(tensor.isfinite().all()) for tensor in weights)
    before, after = (row["train_loss"] for row in header.history)
    assert after < before


def test_bfloat16_is_not_built(tmp_path: Path, device: torch.device) -> None:
    with pytest.raises(UserError, match="base_precision"):
        options_of(tmp_path, "pet", 16, device)


@pytest.mark.parametrize("kind", KINDS)
def test_all_kernels_are_deterministic(kind: str, trained: Trained) -> None:
    log = (trained(kind, 32).parent / "log").read_text()
    assert [line for line in log.splitlines() if line.startswith("warning:")] == []


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_the_cpu(
    kind: str, precision: int, device: torch.device, tmp_path: Path
) -> None:
    """One step in the middle of nothing, from the same weights; on the CPU, by torch's own operators."""
    results = []
    for place in (torch.device("cpu"), device):
        options = options_of(tmp_path, kind, precision, place)
        run = prepare(options, None, tmp_path / "model.pt", lambda line: None)
        problem, core = run.problem, run.state.model.core.train()
        batch = collate(problem.train, range(9), problem.dtype, place)
        loss = problem.loss(1, list(run.state.ensemble))
        used = kernels(place, problem.dtype) if results else kernels(place, torch.float16)
        with reproducible(place), used:
            value = loss(loss.errors(core, batch, training=True), batch)
            value.backward()
        gradients = {
            name: weight.grad.double().cpu()
            for name, weight in run.state.trained().items()
            if weight.grad is not None
        }
        assert all(weight.device.type == place.type for weight in run.state.trained().values())
        results.append((value.detach().double().cpu(), gradients))
    (expected, slopes), (found, found_slopes) = results
    tolerance = 1e-9 if precision == 64 else 1e-3
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0.0)
    assert found_slopes.keys() == slopes.keys() and len(slopes) > 5
    for name, slope in slopes.items():
        # Against the length of the gradient: some numbers in it cancel to nothing.
        scale = tolerance * float(slope.norm() + 1e-3 * expected)
        torch.testing.assert_close(
            found_slopes[name],
            slope,
            rtol=0.0,
            atol=scale,
            msg=lambda text, at=name: f"{at}: {text}",
        )


@pytest.mark.parametrize(
    ("kind", "precision"), [("pet", 32), ("pet", 64), ("soap_bpnn", 32), ("everything", 32)]
)
def test_the_same_bits_each_time(
    kind: str, precision: int, trained: Trained, device: torch.device, tmp_path: Path
) -> None:
    first = trained(kind, precision)
    options_of(tmp_path, kind, precision, device)
    # Paths of data are in the options, and so in the checkpoint: the tensors are what is compared.
    done = train(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_tensors(first, tmp_path / "model.ckpt")


# In the second epoch; a checkpoint is written every three steps.
@pytest.mark.parametrize(
    ("kind", "struck_by", "in_step", "code"),
    [("pet", signal.SIGKILL, 11, -9), ("everything", signal.SIGTERM, 13, 143)],
)
def test_killed_or_stopped_and_resumed(
    kind: str,
    struck_by: int,
    in_step: int,
    code: int,
    trained: Trained,
    device: torch.device,
    tmp_path: Path,
) -> None:
    options_of(tmp_path, kind, 32, device)
    broken = train(tmp_path, struck_by=struck_by, in_step=in_step)
    assert broken.returncode == code, broken.stdout + broken.stderr
    assert not (tmp_path / "model.ckpt").exists()
    resumed = train(tmp_path, "-c", "auto")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "bits may differ" not in resumed.stdout + resumed.stderr
    assert_same_tensors(trained(kind, 32), tmp_path / "model.ckpt")


def test_a_run_moves_to_the_cpu_and_back(
    trained: Trained, device: torch.device, tmp_path: Path
) -> None:
    """Not with the same bits, but it goes on; what it says of the device is in the checkpoint."""
    options_of(tmp_path, "pet", 64, device)
    assert train(tmp_path, struck_by=signal.SIGTERM, in_step=4).returncode == 143
    there = ["-r", "device=cpu"]
    assert (
        train(tmp_path, "-c", "auto", *there, struck_by=signal.SIGTERM, in_step=9).returncode == 143
    )
    done = train(tmp_path, "-c", "auto")
    assert done.returncode == 0, done.stdout + done.stderr
    header, found = checkpoint.read(tmp_path / "model.ckpt")
    devices = [part.values["device"].split()[0] for part in header.conditions]
    assert devices == (["cpu"] if device.type == "cpu" else [device.type, "cpu", device.type])
    _, expected = checkpoint.read(trained("pet", 64))
    for name, tensor in expected.items():
        if name.startswith("model/core."):
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6)
