"""Products of rows and weights in training by torch's second library: those of torch within rounding."""

from pathlib import Path

import pytest
import torch

from mtt.architectures import kernels


@pytest.fixture(autouse=True)
def one_dnn():
    """Have it used; gives whether it is used without being asked."""
    assert kernels.missing() is None
    before = torch.ops.mtt_training.use_one_dnn(True)
    yield before
    torch.ops.mtt_training.use_one_dnn(before)


def test_it_is_used_where_it_was_faster(one_dnn: bool) -> None:
    amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    assert one_dnn == (amd and torch.backends.cpu.get_cpu_capability().startswith("AVX512"))


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)


def derivatives(function, x, w, b) -> list[torch.Tensor]:
    """Return values, their gradient by rows, and gradients of a function of both by everything."""
    inputs = [each.clone().requires_grad_() for each in (x, w, b)]
    values = function(*inputs)
    scalar = values * torch.linspace(-1, 1, values.numel(), dtype=x.dtype).reshape(values.shape)
    (gradient,) = torch.autograd.grad(
        scalar.sum() + (values * values).sum(), inputs[0], create_graph=True
    )
    loss = (values**3).sum() + (gradient * gradient).sum()
    return [values, gradient, *torch.autograd.grad(loss, inputs)]


def largest(tensor: torch.Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0


def nodes(tensor: torch.Tensor) -> str:
    return tensor.grad_fn.name()


@pytest.mark.parametrize("rows", [0, 1, 5, 100, 600])
@pytest.mark.parametrize(("n_in", "n_out"), [(16, 48), (48, 16), (64, 112), (113, 33)])
def test_values_and_derivatives(rows, n_in, n_out):
    x, w, b = numbers(rows, n_in), numbers(n_out, n_in, seed=1), numbers(n_out, seed=2)
    ours = derivatives(torch.ops.mtt_training.linear, x, w, b)
    expected = derivatives(torch.nn.functional.linear, x.double(), w.double(), b.double())
    for one, other in zip(ours, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, torch.float32)
        torch.testing.assert_close(one.double(), other, rtol=0, atol=5e-6 * largest(other))


def test_gradient_by_weights_can_be_differentiated():
    """No training does it."""
    results = []
    for function, dtype in (
        (torch.ops.mtt_training.linear, torch.float32),
        (torch.nn.functional.linear, torch.float64),
    ):
        x, w, b = (
            each.to(dtype).requires_grad_()
            for each in (numbers(20, 16), numbers(32, 16, seed=1), numbers(32, seed=2))
        )
        gradients = torch.autograd.grad((function(x, w, b) ** 3).sum(), (w, b), create_graph=True)
        loss = (gradients[0] ** 2).sum() + (gradients[1] ** 2).sum()
        results.append(torch.autograd.grad(loss, (x, w, b)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=5e-6 * largest(other))


def test_the_same_bits_each_time():
    x, w, b = numbers(601, 64), numbers(112, 64, seed=1), numbers(112, seed=2)
    first, second = (derivatives(torch.ops.mtt_training.linear, x, w, b) for _ in range(2))
    assert all(map(torch.equal, first, second))


def test_numbers_may_lie_anywhere():
    x, w, b = numbers(64, 40).t(), numbers(32, 64, seed=1).t()[:64].t(), numbers(64, seed=2)[::2]
    expected = torch.nn.functional.linear(x.double(), w.double(), b.double())
    found = torch.ops.mtt_training.linear(x, w, b)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=5e-6 * largest(expected))
    # Gradients that autograd expands from one number have no rows of their own.
    x = x.contiguous().requires_grad_()
    (ours,) = torch.autograd.grad(torch.ops.mtt_training.linear(x, w, b).sum(), x)
    torch.testing.assert_close(ours, w.sum(0).expand(40, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("n_in", "n_out", "dtype"),
    [(12, 16, torch.float32), (16, 1, torch.float32), (64, 64, torch.float64)],
)
def test_others_are_those_of_torch(n_in, n_out, dtype):
    x, w, b = (
        numbers(*shape, seed=seed, dtype=dtype)
        for seed, shape in enumerate([(30, n_in), (n_out, n_in), (n_out,)])
    )
    found = torch.ops.mtt_training.linear(x, w.requires_grad_(), b)
    assert torch.equal(found, torch.nn.functional.linear(x, w, b))
    assert nodes(found) == "AddmmBackward0"
    # What suits is not; else nothing here tests anything.
    wide = numbers(64, 64).requires_grad_()
    assert "Linear" in nodes(torch.ops.mtt_training.linear(numbers(30, 64), wide, numbers(64)))


def test_what_does_not_fit_is_refused():
    with pytest.raises(RuntimeError):
        torch.ops.mtt_training.linear(numbers(3, 32), numbers(16, 16), numbers(16))
    with pytest.raises(RuntimeError):
        torch.ops.mtt_training.linear(numbers(3, 16), numbers(32, 16), numbers(16))
    with pytest.raises(RuntimeError):
        torch.ops.mtt_training.linear(numbers(3, 16), numbers(32, 16).double(), numbers(32))


def test_third_derivatives_are_refused_not_wrong():
    x = numbers(3, 16).requires_grad_()
    w, b = numbers(16, 16, seed=1), numbers(16, seed=2)
    value = (torch.ops.mtt_training.linear(x, w, b) ** 4).sum()
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivatives"):
        torch.autograd.grad((first**2).sum(), x, create_graph=True)
