"""How many threads a training computes with: measured before its first step, where nobody has said it.

More threads than there are free cores wait for each other, and a step can then take a hundred times as
long; a small model gains nothing from a second thread.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch

from mtt.architectures.ensemble import trained_cores
from mtt.architectures.kernels import kernels, pooled_memory
from mtt.data.batch import collate
from mtt.training.control_group import processors
from mtt.training.loop import Problem, epoch_groups, reproducible
from mtt.training.state import State

# How people say it; torch reads both when it is imported.
_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Fewer threads that are slower by this leave cores to others for next to nothing.
_AS_FAST: Final = 1.05
# A number of threads that was asked for is doubted when fewer are faster by this.
_DOUBTFUL: Final = 1.2
# Where one measurement each says less than this, there is a second and a third, unless a step takes so
# many seconds that these would be felt.
_CLEAR: Final = 1.4
_LONG: Final = 1.0


def choose_threads(
    state: State, problem: Problem, before: int | None, say: Callable[[str], None]
) -> None:
    """Set torch's number of threads to that with which a step of this training is fastest.

    A number from the environment stays, and that of a run that is resumed, for the sake of the same
    bits; if fewer threads are faster now, that is said. On a GPU nothing is measured.

    :param before: threads of the run that is resumed, or made once more
    """
    weights = [p for p in [*state.model.parameters(), *state.ensemble] if p.requires_grad]
    done = state.position.epoch >= problem.hypers.num_epochs
    if problem.device.type != "cpu" or not weights or done:
        return
    variable = next((name for name in _VARIABLES if os.environ.get(name)), None)
    most = torch.get_num_threads()
    why = variable
    if variable is None:
        most = min(most, math.ceil(processors() or most))
        if before is not None and before <= most:
            most, why = before, "as before"
        torch.set_num_threads(most)
    if why is not None:
        say(f"threads: {most} ({why})")
    if most == 1:
        return
    with _step(state, problem, weights) as step:
        seconds = measure(numbers(most)[: 2 if why else None], lambda n: _time(step, n))
    best = fastest(seconds)
    torch.set_num_threads(most if why else best)
    shown = " and ".join(f"{value:.2g} s with {number}" for number, value in seconds.items())
    if why is None:
        say(f"threads: {best}, as a step takes {shown}; {_VARIABLES[0]} sets another number")
    elif seconds[most] > _DOUBTFUL * seconds[best]:
        say(
            f"warning: {most} threads ({why}) are slower than {best}: a step takes {shown}; other "
            f"programs may be using the cores, or the model is small: try {_VARIABLES[0]}={best}"
        )


@contextlib.contextmanager
def threads_restored() -> Iterator[None]:
    """Leave torch's number of threads as it was before the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def numbers(most: int) -> list[int]:
    """Return the numbers of threads to try, in falling order: each is half of the one before."""
    return [most, *numbers(most // 2)] if most > 1 else [1]


def measure(numbers: Sequence[int], seconds: Callable[[int], float]) -> dict[int, float]:
    """Return the time of a step by the number of threads, as far as fewer threads are not slower.

    :param numbers: in falling order
    :param seconds: measures one step; small differences are measured again, and the shortest counts
    """
    times = {numbers[0]: seconds(numbers[0])}
    for more, fewer in zip(numbers, numbers[1:], strict=False):
        times[fewer] = seconds(fewer)
        for _ in range(2):
            clear = not 1.0 / _CLEAR < times[fewer] / times[more] < _CLEAR
            if clear or times[more] > _LONG:
                break
            for number in (more, fewer):
                times[number] = min(times[number], seconds(number))
        if times[fewer] > _AS_FAST * times[more]:
            break
    return times


def fastest(seconds: dict[int, float]) -> int:
    """Return the smallest number of threads that is as fast as any of them."""
    shortest = min(seconds.values())
    return min(number for number, value in seconds.items() if value <= _AS_FAST * shortest)


@contextlib.contextmanager
def _step(
    state: State, problem: Problem, weights: Sequence[torch.Tensor]
) -> Iterator[Callable[[], None]]:
    """Give a function that takes the next step of the training, of which nothing remains."""
    groups = epoch_groups(problem, state.position.epoch)
    group = groups[min(state.position.batch, len(groups) - 1)]
    batch = collate(problem.train, group, problem.dtype, problem.device)
    loss = problem.loss(state.position.epoch + 1, list(state.ensemble))
    member = trained_cores(state.model.core.train())[0]

    def step() -> None:
        total = loss(loss.errors(member, batch, training=True), batch)
        if total.requires_grad:
            torch.autograd.grad(total, weights, allow_unused=True)

    with (
        reproducible(problem.device),
        pooled_memory(problem.device),
        kernels(problem.device, problem.dtype),
    ):
        step()  # the first one takes memory and loads libraries
        yield step


def _time(step: Callable[[], None], number: int) -> float:
    torch.set_num_threads(number)
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
