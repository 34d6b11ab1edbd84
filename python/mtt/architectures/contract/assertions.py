"""Comparisons of the values of several targets, whose errors name the target; what a core is."""

from collections.abc import Mapping

import torch

Tensors = Mapping[str, torch.Tensor]


def assert_same(
    values: Tensors, expected: Tensors, rtol: float = 1e-10, atol: float = 1e-9
) -> None:
    """Raise AssertionError, naming the target, unless the values of each target are close."""
    assert set(values) == set(expected)
    for name, tensor in values.items():
        torch.testing.assert_close(
            tensor,
            expected[name],
            rtol=rtol,
            atol=atol,
            msg=lambda text, name=name: f"{name}: {text}",  # type: ignore[misc]
        )


def assert_equal(values: Tensors, expected: Tensors, message: str = "") -> None:
    """Raise AssertionError unless the values of each target are bitwise the same."""
    assert set(values) == set(expected)
    for name, tensor in values.items():
        assert torch.equal(tensor, expected[name]), f"{name}: {message}"


def trains(core: torch.nn.Module) -> bool:
    """Return whether there are weights to train."""
    return any(weight.requires_grad for weight in core.parameters())
