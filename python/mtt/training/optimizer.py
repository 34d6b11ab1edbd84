"""Adam or AdamW, and the learning rate as a pure function of the step."""

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch

from mtt.options.schema.training import TrainingHypers


def learning_rate(step: int, num_steps: int, hypers: TrainingHypers) -> float:
    """Learning rate of optimizer step ``step`` (from 0) of ``num_steps``.

    Over the first W = int(warmup_fraction * num_steps) steps it rises as (step + 1) / W, so that no
    step is lost to a rate of zero; then it falls as (1 + cos(pi x)) / 2 with
    x = (step - W) / (num_steps - W).
    """
    warmup = int(hypers.warmup_fraction * num_steps)
    if step < warmup:
        return hypers.learning_rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    return hypers.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def make_optimizer(
    parameters: Iterable[torch.nn.Parameter], hypers: TrainingHypers
) -> torch.optim.Optimizer:
    """Adam, or AdamW if there is a weight decay; both with torch's defaults otherwise."""
    chosen = [parameter for parameter in parameters if parameter.requires_grad]
    # One kernel for all weights where torch has it; elementwise, so the bits do not depend on it.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in chosen)
    rate = hypers.learning_rate
    # As a group, which may be empty: a core may have no weights.
    groups: list[dict[str, Any]] = [{"params": chosen}]
    if hypers.weight_decay is None:
        return _without_compiler(torch.optim.Adam)(groups, lr=rate, fused=fused)
    decay = hypers.weight_decay
    return _without_compiler(torch.optim.AdamW)(groups, lr=rate, weight_decay=decay, fused=fused)


def _without_compiler(kind: type[torch.optim.Adam]) -> type[torch.optim.Adam]:
    """``kind``, in which nothing imports torch's compiler.

    torch wraps methods for a compiler that may trace them, and imports it at the first call: 1.6 s,
    a third of the time to a first step, for nothing here.
    """
    wrapped = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    # The wrapper of this one turns gradients off as well.
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)
