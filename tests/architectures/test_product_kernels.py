"""Products of rows and weights in training: those of torch within rounding, whatever the processor and threads."""

import pytest
import torch

from mtt.architectures import kernels

INSTRUCTIONS = ("baseline", "avx2", "avx512")


@pytest.fixture
def own_products():
    assert kernels.missing() is None
    before = torch.ops.mtt_training.use_products(True)
    yield
    torch.ops.mtt_training.use_products(before)


@pytest.fixture(params=INSTRUCTIONS)
def instructions(request, own_products):
    if request.param not in torch.ops.mtt_training.instruction_sets():
        pytest.skip(f"this processor has no {request.param}")
    before = torch.ops.mtt_training.instructions()
    torch.ops.mtt_training.use_instructions(request.param)
    yield
    torch.ops.mtt_training.use_instructions(before)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
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


# Rows: none, fewer than a tile has, more than a thread takes, more than a block of the turned product has.
# Columns: panels of one vector and of two, whatever the instructions.
@pytest.mark.parametrize("rows", [0, 1, 5, 40, 100, 600])
@pytest.mark.parametrize(("n_in", "n_out"), [(16, 48), (48, 16), (64, 112), (112, 32)])
def test_values_and_derivatives(instructions, rows, n_in, n_out):
    x, w, b = numbers(rows, n_in), numbers(n_out, n_in, seed=1), numbers(n_out, seed=2)
    ours = derivatives(torch.ops.mtt_training.linear, x, w, b)
    for one, other in zip(ours, derivatives(torch.nn.functional.linear, x, w, b), strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13 * _largest(other))
    single = derivatives(torch.ops.mtt_training.linear, x.float(), w.float(), b.float())
    for one, other in zip(single, ours, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=0, atol=5e-6 * _largest(other))


def _largest(tensor: torch.Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0


def test_gradients_are_those_of_differences(own_products):
    inputs = numbers(7, 16), numbers(32, 16, seed=1), numbers(32, seed=2)
    inputs = tuple(each.requires_grad_() for each in inputs)
    assert torch.autograd.gradcheck(torch.ops.mtt_training.linear, inputs)

    def squares(x):
        return torch.ops.mtt_training.linear(x, *inputs[1:]).square()

    assert torch.autograd.gradgradcheck(squares, inputs[:1])


def test_gradient_by_weights_can_be_differentiated(own_products):
    """No training does it."""
    results = []
    for function in (torch.ops.mtt_training.linear, torch.nn.functional.linear):
        x, w, b = (
            each.requires_grad_()
            for each in (numbers(20, 16), numbers(32, 16, seed=1), numbers(32, seed=2))
        )
        gradients = torch.autograd.grad((function(x, w, b) ** 3).sum(), (w, b), create_graph=True)
        loss = (gradients[0] ** 2).sum() + (gradients[1] ** 2).sum()
        results.append(torch.autograd.grad(loss, (x, w, b)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13 * _largest(other))


def test_threads_and_neighbors_change_no_bit(own_products):
    x, w, b = (
        numbers(601, 64, dtype=torch.float32),
        numbers(112, 64, seed=1, dtype=torch.float32),
        numbers(112, seed=2, dtype=torch.float32),
    )
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(derivatives(torch.ops.mtt_training.linear, x, w, b))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))
    # The same row alone, in another place of a tile.
    alone = torch.ops.mtt_training.linear(x[5:6], w, b)
    assert torch.equal(alone, results[0][0][5:6])


def test_numbers_may_lie_anywhere(own_products):
    x, w, b = numbers(64, 40).t(), numbers(32, 64, seed=1).t()[:64].t(), numbers(64, seed=2)[::2]
    torch.testing.assert_close(
        torch.ops.mtt_training.linear(x, w, b),
        torch.nn.functional.linear(x, w, b),
        rtol=1e-12,
        atol=1e-12,
    )
    # Gradients that autograd expands from one number have no rows of their own.
    x = x.contiguous().requires_grad_()
    (ours,) = torch.autograd.grad(torch.ops.mtt_training.linear(x, w, b).sum(), x)
    torch.testing.assert_close(ours, w.sum(0).expand(40, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n_in", "n_out"), [(12, 16), (16, 1), (5, 7)])
def test_other_sizes_are_those_of_torch(own_products, n_in, n_out):
    x, w, b = numbers(30, n_in), numbers(n_out, n_in, seed=1), numbers(n_out, seed=2)
    assert torch.equal(torch.ops.mtt_training.linear(x, w, b), torch.nn.functional.linear(x, w, b))


def test_what_does_not_fit_is_refused(own_products):
    with pytest.raises(RuntimeError):
        torch.ops.mtt_training.linear(numbers(3, 32), numbers(16, 16), numbers(16))
    with pytest.raises(RuntimeError):
        torch.ops.mtt_training.linear(numbers(3, 16), numbers(32, 16), numbers(16))
    with pytest.raises(RuntimeError):
        torch.ops.mtt_training.linear(numbers(3, 16).float(), numbers(32, 16), numbers(32))


def test_third_derivatives_are_refused_not_wrong(own_products):
    x = numbers(3, 16).requires_grad_()
    w, b = numbers(16, 16, seed=1), numbers(16, seed=2)
    value = (torch.ops.mtt_training.linear(x, w, b) ** 4).sum()
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivatives"):
        torch.autograd.grad((first**2).sum(), x, create_graph=True)
